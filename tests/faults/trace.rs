//! What a program did to its files, call by call, in the order in which it was done.

use std::path::Path;

/// One call that succeeded, or a word of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub what: What,
    /// The inode that it was done to, where the call knows one.
    pub inode: u64,
    pub path: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Create,
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        length: u64,
    },
    /// `fsync` or `fdatasync`.
    Sync,
    /// A call that makes nothing durable: `sync_file_range`, or a sync that lied.
    Nothing,
    Rename {
        to: String,
    },
    Link {
        to: String,
    },
    Remove,
    MakeDir,
    Say(String),
}

/// Reads a trace as `shim.c` writes it: six words, two paths, the bytes.
pub fn read(path: &Path) -> Vec<Call> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = Rest(&bytes);
    let mut calls = Vec::new();
    while !rest.0.is_empty() {
        let [what, inode, offset, path, other, length] = [(); 6].map(|()| rest.word());
        let (path, other) = (rest.text(path), rest.text(other));
        let bytes = rest.take(length).to_vec();
        let what = match u8::try_from(what).unwrap() {
            b'c' => What::Create,
            b'w' => What::Write { offset, bytes },
            b't' => What::Truncate { length: offset },
            b'f' => What::Sync,
            b'n' => What::Nothing,
            b'r' => What::Rename { to: other },
            b'l' => What::Link { to: other },
            b'u' => What::Remove,
            b'd' => What::MakeDir,
            b's' => What::Say(String::from_utf8(bytes).unwrap()),
            other => panic!("the shim knows no call `{}`", char::from(other)),
        };
        calls.push(Call { what, inode, path });
    }
    calls
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: u64) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(usize::try_from(length).unwrap());
        self.0 = rest;
        taken
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn text(&mut self, length: u64) -> String {
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }
}
