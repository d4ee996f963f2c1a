//! `Cargo.toml` files: arrows between the crates, one dependency table, one lint table.

use crate::report::Offence;

/// Which of our crates each package may use, exactly as drawn in `ARCHITECTURE.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("storage", &["engine"]),
    ("actors", &["engine", "storage"]),
    ("workflows", &["engine", "storage", "actors"]),
    ("api", &["engine", "storage", "actors"]),
    ("tui", &["api"]),
    ("", &["engine", "storage", "actors", "workflows", "api", "tui"]),
];

/// What the pure core may never link: runtimes, clocks, randomness, sockets.
const IMPURE: &[&str] =
    &["tokio", "futures", "rand", "getrandom", "chrono", "time", "reqwest", "rustix", "sled"];

/// One `Cargo.toml`, as far as the rules need it.
pub(crate) struct Manifest {
    /// Where, from the root of the house.
    pub(crate) path: String,
    /// The folder of its package; empty for the root package.
    pub(crate) package: String,
    entries: Vec<Entry>,
}

/// `key = value` under `[section]`.
struct Entry {
    section: String,
    key: String,
    value: String,
    line: usize,
}

/// A row of a dependency table.
#[derive(Debug, PartialEq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) from_workspace: bool,
    pub(crate) line: usize,
}

impl Manifest {
    pub(crate) fn new(package: &str, path: &str, text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut section = String::new();
        let mut open: Option<Entry> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = without_comment(line).trim();
            if let Some(entry) = &mut open {
                entry.value.push_str(line);
            } else if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
                // A heading alone says something too: `[dependencies.x]`.
                let (key, value) = (String::new(), String::new());
                entries.push(Entry { section: section.clone(), key, value, line: number });
            } else if let Some((key, value)) = line.split_once('=') {
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                open = Some(Entry { section: section.clone(), key, value, line: number });
            }
            if let Some(entry) = open.take_if(|entry| is_balanced(&entry.value)) {
                entries.push(entry);
            }
        }
        Self { path: path.to_owned(), package: package.to_owned(), entries }
    }

    /// The value of a key, without its quotes.
    pub(crate) fn value(&self, section: &str, key: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|e| e.section == section && e.key == key)?;
        Some(entry.value.trim_matches('"'))
    }

    /// The strings of an array.
    pub(crate) fn strings(&self, section: &str, key: &str) -> Vec<String> {
        let list = self.value(section, key).unwrap_or_default();
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Values of a key over all sections of this name, such as the paths of `[[bin]]`s.
    pub(crate) fn values(&self, section: &str, key: &str) -> Vec<&str> {
        let matching = self.entries.iter().filter(|e| e.section == section && e.key == key);
        matching.map(|entry| entry.value.trim_matches('"')).collect()
    }

    /// Rows of all dependency tables of the package.
    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        let mut found: Vec<Dependency> = Vec::new();
        for entry in &self.entries {
            let Some((name, setting)) = dependency_of(entry) else { continue };
            let from_workspace = match setting {
                "" => entry.value.replace(' ', "").contains("workspace=true"),
                setting => setting == "workspace" && entry.value == "true",
            };
            match found.iter_mut().find(|dependency| dependency.name == name) {
                Some(known) if !setting.is_empty() => known.from_workspace |= from_workspace,
                _ => found.push(Dependency { name, from_workspace, line: entry.line }),
            }
        }
        found
    }

    /// Names in the one table that all packages share.
    pub(crate) fn shared_table(&self) -> Vec<(String, usize)> {
        let rows = self.entries.iter().filter(|e| e.section == "workspace.dependencies");
        rows.filter(|e| !e.key.is_empty()).map(|e| (e.key.clone(), e.line)).collect()
    }

    fn offence(&self, line: usize, found: String, remedy: &str) -> Offence {
        Offence::new(format!("{}:{line}", self.path), found, remedy)
    }
}

/// The dependency that an entry speaks of, and which of its settings (none: all of them).
fn dependency_of(entry: &Entry) -> Option<(String, &str)> {
    if entry.section.starts_with("workspace") {
        return None;
    }
    if entry.section.ends_with("dependencies") {
        let (name, setting) = entry.key.split_once('.').unwrap_or((&entry.key, ""));
        return (!name.is_empty()).then(|| (name.to_owned(), setting));
    }
    let (_, name) = entry.section.split_once("dependencies.")?;
    Some((name.to_owned(), if entry.key.is_empty() { "heading" } else { &entry.key }))
}

/// Arrows that the design does not have.
pub(crate) fn arrows(manifests: &[Manifest]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for manifest in manifests {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == manifest.package) else {
            let found = format!("`{}` is a crate that the design does not have", manifest.package);
            let remedy = "draw it in ARCHITECTURE.md, then give it a row in tests/tidy/manifest.rs";
            offences.push(manifest.offence(1, found, remedy));
            continue;
        };
        for dependency in manifest.dependencies() {
            let Some(target) = dependency.name.strip_prefix("callsheet-") else { continue };
            if !allowed.contains(&target) {
                let found = format!("an arrow from `{}` to `{target}`", manifest.package);
                let remedy = "move the code to the crate that may use both, or pass a value or a \
                              trait upwards";
                offences.push(manifest.offence(dependency.line, found, remedy));
            }
        }
    }
    offences
}

/// Crates that would let clocks, sockets or chance into the pure core.
pub(crate) fn pure_core(manifests: &[Manifest]) -> Vec<Offence> {
    let engine = manifests.iter().filter(|manifest| manifest.package == "engine");
    let impure = engine.flat_map(|manifest| {
        let rows = manifest.dependencies().into_iter();
        rows.filter(|row| IMPURE.contains(&row.name.as_str())).map(|row| {
            let found = format!("the pure core depends on `{}`", row.name);
            manifest.offence(row.line, found, "do it in `storage` or `actors`; hand `engine` data")
        })
    });
    impure.collect()
}

/// Dependencies with a version of their own, and packages without the shared lints.
pub(crate) fn shared_tables(manifests: &[Manifest]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for manifest in manifests {
        for row in manifest.dependencies().into_iter().filter(|row| !row.from_workspace) {
            let found = format!("`{}` does not come from the shared table", row.name);
            let remedy = "put it into [workspace.dependencies] and write `workspace = true` here";
            offences.push(manifest.offence(row.line, found, remedy));
        }
        if manifest.value("lints", "workspace") != Some("true") {
            let remedy = "add `[lints]` with `workspace = true`";
            offences.push(manifest.offence(1, "no shared lint table".to_owned(), remedy));
        }
    }
    offences
}

/// Lints that the root must set, since other rules lean on them.
pub(crate) fn lint_table(root: &Manifest) -> Vec<Offence> {
    let required = [
        ("workspace.lints.rust", "missing_docs"),
        ("workspace.lints.rust", "unsafe_code"),
        ("workspace.lints.clippy", "unwrap_used"),
        ("workspace.lints.clippy", "dbg_macro"),
        ("workspace.lints.clippy", "todo"),
        ("workspace.lints.clippy", "unimplemented"),
    ];
    let strict = |(section, lint): &(&str, &str)| {
        matches!(root.value(section, lint), Some("deny" | "forbid"))
    };
    let missing = required.iter().filter(|lint| !strict(lint)).map(|(section, lint)| {
        root.offence(1, format!("`{lint}` is not denied"), &format!("deny it under [{section}]"))
    });
    missing.collect()
}

/// Rows that no code mentions: `mentions` tells whether a package's code has a word.
pub(crate) fn unused(
    manifests: &[Manifest],
    root: &Manifest,
    mentions: impl Fn(&str, &str) -> bool,
) -> Vec<Offence> {
    let mut offences = Vec::new();
    for manifest in manifests {
        for row in manifest.dependencies() {
            if !mentions(&manifest.package, &row.name.replace('-', "_")) {
                let found = format!("no code of this package mentions `{}`", row.name);
                offences.push(manifest.offence(row.line, found, "take the row out"));
            }
        }
    }
    let used: Vec<Dependency> = manifests.iter().flat_map(Manifest::dependencies).collect();
    for (name, line) in root.shared_table() {
        if !used.iter().any(|row| row.name == name) {
            let found = format!("no package uses `{name}`");
            offences.push(root.offence(line, found, "take the row out of the shared table"));
        }
    }
    offences
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    &line[..end.unwrap_or(line.len())]
}

fn is_balanced(value: &str) -> bool {
    let count = |wanted: char| value.chars().filter(|c| *c == wanted).count();
    count('[') == count(']') && count('{') == count('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(package: &str, text: &str) -> Manifest {
        Manifest::new(package, "x/Cargo.toml", text)
    }

    fn places(offences: &[Offence]) -> Vec<&str> {
        offences.iter().map(|offence| offence.place.as_str()).collect()
    }

    #[test]
    fn arrays_comments_and_quotes_are_read() {
        let manifest = manifest(
            "",
            "[workspace]\nmembers = [\n  \"a\", # \"b\"\n  \"c#d\",\n]\n\
             [[bin]]\npath = \"src/m.rs\"\n",
        );
        assert_eq!(manifest.strings("workspace", "members"), ["a", "c#d"]);
        assert_eq!(manifest.values("bin", "path"), ["src/m.rs"]);
    }

    #[test]
    fn every_way_to_write_a_dependency_is_read() {
        let manifest = manifest(
            "engine",
            "[dependencies]\na.workspace = true\nb = { workspace = true, optional = true }\n\
             c = \"1\"\n\
             [dev-dependencies]\nd = { path = \"d\" }\n[target.'cfg(unix)'.dependencies]\n\
             e.workspace = true\n[dependencies.f]\nworkspace = true\nfeatures = []\n\
             [workspace.dependencies]\ng = \"1\"\n",
        );
        let found: Vec<_> =
            manifest.dependencies().into_iter().map(|row| (row.name, row.from_workspace)).collect();
        let expected =
            [("a", true), ("b", true), ("c", false), ("d", false), ("e", true), ("f", true)];
        assert_eq!(found, expected.map(|(name, shared)| (name.to_owned(), shared)));
        assert_eq!(manifest.shared_table(), [("g".to_owned(), 13)]);
    }

    #[test]
    fn an_arrow_outside_the_design_is_an_offence() {
        let cases = [
            ("engine", "storage", 1),
            ("storage", "engine", 0),
            ("storage", "actors", 1),
            ("api", "workflows", 1),
            ("workflows", "actors", 0),
            ("workflows", "api", 1),
            ("", "api", 0),
            ("attic", "engine", 1),
        ];
        for (package, target, expected) in cases {
            let text = format!("[dev-dependencies]\ncallsheet-{target}.workspace = true\n");
            let found = arrows(&[manifest(package, &text)]);
            assert_eq!(found.len(), expected, "{package} -> {target}");
        }
    }

    #[test]
    fn a_runtime_in_the_core_is_an_offence() {
        let text = "[dependencies]\nserde.workspace = true\ntokio.workspace = true\n";
        assert_eq!(places(&pure_core(&[manifest("engine", text)])), ["x/Cargo.toml:3"]);
        assert_eq!(places(&pure_core(&[manifest("storage", text)])), [""; 0]);
    }

    #[test]
    fn own_versions_and_missing_lints_are_offences() {
        let bad = manifest("api", "[dependencies]\nserde = \"1\"\n");
        assert_eq!(places(&shared_tables(&[bad])), ["x/Cargo.toml:2", "x/Cargo.toml:1"]);
        let good = manifest("api", "[lints]\nworkspace = true\n");
        assert_eq!(places(&shared_tables(&[good])), [""; 0]);
    }

    #[test]
    fn a_loose_lint_table_is_an_offence() {
        let root = manifest(
            "",
            "[workspace.lints.rust]\nmissing_docs = \"deny\"\nunsafe_code = \"warn\"\n\
             [workspace.lints.clippy]\nunwrap_used = \"deny\"\n\
             dbg_macro = \"deny\"\ntodo = \"deny\"\n",
        );
        let found: Vec<String> =
            lint_table(&root).into_iter().map(|offence| offence.found).collect();
        assert_eq!(found, ["`unsafe_code` is not denied", "`unimplemented` is not denied"]);
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_an_offence() {
        let root = manifest("", "[workspace.dependencies]\na-b = \"1\"\nc = \"1\"\n");
        let api = manifest("api", "[dependencies]\na-b.workspace = true\n");
        let found = unused(&[api], &root, |_, word| word == "a_c");
        let found: Vec<String> = found.into_iter().map(|offence| offence.found).collect();
        assert_eq!(found, ["no code of this package mentions `a-b`", "no package uses `c`"]);
    }
}
