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
