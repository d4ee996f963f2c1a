//! `callsheet bench`, small: its figures are there and make sense, and what it refuses.

use std::path::Path;

use serde_json::Value;

use super::world::{finish, place};

/// The fields that every answer has.
const FIELDS: [&str; 13] = [
    "job",
    "concurrency",
    "jobs_per_s",
    "steps_per_s",
    "p50_ms",
    "p99_ms",
    "cpu_ms_per_job",
    "rss_mib",
    "bytes_per_step",
    "flushes_per_step",
    "ratio_to_bare_store",
    "ratio_to_bare_log",
    "detail",
];

/// Measures on the disk of the build, which is a disk even where `/tmp` is not.
fn measured(args: &[&str]) -> Value {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = dir.path().display().to_string();
    let args: Vec<&str> =
        ["bench"].iter().chain(args).chain(&["--data", &data, "--json"]).copied().collect();
    let answer = finish(dir.path(), &args).has_ended_with(0).json();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left on the disk");
    let mut names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    let mut fields = FIELDS.to_vec();
    names.sort_unstable();
    fields.sort_unstable();
    assert_eq!(names, fields);
    answer
}

fn figure(answer: &Value, name: &str) -> f64 {
    let value = if answer[name].is_null() { &answer["detail"][name] } else { &answer[name] };
    value.as_f64().unwrap_or_else(|| panic!("no figure `{name}` in {answer}"))
}

#[test]
fn throughput_has_every_figure() {
    let answer = measured(&["chain10", "--jobs", "4", "--seconds", "0.3"]);
    assert_eq!((&answer["job"], &answer["concurrency"]), (&"chain10".into(), &4.into()));
    for name in &FIELDS[2..12] {
        let value = figure(&answer, name);
        let least = if *name == "bytes_per_step" { 0.0 } else { f64::MIN_POSITIVE };
        assert!(value.is_finite() && value >= least, "{name}: {answer}");
    }
    let share = figure(&answer, "steps_per_s") / figure(&answer, "jobs_per_s");
    assert!((share - 10.0).abs() < 0.1, "{answer}");
}

#[test]
fn a_kill_in_the_middle_repeats_only_what_was_not_durable() {
    let answer = measured(&["recover", "--jobs", "20"]);
    assert_eq!(figure(&answer, "steps"), 200.0);
    assert_eq!(figure(&answer, "jobs_succeeded"), 20.0);
    assert_eq!(figure(&answer, "durable_steps_repeated"), 0.0, "{answer}");
    assert!(figure(&answer, "steps_repeated") <= 40.0, "at most two a job: {answer}");
    assert!(figure(&answer, "first_step_ms") > 0.0, "{answer}");
}

#[test]
fn a_person_gets_a_table() {
    let (_dir, path) = place();
    let args = ["bench", "submit", "--seconds", "0.2", "--data", env!("CARGO_TARGET_TMPDIR")];
    let ended = finish(&path, &args).has_ended_with(0);
    assert!(ended.stdout.starts_with("submit, 1 at once"), "{}", ended.stdout);
    assert!(ended.stdout.contains("share of the bare log"), "{}", ended.stdout);
    assert!(ended.stderr.contains("one fdatasync"), "the place is said: {}", ended.stderr);
}

#[test]
fn what_would_mean_nothing_is_refused() {
    let (_dir, path) = place();
    let table: [(&[&str], i32, &str); 5] = [
        (&["bench", "chian10"], 2, "try: callsheet bench chain10"),
        (&["bench", "chain10", "--jobs", "0"], 2, "--jobs"),
        (&["bench", "chain10", "--seconds", "0"], 2, "`0` is no number of seconds"),
        (&["bench", "cancel", "--jobs", "2000"], 2, "try: --jobs 1024"),
        (&["bench", "chain10", "--role", "heir", "--data", "d"], 2, "leave --role out"),
    ];
    for (args, code, words) in table {
        let ended = finish(&path, args).has_ended_with(code);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    if mounts.lines().any(|line| line.contains(" /dev/shm tmpfs ")) {
        let ended = finish(&path, &["bench", "chain10", "--data", "/dev/shm"]).has_ended_with(1);
        assert!(ended.stderr.contains("`/dev/shm` lies in memory (tmpfs)"), "{}", ended.stderr);
        assert!(Path::new("/dev/shm").exists(), "and left alone");
    }
}
