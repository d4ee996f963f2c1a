//! Errors and problems of definitions.

use callsheet_engine::definition;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not done: the body of every error, RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A name for the kind of problem: `urn:callsheet:error:` and the code.
    #[schema(example = "urn:callsheet:error:job.unknown")]
    pub r#type: String,
    /// What the kind of problem is, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable and dotted; `docs/errors.md` explains each.
    #[schema(example = "job.unknown")]
    pub code: String,
    /// What went wrong this time.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is wrong with a definition or an input, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DefinitionProblem>,
}

/// One thing that is wrong with a definition or an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefinitionProblem {
    /// Stable and dotted.
    #[schema(example = "definition.unknown_field")]
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// Where in the document; empty for the whole.
    #[schema(example = "steps[2].with.video")]
    pub path: String,
    /// Line in the text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column in the text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&definition::Problem> for DefinitionProblem {
    fn from(problem: &definition::Problem) -> Self {
        Self {
            code: problem.code.clone(),
            message: problem.message.clone(),
            path: problem.path.clone(),
            line: problem.line,
            column: problem.column,
            hint: problem.hint.clone(),
        }
    }
}

/// The answer to a check of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validation {
    /// Whether a job could run it.
    pub valid: bool,
    /// The name of the workflow, when it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Everything that is wrong, in the order of the text.
    pub problems: Vec<DefinitionProblem>,
}
