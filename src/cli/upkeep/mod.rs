//! Commands for whole stores: backup, restore, compact, verify.

mod backup;
mod compact;
mod meter;
mod restore;
mod verify;

use std::path::Path;

use callsheet::maintenance::{LeftOut, MaintenanceError};

use crate::cli::error::{CliError, Exit};

pub(crate) use backup::{BackupArgs, backup};
pub(crate) use compact::{CompactArgs, compact};
pub(crate) use restore::{RestoreArgs, restore};
pub(crate) use verify::{VerifyArgs, verify};

impl From<MaintenanceError> for CliError {
    fn from(error: MaintenanceError) -> Self {
        let complaint = match &error {
            MaintenanceError::Store(_) | MaintenanceError::NoStore(_) => {
                Self::engine(error.to_string())
            }
            _ => Self::failed(error.to_string()),
        };
        complaint.maybe_hint(error.hint().map(str::to_owned))
    }
}

/// A complaint about a file, said with its name.
fn about(file: &Path, error: MaintenanceError) -> CliError {
    match error {
        MaintenanceError::NoBackup
        | MaintenanceError::Newer(_)
        | MaintenanceError::Cut(_)
        | MaintenanceError::Damaged { .. } => {
            CliError::failed(format!("cannot use `{}`: {error}", file.display()))
                .maybe_hint(error.hint().map(str::to_owned))
        }
        other => other.into(),
    }
}

/// Says what is missing; a backup that lacks something is no success.
fn tell_left_out(left_out: &[LeftOut], hint: &str) -> Exit {
    for LeftOut { what, why } in left_out {
        eprintln!("error: left out {what}: {why}");
    }
    if left_out.is_empty() {
        return Exit::Done;
    }
    eprintln!("hint: {hint}");
    Exit::Failed
}

/// A number and a noun, in the plural where it belongs.
fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Bytes for people.
#[allow(clippy::cast_precision_loss)] // three digits are shown
fn bytes(number: u64) -> String {
    let mut size = number as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{number} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_for_people() {
        assert_eq!(count(1, "job"), "1 job");
        assert_eq!(count(0, "job"), "0 jobs");
        let said = [0, 1023, 1024, 1536, 5 << 20, 3 << 40].map(bytes);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB"]);
    }
}
