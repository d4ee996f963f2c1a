//! Files of this machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use callsheet_actors::{StepError, StepResult};
use callsheet_storage::{Hashed, Hashing};
use rustix::fs::OFlags;

use super::meter::Meter;
use super::room;
use crate::limits::COPY_PIECE_BYTES;
use crate::wanted;

/// Copies a file of this machine. The user's own file is never moved.
///
/// # Errors
/// `fetch.not_found`, `fetch.not_a_file`, `fetch.unreadable`, `fetch.too_large`.
pub(super) async fn copy(from: &Path, to: &Path, meter: Meter) -> StepResult<Hashed> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let context = meter.context().clone();
    context.blocking(move || copy_now(&from, &to, meter)).await
}

fn copy_now(from: &Path, to: &Path, mut meter: Meter) -> StepResult<Hashed> {
    let source = open(from)?;
    let length = source.metadata().map_err(|error| unreadable(from, &error))?.len();
    meter.expect(Some(length))?;
    room::check(to.parent().unwrap_or(Path::new(".")), length)?;
    let mut copy = File::create(to).map_err(room::explain)?;
    // What the file says it has, and no more: those that the kernel makes up say 0, hold what is
    // nobody's business, and some of them wait for ever.
    let mut source = source.take(length);
    let mut piece = vec![0; COPY_PIECE_BYTES];
    let mut hashing = Hashing::default();
    let wanted = wanted::by(meter.context());
    loop {
        wanted()?;
        let count = source.read(&mut piece).map_err(|error| unreadable(from, &error))?;
        if count == 0 {
            return Ok(hashing.finish());
        }
        meter.add(count)?;
        hashing.update(&piece[..count]);
        copy.write_all(&piece[..count]).map_err(room::explain)?;
    }
}

/// Opens a regular file. Its kind is asked first, for a device may do something when it is opened,
/// and of what was opened again, for somebody may have put another in its place: a pipe would
/// otherwise wait for a writer.
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
    check_kind(&path, &about)?;
    let mut options = File::options();
    let options = options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.open(&path).map_err(|error| unreadable(&path, &error))?;
    check_kind(&path, &file.metadata().map_err(|error| unreadable(&path, &error))?)?;
    Ok(file)
}

fn check_kind(path: &Path, about: &fs::Metadata) -> StepResult<()> {
    if about.is_file() {
        return Ok(());
    }
    let message = format!("`{}` is not a regular file", path.display());
    Err(StepError::fatal("fetch.not_a_file", message)
        .with_hint("name a file, no directory, pipe or device"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> StepError {
    let message = format!("cannot read `{}`: {error}", path.display());
    StepError::fatal("fetch.unreadable", message)
}
