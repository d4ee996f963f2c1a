//! What work costs this process: processor time, memory, bytes on the disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of all threads of this process so far, those that have ended included.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Memory of this process that is resident now, in MiB.
pub(crate) fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib(&status, "VmRSS:") / 1024.0
}

fn kib(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|rest| rest.split_whitespace().next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or_default()
}

/// Bytes that a directory takes up on its disk, everything below it included.
pub(crate) fn bytes_on_disk(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_on_disk(&entry.path()),
        Ok(data) => data.blocks() * 512, // blocks of stat(2) have this size on every file system
        Err(_) => 0,                     // it was removed meanwhile
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time_and_memory() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_time() > before);
        assert!(resident_mib() > 0.1);
        assert!((kib("VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n", "VmRSS:") - 2048.0).abs() < 1e-9);
        assert!(kib("", "VmRSS:").abs() < 1e-9);
    }

    #[test]
    fn files_below_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let before = bytes_on_disk(dir.path());
        fs::create_dir(dir.path().join("sub")).unwrap();
        let file = fs::File::create(dir.path().join("sub/file")).unwrap();
        std::io::Write::write_all(&mut &file, &[1; 64 * 1024]).unwrap();
        file.sync_all().unwrap();
        assert!(bytes_on_disk(dir.path()) >= before + 64 * 1024);
        assert_eq!(bytes_on_disk(&dir.path().join("none")), 0);
    }
}
