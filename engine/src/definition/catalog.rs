//! What the engine knows of the step kinds that a definition may use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a step kind does outside the engine, and so what a repeat of it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing but its output: a repeat is harmless, and the body may run ahead of its record.
    Pure,
    /// An outside effect whose receiver honours the idempotency key: a repeat is harmless.
    Idempotent,
    /// An outside effect that must not be repeated: an attempt without an answer is in doubt, and
    /// the step's `in_doubt` says what to do.
    Once,
}

/// One step kind, as definitions see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindInfo {
    /// The name in `uses`, such as `media.fetch`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// What a repeat of it means.
    pub effect: Effect,
    /// Whether it can be asked if a deed in doubt was done.
    #[serde(default)]
    pub probes: bool,
    /// The version of its results, when they are kept for steps with the same input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<u32>,
    /// JSON Schema of `with`.
    pub input_schema: Value,
    /// JSON Schema of the output.
    pub output_schema: Value,
}

/// All step kinds that are registered, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    kinds: BTreeMap<String, KindInfo>,
}

impl Catalog {
    /// Adds a kind, or puts it in the place of the one of that name, which is returned.
    pub fn insert(&mut self, kind: KindInfo) -> Option<KindInfo> {
        self.kinds.insert(kind.name.clone(), kind)
    }

    /// The kind of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&KindInfo> {
        self.kinds.get(name)
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &KindInfo> {
        self.kinds.values()
    }
}
