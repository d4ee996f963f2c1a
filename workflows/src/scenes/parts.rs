//! Parts of a film as one input of ffmpeg, one behind the other.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use callsheet_actors::{StepContext, StepResult};
use callsheet_storage::Artifact;

use crate::ffmpeg::READ_ONLY;
use crate::media::Container;

/// What ffmpeg may open through a list of ours: the parts, and nothing else.
const LISTED: &str = "concat,mov,mp4,flac";

/// Puts parts into a directory under names of ours, writes the list of them, and answers with the
/// arguments that name it as an input. Each part comes with the microsecond at which it ends.
///
/// The parts are what is stored itself: the directory is one that nobody writes to from now on.
pub(super) async fn listed(
    ending: &str,
    parts: &[(&Artifact, u64)],
    work: &Path,
    context: &StepContext,
) -> StepResult<Vec<OsString>> {
    let dir = work.join(READ_ONLY);
    fs::create_dir(&dir)?;
    for (n, (file, _)) in parts.iter().enumerate() {
        let (from, link) = (context.open(file).await?, dir.join(name(n, ending)));
        Container::of_media(&from)?;
        // A link costs nothing; between two disks there is none.
        if fs::hard_link(&from, &link).is_err() {
            fs::copy(&from, &link)?;
        }
    }
    let list = dir.join("parts.ffconcat");
    fs::write(&list, list_of(ending, parts.iter().map(|(_, until)| *until)))?;
    let args = ["-protocol_whitelist", "file", "-format_whitelist", LISTED, "-f", "concat", "-i"];
    let mut args: Vec<OsString> = args.map(OsString::from).into();
    let mut input = OsString::from("file:");
    input.push(list);
    args.push(input);
    Ok(args)
}

fn name(n: usize, ending: &str) -> String {
    format!("part-{n}.{ending}")
}

/// The list. Each part is given its length, as the difference of two instants, so that what a
/// container rounds does not add up.
fn list_of(ending: &str, ends: impl Iterator<Item = u64>) -> String {
    let mut list = "ffconcat version 1.0\n".to_owned();
    let mut from = 0;
    for (n, until) in ends.enumerate() {
        let (s, us) = ((until - from) / 1_000_000, (until - from) % 1_000_000);
        from = until;
        list.push_str(&format!("file {}\nduration {s}.{us:06}\n", name(n, ending)));
    }
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_holds_names_of_ours_and_lengths() {
        assert_eq!(
            list_of("mp4", [1_001_000, 1_034_367].into_iter()),
            "ffconcat version 1.0\nfile part-0.mp4\nduration 1.001000\n\
             file part-1.mp4\nduration 0.033367\n"
        );
    }

    proptest! {
        #[test]
        fn the_lengths_in_a_list_add_up(
            lengths in proptest::collection::vec(1u64..90_000_000, 1..300),
        ) {
            let ends = lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            });
            let list = list_of("flac", ends);
            let micros: u64 = list
                .lines()
                .filter_map(|line| line.strip_prefix("duration "))
                .map(|seconds| seconds.replace('.', "").parse::<u64>().unwrap_or_default())
                .sum();
            prop_assert_eq!(micros, lengths.iter().sum::<u64>());
        }
    }
}
