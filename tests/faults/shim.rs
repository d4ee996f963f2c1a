//! Builds the preloaded library, and steers programs that run under it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What a sync does; `shim.c` has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Works = 0,
    FailsOnce = 1,
    Fails = 2,
    /// It says that it has worked and does nothing.
    Lies = 3,
    /// It waits until it may do something else.
    Waits = 4,
}

/// Parts of the data directory, as bits.
pub const STORE: u32 = 1;
pub const ARTIFACTS: u32 = 2;
pub const WORK: u32 = 4;

/// The words of the control file.
#[derive(Clone, Copy)]
enum Word {
    SyncMode,
    NoRoom,
    NoInodes,
    SyncsHeld,
    FaultsGiven,
}

/// A hand on the switches of a running program.
pub struct Control {
    file: File,
    pub path: PathBuf,
}

impl Control {
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("control");
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(4096).unwrap();
        Self { file, path }
    }

    pub fn sync(&self, mode: Sync) {
        self.set(Word::SyncMode, mode as u32);
    }

    /// No more room for bytes in these parts.
    pub fn no_room(&self, parts: u32) {
        self.set(Word::NoRoom, parts);
    }

    /// No more room for new files and directories in these parts.
    pub fn no_inodes(&self, parts: u32) {
        self.set(Word::NoInodes, parts);
    }

    /// Syncs that wait at this moment.
    pub fn syncs_held(&self) -> u32 {
        self.get(Word::SyncsHeld)
    }

    /// Calls that were made to fail.
    pub fn faults_given(&self) -> u32 {
        self.get(Word::FaultsGiven)
    }

    fn set(&self, word: Word, value: u32) {
        self.file.write_all_at(&value.to_le_bytes(), word as u64 * 4).unwrap();
    }

    fn get(&self, word: Word) -> u32 {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, word as u64 * 4).unwrap();
        u32::from_le_bytes(bytes)
    }
}

/// The library, built once.
pub fn library() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = compile("shim.c", &["-shared", "-fPIC"], &dir.path().join("shim.so"));
        (dir, path)
    });
    path
}

/// Compiles a C file that lies beside this one.
pub fn compile(source: &str, options: &[&str], target: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(source);
    let built = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror"])
        .args(options)
        .arg("-o")
        .args([target, &source])
        .output()
        .unwrap_or_else(|error| panic!("cannot start `cc`: {error}; install a C compiler"));
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "cc failed on {}:\n{said}", source.display());
    target.to_owned()
}
