//! The step kind `speech.join`.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use schemars::JsonSchema;
use serde::Deserialize;

use super::cut::Piece;
use super::transcript::{Provider, Transcript};
use crate::limits::MAX_WORDS_COUNT;
use crate::subtitles::{Word, join_text};

/// Joins what was heard in the pieces of a recording.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinSpeech;

/// The input of `speech.join`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// The pieces, as `speech.cut` gives them.
    pub pieces: Vec<Piece>,
    /// What was heard in each of them, in the same order.
    pub transcripts: Vec<Transcript>,
}

impl Step for JoinSpeech {
    type Input = Heard;
    type Output = Transcript;

    fn kind(&self) -> String {
        "speech.join".to_owned()
    }

    fn description(&self) -> String {
        "Joins the transcripts of the pieces of a recording into that of the whole.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Heard, _: StepContext) -> StepResult<Transcript> {
        join(input)
    }
}

fn join(heard: Heard) -> StepResult<Transcript> {
    let refused = |message: String| Err(StepError::fatal("speech.input", message));
    let (pieces, transcripts) = (heard.pieces, heard.transcripts);
    if pieces.len() != transcripts.len() {
        let (pieces, transcripts) = (pieces.len(), transcripts.len());
        return refused(format!("there are {pieces} pieces and {transcripts} transcripts"));
    }
    let count: usize = transcripts.iter().map(|transcript| transcript.words.len()).sum();
    if count > MAX_WORDS_COUNT {
        return refused(format!("{count} words were heard, over {MAX_WORDS_COUNT}"));
    }
    let texts = transcripts.iter().map(|transcript| transcript.text.as_str());
    let text = join_text(texts.filter(|text| !text.is_empty()));
    let mut whole = Transcript {
        provider: provider(&transcripts),
        model: transcripts.iter().find_map(|transcript| transcript.model.clone()),
        language: language(&transcripts),
        words: Vec::with_capacity(count),
        speech: count > 0,
        text,
        draft: transcripts.iter().any(|transcript| transcript.draft),
    };
    for (piece, transcript) in pieces.iter().zip(transcripts) {
        whole.words.extend(transcript.words.into_iter().map(|word| shifted(word, piece)));
    }
    Ok(whole)
}

/// A word at its place in the whole, which is within its piece.
fn shifted(word: Word, piece: &Piece) -> Word {
    let place = |second: f64| {
        let within = (second.max(0.0) + piece.start_s).min(piece.end_s);
        (within * 1_000.0).round() / 1_000.0
    };
    Word { start_s: place(word.start_s), end_s: place(word.end_s), ..word }
}

/// Who it was, when it was one; nobody, when there was nothing to hear.
fn provider(transcripts: &[Transcript]) -> Provider {
    let mut providers = transcripts.iter().map(|transcript| transcript.provider);
    match providers.next() {
        None => Provider::None,
        Some(first) if providers.all(|next| next == first) => first,
        Some(_) => Provider::Mixed,
    }
}

/// The language in which most of the words are.
fn language(transcripts: &[Transcript]) -> String {
    let words_in = |language: &str| -> usize {
        let same = transcripts.iter().filter(|transcript| transcript.language == language);
        same.map(|transcript| transcript.words.len()).sum()
    };
    let languages = transcripts.iter().map(|transcript| transcript.language.as_str());
    // Of equals the first one.
    languages.rev().max_by_key(|language| words_in(language)).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn piece(start_s: f64, end_s: f64) -> Value {
        let audio =
            json!({ "artifact": "0".repeat(64), "name": "a", "media_type": "b", "size": 1 });
        json!({ "audio": audio, "start_s": start_s, "end_s": end_s })
    }

    fn transcript(provider: &str, language: &str, words: &[(&str, f64, f64)]) -> Value {
        let text = words.iter().map(|word| word.0).collect::<Vec<_>>().join(" ");
        let words: Vec<Value> = words
            .iter()
            .map(|(text, start, end)| json!({ "text": text, "start_s": start, "end_s": end }))
            .collect();
        json!({
            "provider": provider, "language": language, "words": words, "text": text,
            "speech": !words.is_empty(), "draft": provider == "pocketsphinx",
        })
    }

    fn joined(pieces: &[Value], transcripts: &[Value]) -> Transcript {
        let heard = json!({ "pieces": pieces, "transcripts": transcripts });
        join(from_value(heard).unwrap()).unwrap()
    }

    #[test]
    fn words_get_their_place_in_the_whole() {
        let whole = joined(
            &[piece(0.5, 20.0), piece(20.0, 21.0), piece(30.1, 40.0)],
            &[
                transcript("pocketsphinx", "en", &[("a", 0.1, 0.4)]),
                transcript("pocketsphinx", "en", &[]),
                transcript("pocketsphinx", "en", &[("b", 0.2, 0.5), ("c", 9.8, 12.0)]),
            ],
        );
        let times: Vec<_> = whole.words.iter().map(|word| (word.start_s, word.end_s)).collect();
        assert_eq!(times, [(0.6, 0.9), (30.3, 30.6), (39.9, 40.0)]);
        assert_eq!((whole.text.as_str(), whole.speech, whole.draft), ("a b c", true, true));
        assert_eq!(whole.provider, Provider::PocketSphinx);
    }

    #[test]
    fn the_whole_says_who_it_was_and_in_which_language() {
        for (parts, provider, language, draft, speech) in [
            (vec![], Provider::None, "", false, false),
            (vec![("openai", "de", 0)], Provider::OpenAi, "de", false, false),
            (vec![("openai", "de", 1), ("openai", "en", 2)], Provider::OpenAi, "en", false, true),
            (vec![("openai", "de", 1), ("openai", "en", 1)], Provider::OpenAi, "de", false, true),
            (
                vec![("openai", "en", 1), ("pocketsphinx", "en", 1)],
                Provider::Mixed,
                "en",
                true,
                true,
            ),
        ] {
            let pieces: Vec<Value> = parts.iter().map(|_| piece(0.0, 9.0)).collect();
            let transcripts: Vec<Value> = parts
                .iter()
                .map(|(provider, language, words)| {
                    transcript(provider, language, &vec![("x", 0.0, 1.0); *words])
                })
                .collect();
            let whole = joined(&pieces, &transcripts);
            assert_eq!(whole.provider, provider, "{parts:?}");
            assert_eq!((whole.language.as_str(), whole.draft), (language, draft), "{parts:?}");
            assert_eq!(whole.speech, speech, "{parts:?}");
        }
    }

    #[test]
    fn pieces_and_transcripts_must_be_as_many() {
        let heard = json!({ "pieces": [piece(0.0, 1.0)], "transcripts": [] });
        let StepError(failure) = join(from_value(heard).unwrap()).unwrap_err();
        assert_eq!(failure.code, "speech.input");
    }
}
