//! How far a job has come, 0 to 100: its steps by their weights, the items of a step in equal
//! parts.
//!
//! What has settled is recorded and counted by the fold. What runs says how far it is; that is
//! live, and kept in a [`Gauge`] beside the state. A skipped step leaves the sum.

use std::collections::BTreeMap;

use crate::ids::{ItemIndex, StepIndex};
use crate::plan::Plan;
use crate::state::{Ending, JobState, Phase, StepStatus};

/// What is shown at most before the end: nobody should take a job for done that is not.
const MOST_BEFORE_THE_END: f64 = 99.9;

/// The weights of a job's steps, as far as they are known to count, and what of them has settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tally {
    total: f64,
    done: f64,
}

impl Tally {
    /// Nothing has settled.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { total: plan.steps().iter().map(|step| step.weight).sum(), done: 0.0 }
    }

    /// A step does not run, so nobody waits for it.
    pub(crate) fn leave(&mut self, weight: f64) {
        self.total -= weight;
    }

    /// A step, or a part of it, has settled.
    pub(crate) fn settle(&mut self, share: f64) {
        self.done += share;
    }

    /// The percentage, with what is under way counted in. Sums of weights are not exact, so both
    /// ends are held.
    fn percent(self, under_way: f64) -> f64 {
        let percent = 100.0 * (self.done + under_way) / self.total;
        // Also when nothing has a weight, which divides nothing by nothing.
        if percent.is_finite() { percent.clamp(0.0, MOST_BEFORE_THE_END) } else { 0.0 }
    }

    /// The two sums, to be held against a count.
    #[cfg(test)]
    pub(crate) fn sums(self) -> (f64, f64) {
        (self.total, self.done)
    }
}

impl JobState {
    /// How far the job has come by what is recorded, 0 to 100. 100 means that it has succeeded; one
    /// that has failed or was cancelled stays where it was.
    #[must_use]
    pub fn progress(&self) -> f64 {
        match self.phase {
            Phase::Ended { ending: Ending::Succeeded(_), .. } => 100.0,
            _ => self.tally.percent(0.0),
        }
    }

    /// What one item of a step counts for, in the measure of the weights; 0 before its items are
    /// known.
    #[must_use]
    pub fn share(&self, step: StepIndex) -> f64 {
        match self.steps.get(step.at()).map(|step| &step.status) {
            #[expect(clippy::cast_precision_loss, reason = "a list is far shorter than 2^52")]
            Some(StepStatus::Active(active)) => {
                self.plan.step(step).weight / active.items.len() as f64
            }
            _ => 0.0,
        }
    }

    /// Whether nothing can happen to an item any more.
    fn is_settled(&self, (step, item): Place) -> bool {
        self.item(step, item).is_none_or(|item| item.status.is_settled())
    }
}

type Place = (StepIndex, ItemIndex);

/// How far a job has come, with what its attempts say of themselves. What it shows never goes
/// back: an attempt that begins again has to come as far as the one before it to be seen.
#[derive(Clone, Debug)]
pub struct Gauge {
    tally: Tally,
    live: BTreeMap<Place, Live>,
    shown: f64,
}

/// What the attempts at an item have said.
#[derive(Clone, Copy, Debug)]
struct Live {
    share: f64,
    /// The most that any of them has said, 0 to 100.
    percent: f64,
}

impl Gauge {
    /// For a job in this state, of whose attempts nothing was heard.
    #[must_use]
    pub fn new(state: &JobState) -> Self {
        let mut gauge = Self { tally: state.tally, live: BTreeMap::new(), shown: 0.0 };
        gauge.show();
        gauge
    }

    /// What it shows, 0 to 100; 100 never, since it does not know the job's end.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.shown
    }

    /// Takes over what has settled.
    pub fn follow(&mut self, state: &JobState) {
        if self.tally == state.tally {
            return;
        }
        self.tally = state.tally;
        self.live.retain(|place, _| !state.is_settled(*place));
        self.show();
    }

    /// An attempt says how far it is: `percent` of an item that counts for `share`.
    pub fn note(&mut self, step: StepIndex, item: ItemIndex, share: f64, percent: f64) {
        let live = self.live.entry((step, item)).or_insert(Live { share, percent: 0.0 });
        // What is no number is no more than the least.
        live.percent = live.percent.max(percent).min(100.0);
        self.show();
    }

    fn show(&mut self) {
        let under_way = self.live.values().map(|live| live.share * live.percent / 100.0).sum();
        self.shown = self.shown.max(self.tally.percent(under_way));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, play};

    const YAML: &str = "
name: weighed
steps:
  - { id: a, uses: k, weight: 2, retry: { jitter: 0 } }
  - { id: b, uses: k, weight: 6, for_each: [1, 2, 3], needs: [a] }
  - { id: c, uses: k, weight: 0, needs: [b] }
  - { id: d, uses: k, weight: 2, needs: [b], if: 'false' }";

    fn gauge(world: &World) -> Gauge {
        Gauge::new(&world.state)
    }

    fn note(gauge: &mut Gauge, world: &World, (step, item): (u32, u32), percent: f64) -> f64 {
        let step = StepIndex(step);
        gauge.note(step, ItemIndex(item), world.state.share(step), percent);
        gauge.percent()
    }

    #[test]
    fn steps_count_by_weight_and_items_in_equal_parts() {
        let mut world = World::new(YAML);
        let table = [
            ("start > start a", 0.0),
            ("a ok > ok a; expand b 3; start b[0]; start b[1]; start b[2]", 20.0),
            ("b[1] ok > ok b[1]", 40.0),
            ("b[0] ok > ok b[0]", 60.0),
            // The skipped step leaves the sum, and what has no weight adds nothing.
            ("b[2] ok > ok b[2]; start c; skip d", 99.9),
            ("c ok > ok c; succeeded null", 100.0),
        ];
        for (script, percent) in table {
            world.play(script);
            let shown = world.state.progress();
            assert!((shown - percent).abs() < 1e-9, "{shown} after `{script}`");
        }
    }

    #[test]
    fn a_job_without_any_weight_is_done_when_it_is_done() {
        let yaml = "
name: light
steps: [{ id: a, uses: k, weight: 0 }, { id: b, uses: k, weight: 0, needs: [a] }]";
        let mut world = play(yaml, "start > start a\n a ok > ok a; start b");
        assert_eq!(world.state.progress(), 0.0);
        world.play("b ok > ok b; succeeded null");
        assert_eq!(world.state.progress(), 100.0);
    }

    #[test]
    fn a_job_that_fails_or_is_cancelled_stays_where_it_was() {
        let begun = "start > start a\n a ok > ok a; expand b 3; start b[0]; start b[1]; start b[2]";
        let fails = "b[0] ok > ok b[0]
                     b[1] fatal > fail b[1] test.fatal; stop b[2]
                     b[2] stopped > drop b[2]; failed test.fatal";
        let cancelled = "b[0] ok > ok b[0]
                         cancel > cancel; stop b[1]; stop b[2]
                         b[1] stopped > drop b[1]
                         b[2] stopped > drop b[2]; cancelled";
        for (script, percent) in [(cancelled, 40.0), (fails, 40.0)] {
            let mut world = play(YAML, begun);
            world.play(script);
            assert!((world.state.progress() - percent).abs() < 1e-9, "{script}");
        }
    }

    #[test]
    fn what_runs_counts_as_far_as_it_says() {
        let mut world = play(YAML, "start > start a");
        let mut gauge = gauge(&world);
        assert_eq!(note(&mut gauge, &world, (0, 0), 50.0), 10.0);
        assert_eq!(note(&mut gauge, &world, (0, 0), f64::NAN), 10.0);
        world.play("a ok > ok a; expand b 3; start b[0]; start b[1]; start b[2]");
        gauge.follow(&world.state);
        assert_eq!(gauge.percent(), 20.0, "what was said of `a` is not counted twice");
        assert_eq!(note(&mut gauge, &world, (1, 0), 50.0), 30.0);
        assert_eq!(note(&mut gauge, &world, (1, 2), 1e9), 50.0);
        world.play("b[0] ok > ok b[0]");
        gauge.follow(&world.state);
        assert!((gauge.percent() - 60.0).abs() < 1e-9, "{}", gauge.percent());
    }

    #[test]
    fn an_attempt_made_again_does_not_turn_the_gauge_back() {
        let mut world = play(YAML, "start > start a");
        let mut gauge = gauge(&world);
        note(&mut gauge, &world, (0, 0), 90.0);
        world.play("a fail > retry a in 1s\n +1s > start a#2");
        gauge.follow(&world.state);
        assert_eq!(note(&mut gauge, &world, (0, 0), 5.0), 18.0);
        assert_eq!(note(&mut gauge, &world, (0, 0), 95.0), 19.0);
    }
}
