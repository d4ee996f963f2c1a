//! Filters that can make much out of little, with a bound on what they make.
//!
//! Fuel counts operations, not bytes: `replace` after `replace` grows eightfold each time and
//! costs one unit. So what such a filter is about to make is estimated first, and the sum of all
//! that one evaluation makes is bounded.

use minijinja::value::{Rest, Value as Term, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, filters};

use crate::limits::{MAX_EXPRESSION_ITEMS_COUNT, MAX_EXPRESSION_MADE_BYTES};

/// Says how many bytes a filter will make of its arguments, at most.
type Estimate = fn(&[Term]) -> usize;

/// Puts the bounded filters in the place of minijinja's own.
pub(super) fn install(environment: &mut Environment<'static>) {
    let growing: [(&'static str, Term, Estimate); 8] = [
        ("replace", Term::from_function(filters::replace), replaced),
        ("join", Term::from_function(filters::join), joined),
        ("indent", Term::from_function(filters::indent), indented),
        ("format", Term::from_function(filters::format), formatted),
        ("tojson", Term::from_function(filters::tojson), written),
        ("string", Term::from_function(filters::string), |_| 0),
        ("batch", Term::from_function(filters::batch), dealt),
        ("slice", Term::from_function(filters::slice), dealt),
    ];
    for (name, original, estimate) in growing {
        environment.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            check_items(&args)?;
            spend(state, estimate(&args))?;
            let made = original.call(state, &args)?;
            spend(state, made.as_str().map_or(0, str::len))?;
            Ok(made)
        });
    }
    let sum = Term::from_function(filters::sum);
    environment.add_filter("sum", move |state: &mut State, args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        check_items(&args)?;
        check_start(&args)?;
        sum.call(state, &args)
    });
    let collecting: [(&'static str, Term); 10] = [
        ("list", Term::from_function(filters::list)),
        ("sort", Term::from_function(filters::sort)),
        ("reverse", Term::from_function(filters::reverse)),
        ("unique", Term::from_function(filters::unique)),
        ("groupby", Term::from_function(filters::groupby)),
        ("map", Term::from_function(filters::map)),
        ("select", Term::from_function(filters::select)),
        ("reject", Term::from_function(filters::reject)),
        ("selectattr", Term::from_function(filters::selectattr)),
        ("rejectattr", Term::from_function(filters::rejectattr)),
    ];
    for (name, original) in collecting {
        environment.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            check_items(&args)?;
            original.call(state, &args)
        });
    }
}

/// Lists can be repeated with `*` without being made; whoever makes them has to ask first.
fn check_items(args: &[Term]) -> Result<(), Error> {
    let is_list = |arg: &&Term| matches!(arg.kind(), ValueKind::Seq | ValueKind::Iterable);
    match args.first().filter(is_list).and_then(Term::len) {
        Some(items) if items > MAX_EXPRESSION_ITEMS_COUNT => Err(too_large()),
        _ => Ok(()),
    }
}

/// Adds to what this evaluation has made. The sum lives in minijinja's state, which is new for
/// every evaluation.
fn spend(state: &mut State, bytes: usize) -> Result<(), Error> {
    const MADE: &str = "bytes made";
    let before = state.get_temp(MADE).and_then(|made| made.as_usize()).unwrap_or(0);
    let made = before.saturating_add(bytes);
    if made > MAX_EXPRESSION_MADE_BYTES {
        return Err(too_large());
    }
    state.set_temp(MADE, Term::from(made));
    Ok(())
}

/// Becomes `expression.size`.
fn too_large() -> Error {
    Error::new(ErrorKind::WriteFailure, "the value grows too large")
}

/// Every occurrence becomes as long as its replacement.
fn replaced(args: &[Term]) -> usize {
    let text = |n: usize| args.get(n).map(Term::to_string).unwrap_or_default();
    let (whole, from, to) = (text(0), text(1), text(2));
    whole.matches(&from).count().saturating_mul(to.len()).saturating_add(whole.len())
}

/// All items and what stands between them; counted only as far as it matters.
fn joined(args: &[Term]) -> usize {
    let joiner = longest_argument(args);
    let Some(items) = args.first().and_then(|list| list.try_iter().ok()) else { return 0 };
    let mut bytes = 0usize;
    for item in items {
        bytes = bytes.saturating_add(joiner).saturating_add(shown_length(&item));
        if bytes > MAX_EXPRESSION_MADE_BYTES {
            break;
        }
    }
    bytes
}

/// Every line grows by the width.
fn indented(args: &[Term]) -> usize {
    let text = args.first().map(Term::to_string).unwrap_or_default();
    let lines = text.matches('\n').count() + 1;
    lines.saturating_mul(largest_number(args).max(4)).saturating_add(text.len())
}

/// A width in the format, or in an argument where the format has a `*`, counts as that many bytes.
fn formatted(args: &[Term]) -> usize {
    let text = args.first().map(Term::to_string).unwrap_or_default();
    let widths = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let widths = widths
        .map(|digits| digits.parse::<usize>().unwrap_or(usize::MAX))
        .fold(0usize, usize::saturating_add);
    let starred = if text.contains('*') { largest_number(args) } else { 0 };
    let places = text.matches('%').count();
    let per_place = longest_argument(args).saturating_add(starred);
    places.saturating_mul(per_place).saturating_add(widths).saturating_add(text.len())
}

/// Every comma and bracket may begin a line, which is indented.
fn written(args: &[Term]) -> usize {
    let Some(value) = args.first() else { return 0 };
    let text = value.to_string();
    let lines = text.matches([',', '[', '{']).count() + 1;
    lines.saturating_mul(largest_number(args)).saturating_add(text.len())
}

/// Adding up anything but numbers copies all that was added before, again and again.
fn check_start(args: &[Term]) -> Result<(), Error> {
    let positional = args.get(2).filter(|arg| !arg.is_kwargs()).cloned();
    let named =
        args.last().filter(|arg| arg.is_kwargs()).and_then(|arg| arg.get_attr("start").ok());
    match positional.or(named).map(|start| start.kind()) {
        None | Some(ValueKind::Number | ValueKind::Undefined) => Ok(()),
        Some(_) => {
            let why = "`sum` adds numbers; use `join` for texts and `chain` for lists";
            Err(Error::new(ErrorKind::InvalidOperation, why))
        }
    }
}

/// Each part that is filled up or empty costs its own.
fn dealt(args: &[Term]) -> usize {
    largest_number(args).saturating_mul(size_of::<Term>())
}

/// All arguments but the filtered value, named ones included.
fn every_argument(args: &[Term]) -> impl Iterator<Item = Term> + '_ {
    args.iter().skip(1).flat_map(|arg| match arg.is_kwargs() {
        true => {
            let names: Vec<Term> = arg.try_iter().map(Iterator::collect).unwrap_or_default();
            names.iter().filter_map(|name| arg.get_item(name).ok()).collect()
        }
        false => vec![arg.clone()],
    })
}

/// Any number among the arguments may be the one that counts.
fn largest_number(args: &[Term]) -> usize {
    every_argument(args).filter_map(|argument| argument.as_usize()).max().unwrap_or(0)
}

/// Any argument may be the one that is repeated.
fn longest_argument(args: &[Term]) -> usize {
    every_argument(args).map(|argument| shown_length(&argument)).max().unwrap_or(0)
}

/// How long a value is as text.
fn shown_length(value: &Term) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use minijinja::value::Kwargs;
    use proptest::prelude::*;

    use super::super::environment::shared;
    use super::*;

    fn kwargs(name: &str, value: impl Into<Term>) -> Term {
        Term::from([(name, value.into())].into_iter().collect::<Kwargs>())
    }

    /// What minijinja's own filter makes, and what we thought it would. What would be refused is
    /// not tried: `%9999999999d` means it.
    fn made(original: &Term, estimate: Estimate, args: &[Term]) -> Option<(usize, usize)> {
        if estimate(args) > MAX_EXPRESSION_MADE_BYTES {
            return None;
        }
        let mut state = shared().empty_state();
        let made = original.call(&mut state, args).ok()?;
        Some((made.as_str().map_or(0, str::len), estimate(args)))
    }

    fn text() -> impl Strategy<Value = String> {
        "[ab%*d \n<\"\\\\1-9ä]{0,20}"
    }

    fn argument() -> impl Strategy<Value = Term> {
        prop_oneof![
            text().prop_map(Term::from),
            (0usize..60).prop_map(Term::from),
            any::<bool>().prop_map(Term::from),
            prop::collection::vec(text(), 0..4).prop_map(Term::from),
            (prop::sample::select(vec!["indent", "width", "d", "first"]), 0usize..60)
                .prop_map(|(name, number)| kwargs(name, number)),
            text().prop_map(|joiner| kwargs("d", joiner)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// An estimate that is too low would let through what it is there to stop.
        #[test]
        fn estimates_are_never_too_low(args in prop::collection::vec(argument(), 1..5)) {
            let growing: [(&str, Term, Estimate); 5] = [
                ("replace", Term::from_function(filters::replace), replaced),
                ("join", Term::from_function(filters::join), joined),
                ("indent", Term::from_function(filters::indent), indented),
                ("format", Term::from_function(filters::format), formatted),
                ("tojson", Term::from_function(filters::tojson), written),
            ];
            for (name, original, estimate) in growing {
                if let Some((made, thought)) = made(&original, estimate, &args) {
                    // Escapes make a text up to six times as long, once; that is counted after.
                    let thought = if name == "tojson" { 6 * thought } else { thought };
                    prop_assert!(made <= thought + 8, "{name}{args:?}: {made} > {thought}");
                }
            }
        }
    }

    #[test]
    fn what_one_evaluation_makes_is_added_up() {
        let mut state = shared().empty_state();
        let megabyte = Term::from("x".repeat(1024 * 1024));
        let mut times = 0;
        while state.apply_filter("replace", &[megabyte.clone(), "a".into(), "b".into()]).is_ok() {
            times += 1;
        }
        // Once for the estimate, once for what was made.
        assert_eq!(times, MAX_EXPRESSION_MADE_BYTES / (2 * 1024 * 1024));
        let mut fresh = shared().empty_state();
        assert!(fresh.apply_filter("join", &[Term::from(vec!["a", "b"])]).is_ok());
    }

    #[test]
    fn filters_still_do_their_work() {
        let list = || Term::from(vec![3, 1, 2]);
        let table: [(&str, Vec<Term>, &str); 12] = [
            ("replace", vec!["aba".into(), "a".into(), "xy".into()], "xybxy"),
            ("join", vec![list(), "-".into()], "3-1-2"),
            ("join", vec![list(), kwargs("d", "+")], "3+1+2"),
            ("indent", vec!["a\nb".into(), 2.into()], "a\n  b"),
            ("indent", vec!["a".into(), kwargs("first", true)], "    a"),
            ("format", vec!["%s-%03d".into(), "a".into(), 7.into()], "a-007"),
            ("string", vec![list()], "[3, 1, 2]"),
            ("sort", vec![list()], "[1, 2, 3]"),
            ("sum", vec![list()], "6"),
            ("sum", vec![list(), kwargs("start", 4)], "10"),
            ("batch", vec![list(), 2.into()], "[[3, 1], [2]]"),
            ("reverse", vec![list()], "[2, 1, 3]"),
        ];
        for (name, args, expected) in table {
            let mut state = shared().empty_state();
            let made = state.apply_filter(name, &args).unwrap();
            assert_eq!(made.to_string(), expected, "{name}");
        }
    }

    #[test]
    fn sums_are_of_numbers() {
        let list = Term::from(vec!["a", "b"]);
        for start in [Term::from(""), Term::from(Vec::<i32>::new())] {
            let mut state = shared().empty_state();
            for args in [
                vec![list.clone(), kwargs("start", start.clone())],
                vec![list.clone(), "x".into(), start],
            ] {
                let error = state.apply_filter("sum", &args).unwrap_err();
                assert!(error.to_string().contains("`sum` adds numbers"), "{error}");
            }
        }
    }
}
