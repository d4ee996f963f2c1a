//! From a cancel in each step to the moment when nothing of the job is left.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use callsheet::server::client::{Client, Update};
use callsheet::server::wire::Event;
use futures::StreamExt;
use serde_json::json;

use super::page::Row;
use super::{Bench, median};
use crate::media::{address, files, workers};
use crate::samples::{Example, examples};
use crate::world::Running;

/// A step may be over before its cancel arrives; then it is tried again.
const TRIES: usize = 5;

/// What one cancel took.
struct Took {
    place: String,
    answered: Duration,
    gone: Duration,
}

/// Cancels every example in each of its steps, over HTTP.
pub(super) fn measure(bench: &Bench) -> Vec<Row> {
    let mut all = Vec::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for example in examples() {
        let place = bench.place("cancelled");
        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "state"];
        let args = [&args[..], &["--allow-local-paths"]].concat();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut server = Running::of(bench.command(&place, &args));
        let url = address(&mut server).expect("the server lives");
        let site = Site { client: Client::new(&url, None).unwrap(), state: place.join("state") };
        all.extend(runtime.block_on(site.in_each_step(&example)));
    }
    let worst = all.iter().max_by_key(|took| took.gone).expect("something was cancelled");
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let middle = median(all.iter().map(|took| ms(took.gone)).collect());
    let answered = all.iter().map(|took| ms(took.answered)).fold(0.0, f64::max);
    vec![Row::new(
        format!("cancel in each of {} steps, until no process and no file is left", all.len()),
        format!(
            "median {middle:.0} ms, at most {:.0} ms ({}); answered within {answered:.0} ms",
            ms(worst.gone),
            worst.place
        ),
        "≤ 1 s",
        worst.gone <= Duration::from_secs(1),
    )]
}

struct Site {
    client: Client,
    state: PathBuf,
}

impl Site {
    async fn in_each_step(&self, example: &Example) -> Vec<Took> {
        let workflow = self.client.workflow(&example.workflow).await.unwrap();
        let definition = serde_json::to_value(workflow).unwrap();
        let steps = definition["definition"]["steps"].as_array().cloned().unwrap_or_default();
        assert!(!steps.is_empty(), "no steps in {definition}");
        let mut all = Vec::new();
        for step in steps.iter().filter_map(|step| step["id"].as_str()) {
            for _ in 0..TRIES {
                if let Some(took) = self.in_step(example, step).await {
                    all.push(took);
                    break;
                }
            }
        }
        all
    }

    async fn in_step(&self, example: &Example, step: &str) -> Option<Took> {
        let request = json!({ "workflow": example.workflow, "input": example.json() });
        let request = serde_json::from_value(request).unwrap();
        let id = self.client.submit(&request, None).await.unwrap().id;
        let mut updates = std::pin::pin!(self.client.events(&id, None));
        while let Some(update) = updates.next().await {
            if let Update::Event { event: Event::StepStarted { step: of, .. }, .. } =
                update.unwrap()
                && of == step
            {
                return self.cancel(&id, &format!("{}, {step}", example.workflow)).await;
            }
        }
        None
    }

    async fn cancel(&self, id: &str, place: &str) -> Option<Took> {
        let since = Instant::now();
        self.client.cancel(id, None).await.unwrap();
        let answered = since.elapsed();
        while !is_empty(&self.state) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let gone = since.elapsed();
        let ended = self.client.wait(id).await.unwrap();
        let is_hit = ended.head.status.as_str() == "cancelled";
        is_hit.then(|| Took { place: place.to_owned(), answered, gone })
    }
}

fn is_empty(state: &Path) -> bool {
    workers(state).is_empty() && files(&state.join("work")).is_empty()
}
