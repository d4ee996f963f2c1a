//! Places in a definition: a path such as `steps[2].with.video`, kept on the stack while a tree is
//! walked and written out only when there is something to say about it.

use std::fmt;

/// One turn of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn<'p> {
    Key(&'p str),
    At(usize),
}

/// A path from the root, linked to the one of its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    turn: Option<Turn<'p>>,
}

impl<'p> Path<'p> {
    /// The whole document.
    pub(crate) const ROOT: Path<'static> = Path { parent: None, turn: None };

    /// The path of a field.
    pub(crate) fn key<'c>(&'c self, key: &'c str) -> Path<'c> {
        self.turn(Turn::Key(key))
    }

    /// The path of an item.
    pub(crate) fn at<'c>(&'c self, index: usize) -> Path<'c> {
        self.turn(Turn::At(index))
    }

    /// The path of what is one turn further.
    pub(crate) fn turn<'c>(&'c self, turn: Turn<'c>) -> Path<'c> {
        Path { parent: Some(self), turn: Some(turn) }
    }

    /// The path written out. Only done for what is reported.
    pub(crate) fn to_place(self) -> Place {
        let mut turns = Vec::new();
        let mut path = Some(&self);
        while let Some(here) = path {
            turns.extend(here.turn.map(|turn| match turn {
                Turn::Key(key) => OwnedTurn::Key(key.to_owned()),
                Turn::At(index) => OwnedTurn::At(index),
            }));
            path = here.parent;
        }
        turns.reverse();
        Place(turns)
    }
}

/// A path of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) Vec<OwnedTurn>);

/// One turn of a path of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnedTurn {
    Key(String),
    At(usize),
}

impl Place {
    /// Whether `other` is this place or below it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The place `below`, seen from the root of this one.
    pub(crate) fn join(&self, below: Self) -> Self {
        Self(self.0.iter().cloned().chain(below.0).collect())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, turn) in self.0.iter().enumerate() {
            match turn {
                OwnedTurn::At(index) => write!(f, "[{index}]")?,
                OwnedTurn::Key(key) if is_plain(key) => {
                    let dot = if n == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                OwnedTurn::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a key can be written behind a dot.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_people_write_them() {
        let steps = Path::ROOT.key("steps");
        let third = steps.at(2);
        let with = third.key("with");
        assert_eq!(Path::ROOT.to_place().to_string(), "");
        assert_eq!(with.key("video").to_place().to_string(), "steps[2].with.video");
        assert_eq!(with.key("a b.c").to_place().to_string(), "steps[2].with[\"a b.c\"]");
    }

    #[test]
    fn a_place_covers_what_is_below_it() {
        let steps = Path::ROOT.key("steps");
        let (outer, inner) = (steps.to_place(), steps.at(1).to_place());
        assert!(outer.covers(&inner) && outer.covers(&outer) && !inner.covers(&outer));
        assert_eq!(outer.join(Place(vec![OwnedTurn::At(1)])), inner);
    }
}
