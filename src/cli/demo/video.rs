//! A video with speech in it, made on the spot: a voice by flite, pictures by ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::error::{CliError, Result};

/// The program that speaks.
pub(super) const VOICE: &str = "flite";

/// What is said: plain words, in sentences that an offline recogniser hears well.
const WORDS: &str = "\
Good morning and welcome to this short film. \
The engine writes down every step that it has finished. \
You can stop the machine at any moment and nothing is lost. \
It starts again and goes on from the last step. \
Thank you very much for watching.";

/// Whether the program that speaks is installed.
pub(super) fn has_voice() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(VOICE).is_file())
}

/// Makes the video in `out`; answers with its absolute path.
///
/// # Errors
/// When a program fails.
pub(super) async fn make(out: &Path) -> Result<PathBuf> {
    eprintln!("Making a video with speech in it ...");
    let out = std::fs::canonicalize(out).map_err(|error| CliError::file("read", out, &error))?;
    let (voice, video) = (out.join("voice.wav"), out.join("talk.mp4"));
    let mut speak = Command::new(VOICE);
    speak.args(["-voice", "slt", "-t", WORDS, "-o"]).arg(&voice);
    finish(speak).await?;
    let mut draw = Command::new("ffmpeg");
    draw.args(["-nostdin", "-y", "-v", "error"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25"])
        .arg("-i")
        .arg(&voice)
        // Silence before, so that the first word is heard whole; and after, so that the last
        // caption has time to be read.
        .args([
            "-af",
            "adelay=600|600,apad=pad_dur=1",
            "-shortest",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart"])
        .arg(&video);
    finish(draw).await?;
    // Only a stepping stone; that it stays would harm nobody.
    let _ = std::fs::remove_file(&voice);
    eprintln!("{}", video.display());
    Ok(video)
}

/// How many of the spoken words stand in a subtitle file in their order, and how many were spoken.
pub(super) fn heard(srt: &str) -> (usize, usize) {
    let is_text = |line: &&str| !line.contains("-->") && line.parse::<u32>().is_err();
    let heard = words(&srt.lines().filter(is_text).collect::<Vec<_>>().join(" "));
    let spoken = words(WORDS);
    // The longest common subsequence, row by row: a word that is wrong or missing costs one.
    let mut row = vec![0; heard.len() + 1];
    for word in &spoken {
        let before = row.clone();
        for (n, other) in heard.iter().enumerate() {
            row[n + 1] = if word == other { before[n] + 1 } else { before[n + 1].max(row[n]) };
        }
    }
    (row.last().copied().unwrap_or(0), spoken.len())
}

fn words(text: &str) -> Vec<String> {
    let letters = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    text.split_whitespace().map(|word| letters(word).to_lowercase()).collect()
}

/// Runs a program to its end; its last words explain a failure.
async fn finish(mut command: Command) -> Result<()> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let ended = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| CliError::failed(format!("cannot run `{name}`: {error}")))?;
    if ended.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    let last: Vec<&str> = words.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(CliError::failed(format!("`{name}` ended with {}: {}", ended.status, last.join("\n"))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn heard_words_are_counted_in_their_order() {
        let all = format!("1\n00:00:00,600 --> 00:00:09,000\n{}\n", WORDS.to_uppercase());
        let (right, spoken) = heard(&all);
        assert_eq!((right, spoken), (46, 46));
        let some = "1\n00:00:00,600 --> 00:00:02,000\ngood evening and welcome\n\n2\n\
            00:00:02,000 --> 00:00:03,000\nto film this\n";
        assert_eq!(heard(some).0, 5);
        assert_eq!(heard("").0, 0);
    }

    #[tokio::test]
    async fn a_failed_program_is_explained_by_its_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 9 >&2; exit 3"]);
        let error = finish(command).await.unwrap_err().to_string();
        assert!(error.contains("`sh` ended with exit status: 3: 5\n6\n7\n8\n9"), "{error}");
        let missing = finish(Command::new("no-such-program")).await.unwrap_err().to_string();
        assert!(missing.contains("cannot run `no-such-program`"), "{missing}");
    }
}
