//! Kill it with SIGKILL or press Ctrl-C: the same command, run again, goes on.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::world::{NOTES, Origin, Running, attempts, counts, finish, place};

const OUT: [&str; 4] = ["--out", "out", "--progress", "lines"];

fn run<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "notes.yaml", "-i", url], &OUT[..], more].concat()
}

/// Runs the command again with the gate open, and looks at what it did.
fn resume(path: &Path, origin: &Origin, url: &str, more: &[&str]) -> (Value, String) {
    origin.open();
    let more: Vec<&str> = more.iter().copied().chain(["--json"]).collect();
    let ended = finish(path, &run(url, &more)).has_ended_with(0);
    let result = ended.json();
    assert_eq!(result["status"], "succeeded");
    (result, ended.stderr)
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    for more in [&[][..], &["--data-dir", "state"]] {
        let (_dir, path) = place();
        let origin = Origin::start();
        let url = format!("url={}", origin.url);
        let mut running = Running::start(&path, &run(&url, more));
        origin.wait_until_asked();
        running.wait_for("fetch  started");
        running.signal(Signal::KILL);
        let (status, _) = running.end();
        assert_eq!(status.signal(), Some(9));

        let (result, said) = resume(&path, &origin, &url, more);
        assert_eq!(attempts(&result), counts(&[("first", 1), ("fetch", 2), ("last", 1)]));
        let words = ["resuming job", "from step `fetch`, 1 of 3 steps done"];
        assert!(words.iter().all(|words| said.contains(words)), "{said}");
        assert!(!said.contains("first  started"), "{said}");
        let id = result["job"].as_str().unwrap();
        assert!(said.contains(id), "the same job goes on: {said}");
    }
}

#[test]
fn another_input_is_another_job() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let url = format!("url={}", origin.url);
    let more = ["--data-dir", "state"];
    let running = Running::start(&path, &run(&url, &more));
    origin.wait_until_asked();
    running.signal(Signal::KILL);
    running.end();

    origin.open();
    let other = ["--data-dir", "state", "-i", "words_per_line=1", "--json"];
    let ended = finish(&path, &run(&url, &other)).has_ended_with(0);
    assert!(!ended.stderr.contains("resuming"), "{}", ended.stderr);
    assert_eq!(ended.json()["output"]["cues"], 2);
}

#[test]
fn ctrl_c_twice_stops_at_once_and_nothing_is_lost() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let url = format!("url={}", origin.url);
    // With an hour to drain, only the second signal can end it.
    let mut running = Running::start(&path, &run(&url, &["--grace", "1h"]));
    origin.wait_until_asked();
    running.signal(Signal::INT);
    running.wait_for("Ctrl-C: letting the running steps finish; press Ctrl-C again");
    running.signal(Signal::INT);
    running.wait_for("fetch  attempt 1 was cut off");
    running.wait_for("hint: to go on, run it again: callsheet run notes.yaml");
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(130));

    let (result, _) = resume(&path, &origin, &url, &[]);
    assert_eq!(attempts(&result), counts(&[("first", 1), ("fetch", 2), ("last", 1)]));
}

#[test]
fn one_signal_lets_the_running_step_finish() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let url = format!("url={}", origin.url);
    let mut running = Running::start(&path, &run(&url, &[]));
    origin.wait_until_asked();
    running.signal(Signal::TERM);
    running.wait_for("SIGTERM: letting the running steps finish");
    origin.open();
    running.wait_for("fetch  done");
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(130), "the last step is still to come");

    let (result, said) = resume(&path, &origin, &url, &[]);
    assert_eq!(attempts(&result), counts(&[("first", 1), ("fetch", 1), ("last", 1)]));
    assert!(said.contains("from step `last`, 2 of 3 steps done"), "{said}");
    assert_eq!(origin.hits(), 1, "the file was fetched once");
}

#[test]
fn a_job_that_ends_while_the_engine_drains_has_ended() {
    let (_dir, path) = place();
    // Without its last step, so that the fetch is the end of the job.
    let short = NOTES.split("  - id: last").next().unwrap().to_owned()
        + "output: { first: \"{{ steps.first.srt }}\" }\n";
    std::fs::write(path.join("notes.yaml"), short).unwrap();
    let origin = Origin::start();
    let url = format!("url={}", origin.url);
    let mut running = Running::start(&path, &run(&url, &["--data-dir", "state", "--json"]));
    origin.wait_until_asked();
    running.signal(Signal::INT);
    running.wait_for("letting the running steps finish");
    origin.open();
    running.wait_for("job succeeded");
    let (status, answer) = running.end();
    assert_eq!(status.code(), Some(0), "{answer}");
    assert!(path.join("out/captions.srt").is_file());
}
