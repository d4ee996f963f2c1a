//! `callsheet serve` and the commands that talk to it.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::world::{Finished, Origin, Running, callsheet, place};

/// A server and how to reach it.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) url: String,
    path: std::path::PathBuf,
}

impl Server {
    pub(crate) fn start(path: &Path, more: &[&str]) -> Self {
        std::fs::create_dir_all(path.join("flows")).unwrap();
        std::fs::copy(path.join("notes.yaml"), path.join("flows/notes.yaml")).unwrap();
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "state"];
        let open = ["--workflows", "flows", "--allow-private-addresses"];
        let mut running = Running::start(path, &[&fixed[..], &open, more].concat());
        let line = running.wait_for("callsheet listens on ");
        let url = line.split(' ').find(|word| word.starts_with("http://")).unwrap();
        let url = url.trim_end_matches(',').to_owned();
        Self { running, url, path: path.to_owned() }
    }

    pub(crate) fn ask(&self, args: &[&str]) -> Finished {
        let mut command = callsheet(&self.path, args);
        Finished::from(command.env("CALLSHEET_SERVER", &self.url).output().unwrap())
    }
}

#[test]
fn a_job_goes_through_the_server_from_submit_to_show() {
    let (_dir, path) = place();
    let origin = Origin::start();
    origin.open();
    let server = Server::start(&path, &[]);
    let url = format!("url={}", origin.url);
    let submit = ["submit", "notes", "-i", &url, "--key", "k1", "--label", "who=me"];
    let id = server.ask(&submit).has_ended_with(0).stdout.trim().to_owned();
    let again = server.ask(&submit).has_ended_with(0);
    assert_eq!(again.stdout.trim(), id, "the same key gives the same job");
    assert!(again.stderr.contains("the key was used before"), "{}", again.stderr);

    let followed = server.ask(&["show", &id, "--follow"]).has_ended_with(0).stdout;
    assert!(followed.lines().last().unwrap().contains("job_succeeded"), "{followed}");
    let events = server.ask(&["show", &id, "--events", "--json"]).has_ended_with(0).stdout;
    let kinds: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().into())
        .collect();
    assert_eq!((kinds.first().unwrap().as_str(), kinds.len()), ("job_submitted", 8), "{kinds:?}");

    let shown = server.ask(&["show", &id]).has_ended_with(0).stdout;
    assert!(shown.contains("status     succeeded"), "{shown}");
    let list = server.ask(&["jobs", "--status", "succeeded"]).has_ended_with(0).stdout;
    assert!(list.contains(&id) && list.contains("who=me"), "{list}");
    let own = ["submit", "notes.yaml", "-i", &url, "--wait", "--json"];
    let waited = server.ask(&own).has_ended_with(0).json();
    assert_eq!(waited["status"], "succeeded");
    let over = server.ask(&["cancel", &id]).has_ended_with(0).stdout;
    assert_eq!(over, "it had ended before: succeeded\n");
}

#[test]
fn files_come_from_the_server_into_a_directory() {
    let (_dir, path) = place();
    let origin = Origin::start();
    origin.open();
    let server = Server::start(&path, &[]);
    let url = format!("url={}", origin.url);
    let submit = ["submit", "notes", "-i", &url, "--out", "out"];
    let ended = server.ask(&submit).has_ended_with(0).stdout;
    for name in ["first-captions.srt", "last-captions.srt", "captions.vtt"] {
        let text = std::fs::read_to_string(path.join("out").join(name)).unwrap();
        assert!(text.contains("-->") && ended.contains(&format!("out/{name}\n")), "{ended}");
    }
    // What it was given stays; the files can be had all the same.
    let mine = path.join("captions.vtt");
    std::fs::write(&mine, "mine").unwrap();
    std::fs::write(path.join("vtt.yaml"), VTT).unwrap();
    let submit = ["submit", "vtt.yaml", "--upload", "file=captions.vtt", "--out", "."];
    let refused = server.ask(&submit).has_ended_with(1);
    assert!(refused.stderr.contains("`./captions.vtt` is an input of this job"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "mine");
    let hint = refused.stderr.lines().find_map(|line| line.split("callsheet show ").nth(1));
    let id = hint.unwrap().strip_suffix(" --out DIR").unwrap();
    let shown = server.ask(&["show", id, "--out", "here", "--json"]).has_ended_with(0).json();
    assert_eq!(shown["files"]["vtt"], "here/captions.vtt");
    assert!(std::fs::read_to_string(path.join("here/captions.vtt")).unwrap().contains("-->"));
}

const VTT: &str = "
name: vtt
steps:
  - id: write
    uses: subtitles.compose
    with: { words: [{ text: a, start_s: 0, end_s: 1 }], width: 64, height: 64, duration_s: 2 }
output: { vtt: '{{ steps.write.vtt }}' }
";

const KEEP: &str = "
name: keep
input:
  type: object
  additionalProperties: false
  properties:
    file: { anyOf: [{ type: string }, { type: object, required: [artifact] }] }
    more: { type: array, items: { type: object } }
steps:
  - { id: fetch, uses: media.fetch, with: { source: '{{ input.file }}' } }
output: { file: '{{ steps.fetch.file }}', more: '{{ input.more }}' }
";

#[test]
fn files_of_this_machine_go_to_the_server_first() {
    let (_dir, path) = place();
    std::fs::write(path.join("keep.yaml"), KEEP).unwrap();
    std::fs::write(path.join("talk.txt"), "hello").unwrap();
    let server = Server::start(&path, &["--max-upload", "1kB"]);
    let reference = server.ask(&["upload", "talk.txt", "--type", "text/x-talk"]).has_ended_with(0);
    let reference = reference.json();
    assert_eq!(
        (&reference["name"], &reference["media_type"]),
        (&"talk.txt".into(), &"text/x-talk".into())
    );
    let submit = ["submit", "keep.yaml", "--wait", "--json", "--upload", "file=talk.txt"];
    let more = ["--upload", "more=talk.txt", "--upload", "more=keep.yaml"];
    let job = server.ask(&[&submit[..], &more].concat()).has_ended_with(0).json();
    assert_eq!(job["output"]["file"]["artifact"], reference["artifact"]);
    assert_eq!(job["output"]["more"][1]["name"], "keep.yaml");
    assert_eq!(job["progress"], 100.0);

    std::fs::write(path.join("large.txt"), [7; 1_001]).unwrap();
    for (args, code, words) in [
        (vec!["upload", "large.txt"], 1, "[upload.too_large]"),
        (vec!["upload", "gone.txt"], 1, "gone.txt"),
        (vec!["submit", "keep.yaml", "--upload", "flie=talk.txt"], 2, "no input `flie`"),
        (vec!["submit", "keep.yaml", "--upload", "talk.txt"], 2, "is not of the form NAME=FILE"),
    ] {
        let ended = server.ask(&args).has_ended_with(code);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
    let none = server.ask(&["jobs", "--status", "held"]).has_ended_with(0);
    assert_eq!(none.stderr, "no jobs\n");
}

#[test]
fn a_cancelled_job_is_cancelled_and_a_wait_for_it_fails() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let server = Server::start(&path, &[]);
    let url = format!("url={}", origin.url);
    let id = server.ask(&["submit", "notes", "-i", &url]).has_ended_with(0).stdout;
    let id = id.trim();
    origin.wait_until_asked();
    // A job that is at work has events, and listing them does not wait for its end.
    let events = server.ask(&["show", id, "--events"]).has_ended_with(0).stdout;
    assert!(events.contains("step=fetch"), "{events}");
    let answer = server.ask(&["cancel", id, "--reason", "wrong file"]).has_ended_with(0);
    assert_eq!(answer.stdout, "cancelled: its work stops now\n");
    let followed = server.ask(&["show", id, "--follow"]).has_ended_with(1);
    assert!(followed.stdout.contains("reason=`wrong file`"), "{}", followed.stdout);
    assert!(followed.stderr.contains("error: the job is cancelled"), "{}", followed.stderr);
}

#[test]
fn refusals_of_the_server_are_told_with_their_hints() {
    let (_dir, path) = place();
    let server = Server::start(&path, &["--token", "secret"]);
    let refused = server.ask(&["jobs"]).has_ended_with(1);
    assert!(refused.stderr.contains("[auth."), "{}", refused.stderr);
    let cases: [(&[&str], &str); 3] = [
        (&["submit", "noets"], "[workflow.unknown]"),
        (&["submit", "notes"], "[input."),
        (&["show", "01900000-0000-7000-8000-000000000000"], "[job.unknown]"),
    ];
    for (args, words) in cases {
        let ended = server.ask(&[args, &["--token", "secret"]].concat()).has_ended_with(1);
        assert!(ended.stderr.contains(words) && ended.stderr.contains("hint: "), "{ended:?}");
    }
}

#[test]
fn a_drained_server_ends_well_and_its_jobs_go_on() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let mut server = Server::start(&path, &["--grace", "1h"]);
    let url = format!("url={}", origin.url);
    let id = server.ask(&["submit", "notes", "-i", &url]).has_ended_with(0).stdout;
    origin.wait_until_asked();
    server.running.signal(Signal::TERM);
    server.running.wait_for("SIGTERM: draining, 1 running attempts may finish");
    server.running.signal(Signal::TERM);
    server.running.wait_for("stopping at once");
    let (status, _) = server.running.end();
    assert_eq!(status.code(), Some(0));

    origin.open();
    let server = Server::start(&path, &[]);
    let ended = server.ask(&["show", id.trim(), "--follow"]).has_ended_with(0);
    assert!(ended.stdout.contains("cause=shutdown"), "{}", ended.stdout);
}

#[test]
fn a_workflow_with_a_problem_stops_the_start() {
    let (_dir, path) = place();
    std::fs::create_dir_all(path.join("flows")).unwrap();
    std::fs::write(path.join("flows/bad.yaml"), "name: bad\nsteps:\n  - { id: a, uses: b }\n")
        .unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "state", "--workflows", "flows"];
    let ended = super::world::finish(&path, &args).has_ended_with(1);
    assert!(ended.stderr.contains("flows/bad.yaml:3:20: unknown step kind `b`"), "{ended:?}");
}
