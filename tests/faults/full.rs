//! A full disk: in the store, in the artifacts, in the work directory, out of inodes. New jobs are
//! refused, running ones wait, nothing is lost, and all goes on by itself when there is room.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::found::{Found, Memory};
use crate::serve::{Place, Server, block_on, until};
use crate::shim::{ARTIFACTS, STORE, WORK};
use crate::victim;
use crate::words::Words;

#[test]
fn no_room_for_artifacts_is_waited_out() {
    block_on(waited_out(|place, on| place.control.no_room(if on { ARTIFACTS } else { 0 })));
}

#[test]
fn no_room_in_the_work_directory_is_waited_out() {
    block_on(waited_out(|place, on| place.control.no_room(if on { WORK } else { 0 })));
}

#[test]
fn no_inodes_are_waited_out() {
    let all = STORE | ARTIFACTS | WORK;
    block_on(waited_out(|place, on| place.control.no_inodes(if on { all } else { 0 })));
}

/// A step that meets a full disk is tried again; what it began to write is never seen.
async fn waited_out(fill: impl Fn(&Place, bool)) {
    let place = Place::new();
    let mut server = Server::start(&place);
    fill(&place, true);
    let job = server.submit(&place).await.unwrap();
    until("the step meets the full disk", async || place.control.faults_given() > 6).await;
    assert!(server.is_running(), "{}", server.said());
    let now = server.client.job(&job).await.unwrap();
    assert!(!now.head.status.has_ended(), "{:?}", server.failure_of(&job).await);
    let artifacts = place.data().join("artifacts");
    let seen = std::fs::read_dir(&artifacts).unwrap().map(|entry| entry.unwrap().path());
    // Contents stand in directories of their own, beside what is being written and kept results.
    let beside = |path: &std::path::PathBuf| path.ends_with("tmp") || path.ends_with("results");
    let seen: Vec<_> = seen.filter(|path| !beside(path)).collect();
    assert!(seen.is_empty(), "a file that is not whole can be seen: {seen:?}");

    fill(&place, false);
    server.succeeds(&job).await;
    drop(server);
    Found::read(&place.data()).unwrap().artifacts_hold(&place.data()).unwrap();
    let left = std::fs::read_dir(place.data().join("work")).unwrap().count();
    assert_eq!(left, 0, "what failed attempts wrote is gone");
}

/// A quota is not seen before it is met: in the middle of a commit that is a failure like any
/// other, and the engine stops. With room it goes on.
#[test]
fn a_write_without_room_in_the_store_stops_the_engine_and_loses_nothing() {
    block_on(async {
        let place = Place::new();
        let mut server = Server::start(&place);
        let mut accepted = vec![server.submit(&place).await.unwrap()];
        server.succeeds(&accepted[0]).await;
        place.control.no_room(STORE);
        while let Ok(job) = server.submit(&place).await {
            assert_eq!(place.control.faults_given(), 0, "{job} was acknowledged after a failure");
            accepted.push(job);
        }
        assert_eq!(server.end().code(), Some(3), "{}", server.said());
        place.control.no_room(0);
        let server = Server::start(&place);
        for job in &accepted {
            server.succeeds(job).await;
        }
    });
}

/// What the batch under way may still need when nothing new is taken any more.
const ENOUGH_FOR_A_BATCH: u64 = 8 << 20;
/// What the disk is filled with.
const CHUNK: &[u8] = &[0x55; 64 * 1024];

/// A file system of its own, so small that it can be filled.
struct Small {
    mount: PathBuf,
    dir: tempfile::TempDir,
}

impl Small {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a small file system takes root".to_owned());
        }
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().canonicalize().unwrap().join("small");
        std::fs::create_dir(&mount).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256m", "none"])
            .arg(&mount)
            .output()
            .map_err(|error| error.to_string())?;
        match mounted.status.success() {
            true => Ok(Self { mount, dir }),
            false => Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()),
        }
    }

    /// Fills it, with a rest in between in which the engine sees it coming: free space is looked at
    /// every 50 ms, and a disk that is full from one batch to the next stops the engine.
    fn fill(&self) {
        use std::io::Write;
        let room = rustix::fs::statvfs(&self.mount).unwrap();
        let some = (room.f_bavail * room.f_frsize - ENOUGH_FOR_A_BATCH) / CHUNK.len() as u64;
        let mut file = std::fs::File::create(self.mount.join("filler")).unwrap();
        (0..some).for_each(|_| file.write_all(CHUNK).unwrap());
        std::thread::sleep(Duration::from_secs(1));
        while file.write_all(CHUNK).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.mount.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

/// Jobs of every kind, on a disk that fills up three times.
#[test]
fn a_full_disk_parks_what_runs_and_refuses_what_is_new() {
    let small = match Small::new() {
        Ok(small) => small,
        Err(why) => return println!("skipped: {why}"),
    };
    let (data, say) = (small.mount.join("data"), small.dir.path().join("say"));
    let mut child = victim::start(&data, &say, 1_000, &[]);
    for n in 1..=3 {
        let before = deeds(&Words::read(&say));
        wait_for_words(&say, |words| deeds(words) >= before + 20);
        small.fill();
        wait_until_parked(&say);
        assert_eq!(child.try_wait().unwrap(), None, "the engine goes on, time {n}");
        small.make_room();
    }
    std::fs::write(victim::enough(&say), "").unwrap();
    let status = child.wait().unwrap();
    let words = Words::read(&say);
    assert!(status.success(), "{status}: {:?}", words.other);
    assert!(words.said("full"), "no new job was ever refused");
    words.check_attempts().unwrap();
    let found = Found::read(&data).unwrap();
    found.hold(&words).unwrap();
    found.all_ended().unwrap();
    found.artifacts_hold(&data).unwrap();
    Memory::default().compare(&found, &words).unwrap();
}

/// The same over HTTP: 507 while it is full, and accepted as soon as there is room.
#[test]
fn a_full_disk_is_told_to_clients() {
    let small = match Small::new() {
        Ok(small) => small,
        Err(why) => return println!("skipped: {why}"),
    };
    block_on(async {
        let place = Place::on(&small.mount);
        let mut server = Server::start(&place);
        let first = server.submit(&place).await.unwrap();
        server.succeeds(&first).await;
        small.fill();
        until("the full disk is seen", async || {
            server.submit(&place).await.is_err_and(|error| error.code() == "store.full")
        })
        .await;
        server.client.ready().await.expect("a full disk is no failure");
        assert_eq!(server.client.job(&first).await.unwrap().head.id, first, "reads are answered");
        small.make_room();
        until("there is room again", async || server.submit(&place).await.is_ok()).await;
        assert!(server.is_running());
    });
}

/// Lines that tell of something done, not of a refusal.
fn deeds(words: &Words) -> usize {
    words.count() - words.other.iter().filter(|line| *line == "full").count()
}

/// Waits until nothing is done any more: all that runs is parked, all that is new is refused.
fn wait_until_parked(say: &Path) {
    let mut before = usize::MAX;
    wait_for_words(say, |words| {
        let now = deeds(words);
        std::thread::sleep(Duration::from_millis(400));
        std::mem::replace(&mut before, now) == now
    });
}

fn wait_for_words(say: &Path, mut is_so: impl FnMut(&Words) -> bool) {
    let since = std::time::Instant::now();
    while !is_so(&Words::read(say)) {
        let words = Words::read(say);
        assert!(since.elapsed() < Duration::from_secs(120), "{:?}", words.other.last());
        assert!(!words.said("done"), "the victim is done too soon");
        std::thread::sleep(Duration::from_millis(5));
    }
}
