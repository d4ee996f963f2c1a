//! Options about the life of files and of kept results.

use std::str::FromStr;
use std::time::Duration;

use callsheet::media::ByteSize;
use callsheet::{Keeping, Millis};
use clap::Args;

/// How long files are kept and how many bytes they may have.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct KeepingArgs {
    /// How long the files of a job are kept after its end, such as `7d`, or `forever`
    #[arg(long, default_value = "forever", value_name = "TIME")]
    retention: Retention,

    /// How long files are kept at least after they were put or used
    #[arg(long, default_value = "1h", value_name = "TIME")]
    artifact_grace: Millis,

    /// Time between two sweeps of files that nobody needs any more
    #[arg(long, default_value = "1h", value_name = "TIME")]
    sweep_every: Millis,

    /// Most bytes of all files, such as `100GiB`; beyond it new jobs are refused
    /// [default: no bound]
    #[arg(long, value_name = "SIZE")]
    artifacts_max_bytes: Option<Size>,

    /// Most bytes of kept results of steps and the files that they name
    #[arg(long, default_value = "10GiB", value_name = "SIZE")]
    cache_max_bytes: Size,

    /// Run every step, whatever results there are of before, and keep none
    #[arg(long)]
    no_cache: bool,
}

impl From<KeepingArgs> for Keeping {
    fn from(args: KeepingArgs) -> Self {
        Self {
            retention: args.retention.0,
            grace: args.artifact_grace.into(),
            // Never in a row without a pause.
            sweep_every: Duration::from(args.sweep_every).max(Duration::from_secs(1)),
            max_bytes: args.artifacts_max_bytes.map(|size| size.0),
            cache: !args.no_cache,
            cache_max_bytes: args.cache_max_bytes.0,
        }
    }
}

/// A time for which files are kept; none for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention(pub(crate) Option<Duration>);

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let time = text.parse::<Millis>();
        time.map(|time| Self(Some(time.into())))
            .map_err(|_| "write it like `30m`, `2h` or `7d`, or `forever`".to_owned())
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<ByteSize>().map(|size| Self(size.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        keeping: KeepingArgs,
    }

    fn parse(words: &[&str]) -> Result<Keeping, String> {
        let words = std::iter::once("x").chain(words.iter().copied());
        let parsed = Command::try_parse_from(words).map_err(|error| error.to_string());
        parsed.map(|command| command.keeping.into())
    }

    #[test]
    fn without_options_everything_is_as_the_library_has_it() {
        assert_eq!(parse(&[]).unwrap(), Keeping::default());
    }

    #[test]
    fn every_option_is_taken() {
        let hour = Duration::from_secs(3_600);
        let words = [
            "--retention=2h",
            "--artifact-grace=30m",
            "--sweep-every=10m",
            "--artifacts-max-bytes=1GiB",
            "--cache-max-bytes=5MiB",
            "--no-cache",
        ];
        let expected = Keeping {
            retention: Some(2 * hour),
            grace: hour / 2,
            sweep_every: hour / 6,
            max_bytes: Some(1 << 30),
            cache: false,
            cache_max_bytes: 5 << 20,
        };
        assert_eq!(parse(&words).unwrap(), expected);
        assert_eq!(parse(&["--sweep-every=0ms"]).unwrap().sweep_every, Duration::from_secs(1));
    }

    #[test]
    fn what_is_no_time_or_size_is_refused_with_an_example() {
        for (word, hint) in [
            ("--retention=soon", "`forever`"),
            ("--retention=2", "`2h`"),
            ("--artifacts-max-bytes=much", "100MiB"),
        ] {
            assert!(parse(&[word]).unwrap_err().contains(hint), "{word}");
        }
    }
}
