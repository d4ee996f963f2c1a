//! Single steps on real files.

use callsheet_workflows::MediaOptions;
use callsheet_workflows::subtitles::{Cue, read_srt, read_vtt, write_srt, write_vtt};
use serde_json::{Value, json};

use crate::samples::{Samples, ffprobe};
use crate::support::{artifact, bytes, code, engine, offline, run, step, stored, text};

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
async fn probe_refuses_what_lacks_what_it_should_have() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "film.mp4");
    let song = samples.ffmpeg("-f lavfi -t 1 -i sine", "song.mp3");
    for (file, expected, refused) in [
        (&film, json!({ "expect_video": true }), None),
        (&film, json!({ "expect_audio": true }), Some("media.no_audio")),
        (&song, json!({ "expect_audio": true }), None),
        (&song, json!({ "expect_video": true }), Some("media.no_video")),
        (&song, json!({}), None),
    ] {
        let mut with = expected.clone();
        with["media"] = stored(&engine, file);
        let failure = step(&engine, "media.probe", with).await.err();
        assert_eq!(failure.as_ref().map(|failure| failure.code.as_str()), refused, "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_foreign_files_are_refused() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=64x64:duration=1", "film.mp4");
    let whole = std::fs::read(film).unwrap();
    for (bytes, expected, said) in [
        (whole[..200].to_vec(), "media.unreadable", "cannot be read: its index is missing"),
        (b"hello".to_vec(), "media.not_allowed", "the file is a text file"),
        (vec![], "media.not_allowed", "the file is empty"),
        (b"\x7FELF".to_vec(), "media.not_allowed", "not sound or pictures"),
    ] {
        let media = artifact(&engine, &bytes, "film.mp4");
        let failed = step(&engine, "media.probe", json!({ "media": media })).await.unwrap_err();
        assert_eq!(failed.code, expected);
        assert!(failed.message.contains(said), "{}", failed.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_starts_late_keeps_its_place() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let late = "-f lavfi -i testsrc2=size=64x64:duration=3 -itsoffset 1.5 -f lavfi -t 1 -i sine \
                -c:v libx264 -c:a aac";
    for name in ["late.ts", "late.mp4", "late.mkv"] {
        let film = samples.ffmpeg(late, name);
        let with = json!({ "media": stored(&engine, &film) });
        let first = step(&engine, "media.extract_audio", with).await.unwrap();
        assert!((first["duration_s"].as_f64().unwrap() - 2.5).abs() < 0.1, "{name}: {first}");
        let wav = bytes(&engine, &first["audio"]);
        let loudest = |second: f64| {
            let at = 44 + (second * 16_000.0) as usize * 2;
            wav[at..at + 320].chunks(2).map(|two| i16::from_le_bytes([two[0], two[1]]).abs()).max()
        };
        assert!(loudest(1.0).unwrap() < 10, "{name}: silence first");
        assert!(loudest(2.0).unwrap() > 1_000, "{name}: then the tone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_sound_gives_the_same_artifact() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg("-f lavfi -t 1 -i sine -c:a aac", "sound.mkv");
    let with = json!({ "media": stored(&engine, &film) });
    let first = step(&engine, "media.extract_audio", with.clone()).await.unwrap();
    let wav = bytes(&engine, &first["audio"]);
    let path = samples.write("audio.wav", &wav);
    assert_eq!(ffprobe(&path, "stream=codec_name,sample_rate,channels"), "pcm_s16le,16000,1");
    // So doing it twice costs nothing.
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

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_came_with_faults_does_not_spoil_a_sound_video() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    samples.ffmpeg(
        "-f lavfi -i testsrc2=size=64x64:duration=2 -f lavfi -t 2 -i sine -c:v libx264 -c:a aac",
        "good.mp4",
    );
    let bad = samples.ffmpeg("-i good.mp4 -c copy -bsf:a noise=amount=20", "bad.mp4");
    let media = stored(&engine, &bad);
    let strict = step(&engine, "media.verify", json!({ "media": media })).await;
    assert_eq!(code(strict), "verify.decode");
    let with = json!({ "media": media, "decode_audio": false, "expect_audio": true });
    assert_eq!(step(&engine, "media.verify", with).await.unwrap()["audio_codec"], "aac");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_lies_on_its_side_is_seen_as_it_is_shown() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    samples.ffmpeg("-f lavfi -i testsrc2=size=192x108:duration=1 -c:v libx264", "flat.mp4");
    let film = samples.ffmpeg("-i flat.mp4 -c copy -metadata:s:v rotate=90", "turned.mp4");
    let media = stored(&engine, &film);
    let facts = step(&engine, "media.probe", json!({ "media": media })).await.unwrap();
    assert_eq!((&facts["width"], &facts["height"]), (&json!(108), &json!(192)));
    let composed = step(&engine, "subtitles.compose", json!({ "words": [] })).await.unwrap();
    let with = json!({ "video": media, "subtitles": composed["ass"] });
    let burned = step(&engine, "ffmpeg.burn_subtitles", with).await.unwrap();
    let path = samples.write("out.mp4", bytes(&engine, &burned["video"]));
    assert_eq!(ffprobe(&path, "stream=width,height"), "108,192");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_does_not_say_its_length_is_taken() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // As a browser records: written to a pipe, so that the length could not be put in afterwards.
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=64x64:duration=1 -f lavfi -t 1 -i anullsrc -c:v libvpx \
         -deadline realtime -c:a libopus -f webm -live 1",
        "live.webm",
    );
    let facts = step(&engine, "media.probe", json!({ "media": stored(&engine, &film) }));
    assert_eq!(facts.await.unwrap()["duration_s"], Value::Null);
    let input = json!({ "video": film, "preset": "ultrafast" });
    let output = run(&engine, "caption", input).await.unwrap();
    assert!((output["duration_s"].as_f64().unwrap() - 1.0).abs() < 0.2, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_are_composed_as_asked_and_stored_under_plain_names() {
    let engine = engine(&offline()).await;
    let words: Vec<Value> = ["hello", "world", "& <you>"]
        .iter()
        .enumerate()
        .map(|(n, text)| json!({ "text": text, "start_s": n, "end_s": n as f64 + 0.9 }))
        .collect();
    let style = json!({ "preset": "classic", "uppercase": true });
    let replace = json!([{ "find": "World", "replace": "people" }]);
    let with = json!({
        "words": words, "words_per_line": 2, "duration_s": 3, "style": style, "replace": replace,
    });
    let composed = step(&engine, "subtitles.compose", with).await.unwrap();
    assert_eq!((&composed["cues"], &composed["fast_cues"]), (&json!(2), &json!(0)));
    for (format, name, media_type, part) in [
        ("srt", "captions.srt", "application/x-subrip", "\nhello people\n"),
        ("vtt", "captions.vtt", "text/vtt", "\n&amp; &lt;you&gt;\n"),
        ("ass", "captions.ass", "text/x-ssa", ",,& <YOU>\n"),
    ] {
        let file = &composed[format];
        assert_eq!((&file["name"], &file["media_type"]), (&json!(name), &json!(media_type)));
        let written = text(&engine, file);
        assert!(written.contains(part), "{written}");
    }
}

/// Another program's reader is a better judge of what we write than our own.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_reads_the_captions_that_we_write() {
    let samples = Samples::new();
    let cue = |start_ms, end_ms, text: &str| Cue { start_ms, end_ms, text: text.to_owned() };
    let cues = [
        cue(0, 833, "plain"),
        cue(1_000, 1_999, "two\nlines"),
        cue(3_599_999, 3_600_001, "over the hour, & 5 > 3"),
        cue(7_200_000, 7_207_000, "12"),
    ];
    samples.write("a.srt", write_srt(&cues));
    samples.write("a.vtt", write_vtt(&cues));
    for from in ["a.srt", "a.vtt"] {
        let vtt = samples.ffmpeg(&format!("-i {from}"), "back.vtt");
        let back = read_vtt(&std::fs::read_to_string(vtt).unwrap()).unwrap();
        assert_eq!(back, cues, "{from}");
        let srt = samples.ffmpeg(&format!("-i {from}"), "back.srt");
        assert_eq!(read_srt(&std::fs::read_to_string(srt).unwrap()).unwrap().len(), cues.len());
    }
}

/// Every preset, with text that would mean something to a careless reader.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_reads_the_scripts_that_we_write() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let said = ["{\\an8}one", "two\\N", "three", "שלום", "a,b", "}{"];
    let words: Vec<Value> = said
        .iter()
        .enumerate()
        .map(|(n, text)| json!({ "text": text, "start_s": n, "end_s": n as f64 + 0.9 }))
        .collect();
    for style in [
        json!({}),
        json!({ "preset": "classic", "uppercase": false }),
        json!({ "preset": "karaoke", "position": "top_left" }),
        json!({ "preset": "word_by_word", "font": "DejaVu Sans" }),
        json!({ "highlight": "current", "highlight_color": "#00FF0080" }),
    ] {
        let with = json!({ "words": words, "style": style, "duration_s": 6 });
        let composed = step(&engine, "subtitles.compose", with).await.unwrap();
        samples.write("a.ass", bytes(&engine, &composed["ass"]));
        let srt = samples.ffmpeg("-i a.ass", "back.srt");
        let back = read_srt(&std::fs::read_to_string(srt).unwrap()).unwrap();
        let cues = read_srt(&text(&engine, &composed["srt"])).unwrap();
        let (first, last) = (&cues[0], &cues[cues.len() - 1]);
        assert_eq!(back[0].start_ms, first.start_ms, "{style}");
        assert!(back[back.len() - 1].end_ms.abs_diff(last.end_ms) <= 5, "{style}");
        let shown: String = back.iter().map(|cue| cue.text.to_lowercase()).collect();
        for word in ["three", "שלום", "a,b"] {
            assert!(shown.contains(word), "{style}: {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_cannot_be_are_refused_by_name() {
    let engine = engine(&offline()).await;
    let file = artifact(&engine, b"x", "x");
    let burn = "ffmpeg.burn_subtitles";
    for (kind, with, named) in [
        ("media.probe", json!({}), "media"),
        ("media.probe", json!({ "media": "/etc/passwd" }), "media"),
        ("media.probe", json!({ "media": file, "fast": true }), "fast"),
        (burn, json!({ "video": file, "subtitles": file, "crf": 52 }), "crf"),
        (burn, json!({ "video": file, "subtitles": file, "preset": "warp" }), "preset"),
        ("subtitles.compose", json!({ "words": [{ "text": "a", "start": 0 }] }), "start"),
        ("subtitles.compose", json!({ "words": [], "words_per_line": 13 }), "words_per_line"),
        ("media.fetch", json!({ "source": "a", "max_bytes": "lots" }), "lots"),
    ] {
        let failure = step(&engine, kind, with).await.unwrap_err();
        assert!(failure.message.contains(named), "{kind}: {}", failure.message);
        assert!(!failure.retryable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_ones_own_is_used_and_a_missing_one_is_named() {
    let samples = Samples::new();
    let sound = samples.ffmpeg("-f lavfi -t 1 -i anullsrc -ar 16000 -ac 1", "a.wav");
    let debian = std::path::PathBuf::from("/usr/share/pocketsphinx/model/en-us");
    for (models, expected) in [(debian, Ok(())), (samples.path("none"), Err("speech.recogniser"))] {
        let options = MediaOptions { pocketsphinx_models: Some(models), ..offline() };
        let engine = engine(&options).await;
        let with = json!({ "audio": stored(&engine, &sound) });
        match (step(&engine, "speech.transcribe.offline", with).await, expected) {
            (Ok(heard), Ok(())) => assert_eq!(heard["words"], json!([])),
            (Err(failure), Err(code)) => {
                assert_eq!(failure.code, code);
                assert!(failure.hint.unwrap().contains("pocketsphinx-en-us"));
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}
