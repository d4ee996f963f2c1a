//! The step kind `media.fetch`: brings a file into the engine, from an address or from this
//! machine, as far as the operator allows; or takes one that is there already.

mod address;
mod body;
mod download;
mod expired;
mod local;
mod meter;
mod origin;
pub(crate) mod resolver;
mod room;
pub(crate) mod target;

use std::path::Path;
use std::time::Duration;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_storage::{Artifact, Hashed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{DEFAULT_FETCH_BYTES, DEFAULT_FETCH_MS};
use crate::media::Container;
use crate::options::MediaOptions;
use crate::quantity::{ByteSize, Span};
use download::Downloader;
pub(crate) use download::causes;
use meter::Meter;
pub use origin::{Origin, Stored};

/// Brings a file into the engine.
pub struct Fetch {
    allow_local_paths: bool,
    downloader: Downloader,
}

/// The input of `media.fetch`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// An address that starts with `https://` or `http://`, a path of this machine where the
    /// operator allows it, or the reference of an upload or of another step's file.
    pub source: Origin,
    /// Largest file that is taken, such as `100MiB`.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: ByteSize,
    /// Longest time that it may take, such as `10m`.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

fn default_max_bytes() -> ByteSize {
    ByteSize(DEFAULT_FETCH_BYTES)
}

fn default_timeout() -> Span {
    Span(Duration::from_millis(DEFAULT_FETCH_MS))
}

/// The output of `media.fetch`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Fetched {
    /// The file, named `source` with the ending of its kind.
    pub file: Artifact,
}

impl Fetch {
    /// A fetcher within what the options allow.
    #[must_use]
    pub fn new(options: &MediaOptions) -> Self {
        Self {
            allow_local_paths: options.allow_local_paths,
            downloader: Downloader::new(options.allow_private_addresses),
        }
    }

    async fn bring(&self, source: &str, to: &Path, meter: Meter) -> StepResult<Hashed> {
        if is_address(source) {
            return self.downloader.download(source, to, meter).await;
        }
        if !self.allow_local_paths {
            return Err(StepError::fatal(
                "fetch.local_path",
                "the source is no address, and files of this machine are not allowed here",
            )
            .with_hint(
                "use an address that starts with `https://`, send the file with \
                 `callsheet submit --upload NAME=FILE`, or have the server started with \
                 `--allow-local-paths`",
            ));
        }
        local::copy(source.as_ref(), to, meter).await
    }

    /// Brings the file of a text in, within the time that it may take.
    async fn fetch(
        &self,
        source: &str,
        input: &Source,
        context: &StepContext,
    ) -> StepResult<Artifact> {
        let to = context.work_dir()?.join("source");
        let meter = Meter::new(context.clone(), input.max_bytes.0);
        let limit = input.timeout.0;
        let hashed = match tokio::time::timeout(limit, self.bring(source, &to, meter)).await {
            Ok(brought) => brought?,
            Err(_) => {
                let message = format!("the file was not here after {} s", limit.as_secs());
                return Err(StepError::retryable("fetch.timeout", message)
                    .with_hint("raise `timeout`, or use a source that is nearer"));
            }
        };
        let (name, media_type) = words(&to)?;
        context.put_hashed((to, hashed), name, media_type).await
    }
}

/// A file that is there already, its content checked. It is named as if it had been fetched: the
/// same film gives the same output, however it came.
async fn look_up(stored: &Stored, max_bytes: u64, context: &StepContext) -> StepResult<Artifact> {
    let bare = String::new;
    let mut file =
        Artifact { artifact: stored.artifact, name: bare(), media_type: bare(), size: 0 };
    let path = context.open(&file).await.map_err(|error| match error.0.code.as_str() {
        "artifact.missing" => {
            error.with_hint("upload the file again; those of jobs are kept for a time only")
        }
        _ => error,
    })?;
    file.size = std::fs::metadata(&path)?.len();
    Meter::new(context.clone(), max_bytes).expect(Some(file.size))?;
    let (name, media_type) = words(&path)?;
    (file.name, file.media_type) = (name, media_type.to_owned());
    Ok(file)
}

/// What a file is called and what it is, by its content.
fn words(path: &Path) -> StepResult<(String, &'static str)> {
    Ok(match Container::of_file(path)? {
        Some(kind) => (format!("source.{}", kind.extension()), kind.media_type()),
        // Whether it is of use is for the steps after this one to say.
        None => ("source.bin".to_owned(), "application/octet-stream"),
    })
}

impl Step for Fetch {
    type Input = Source;
    type Output = Fetched;

    fn kind(&self) -> String {
        "media.fetch".to_owned()
    }

    fn description(&self) -> String {
        "Brings a file into the engine, from an address or from this machine.".to_owned()
    }

    async fn run(&self, input: Source, context: StepContext) -> StepResult<Fetched> {
        let file = match &input.source {
            Origin::Named(source) => self.fetch(source, &input, &context).await?,
            Origin::Stored(stored) => look_up(stored, input.max_bytes.0, &context).await?,
        };
        Ok(Fetched { file })
    }
}

/// Whether a source is an address: it starts with a scheme and a colon. Paths with a colon in the
/// first part can be written with `./`.
fn is_address(source: &str) -> bool {
    source.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for (source, expected) in [
            ("https://example.com/a.mp4", true),
            ("HTTP://example.com", true),
            ("file:///etc/passwd", true),
            ("concat:a.mp4|b.mp4", true),
            ("data:,", true),
            ("/home/me/video.mp4", false),
            ("video.mp4", false),
            ("./a:b.mp4", false),
            ("-i", false),
            ("", false),
        ] {
            assert_eq!(is_address(source), expected, "{source}");
        }
    }

    #[test]
    fn limits_have_defaults_and_are_read_as_people_write_them() {
        let source: Source = serde_json::from_value(json!({ "source": "a" })).unwrap();
        assert_eq!(source.max_bytes, ByteSize(2 << 30));
        assert_eq!(source.timeout.0, Duration::from_secs(600));
        let source = json!({ "source": "a", "max_bytes": "1MiB", "timeout": "5s" });
        let source: Source = serde_json::from_value(source).unwrap();
        assert_eq!((source.max_bytes.0, source.timeout.0.as_secs()), (1 << 20, 5));
        assert!(serde_json::from_value::<Source>(json!({ "source": "a", "url": "b" })).is_err());
    }
}
