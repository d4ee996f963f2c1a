//! Whether the music's result is as loud as it should be, and whether sound and pictures of many
//! scenes end together.

use std::path::Path;
use std::process::Command;

use super::Bench;
use super::page::Row;
use super::speed::result;

/// The result of `background-music`, measured by ffmpeg and not by the job; and its pictures.
pub(super) fn music(bench: &Bench) -> Vec<Row> {
    let place = bench.place("music");
    let (video, music) = (bench.input("talk.mp4"), bench.input("music.mp3"));
    let mut args = vec!["run".to_owned(), "background-music".to_owned()];
    for input in [format!("video={video}"), format!("music={music}")] {
        args.extend(["--input".to_owned(), input]);
    }
    args.extend(["--out", "out", "--json"].map(ToOwned::to_owned));
    result(bench.command(&place, &args));
    let film = place.join("out/video.mp4");
    let (lufs, peak) = loudness(&film);
    let same = pictures(Path::new(&video)) == pictures(&film);
    vec![
        Row::new(
            "background-music: loudness and true peak of the file, by ffmpeg's `ebur128`",
            format!("{lufs:.1} LUFS, {peak:.1} dBTP"),
            "-16 ±1 LUFS, ≤ -1.5 dBTP",
            (lufs + 16.0).abs() <= 1.0 && peak <= -1.5,
        ),
        Row::new(
            "background-music: pictures before and after, by hash",
            if same { "the same" } else { "others" },
            "the same",
            same,
        ),
    ]
}

/// The end of the sound and of the pictures of a film of many scenes.
pub(super) fn drift(bench: &Bench) -> Vec<Row> {
    let place = bench.place("drift");
    let (scene, voice) = (bench.input("scene-1.mp4"), bench.input("voice-3.wav"));
    let mut args = vec!["run".to_owned(), "merge".to_owned()];
    for _ in 0..bench.scenes {
        for input in [format!("scenes={scene}"), format!("voices={voice}")] {
            args.extend(["--input".to_owned(), input]);
        }
    }
    for input in ["width=480", "height=480", "preset=ultrafast"] {
        args.extend(["--input", input].map(ToOwned::to_owned));
    }
    args.extend(["--out", "out", "--json"].map(ToOwned::to_owned));
    result(bench.command(&place, &args));
    let film = place.join("out/video.mp4");
    let drift = (end_s(&film, "a:0") - end_s(&film, "v:0")) * 1_000.0;
    vec![Row::new(
        format!("merge of {} scenes: end of the sound minus end of the pictures", bench.scenes),
        format!("{drift:+.1} ms"),
        "≤ 21 ms",
        drift.abs() <= 21.4,
    )]
}

fn loudness(film: &Path) -> (f64, f64) {
    let args = ["-map", "0:a", "-af", "ebur128=peak=true", "-f", "null", "-"];
    let mut command = Command::new("ffmpeg");
    let output = command.args(["-nostdin", "-i"]).arg(film).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The summary comes last.
    let figure = |name: &str| -> f64 {
        let line = said.lines().rfind(|line| line.trim_start().starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (figure("I:"), figure("Peak:"))
}

/// The hash of the pictures as they are stored.
fn pictures(film: &Path) -> String {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(film);
    command.args(["-map", "0:v", "-c", "copy", "-f", "hash", "-"]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// When the last packet of a stream ends.
fn end_s(film: &Path, stream: &str) -> f64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0"]);
    command.args(["-show_entries", "packet=pts_time,duration_time"]).arg(film);
    let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let ends = printed.lines().filter_map(|line| {
        let mut parts = line.split(',').map(str::parse::<f64>);
        Some(parts.next()?.ok()? + parts.next()?.ok()?)
    });
    ends.fold(0.0, f64::max)
}
