//! Stored files that records name.

use std::collections::BTreeSet;

use callsheet_engine::Event;
use serde_json::Value;

use crate::artifacts::{Artifact, Digest, mentions};
use crate::store::Record;

/// Every digest that these records mention, by the rule of the sweep: what must not be thrown away.
pub(super) fn digests_in(records: &[Record], found: &mut BTreeSet<Digest>) {
    values(records).for_each(|value| mentions(&value, found));
}

/// The files that these records refer to, which must be there. What a submitter has named in the
/// input need not be: a wrong reference is theirs, and the step that needs it says so.
pub(super) fn references_in(records: &[Record]) -> Vec<Artifact> {
    let events = records.iter().flat_map(|record| &record.events);
    let made = events.filter(|event| !matches!(event, Event::JobSubmitted { .. }));
    let found = made.map(value).flat_map(|value| Artifact::find_in(&value));
    found.map(|(_, artifact)| artifact).collect()
}

/// Whether the files of a job may have been swept away: it has ended, and keeps them for a time
/// only.
pub(super) fn lets_files_go(records: &[Record]) -> bool {
    let mut events = records.iter().flat_map(|record| &record.events);
    let has_end = match events.next() {
        Some(Event::JobSubmitted { options, .. }) => options.retention.is_some(),
        _ => false,
    };
    let last = events.next_back();
    let is_over = matches!(
        last,
        Some(Event::JobSucceeded { .. } | Event::JobFailed { .. } | Event::JobCancelled { .. })
    );
    has_end && is_over
}

/// The events as plain data: whatever kinds of events there will be, nothing is missed.
fn values(records: &[Record]) -> impl Iterator<Item = Value> {
    records.iter().flat_map(|record| &record.events).map(value)
}

fn value(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event is JSON")
}

#[cfg(test)]
mod tests {
    use callsheet_engine::{Event, JobOptions, Millis, Timestamp, Token, WorkflowRef};
    use serde_json::json;

    use super::*;

    #[test]
    fn files_may_be_gone_when_a_job_with_a_retention_has_ended() {
        let submitted = |retention: Option<u64>| {
            let workflow = WorkflowRef { name: "w".to_owned(), digest: "d".to_owned() };
            let retention = retention.map(Millis);
            let options = JobOptions { retention, ..JobOptions::default() };
            let (input, labels, at) = (json!(null), Default::default(), Timestamp(1));
            Event::JobSubmitted { workflow, input, labels, options, at }
        };
        let record = |sequence, event| Record { sequence, events: vec![event] };
        let end = || record(1, Event::JobCancelled { at: Timestamp(2) });
        let runs = record(1, Event::CancelRequested { reason: None, at: Timestamp(2) });
        assert!(lets_files_go(&[record(0, submitted(Some(5))), end()]));
        assert!(!lets_files_go(&[record(0, submitted(None)), end()]));
        assert!(!lets_files_go(&[record(0, submitted(Some(5))), runs]));
        assert!(!lets_files_go(&[record(0, submitted(Some(5)))]));
        assert!(!lets_files_go(&[]));
    }

    /// A submitter may name what was never there; it is kept where it is, and missed nowhere.
    #[test]
    fn the_references_of_an_input_are_kept_and_not_required() {
        let reference = |n: u8| {
            let artifact = Digest::of(&[n]);
            json!({ "artifact": artifact, "name": "a", "media_type": "b/c", "size": 1 })
        };
        let submitted = Event::JobSubmitted {
            workflow: WorkflowRef { name: "w".to_owned(), digest: "d".to_owned() },
            input: json!({ "file": reference(1) }),
            labels: Default::default(),
            options: JobOptions::default(),
            at: Timestamp(1),
        };
        let output = json!({ "file": reference(2) });
        let made =
            Event::StepSucceeded { token: Token(1), output, cached: false, at: Timestamp(1) };
        let records = [Record { sequence: 0, events: vec![submitted, made] }];
        let mut found = BTreeSet::new();
        digests_in(&records, &mut found);
        assert_eq!(found, BTreeSet::from([Digest::of(&[1]), Digest::of(&[2])]));
        let required: Vec<_> = references_in(&records).iter().map(|it| it.artifact).collect();
        assert_eq!(required, [Digest::of(&[2])]);
    }

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let digest = |n: u8| Digest::of(&[n]);
        let reference = json!({
            "artifact": digest(1), "name": "a", "media_type": "b/c", "size": 1
        });
        let output = json!({
            "file": reference,
            "deep": [[{ "plain": digest(2) }]],
            digest(3).to_string(): null,
            "url": format!("http://h/v1/artifacts/{}?name=a", digest(4)),
            "no": "0123",
        });
        let events =
            vec![Event::StepSucceeded { token: Token(1), output, cached: false, at: Timestamp(1) }];
        let records = [Record { sequence: 0, events }];
        let mut found = BTreeSet::new();
        digests_in(&records, &mut found);
        assert_eq!(found, (1..=4).map(digest).collect());
        let references = references_in(&records);
        assert_eq!(references.iter().map(|it| it.artifact).collect::<Vec<_>>(), [digest(1)]);
    }
}
