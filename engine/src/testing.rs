//! What the tests of this crate share: plans made from a few lines of YAML, and a world in which a
//! job is played by a script.

mod consistency;
mod script;
mod world;

pub(crate) use consistency::check_consistency;
pub(crate) use script::play;
pub(crate) use world::World;

use std::sync::Arc;

use serde_json::json;

use crate::definition::{Catalog, Effect, KindInfo, Workflow, parse};
use crate::plan::Plan;

/// The plan of a definition. Every kind that it uses exists, takes anything and gives anything; one
/// that it uses with `in_doubt` must not be done twice.
pub(crate) fn plan(text: &str) -> Arc<Plan> {
    let workflow = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    let catalog = permissive(&workflow);
    Arc::new(Plan::build(workflow, &catalog).unwrap_or_else(|problems| panic!("{problems}")))
}

/// A catalog of all kinds that a workflow uses.
pub(crate) fn permissive(workflow: &Workflow) -> Catalog {
    let mut catalog = Catalog::default();
    for step in workflow.steps.iter().filter(|step| !step.is_timer()) {
        let fallbacks = step.fallback.iter().map(|other| (&other.uses, other.in_doubt));
        for (name, in_doubt) in std::iter::once((&step.uses, step.in_doubt)).chain(fallbacks) {
            let effect = if in_doubt.is_some() { Effect::Once } else { Effect::Idempotent };
            catalog.insert(KindInfo {
                name: name.clone(),
                description: String::new(),
                effect,
                probes: true,
                cache: None,
                input_schema: json!({}),
                output_schema: json!({}),
            });
        }
    }
    catalog
}
