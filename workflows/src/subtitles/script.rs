//! What has to be known of scripts: which are written without blanks, how wide their letters are,
//! and where a text may not be cut.

/// Columns that a letter takes: the letters of Chinese, Japanese and Korean are twice as wide.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match c {
        c if belongs_to_the_one_before(c) => 0,
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{303E}'
        | '\u{3041}'..='\u{A4CF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}'
        | '\u{1F300}'..='\u{1FAFF}'
        | '\u{20000}'..='\u{3FFFD}' => 2,
        _ => 1,
    }
}

/// Whether the script of a letter has no blanks between words: Chinese, Japanese, Thai, Lao,
/// Burmese, Khmer.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}'
        | '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{20000}'..='\u{3FFFD}')
}

/// Whether a word is written in such a script, so that it may be cut between any two letters.
pub(super) fn may_be_cut(text: &str) -> bool {
    text.chars().any(is_unspaced)
}

/// Whether a text reads from right to left: Hebrew, Arabic, Syriac, Thaana, N'Ko.
pub(super) fn is_right_to_left(text: &str) -> bool {
    text.chars().any(|c| {
        matches!(c, '\u{0590}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}'
            | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
    })
}

/// Cuts a text into pieces that must stay whole: a letter with its marks, Latin words and numbers
/// within another script, and what typesetters keep off the edge of a line.
pub(super) fn atoms(text: &str) -> Vec<String> {
    let mut atoms: Vec<String> = Vec::new();
    let mut before: Option<char> = None;
    for c in text.chars() {
        let stays = before.is_some_and(|before| {
            belongs_to_the_one_before(c)
                || before == '\u{200D}'
                || may_not_begin(c)
                || may_not_end(before)
                || (!is_unspaced(before) && !is_unspaced(c))
        });
        match atoms.last_mut() {
            Some(last) if stays => last.push(c),
            _ => atoms.push(c.to_string()),
        }
        before = Some(c);
    }
    atoms
}

/// Marks that are written on, under or behind the letter before them.
fn belongs_to_the_one_before(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{0591}'..='\u{05BD}' | '\u{064B}'..='\u{065F}'
        | '\u{0E31}' | '\u{0E34}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}' | '\u{0EB1}'
        | '\u{0EB4}'..='\u{0EBC}' | '\u{0EC8}'..='\u{0ECE}' | '\u{102B}'..='\u{103E}'
        | '\u{17B4}'..='\u{17D3}' | '\u{200C}' | '\u{200D}' | '\u{3099}' | '\u{309A}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{1F3FB}'..='\u{1F3FF}')
}

/// Small kana, long marks, closing marks and the vowels that Thai writes behind.
fn may_not_begin(c: char) -> bool {
    matches!(
        c,
        'ぁ' | 'ぃ'
            | 'ぅ'
            | 'ぇ'
            | 'ぉ'
            | 'っ'
            | 'ゃ'
            | 'ゅ'
            | 'ょ'
            | 'ァ'
            | 'ィ'
            | 'ゥ'
            | 'ェ'
            | 'ォ'
            | 'ッ'
            | 'ャ'
            | 'ュ'
            | 'ョ'
            | 'ー'
            | '々'
            | '、'
            | '。'
            | '，'
            | '．'
            | '！'
            | '？'
            | '：'
            | '；'
            | '）'
            | '」'
            | '』'
            | '】'
            | '\u{0E30}'
            | '\u{0E32}'
            | '\u{0E33}'
            | '\u{0E45}'
            | '\u{0E46}'
    )
}

/// Opening marks, and the vowels that Thai and Lao write before their consonant.
fn may_not_end(c: char) -> bool {
    matches!(c, '（' | '「' | '『' | '【' | '\u{0E40}'..='\u{0E44}' | '\u{0EC0}'..='\u{0EC4}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_have_their_width() {
        for (text, expected) in
            [("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("你好", 4), ("ไทย", 3), ("한국", 4)]
        {
            assert_eq!(columns(text), expected, "{text}");
        }
    }

    #[test]
    fn scripts_are_told_apart() {
        for (text, cut, rtl) in [
            ("hello", false, false),
            ("你好", true, false),
            ("ひらがな", true, false),
            ("ภาษาไทย", true, false),
            ("한국어", false, false),
            ("שלום", false, true),
            ("مرحبا", false, true),
        ] {
            assert_eq!((may_be_cut(text), is_right_to_left(text)), (cut, rtl), "{text}");
        }
    }

    #[test]
    fn what_belongs_together_stays_together() {
        for (text, expected) in [
            ("", vec![]),
            ("你好", vec!["你", "好"]),
            ("你好。", vec!["你", "好。"]),
            ("「你」", vec!["「你」"]),
            ("用Rust写", vec!["用", "Rust", "写"]),
            ("きょう", vec!["きょ", "う"]),
            ("เด็ก", vec!["เด็", "ก"]),
            ("ที่", vec!["ที่"]),
        ] {
            assert_eq!(atoms(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_empty(text in "\\PC{0,30}|[ก-๛]{0,20}|[ぁ-ん一-十]{0,20}") {
            let atoms = atoms(&text);
            prop_assert!(atoms.iter().all(|atom| !atom.is_empty()));
            prop_assert_eq!(atoms.concat(), text);
        }
    }
}
