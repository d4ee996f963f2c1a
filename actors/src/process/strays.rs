//! Processes that outlived an engine that was killed: their direct parents die with the engine, but
//! a grandchild may not. They carry a mark in their environment and are ended at the next start,
//! before any step runs again.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Environment variable of every child: the work directory of the engine that it belongs to.
pub(super) const MARK: &str = "CALLSHEET_WORK_ROOT";

/// Kills every process that carries the mark of `work_root`; answers how many.
pub(crate) fn end_strays(work_root: &Path) -> usize {
    let mut mark = format!("{MARK}=").into_bytes();
    mark.extend_from_slice(work_root.as_os_str().as_encoded_bytes());
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let own = std::process::id();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(own) && carries(*pid, &mark))
        .filter_map(Pid::from_raw)
        .filter(|pid| kill_process(*pid, Signal::KILL).is_ok())
        .count()
}

fn carries(pid: i32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == mark))
}
