//! The bytes of one download: written as they come, and taken up again where they broke off, as
//! long as the server says that the file is still the same one.

use std::path::{Path, PathBuf};

use callsheet_actors::{StepError, StepResult};
use callsheet_storage::{Hashed, Hashing};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED};
use reqwest::{Response, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::meter::Meter;
use super::room;
use crate::limits::ROOM_CHECK_BYTES;

/// A file that is being downloaded.
pub(super) struct Body {
    to: PathBuf,
    file: File,
    meter: Meter,
    written: u64,
    /// Of what is written so far.
    hashing: Hashing,
    /// The most that was ever here: where all begins anew it stays.
    most: u64,
    /// How long the whole is, where somebody said so.
    length: Option<u64>,
    validator: Option<String>,
}

/// What a response is to what is there already.
enum Part {
    /// The whole, from its start.
    Whole,
    /// What is missing.
    Rest,
    /// A part that nobody asked for, or of another file.
    Foreign,
}

impl Body {
    pub(super) async fn create(to: &Path, meter: Meter) -> StepResult<Self> {
        let file = File::create(to).await.map_err(room::explain)?;
        let hashing = Hashing::default();
        let (to, length, validator) = (to.to_owned(), None, None);
        Ok(Self { to, file, meter, written: 0, hashing, most: 0, length, validator })
    }

    /// What is said of the length before the file comes.
    ///
    /// # Errors
    /// `fetch.too_large`, `fetch.no_room`.
    pub(super) fn announce(&mut self, length: Option<u64>) -> StepResult<()> {
        self.meter.expect(length)?;
        room::check(self.directory(), length.unwrap_or(0).saturating_sub(self.written))?;
        self.length = length.or(self.length);
        Ok(())
    }

    /// Where to go on, and what must hold for that: none to begin anew.
    pub(super) fn resume_at(&self) -> Option<(u64, &str)> {
        Some((self.written, self.validator.as_deref()?)).filter(|(written, _)| *written > 0)
    }

    /// The most bytes that have come in one go and its resumes.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Where to go on is not known any more.
    pub(super) fn ask_for_the_whole(&mut self) {
        self.validator = None;
    }

    /// Takes in a response to its end. `None` when it broke off and may be taken up again.
    ///
    /// # Errors
    /// When the file is too large or there is no room.
    pub(super) async fn take(&mut self, mut response: Response) -> StepResult<Option<()>> {
        match self.part(&response) {
            Part::Whole => self.begin_anew(&response).await?,
            Part::Rest => {}
            Part::Foreign => {
                // Without a mark to go by the next request is for the whole.
                self.ask_for_the_whole();
                return Ok(None);
            }
        }
        loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(_) => return Ok(None),
            };
            self.meter.add(piece.len())?;
            self.file.write_all(&piece).await.map_err(room::explain)?;
            self.hashing.update(&piece);
            let before = self.written / ROOM_CHECK_BYTES;
            self.written += piece.len() as u64;
            self.most = self.most.max(self.written);
            if self.written / ROOM_CHECK_BYTES > before {
                room::check(self.directory(), 0)?;
            }
        }
        // Without it the last piece may still wait in memory when the file is read.
        self.file.flush().await.map_err(room::explain)?;
        Ok(self.length.is_none_or(|length| self.written >= length).then_some(()))
    }

    /// What has come, by its name.
    pub(super) fn hashed(&self) -> Hashed {
        self.hashing.finish()
    }

    /// What came before it broke off for good.
    pub(super) fn broken(&self, shown: &str) -> StepError {
        let of = self.length.map(|length| format!(" of {length}")).unwrap_or_default();
        let message = format!("`{shown}` broke off: {} bytes{of} came", self.written);
        StepError::retryable("fetch.broken", message)
    }

    fn part(&self, response: &Response) -> Part {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Part::Whole;
        }
        let starts = content_range(response.headers()).map(|(start, _)| start);
        // A server that ignores what must hold may send the rest of another file.
        let is_same = validator(response.headers()).is_none_or(|it| Some(it) == self.validator);
        let is_rest = self.resume_at().is_some() && starts == Some(self.written) && is_same;
        if is_rest { Part::Rest } else { Part::Foreign }
    }

    async fn begin_anew(&mut self, response: &Response) -> StepResult<()> {
        if self.written > 0 {
            self.file = File::create(&self.to).await.map_err(room::explain)?;
            self.meter.begin_anew();
            self.written = 0;
            self.hashing = Hashing::default();
        }
        self.validator = validator(response.headers());
        let said = response.content_length().or(self.length);
        self.length = None;
        self.announce(said)
    }

    fn directory(&self) -> &Path {
        self.to.parent().unwrap_or(Path::new("."))
    }
}

/// What a server knows a file again by; a weak mark does not vouch for bytes.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let strong = text(ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| text(LAST_MODIFIED)).map(str::to_owned)
}

/// Where a part begins, and how long the whole is, in `bytes 5-9/10`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let start = range.split_once('-').map_or(Some(0), |(start, _)| start.parse().ok())?;
    Some((start, whole.parse().ok()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn ranges_are_read() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 0-0/12345", Some((0, Some(12_345)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */0", Some((0, Some(0)))),
            ("pages 5-9/10", None),
            ("bytes x-9/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(&headers(&[("content-range", text)])), expected, "{text}");
        }
    }

    #[test]
    fn only_what_vouches_for_bytes_is_a_validator() {
        let date = "Sat, 21 Nov 2026 18:00:00 GMT";
        for (pairs, expected) in [
            (vec![("etag", "\"a\"")], Some("\"a\"")),
            (vec![("etag", "\"a\""), ("last-modified", date)], Some("\"a\"")),
            (vec![("etag", "W/\"a\""), ("last-modified", date)], Some(date)),
            (vec![("etag", "W/\"a\"")], None),
            (vec![], None),
        ] {
            assert_eq!(validator(&headers(&pairs)).as_deref(), expected, "{pairs:?}");
        }
    }
}
