//! `callsheet graph`: a workflow as a drawing.

use clap::{Args, ValueEnum};

use crate::cli::error::{Exit, Result};
use crate::cli::{local, print, source};

/// Examples at the foot of `callsheet graph --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet graph caption
  callsheet graph my-flow.yaml --format dot | dot -Tsvg -o my-flow.svg";

/// Arguments of `callsheet graph`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GraphArgs {
    /// Name of a shipped workflow, or path of a YAML or JSON file
    workflow: String,

    /// The language of the drawing
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
}

/// Languages for drawings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Mermaid, which many Markdown viewers draw.
    Mermaid,
    /// DOT of Graphviz.
    Dot,
}

/// Prints the drawing.
///
/// # Errors
/// When there is no such workflow, or it has problems.
pub(crate) async fn run(args: GraphArgs) -> Result<Exit> {
    let engine = local::in_memory().await?;
    let plan = source::plan(&engine, &args.workflow)?;
    let drawing = match args.format {
        Format::Mermaid => plan.to_mermaid(),
        Format::Dot => plan.to_dot(),
    };
    print::out(drawing.trim_end());
    engine.stop_now().await;
    Ok(Exit::Done)
}
