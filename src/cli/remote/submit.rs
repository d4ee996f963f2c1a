//! `callsheet submit`: hands a job to a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callsheet::server::wire::{SubmitRequest, Webhook};
use clap::Args;
use serde_json::{Value, json};

use super::upload::take_along;
use super::{ServerArgs, show};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::run::{Given, InputArgs, gather, inner_inputs, make_absolute};
use crate::cli::{env, print, source};

/// Examples at the foot of `callsheet submit --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet submit caption --input video=https://example.org/talk.mp4
  callsheet submit caption -i video=https://example.org/talk.mp4 --key talk-7 --wait
  callsheet submit background-music --upload video=a.mp4 --upload music=b.mp3 --out scored
  callsheet submit my-flow.yaml --input-file input.json --label customer=42";

/// Arguments of `callsheet submit`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// Name of a workflow that the server knows, or path of a YAML or JSON file
    workflow: String,

    #[command(flatten)]
    input: InputArgs,

    /// A file to send to the server first; the field is then its reference; repeat it for more
    /// fields, or for the items of an array
    #[arg(long = "upload", value_name = "NAME=FILE")]
    uploads: Vec<String>,

    /// A mark of your own, shown in lists; repeat it for more
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,

    /// Idempotency key: the same key and request, sent again, give the same job
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// How long the job's files are kept after its end, such as `7d`, or `forever`
    /// [default: as the server is set]
    #[arg(long, value_name = "TIME")]
    retention: Option<String>,

    /// Run every step, whatever results there are of before
    #[arg(long)]
    no_cache: bool,

    /// Whom to tell of the job's end, by a signed request
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,

    /// What signs that request [default: CALLSHEET_WEBHOOK_SECRET, or the server's own secret]
    #[arg(long, value_name = "SECRET", requires = "webhook")]
    webhook_secret: Option<String>,

    /// Stay until the job has ended, and fail if it does not succeed
    #[arg(long)]
    wait: bool,

    /// Stay until the job has ended, and put the files among its output into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Submits the job; prints its id.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(crate) async fn submit(args: SubmitArgs) -> Result<Exit> {
    let client = args.server.client()?;
    let labels = labels(&args.labels)?;
    let is_file = source::looks_like_file(&args.workflow);
    let (schema, request) = if is_file {
        let definition = definition(Path::new(&args.workflow))?;
        let request = SubmitRequest { definition: Some(definition), ..SubmitRequest::default() };
        (request.definition.as_ref().and_then(|it| it.get("input").cloned()), request)
    } else {
        let known = client.workflow(&args.workflow).await;
        let known = known.map_err(|error| args.server.complain(&error))?;
        let workflow = Some(args.workflow.clone());
        (known.input, SubmitRequest { workflow, ..SubmitRequest::default() })
    };
    let mut input = gather(&args.input, schema.as_ref())?;
    let whole = schema.as_ref().unwrap_or(&Value::Null);
    let mut inner = BTreeMap::new();
    inner_inputs(whole, &mut input, &mut |name, _| drop(inner.insert(name.to_owned(), None)));
    for (name, schema) in &mut inner {
        // What is unknown the server tells of, item by item.
        *schema = client.workflow(name).await.ok().and_then(|known| known.input);
    }
    inner_inputs(whole, &mut input, &mut |name, input| {
        inner[name].iter().for_each(|schema| make_absolute(schema, input));
    });
    take_along(&args.uploads, (&args.server, &client), schema.as_ref(), &mut input).await?;
    let (retention, cache) = (args.retention.clone(), args.no_cache.then_some(false));
    let webhook = args.webhook.clone().map(|url| Webhook {
        url,
        // By hand: what stands in the environment must not ask for a webhook.
        secret: args.webhook_secret.clone().or_else(|| env::get(env::WEBHOOK_SECRET)),
        events: None,
    });
    let request = SubmitRequest { input, labels, retention, cache, webhook, ..request };
    let accepted = client.submit(&request, args.key.as_deref()).await;
    let accepted = accepted.map_err(|error| args.server.complain(&error))?;
    if args.wait || args.out.is_some() {
        let out = args.out.as_deref().map(|dir| (dir, given(&args, &request.input)));
        return show::wait((&args.server, &client), &accepted.id, args.json, out).await;
    }
    if args.json {
        print::out_json(&json!(accepted));
    } else {
        print::out(&accepted.id);
    }
    if accepted.replayed {
        eprintln!("the key was used before: this is the job it gave then");
    }
    Ok(Exit::Done)
}

/// The files of this machine that the job is given: nothing that it makes is put over them.
fn given(args: &SubmitArgs, input: &Value) -> Given {
    let uploads = args.uploads.iter().filter_map(|arg| Some(arg.split_once('=')?.1));
    Given::find_in(&json!([input, uploads.collect::<Vec<_>>()]))
}

/// A file as the definition it holds. What it refers to is for the server to check.
fn definition(path: &Path) -> Result<Value> {
    let text = source::read(path)?;
    let workflow = callsheet::definition::parse(&text)
        .map_err(|problems| CliError::problems(&path.display().to_string(), &problems))?;
    serde_json::to_value(&workflow)
        .map_err(|error| CliError::failed(format!("the definition is not JSON: {error}")))
}

fn labels(args: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |arg: &String| match arg.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(CliError::usage(format!("`--label {arg}` is not of the form NAME=VALUE"))),
    };
    args.iter().map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        let given = ["a=1".to_owned(), "b=x=y".to_owned()];
        let read = labels(&given).unwrap();
        assert_eq!(read, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "x=y".into())]));
        for bad in ["a", "=1"] {
            let error = labels(&[bad.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("is not of the form NAME=VALUE"), "{error}");
        }
    }

    #[test]
    fn a_file_is_sent_as_the_definition_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.yaml");
        std::fs::write(&path, "name: w\nsteps:\n  - { id: a, uses: x.y }\n").unwrap();
        let sent = definition(&path).unwrap();
        assert_eq!((&sent["name"], &sent["steps"][0]["uses"]), (&json!("w"), &json!("x.y")));
        std::fs::write(&path, "name: w\nstesp: []\n").unwrap();
        let error = definition(&path).unwrap_err().to_string();
        assert!(error.contains("w.yaml:2:1: "), "{error}");
    }
}
