//! The named points at which a test may kill the process.

/// Every point of this crate; together with the store's they are all there are. A point is passed
/// on the way of every step, so a sweep over the list is a sweep over every window between a
/// decision, its commit, its deeds and its answers.
pub const POINTS: &[&str] = &[
    "engine.submit.before",
    "engine.submit.after",
    "actors.commit.before",
    "actors.commit.after",
    "actors.deed.before",
    "actors.deed.after",
    "actors.answer.before",
    "actors.answer.after",
];

#[cfg(test)]
mod tests {
    use super::POINTS;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_is_what_the_sources_name() {
        let sources = [include_str!("engine.rs"), include_str!("tree/job.rs")].concat();
        let marker = concat!("fail_", "point!(\"");
        let named: BTreeSet<&str> =
            sources.split(marker).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(named, POINTS.iter().copied().collect());
    }
}
