//! When a failed attempt is made again: exponential back-off with jitter from the job's own seed.

use crate::definition::Retry;
use crate::failure::Failure;
use crate::ids::{ItemIndex, JobId, StepIndex};
use crate::limits::MAX_ASKED_WAIT_MS;
use crate::time::Millis;

/// The wait before the attempt that follows `tries` failed ones, the last of which may have said
/// when to come again.
pub(super) fn wait(
    retry: &Retry,
    tries: u32,
    job: JobId,
    (step, item): (StepIndex, ItemIndex),
    failure: &Failure,
) -> Millis {
    let asked = failure.retry_after.unwrap_or_default().min(MAX_ASKED_WAIT_MS);
    backoff(retry, tries, job, step, item).max(asked)
}

/// The wait by the policy alone.
///
/// The same job, step, item and count give the same wait at every replay; different jobs spread
/// out, so that a provider that comes back is not met by all of them at once.
fn backoff(retry: &Retry, tries: u32, job: JobId, step: StepIndex, item: ItemIndex) -> Millis {
    assert!(tries > 0, "a wait follows an attempt");
    let exponent = i32::try_from(tries - 1).unwrap_or(i32::MAX);
    let ceiling = retry.max.0 as f64;
    // Bounded, so that no wait at all times an infinite growth is still no wait.
    let growth = retry.factor.powi(exponent).min(f64::MAX);
    let bare = (retry.initial.0 as f64 * growth).min(ceiling);
    let place = (u64::from(step.0) << 32 | u64::from(item.0)).rotate_left(7) ^ u64::from(tries);
    let drawn = unit_interval(job.seed() ^ place);
    let wait = bare * (1.0 + retry.jitter * (2.0 * drawn - 1.0));
    Millis(wait.clamp(0.0, ceiling) as u64)
}

/// A number in [0, 1) from a seed: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn unit_interval(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn wait(retry: &Retry, tries: u32, job: u128) -> u64 {
        backoff(retry, tries, JobId(Uuid::from_u128(job)), StepIndex(1), ItemIndex(2)).0
    }

    #[test]
    fn waits_grow_to_their_ceiling() {
        let retry = Retry { jitter: 0.0, ..Retry::default() };
        let waits: Vec<u64> = (1..9).map(|tries| wait(&retry, tries, 1)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(wait(&retry, u32::MAX, 1), 60_000);
    }

    #[test]
    fn jitter_stays_in_its_share_and_differs_by_job() {
        let retry = Retry { jitter: 0.2, ..Retry::default() };
        let waits: Vec<u64> = (0..200).map(|job| wait(&retry, 1, job)).collect();
        assert!(waits.iter().all(|wait| (800..=1_200).contains(wait)));
        let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 100);
    }

    #[test]
    fn the_same_place_draws_the_same_wait() {
        let retry = Retry::default();
        assert_eq!(wait(&retry, 3, 77), wait(&retry, 3, 77));
    }

    #[test]
    fn no_wait_stays_no_wait_however_fast_it_grows() {
        let retry = Retry { initial: Millis(0), factor: 1e9, ..Retry::default() };
        for tries in [1, 2, 40, 1_000, u32::MAX] {
            assert_eq!(wait(&retry, tries, 1), 0);
        }
    }

    #[test]
    fn at_their_ceiling_waits_still_spread_and_none_is_longer() {
        let retry = Retry { jitter: 0.5, ..Retry::default() };
        let waits: Vec<u64> = (0..200).map(|job| wait(&retry, 30, job)).collect();
        assert!(waits.iter().all(|wait| (30_000..=60_000).contains(wait)));
        assert!(waits.iter().filter(|wait| **wait < 59_000).count() > 50);
    }
}
