//! The goals, and whether they are reached.

use serde_json::Value;

use super::page::{figure, number};

/// One goal: which measurement, which figure of it, and the bound.
struct Goal {
    what: &'static str,
    job: &'static str,
    at_once: u64,
    figure: Figure,
    bound: Bound,
}

/// Where a figure comes from.
#[derive(Clone, Copy)]
enum Figure {
    Field(&'static str),
    Made(fn(&Value) -> Option<f64>),
}

impl Figure {
    fn of(self, answer: &Value) -> Option<f64> {
        match self {
            Self::Field(name) => figure(answer, name),
            Self::Made(make) => make(answer),
        }
    }
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", number(most)),
            Self::AtLeast(least) => format!("≥ {}", number(least)),
        }
    }
}

use Bound::{AtLeast, AtMost};
use Figure::{Field, Made};

/// For a measurement that is judged whatever its size.
const ANY: u64 = 0;

const GOALS: [Goal; 18] = [
    goal("chain10 at 256, steps/s", "chain10", 256, Field("steps_per_s"), AtLeast(55_000.0)),
    goal("the same, the next goal", "chain10", 256, Field("steps_per_s"), AtLeast(100_000.0)),
    goal(
        "store at 256, records/s appended to jobs that go on",
        "chain10",
        256,
        Field("bare_store_appends_per_s"),
        AtLeast(300_000.0),
    ),
    goal(
        "the same, share of the bare log",
        "chain10",
        256,
        Field("ratio_of_appends_to_bare_log"),
        AtLeast(0.6),
    ),
    goal(
        "chain10 at 256, bytes on disk a step",
        "chain10",
        256,
        Field("bytes_per_step"),
        AtMost(500.0),
    ),
    goal("chain10 alone, p50 ms", "chain10", 1, Field("p50_ms"), AtMost(5.0)),
    goal(
        "chain10 alone, p50 in tens of bare store commits",
        "chain10",
        1,
        Made(commits),
        AtMost(1.3),
    ),
    goal("fan100 alone, p50 ms", "fan100", 1, Field("p50_ms"), AtMost(10.0)),
    goal("submit embedded alone, p50 ms", "submit", 1, Field("p50_ms"), AtMost(1.0)),
    goal("submit embedded at 256, jobs/s", "submit", 256, Field("jobs_per_s"), AtLeast(20_000.0)),
    goal("recover, ms to the first step", "recover", 1_000, Field("first_step_ms"), AtMost(300.0)),
    goal(
        "recover, durable steps repeated",
        "recover",
        1_000,
        Field("durable_steps_repeated"),
        AtMost(0.0),
    ),
    goal("cancel, p99 ms to the durable answer", "cancel", 1_000, Field("p99_ms"), AtMost(50.0)),
    goal(
        "cancel, ms until all processes are gone",
        "cancel",
        1_000,
        Field("all_processes_gone_ms"),
        AtMost(1_000.0),
    ),
    goal(
        "fan100k, cost of an item, largest job to smallest",
        "fan100k",
        1,
        Field("us_per_item_of_the_largest_to_the_smallest"),
        AtMost(1.2),
    ),
    goal(
        "idle, bytes of memory a job beyond the store",
        "idle",
        ANY,
        Field("memory_bytes_per_job_beyond_the_store"),
        AtMost(100.0),
    ),
    goal(
        "idle, % of a core while all sleep",
        "idle",
        ANY,
        Field("cpu_percent_asleep_after_restart"),
        AtMost(0.5),
    ),
    goal("idle, ms to ready after the kill", "idle", ANY, Field("ready_ms"), AtMost(3_000.0)),
];

const fn goal(
    what: &'static str,
    job: &'static str,
    at_once: u64,
    figure: Figure,
    bound: Bound,
) -> Goal {
    Goal { what, job, at_once, figure, bound }
}

/// The time of a job, as a multiple of ten commits of the bare store alone.
fn commits(chain: &Value) -> Option<f64> {
    let alone = figure(chain, "bare_store_job_p50_ms")? / figure(chain, "records_per_job")?;
    Some(figure(chain, "p50_ms")? / (10.0 * alone))
}

/// All goals with what was measured.
pub(crate) fn table(answers: &[Value]) -> String {
    let mut text = "| goal | to reach | measured | reached |\n|---|---:|---:|---|".to_owned();
    for goal in &GOALS {
        let is_it = |answer: &&Value| {
            let embedded = answer["detail"]["over"].as_str().is_none_or(|over| over == "embedded");
            let size = goal.at_once == ANY || answer["concurrency"] == goal.at_once;
            answer["job"] == goal.job && size && embedded
        };
        let value = answers.iter().find(is_it).and_then(|answer| goal.figure.of(answer));
        let (shown, reached) = match value {
            Some(value) if goal.bound.is_met(value) => (rounded(value), "yes"),
            Some(value) => (rounded(value), "**no**"),
            None => ("–".to_owned(), "not measured"),
        };
        let (what, bound) = (goal.what, goal.bound.text());
        text.push_str(&format!("\n| {what} | {bound} | {shown} | {reached} |"));
    }
    text
}

fn rounded(value: f64) -> String {
    number((value * 1_000.0).round() / 1_000.0)
}

#[test]
fn goals_are_judged_by_their_own_measurement() {
    let answers = [
        serde_json::json!({ "job": "chain10", "concurrency": 256, "steps_per_s": 60_000.0,
            "bytes_per_step": 600.0, "detail": {} }),
        serde_json::json!({ "job": "submit", "concurrency": 1, "p50_ms": 0.5,
            "detail": { "over": "http" } }),
        serde_json::json!({ "job": "recover", "concurrency": 1_000, "detail": {
            "durable_steps_repeated": 1 } }),
        serde_json::json!({ "job": "idle", "concurrency": 777, "detail": {
            "ready_ms": 2_999.5 } }),
    ];
    let table = table(&answers);
    let row = |what: &str| table.lines().find(|line| line.contains(what)).unwrap().to_owned();
    assert!(row("chain10 at 256, steps/s").ends_with("| ≥ 55,000 | 60,000 | yes |"));
    assert!(row("next goal").ends_with("| 60,000 | **no** |"));
    assert!(row("bytes on disk").ends_with("| ≤ 500 | 600 | **no** |"));
    assert!(row("submit embedded alone").ends_with("| – | not measured |"), "that was over HTTP");
    assert!(row("ms to ready").ends_with("| ≤ 3,000 | 3,000 | yes |"), "whatever its size");
    assert!(row("durable steps repeated").ends_with("| ≤ 0 | 1 | **no** |"));
}
