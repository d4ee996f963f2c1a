//! A job is cancelled while its step works: the body's future is dropped, the job says so for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callsheet::{Engine, StepContext, StepResult, Submit};
use serde_json::{Value, json};

const LONG: &str = r#"
name: long
steps:
  - { id: work, uses: work }
"#;

static GONE: AtomicBool = AtomicBool::new(false);

/// Tells when it is dropped, which is the last that happens in a cancelled body.
struct Telltale;

impl Drop for Telltale {
    fn drop(&mut self) {
        GONE.store(true, Ordering::SeqCst);
    }
}

async fn work(_: Value, context: StepContext) -> StepResult<()> {
    let _telltale = Telltale;
    context.progress(1.0, "at work");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Engine::builder().in_memory().workflow(LONG);
    let engine = builder.step_fn("work", work).open().await?;
    let mut progress = engine.progress();
    let job = engine.submit(Submit::named("long", json!({}))).await?.job;
    progress.recv().await?; // The body is at work, so that there is something to cancel.
    println!("cancel: {:?}", job.cancel(Some("changed my mind".into())).await?);
    println!("status: {}", job.wait().await?.head.status.as_str());
    println!("the body is gone: {}", GONE.load(Ordering::SeqCst));
    println!("again: {:?}", job.cancel(None).await?);
    engine.shutdown().await;
    Ok(())
}
