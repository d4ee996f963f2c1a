//! How much memory sled's page cache may take.

use std::fs;
use std::path::Path;

use crate::limits::{CACHE_SHARE, MAX_CACHE_BYTES};

/// Bytes for the page cache: a share of the memory that this process may use, bounded.
pub(super) fn cache_capacity() -> u64 {
    capacity(memory_limit(Path::new("/")))
}

fn capacity(memory: Option<u64>) -> u64 {
    memory.map_or(MAX_CACHE_BYTES, |bytes| (bytes / CACHE_SHARE).min(MAX_CACHE_BYTES))
}

/// The least of the machine's memory and the limits of our control groups, of either version.
fn memory_limit(root: &Path) -> Option<u64> {
    let machine = read(&root.join("proc/meminfo")).and_then(|text| total_of(&text));
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| limits_of(root, line));
    limits.chain(machine).min()
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The limits of a group and all above it. A line is `number:controllers:path`.
fn limits_of(root: &Path, line: &str) -> Vec<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(path.trim_start_matches('/'));
    let levels = group.ancestors().map(|level| root.join(mount).join(level).join(file));
    // Where there is no limit the file says `max`, or a number beyond any memory.
    levels.filter_map(|path| read(&path)?.trim().parse().ok()).collect()
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn limit_with(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory_limit(root.path())
    }

    #[test]
    fn the_least_limit_counts() {
        let machine = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:  1048576 kB\n");
        let v2 = ("proc/self/cgroup", "0::/a/b\n");
        let v1 = ("proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/a\n");
        assert_eq!(limit_with(&[]), None);
        assert_eq!(limit_with(&[machine]), Some(1024 * MIB));
        let max = ("sys/fs/cgroup/a/b/memory.max", "max\n");
        let above = ("sys/fs/cgroup/a/memory.max", "104857600\n");
        assert_eq!(limit_with(&[machine, v2, max]), Some(1024 * MIB));
        assert_eq!(limit_with(&[machine, v2, max, above]), Some(100 * MIB));
        let old = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "52428800\n");
        assert_eq!(limit_with(&[machine, v1, old]), Some(50 * MIB));
        let none = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_with(&[machine, v1, none]), Some(1024 * MIB));
    }

    #[test]
    fn the_cache_is_a_bounded_share() {
        assert_eq!(capacity(None), MAX_CACHE_BYTES);
        assert_eq!(capacity(Some(u64::MAX)), MAX_CACHE_BYTES);
        assert_eq!(capacity(Some(512 * MIB)), 64 * MIB);
        assert!(cache_capacity() > 0);
    }
}
