//! What is run: the workflows that are measured, and the step kinds that they need.

use std::sync::Arc;
use std::time::Duration;

use callsheet::definition::Effect;
use callsheet::{Engine, EngineBuilder, Step, StepContext, StepResult, Submit};
use serde_json::{Value, json};

use super::cancel::child_seconds;
use super::ledger::{Deed, Ledger};

/// Bytes of the result of one step, as JSON.
pub(crate) const RESULT_BYTES: usize = 100;

/// How long a step takes that is there to be killed in.
const NAP: Duration = Duration::from_millis(50);

/// How long the child processes would live that are there to be ended.
pub(crate) const CHILD_SECONDS: u32 = 86_399;

/// A workflow to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Its name.
    pub(crate) name: &'static str,
    /// Steps in one job of it, each item of a fan-out counted as one.
    pub(crate) steps: u64,
    shape: Shape,
}

/// What a workflow looks like.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Steps of one kind, one after another.
    Chain(&'static str),
    /// One step fanned out, so many at once, and one that joins.
    Fan(u64),
    /// One step that only waits.
    Sleep,
}

/// Ten steps, one after another.
pub(crate) const CHAIN10: Piece =
    Piece { name: "chain10", steps: 10, shape: Shape::Chain("bench.no_op") };

/// One step fanned out to 100 items, and one that joins them.
pub(crate) const FAN100: Piece = Piece { name: "fan100", steps: 101, shape: Shape::Fan(100) };

/// One step: what is submitted where the submit is all that counts.
pub(crate) const SINGLE: Piece =
    Piece { name: "single", steps: 1, shape: Shape::Chain("bench.no_op") };

/// Ten steps that take 50 ms each.
pub(crate) const NAPS: Piece = Piece { name: "naps", steps: 10, shape: Shape::Chain("bench.nap") };

/// One step that waits for a child process.
pub(crate) const CHILDREN: Piece =
    Piece { name: "children", steps: 1, shape: Shape::Chain("bench.child") };

/// One timer of an hour: longer than any measurement.
pub(crate) const IDLE: Piece = Piece { name: "idle", steps: 1, shape: Shape::Sleep };

/// The same as [`FAN100`] with more items than may be open at once.
const FAN: Piece = Piece { name: "fan", steps: 0, shape: Shape::Fan(256) };

impl Piece {
    /// One step fanned out to so many items, and one that joins them.
    pub(crate) fn fan(items: usize) -> Self {
        Self { steps: items as u64 + 1, ..FAN }
    }

    /// A job of it.
    pub(crate) fn job(&self) -> Submit {
        let input = match self.shape {
            Shape::Chain(_) | Shape::Sleep => json!({}),
            Shape::Fan(_) => json!({ "items": (1..self.steps).collect::<Vec<_>>() }),
        };
        Submit::named(self.name, input)
    }

    /// Its definition.
    fn text(&self) -> String {
        match self.shape {
            Shape::Chain(kind) => chain(self.name, kind, self.steps),
            Shape::Fan(at_once) => fan(self.name, at_once),
            Shape::Sleep => format!("name: {}\nsteps:\n  - {{ id: wait, sleep: 1h }}\n", self.name),
        }
    }
}

/// A builder that knows all pieces and what they need.
pub(crate) fn builder() -> EngineBuilder {
    with(Nap(None))
}

/// The same, whose naps are written down.
pub(crate) fn builder_with(ledger: Arc<Ledger>) -> EngineBuilder {
    with(Nap(Some(ledger)))
}

fn with(nap: Nap) -> EngineBuilder {
    let builder = Engine::builder().step(NoOp).step(nap).step(Child);
    let pieces = [CHAIN10, FAN100, SINGLE, NAPS, CHILDREN, FAN, IDLE];
    pieces.iter().fold(builder, |builder, piece| builder.workflow(piece.text()))
}

fn chain(name: &str, kind: &str, steps: u64) -> String {
    let mut text = format!("name: {name}\nsteps:\n  - {{ id: s1, uses: {kind} }}\n");
    for n in 2..=steps {
        text.push_str(&format!("  - {{ id: s{n}, uses: {kind}, needs: [s{}] }}\n", n - 1));
    }
    text + &format!("output: \"{{{{ steps.s{steps} }}}}\"\n")
}

fn fan(name: &str, at_once: u64) -> String {
    format!(
        "name: {name}\nsteps:\n  \
         - {{ id: fan, uses: bench.no_op, for_each: \"{{{{ input.items }}}}\", \
              concurrency: {at_once} }}\n  \
         - {{ id: join, uses: bench.no_op, needs: [fan] }}\n\
         output: \"{{{{ steps.fan | length }}}}\"\n"
    )
}

fn result() -> String {
    "x".repeat(RESULT_BYTES - 2) // and two quotes
}

/// Does nothing, with a result of [`RESULT_BYTES`]: what is left is what the engine costs.
struct NoOp;

impl Step for NoOp {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        "bench.no_op".into()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, _: Value, _: StepContext) -> StepResult<String> {
        Ok(result())
    }
}

/// Takes [`NAP`], and writes down when it began and ended. Not pure: nothing may run ahead of it.
struct Nap(Option<Arc<Ledger>>);

impl Step for Nap {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        "bench.nap".into()
    }

    async fn run(&self, _: Value, context: StepContext) -> StepResult<String> {
        let write = |deed| {
            let (job, step) = (context.job().to_string(), context.step());
            self.0.as_ref().map_or(Ok(()), |ledger| ledger.write(deed, &job, step))
        };
        write(Deed::Begun)?;
        tokio::time::sleep(NAP).await;
        write(Deed::Ended)?;
        Ok(result())
    }
}

/// Starts a child process and waits for its end, which is far away.
struct Child;

impl Step for Child {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        "bench.child".into()
    }

    async fn run(&self, _: Value, context: StepContext) -> StepResult<String> {
        context.command("sleep").arg(child_seconds()).run().await?;
        Ok(result())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_piece_does_what_it_says() {
        let engine = builder().in_memory().open().await.unwrap();
        let table = [
            (CHAIN10, RESULT_BYTES),
            (FAN100, 3),
            (SINGLE, RESULT_BYTES),
            (Piece::fan(7), 1),
            (NAPS, RESULT_BYTES),
        ];
        for (piece, bytes) in table {
            let before = engine.stats();
            let view = engine.submit(piece.job()).await.unwrap().job.wait().await.unwrap();
            let output = view.state.output().unwrap().to_string();
            assert_eq!(output.len(), bytes, "{}: {output}", piece.name);
            let started = engine.stats().attempts_started - before.attempts_started;
            assert_eq!(started, piece.steps, "{}", piece.name);
        }
        engine.shutdown().await;
    }
}
