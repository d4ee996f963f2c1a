//! How the command ends: its exit codes, and the one shape of its complaints.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use callsheet::{EngineError, Failure, Problems};

/// What commands answer with.
pub(crate) type Result<T> = std::result::Result<T, CliError>;

/// The exit codes, the same for every subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// The job or an item of a batch did not succeed, a definition has problems, or a request was
    /// refused.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The engine cannot work: its data directory cannot be opened, or its store has failed.
    Engine = 3,
    /// Stopped by Ctrl-C or SIGTERM before the end; nothing recorded is lost.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A complaint: what is wrong, what to do about it, and the exit code that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    /// How the process ends.
    pub(crate) exit: Exit,
    message: String,
    hints: Vec<String>,
}

impl CliError {
    /// Something did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), hints: Vec::new() }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::failed(message) }
    }

    /// The engine cannot work.
    pub(crate) fn engine(message: impl Into<String>) -> Self {
        Self { exit: Exit::Engine, ..Self::failed(message) }
    }

    /// A file or directory cannot be used: `doing` says for what, such as `read`.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::failed(format!("cannot {doing} `{}`: {error}", path.display()))
    }

    /// The same complaint with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same complaint with advice, when there is any.
    #[must_use]
    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The same complaint, when it is the engine that cannot work.
    #[must_use]
    pub(crate) fn exit_with_engine(self) -> Self {
        Self { exit: Exit::Engine, ..self }
    }

    /// Several complaints about one thing as one: a line for each, then the advice of all.
    pub(crate) fn several(what: &str, mut all: Vec<Self>) -> Self {
        if all.len() == 1 {
            return all.remove(0);
        }
        let lines: String = all.iter().map(|error| format!("\n  {}", error.message)).collect();
        let exit = all.first().map_or(Exit::Failed, |error| error.exit);
        let hints = all.into_iter().flat_map(|error| error.hints).collect();
        Self { exit, message: format!("{what}{lines}"), hints }
    }

    /// A file with problems: one line for each, then its hint.
    pub(crate) fn problems(what: &str, problems: &Problems) -> Self {
        let count = problems.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        let list = crate::cli::print::problems(what, problems);
        Self::failed(format!("`{what}` has {count} {noun}\n{}", list.trim_end()))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        let message = match &error {
            EngineError::Refused(problems) => {
                return Self::problems("input", problems);
            }
            other => format!("{other} [{}]", other.code()),
        };
        let exit = match &error {
            EngineError::Store(_) | EngineError::Full => Exit::Engine,
            _ => Exit::Failed,
        };
        Self { exit, ..Self::failed(message) }.maybe_hint(error.hint())
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::failed(format!("{} [{}]", failure.message, failure.code)).maybe_hint(failure.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_an_error_line_and_hint_lines() {
        let error = CliError::failed("no such job").hint("list them").hint("or submit one");
        assert_eq!(error.to_string(), "error: no such job\nhint: list them\nhint: or submit one");
        assert_eq!(error.exit, Exit::Failed);
    }

    #[test]
    fn several_complaints_become_one() {
        let one = CliError::usage("a is wrong").hint("mend a");
        let two = CliError::usage("b is wrong").hint("mend b");
        assert_eq!(CliError::several("all", vec![one.clone()]), one);
        let both = CliError::several("two wrongs", vec![one, two]);
        assert_eq!(both.exit, Exit::Usage);
        let expected = "error: two wrongs\n  a is wrong\n  b is wrong\nhint: mend a\nhint: mend b";
        assert_eq!(both.to_string(), expected);
    }

    #[test]
    fn exit_codes_are_stable() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Engine, Exit::Interrupted];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 3, 130]);
    }

    #[test]
    fn a_failure_keeps_its_code_and_hint() {
        let failure = Failure::fatal("media.too_large", "too large").with_hint("cut it");
        let expected = "error: too large [media.too_large]\nhint: cut it";
        assert_eq!(CliError::from(failure).to_string(), expected);
    }
}
