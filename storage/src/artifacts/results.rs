//! Results of steps, kept under what they are a function of: kind, version and input.
//!
//! One small file each, beside the contents that it names. Losing one costs a run, nothing else: so
//! none is synced, and one that is torn, damaged or names a content that is gone counts as not
//! there and is removed.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `CSR1` |
//! | 4 | CRC-32C of the key and the body, little-endian |
//! | rest | body, JSON |

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use callsheet_engine::canonical_json;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::{ArtifactError, ArtifactStore, io_error};
use super::{Digest, make_dir, mentions};
use crate::limits::{MAX_RESULT_FILE_BYTES, MAX_RESULTS_COUNT};

/// What keys are hashes of, so that no hash of something else can be one.
const DOMAIN: &str = "callsheet 2026-11 the result of a step";

const MAGIC: &[u8; 4] = b"CSR1";
const HEADER_BYTES: usize = MAGIC.len() + 4;

/// What a result is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultKey(Digest);

impl ResultKey {
    /// The key of a kind's result, in a version of its results, for an input.
    #[must_use]
    pub fn of(kind: &str, version: u32, input: &Value) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
        // Lengths first, so that no kind can end where another input begins.
        hasher.update(&(kind.len() as u64).to_le_bytes());
        hasher.update(kind.as_bytes());
        hasher.update(&version.to_le_bytes());
        hasher.update(canonical_json(input).as_bytes());
        Self(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }
}

/// The results that are kept beside an artifact store. Cheap to clone. All methods block.
#[derive(Clone, Debug)]
pub struct ResultStore {
    root: PathBuf,
    artifacts: ArtifactStore,
}

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    kind: String,
    version: u32,
    output: Value,
    /// The contents that the output names.
    contents: Vec<Content>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Content {
    digest: Digest,
    size: u64,
}

/// What is left after results were forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Results that were forgotten.
    pub forgotten: u64,
    /// Results that are left.
    pub left: u64,
    /// The bytes that those hold, each content counted once.
    pub bytes: u64,
    /// The contents that those name.
    pub needed: HashSet<Digest>,
}

/// One file as it is found.
struct Found {
    key: ResultKey,
    used_at: SystemTime,
    size: u64,
    contents: Vec<Content>,
}

impl ResultStore {
    /// The results beside this store.
    ///
    /// # Errors
    /// When their directory cannot be made.
    pub fn open(artifacts: &ArtifactStore) -> Result<Self, ArtifactError> {
        let root = artifacts.root().join("results");
        make_dir(&root).map_err(|error| io_error("make", &root, error))?;
        Ok(Self { root, artifacts: artifacts.clone() })
    }

    /// The result under a key. Every content that it names is there, and is prolonged on the terms
    /// of `artifacts`, a handle of the same store.
    ///
    /// # Errors
    /// When a file refuses; there may be a result then.
    pub fn recall(
        &self,
        key: &ResultKey,
        artifacts: &ArtifactStore,
    ) -> Result<Option<Value>, ArtifactError> {
        let path = self.path(key);
        let Some(body) = self.read(key)? else { return Ok(None) };
        for content in &body.contents {
            let is_there = artifacts.prolong(&content.digest)?
                && artifacts.size(&content.digest).is_ok_and(|size| size == content.size);
            if !is_there {
                self.forget(key)?;
                return Ok(None);
            }
        }
        // For the order in which results are forgotten; one that was just forgotten is told anyhow.
        let now = FileTimes::new().set_modified(SystemTime::now());
        let _ = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_times(now));
        Ok(Some(body.output))
    }

    /// Keeps a result. Answers with the bytes of the contents that it names and of its own file.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn keep(
        &self,
        key: &ResultKey,
        (kind, version): (&str, u32),
        output: &Value,
    ) -> Result<u64, ArtifactError> {
        let mut named: Vec<Digest> = Vec::new();
        mentions(output, &mut named);
        named.sort_unstable();
        named.dedup();
        let sized =
            |digest: Digest| Some(Content { digest, size: self.artifacts.size(&digest).ok()? });
        let contents: Vec<Content> = named.into_iter().filter_map(sized).collect();
        let held: u64 = contents.iter().map(|content| content.size).sum();
        let body = Body { kind: kind.to_owned(), version, output: output.clone(), contents };
        let body = serde_json::to_vec(&body).expect("a result is JSON");
        let temp = self.artifacts.staging.next_path();
        let path = self.path(key);
        let written = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
            file.write_all(MAGIC)?;
            file.write_all(&checksum(key, &body).to_le_bytes())?;
            fail::fail_point!("result.begun");
            file.write_all(&body)?;
            fail::fail_point!("result.written");
            make_dir(path.parent().expect("a result's path has the root above it"))?;
            fs::rename(&temp, &path)
        };
        if let Err(error) = written() {
            let _ = fs::remove_file(&temp);
            return Err(io_error("keep", &path, error));
        }
        fail::fail_point!("result.kept");
        Ok(held + (HEADER_BYTES + body.len()) as u64)
    }

    /// Forgets a result.
    ///
    /// # Errors
    /// When its file refuses.
    pub fn forget(&self, key: &ResultKey) -> Result<(), ArtifactError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Forgets the results that were used longest ago, until the others hold at most so many bytes;
    /// those that name a content of `in_use` stay.
    ///
    /// # Errors
    /// When a file refuses.
    pub fn trim(&self, most: u64, in_use: &HashSet<Digest>) -> Result<Trimmed, ArtifactError> {
        let mut all = self.list()?;
        all.sort_by_key(|one| std::cmp::Reverse(one.used_at));
        let mut left = Trimmed::default();
        for found in all {
            let new = found.contents.iter().filter(|it| !left.needed.contains(&it.digest));
            let more = found.size + new.map(|it| it.size).sum::<u64>();
            let fits = left.bytes + more <= most && left.left < MAX_RESULTS_COUNT;
            if fits || found.contents.iter().any(|it| in_use.contains(&it.digest)) {
                left.bytes += more;
                left.left += 1;
                left.needed.extend(found.contents.iter().map(|it| it.digest));
            } else {
                self.forget(&found.key)?;
                left.forgotten += 1;
            }
        }
        Ok(left)
    }

    /// Forgets the results that were used longest ago and alone keep contents whose time is over,
    /// until those have so many bytes. Answers with how many were forgotten.
    ///
    /// # Errors
    /// When a file refuses.
    pub fn give_up(
        &self,
        bytes: u64,
        due: &HashMap<Digest, u64>,
        in_use: &HashSet<Digest>,
    ) -> Result<u64, ArtifactError> {
        let mut all = self.list()?;
        all.sort_by_key(|found| found.used_at);
        let mut holders: HashMap<Digest, usize> = HashMap::new();
        let named = all.iter().flat_map(|found| &found.contents);
        named.for_each(|content| *holders.entry(content.digest).or_default() += 1);
        let (mut free, mut forgotten) = (0, 0);
        for found in all {
            let busy = found.contents.iter().any(|it| in_use.contains(&it.digest));
            if busy || !found.contents.iter().any(|it| due.contains_key(&it.digest)) {
                continue;
            }
            if free >= bytes {
                break;
            }
            self.forget(&found.key)?;
            forgotten += 1;
            for content in found.contents {
                let left = holders.entry(content.digest).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    free += due.get(&content.digest).copied().unwrap_or(0);
                }
            }
        }
        Ok(forgotten)
    }

    /// Forgets every result that names this content. Answers with how many there were.
    ///
    /// # Errors
    /// When a file refuses.
    pub fn forget_naming(&self, digest: &Digest) -> Result<u64, ArtifactError> {
        let all = self.list()?.into_iter();
        let naming = all.filter(|found| found.contents.iter().any(|it| it.digest == *digest));
        let mut count = 0;
        for found in naming {
            self.forget(&found.key)?;
            count += 1;
        }
        Ok(count)
    }

    /// Everything that is kept; what cannot be read is removed.
    fn list(&self) -> Result<Vec<Found>, ArtifactError> {
        let mut found = Vec::new();
        for shard in 0..=u8::MAX {
            let dir = self.root.join(format!("{shard:02x}"));
            let entries = match fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| io_error("read", &dir, error))?,
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Some(key) = name.to_str().and_then(|name| name.parse().ok()).map(ResultKey)
                else {
                    continue; // Nothing of ours.
                };
                let Some(body) = self.read(&key)? else { continue };
                let Ok(known) = entry.metadata() else { continue };
                let used_at = known.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Found { key, used_at, size: known.len(), contents: body.contents });
            }
        }
        Ok(found)
    }

    /// What is kept under a key; what is no sound result is removed.
    fn read(&self, key: &ResultKey) -> Result<Option<Body>, ArtifactError> {
        let path = self.path(key);
        let bytes = match read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| io_error("read", &path, error))?,
        };
        let body = sound(key, &bytes).and_then(|body| serde_json::from_slice(body).ok());
        if body.is_none() {
            tracing::warn!(path = %path.display(), "a kept result is damaged; it is removed");
            self.forget(key)?;
        }
        Ok(body)
    }

    fn path(&self, key: &ResultKey) -> PathBuf {
        let name = key.0.to_string();
        self.root.join(&name[..2]).join(name)
    }
}

/// A file's bytes, one more than there may be at most.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(File::open(path)?, MAX_RESULT_FILE_BYTES + 1),
        &mut bytes,
    )?;
    Ok(bytes)
}

/// The body in a file that is whole.
fn sound<'b>(key: &ResultKey, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let (magic, sum) = header.split_at(MAGIC.len());
    let right = magic == MAGIC && sum == checksum(key, body).to_le_bytes();
    right.then_some(body)
}

/// The key is part of the checksum, so a sound result in a wrong place is seen too.
fn checksum(key: &ResultKey, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.0.as_bytes()), body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::super::Terms;
    use super::*;

    struct World {
        _root: tempfile::TempDir,
        files: ArtifactStore,
        results: ResultStore,
    }

    fn world() -> World {
        let root = tempfile::tempdir().unwrap();
        let files = ArtifactStore::open(root.path().join("artifacts")).unwrap();
        let results = ResultStore::open(&files).unwrap();
        World { _root: root, files, results }
    }

    impl World {
        /// Keeps the n-th result, which names a content of so many bytes.
        fn keep(&self, n: u64, size: usize) -> (ResultKey, Digest) {
            let key = ResultKey::of("k", 1, &json!(n));
            let over = self.files.under(Terms { keep_for: Some(Duration::ZERO), hold: None });
            let file = over.put_bytes(&vec![u8::try_from(n).unwrap(); size]).unwrap();
            self.results.keep(&key, ("k", 1), &json!({ "n": n, "file": file })).unwrap();
            let used = FileTimes::new()
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + n));
            let path = self.results.path(&key);
            OpenOptions::new().write(true).open(path).unwrap().set_times(used).unwrap();
            (key, file)
        }

        fn recall(&self, key: &ResultKey) -> Option<Value> {
            self.results.recall(key, &self.files).unwrap()
        }
    }

    #[test]
    fn a_key_is_one_of_kind_version_and_input_alone() {
        let key = ResultKey::of("a.b", 1, &json!({ "x": 1, "y": [2] }));
        assert_eq!(ResultKey::of("a.b", 1, &json!({ "y": [2], "x": 1 })), key);
        let others = [
            ResultKey::of("a.b", 2, &json!({ "x": 1, "y": [2] })),
            ResultKey::of("a.c", 1, &json!({ "x": 1, "y": [2] })),
            ResultKey::of("a.b", 1, &json!({ "x": 1.0, "y": [2] })),
            ResultKey::of("a.b", 1, &json!({ "x": "1", "y": [2] })),
            ResultKey::of("a.b", 1, &json!({ "x": 1, "y": [2], "z": null })),
            ResultKey::of("a.", 1, &json!({ "x": 1, "y": [2] })),
        ];
        assert!(others.iter().all(|other| *other != key));
        // Kept over upgrades: this one may only change with the format.
        let text = ResultKey::of("k", 1, &json!(null)).0.to_string();
        assert_eq!(&text[..16], KEY_BEGINS);
    }

    const KEY_BEGINS: &str = "92dcb2cefcd41173";

    #[test]
    fn what_is_kept_is_recalled_and_its_contents_are_prolonged_and_in_use() {
        let world = world();
        let (key, file) = world.keep(1, 10);
        let hold = Arc::new(world.files.hold());
        let terms = Terms { keep_for: None, hold: Some(hold.clone()) };
        let output = world.results.recall(&key, &world.files.under(terms)).unwrap().unwrap();
        assert_eq!(output, json!({ "n": 1, "file": file }));
        assert_eq!(world.files.in_use(), HashSet::from([file]));
        let late = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(world.files.due(late).unwrap(), [], "kept for ever");
        assert_eq!(world.recall(&ResultKey::of("k", 1, &json!(2))), None);
    }

    #[test]
    fn a_result_without_all_its_contents_is_none() {
        let world = world();
        let (key, file) = world.keep(1, 10);
        fs::remove_file(world.files.path(&file)).unwrap();
        assert_eq!(world.recall(&key), None);
        assert!(!world.results.path(&key).exists(), "and is removed");
        let (key, file) = world.keep(2, 10);
        let path = world.files.path(&file);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "cut").unwrap();
        assert_eq!(world.recall(&key), None, "a content of another length is not the content");
    }

    #[test]
    fn every_damage_of_every_byte_is_a_miss() {
        let world = world();
        let (key, _) = world.keep(1, 3);
        let path = world.results.path(&key);
        let whole = fs::read(&path).unwrap();
        let cuts = (0..whole.len()).map(|n| whole[..n].to_vec());
        let flips = (0..whole.len()).map(|n| {
            let mut bytes = whole.clone();
            bytes[n] ^= 1 << (n % 8);
            bytes
        });
        let longer = [&whole[..], b"x"].concat();
        for bytes in cuts.chain(flips).chain([longer]) {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(world.recall(&key), None);
            assert!(!path.exists(), "it is removed");
        }
        // A sound result under another's name is not that one's.
        fs::write(&path, &whole).unwrap();
        let other = ResultKey::of("k", 1, &json!(77));
        let place = world.results.path(&other);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&path, &place).unwrap();
        assert_eq!(world.recall(&other), None);
        assert!(world.recall(&key).is_some());
    }

    #[test]
    fn the_ones_used_longest_ago_go_first_but_none_in_use() {
        let world = world();
        let kept: Vec<_> = (1..=4).map(|n| world.keep(n, 1_000)).collect();
        let none = HashSet::new();
        let all = world.results.trim(u64::MAX, &none).unwrap();
        assert_eq!((all.forgotten, all.left, all.needed.len()), (0, 4, 4));
        // Just recalled, the first is the latest.
        assert!(world.recall(&kept[0].0).is_some());
        let in_use = HashSet::from([kept[1].1]);
        let trimmed = world.results.trim(3_000, &in_use).unwrap();
        assert_eq!((trimmed.forgotten, trimmed.left), (1, 3), "{trimmed:?}");
        let there = |n: usize| world.results.path(&kept[n].0).exists();
        assert_eq!([there(0), there(1), there(2), there(3)], [true, true, false, true]);
        assert_eq!(world.results.trim(0, &none).unwrap().left, 0);
    }

    #[test]
    fn a_content_of_two_results_counts_once() {
        let world = world();
        let (_, file) = world.keep(1, 1_000);
        let key = ResultKey::of("k", 1, &json!("same"));
        world.results.keep(&key, ("k", 1), &json!([file, file])).unwrap();
        let all = world.results.trim(u64::MAX, &HashSet::new()).unwrap();
        assert!((1_000..2_000).contains(&all.bytes), "{all:?}");
    }

    #[test]
    fn for_room_those_go_whose_contents_become_free() {
        let world = world();
        let kept: Vec<_> = (1..=4).map(|n| world.keep(n, 1_000)).collect();
        // A second one keeps the content of the first.
        let second = ResultKey::of("k", 1, &json!("second"));
        world.results.keep(&second, ("k", 1), &json!(kept[0].1)).unwrap();
        let due: HashMap<_, _> = [0, 1, 3].into_iter().map(|n: usize| (kept[n].1, 1_000)).collect();
        let in_use = HashSet::from([kept[1].1]);
        assert_eq!(world.results.give_up(500, &due, &in_use).unwrap(), 2);
        let there: Vec<_> = kept.iter().map(|(key, _)| world.results.path(key).exists()).collect();
        // Of the first a holder is left, the second is in use, the third would free nothing.
        assert_eq!(there, [false, true, true, false]);
        assert!(world.results.path(&second).exists());
        assert_eq!(world.results.forget_naming(&kept[0].1).unwrap(), 1);
        assert!(!world.results.path(&second).exists());
    }
}
