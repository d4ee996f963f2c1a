//! Timers: nodes of a graph that are over at an instant, however often the engine starts anew.

use serde_json::{Value, json};

use crate::expression::{Scope, Template};
use crate::failure::Failure;
use crate::limits::MAX_SLEEP_MS;
use crate::time::{Millis, Timestamp};

/// When a timer is over.
#[derive(Debug)]
pub enum Timer {
    /// So long after it began.
    Sleep(Template),
    /// At this instant.
    Until(Template),
}

impl Timer {
    /// The word that definitions use for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sleep(_) => "sleep",
            Self::Until(_) => "until",
        }
    }

    /// The instant at which a timer that begins now is over.
    pub(crate) fn due(&self, scope: &Scope<'_>, now: Timestamp) -> Result<Timestamp, Failure> {
        let due = match self {
            Self::Sleep(template) => now + span(&template.render(scope)?)?,
            Self::Until(template) => instant(&template.render(scope)?)?,
        };
        if due.since(now) > MAX_SLEEP_MS {
            let message = format!("`{}` is {} from now", self.word(), due.since(now));
            return Err(Failure::fatal("limit.sleep", message)
                .with_hint(format!("at most {MAX_SLEEP_MS}; let a later job do the rest")));
        }
        Ok(due)
    }
}

/// What steps after a timer see of it.
pub(crate) fn output(due: Timestamp) -> Value {
    json!({ "due_at": due.0 })
}

fn span(value: &Value) -> Result<Millis, Failure> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        mistyped("sleep", value, "a length of time", "`'90s'`, `input.minutes ~ 'm'` or `'7d'`")
    })
}

fn instant(value: &Value) -> Result<Timestamp, Failure> {
    let instant = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64().map(Timestamp),
        _ => None,
    };
    let hint = "`'2027-01-31T08:00:00Z'`, or milliseconds since 1970 as `job.submitted_at` has";
    instant.ok_or_else(|| mistyped("until", value, "an instant", hint))
}

/// A bare number is no length of time, for nobody can tell seconds from milliseconds.
fn mistyped(word: &str, value: &Value, wanted: &str, hint: &str) -> Failure {
    const SHOWN_CHARS: usize = 100;
    let shown: String = value.to_string().chars().take(SHOWN_CHARS).collect();
    Failure::fatal("expression.type", format!("`{word}` gave `{shown}`, not {wanted}"))
        .with_hint(format!("let the expression give {hint}"))
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, play};
    use serde_json::json;

    #[test]
    fn a_timer_is_over_when_its_time_has_passed_and_not_before() {
        play(
            "
name: nap
steps:
  - { id: nap, sleep: 1h }
  - { id: after, uses: k, with: { due: '{{ steps.nap.due_at }}' } }",
            r#"
            start    > sleep nap 1h
            timer    >
            +59m59s  >
            crash    >
            +999ms   >
            +1ms     > woke nap; start after {"due":4600000}
            after ok > ok after; succeeded null
            "#,
        );
    }

    #[test]
    fn a_timer_in_the_past_or_of_no_length_is_over_at_once() {
        let past = "{ name: past, steps: [{ id: a, until: '1970-01-01T00:00:01Z' }] }";
        play(past, "start > sleep a 0s; woke a; succeeded null");
        let none = "{ name: none, steps: [{ id: a, sleep: 0s }], output: '{{ steps.a }}' }";
        play(none, r#"start > sleep a 0s; woke a; succeeded {"due_at":1000000}"#);
    }

    #[test]
    fn expressions_give_the_time() {
        let yaml = "{ name: given, steps: [{ id: a, WORD: '{{ input }}' }] }";
        let cases = [
            ("sleep", json!("90s"), "sleep a 1m30s"),
            ("sleep", json!("3650d"), "sleep a 3650d"),
            ("until", json!("1970-01-01T00:20:00+00:00"), "sleep a 3m20s"),
            ("until", json!(1_000_001), "sleep a 1ms"),
            ("sleep", json!(90), "refuse a expression.type; failed expression.type"),
            ("sleep", json!("soon"), "refuse a expression.type; failed expression.type"),
            ("sleep", json!(null), "refuse a expression.type; failed expression.type"),
            ("until", json!("noon"), "refuse a expression.type; failed expression.type"),
            ("until", json!(1.5), "refuse a expression.type; failed expression.type"),
            ("sleep", json!("3651d"), "refuse a limit.sleep; failed limit.sleep"),
            ("until", json!("9999-01-01T00:00:00Z"), "refuse a limit.sleep; failed limit.sleep"),
            ("until", json!(i64::MAX), "refuse a limit.sleep; failed limit.sleep"),
        ];
        for (word, input, expected) in cases {
            let mut world = World::with_input(&yaml.replace("WORD", word), input);
            world.play(&format!("start > {expected}"));
        }
    }

    #[test]
    fn a_timer_is_a_node_like_others() {
        play(
            "
name: node
steps:
  - { id: a, uses: k }
  - { id: skipped, sleep: 1h, if: 'steps.a.nap' }
  - { id: also, until: '{{ steps.skipped.due_at }}' }
  - { id: nap, sleep: '{{ steps.a.minutes }}m', needs: [skipped], if: 'true' }
  - { id: wrong, sleep: '{{ steps.a.hours }}h', on_error: continue }
  - { id: b, uses: k, needs: [wrong, nap] }",
            r#"
            start                              > start a
            a ok {"nap": false, "minutes": 5}  > ok a; skip skipped; skip also; sleep nap 5m
                                               > refuse wrong expression.undefined
            +5m                                > woke nap; start b
            "#,
        );
    }

    #[test]
    fn a_sleeping_job_is_cancelled_at_once_and_needs_no_owner() {
        let yaml = "{ name: nap, steps: [{ id: a, sleep: 1h }, { id: b, uses: k, needs: [a] }] }";
        let mut world = play(yaml, "start > sleep a 1h");
        assert!(world.state.only_waits());
        assert_eq!(world.state.next_wake(), Some(world.now + "1h".parse().expect("a span")));
        world.play("cancel > cancel; cancelled\n +2h >");
    }

    #[test]
    fn a_failing_and_a_draining_job_leave_their_timers() {
        let yaml = "{ name: two, steps: [{ id: a, sleep: 1h }, { id: b, uses: k }] }";
        play(yaml, "start > sleep a 1h; start b\n b fatal > fail b test.fatal; failed test.fatal");
        play(
            yaml,
            "
            start  > sleep a 1h; start b
            drain  >
            b ok   > ok b
            +2h    >
            crash  > woke a; succeeded null
            ",
        );
    }
}
