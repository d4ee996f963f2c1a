//! The whole workflow `caption` on real speech.

use callsheet_workflows::subtitles::{read_srt, read_vtt};
use serde_json::{Value, json};

use crate::samples::{FILM_S, Samples, ffprobe};
use crate::support::{bytes, code, engine, offline, run, text};

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
    let shown: Vec<&str> = cues.iter().flat_map(|cue| cue.text.split_whitespace()).collect();
    let expected: Vec<&str> = spoken.iter().map(|sentence| sentence.text).collect();
    assert_eq!(shown.join(" "), expected.join(" "));
    assert!(cues.iter().all(|cue| cue.text.split_whitespace().count() <= 3));
    for sentence in &spoken {
        let words: Vec<&str> = sentence.text.split_whitespace().collect();
        let first = cues.iter().find(|cue| words.join(" ").starts_with(&cue.text)).unwrap();
        let last = cues.iter().find(|cue| sentence.text.ends_with(&cue.text)).unwrap();
        let (start, end) = (first.start_ms as f64 / 1e3, last.end_ms as f64 / 1e3);
        assert!((start - sentence.start_s).abs() < NEAR_S, "{start} {}", sentence.start_s);
        assert!((end - sentence.end_s).abs() < NEAR_S, "{end} {}", sentence.end_s);
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
    // Brightness of the lowest fifth, where captions stand, against the film without them.
    let difference = |second: f64| -> f64 {
        let filter = "[0]crop=iw:ih/5:0:ih*4/5[a];[1]crop=iw:ih/5:0:ih*4/5[b];\
                      [a][b]blend=all_mode=difference,format=gray,scale=1:1:flags=area";
        let raw = samples.ffmpeg(
            &format!(
                "-ss {second} -i film.mp4 -ss {second} -i out.mp4 -filter_complex {filter} \
                 -frames:v 1 -f rawvideo"
            ),
            "difference.raw",
        );
        f64::from(std::fs::read(raw).unwrap()[0])
    };
    let while_speaking = difference(spoken[0].start_s + 1.0);
    let in_silence = difference(0.1);
    assert!(while_speaking > in_silence + 5.0, "{while_speaking} against {in_silence}");
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
