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

/// The packets of a film's pictures or sound, which are the same when nothing was encoded.
fn packets(samples: &Samples, film: &str, kind: &str) -> String {
    let arguments = format!("-i {film} -map 0:{kind} -c copy -f md5");
    std::fs::read_to_string(samples.ffmpeg(&arguments, "packets.md5")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_speech_is_an_answer_and_the_video_is_copied() {
    let samples = Samples::new();
    let picture = "-f lavfi -i testsrc2=size=64x64:rate=25:duration=2";
    let coding = "-c:v libx264 -preset ultrafast";
    samples.ffmpeg(&format!("{picture} {coding}"), "mute.mp4");
    samples.ffmpeg(&format!("{picture} -f lavfi -t 2 -i anullsrc {coding} -c:a aac"), "quiet.mp4");
    samples.ffmpeg(&format!("{picture} -f lavfi -t 2 -i sine {coding} -c:a libopus"), "tone.mkv");
    let engine = engine(&offline()).await;
    for (film, captions, provider, message, name) in [
        ("mute.mp4", "burned", "none", "no speech found: the video has no sound", "video.mp4"),
        ("mute.mp4", "soft", "none", "no speech found: the video has no sound", "video.mp4"),
        ("quiet.mp4", "both", "none", "no speech found", "video.mp4"),
        ("tone.mkv", "burned", "pocketsphinx", "no speech found", "video.mkv"),
    ] {
        let mut input = caption(&samples.path(film));
        input["captions"] = json!(captions);
        let output = run(&engine, "caption", input).await.unwrap();
        assert_eq!((&output["speech"], &output["message"]), (&json!(false), &json!(message)));
        assert_eq!((&output["provider"], &output["captions"]), (&json!(provider), &json!("none")));
        assert_eq!((&output["cues"], &output["text"]), (&json!(0), &json!("")), "{film}");
        assert_eq!(text(&engine, &output["srt"]), "");
        assert_eq!(read_vtt(&text(&engine, &output["vtt"])), Ok(vec![]));
        assert!(text(&engine, &output["ass"]).contains("[Events]"));
        assert_eq!(output["video"]["name"], name);
        samples.write(name, bytes(&engine, &output["video"]));
        assert_eq!(packets(&samples, film, "v"), packets(&samples, name, "v"), "{film}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_track_is_put_beside_pictures_and_sound_that_stay_as_they_are() {
    let samples = Samples::new();
    let (film, _) = samples.film();
    samples.ffmpeg("-i film.mp4 -c:v copy -c:a libopus", "film.mkv");
    let engine = engine(&offline()).await;
    for (film, name, codec) in
        [(film, "video.mp4", "mov_text"), (samples.path("film.mkv"), "video.mkv", "subrip")]
    {
        let mut input = caption(&film);
        input["captions"] = json!("soft");
        input["language"] = json!("english");
        let output = run(&engine, "caption", input).await.unwrap();
        assert_eq!((&output["captions"], &output["speech"]), (&json!("soft"), &json!(true)));
        assert_eq!((&output["message"], &output["language"]), (&Value::Null, &json!("en")));
        assert_eq!(output["video"]["name"], name);
        let video = samples.write(name, bytes(&engine, &output["video"]));
        let film = film.file_name().unwrap().to_str().unwrap();
        for kind in ["v", "a"] {
            assert_eq!(packets(&samples, film, kind), packets(&samples, name, kind), "{name}");
        }
        let track = ffprobe(&video, "stream=index,codec_name:stream_tags=language");
        assert!(track.lines().any(|line| line == format!("2,{codec},eng")), "{track}");
        let back = samples.ffmpeg(&format!("-i {name} -map 0:s"), "back.srt");
        let back = read_srt(&std::fs::read_to_string(back).unwrap()).unwrap();
        let cues = read_srt(&text(&engine, &output["srt"])).unwrap();
        assert_eq!(back.len(), cues.len());
        // Matroska has no times before nought, so ffmpeg moves all of a film by what its sound
        // begins early; pictures, sound and captions together.
        let moved = back[0].start_ms - cues[0].start_ms;
        assert!(moved < 40, "{moved}");
        for (back, cue) in back.iter().zip(&cues) {
            assert_eq!(back.text, cue.text);
            assert!((back.start_ms - moved).abs_diff(cue.start_ms) <= 1, "{back:?} {cue:?}");
            assert!((back.end_ms - moved).abs_diff(cue.end_ms) <= 1, "{back:?} {cue:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_is_one_encode_with_a_track() {
    let samples = Samples::new();
    let (film, _) = samples.film();
    let engine = engine(&offline()).await;
    let mut input = caption(&film);
    input["captions"] = json!("both");
    input["exclude"] = json!([{ "from_s": 0, "to_s": 4.2 }]);
    input["replace"] = json!([{ "find": "every day", "replace": "day & {night}" }]);
    let output = run(&engine, "caption", input).await.unwrap();
    let cues = read_srt(&text(&engine, &output["srt"])).unwrap();
    assert!(cues.iter().all(|cue| cue.start_ms >= 4_200), "{cues:?}");
    let shown: Vec<&str> = cues.iter().flat_map(|cue| cue.text.split_whitespace()).collect();
    assert!(shown.join(" ").contains("day & {night}"), "{shown:?}");
    let video = samples.write("out.mp4", bytes(&engine, &output["video"]));
    assert_eq!(ffprobe(&video, "stream=codec_name"), "h264\naac\nmov_text");
    let back = samples.ffmpeg("-i out.mp4 -map 0:s", "back.srt");
    let back = std::fs::read_to_string(back).unwrap();
    // Braces would be marks on the way into MP4; their wide twins are none.
    assert!(back.replace('\n', " ").contains("｛night｝"), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_that_are_all_left_out_are_none() {
    let samples = Samples::new();
    let (film, _) = samples.film();
    let engine = engine(&offline()).await;
    let mut input = caption(&film);
    input["exclude"] = json!([{ "from_s": 0, "to_s": 60 }]);
    let output = run(&engine, "caption", input).await.unwrap();
    assert_eq!((&output["speech"], &output["cues"]), (&json!(true), &json!(0)));
    assert_eq!(output["captions"], "none");
    assert!(output["message"].as_str().unwrap().starts_with("no captions"), "{output}");
    samples.write("out.mp4", bytes(&engine, &output["video"]));
    assert_eq!(packets(&samples, "film.mp4", "v"), packets(&samples, "out.mp4", "v"));
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
        json!({ "video": "a", "captions": "none" }),
        json!({ "video": "a", "style": { "colour": "#FFFFFF" } }),
        json!({ "video": "a", "style": { "color": "red" } }),
        json!({ "video": "a", "replace": [{ "find": "" , "replace": "" }] }),
        json!({ "video": "a", "exclude": [{ "from_s": -1, "to_s": 2 }] }),
    ] {
        let submit = callsheet_actors::Submit::named("caption", input.clone());
        assert!(engine.submit(submit).await.is_err(), "{input}");
    }
    let missing = run(&engine, "caption", json!({ "video": "/nowhere/film.mp4" })).await;
    assert_eq!(code(missing), "fetch.not_found");
}

/// A podcast has no pictures to caption, and listeners who want to read.
#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_has_its_captions_as_files() {
    let samples = Samples::new();
    samples.film();
    let talk = samples.ffmpeg("-i film.mp4 -vn -c:a libmp3lame", "talk.mp3");
    let engine = engine(&offline()).await;
    for captions in ["burned", "soft"] {
        let mut input = caption(&talk);
        input["captions"] = json!(captions);
        let output = run(&engine, "caption", input).await.unwrap();
        assert_eq!((&output["video"], &output["captions"]), (&Value::Null, &json!("none")));
        assert!(output["message"].as_str().unwrap().contains("no pictures"), "{output}");
        assert!(output["text"].as_str().unwrap().contains("once upon"), "{output}");
        let cues = read_srt(&text(&engine, &output["srt"])).unwrap();
        assert_eq!(output["cues"], cues.len());
        assert_eq!(read_vtt(&text(&engine, &output["vtt"])).unwrap(), cues);
        assert!((output["duration_s"].as_f64().unwrap() - FILM_S).abs() < 0.1, "{output}");
    }
    let silence = samples.ffmpeg("-f lavfi -t 2 -i anullsrc -c:a flac", "silence.flac");
    let output = run(&engine, "caption", caption(&silence)).await.unwrap();
    assert_eq!((&output["video"], &output["message"]), (&Value::Null, &json!("no speech found")));
    samples.write("a.srt", "1\n00:00:01,000 --> 00:00:02,500\nhello\n");
    let neither = samples.ffmpeg("-i a.srt", "text.mkv");
    assert_eq!(code(run(&engine, "caption", caption(&neither)).await), "media.no_streams");
}
