//! The whole workflow `background-music`, its results measured by ffmpeg itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use callsheet_actors::{Engine, Submit};
use callsheet_engine::Failure;
use serde_json::{Value, json};

use crate::samples::{FILM_S, Samples, check, ffprobe};
use crate::support::{artifact, bytes, code, engine, offline, run, step, stored};

/// Far above what the voice has, so that each is heard without the other.
const TONE_HZ: u32 = 12_000;
const MUSIC_ONLY: &str = "highpass=f=10000,highpass=f=10000";
const SPEECH_ONLY: &str = "lowpass=f=6000,lowpass=f=6000";

/// A job's output, and its video as a file.
struct Scored {
    output: Value,
    video: PathBuf,
}

async fn scored(engine: &Engine, samples: &Samples, input: Value) -> Result<Scored, Failure> {
    let output = run(engine, "background-music", input).await?;
    let name = output["video"]["name"].as_str().unwrap();
    let video = samples.write(&format!("out-{name}"), bytes(engine, &output["video"]));
    Ok(Scored { output, video })
}

/// A tone as music, shorter than the film with speech.
fn tone(samples: &Samples) -> PathBuf {
    let sine = format!("-f lavfi -t 3 -i sine=f={TONE_HZ}:r=48000 -af volume=12dB -b:a 192k");
    samples.ffmpeg(&sine, "tone.mp3")
}

/// Loudness in LUFS and peak in dBTP of a part of a file, behind filters.
fn loudness(path: &Path, part: std::ops::Range<f64>, filters: &str) -> (f64, f64) {
    let (start, length) = (part.start.to_string(), (part.end - part.start).to_string());
    let measure = format!("{filters},aformat=channel_layouts=stereo,ebur128=peak=true");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-nostats", "-ss", &start, "-t", &length, "-i"]).arg(path);
    let ended = ffmpeg.args(["-vn", "-af", &measure, "-f", "null", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let summary = said.rsplit("Summary:").next().unwrap();
    let field = |name: &str| -> f64 {
        let line = summary.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{said}")).split_whitespace().next().unwrap().parse().unwrap()
    };
    (field("I:"), field("Peak:"))
}

fn lufs(path: &Path, part: std::ops::Range<f64>, filters: &str) -> f64 {
    loudness(path, part, filters).0
}

/// A hash over the packets of the pictures, as they are stored.
fn pictures(path: &Path) -> String {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path);
    check(ffmpeg.args(["-map", "0:v:0", "-c", "copy", "-f", "streamhash", "-"]))
}

/// When a stream ends: what its container says, or in Matroska, which does not, its last packet.
fn end_s(path: &Path, stream: &str) -> f64 {
    let list = |entries: &str| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0"]);
        check(command.args(["-show_entries", entries]).arg(path))
    };
    let sum = |line: &str| line.split(',').map(|field| field.parse::<f64>().ok()).sum();
    let said: Option<f64> = sum(list("stream=start_time,duration").trim());
    said.unwrap_or_else(|| {
        let packets = list("packet=pts_time,duration_time");
        packets.lines().filter_map(sum).fold(0.0, f64::max)
    })
}

fn is_whole(scored: &Scored, length_s: f64) {
    let (video, audio) = (end_s(&scored.video, "v:0"), end_s(&scored.video, "a:0"));
    assert!((video - audio).abs() <= 0.0214, "pictures end at {video}, sound at {audio}");
    assert!((video - length_s).abs() < 0.1, "{video}, expected {length_s}");
    assert!((scored.output["duration_s"].as_f64().unwrap() - length_s).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_is_as_loud_as_asked_and_its_pictures_are_untouched() {
    let samples = Samples::new();
    let (film, _) = samples.film();
    let before = pictures(&film);
    let noise = "-f lavfi -t 4 -i anoisesrc=c=pink:a=1:r=44100 -ac 2 -c:a libmp3lame";
    let loud = samples.ffmpeg(noise, "loud.mp3");
    let soft = samples.ffmpeg("-i loud.mp3 -af volume=-30dB -ac 1 -c:a flac", "soft.flac");
    // Drums have peaks far above their loudness, so that a gain alone cannot do it.
    let drums = "-f lavfi -t 5 -i aevalsrc=sin(2*PI*300*t)*exp(-40*mod(t\\,0.5)):s=48000";
    let drums = samples.ffmpeg(drums, "drums.wav");
    let engine = engine(&offline()).await;
    for (music, more, target) in [
        (&loud, json!({}), -16.0),
        (&loud, json!({ "music_volume": 4.0, "video_volume": 3.0 }), -16.0),
        (&soft, json!({ "duck": true }), -16.0),
        (&soft, json!({ "video_volume": 0.0, "music_volume": 1.0 }), -16.0),
        (&drums, json!({ "video_volume": 0.01, "music_volume": 1.0 }), -16.0),
        (&loud, json!({ "loudness_lufs": -23.0 }), -23.0),
    ] {
        let mut input = more.clone();
        input["video"] = json!(film);
        input["music"] = json!(music);
        let scored = scored(&engine, &samples, input).await.unwrap();
        let (lufs, peak) = loudness(&scored.video, 0.0..FILM_S, "anull");
        assert!((lufs - target).abs() <= 1.0, "{music:?} {more}: {lufs} LUFS");
        assert!(peak <= -1.5, "{music:?} {more}: {peak} dBTP");
        assert!((scored.output["loudness_lufs"].as_f64().unwrap() - lufs).abs() < 0.2);
        assert_eq!(scored.output["loudness_reached"], true, "{}", scored.output);
        assert_eq!(pictures(&scored.video), before);
        assert_eq!(scored.output["video"]["name"], "video.mp4");
        assert_eq!(scored.output["video"]["media_type"], "video/mp4");
        assert_eq!(ffprobe(&scored.video, "stream=codec_name"), "h264\naac");
        is_whole(&scored, FILM_S);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_speech_keeps_its_level_and_music_under_it_may_give_way() {
    let samples = Samples::new();
    let (film, spoken) = samples.film();
    let music = tone(&samples);
    let engine = engine(&offline()).await;
    let speech = spoken[1].start_s..spoken[1].end_s;
    // Behind the first sentence, when the music has had time to come back.
    let pause = spoken[0].end_s + 0.6..spoken[1].start_s;
    let said = lufs(&film, speech.clone(), SPEECH_ONLY);
    let mut gaps = Vec::new();
    for duck in [false, true] {
        let input = json!({ "video": film, "music": music, "duck": duck, "loudness_lufs": null });
        let scored = scored(&engine, &samples, input).await.unwrap();
        let still_said = lufs(&scored.video, speech.clone(), SPEECH_ONLY);
        assert!((still_said - said).abs() < 1.0, "{said} LUFS before, {still_said} after");
        let (under, alone) = (
            lufs(&scored.video, speech.clone(), MUSIC_ONLY),
            lufs(&scored.video, pause.clone(), MUSIC_ONLY),
        );
        gaps.push(alone - under);
        assert_eq!(scored.output["has_sound"], true);
    }
    assert!(gaps[0].abs() < 1.0, "music that does not give way differs by {} LU", gaps[0]);
    assert!(gaps[1] > 4.0, "music that gives way is only {} LU softer", gaps[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn music_alone_goes_round_and_fades() {
    let samples = Samples::new();
    let silent = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=7 -c:v libx264 -preset ultrafast",
        "silent.mp4",
    );
    // With a cover, as music has it, and shorter than the video.
    let music = samples.ffmpeg(
        "-f lavfi -t 1.5 -i sine=f=440:r=44100 -f lavfi -t 0.04 -i color=size=16x16:rate=25 \
         -map 0 -map 1 -c:a libmp3lame -c:v png -disposition:v attached_pic",
        "music.mp3",
    );
    let engine = engine(&offline()).await;
    for (fade, expected) in [(json!(null), 2.0), (json!(0), 0.0), (json!(5.5), 5.5)] {
        let mut input = json!({ "video": silent, "music": music });
        if !fade.is_null() {
            input["fade_out_s"] = fade;
        }
        let scored = scored(&engine, &samples, input).await.unwrap();
        is_whole(&scored, 7.0);
        assert_eq!(scored.output["has_sound"], false);
        assert_eq!(pictures(&scored.video), pictures(&silent));
        let at = |second: f64| lufs(&scored.video, second..second + 0.5, "anull");
        let first = at(0.2);
        let until = 7.0 - expected - 0.5;
        for n in 1.. {
            let second = f64::from(n) * 0.5;
            if second > until {
                break;
            }
            assert!((at(second) - first).abs() < 1.5, "{} LUFS at {second} s", at(second));
        }
        let fallen = first - at(6.5);
        assert_eq!(fallen > 10.0, expected >= 2.0, "{fallen} LU softer at the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_every_kind_are_copied_into_what_holds_them() {
    let samples = Samples::new();
    let music = tone(&samples);
    let engine = engine(&offline()).await;
    let film = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=3 -f lavfi -t 3 -i sine=f=300 ";
    for (arguments, name, expected) in [
        ("-c:v libx264 -c:a aac", "a.mkv", "video.mp4"),
        ("-c:v libx264 -c:a aac", "a.flv", "video.mp4"),
        ("-c:v mpeg4 -bf 2 -c:a libmp3lame", "a.avi", "video.mp4"),
        ("-c:v libvpx -deadline realtime -c:a libopus", "a.webm", "video.mkv"),
        // As a browser records it: without a length.
        ("-c:v libvpx -deadline realtime -c:a libopus -live 1", "live.webm", "video.mkv"),
        ("-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le", "a.mov", "video.mkv"),
        ("-c:v mpeg2video -c:a mp2", "a.mpg", "video.mkv"),
    ] {
        let film = samples.ffmpeg(&format!("{film} {arguments}"), name);
        let input = json!({ "video": film, "music": music });
        let scored = scored(&engine, &samples, input).await.unwrap();
        assert_eq!(scored.output["video"]["name"], expected, "{name}");
        assert_eq!(scored.output["loudness_reached"], true, "{name}: {}", scored.output);
        is_whole(&scored, 3.0);
        if name != "a.flv" {
            // FLV has no parameters in the first packet that others have there.
            assert_eq!(pictures(&scored.video), pictures(&film), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_longer_or_shorter_than_the_pictures_ends_with_them() {
    let samples = Samples::new();
    let music = tone(&samples);
    let engine = engine(&offline()).await;
    for (sound_s, name) in [("6", "long.mkv"), ("1", "short.mkv"), ("6", "long.mp4")] {
        let film = format!(
            "-f lavfi -i testsrc2=size=160x120:rate=25:duration=3 -f lavfi -t {sound_s} -i sine \
             -c:v libx264 -preset ultrafast -c:a aac"
        );
        let film = samples.ffmpeg(&film, name);
        let input = json!({ "video": film, "music": music });
        is_whole(&scored(&engine, &samples, input).await.unwrap(), 3.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_mixed_is_refused_by_name() {
    let samples = Samples::new();
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "film.mp4");
    let music = tone(&samples);
    let page = samples.write("page.mp3", "<!doctype html><html></html>");
    let empty = samples.write("empty.wav", empty_wav());
    let engine = engine(&offline()).await;
    for (video, song, expected, named) in [
        (&film, &film, "music.no_audio", "music"),
        (&film, &empty, "music.no_audio", "empty"),
        (&music, &music, "music.no_video", "video"),
        (&film, &page, "media.not_allowed", "`music`"),
        (&page, &music, "media.not_allowed", "`video`"),
    ] {
        let input = json!({ "video": video, "music": song });
        let failure = run(&engine, "background-music", input).await.unwrap_err();
        assert_eq!(failure.code, expected, "{}", failure.message);
        assert!(failure.message.contains(named), "{}", failure.message);
        assert!(failure.hint.is_some() && !failure.retryable);
    }
    let missing = json!({ "video": film, "music": samples.path("none.mp3") });
    assert_eq!(code(run(&engine, "background-music", missing).await), "fetch.not_found");
}

/// A sound file that holds no sound: the head of one, 44.1 kHz, one channel, 16 bits.
fn empty_wav() -> Vec<u8> {
    let fields: [&[u8]; 4] = [
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0",
        b"\x44\xAC\0\0\x88\x58\x01\0",
        b"\x02\0\x10\0",
        b"data\0\0\0\0",
    ];
    fields.concat()
}

/// Two thousandths of a second, twice a second, cannot be loud, whatever is done to them.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_so_loud_says_so_and_keeps_its_peaks() {
    let samples = Samples::new();
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=3", "film.mp4");
    let clicks = "-f lavfi -t 5 -i aevalsrc=0.9*lt(mod(t\\,0.5)\\,0.002):s=48000";
    let music = samples.ffmpeg(clicks, "clicks.wav");
    let engine = engine(&offline()).await;
    let input = json!({ "video": film, "music": music });
    let scored = scored(&engine, &samples, input).await.unwrap();
    assert_eq!(scored.output["loudness_reached"], false, "{}", scored.output);
    let (_, peak) = loudness(&scored.video, 0.0..3.0, "anull");
    assert!(peak <= -1.5, "{peak} dBTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_stays_silence() {
    let samples = Samples::new();
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "film.mp4");
    let music = samples.ffmpeg("-f lavfi -t 1 -i anullsrc", "quiet.wav");
    let engine = engine(&offline()).await;
    let input = json!({ "video": film, "music": music });
    let scored = scored(&engine, &samples, input).await.unwrap();
    assert_eq!(scored.output["loudness_lufs"], Value::Null);
    assert_eq!(scored.output["true_peak_dbtp"], Value::Null);
    assert_eq!(scored.output["loudness_reached"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_checked_before_a_job_begins() {
    let engine = engine(&offline()).await;
    for more in [
        json!({ "music": null }),
        json!({ "music_volume": 10.1 }),
        json!({ "video_volume": -1 }),
        json!({ "fade_out_s": 61 }),
        json!({ "duck": "yes" }),
        json!({ "loudness_lufs": 0 }),
        json!({ "musik_volume": 1 }),
    ] {
        let mut input = json!({ "video": "a", "music": "b" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let submit = Submit::named("background-music", input);
        assert!(engine.submit(submit).await.is_err(), "{more}");
    }
    let file = artifact(&engine, b"x", "x");
    let with = json!({ "video": file, "music": file, "music_volume": 11 });
    let failure = step(&engine, "ffmpeg.mix_music", with).await.unwrap_err();
    assert!(failure.message.contains("music_volume"), "{}", failure.message);
}

/// The pictures are read to their end, but not decoded, when they are those that came in.
#[tokio::test(flavor = "multi_thread")]
async fn copied_pictures_are_not_decoded_again() {
    let samples = Samples::new();
    let film = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 -f lavfi -t 2 -i sine \
                -c:v libx264 -c:a aac -bsf:v noise=amount=20";
    let film = samples.ffmpeg(film, "noisy.mkv");
    let engine = engine(&offline()).await;
    let file = stored(&engine, &film);
    let whole = json!({ "media": file, "expect_video": true });
    assert_eq!(code(step(&engine, "media.verify", whole).await), "verify.decode");
    let copied = json!({ "media": file, "expect_video": true, "decode_video": false });
    step(&engine, "media.verify", copied).await.unwrap();
}

/// With ffmpeg's own mark in front of them Apple's players show no HEVC.
#[tokio::test(flavor = "multi_thread")]
async fn copied_hevc_has_the_mark_that_players_look_for() {
    let samples = Samples::new();
    let music = tone(&samples);
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=160x120:rate=10:duration=2 -c:v libx265 -pix_fmt yuv420p \
         -x265-params log-level=none",
        "a.mkv",
    );
    let scored = scored(&engine, &samples, json!({ "video": film, "music": music })).await.unwrap();
    let tags = ffprobe(&scored.video, "stream=codec_name,codec_tag_string");
    assert_eq!(tags, "hevc,hvc1\naac,mp4a");
    // Each track has its own.
    samples.ffmpeg("-i a.mkv -c:v libx264 -preset ultrafast -pix_fmt yuv420p", "b.mkv");
    let both = samples.ffmpeg("-i b.mkv -i a.mkv -map 0 -map 1 -c copy", "both.mkv");
    let input = json!({ "video": stored(&engine, &both) });
    let muxed = step(&engine, "ffmpeg.mux_subtitles", input).await.unwrap();
    let file = samples.write("both.mp4", bytes(&engine, &muxed["video"]));
    assert_eq!(ffprobe(&file, "stream=codec_name,codec_tag_string"), "h264,avc1\nhevc,hvc1");
}
