//! A service lays music under a video with a shipped workflow, and takes the file it made.

use std::path::Path;
use std::process::Command;

use callsheet::media::{MediaOptions, register};
use callsheet::{Artifact, Engine, Submit};
use serde_json::json;

/// Makes an input with ffmpeg; a service has one from its users.
fn make(arguments: &str, to: &Path) -> std::io::Result<()> {
    let mut ffmpeg = Command::new("ffmpeg");
    let made = ffmpeg.args(["-v", "error"]).args(arguments.split(' ')).arg(to).status()?;
    if made.success() { Ok(()) } else { Err(std::io::Error::other("ffmpeg made nothing")) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = tempfile::tempdir()?; // a service names a directory that stays
    let (video, music) = (data.path().join("talk.mp4"), data.path().join("song.wav"));
    make("-f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -preset ultrafast", &video)?;
    make("-f lavfi -i sine=frequency=330:duration=1", &music)?;

    // Files of this machine are the service's own; a job's author could read them all.
    let options = MediaOptions { allow_local_paths: true, ..MediaOptions::default() };
    let builder = Engine::builder().data_dir(data.path().join("engine"));
    let engine = register(builder, &options).open().await?;
    let input = json!({ "video": video, "music": music, "music_volume": 0.5 });
    let submitted = engine.submit(Submit::named("background-music", input)).await?;
    let view = submitted.job.wait().await?;
    let output = view.state.output().ok_or("the job did not succeed")?;

    // What a job makes is kept under the hash of its content.
    let scored: Artifact = serde_json::from_value(output["video"].clone())?;
    let file = engine.artifacts().verify(&scored.artifact)?;
    std::fs::copy(file, data.path().join(&scored.name))?;
    println!("{}: {}, {} s", view.head.status.as_str(), scored.media_type, output["duration_s"]);
    println!("loud enough: {}", output["loudness_reached"]);
    engine.shutdown().await;
    Ok(())
}
