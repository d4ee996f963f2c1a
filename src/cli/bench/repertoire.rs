//! What is run: the workflows that are measured, and the one step kind that they need.

use callsheet::definition::Effect;
use callsheet::{Engine, EngineBuilder, Step, StepContext, StepResult, Submit};
use serde_json::{Value, json};

/// Bytes of the result of one step, as JSON.
pub(crate) const RESULT_BYTES: usize = 100;

/// A workflow to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Its name.
    pub(crate) name: &'static str,
    /// Steps in one job of it, each item of a fan-out counted as one.
    pub(crate) steps: u64,
    text: fn() -> String,
    input: fn() -> Value,
}

/// Ten steps, one after another.
pub(crate) const CHAIN10: Piece =
    Piece { name: "chain10", steps: 10, text: || chain("chain10", 10), input: || json!({}) };

/// One step fanned out to 100 items, and one that joins them.
pub(crate) const FAN100: Piece = Piece {
    name: "fan100",
    steps: 101,
    text: || fan("fan100", 100),
    input: || json!({ "items": (0..100).collect::<Vec<_>>() }),
};

/// One step: what is submitted where the submit is all that counts.
pub(crate) const SINGLE: Piece =
    Piece { name: "single", steps: 1, text: || chain("single", 1), input: || json!({}) };

impl Piece {
    /// A job of it.
    pub(crate) fn job(&self) -> Submit {
        Submit::named(self.name, (self.input)())
    }
}

/// A builder that knows all pieces and what they need.
pub(crate) fn builder() -> EngineBuilder {
    let pieces = [CHAIN10, FAN100, SINGLE];
    let builder = Engine::builder().step(NoOp);
    pieces.iter().fold(builder, |builder, piece| builder.workflow((piece.text)()))
}

fn chain(name: &str, steps: usize) -> String {
    let mut text = format!("name: {name}\nsteps:\n  - {{ id: s1, uses: bench.no_op }}\n");
    for n in 2..=steps {
        text.push_str(&format!("  - {{ id: s{n}, uses: bench.no_op, needs: [s{}] }}\n", n - 1));
    }
    text + &format!("output: \"{{{{ steps.s{steps} }}}}\"\n")
}

fn fan(name: &str, at_once: usize) -> String {
    format!(
        "name: {name}\nsteps:\n  \
         - {{ id: fan, uses: bench.no_op, for_each: \"{{{{ input.items }}}}\", \
              concurrency: {at_once} }}\n  \
         - {{ id: join, uses: bench.no_op, needs: [fan] }}\n\
         output: \"{{{{ steps.fan | length }}}}\"\n"
    )
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
        Ok("x".repeat(RESULT_BYTES - 2)) // and two quotes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_piece_does_what_it_says() {
        let engine = builder().in_memory().open().await.unwrap();
        let table = [(CHAIN10, RESULT_BYTES), (FAN100, 3), (SINGLE, RESULT_BYTES)];
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
