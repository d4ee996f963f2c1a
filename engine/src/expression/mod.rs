//! Expressions: how one step's output becomes another step's input.
//!
//! The language is minijinja's, with no clock, no randomness, no files and a bound on work and
//! size. Data is never evaluated a second time.

mod convert;
mod environment;
mod error;
mod filters;
mod lint;
mod names;
mod template;
mod tokens;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

pub use error::ExpressionError;
pub use names::Reference;
pub(crate) use template::Seen;
pub use template::Template;

use crate::ids::{ItemIndex, JobId};
use crate::limits::MAX_EXPRESSION_BYTES;
use crate::time::Timestamp;
use convert::{Budget, spend_json, to_json};
pub(crate) use names::Names;

/// The output of a step by its id, once it has settled.
pub type StepOutputs<'a> = dyn Fn(&str) -> Option<&'a Value> + 'a;

/// What an expression can see.
pub struct Scope<'a> {
    /// `input`: the job's input.
    pub input: &'a Value,
    /// `steps.ID`: the output of a step that has settled.
    pub steps: Box<StepOutputs<'a>>,
    /// `item` and `index` inside a `for_each`.
    pub item: Option<(&'a Value, ItemIndex)>,
    /// `job.id` and `job.submitted_at`.
    pub job: JobFacts,
}

/// What an expression can see of its own job.
#[derive(Clone, Copy, Debug)]
pub struct JobFacts {
    /// `job.id`, as text.
    pub id: JobId,
    /// `job.submitted_at`, milliseconds since 1970.
    pub submitted_at: Timestamp,
}

impl JobFacts {
    /// As expressions see them.
    fn to_json(self) -> Value {
        json!({ "id": self.id.to_string(), "submitted_at": self.submitted_at.0 })
    }
}

/// One expression, compiled: `steps.fetch.seconds > 60 and input.tier == 'pro'`.
pub struct Expression {
    source: String,
    names: Names,
    form: Form,
}

/// How an expression is evaluated.
enum Form {
    /// Nothing but names and dots: looked up in the JSON itself, so that nothing is converted and
    /// nothing can change on the way.
    Path(Vec<String>),
    Compiled(minijinja::Expression<'static, 'static>),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// The expression in a string that is exactly one `{{ … }}`.
pub(crate) fn single_expression(text: &str) -> Option<&str> {
    lint::single_expression(text)
}

/// Whether a string is rendered rather than taken as it is.
pub(crate) fn is_template(text: &str) -> bool {
    lint::has_braces(text)
}

impl Expression {
    /// Compiles an expression, without braces around it.
    ///
    /// # Errors
    /// When the text is too long, is not an expression, or uses what is not allowed.
    pub fn compile(source: impl Into<String>) -> Result<Self, ExpressionError> {
        let source = source.into();
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(ExpressionError::too_long(source.len()));
        }
        if let Some(path) = lint::path(&source) {
            let mut names = Names::default();
            names.insert(path.iter().map(String::as_str));
            return Ok(Self { source, names, form: Form::Path(path) });
        }
        lint::check_expression(&source)?;
        let compiled = environment::shared()
            .compile_expression_owned(source.clone())
            .map_err(|error| ExpressionError::from_engine(&error, &source))?;
        let names = Names::new(compiled.undeclared_variables(true));
        Ok(Self { source, names, form: Form::Compiled(compiled) })
    }

    /// The expression's text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Everything that the expression refers to.
    #[must_use]
    pub fn references(&self) -> BTreeSet<Reference> {
        self.names.references().collect()
    }

    /// What the expression names, as a tree.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// The expression's value.
    ///
    /// # Errors
    /// When a name has no value, the types do not fit, or the work or the result is too large.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        self.evaluate_within(scope, &mut Budget::new())
    }

    /// Whether the expression's value counts as true: not `false`, `none`, zero or empty.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn is_true(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        Ok(match self.evaluate(scope)? {
            Value::Null => false,
            Value::Bool(truth) => truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        })
    }

    /// The value, taken out of a budget that several expressions share.
    fn evaluate_within(
        &self,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        match &self.form {
            Form::Path(path) => {
                let found = self.look_up(path, scope)?;
                spend_json(&found, budget)?;
                Ok(found)
            }
            Form::Compiled(compiled) => {
                let term = compiled
                    .eval(self.names.context(scope))
                    .map_err(|error| ExpressionError::from_engine(&error, &self.source))?;
                to_json(&term, &self.source, budget)
            }
        }
    }

    /// Follows a path through the JSON itself. A name that is not there is an error, the last one
    /// as well, which minijinja would let pass.
    fn look_up(&self, path: &[String], scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        let job;
        let (root, rest): (Option<&Value>, &[String]) = match path {
            [root, rest @ ..] if root == "input" => (Some(scope.input), rest),
            [root, id, rest @ ..] if root == "steps" => ((scope.steps)(id), rest),
            [root, rest @ ..] if root == "item" => (scope.item.map(|(item, _)| item), rest),
            [root] if root == "index" => {
                let index = scope.item.map(|(_, index)| Value::from(index.0));
                return index.ok_or_else(|| ExpressionError::undefined(&self.source));
            }
            [root, rest @ ..] if root == "job" => {
                job = scope.job.to_json();
                (Some(&job), rest)
            }
            _ => (None, &[]),
        };
        root.and_then(|root| rest.iter().try_fold(root, |value, name| value.get(name)))
            .cloned()
            .ok_or_else(|| ExpressionError::undefined(&self.source))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use uuid::Uuid;

    use super::*;

    /// What the expressions of these tests see.
    struct World {
        input: Value,
        steps: Value,
        item: Option<Value>,
    }

    impl World {
        fn new() -> Self {
            Self {
                input: json!({ "n": 7, "f": 2.5, "big": u64::MAX, "low": i64::MIN, "whole": 3.0,
                    "text": "abc", "list": [1, 2, 3], "empty": [], "none": null, "yes": true,
                    "evil": "{{ job.id }}", "rows": [{ "k": "a", "v": 1 }, { "k": "b", "v": 2 }] }),
                steps: json!({ "a": { "b": { "d": 1 }, "file": "x.mp4" }, "skipped": null }),
                item: None,
            }
        }

        fn with<R>(&self, run: impl FnOnce(&Scope<'_>) -> R) -> R {
            run(&Scope {
                input: &self.input,
                steps: Box::new(|id| self.steps.get(id)),
                item: self.item.as_ref().map(|item| (item, ItemIndex(4))),
                job: JobFacts { id: JobId(Uuid::nil()), submitted_at: Timestamp(99) },
            })
        }
    }

    fn evaluate(source: &str) -> Result<Value, ExpressionError> {
        World::new().with(|scope| Expression::compile(source)?.evaluate(scope))
    }

    fn render(template: Value) -> Result<Value, ExpressionError> {
        World::new().with(|scope| Template::compile(&template)?.render(scope))
    }

    #[test]
    fn expressions_give_values_of_their_type() {
        let table = [
            ("input.n", json!(7)),
            ("input.n + 1", json!(8)),
            ("input.n - 10", json!(-3)),
            ("input.n * 1.5", json!(10.5)),
            ("input.n * input.n", json!(49)),
            ("input.n // 2", json!(3)),
            ("input.n / 2", json!(3.5)),
            ("input.n % 4", json!(3)),
            ("input.f + input.n", json!(9.5)),
            ("input.big", json!(u64::MAX)),
            ("input.big - 1", json!(u64::MAX - 1)),
            ("input.low", json!(i64::MIN)),
            ("[input.low][0]", json!(i64::MIN)),
            ("input.whole", json!(3.0)),
            ("[input.whole][0]", json!(3.0)),
            ("input.text ~ '.mp4'", json!("abc.mp4")),
            ("input.text == 'abc' and input.n > 3", json!(true)),
            ("input.none", json!(null)),
            ("input.none is none", json!(true)),
            ("input.missing is defined", json!(false)),
            ("input.missing | default(5)", json!(5)),
            ("steps.a.b", json!({ "d": 1 })),
            ("steps.a.b.d + 1", json!(2)),
            ("steps.skipped", json!(null)),
            ("steps.skipped is none", json!(true)),
            ("steps.skipped or 'other'", json!("other")),
            ("input.list | map('string') | join('-')", json!("1-2-3")),
            ("input.rows | map(attribute='v') | list", json!([1, 2])),
            ("input.rows | selectattr('v', 'gt', 1) | map(attribute='k') | first", json!("b")),
            ("input.list | zip(['a', 'b', 'c']) | list", json!([[1, "a"], [2, "b"], [3, "c"]])),
            ("input.list | sum", json!(6)),
            ("{'a': input.n, 'b': [input.text]}", json!({ "a": 7, "b": ["abc"] })),
            ("range(3) | list", json!([0, 1, 2])),
            ("input.list[-1]", json!(3)),
            ("input['n']", json!(7)),
            ("'x' if input.yes else 'y'", json!("x")),
            ("input.text | upper", json!("ABC")),
            ("'%03d' | format(input.n)", json!("007")),
            ("input.rows | length", json!(2)),
            ("input.list | tojson", json!("[1, 2, 3]")),
            ("job.id", json!("00000000-0000-0000-0000-000000000000")),
            ("job.submitted_at + 1", json!(100)),
        ];
        for (source, expected) in table {
            assert_eq!(evaluate(source), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_came_from_json_goes_back_the_same() {
        let input = World::new().input;
        assert_eq!(evaluate("input"), Ok(input.clone()));
        assert_eq!(evaluate("[input][0]"), Ok(input));
    }

    #[test]
    fn what_is_wrong_is_an_error_with_a_code_and_a_hint() {
        let table = [
            ("steps.a.b.c", "expression.undefined"),
            ("steps.a.b.c.d", "expression.undefined"),
            ("steps.a.nothing + 1", "expression.undefined"),
            ("steps.nobody", "expression.undefined"),
            ("steps.skipped.file", "expression.undefined"),
            ("[input.missing]", "expression.undefined"),
            ("{'a': [input.missing]}", "expression.undefined"),
            ("input.list[9]", "expression.undefined"),
            ("input.list.length", "expression.undefined"),
            ("input.text.length", "expression.undefined"),
            ("item", "expression.undefined"),
            ("index", "expression.undefined"),
            ("nobody", "expression.undefined"),
            ("input.n +", "expression.syntax"),
            ("", "expression.syntax"),
            ("{{ input.n }}", "expression.syntax"),
            ("input.n }} {{ input.n", "expression.syntax"),
            ("input.text + 1", "expression.type"),
            ("input.n / 0", "expression.type"),
            ("1e308 * 10", "expression.type"),
            ("input.big * input.big", "expression.type"),
            ("input.n | nosuch", "expression.unknown_function"),
            ("input.n is nosuch", "expression.unknown_function"),
            ("input.n is not nosuch", "expression.unknown_function"),
            ("now()", "expression.unknown_function"),
            ("range", "expression.type"),
            ("input.list.append(3)", "expression.refused"),
        ];
        for (source, code) in table {
            let error = evaluate(source).unwrap_err();
            assert_eq!(error.code, code, "{source}: {error}");
            assert!(error.hint.is_some_and(|hint| !hint.is_empty()), "{source}");
        }
    }

    #[test]
    fn hostile_expressions_are_stopped() {
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        let escapes = format!("input.evil{}", " | tojson".repeat(500));
        let doubled = format!("input.text{}", " | replace('a', 'aaaaaaaa')".repeat(30));
        let joined = format!("input.text{}", " ~ input.text".repeat(65));
        let named = format!("[{}]", "input.n, ".repeat(300));
        let long = format!("'{}'", "x".repeat(MAX_EXPRESSION_BYTES));
        let table: [(&str, &str); 26] = [
            ("'x' * 100000000", "expression.refused"),
            ("100000000 * 'x'", "expression.refused"),
            ("['x'] * 100000000", "expression.refused"),
            ("100000000 * ['x']", "expression.refused"),
            ("('x') * 100000000", "expression.refused"),
            ("(['x']) * 100000000", "expression.refused"),
            ("input.text * 1000000000", "expression.type"),
            ("input.text * 10000000", "expression.size"),
            ("(input.list * 10000000) | list", "expression.size"),
            ("input.list * 10000000", "expression.size"),
            ("(input.list * 10000000) | join", "expression.size"),
            ("range(100000) | map('format', 5) | list", "expression.type"),
            (
                "range(100000) | map('replace', '1', 'x' | indent(9999, true)) | list",
                "expression.size",
            ),
            ("'%1000000000d' | format(1)", "expression.size"),
            ("'%*d' | format(1000000000, 1)", "expression.size"),
            ("input.text | indent(1000000000, true)", "expression.size"),
            ("[1] | batch(1000000000, 0) | list", "expression.size"),
            ("[1] | slice(1000000000) | list", "expression.size"),
            ("[1] | tojson(indent=1000000000)", "expression.size"),
            ("[[1]] | sum(start=[])", "expression.type"),
            (&deep, "expression.syntax"),
            (&escapes, "expression.size"),
            (&doubled, "expression.size"),
            (&joined, "expression.refused"),
            (&named, "expression.refused"),
            (&long, "expression.too_long"),
        ];
        for (source, code) in table {
            let shown: String = source.chars().take(60).collect();
            let error = evaluate(source).map(|_| "a value").expect_err(&shown);
            assert_eq!(error.code, code, "{shown}: {error}");
        }
    }

    #[test]
    fn hostile_templates_are_stopped() {
        let table = [
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor \
                 %}",
                "expression.fuel",
            ),
            ("{% for a in range(99999) %}{{ input }}{% endfor %}", "expression.size"),
            ("{% set x = 'a' %}{{ x }}", "expression.refused"),
            ("{% macro f() %}{% endmacro %}", "expression.refused"),
            ("{% include 'template' %}", "expression.refused"),
            ("{% for a in [input.text ~ input.text] %}{{ a }}{% endfor %}", "expression.refused"),
            ("{% for a in input.list %}{{ [[a ~ '']] }}{% endfor %}", "expression.refused"),
            ("a {{ 'x' * 5 }}", "expression.refused"),
            ("a {{ input.text * 10000000 }}", "expression.size"),
            ("a {{ input.missing }}", "expression.undefined"),
            ("a {{ input.missing.more }}", "expression.undefined"),
            ("a {{ input.text", "expression.syntax"),
            ("a {% if input.text %}", "expression.syntax"),
            ("a {{ input.text | nosuch }}", "expression.unknown_function"),
            ("{% raw %}{{ x }}{% endraw %}{{ 'x' * 5 }}", "expression.refused"),
        ];
        for (source, code) in table {
            let error = render(json!(source)).map(|_| "a value").expect_err(source);
            assert_eq!(error.code, code, "{source}: {error}");
        }
    }

    #[test]
    fn a_string_that_is_one_expression_keeps_its_type() {
        let table = [
            (json!("{{ input.n }}"), json!(7)),
            (json!("{{input.n}}\n"), json!(7)),
            (json!("{{- input.n -}}"), json!(7)),
            (json!("{{ {'a': {'b': 1}} }}"), json!({ "a": { "b": 1 } })),
            (json!("{{ '}}' }}"), json!("}}")),
            (json!(" {{ input.n }}"), json!(" 7")),
            (json!("{{ input.n }} }}"), json!("7 }}")),
            (json!("{{ input.n }}{{ input.n }}"), json!("77")),
            (json!("{{ input.n }} and {{ input.f }}"), json!("7 and 2.5")),
            (json!("{{ '{{' }}"), json!("{{")),
            (json!("line\n{{ input.text }}\n"), json!("line\nabc\n")),
            (json!("{% if input.yes %}a{% else %}b{% endif %}"), json!("a")),
            (json!("{% for x in input.list %}{{ x }},{% endfor %}"), json!("1,2,3,")),
            (json!("{% for x in input.list %}{{ loop.index }}{% endfor %}"), json!("123")),
            (json!("plain { text } %}"), json!("plain { text } %}")),
            (json!("100MiB"), json!("100MiB")),
            (json!(["{{ input.n }}", 1, null]), json!([7, 1, null])),
            (json!({ "a": { "b": "{{ input.list }}" } }), json!({ "a": { "b": [1, 2, 3] } })),
            (json!({ "{{ input.n }}": 1 }), json!({ "{{ input.n }}": 1 })),
            (json!(null), json!(null)),
        ];
        for (template, expected) in table {
            assert_eq!(render(template.clone()), Ok(expected), "{template}");
        }
    }

    #[test]
    fn data_is_never_evaluated_and_never_escaped() {
        assert_eq!(render(json!("{{ input.evil }}")), Ok(json!("{{ job.id }}")));
        assert_eq!(render(json!("<{{ input.evil }}>")), Ok(json!("<{{ job.id }}>")));
        let world = World { input: json!({ "x": "<a & 'b'>" }), ..World::new() };
        let template = Template::compile(&json!("-{{ input.x }}")).unwrap();
        assert_eq!(world.with(|scope| template.render(scope)), Ok(json!("-<a & 'b'>")));
    }

    #[test]
    fn results_of_a_tree_are_bounded_together() {
        let megabyte = "x".repeat(1024 * 1024);
        let world = World { input: json!({ "x": megabyte }), ..World::new() };
        let template = |count| Template::compile(&json!(vec!["{{ input.x }}"; count])).unwrap();
        assert!(world.with(|scope| template(3).render(scope)).is_ok());
        let error = world.with(|scope| template(4).render(scope)).unwrap_err();
        assert_eq!(error.code, "expression.size");
    }

    #[test]
    fn items_are_seen_with_their_index() {
        let world = World { item: Some(json!({ "name": "p" })), ..World::new() };
        let template = Template::compile(&json!("{{ item.name }}-{{ index + 1 }}")).unwrap();
        assert_eq!(world.with(|scope| template.render(scope)), Ok(json!("p-5")));
        let index = Expression::compile("index").unwrap();
        assert_eq!(world.with(|scope| index.evaluate(scope)), Ok(json!(4)));
    }

    #[test]
    fn truth_is_not_none_zero_or_empty() {
        let table = [
            ("input.yes", true),
            ("input.none", false),
            ("input.n", true),
            ("input.n - 7", false),
            ("input.text", true),
            ("''", false),
            ("input.empty", false),
            ("input.list", true),
            ("{}", false),
            ("true", true),
            ("false", false),
        ];
        for (source, expected) in table {
            let truth =
                World::new().with(|scope| Expression::compile(source).unwrap().is_true(scope));
            assert_eq!(truth, Ok(expected), "{source}");
        }
    }

    #[test]
    fn references_are_read_from_the_source() {
        use Reference::{AllSteps, Index, Input, Item, Job, Step, Unknown, WholeInput};
        let step = |id: &str| Step(id.to_owned());
        let input = |name: &str| Input(name.to_owned());
        let table = [
            (json!("{{ steps.a.x.y }}"), vec![step("a")]),
            (json!("{{ steps.a }} {{ steps.b.c }}"), vec![step("a"), step("b")]),
            (json!("{{ steps }}"), vec![AllSteps]),
            (json!("{{ steps['a'] }}"), vec![AllSteps]),
            (json!("{{ input.x + input.y.z }}"), vec![input("x"), input("y")]),
            (json!("{{ input }}"), vec![WholeInput]),
            (json!("{{ item.x ~ index ~ job.id }}"), vec![Item, Index, Job]),
            (json!("{{ foo.bar }}"), vec![Unknown("foo".to_owned())]),
            (json!("{{ range(3) }}"), vec![]),
            (
                json!("{% for x in input.list %}{{ x.y }}{{ loop.index }}{% endfor %}"),
                vec![input("list")],
            ),
            (json!({ "a": ["{{ steps.q }}"], "b": "{{ input.p }}" }), vec![step("q"), input("p")]),
            (json!("steps.a"), vec![]),
        ];
        for (template, expected) in table {
            let references = Template::compile(&template).unwrap().references();
            assert_eq!(references, expected.into_iter().collect(), "{template}");
        }
    }

    #[test]
    fn errors_know_their_place() {
        let table = [
            ("input.n + * 2", Some(10)),
            ("input.n\n | uper", Some(11)),
            ("input.x +\n'a' * 3", Some(14)),
        ];
        for (source, offset) in table {
            let error = Expression::compile(source).unwrap_err();
            assert_eq!(error.offset, offset, "{source}: {error:?}");
        }
        let error = Template::compile(&json!("{{   input.x | uper }}")).unwrap_err();
        assert_eq!(error.offset, Some(15));
        assert_eq!(error.hint.as_deref(), Some("did you mean `upper`?"));
    }

    #[test]
    fn both_kinds_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + fmt::Debug + 'static>() {}
        shared::<Expression>();
        shared::<Template>();
    }

    #[test]
    fn failures_keep_code_and_hint() {
        let failure: crate::Failure = evaluate("steps.nobody").unwrap_err().into();
        assert_eq!(failure.code, "expression.undefined");
        assert!(failure.hint.is_some() && !failure.retryable);
    }
}
