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
    pub(crate) fn new() -> Self {
        Self {
            found: Vec::new(),
            places: BTreeSet::new(),
            dropped: 0,
            candidates_left: MAX_SUGGESTION_CANDIDATES_COUNT,
        }
    }

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
