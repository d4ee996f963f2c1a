//! Stored files that records name.

use std::collections::BTreeSet;

use callsheet_engine::Event;
use serde_json::Value;

use crate::artifacts::{Artifact, Digest};
use crate::store::Record;

/// Every digest that stands anywhere in these records, as a reference to a file or not: what must
/// not be thrown away. Better one file too many than one too few.
pub(super) fn digests_in(records: &[Record], found: &mut BTreeSet<Digest>) {
    let mut waiting = values(records);
    while let Some(value) = waiting.pop() {
        match value {
            Value::String(text) => found.extend(text.parse::<Digest>()),
            Value::Array(items) => waiting.extend(items),
            Value::Object(fields) => {
                found.extend(fields.keys().filter_map(|key| key.parse::<Digest>().ok()));
                waiting.extend(fields.into_iter().map(|(_, value)| value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The files that these records refer to, which must be there.
pub(super) fn references_in(records: &[Record]) -> Vec<Artifact> {
    let values = values(records);
    values.iter().flat_map(Artifact::find_in).map(|(_, artifact)| artifact).collect()
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
fn values(records: &[Record]) -> Vec<Value> {
    let events = records.iter().flat_map(|record| &record.events);
    events.map(|event| serde_json::to_value(event).expect("an event is JSON")).collect()
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
            "no": "0123",
        });
        let events =
            vec![Event::StepSucceeded { token: Token(1), output, cached: false, at: Timestamp(1) }];
        let records = [Record { sequence: 0, events }];
        let mut found = BTreeSet::new();
        digests_in(&records, &mut found);
        assert_eq!(found, BTreeSet::from([digest(1), digest(2), digest(3)]));
        let references = references_in(&records);
        assert_eq!(references.iter().map(|it| it.artifact).collect::<Vec<_>>(), [digest(1)]);
    }
}
