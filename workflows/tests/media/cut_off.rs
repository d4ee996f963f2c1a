//! Files whose head says more than the file holds: what is left of a download that broke off.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::merge::{beep, ends, merged, scene};
use crate::samples::Samples;
use crate::support::{code, engine, offline, run};

/// Of a film whose head comes first a part: all of the head, and that share of what follows.
fn cut(samples: &Samples, whole: &Path, share: f64) -> PathBuf {
    let bytes = std::fs::read(whole).unwrap();
    let name = format!("cut-{}", whole.file_name().unwrap().to_str().unwrap());
    samples.write(&name, &bytes[..(bytes.len() as f64 * share) as usize])
}

/// A film of ten seconds that says so at its beginning.
fn film(samples: &Samples, name: &str) -> PathBuf {
    let sources = "-f lavfi -i testsrc2=size=160x90:rate=25 -f lavfi -i sine=440 -t 10";
    samples.ffmpeg(&format!("{sources} -preset ultrafast -movflags +faststart"), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_film_is_not_taken_for_a_whole_one() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let voice = beep(&samples, 2.0, "voice.wav");
    for name in ["film.mp4", "film.mkv"] {
        let film = film(&samples, name);
        let half = cut(&samples, &film, 0.4);
        let input = json!({ "video": half, "music": film });
        assert_eq!(code(run(&engine, "background-music", input).await), "media.cut_off", "{name}");
        let input = json!({ "scenes": [half], "voices": [voice], "scene_length": "scene" });
        let refused = merged(&engine, &samples, "merge", input).await.err().unwrap();
        assert_eq!(refused.code, "media.cut_off", "{name}: {}", refused.message);
        // As much as is there may be used.
        let input = json!({ "scenes": [half], "voices": [voice], "scene_length": "voice" });
        let merged = merged(&engine, &samples, "merge", input).await.unwrap();
        assert_eq!(merged.output["frames"], 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_voice_is_not_followed_by_silence() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = scene(&samples, "red", 2.0, "", "film.mp4");
    let voice = samples.ffmpeg("-f lavfi -i sine=440 -t 10 -movflags +faststart", "voice.m4a");
    let half = cut(&samples, &voice, 0.4);
    for scenes in [json!([film]), json!([voice_with_pictures(&samples)])] {
        let input = json!({ "scenes": scenes, "voices": [half] });
        let refused = merged(&engine, &samples, "merge", input).await.err().unwrap();
        assert_eq!(refused.code, "media.cut_off", "{}", refused.message);
        assert!(refused.message.contains("the voice-over ends after"), "{}", refused.message);
    }
}

fn voice_with_pictures(samples: &Samples) -> PathBuf {
    film(samples, "sounding.mp4")
}

/// Few pictures, each shown for long: the last one lasts as long as the file says.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_stand_for_long_are_no_sign_of_a_cut() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let voice = beep(&samples, 1.0, "voice.wav");
    samples.ffmpeg("-f lavfi -i testsrc2=size=160x90:rate=1 -frames:v 2", "p%d.png");
    samples.write("list", "ffconcat version 1.0\nfile p1.png\nduration 5\nfile p2.png\n");
    let held = samples.ffmpeg("-f concat -i list -fps_mode vfr -bf 0 -pix_fmt yuv420p", "held.mp4");
    let longer = "setts=duration=if(eq(N\\,1)\\,5/TB\\,DURATION)";
    let long = samples.ffmpeg(&format!("-i held.mp4 -c copy -bsf:v {longer}"), "long.mp4");
    for (film, frames) in [(held, 151), (long, 300)] {
        let input = json!({ "scenes": [film], "voices": [voice], "scene_length": "scene" });
        let merged = merged(&engine, &samples, "merge", input).await.unwrap();
        assert_eq!(merged.output["frames"], Value::from(frames));
        let (pictures, sound) = ends(&merged.video);
        assert!((pictures - sound).abs() < 0.03, "{pictures} {sound}");
    }
}
