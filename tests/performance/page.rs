//! The measured part of `docs/performance.md`.

use serde_json::Value;

use super::{goals, peers};

/// Where the measured part begins.
pub(crate) const BEGIN: &str = "<!-- measured: begin; `make bench` writes this anew -->";
/// Where it ends.
const END: &str = "<!-- measured: end -->";

/// What stands above the table of peers.
const OTHERS: &str = "\
### Beside others

Theirs were measured earlier, each at its really durable setting, on a machine like this one
(2 cores, one fdatasync 0.11 to 0.2 ms), and not again with ours. More than 1 in the last column
is better than the best of them.";

/// Columns of the table of figures: heading and field.
const COLUMNS: [(&str, &str); 13] = [
    ("at once", "concurrency"),
    ("jobs/s", "jobs_per_s"),
    ("steps/s", "steps_per_s"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("CPU ms a job", "cpu_ms_per_job"),
    ("MiB", "rss_mib"),
    ("bytes a step", "bytes_per_step"),
    ("flushes a step", "flushes_per_step"),
    ("of bare store", "ratio_to_bare_store"),
    ("of bare log", "ratio_to_bare_log"),
    ("bare store, records/s", "bare_store_records_per_s"),
    ("fdatasync ms", "fdatasync_ms"),
];

/// A figure of an answer, wherever it stands.
pub(crate) fn figure(answer: &Value, name: &str) -> Option<f64> {
    answer[name].as_f64().or_else(|| answer["detail"][name].as_f64())
}

/// A number as people read it.
pub(crate) fn number(value: f64) -> String {
    if value < 1_000.0 {
        return format!("{value}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The whole measured part.
pub(crate) fn measured(answers: &[Value]) -> String {
    let day = chrono::Utc::now().format("%Y-%m-%d");
    let place = &answers[0]["detail"];
    let system = place["file_system"].as_str().unwrap_or("unknown file system");
    let syncs = answers.iter().filter_map(|answer| figure(answer, "fdatasync_ms"));
    let (least, most) = syncs.fold((f64::MAX, 0.0_f64), |(a, b), it| (a.min(it), b.max(it)));
    let heading = format!(
        "Measured on {day}: {} cores, {system}, one fdatasync of 4 KiB {least:.2} to {most:.2} ms.",
        place["cores"]
    );
    let others = format!("{OTHERS}\n\n{}", peers::table(answers));
    [heading, figures(answers), details(answers), goals::table(answers), others].join("\n\n")
}

fn figures(answers: &[Value]) -> String {
    let mut text = format!("| job | {} |\n", COLUMNS.map(|(heading, _)| heading).join(" | "));
    text.push_str(&format!("|---|{}", "---:|".repeat(COLUMNS.len())));
    for answer in answers {
        let cells = COLUMNS.map(|(_, field)| figure(answer, field).map_or("–".into(), number));
        text.push_str(&format!("\n| {} | {} |", name(answer), cells.join(" | ")));
    }
    text
}

/// The name of a measurement; submits say how.
pub(crate) fn name(answer: &Value) -> String {
    let job = answer["job"].as_str().unwrap_or_default();
    match answer["detail"]["over"].as_str() {
        Some(over) => format!("{job}, {over}"),
        None => job.to_owned(),
    }
}

/// What only some jobs have.
fn details(answers: &[Value]) -> String {
    let of = |job: &str| answers.iter().find(|answer| answer["job"] == job);
    let mut lines = Vec::new();
    if let Some(costs) = of("fan100k").and_then(|fan| fan["detail"]["us_per_item"].as_array()) {
        let costs = costs.iter().map(|cost| {
            let figure = |name: &str| number(cost[name].as_f64().unwrap_or_default());
            format!("{} items {} µs each", figure("items"), figure("us"))
        });
        lines.push(format!("- fan100k: {}.", costs.collect::<Vec<_>>().join(", ")));
    }
    let told = [
        ("recover", "ready_ms", "ms to a ready engine after the restart"),
        ("recover", "first_step_ms", "ms to the first step body"),
        ("recover", "steps", "steps in all"),
        ("recover", "steps_running_at_the_kill", "at work at the kill"),
        ("recover", "steps_repeated", "repeated"),
        ("recover", "steps_repeated_whose_body_had_ended", "of these had ended"),
        ("recover", "durable_steps_repeated", "of these had a durable result"),
        ("idle", "memory_bytes_per_job", "bytes of memory a sleeping job"),
        ("idle", "memory_bytes_per_job_beyond_the_store", "of them beyond the store"),
        ("idle", "cpu_percent_asleep", "% of a core while all sleep"),
        ("idle", "cpu_percent_asleep_after_restart", "% after the restart"),
        ("idle", "ready_ms", "ms to a ready engine after the kill"),
        ("idle", "ready_after_a_clean_stop_ms", "ms after a clean stop"),
        ("idle", "store_alone_open_ms", "ms of it for the store alone"),
        ("cancel", "last_answer_ms", "ms to the last durable answer"),
        ("cancel", "all_processes_gone_ms", "ms until all child processes were gone"),
    ];
    for job in ["recover", "cancel", "idle"] {
        let Some(answer) = of(job) else { continue };
        let facts = told.iter().filter(|(of, _, _)| *of == job);
        let facts = facts.filter_map(|(_, field, what)| {
            Some(format!("{} {what}", number(figure(answer, field)?)))
        });
        lines.push(format!("- {job}: {}.", facts.collect::<Vec<_>>().join(", ")));
    }
    lines.join("\n")
}

/// A page whose measured part is another.
pub(crate) fn replaced(page: &str, measured: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page says where it begins");
    let (_, after) = rest.split_once(END).expect("the page says where it ends");
    format!("{before}{BEGIN}\n\n{measured}\n\n{END}{after}")
}

#[test]
fn only_the_measured_part_is_replaced() {
    let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
    let new = replaced(&page, "new");
    assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
    assert_eq!(replaced(&new, "new"), new);
}

#[test]
fn numbers_are_grouped() {
    let table = [(0.5, "0.5"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")];
    for (value, text) in table {
        assert_eq!(number(value), text);
    }
}

#[test]
fn what_is_absent_is_a_dash() {
    let answer = serde_json::json!({
        "job": "submit", "concurrency": 2, "jobs_per_s": 12345.0, "p50_ms": null,
        "detail": { "over": "http", "bare_store_records_per_s": 7.5 },
    });
    let table = figures(&[answer]);
    let row = table.lines().last().unwrap();
    assert!(row.starts_with("| submit, http | 2 | 12,345 | – | – |"), "{row}");
    assert!(row.ends_with("| 7.5 | – |"), "{row}");
}
