//! `make bench-media`: what the video workflows cost beside the bare commands, how soon a cancel is
//! over, how right times and levels are. Writes its part of `docs/measurements.md`.
//!
//! `SIZE` and `TIMES` make the inputs larger and longer, `SCENES` sets the scenes of the long
//! merge, `ROUNDS` how often each pair is run in turns. In a plain run of the tests the measuring
//! is ignored.

mod cancels;
mod levels;
mod page;
mod replay;
mod speed;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::callsheet;
use page::Row;

/// What is measured: the program, the inputs, and how much.
struct Bench {
    dir: tempfile::TempDir,
    /// The example inputs, in their larger form.
    inputs: PathBuf,
    size: String,
    times: u32,
    rounds: u32,
    scenes: u32,
}

/// The name of a part, and what measures it.
type Part = (&'static str, fn(&Bench) -> Vec<Row>);

#[test]
#[ignore = "takes minutes; run it with `make bench-media`"]
fn bench_media() {
    let bench = Bench::new();
    let wanted = text("ONLY", "");
    let mut rows: Vec<Row> = Vec::new();
    let parts: [Part; 7] = [
        ("overhead", speed::overhead),
        ("compose", speed::compose_against_two_encodes),
        ("again", speed::second_run),
        ("cancel", cancels::measure),
        ("words", words::measure),
        ("levels", levels::music),
        ("drift", levels::drift),
    ];
    for (name, measure) in parts.iter().filter(|(name, _)| name.contains(&wanted)) {
        eprintln!("measuring {name}");
        let found = measure(&bench);
        found.iter().for_each(|row| println!("{}", row.line()));
        rows.extend(found);
    }
    if wanted.is_empty() {
        page::write(&bench.heading(), &rows);
    }
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (size, times) = (text("SIZE", "640x360"), text("TIMES", "1"));
        let inputs = dir.path().join("inputs");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/media/make.sh");
        let mut make = Command::new(script);
        make.arg(&inputs).env("SIZE", &size).env("TIMES", &times);
        assert!(make.status().unwrap().success());
        let number = |name: &str, usual: &str| text(name, usual).parse().expect("a number");
        let (times, rounds, scenes) =
            (times.parse().unwrap(), number("ROUNDS", "3"), number("SCENES", "100"));
        Self { dir, inputs, size, times, rounds, scenes }
    }

    fn heading(&self) -> String {
        let build = if std::env::var_os("CALLSHEET_BENCH").is_some() { "release" } else { "debug" };
        let day = chrono::Utc::now().format("%Y-%m-%d");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let Self { size, times, rounds, .. } = self;
        format!(
            "Measured on {day}: {build} build, {cores} cores, pictures of {size}, the example \
             inputs {times} times as long, median of {rounds} in turns."
        )
    }

    /// The path of an input.
    fn input(&self, name: &str) -> String {
        let path = self.inputs.join(name);
        assert!(path.is_file(), "there is no input `{name}`");
        path.display().to_string()
    }

    /// The program: the one in `CALLSHEET_BENCH`, or the one beside this test.
    fn command(&self, dir: &Path, args: &[String]) -> Command {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let own = callsheet(dir, &args);
        let Some(program) = std::env::var_os("CALLSHEET_BENCH") else { return own };
        let mut command = Command::new(program);
        command.current_dir(dir).args(own.get_args());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// An empty directory.
    fn place(&self, name: &str) -> PathBuf {
        let path = self.dir.path().canonicalize().unwrap().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        path
    }
}

fn text(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
