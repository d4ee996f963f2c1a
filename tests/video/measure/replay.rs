//! The bare commands of a job: noted while it runs, with the files that they read, and run again by
//! hand, without an engine.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::encodes::noted;

/// The programs that are the work of a job.
const PROGRAMS: [&str; 3] = ["ffmpeg", "ffprobe", "pocketsphinx_continuous"];

/// Programs on the `PATH` that note how they are called and keep what they read.
pub(super) struct Recorder {
    dir: PathBuf,
}

/// One call.
struct Call {
    program: PathBuf,
    directory: PathBuf,
    args: Vec<OsString>,
}

impl Recorder {
    /// Notes for an engine whose work directory is below `state`.
    pub(super) fn new(dir: &Path, state: &Path) -> Self {
        for program in noted(&PROGRAMS) {
            let Some(real) = find(program) else { continue };
            // Before the call, so that a file is kept which the next attempt removes. Links cost
            // nothing, and a program that writes a file anew does not change the kept one.
            let script = format!(
                "#!/bin/sh\n[ -z \"$NOTED\" ] || exec '{real}' \"$@\"\n\
                 export NOTED=1\n\
                 cp -al '{work}/.' '{kept}/' 2>/dev/null\n\
                 n=$(mktemp '{calls}/XXXXXXXXXX')\n\
                 {{ date +%s%N; echo '{real}'; pwd; printf '%s\\0' \"$@\"; }} > \"$n\"\n\
                 exec '{real}' \"$@\"\n",
                real = real.display(),
                work = state.join("work").display(),
                kept = dir.join("kept").display(),
                calls = dir.join("calls").display(),
            );
            std::fs::create_dir_all(dir.join("bin")).unwrap();
            std::fs::create_dir_all(dir.join("kept")).unwrap();
            std::fs::create_dir_all(dir.join("calls")).unwrap();
            let path = dir.join("bin").join(program);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir: dir.to_owned() }
    }

    pub(super) fn path(&self) -> OsString {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.dir.join("bin")).chain(std::env::split_paths(&old));
        std::env::join_paths(dirs).unwrap()
    }

    /// Runs every noted call again, one after another; answers how many and how long all took.
    pub(super) fn replay(&self, state: &Path) -> (usize, Duration) {
        let (from, to) = (state.join("work"), self.dir.join("kept"));
        let moved = |text: &OsString| -> OsString {
            let text = text.to_string_lossy();
            text.replace(&from.display().to_string(), &to.display().to_string()).into()
        };
        let calls = self.calls();
        let since = Instant::now();
        for call in &calls {
            let mut command = Command::new(&call.program);
            let directory = moved(&call.directory.clone().into_os_string());
            command.args(call.args.iter().map(moved)).current_dir(directory);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let ended = command.output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(ended.status.success(), "{command:?}: {said}");
        }
        (calls.len(), since.elapsed())
    }

    /// The calls in the order of their beginnings, but those that only try whether a program runs.
    fn calls(&self) -> Vec<Call> {
        let entries = std::fs::read_dir(self.dir.join("calls")).unwrap().flatten();
        let mut calls: Vec<(u64, Call)> =
            entries.map(|entry| read(&std::fs::read(entry.path()).unwrap())).collect();
        calls.sort_by_key(|(at, _)| *at);
        calls.into_iter().map(|(_, call)| call).filter(|call| !call.is_trial()).collect()
    }
}

fn read(bytes: &[u8]) -> (u64, Call) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(4, '\n');
    let mut next = || parts.next().expect("a call has four parts").to_owned();
    let (at, program, directory, args) = (next(), next(), next(), next());
    let args: Vec<OsString> = args.split_terminator('\0').map(OsString::from).collect();
    let call = Call { program: program.into(), directory: directory.into(), args };
    (at.parse().unwrap(), call.bare())
}

impl Call {
    fn is_trial(&self) -> bool {
        self.program.ends_with("true") || self.args == ["-version"]
    }

    /// The call without the sandbox around it, in which all paths are those outside.
    fn bare(self) -> Self {
        let after = |word: &str| self.args.iter().position(|arg| arg == word).map(|n| n + 1);
        let (Some(program), Some(directory)) = (after("--"), after("--chdir")) else { return self };
        Self {
            program: PathBuf::from(&self.args[program]),
            directory: PathBuf::from(&self.args[directory]),
            args: self.args[program + 1..].to_vec(),
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[test]
fn a_call_is_read_as_it_was_noted() {
    let noted = b"17\n/usr/bin/ffmpeg\n/tmp\n-i\0a b\0x\ny\0";
    let (at, call) = read(noted);
    assert_eq!(
        (at, call.program.to_str(), call.directory.to_str()),
        (17, Some("/usr/bin/ffmpeg"), Some("/tmp"))
    );
    assert_eq!(call.args, ["-i", "a b", "x\ny"]);
    let noted = b"17\n/usr/bin/bwrap\n/\n--chdir\0/job\0--\0/usr/bin/ffmpeg\0-i\0";
    let call = read(noted).1;
    let (program, directory) = (call.program.to_str(), call.directory.to_str());
    assert_eq!((program, directory), (Some("/usr/bin/ffmpeg"), Some("/job")));
    assert_eq!(call.args, ["-i"]);
}
