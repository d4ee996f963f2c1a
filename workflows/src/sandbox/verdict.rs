//! Whether a sandbox works here: that `bwrap` is installed says little, for many a container and
//! many a kernel refuse what it needs, and many a program is not to be seen from inside.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use super::access::is_system;
use super::{Access, BWRAP, environment};
use crate::limits::MAX_SANDBOX_SAID_CHARS;
use crate::tools::find;

/// Whether a program begins inside as it does outside; if not, why. Found out by a run, once for
/// each: it is a matter of the machine. All of the system is inside, so that of its programs the
/// smallest stands for all.
pub(super) fn verdict(program: &Path) -> Result<(), String> {
    let of_system = |path: &Path| path.canonicalize().is_ok_and(|real| is_system(&real));
    let smallest = find("true").filter(|smallest| of_system(smallest) && of_system(program));
    let program = smallest.as_deref().unwrap_or(program);
    static KNOWN: Mutex<Option<HashMap<PathBuf, Result<(), String>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.entry(program.to_owned()).or_insert_with(|| try_out(program)).clone()
}

fn try_out(program: &Path) -> Result<(), String> {
    if find(BWRAP).is_none() {
        return Err(format!("`{BWRAP}` is not installed"));
    }
    let inside = run(&Access::default().words(program))
        .map_err(|error| format!("`{BWRAP}` cannot be started: {error}"))?;
    if inside.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&inside.stderr);
    let is_refused = said.lines().any(|line| line.starts_with("bwrap: "));
    let outside = run(&[program.into()]).map(|outside| outside.status.code());
    // One that does not know the question says so here and there.
    if !is_refused && outside.is_ok_and(|outside| outside == inside.status.code()) {
        return Ok(());
    }
    let said: String =
        said.lines().last().unwrap_or_default().chars().take(MAX_SANDBOX_SAID_CHARS).collect();
    let name = program.file_name().unwrap_or_default().display();
    Err(format!("`{BWRAP}` with `{name}` ended with {}: {said}", inside.status))
}

fn run(words: &[OsString]) -> std::io::Result<Output> {
    let (program, arguments) = words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).arg("-version").stdin(Stdio::null());
    command.env_clear().envs(environment()).output()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn script(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_from_elsewhere_goes_by_its_link_and_has_its_libraries() {
        let here = tempfile::tempdir().unwrap();
        let (multi, link) = (here.path().join("own/bin/multi"), here.path().join("links/called"));
        script(&multi, "echo ${0##*/} $(cat ${1%-version}/own/lib/word)");
        fs::create_dir_all(here.path().join("own/lib")).unwrap();
        fs::write(here.path().join("own/lib/word"), "well").unwrap();
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&multi, &link).unwrap();
        if let Err(why) = verdict(&find("true").unwrap()) {
            eprintln!("NOT TESTED: there is no sandbox here: {why}");
            return;
        }
        let mut words = Access::default().words(&link);
        words.push(here.path().into());
        let ended = run(&words).unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stdout), "called well\n", "{ended:?}");
    }

    #[test]
    fn a_program_that_does_not_begin_inside_is_not_shut_in() {
        if let Err(why) = verdict(&find("true").unwrap()) {
            eprintln!("NOT TESTED: there is no sandbox here: {why}");
            return;
        }
        let here = tempfile::tempdir().unwrap();
        let (needy, simple) = (here.path().join("needy"), here.path().join("simple"));
        script(&needy, &format!("test -d {}/share || exit 127", here.path().display()));
        script(&simple, "echo no such option >&2; exit 3");
        fs::create_dir(here.path().join("share")).unwrap();
        let why = verdict(&needy).unwrap_err();
        assert!(why.contains("`needy`") && why.contains("127"), "{why}");
        assert_eq!(verdict(&simple), Ok(()), "it says the same outside");
        let said = verdict(&here.path().join("none")).unwrap_err();
        assert!(said.contains("`none`"), "{said}");
    }
}
