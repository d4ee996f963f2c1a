//! A step that must not be done twice: its answer is lost on the way, and it looks before it pays
//! again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet::definition::Effect;
use callsheet::{Engine, Probed, Step, StepContext, StepError, StepResult, Submit};
use serde_json::{Value, json};

const ORDER: &str = "
name: order
steps:
  - { id: pay, uses: bank.pay, in_doubt: probe }
output: '{{ steps.pay }}'
";

/// A bank that books whatever it is told, as often as it is told.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<HashMap<String, u32>>>);

impl Bank {
    fn booked(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step for Bank {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        "bank.pay".into()
    }

    /// No attempt follows one that gave no answer, unless `in_doubt` says so.
    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn probes(&self) -> bool {
        true
    }

    async fn run(&self, _: Value, context: StepContext) -> StepResult<String> {
        *self.booked().entry(context.idempotency_key().to_owned()).or_default() += 1;
        Err(StepError::unanswered("the connection broke after the order was sent"))
    }

    /// The statement of the account tells what was booked under this key.
    async fn probe(&self, _: Value, context: StepContext) -> StepResult<Probed<String>> {
        Ok(match self.booked().get(context.idempotency_key()) {
            Some(_) => Probed::Done("found on the statement".into()),
            None => Probed::NotDone,
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (data, bank) = (tempfile::tempdir()?, Bank::default());
    let builder = Engine::builder().data_dir(data.path()).workflow(ORDER);
    let engine = builder.step(bank.clone()).open().await?;
    let view = engine.submit(Submit::named("order", json!({}))).await?.job.wait().await?;
    println!("{}: {}", view.head.status.as_str(), view.state.output().unwrap_or(&json!(null)));
    println!("paid {} time", bank.booked().values().sum::<u32>());
    engine.shutdown().await;
    Ok(())
}
