//! The load: so many at once, the next begun when one has ended.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::broken;
use super::latency::Latencies;
use crate::cli::error::{CliError, Result};

/// What a load has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// How long each took.
    pub(crate) latencies: Latencies,
    /// Those that ended within the time.
    within: u64,
    /// The time that was asked for.
    time: Duration,
    /// The time until the last had ended.
    all: Duration,
}

impl Done {
    /// One deed, which took so long.
    pub(crate) fn one(time: Duration) -> Self {
        let mut latencies = Latencies::default();
        latencies.push(time);
        Self { latencies, within: 1, time, all: time }
    }

    /// Deeds that were all begun at one instant, each of which took so long.
    pub(crate) fn all(latencies: Latencies) -> Self {
        let [last] = latencies.percentiles_ms([100.0]);
        let (time, within) = (Duration::from_secs_f64(last / 1e3), latencies.count());
        Self { latencies, within, time, all: time }
    }

    /// How many were done, those that ended after the time included.
    pub(crate) fn count(&self) -> u64 {
        self.latencies.count()
    }

    /// How many were done in a second.
    pub(crate) fn per_second(&self) -> f64 {
        // Those at the end of which the load runs out do not count, unless there are no others.
        let (count, time) = match self.within {
            0 => (self.count(), self.all),
            within => (within, self.time),
        };
        if count == 0 { 0.0 } else { count as f64 / time.as_secs_f64() }
    }

    /// Takes another round of the same load.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.append(other.latencies);
        self.within += other.within;
        self.time += other.time;
        self.all += other.all;
    }
}

/// Keeps `at_once` of them going for a time, and waits for the last.
///
/// # Errors
/// The first that fails; the others are dropped.
pub(crate) async fn keep<F, Fut>(at_once: usize, time: Duration, one: F) -> Result<Done>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..at_once {
        let one = one.clone();
        lanes.spawn(async move {
            let mut done = Done::default();
            while since.elapsed() < time {
                let begun = Instant::now();
                one().await?;
                done.latencies.push(begun.elapsed());
                done.within += u64::from(since.elapsed() <= time);
            }
            Ok::<_, CliError>(done)
        });
    }
    let mut all = Done::default();
    while let Some(lane) = lanes.join_next().await {
        all.add(lane.map_err(|error| broken("a load", error))??);
    }
    Ok(Done { time, all: since.elapsed(), ..all })
}

/// Does so many of them, `at_once` at a time.
///
/// # Errors
/// The first that fails; the others are dropped.
pub(crate) async fn so_many<F, Fut>(at_once: usize, count: usize, one: F) -> Result<Latencies>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let left = Arc::new(AtomicUsize::new(count));
    let mut lanes = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (one, left) = (one.clone(), left.clone());
        lanes.spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            let mut latencies = Latencies::default();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                let begun = Instant::now();
                one().await?;
                latencies.push(begun.elapsed());
            }
            Ok::<_, CliError>(latencies)
        });
    }
    let mut all = Latencies::default();
    while let Some(lane) = lanes.join_next().await {
        all.append(lane.map_err(|error| broken("a load", error))??);
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_are_under_way_and_never_more() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inner, top) = (now.clone(), most.clone());
        let one = move || {
            let (now, most) = (inner.clone(), top.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let done = keep(5, Duration::from_millis(50), one).await.unwrap();
        assert_eq!((now.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (0, 5));
        assert!(done.count() >= 5 && done.per_second() > 0.0, "{done:?}");
    }

    #[tokio::test]
    async fn what_ends_too_late_still_gives_a_rate() {
        let one = || async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            Ok(())
        };
        let done = keep(2, Duration::from_millis(1), one).await.unwrap();
        assert_eq!((done.count(), done.within), (2, 0));
        assert!(done.per_second() > 0.0 && done.per_second() <= 50.0, "{done:?}");
        assert!(Done::default().per_second().abs() < 1e-9);
    }

    #[tokio::test]
    async fn so_many_are_done_and_no_more() {
        for (at_once, count) in [(3, 10), (10, 3), (1, 0)] {
            let begun = Arc::new(AtomicUsize::new(0));
            let counter = begun.clone();
            let one = move || {
                let counter = counter.clone();
                async move {
                    counter.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
            };
            let done = so_many(at_once, count, one).await.unwrap();
            assert_eq!((done.count(), begun.load(Ordering::SeqCst)), (count as u64, count));
        }
    }

    #[tokio::test]
    async fn a_failure_ends_it() {
        let one = || async { Err(CliError::failed("no")) };
        let error = keep(3, Duration::from_secs(60), one).await.unwrap_err();
        assert_eq!(error, CliError::failed("no"));
    }
}
