//! Cancel of a running ffmpeg over HTTP: the process tree is gone, the work directory is gone, the
//! state is `cancelled` and stays so over a restart.

use std::time::{Duration, Instant};

use callsheet::server::client::Client;
use rustix::process::Signal;
use serde_json::json;

use super::media::{files, moving_picture, serve, workers};

const SLOW: &str = "
name: slow
input: { type: object, required: [video], properties: { video: { type: string } } }
steps:
  - { id: fetch, uses: media.fetch, with: { source: '{{ input.video }}' } }
  - id: titles
    uses: subtitles.compose
    with: { words: [ { text: hello, start_s: 1, end_s: 2 } ], width: 1920, height: 1080 }
  - id: burn
    uses: ffmpeg.burn_subtitles
    with: { video: '{{ steps.fetch.file }}', subtitles: '{{ steps.titles.ass }}', preset: veryslow }
";

#[test]
fn a_cancel_over_http_ends_a_running_ffmpeg_and_all_that_belongs_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    std::fs::create_dir(path.join("flows")).unwrap();
    std::fs::write(path.join("flows/slow.yaml"), SLOW).unwrap();
    let video = path.join("long.mp4");
    moving_picture(&video, 30, "1920x1080");
    let (server, url) = serve(&path);
    let state = path.join("state");
    let runtime = tokio::runtime::Runtime::new().unwrap();

    let (id, took) = runtime.block_on(async {
        let client = Client::new(&url, None).unwrap();
        let request = json!({ "workflow": "slow", "input": { "video": video } });
        let request = serde_json::from_value(request).unwrap();
        let id = client.submit(&request, None).await.unwrap().id;
        until("ffmpeg has written something", || {
            !workers(&state).is_empty()
                && files(&state.join("work")).iter().any(|file| {
                    file.extension().is_some_and(|it| it == "mp4")
                        && file.metadata().is_ok_and(|it| it.len() > 0)
                })
        })
        .await;

        let since = Instant::now();
        client.cancel(&id, Some("a better take came in")).await.unwrap();
        let answered = since.elapsed();
        until("the process tree is gone", || workers(&state).is_empty()).await;
        let took = (answered, since.elapsed());
        let job = client.wait(&id).await.unwrap();
        assert_eq!(job.head.status.as_str(), "cancelled");
        assert_eq!(files(&state.join("work")), Vec::<std::path::PathBuf>::new());
        (id, took)
    });
    println!(
        "cancel of a running ffmpeg: answered after {:?}, all gone after {:?}",
        took.0, took.1
    );

    server.signal(Signal::KILL);
    server.end();
    let (_server, url) = serve(&path);
    runtime.block_on(async {
        let client = Client::new(&url, None).unwrap();
        let job = client.wait(&id).await.unwrap();
        assert_eq!(job.head.status.as_str(), "cancelled");
        assert!(workers(&state).is_empty(), "a cancelled job came back to life");
    });
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(120), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
