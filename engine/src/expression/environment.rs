//! The one environment that all expressions are compiled in: minijinja's own filters and tests,
//! strict about what is undefined, with fuel and without a loader, a clock or randomness.

use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use crate::limits::MAX_EXPRESSION_FUEL;

/// The environment of all expressions.
pub(super) fn shared() -> &'static Environment<'static> {
    static SHARED: OnceLock<Environment<'static>> = OnceLock::new();
    SHARED.get_or_init(build)
}

/// The names of all filters.
pub(super) fn filters() -> &'static [&'static str] {
    &FILTERS
}

/// The names of all tests.
pub(super) fn tests() -> &'static [&'static str] {
    &TESTS
}

/// In the order of the alphabet; the test below compares them with the environment.
#[rustfmt::skip]
const FILTERS: [&str; 44] = [
    "abs", "attr", "batch", "bool", "capitalize", "chain", "count", "d", "default", "dictsort",
    "first", "float", "format", "groupby", "indent", "int", "items", "join", "last", "length",
    "lines", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse",
    "round", "select", "selectattr", "slice", "sort", "split", "string", "sum", "title", "tojson",
    "trim", "unique", "upper", "zip",
];

/// In the order of the alphabet as well.
#[rustfmt::skip]
const TESTS: [&str; 32] = [
    "boolean", "defined", "divisibleby", "endingwith", "eq", "equalto", "even", "false", "float",
    "ge", "greaterthan", "gt", "in", "int", "integer", "iterable", "le", "lessthan", "lower",
    "lt", "mapping", "ne", "none", "number", "odd", "sameas", "sequence", "startingwith",
    "string", "true", "undefined", "upper",
];

/// Whatever is taken out here either keeps state from statement to statement, prints what it should
/// not, or has no meaning where nothing is escaped.
fn build() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(MAX_EXPRESSION_FUEL));
    // Places of errors come with the debug information.
    environment.set_debug(true);
    // A string of the definition is what it says, its last line break included.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    for name in ["namespace", "debug", "dict"] {
        environment.remove_global(name);
    }
    for name in ["safe", "escape", "e", "pprint"] {
        environment.remove_filter(name);
    }
    super::filters::install(&mut environment);
    environment
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_lists_say_what_the_environment_has() {
        let mut state = shared().empty_state();
        for name in FILTERS {
            let error = state.apply_filter(name, &[]).map(|_| "a value").unwrap_err();
            assert_ne!(error.kind(), minijinja::ErrorKind::UnknownFilter, "{name}");
        }
        for name in TESTS {
            let error = state.perform_test(name, &[]).unwrap_err();
            assert_ne!(error.kind(), minijinja::ErrorKind::UnknownTest, "{name}");
        }
        for name in ["safe", "escape", "e", "pprint", "urlencode"] {
            assert!(state.apply_filter(name, &["x".into()]).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_reaches_outside() {
        let globals: Vec<&str> = shared().globals().map(|(name, _)| name).collect();
        assert_eq!(globals, ["range"]);
        assert!(shared().get_template("/etc/passwd").is_err());
    }
}
