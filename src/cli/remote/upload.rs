//! `callsheet upload`: a file goes to a server; and the files that a submit takes along.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callsheet::server::client::Client;
use callsheet::server::wire::FileReference;
use clap::Args;
use serde_json::{Value, json};

use super::ServerArgs;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::print;
use crate::cli::run::set_files;

/// Examples at the foot of `callsheet upload --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet upload talk.mp4
  callsheet submit caption --input video=\"$(callsheet upload talk.mp4)\"
  callsheet submit caption --upload video=talk.mp4";

/// Arguments of `callsheet upload`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UploadArgs {
    /// The file to send
    file: PathBuf,

    /// Its name on the server; else its own
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What it is, such as `video/mp4`; else its name's ending tells
    #[arg(long = "type", value_name = "TYPE")]
    media_type: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

/// Sends the file; prints its reference, which inputs of workflows take.
///
/// # Errors
/// When the file cannot be read, or the server cannot be reached or refuses.
pub(crate) async fn upload(args: UploadArgs) -> Result<Exit> {
    let client = args.server.client()?;
    let sent = client.upload(&args.file, args.name.as_deref(), args.media_type.as_deref()).await;
    let reference = sent.map_err(|error| args.server.complain(&error))?;
    // One line, since it is to be handed on.
    print::out(json!(reference).to_string());
    Ok(Exit::Done)
}

/// Sends the files of `--upload NAME=FILE` and puts their references into the input.
///
/// # Errors
/// When an argument is no pair, names no field or one that has a value, or a file cannot be sent.
pub(super) async fn take_along(
    uploads: &[String],
    (server, client): (&ServerArgs, &Client),
    schema: Option<&Value>,
    input: &mut Value,
) -> Result<()> {
    let mut fields: BTreeMap<&str, (&str, Vec<&Path>)> = BTreeMap::new();
    for arg in uploads {
        let pair = arg.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty());
        let (name, file) = pair.ok_or_else(|| {
            CliError::usage(format!("`--upload {arg}` is not of the form NAME=FILE"))
        })?;
        fields.entry(name).or_insert((arg, Vec::new())).1.push(Path::new(file));
    }
    // A slip is better told before the files are sent than after.
    for (name, (arg, files)) in &fields {
        let nothing = files.iter().map(|_| Value::Null).collect();
        set_files(&mut input.clone(), schema, (name, arg), nothing)?;
    }
    for (name, (arg, files)) in fields {
        let mut references: Vec<Value> = Vec::new();
        for file in files {
            let sent: FileReference =
                client.upload(file, None, None).await.map_err(|error| server.complain(&error))?;
            references.push(json!(sent));
        }
        set_files(input, schema, (name, arg), references)?;
    }
    Ok(())
}
