//! Our figures beside those of other systems.
//!
//! Theirs were measured earlier, each at its really durable setting, on a machine like the one that
//! the project measures on; they are not measured again with ours.

use serde_json::Value;

use super::page::{figure, number};

/// The systems, in the order of the columns.
const PEERS: [&str; 4] = [
    "Restate 1.7, fsync on",
    "DBOS 3.4, SQLite / PostgreSQL",
    "Celery 5.7 + Redis, appendfsync always",
    "duroxide 0.1.32, PostgreSQL, tuned",
];

/// One figure, as the peers had it.
struct Row {
    what: &'static str,
    job: &'static str,
    at_once: Option<u64>,
    field: &'static str,
    /// What the peers' figures are, beside the unit of ours.
    scale: f64,
    peers: [&'static str; 4],
    /// The best of the peers, and whether more is better.
    best: f64,
    more: bool,
}

const ROWS: [Row; 10] =
    [
        Row { at_once: Some(1), ..row("chain10 alone, jobs/s", "chain10", "jobs_per_s") }.beside(
            ["73", "31 / 20", "25", "–"],
            73.0,
            true,
        ),
        Row { at_once: Some(1), ..row("chain10 alone, p50 ms", "chain10", "p50_ms") }.beside(
            ["13.1", "32 / 49", "39", "–"],
            13.1,
            false,
        ),
        Row { at_once: Some(16), ..row("chain10 at 16, jobs/s", "chain10", "jobs_per_s") }.beside(
            ["268", "28 / 28", "28", "39"],
            268.0,
            true,
        ),
        Row { at_once: Some(256), ..row("chain10 at 256, steps/s", "chain10", "steps_per_s") }
            .beside(["5,554", "–", "–", "–"], 5_554.0, true),
        Row { at_once: Some(256), ..row("chain10 at 256, p99 ms", "chain10", "p99_ms") }.beside(
            ["611", "–", "–", "–"],
            611.0,
            false,
        ),
        Row { at_once: Some(1), ..row("fan100 alone, p50 ms", "fan100", "p50_ms") }.beside(
            ["155", "482", "429", "–"],
            155.0,
            false,
        ),
        Row { scale: 1.0 / 1024.0, ..row("sleeping job, KiB", "idle", "memory_bytes_per_job") }
            .beside(["15.7", "–", "11", "–"], 11.0, false),
        row("% of a core while all sleep", "idle", "cpu_percent_asleep").beside(
            ["3.6", "–", "–", "–"],
            3.6,
            false,
        ),
        Row {
            scale: 1e-3,
            ..row("kill -9 of 1,000 jobs: s to the first step", "recover", "first_step_ms")
        }
        .beside(["0.88", "1.98", "–", "–"], 0.88, false),
        Row {
            scale: 100.0,
            ..row("the same: % of the steps run twice", "recover", "steps_repeated_share")
        }
        .beside(["6", "4", "a tenth not run a minute later", "–"], 4.0, false),
    ];

const fn row(what: &'static str, job: &'static str, field: &'static str) -> Row {
    let peers = [""; 4];
    Row { what, job, at_once: None, field, scale: 1.0, peers, best: 0.0, more: false }
}

impl Row {
    const fn beside(mut self, peers: [&'static str; 4], best: f64, more: bool) -> Self {
        self.peers = peers;
        self.best = best;
        self.more = more;
        self
    }

    fn ours(&self, answers: &[Value]) -> Option<f64> {
        let is_it = |answer: &&Value| {
            let size = self.at_once.is_none_or(|size| answer["concurrency"] == size);
            answer["job"] == self.job && size
        };
        let answer = answers.iter().find(is_it)?;
        Some(figure(answer, self.field)? * self.scale)
    }

    /// How many times better than the best of them; below 1 it is worse.
    fn factor(&self, ours: f64) -> Option<f64> {
        let factor = if self.more { ours / self.best } else { self.best / ours };
        (ours > 0.0).then_some(factor)
    }
}

/// The table.
pub(crate) fn table(answers: &[Value]) -> String {
    let mut text =
        format!("| | Callsheet, above | {} | times the best of them |", PEERS.join(" | "));
    text.push_str(&format!("\n|---|---:|{}---:|", "---:|".repeat(PEERS.len())));
    for row in &ROWS {
        let ours = row.ours(answers);
        let shown = ours.map_or("–".to_owned(), |ours| number(digits(ours)));
        let factor = ours.and_then(|ours| row.factor(ours));
        let factor = factor.map_or("–".to_owned(), |factor| number(digits(factor)));
        let peers = row.peers.join(" | ");
        text.push_str(&format!("\n| {} | {shown} | {peers} | {factor} |", row.what));
    }
    text
}

/// Three digits that count.
fn digits(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powi((2 - value.abs().log10().floor() as i32).max(0));
    (value * scale).round() / scale
}

#[test]
fn ours_stand_beside_theirs_with_the_factor_the_right_way_round() {
    let answers = [
        serde_json::json!({ "job": "chain10", "concurrency": 16, "jobs_per_s": 2_680.0 }),
        serde_json::json!({ "job": "chain10", "concurrency": 1, "p50_ms": 1.31 }),
        serde_json::json!({ "job": "recover", "concurrency": 1_000,
            "detail": { "first_step_ms": 44.0, "steps_repeated_share": 0.08 } }),
        serde_json::json!({ "job": "idle", "concurrency": 5,
            "detail": { "memory_bytes_per_job": -3.0, "cpu_percent_asleep": 0.0 } }),
    ];
    let table = table(&answers);
    let row = |what: &str| table.lines().find(|line| line.contains(what)).unwrap().to_owned();
    assert!(row("at 16").contains("| 2,680 | 268 | 28 / 28 | 28 | 39 | 10 |"), "{table}");
    assert!(row("alone, p50").ends_with("| 10 |"), "less is better: {table}");
    assert!(row("first step").contains("| 0.044 |") && row("first step").ends_with("| 20 |"));
    assert!(row("twice").ends_with("| 0.5 |"), "and worse is told: {table}");
    assert!(row("KiB").ends_with("| – |"), "nothing is compared with noise: {table}");
    assert!(row("alone, jobs").contains("| – | 73 |"), "what was not measured: {table}");
}
