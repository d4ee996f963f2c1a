//! The command line: its subcommands, and how it begins and ends.

mod batch;
mod bench;
mod compat;
mod correct;
#[cfg(feature = "failpoints")]
mod deaths;
mod demo;
mod env;
mod error;
mod fake_providers;
mod graph;
mod keeping;
mod kinds;
mod local;
mod logging;
mod offline;
mod print;
mod progress;
mod remote;
mod run;
mod serve;
mod signals;
mod source;
mod upkeep;
mod validate;

use std::process::ExitCode;
use std::time::Duration;

use callsheet::definition::nearest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use error::{CliError, Exit, Result};

/// Lines are wrapped at this width even on a wider terminal: longer ones are hard to read.
const HELP_COLUMNS: usize = 100;

/// A durable workflow engine: kill it at any instant, cancel at once, nothing is lost
///
/// Workflows are graphs of steps in YAML. A job is one run of a workflow; it is recorded after
/// every step, so that it goes on from there after a crash, a kill or a power cut.
#[derive(Debug, Parser)]
#[command(name = "callsheet", version, max_term_width = HELP_COLUMNS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one job here, without a server, and put its files into a directory
    Run(run::RunArgs),
    /// Start the server: jobs over HTTP
    Serve(serve::ServeArgs),
    /// Send a file to a server, for jobs to work on
    Upload(remote::UploadArgs),
    /// Hand a job to a server
    Submit(remote::SubmitArgs),
    /// List jobs
    Jobs(remote::JobsArgs),
    /// Show one job: its steps, or its events as they happen
    Show(remote::ShowArgs),
    /// Cancel a job: its work stops now
    Cancel(remote::CancelArgs),
    /// Say what became of a step that is held
    Resolve(remote::ResolveArgs),
    /// Check definitions: every problem with line, column and hint
    Validate(validate::ValidateArgs),
    /// Draw a workflow as Mermaid or DOT
    Graph(graph::GraphArgs),
    /// Back up everything to a file, while the server goes on
    Backup(upkeep::BackupArgs),
    /// Make a new data directory from a backup
    Restore(upkeep::RestoreArgs),
    /// Check a data directory: every record, journal and file
    Verify(upkeep::VerifyArgs),
    /// Write a data directory anew, so that its room comes back
    Compact(upkeep::CompactArgs),
    /// Stand in for OpenAI on this machine: real answers, faults on demand, counted calls
    FakeProviders(fake_providers::FakeProvidersArgs),
    /// See a captioning job killed in the middle and going on where it was
    Demo(demo::DemoArgs),
    /// Measure the engine on this machine's disk
    Bench(bench::BenchArgs),
}

/// Reads the command line, does what it says, and answers with the exit code.
pub(crate) fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    deaths::arm();
    let cli = match read() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::engine(format!("cannot start the runtime: {error}")))
        .and_then(|runtime| {
            let ended = runtime.block_on(go(cli.command));
            // Blocking work that is left, such as a read of stdin, must not hold the exit up.
            runtime.shutdown_timeout(Duration::from_millis(200));
            ended
        });
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{error}");
            error.exit.into()
        }
    }
}

async fn go(command: Command) -> Result<Exit> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Upload(args) => remote::upload(args).await,
        Command::Submit(args) => remote::submit(args).await,
        Command::Jobs(args) => remote::jobs(args).await,
        Command::Show(args) => remote::show(args).await,
        Command::Cancel(args) => remote::cancel(args).await,
        Command::Resolve(args) => remote::resolve(args).await,
        Command::Validate(args) => validate::run(args).await,
        Command::Graph(args) => graph::run(args).await,
        Command::Backup(args) => upkeep::backup(args).await,
        Command::Restore(args) => upkeep::restore(args).await,
        Command::Verify(args) => upkeep::verify(args).await,
        Command::Compact(args) => upkeep::compact(args).await,
        Command::FakeProviders(args) => fake_providers::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Bench(args) => bench::run(args).await,
    }
}

/// The command line as it was meant, or how to end: help is no mistake, the rest is.
fn read() -> std::result::Result<Cli, Exit> {
    let command = Cli::command().after_help(foot());
    let matches = command.try_get_matches();
    matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        // A closed terminal cannot be told anything; the exit code says it too.
        let _ = error.print();
        if error.use_stderr() {
            if let Some(hint) = meant(&error) {
                eprintln!("hint: {hint}");
            }
            Exit::Usage
        } else {
            Exit::Done
        }
    })
}

/// The corrected command, when the nearest known word is clear.
fn meant(error: &clap::Error) -> Option<String> {
    let (wrong, right) = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand)
        }
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        ErrorKind::InvalidValue => (ContextKind::InvalidValue, ContextKind::SuggestedValue),
        _ => return None,
    };
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(all) => all.first().cloned(),
        _ => None,
    };
    let wrong = text(wrong)?;
    let right = text(right).or_else(|| nearest_flag(&wrong))?;
    Some(format!("try: {}", correct::corrected(&wrong, &right)))
}

/// The flag of the subcommand in use that is most like what was typed.
fn nearest_flag(wrong: &str) -> Option<String> {
    let name = wrong.strip_prefix("--")?;
    let cli = Cli::command();
    let command = std::env::args().skip(1).find_map(|word| cli.find_subcommand(word).cloned())?;
    let flags: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    nearest(name, flags).map(|flag| format!("--{flag}"))
}

/// The foot of `callsheet --help`: examples, variables, exit codes.
fn foot() -> String {
    let width = env::ALL.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let variables = env::ALL.map(|(name, what)| format!("  {name:<width$}  {what}\n")).concat();
    format!(
        "\
Examples:
  callsheet demo
  callsheet run caption --input video=talk.mp4 --out captioned
  callsheet serve
  callsheet submit caption --input video=https://example.org/talk.mp4 --wait

Environment:
{variables}
Exit codes:
  0    done
  1    the job or an item of a batch failed, a definition has problems, or a request was refused
  2    the command line cannot be understood
  3    the engine cannot work: its data directory or its store has failed
  130  interrupted; nothing recorded is lost"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_argument_has_help() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
