//! A ledger of finished encodes, kept outside the engine: programs on the `PATH` in front of the
//! real ones note each run that has ended well.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::journal::{Journal, Place};

/// The programs whose runs are noted: where sandboxes work it is what makes them, for inside of one
/// there is no ledger to write in; elsewhere the encoder itself.
pub(crate) fn noted(alone: &'static [&'static str]) -> &'static [&'static str] {
    let mut bwrap = Command::new("bwrap");
    let tried = bwrap.args(["--ro-bind", "/", "/", "--unshare-net", "true"]).output();
    if tried.is_ok_and(|ended| ended.status.success()) { &["bwrap"] } else { alone }
}

/// Programs that note, and what they have noted.
pub(crate) struct Encodes {
    dir: PathBuf,
    /// The engine's directory of work: `<job>/<fence>` is named below it.
    work: PathBuf,
}

/// A run that has ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encode {
    /// Job and fence of the attempt, from the work directory that is named in the arguments.
    pub(crate) attempt: Option<(String, u64)>,
    pub(crate) line: String,
}

impl Encodes {
    /// Puts the programs into a directory, for an engine that works in `work`.
    pub(crate) fn new(dir: &Path, work: PathBuf) -> Self {
        let dir = dir.join("noted");
        std::fs::create_dir_all(&dir).unwrap();
        for program in noted(&["ffmpeg"]) {
            let Some(real) = find(program) else { continue };
            // The real program dies with the one that waits for it, as it does with the engine.
            let script = format!(
                "#!/bin/sh\nsetpriv --pdeathsig KILL '{}' \"$@\"\ncode=$?\n\
                 if [ $code = 0 ]; then echo \"$PWD\" \"$@\" | tr '\\n' ' ' >> '{1}'; \
                 echo >> '{1}'; fi\nexit $code\n",
                real.display(),
                dir.join("ledger").display()
            );
            let path = dir.join(program);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir, work }
    }

    /// The `PATH` on which they come first.
    pub(crate) fn path(&self) -> OsString {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.dir.clone()).chain(std::env::split_paths(&old));
        std::env::join_paths(dirs).unwrap()
    }

    /// The runs that have ended well and had a work directory, in their order.
    pub(crate) fn read(&self) -> Vec<Encode> {
        let text = std::fs::read(self.dir.join("ledger")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let encode = |line: &str| Encode { attempt: attempt(line, &self.work), line: line.into() };
        lines.map(encode).collect()
    }
}

impl Encode {
    /// What it was made for, if that is recorded.
    pub(crate) fn place<'a>(&self, journal: &'a Journal) -> Option<&'a Place> {
        let (job, fence) = self.attempt.as_ref()?;
        journal.place(job, *fence)
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The job and the fence: the two names below the engine's directory of work.
fn attempt(line: &str, work: &Path) -> Option<(String, u64)> {
    let (_, below) = line.split_once(&format!("{}/", work.display()))?;
    let mut names = below.split(['/', ' ']);
    Some((names.next()?.to_owned(), names.next()?.parse().ok()?))
}

#[test]
fn the_attempt_stands_in_the_line() {
    let work = Path::new("some/work/state/work");
    let line = "some/work/clone -y -i file:some/work/state/work/J-1/7/out.mp4 ";
    assert_eq!(attempt(line, work), Some(("J-1".to_owned(), 7)));
    assert_eq!(attempt("some/work/clone -i a.mp4 -f null -", work), None);
}
