//! From recorded events to notes: keeps what an event alone does not say, such as which step a
//! fence token belongs to.

use std::collections::HashMap;

use callsheet::{Event, ItemIndex, Plan, Progress, StepIndex, Timestamp, Token, Verdict};

use super::Note;
use crate::cli::print;

/// The story of one job so far. Tell it every event from the first on.
pub(crate) struct Story {
    steps: Vec<Chapter>,
    open: HashMap<Token, Attempt>,
}

/// What is known of one step.
struct Chapter {
    id: String,
    fans_out: bool,
    items: usize,
    settled: usize,
    attempts: u32,
    cached: u32,
    since: Option<Timestamp>,
    done: bool,
}

/// An attempt that is open, or the probe that asks about one.
struct Attempt {
    step: StepIndex,
    number: u32,
    is_probe: bool,
}

impl Story {
    /// An empty story of a job that runs `plan`.
    pub(crate) fn new(plan: &Plan) -> Self {
        let steps = plan.steps().iter().map(|step| Chapter::new(&step.id, step.for_each.is_some()));
        Self { steps: steps.collect(), open: HashMap::new() }
    }

    /// The steps that are done, in the order of the workflow.
    pub(crate) fn done(&self) -> Vec<String> {
        self.steps.iter().filter(|step| step.done).map(|step| step.id.clone()).collect()
    }

    /// All steps, in the order of the workflow.
    pub(crate) fn step_ids(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.id.clone()).collect()
    }

    /// Takes an event in, and answers with what there is to tell of it.
    pub(crate) fn tell(&mut self, event: &Event) -> Option<Note> {
        match event {
            Event::StepExpanded { step, items, at } => self.expanded(*step, items.len(), *at),
            Event::SleepBegan { step, due, at } => {
                let chapter = self.steps.get_mut(step.at())?;
                chapter.since = Some(*at);
                Some(Note::Sleeping { step: chapter.id.clone(), wait: print::seconds(*at, *due) })
            }
            Event::SleepEnded { step, at } => self.settled(*step, *at),
            Event::StepStarted { step, item, attempt, token, at, .. } => {
                self.open
                    .insert(*token, Attempt { step: *step, number: *attempt, is_probe: false });
                self.started(*step, *item, *attempt, *at)
            }
            Event::StepSucceeded { token, cached, at, .. } => {
                let attempt = self.open.remove(token)?;
                self.steps.get_mut(attempt.step.at())?.cached += u32::from(*cached);
                self.settled(attempt.step, *at)
            }
            Event::AttemptFailed { token, failure, retry_at, at, .. } => {
                let attempt = self.open.remove(token)?;
                Some(Note::Retrying {
                    step: self.id(attempt.step)?,
                    attempt: attempt.number,
                    failure: failure.clone(),
                    wait: print::seconds(*at, *retry_at),
                })
            }
            Event::AttemptInterrupted { token, .. } => {
                // Of a probe that was cut off there is nothing to tell: another follows.
                let attempt = self.open.remove(token).filter(|attempt| !attempt.is_probe)?;
                Some(Note::Interrupted { step: self.id(attempt.step)?, attempt: attempt.number })
            }
            Event::StepInDoubt { token, .. } => {
                let attempt = self.open.remove(token)?;
                Some(Note::InDoubt { step: self.id(attempt.step)?, attempt: attempt.number })
            }
            Event::ProbeStarted { step, probe, token, .. } => {
                self.open.insert(*token, Attempt { step: *step, number: *probe, is_probe: true });
                None
            }
            Event::ProbeFailed { token, .. } => self.open.remove(token).and(None),
            Event::StepHeld { step, item, .. } => {
                let item = self.steps.get(step.at())?.fans_out.then_some(item.0);
                Some(Note::Held { step: self.id(*step)?, item })
            }
            Event::DoubtResolved { step, verdict: Verdict::Succeeded { .. }, at, .. } => {
                self.settled(*step, *at)
            }
            Event::DoubtResolved { .. } => None,
            Event::StepSkipped { step, .. } => {
                self.steps.get_mut(step.at())?.done = true;
                Some(Note::Skipped { step: self.id(*step)? })
            }
            Event::ItemFailed { step, failure, .. } | Event::StepFailed { step, failure, .. } => {
                let chapter = self.steps.get_mut(step.at())?;
                chapter.settled += 1;
                // A job that goes on all the same does not come back to this step.
                chapter.done = chapter.settled >= chapter.items;
                Some(Note::Failed { step: chapter.id.clone(), failure: failure.clone() })
            }
            Event::JobSucceeded { .. } => Some(ended("succeeded")),
            Event::JobFailed { .. } => Some(ended("failed")),
            Event::JobCancelled { .. } => Some(ended("cancelled")),
            Event::JobSubmitted { .. }
            | Event::AttemptCancelled { .. }
            | Event::CancelRequested { .. } => None,
        }
    }

    /// What a live figure tells. It comes on another way than the events, so it may be late: what
    /// is said of a step that is done is left out.
    pub(crate) fn moved(&self, progress: &Progress) -> Option<Note> {
        let step = self.steps.get(progress.step.at()).filter(|step| !step.done)?;
        let message = if step.fans_out {
            format!("item {}: {}", progress.item.0, progress.message)
        } else {
            progress.message.clone()
        };
        Some(Note::Moved { step: step.id.clone(), percent: progress.percent, message })
    }

    fn id(&self, step: StepIndex) -> Option<String> {
        self.steps.get(step.at()).map(|step| step.id.clone())
    }

    fn expanded(&mut self, step: StepIndex, items: usize, at: Timestamp) -> Option<Note> {
        let chapter = self.steps.get_mut(step.at())?;
        chapter.items = items;
        // Nothing to do is done: no attempt and so no other event follows.
        if items == 0 { Some(chapter.end(at)) } else { None }
    }

    fn started(
        &mut self,
        step: StepIndex,
        item: ItemIndex,
        attempt: u32,
        at: Timestamp,
    ) -> Option<Note> {
        let chapter = self.steps.get_mut(step.at())?;
        chapter.attempts += 1;
        chapter.since.get_or_insert(at);
        let item = chapter.fans_out.then_some(item.0);
        Some(Note::Started { step: chapter.id.clone(), item, attempt })
    }

    fn settled(&mut self, step: StepIndex, at: Timestamp) -> Option<Note> {
        let chapter = self.steps.get_mut(step.at())?;
        chapter.settled += 1;
        if chapter.settled == chapter.items {
            return Some(chapter.end(at));
        }
        let (done, total) = (chapter.settled, chapter.items);
        Some(Note::Item { step: chapter.id.clone(), done, total })
    }
}

impl Chapter {
    fn new(id: &str, fans_out: bool) -> Self {
        let id = id.to_owned();
        Self {
            id,
            fans_out,
            items: 1,
            settled: 0,
            attempts: 0,
            cached: 0,
            since: None,
            done: false,
        }
    }

    fn end(&mut self, at: Timestamp) -> Note {
        self.done = true;
        Note::Succeeded {
            step: self.id.clone(),
            attempts: self.attempts,
            cached: (self.cached, self.items),
            seconds: print::seconds(self.since.unwrap_or(at), at),
        }
    }
}

fn ended(status: &str) -> Note {
    Note::Ended { status: status.to_owned() }
}

#[cfg(test)]
mod tests {
    use callsheet::{Failure, Interruption};
    use serde_json::json;

    use super::*;

    fn story() -> Story {
        Story {
            steps: vec![Chapter::new("one", false), Chapter::new("many", true)],
            open: HashMap::new(),
        }
    }

    fn start(step: u32, item: u32, attempt: u32, token: u64, at: i64) -> Event {
        Event::StepStarted {
            step: StepIndex(step),
            item: ItemIndex(item),
            attempt,
            token: Token(token),
            candidate: 0,
            at: Timestamp(at),
        }
    }

    fn succeed(token: u64, at: i64) -> Event {
        Event::StepSucceeded {
            token: Token(token),
            output: json!(1),
            cached: false,
            at: Timestamp(at),
        }
    }

    #[test]
    fn a_step_is_told_from_start_to_end() {
        let mut story = story();
        let step = || "one".to_owned();
        let failure = Failure::retryable("a.b", "no");
        let failed = Event::AttemptFailed {
            token: Token(1),
            failure: failure.clone(),
            retry_at: Timestamp(1_500),
            candidate: 0,
            at: Timestamp(1_000),
        };
        let cut = Event::AttemptInterrupted {
            token: Token(2),
            cause: Interruption::Death,
            at: Timestamp(1_700),
        };
        let told = [
            (start(0, 0, 1, 1, 0), Note::Started { step: step(), item: None, attempt: 1 }),
            (failed, Note::Retrying { step: step(), attempt: 1, failure, wait: 0.5 }),
            (start(0, 0, 2, 2, 1_500), Note::Started { step: step(), item: None, attempt: 2 }),
            (cut, Note::Interrupted { step: step(), attempt: 2 }),
            (start(0, 0, 3, 3, 1_800), Note::Started { step: step(), item: None, attempt: 3 }),
            (
                succeed(3, 2_000),
                Note::Succeeded { step: step(), attempts: 3, cached: (0, 1), seconds: 2.0 },
            ),
        ];
        for (event, note) in told {
            assert_eq!(story.tell(&event), Some(note));
        }
        assert_eq!(story.done(), ["one"]);
    }

    #[test]
    fn items_are_counted_until_all_have_settled() {
        let mut story = story();
        let items = vec![json!(1), json!(2)];
        let expanded = Event::StepExpanded { step: StepIndex(1), items, at: Timestamp(0) };
        assert_eq!(story.tell(&expanded), None);
        story.tell(&start(1, 0, 1, 1, 0));
        story.tell(&start(1, 1, 1, 2, 0));
        let many = || "many".to_owned();
        assert_eq!(
            story.tell(&succeed(2, 10)),
            Some(Note::Item { step: many(), done: 1, total: 2 })
        );
        let end = Note::Succeeded { step: many(), attempts: 2, cached: (0, 2), seconds: 1.0 };
        assert_eq!(story.tell(&succeed(1, 1_000)), Some(end));
    }

    #[test]
    fn results_that_were_recalled_are_counted() {
        let mut story = story();
        let items = vec![json!(1), json!(2)];
        story.tell(&Event::StepExpanded { step: StepIndex(1), items, at: Timestamp(0) });
        story.tell(&start(1, 0, 1, 1, 0));
        story.tell(&start(1, 1, 1, 2, 0));
        story.tell(&succeed(2, 10));
        let recalled = Event::StepSucceeded {
            token: Token(1),
            output: json!(1),
            cached: true,
            at: Timestamp(10),
        };
        let (step, cached) = ("many".to_owned(), (1, 2));
        let end = Note::Succeeded { step, attempts: 2, cached, seconds: 0.01 };
        assert_eq!(story.tell(&recalled), Some(end));
    }

    #[test]
    fn an_empty_list_is_done_at_once() {
        let mut story = story();
        let expanded = Event::StepExpanded { step: StepIndex(1), items: vec![], at: Timestamp(9) };
        let end =
            Note::Succeeded { step: "many".into(), attempts: 0, cached: (0, 0), seconds: 0.0 };
        assert_eq!(story.tell(&expanded), Some(end));
        assert_eq!(story.done(), ["many"]);
    }

    #[test]
    fn a_timer_is_told_when_it_begins_and_when_it_is_over() {
        let mut story = story();
        let (step, due, at) = (StepIndex(0), Timestamp(2_000), Timestamp(500));
        let asleep = Note::Sleeping { step: "one".into(), wait: 1.5 };
        assert_eq!(story.tell(&Event::SleepBegan { step, due, at }), Some(asleep));
        let over =
            Note::Succeeded { step: "one".into(), attempts: 0, cached: (0, 1), seconds: 1.5 };
        assert_eq!(story.tell(&Event::SleepEnded { step, at: due }), Some(over));
        assert_eq!(story.done(), ["one"]);
    }

    #[test]
    fn a_result_under_an_unknown_fence_tells_nothing() {
        assert_eq!(story().tell(&succeed(7, 1)), None);
    }
}
