//! Counts instructions: each work runs in a process of its own, a few times and many times. The
//! difference is what the repeats cost, without the start.

use std::process::{Command, Output};

use crate::work::{WORKS, Work};

/// Repeats of the short run.
const FEW: u64 = 2;

/// Prints the instructions of every work, or why they cannot be counted.
pub(crate) fn print() {
    let Some(counter) = Counter::find() else {
        println!(
            "skipped: instructions cannot be counted here: the machine gives its counters to \
             nobody (see /proc/sys/kernel/perf_event_paranoid; few virtual machines have any), \
             and there is no valgrind (apt-get install valgrind)"
        );
        return;
    };
    println!("counted by {}\n", counter.name());
    println!("| work | instructions | of a |\n|---|---:|---|");
    for work in WORKS {
        let [few, many] = [FEW, FEW + work.repeats].map(|count| counter.count(work, count));
        let units = (work.repeats * work.units) as f64;
        let each = many.saturating_sub(few) as f64 / units;
        println!("| {} | {each:.0} | {} |", work.name, work.unit);
    }
}

/// What counts.
#[derive(Clone, Copy)]
enum Counter {
    /// The processor's own counters, by `perf stat`.
    Machine,
    /// Valgrind's simulated processor.
    Valgrind,
}

impl Counter {
    fn find() -> Option<Self> {
        [Self::Machine, Self::Valgrind].into_iter().find(|counter| {
            let output = counter.command("true").output();
            output.is_ok_and(|output| counter.read(&output).is_some())
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Machine => "the machine's counters (perf stat, user space)",
            Self::Valgrind => "valgrind",
        }
    }

    fn command(self, program: &str) -> Command {
        let (tool, args): (_, &[&str]) = match self {
            Self::Machine => ("perf", &["stat", "-x", ",", "-e", "instructions:u", "--"]),
            Self::Valgrind => (
                "valgrind",
                &["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"],
            ),
        };
        let mut command = Command::new(tool);
        command.args(args).arg(program);
        command
    }

    fn count(self, work: &Work, count: u64) -> u64 {
        let this = std::env::current_exe().expect("this program has a path");
        let mut command = self.command(&this.display().to_string());
        let output = command.args(["--work", work.name, &count.to_string()]).output();
        let output = output.expect("it ran before");
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        self.read(&output).unwrap_or_else(|| panic!("{}: {}", work.name, said()))
    }

    /// Both tools write their count to the standard error.
    fn read(self, output: &Output) -> Option<u64> {
        let text = String::from_utf8_lossy(&output.stderr);
        let figure = match self {
            Self::Machine => text.lines().find(|line| line.contains("instructions"))?,
            Self::Valgrind => text.lines().find_map(|line| {
                line.split_once("refs:")
                    .filter(|(head, _)| head.trim_end().ends_with(" I"))
                    .map(|it| it.1)
            })?,
        };
        let figure = match self {
            Self::Machine => figure.split(',').next()?.to_owned(),
            Self::Valgrind => figure.replace(',', ""),
        };
        figure.trim().parse().ok().filter(|_| output.status.success())
    }
}
