//! The last bytes of an endless output.

use std::collections::VecDeque;

/// Keeps the last `limit` bytes of what is pushed.
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, cut: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let keep = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + keep.len()).saturating_sub(self.limit);
        self.cut |= over > 0 || keep.len() < bytes.len();
        self.bytes.drain(..over);
        self.bytes.extend(keep);
        debug_assert!(self.bytes.len() <= self.limit);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// The kept bytes as text; what is not UTF-8 is replaced.
    pub(super) fn into_text(self) -> String {
        let bytes: Vec<u8> = self.bytes.into();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end() {
        for (pushes, kept, cut) in [
            (vec!["abc"], "abc", false),
            (vec!["abc", "def"], "cdef", true),
            (vec!["abcdefgh"], "efgh", true),
            (vec!["abcd", ""], "abcd", false),
        ] {
            let mut tail = Tail::new(4);
            pushes.iter().for_each(|text| tail.push(text.as_bytes()));
            assert_eq!(tail.is_cut(), cut);
            assert_eq!(tail.into_text(), kept);
        }
    }
}
