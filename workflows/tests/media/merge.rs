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
    for (fit, top) in [("cover", RED), ("contain", BLACK)] {
        let input = json!({
            "scenes": [plain, squeezed, turned], "voices": [voice, voice, voice], "fit": fit,
        });
        let merged = merged(&engine, &samples, "merge", input).await.unwrap();
        let shape = ffprobe(&merged.video, "stream=width,height,sample_aspect_ratio,pix_fmt");
        assert!(shape.starts_with("480,480,1:1,yuv420p"), "{shape}");
        for at_s in [0.2, 0.6, 1.0] {
            let places = [(100, 20), (100, 240), (380, 240)];
            let colours = places.map(|(x, y)| pixel(&merged.video, at_s, x, y));
            for (found, expected) in colours.iter().zip([top, RED, BLUE]) {
                assert!(is_near(*found, expected), "{fit} at {at_s} s: {colours:?}");
            }
        }
    }
}

/// As many scenes as `CALLSHEET_SCENES` says; a hundred are played before a release.
fn many() -> usize {
    std::env::var("CALLSHEET_SCENES").map_or(12, |count| count.parse().unwrap())
}

/// At 29.97 pictures a second no scene is a whole number of AAC frames or of milliseconds.
#[tokio::test(flavor = "multi_thread")]
async fn every_voice_begins_with_its_scene_and_nothing_drifts() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = scene(&samples, "red", 0.2, "", "film.mp4");
    let kinds = ["a.wav", "b.flac", "c.m4a"];
    let lengths = [0.47, 0.61, 0.533];
    let files = kinds.iter().zip(lengths).map(|(name, length)| beep(&samples, length, name));
    let files: Vec<PathBuf> = files.collect();
    let voices: Vec<&PathBuf> = files.iter().cycle().take(many()).collect();
    let input = json!({ "scenes": vec![&film; many()], "voices": voices, "fps": 29.97 });
    let merged = merged(&engine, &samples, "merge", input).await.unwrap();
    let (pictures, end) = ends(&merged.video);
    assert!((pictures - end).abs() <= 0.0211, "pictures end at {pictures}, sound at {end}");
    let shots = merged.output["scenes"].as_array().unwrap();
    let expected: f64 = lengths
        .iter()
        .cycle()
        .take(many())
        .map(|length| (length * 30_000.0 / 1_001.0).round() * 1_001.0 / 30_000.0)
        .sum();
    assert!((pictures - expected).abs() < 0.001, "{pictures}, expected {expected}");
    let heard = beeps(&sound(&merged.video));
    assert_eq!(heard.len(), many(), "{heard:?}");
    for (shot, heard) in shots.iter().zip(&heard) {
        let start = shot["start_s"].as_f64().unwrap();
        assert!((start - heard).abs() <= 0.021, "{heard}, expected {start}");
    }
}

/// Both volumes are what was asked for, and two loud sounds are held, not clipped.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_kept_and_peaks_are_held() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // Two channels: one alone is shared between two, 3 dB less in each and as loud as before.
    let tone = |hz: u32| {
        let channel = format!("0.1*sin(2*PI*{hz}*t)");
        format!("-f lavfi -t 2 -i aevalsrc={channel}|{channel}:s=48000 -c:a pcm_s16le")
    };
    let film = scene(&samples, "red", 2.0, &tone(200), "film.mkv");
    let voice = samples.ffmpeg(&tone(5_000), "voice.wav");
    let level = |path: &Path, filter: &str| {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-nostats", "-i"]).arg(path);
        let measure = format!("atrim=0.5:1.5,{filter},{filter},volumedetect");
        command.args(["-vn", "-af", &measure, "-f", "null", "-"]);
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        let found = said.split("mean_volume: ").nth(1).unwrap();
        found.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let (low, high) = ("lowpass=f=1000", "highpass=f=2000");
    for (more, scene_db, voice_db) in [
        (json!({}), -13.98, 6.02),
        (json!({ "video_volume": 1.0, "voiceover_volume": 0.5 }), 0.0, -6.02),
    ] {
        let mut input = more.clone();
        input["scenes"] = json!([film]);
        input["voices"] = json!([voice]);
        let merged = merged(&engine, &samples, "merge", input).await.unwrap();
        let gains = [
            level(&merged.video, low) - level(&film, low),
            level(&merged.video, high) - level(&voice, high),
        ];
        assert!((gains[0] - scene_db).abs() < 0.5, "{more}: {gains:?}");
        assert!((gains[1] - voice_db).abs() < 0.5, "{more}: {gains:?}");
    }
    // Twenty times too loud; and the same brought to a loudness.
    let loud = json!({
        "scenes": [film], "voices": [voice], "video_volume": 10.0, "voiceover_volume": 10.0,
    });
    for target in [None, Some(-16.0)] {
        let mut input = loud.clone();
        input["loudness_lufs"] = json!(target);
        let merged = merged(&engine, &samples, "merge", input).await.unwrap();
        let peak = merged.output["true_peak_dbtp"].as_f64().unwrap();
        assert!(peak <= -1.5, "{target:?}: {}", merged.output);
        assert_eq!(merged.output["loudness_reached"], true, "{}", merged.output);
        let lufs = merged.output["loudness_lufs"].as_f64().unwrap();
        assert!(target.is_none_or(|target| (lufs - target).abs() <= 1.0), "{lufs}");
        // A clipped sum of two tones is full of others.
        let between = level(&merged.video, "bandpass=f=9600:width_type=h:w=200");
        assert!(between < -30.0, "{target:?}: {between} dB between the tones");
    }
}

/// What was asked of each part's header by the parts before it, whatever the scenes were.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_any_origin_share_one_header() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let source = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=0.4";
    let hdr = "-pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 \
               -colorspace bt2020nc";
    let films = [
        samples.ffmpeg(source, "plain.mp4"),
        samples.ffmpeg(&format!("{source} {hdr}"), "hdr.mkv"),
        samples.ffmpeg(&format!("{source} -vf scale=161:91 -c:v ffv1 -pix_fmt rgb24"), "odd.mkv"),
        samples.ffmpeg(&format!("{source} -c:v mpeg4 -r 12.5"), "slow.avi"),
        // Every third picture is left out: no two are equally far apart.
        samples.ffmpeg(&format!("{source} -vf select=mod(n\\,3) -vsync vfr"), "variable.mp4"),
        samples.ffmpeg(&format!("{source} -c:v mjpeg -pix_fmt yuvj444p -r 60"), "full.mov"),
        samples.ffmpeg(&format!("{source} -c:v mpeg2video -flags +ildct+ilme"), "interlaced.mpg"),
    ];
    let mut headers = Vec::new();
    for film in &films {
        let with = json!({
            "scene": stored(&engine, film), "frames": 15, "width": 480, "height": 854,
            "preset": "veryfast",
        });
        let part = step(&engine, "scenes.picture", with).await.unwrap();
        let part = samples.write("part.mp4", bytes(&engine, &part["picture"]));
        assert_eq!(frames(&part), 15, "{film:?}");
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-show_data_hash", "md5", "-of", "csv=p=0"]);
        let entries = "stream=extradata_hash,time_base,color_space,color_range,duration_ts";
        headers.push(check(command.args(["-show_entries", entries]).arg(&part)));
    }
    assert!(headers.iter().all(|header| *header == headers[0]), "{headers:#?}");
}
