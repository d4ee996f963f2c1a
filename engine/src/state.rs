//! What the journal says about a job: the result of folding its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::event::Interruption;
use crate::failure::Failure;
use crate::ids::{ItemIndex, JobId, StepIndex, Token};
use crate::limits::{MAX_DEATHS_COUNT, MAX_OPEN_ATTEMPTS_COUNT};
use crate::options::JobOptions;
use crate::plan::{Plan, PlannedStep};
use crate::progress::Tally;
use crate::time::Timestamp;

/// The recorded state of one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobState {
    /// Which job.
    pub id: JobId,
    /// The graph that it runs, frozen at submit.
    pub plan: Arc<Plan>,
    /// Its input, checked.
    pub input: Arc<Value>,
    /// The submitter's own marks.
    pub labels: BTreeMap<String, String>,
    /// What else the submitter asked for.
    pub options: JobOptions,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// Where it stands as a whole.
    pub phase: Phase,
    /// Where each step stands, in the plan's order.
    pub steps: Vec<StepState>,
    /// Steps whose needs have settled and that have not been looked at yet.
    pub(crate) ready: BTreeSet<StepIndex>,
    /// Steps at work that could start one more item: one is queued, and their bound leaves room.
    pub(crate) hungry: BTreeSet<StepIndex>,
    /// Waits for a next attempt or for the end of a timer, soonest first.
    pub(crate) waits: BTreeSet<(Timestamp, StepIndex, ItemIndex)>,
    /// Doubts that nobody has looked at yet.
    pub(crate) doubts: BTreeSet<(StepIndex, ItemIndex)>,
    /// Doubts that wait for a person.
    pub(crate) held: BTreeSet<(StepIndex, ItemIndex)>,
    /// Attempts that are open, probes included, by fence.
    pub(crate) open: BTreeMap<Token, (StepIndex, ItemIndex)>,
    /// Steps that have not settled.
    pub(crate) unsettled: usize,
    /// How much has settled, by weight.
    pub(crate) tally: Tally,
    /// The next attempt's fence.
    pub(crate) next_token: u64,
    /// Live, not recorded: the process is about to stop, so nothing starts any more.
    pub(crate) draining: bool,
}

/// Where a job stands as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Steps run, wait or are to come.
    Running,
    /// No attempt starts any more; the open ones are being stopped.
    Stopping(StopCause),
    /// Over, for ever.
    Ended {
        /// How.
        ending: Ending,
        /// When.
        at: Timestamp,
    },
}

/// Why a job is being stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum StopCause {
    /// Somebody asked for it.
    Cancel,
    /// A step failed for good.
    Failure(Failure),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With this output.
    Succeeded(Arc<Value>),
    /// With this failure.
    Failed(Failure),
    /// Cancelled.
    Cancelled,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// Needs that have not settled.
    pub(crate) unmet: u32,
    /// Whether a step that it needs was skipped.
    pub(crate) after_skip: bool,
    /// Attempts made so far, over all items.
    pub attempts: u32,
    /// Items whose result was recalled from an attempt of before.
    pub recalled: u32,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it settled.
    pub ended_at: Option<Timestamp>,
    /// The status itself.
    pub status: StepStatus,
}

/// Status of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepStatus {
    /// Its needs have not all settled, or it has not been looked at.
    Pending,
    /// Some of its items are to start, running or waiting.
    Active(Active),
    /// All items succeeded (or failed and may be missing).
    Succeeded(Arc<Value>),
    /// It did not have to run.
    Skipped,
    /// It failed; when the workflow goes on all the same, its output is `null`.
    Failed(Failure),
    /// Stopped with its job.
    Cancelled,
}

/// The items of a step at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// The values of `for_each`; `None` for a step without it.
    pub(crate) values: Option<Vec<Value>>,
    /// Where each item stands.
    pub items: Vec<Item>,
    /// The first item that has never started.
    pub(crate) next: usize,
    /// Items that are running, sleeping or wait for a next attempt.
    pub(crate) busy: usize,
    /// Items that have settled.
    pub(crate) settled: usize,
}

/// A doubt that waits for a person. The next attempt at the same item makes another one of it, of
/// which a word about this one says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldDoubt {
    /// Which step.
    pub step: StepIndex,
    /// Which item.
    pub item: ItemIndex,
    /// Number of the attempt that gave no answer.
    pub attempt: u32,
}

/// One item of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Attempts made so far.
    pub attempts: u32,
    /// Attempts made with the present candidate.
    pub(crate) tries: u32,
    /// Deaths of the process or the actor since an attempt last ended by itself.
    pub(crate) deaths: u32,
    /// The kind in use: 0 for the step's own, n for the n-th fallback.
    pub candidate: u32,
    /// The status itself.
    pub status: ItemStatus,
}

/// Status of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemStatus {
    /// To be started.
    Queued,
    /// An attempt is open.
    Running {
        /// Its fence.
        token: Token,
        /// When it began.
        since: Timestamp,
    },
    /// The last attempt failed; the next is due.
    Waiting {
        /// When.
        due: Timestamp,
    },
    /// Its last attempt ended without an answer, and its deed must not be done twice.
    InDoubt(Box<Doubt>),
    /// A timer: nothing runs until it is over.
    Sleeping {
        /// When.
        due: Timestamp,
    },
    /// It has its result.
    Succeeded(Value),
    /// It failed for good.
    Failed(Failure),
    /// Stopped with its job.
    Cancelled,
}

/// What is known of a deed that may or may not have been done.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// When it arose.
    pub since: Timestamp,
    /// What ended the attempt.
    pub cause: Interruption,
    /// What was seen of the attempt's end.
    pub failure: Option<Failure>,
    /// Probes made so far.
    pub probes: u32,
    /// Who has to say more.
    pub stage: DoubtStage,
}

/// Who has to say more about a doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum DoubtStage {
    /// The step's policy; it says so within the record, unless nothing may start.
    Fresh,
    /// A probe that is asking.
    Probing {
        /// Its fence.
        token: Token,
        /// When it began.
        since: Timestamp,
    },
    /// The next probe.
    Waiting {
        /// When it is due.
        due: Timestamp,
    },
    /// A person.
    Held,
}

impl StepState {
    pub(crate) fn new(planned: &PlannedStep) -> Self {
        Self {
            unmet: u32::try_from(planned.needs.len()).unwrap_or(u32::MAX),
            after_skip: false,
            attempts: 0,
            recalled: 0,
            started_at: None,
            ended_at: None,
            status: StepStatus::Pending,
        }
    }
}

impl Item {
    pub(crate) fn new() -> Self {
        Self { attempts: 0, tries: 0, deaths: 0, candidate: 0, status: ItemStatus::Queued }
    }
}

impl ItemStatus {
    /// Whether nothing can happen to the item any more.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Failed(_) | Self::Cancelled)
    }
}

impl Active {
    pub(crate) fn single() -> Self {
        Self { values: None, items: vec![Item::new()], next: 0, busy: 0, settled: 0 }
    }

    /// The value of an item; `None` for a step without `for_each`.
    pub(crate) fn value(&self, item: ItemIndex) -> Option<&Value> {
        self.values.as_ref()?.get(item.at())
    }

    pub(crate) fn fan_out(values: Vec<Value>) -> Self {
        let items = values.iter().map(|_| Item::new()).collect();
        Self { values: Some(values), items, next: 0, busy: 0, settled: 0 }
    }

    /// How many items there are, and how many of them have settled.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.settled, self.items.len())
    }
}

impl JobState {
    /// Whether the job is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether nothing can happen before a wait is over or a person decides: such a job needs no
    /// actor.
    ///
    /// A job that was drained while a step was ready is not such a one: its next owner has that
    /// step to start, whatever else waits.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        let nothing_to_start =
            self.ready.is_empty() && self.hungry.is_empty() && self.doubts.is_empty();
        let idle = self.open.is_empty() && nothing_to_start;
        self.phase == Phase::Running && idle && !(self.waits.is_empty() && self.held.is_empty())
    }

    /// The doubts that wait for a person.
    pub fn held(&self) -> impl Iterator<Item = HeldDoubt> + '_ {
        self.held.iter().map(|(step, item)| {
            let attempt = self.item(*step, *item).map_or(0, |item| item.attempts);
            HeldDoubt { step: *step, item: *item, attempt }
        })
    }

    /// Whether a doubt waits for a person.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// When the next wait is over, or a fresh doubt is to be looked at. `None` too while so many
    /// attempts are open that nothing could start: then the end of one of them moves the job on,
    /// not a timer.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let at_once = (!self.doubts.is_empty()).then_some(Timestamp(0));
        let next = at_once.or_else(|| self.waits.first().map(|(due, _, _)| *due));
        next.filter(|_| !self.is_full())
    }

    /// Whether as many attempts are open as one job may have.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN_ATTEMPTS_COUNT
    }

    /// Whether the death that the open attempts have just died is the last but one that is borne:
    /// after one more the job is quarantined. To be asked before [`Input::Resume`].
    ///
    /// [`Input::Resume`]: crate::Input::Resume
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        let deaths = |(step, item): &(StepIndex, ItemIndex)| match self.item(*step, *item) {
            Some(item) if !self.plan.step(*step).only_waits(item.candidate) => item.deaths + 1,
            _ => 0,
        };
        let most = self.open.values().map(deaths).max().unwrap_or(0);
        self.phase == Phase::Running && most + 1 == MAX_DEATHS_COUNT
    }

    /// Fences of the attempts that are open.
    pub fn open_tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.open.keys().copied()
    }

    /// The step and item that an open attempt is at.
    #[must_use]
    pub fn open_attempt(&self, token: Token) -> Option<(StepIndex, ItemIndex)> {
        self.open.get(&token).copied()
    }

    /// An item of a step at work.
    pub(crate) fn item(&self, step: StepIndex, item: ItemIndex) -> Option<&Item> {
        match &self.steps.get(step.at())?.status {
            StepStatus::Active(active) => active.items.get(item.at()),
            _ => None,
        }
    }

    /// What the job answered with, once it has succeeded.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match &self.phase {
            Phase::Ended { ending: Ending::Succeeded(output), .. } => Some(output),
            Phase::Running | Phase::Stopping(_) | Phase::Ended { .. } => None,
        }
    }

    /// Why the job failed, or is being stopped to fail.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.phase {
            Phase::Ended { ending: Ending::Failed(failure), .. }
            | Phase::Stopping(StopCause::Failure(failure)) => Some(failure),
            Phase::Running | Phase::Stopping(StopCause::Cancel) | Phase::Ended { .. } => None,
        }
    }

    /// What expressions see of a step: its output once it has settled, `null` when it was skipped
    /// or failed and the workflow went on.
    #[must_use]
    pub fn output_of(&self, id: &str) -> Option<&Value> {
        let index = self.plan.index_of(id)?;
        match &self.steps[index.at()].status {
            StepStatus::Succeeded(output) => Some(output),
            StepStatus::Skipped | StepStatus::Failed(_) => Some(&Value::Null),
            StepStatus::Pending | StepStatus::Active(_) | StepStatus::Cancelled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::limits::MAX_OPEN_ATTEMPTS_COUNT;
    use crate::testing::{World, play};
    use crate::time::Millis;

    const YAML: &str = "
name: waits
steps:
  - { id: a, uses: k, retry: { initial: 1h, max: 2h, jitter: 0 } }
  - { id: b, uses: k }
  - { id: c, uses: k, needs: [b] }
  - { id: d, uses: k, if: 'false', for_each: [1] }
  - { id: e, uses: k, on_error: continue }";
    const BEGUN: &str = "start > start a; start b; skip d; start e";

    #[test]
    fn a_job_only_waits_when_nothing_but_time_moves_it() {
        let cases = [
            ("", false),
            ("a fail > retry a in 1h", false),
            ("a fail > retry a in 1h\n b ok > ok b; start c\n c ok > ok c\n e ok > ok e", true),
            // A step that is ready and may not start under the drain starts with the next owner.
            ("a fail > retry a in 1h\n drain >\n b ok > ok b\n e ok > ok e", false),
            ("a fail > retry a in 1h\n cancel > cancel; stop b; stop e", false),
        ];
        for (script, expected) in cases {
            let world = play(YAML, &format!("{BEGUN}\n{script}"));
            assert_eq!(world.state.only_waits(), expected, "{script}");
        }
    }

    #[test]
    fn a_job_wakes_at_its_soonest_wait() {
        let mut world = play(YAML, BEGUN);
        assert_eq!(world.state.next_wake(), None);
        world.play("a fail > retry a in 1h");
        assert_eq!(world.state.next_wake(), Some(world.now + "1h".parse().unwrap()));
        world.play("b released > given back b");
        assert!(world.state.next_wake().is_some_and(|due| due <= world.now));
    }

    #[test]
    fn a_full_job_is_moved_on_by_the_end_of_an_attempt_not_by_time() {
        let steps: String = (0..=MAX_OPEN_ATTEMPTS_COUNT)
            .map(|n| format!("  - {{ id: s{n}, uses: k, retry: {{ jitter: 0 }} }}\n"))
            .collect();
        let mut world = World::new(&format!("name: wide\nsteps:\n{steps}"));
        world.crash();
        world.play(&format!("s0 fail > retry s0 in 1s; start s{}", MAX_OPEN_ATTEMPTS_COUNT));
        assert_eq!(world.state.next_wake(), None);
        world.play("s1 ok > ok s1");
        assert_eq!(world.state.next_wake(), Some(world.now + Millis(1_000)));
    }

    #[test]
    fn expressions_see_what_has_settled_and_null_for_what_gave_nothing() {
        let mut world = play(YAML, BEGUN);
        let seen = |world: &World| {
            let see = |id| world.state.output_of(id).map(ToString::to_string);
            ["a", "b", "c", "d", "e", "nobody"].map(see)
        };
        let null = || Some("null".to_owned());
        assert_eq!(seen(&world), [None, None, None, null(), None, None]);
        world.play("b ok [1] > ok b; start c\n e fatal > fail e test.fatal");
        assert_eq!(seen(&world), [None, Some("[1]".to_owned()), None, null(), null(), None]);
    }

    #[test]
    fn progress_counts_settled_items() {
        let yaml = "
name: fan
steps: [{ id: a, uses: k, for_each: [1, 2, 3], concurrency: 2, on_error: continue }]";
        let world = play(
            yaml,
            "
            start        > expand a 3; start a[0]; start a[1]
            a[1] ok      > ok a[1]; start a[2]
            a[0] fatal   > fail a[0] test.fatal
            ",
        );
        let super::StepStatus::Active(active) = &world.state.steps[0].status else {
            panic!("one item runs");
        };
        assert_eq!(active.progress(), (2, 3));
    }
}
