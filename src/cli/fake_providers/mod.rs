//! `callsheet fake-providers`: a stand-in on this machine for the services that steps pay for.
//!
//! It speaks as OpenAI does, as far as Callsheet asks: so a user can try a workflow without a key,
//! and a test can count what would have been paid, also over the death of the engine.

mod answer;
mod fault;
mod form;
mod openai;
mod refusal;
mod script;
mod server;
mod tally;
mod voice;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::print;
use crate::cli::signals::Signals;

use script::Rule;
use server::Fake;
use voice::Voice;

/// Examples at the foot of `callsheet fake-providers --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet fake-providers
  callsheet fake-providers --text 'hello world' --fault 1-2=500 --fault 3=429:2s
  callsheet fake-providers --listen 127.0.0.1:7080 --words words.json --script faults.yaml

What it answers to POST /v1/audio/transcriptions is what the recogniser of this machine hears in the
upload, unless --words or --text give the answer. Keys, parameters and sizes are checked as the
service checks them.

Faults:
  500         that status, 400 to 599, with the body that the service gives
  429         too many requests; 429:2s says when to come again (Retry-After)
  quota       429, but the account has no credit left
  delay:2s    the answer comes later
  cut         half of the answer, then the connection is closed
  html        status 200 and a page, as something in between may send
  hang        no answer at all
CALLS=FAULT says for which calls: 3, 1-3, 4- for all from the fourth on, or all. Several delays add
up; of the other faults the first one counts. A client may also ask for a fault itself, with the
header `x-fake-fault: cut`.

A script is the same as YAML or JSON:
  faults:
    - { calls: 1-2, fault: 500 }
    - { calls: 3, fault: '429:2s' }

GET /calls says how often it was asked and what was paid for: calls by route and by the hash of
their content, and each call with its end. DELETE /calls forgets them and begins to count anew.";

/// Arguments of `callsheet fake-providers`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FakeProvidersArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// The one key that is accepted
    #[arg(long, default_value = "sk-fake-callsheet", value_name = "KEY")]
    key: String,

    /// A fault, and the calls that it befalls; may be repeated
    #[arg(long = "fault", value_name = "CALLS=FAULT")]
    faults: Vec<Rule>,

    /// File of faults, YAML or JSON; they come after those of --fault
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// File of the words that are always heard: a verbose_json answer, or its list of words
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    words: Option<PathBuf>,

    /// Text that is always heard, two words a second
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

/// Serves until a signal.
///
/// # Errors
/// When the script, the words or the address cannot be used, or nothing here can recognise speech.
pub(crate) async fn run(args: FakeProvidersArgs) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let mut rules = args.faults;
    if let Some(file) = &args.script {
        rules.extend(script::read(file)?);
    }
    let voice = match (&args.words, &args.text) {
        (Some(file), _) => Voice::of_file(file)?,
        (None, Some(text)) => Voice::of_text(text),
        (None, None) => Voice::of_recogniser().await?,
    };
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        CliError::engine(format!("cannot listen on `{}`: {error}", args.listen))
            .hint("choose another address with --listen, or port 0 for a free one")
    })?;
    let address = listener.local_addr().unwrap_or(args.listen);
    print::out(format!("export OPENAI_API_KEY={}", args.key));
    print::out(format!("export OPENAI_BASE_URL=http://{address}/v1"));
    eprintln!("fake-providers listens on http://{address}, calls are counted at /calls");
    let router = server::router(Fake::new(args.key, rules, voice));
    tokio::select! {
        served = axum::serve(listener, router) => {
            let why = served.map_or_else(|error| error.to_string(), |()| "it ended".to_owned());
            Err(CliError::engine(format!("the server has stopped: {why}")))
        }
        _ = signals.next() => Ok(Exit::Done),
    }
}
