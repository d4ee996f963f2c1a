//! The workflow `analyze`, its answers compared with what ffmpeg says when it is asked alone.

use std::path::Path;
use std::process::Command;

use callsheet_actors::{Engine, Submit};
use serde_json::{Value, json};

use crate::samples::{Samples, ffprobe};
use crate::support::{bytes, code, engine, offline, run};

async fn analyze(engine: &Engine, video: &Path, more: Value) -> Value {
    let mut input = more.clone();
    input["video"] = json!(video);
    let output = run(engine, "analyze", input).await;
    output.unwrap_or_else(|failure| panic!("{more}: {failure:?}"))
}

/// What ffmpeg says of a file behind one filter of sound.
fn asked_alone(path: &Path, filter: &str) -> String {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostats", "-i"]).arg(path);
    let ended = ffmpeg.args(["-vn", "-af", filter, "-f", "null", "-"]).output().unwrap();
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

/// The numbers behind each mark in a text.
fn numbers(said: &str, mark: &str) -> Vec<f64> {
    let after = said.split(mark).skip(1);
    after.map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

fn close(found: &Value, expected: f64, by: f64) {
    let value = found.as_f64().unwrap_or_else(|| panic!("{found}"));
    assert!((value - expected).abs() <= by, "{value}, expected {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_decode_says_what_each_filter_says_alone() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let (film, _) = samples.film();
    let output = analyze(&engine, &film, json!({ "wav": true })).await;
    let said = asked_alone(&film, "silencedetect=n=-35dB:d=0.5");
    let (starts, ends) = (numbers(&said, "silence_start: "), numbers(&said, "silence_end: "));
    let silences = output["silences"].as_array().unwrap();
    assert_eq!(silences.len(), starts.len(), "{said}");
    assert!(silences.len() >= 3);
    for (n, silence) in silences.iter().enumerate() {
        close(&silence["start_s"], starts[n].max(0.0), 0.001);
        // The last one ends with the sound, which a container may say a packet early.
        close(&silence["end_s"], ends[n], if n + 1 == ends.len() { 0.03 } else { 0.001 });
    }
    let said = asked_alone(&film, "ebur128=peak=true");
    let summary = said.rsplit("Summary:").next().unwrap();
    let loudness = &output["loudness"];
    close(&loudness["integrated_lufs"], numbers(summary, "I:")[0], 0.05);
    close(&loudness["range_lu"], numbers(summary, "LRA:")[0], 0.05);
    close(&loudness["true_peak_dbtp"], numbers(summary, "Peak:")[0], 0.05);
    close(&output["duration_s"], 8.0, 0.05);
    assert_eq!(output["streams"].as_array().unwrap().len(), 2);
    assert_eq!(output["scenes"], json!([]));
    let wave = samples.write("wave.png", bytes(&engine, &output["waveform"]));
    assert_eq!(ffprobe(&wave, "stream=codec_name,width,height"), "png,1200,240");
    let wav = samples.write("a.wav", bytes(&engine, &output["wav"]));
    assert_eq!(ffprobe(&wav, "stream=codec_name,sample_rate,channels"), "pcm_s16le,16000,1");
    assert_eq!(output["wav"]["name"], "audio.wav");
    let report: Value = serde_json::from_slice(&bytes(&engine, &output["report"])).unwrap();
    for field in ["duration_s", "streams", "loudness", "silences", "scenes"] {
        assert_eq!(report[field], output[field], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenes_change_where_the_picture_does() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i color=c=red:size=64x48:rate=25:duration=2 \
         -f lavfi -i testsrc2=size=64x48:rate=25:duration=1.4 \
         -f lavfi -i color=c=white:size=64x48:rate=25:duration=1 \
         -filter_complex [0][1][2]concat=n=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
        "cuts.mp4",
    );
    let output = analyze(&engine, &film, json!({ "scenes": true })).await;
    let found: Vec<f64> =
        output["scenes"].as_array().unwrap().iter().map(|s| s["at_s"].as_f64().unwrap()).collect();
    assert_eq!(found.len(), 2, "{output}");
    assert!((found[0] - 2.0).abs() < 0.01 && (found[1] - 3.4).abs() < 0.01, "{found:?}");
    assert!(output["scenes"][0]["score"].as_f64().unwrap() > 0.3);
    // Without sound there is nothing to hear, and that is an answer.
    assert_eq!(output["loudness"], Value::Null);
    assert_eq!(output["waveform"], Value::Null);
    assert_eq!(output["silences"], json!([]));
    let blind = analyze(&engine, &film, json!({})).await;
    assert_eq!(blind["scenes"], json!([]));
}

/// The picture is as high as the sound is loud: nothing in its first half, much in its second.
#[tokio::test(flavor = "multi_thread")]
async fn the_waveform_shows_the_sound() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let sound = samples
        .ffmpeg("-f lavfi -t 4 -i sine=f=440 -af volume=0:enable=lt(t\\,2),volume=12dB", "a.wav");
    let asked = json!({ "waveform_width": 100, "waveform_height": 40 });
    let output = analyze(&engine, &sound, asked).await;
    let wave = samples.write("wave.png", bytes(&engine, &output["waveform"]));
    let drawn = |crop: &str| {
        let filter = format!("alphaextract,{crop},scale=1:1:flags=area,format=gray");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(&wave).args(["-vf", &filter, "-f", "rawvideo", "-"]);
        ffmpeg.output().unwrap().stdout[0]
    };
    let (before, behind) = (drawn("crop=40:40:0:0"), drawn("crop=40:40:60:0"));
    assert!(behind > 60 && before < behind / 4, "{before} before, {behind} behind");
    assert_eq!(output["silences"].as_array().unwrap().len(), 1);
    // ffmpeg turns the volume from one piece of sound to the next.
    close(&output["silences"][0]["end_s"], 2.0, 0.05);
    assert_eq!(output["wav"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_silent_from_end_to_end() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let sound = samples.ffmpeg("-f lavfi -t 2 -i anullsrc -c:a flac", "a.flac");
    let output = analyze(&engine, &sound, json!({})).await;
    assert_eq!(output["loudness"]["integrated_lufs"], Value::Null);
    assert_eq!(output["loudness"]["range_lu"], Value::Null);
    assert_eq!(output["loudness"]["true_peak_dbtp"], Value::Null);
    let silences = output["silences"].as_array().unwrap();
    assert_eq!(silences.len(), 1);
    close(&silences[0]["start_s"], 0.0, 0.01);
    close(&silences[0]["end_s"], 2.0, 0.01);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_is_refused() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let page = samples.write("page.mp4", "<!doctype html>");
    assert_eq!(code(run(&engine, "analyze", json!({ "video": page })).await), "media.not_allowed");
    for more in [
        json!({ "silence_db": 3 }),
        json!({ "silence_min_s": 0 }),
        json!({ "scene_threshold": 2 }),
        json!({ "waveform_width": 1 }),
        json!({ "scene": true }),
    ] {
        let mut input = more.clone();
        input["video"] = json!(page);
        assert!(engine.submit(Submit::named("analyze", input)).await.is_err(), "{more}");
    }
}

/// As a browser records: what does not say how long it is has an end all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_silence_ends_where_the_sound_does() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -t 2 -i sine -af apad=whole_dur=4 -c:a libopus -f webm -live 1",
        "live.webm",
    );
    assert_eq!(ffprobe(&film, "format=duration"), "N/A");
    let output = analyze(&engine, &film, json!({})).await;
    let silences = output["silences"].as_array().unwrap();
    assert_eq!(silences.len(), 1, "{output}");
    close(&silences[0]["start_s"], 2.0, 0.05);
    close(&silences[0]["end_s"], 4.0, 0.05);
}
