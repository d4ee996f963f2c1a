//! Run again with the same data directory, a command goes on with the job that it began.

use std::sync::Arc;

use callsheet::{
    Digest, Engine, JobHandle, JobHead, JobId, JobStatus, ListQuery, Plan, Submit, Timestamp,
};
use serde_json::Value;

use crate::cli::error::Result;

/// The label that says which workflow and input a job of `run` belongs to.
pub(crate) const LABEL: &str = "callsheet.run";

/// Heads asked for at once.
const PAGE_COUNT: usize = 200;

/// The job that a run is about.
pub(crate) struct Attached {
    /// Its handle.
    pub(crate) job: JobHandle,
    /// Whether an earlier process began it.
    pub(crate) resumed: bool,
}

/// The job of this workflow and input that has not ended, or a new one.
///
/// Opening an engine sets its jobs going, so the one that is looked for may end before it is
/// found: one that succeeded after `since` is still the one.
///
/// # Errors
/// When the store cannot be read, or the input is refused.
pub(crate) async fn attach_or_submit(
    engine: &Engine,
    plan: Arc<Plan>,
    input: Value,
    since: Timestamp,
) -> Result<Attached> {
    let label = label(plan.digest(), &input);
    let is_ours = |head: &JobHead| {
        head.labels.get(LABEL) == Some(&label)
            && (!head.status.has_ended()
                || (head.status == JobStatus::Succeeded && head.changed_at >= since))
    };
    let mut before: Option<JobId> = None;
    loop {
        let workflow = Some(plan.workflow().name.clone());
        let query = ListQuery { status: None, workflow, before, limit: PAGE_COUNT };
        let page = engine.jobs(query).await?;
        if let Some(head) = page.heads.iter().find(|head| is_ours(head)) {
            return Ok(Attached { job: engine.job(head.id), resumed: true });
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let submitted = engine.submit(Submit::plan(plan, input).label(LABEL, label)).await?;
    Ok(Attached { job: submitted.job, resumed: false })
}

/// Stands for a workflow and an input: equal for equal ones, whatever the order of the fields.
fn label(workflow_digest: &str, input: &Value) -> String {
    let text = format!("{workflow_digest}\n{}", callsheet_engine::canonical_json(input));
    Digest::of(text.as_bytes()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_inputs_have_one_label() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"x":[1,2],"y":"z"}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"y":"z","x":[1,2]},"a":1}"#).unwrap();
        assert_eq!(label("d", &one), label("d", &two));
        let others = [json!({ "a": 1 }), json!({ "a": "1" }), json!(["a", 1]), json!(null)];
        for other in &others {
            assert_ne!(label("d", &one), label("d", other));
        }
        assert_ne!(label("d", &one), label("e", &one));
    }
}
