//! Files of this machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use callsheet_actors::{StepError, StepResult};

use super::meter::Meter;
use super::room;
use crate::limits::COPY_PIECE_BYTES;

/// Copies a file of this machine. The user's own file is never moved.
///
/// # Errors
/// `fetch.not_found`, `fetch.not_a_file`, `fetch.unreadable`, `fetch.too_large`.
pub(super) async fn copy(from: &Path, to: &Path, meter: Meter) -> StepResult<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let context = meter.context().clone();
    context.blocking(move || copy_now(&from, &to, meter)).await
}

fn copy_now(from: &Path, to: &Path, mut meter: Meter) -> StepResult<()> {
    let mut source = open(from)?;
    let length = source.metadata().map_err(|error| unreadable(from, &error))?.len();
    meter.expect(Some(length))?;
    room::check(to.parent().unwrap_or(Path::new(".")), length)?;
    let mut copy = File::create(to).map_err(room::explain)?;
    let mut piece = vec![0; COPY_PIECE_BYTES];
    loop {
        // A copy in a thread is not dropped like a future: it looks up between two pieces.
        if meter.context().cancelled().is_cancelled() {
            return Err(StepError::retryable("fetch.cancelled", "the copy was cancelled"));
        }
        let count = source.read(&mut piece).map_err(|error| unreadable(from, &error))?;
        if count == 0 {
            return Ok(());
        }
        meter.add(count)?;
        copy.write_all(&piece[..count]).map_err(room::explain)?;
    }
}

/// Opens a regular file. Its kind is asked first: opening a pipe would wait for a writer.
fn open(path: &Path) -> StepResult<File> {
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let about = fs::metadata(&path).map_err(|error| {
        let shown = path.display();
        if error.kind() == std::io::ErrorKind::NotFound {
            return StepError::fatal("fetch.not_found", format!("there is no file `{shown}`"))
                .with_hint("check the path; it is taken from the engine's working directory");
        }
        unreadable(&path, &error)
    })?;
    if !about.is_file() {
        let message = format!("`{}` is not a regular file", path.display());
        return Err(StepError::fatal("fetch.not_a_file", message));
    }
    File::open(&path).map_err(|error| unreadable(&path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> StepError {
    let message = format!("cannot read `{}`: {error}", path.display());
    StepError::fatal("fetch.unreadable", message)
}
