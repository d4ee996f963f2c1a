//! Small media files, made on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A directory of media files that is gone with the test.
pub(crate) struct Samples {
    directory: TempDir,
}

/// A sentence that is spoken, and when: seconds from the start of its first word to the end of its
/// last one.
pub(crate) struct Spoken {
    pub(crate) text: &'static str,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
}

/// A spoken word, and when, by the word of who spoke it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
}

/// What the voice says, and the second in which each sentence begins. `PocketSphinx` understands
/// all of it wherever it begins; with other words a shift by a few samples can make a difference.
pub(crate) const SENTENCES: [(&str, f64); 2] = [
    ("once upon a time there was a young man", 0.5),
    ("he worked every day and he never asked for money", 4.5),
];

/// Length of the film with speech.
pub(crate) const FILM_S: f64 = 8.0;

impl Samples {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes a file with ffmpeg; the arguments stand before its name.
    pub(crate) fn ffmpeg(&self, arguments: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        let mut command = Command::new("ffmpeg");
        command.current_dir(self.directory.path()).args(["-v", "error", "-y"]);
        check(command.args(arguments.split_whitespace()).arg(&path));
        path
    }

    /// A film in which a voice says two sentences.
    pub(crate) fn film(&self) -> (PathBuf, Vec<Spoken>) {
        let spoken: Vec<Spoken> = SENTENCES
            .iter()
            .enumerate()
            .map(|(n, (text, at))| self.say(text, *at, &format!("{n}.wav")))
            .collect();
        let film = self.ffmpeg(
            "-f lavfi -i testsrc2=size=640x360:rate=25:duration=8 -i 0.wav -i 1.wav \
             -filter_complex [1]adelay=500[a];[2]adelay=4500[b];\
             [a][b]amix=inputs=2:duration=longest:normalize=0,apad=whole_dur=8[o] \
             -map 0:v -map [o] -t 8 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac",
            "film.mp4",
        );
        (film, spoken)
    }

    /// Speaks a text into a file, and says when each word is spoken: the voice prints the end of
    /// each sound, and how many sounds a word has it prints when the word is all that it speaks.
    pub(crate) fn speak(&self, voice: &str, text: &str, name: &str) -> Vec<Said> {
        let flite = |kind: &str, text: &str, name: &str| -> Vec<String> {
            let mut flite = Command::new("flite");
            flite.args(["-voice", voice, kind, "-t", text, "-o"]).arg(self.path(name));
            check(&mut flite).split_whitespace().map(ToOwned::to_owned).collect()
        };
        let mut sounds = Vec::new();
        let mut start_s = 0.0;
        for printed in flite("-psdur", text, name) {
            let (sound, end) = printed.rsplit_once(':').unwrap();
            let end_s: f64 = end.parse().unwrap();
            if sound != "pau" {
                sounds.push((start_s, end_s));
            }
            start_s = end_s;
        }
        let mut counts = std::collections::HashMap::new();
        let mut said = Vec::new();
        let mut next = 0;
        for word in text.split_whitespace() {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric());
            let count = *counts.entry(word).or_insert_with(|| {
                let alone = flite("-ps", word, "word.wav");
                alone.iter().filter(|sound| *sound != "pau").count()
            });
            let (first, last) = (sounds[next], sounds[next + count - 1]);
            said.push(Said { text: word.to_lowercase(), start_s: first.0, end_s: last.1 });
            next += count;
        }
        assert_eq!(next, sounds.len(), "the sounds of the words are those of the text");
        said
    }

    /// Speaks a sentence into a file. The voice itself says when: it prints the end of each sound.
    pub(crate) fn say(&self, text: &'static str, at: f64, name: &str) -> Spoken {
        let mut flite = Command::new("flite");
        flite.args(["-voice", "slt", "-psdur", "-t", text, "-o"]).arg(self.path(name));
        let printed = check(&mut flite);
        let ends: Vec<f64> = printed
            .split_whitespace()
            .map(|sound| sound.rsplit_once(':').unwrap().1.parse().unwrap())
            .collect();
        // It begins and ends with a pause.
        let (first, last) = (ends[0], ends[ends.len() - 2]);
        Spoken { text, start_s: at + first, end_s: at + last }
    }
}

/// What a file is, as ffprobe prints it.
pub(crate) fn ffprobe(path: &Path, entries: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "csv=p=0", "-show_entries", entries]);
    check(command.arg(path)).trim().to_owned()
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn check(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run `{program}`: {error}; `scripts/setup` installs what tests need")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
