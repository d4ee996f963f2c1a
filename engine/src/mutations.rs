//! Faults that are built in on purpose, to see whether the tests notice them: `make mutations`.
//!
//! Each promise rests on a few lines. With the feature `mutations`, and only with it, one of these
//! lines can be switched off, by name, through the environment. A suite that stays green then does
//! not hold the promise.

/// A fault that can be switched on: its name, and what it breaks.
pub type Mutation = (&'static str, &'static str);

/// Every fault that can be switched on.
pub const MUTATIONS: &[Mutation] = &[
    ("fsync", "a commit is acknowledged without its sync"),
    ("epoch-check", "a commit under an old epoch is taken"),
    ("sequence-check", "a commit is taken whatever its sequence number"),
    ("intent-write", "a body begins before its start is durable"),
    ("fence-token", "the late result of a dead attempt is taken for another's"),
    ("idempotency-lookup", "the key of a submit is not looked up"),
    ("cancel-answer", "a cancel is answered before it is durable"),
    ("child-processes", "the children of a stopped attempt are left alone"),
    ("artifact-fsync", "an artifact gets its name before its bytes are synced"),
    ("value-checksum", "a value of the store is taken whatever its checksum"),
    ("watermark", "the log is cut while records in it are needed"),
    ("handover", "jobs that fall asleep leave the log in one batch and arrive in the next"),
    ("artifact-check", "an artifact is not held against its digest"),
];

/// The variable that names the fault to switch on.
#[cfg(feature = "mutations")]
const VARIABLE: &str = "CALLSHEET_MUTATION";

/// Whether this fault is switched on.
#[cfg(feature = "mutations")]
#[must_use]
pub fn mutated(name: &str) -> bool {
    use std::sync::OnceLock;

    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let is_known = |name: &str| MUTATIONS.iter().any(|(known, _)| *known == name);
    assert!(is_known(name), "`{name}` is not in the list of mutations");
    let chosen = CHOSEN.get_or_init(|| {
        let chosen = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        assert!(chosen.as_deref().is_none_or(is_known), "no mutation has the name {chosen:?}");
        chosen
    });
    chosen.as_deref() == Some(name)
}

/// Whether this fault is switched on: never, in a build without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[must_use]
pub const fn mutated(_: &str) -> bool {
    false
}
