//! Single steps that are given files which want ffmpeg to read others. Next to each lies one that
//! nobody may open.

use std::path::Path;
use std::process::Command;

use callsheet_actors::Engine;
use serde_json::json;

use super::canary::Canary;
use crate::samples::Samples;
use crate::support::{artifact, code, engine, offline, run, step, stored};

/// Scripts that ffmpeg follows when it is let, whatever they are called. `CANARY` is the film.
const SCRIPTS: [(&str, &str); 5] = [
    (
        "an HLS playlist",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://CANARY\n#EXT-X-ENDLIST\n",
    ),
    ("an HLS playlist", "#EXTM3U\n#EXTINF:2,\nconcat:CANARY\n#EXT-X-ENDLIST\n"),
    ("an ffconcat script", "ffconcat version 1.0\nfile canary.mp4\n"),
    ("a text file", "file canary.mp4\n"),
    ("an XML document", "<?xml version=\"1.0\"?><MPD><BaseURL>file://CANARY</BaseURL></MPD>"),
];

fn script(text: &str, canary: &Path) -> String {
    text.replace("CANARY", canary.to_str().unwrap())
}

fn is_refused(engine: &Engine, failure: &callsheet_engine::Failure, looks_like: &str) {
    assert_eq!(failure.code, "media.not_allowed");
    assert!(failure.message.contains(looks_like), "{}", failure.message);
    assert!(!failure.retryable && failure.hint.is_some());
    assert!(engine.health().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_called_a_video_is_refused_by_the_workflow() {
    let samples = Samples::new();
    let canary = Canary::new(&samples);
    let engine = engine(&offline()).await;
    for (looks_like, text) in SCRIPTS {
        let upload = samples.write("upload.mp4", script(text, &canary.path));
        let failure = run(&engine, "caption", json!({ "video": upload })).await.unwrap_err();
        is_refused(&engine, &failure, looks_like);
    }
    assert!(!canary.was_opened());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_opens_a_script() {
    let samples = Samples::new();
    let canary = Canary::new(&samples);
    let engine = engine(&offline()).await;
    let ass = artifact(&engine, b"[Script Info]\n", "captions.ass");
    for (looks_like, text) in SCRIPTS {
        let upload = artifact(&engine, script(text, &canary.path).as_bytes(), "upload.mp4");
        for (kind, with) in [
            ("media.probe", json!({ "media": upload })),
            ("media.extract_audio", json!({ "media": upload })),
            ("media.verify", json!({ "media": upload })),
            ("ffmpeg.burn_subtitles", json!({ "video": upload, "subtitles": ass })),
            ("ffmpeg.mix_music", json!({ "video": upload, "music": upload })),
        ] {
            let failure = step(&engine, kind, with).await.unwrap_err();
            is_refused(&engine, &failure, looks_like);
        }
    }
    assert!(!canary.was_opened());
}

/// The second wall: what passes for a film by its first bytes is still opened as a film only.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_behind_the_head_of_a_film_is_not_followed() {
    let samples = Samples::new();
    let canary = Canary::new(&samples);
    let engine = engine(&offline()).await;
    for (_, text) in SCRIPTS {
        for head in [&b"\0\0\0\x20ftypisom"[..], b"ID3\x04", b"OggS", b"\x1A\x45\xDF\xA3"] {
            let mut bytes = head.to_vec();
            bytes.extend(script(text, &canary.path).as_bytes());
            let upload = artifact(&engine, &bytes, "upload.mp4");
            let failed = code(step(&engine, "media.probe", json!({ "media": upload })).await);
            assert!(matches!(failed.as_str(), "media.unreadable" | "media.no_streams"), "{failed}");
        }
    }
    assert!(!canary.was_opened());
}

/// That the canary sings when ffmpeg is let, or the tests above say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_follows_a_script_when_it_is_let() {
    let samples = Samples::new();
    let canary = Canary::new(&samples);
    let upload = samples.write("upload.mp4", script(SCRIPTS[0].1, &canary.path));
    let mut ffprobe = Command::new("ffprobe");
    let ended = ffprobe.args(["-v", "quiet", "-i"]).arg(upload).output().unwrap();
    assert!(canary.was_opened(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_are_no_way_into_the_filter_graph() {
    let samples = Samples::new();
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "film.mp4");
    let engine = engine(&offline()).await;
    let words: Vec<_> =
        ["a'[o];movie=canary.mp4[m];[o][m]overlay", "{\\p1}m 0 0", "%{pts}:x=0", "\\N"]
            .iter()
            .enumerate()
            .map(|(n, text)| json!({ "text": text, "start_s": n as f64 / 4.0, "end_s": 1.0 }))
            .collect();
    let composed = step(&engine, "subtitles.compose", json!({ "words": words })).await.unwrap();
    let with = json!({ "video": stored(&engine, &film), "subtitles": composed["ass"] });
    let burned = step(&engine, "ffmpeg.burn_subtitles", with).await.unwrap();
    assert_eq!(burned["audio"], "none");
    let fonts = artifact(&engine, b"[Script Info]\n[Fonts]\nfontname: x.ttf\n", "captions.ass");
    let with = json!({ "video": stored(&engine, &film), "subtitles": fonts });
    assert_eq!(code(step(&engine, "ffmpeg.burn_subtitles", with).await), "subtitles.not_ass");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_costs_too_much_is_refused_before_it_is_decoded() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let many = "-f lavfi -i testsrc2=size=16x16:duration=0.2 ".to_owned() + &"-map 0:v ".repeat(40);
    let streams = samples.ffmpeg(&many, "many.mkv");
    let failed = step(&engine, "media.probe", json!({ "media": stored(&engine, &streams) })).await;
    assert_eq!(code(failed), "media.too_many_streams");
    let wide = "-f lavfi -i color=size=17000x16:duration=0.2:rate=5 -c:v ffv1";
    let wide = stored(&engine, &samples.ffmpeg(wide, "wide.mkv"));
    let failed = step(&engine, "media.probe", json!({ "media": wide })).await;
    assert_eq!(code(failed), "media.too_many_pixels");
}
