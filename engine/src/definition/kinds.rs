//! Whether steps use kinds that there are, and give them what they take.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::finding::Findings;
use super::place::{OwnedTurn, Path, Place};
use super::schema::{Misfit, MisfitKind, Schema};
use super::{Catalog, InDoubt, Step, doubt};
use crate::expression::is_template;

/// The kinds at hand, their schemas compiled at first use.
pub(super) struct Kinds<'c> {
    catalog: &'c Catalog,
    schemas: HashMap<&'c str, Result<Schema, String>>,
}

impl<'c> Kinds<'c> {
    /// The kinds of a catalog.
    pub(super) fn new(catalog: &'c Catalog) -> Self {
        Self { catalog, schemas: HashMap::new() }
    }

    /// Checks the kind of a step, and those of its fallbacks. A fallback without `with` is given
    /// that of the step, so this has to suit both.
    pub(super) fn check_step(&mut self, step: &Step, path: &Path<'_>, findings: &mut Findings) {
        if step.is_timer() {
            return; // What it has of a kind is reported as out of place.
        }
        let with = path.key("with").to_place();
        let own = (step.uses.as_str(), &step.with, step.in_doubt);
        for misfit in self.check_use(own, path, findings) {
            report(misfit, &with, findings);
        }
        self.check_cache(step, path, findings);
        let below = path.key("fallback");
        for (n, fallback) in step.fallback.iter().enumerate() {
            let path = below.at(n);
            let given = fallback.with.as_ref().unwrap_or(&step.with);
            let other = (fallback.uses.as_str(), given, fallback.in_doubt);
            let misfits = self.check_use(other, &path, findings);
            if fallback.with.is_some() {
                let with = path.key("with").to_place();
                misfits.into_iter().for_each(|misfit| report(misfit, &with, findings));
                continue;
            }
            // One sentence: the remedy is the same for all of them.
            if let Some(misfit) = misfits.into_iter().next() {
                let about = format!("`with.{}` of the step", misfit.place);
                let message =
                    format!("{about} does not suit `{}`: {}", fallback.uses, misfit.message);
                let hint = "give this fallback a `with` of its own";
                findings.add("with.invalid", path.key("uses"), message, hint);
            }
        }
    }

    /// Whether there is a result to be kept where `cache: true` asks for it.
    fn check_cache(&self, step: &Step, path: &Path<'_>, findings: &mut Findings) {
        let kind = self.catalog.get(&step.uses);
        let mut all = step.fallback.iter().map(|other| self.catalog.get(&other.uses)).chain([kind]);
        if step.cache != Some(true) || all.any(|kind| kind.is_none_or(|it| it.cache.is_some())) {
            return;
        }
        let message =
            format!("`cache: true` has no meaning here: `{}` keeps no results", step.uses);
        let hint = "remove it; a kind written in Rust keeps its results when its `Step::cache` \
                    gives their version";
        findings.add("definition.conflict", path.key("cache"), message, hint);
    }

    /// Checks one use of a kind; answers with what is wrong with its input.
    fn check_use(
        &mut self,
        (uses, with, in_doubt): (&str, &Value, Option<InDoubt>),
        path: &Path<'_>,
        findings: &mut Findings,
    ) -> Vec<Misfit> {
        if findings.covers(path.key("uses")) {
            return Vec::new();
        }
        let Some(kind) = self.catalog.get(uses) else {
            let known = self.catalog.iter().map(|kind| kind.name.as_str());
            let otherwise =
                "the engine has no such step kind; register it, or see the list of kinds";
            let hint = findings.suggest(uses, known, otherwise);
            let message = format!("unknown step kind `{uses}`");
            findings.add("definition.unknown_kind", path.key("uses"), message, hint);
            return Vec::new();
        };
        doubt::check(kind, in_doubt, path, findings);
        let schema = self
            .schemas
            .entry(&kind.name)
            .or_insert_with(|| Schema::compile(&kind.input_schema).map_err(|(_, why)| why));
        match schema {
            Ok(schema) => misfits(schema, with),
            Err(why) => {
                let message = format!("the step kind `{uses}` has a broken input schema: {why}");
                let hint = "this is a fault of the step kind, not of the definition";
                findings.add("definition.bad_kind", path.key("uses"), message, hint);
                Vec::new()
            }
        }
    }
}

/// What is wrong with a step's input for certain: whatever depends on the value of a template is
/// left to the run.
fn misfits(schema: &Schema, with: &Value) -> Vec<Misfit> {
    let nothing = json!({});
    let with = if with.is_null() { &nothing } else { with };
    let mut unknown = BTreeSet::new();
    find_templates(with, &mut Vec::new(), &mut unknown);
    let mut misfits = schema.misfits(with);
    misfits.retain(|misfit| {
        // A template has no parts, so one that lies around a place is the last before it, and what
        // lies below a place follows it at once: a look costs the same in a list of any length.
        let at = &misfit.place;
        let certain = !unknown.range(..=at).next_back().is_some_and(|before| before.covers(at));
        let parts_known = !unknown.range(at..).next().is_some_and(|after| at.covers(after));
        certain && (misfit.kind != MisfitKind::Whole || parts_known)
            || misfit.kind == MisfitKind::UnknownField
    });
    misfits
}

/// The places of all strings whose value is not known before the run.
fn find_templates(value: &Value, at: &mut Vec<OwnedTurn>, found: &mut BTreeSet<Place>) {
    match value {
        Value::String(text) if is_template(text) => {
            found.insert(Place(at.clone()));
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                at.push(OwnedTurn::At(n));
                find_templates(item, at, found);
                at.pop();
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                at.push(OwnedTurn::Key(key.clone()));
                find_templates(item, at, found);
                at.pop();
            }
        }
        _ => {}
    }
}

/// The code says whether a name or a value is wrong; the name is where the eye should go.
fn report(misfit: Misfit, with: &Place, findings: &mut Findings) {
    let place = with.join(misfit.place);
    let Misfit { message, hint, .. } = misfit;
    match misfit.kind {
        MisfitKind::UnknownField => {
            findings.add_on_key("with.unknown_field", place, message, hint);
        }
        MisfitKind::MissingField => findings.add_at("with.missing_field", place, message, hint),
        MisfitKind::Value | MisfitKind::Whole => {
            findings.add_at("with.invalid", place, message, hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::check_steps;
    use super::super::{Catalog, Effect, KindInfo, Step, Workflow, validate};

    #[test]
    fn kinds_have_to_be_registered() {
        check_steps(&[
            (
                "uses: strcit",
                "5:11 definition.unknown_kind: unknown step kind `strcit` (did you mean `strict`?)",
            ),
            ("uses: zzzzzz", "unknown step kind `zzzzzz` (the engine has no such step kind;"),
            (
                "fallback: [{ uses: stric, with: {} }]",
                "5:24 definition.unknown_kind: unknown step kind `stric`",
            ),
            (
                "uses: broken",
                "definition.bad_kind: the step kind `broken` has a broken input schema",
            ),
        ]);
    }

    #[test]
    fn constants_fit_the_schema_of_the_kind() {
        check_steps(&[
            (
                "uses: strict\n    with: { source: x, count: 3, mode: link, tags: [{ name: t }] }",
                "",
            ),
            (
                "uses: strict",
                "5:5 with.missing_field: the field `source` is missing (add `source`: Where from.)",
            ),
            (
                "uses: strict\n    with: {}",
                "6:11 with.missing_field: the field `source` is missing",
            ),
            (
                "uses: strict\n    with: { sorce: x }",
                "6:13 with.unknown_field: unknown field `sorce` (did you mean `source`?)",
            ),
            (
                "uses: strict\n    with: { source: x, zzz: 1 }",
                "unknown field `zzz` (the fields here are `any`, `count`, `mode`, `source` and \
                 `tags`)",
            ),
            (
                "uses: strict\n    with: { source: 3 }",
                "6:21 with.invalid: `3` is not of type `string`",
            ),
            ("uses: strict\n    with: { source: x, count: 10 }", "`10` is too large (at most 9)"),
            ("uses: strict\n    with: { source: x, count: 0 }", "`0` is too small (at least 1)"),
            (
                "uses: strict\n    with: { source: x, mode: lnik }",
                "is not one of the values allowed here (did you mean `link`?)",
            ),
            (
                "uses: strict\n    with: { source: x, tags: [{ nmae: t }] }",
                "6:33 with.unknown_field: unknown field `nmae` (did you mean `name`?)",
            ),
            ("uses: strict\n    with: { source: x, tags: [{}, {}, {}] }", "with.invalid: "),
            ("uses: strict\n    with: { source: x, any: 3 }", "with.invalid: "),
            (
                "uses: strict\n    with: text",
                "6:11 with.invalid: `\"text\"` is not of type `object`",
            ),
            ("uses: open\n    with: { whatever: 1 }", ""),
        ]);
    }

    #[test]
    fn what_a_template_gives_is_left_to_the_run() {
        check_steps(&[
            ("uses: strict\n    with: { source: '{{ input.video }}' }", ""),
            ("uses: strict\n    with: { source: x, count: '{{ input.video }}' }", ""),
            ("uses: strict\n    with: { source: x, mode: 'a{{ input.video }}' }", ""),
            ("uses: strict\n    with: { source: x, any: ['{{ input.video }}'] }", ""),
            ("uses: strict\n    with: { source: x, tags: ['{{ input.video }}'] }", ""),
            ("uses: strict\n    with: '{{ input.video }}'", ""),
            (
                "uses: strict\n    with: { source: x, cuont: '{{ input.video }}' }",
                "unknown field `cuont`",
            ),
            (
                "uses: strict\n    with: { count: '{{ input.video }}' }",
                "the field `source` is missing",
            ),
        ]);
    }

    #[test]
    fn a_long_list_of_templates_is_checked_in_one_go() {
        // Comparing each misfit with each template would take minutes.
        const COUNT: usize = 50_000;
        let mut catalog = Catalog::default();
        catalog.insert(KindInfo {
            name: "k".to_owned(),
            description: String::new(),
            effect: Effect::Pure,
            probes: false,
            cache: None,
            input_schema: json!({ "properties": { "list": { "items": { "type": "integer" } } } }),
            output_schema: json!({}),
        });
        let mut list = vec!["{{ input.x }}"; COUNT];
        list.push("no template");
        let step = Step { with: json!({ "list": list }), ..Step::new("a", "k") };
        let problems = validate(&Workflow::new("n", vec![step]), &catalog);
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert_eq!(problems.0[0].path, format!("steps[0].with.list[{COUNT}]"));
    }

    #[test]
    fn a_cache_is_asked_for_where_there_is_one() {
        check_steps(&[
            ("uses: kept", ""),
            ("uses: kept\n    cache: true", ""),
            ("uses: kept\n    cache: false", ""),
            ("cache: false", ""),
            ("cache: true\n    fallback: [{ uses: kept }]", ""),
            (
                "cache: true",
                "5:12 definition.conflict: `cache: true` has no meaning here: `k` keeps no \
                 results (remove it;",
            ),
            ("cache: never", "5:12 definition.wrong_type: `cache` is the string `never`, not a"),
            ("uses: kept2\n    cache: true", "definition.unknown_kind"),
        ]);
    }

    #[test]
    fn fallbacks_are_checked_like_the_step() {
        check_steps(&[
            ("with: { source: x }\n    fallback: [{ uses: strict }]", ""),
            ("fallback: [{ uses: strict, with: { source: x } }]", ""),
            (
                "fallback: [{ uses: strict, with: { source: 3 } }]",
                "5:48 with.invalid: `3` is not of type",
            ),
            (
                "with: { other: x }\n    fallback: [{ uses: strict }]",
                "6:24 with.invalid: `with.other` of the step does not suit `strict`: unknown field",
            ),
        ]);
    }
}
