//! Problems as they are found: each at a place, to be put in the order of the text at the end.

use std::collections::BTreeSet;

use super::node::{Mark, Node};
use super::place::{Path, Place};
use super::suggest::nearest;
use super::{Problem, Problems};
use crate::limits::{MAX_PROBLEMS_COUNT, MAX_SUGGESTION_CANDIDATES_COUNT};

/// Collects problems, so that all are reported at once.
#[derive(Debug)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    /// Places that have been found fault with; what follows from that fault is not reported.
    places: BTreeSet<Place>,
    dropped: usize,
    candidates_left: usize,
}

#[derive(Debug)]
struct Finding {
    problem: Problem,
    place: Place,
    spot: Spot,
    mark: Option<Mark>,
}

/// What of a place is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    Value,
    /// The name of the field.
    Key,
    /// A byte of the value's text.
    Within(usize),
}

impl Findings {
    /// Nothing found yet.
    pub(crate) fn new() -> Self {
        Self {
            found: Vec::new(),
            places: BTreeSet::new(),
            dropped: 0,
            candidates_left: MAX_SUGGESTION_CANDIDATES_COUNT,
        }
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// A problem with the value at a path.
    pub(crate) fn add(
        &mut self,
        code: &str,
        path: Path<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add_at(code, path.to_place(), message, hint);
    }

    /// A problem with the value at a place.
    pub(crate) fn add_at(
        &mut self,
        code: &str,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = Problem::new(code, place.to_string(), message).with_hint(hint);
        self.push(Finding { problem, place, spot: Spot::Value, mark: None });
    }

    /// A problem with a part of the text at a path.
    pub(crate) fn add_within(
        &mut self,
        code: &str,
        path: Path<'_>,
        offset: Option<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let place = path.to_place();
        let problem = Problem::new(code, place.to_string(), message).with_hint(hint);
        let spot = offset.map_or(Spot::Value, Spot::Within);
        self.push(Finding { problem, place, spot, mark: None });
    }

    /// A problem with a field's name.
    pub(crate) fn add_on_key(
        &mut self,
        code: &str,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = Problem::new(code, place.to_string(), message).with_hint(hint);
        self.push(Finding { problem, place, spot: Spot::Key, mark: None });
    }

    /// A problem of the text itself, which belongs to no value.
    pub(crate) fn add_in_text(
        &mut self,
        code: &str,
        mark: Option<Mark>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = Problem::new(code, "", message).with_hint(hint);
        self.push(Finding { problem, place: Place::default(), spot: Spot::Value, mark });
    }

    /// Whether a place, or one around it, has been found fault with.
    pub(crate) fn covers(&self, path: Path<'_>) -> bool {
        !self.places.is_empty() && {
            let place = path.to_place();
            self.places.iter().any(|faulty| faulty.covers(&place))
        }
    }

    /// "did you mean …?", or else the given advice.
    pub(crate) fn suggest<'c>(
        &mut self,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'c str>,
        otherwise: impl Into<String>,
    ) -> String {
        let left = &mut self.candidates_left;
        let bounded = candidates.into_iter().take_while(|_| {
            *left = left.saturating_sub(1);
            *left > 0
        });
        match nearest(wanted, bounded) {
            Some(near) => format!("did you mean `{near}`?"),
            None => otherwise.into(),
        }
    }

    /// Marks a place as faulty although another finding tells of it.
    pub(crate) fn cover(&mut self, path: Path<'_>) {
        self.places.insert(path.to_place());
    }

    /// Keeps a finding unless there are too many, or the very same was found before: the input of a
    /// step is checked again for each fallback that inherits it.
    fn push(&mut self, finding: Finding) {
        if self.found.len() == MAX_PROBLEMS_COUNT {
            self.dropped += 1;
            return;
        }
        if finding.mark.is_none() && !self.places.insert(finding.place.clone()) {
            let known = self.found.iter().any(|other| other.problem == finding.problem);
            if known {
                return;
            }
        }
        self.found.push(finding);
    }

    /// All problems, in the order of the text where there is one.
    pub(crate) fn into_problems(self, text: Option<&Node>) -> Problems {
        let mut found = self.found;
        if let Some(root) = text {
            for finding in &mut found {
                let mark = finding.mark.or_else(|| root.locate(&finding.place, finding.spot));
                finding.mark = mark;
            }
            found.sort_by_key(|finding| finding.mark);
        }
        let mut problems: Vec<Problem> = found
            .into_iter()
            .map(|finding| Problem {
                line: finding.mark.map(|mark| mark.line),
                column: finding.mark.map(|mark| mark.column),
                ..finding.problem
            })
            .collect();
        if self.dropped > 0 {
            let message = format!("{} more problems are not shown", self.dropped);
            let hint = "solve those above first";
            problems.push(Problem::new("definition.more", "", message).with_hint(hint));
        }
        Problems(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::{Key, Kind, Layout};
    use super::*;

    fn said(problems: &Problems) -> Vec<&str> {
        problems.0.iter().map(|problem| problem.message.as_str()).collect()
    }

    #[test]
    fn problems_come_in_the_order_of_the_text() {
        let mark = |line, column| Some(Mark { line, column });
        let leaf = |line| Node { kind: Kind::Null, mark: mark(line, 9), layout: Layout::Unknown };
        let key = |text: &str, line| Key { text: text.to_owned(), mark: mark(line, 1) };
        let fields = vec![(key("a", 1), leaf(1)), (key("b", 2), leaf(2)), (key("c", 3), leaf(3))];
        let root = Node { kind: Kind::Map(fields), mark: mark(1, 1), layout: Layout::Unknown };
        let mut findings = Findings::new();
        findings.add("x", Path::ROOT.key("c"), "third value", "-");
        findings.add_on_key("x", Path::ROOT.key("c").to_place(), "third key", "-");
        findings.add("x", Path::ROOT.key("zzz"), "the whole", "-");
        findings.add_in_text("x", mark(2, 4), "in between", "-");
        findings.add("x", Path::ROOT.key("a"), "first value", "-");
        findings.add("x", Path::ROOT.key("b"), "second value", "-");
        let problems = findings.into_problems(Some(&root));
        assert_eq!(
            said(&problems),
            ["the whole", "first value", "in between", "second value", "third key", "third value",]
        );
        assert_eq!((problems.0[5].line, problems.0[5].column), (Some(3), Some(9)));
    }

    #[test]
    fn the_same_is_said_once_and_faulty_places_cover_what_is_below() {
        let mut findings = Findings::new();
        let outer = Path::ROOT.key("steps");
        let inner = outer.at(1);
        assert!(!findings.covers(inner.key("id")));
        for message in ["same", "same", "other"] {
            findings.add("x", inner, message, "-");
        }
        assert!(findings.covers(inner.key("id")) && findings.covers(inner));
        assert!(!findings.covers(outer) && !findings.covers(outer.at(2)));
        findings.cover(outer.at(2));
        assert!(findings.covers(outer.at(2)));
        assert_eq!(said(&findings.into_problems(None)), ["same", "other"]);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut findings = Findings::new();
        for n in 0..MAX_PROBLEMS_COUNT + 3 {
            findings.add("x", Path::ROOT.at(n), format!("problem {n}"), "-");
        }
        let problems = findings.into_problems(None);
        assert_eq!(problems.0.len(), MAX_PROBLEMS_COUNT + 1);
        let last = problems.0.last().map(|problem| problem.message.as_str());
        assert_eq!(last, Some("3 more problems are not shown"));
    }

    #[test]
    fn suggestions_end_when_their_work_is_done() {
        let mut findings = Findings::new();
        let near = |findings: &mut Findings| findings.suggest("ab", ["abc"], "otherwise");
        assert_eq!(near(&mut findings), "did you mean `abc`?");
        let many = std::iter::repeat_n("zzzzzz", MAX_SUGGESTION_CANDIDATES_COUNT);
        assert_eq!(findings.suggest("ab", many, "otherwise"), "otherwise");
        assert_eq!(near(&mut findings), "otherwise");
    }
}
