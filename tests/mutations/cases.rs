//! Which test is to notice which fault: the quickest of those that do.

use std::fmt;

/// A fault and its test.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) test: Test,
}

/// A test: the folder of its package, its target (`lib` or the name of a file or folder in
/// `tests/`), and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) package: &'static str,
    pub(crate) target: &'static str,
    pub(crate) name: &'static str,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, target, name } = self;
        let place = if package.is_empty() { "" } else { "/" };
        match *target {
            "lib" => write!(f, "{package}/src: {name}"),
            _ => write!(f, "{package}{place}tests/{target}: {name}"),
        }
    }
}

const fn case(
    name: &'static str,
    package: &'static str,
    target: &'static str,
    test: &'static str,
) -> Case {
    Case { name, test: Test { package, target, name: test } }
}

/// In the order of the list in `engine/src/mutations.rs`.
pub(crate) const CASES: &[Case] = &[
    case("fsync", "", "faults", "a_crash_at_every_call_loses_nothing_acknowledged"),
    case("epoch-check", "storage", "lib", "only_the_owner_appends_and_only_the_next"),
    case("sequence-check", "storage", "lib", "only_the_owner_appends_and_only_the_next"),
    case(
        "intent-write",
        "actors",
        "ahead",
        "what_can_be_seen_never_begins_before_its_start_is_durable",
    ),
    case("fence-token", "engine", "lib", "a_late_result_is_dropped"),
    case("idempotency-lookup", "actors", "it", "a_key_gives_one_job_from_many_callers"),
    case(
        "cancel-answer",
        "actors",
        "ahead",
        "a_cancel_is_answered_when_all_that_was_decided_before_is_durable",
    ),
    case(
        "child-processes",
        "actors",
        "it",
        "cancel_ends_the_whole_tree_even_one_that_ignores_term",
    ),
    case("artifact-fsync", "", "faults", "a_crash_at_every_call_loses_nothing_acknowledged"),
    case("value-checksum", "storage", "lib", "every_flipped_bit_is_seen"),
    case("watermark", "storage", "lib", "the_log_is_cut_at_its_old_end_only"),
    case("handover", "", "faults", "a_crash_at_every_call_loses_nothing_acknowledged"),
    case("artifact-check", "storage", "lib", "damage_is_seen_and_mended_by_the_next_put"),
];
