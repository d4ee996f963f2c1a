//! `callsheet validate`: every problem of a definition at once, and the step kinds there are.

use std::path::{Path, PathBuf};

use callsheet::Engine;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::{Exit, Result};
use crate::cli::{kinds, local, print, source};

/// Examples at the foot of `callsheet validate --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet validate my-flow.yaml
  callsheet validate flows/*.yaml --json
  callsheet validate --kinds";

/// Arguments of `callsheet validate`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ValidateArgs {
    /// Definitions to look at, YAML or JSON; `-` is standard input
    #[arg(required_unless_present = "kinds", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// List the step kinds that a definition may use, with their inputs
    #[arg(long)]
    kinds: bool,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at every file, prints every problem, and fails when there is one.
///
/// # Errors
/// When a file cannot be read.
pub(crate) async fn run(args: ValidateArgs) -> Result<Exit> {
    let engine = local::in_memory().await?;
    let mut exit = Exit::Done;
    let mut answers = Vec::new();
    for file in &args.files {
        let answer = check(&engine, file, args.json)?;
        if answer["valid"] == Value::Bool(false) {
            exit = Exit::Failed;
        }
        answers.push(answer);
    }
    match (args.kinds, args.json) {
        (true, true) if args.files.is_empty() => print::out_json(&kinds::json(engine.catalog())),
        (true, true) => {
            print::out_json(&json!({ "files": answers, "kinds": kinds::json(engine.catalog()) }));
        }
        (true, false) => print::out(kinds::text(engine.catalog()).trim_end()),
        (false, true) => print::out_json(&Value::Array(answers)),
        (false, false) => {}
    }
    engine.stop_now().await;
    Ok(exit)
}

/// One file's answer; printed at once unless everything is wanted as JSON.
fn check(engine: &Engine, file: &Path, json: bool) -> Result<Value> {
    let name = file.display().to_string();
    let text = source::read(file)?;
    let (lines, answer) = match engine.validate(&text) {
        Ok(plan) => {
            let (workflow, steps) = (&plan.workflow().name, plan.steps().len());
            let noun = if steps == 1 { "step" } else { "steps" };
            let line = format!("{name}: valid: workflow `{workflow}`, {steps} {noun}\n");
            let answer = json!({
                "file": name, "valid": true, "workflow": workflow, "steps": steps, "problems": [],
            });
            (line, answer)
        }
        Err(problems) => {
            let lines = print::problems(&name, &problems);
            (lines, json!({ "file": name, "valid": false, "problems": problems }))
        }
    };
    if !json {
        print::out(lines.trim_end());
    }
    Ok(answer)
}
