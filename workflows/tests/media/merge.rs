//! The whole workflow `merge`, its results measured by ffmpeg itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use callsheet_actors::Engine;
use callsheet_engine::Failure;
use serde_json::{Value, json};

use crate::samples::{Samples, check, ffprobe};
use crate::support::{bytes, code, engine, offline, run, step, stored};

/// Side of the film: the smallest that is taken.
const SIDE: u32 = 480;

/// A job's output, and its video as a file.
pub(crate) struct Merged {
    pub(crate) output: Value,
    pub(crate) video: PathBuf,
}

pub(crate) async fn merged(
    engine: &Engine,
    samples: &Samples,
    workflow: &str,
    more: Value,
) -> Result<Merged, Failure> {
    let mut input = json!({ "width": SIDE, "height": SIDE, "preset": "ultrafast", "crf": 30 });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let output = run(engine, workflow, input).await?;
    let video = samples.write("out.mp4", bytes(engine, &output["video"]));
    Ok(Merged { output, video })
}

/// A scene of one colour; what is said of its sound stands behind it.
pub(crate) fn scene(
    samples: &Samples,
    colour: &str,
    seconds: f64,
    sound: &str,
    name: &str,
) -> PathBuf {
    let pictures = format!("-f lavfi -i color={colour}:size=160x90:rate=25:duration={seconds}");
    samples.ffmpeg(&format!("{pictures} {sound} -preset ultrafast"), name)
}

/// A tone at the start of a silence: where it is heard, this scene begins.
pub(crate) fn beep(samples: &Samples, seconds: f64, name: &str) -> PathBuf {
    let tone = format!(
        "-f lavfi -t {seconds} -i aevalsrc=0.2*sin(2*PI*1000*t)*lt(t\\,0.05):s=44100 -ac 2"
    );
    samples.ffmpeg(&tone, name)
}

/// How many pictures there are, counted by decoding them.
fn frames(path: &Path) -> u64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"]);
    let counted = check(command.args(["-show_entries", "stream=nb_read_frames"]).arg(path));
    counted.trim().parse().unwrap()
}

/// When pictures and sound end.
pub(crate) fn ends(path: &Path) -> (f64, f64) {
    let end = |stream: &str| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0"]);
        let times = check(command.args(["-show_entries", "stream=start_time,duration"]).arg(path));
        times.trim().split(',').map(|time| time.parse::<f64>().unwrap()).sum::<f64>()
    };
    (end("v:0"), end("a:0"))
}

/// The film's sound: one channel, 48 kHz, from the first picture on.
pub(crate) fn sound(path: &Path) -> Vec<f32> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path);
    command.args(["-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]);
    let raw = command.output().unwrap().stdout;
    raw.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Every second at which it becomes loud after a while of silence.
pub(crate) fn beeps(sound: &[f32]) -> Vec<f64> {
    let (mut found, mut quiet) = (Vec::new(), usize::MAX);
    for (n, sample) in sound.iter().enumerate() {
        if sample.abs() > 0.05 {
            if quiet > 4_800 {
                found.push(n as f64 / 48_000.0);
            }
            quiet = 0;
        } else {
            quiet = quiet.saturating_add(1);
        }
    }
    found
}

/// The colour of one pixel of the picture at an instant: red, green, blue.
fn pixel(path: &Path, at_s: f64, x: u32, y: u32) -> [u8; 3] {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-ss", &at_s.to_string(), "-i"]).arg(path);
    let crop = format!("crop=2:2:{x}:{y},format=rgb24");
    command.args(["-frames:v", "1", "-vf", &crop, "-f", "rawvideo", "-"]);
    command.output().unwrap().stdout[..3].try_into().unwrap()
}

fn is_near(found: [u8; 3], expected: [u8; 3]) -> bool {
    found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 24)
}

const BLACK: [u8; 3] = [0, 0, 0];
const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

#[tokio::test(flavor = "multi_thread")]
async fn scenes_last_as_long_as_was_chosen_and_sound_ends_with_the_pictures() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // One is shorter than its voice, one longer; one has a sound of its own, one has none.
    let scenes = json!([
        scene(&samples, "red", 1.0, "-f lavfi -t 1 -i sine=440 -c:a aac", "red.mp4"),
        scene(&samples, "blue", 2.0, "", "blue.mkv"),
    ]);
    let voices = json!([beep(&samples, 1.51, "one.mp3"), beep(&samples, 0.7, "two.wav")]);
    for (chosen, fps, lengths) in [
        (json!("scene"), 30.0, [1.0, 2.0]),
        (json!("voice"), 25.0, [1.51, 0.7]),
        (json!("longest"), 29.97, [1.51, 2.0]),
        (json!(1.2), 24.0, [1.2, 1.2]),
    ] {
        let input = json!({
            "scenes": scenes, "voices": voices, "scene_length": chosen, "fps": fps,
        });
        let merged = merged(&engine, &samples, "merge", input).await.unwrap();
        let rate = if fps == 29.97 { 30_000.0 / 1_001.0 } else { fps };
        // An MP3 is as long as its last frame: up to 50 ms more than what went in.
        let planned = merged.output["scenes"].as_array().unwrap();
        for (shot, length) in planned.iter().zip(lengths) {
            let duration = shot["duration_s"].as_f64().unwrap();
            assert!((duration - length).abs() < 0.1, "{chosen}: {duration}, expected {length}");
        }
        let expected: u64 = planned.iter().map(|shot| shot["frames"].as_u64().unwrap()).sum();
        assert_eq!(frames(&merged.video), expected, "{chosen}");
        let (pictures, sound) = ends(&merged.video);
        assert!((pictures - expected as f64 / rate).abs() < 0.001, "{chosen}: {pictures}");
        assert!((pictures - sound).abs() <= 0.0211, "{chosen}: {pictures} {sound}");
        // The last picture is held, and the next scene begins where it should.
        let seam = planned[1]["start_s"].as_f64().unwrap();
        assert!(is_near(pixel(&merged.video, seam - 0.1, 240, 240), RED), "{chosen}");
        assert!(is_near(pixel(&merged.video, seam + 0.05, 240, 240), BLUE), "{chosen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_differ_are_refused_before_anything_is_fetched() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let input = json!({ "scenes": ["/nowhere/a.mp4", "/nowhere/b.mp4"], "voices": ["/nowhere/c"] });
    let failure = merged(&engine, &samples, "merge", input).await.err().unwrap();
    assert_eq!(failure.code, "merge.counts");
    assert!(failure.message.contains("2 `scenes` and 1 `voices`"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_seen_or_heard_is_refused_by_its_number() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = scene(&samples, "red", 0.5, "", "film.mp4");
    let voice = beep(&samples, 0.5, "voice.wav");
    for (scenes, voices, expected, said) in [
        (json!([film, film]), json!([voice, film]), "merge.no_audio", "voice-over 2"),
        (json!([voice, film]), json!([voice, voice]), "merge.no_video", "scene 1"),
    ] {
        let input = json!({ "scenes": scenes, "voices": voices });
        let failure = merged(&engine, &samples, "merge", input).await.err().unwrap();
        assert_eq!(failure.code, expected);
        assert!(failure.message.contains(said), "{}", failure.message);
    }
    let with = json!({ "scene": stored(&engine, &film), "frames": 1, "width": 481 });
    assert_eq!(code(step(&engine, "scenes.picture", with).await), "merge.input");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scene_of_another_shape_fills_the_frame_or_lies_between_bars() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // Red on the left, blue on the right, twice as wide as high; and the same lying, turned
    // upright by what its file says; and the same stored square with wide pixels.
    let wide = "-f lavfi -i color=red:size=160x160:rate=25:duration=0.4 \
                -f lavfi -i color=blue:size=160x160:rate=25:duration=0.4 -filter_complex ";
    let plain = samples.ffmpeg(&format!("{wide} hstack"), "plain.mp4");
    let squeezed = format!("{wide} hstack,scale=160:160,setsar=2/1");
    let squeezed = samples.ffmpeg(&squeezed, "squeezed.mp4");
    samples.ffmpeg(&format!("{wide} hstack,transpose=clock"), "lying.mp4");
    let turned = samples.ffmpeg("-i lying.mp4 -c copy -metadata:s:v rotate=90", "turned.mp4");
    let voice = beep(&samples, 0.4, "voice.wav");
    for film in [&plain, &squeezed, &turned] {
        for (fit, top, middle) in [("cover", RED, RED), ("contain", BLACK, RED)] {
            let input = json!({ "scenes": [film], "voices": [voice], "fit": fit });
            let merged = merged(&engine, &samples, "merge", input).await.unwrap();
            let shape = "stream=width,height,sample_aspect_ratio,pix_fmt";
            let shape = ffprobe(&merged.video, shape);
            assert!(shape.starts_with("480,480,1:1,yuv420p"), "{shape}");
            let colours =
                [(100, 20), (100, 240), (380, 240)].map(|(x, y)| pixel(&merged.video, 0.2, x, y));
            for (found, expected) in colours.iter().zip([top, middle, BLUE]) {
                assert!(is_near(*found, expected), "{film:?} {fit}: {colours:?}");
            }
        }
    }
}
