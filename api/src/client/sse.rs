//! Server-sent events, read from bytes as they come.

use super::ClientError;
use crate::limits::CLIENT_MAX_EVENT_BYTES;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) event: String,
    pub(super) data: String,
}

/// Puts pieces of a stream together, wherever they were cut.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// Bytes of a line that has not ended.
    line: Vec<u8>,
    /// Whether the last byte was a CR, which an LF may follow.
    after_cr: bool,
    next: Message,
    has_data: bool,
}

impl Parser {
    /// The events that these bytes complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, ClientError> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let second_half = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => complete.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        if self.line.len() + self.next.data.len() > CLIENT_MAX_EVENT_BYTES {
            let limit = format!("an event has more than {CLIENT_MAX_EVENT_BYTES} bytes");
            return Err(ClientError::Answer(limit));
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_message();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.next.data.push('\n');
                }
                self.next.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.next.event),
            "id" => self.next.id = Some(value.to_owned()),
            // Comments, `retry` (the client has a back-off of its own), and what may come one day.
            _ => {}
        }
        None
    }

    fn end_message(&mut self) -> Option<Message> {
        let message = std::mem::take(&mut self.next);
        std::mem::take(&mut self.has_data).then_some(message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(id: Option<&str>, event: &str, data: &str) -> Message {
        Message { id: id.map(Into::into), event: event.into(), data: data.into() }
    }

    #[test]
    fn streams_are_read_as_the_standard_says() {
        for (stream, expected) in [
            ("data: a\n\n", vec![message(None, "", "a")]),
            ("data:a\ndata: b\n\n", vec![message(None, "", "a\nb")]),
            ("id: 1\nevent: x\ndata: {}\n\n", vec![message(Some("1"), "x", "{}")]),
            ("id: 1\r\ndata: a\r\n\r\n", vec![message(Some("1"), "", "a")]),
            ("data: a\r\rdata: b\r\r", vec![message(None, "", "a"), message(None, "", "b")]),
            (": comment\nretry: 5\n\n", vec![]),
            ("event: x\n\ndata: a\n\n", vec![message(None, "", "a")]),
            ("data\n\n", vec![message(None, "", "")]),
            ("data: a: b\n\n", vec![message(None, "", "a: b")]),
            ("data: cut off", vec![]),
        ] {
            let mut parser = Parser::default();
            assert_eq!(parser.push(stream.as_bytes()).unwrap(), expected, "{stream:?}");
            // The same, cut after every byte.
            let mut parser = Parser::default();
            let pieces = stream.bytes().flat_map(|byte| parser.push(&[byte]).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>(), expected, "{stream:?} in pieces");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; CLIENT_MAX_EVENT_BYTES];
        parser.push(&piece).unwrap();
        assert!(parser.push(b"x").is_err());
    }
}
