//! A job is accepted: its input checked, its first event made. What starts is decided by its owner,
//! once it has one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::definition::Problems;
use crate::event::{Event, WorkflowRef};
use crate::ids::JobId;
use crate::options::JobOptions;
use crate::plan::Plan;
use crate::state::JobState;
use crate::time::Timestamp;

/// What a submitter hands in.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The new job's id.
    pub id: JobId,
    /// The graph to run.
    pub plan: Arc<Plan>,
    /// The input, not yet checked.
    pub input: Value,
    /// The submitter's own marks.
    pub labels: BTreeMap<String, String>,
    /// What else is asked for.
    pub options: JobOptions,
}

/// Checks a submission and makes the first event of its journal.
///
/// # Errors
/// Every problem of the input against the workflow's schema.
pub fn submit(submission: Submission, now: Timestamp) -> Result<(JobState, Event), Problems> {
    let Submission { id, plan, input, labels, options } = submission;
    let input = plan.accept_input(input)?;
    let workflow =
        WorkflowRef { name: plan.workflow().name.clone(), digest: plan.digest().to_owned() };
    let event = Event::JobSubmitted { workflow, input, labels, options, at: now };
    let state = JobState::begin(id, plan, &event)
        .expect("a fresh `JobSubmitted` with the plan's own digest begins a journal");
    Ok((state, event))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::plan;
    use serde_json::json;
    use uuid::Uuid;

    fn submitted(input: Value) -> Result<(JobState, Event), Problems> {
        let yaml = "
name: typed
input:
  type: object
  required: [video]
  properties: { video: { type: string }, words: { type: integer, default: 3 } }
steps: [{ id: a, uses: k }]";
        let labels = BTreeMap::from([("who".to_owned(), "me".to_owned())]);
        let id = JobId(Uuid::from_u128(1));
        submit(
            Submission { id, plan: plan(yaml), input, labels, options: Default::default() },
            Timestamp(5),
        )
    }

    #[test]
    fn the_first_event_holds_the_checked_input_and_the_digest() {
        let (state, event) = submitted(json!({ "video": "x" })).unwrap();
        assert_eq!(*state.input, json!({ "video": "x", "words": 3 }));
        let Event::JobSubmitted { workflow, input, labels, at, .. } = event else {
            panic!("a journal begins with `JobSubmitted`");
        };
        assert_eq!((&input, at), (&*state.input, Timestamp(5)));
        assert_eq!((workflow.name.as_str(), labels["who"].as_str()), ("typed", "me"));
        assert_eq!(workflow.digest, state.plan.digest());
        assert!(!state.has_ended() && state.next_wake().is_none());
    }

    #[test]
    fn a_start_says_whether_results_of_before_may_be_taken() {
        let yaml = "
name: kept
steps: [{ id: a, uses: k }, { id: b, uses: k, cache: false }]";
        for (no_cache, expected) in [(false, [true, false]), (true, [false, false])] {
            let options = JobOptions { no_cache, ..JobOptions::default() };
            let (id, plan) = (JobId(Uuid::from_u128(1)), plan(yaml));
            let submission =
                Submission { id, plan, input: json!({}), labels: BTreeMap::new(), options };
            let (mut state, event) = submit(submission, Timestamp(5)).unwrap();
            let again = crate::fold(id, state.plan.clone(), [&event]).unwrap();
            assert_eq!((state.options, again.options), (options, options));
            let decision = crate::decide(&mut state, crate::Input::Resume, Timestamp(6));
            let may = decision.actions.iter().map(|deed| match deed {
                crate::Action::StartStep(start) => start.cache,
                crate::Action::StopStep(_) => panic!("nothing is to be stopped"),
            });
            assert_eq!(may.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_input_that_does_not_fit_is_refused() {
        for input in [json!({}), json!({ "video": 1 }), json!([]), json!(null)] {
            assert!(submitted(input.clone()).is_err(), "{input}");
        }
    }
}
