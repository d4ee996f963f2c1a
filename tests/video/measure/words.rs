//! The times of captions against those of the voice that spoke.

use std::process::Command;

use super::page::Row;
use super::speed::result;
use super::{Bench, median};

/// What is said; the recogniser hears all of it.
const TEXT: &str = "once upon a time there was a young man. he worked every day and he never asked \
                    for money.";

/// Second in which the voice begins.
const LEAD_S: f64 = 0.5;

/// Captions of one word each, and when each word was said.
pub(super) fn measure(bench: &Bench) -> Vec<Row> {
    let place = bench.place("words");
    let spoken = speak(&place.join("voice.wav"));
    let film = place.join("film.mp4");
    let delay = format!("adelay={},apad=pad_dur=1", LEAD_S * 1_000.0);
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=size=320x180:rate=25", "-i"])
        .arg(place.join("voice.wav"))
        .args(["-af", &delay, "-shortest", "-preset", "ultrafast"])
        .arg(&film)
        .status();
    assert!(status.unwrap().success());
    let mut args = vec!["run".to_owned(), "caption".to_owned()];
    let video = format!("video={}", film.display());
    let inputs = [&video, "words_per_line=1", "provider=pocketsphinx", "preset=ultrafast"];
    args.extend(inputs.iter().flat_map(|input| ["--input".to_owned(), (*input).to_owned()]));
    args.extend(["--out", "out", "--json"].map(ToOwned::to_owned));
    result(bench.command(&place, &args));
    let srt = std::fs::read_to_string(place.join("out/captions.srt")).unwrap();
    let errors = errors_ms(&spoken, &cues(&srt));
    let (middle, most) = (median(errors.clone()), errors.iter().copied().fold(0.0, f64::max));
    vec![Row::new(
        format!(
            "first frame of {} of {} words against the voice's own",
            errors.len(),
            spoken.len()
        ),
        format!("median {middle:.0} ms, at most {most:.0} ms"),
        "≤ 60 ms, ≤ 200 ms",
        middle <= 60.0 && most <= 200.0 && errors.len() * 4 >= spoken.len() * 3,
    )]
}

/// Says the text; each word and the second in which it begins. The voice prints the end of each
/// sound; how many sounds a word has it says when asked for the word alone.
fn speak(to: &std::path::Path) -> Vec<(String, f64)> {
    let printed = flite(&["-voice", "slt", "-psdur", "-t", TEXT, "-o", to.to_str().unwrap()]);
    let sounds: Vec<(&str, f64)> = printed
        .split_whitespace()
        .map(|sound| sound.split_once(':').expect("a sound and its end"))
        .map(|(sound, end)| (sound, end.parse().unwrap()))
        .collect();
    let mut begins = 0.0;
    let mut starts = Vec::new();
    for (sound, end) in sounds {
        if sound != "pau" {
            starts.push(begins);
        }
        begins = end;
    }
    let mut words = Vec::new();
    let mut next = 0;
    for word in TEXT.replace('.', "").split_whitespace() {
        words.push((word.to_owned(), starts[next] + LEAD_S));
        let alone = flite(&["-voice", "slt", "-ps", "-t", word, "-o", "none"]);
        next += alone.split_whitespace().filter(|sound| *sound != "pau").count();
    }
    assert_eq!(next, starts.len(), "the sounds of the words are those of the sentence");
    words
}

fn flite(args: &[&str]) -> String {
    let output = Command::new("flite").args(args).output().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The text of each caption and its first millisecond.
fn cues(srt: &str) -> Vec<(String, f64)> {
    let cue = |block: &str| {
        let mut lines = block.lines().skip(1);
        let time = lines.next()?.get(..12)?.replace(',', ".");
        let parts: Vec<f64> = time.split(':').filter_map(|part| part.parse().ok()).collect();
        let text = lines.collect::<Vec<_>>().join(" ").to_lowercase();
        Some((text, (parts[0] * 3_600.0 + parts[1] * 60.0 + parts[2]) * 1_000.0))
    };
    srt.split("\n\n").filter_map(cue).collect()
}

/// How far each word that was heard right is from where it was said. Words are looked for in their
/// order, none further off than a second.
fn errors_ms(spoken: &[(String, f64)], cues: &[(String, f64)]) -> Vec<f64> {
    let mut left = cues;
    let mut errors = Vec::new();
    for (word, start_s) in spoken {
        let near = |(text, at): &(String, f64)| text == word && (at - start_s * 1e3).abs() < 1e3;
        if let Some(n) = left.iter().position(near) {
            errors.push((left[n].1 - start_s * 1_000.0).abs());
            left = &left[n + 1..];
        }
    }
    errors
}

#[test]
fn errors_are_those_of_the_same_words() {
    let spoken = [("a".to_owned(), 1.0), ("b".to_owned(), 2.0), ("a".to_owned(), 3.0)];
    let srt = "1\n00:00:01,040 --> 00:00:01,500\nA\n\n2\n00:00:02,000 --> 00:00:02,500\nx\n\n\
               3\n00:00:02,900 --> 00:00:03,500\na\n";
    assert_eq!(errors_ms(&spoken, &cues(srt)), [40.0, 100.0]);
}
