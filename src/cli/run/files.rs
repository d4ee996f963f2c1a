//! The files among a job's output, put into a directory under their plain names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use callsheet::{Artifact, ArtifactStore};
use serde_json::Value;

use super::given::Given;
use crate::cli::error::{CliError, Result};
use crate::cli::print;

/// Where each file of the output is now, by its path in the output, such as `video`.
pub(crate) type Landed = BTreeMap<String, PathBuf>;

/// How a file gets from the store to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// Copied: the store is kept, and what happens to the copy must not change it.
    Copy,
    /// Linked where that is possible: the store is about to be removed.
    Link,
}

/// Puts every artifact in `output` into `dir`. Each appears whole or not at all; none does when one
/// of them would take the place of a file that the job was given.
///
/// # Errors
/// When an artifact is damaged, the directory cannot be written to, or a given file is in the way.
pub(crate) fn land(
    store: &ArtifactStore,
    output: &Value,
    dir: &Path,
    landing: Landing,
    given: &Given,
) -> Result<Landed> {
    let mut landed = Landed::new();
    for (key, artifact, target) in targets(output, dir, given)? {
        let source = store.verify(&artifact.artifact).map_err(|error| {
            CliError::failed(format!("the file `{}` cannot be read: {error}", artifact.name))
        })?;
        place(&source, &target, landing).map_err(|e| CliError::file("write", &target, &e))?;
        landed.insert(key, target);
    }
    Ok(landed)
}

/// Every artifact in `output`: its path there, and where in `dir` it is to be.
///
/// # Errors
/// When one of them would take the place of a file that the job was given.
pub(crate) fn targets(
    output: &Value,
    dir: &Path,
    given: &Given,
) -> Result<Vec<(String, Artifact, PathBuf)>> {
    let found = Artifact::find_in(output);
    let names = names(&found);
    let place = |((key, artifact), name): ((String, Artifact), String)| {
        let target = dir.join(name);
        if given.has(&target) {
            let path = target.display();
            let said =
                format!("`{path}` is an input of this job: its output `{key}` has that name");
            return Err(CliError::failed(said));
        }
        Ok((key, artifact, target))
    };
    found.into_iter().zip(names).map(place).collect()
}

/// Where the files are, for people.
pub(crate) fn table(landed: &Landed) -> String {
    let row = |(key, path): (&String, &PathBuf)| vec![key.clone(), path.display().to_string()];
    let rows: Vec<_> = landed.iter().map(row).collect();
    print::table(&["output", "file"], &[], &rows)
}

/// A file name for each artifact: its own, or with its path in the output before it when another
/// content has the same name.
fn names(found: &[(String, Artifact)]) -> Vec<String> {
    let mut contents: HashMap<&str, HashSet<_>> = HashMap::new();
    for (_, artifact) in found {
        contents.entry(&artifact.name).or_default().insert(artifact.artifact);
    }
    let mut taken: HashMap<String, _> = HashMap::new();
    let mut names = Vec::with_capacity(found.len());
    for (key, artifact) in found {
        let shared = contents.get(artifact.name.as_str()).is_some_and(|all| all.len() > 1);
        let first = if shared {
            format!("{}-{}", plain(key), artifact.name)
        } else {
            artifact.name.clone()
        };
        let numbered = (2u32..).map(|n| format!("{n}-{first}"));
        let name = std::iter::once(first.clone())
            .chain(numbered)
            .find(|name| taken.get(name).is_none_or(|content| *content == artifact.artifact))
            .unwrap_or(first);
        taken.insert(name.clone(), artifact.artifact);
        names.push(name);
    }
    names
}

/// A path in an output as part of a file name: `files[0].video` becomes `files-0-video`.
fn plain(key: &str) -> String {
    let words = key.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join("-").chars().take(80).collect()
}

/// Writes beside the target and renames, so that a reader never sees half a file.
fn place(source: &Path, target: &Path, landing: Landing) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(60).collect();
    let temp = target.with_file_name(format!(".{short}.{}.part", std::process::id()));
    let _ = fs::remove_file(&temp); // left by a process that died and had our number
    let linked = landing == Landing::Link && fs::hard_link(source, &temp).is_ok();
    let written = if linked { writable(&temp) } else { copy(source, &temp) };
    let placed = written.and_then(|()| fs::rename(&temp, target));
    // After a failure it is still there, and where both are links of one file: then nothing moves.
    let _ = fs::remove_file(&temp);
    placed
}

fn copy(source: &Path, temp: &Path) -> io::Result<()> {
    let mut to = File::create_new(temp)?;
    io::copy(&mut File::open(source)?, &mut to)?;
    to.sync_all()
}

/// Files in the store are read-only; the user's own file is not.
fn writable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(store: &ArtifactStore, name: &str, text: &str) -> Value {
        let artifact = store.put_bytes(text.as_bytes()).unwrap();
        json!({
            "artifact": artifact,
            "name": name,
            "media_type": "text/plain",
            "size": text.len(),
        })
    }

    fn nothing() -> Given {
        Given::find_in(&Value::Null)
    }

    #[test]
    fn files_land_under_their_names() {
        for landing in [Landing::Copy, Landing::Link] {
            let dir = tempfile::tempdir().unwrap();
            let store = ArtifactStore::open(dir.path().join("store")).unwrap();
            let output = json!({
                "srt": stored(&store, "captions.srt", "one"),
                "more": [stored(&store, "captions.vtt", "two")],
                "same": [stored(&store, "c.txt", "three"), stored(&store, "c.txt", "three")],
                "words": 12,
            });
            let landed = land(&store, &output, dir.path(), landing, &nothing()).unwrap();
            let keys: Vec<_> = landed.keys().map(String::as_str).collect();
            assert_eq!(keys, ["more[0]", "same[0]", "same[1]", "srt"]);
            assert_eq!(fs::read_to_string(dir.path().join("captions.srt")).unwrap(), "one");
            assert_eq!(fs::read_to_string(&landed["more[0]"]).unwrap(), "two");
            // The user's file can be written, and nothing half written is left beside it.
            fs::write(dir.path().join("captions.srt"), "mine").unwrap();
            let parts = fs::read_dir(dir.path()).unwrap();
            assert!(parts.flatten().all(|it| !it.file_name().to_string_lossy().contains(".part")));
        }
    }

    #[test]
    fn what_the_job_was_given_stays_and_then_nothing_lands() {
        for landing in [Landing::Copy, Landing::Link] {
            let dir = tempfile::tempdir().unwrap();
            let store = ArtifactStore::open(dir.path().join("store")).unwrap();
            let input = dir.path().join("video.mp4");
            fs::write(&input, "mine").unwrap();
            let output = json!({
                "srt": stored(&store, "captions.srt", "one"),
                "video": stored(&store, "video.mp4", "theirs"),
            });
            let given = Given::find_in(&json!({ "video": input }));
            let error = land(&store, &output, dir.path(), landing, &given).unwrap_err();
            let expected =
                format!("`{}` is an input of this job: its output `video`", input.display());
            assert!(error.to_string().contains(&expected), "{error}");
            assert_eq!(fs::read_to_string(&input).unwrap(), "mine");
            assert!(!dir.path().join("captions.srt").exists());
        }
    }

    #[test]
    fn a_copy_leaves_the_store_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(dir.path().join("store")).unwrap();
        let output = stored(&store, "a.txt", "kept");
        land(&store, &output, dir.path(), Landing::Copy, &nothing()).unwrap();
        fs::write(dir.path().join("a.txt"), "changed").unwrap();
        land(&store, &output, dir.path(), Landing::Copy, &nothing()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a.txt")).unwrap(), "kept");
    }

    #[test]
    fn names_that_clash_get_their_place_in_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(dir.path().join("store")).unwrap();
        let output = json!({
            "clips": [stored(&store, "clip.mp4", "1"), stored(&store, "clip.mp4", "2")],
            "same": stored(&store, "b.txt", "3"),
            "twin": stored(&store, "b.txt", "3"),
        });
        let named = names(&Artifact::find_in(&output));
        assert_eq!(named, ["clips-0-clip.mp4", "clips-1-clip.mp4", "b.txt", "b.txt"]);
    }
}
