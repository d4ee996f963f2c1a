//! The whole workflow `convert`, its results looked into with ffmpeg itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use callsheet_actors::{Engine, Submit};
use serde_json::{Value, json};

use crate::samples::{Samples, check, ffprobe};
use crate::support::{bytes, engine, offline, run};

/// A job's output, and its file.
struct Done {
    output: Value,
    file: PathBuf,
}

impl Done {
    /// What became of each stream.
    fn ways(&self) -> Vec<&str> {
        let streams = self.output["streams"].as_array().unwrap();
        streams.iter().map(|stream| stream["way"].as_str().unwrap()).collect()
    }

    fn reason(&self, stream: usize) -> &str {
        self.output["streams"][stream]["reason"].as_str().unwrap()
    }
}

async fn convert(engine: &Engine, samples: &Samples, video: &Path, more: Value) -> Done {
    let mut input = more.clone();
    input["video"] = json!(video);
    let output = run(engine, "convert", input).await;
    let output = output.unwrap_or_else(|failure| panic!("{more}: {failure:?}"));
    let name = output["file"]["name"].as_str().unwrap();
    let file = samples.write(&format!("out-{name}"), bytes(engine, &output["file"]));
    Done { output, file }
}

/// A small film with keyframes two seconds apart and pictures out of order.
fn film(samples: &Samples, name: &str) -> PathBuf {
    samples.ffmpeg(
        "-f lavfi -i testsrc2=size=160x90:rate=25:duration=6 -f lavfi -t 6 -i sine=f=440 \
         -c:v libx264 -preset veryfast -g 50 -pix_fmt yuv420p -c:a aac",
        name,
    )
}

/// A hash over the packets of each stream, as they are stored.
fn stored(path: &Path) -> String {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path);
    check(ffmpeg.args(["-map", "0", "-c", "copy", "-f", "streamhash", "-"]))
}

/// A hash of each picture, in the order in which they are shown; none may be damaged.
fn shown(path: &Path) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-xerror", "-i"]).arg(path);
    let said = check(
        ffmpeg.args(["-map", "0:v:0", "-fps_mode", "passthrough"]).args(["-f", "framemd5", "-"]),
    );
    let frames = said.lines().filter(|line| !line.starts_with('#'));
    frames.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// When each picture is shown.
fn times(path: &Path) -> Vec<f64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"]);
    let said = check(command.args(["-show_entries", "packet=pts_time"]).arg(path));
    let mut times: Vec<f64> =
        said.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn another_container_copies_every_stream_bit_for_bit() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let mp4 = film(&samples, "a.mp4");
    let vp9 = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=96x64:rate=25:duration=2 -f lavfi -t 2 -i sine \
         -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus",
        "b.mkv",
    );
    let song = samples.ffmpeg("-f lavfi -t 2 -i sine -c:a aac", "c.mka");
    for (source, format, name, media_type) in [
        (&mp4, "mkv", "video.mkv", "video/x-matroska"),
        (&mp4, "mov", "video.mov", "video/quicktime"),
        (&vp9, "webm", "video.webm", "video/webm"),
        (&song, "m4a", "audio.m4a", "audio/mp4"),
    ] {
        let done = convert(&engine, &samples, source, json!({ "format": format })).await;
        assert!(done.ways().iter().all(|way| *way == "copied"), "{}", done.output);
        assert_eq!(stored(&done.file), stored(source), "{format}");
        assert_eq!(done.output["file"]["name"], name);
        assert_eq!(done.output["file"]["media_type"], media_type);
        assert_eq!(done.output["notes"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_does_not_hold_is_encoded_and_says_why() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let webm = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=97x65:rate=25:duration=2 -f lavfi -t 2 -i sine \
         -s 97x65 -c:v libvpx -deadline realtime -c:a libopus",
        "a.webm",
    );
    let done = convert(&engine, &samples, &webm, json!({})).await;
    assert_eq!(done.ways(), ["encoded", "encoded"]);
    assert_eq!(done.reason(0), "`mp4` does not hold `vp8`");
    assert_eq!(done.reason(1), "`mp4` does not hold `opus`");
    assert_eq!(done.output["streams"][0]["encoder"], "libx264");
    assert_eq!(ffprobe(&done.file, "stream=codec_name"), "h264\naac");
    assert_eq!(ffprobe(&done.file, "stream=width,height"), "98,66");
    // Only the pictures have to be encoded.
    let mp4 = film(&samples, "b.mp4");
    let asked = json!({ "codec": "h265", "quality": "draft", "to_s": 1 });
    let done = convert(&engine, &samples, &mp4, asked).await;
    assert_eq!(done.ways(), ["encoded", "copied"]);
    assert_eq!(ffprobe(&done.file, "stream=codec_name,codec_tag_string"), "hevc,hvc1\naac,mp4a");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_is_taken_out_in_every_format() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = film(&samples, "a.mp4");
    for (format, way, codec) in [
        ("m4a", "copied", "aac"),
        ("mp3", "encoded", "mp3"),
        ("wav", "encoded", "pcm_s16le"),
        ("flac", "encoded", "flac"),
        ("ogg", "encoded", "opus"),
    ] {
        let done = convert(&engine, &samples, &film, json!({ "format": format })).await;
        assert_eq!(done.ways(), ["left_out", way], "{format}");
        assert_eq!(ffprobe(&done.file, "stream=codec_name"), codec, "{format}");
        assert!((done.output["duration_s"].as_f64().unwrap() - 6.0).abs() < 0.1, "{format}");
        assert_eq!(done.output["width"], Value::Null);
    }
    let asked = json!({ "format": "mp3", "audio_kbps": 64, "audio_channels": 1,
        "audio_sample_rate": 22_050, "from_s": 1, "to_s": 3.5 });
    let done = convert(&engine, &samples, &film, asked).await;
    assert_eq!(ffprobe(&done.file, "stream=sample_rate,channels,bit_rate"), "22050,1,64000");
    assert!((done.output["duration_s"].as_f64().unwrap() - 2.5).abs() < 0.1);
}

/// The clip's pictures are those that an encode of the same clip has, and between the keyframes
/// they are those of the source, bit for bit.
#[tokio::test(flavor = "multi_thread")]
async fn a_clip_off_a_keyframe_is_cut_to_the_frame() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let ntsc = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=96x64:rate=30000/1001:duration=6 -c:v libx264 \
         -preset ultrafast -g 30 -pix_fmt yuv420p",
        "ntsc.mov",
    );
    let copied = |name| samples.ffmpeg("-i a.mp4 -map 0 -c copy", name);
    let clips = [(0.71, 5.3), (0.0, 4.71), (2.0, 6.0)];
    for (source, clips, format) in [
        (&film(&samples, "a.mp4"), &clips[..], "mp4"),
        (&copied("b.mkv"), &clips[..1], "mkv"),
        (&copied("c.flv"), &clips[1..2], "mov"),
        (&ntsc, &clips[..1], "mp4"),
    ] {
        let (all, when) = (shown(source), times(source));
        let begin: f64 = ffprobe(source, "format=start_time").parse().unwrap();
        for (from, to) in clips {
            let asked = json!({ "from_s": from, "to_s": to, "format": format });
            let done = convert(&engine, &samples, source, asked).await;
            let of = format!("{} {from} to {to}: {}", source.display(), done.output);
            assert_eq!(done.ways()[0], "cut", "{of}");
            let inside = |at: &f64| (from - 1e-4..to - 1e-4).contains(&(*at - begin));
            let first = when.iter().position(inside).unwrap();
            let count = when.iter().filter(|at| inside(at)).count();
            let found = shown(&done.file);
            assert_eq!(found.len(), count, "{of}");
            let same: Vec<bool> = found.iter().zip(&all[first..]).map(|(a, b)| a == b).collect();
            let copied = same.iter().filter(|same| **same).count();
            let told: usize = done.reason(0).split(' ').next().unwrap().parse().unwrap();
            assert!(copied >= told && told > 0, "{copied} the same, {of}");
            let gaps = times(&done.file);
            let gaps = gaps.windows(2).map(|pair| pair[1] - pair[0]);
            let usual = when[1] - when[0];
            assert!(gaps.clone().all(|gap| (gap - usual).abs() < 0.0021), "{of}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_clip_keeps_sound_and_picture_together() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // In the fourth second it is white, and it sounds.
    let film = samples.ffmpeg(
        "-f lavfi -i color=c=black:size=96x64:rate=25:duration=6 -f lavfi -t 6 -i sine=f=1000 \
         -vf drawbox=c=white:t=fill:enable=between(t\\,3\\,3.99) \
         -af volume=0:enable=not(between(t\\,3\\,4)) \
         -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac",
        "flash.mp4",
    );
    for asked in [
        json!({ "from_s": 1.3, "to_s": 5.5 }),
        json!({ "from_s": 1.3, "to_s": 5.5, "quality": "draft" }),
    ] {
        let done = convert(&engine, &samples, &film, asked).await;
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-hide_banner", "-nostats", "-i"]).arg(&done.file);
        let filters = ["-vf", "blackdetect=d=0.5:pic_th=0.9", "-af", "silencedetect=d=0.5:n=-30dB"];
        let ended = ffmpeg.args(filters).args(["-f", "null", "-"]).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let after = |mark: &str| -> f64 {
            let rest = said.split(mark).nth(1).unwrap_or_else(|| panic!("{said}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (light, sound) = (after("black_end:"), after("silence_end: "));
        assert!((light - 1.7).abs() < 0.045, "light at {light}");
        assert!((sound - 1.7).abs() < 0.05, "sound at {sound}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cut_is_encoded_and_says_why() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = film(&samples, "a.mp4");
    let turned = samples.ffmpeg("-i a.mp4 -c copy -metadata:s:v rotate=90", "turned.mp4");
    let deep = samples
        .ffmpeg("-i a.mp4 -an -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv444p", "deep.mp4");
    let stream = samples.ffmpeg("-i a.mp4 -c copy", "a.ts");
    for (source, from, to, reason) in [
        (&film, 0.5, 1.5, "no keyframe lies in the clip"),
        (&film, 1.5, 2.5, "no two keyframes lie in the clip"),
        (&turned, 0.5, 5.0, "its pictures are turned"),
        (&deep, 0.5, 5.0, "no encoder here writes what could be joined to its pictures"),
        (&stream, 0.5, 5.0, "a clip of a file without an index cannot be copied to the frame"),
    ] {
        let asked = json!({ "from_s": from, "to_s": to });
        let done = convert(&engine, &samples, source, asked).await;
        assert_eq!((done.ways()[0], done.reason(0)), ("encoded", reason));
        let count = ((to - from) * 25.0_f64).round() as usize;
        assert_eq!(shown(&done.file).len(), count, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_become_smaller_and_fewer_but_never_larger() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=1 -c:v libx264 -preset ultrafast \
         -pix_fmt yuv420p",
        "a.mp4",
    );
    for (asked, way, size, frames) in [
        (json!({ "resolution": 180 }), "encoded", (320, 180), 25),
        (json!({ "resolution": "160x144" }), "encoded", (160, 90), 25),
        (json!({ "resolution": "keep", "fps": 5 }), "encoded", (640, 360), 5),
        (json!({ "resolution": 720 }), "copied", (640, 360), 25),
        (json!({ "quality": "small", "resolution": "360" }), "encoded", (640, 360), 25),
    ] {
        let done = convert(&engine, &samples, &film, asked.clone()).await;
        assert_eq!(done.ways(), [way], "{asked}");
        let found = (done.output["width"].as_u64(), done.output["height"].as_u64());
        assert_eq!(found, (Some(size.0), Some(size.1)), "{asked}");
        assert_eq!(shown(&done.file).len(), frames, "{asked}");
        let noted = done.output["notes"].as_array().unwrap().len();
        assert_eq!(noted, usize::from(asked["resolution"] == 720), "{}", done.output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_quality_is_nearer_to_the_source_and_the_best_is_the_same() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = film(&samples, "a.mp4");
    for codec in ["h264", "h265", "vp9"] {
        let format = if codec == "vp9" { "webm" } else { "mp4" };
        let asked = |quality| {
            json!({ "codec": codec, "quality": quality, "to_s": 0.6, "format": format,
                "audio_codec": "none" })
        };
        let mut sizes = Vec::new();
        for quality in ["small", "high", "lossless"] {
            let done = convert(&engine, &samples, &film, asked(quality)).await;
            sizes.push(done.output["file"]["size"].as_u64().unwrap());
            if quality == "lossless" {
                assert_eq!(shown(&done.file), shown(&film)[..15], "{codec}");
            }
        }
        assert!(sizes.is_sorted(), "{codec}: {sizes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subtitles_come_along_where_they_can() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    film(&samples, "a.mp4");
    samples.write("a.srt", "1\n00:00:01,000 --> 00:00:02,500\nhello\n");
    let film = samples.ffmpeg("-i a.mp4 -i a.srt -map 0 -map 1 -c copy", "a.mkv");
    for (asked, way, codec) in [
        (json!({ "format": "mp4" }), "encoded", "h264\naac\nmov_text"),
        (json!({ "format": "mkv" }), "copied", "h264\naac\nsubrip"),
        (json!({ "format": "mkv", "subtitles": false }), "left_out", "h264\naac"),
        (json!({ "format": "mov", "from_s": 0.5, "to_s": 5.0 }), "encoded", "h264\naac\nmov_text"),
    ] {
        let done = convert(&engine, &samples, &film, asked.clone()).await;
        assert_eq!(done.ways()[2], way, "{asked}");
        assert_eq!(ffprobe(&done.file, "stream=codec_name"), codec, "{asked}");
    }
}

/// Whether this machine has a device or not, the job succeeds, and says who encoded.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_work_falls_back_with_its_reason() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = film(&samples, "a.mp4");
    for device in ["nvenc", "qsv", "vaapi", "auto"] {
        let asked = json!({ "encoder": device, "quality": "draft", "to_s": 0.5 });
        let done = convert(&engine, &samples, &film, asked).await;
        let encoder = done.output["streams"][0]["encoder"].as_str().unwrap();
        let notes = done.output["notes"].to_string();
        let fell_back = encoder == "libx264";
        assert_eq!(fell_back, notes.contains("the processor encodes"), "{}", done.output);
        if fell_back && device != "auto" {
            assert!(notes.contains(&format!("{device}: ")), "{notes}");
        }
    }
    let asked = json!({ "encoder": "auto", "quality": "lossless", "to_s": 0.2 });
    let done = convert(&engine, &samples, &film, asked).await;
    assert_eq!(done.output["streams"][0]["encoder"], "libx264");
    assert!(done.output["notes"].to_string().contains("without loss"), "{}", done.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_converted_is_refused_by_name() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = film(&samples, "a.mp4");
    let silent = samples.ffmpeg("-i a.mp4 -an -c copy", "silent.mp4");
    let page = samples.write("page.mp4", "<!doctype html><html></html>");
    for (source, more, code) in [
        (&film, json!({ "format": "mov", "codec": "vp9" }), "media.not_held"),
        (&film, json!({ "format": "webm", "audio_codec": "aac" }), "media.not_held"),
        (&silent, json!({ "format": "mp3" }), "media.nothing_left"),
        (&film, json!({ "from_s": 6.5 }), "ffmpeg.input"),
        (&film, json!({ "from_s": 3, "to_s": 2 }), "ffmpeg.input"),
        (&film, json!({ "codec": "av1", "quality": "lossless" }), "ffmpeg.input"),
        (&page, json!({}), "media.not_allowed"),
    ] {
        let mut input = more.clone();
        input["video"] = json!(source);
        let failure = run(&engine, "convert", input).await.unwrap_err();
        assert_eq!(failure.code, code, "{more}: {}", failure.message);
        assert!(!failure.retryable);
    }
    for more in [
        json!({ "format": "gif" }),
        json!({ "codec": "mpeg2" }),
        json!({ "quality": "best" }),
        json!({ "fps": 241 }),
        json!({ "audio_kbps": 8 }),
        json!({ "from_s": -1 }),
        json!({ "vidoe": "a" }),
        json!({ "resolution": "huge" }),
        json!({ "resolution": 100 }),
        json!({ "resolution": "1280x720,scale=9:9" }),
    ] {
        let mut input = more.clone();
        input["video"] = json!(film);
        let submitted = engine.submit(Submit::named("convert", input)).await;
        assert!(submitted.is_err(), "{more}");
    }
    // A text of the right form and a size that none has is for the step to refuse.
    let input = json!({ "video": film, "resolution": "9999p" });
    let failure = run(&engine, "convert", input).await.unwrap_err();
    assert!(failure.message.contains("1280x720"), "{}: {}", failure.code, failure.message);
}

/// A file that ends before its streams say so is no result.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_cut_off_is_not_taken_for_whole() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let whole = std::fs::read(film(&samples, "a.mkv")).unwrap();
    let half = samples.write("half.mkv", &whole[..whole.len() / 2]);
    let input = json!({ "video": half, "format": "mp4" });
    assert_eq!(run(&engine, "convert", input).await.unwrap_err().code, "verify.too_short");
}

/// Pictures and sound of these lengths, from no other file.
fn uneven(samples: &Samples, (pictures_s, sound_s): (u32, u32), name: &str) -> PathBuf {
    samples.ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size=96x64:rate=25:duration={pictures_s} -f lavfi -t {sound_s} \
             -i sine -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac"
        ),
        name,
    )
}

/// What is left out does not count, and what a file only guesses of itself is no promise.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_as_long_as_what_is_kept_of_its_source() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let (short, long) = (uneven(&samples, (3, 6), "a.mkv"), uneven(&samples, (6, 3), "b.mp4"));
    // Their first seconds are silent, and so small that the others are taken for many.
    let soft = |how: &str, name| {
        let sound = "-f lavfi -i anoisesrc=d=9 -af volume=0:enable=lt(t\\,4) -c:a";
        let file = samples.ffmpeg(&format!("{sound} {how}"), name);
        let guess: f64 = ffprobe(&file, "format=duration").parse().unwrap();
        assert!(guess > 15.0, "{name}: {guess}");
        file
    };
    let aac = soft("aac -b:a 128k", "soft.aac");
    let mp3 = soft("libmp3lame -q:a 3 -write_xing 0", "soft.mp3");
    for (source, asked, length_s) in [
        (&short, json!({ "audio_codec": "none" }), 3.0),
        (&short, json!({ "audio_codec": "none", "from_s": 1, "quality": "draft" }), 2.0),
        (&short, json!({}), 6.0),
        (&long, json!({ "format": "mp3" }), 3.0),
        (&aac, json!({ "format": "mp3" }), 9.0),
        (&aac, json!({ "format": "m4a", "from_s": 6, "to_s": 100 }), 3.0),
        (&mp3, json!({ "format": "wav" }), 9.0),
    ] {
        let done = convert(&engine, &samples, source, asked.clone()).await;
        let found = done.output["duration_s"].as_f64().unwrap();
        assert!((found - length_s).abs() < 0.15, "{asked}: {found}, expected {length_s}");
    }
    for (source, more, code) in [
        // It begins where the sound goes on, but the pictures do not.
        (&short, json!({ "audio_codec": "none", "from_s": 4 }), "ffmpeg.input"),
        (&long, json!({ "format": "mp3", "from_s": 4 }), "ffmpeg.input"),
    ] {
        let mut input = more.clone();
        input["video"] = json!(source);
        let failure = run(&engine, "convert", input).await.unwrap_err();
        assert_eq!(failure.code, code, "{more}: {}", failure.message);
    }
}

/// What is sought there comes seconds too early, which no copy leaves out.
#[tokio::test(flavor = "multi_thread")]
async fn a_clip_of_a_source_that_seeks_badly_is_not_cut() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let stream = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=96x64:rate=25:duration=18 -f lavfi -t 18 -i sine \
         -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -muxdelay 0 -muxpreload 0",
        "a.ts",
    );
    let asked = json!({ "from_s": 12.5, "to_s": 16 });
    let done = convert(&engine, &samples, &stream, asked).await;
    assert_eq!(done.ways(), ["encoded", "encoded"], "{}", done.output);
    assert!((done.output["duration_s"].as_f64().unwrap() - 3.5).abs() < 0.1, "{}", done.output);
    assert_eq!(shown(&done.file).len(), 88);
}

/// An encoder that cannot do what was asked for is not found out by its failure.
#[tokio::test(flavor = "multi_thread")]
async fn sound_is_asked_for_as_its_coding_can_be() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let song = samples.ffmpeg("-f lavfi -t 1 -i sine", "a.wav");
    for (format, more, named) in [
        ("ogg", json!({ "audio_sample_rate": 44_100 }), "48000"),
        ("mp3", json!({ "audio_channels": 6 }), "`mp3`"),
        ("mp3", json!({ "audio_sample_rate": 96_000 }), "48000"),
        ("m4a", json!({ "audio_sample_rate": 192_000 }), "96000"),
    ] {
        let mut input = more.clone();
        input["video"] = json!(song);
        input["format"] = json!(format);
        let failure = run(&engine, "convert", input).await.unwrap_err();
        assert_eq!(failure.code, "ffmpeg.input", "{more}: {}", failure.message);
        assert!(failure.message.contains(named), "{}", failure.message);
    }
}
