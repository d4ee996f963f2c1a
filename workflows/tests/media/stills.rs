//! The workflows `thumbnail` and `contact-sheet`, their pictures looked into with ffmpeg itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use callsheet_actors::Engine;
use serde_json::{Value, json};

use crate::samples::{Samples, ffprobe};
use crate::support::{bytes, code, engine, offline, run};

/// Runs a workflow that makes a picture; gives its output and the picture as a file.
async fn picture(
    engine: &Engine,
    samples: &Samples,
    workflow: &str,
    input: Value,
) -> (Value, PathBuf) {
    let output = run(engine, workflow, input.clone()).await;
    let output = output.unwrap_or_else(|failure| panic!("{input}: {failure:?}"));
    let name = output["image"]["name"].as_str().unwrap();
    let file = samples.write(name, bytes(engine, &output["image"]));
    (output, file)
}

/// A film that is as bright as its second is late: from black in the first to white in the last.
fn brightening(samples: &Samples, seconds: u32, name: &str) -> PathBuf {
    let last = seconds - 1;
    samples.ffmpeg(
        &format!(
            "-f lavfi -i color=c=black:size=160x90:rate=10:duration={seconds} \
             -vf geq=lum=255*floor(T)/{last}:cb=128:cr=128 -c:v libx264 -preset ultrafast -g 20 \
             -pix_fmt yuv420p"
        ),
        name,
    )
}

/// The mean brightness of a part of a picture, 0 to 1.
fn brightness(image: &Path, crop: &str) -> f64 {
    let filter = format!("{crop},format=gray,scale=1:1:flags=area");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(image).args(["-vf", &filter, "-f", "rawvideo", "-"]);
    let output = ffmpeg.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    f64::from(output.stdout[0]) / 255.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_from_when_it_was_asked_for() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = brightening(&samples, 5, "a.mp4");
    for (at, format, at_s, bright, codec) in [
        (json!(0), "jpeg", 0.0, 0.0, "mjpeg"),
        (json!(2.3), "png", 2.3, 0.5, "png"),
        (json!("90%"), "webp", 4.5, 1.0, "webp"),
        // Behind the last picture it is the last picture.
        (json!("100%"), "jpeg", 5.0, 1.0, "mjpeg"),
    ] {
        let input = json!({ "video": film, "at": at, "format": format, "width": 80 });
        let (output, image) = picture(&engine, &samples, "thumbnail", input).await;
        assert!((output["at_s"].as_f64().unwrap() - at_s).abs() < 0.01, "{output}");
        let found = brightness(&image, "null");
        assert!((found - bright).abs() < 0.1, "{at}: {found}");
        assert_eq!(ffprobe(&image, "stream=codec_name,width,height"), format!("{codec},80,46"));
        assert_eq!((output["width"].as_u64(), output["height"].as_u64()), (Some(80), Some(46)));
    }
}

/// Films whose container leads a seek astray, whose pictures end before their sound, or that say
/// nothing of their length.
#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_from_when_it_was_asked_for_in_films_of_any_kind() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    brightening(&samples, 30, "a.mp4");
    let copy = |more: &str, name: &str| samples.ffmpeg(&format!("-i a.mp4 {more}"), name);
    let few = "-c:v libx264 -preset ultrafast -g";
    let sound = "-f lavfi -i sine -map 0:v -map 1:a -c:v copy -c:a aac -t";
    for (film, at, second) in [
        (copy("-c copy", "a.ts"), json!(12.5), 12.0),
        (copy(&format!("{few} 125 -bf 3"), "far.ts"), json!(12.5), 12.0),
        (copy(&format!("{few} 1000"), "one.ts"), json!(12.5), 12.0),
        (copy("-c:v mpeg2video -g 300", "a.mpg"), json!(12.5), 12.0),
        (copy("-c:v mpeg2video -g 300", "b.mpg"), json!("100%"), 29.0),
        (copy(&format!("{sound} 60"), "long.mp4"), json!(50), 29.0),
        (copy(&format!("{sound} 60"), "longer.mp4"), json!("50%"), 15.0),
    ] {
        let input = json!({ "video": film, "at": at, "format": "png" });
        let (output, image) = picture(&engine, &samples, "thumbnail", input).await;
        let found = brightness(&image, "null") * 29.0;
        assert!((found - second).abs() < 0.9, "{film:?} at {at}: {found} {output}");
    }
    // Without a length there are no shares, but seconds.
    let live = copy("-c copy -f matroska -live 1", "live.mkv");
    let shares = run(&engine, "thumbnail", json!({ "video": live, "at": "50%" })).await;
    assert_eq!(code(shares), "ffmpeg.input");
    let (_, image) =
        picture(&engine, &samples, "thumbnail", json!({ "video": live, "at": 12.5 })).await;
    assert!((brightness(&image, "null") * 29.0 - 12.0).abs() < 0.9);
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_that_are_no_squares_are_shown_as_they_are_meant() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i color=size=720x576:rate=10:duration=2 -vf setsar=64/45 -preset ultrafast",
        "wide.mp4",
    );
    let (_, image) = picture(&engine, &samples, "thumbnail", json!({ "video": film })).await;
    assert_eq!(ffprobe(&image, "stream=width,height"), "1024,576");
    let input = json!({ "video": film, "rows": 1, "columns": 2, "tile_width": 512 });
    let (_, image) = picture(&engine, &samples, "contact-sheet", input).await;
    assert_eq!(ffprobe(&image, "stream=width,height"), "1024,288");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_of_one_picture_has_a_sheet() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg("-f lavfi -i testsrc2=size=160x90:rate=25 -frames:v 1", "one.mp4");
    for side in [1, 2] {
        let input = json!({ "video": film, "rows": side, "columns": side });
        picture(&engine, &samples, "contact-sheet", input).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stretch_has_no_best_picture_and_does_not_matter() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=8 -preset ultrafast -g 25 \
         -movflags +faststart",
        "whole.mp4",
    );
    let mut bytes = std::fs::read(film).unwrap();
    let (from, to) = (bytes.len() / 10, bytes.len() / 10 * 9);
    for (n, byte) in bytes[from..to].iter_mut().enumerate() {
        *byte = (n * 7_919 % 251) as u8;
    }
    let film = samples.write("damaged.mp4", bytes);
    picture(&engine, &samples, "thumbnail", json!({ "video": film })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_picture_is_none_of_the_odd_ones() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // Black at its beginning and its end, as films are; the rest is bright.
    let film = samples.ffmpeg(
        "-f lavfi -i color=c=white:size=320x180:rate=10:duration=8 \
         -vf fade=in:0:20,fade=out:60:20 -c:v libx264 -preset ultrafast -g 5 -pix_fmt yuv420p",
        "a.mp4",
    );
    let (output, image) = picture(&engine, &samples, "thumbnail", json!({ "video": film })).await;
    let at = output["at_s"].as_f64().unwrap();
    assert!(at > 1.0 && at < 7.0, "{output}");
    assert!(brightness(&image, "null") > 0.6, "{output}");
    assert_eq!(output["image"]["name"], "thumbnail.jpg");
    assert_eq!(output["image"]["media_type"], "image/jpeg");
    assert_eq!(output["width"], 320);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_shows_the_film_in_order_however_it_is_made() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    // The first is decoded as a whole, the second sought picture by picture.
    for (seconds, name) in [(8, "short.mp4"), (24, "long.mkv")] {
        let film = brightening(&samples, seconds, name);
        let input = json!({ "video": film, "rows": 2, "columns": 2, "tile_width": 96,
            "timestamps": false, "format": "png" });
        let (output, image) = picture(&engine, &samples, "contact-sheet", input).await;
        assert_eq!(ffprobe(&image, "stream=width,height"), "192,108", "{name}");
        let times = output["at_s"].as_array().unwrap();
        for (n, at) in times.iter().enumerate() {
            let expected = at.as_f64().unwrap().floor() / f64::from(seconds - 1);
            let crop = format!("crop=96:54:{}:{}", n % 2 * 96, n / 2 * 54);
            let found = brightness(&image, &crop);
            assert!((found - expected).abs() < 0.1, "{name} {n}: {found}, expected {expected}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_drawn_into_the_corner_when_asked() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    for seconds in [4, 20] {
        let film = samples.ffmpeg(
            &format!(
                "-f lavfi -i color=c=gray:size=320x180:rate=5:duration={seconds} -c:v libx264 \
                 -preset ultrafast -g 10 -pix_fmt yuv420p"
            ),
            "gray.mp4",
        );
        for timestamps in [true, false] {
            let input = json!({ "video": film, "rows": 1, "columns": 2, "timestamps": timestamps });
            let (_, image) = picture(&engine, &samples, "contact-sheet", input).await;
            let differs = |crop| (brightness(&image, crop) - 0.5).abs() > 0.05;
            assert!(!differs("crop=320:90:0:0"), "{seconds}");
            assert_eq!(differs("crop=40:16:8:160"), timestamps, "{seconds}");
            assert_eq!(differs("crop=40:16:328:160"), timestamps, "{seconds}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shows_nothing_is_refused() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = brightening(&samples, 2, "a.mp4");
    let song = samples.ffmpeg("-f lavfi -t 1 -i sine -c:a libmp3lame", "a.mp3");
    for (workflow, input, expected) in [
        ("thumbnail", json!({ "video": song }), "media.no_video"),
        ("thumbnail", json!({ "video": film, "at": 3 }), "ffmpeg.input"),
        ("contact-sheet", json!({ "video": song }), "media.no_video"),
    ] {
        assert_eq!(code(run(&engine, workflow, input).await), expected, "{workflow}");
    }
    for (workflow, input) in [
        ("thumbnail", json!({ "video": film, "width": 15 })),
        ("thumbnail", json!({ "video": film, "format": "gif" })),
        ("thumbnail", json!({ "video": film, "at": "soon" })),
        ("contact-sheet", json!({ "video": film, "rows": 0 })),
        ("contact-sheet", json!({ "video": film, "columns": 13 })),
    ] {
        let submit = callsheet_actors::Submit::named(workflow, input.clone());
        assert!(engine.submit(submit).await.is_err(), "{input}");
    }
    let late = run(&engine, "thumbnail", json!({ "video": film, "at": "00:00:03" })).await;
    assert!(late.unwrap_err().hint.is_some_and(|hint| hint.contains("50%")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_tells_what_is_wrong_and_not_where_files_lie() {
    let samples = Samples::new();
    let engine = engine(&offline()).await;
    let film = samples.ffmpeg(
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -preset ultrafast -g 25 \
         -movflags +faststart",
        "whole.mp4",
    );
    let mut bytes = std::fs::read(film).unwrap();
    let from = bytes.len() / 10;
    bytes[from..].fill(0xA5);
    let film = samples.write("damaged.mp4", bytes);
    let input = json!({ "video": film, "quality": "high" });
    let failed = run(&engine, "convert", input).await.unwrap_err();
    assert_eq!(failed.code, "ffmpeg.failed");
    assert!(failed.message.starts_with("`ffmpeg` ended with exit status"), "{}", failed.message);
    assert!(!failed.message.contains("artifacts"), "{}", failed.message);
    assert!(failed.message.lines().count() <= 7, "{}", failed.message);
}
