//! Whether a sandbox works here: that `bwrap` is installed says little, for many a container and
//! many a kernel refuse what it needs.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{Access, BWRAP};
use crate::tools::find;

/// Longest part of what `bwrap` says that is kept.
const SAID_CHARS: usize = 200;

/// Whether it works; if not, why. Found out by a run, once: it is a matter of the machine.
pub(super) fn verdict() -> &'static Result<(), String> {
    static VERDICT: OnceLock<Result<(), String>> = OnceLock::new();
    VERDICT.get_or_init(try_out)
}

fn try_out() -> Result<(), String> {
    if find(BWRAP).is_none() {
        return Err(format!("`{BWRAP}` is not installed"));
    }
    let nothing = find("true").ok_or("there is no program `true` to try it with")?;
    let words = Access::default().words(nothing);
    let (program, arguments) = words.split_first().ok_or("there is nothing to run")?;
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("`{BWRAP}` cannot be started: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let said: String = said.lines().last().unwrap_or_default().chars().take(SAID_CHARS).collect();
    Err(format!("`{BWRAP}` ended with {}: {said}", ran.status))
}
