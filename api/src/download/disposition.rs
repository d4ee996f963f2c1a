//! The name under which a file is saved: RFC 6266.

use axum::http::HeaderValue;

use crate::text::is_hidden;

/// What a browser does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// It saves it, and never shows it as a page, whatever is in it.
    Attachment,
    /// It shows or plays it.
    Inline,
}

/// The value of `Content-Disposition`, with a file name when there is one.
pub(crate) fn disposition(what: Disposition, name: Option<&str>) -> HeaderValue {
    let what = match what {
        Disposition::Attachment => "attachment",
        Disposition::Inline => "inline",
    };
    let text = match name.map(plain).filter(|name| !name.is_empty()) {
        None => what.to_owned(),
        Some(name) => {
            let (quoted, extended) = (quoted(&name), extended(&name));
            format!("{what}; filename=\"{quoted}\"; filename*=UTF-8''{extended}")
        }
    };
    // Both names are printable ASCII, so this cannot fail; a download without a name is no harm.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// The last part of a path, without what could leave a directory or mislead a reader.
pub(crate) fn plain(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|character| !is_hidden(*character)).collect();
    kept.trim().trim_start_matches('.').to_owned()
}

/// For old clients: ASCII, and nothing that a quoted string must escape.
fn quoted(name: &str) -> String {
    let safe = |c: char| if c.is_ascii() && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    name.chars().map(safe).collect()
}

/// For all others: UTF-8, percent-encoded save for the characters of RFC 8187.
fn extended(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_safe() {
        let named = |plain: &str, extended: &str| {
            format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{extended}")
        };
        for (given, expected) in [
            (None, "attachment".to_owned()),
            (Some(""), "attachment".to_owned()),
            (Some(".."), "attachment".to_owned()),
            (Some("video.mp4"), named("video.mp4", "video.mp4")),
            (Some("my video.mp4"), named("my video.mp4", "my%20video.mp4")),
            (Some("Größe.srt"), named("Gr__e.srt", "Gr%C3%B6%C3%9Fe.srt")),
            (Some("../../etc/passwd"), named("passwd", "passwd")),
            (Some("a\\b.txt"), named("b.txt", "b.txt")),
            (Some("a\"; x=\"b"), named("a_; x=_b", "a%22%3B%20x%3D%22b")),
            (Some("a\r\nSet-Cookie: x"), named("aSet-Cookie: x", "aSet-Cookie%3A%20x")),
            (Some("\u{202e}gpj.exe"), named("gpj.exe", "gpj.exe")),
            (Some(".bashrc"), named("bashrc", "bashrc")),
        ] {
            assert_eq!(disposition(Disposition::Attachment, given), expected, "{given:?}");
            let shown = expected.replace("attachment", "inline");
            assert_eq!(disposition(Disposition::Inline, given), shown, "{given:?}");
        }
    }
}
