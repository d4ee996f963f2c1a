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
fn every_job_has_every_figure() {
    let table: [&[&str]; 4] = [
        &["recover", "--jobs", "8"],
        &["cancel", "--jobs", "4"],
        &["fan100k", "--items", "1000"],
        &["submit", "--jobs", "4", "--seconds", "0.3"],
    ];
    for args in table {
        has_every_figure(&measured(args));
    }
}

fn has_every_figure(answer: &Value) {
    for name in &FIELDS[1..12] {
        let value = figure(answer, name);
        assert!(value.is_finite() && value >= 0.0, "{name}: {answer}");
    }
    assert!(figure(answer, "ratio_to_bare_store") > 0.0, "{answer}");
}

#[test]
fn sleepers_survive_the_kill_and_cost_what_is_said() {
    let answer = measured(&["idle", "--jobs", "300", "--seconds", "0.3"]);
    has_every_figure(&answer);
    assert_eq!(figure(&answer, "jobs_asleep_after_restart"), 300.0, "{answer}");
    let names = [
        "memory_bytes_per_job",
        "memory_bytes_per_job_of_the_store_alone",
        "memory_bytes_per_job_beyond_the_store",
    ];
    let [whole, store, rest] = names.map(|name| figure(&answer, name));
    assert!((whole - store - rest).abs() < 0.01 * whole.abs().max(store.abs()) + 1.0, "{answer}");
    for name in ["ready_ms", "ready_after_a_clean_stop_ms", "store_alone_open_ms"] {
        assert!(figure(&answer, name) > 0.0, "{name}: {answer}");
    }
    for name in ["cpu_percent_asleep", "cpu_percent_asleep_after_restart"] {
        assert!((0.0..=400.0).contains(&figure(&answer, name)), "{name}: {answer}");
    }
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
    let table: [(&[&str], i32, &str); 15] = [
        (&["bench", "chian10"], 2, "try: callsheet bench chain10"),
        (&["bench", "chain10", "--jobs", "0"], 2, "--jobs"),
        (&["bench", "chain10", "--seconds", "0"], 2, "`0` is no number of seconds"),
        (&["bench", "cancel", "--jobs", "2000"], 2, "try: --jobs 1024"),
        (&["bench", "chain10", "--role", "heir", "--data", "d"], 2, "leave --role out"),
        (&["bench"], 2, "<JOB>"),
        (&["bench", "chain10", "--jobs", "many"], 2, "invalid value 'many'"),
        (&["bench", "chain10", "--jobs", "100001"], 2, "try: --jobs 100000"),
        (&["bench", "chain10", "--seconds", "0.01"], 2, "`0.01` is no number of seconds"),
        (&["bench", "fan100k", "--items", "100001"], 2, "try: --items 100000"),
        (&["bench", "fan100k", "--jobs", "2"], 2, "`--jobs` means nothing to `fan100k`"),
        (&["bench", "chain10", "--items", "9"], 2, "`--items` means nothing to `chain10`"),
        (&["bench", "recover", "--over", "http"], 2, "`--over` means nothing to `recover`"),
        (&["bench", "cancel", "--seconds", "2"], 2, "leave --seconds out"),
        (&["bench", "idle", "--jobs", "199"], 2, "try: --jobs 200"),
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
