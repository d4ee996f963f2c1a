//! Stored files that records name.

use std::collections::BTreeSet;

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

/// The events as plain data: whatever kinds of events there will be, nothing is missed.
fn values(records: &[Record]) -> Vec<Value> {
    let events = records.iter().flat_map(|record| &record.events);
    events.map(|event| serde_json::to_value(event).expect("an event is JSON")).collect()
}

#[cfg(test)]
mod tests {
    use callsheet_engine::{Event, Timestamp, Token};
    use serde_json::json;

    use super::*;

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
