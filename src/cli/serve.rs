//! `callsheet serve`: the engine behind its HTTP front door, until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use callsheet::media::{
    ByteSize, Confinement, MediaOptions, Sandbox, Secret, Webhook, WebhookEvent,
};
use callsheet::server::{ApiOptions, wire};
use callsheet::{Engine, Failure, Submit};
use clap::Args;
use tokio::net::TcpListener;

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::keeping::KeepingArgs;
use crate::cli::local::{self, Grace};
use crate::cli::logging::{self, LogFormat};
use crate::cli::run::store_failed;
use crate::cli::signals::Signals;
use crate::cli::{compat, env, source};

/// Examples at the foot of `callsheet serve --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet serve
  callsheet serve --data-dir /var/lib/callsheet --workflows flows --allow-local-paths
  CALLSHEET_TOKEN=secret callsheet serve --listen 0.0.0.0:7070 --log json

The first Ctrl-C or SIGTERM drains: no new jobs, running steps may finish, the rest goes on at the
next start. The second stops at once. Either way nothing that was accepted is lost.";

/// Arguments of `callsheet serve`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Address to listen on; beyond this machine a token is needed
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Directory that holds jobs and files; made if it is not there
    #[arg(long, env = env::DATA_DIR, default_value = "callsheet-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// Token that clients must send as `Authorization: Bearer TOKEN`
    #[arg(long, env = env::TOKEN, hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,

    /// Directory of workflows to offer beside the shipped ones: *.yaml, *.yml, *.json
    #[arg(long, value_name = "DIR")]
    workflows: Option<PathBuf>,

    /// Let `media.fetch` read files of this machine, for whoever may submit jobs
    #[arg(long)]
    allow_local_paths: bool,

    /// Let `media.fetch` ask hosts with private addresses, such as 127.0.0.1 or 10.0.0.1
    ///
    /// Off by default, so that a job cannot be made to read services inside your network.
    #[arg(long)]
    allow_private_addresses: bool,

    /// Whether ffmpeg and the recogniser are shut in: `auto` (where it works), `require` or `off`
    #[arg(long, default_value = "auto", value_name = "MODE")]
    sandbox: Sandbox,

    /// Largest file that clients may upload, such as 500MiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    max_upload: ByteSize,

    /// Answer clients of the FFmpeg service too, below /compat/ffmpeg-service
    ///
    /// Its routes, fields and words, over the shipped workflows: see docs/moving.md.
    #[arg(long)]
    compat_ffmpeg_service: bool,

    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,

    #[command(flatten)]
    keeping: KeepingArgs,

    #[command(flatten)]
    grace: Grace,
}

/// Serves until a signal, or until the store fails.
///
/// # Errors
/// When the address, the workflows or the data directory cannot be used, or the store fails.
pub(crate) async fn run(args: ServeArgs) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    logging::start(args.log, "info")?;
    let token = args.token.clone().filter(|token| !token.is_empty());
    if token.is_none() && !args.listen.ip().is_loopback() {
        return Err(CliError::usage(format!(
            "`{}` can be reached from other machines",
            args.listen
        ))
        .hint(format!("set a token: --token TOKEN or {}", env::TOKEN)));
    }
    let sandboxed = sandbox_words(args.sandbox)?;
    let options = MediaOptions {
        allow_local_paths: args.allow_local_paths,
        allow_private_addresses: args.allow_private_addresses,
        sandbox: args.sandbox,
        ..MediaOptions::default()
    };
    if let Some(Err(refused)) = options.webhook_secret.as_ref().map(Secret::check) {
        let what = format!("`{}`: {}", env::WEBHOOK_SECRET, refused.0.message);
        return Err(CliError::usage(what).maybe_hint(refused.0.hint));
    }
    // The address first: a second server is refused before it touches the data directory.
    let listener = listen(args.listen).await?;
    std::fs::create_dir_all(&args.data_dir)
        .map_err(|error| CliError::file("make", &args.data_dir, &error))?;
    let keeping = args.keeping.into();
    let engine = local::over(&args.data_dir, &options, args.grace, keeping).await?;
    if let Some(dir) = &args.workflows {
        offer(&engine, dir)?;
    }
    let address = listener.local_addr().unwrap_or(args.listen);
    eprintln!("callsheet listens on http://{address}, data in {}", args.data_dir.display());
    eprintln!("{sandboxed}");
    let api = ApiOptions { token, max_upload_bytes: args.max_upload.0, ..ApiOptions::default() };
    let mut options = api.webhooks(move |webhook| deliver(options.clone(), webhook));
    if args.compat_ffmpeg_service {
        options = options.below(compat::PREFIX, compat::routes(engine.clone()));
    }
    until_stopped(&engine, listener, options, &mut signals).await
}

/// The job that tells somebody of another's end.
async fn deliver(
    options: MediaOptions,
    asked: wire::Webhook,
) -> std::result::Result<Submit, Failure> {
    let mut webhook = Webhook::to(asked.url);
    if let Some(secret) = asked.secret {
        webhook = webhook.secret(secret);
    }
    if let Some(events) = asked.events {
        webhook = webhook.events(events.into_iter().map(|event| match event {
            wire::WebhookEvent::Succeeded => WebhookEvent::Succeeded,
            wire::WebhookEvent::Failed => WebhookEvent::Failed,
            wire::WebhookEvent::Cancelled => WebhookEvent::Cancelled,
        }));
    }
    webhook.submit(&options).await.map_err(|refused| refused.0)
}

/// Whether the programs that read strangers' files are shut in, in words.
fn sandbox_words(sandbox: Sandbox) -> Result<String> {
    Ok(match sandbox.confinement() {
        Confinement::Confined => "ffmpeg and the recogniser run in a sandbox".to_owned(),
        Confinement::Off => "ffmpeg and the recogniser run without a sandbox".to_owned(),
        Confinement::Unavailable(why) if sandbox == Sandbox::Require => {
            return Err(CliError::engine(format!("there is no sandbox here: {why}"))
                .hint("apt-get install bubblewrap, or choose --sandbox auto"));
        }
        Confinement::Unavailable(why) => {
            format!("warning: ffmpeg and the recogniser run without a sandbox: {why}")
        }
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::engine(format!("cannot listen on `{address}`: {error}"))
            .hint("is another server running? choose another address with --listen")
    })
}

/// Registers every definition in a directory, in the order of the names.
fn offer(engine: &Engine, dir: &Path) -> Result<()> {
    let entries = std::fs::read_dir(dir).map_err(|error| CliError::file("read", dir, &error))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        path.is_file() && matches!(ending, Some("yaml" | "yml" | "json"))
    });
    files.sort();
    for file in files {
        let text = source::read(&file)?;
        engine
            .register(&text)
            .map_err(|problems| CliError::problems(&file.display().to_string(), &problems))?;
    }
    Ok(())
}

/// Answers requests until a signal has drained the engine, or the store has failed.
async fn until_stopped(
    engine: &Engine,
    listener: TcpListener,
    options: ApiOptions,
    signals: &mut Signals,
) -> Result<Exit> {
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let closed = async {
        // An error means that the sender is gone, which is as good a reason to close.
        let _ = closed.await;
    };
    let mut served =
        tokio::spawn(callsheet::server::serve(listener, engine.clone(), options, closed));
    tokio::select! {
        ended = &mut served => Err(CliError::engine(match ended {
            Ok(Ok(())) => "the server has stopped".to_owned(),
            Ok(Err(error)) => format!("the server has stopped: {error}"),
            Err(panic) => format!("the server has stopped: {panic}"),
        })),
        error = engine.failed() => Err(store_failed(error)),
        signal = signals.next() => {
            // Reads are still answered while the engine drains: clients see their jobs' end.
            let at_once = drain(engine, signal, signals).await?;
            let _ = close.send(());
            if !at_once {
                wait_for_requests(served, signals).await;
            }
            Ok(Exit::Done)
        }
    }
}

/// Lets running steps finish; answers whether a second signal cut that short.
async fn drain(engine: &Engine, signal: &str, signals: &mut Signals) -> Result<bool> {
    let running = engine.stats().attempts_open;
    eprintln!(
        "{signal}: draining, {running} running attempts may finish; \
         press Ctrl-C again to stop at once"
    );
    tokio::select! {
        () = engine.shutdown() => {
            eprintln!("drained: unfinished jobs go on at the next start");
            Ok(false)
        }
        _ = signals.next() => {
            eprintln!("stopping at once: unfinished jobs go on at the next start");
            engine.stop_now().await;
            Ok(true)
        }
        error = engine.failed() => Err(store_failed(error)),
    }
}

/// Waits for requests under way, such as event streams, but not for ever.
async fn wait_for_requests<T>(served: tokio::task::JoinHandle<T>, signals: &mut Signals) {
    let patience = std::time::Duration::from_secs(5);
    tokio::select! {
        _ = served => {}
        () = tokio::time::sleep(patience) => {}
        _ = signals.next() => {}
    }
}
