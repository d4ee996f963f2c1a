//! The example inputs, made once for all tests, and the example commands on them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// The page whose commands are run.
const PAGE: &str = include_str!("../../examples/media/README.md");

/// A workflow and the input that the page gives it.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) workflow: String,
    /// `name=value`, with the files of the examples by their whole path.
    pub(crate) inputs: Vec<String>,
    /// A file with the input, in their place.
    file: Option<PathBuf>,
}

/// Every command of the page.
pub(crate) fn examples() -> Vec<Example> {
    let text = PAGE.replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| line.strip_prefix("callsheet run "));
    let found: Vec<Example> = commands.map(Example::read).collect();
    assert!(!found.is_empty(), "the page has no commands");
    found
}

/// The commands whose workflow has this in its name, or all without `CALLSHEET_WORKFLOW`.
pub(crate) fn wanted() -> Vec<Example> {
    let wanted = std::env::var("CALLSHEET_WORKFLOW").unwrap_or_default();
    let mut found = examples();
    found.retain(|example| example.workflow.contains(&wanted));
    found
}

impl Example {
    fn read(command: &str) -> Self {
        let mut words = command.split_whitespace();
        let workflow = words.next().unwrap().to_owned();
        let (mut inputs, mut file) = (Vec::new(), None);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("`{word}` has no value: {command}"));
            match word {
                "--input" => inputs.push(with_path(value)),
                "--input-file" => file = Some(directory().join(value)),
                "--out" => {}
                other => panic!("`{other}` is not expected in an example: {command}"),
            }
        }
        Self { workflow, inputs, file }
    }

    /// The command line, with the data in `state` so that it can be gone on with.
    pub(crate) fn args(&self, out: &str, more: &[&str]) -> Vec<String> {
        let mut args = vec!["run".to_owned(), self.workflow.clone()];
        args.extend(self.inputs.iter().flat_map(|input| ["--input".to_owned(), input.clone()]));
        if let Some(file) = &self.file {
            args.extend(["--input-file".to_owned(), file.display().to_string()]);
        }
        args.extend(["--out", out, "--json"].map(ToOwned::to_owned));
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args
    }

    /// The input as JSON; what is repeated is a list.
    pub(crate) fn json(&self) -> Value {
        if let Some(file) = &self.file {
            return serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        }
        let mut fields: Map<String, Value> = Map::new();
        for input in &self.inputs {
            let (name, text) = input.split_once('=').unwrap();
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            match fields.get_mut(name) {
                None => drop(fields.insert(name.to_owned(), value)),
                Some(Value::Array(items)) => items.push(value),
                Some(first) => *first = Value::from(vec![first.take(), value]),
            }
        }
        Value::Object(fields)
    }
}

fn with_path(input: &str) -> String {
    let (name, value) = input.split_once('=').unwrap_or_else(|| panic!("no NAME=VALUE: {input}"));
    let file = directory().join(value);
    if file.is_file() { format!("{name}={}", file.display()) } else { input.to_owned() }
}

/// Where the example inputs are.
pub(crate) fn directory() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        // One directory for all runs, so that nothing has to be tidied up after a test process.
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("examples-media");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/media/make.sh");
        let made = dir.join(std::process::id().to_string());
        let _ = std::fs::remove_dir_all(&dir);
        let ended = Command::new(script).arg(&made).env("SIZE", "320x180").output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        for (variable, names) in [
            ("CALLSHEET_VIDEO", &["talk.mp4", "landscape.mp4"][..]),
            ("CALLSHEET_MUSIC", &["music.mp3"]),
        ] {
            let Some(given) = std::env::var_os(variable) else { continue };
            for name in names {
                std::fs::copy(&given, made.join(name)).expect("the file in the variable is there");
            }
        }
        made
    })
}
