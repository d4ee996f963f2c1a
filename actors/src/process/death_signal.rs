//! A child dies with the engine, even when the engine is killed with SIGKILL, and leaves no core
//! file: it would hold what the child was working on.
//!
//! The one place of the workspace with `unsafe`: the hook that runs between fork and exec must be
//! set with it. The hook only makes a few system calls, all safe after fork.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit,
};

/// Asks the kernel to kill the command's process when the thread that spawns it ends. Spawn from a
/// thread that lives as long as the child may.
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let hook = move || ask_kernel(parent);
    // SAFETY: `ask_kernel` allocates nothing and takes no lock; it makes three system calls.
    unsafe {
        command.pre_exec(hook);
    }
}

fn ask_kernel(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // The parent may have died before the kernel knew what we ask for.
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()))
    }
}
