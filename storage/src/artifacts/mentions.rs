//! Digests that stand in data, as references to files or not.

use serde_json::Value;

use super::Digest;

/// Every digest that stands anywhere in a value, alone or inside a longer text such as an address:
/// what must not be thrown away. Better one file too many than one too few.
pub fn mentions(value: &Value, found: &mut impl Extend<Digest>) {
    // A stack of our own: however deep the value is, the thread's stack is not used up.
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::String(text) => mentions_in(text, found),
            Value::Array(items) => waiting.extend(items),
            Value::Object(fields) => {
                for (key, value) in fields {
                    mentions_in(key, found);
                    waiting.push(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The runs of exactly 64 hexadecimal digits in a text.
fn mentions_in(text: &str, found: &mut impl Extend<Digest>) {
    if text.len() < DIGITS_COUNT {
        return;
    }
    let runs = text.split(|c: char| !matches!(c, '0'..='9' | 'a'..='f'));
    let digests = runs.filter(|run| run.len() == DIGITS_COUNT).filter_map(|run| run.parse().ok());
    found.extend(digests);
}

/// How long a digest is, written out.
const DIGITS_COUNT: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn digests_are_found_alone_as_keys_and_inside_texts() {
        let digest = |n: u8| Digest::of(&[n]);
        let text = |n: u8| digest(n).to_string();
        let value = json!({
            "deep": [[{ "artifact": text(1) }]],
            text(2): null,
            "url": format!("http://h/v1/artifacts/{}?name=a", text(3)),
            "two": format!("{},{}", text(4), text(5)),
            "long": format!("{}0", text(6)),
            "upper": text(7).to_uppercase(),
            "short": &text(8)[1..],
            "number": 12,
        });
        let mut found = BTreeSet::new();
        mentions(&value, &mut found);
        assert_eq!(found, (1..=5).map(digest).collect());
    }

    #[test]
    fn depth_does_not_exhaust_the_stack() {
        let mut value = json!(Digest::of(b"x"));
        for _ in 0..20_000 {
            value = Value::Array(vec![value]);
        }
        let mut found = Vec::new();
        mentions(&value, &mut found);
        assert_eq!(found.len(), 1);
        while let Value::Array(mut items) = value {
            value = items.pop().unwrap_or_default();
        }
    }
}
