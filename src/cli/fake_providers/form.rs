//! Reads a form with files (`multipart/form-data`, RFC 7578), all of it in memory.

use callsheet::Digest;

/// The fields of a form, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<Field>);

#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    file_name: Option<String>,
    content: Vec<u8>,
}

/// A file of a form.
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a [u8],
}

impl Form {
    /// Reads a body by the boundary in its content type; none when it is not such a form.
    pub(super) fn read(content_type: &str, body: &[u8]) -> Option<Self> {
        let (kind, rest) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(rest, "boundary").filter(|boundary| !boundary.is_empty())?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter has no line end before it.
        let mut rest = body.strip_prefix(&delimiter[2..])?;
        let mut fields = Vec::new();
        loop {
            if rest.starts_with(b"--") {
                return Some(Self(fields));
            }
            let part = rest.strip_prefix(b"\r\n")?;
            let end = find(part, &delimiter)?;
            fields.push(Field::read(&part[..end])?);
            rest = &part[end + delimiter.len()..];
        }
    }

    /// The text of a field; of several with one name, the first.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// The texts of all fields with a name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|field| field.name == name && field.file_name.is_none());
        named.map(|field| String::from_utf8_lossy(&field.content).into_owned()).collect()
    }

    /// The file of a field.
    pub(super) fn file(&self, name: &str) -> Option<File<'_>> {
        self.0.iter().find(|field| field.name == name).and_then(|field| {
            Some(File { name: field.file_name.as_deref()?, content: &field.content })
        })
    }

    /// The names of all fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|field| field.name.as_str())
    }

    /// A hash of what was sent. Not of the bytes of the body: those hold a boundary that is another
    /// one each time.
    pub(super) fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for field in &self.0 {
            let file_name = field.file_name.as_deref().unwrap_or_default();
            for piece in [field.name.as_bytes(), file_name.as_bytes(), &field.content] {
                bytes.extend_from_slice(&(piece.len() as u64).to_le_bytes());
                bytes.extend_from_slice(piece);
            }
        }
        Digest::of(&bytes)
    }
}

impl Field {
    fn read(part: &[u8]) -> Option<Self> {
        let end = find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..end]).ok()?;
        let disposition = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        })?;
        let (_, parameters) = disposition.split_once(';')?;
        Some(Self {
            name: parameter(parameters, "name")?,
            file_name: parameter(parameters, "filename"),
            content: part[end + 4..].to_vec(),
        })
    }
}

/// The value of `name=value` or `name="value"` in a list with semicolons.
fn parameter(text: &str, name: &str) -> Option<String> {
    text.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Where a text begins in bytes. It looks for its first byte, which is rare, so that the length of
/// an upload does not matter.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += bytes[from..].iter().position(|byte| *byte == text[0])?;
        if bytes[from..].starts_with(text) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"xyz\"";

    fn body(boundary: &str) -> Vec<u8> {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
             Content-Type: audio/wav\r\n\r\nRIFF\r\n--x\r\n\r\n--{boundary}--\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn fields_and_files_are_told_apart() {
        let form = Form::read(TYPE, &body("xyz")).unwrap();
        assert_eq!(form.names().collect::<Vec<_>>(), ["model", "file"]);
        assert_eq!(form.text("model").as_deref(), Some("whisper-1"));
        let file = form.file("file").unwrap();
        assert_eq!((file.name, file.content), ("a.wav", &b"RIFF\r\n--x\r\n"[..]));
        assert!(form.file("model").is_none() && form.text("file").is_none());
        assert_eq!(form.all("none"), Vec::<String>::new());
    }

    #[test]
    fn the_hash_is_of_what_was_sent_and_not_of_the_boundary() {
        let other_type = "multipart/form-data; boundary=other";
        let one = Form::read(TYPE, &body("xyz")).unwrap();
        let two = Form::read(other_type, &body("other")).unwrap();
        assert_eq!(one.digest(), two.digest());
        let changed = String::from_utf8(body("xyz")).unwrap().replace("RIFF", "RIFX");
        let changed = Form::read(TYPE, changed.as_bytes()).unwrap();
        assert_ne!(one.digest(), changed.digest());
    }

    #[test]
    fn what_is_no_form_is_none() {
        let whole = body("xyz");
        for (content_type, body) in [
            ("application/json", &b"{}"[..]),
            ("multipart/form-data", &whole),
            ("multipart/form-data; boundary=", &whole),
            ("multipart/form-data; boundary=abc", &whole),
            (TYPE, b""),
            (TYPE, &whole[..whole.len() - 9]),
            (TYPE, b"--xyz\r\nno head\r\n--xyz--"),
        ] {
            assert_eq!(Form::read(content_type, body), None, "{content_type}");
        }
        // However it is cut, it is read or refused.
        for end in 0..whole.len() {
            let _ = Form::read(TYPE, &whole[..end]);
        }
    }
}
