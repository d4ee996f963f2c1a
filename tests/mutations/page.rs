//! The table in `docs/reliability.md`.

use crate::suite::Ran;

/// Where the table begins.
pub(crate) const BEGIN: &str = "<!-- mutations: begin; `make mutations` writes this anew -->";
/// Where it ends.
const END: &str = "<!-- mutations: end -->";

/// A fault and what became of it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) broken: &'static str,
    pub(crate) test: String,
    pub(crate) ran: Ran,
}

/// All of them.
pub(crate) fn table(rows: &[Row]) -> String {
    let caught = rows.iter().filter(|row| row.ran.is_caught()).count();
    let heads = "| mutation | what is broken | caught by | seconds |\n|---|---|---|---:|";
    let lines = rows.iter().map(|Row { name, broken, test, ran }| {
        let by = if ran.is_caught() { format!("`{test}`") } else { ran.verdict() };
        format!("| `{name}` | {broken} | {by} | {:.1} |", ran.seconds())
    });
    let lines: Vec<_> = lines.collect();
    format!("{caught} of {} caught.\n\n{heads}\n{}", rows.len(), lines.join("\n"))
}

/// A page with another table.
pub(crate) fn replaced(page: &str, table: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page says where it begins");
    let (_, after) = rest.split_once(END).expect("the page says where it ends");
    format!("{before}{BEGIN}\n\n{table}\n\n{END}{after}")
}

#[test]
fn only_the_table_is_replaced() {
    let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
    let new = replaced(&page, "new");
    assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
    assert_eq!(replaced(&new, "new"), new);
}

#[test]
fn who_survives_stands_out() {
    let row = |success| Row {
        name: "a",
        broken: "b",
        test: "c".to_owned(),
        ran: Ran::new("", Some(success), true, 2.0),
    };
    let text = table(&[row(false), row(true)]);
    assert!(text.starts_with("1 of 2 caught."), "{text}");
    assert!(text.ends_with("| `a` | b | `c` | 2.0 |\n| `a` | b | **nobody** | 2.0 |"), "{text}");
}
