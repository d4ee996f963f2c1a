//! The size of a value as JSON, without writing it anywhere.

use std::io::{self, Write};

use serde_json::Value;

/// Bytes that `value` takes as compact JSON.
pub(crate) fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX, // A value that cannot be written is refused like one too large.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_written() {
        for text in ["null", "[1,2,3]", r#"{"a":"ä\n"}"#] {
            let value: Value = serde_json::from_str(text).expect("the table holds JSON");
            assert_eq!(json_bytes(&value), value.to_string().len());
        }
    }
}
