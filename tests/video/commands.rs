//! The example commands: each shipped workflow has one, and each one works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use callsheet::Engine;
use callsheet::media::{MediaOptions, register};

use super::media::ffprobe_seconds;
use super::samples::{Example, examples, wanted};
use super::world::finish;

/// What is submitted beside another job, and does nothing without one.
const COMPANION: &str = "webhook";

#[test]
fn each_shipped_workflow_has_an_example() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = Engine::builder().in_memory();
    let engine = register(engine, &MediaOptions::local());
    let engine = runtime.block_on(engine.open()).unwrap();
    let mut shipped: BTreeSet<String> =
        engine.workflows().iter().map(|plan| plan.workflow().name.clone()).collect();
    shipped.remove(COMPANION);
    let shown: BTreeSet<String> = examples().into_iter().map(|it| it.workflow).collect();
    assert_eq!(
        shown, shipped,
        "examples/media/README.md beside the shipped workflows: give a new one a command there"
    );
}

#[test]
fn the_example_commands_give_their_files() {
    for example in wanted() {
        works(&example);
    }
}

/// Runs an example as the page has it, and looks at its files; answers how long it took. Once for
/// each workflow, whoever asks.
pub(crate) fn works(example: &Example) -> Duration {
    static TIMES: Mutex<BTreeMap<String, Duration>> = Mutex::new(BTreeMap::new());
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    *times.entry(example.workflow.clone()).or_insert_with(|| {
        let since = Instant::now();
        run(example);
        since.elapsed()
    })
}

fn run(example: &Example) {
    let dir = tempfile::tempdir().unwrap();
    let args = example.args("out", &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = finish(dir.path(), &args).has_ended_with(0);
    let result = ended.json();
    assert_eq!(result["status"], "succeeded", "{example:?}: {ended:?}");
    let files: Vec<_> = result["files"].as_object().into_iter().flatten().collect();
    assert!(!files.is_empty() || !result["output"].is_null(), "{example:?} gives nothing");
    for (place, file) in files {
        let path = dir.path().join(file.as_str().unwrap());
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size > 0, "{example:?}: `{place}` is empty");
        if path.extension().is_some_and(|it| it == "mp4") {
            assert!(ffprobe_seconds(&path) > 1.0, "{example:?}: `{place}`");
        }
    }
    // The directory of the job is gone with its success.
    assert!(!dir.path().join("out/.callsheet").exists(), "{example:?}");
}
