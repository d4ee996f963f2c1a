//! As which type a file is handed out.

/// Types that are named when the file is, by the ending of the name. What is not here goes out as
/// bytes: a page or a script must never come from this origin as one.
const KNOWN: &[(&str, &str)] = &[
    ("aac", "audio/aac"),
    ("ass", "text/plain; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("m4a", "audio/mp4"),
    ("md", "text/plain; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("srt", "application/x-subrip; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

/// The type of a file of this name.
pub(crate) fn media_type(name: Option<&str>) -> &'static str {
    let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    let known = |ending: &str| {
        KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, kind)| *kind)
    };
    ending.and_then(known).unwrap_or("application/octet-stream")
}

/// Whether a browser may show it in place: what it can only play or read, not run.
pub(crate) fn can_be_shown(media_type: &str) -> bool {
    ["audio/", "image/", "text/", "video/"].iter().any(|kind| media_type.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_types_are_named() {
        for (name, expected) in [
            (Some("video.mp4"), "video/mp4"),
            (Some("VIDEO.MP4"), "video/mp4"),
            (Some("captions.vtt"), "text/vtt; charset=utf-8"),
            (Some("page.html"), "application/octet-stream"),
            (Some("picture.svg"), "application/octet-stream"),
            (Some("script.mp4.js"), "application/octet-stream"),
            (Some("mp4"), "application/octet-stream"),
            (None, "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), expected, "{name:?}");
        }
    }

    #[test]
    fn only_what_can_be_played_or_read_is_shown() {
        for (ending, shown) in
            [("mp4", true), ("png", true), ("vtt", true), ("mp3", true)].into_iter().chain([
                ("pdf", false),
                ("zip", false),
                ("json", false),
                ("html", false),
                ("svg", false),
            ])
        {
            assert_eq!(can_be_shown(media_type(Some(&format!("a.{ending}")))), shown, "{ending}");
        }
    }

    #[test]
    fn no_listed_type_can_run_in_a_browser() {
        for (_, kind) in KNOWN {
            for active in ["html", "svg", "xml", "script"] {
                assert!(!kind.contains(active) || kind.contains("openxml"), "{kind}");
            }
        }
    }
}
