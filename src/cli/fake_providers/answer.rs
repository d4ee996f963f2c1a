//! A transcript in each of the forms in which the service gives it.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::openai::Format;

/// A pause that begins another segment.
const PAUSE_S: f64 = 0.8;

/// Words of the longest segment.
const SEGMENT_WORDS: usize = 12;

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) words: Vec<Word>,
    pub(super) duration: f64,
    pub(super) language: String,
}

/// A word and when it was said, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Word {
    pub(super) word: String,
    pub(super) start: f64,
    pub(super) end: f64,
}

/// Writes a transcript: the kind of content, and the content.
pub(super) fn write(heard: &Heard, format: Format) -> (&'static str, String) {
    const PLAIN: &str = "text/plain; charset=utf-8";
    match format {
        Format::Text => (PLAIN, format!("{}\n", heard.text)),
        Format::Srt => (PLAIN, srt(heard)),
        Format::Vtt => (PLAIN, vtt(heard)),
        Format::Json => {
            let value = json!({ "text": heard.text, "usage": usage(heard) });
            ("application/json", value.to_string())
        }
        Format::Verbose { words, segments } => {
            ("application/json", verbose(heard, words, segments).to_string())
        }
    }
}

impl Heard {
    /// The segments: words up to a pause, the end of a sentence, or as many as a line has.
    fn segments(&self) -> Vec<&[Word]> {
        let mut segments = Vec::new();
        let mut from = 0;
        for end in 1..=self.words.len() {
            let is_last = end == self.words.len();
            let ends = is_last
                || self.words[end].start - self.words[end - 1].end >= PAUSE_S
                || end - from >= SEGMENT_WORDS;
            if ends {
                segments.push(&self.words[from..end]);
                from = end;
            }
        }
        segments
    }
}

fn verbose(heard: &Heard, words: bool, segments: bool) -> Value {
    let mut value = json!({
        "task": "transcribe",
        "language": heard.language,
        "duration": heard.duration,
        "text": heard.text,
        "usage": usage(heard),
    });
    if words {
        value["words"] = json!(heard.words);
    }
    if segments {
        let all = heard.segments().into_iter().enumerate();
        value["segments"] = all.map(|(id, words)| segment(id, words)).collect();
    }
    value
}

fn segment(id: usize, words: &[Word]) -> Value {
    let (start, end) = span(words);
    json!({
        "id": id,
        "seek": 0,
        "start": start,
        "end": end,
        "text": format!(" {}", joined(words)),
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.2,
        "no_speech_prob": 0.01,
    })
}

/// What the service bills: begun seconds.
fn usage(heard: &Heard) -> Value {
    json!({ "type": "duration", "seconds": heard.duration.ceil() as u64 })
}

fn srt(heard: &Heard) -> String {
    let cue = |(n, words): (usize, &[Word])| {
        let (start, end) = span(words);
        let (from, to) = (clock(start, ','), clock(end, ','));
        format!("{}\n{from} --> {to}\n{}\n\n", n + 1, joined(words))
    };
    heard.segments().into_iter().enumerate().map(cue).collect()
}

fn vtt(heard: &Heard) -> String {
    let cue = |words: &[Word]| {
        let (start, end) = span(words);
        format!("{} --> {}\n{}\n\n", clock(start, '.'), clock(end, '.'), joined(words))
    };
    format!("WEBVTT\n\n{}", heard.segments().into_iter().map(cue).collect::<String>())
}

fn span(words: &[Word]) -> (f64, f64) {
    (words.first().map_or(0.0, |word| word.start), words.last().map_or(0.0, |word| word.end))
}

fn joined(words: &[Word]) -> String {
    words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ")
}

fn clock(seconds: f64, point: char) -> String {
    let ms = (seconds * 1_000.0).round() as u64;
    let (s, m, h) = (ms / 1_000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{h:02}:{m:02}:{s:02}{point}{:03}", ms % 1_000)
}

/// The answer over HTTP, whole.
pub(super) fn response(content: (&'static str, String)) -> Response {
    ([(CONTENT_TYPE, content.0)], content.1).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn heard() -> Heard {
        let word = |word: &str, start, end| Word { word: word.into(), start, end };
        Heard {
            text: "Hello there. Bye.".into(),
            words: vec![
                word("Hello", 0.1, 0.5),
                word("there", 0.5, 1.0),
                word("Bye", 3_661.0, 3_661.25),
            ],
            duration: 3_662.2,
            language: "english".into(),
        }
    }

    #[test]
    fn each_form_says_the_same() {
        let srt = "1\n00:00:00,100 --> 00:00:01,000\nHello there\n\n\
                   2\n01:01:01,000 --> 01:01:01,250\nBye\n\n";
        assert_eq!(write(&heard(), Format::Srt).1, srt);
        let vtt = "WEBVTT\n\n00:00:00.100 --> 00:00:01.000\nHello there\n\n\
                   01:01:01.000 --> 01:01:01.250\nBye\n\n";
        assert_eq!(write(&heard(), Format::Vtt).1, vtt);
        assert_eq!(write(&heard(), Format::Text).1, "Hello there. Bye.\n");
        let json: Value = serde_json::from_str(&write(&heard(), Format::Json).1).unwrap();
        let usage = json!({ "type": "duration", "seconds": 3_663 });
        assert_eq!(json, json!({ "text": "Hello there. Bye.", "usage": usage }));
    }

    #[test]
    fn the_verbose_form_holds_what_was_asked_for() {
        for (words, segments) in [(true, false), (false, true), (true, true)] {
            let written = write(&heard(), Format::Verbose { words, segments }).1;
            let value: Value = serde_json::from_str(&written).unwrap();
            assert_eq!(value.get("words").is_some(), words);
            assert_eq!(value.get("segments").is_some(), segments);
            assert_eq!(
                (&value["language"], &value["duration"]),
                (&json!("english"), &json!(3_662.2))
            );
        }
        let written = write(&heard(), Format::Verbose { words: true, segments: true }).1;
        let value: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value["words"][2], json!({ "word": "Bye", "start": 3_661.0, "end": 3_661.25 }));
        assert_eq!(value["segments"][1]["text"], " Bye");
        assert_eq!(value["segments"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn silence_has_no_segments() {
        let silence = Heard { duration: 2.0, ..Heard::default() };
        assert_eq!(write(&silence, Format::Srt).1, "");
        assert_eq!(write(&silence, Format::Vtt).1, "WEBVTT\n\n");
        let verbose = write(&silence, Format::Verbose { words: true, segments: true }).1;
        let value: Value = serde_json::from_str(&verbose).unwrap();
        assert_eq!((&value["words"], &value["segments"]), (&json!([]), &json!([])));
    }

    #[test]
    fn long_speech_without_a_pause_is_parted() {
        let word = |n: usize| Word { word: "a".into(), start: n as f64, end: n as f64 + 0.9 };
        let heard = Heard { words: (0..30).map(word).collect(), ..Heard::default() };
        let lengths: Vec<usize> = heard.segments().iter().map(|words| words.len()).collect();
        assert_eq!(lengths, [12, 12, 6]);
    }
}
