//! Words on the terminal: data on stdout as tables or JSON, readable without colour.

use std::io::Write;

use callsheet::{Problems, Timestamp};
use chrono::{DateTime, Local, SecondsFormat, Utc};
use serde_json::Value;

/// Writes to stdout. A reader that has gone away (`callsheet jobs | head`) is no error.
pub(crate) fn out(text: impl AsRef<str>) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", text.as_ref()).and_then(|()| stdout.flush());
}

/// Writes one JSON value to stdout, indented.
pub(crate) fn out_json(value: &Value) {
    out(format!("{value:#}"));
}

/// Rows under headings, columns aligned. Columns named in `right` are aligned to the right.
pub(crate) fn table(headings: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let width = |column: usize| {
        std::iter::once(&head)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, width))| {
            if right.contains(&n) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&head).chain(rows).map(line).collect::<Vec<_>>().join("\n")
}

/// Problems of a document as `what:line:column: message [code]`, each with its hint below.
pub(crate) fn problems(what: &str, problems: &Problems) -> String {
    let mut text = String::new();
    for problem in &problems.0 {
        let place = match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{what}:{line}:{column}"),
            _ if problem.path.is_empty() => what.to_owned(),
            _ => format!("{what}: at `{}`", problem.path),
        };
        text.push_str(&format!("{place}: {} [{}]\n", problem.message, problem.code));
        if let Some(hint) = &problem.hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
    }
    text
}

/// An instant as programs want it: RFC 3339 in UTC.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.0)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_else(|| at.0.to_string())
}

/// An instant as people want it: the local date and time of day, to the second.
pub(crate) fn local_time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.0)
        .map(|time| time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_else(|| at.0.to_string())
}

/// Seconds from one instant to a later one.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    std::time::Duration::from(to.since(from)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use callsheet::Problem;

    use super::*;

    #[test]
    fn tables_align_and_do_not_trail() {
        let rows = vec![
            vec!["fetch".to_owned(), "1".to_owned(), String::new()],
            vec!["extract".to_owned(), "12".to_owned(), "x".to_owned()],
        ];
        let text = table(&["step", "attempts", "note"], &[1], &rows);
        assert_eq!(text, "step     attempts  note\nfetch           1\nextract        12  x");
    }

    #[test]
    fn problems_give_place_code_and_hint() {
        let placed = Problem {
            line: Some(3),
            column: Some(7),
            ..Problem::new("definition.x", "steps[0]", "no `uses`").with_hint("add it")
        };
        let bare = Problem::new("definition.y", "", "empty");
        let by_path = Problem::new("input.z", "video", "missing");
        let text = problems("a.yaml", &Problems(vec![placed, bare, by_path]));
        let expected = "a.yaml:3:7: no `uses` [definition.x]\n  hint: add it\n\
            a.yaml: empty [definition.y]\na.yaml: at `video`: missing [input.z]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn instants_are_rfc_3339() {
        assert_eq!(rfc3339(Timestamp(1_500)), "1970-01-01T00:00:01.500Z");
        assert_eq!(rfc3339(Timestamp(i64::MAX)), i64::MAX.to_string());
        assert!((seconds(Timestamp(500), Timestamp(2_000)) - 1.5).abs() < 1e-9);
    }
}
