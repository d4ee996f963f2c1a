//! The size of a value as JSON, without writing it anywhere.

use std::io::{self, Write};

use callsheet_engine::limits::MAX_DATA_NESTING_DEPTH;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Error, Value};

/// Bytes that `value` takes as compact JSON.
#[cfg_attr(not(test), allow(dead_code, reason = "records are weighed with it"))]
pub(crate) fn json_bytes(value: &Value) -> usize {
    // A value that cannot be written is refused like one too large.
    measure(value).unwrap_or(usize::MAX)
}

/// Bytes that `value` takes as compact JSON. It is looked through no deeper than data may nest, so
/// this needs little stack whatever the value is, and comes before all that follows it down.
///
/// # Errors
/// When it is not JSON; when it nests too deep, which [`Error::is_io`] tells from the others.
pub(crate) fn measure<T: Serialize + ?Sized>(value: &T) -> Result<usize, Error> {
    let mut count = Count(0);
    value.serialize(&mut Serializer::with_formatter(&mut count, Depth(0)))?;
    Ok(count.0)
}

/// Counts what is written.
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

/// Writes compact JSON as long as it does not nest too deep.
struct Depth(usize);

impl Depth {
    fn enter(&mut self) -> io::Result<()> {
        self.0 += 1;
        if self.0 > MAX_DATA_NESTING_DEPTH {
            return Err(io::Error::other("it nests too deep"));
        }
        Ok(())
    }
}

impl Formatter for Depth {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        CompactFormatter.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0 -= 1;
        CompactFormatter.end_array(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0 -= 1;
        CompactFormatter.end_object(writer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn counts_what_is_written() {
        for text in ["null", "[1,2,3]", r#"{"a":"ä\n"}"#, "[[],{}]", r#"[{"a":[1.5]},[-1]]"#] {
            let value: Value = serde_json::from_str(text).expect("the table holds JSON");
            assert_eq!(json_bytes(&value), value.to_string().len());
        }
    }

    #[test]
    fn depth_is_bounded_and_width_is_not() {
        let nested = |depth| {
            (0..depth).fold(json!(1), |value, n| match n % 2 {
                0 => json!([value]),
                _ => json!({ "a": value }),
            })
        };
        assert!(measure(&nested(MAX_DATA_NESTING_DEPTH)).is_ok());
        for depth in [MAX_DATA_NESTING_DEPTH + 1, 1_000] {
            assert!(measure(&nested(depth)).unwrap_err().is_io(), "{depth}");
        }
        assert!(measure(&json!([vec![json!([[]]); 1_000]])).is_ok());
    }

    #[test]
    fn what_is_not_json_is_told_from_what_nests_too_deep() {
        let by_pair = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(!measure(&by_pair).unwrap_err().is_io());
    }
}
