//! What every store promises, as checks that any implementation of [`Store`] can run.
//!
//! ```
//! # use callsheet_storage::{MemoryStore, conformance};
//! # tokio::runtime::Runtime::new().expect("a runtime for an example").block_on(async {
//! conformance::run(|| async { MemoryStore::new() }).await;
//! # });
//! ```
//!
//! A check is a function whose name is the promise. When some fail, [`run`] goes on, and panics at
//! its end with the names of all promises that were broken.

pub mod durable;
pub mod jobs;
pub mod lists;
pub mod notices;
pub mod races;

mod world;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;

use crate::store::Store;

/// Runs each check of each module named in its turn, on a store of its own, and keeps the names of
/// those that panic.
macro_rules! check_all {
    ($broken:ident, $subject:expr, $($module:ident: $($check:ident),+;)+) => {$($(
        let name = concat!(stringify!($module), "::", stringify!($check));
        let check = async {
            let subject = $subject.await;
            $module::$check(subject).await;
        };
        if AssertUnwindSafe(check).catch_unwind().await.is_err() {
            $broken.push(name);
        }
    )+)+};
}

/// Runs all checks that need no reopening, each on a new store.
///
/// # Panics
/// When a promise is broken; the message names every one.
pub async fn run<S, F, Fut>(new_store: F)
where
    S: Store,
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
{
    let mut broken: Vec<&str> = Vec::new();
    check_all! { broken, async { Arc::new(new_store().await) },
        jobs: an_accepted_job_is_there, an_unknown_job_is_said_to_be,
            records_are_appended_in_order, a_journal_is_read_from_any_place,
            only_the_latest_owner_may_commit, a_job_without_owner_takes_no_commit,
            only_the_next_record_is_taken, commits_under_way_keep_their_order,
            what_follows_a_refused_commit_is_refused, an_ended_job_has_no_owner,
            a_head_changes_only_when_it_is_given, large_values_come_back,
            malformed_requests_are_refused, a_job_is_accepted_once,
            an_idempotency_key_stands_for_one_job, two_jobs_are_accepted_as_one;
        races: racing_creators_of_one_key_get_one_job, racing_owners_get_epochs_of_their_own,
            racing_commits_of_one_place_have_one_winner, jobs_do_not_hinder_each_other;
        lists: pages_are_newest_first_and_complete, filters_choose, odd_limits_are_cut,
            jobs_awake_are_running_or_stopping, jobs_asleep_come_soonest_first,
            jobs_and_keys_can_be_walked;
        notices: a_notice_comes_after_the_record, a_slow_subscriber_is_told_that_it_lagged,
            a_closed_store_refuses, what_was_accepted_is_finished_by_close;
    }
    report(&broken);
}

/// Runs all checks of a store that outlives its process: `new_place` makes an empty place, and
/// `open` opens the store that is kept there.
///
/// # Panics
/// When a promise is broken; the message names every one.
pub async fn run_durable<P, S, O, Fut>(new_place: impl Fn() -> P, open: O)
where
    S: Store,
    O: Fn(&P) -> Fut,
    Fut: Future<Output = S>,
{
    let mut broken: Vec<&str> = Vec::new();
    let subject = || async {
        let place = new_place();
        let open = &open;
        durable::Reopening::new(move || {
            let opened = open(&place);
            async move { Arc::new(opened.await) }
        })
    };
    check_all! { broken, subject(),
        durable: jobs_survive, idempotency_keys_survive, epochs_grow_over_restarts,
            live_jobs_are_found_again, a_job_sleeps_over_restarts,
            two_jobs_survive_as_one,
            what_was_acknowledged_before_close_is_there, a_store_can_be_opened_many_times;
    }
    report(&broken);
}

fn report(broken: &[&str]) {
    assert!(broken.is_empty(), "promises broken: {}", broken.join(", "));
}
