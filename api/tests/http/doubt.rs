//! A step that is held: seen in the job, the list and the events, and decided about by a client.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_api::wire::SubmitRequest;
use callsheet_api::wire::{JobStatus, JobsQuery, ResolveAs, ResolveRequest, StepStatus};
use callsheet_engine::definition::Effect;
use serde_json::{Value, json};

use crate::server::Server;

/// Never tells whether it was done.
pub(crate) struct Letter;

impl Step for Letter {
    type Input = Value;
    type Output = Value;

    fn kind(&self) -> String {
        "test.letter".into()
    }

    fn effect(&self) -> Effect {
        Effect::Once
    }

    async fn run(&self, _: Value, _: StepContext) -> StepResult<Value> {
        Err(StepError::unanswered("the postman says nothing"))
    }
}

fn request(verdict: ResolveAs, result: Option<Value>) -> ResolveRequest {
    ResolveRequest { verdict, item: None, result, reason: None }
}

#[tokio::test]
async fn a_held_step_is_shown_and_resolved() {
    let (server, definition) = (
        Server::start().await,
        json!({
            "name": "post",
            "steps": [{ "id": "send", "uses": "test.letter", "in_doubt": "hold" }],
            "output": "{{ steps.send }}",
        }),
    );
    let client = server.client();
    let submit = SubmitRequest { definition: Some(definition), ..SubmitRequest::default() };
    let id = client.submit(&submit, None).await.unwrap().id;
    let job = loop {
        let job = client.job(&id).await.unwrap();
        if job.head.status == JobStatus::Held {
            break job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let step = &job.steps[0];
    assert_eq!((step.status, &step.held, &job.head.wakes_at), (StepStatus::Held, &vec![0], &None));
    for (status, count) in [(JobStatus::Held, 1), (JobStatus::Sleeping, 0)] {
        let query = JobsQuery { status: Some(status), ..JobsQuery::default() };
        assert_eq!(client.jobs(&query).await.unwrap().jobs.len(), count, "{status:?}");
    }

    let done = request(ResolveAs::Succeeded, Some(json!({ "stamp": 7 })));
    let code = async |id: &str, step: &str, request: &ResolveRequest| {
        client.resolve(id, step, request).await.unwrap_err().code().to_owned()
    };
    assert_eq!(code(&id, "sent", &done).await, "step.unknown");
    assert_eq!(code("x", "send", &done).await, "request.path");
    let stray = request(ResolveAs::Retry, Some(json!(1)));
    assert_eq!(code(&id, "send", &stray).await, "request.field");
    let answer = client.resolve(&id, "send", &done).await.unwrap();
    assert_eq!((answer.id.as_str(), answer.step.as_str()), (id.as_str(), "send"));
    assert_eq!(client.wait(&id).await.unwrap().output, Some(json!({ "stamp": 7 })));
    assert_eq!(code(&id, "send", &done).await, "step.not_held");

    let events = server.get(&format!("/v1/jobs/{id}/events")).await.text().await.unwrap();
    let kinds: Vec<_> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let told = ["job_submitted", "step_started", "step_in_doubt", "step_held", "doubt_resolved"];
    assert_eq!(kinds, [&told[..], &["job_succeeded"]].concat());
}
