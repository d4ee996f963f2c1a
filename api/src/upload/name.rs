//! What a file that comes in is called, and what it says it is.

use axum::http::{HeaderMap, header};
use callsheet_storage::is_plain_name;

use crate::download::{media_type, plain};
use crate::error::Refusal;
use crate::limits::MAX_MEDIA_TYPE_BYTES;
use crate::text::has_hidden;

/// The name of a file that came without one.
const NAMELESS: &str = "upload";

/// Types that say nothing about a file: what clients send when nobody has told them one.
const SAYS_NOTHING: [&str; 2] = ["application/octet-stream", "application/x-www-form-urlencoded"];

/// The name of the query, else that of `Content-Disposition`, else one that says nothing. The
/// first was chosen for us and has to be right; the second comes from a file's place on a disk.
///
/// # Errors
/// When the query's name cannot be that of a file.
pub(crate) fn named_by(query: Option<&str>, headers: &HeaderMap) -> Result<String, Refusal> {
    match query {
        Some(name) if is_plain_name(name) && !has_hidden(name) => return Ok(name.to_owned()),
        Some(name) => {
            return Err(Refusal::Query {
                what: format!("`name` is `{name}`, which is not the name of a file"),
                hint: Some("1 to 255 bytes, without a directory: `name=talk.mp4`".to_owned()),
            });
        }
        None => {}
    }
    let field = headers.get(header::CONTENT_DISPOSITION).and_then(|field| field.to_str().ok());
    let name = field.and_then(file_name).map(|name| plain(&name));
    Ok(name.filter(|name| is_plain_name(name)).unwrap_or_else(|| NAMELESS.to_owned()))
}

/// The type that came with the file, else the one that its name tells.
///
/// # Errors
/// When what came is no type, or says that the body is more than the file.
pub(crate) fn type_of(headers: &HeaderMap, name: &str) -> Result<String, Refusal> {
    let Some(field) = headers.get(header::CONTENT_TYPE) else {
        return Ok(media_type(Some(name)).to_owned());
    };
    let given = field.to_str().unwrap_or_default().trim();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if SAYS_NOTHING.contains(&essence.as_str()) {
        return Ok(media_type(Some(name)).to_owned());
    }
    let is_one = essence.split_once('/').is_some_and(|(kind, of)| is_token(kind) && is_token(of));
    if essence.starts_with("multipart/") || !is_one || given.len() > MAX_MEDIA_TYPE_BYTES {
        return Err(Refusal::UploadForm(given.to_owned()));
    }
    Ok(given.to_owned())
}

/// A word of RFC 9110.
fn is_token(word: &str) -> bool {
    let is_sign = |byte: u8| b"!#$&-^_.+".contains(&byte);
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

/// The file's name in a `Content-Disposition`: `filename*` of RFC 8187 before `filename`.
fn file_name(field: &str) -> Option<String> {
    let parameter = |wanted: &str| {
        let mut parts = field.split(';').skip(1).filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, it)| it.trim())
    };
    let extended = parameter("filename*").and_then(|value| {
        let mut parts = value.splitn(3, '\'');
        let charset = parts.next()?;
        charset.eq_ignore_ascii_case("utf-8").then_some(())?;
        percent_decoded(parts.nth(1)?)
    });
    extended.or_else(|| parameter("filename").map(|value| value.trim_matches('"').to_owned()))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::error::HttpError;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn names_come_from_the_query_or_the_header_and_are_never_paths() {
        for (query, field, name) in [
            (Some("a b.mp4"), "attachment; filename=x.mp4", "a b.mp4"),
            (None, "attachment; filename=x.mp4", "x.mp4"),
            (None, "attachment; filename=\"my talk.mp4\"", "my talk.mp4"),
            (None, "form-data; FileName = \"/etc/passwd\"", "passwd"),
            (None, "attachment; filename=x; filename*=UTF-8''Gr%C3%B6%C3%9Fe.mp4", "Größe.mp4"),
            (None, "attachment; filename=x; filename*=UTF-8''a%2Fb%0d.mp4", "b.mp4"),
            (None, "attachment; filename=x; filename*=UTF-8''%zz", "x"),
            (None, "attachment; filename=\"..\"", "upload"),
            (None, "attachment", "upload"),
            (None, "", "upload"),
        ] {
            let headers = headers(header::CONTENT_DISPOSITION, field);
            assert_eq!(named_by(query, &headers).unwrap(), name, "{query:?} {field}");
        }
        for name in ["", "..", "a/b", "a\nb", &"x".repeat(256), "\u{202e}x"] {
            let refused = named_by(Some(name), &HeaderMap::new()).unwrap_err();
            assert_eq!(refused.code(), "request.query", "{name:?}");
        }
    }

    #[test]
    fn types_are_kept_or_told_from_the_name() {
        let long = format!("text/plain; x={}", "y".repeat(MAX_MEDIA_TYPE_BYTES));
        for (given, name, expected) in [
            ("video/mp4", "a", "video/mp4"),
            ("Video/X-Matroska; codecs=avc1", "a", "Video/X-Matroska; codecs=avc1"),
            ("", "a.mp4", "video/mp4"),
            ("application/octet-stream", "a.mp3", "audio/mpeg"),
            ("application/x-www-form-urlencoded", "a.wav", "audio/wav"),
            ("", "a", "application/octet-stream"),
            ("multipart/form-data; boundary=x", "a", "request.media_type"),
            ("video", "a", "request.media_type"),
            ("a b/c", "a", "request.media_type"),
            (&long, "a", "request.media_type"),
        ] {
            let found = type_of(&headers(header::CONTENT_TYPE, given), name);
            let found = found.unwrap_or_else(|refusal| refusal.code().to_owned());
            assert_eq!(found, expected, "{given} {name}");
        }
    }
}
