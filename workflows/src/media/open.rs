//! The one way to a media file: its kind told from its bytes, its limits checked, and the arguments
//! that keep ffmpeg from opening anything else.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use callsheet_actors::{Command, StepContext, StepError, StepResult};
use callsheet_engine::Failure;
use callsheet_storage::Artifact;

use super::{Container, FORMAT_WHITELIST, Facts, memo};
use crate::limits::{MAX_OPENED_STREAMS_COUNT, MAX_STREAMS_COUNT};
use crate::sandbox::{self, Access};
use crate::tools::{FFPROBE, install_hint};

/// A media file that may be opened.
pub(crate) struct OpenMedia {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) facts: Facts,
}

impl OpenMedia {
    /// Opens an artifact as media.
    ///
    /// # Errors
    /// `media.*` when it is no media, damaged or beyond a limit.
    pub(crate) async fn open(artifact: &Artifact, context: &StepContext) -> StepResult<Self> {
        let path = std::path::absolute(context.open(artifact).await?)?;
        Container::of_media(&path)?;
        if let Some(facts) = memo::recall(&artifact.artifact) {
            return Ok(Self { path, facts });
        }
        let media = Self::written(&path, context).await?;
        memo::keep(artifact.artifact, &media.facts);
        Ok(media)
    }

    /// Opens a file that the step has written itself.
    ///
    /// # Errors
    /// `media.*` when it is damaged or beyond a limit.
    pub(crate) async fn written(path: &Path, context: &StepContext) -> StepResult<Self> {
        let facts = probe(path, context).await?;
        facts.check()?;
        Ok(Self { path: path.to_owned(), facts })
    }

    /// Stores it as an artifact. What was found in it is known from then on, so that the next step
    /// need not look again.
    ///
    /// # Errors
    /// As [`StepContext::put_file`].
    pub(crate) async fn store(
        self,
        name: &str,
        media_type: &str,
        context: &StepContext,
    ) -> StepResult<Artifact> {
        let artifact = context.put_file(self.path, name, media_type).await?;
        memo::keep(artifact.artifact, &self.facts);
        Ok(artifact)
    }
}

/// The arguments that name an input: no protocol but files, no format but sound and pictures, no
/// more streams than can be counted, and never a name that could mean anything but a path.
pub(crate) fn input_args(path: &Path) -> Vec<OsString> {
    let mut name = OsString::from("file:");
    // Relative to a directory of ffmpeg's own it would mean another file.
    name.push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let streams = MAX_OPENED_STREAMS_COUNT.to_string();
    let formats = FORMAT_WHITELIST;
    let args = ["-protocol_whitelist", "file", "-format_whitelist", formats, "-max_streams"];
    let mut args: Vec<OsString> = args.map(OsString::from).into();
    args.extend([streams.into(), "-i".into(), name]);
    args
}

/// A run of ffprobe over one file, with all that a stranger's file is met with; what is asked of it
/// stands before `path`.
///
/// # Errors
/// `process.not_found`, `sandbox.unavailable`.
pub(crate) fn ffprobe<A: AsRef<OsStr>>(
    questions: impl IntoIterator<Item = A>,
    path: &Path,
    context: &StepContext,
) -> StepResult<Command> {
    let path = std::path::absolute(path)?;
    let command = sandbox::command(FFPROBE, &Access::default().read(&path), context)?;
    Ok(command.args(["-v", "error"]).args(questions).args(input_args(&path)).keep_stdout())
}

async fn probe(path: &Path, context: &StepContext) -> StepResult<Facts> {
    let questions = ["-print_format", "json", "-show_format", "-show_streams"];
    match ffprobe(questions, path, context)?.run().await {
        Ok(finished) => Facts::read(&finished.stdout),
        Err(StepError(failure)) if failure.code == "process.exit" => {
            Err(never_began(&failure).unwrap_or_else(|| refused(&failure)))
        }
        Err(error) => Err(error),
    }
}

/// The failure of a program that could not be loaded, which says nothing of the file.
fn never_began(failure: &Failure) -> Option<StepError> {
    let (_, code) = failure.message.lines().next()?.rsplit_once("exit status: ")?;
    let never_began = code.parse().is_ok_and(sandbox::never_began);
    never_began.then(|| StepError::retryable("process.start", failure.message.clone()))
}

/// What a failed look into a file says of it.
fn refused(failure: &Failure) -> StepError {
    // What it printed behind that is a report that it began.
    let errors = failure.message.split("\nstandard output ends with:").next().unwrap_or_default();
    let said = errors.lines().last().unwrap_or_default();
    if failure.message.contains("Number of streams exceeds max_streams") {
        let message = format!("the file has over {MAX_STREAMS_COUNT} streams");
        return StepError::fatal("media.too_many_streams", message);
    }
    let said = match errors.contains("moov atom not found") {
        true => "its index is missing, as in one that was cut off or never finished",
        false => said.rsplit_once(": ").map_or(said, |(_, reason)| reason),
    };
    StepError::fatal("media.unreadable", format!("the file cannot be read: {said}"))
        .with_hint("the file may be damaged or cut off; try to play it")
}

/// A program that is not there is named with what brings it.
pub(crate) fn with_install_hint(error: StepError, program: &str) -> StepError {
    match install_hint(program) {
        Some(hint) if error.0.code == "process.not_found" => error.with_hint(hint),
        _ => error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_loaded_says_nothing_of_the_file() {
        let ended = |code: u8| {
            let said = "standard error ends with:\nffprobe: libavformat.so: cannot open";
            let message = format!("`ffprobe -i file:a` ended with exit status: {code}\n{said}");
            let failure = Failure::retryable("process.exit", message);
            never_began(&failure).map(|error| error.0.code)
        };
        assert_eq!(ended(127).as_deref(), Some("process.start"));
        assert_eq!(ended(126).as_deref(), Some("process.start"));
        assert_eq!(ended(1), None);
    }

    #[test]
    fn inputs_cannot_be_options_or_protocols() {
        for path in ["/data/ab/abcdef", "/data/concat:a|b", "/data/-i"] {
            let args = input_args(Path::new(path));
            let protocols = args.iter().position(|arg| arg == "-protocol_whitelist").unwrap();
            let formats = args.iter().position(|arg| arg == "-format_whitelist").unwrap();
            assert_eq!(args[protocols + 1], "file");
            for format in ["hls", "concat", "dash", "image2", "lavfi", "sdp"] {
                let allowed = args[formats + 1].to_str().unwrap();
                assert!(!allowed.split(',').any(|name| name == format), "{format}");
            }
            assert_eq!(args.last().unwrap().to_str().unwrap(), format!("file:{path}"));
        }
    }
}
