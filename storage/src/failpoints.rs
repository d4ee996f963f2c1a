//! The named points at which a test may stop, delay or kill the process. They do nothing unless the
//! crate is built with the feature `failpoints`.

/// All points of this crate, in the order in which a commit passes them; so that a sweep over all
/// is complete.
pub const POINTS: &[&str] = &[
    "artifact.written",
    "artifact.renamed",
    "artifact.stored",
    "result.begun",
    "result.written",
    "result.kept",
    "storage.commit.queued",
    "storage.commit.applied",
    "storage.commit.flushed",
    "storage.commit.synced",
    "storage.commit.acknowledged",
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn points_under(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                points_under(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split(concat!("fail::fail_", "point!(\"")).skip(1);
            found.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }

    #[test]
    fn the_list_is_complete() {
        let mut found = Vec::new();
        points_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let distinct: BTreeSet<_> = found.iter().map(String::as_str).collect();
        assert_eq!(distinct.len(), found.len(), "a point stands in one place: {found:?}");
        assert_eq!(distinct, POINTS.iter().copied().collect(), "POINTS lists what is in the code");
    }
}
