//! The tests, built once with the faults in them, and run one at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cases::{CASES, Test};

/// The variable that names the fault to switch on.
const VARIABLE: &str = "CALLSHEET_MUTATION";

/// What `make mutations` gives to cargo: packages and features.
const ARGUMENTS: &str = "CALLSHEET_MUTATION_BUILD";

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// Programs by the folder of their package and their target.
pub(crate) struct Suites(BTreeMap<(PathBuf, String), PathBuf>);

impl Suites {
    /// Builds all that the cases need, with one call.
    pub(crate) fn build() -> Self {
        let arguments = std::env::var(ARGUMENTS).expect("run it with `make mutations`");
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        cargo.args(["test", "--no-run", "--lib", "--message-format=json"]);
        cargo.args(arguments.split_whitespace());
        for case in CASES.iter().filter(|case| case.test.target != "lib") {
            cargo.args(["--test", case.test.target]);
        }
        let built = cargo.stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success(), "the tests did not build: {}", built.status);
        let messages = String::from_utf8(built.stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        Self(messages.filter_map(|message| program(&message)).collect())
    }

    /// Runs a test with a fault switched on, or none.
    pub(crate) fn run(&self, test: &Test, fault: Option<&str>) -> Ran {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(test.package);
        let dir = dir.canonicalize().unwrap();
        let program = self.0.get(&(dir.clone(), test.target.to_owned()));
        let program = program.unwrap_or_else(|| panic!("no program was built for `{test}`"));
        let said = tempfile::NamedTempFile::new().unwrap();
        let since = Instant::now();
        let mut child = Command::new(program)
            .arg(test.name)
            .current_dir(&dir)
            .env(VARIABLE, fault.unwrap_or_default())
            .env("RUST_BACKTRACE", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
            .stdin(Stdio::null())
            .stdout(said.as_file().try_clone().unwrap())
            .stderr(said.as_file().try_clone().unwrap())
            .spawn()
            .unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status.success());
            }
            if since.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = std::fs::read_to_string(said.path()).unwrap();
        let has_begun = text.contains("running 1 test");
        Ran::new(&text, status, has_begun, since.elapsed().as_secs_f64())
    }
}

/// The test program that a message of cargo's tells of.
fn program(message: &Value) -> Option<((PathBuf, String), PathBuf)> {
    let program = message["executable"].as_str()?;
    let dir = Path::new(message["manifest_path"].as_str()?).parent()?.canonicalize().ok()?;
    let target = &message["target"];
    let is_lib = target["kind"][0] == "lib";
    let name = if is_lib { "lib" } else { target["name"].as_str()? };
    let is_test = message["profile"]["test"] == true;
    is_test.then(|| ((dir, name.to_owned()), program.into()))
}

/// A test that has run.
pub(crate) struct Ran {
    said: String,
    /// Whether it ended well; `None` when it did not end.
    success: Option<bool>,
    has_begun: bool,
    seconds: f64,
}

impl Ran {
    pub(crate) fn new(said: &str, success: Option<bool>, has_begun: bool, seconds: f64) -> Self {
        Self { said: said.to_owned(), success, has_begun, seconds }
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Whether one test was there, and found nothing.
    pub(crate) fn is_green(&self) -> bool {
        self.success == Some(true) && self.said.contains("test result: ok. 1 passed")
    }

    /// Whether the test has noticed.
    pub(crate) fn is_caught(&self) -> bool {
        self.has_begun && self.success == Some(false)
    }

    /// Who has noticed.
    pub(crate) fn verdict(&self) -> String {
        let failed = self.said.lines().filter_map(|line| {
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        });
        match (self.is_caught(), failed.collect::<Vec<_>>().first()) {
            (true, Some(test)) => (*test).to_owned(),
            (true, None) => "the test, which died of it".to_owned(),
            (false, _) if self.success.is_none() => "**nobody: the test hung**".to_owned(),
            (false, _) => "**nobody**".to_owned(),
        }
    }
}
