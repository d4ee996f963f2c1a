//! The whole house: every manifest, every source file, and what each file is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::manifest::Manifest;
use crate::report::Offence;
use crate::source::{Kind, ModFile, Source};

/// Everything that the rules look at.
pub(crate) struct House {
    /// The manifest of the root package and the workspace.
    pub(crate) root: Manifest,
    /// All manifests, the root's among them.
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) sources: Vec<Source>,
    /// Rust files that no target reaches.
    pub(crate) dead: Vec<Offence>,
}

/// The house, read once.
pub(crate) fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(House::read)
}

/// The root of the house.
pub(crate) fn root() -> PathBuf {
    let built = option_env!("CARGO_MANIFEST_DIR").map(str::to_owned);
    std::env::var("CARGO_MANIFEST_DIR").ok().or(built).unwrap_or_else(|| ".".to_owned()).into()
}

/// A file of the house as text; `None` when there is none.
pub(crate) fn read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

/// Files that belong to the project: tracked, or new and not ignored.
pub(crate) fn project_files() -> Vec<String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(arguments).current_dir(root()).output();
    match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        // A source archive has no index: take what lies here.
        _ => walk(&root(), ""),
    }
}

impl House {
    fn read() -> Self {
        let root = manifest("");
        let members = root.strings("workspace", "members");
        let mut manifests: Vec<Manifest> = members.iter().map(|member| manifest(member)).collect();
        let mut sources: Vec<Source> = members.iter().flat_map(|member| package(member)).collect();
        manifests.push(manifest(""));
        sources.extend(package(""));
        let dead = classify(&manifests, &mut sources);
        Self { root, manifests, sources, dead }
    }
}

fn manifest(package: &str) -> Manifest {
    let path = join(package, "Cargo.toml");
    let text = read(&path).expect("every member of the workspace has a Cargo.toml");
    Manifest::new(package, &path, &text)
}

fn package(package: &str) -> Vec<Source> {
    let folders = ["src", "tests", "examples", "benches"].map(|folder| join(package, folder));
    let files = folders.iter().flat_map(|folder| walk(&root(), folder));
    let rust = files.filter(|path| path.ends_with(".rs"));
    rust.filter_map(|path| {
        let text = read(&path)?;
        Some(Source::new(package, &path, kind_by_place(package, &path), &text))
    })
    .collect()
}

fn kind_by_place(package: &str, path: &str) -> Kind {
    let inside = path.strip_prefix(package).unwrap_or(path).trim_start_matches('/');
    match inside.split('/').next() {
        Some("tests" | "benches") => Kind::Test,
        Some("examples") => Kind::Example,
        // A suite that stores are held to is a test, though other crates may run it.
        _ if inside.starts_with("src/conformance") => Kind::Test,
        _ => Kind::Code,
    }
}

/// Follows every `mod` from every target: marks files that only tests reach, and answers with
/// those that nothing reaches.
fn classify(manifests: &[Manifest], sources: &mut [Source]) -> Vec<Offence> {
    let index: BTreeMap<String, usize> =
        (0..).zip(sources.iter()).map(|(at, source)| (source.path.clone(), at)).collect();
    let mut queue: Vec<(String, bool)> = targets(manifests, sources);
    let roots: BTreeSet<String> = queue.iter().map(|(path, _)| path.clone()).collect();
    let mut seen = BTreeSet::new();
    while let Some((path, test)) = queue.pop() {
        let Some(&at) = index.get(&path) else { continue };
        if test {
            sources[at].kind = Kind::Test;
        }
        if seen.insert(path) {
            let source = &sources[at];
            let beside = roots.contains(&source.path) || source.path.ends_with("/mod.rs");
            queue.extend(source.mod_files().into_iter().flat_map(|file| {
                let test = test || file.test;
                let paths = candidates(&source.path, beside, &file);
                paths.into_iter().map(move |path| (path, test))
            }));
        }
    }
    let dead = sources.iter().filter(|source| !seen.contains(&source.path));
    dead.map(|source| {
        let remedy = "declare it with `mod`, or delete it";
        Offence::new(format!("{}:1", source.path), "no target reaches this file", remedy)
    })
    .collect()
}

/// The root files of all targets, and whether each is a test.
fn targets(manifests: &[Manifest], sources: &[Source]) -> Vec<(String, bool)> {
    let named = manifests.iter().flat_map(|manifest| {
        let paths = ["lib", "bin", "test", "example", "bench"].map(|table| {
            let kinds = manifest.values(table, "path").into_iter();
            kinds.map(move |path| (join(&manifest.package, path), table == "test"))
        });
        paths.into_iter().flatten()
    });
    let found = sources.iter().filter(|source| {
        let inside = source.path.strip_prefix(&source.package).unwrap_or(&source.path);
        is_target(inside.trim_start_matches('/'))
    });
    let found = found.map(|source| (source.path.clone(), source.kind == Kind::Test));
    named.chain(found).collect()
}

/// Whether cargo takes a file of a package for a target by its place.
fn is_target(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["src", "lib.rs" | "main.rs"] | ["build.rs"] => true,
        ["src", "bin", rest @ ..] | ["tests" | "examples" | "benches", rest @ ..] => {
            matches!(rest, [_] | [_, "main.rs"])
        }
        _ => false,
    }
}

/// Where the file of a module may be: beside the file that declares it, or in a folder of its name.
fn candidates(path: &str, beside: bool, file: &ModFile) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if let Some(at) = &file.at {
        return vec![normal(&join(folder, at))];
    }
    let base = if beside { folder } else { path.trim_end_matches(".rs") };
    let module = join(base, &file.names.join("/"));
    vec![format!("{module}.rs"), format!("{module}/mod.rs")]
}

/// The path without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// All files under a folder, in order; build output and hidden folders are left out.
fn walk(root: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let mut files = Vec::new();
    for name in names.iter().filter(|name| *name != "target" && *name != ".git") {
        let path = join(folder, name);
        if root.join(&path).is_dir() {
            files.extend(walk(root, &path));
        } else {
            files.push(path);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        let make = |(path, text): &(&str, &str)| {
            Source::new("api", path, kind_by_place("api", path), text)
        };
        files.iter().map(make).collect()
    }

    #[test]
    fn a_file_that_no_target_reaches_is_dead() {
        let mut sources = sources(&[
            ("api/src/lib.rs", "mod a;\nmod b { mod c; }\n#[path = \"odd/../e.rs\"]\nmod e;"),
            ("api/src/a.rs", "mod x;"),
            ("api/src/a/x.rs", "mod y;"),
            ("api/src/a/x/y/mod.rs", ""),
            ("api/src/b/c.rs", ""),
            ("api/src/c.rs", ""),
            ("api/src/e.rs", ""),
            ("api/src/bin/tool.rs", "mod own;"),
            ("api/src/bin/own.rs", ""),
            ("api/tests/whole.rs", "mod common;"),
            ("api/tests/common/mod.rs", ""),
            ("api/tests/common/attic.rs", ""),
        ]);
        let manifest = Manifest::new("api", "api/Cargo.toml", "");
        let dead = classify(&[manifest], &mut sources);
        let places: Vec<&str> = dead.iter().map(|offence| offence.place.as_str()).collect();
        assert_eq!(places, ["api/src/c.rs:1", "api/tests/common/attic.rs:1"]);
    }

    #[test]
    fn files_that_only_tests_reach_are_tests() {
        let mut sources = sources(&[
            ("api/src/lib.rs", "#[cfg(test)]\nmod world;\nmod a;"),
            ("api/src/world.rs", "mod deep;"),
            ("api/src/world/deep.rs", ""),
            ("api/src/a.rs", ""),
            ("api/src/conformance/order.rs", ""),
            ("api/examples/01_a.rs", ""),
        ]);
        classify(&[Manifest::new("api", "api/Cargo.toml", "")], &mut sources);
        let kinds: Vec<Kind> = sources.iter().map(|source| source.kind).collect();
        use Kind::{Code, Example, Test};
        assert_eq!(kinds, [Code, Test, Test, Code, Test, Example]);
    }

    #[test]
    fn a_target_named_in_the_manifest_is_reached() {
        let mut sources = sources(&[("api/src/odd.rs", "mod a;"), ("api/src/odd/a.rs", "")]);
        let text = "[[bin]]\nname = \"odd\"\npath = \"src/odd.rs\"\n";
        let dead = classify(&[Manifest::new("api", "api/Cargo.toml", text)], &mut sources);
        assert_eq!(dead.len(), 1, "modules of a target lie beside it: {dead:?}");
    }
}
