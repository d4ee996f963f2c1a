//! Single steps on real files.

use serde_json::{Value, json};

use crate::samples::{Samples, ffprobe};
use crate::support::{artifact, bytes, code, engine, offline, step, stored};

#[tokio::test(flavor = "multi_thread")]
async fn probe_tells_what_is_in_a_file() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=320x240:rate=30:duration=1 -f lavfi -t 1 -i sine=r=44100 \
         -c:v libx264 -c:a aac",
        "film.mp4",
    );
    let facts = step(&engine, "media.probe", json!({ "media": stored(&engine, &film) }));
    let facts = facts.await.unwrap();
    assert_eq!((&facts["width"], &facts["height"]), (&json!(320), &json!(240)));
    assert_eq!((&facts["has_video"], &facts["has_audio"]), (&json!(true), &json!(true)));
    assert_eq!(facts["size"], std::fs::metadata(&film).unwrap().len());
    assert!((facts["duration_s"].as_f64().unwrap() - 1.0).abs() < 0.1);
    assert_eq!(facts["streams"][0]["codec"], "h264");
    assert_eq!(facts["streams"][0]["fps"], 30.0);
    assert_eq!(facts["streams"][1]["sample_rate"], 44_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_foreign_files_are_refused() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "film.mp4");
    let whole = std::fs::read(film).unwrap();
    for (bytes, expected) in [
        (whole[..200].to_vec(), "media.unreadable"),
        (b"hello".to_vec(), "media.not_allowed"),
        (vec![], "media.not_allowed"),
        (b"\x7FELF".to_vec(), "media.not_allowed"),
    ] {
        let media = artifact(&engine, &bytes, "film.mp4");
        let failed = code(step(&engine, "media.probe", json!({ "media": media })).await);
        assert_eq!(failed, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_starts_late_keeps_its_place() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=64x64:duration=3 -itsoffset 1.5 -f lavfi -t 1 -i sine \
         -c:v libx264 -c:a aac",
        "late.mkv",
    );
    let with = json!({ "media": stored(&engine, &film) });
    let first = step(&engine, "media.extract_audio", with.clone()).await.unwrap();
    assert!((first["duration_s"].as_f64().unwrap() - 2.5).abs() < 0.1, "{first}");
    let wav = bytes(&engine, &first["audio"]);
    let sample = |second: f64| {
        let at = 44 + (second * 16_000.0) as usize * 2;
        wav[at..at + 320].chunks(2).map(|two| i16::from_le_bytes([two[0], two[1]]).abs()).max()
    };
    assert!(sample(1.0).unwrap() < 10, "silence first");
    assert!(sample(2.0).unwrap() > 1_000, "then the tone");
    let path = samples.write("audio.wav", &wav);
    assert_eq!(ffprobe(&path, "stream=codec_name,sample_rate,channels"), "pcm_s16le,16000,1");
    // The same sound gives the same artifact, so that doing it twice costs nothing.
    let again = step(&engine, "media.extract_audio", with).await.unwrap();
    assert_eq!(first["audio"], again["audio"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_picture_and_foreign_sound_become_a_plain_mp4() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc=size=161x91:duration=1 -f lavfi -t 1 -i sine \
         -c:v ffv1 -pix_fmt rgb24 -c:a pcm_s16le",
        "odd.mkv",
    );
    let words = json!([{ "text": "hello", "start_s": 0.1, "end_s": 0.9 }]);
    let composed = step(&engine, "subtitles.compose", json!({ "words": words })).await.unwrap();
    let with = json!({ "video": stored(&engine, &film), "subtitles": composed["ass"], "crf": 30 });
    let burned = step(&engine, "ffmpeg.burn_subtitles", with).await.unwrap();
    assert_eq!(burned["audio"], "encoded");
    let path = samples.write("out.mp4", bytes(&engine, &burned["video"]));
    assert_eq!(ffprobe(&path, "stream=codec_name,width,height"), "h264,162,92\naac");
    let head = std::fs::read(path).unwrap();
    let place = |name: &[u8]| head.windows(4).position(|four| four == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"), "the index stands first, so it plays while it loads");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_whole_files_from_broken_ones() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=128x128:duration=2 -f lavfi -t 2 -i sine -c:v libx264 -c:a aac \
         -movflags +faststart",
        "film.mp4",
    );
    let whole = std::fs::read(&film).unwrap();
    let media = artifact(&engine, &whole, "film.mp4");
    let check = async |media: &Value, more: Value| {
        let mut with = more;
        with["media"] = media.clone();
        step(&engine, "media.verify", with).await
    };
    let both = json!({ "expect_video": true, "expect_audio": true, "expected_duration_s": 2.0 });
    let verified = check(&media, both).await.unwrap();
    assert_eq!(
        (&verified["video_codec"], &verified["audio_codec"]),
        (&json!("h264"), &json!("aac"))
    );
    let long = json!({ "expected_duration_s": 3.0 });
    assert_eq!(code(check(&media, long).await), "verify.too_short");
    let cut = artifact(&engine, &whole[..whole.len() * 2 / 3], "film.mp4");
    assert_eq!(code(check(&cut, json!({})).await), "verify.decode");
    let mut scratched = whole.clone();
    let middle = scratched.len() / 2;
    scratched[middle..middle + 4_000].fill(0xFF);
    let scratched = artifact(&engine, &scratched, "film.mp4");
    assert_eq!(code(check(&scratched, json!({})).await), "verify.decode");
    let sound = samples.ffmpeg("-f lavfi -t 1 -i sine", "sound.wav");
    let sound = stored(&engine, &sound);
    assert_eq!(code(check(&sound, json!({ "expect_video": true })).await), "verify.no_video");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offline_recogniser_says_what_it_cannot_do() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let kind = "speech.transcribe.offline";
    let sound = samples.ffmpeg("-f lavfi -t 1 -i sine=r=44100", "sound.wav");
    let sound = stored(&engine, &sound);
    let german = json!({ "audio": sound, "language": "de" });
    assert_eq!(code(step(&engine, kind, german).await), "speech.language");
    assert_eq!(code(step(&engine, kind, json!({ "audio": sound })).await), "speech.audio");
    let text = artifact(&engine, b"hello", "a.wav");
    assert_eq!(code(step(&engine, kind, json!({ "audio": text })).await), "speech.audio");
    let asked = json!({ "audio": sound, "provider": "openai" });
    assert_eq!(code(step(&engine, "speech.transcribe", asked).await), "speech.no_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_pause_does_not_move_the_words_after_it() {
    let samples = Samples::new();
    let (film, spoken) = samples.film();
    let engine = engine(&offline()).await;
    let with = json!({ "media": stored(&engine, &film) });
    let audio = step(&engine, "media.extract_audio", with).await.unwrap();
    let with = json!({ "audio": audio["audio"] });
    let heard = step(&engine, "speech.transcribe.offline", with).await.unwrap();
    let words = heard["words"].as_array().unwrap();
    let first = words.iter().find(|word| word["text"] == "he").unwrap();
    let start = first["start_s"].as_f64().unwrap();
    assert!((start - spoken[1].start_s).abs() < 0.2, "{start} {}", spoken[1].start_s);
}
