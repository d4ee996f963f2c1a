//! A plan as a picture: Mermaid for documents, DOT for Graphviz.

use std::fmt::Write;

use crate::ids::StepIndex;
use crate::plan::{Plan, PlannedStep};
use crate::timer::Timer;

impl Plan {
    /// The graph as a Mermaid flowchart. A step with `if` is drawn dashed, one with `for_each` as a
    /// stack, a timer round. The same plan gives the same text.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for (n, step) in self.steps().iter().enumerate() {
            let label = mermaid_text(&label(step, "<br/>"));
            let (open, close) = match (&step.for_each, &step.timer) {
                (Some(_), _) => ("[[", "]]"),
                (None, Some(_)) => ("([", "])"),
                (None, None) => ("[", "]"),
            };
            let class = if step.condition.is_some() { ":::conditional" } else { "" };
            line(&mut text, format_args!("  s{n}{open}\"{label}\"{close}{class}"));
        }
        for (from, to, conditional) in edges(self) {
            let arrow = if conditional { "-.->" } else { "-->" };
            line(&mut text, format_args!("  s{from} {arrow} s{to}"));
        }
        if self.steps().iter().any(|step| step.condition.is_some()) {
            text.push_str("  classDef conditional stroke-dasharray: 5 5\n");
        }
        text
    }

    /// The graph in the language of Graphviz. A step with `if` is drawn dashed, one with `for_each`
    /// with a double border, a timer as an ellipse. The same plan gives the same text.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n", dot_text(&self.workflow().name));
        text.push_str("  node [shape=box, fontname=\"sans-serif\"];\n");
        for (n, step) in self.steps().iter().enumerate() {
            let label = dot_text(&label(step, "\n"));
            let style = if step.condition.is_some() { ", style=dashed" } else { "" };
            let border = if step.for_each.is_some() { ", peripheries=2" } else { "" };
            let shape = if step.timer.is_some() { ", shape=ellipse" } else { "" };
            line(&mut text, format_args!("  s{n} [label=\"{label}\"{style}{border}{shape}];"));
        }
        for (from, to, conditional) in edges(self) {
            let style = if conditional { " [style=dashed]" } else { "" };
            line(&mut text, format_args!("  s{from} -> s{to}{style};"));
        }
        text.push_str("}\n");
        text
    }
}

/// What a node says: its name, its kind, and the mark of a `for_each`.
fn label(step: &PlannedStep, line_break: &str) -> String {
    let mut kinds: Vec<&str> = step.candidates.iter().map(|it| it.uses.as_str()).collect();
    kinds.extend(step.timer.as_ref().map(Timer::word));
    let each = if step.for_each.is_some() { " (for each)" } else { "" };
    format!("{}{each}{line_break}{}", step.id, kinds.join(" or "))
}

/// All arrows in the order of the steps that they lead to: from, to, and whether the latter has an
/// `if`.
fn edges(plan: &Plan) -> impl Iterator<Item = (u32, u32, bool)> + '_ {
    (0u32..).zip(plan.steps()).flat_map(|(to, step)| {
        let conditional = step.condition.is_some();
        step.needs.iter().map(move |StepIndex(from)| (*from, to, conditional))
    })
}

/// Adds a line.
fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

/// A label in quotes: Mermaid knows HTML's entities, of which the number sign begins its own.
fn mermaid_text(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for part in label.split_inclusive("<br/>") {
        let (words, line_break) = match part.strip_suffix("<br/>") {
            Some(words) => (words, "<br/>"),
            None => (part, ""),
        };
        for c in words.chars() {
            match c {
                '#' => text.push_str("#35;"),
                '"' => text.push_str("#quot;"),
                '&' => text.push_str("#amp;"),
                '<' => text.push_str("#lt;"),
                '>' => text.push_str("#gt;"),
                c if c.is_control() => text.push(' '),
                c => text.push(c),
            }
        }
        text.push_str(line_break);
    }
    text
}

/// A label in quotes: Graphviz knows the escapes of C.
fn dot_text(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for c in label.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::testing::plan;

    const TEXT: &str = "
name: picture
steps:
  - { id: fetch, uses: media.fetch }
  - { id: cut, uses: a.cut, for_each: '{{ steps.fetch.parts }}', fallback: [{ uses: b.cut }] }
  - { id: nap, sleep: 1h, needs: [cut] }
  - { id: burn, uses: ffmpeg.burn, if: input.burn, needs: [nap] }
";

    #[test]
    fn mermaid_shows_steps_kinds_and_marks() {
        assert_eq!(
            plan(TEXT).to_mermaid(),
            "\
flowchart TD
  s0[\"fetch<br/>media.fetch\"]
  s1[[\"cut (for each)<br/>a.cut or b.cut\"]]
  s2([\"nap<br/>sleep\"])
  s3[\"burn<br/>ffmpeg.burn\"]:::conditional
  s0 --> s1
  s1 --> s2
  s2 -.-> s3
  classDef conditional stroke-dasharray: 5 5
"
        );
    }

    #[test]
    fn dot_shows_steps_kinds_and_marks() {
        assert_eq!(
            plan(TEXT).to_dot(),
            "\
digraph \"picture\" {
  node [shape=box, fontname=\"sans-serif\"];
  s0 [label=\"fetch\\nmedia.fetch\"];
  s1 [label=\"cut (for each)\\na.cut or b.cut\", peripheries=2];
  s2 [label=\"nap\\nsleep\", shape=ellipse];
  s3 [label=\"burn\\nffmpeg.burn\", style=dashed];
  s0 -> s1;
  s1 -> s2;
  s2 -> s3 [style=dashed];
}
"
        );
    }

    #[test]
    fn a_kind_with_signs_in_its_name_breaks_nothing() {
        let plan = plan(r##"{ "name": "n", "steps": [{ "id": "a", "uses": "x\"]<b>#&\\\n" }] }"##);
        let mermaid = plan.to_mermaid();
        assert!(mermaid.contains("s0[\"a<br/>x#quot;]#lt;b#gt;#35;#amp;\\ \"]"), "{mermaid}");
        let dot = plan.to_dot();
        assert!(dot.contains(r#"s0 [label="a\nx\"]<b>#&\\\n"];"#), "{dot}");
    }
}
