//! The named points at which a test may stop, delay or kill the process. They do nothing unless the
//! crate is built with the feature `failpoints`. That the lists are complete is held by the sweep
//! over them, `tests/crash`, which reads the sources.

/// Every point of this crate but those of the tree; with the store's and the front door's they are
/// all there are. They stand before and after every commit, deed, answer and body, and around the
/// start of a child process: the windows in which a death may find a job.
pub const POINTS: &[&str] = &[
    "engine.submit.before",
    "engine.submit.after",
    "actors.commit.before",
    "actors.commit.after",
    "actors.deed.before",
    "actors.deed.after",
    "actors.body.before",
    "actors.process.before",
    "actors.process.after",
    "actors.body.after",
    "actors.answer.before",
    "actors.answer.after",
];

/// Points in the handlers of the actors that are not a job's: where a test may let one panic.
pub const TREE_POINTS: &[&str] = &["tree.root", "tree.scheduler", "tree.jobs", "tree.attempt"];

#[cfg(test)]
mod tests {
    use super::TREE_POINTS;
    use std::collections::BTreeSet;

    #[test]
    fn every_actor_but_a_jobs_has_one_point() {
        let sources = [
            include_str!("tree/root.rs"),
            include_str!("tree/scheduler.rs"),
            include_str!("tree/jobs.rs"),
        ];
        assert!(sources.iter().all(|source| named(source).len() == 1));
        let attempt = include_str!("tree/attempt.rs");
        let sources = [sources.concat(), attempt.to_owned()].concat();
        let of_tree = named(&sources).into_iter().filter(|name| name.starts_with("tree."));
        assert_eq!(of_tree.collect::<BTreeSet<_>>(), TREE_POINTS.iter().copied().collect());
    }

    fn named(sources: &str) -> BTreeSet<&str> {
        let marker = concat!("fail_", "point!(\"");
        sources.split(marker).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }
}
