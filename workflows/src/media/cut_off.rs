//! Files that hold less than they say: what is left of a download or a recording that was cut off.

use callsheet_actors::StepError;

use super::{Facts, Stream};
use crate::limits::{MAX_LENGTH_ERROR_S, MIN_LENGTH_SHARE};

/// How long a stream should be, by its file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Promise {
    /// When it ends, in seconds from the start of the file.
    said_s: f64,
}

impl Promise {
    /// Of a stream; none where its file does not say how long the stream is, or only guesses.
    pub(crate) fn of(facts: &Facts, stream: &Stream) -> Option<Self> {
        let said_s = stream.end_s.or(stream.duration_s).filter(|_| !facts.guesses_length())?;
        Some(Self { said_s })
    }

    /// What must be found at least when it is decoded, in seconds from the start of the file. Heads
    /// are not exact, and what they say of the last picture least of all.
    pub(crate) fn least_s(self) -> f64 {
        (self.said_s * MIN_LENGTH_SHARE - MAX_LENGTH_ERROR_S).max(0.0)
    }

    /// The error for one that holds less.
    pub(crate) fn broken(self, what: &str, found_s: f64) -> StepError {
        let said = self.said_s;
        let message = format!("{what} ends after {found_s:.2} s, its file says {said:.2} s");
        StepError::fatal("media.cut_off", message)
            .with_hint("the file was cut off or is damaged; get it anew, whole")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_file_really_says_is_a_promise() {
        let stream = |end_s| Stream { end_s, ..Stream::default() };
        for (format, end_s, least) in [
            ("mov,mp4,m4a,3gp,3g2,mj2", Some(10.0), Some(9.0)),
            ("matroska,webm", Some(0.2), Some(0.0)),
            ("matroska,webm", None, None),
            ("mp3", Some(10.0), None),
            ("mpeg", Some(10.0), None),
        ] {
            let facts = Facts { format: format.to_owned(), ..Facts::default() };
            let promise = Promise::of(&facts, &stream(end_s));
            assert_eq!(promise.map(Promise::least_s), least, "{format} {end_s:?}");
        }
    }

    #[test]
    fn a_broken_promise_says_what_was_said() {
        let error = Promise { said_s: 10.0 }.broken("the scene", 3.456).0;
        assert_eq!(error.code, "media.cut_off");
        assert_eq!(error.message, "the scene ends after 3.46 s, its file says 10.00 s");
    }
}
