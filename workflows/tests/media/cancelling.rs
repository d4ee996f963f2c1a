//! A job that is cancelled in the middle of an encode, and what those who watch see of one.

use std::path::Path;
use std::time::Duration;

use callsheet_actors::{Engine, Submit};
use callsheet_engine::{Ending, JobId, Phase};
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

use crate::samples::Samples;
use crate::support::{engine, offline};

/// Burns captions into a film, as slowly as it goes.
async fn burn(engine: &Engine, film: &Path) -> callsheet_actors::JobHandle {
    let definition = json!({
        "name": "slow",
        "steps": [
            { "id": "fetch", "uses": "media.fetch", "with": { "source": film } },
            { "id": "words", "uses": "subtitles.compose", "with": { "words": [] } },
            { "id": "burn", "uses": "ffmpeg.burn_subtitles", "with": {
                "video": "{{ steps.fetch.file }}",
                "subtitles": "{{ steps.words.ass }}",
                "preset": "veryslow",
            } },
        ],
    });
    let plan = engine.validate(&definition.to_string()).unwrap();
    engine.submit(Submit::plan(plan, Value::Null)).await.unwrap().job
}

/// Processes that work for the job: their command line names its work directory.
fn children(job: JobId) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&job.to_string()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_encode_leaves_no_process_behind() {
    let samples = Samples::new();
    let film = samples
        .ffmpeg("-f lavfi -i testsrc2=size=640x360:duration=60 -preset ultrafast", "film.mp4");
    let engine = engine(&offline()).await;
    let mut watching = engine.progress();
    let job = burn(&engine, &film).await;
    while watching.recv().await.unwrap().step_id != "burn" {}
    assert!(children(job.id()).iter().any(|line| line.contains("libx264")), "ffmpeg is at work");
    job.cancel(None).await.unwrap();
    let view = job.wait_for(Duration::from_secs(20)).await.unwrap();
    assert_eq!(view.head.status, JobStatus::Cancelled);
    assert!(matches!(view.state.phase, Phase::Ended { ending: Ending::Cancelled, .. }));
    assert_eq!(children(job.id()), [""; 0]);
}

/// A mix is several runs of ffmpeg: those who watch see one piece of work.
#[tokio::test(flavor = "multi_thread")]
async fn a_mix_grows_in_percents_and_is_cancelled_without_a_trace() {
    let samples = Samples::new();
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=64x64:rate=5:duration=300 -f lavfi -t 300 -i sine \
         -preset ultrafast -c:a flac",
        "film.mkv",
    );
    let engine = engine(&offline()).await;
    let mut watching = engine.progress();
    let input = json!({ "video": film, "music": film, "duck": true });
    let submitted = engine.submit(Submit::named("background-music", input)).await.unwrap();
    let job = submitted.job;
    let mut percents = vec![0.0];
    while *percents.last().unwrap() < 31.0 {
        let progress = watching.recv().await.unwrap();
        if progress.step_id == "mix" {
            percents.push(progress.percent);
        }
    }
    assert!(percents.is_sorted(), "{percents:?}");
    assert!(children(job.id()).iter().any(|line| line.contains("stream_loop")), "it is at work");
    job.cancel(None).await.unwrap();
    let view = job.wait_for(Duration::from_secs(20)).await.unwrap();
    assert_eq!(view.head.status, JobStatus::Cancelled);
    assert_eq!(children(job.id()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_see_percents_that_grow() {
    let samples = Samples::new();
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=640x360:duration=4", "film.mp4");
    let engine = engine(&offline()).await;
    let mut watching = engine.progress();
    let job = burn(&engine, &film).await;
    job.wait().await.unwrap();
    let mut percents = Vec::new();
    while let Ok(progress) = watching.try_recv() {
        assert_eq!(progress.job, job.id());
        if progress.step_id == "burn" {
            percents.push(progress.percent);
        }
    }
    assert!(percents.len() > 2, "{percents:?}");
    assert!(percents.is_sorted() && percents.iter().all(|percent| *percent <= 100.0));
}
