//! The part of the page that is written.

/// The page.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/measurements.md");
/// Where the part begins, and where it ends.
const BEGIN: &str = "<!-- media: begin; `make bench-media` writes this anew -->";
const END: &str = "<!-- media: end -->";

/// A figure and its goal.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) figure: String,
    pub(super) goal: &'static str,
    pub(super) reached: bool,
}

impl Row {
    pub(super) fn new(
        what: impl Into<String>,
        figure: impl Into<String>,
        goal: &'static str,
        reached: bool,
    ) -> Self {
        Self { what: what.into(), figure: figure.into(), goal, reached }
    }

    /// The row of the table. A goal that was missed says so.
    pub(super) fn line(&self) -> String {
        let missed = if self.reached { "" } else { ", missed" };
        format!("| {} | {} | {}{missed} |", self.what, self.figure, self.goal)
    }
}

/// Writes the part anew.
pub(super) fn write(heading: &str, rows: &[Row]) {
    let lines: Vec<String> = rows.iter().map(Row::line).collect();
    let table = format!("| what | figure | goal |\n|---|---|---|\n{}", lines.join("\n"));
    let old = std::fs::read_to_string(PAGE).unwrap();
    std::fs::write(PAGE, replaced(&old, &format!("{heading}\n\n{table}"))).unwrap();
}

fn replaced(page: &str, part: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the part begins");
    let (_, after) = rest.split_once(END).expect("the page says where the part ends");
    format!("{before}{BEGIN}\n\n{part}\n\n{END}{after}")
}

#[test]
fn the_page_has_a_place_for_what_is_measured() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert_eq!(replaced(&page, "new").matches("\n\nnew\n\n").count(), 1);
}

#[test]
fn a_missed_goal_says_so() {
    assert_eq!(Row::new("a", "1", "2", true).line(), "| a | 1 | 2 |");
    assert_eq!(Row::new("a", "1", "2", false).line(), "| a | 1 | 2, missed |");
}
