//! How long jobs take, beside the bare commands, the original's way, and themselves.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::page::Row;
use super::replay::Recorder;
use super::{Bench, median, text};

/// Preset of everything that is compared with the bare commands.
fn preset() -> String {
    text("PRESET", "veryfast")
}

/// Presets of what is compared with the original: ours, and its own.
const PRESETS: [&str; 2] = ["veryfast", "ultrafast"];

/// The jobs whose commands are run by hand too, with their inputs.
fn jobs(bench: &Bench, preset: &str) -> Vec<(&'static str, Vec<String>)> {
    let of = |pairs: &[(&str, String)]| -> Vec<String> {
        let flags = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        flags.flat_map(|pair| ["--input".to_owned(), pair]).collect()
    };
    let talk = bench.input("talk.mp4");
    let mut scenes = Vec::new();
    for n in 1..=3 {
        scenes.push(("scenes", bench.input(&format!("scene-{n}.mp4"))));
        scenes.push(("voices", bench.input(&format!("voice-{n}.wav"))));
    }
    scenes.extend([("scene_length", "scene".to_owned()), ("preset", preset.to_owned())]);
    let music = ("music", bench.input("music.mp3"));
    vec![
        ("caption", of(&[("video", talk.clone()), ("preset", preset.to_owned())])),
        ("background-music", of(&[("video", talk), music])),
        ("merge", of(&scenes)),
    ]
}

/// The engine beside the same commands run by hand, in turns.
pub(super) fn overhead(bench: &Bench) -> Vec<Row> {
    let wanted = text("CALLSHEET_WORKFLOW", "");
    let mut jobs = jobs(bench, &preset());
    jobs.retain(|(workflow, _)| workflow.contains(&wanted));
    jobs.iter().map(|(workflow, inputs)| overhead_of(bench, workflow, inputs)).collect()
}

fn overhead_of(bench: &Bench, workflow: &str, inputs: &[String]) -> Row {
    let place = bench.place("noted");
    let recorder = Recorder::new(&place, &place.join("state"));
    run(bench, &place, workflow, inputs, Some(&recorder));
    let (mut engine, mut bare, mut count) = (Vec::new(), Vec::new(), 0);
    for _ in 0..bench.rounds {
        let result = run(bench, &bench.place("engine"), workflow, inputs, None);
        engine.push(seconds(&result));
        let (calls, took) = recorder.replay(&place.join("state"));
        count = calls;
        bare.push(took.as_secs_f64());
    }
    let ratios: Vec<f64> = engine.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    let (ours, bare, ratio) = (median(engine), median(bare), median(ratios));
    let percent = (ratio - 1.0) * 100.0;
    Row::new(
        format!("{workflow} beside its {count} bare commands, one after another"),
        format!("{ours:.2} s against {bare:.2} s: {percent:+.1} %"),
        "≤ +5 %",
        percent <= 5.0,
    )
}

/// One job with captions drawn into the scenes, beside two encodes: merge, then caption.
pub(super) fn compose_against_two_encodes(bench: &Bench) -> Vec<Row> {
    PRESETS.iter().map(|preset| compose_with(bench, preset)).collect()
}

fn compose_with(bench: &Bench, preset: &str) -> Row {
    let mut inputs = jobs(bench, preset).pop().expect("merge is the last").1;
    // The words come from nowhere: what is compared is the work on pictures and sound.
    let fake = crate::fakes::Fake::start(&bench.place("fake"), &["--text", "one two three four"]);
    inputs.extend(["--input", "provider=openai", "--input", "loudness_lufs=null"].map(Into::into));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let place = bench.place("composed");
        let mut command = command(bench, &place, "compose", &inputs);
        command.env("OPENAI_BASE_URL", fake.base_url()).env("OPENAI_API_KEY", crate::fakes::KEY);
        ours.push(seconds(&result(command)));
        theirs.push(two_encodes(bench, &place, preset).as_secs_f64());
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
    let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
    Row::new(
        format!("compose (merge and captions) against the original's two encodes, {preset}"),
        format!("{ours:.2} s against {theirs:.2} s: {ratio:.2} times as fast"),
        "≥ 1.5 times",
        ratio >= 1.5,
    )
}

/// The original's way with the same inputs and preset: each scene, joined by copy, then captions
/// burned into the whole.
fn two_encodes(bench: &Bench, place: &Path, preset: &str) -> Duration {
    let dir = bench.place("two-encodes");
    let since = Instant::now();
    let mut list = String::new();
    for n in 1..=3 {
        let (scene, voice) =
            (bench.input(&format!("scene-{n}.mp4")), bench.input(&format!("voice-{n}.wav")));
        let graph = "[0:v]scale=1080:1920:force_original_aspect_ratio=increase,crop=1080:1920,\
                     fps=30,setsar=1[v];[0:a]volume=0.2[a];[1:a]volume=2.0[b];\
                     [a][b]amix=inputs=2:duration=first[o]";
        let codecs = ["-c:v", "libx264", "-preset", preset, "-crf", "23", "-pix_fmt", "yuv420p"];
        let sound = ["-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2"];
        let name = format!("{n}.mp4");
        ffmpeg(
            &dir,
            &[
                &["-i", &scene, "-i", &voice, "-filter_complex", graph][..],
                &["-map", "[v]", "-map", "[o]"],
                &codecs,
                &sound,
                &[&name],
            ]
            .concat(),
        );
        list.push_str(&format!("file {name}\n"));
    }
    std::fs::write(dir.join("list.txt"), list).unwrap();
    ffmpeg(&dir, &["-f", "concat", "-i", "list.txt", "-c", "copy", "merged.mp4"]);
    std::fs::copy(place.join("out/captions.ass"), dir.join("captions.ass")).unwrap();
    let codecs = ["-c:v", "libx264", "-preset", preset, "-crf", "23", "-c:a", "copy"];
    ffmpeg(
        &dir,
        &[&["-i", "merged.mp4", "-vf", "ass=captions.ass"][..], &codecs, &["captioned.mp4"]]
            .concat(),
    );
    since.elapsed()
}

fn ffmpeg(dir: &Path, args: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command.current_dir(dir).args(["-nostdin", "-v", "error", "-y"]).args(args);
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// The same job asked for again, in the same data directory.
pub(super) fn second_run(bench: &Bench) -> Vec<Row> {
    let again = |(workflow, inputs): &(&str, Vec<String>)| {
        let place = bench.place("again");
        let first = seconds(&run(bench, &place, workflow, inputs, None));
        let second = seconds(&run(bench, &place, workflow, inputs, None));
        let percent = second / first * 100.0;
        Row::new(
            format!("{workflow}, the same job a second time"),
            format!("{second:.3} s after {first:.2} s: {percent:.1} %"),
            "< 5 %",
            percent < 5.0,
        )
    };
    let wanted = text("CALLSHEET_WORKFLOW", "");
    jobs(bench, &preset())
        .iter()
        .filter(|(workflow, _)| workflow.contains(&wanted))
        .map(again)
        .collect()
}

fn command(bench: &Bench, place: &Path, workflow: &str, inputs: &[String]) -> Command {
    let mut args = vec!["run".to_owned(), workflow.to_owned()];
    args.extend_from_slice(inputs);
    let data = ["--out", "out", "--data-dir", "state", "--json", "--progress", "none"];
    args.extend(data.map(ToOwned::to_owned));
    bench.command(place, &args)
}

fn run(
    bench: &Bench,
    place: &Path,
    workflow: &str,
    inputs: &[String],
    recorder: Option<&Recorder>,
) -> Value {
    let mut command = command(bench, place, workflow, inputs);
    if let Some(recorder) = recorder {
        command.env("PATH", recorder.path());
    }
    result(command)
}

pub(super) fn result(mut command: Command) -> Value {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// From the start of the first step to the end of the last.
fn seconds(result: &Value) -> f64 {
    let time = |value: &Value| -> Option<i64> {
        let at: chrono::DateTime<chrono::Utc> = value.as_str()?.parse().ok()?;
        Some(at.timestamp_millis())
    };
    let steps = result["steps"].as_array().unwrap();
    let first = steps.iter().filter_map(|step| time(&step["started_at"])).min().unwrap();
    let last = steps.iter().filter_map(|step| time(&step["ended_at"])).max().unwrap();
    (last - first) as f64 / 1_000.0
}
