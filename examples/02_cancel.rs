//! A job is cancelled while its step works: the body's future is dropped, the job says so for ever.

use std::time::Duration;

use callsheet::{Engine, StepContext, StepResult, Submit};
use futures::StreamExt;
use serde_json::{Value, json};

const LONG: &str = r#"
name: long
steps:
  - { id: work, uses: work }
"#;

/// Tells when it is dropped, which is the last that happens in a cancelled body.
struct Telltale;

impl Drop for Telltale {
    fn drop(&mut self) {
        println!("the body is gone");
    }
}

async fn work(_: Value, _: StepContext) -> StepResult<()> {
    let _telltale = Telltale;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Engine::builder().in_memory().workflow(LONG);
    let engine = builder.step_fn("work", work).open().await?;
    let job = engine.submit(Submit::named("long", json!({}))).await?.job;
    // Wait until the attempt is recorded, so that there is something to cancel.
    let mut events = std::pin::pin!(job.events(0));
    while let Some(record) = events.next().await {
        if record?.events.iter().any(|event| event.kind() == "StepStarted") {
            break;
        }
    }
    println!("cancel: {:?}", job.cancel(Some("changed my mind".into())).await?);
    println!("status: {}", job.wait().await?.head.status.as_str());
    println!("again: {:?}", job.cancel(None).await?);
    engine.shutdown().await;
    Ok(())
}
