//! The command line as it was meant: when the nearest known name is clear, the whole corrected
//! command is printed, ready to be used.

/// The typed command with `wrong` replaced by `right`, quoted for a shell.
pub(crate) fn corrected(wrong: &str, right: &str) -> String {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    replace(&words, wrong, right)
}

/// A hint with the corrected command, when there is a nearest name.
pub(crate) fn hint(wrong: &str, right: Option<&str>) -> Option<String> {
    right.map(|right| format!("did you mean `{right}`? try: {}", corrected(wrong, right)))
}

/// Puts `right` in the place of the first word that is `wrong`, or that gives it as `--flag=wrong`.
fn replace(words: &[String], wrong: &str, right: &str) -> String {
    let mut command = String::from("callsheet");
    let mut replaced = false;
    for word in words {
        command.push(' ');
        let stem = word.strip_suffix(wrong).filter(|stem| stem.is_empty() || stem.ends_with('='));
        match stem {
            Some(stem) if !replaced => {
                replaced = true;
                command.push_str(&quote(&format!("{stem}{right}")));
            }
            _ => command.push_str(&quote(word)),
        }
    }
    command
}

/// A word as a POSIX shell reads it back.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_word_is_replaced_once() {
        let cases = [
            ("run captoin --out captoin", "captoin", "caption", "run caption --out captoin"),
            ("run caption --input=vidoe=a.mp4", "vidoe=a.mp4", "video=a.mp4", {
                "run caption --input=video=a.mp4"
            }),
            ("srve", "srve", "serve", "serve"),
            ("jobs --json", "nothing", "something", "jobs --json"),
        ];
        for (typed, wrong, right, expected) in cases {
            let words: Vec<_> = typed.split(' ').map(str::to_owned).collect();
            assert_eq!(replace(&words, wrong, right), format!("callsheet {expected}"));
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let cases = [
            ("a.mp4", "a.mp4"),
            ("my video.mp4", "'my video.mp4'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(rm)", "'$(rm)'"),
        ];
        for (word, quoted) in cases {
            assert_eq!(quote(word), quoted);
        }
    }
}
