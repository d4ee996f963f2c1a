//! What holds of any definition, and of very large ones.

#![allow(missing_docs, clippy::unwrap_used)]

use callsheet_engine::definition::{
    Catalog, Condition, Effect, Fallback, InDoubt, KindInfo, OnError, Retry, Step, Workflow, parse,
    parse_json,
};
use callsheet_engine::expression::{Expression, Template};
use callsheet_engine::{Millis, Plan};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    catalog.insert(KindInfo {
        name: "k".to_owned(),
        description: String::new(),
        effect: Effect::Pure,
        probes: false,
        cache: None,
        input_schema: json!({}),
        output_schema: json!({}),
    });
    catalog
}

const MANY: usize = 100_000;

#[test]
fn a_chain_of_many_steps_loads() {
    let step = |n: usize| {
        let with = match n {
            0 => json!({ "x": "{{ input.x }}" }),
            _ => json!({ "x": format!("{{{{ steps.s{}.x }}}}", n - 1) }),
        };
        Step { with, ..Step::new(format!("s{n}"), "k") }
    };
    // The last comes first, so that nothing is in order.
    let workflow = Workflow::new("chain", (0..MANY).rev().map(step).collect());
    let plan = Plan::build(workflow, &catalog()).unwrap();
    assert_eq!(plan.steps().len(), MANY);
    let first = plan.index_of("s0").unwrap();
    assert_eq!(first.at(), MANY - 1);
    assert!(plan.steps().iter().filter(|step| step.needs.len() == 1).count() == MANY - 1);
    assert_eq!(plan.to_dot().matches("->").count(), MANY - 1);
}

#[test]
fn a_fan_of_many_steps_loads_from_text() {
    let mut text = String::from("name: fan\nsteps:\n  - { id: root, uses: k }\n");
    for n in 2..MANY {
        text.push_str(&format!("  - {{ id: s{n}, uses: k, with: '{{{{ steps.root.x }}}}' }}\n"));
    }
    let ids: Vec<String> = (2..MANY).map(|n| format!("s{n}")).collect();
    text.push_str(&format!("  - {{ id: end, uses: k, needs: [{}] }}\n", ids.join(", ")));
    let plan = Plan::load(&text, &catalog()).unwrap();
    assert_eq!(plan.step(plan.index_of("root").unwrap()).dependents.len(), MANY - 2);
    assert_eq!(plan.step(plan.index_of("end").unwrap()).needs.len(), MANY - 2);
}

#[test]
fn many_mistakes_are_reported_up_to_a_bound() {
    let mut text = String::from("name: bad\nsteps:\n");
    for n in 0..MANY {
        text.push_str(&format!(
            "  - {{ id: step_number_{n}, uses: k, needs: [stap_number_{n}] }}\n"
        ));
    }
    let problems = Plan::load(&text, &catalog()).unwrap_err();
    assert_eq!(problems.0.len(), callsheet_engine::limits::MAX_PROBLEMS_COUNT + 1);
    assert!(problems.0[0].hint.as_deref().is_some_and(|hint| hint.contains("did you mean")));
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_]{0,8}"
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("{{ input.a }}")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A field without a value counts as absent, so it does not come back as `null`.
fn not_null() -> impl Strategy<Value = Value> {
    json_value().prop_filter("null is absent", |value| !value.is_null())
}

fn retry() -> impl Strategy<Value = Retry> {
    (1u32..1000, 0u64..10_000, 1.0f64..4.0, 10_000u64..100_000, 0.0f64..=1.0).prop_map(
        |(max_attempts, initial, factor, max, jitter)| Retry {
            max_attempts,
            initial: Millis(initial),
            factor,
            max: Millis(max),
            jitter,
        },
    )
}

fn in_doubt() -> impl Strategy<Value = Option<InDoubt>> {
    let words = vec![InDoubt::Retry, InDoubt::Probe, InDoubt::Fail, InDoubt::Hold];
    prop::option::of(prop::sample::select(words))
}

fn step() -> impl Strategy<Value = Step> {
    let timer = (name(), "([0-9]{1,3}[smhd]){1,2}", any::<bool>(), name()).prop_map(
        |(id, time, sleeps, need)| {
            let timer = if sleeps { Step::sleep } else { Step::until };
            Step { needs: vec![need], ..timer(id, time) }
        },
    );
    prop_oneof![5 => use_of_kind(), 1 => timer]
}

fn use_of_kind() -> impl Strategy<Value = Step> {
    let condition = prop::option::of(prop_oneof![
        any::<bool>().prop_map(Condition::Constant),
        "[a-z ]{0,8}[a-z]".prop_map(Condition::Expression),
    ]);
    let fallback = (name(), prop::option::of(not_null()), in_doubt())
        .prop_map(|(uses, with, in_doubt)| Fallback { uses, with, in_doubt });
    (
        (name(), name(), json_value(), prop::collection::vec(name(), 0..3)),
        (condition, prop::option::of(not_null()), 1u32..2000, retry(), any::<u32>()),
        (prop::collection::vec(fallback, 0..3), any::<bool>(), in_doubt(), 0.0f64..9.0),
    )
        .prop_map(|(first, second, (fallback, fails, in_doubt, weight))| {
            let (id, uses, with, needs) = first;
            let (condition, for_each, concurrency, retry, timeout) = second;
            let on_error = if fails { OnError::Fail } else { OnError::Continue };
            let timeout = Millis(u64::from(timeout));
            Step {
                id,
                uses,
                sleep: None,
                until: None,
                with,
                needs,
                condition,
                for_each,
                concurrency,
                retry,
                timeout,
                fallback,
                on_error,
                in_doubt,
                cache: None,
                weight,
            }
        })
}

fn workflow() -> impl Strategy<Value = Workflow> {
    let input = prop::option::of(not_null());
    (name(), ".{0,12}", input, prop::collection::vec(step(), 1..5), json_value()).prop_map(
        |(name, description, input, steps, output)| Workflow {
            name,
            description,
            input,
            steps,
            output,
        },
    )
}

/// Words that definitions are made of, so that random texts come near to being one.
fn near_definition() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "name", "steps", "id", "uses", "with", "if", "needs", "retry", "timeout", ": ", ":", "- ",
        "\n", "\n  ", "\n    ", "{", "}", "[", "]", ",", "'", "\"", "{{ ", " }}", "{% ", " %}",
        "&a", "*a", "|", ">", "!!str ", "#", "steps.a", "input.x", "1s", "90", "true", "~", "\t",
        "é", "---",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        // What fails is put into the tables of the unit tests instead.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn reading_never_panics_and_every_problem_has_a_hint(
        text in prop_oneof![".{0,200}", near_definition()],
    ) {
        if let Err(problems) = Plan::load(&text, &catalog()) {
            prop_assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                prop_assert!(problem.hint.as_ref().is_some_and(|hint| !hint.is_empty()));
                prop_assert!(problem.code == "definition.more" || problem.line.is_some());
            }
        }
    }

    #[test]
    fn a_workflow_survives_json(workflow in workflow()) {
        let value = serde_json::to_value(&workflow).unwrap();
        prop_assert_eq!(parse_json(&value).unwrap(), workflow);
    }

    #[test]
    fn a_workflow_survives_text(workflow in workflow()) {
        let text = serde_json::to_string_pretty(&workflow).unwrap();
        prop_assert_eq!(parse(&text).map_err(|problems| problems.to_string()), Ok(workflow));
    }

    #[test]
    fn compiling_never_panics(text in prop_oneof![".{0,60}", near_definition()]) {
        let _ = Expression::compile(text.as_str());
        let _ = Template::compile(&Value::String(format!("{{{{ {text}")));
        let _ = Template::compile(&Value::String(text));
    }
}
