//! Jobs that wait for a place among the active ones: in memory 16 bytes each, and nothing else.

use std::collections::VecDeque;

use callsheet_engine::JobId;

/// Two lanes, each first come first served: jobs that have never had an actor, and jobs whose wait
/// is over. They take turns, so that a million new jobs do not keep a begun one from its retry, and
/// a million that wake at once do not shut out what is new.
#[derive(Default)]
pub(super) struct Backlog {
    new: VecDeque<JobId>,
    woken: VecDeque<JobId>,
    /// Whose turn it is when both lanes have somebody.
    new_is_next: bool,
}

impl Backlog {
    pub(super) fn add_new(&mut self, job: JobId) {
        self.new.push_back(job);
    }

    pub(super) fn add_woken(&mut self, job: JobId) {
        self.woken.push_back(job);
    }

    /// The next job, and whether it is a new one.
    pub(super) fn next(&mut self) -> Option<(JobId, bool)> {
        let from_new = match (self.new.is_empty(), self.woken.is_empty()) {
            (false, false) => self.new_is_next,
            (no_new, _) => !no_new,
        };
        self.new_is_next = !from_new;
        let lane = if from_new { &mut self.new } else { &mut self.woken };
        let job = lane.pop_front()?;
        // A rush leaves room for its millions behind; it is given back bit by bit.
        if lane.len() < lane.capacity() / 4 {
            lane.shrink_to(lane.capacity() / 2);
        }
        Some((job, from_new))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn order(backlog: &mut Backlog) -> Vec<u128> {
        std::iter::from_fn(|| backlog.next()).map(|(job, _)| job.0.as_u128()).collect()
    }

    #[test]
    fn each_lane_keeps_its_order_and_they_take_turns() {
        let mut backlog = Backlog::default();
        (1..=5).for_each(|n| backlog.add_new(job(n)));
        (11..=13).for_each(|n| backlog.add_woken(job(n)));
        assert_eq!(order(&mut backlog), [11, 1, 12, 2, 13, 3, 4, 5]);
        assert_eq!(backlog.next(), None);
    }

    #[test]
    fn a_lane_that_is_alone_has_every_turn() {
        for new in [true, false] {
            let mut backlog = Backlog::default();
            for n in 1..=4 {
                if new { backlog.add_new(job(n)) } else { backlog.add_woken(job(n)) }
            }
            assert!(backlog.next() == Some((job(1), new)));
            assert_eq!(order(&mut backlog), [2, 3, 4]);
        }
    }

    #[test]
    fn nobody_waits_for_more_than_one_of_the_other_lane() {
        let mut backlog = Backlog::default();
        (0..1_000).for_each(|n| backlog.add_new(job(n)));
        for n in 0..100 {
            backlog.add_woken(job(10_000 + n));
            let both = [backlog.next(), backlog.next()];
            assert!(both.contains(&Some((job(10_000 + n), false))), "{n}");
            assert!(both.contains(&Some((job(n), true))), "{n}");
        }
    }

    #[test]
    fn a_job_takes_little_memory_and_gives_it_back() {
        const COUNT: u128 = 100_000;
        let mut backlog = Backlog::default();
        (0..COUNT).for_each(|n| backlog.add_new(job(n)));
        let bytes = |backlog: &Backlog| backlog.new.capacity() * size_of::<JobId>();
        assert!(bytes(&backlog) <= 32 * COUNT as usize, "16 bytes, and room to grow");
        assert_eq!(order(&mut backlog).len() as u128, COUNT);
        assert!(bytes(&backlog) <= 64 * size_of::<JobId>(), "{} bytes are left", bytes(&backlog));
    }
}
