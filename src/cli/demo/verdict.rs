//! Whether the demo kept its promises: a table of the steps, and every fault in words.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::child::Killed;
use crate::cli::print;

/// The table of steps for people, and what is not as promised.
pub(super) fn of(killed: &Killed, result: &Value) -> (String, Vec<String>) {
    let mut faults = Vec::new();
    let mut fault = |holds: bool, text: &str| {
        if !holds {
            faults.push(text.to_owned());
        }
    };
    fault(result["status"] == "succeeded", "the job did not succeed");
    fault(result["job"] == killed.job.as_str(), "the second process ran another job");
    fault(!killed.done.is_empty(), "no step was recorded before the kill");
    let empty = Vec::new();
    let steps = result["steps"].as_array().unwrap_or(&empty);
    let mut rows = Vec::new();
    let mut ran_after = 0;
    for step in steps {
        let fate = Fate::of(step, killed);
        ran_after += usize::from(fate != Fate::Kept);
        if fate == Fate::RunAgain {
            fault(false, &format!("step `{}` was recorded and ran again", id(step)));
        }
        rows.push(row(step, fate));
    }
    fault(ran_after > 0, "nothing was left to do after the kill");
    for path in result["files"].as_object().into_iter().flatten().filter_map(|(_, p)| p.as_str()) {
        let full = std::fs::metadata(path).is_ok_and(|about| about.len() > 0);
        fault(full, &format!("the file `{path}` is missing or empty"));
    }
    let count = result["files"].as_object().map_or(0, serde_json::Map::len);
    fault(count >= 3, "there should be a video and two caption files");
    let headings = ["step", "attempts", "started", "seconds", ""];
    (print::table(&headings, &[1, 3], &rows), faults)
}

/// What the kill meant for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was done before, and was left alone.
    Kept,
    /// It was done before, and ran again all the same: a broken promise.
    RunAgain,
    /// It was cut off, and ran again.
    CutOff,
    /// Its turn came after.
    Later,
}

impl Fate {
    fn of(step: &Value, killed: &Killed) -> Self {
        let attempts = step["attempts"].as_u64().unwrap_or(0);
        let began_after = time(&step["started_at"]).is_some_and(|at| at > killed.at);
        let ended_before = time(&step["ended_at"]).is_some_and(|at| at <= killed.at);
        if killed.done.iter().any(|done| done == id(step)) {
            return if ended_before && attempts <= 1 { Self::Kept } else { Self::RunAgain };
        }
        match (ended_before, began_after) {
            // Recorded in the last moment, before it could be told.
            (true, _) => Self::Kept,
            (false, true) => Self::Later,
            (false, false) => Self::CutOff,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Kept => "done before the kill, not run again",
            Self::RunAgain => "FAULT: was done, ran again",
            Self::CutOff => "cut off by the kill, run again",
            Self::Later => "run after the restart",
        }
    }
}

fn row(step: &Value, fate: Fate) -> Vec<String> {
    let time_of_day = time(&step["started_at"]).map(|at| at.format("%H:%M:%S UTC").to_string());
    vec![
        id(step).to_owned(),
        step["attempts"].to_string(),
        time_of_day.unwrap_or_default(),
        step["seconds"].as_f64().map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
        fate.words().to_owned(),
    ]
}

fn id(step: &Value) -> &str {
    step["id"].as_str().unwrap_or_default()
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str().and_then(|text| text.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn killed() -> Killed {
        Killed {
            pid: 1,
            job: "J".into(),
            done: vec!["fetch".into()],
            at: "2026-01-01T00:00:10Z".parse().unwrap(),
        }
    }

    fn step(id: &str, attempts: u32, started: u32, ended: u32) -> Value {
        json!({
            "id": id,
            "attempts": attempts,
            "started_at": format!("2026-01-01T00:00:{started:02}.000Z"),
            "ended_at": format!("2026-01-01T00:00:{ended:02}.000Z"),
            "seconds": ended - started,
        })
    }

    fn result(steps: &[Value], file: &str) -> Value {
        let files = json!({ "video": file, "srt": file, "vtt": file });
        json!({ "job": "J", "status": "succeeded", "files": files, "steps": steps })
    }

    #[test]
    fn a_job_that_goes_on_has_no_faults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        let steps = [step("fetch", 1, 1, 2), step("burn", 2, 8, 14), step("verify", 1, 14, 15)];
        let (table, faults) = of(&killed(), &result(&steps, file.path().to_str().unwrap()));
        assert_eq!(faults, Vec::<String>::new());
        let ends = ["not run again", "cut off by the kill, run again", "run after the restart"];
        for (line, end) in table.lines().skip(1).zip(ends) {
            assert!(line.ends_with(end), "{line}");
        }
    }

    #[test]
    fn every_broken_promise_is_a_fault() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        let path = file.path().to_str().unwrap();
        let later = step("burn", 2, 8, 14);
        let fine = result(&[step("fetch", 1, 1, 2), later.clone()], path);
        let mut other_job = fine.clone();
        other_job["job"] = json!("K");
        let mut failed = fine.clone();
        failed["status"] = json!("failed");
        let twice = result(&[step("fetch", 2, 1, 2), later.clone()], path);
        let anew = result(&[step("fetch", 1, 11, 12), later], path);
        let idle = result(&[step("fetch", 1, 1, 2)], path);
        let empty = result(&[step("fetch", 1, 1, 2), step("burn", 2, 8, 14)], "/nowhere/x.mp4");
        let table = [
            (other_job, "another job"),
            (failed, "did not succeed"),
            (twice, "`fetch` was recorded and ran again"),
            (anew, "`fetch` was recorded and ran again"),
            (idle, "nothing was left to do"),
            (empty, "is missing or empty"),
        ];
        for (result, expected) in table {
            let (_, faults) = of(&killed(), &result);
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
        }
    }
}
