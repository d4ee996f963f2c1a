//! The whole workflow `caption` on real speech.

use callsheet_workflows::subtitles::{Cue, read_srt, read_vtt};
use serde_json::{Value, json};

use crate::samples::{FILM_S, Samples, ffprobe};
use crate::support::{bytes, code, engine, offline, run, text};

/// Words to change, add or take away to get from one text to the other.
fn distance(from: &[&str], to: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (n, word) in from.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(word != other);
            diagonal = row[m + 1];
            row[m + 1] = changed.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row[to.len()]
}

/// How far a word may be from where it is spoken.
const NEAR_S: f64 = 0.5;

fn caption(path: &std::path::Path) -> Value {
    json!({ "video": path, "preset": "ultrafast" })
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_becomes_captions_at_the_right_seconds() {
    let samples = Samples::new();
    let (film, spoken) = samples.film();
    let engine = engine(&offline()).await;
    let output = run(&engine, "caption", caption(&film)).await.unwrap();

    let cues = read_srt(&text(&engine, &output["srt"])).unwrap();
    assert_eq!(read_vtt(&text(&engine, &output["vtt"])).unwrap(), cues);
    assert_eq!(output["cues"], cues.len());
    assert!(cues.iter().all(|cue| cue.text.split_whitespace().count() <= 3));
    let shown: Vec<&str> = cues.iter().flat_map(|cue| cue.text.split_whitespace()).collect();
    let said: Vec<&str> = spoken.iter().flat_map(|one| one.text.split_whitespace()).collect();
    let wrong = distance(&said, &shown);
    assert!(wrong * 10 <= said.len(), "{wrong} of {} words: {shown:?}", said.len());
    for sentence in &spoken {
        let during = |cue: &&Cue| {
            let middle = (cue.start_ms + cue.end_ms) as f64 / 2_000.0;
            (sentence.start_s..sentence.end_s).contains(&middle)
        };
        let first = cues.iter().find(during).unwrap().start_ms as f64 / 1e3;
        let last = cues.iter().rfind(during).unwrap().end_ms as f64 / 1e3;
        assert!((first - sentence.start_s).abs() < NEAR_S, "{first} {}", sentence.start_s);
        assert!((last - sentence.end_s).abs() < NEAR_S, "{last} {}", sentence.end_s);
    }
    assert_eq!(output["provider"], "pocketsphinx");
    assert_eq!(output["draft"], true);

    assert_eq!(output["video"]["name"], "video.mp4");
    let video = samples.write("out.mp4", bytes(&engine, &output["video"]));
    assert_eq!(ffprobe(&video, "stream=codec_name"), "h264\naac");
    assert_eq!(ffprobe(&video, "stream=width,height"), "640,360");
    let duration: f64 = ffprobe(&video, "format=duration").parse().unwrap();
    assert!((duration - FILM_S).abs() < 0.1, "{duration}");
    assert!((output["duration_s"].as_f64().unwrap() - FILM_S).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_are_in_the_picture_while_somebody_speaks_and_not_else() {
    let samples = Samples::new();
    let (film, spoken) = samples.film();
    let engine = engine(&offline()).await;
    let output = run(&engine, "caption", caption(&film)).await.unwrap();
    samples.write("out.mp4", bytes(&engine, &output["video"]));
    // The lower half of the picture, where captions stand, in shades of grey.
    let ground = |film: &str, second: f64| -> Vec<u8> {
        let arguments = format!(
            "-ss {second} -i {film} -vf crop=iw:ih/2:0:ih/2 -pix_fmt gray -frames:v 1 \
             -f rawvideo"
        );
        std::fs::read(samples.ffmpeg(&arguments, "ground.raw")).unwrap()
    };
    let changed = |second: f64| -> usize {
        let (before, after) = (ground("film.mp4", second), ground("out.mp4", second));
        before.iter().zip(&after).filter(|(before, after)| before.abs_diff(**after) > 80).count()
    };
    let (while_speaking, in_silence) = (changed(spoken[0].start_s + 1.0), changed(0.1));
    assert!(while_speaking > 500 && in_silence < 50, "{while_speaking} against {in_silence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_without_sound_is_refused_with_a_reason() {
    let samples = Samples::new();
    let silent = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "silent.mp4");
    let engine = engine(&offline()).await;
    let failure = run(&engine, "caption", caption(&silent)).await.unwrap_err();
    assert_eq!(failure.code, "media.no_audio");
    assert!(failure.hint.is_some() && !failure.retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_gives_a_video_with_valid_and_empty_captions() {
    let samples = Samples::new();
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2 -f lavfi -t 2 -i anullsrc \
         -c:v libx264 -c:a libopus",
        "quiet.mkv",
    );
    let engine = engine(&offline()).await;
    let output = run(&engine, "caption", caption(&film)).await.unwrap();
    assert_eq!(output["cues"], 0);
    assert_eq!(output["text"], "");
    assert_eq!(text(&engine, &output["srt"]), "");
    assert_eq!(read_vtt(&text(&engine, &output["vtt"])), Ok(vec![]));
    let video = samples.write("out.mp4", bytes(&engine, &output["video"]));
    assert_eq!(ffprobe(&video, "stream=codec_name"), "h264\naac");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_is_checked_before_a_job_begins() {
    let engine = engine(&offline()).await;
    for input in [
        json!({}),
        json!({ "video": "" }),
        json!({ "video": "a", "words_per_line": 13 }),
        json!({ "video": "a", "preset": "warp" }),
        json!({ "video": "a", "word_per_line": 3 }),
    ] {
        let submit = callsheet_actors::Submit::named("caption", input.clone());
        assert!(engine.submit(submit).await.is_err(), "{input}");
    }
    let missing = run(&engine, "caption", json!({ "video": "/nowhere/film.mp4" })).await;
    assert_eq!(code(missing), "fetch.not_found");
}
