//! Places among the active jobs, in lanes: jobs wait only for jobs of lanes after their own, so
//! those that fill one lane and wait never keep away what they wait for.

use callsheet_engine::JobId;

use super::backlog::{Backlog, Origin};
use crate::kin::lane;
use crate::limits::LANES_COUNT;

/// The places of one engine, as many in each lane, and who waits for one.
pub(super) struct Places {
    lanes: [Lane; LANES_COUNT],
    /// Places of each lane.
    count: usize,
}

#[derive(Default)]
struct Lane {
    taken: usize,
    backlog: Backlog,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { lanes: Default::default(), count }
    }

    fn lane(&mut self, job: JobId) -> &mut Lane {
        &mut self.lanes[usize::from(lane(job))]
    }

    /// Whether the job has to wait for a place; so many of those that are taken do not count.
    pub(super) fn is_full(&mut self, job: JobId, aside: usize) -> bool {
        let count = self.count + aside;
        self.lane(job).taken >= count
    }

    /// The job takes a place, one more than there are if need be.
    pub(super) fn take(&mut self, job: JobId) {
        self.lane(job).taken += 1;
    }

    pub(super) fn give_back(&mut self, job: JobId) {
        self.lane(job).taken -= 1;
    }

    /// The job waits for a place.
    pub(super) fn wait(&mut self, job: JobId, origin: Origin) {
        self.lane(job).backlog.add(job, origin);
    }

    /// The next job for which there is a place. Those that others wait for come first.
    pub(super) fn next(&mut self, aside: usize) -> Option<(JobId, Origin)> {
        let count = self.count + aside;
        let with_room = self.lanes.iter_mut().rev().filter(|lane| lane.taken < count);
        with_room.into_iter().find_map(|lane| lane.backlog.next())
    }
}
