//! `callsheet run caption`, killed in the middle and run again: it goes on where it was.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::media::{speaking_picture, workers};
use super::world::{Running, finish};

const TEXT: &str = "The morning train leaves the station. Every passenger has a window seat. \
                    We will arrive before the evening.";

fn args<'a>(video: &'a str, out: &'a str) -> Vec<&'a str> {
    vec!["run", "caption", "--input", video, "--out", out, "--data-dir", "state", "--json"]
}

#[test]
fn a_killed_run_goes_on_and_repeats_no_step_that_had_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let video = path.join("talk.mp4");
    speaking_picture(&video, TEXT);
    let input = format!("video={}", video.display());

    let mut first = Running::start(&path, &args(&input, "out"));
    // The recogniser is at work: fetch, probe and audio have ended.
    first.wait_for("transcribe");
    while !workers(&path.join("state")).into_iter().any(is_recogniser) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    first.signal(Signal::KILL);
    first.end();
    for _ in 0..500 {
        if workers(&path.join("state")).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(workers(&path.join("state")).is_empty(), "children outlived the engine");

    let second = finish(&path, &args(&input, "out")).has_ended_with(0);
    assert!(second.stderr.contains("resum"), "{}", second.stderr);
    let result = second.json();
    assert_eq!(result["status"], "succeeded");
    for (step, attempts) in [("fetch", 1), ("probe", 1), ("audio", 1), ("transcribe", 2)] {
        assert_eq!(attempts_at(&result, step), attempts, "{step}: {result}");
    }
    check_files(&path.join("out"), &result);
}

/// Whether a process has come so far that it is the recogniser, and not what shuts that in.
fn is_recogniser(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("pocketsphinx")
}

fn attempts_at(result: &Value, step: &str) -> u64 {
    let steps = result["steps"].as_array().unwrap();
    steps.iter().find(|it| it["id"] == step).unwrap()["attempts"].as_u64().unwrap()
}

/// The files are there, and what was said stands at the seconds at which it was said.
fn check_files(out: &Path, result: &Value) {
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let (srt, vtt) = (read("captions.srt"), read("captions.vtt"));
    assert!(vtt.starts_with("WEBVTT"));
    let begins = |text: &str| {
        let cue = srt.split("\n\n").find(|cue| cue.to_lowercase().contains(text));
        let cue = cue.unwrap_or_else(|| panic!("`{text}` is not in {srt}"));
        let time = cue.lines().nth(1).unwrap();
        let parts: Vec<f64> =
            time[..12].replace(',', ".").split(':').map(|part| part.parse().unwrap()).collect();
        parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    };
    assert!(begins("morning") < 1.0);
    assert!(begins("morning") < begins("passenger") && begins("passenger") < begins("evening"));
    let video = std::fs::metadata(out.join("video.mp4")).unwrap();
    assert!(video.len() > 10_000);
    assert_eq!(result["output"]["provider"], "pocketsphinx");
    assert_eq!(result["files"].as_object().unwrap().len(), 4);
}
