//! Where the words of an answer come from.

use std::path::Path;
use std::sync::Arc;

use callsheet::media::{MediaOptions, missing_tools, step_kinds};
use callsheet::{Artifact, Engine, Failure, JobHandle, Plan, Submit};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Heard, Word};
use crate::cli::error::{CliError, Result};
use crate::cli::source;

/// The recogniser at work, as a workflow of the shipped step kinds.
const HEAR: &str = "
name: hear
input: { type: object }
steps:
  - { id: sound, uses: media.extract_audio, with: { media: '{{ input.file }}' } }
  - { id: words, uses: speech.transcribe.offline, with: { audio: '{{ steps.sound.audio }}' } }
output: { duration_s: '{{ steps.sound.duration_s }}', words: '{{ steps.words.words }}' }
";

/// Time from one word of `--text` to the next, and how long it is said.
const WORD_S: (f64, f64) = (0.5, 0.4);

/// Where the words come from.
pub(super) enum Voice {
    /// Always the same.
    Fixed(Heard),
    /// What the recogniser of this machine hears.
    Recogniser { engine: Engine, plan: Arc<Plan> },
}

impl Voice {
    /// A text, two words a second. The words have no marks, the text keeps them: as the service
    /// does it.
    pub(super) fn of_text(text: &str) -> Self {
        let bare = |word: &str| word.trim_matches(|c: char| c.is_ascii_punctuation()).to_owned();
        let words = text.split_whitespace().map(bare).filter(|word| !word.is_empty());
        let words: Vec<Word> = words
            .enumerate()
            .map(|(n, word)| {
                let start = n as f64 * WORD_S.0;
                Word { word, start, end: start + WORD_S.1 }
            })
            .collect();
        let duration = words.len() as f64 * WORD_S.0;
        let (text, language) = (text.trim().to_owned(), "english".to_owned());
        Self::Fixed(Heard { text, words, duration, language })
    }

    /// The words in a file.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub(super) fn of_file(file: &Path) -> Result<Self> {
        read_words(&source::read(file)?).map(Self::Fixed).map_err(|why| {
            CliError::failed(format!("`{}`: {why}", file.display())).hint(
                "expected a verbose_json answer, or a list such as \
                 [{\"word\": \"hello\", \"start\": 0.1, \"end\": 0.4}]",
            )
        })
    }

    /// What the recogniser of this machine hears.
    ///
    /// # Errors
    /// When it is not installed.
    pub(super) async fn of_recogniser() -> Result<Self> {
        if let Some(missing) = missing_tools().first() {
            let message = format!("`{}` is not installed, so nothing is heard", missing.program);
            return Err(CliError::failed(message)
                .hint(missing.hint())
                .hint("or give the answer: --text 'hello world', or --words FILE"));
        }
        let options = MediaOptions { openai: None, ..MediaOptions::default() };
        let engine = step_kinds(Engine::builder().in_memory(), &options).open().await?;
        let plan = engine.validate(HEAR).map_err(|problems| CliError::problems("hear", &problems));
        Ok(Self::Recogniser { plan: plan?, engine })
    }

    /// The words in an upload.
    ///
    /// # Errors
    /// Why they cannot be heard.
    pub(super) async fn hear(&self, upload: &[u8]) -> std::result::Result<Heard, String> {
        match self {
            Self::Fixed(heard) => Ok(heard.clone()),
            Self::Recogniser { engine, plan } => recognise(engine, plan, upload).await,
        }
    }
}

async fn recognise(
    engine: &Engine,
    plan: &Arc<Plan>,
    upload: &[u8],
) -> std::result::Result<Heard, String> {
    let failed = |error: callsheet::EngineError| error.to_string();
    let digest = engine.artifacts().put_bytes(upload).map_err(|error| error.to_string())?;
    let artifact = Artifact {
        artifact: digest,
        name: "upload".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        size: upload.len() as u64,
    };
    let submit = Submit::plan(plan.clone(), json!({ "file": artifact }));
    let job = engine.submit(submit).await.map_err(failed)?.job;
    let listening = Listening(Some(job.clone()));
    let view = job.wait().await.map_err(failed)?;
    listening.done();
    let output = view.state.output().cloned();
    let output = output.ok_or_else(|| {
        view.state.failure().map_or_else(String::new, |Failure { message, .. }| message.clone())
    })?;
    Ok(from_transcript(&output))
}

/// A recogniser at work: when nobody waits for it any more, it is stopped.
struct Listening(Option<JobHandle>);

impl Listening {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            // Its end interests nobody.
            tokio::spawn(async move { drop(job.cancel(None).await) });
        }
    }
}

fn from_transcript(output: &Value) -> Heard {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let word = |word: &Value| Word {
        word: word["text"].as_str().unwrap_or_default().to_owned(),
        start: number(&word["start_s"]),
        end: number(&word["end_s"]),
    };
    let words: Vec<Word> = output["words"].as_array().into_iter().flatten().map(word).collect();
    let text = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
    let (duration, language) = (number(&output["duration_s"]), "english".to_owned());
    Heard { text, words, duration, language }
}

/// A file of words: an answer of the service, or the words alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Words(Vec<Word>),
    Answer {
        words: Vec<Word>,
        text: Option<String>,
        duration: Option<f64>,
        language: Option<String>,
    },
}

fn read_words(text: &str) -> std::result::Result<Heard, String> {
    let given: Given = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let (words, text, duration, language) = match given {
        Given::Words(words) => (words, None, None, None),
        Given::Answer { words, text, duration, language } => (words, text, duration, language),
    };
    let mut last = 0.0;
    for (n, word) in words.iter().enumerate() {
        if !(word.start >= last && word.end >= word.start) {
            let Word { word, start, end } = word;
            return Err(format!("word {} is out of order: `{word}` from {start} to {end}", n + 1));
        }
        last = word.start;
    }
    let said = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
    let end = words.last().map_or(0.0, |word| word.end);
    Ok(Heard {
        text: text.unwrap_or(said),
        duration: duration.unwrap_or(end),
        language: language.unwrap_or_else(|| "english".to_owned()),
        words,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_two_words_a_second() {
        let Voice::Fixed(heard) = Voice::of_text(" Hello, world - it's me. ") else { panic!() };
        let words: Vec<&str> = heard.words.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(words, ["Hello", "world", "it's", "me"]);
        assert_eq!((heard.words[3].start, heard.duration), (1.5, 2.0));
        assert_eq!(heard.text, "Hello, world - it's me.");
        let Voice::Fixed(silence) = Voice::of_text("") else { panic!() };
        assert_eq!((silence.words.len(), silence.duration), (0, 0.0));
    }

    #[test]
    fn words_are_read_alone_and_in_an_answer() {
        let words = r#"[{ "word": "hello", "start": 0.1, "end": 0.4 }]"#;
        let heard = read_words(words).unwrap();
        assert_eq!((heard.text.as_str(), heard.duration), ("hello", 0.4));
        let answer = format!(
            r#"{{ "task": "transcribe", "text": "Hello!", "duration": 2.5, "words": {words} }}"#
        );
        let heard = read_words(&answer).unwrap();
        assert_eq!((heard.text.as_str(), heard.duration), ("Hello!", 2.5));
        for (wrong, expected) in [
            ("nonsense", "expected"),
            ("{}", "did not match"),
            (r#"[{ "word": "a", "start": 2, "end": 1 }]"#, "word 1 is out of order"),
            (
                r#"[{ "word": "a", "start": 2, "end": 3 }, { "word": "b", "start": 1, "end": 4 }]"#,
                "word 2 is out of order",
            ),
        ] {
            let said = read_words(wrong).unwrap_err();
            assert!(said.contains(expected), "{wrong}: {said}");
        }
    }
}
