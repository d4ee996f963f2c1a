//! Jobs and events as text for people.

use callsheet::Timestamp;
use callsheet::server::wire::{DefinitionProblem, Event, Failure, Job, JobHead, Step};
use chrono::DateTime;
use serde_json::Value;

use crate::cli::print;

/// A table of jobs.
pub(super) fn heads(jobs: &[JobHead]) -> String {
    let row = |job: &JobHead| {
        let labels: Vec<_> =
            job.labels.iter().map(|(name, value)| format!("{name}={}", short(value))).collect();
        vec![
            job.id.clone(),
            job.workflow.clone(),
            standing(job),
            local(&job.submitted_at),
            local(&job.changed_at),
            labels.join(" "),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    print::table(&["job", "workflow", "status", "submitted", "changed", "labels"], &[], &rows)
}

/// The status, and how far a job that runs has come.
fn standing(job: &JobHead) -> String {
    match job.progress {
        Some(percent) if !job.status.has_ended() => {
            format!("{} {percent:.0} %", job.status.as_str())
        }
        _ => job.status.as_str().to_owned(),
    }
}

/// One job: what it is, how it stands, its steps, its output.
pub(super) fn job(job: &Job) -> String {
    let mut lines = vec![
        format!("job        {}", job.head.id),
        format!("workflow   {}", job.head.workflow),
        format!("status     {}", standing(&job.head)),
        format!("submitted  {}", local(&job.head.submitted_at)),
    ];
    if let Some(parent) = &job.head.parent {
        let (step, item) = (&parent.step, parent.item);
        lines.push(format!("parent     {}, step {step}, item {item}", parent.job));
    }
    lines.extend(job.head.follows.iter().map(|other| format!("follows    {other}")));
    if let Some(other) = &job.follower {
        let (name, status) = (&other.workflow, other.status.as_str());
        lines.push(format!("then       {}, {name}, {status}", other.id));
    }
    if let Some(at) = &job.head.wakes_at {
        lines.push(format!("wakes      {}", local(at)));
    }
    if let Some(at) = &job.ended_at {
        lines.push(format!("ended      {}", local(at)));
    }
    if let Some(why) = &job.failure {
        lines.push(format!("failure    {}", failure(why)));
        lines.extend(why.hint.iter().map(|hint| format!("hint       {hint}")));
    }
    let held: Vec<_> = job.steps.iter().filter(|step| !step.held.is_empty()).collect();
    for step in &held {
        lines.push(format!("held       {}: nobody knows whether it was done", held_items(step)));
    }
    if let Some(step) = held.first() {
        let (id, step) = (&job.head.id, &step.id);
        lines
            .push(format!("hint       look outside, then: callsheet resolve {id} {step} --as ..."));
    }
    lines.push(String::new());
    lines.push(steps(&job.steps));
    for step in job.steps.iter().filter(|step| !step.jobs.is_empty()) {
        lines.push(format!("\njobs of {}\n{}", step.id, step.jobs.join("\n")));
    }
    if let Some(output) = job.output.as_ref().filter(|output| !output.is_null()) {
        lines.push(format!("\noutput\n{output:#}"));
    }
    lines.join("\n")
}

/// One event on one line.
pub(super) fn event(event: &Event) -> String {
    // The wire form has all that there is to say, under names that are part of the interface.
    let fields = serde_json::to_value(event).unwrap_or_default();
    let at = fields["at"].as_str().map(local).unwrap_or_default();
    let mut line = format!("{at}  {:<20}", event.kind());
    let rest = fields.as_object().into_iter().flatten();
    for (name, value) in rest.filter(|(name, _)| !["at", "type"].contains(&name.as_str())) {
        line.push_str(&format!(" {name}={}", value_text(value)));
    }
    line.trim_end().to_owned()
}

/// One problem of what was sent, with its place and its hint.
pub(super) fn problem(problem: &DefinitionProblem) -> String {
    let place = match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("{line}:{column}: "),
        _ if problem.path.is_empty() => String::new(),
        _ => format!("at `{}`: ", problem.path),
    };
    let hint = problem.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("  {place}{} [{}]{hint}", problem.message, problem.code)
}

/// The step, with the numbers of those of its items that are held.
fn held_items(step: &Step) -> String {
    if step.items.is_none_or(|items| items.total <= 1) {
        return step.id.clone();
    }
    let numbers: Vec<_> = step.held.iter().map(ToString::to_string).collect();
    let noun = if numbers.len() == 1 { "item" } else { "items" };
    format!("{}, {noun} {}", step.id, short(&numbers.join(", ")))
}

fn steps(steps: &[Step]) -> String {
    let row = |step: &Step| {
        let items = step.items.filter(|items| items.total > 1);
        let status = match items {
            Some(items) => format!("{} {}/{}", step.status.as_str(), items.done, items.total),
            None => step.status.as_str().to_owned(),
        };
        let seconds = step.started_at.as_deref().zip(step.ended_at.as_deref()).and_then(seconds);
        vec![
            step.id.clone(),
            step.uses.clone(),
            status,
            step.attempts.to_string(),
            seconds.map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
            step.failure.as_ref().map_or_else(|| cached(step), failure),
        ]
    };
    let rows: Vec<_> = steps.iter().map(row).collect();
    print::table(&["step", "uses", "status", "attempts", "seconds", ""], &[3, 4], &rows)
}

/// What of a step's result was there before.
fn cached(step: &Step) -> String {
    match step.cached_items {
        _ if step.cached => "cached".to_owned(),
        0 => String::new(),
        items => format!("{items} items cached"),
    }
}

fn failure(failure: &Failure) -> String {
    let first = failure.message.lines().next().unwrap_or_default();
    format!("{first} [{}]", failure.code)
}

fn value_text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.contains_key("code") && fields.contains_key("message") => {
            let word = |name: &str| fields[name].as_str().unwrap_or_default();
            return format!("`{}` [{}]", short(word("message")), word("code"));
        }
        other => other.to_string(),
    };
    let text = short(&text);
    if text.contains(' ') { format!("`{text}`") } else { text }
}

/// The beginning of a text that may be long.
fn short(text: &str) -> String {
    const MOST_CHARS: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= MOST_CHARS && line.len() == text.len() {
        return line.to_owned();
    }
    format!("{} ...", line.chars().take(MOST_CHARS).collect::<String>())
}

/// A time of the wire as people here read it.
fn local(text: &str) -> String {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => print::local_time(Timestamp(time.timestamp_millis())),
        Err(_) => text.to_owned(),
    }
}

fn seconds((from, to): (&str, &str)) -> Option<f64> {
    let time = |text| DateTime::parse_from_rfc3339(text).ok().map(|it| it.timestamp_millis());
    Some(print::seconds(Timestamp(time(from)?), Timestamp(time(to)?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Job {
        serde_json::from_value(json!({
            "id": "J", "workflow": "caption", "status": "failed",
            "submitted_at": "2026-01-01T00:00:00.000Z",
            "changed_at": "2026-01-01T00:00:05.000Z",
            "ended_at": "2026-01-01T00:00:05.000Z",
            "definition": "d", "input": {}, "records": 4,
            "failure": {
                "code": "fetch.not_found", "message": "there is no file `x`",
                "hint": "check the path", "retryable": false,
            },
            "steps": [
                {
                    "id": "fetch", "uses": "media.fetch", "status": "failed", "attempts": 2,
                    "started_at": "2026-01-01T00:00:00.500Z",
                    "ended_at": "2026-01-01T00:00:02.000Z",
                    "failure": { "code": "a.b", "message": "one\ntwo", "retryable": false },
                },
                { "id": "burn", "uses": "ffmpeg.burn_subtitles", "status": "pending",
                  "attempts": 0 },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_job_is_shown_with_its_failure_and_steps() {
        let text = job(&example());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "job        J");
        assert!(lines.contains(&"failure    there is no file `x` [fetch.not_found]"), "{text}");
        assert!(lines.contains(&"hint       check the path"), "{text}");
        let steps = [
            "step   uses                   status   attempts  seconds",
            "fetch  media.fetch            failed          2      1.5  one [a.b]",
            "burn   ffmpeg.burn_subtitles  pending         0",
        ];
        assert_eq!(lines[lines.len() - 3..], steps);
    }

    #[test]
    fn a_held_step_is_shown_with_what_to_do() {
        let mut held = example();
        held.steps[0].held = vec![0];
        let text = job(&held);
        assert!(text.contains("held       fetch: nobody knows whether it was done"), "{text}");
        assert!(text.contains("then: callsheet resolve J fetch --as"), "{text}");
        let items = callsheet::server::wire::Items { done: 0, total: 9 };
        (held.steps[0].held, held.steps[0].items) = (vec![2, 5], Some(items));
        assert!(job(&held).contains("held       fetch, items 2, 5: nobody"), "{}", job(&held));
    }

    #[test]
    fn an_event_is_one_line() {
        let failed: Event = serde_json::from_value(json!({
            "type": "attempt_failed", "at": "2026-01-01T00:00:00.500Z", "step": "burn", "item": 0,
            "attempt": 1, "retry_at": "2026-01-01T00:00:01.500Z",
            "failure": { "code": "a.b", "message": "no answer\nat all", "retryable": true },
        }))
        .unwrap();
        let line = event(&failed);
        assert!(line.contains("attempt_failed"), "{line}");
        assert!(line.contains("step=burn"), "{line}");
        assert!(line.contains("failure=`no answer ...` [a.b]"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(short("a b"), "a b");
        assert_eq!(short("a\nb"), "a ...");
        assert_eq!(short(&"x".repeat(70)), format!("{} ...", "x".repeat(60)));
    }
}
