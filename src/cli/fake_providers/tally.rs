//! What was asked, how it ended, and what would have been paid for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet::Digest;
use serde::Serialize;
use serde_json::{Value, json};

/// Calls that are kept to be shown; of older ones only the numbers stay.
const KEPT_CALLS: usize = 10_000;

/// All calls since the start, or since they were last forgotten.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Never begins anew, so that a call which outlives a `DELETE` is not mistaken for another.
    ids: u64,
    calls: u64,
    paid: u64,
    kept: VecDeque<Entry>,
}

#[derive(Clone, Serialize)]
struct Entry {
    #[serde(skip)]
    id: u64,
    n: u64,
    route: String,
    /// Hash of what was sent; absent when it could not be read.
    body: Option<Digest>,
    /// The client's own key for the request.
    idempotency_key: Option<String>,
    status: Option<u16>,
    outcome: Outcome,
    paid: bool,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It is under way.
    Open,
    /// The whole answer was sent.
    Answered,
    /// A part of the answer was sent, on purpose.
    Cut,
    /// An error was sent.
    Refused,
    /// The client has gone before the answer was sent.
    Abandoned,
}

/// A call under way. When it is dropped before its end, the client has gone.
pub(super) struct Call {
    tally: Tally,
    id: u64,
    /// Which call it is, from 1.
    pub(super) number: u64,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call.
    pub(super) fn begin(&self, route: &str, idempotency_key: Option<String>) -> Call {
        let mut inner = self.lock();
        inner.ids += 1;
        inner.calls += 1;
        let (id, n) = (inner.ids, inner.calls);
        if inner.kept.len() == KEPT_CALLS {
            inner.kept.pop_front();
        }
        let route = route.to_owned();
        let (status, outcome, paid) = (None, Outcome::Open, false);
        let entry = Entry { id, n, route, body: None, idempotency_key, status, outcome, paid };
        inner.kept.push_back(entry);
        drop(inner);
        Call { tally: self.clone(), id, number: n }
    }

    /// Forgets all calls; the next one is the first.
    pub(super) fn forget(&self) {
        let mut inner = self.lock();
        *inner = Inner { ids: inner.ids, ..Inner::default() };
    }

    /// Everything, as `GET /calls` gives it.
    pub(super) fn show(&self) -> Value {
        #[derive(Default, Serialize)]
        struct Count {
            calls: u64,
            paid: u64,
        }
        let inner = self.lock();
        let (mut routes, mut bodies) = (BTreeMap::new(), BTreeMap::new());
        for entry in &inner.kept {
            let body = entry.body.as_ref().map(ToString::to_string);
            let counts = [Some(routes.entry(entry.route.clone()).or_insert_with(Count::default))];
            let of_body = body.map(|body| bodies.entry(body).or_insert_with(Count::default));
            for count in counts.into_iter().chain([of_body]).flatten() {
                count.calls += 1;
                count.paid += u64::from(entry.paid);
            }
        }
        json!({
            "calls": inner.calls,
            "paid": inner.paid,
            "routes": routes,
            "bodies": bodies,
            "log": inner.kept,
        })
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.lock();
        // It may have been forgotten meanwhile.
        let Some(entry) = inner.kept.iter_mut().rev().find(|entry| entry.id == id) else { return };
        let was_paid = entry.paid;
        change(entry);
        let is_paid = entry.paid;
        inner.paid = inner.paid + u64::from(is_paid) - u64::from(was_paid);
    }
}

impl Call {
    /// Notes what was sent.
    pub(super) fn sent(&self, body: Digest) {
        self.tally.change(self.id, |entry| entry.body = Some(body));
    }

    /// Notes whether it is billed.
    pub(super) fn pay(&self, paid: bool) {
        self.tally.change(self.id, |entry| entry.paid = paid);
    }

    /// Notes how it ended.
    pub(super) fn end(self, status: u16, outcome: Outcome) {
        self.tally.change(self.id, |entry| {
            entry.status = Some(status);
            entry.outcome = outcome;
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.tally.change(self.id, |entry| {
            if entry.outcome == Outcome::Open {
                entry.outcome = Outcome::Abandoned;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_route_and_content() {
        let tally = Tally::default();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        for (body, paid) in [(&one, true), (&one, false), (&two, true)] {
            let call = tally.begin("POST /a", Some("key".into()));
            call.sent(*body);
            if paid {
                call.pay(true);
                call.end(200, Outcome::Answered);
            } else {
                call.end(500, Outcome::Refused);
            }
        }
        drop(tally.begin("POST /b", None));
        let open = tally.begin("POST /b", None);
        assert_eq!(open.number, 5);
        let shown = tally.show();
        assert_eq!((&shown["calls"], &shown["paid"]), (&json!(5), &json!(2)));
        assert_eq!(shown["routes"]["POST /a"], json!({ "calls": 3, "paid": 2 }));
        assert_eq!(shown["bodies"][one.to_string()], json!({ "calls": 2, "paid": 1 }));
        let outcomes: Vec<_> =
            shown["log"].as_array().into_iter().flatten().map(|it| it["outcome"].clone()).collect();
        assert_eq!(outcomes, ["answered", "refused", "answered", "abandoned", "open"]);
        assert_eq!(shown["log"][1]["status"], 500);
        assert_eq!(shown["log"][0]["idempotency_key"], "key");
    }

    #[test]
    fn what_is_forgotten_does_not_come_back() {
        let tally = Tally::default();
        let old = tally.begin("POST /a", None);
        tally.forget();
        let new = tally.begin("POST /a", None);
        assert_eq!(new.number, 1);
        old.pay(true);
        old.end(200, Outcome::Answered);
        assert_eq!(tally.show()["paid"], 0);
        assert_eq!(tally.show()["log"][0]["outcome"], "open");
    }

    #[test]
    fn old_calls_leave_their_number() {
        let tally = Tally::default();
        for _ in 0..KEPT_CALLS + 5 {
            tally.begin("POST /a", None).pay(true);
        }
        let shown = tally.show();
        assert_eq!((&shown["calls"], &shown["paid"]), (&json!(10_005), &json!(10_005)));
        assert_eq!(shown["log"].as_array().map(Vec::len), Some(KEPT_CALLS));
    }
}
