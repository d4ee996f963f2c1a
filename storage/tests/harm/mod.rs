//! One damage to one file.
#![allow(unreachable_pub, clippy::unwrap_used)] // a module of a test

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::walk;

/// What disks and file systems lose or mix up at once.
const PAGE: usize = 4096;
/// Of the unused end of a file only so much is cut off or changed, byte by byte.
const UNUSED: usize = PAGE;

/// A damage and where.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file, from the data directory.
    pub file: PathBuf,
    pub damage: Damage,
}

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// One byte is another.
    Flip { at: usize, mask: u8 },
    /// It ends earlier.
    Cut { length: usize },
    /// A page holds nothing.
    Zero { page: usize },
    /// Two pages changed places.
    Swap { one: usize, other: usize },
    /// It is gone.
    Remove,
}

impl Damage {
    /// The kind of damage in a word.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Flip { .. } => "flip",
            Self::Cut { .. } => "cut",
            Self::Zero { .. } => "zero page",
            Self::Swap { .. } => "swap",
            Self::Remove => "remove",
        }
    }
}

impl Case {
    /// Does the damage.
    pub fn damage(&self, dir: &Path) {
        let path = dir.join(&self.file);
        let mut bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match self.damage {
            Damage::Remove => return,
            Damage::Flip { at, mask } => bytes[at] ^= mask,
            Damage::Cut { length } => bytes.truncate(length),
            Damage::Zero { page } => page_of(&mut bytes, page).fill(0),
            Damage::Swap { one, other } => {
                let kept = page_of(&mut bytes, one).to_vec();
                let moved = page_of(&mut bytes, other).to_vec();
                // The last page may be short; as much of the other one goes there as fits.
                let length = kept.len().min(moved.len());
                page_of(&mut bytes, one)[..length].copy_from_slice(&moved[..length]);
                page_of(&mut bytes, other)[..length].copy_from_slice(&kept[..length]);
            }
        }
        fs::write(&path, bytes).unwrap();
    }
}

/// Every damage to every file below a directory.
pub fn all(dir: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut files = Vec::new();
    walk(dir, &mut |path| files.extend(path.is_file().then(|| path.to_owned())));
    files.sort();
    for path in files {
        let file = path.strip_prefix(dir).unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let looked_at = (used + UNUSED).min(bytes.len());
        let pages = looked_at.div_ceil(PAGE);
        // One bit of each byte; over a file all eight have their turn.
        let flips = (0..looked_at).map(|at| Damage::Flip { at, mask: 1 << (at % 8) });
        let cuts = (0..looked_at).map(|length| Damage::Cut { length });
        let zeros = (0..used.div_ceil(PAGE)).map(|page| Damage::Zero { page });
        let swaps = (0..pages)
            .flat_map(|one| (one + 1..pages).map(move |other| Damage::Swap { one, other }));
        let damages = flips.chain(cuts).chain(zeros).chain(swaps).chain([Damage::Remove]);
        cases.extend(damages.map(|damage| Case { file: file.clone(), damage }));
    }
    cases
}

/// So many of the cases, of every file and kind some: the rare kinds first.
pub fn sample(all: &[Case], count: usize, seed: u64) -> Vec<Case> {
    if count >= all.len() {
        return all.to_vec();
    }
    let mut groups: std::collections::BTreeMap<_, Vec<&Case>> = Default::default();
    for case in all {
        groups.entry((&case.file, case.damage.kind())).or_default().push(case);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(Vec::len);
    let mut chosen = Vec::new();
    let mut state = seed;
    for (n, group) in (0..).zip(&groups) {
        let share = (count - chosen.len()) / (groups.len() - n);
        if share >= group.len() {
            chosen.extend(group.iter().map(|case| (*case).clone()));
            continue;
        }
        // One out of each stretch of the file, so that no part of it is left out.
        for k in 0..share {
            let (from, to) = (k * group.len() / share, (k + 1) * group.len() / share);
            let at = from + usize::try_from(random(&mut state)).unwrap() % (to - from).max(1);
            chosen.push(group[at].clone());
        }
    }
    chosen
}

/// The next number of a small generator (SplitMix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn page_of(bytes: &mut [u8], page: usize) -> &mut [u8] {
    let end = ((page + 1) * PAGE).min(bytes.len());
    &mut bytes[page * PAGE..end]
}
