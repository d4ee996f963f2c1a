//! What a program may see and write, as the words that tell `bwrap`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::BWRAP;

/// Directories of programs and their libraries that are links on most systems, and directories on
/// some.
const SYSTEM: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What else programs read of the system, where it is: how the linker finds libraries, fonts and
/// what is known of them, programs that came from elsewhere.
const READ: [&str; 9] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/localtime",
    "/var/cache/fontconfig",
    "/opt",
    "/nix/store",
];

/// Where programs that came from elsewhere have their libraries, beside their `bin`.
const LIBRARIES: [&str; 2] = ["lib", "lib64"];

/// Devices without which programs do not start.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

/// Devices that encode, where there are any.
const ENCODERS: [&str; 6] = [
    "/dev/dri",
    "/dev/nvidia0",
    "/dev/nvidiactl",
    "/dev/nvidia-modeset",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
];

/// What a program may see of the files of this machine, beside programs and fonts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    directory: Option<PathBuf>,
}

impl Access {
    /// Lets it read a file or a directory.
    pub(crate) fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.reads.push(path.into());
        self
    }

    /// Lets it write in a directory.
    pub(crate) fn write(mut self, directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        if !self.writes.contains(&directory) {
            self.writes.push(directory);
        }
        self
    }

    /// Lets it write in a directory, and begin there.
    pub(crate) fn inside(mut self, directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        self.directory = Some(directory.clone());
        self.write(directory)
    }

    /// The words before a program that shut it in, and the program.
    pub(super) fn words(&self, program: &Path) -> Vec<OsString> {
        let mut words = Words::new();
        words.add(["--unshare-user-try", "--unshare-ipc", "--unshare-pid", "--unshare-net"]);
        // No new session: the program stays in the process group that a cancel ends. It has no
        // terminal to write commands into, since there is no `/dev/tty` inside.
        words.add(["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]);
        words.add(["--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]);
        SYSTEM.into_iter().for_each(|path| words.system(Path::new(path)));
        READ.into_iter().for_each(|path| words.bind("--ro-bind-try", Path::new(path)));
        DEVICES.into_iter().for_each(|path| words.bind("--dev-bind", Path::new(path)));
        ENCODERS.into_iter().for_each(|path| words.bind("--dev-bind-try", Path::new(path)));
        words.program(program);
        self.writes.iter().for_each(|path| words.bind("--bind", path));
        // After those that may be written, so that an input among them stays as it is. One that is
        // not there is for the program to miss: it says so better.
        self.reads.iter().for_each(|path| words.bind("--ro-bind-try", path));
        words.add(["--remount-ro", "/", "--chdir"]);
        words.0.push(self.directory.as_deref().unwrap_or(Path::new("/")).into());
        words.add(["--"]);
        words.0.push(program.into());
        words.0
    }
}

/// Whether all sandboxes hold a path.
pub(super) fn is_system(path: &Path) -> bool {
    ["/usr", "/opt", "/nix/store"].iter().any(|system| path.starts_with(system))
}

struct Words(Vec<OsString>);

impl Words {
    fn new() -> Self {
        Self(vec![BWRAP.into()])
    }

    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.0.extend(words.map(OsString::from));
    }

    /// What is inside where it is outside.
    fn bind(&mut self, how: &str, path: &Path) {
        self.0.extend([how.into(), path.into(), path.into()]);
    }

    /// A program is where it is found, which may be a link: one that stands for many programs goes
    /// by the name that it is called by. With it come the libraries that lie beside its directory.
    fn program(&mut self, program: &Path) {
        let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        if !is_system(&real) {
            self.bind("--ro-bind", &real);
            let directory = real.parent().filter(|directory| directory.ends_with("bin"));
            // Not the whole of what is there: beside `bin` may lie all that a user has.
            let libraries = directory
                .and_then(Path::parent)
                .map(|prefix| LIBRARIES.map(|name| prefix.join(name)));
            libraries.iter().flatten().for_each(|path| self.bind("--ro-bind-try", path));
        }
        if real != program && !is_system(program) {
            self.0.extend(["--symlink".into(), real.into(), program.into()]);
        }
    }

    fn system(&mut self, path: &Path) {
        match fs::read_link(path) {
            Ok(target) => self.0.extend(["--symlink".into(), target.into(), path.into()]),
            Err(_) => self.bind("--ro-bind-try", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(access: &Access, program: &str) -> String {
        let words = access.words(Path::new(program));
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn nothing_is_bound_but_what_was_named() {
        let access = Access::default().read("/data/a b").inside("/data/work/1");
        let words = words(&access, "/usr/bin/ffmpeg");
        assert!(words.starts_with("bwrap --unshare-user-try"), "{words}");
        for part in [
            " --unshare-net ",
            " --unshare-pid ",
            " --die-with-parent ",
            " --cap-drop ALL ",
            " --bind /data/work/1 /data/work/1 --ro-bind-try /data/a b /data/a b --remount-ro / ",
            " --chdir /data/work/1 -- /usr/bin/ffmpeg",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        for part in ["/home", "/root", "/proc", "/dev/tty", "/etc/passwd", "--new-session"] {
            assert!(!words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn a_program_from_elsewhere_is_bound_by_itself() {
        let words = words(&Access::default(), "/srv/tools/ffmpeg");
        assert!(words.contains(" --ro-bind /srv/tools/ffmpeg /srv/tools/ffmpeg "), "{words}");
        assert!(words.ends_with("--chdir / -- /srv/tools/ffmpeg"), "{words}");
        assert!(!words.contains("/srv/tools/lib"), "{words}");
    }
}
