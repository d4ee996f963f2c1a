//! The whole workflow `compose`: what it makes, and that it encodes no picture twice.

use std::path::Path;
use std::process::Command;

use callsheet_actors::{Engine, JobHandle, Submit};
use callsheet_engine::{Event, Phase, StepStatus};
use callsheet_workflows::MediaOptions;
use callsheet_workflows::subtitles::{Cue, read_srt, read_vtt};
use serde_json::{Value, json};

use crate::merge::{ends, merged, scene};
use crate::samples::{SENTENCES, Samples, check, ffprobe};
use crate::support::{bytes, engine, offline, text};

/// Two scenes with a voice-over each, and music.
fn input(samples: &Samples, more: Value) -> Value {
    let voice = |n: usize| {
        samples.say(SENTENCES[n].0, 0.0, &format!("voice-{n}.wav"));
        samples.path(&format!("voice-{n}.wav"))
    };
    let sound = "-f lavfi -t 1 -i anoisesrc=a=0.1 -c:a aac";
    let mut input = json!({
        "scenes": [
            scene(samples, "black", 4.0, "", "one.mp4"),
            scene(samples, "black", 1.0, sound, "two.mp4"),
        ],
        "voices": [voice(0), voice(1)],
        "width": 480,
        "height": 480,
        "preset": "ultrafast",
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

/// What is read of a step that has ended.
fn output(engine: &Engine, state: &callsheet_engine::JobState, id: &str) -> Value {
    let plan = engine.workflow("compose").unwrap();
    let at = plan.workflow().steps.iter().position(|step| step.id == id).unwrap();
    match &state.steps[at].status {
        StepStatus::Succeeded(output) => (**output).clone(),
        StepStatus::Skipped => Value::Null,
        other => panic!("{id}: {other:?}"),
    }
}

/// A hash of each picture as it is stored: what was not encoded again is the same.
fn pictures(path: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path);
    command.args(["-map", "0:v:0", "-c", "copy", "-bsf:v", "h264_mp4toannexb"]);
    let listed = check(command.args(["-f", "framemd5", "-"]));
    let lines = listed.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Whether anything is drawn on the black picture at an instant.
fn is_captioned(path: &Path, at_s: f64) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-ss", &at_s.to_string(), "-i"]).arg(path);
    command.args(["-frames:v", "1", "-vf", "format=gray", "-f", "rawvideo", "-"]);
    command.output().unwrap().stdout.iter().any(|luma| *luma > 200)
}

fn begins(cues: &[Cue], word: &str) -> f64 {
    let cue = cues.iter().find(|cue| cue.text.to_lowercase().contains(word));
    cue.unwrap_or_else(|| panic!("`{word}` is not in {cues:?}")).start_ms as f64 / 1_000.0
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_and_music_come_with_one_encode() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let music = samples.ffmpeg("-f lavfi -t 3 -i anoisesrc=c=pink:r=44100 -ac 2", "music.mp3");
    let input = input(&samples, json!({ "music": music, "duck": true, "captions": "both" }));
    let spoken = [0, 1].map(|n| samples.say(SENTENCES[n].0, 0.0, "again.wav"));
    let job = engine.submit(Submit::named("compose", input)).await.unwrap().job;
    let view = job.wait().await.unwrap();
    let made = view.state.output().unwrap_or_else(|| panic!("{:?}", view.state.phase)).clone();
    let film = samples.write("film.mp4", bytes(&engine, &made["video"]));

    // Each packet of the film is one that the encode of its scene wrote.
    let mut parts = Vec::new();
    for part in output(&engine, &view.state, "picture").as_array().unwrap() {
        let part = samples.write("part.mp4", bytes(&engine, &part["picture"]));
        parts.extend(pictures(&part));
    }
    assert_eq!(parts.len() as u64, made["frames"].as_u64().unwrap());
    assert_eq!(pictures(&film), parts);

    let (pictures_s, sound_s) = ends(&film);
    assert!((pictures_s - sound_s).abs() <= 0.0211, "{pictures_s} {sound_s}");
    assert_eq!(ffprobe(&film, "stream=codec_name"), "h264\naac\nmov_text");
    let lufs = made["loudness_lufs"].as_f64().unwrap();
    assert!((lufs + 16.0).abs() <= 1.0, "{made}");
    assert!(made["true_peak_dbtp"].as_f64().unwrap() <= -1.5, "{made}");

    // Captions are where the words are, in the film and in all files.
    let cues = read_srt(&text(&engine, &made["srt"])).unwrap();
    assert_eq!(cues, read_vtt(&text(&engine, &made["vtt"])).unwrap());
    assert_eq!(cues.len() as u64, made["cues"].as_u64().unwrap());
    let second_s = made["scenes"][1]["start_s"].as_f64().unwrap();
    for (word, expected) in [("once", spoken[0].start_s), ("he work", second_s + spoken[1].start_s)]
    {
        let found = begins(&cues, word);
        assert!((found - expected).abs() < 0.2, "`{word}` at {found}, expected {expected}");
    }
    assert!(is_captioned(&film, begins(&cues, "once") + 0.1));
    assert!(is_captioned(&film, begins(&cues, "he work") + 0.1));
    assert!(!is_captioned(&film, second_s + 0.02), "the first word of a scene comes later");
    let soft = samples.ffmpeg("-i film.mp4 -map 0:s:0 -c:s srt", "soft.srt");
    let soft = read_srt(&std::fs::read_to_string(soft).unwrap()).unwrap();
    assert_eq!(soft.len(), cues.len());
    for (soft, cue) in soft.iter().zip(&cues) {
        assert!(soft.start_ms.abs_diff(cue.start_ms) <= 1, "{soft:?} {cue:?}");
        assert_eq!(soft.text, cue.text);
    }
    // What was burned is what the script of the whole film says.
    let script = text(&engine, &made["ass"]);
    assert_eq!(script.lines().filter(|line| line.starts_with("Dialogue: ")).count(), cues.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_in_which_nobody_speaks_is_made_and_says_so() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let input = input(&samples, json!({ "captions": "both" }));
    let silence = samples.ffmpeg("-f lavfi -t 1 -i anullsrc", "silence.wav");
    let silent = json!([silence, silence]);
    let input = json!({ "voices": silent, "captions": "both", "scenes": input["scenes"] });
    let made = merged(&engine, &samples, "compose", input).await.unwrap().output;
    assert_eq!(made["speech"], false);
    assert_eq!(made["message"], "no speech found");
    assert_eq!((&made["captions"], &made["cues"]), (&json!("none"), &json!(0)));
    assert_eq!(made["frames"], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_captions_and_music_nothing_is_transcribed() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let input = input(&samples, json!({ "captions": "none", "loudness_lufs": null }));
    let job = engine.submit(Submit::named("compose", input.clone())).await.unwrap().job;
    let view = job.wait().await.unwrap();
    let made = view.state.output().unwrap_or_else(|| panic!("{:?}", view.state.phase)).clone();
    for skipped in ["fetch_music", "choose", "audio", "transcribe", "subtitles", "captions"] {
        assert_eq!(output(&engine, &view.state, skipped), Value::Null, "{skipped}");
    }
    for absent in ["srt", "vtt", "ass", "text", "provider"] {
        assert_eq!(made[absent], Value::Null, "{absent}");
    }
    let film = samples.write("film.mp4", bytes(&engine, &made["video"]));
    assert_eq!(ffprobe(&film, "stream=codec_name"), "h264\naac");
    assert!(!is_captioned(&film, 1.0));
    // It is the film that `merge` makes.
    let mut plain = input;
    plain.as_object_mut().unwrap().remove("captions");
    let merged = merged(&engine, &samples, "merge", plain).await.unwrap();
    assert_eq!(merged.output["frames"], made["frames"]);
    assert_eq!(merged.output["loudness_lufs"], made["loudness_lufs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn music_without_sound_is_refused_before_any_work() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let music = scene(&samples, "black", 1.0, "", "music.mp4");
    let input = input(&samples, json!({ "music": music }));
    let job = engine.submit(Submit::named("compose", input)).await.unwrap().job;
    let view = job.wait().await.unwrap();
    let failure = view.state.failure().unwrap();
    assert_eq!(failure.code, "media.no_audio", "{failure}");
    let plan = engine.workflow("compose").unwrap();
    for (step, state) in plan.workflow().steps.iter().zip(&view.state.steps) {
        if ["plan", "transcribe", "picture"].contains(&step.id.as_str()) {
            assert!(!matches!(state.status, StepStatus::Succeeded(_)), "{}", step.id);
        }
    }
}
#[tokio::test(flavor = "multi_thread")]
async fn stretches_without_captions_are_counted_in_the_film() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let input = input(&samples, json!({}));
    let whole = merged(&engine, &samples, "compose", input.clone()).await.unwrap().output;
    let second_s = whole["scenes"][1]["start_s"].as_f64().unwrap();
    // All of the second scene, and of the first nothing.
    let exclude = json!([{ "from_s": second_s, "to_s": second_s + 60.0 }]);
    let mut other = input.clone();
    other["exclude"] = exclude;
    let made = merged(&engine, &samples, "compose", other).await.unwrap().output;
    let cues = |made: &Value| read_srt(&text(&engine, &made["srt"])).unwrap();
    let (all, left) = (cues(&whole), cues(&made));
    let first: Vec<_> =
        all.into_iter().filter(|cue| (cue.start_ms as f64) < second_s * 1_000.0).collect();
    assert!(!first.is_empty());
    assert_eq!(left, first);
    let mut refused = input;
    refused["exclude"] = json!([{ "from_s": 5, "to_s": 2 }]);
    let failure = merged(&engine, &samples, "compose", refused).await.err().unwrap();
    assert_eq!(failure.code, "subtitles.input");
}

/// How often each item of a step was begun, and which of them have succeeded.
async fn items(engine: &Engine, job: &JobHandle, id: &str) -> (Vec<u32>, Vec<usize>) {
    let plan = engine.workflow("merge").unwrap();
    let at = plan.workflow().steps.iter().position(|step| step.id == id).unwrap();
    let (mut begun, mut places, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for event in job.records(0).await.unwrap().into_iter().flat_map(|record| record.events) {
        match event {
            Event::StepStarted { step, item, token, .. } if step.at() == at => {
                let item = item.0 as usize;
                begun.resize(begun.len().max(item + 1), 0);
                begun[item] += 1;
                places.push((token, item));
            }
            Event::StepSucceeded { token, .. } => {
                let place = places.iter().find(|(open, _)| *open == token);
                ended.extend(place.map(|(_, item)| *item));
            }
            _ => {}
        }
    }
    (begun, ended)
}

/// A scene whose encode is on record is never encoded again.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stops_in_the_middle_goes_on_with_the_scenes_that_are_left() {
    let samples = Samples::new();
    let options = MediaOptions { parallel_runs: 1, ..offline() };
    let open = async || {
        let builder = Engine::builder().data_dir(samples.path("state"));
        callsheet_workflows::register(builder, &options).open().await.unwrap()
    };
    let mut input = input(&samples, json!({ "preset": "medium" }));
    // Scenes of their own, so that none has the result of another.
    input["scenes"] = ["red", "green", "blue", "white"]
        .map(|colour| json!(scene(&samples, colour, 1.0, "", &format!("{colour}.mp4"))))
        .into();
    input["voices"] = json!(vec![input["voices"][0].clone(); 4]);
    let first = open().await;
    let job = first.submit(Submit::named("merge", input)).await.unwrap().job;
    let before = loop {
        let (_, ended) = items(&first, &job, "picture").await;
        if !ended.is_empty() {
            break ended;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let id = job.id();
    first.stop_now().await;
    drop((job, first));
    let second = open().await;
    let job = second.job(id);
    let view = job.wait().await.unwrap();
    assert!(view.state.output().is_some(), "{:?}", view.state.phase);
    assert!(matches!(view.state.phase, Phase::Ended { .. }));
    let (begun, ended) = items(&second, &job, "picture").await;
    assert_eq!(ended.len(), 4);
    assert!(before.len() < 4, "it was stopped in the middle");
    for item in before {
        assert_eq!(begun[item], 1, "scene {item} of {begun:?}");
    }
}

/// A film with one scene changed encodes that scene; with other volumes it encodes none.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_encoded_before_is_not_encoded_again() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let mut input = input(&samples, json!({ "scene_length": 0.5 }));
    for (change, fresh) in [(None, 2), (Some(("scenes", "green")), 1), (Some(("volume", "")), 0)] {
        match change {
            Some(("scenes", colour)) => {
                input["scenes"][1] = json!(scene(&samples, colour, 1.0, "", "changed.mp4"));
            }
            Some(_) => input["voiceover_volume"] = json!(0.5),
            None => {}
        }
        let job = engine.submit(Submit::named("merge", input.clone())).await.unwrap().job;
        let view = job.wait().await.unwrap();
        assert!(view.state.output().is_some(), "{:?}", view.state.phase);
        let plan = engine.workflow("merge").unwrap();
        let at = plan.workflow().steps.iter().position(|step| step.id == "picture").unwrap();
        assert_eq!(2 - view.state.steps[at].recalled, fresh, "{change:?}");
    }
}
