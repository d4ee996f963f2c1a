//! The few binary forms that logs and histories are made of: numbers of variable length, and bytes
//! with their length before them.

use callsheet_engine::JobId;

/// Appends a number: seven bits a byte, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends bytes with their length before them.
pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes values from the front of bytes that may be anything: `None` is what is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (found, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(found)
    }

    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    pub(super) fn job(&mut self) -> Option<JobId> {
        let bytes = self.bytes(16)?;
        Some(JobId::from_bytes(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_one_form() {
        let cases: [(u64, &[u8]); 4] =
            [(0, &[0]), (127, &[0x7f]), (128, &[0x80, 1]), (300, &[0xac, 2])];
        for (number, bytes) in cases {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn what_is_cut_off_is_not_there() {
        let mut whole = Vec::new();
        put_number(&mut whole, u64::MAX);
        put_sized(&mut whole, b"text");
        for length in 0..whole.len() {
            let mut cut = Scanner::new(&whole[..length]);
            assert!(cut.number().and_then(|_| cut.sized()).is_none(), "{length}");
        }
        assert_eq!(Scanner::new(&[0xff; 10]).number(), None, "more than 64 bits");
        let mut endless = Vec::new();
        put_number(&mut endless, u64::MAX);
        assert_eq!(Scanner::new(&endless).sized(), None);
    }

    proptest! {
        #[test]
        fn what_is_put_comes_back(number in any::<u64>(), text in ".*", id in any::<[u8; 16]>()) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_sized(&mut out, text.as_bytes());
            out.extend_from_slice(&id);
            let mut scanner = Scanner::new(&out);
            prop_assert_eq!(scanner.number(), Some(number));
            prop_assert_eq!(scanner.sized(), Some(text.as_bytes()));
            prop_assert_eq!(scanner.job(), Some(JobId::from_bytes(id)));
            prop_assert!(scanner.is_empty());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut scanner = Scanner::new(&bytes);
            while scanner.sized().is_some() {}
        }
    }
}
