//! In builds for tests only: a death at a named point, chosen from outside the process.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// The point and the passing of it, counted from 1: `actors.body.after@3`.
const DIE_AT: &str = "CALLSHEET_DIE_AT";

/// Lets the process kill itself with SIGKILL at the point that the environment names, if any.
pub(crate) fn arm() {
    let Ok(wish) = std::env::var(DIE_AT) else { return };
    let Some((point, passing)) = wish.split_once('@') else { return complain(&wish) };
    let Ok(passing) = passing.parse::<u64>() else { return complain(&wish) };
    let passed = AtomicU64::new(0);
    let armed = fail::cfg_callback(point, move || {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == passing {
            // Only a process that has ended already could not be killed.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    });
    if armed.is_err() {
        complain(&wish);
    }
}

fn complain(wish: &str) {
    eprintln!(
        "error: `{DIE_AT}` is `{wish}`; expected a point and its passing: actors.body.after@3"
    );
}
