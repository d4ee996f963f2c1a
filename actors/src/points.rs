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

/// Points in the handlers of the actors that are not a job's: where a test may let one panic.
pub const TREE_POINTS: &[&str] = &["tree.root", "tree.scheduler", "tree.jobs", "tree.attempt"];

#[cfg(test)]
mod tests {
    use super::{POINTS, TREE_POINTS};
    use std::collections::BTreeSet;

    #[test]
    fn the_list_is_what_the_sources_name() {
        let sources = [
            include_str!("engine.rs"),
            include_str!("tree/job.rs"),
            include_str!("tree/parking.rs"),
        ]
        .concat();
        assert_eq!(named(&sources), POINTS.iter().copied().collect());
    }

    #[test]
    fn every_actor_but_a_jobs_has_one_point() {
        let sources = [
            include_str!("tree/root.rs"),
            include_str!("tree/scheduler.rs"),
            include_str!("tree/jobs.rs"),
            include_str!("tree/attempt.rs"),
        ];
        assert_eq!(named(&sources.concat()), TREE_POINTS.iter().copied().collect());
        assert!(sources.iter().all(|source| named(source).len() == 1));
    }

    fn named(sources: &str) -> BTreeSet<&str> {
        let marker = concat!("fail_", "point!(\"");
        sources.split(marker).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }
}
