//! A disk in memory that is fed the calls of a trace, and gives what may be found on it after a
//! crash at that moment.
//!
//! Two file systems are told apart, and the tests try both. On one with an *ordered* journal, as
//! ext4 is, any fsync makes all names durable that were made before it, of any file. On the *worst*
//! one that POSIX allows, a name is durable only when its own directory was synced. On both, a
//! file's bytes are durable only when that file was synced.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::trace::{Call, What};

/// The size of what a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Everything: the process died, the machine did not.
    Kept,
    /// What was synced, and nothing else.
    Lost(Names),
    /// What was synced; of the rest each sector and each name is there or not, as the seed says.
    Torn(Names, u64),
}

/// When a name is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// With any later sync.
    Ordered,
    /// With the sync of its directory.
    Worst,
}

type Id = usize;
type Entries = BTreeMap<String, Id>;

const ROOT: Id = 0;

#[derive(Clone, Debug)]
enum Node {
    File { now: Vec<u8>, synced: Vec<u8>, pending: Vec<Change> },
    Dir { now: Entries, synced: Entries, ordered: Entries },
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    root: String,
    nodes: Vec<Node>,
    by_inode: HashMap<u64, Id>,
    /// Names that changed since the last sync of anything, oldest first: directory, name, what it
    /// means now.
    journal: Vec<(Id, String, Option<Id>)>,
    /// Whether syncs do what they say.
    honest: bool,
}

impl Disk {
    /// An empty disk under this directory. On one that is not honest a sync does nothing.
    pub fn new(root: &Path, honest: bool) -> Self {
        let nodes = vec![empty_dir()];
        let root = root.to_str().unwrap().to_owned();
        Self { root, nodes, by_inode: HashMap::new(), journal: Vec::new(), honest }
    }

    /// Takes in one call.
    pub fn take(&mut self, call: &Call) {
        match &call.what {
            What::Create => {
                let id = self.add(
                    call.inode,
                    Node::File { now: Vec::new(), synced: Vec::new(), pending: Vec::new() },
                );
                self.name(&call.path, Some(id));
            }
            What::MakeDir => {
                let id = self.add(call.inode, empty_dir());
                self.name(&call.path, Some(id));
            }
            What::Write { offset, bytes } => {
                let offset = usize::try_from(*offset).unwrap();
                self.change(call, Change::Write(offset, bytes.clone()));
            }
            What::Truncate { length } => {
                self.change(call, Change::Truncate(usize::try_from(*length).unwrap()));
            }
            What::Rename { to } => {
                let id = self.find(&call.path);
                self.name(to, Some(id));
                self.name(&call.path, None);
            }
            What::Link { to } => {
                let id = self.find(&call.path);
                self.name(to, Some(id));
            }
            What::Remove => self.name(&call.path, None),
            What::Sync if self.honest => self.sync(call),
            What::Sync | What::Nothing | What::Say(_) => {}
        }
    }

    fn add(&mut self, inode: u64, node: Node) -> Id {
        self.nodes.push(node);
        self.by_inode.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn change(&mut self, call: &Call, change: Change) {
        let id = self.by_inode[&call.inode];
        let Node::File { now, pending, .. } = &mut self.nodes[id] else {
            panic!("`{}` is no file", call.path)
        };
        apply(now, &change, |_| true);
        pending.push(change);
    }

    fn sync(&mut self, call: &Call) {
        let id = if call.path == self.root { ROOT } else { self.by_inode[&call.inode] };
        match &mut self.nodes[id] {
            Node::File { now, synced, pending } => {
                if !pending.is_empty() {
                    synced.clone_from(now);
                    pending.clear();
                }
            }
            Node::Dir { now, synced, .. } => synced.clone_from(now),
        }
        for (dir, name, id) in std::mem::take(&mut self.journal) {
            let Node::Dir { ordered, .. } = &mut self.nodes[dir] else {
                unreachable!("a directory")
            };
            put(ordered, name, id);
        }
    }

    /// Gives a name a meaning, or takes it away.
    fn name(&mut self, path: &str, id: Option<Id>) {
        let (above, name) = path.rsplit_once('/').unwrap();
        let dir = self.find(above);
        let Node::Dir { now, .. } = &mut self.nodes[dir] else { panic!("`{above}` is a file") };
        put(now, name.to_owned(), id);
        self.journal.push((dir, name.to_owned(), id));
    }

    fn find(&self, path: &str) -> Id {
        let inside = path.strip_prefix(&self.root).unwrap_or_else(|| panic!("`{path}` is outside"));
        inside.split('/').filter(|name| !name.is_empty()).fold(ROOT, |dir, name| {
            let Node::Dir { now, .. } = &self.nodes[dir] else { panic!("a file above `{path}`") };
            *now.get(name).unwrap_or_else(|| panic!("the trace never made `{path}`"))
        })
    }

    /// Writes what a crash leaves into an empty directory.
    pub fn leave(&self, crash: Crash, target: &Path) {
        let names = match crash {
            Crash::Torn(Names::Ordered, seed) => self.part_of_journal(seed),
            _ => HashMap::new(),
        };
        self.leave_dir(ROOT, crash, &names, target);
    }

    /// Names as they are when the journal reached the disk up to some entry of it.
    fn part_of_journal(&self, seed: u64) -> HashMap<Id, Entries> {
        let count = usize::try_from(mix(seed, 1, 1)).unwrap() % (self.journal.len() + 1);
        let mut dirs: HashMap<Id, Entries> = HashMap::new();
        for (dir, name, id) in &self.journal[..count] {
            let Node::Dir { ordered, .. } = &self.nodes[*dir] else { unreachable!("a directory") };
            put(dirs.entry(*dir).or_insert_with(|| ordered.clone()), name.clone(), *id);
        }
        dirs
    }

    fn leave_dir(&self, id: Id, crash: Crash, names: &HashMap<Id, Entries>, target: &Path) {
        let Node::Dir { now, synced, ordered } = &self.nodes[id] else {
            unreachable!("a directory")
        };
        let entries = match crash {
            Crash::Kept => now,
            Crash::Lost(Names::Worst) => synced,
            Crash::Torn(Names::Worst, seed) if mix(seed, id as u64, 2).is_multiple_of(2) => synced,
            Crash::Torn(Names::Worst, _) => now,
            Crash::Lost(Names::Ordered) | Crash::Torn(Names::Ordered, _) => {
                names.get(&id).unwrap_or(ordered)
            }
        };
        for (name, id) in entries {
            let path = target.join(name);
            match &self.nodes[*id] {
                Node::Dir { .. } => {
                    std::fs::create_dir(&path).unwrap();
                    self.leave_dir(*id, crash, names, &path);
                }
                Node::File { now, synced, pending } => match crash {
                    Crash::Kept => write(&path, now),
                    Crash::Lost(_) => write(&path, synced),
                    Crash::Torn(_, seed) => write(&path, &torn(synced, pending, seed, *id as u64)),
                },
            }
        }
    }
}

fn empty_dir() -> Node {
    Node::Dir { now: Entries::new(), synced: Entries::new(), ordered: Entries::new() }
}

fn put(entries: &mut Entries, name: String, id: Option<Id>) {
    match id {
        Some(id) => drop(entries.insert(name, id)),
        None => drop(entries.remove(&name)),
    }
}

/// Leaves holes where there is nothing, so that a reserved file costs no time.
fn write(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (n, part) in bytes.chunks(64 * 1024).enumerate() {
        if part.iter().any(|byte| *byte != 0) {
            file.write_all_at(part, (n * 64 * 1024) as u64).unwrap();
        }
    }
}

/// Changes content; a sector gets it only if `reaches` says so.
fn apply(content: &mut Vec<u8>, change: &Change, reaches: impl Fn(usize) -> bool) {
    match change {
        Change::Truncate(length) => content.resize(*length, 0),
        Change::Write(offset, bytes) => {
            let (mut at, end) = (*offset, offset + bytes.len());
            while at < end {
                let stop = ((at / SECTOR + 1) * SECTOR).min(end);
                if reaches(at / SECTOR) {
                    if content.len() < stop {
                        content.resize(stop, 0);
                    }
                    content[at..stop].copy_from_slice(&bytes[at - offset..stop - offset]);
                }
                at = stop;
            }
        }
    }
}

/// Content of which each sector is as it was at some moment since the last sync: the disk may write
/// sectors in any order and at any time.
fn torn(synced: &[u8], pending: &[Change], seed: u64, file: u64) -> Vec<u8> {
    let mut content = synced.to_vec();
    let moment = |sector: usize| {
        let draw = mix(seed ^ (file << 40), sector as u64, 3);
        match draw % 4 {
            0 => 0,
            1 => pending.len(),
            _ => usize::try_from(draw >> 2).unwrap() % (pending.len() + 1),
        }
    };
    // A file's length is metadata: one moment for all of it.
    let cut = moment(usize::MAX);
    for (n, change) in pending.iter().enumerate() {
        match change {
            Change::Write(..) => apply(&mut content, change, |sector| n < moment(sector)),
            Change::Truncate(_) if n < cut => apply(&mut content, change, |_| true),
            Change::Truncate(_) => {}
        }
    }
    content
}

/// A number from three (splitmix64, Steele 2014).
pub fn mix(seed: u64, a: u64, b: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(a.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(b);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 8
}
