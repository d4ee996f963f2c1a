//! A file that nobody may open, and that knows when somebody does.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::samples::{Samples, check};

/// A pipe in the place of a film. Opening it for writing waits until somebody opens it for reading,
/// so a thread that waits there knows whether anybody did.
pub(super) struct Canary {
    pub(super) path: PathBuf,
    sung: Arc<AtomicBool>,
    waiting: Option<JoinHandle<()>>,
}

/// Do not wait for the other end of a pipe.
const O_NONBLOCK: i32 = 0o4000;

impl Canary {
    pub(super) fn new(samples: &Samples) -> Self {
        let path = samples.path("canary.mp4");
        check(Command::new("mkfifo").arg(&path));
        let sung = Arc::new(AtomicBool::new(false));
        let (pipe, singing) = (path.clone(), sung.clone());
        let waiting = std::thread::spawn(move || {
            OpenOptions::new().write(true).open(pipe).unwrap();
            singing.store(true, Ordering::SeqCst);
        });
        Self { path, sung, waiting: Some(waiting) }
    }

    /// Lets the thread go; answers whether it had been woken by somebody else.
    pub(super) fn was_opened(mut self) -> bool {
        let opened = self.sung.load(Ordering::SeqCst);
        let mut reader = OpenOptions::new();
        // Open until the thread has ended: it may come to the pipe only now.
        let _reader = reader.read(true).custom_flags(O_NONBLOCK).open(&self.path).unwrap();
        self.waiting.take().unwrap().join().unwrap();
        opened
    }
}
