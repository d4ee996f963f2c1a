//! Text that came from outside, made safe to show: no byte of it can move a cursor, end a line or
//! turn the reading direction.

/// `text` with every character that a terminal or a reader could be misled by written as an escape.
pub(crate) fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Whether `text` holds such a character.
pub(crate) fn has_hidden(text: &str) -> bool {
    text.chars().any(is_hidden)
}

/// Control characters (C0, DEL, C1), marks that turn the direction of text, and characters of no
/// width.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{061c}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misleads_is_written_out() {
        for (given, expected) in [
            ("plain ä 漢", "plain ä 漢"),
            ("a\nb", "a\\u{a}b"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gpj", "\\u{202e}gpj"),
            ("a\u{200b}b", "a\\u{200b}b"),
        ] {
            assert_eq!(visible(given), expected);
            assert_eq!(has_hidden(given), given != expected, "{expected}");
        }
    }

    #[test]
    fn all_controls_are_hidden() {
        for code in (0..0x20).chain(0x7f..0xa0) {
            let character = char::from_u32(code).expect("below the surrogates");
            assert!(is_hidden(character), "{code:x}");
        }
    }
}
