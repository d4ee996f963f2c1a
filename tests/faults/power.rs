//! A real power cut: the victim works on a file system of its own, which is stopped in the middle
//! without its log being flushed, and mounted again. What was said is outside of it.
//!
//! `CALLSHEET_POWER_CUTS` sets the number of cuts (20 unless set), `CALLSHEET_POWER_SEED` their
//! seed. Needs root, loop devices and `mkfs.ext4` (and takes xfs too where there is `mkfs.xfs`);
//! says so and passes where they are missing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::disk::mix;
use crate::found::{Found, Memory};
use crate::shim::{self, Control, Sync};
use crate::victim;
use crate::words::Words;

/// Cuts after which everything is finished: three deaths of one attempt in a row would rightly
/// quarantine its job.
const CUTS_A_FINISH: u64 = 2;
/// Cuts after which a new disk is taken.
const CUTS_A_DISK: u64 = 8;
/// A run without root or loop devices says this.
const SKIPPED: &str = "skipped: no power is cut here:";

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let cuts = crate::draw::number("CALLSHEET_POWER_CUTS", 20);
    let seed = crate::draw::number("CALLSHEET_POWER_SEED", 0x5eed);
    for file_system in ["ext4", "xfs"] {
        match Machine::new(file_system) {
            Ok(machine) => many_cuts(machine, cuts, seed),
            Err(why) => println!("{SKIPPED} {file_system}: {why}"),
        }
    }
}

fn many_cuts(mut machine: Machine, cuts: u64, seed: u64) {
    let mut jobs = 0;
    let mut memory = Memory::default();
    for cut in 0..cuts {
        // From before the store is made to well into the work.
        let lines = usize::try_from(mix(seed, cut, 0) % 160).unwrap();
        machine.cut_after(lines, &[]);
        let found = machine.check(&mut memory).unwrap_or_else(|why| {
            panic!("{}: seed {seed}, cut {cut} after {lines} lines: {why}", machine.file_system)
        });
        let is_last = cut + 1 == cuts;
        if is_last || cut % CUTS_A_FINISH == CUTS_A_FINISH - 1 {
            machine.finish(&mut memory);
        }
        if is_last || cut % CUTS_A_DISK == CUTS_A_DISK - 1 {
            jobs += found.0.len();
            machine = Machine::new(machine.file_system).unwrap();
            memory = Memory::default();
        }
    }
    println!("{}: {cuts} power cuts, {jobs} jobs, nothing lost", machine.file_system);
}

/// The test of the test: when syncs do nothing, a power cut loses what was acknowledged.
#[test]
fn a_power_cut_under_syncs_that_lie_is_seen_to_lose() {
    let mut lost = 0;
    for _ in 0..2 {
        let mut machine = match Machine::new("ext4") {
            Ok(machine) => machine,
            Err(why) => return println!("{SKIPPED} {why}"),
        };
        let control = Control::new(machine.dir.path());
        control.sync(Sync::Lies);
        machine.cut_after(
            60,
            &[
                ("LD_PRELOAD", shim::library()),
                ("SHIM_DIR", &machine.mount.clone()),
                ("SHIM_CONTROL", &control.path),
            ],
        );
        lost += u32::from(machine.check(&mut Memory::default()).is_err());
    }
    assert_eq!(lost, 2, "the loss of what was acknowledged went unseen");
}

/// A disk that can be cut off, and what is known of it from outside.
struct Machine {
    file_system: &'static str,
    mount: PathBuf,
    say: PathBuf,
    cutter: PathBuf,
    is_mounted: bool,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new(file_system: &'static str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("that takes root".to_owned());
        }
        let dir = crate::scratch();
        let path = |name| dir.path().join(name);
        let image = std::fs::File::create(path("image")).unwrap();
        // The least that xfs takes; it has holes.
        image.set_len(320 << 20).unwrap();
        std::fs::create_dir(path("mount")).unwrap();
        let make = format!("mkfs.{file_system}");
        call(Command::new(make).arg("-q").arg(path("image")))?;
        let cutter = shim::compile("cut.c", &[], &path("cut"));
        let (mount, say) = (path("mount"), path("say"));
        let mut machine = Self { file_system, mount, say, cutter, is_mounted: false, dir };
        machine.mount()?;
        Ok(machine)
    }

    fn mount(&mut self) -> Result<(), String> {
        let image = self.dir.path().join("image");
        call(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        call(Command::new("umount").arg(&self.mount))?;
        self.is_mounted = false;
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Lets the victim work until it has said so many lines more, cuts the power, and brings it
    /// back.
    fn cut_after(&mut self, lines: usize, environment: &[(&str, &Path)]) {
        let before = Words::read(&self.say).count();
        let mut child = victim::start(&self.data(), &self.say, 1_000, environment);
        wait_for(&mut child, || Words::read(&self.say).count() >= before + lines);
        call(Command::new(&self.cutter).arg(&self.mount)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.unmount().unwrap();
        self.mount().unwrap();
    }

    fn check(&self, memory: &mut Memory) -> Result<Found, String> {
        let words = Words::read(&self.say);
        let found = match Found::read(&self.data()) {
            Ok(found) => found,
            Err(error) => return Err(error.to_string()),
        };
        found.hold(&words)?;
        found.artifacts_hold(&self.data())?;
        memory.compare(&found, &words)?;
        words.check_attempts()?;
        Ok(found)
    }

    /// Lets everything end that has begun.
    fn finish(&mut self, memory: &mut Memory) {
        let status = victim::start(&self.data(), &self.say, 0, &[]).wait().unwrap();
        assert!(status.success(), "{status}: {:?}", Words::read(&self.say).other.last());
        self.check(memory).unwrap().all_ended().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a test that failed may have left a file open.
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}

fn wait_for(child: &mut Child, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the victim ended by itself: {ended:?}");
        assert!(since.elapsed() < Duration::from_secs(300), "the victim does nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn call(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Err(error) => Err(format!("cannot start `{name}`: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("`{name}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
