//! Jobs that wait for a place among the active ones: in memory 16 bytes each, and nothing else.

use std::collections::VecDeque;

use callsheet_engine::JobId;

/// Why a job waits for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was just accepted: nobody has ever worked on it.
    New,
    /// It was found in the store when the tree was started.
    Recovered,
    /// A wait of its is over.
    Woken,
}

/// A lane for each origin, first come first served. What was found at the start is older than what
/// is new, and goes before it. Jobs whose wait is over take turns with both, so that a million new
/// jobs do not keep a begun one from its retry, and a million that wake at once do not shut out
/// what is new.
#[derive(Default)]
pub(super) struct Backlog {
    new: VecDeque<JobId>,
    recovered: VecDeque<JobId>,
    woken: VecDeque<JobId>,
    /// Whether the last one was woken.
    woken_last: bool,
}

impl Backlog {
    pub(super) fn add(&mut self, job: JobId, origin: Origin) {
        self.lane(origin).push_back(job);
    }

    pub(super) fn next(&mut self) -> Option<(JobId, Origin)> {
        let others = match self.recovered.is_empty() {
            true => Origin::New,
            false => Origin::Recovered,
        };
        let woken_next = self.lane(others).is_empty() || !self.woken_last;
        let origin = if woken_next && !self.woken.is_empty() { Origin::Woken } else { others };
        self.woken_last = origin == Origin::Woken;
        let lane = self.lane(origin);
        let job = lane.pop_front()?;
        // A rush leaves room for its millions behind; it is given back bit by bit.
        if lane.len() < lane.capacity() / 4 {
            lane.shrink_to(lane.capacity() / 2);
        }
        Some((job, origin))
    }

    fn lane(&mut self, origin: Origin) -> &mut VecDeque<JobId> {
        match origin {
            Origin::New => &mut self.new,
            Origin::Recovered => &mut self.recovered,
            Origin::Woken => &mut self.woken,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::Origin::{New, Recovered, Woken};
    use super::*;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn filled(jobs: &[(u128, Origin)]) -> Backlog {
        let mut backlog = Backlog::default();
        jobs.iter().for_each(|(n, origin)| backlog.add(job(*n), *origin));
        backlog
    }

    fn order(backlog: &mut Backlog) -> Vec<u128> {
        std::iter::from_fn(|| backlog.next()).map(|(job, _)| job.0.as_u128()).collect()
    }

    #[test]
    fn each_lane_keeps_its_order_and_the_woken_take_turns_with_the_others() {
        let new = [(1, New), (2, New), (3, New)];
        let woken = [(11, Woken), (12, Woken)];
        let found = [(21, Recovered), (22, Recovered)];
        type Lane<'l> = &'l [(u128, Origin)];
        let table: [(&[Lane<'_>], &[u128]); 6] = [
            (&[], &[]),
            (&[&new], &[1, 2, 3]),
            (&[&woken], &[11, 12]),
            (&[&new, &woken], &[11, 1, 12, 2, 3]),
            (&[&new, &found], &[21, 22, 1, 2, 3]),
            (&[&new, &woken, &found], &[11, 21, 12, 22, 1, 2, 3]),
        ];
        for (lanes, expected) in table {
            assert_eq!(order(&mut filled(&lanes.concat())), expected);
        }
    }

    #[test]
    fn a_job_comes_out_as_what_it_went_in() {
        for origin in [New, Recovered, Woken] {
            let mut backlog = filled(&[(1, origin)]);
            assert!(backlog.next() == Some((job(1), origin)) && backlog.next().is_none());
        }
    }

    #[test]
    fn nobody_waits_for_more_than_one_of_the_other_lane() {
        let mut backlog = Backlog::default();
        (0..1_000).for_each(|n| backlog.add(job(n), New));
        for n in 0..100 {
            backlog.add(job(10_000 + n), Woken);
            let both = [backlog.next(), backlog.next()];
            assert!(both.contains(&Some((job(10_000 + n), Woken))), "{n}");
            assert!(both.contains(&Some((job(n), New))), "{n}");
        }
    }

    #[test]
    fn a_job_takes_little_memory_and_gives_it_back() {
        const COUNT: usize = 100_000;
        let mut backlog = Backlog::default();
        (0..COUNT).for_each(|n| backlog.add(job(n as u128), New));
        let bytes = |backlog: &Backlog| backlog.new.capacity() * size_of::<JobId>();
        assert!(bytes(&backlog) <= 32 * COUNT, "16 bytes, and room to grow");
        assert_eq!(order(&mut backlog).len(), COUNT);
        assert!(bytes(&backlog) <= 64 * size_of::<JobId>(), "{} bytes are left", bytes(&backlog));
    }
}
