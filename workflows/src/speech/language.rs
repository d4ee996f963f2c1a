//! The languages that the Whisper models know, by their codes and names.

use callsheet_actors::{StepError, StepResult};

/// A language: two letters (three where there are no two), three letters as films are tagged with
/// them, its English name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Language {
    pub(crate) code: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) name: &'static str,
}

/// Finds a language by its code, with or without a region, or by its name.
pub(crate) fn find(text: &str) -> Option<Language> {
    let lower = text.trim().to_ascii_lowercase();
    let code = lower.split(['-', '_']).next().unwrap_or_default();
    let named = OTHER_NAMES.iter().find(|(other, _)| *other == lower).map(|(_, code)| *code);
    let code = named.unwrap_or(code);
    let row = ROWS.iter().find(|row| row.0 == code || row.1 == code || row.2 == lower)?;
    Some(Language { code: row.0, tag: row.1, name: row.2 })
}

/// Finds a language that was asked for.
///
/// # Errors
/// `speech.language` when there is none of that code or name.
pub(crate) fn check(text: &str) -> StepResult<Language> {
    find(text).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        StepError::fatal("speech.language", format!("`{shown}` is no language that Whisper knows"))
            .with_hint("use two letters, such as `en`, or an English name, such as `german`")
    })
}

/// The languages in the order of their codes.
#[rustfmt::skip]
const ROWS: [(&str, &str, &str); 100] = [
    ("af", "afr", "afrikaans"), ("am", "amh", "amharic"), ("ar", "ara", "arabic"),
    ("as", "asm", "assamese"), ("az", "aze", "azerbaijani"), ("ba", "bak", "bashkir"),
    ("be", "bel", "belarusian"), ("bg", "bul", "bulgarian"), ("bn", "ben", "bengali"),
    ("bo", "bod", "tibetan"), ("br", "bre", "breton"), ("bs", "bos", "bosnian"),
    ("ca", "cat", "catalan"), ("cs", "ces", "czech"), ("cy", "cym", "welsh"),
    ("da", "dan", "danish"), ("de", "deu", "german"), ("el", "ell", "greek"),
    ("en", "eng", "english"), ("es", "spa", "spanish"), ("et", "est", "estonian"),
    ("eu", "eus", "basque"), ("fa", "fas", "persian"), ("fi", "fin", "finnish"),
    ("fo", "fao", "faroese"), ("fr", "fra", "french"), ("gl", "glg", "galician"),
    ("gu", "guj", "gujarati"), ("ha", "hau", "hausa"), ("haw", "haw", "hawaiian"),
    ("he", "heb", "hebrew"), ("hi", "hin", "hindi"), ("hr", "hrv", "croatian"),
    ("ht", "hat", "haitian creole"), ("hu", "hun", "hungarian"), ("hy", "hye", "armenian"),
    ("id", "ind", "indonesian"), ("is", "isl", "icelandic"), ("it", "ita", "italian"),
    ("ja", "jpn", "japanese"), ("jw", "jav", "javanese"), ("ka", "kat", "georgian"),
    ("kk", "kaz", "kazakh"), ("km", "khm", "khmer"), ("kn", "kan", "kannada"),
    ("ko", "kor", "korean"), ("la", "lat", "latin"), ("lb", "ltz", "luxembourgish"),
    ("ln", "lin", "lingala"), ("lo", "lao", "lao"), ("lt", "lit", "lithuanian"),
    ("lv", "lav", "latvian"), ("mg", "mlg", "malagasy"), ("mi", "mri", "maori"),
    ("mk", "mkd", "macedonian"), ("ml", "mal", "malayalam"), ("mn", "mon", "mongolian"),
    ("mr", "mar", "marathi"), ("ms", "msa", "malay"), ("mt", "mlt", "maltese"),
    ("my", "mya", "myanmar"), ("ne", "nep", "nepali"), ("nl", "nld", "dutch"),
    ("nn", "nno", "nynorsk"), ("no", "nor", "norwegian"), ("oc", "oci", "occitan"),
    ("pa", "pan", "punjabi"), ("pl", "pol", "polish"), ("ps", "pus", "pashto"),
    ("pt", "por", "portuguese"), ("ro", "ron", "romanian"), ("ru", "rus", "russian"),
    ("sa", "san", "sanskrit"), ("sd", "snd", "sindhi"), ("si", "sin", "sinhala"),
    ("sk", "slk", "slovak"), ("sl", "slv", "slovenian"), ("sn", "sna", "shona"),
    ("so", "som", "somali"), ("sq", "sqi", "albanian"), ("sr", "srp", "serbian"),
    ("su", "sun", "sundanese"), ("sv", "swe", "swedish"), ("sw", "swa", "swahili"),
    ("ta", "tam", "tamil"), ("te", "tel", "telugu"), ("tg", "tgk", "tajik"),
    ("th", "tha", "thai"), ("tk", "tuk", "turkmen"), ("tl", "tgl", "tagalog"),
    ("tr", "tur", "turkish"), ("tt", "tat", "tatar"), ("uk", "ukr", "ukrainian"),
    ("ur", "urd", "urdu"), ("uz", "uzb", "uzbek"), ("vi", "vie", "vietnamese"),
    ("yi", "yid", "yiddish"), ("yo", "yor", "yoruba"), ("yue", "yue", "cantonese"),
    ("zh", "zho", "chinese"),
];

/// Other names and codes in use.
#[rustfmt::skip]
const OTHER_NAMES: [(&str, &str); 16] = [
    ("burmese", "my"), ("castilian", "es"), ("farsi", "fa"), ("filipino", "tl"),
    ("flemish", "nl"), ("haitian", "ht"), ("iw", "he"), ("jv", "jw"), ("letzeburgesch", "lb"),
    ("mandarin", "zh"), ("moldavian", "ro"), ("nb", "no"), ("panjabi", "pa"), ("pushto", "ps"),
    ("sinhalese", "si"), ("valencian", "ca"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_found_by_code_and_name() {
        for (given, code) in [
            ("en", "en"),
            ("en-US", "en"),
            ("EN", "en"),
            ("zh_Hans", "zh"),
            ("yue", "yue"),
            ("deu", "de"),
            ("German", "de"),
            ("haitian creole", "ht"),
            ("Mandarin", "zh"),
            (" french ", "fr"),
        ] {
            assert_eq!(check(given).unwrap().code, code, "{given}");
        }
    }

    #[test]
    fn what_is_no_language_is_refused() {
        for given in ["", "e", "xx", "-i", "klingon", "english\n--x", "auto", "zz-en"] {
            let StepError(failure) = check(given).unwrap_err();
            assert_eq!(failure.code, "speech.language", "{given}");
            assert!(failure.hint.is_some() && !failure.retryable);
        }
    }

    #[test]
    fn codes_are_in_order_and_tags_have_three_letters() {
        assert!(ROWS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let is_code = |code: &str, range: std::ops::RangeInclusive<usize>| {
            range.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase())
        };
        for (code, tag, name) in ROWS {
            assert!(is_code(code, 2..=3) && is_code(tag, 3..=3), "{name}");
            assert_eq!(find(name).unwrap().code, code);
        }
        assert!(OTHER_NAMES.iter().all(|(_, code)| ROWS.iter().any(|row| row.0 == *code)));
    }
}
