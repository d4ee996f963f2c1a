//! Transcription by OpenAI, or a service that speaks like it.
//!
//! One attempt is one call: the client's hidden retries are off, since the engine records and
//! spaces its own. Every call carries the attempt's idempotency key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::{ApiErrorResponse, OpenAIError};
use async_openai::middleware::{HttpRequestFactory, ReqwestService};
use async_openai::traits::RequestOptionsBuilder;
use async_openai::types::audio::{
    AudioInput, AudioResponseFormat, CreateTranscriptionRequest, TimestampGranularity,
};
use callsheet_actors::{StepContext, StepError, StepResult};
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use tower::ServiceExt;

use super::language::{self, Language};
use super::transcript::{Provider, Transcript};
use crate::ffmpeg::Run;
use crate::limits::{
    CONNECT_TIMEOUT, MAX_OPENAI_AUDIO_BYTES, MAX_OPENAI_CALLS_COUNT, OPENAI_TIMEOUT,
};
use crate::media::input_args;
use crate::options::OpenAi;
use crate::slots::Slots;
use crate::subtitles::Word;
use crate::wav::Wav;

/// A transcription service.
pub(super) struct Service {
    access: OpenAi,
    slots: Slots,
    calls: Slots,
    http: OnceLock<reqwest::Client>,
}

/// The answer, as little of it as is needed: services differ in the rest.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    text: String,
    language: Option<String>,
    words: Option<Vec<AnswerWord>>,
}

#[derive(Deserialize)]
struct AnswerWord {
    word: String,
    start: f64,
    end: f64,
}

impl Service {
    pub(super) fn new(access: OpenAi, slots: Slots) -> Self {
        let calls = Slots::new(MAX_OPENAI_CALLS_COUNT).of("a free line to the service");
        Self { access, slots, calls, http: OnceLock::new() }
    }

    /// What tells one service from another. It is hashed, and shown nowhere.
    pub(super) fn stamp(&self) -> (&str, &str) {
        (&self.access.base_url, &self.access.model)
    }

    /// Transcribes a WAV file.
    ///
    /// # Errors
    /// `speech.provider_*` when the service refuses or fails, `speech.too_long` when it cannot take
    /// so much.
    pub(super) async fn transcribe(
        &self,
        audio: &Path,
        language: Option<Language>,
        model: Option<&str>,
        context: &StepContext,
    ) -> StepResult<Transcript> {
        let model = model.unwrap_or(&self.access.model);
        let file = self.small_enough(audio, context).await?;
        let _line = self.calls.take(context).await?;
        // The service tells nothing while it works; those who watch at least see where the job is.
        context.progress(0.0, format!("sent to `{model}`"));
        let request = CreateTranscriptionRequest {
            file: AudioInput::from(file),
            model: model.to_owned(),
            language: language.map(|language| language.code.to_owned()),
            response_format: Some(AudioResponseFormat::VerboseJson),
            timestamp_granularities: Some(vec![TimestampGranularity::Word]),
            ..CreateTranscriptionRequest::default()
        };
        let asked = Asked::default();
        let client = self.client(asked.clone())?;
        let classify = |error| self.classify(error, asked.wait());
        let audio = client.audio();
        let call = audio
            .transcription()
            .header("Idempotency-Key", context.idempotency_key())
            .map_err(classify)?;
        let body = call.create_raw(request).await.map_err(classify)?;
        read_answer(&body, language, model)
    }

    /// The file to send: named so that its kind is known, and compressed when it is too large.
    async fn small_enough(&self, audio: &Path, context: &StepContext) -> StepResult<PathBuf> {
        let audio = std::path::absolute(audio)?;
        let work = std::path::absolute(context.work_dir()?)?;
        let wav = Wav::of_file(&audio)?;
        if std::fs::metadata(&audio)?.len() <= MAX_OPENAI_AUDIO_BYTES {
            let named = work.join("audio.wav");
            std::os::unix::fs::symlink(&audio, &named)?;
            return Ok(named);
        }
        let to = work.join("audio.mp3");
        Run::new(context, Some(wav.duration_s()))
            .args(input_args(&audio))
            .args(["-vn", "-map_metadata", "-1", "-c:a", "libmp3lame", "-b:a", "32k", "-f", "mp3"])
            .output(&to)
            .run(&self.slots)
            .await?;
        let size = std::fs::metadata(&to)?.len();
        if size <= MAX_OPENAI_AUDIO_BYTES {
            return Ok(to);
        }
        let minutes = wav.duration_s() / 60.0;
        let message = format!("{minutes:.0} minutes of speech are too much for one call");
        Err(StepError::fatal("speech.too_long", message)
            .with_hint("cut the media into parts, or use the provider `pocketsphinx`"))
    }

    /// A client for one call.
    fn client(&self, asked: Asked) -> StepResult<Client<OpenAIConfig>> {
        let http = self.http()?;
        let access = &self.access;
        let config = OpenAIConfig::new().with_api_key(&*access.api_key);
        let config = config.with_api_base(&access.base_url);
        // A bare service in place of the default one, which tries three times more in silence.
        let service = ReqwestService::new(http.clone());
        let service = ServiceExt::<HttpRequestFactory>::map_response(service, move |answer| {
            asked.note(&answer);
            answer
        });
        Ok(Client::build(http.clone(), config).with_http_service(service))
    }

    fn http(&self) -> StepResult<&reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let key = &self.access.api_key;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "the OpenAI key holds characters that no key has";
            return Err(StepError::fatal("speech.no_key", message)
                .with_hint("check `OPENAI_API_KEY`: no blanks, no quotes, one line"));
        }
        crate::tls::install();
        // Not the client of `media.fetch`: the operator chose this address, so it may be private.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(OPENAI_TIMEOUT)
            .build()
            .map_err(|error| StepError::fatal("speech.client", error.to_string()))?;
        Ok(self.http.get_or_init(|| http))
    }

    /// What an error means: whether another attempt may help. The key is in no message.
    fn classify(&self, error: OpenAIError, wait: Option<Duration>) -> StepError {
        let StepError(mut failure) = match error {
            OpenAIError::ApiError(answer) => refused(&answer),
            OpenAIError::Reqwest(error) => unreachable_service(error),
            // An answer that is no JSON comes from something in between, such as a proxy.
            OpenAIError::JSONDeserialize(_, body) => {
                let body: String = body.chars().take(200).collect();
                StepError::retryable("speech.provider_answer", format!("unexpected: {body}"))
            }
            other => StepError::fatal("speech.provider_request", other.to_string()),
        };
        failure.message = failure.message.replace(&self.access.api_key, "[key]");
        let failed = StepError(failure);
        match wait {
            Some(wait) if failed.0.retryable => failed.with_retry_after(wait),
            _ => failed,
        }
    }
}

/// When the service has asked to come again, which its client has no place for in an error.
#[derive(Clone, Default)]
struct Asked(Arc<OnceLock<Duration>>);

impl Asked {
    fn note(&self, answer: &reqwest::Response) {
        let said = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        if let Some(wait) = said.and_then(|said| read_wait(said, SystemTime::now())) {
            // One call has one answer.
            let _ = self.0.set(wait);
        }
    }

    fn wait(&self) -> Option<Duration> {
        self.0.get().copied()
    }
}

/// Reads `Retry-After`: seconds, or an instant.
fn read_wait(said: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = said.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = chrono::DateTime::parse_from_rfc2822(said.trim()).ok()?;
    SystemTime::from(then).duration_since(now).ok()
}

fn refused(answer: &ApiErrorResponse) -> StepError {
    let said: String = answer.api_error.message.chars().take(500).collect();
    let message = format!("the service answered {}: {said}", answer.status_code);
    let is = |code: &str| {
        answer.api_error.code.as_deref() == Some(code)
            || answer.api_error.r#type.as_deref() == Some(code)
    };
    match answer.status_code.as_u16() {
        401 | 403 => StepError::fatal("speech.provider_key", message)
            .with_hint("check `OPENAI_API_KEY` and what it may do"),
        429 if is("insufficient_quota") => StepError::fatal("speech.provider_quota", message)
            .with_hint("the account has no credit left"),
        429 => StepError::retryable("speech.provider_busy", message),
        408 | 409 | 425 | 500.. => StepError::retryable("speech.provider_failed", message),
        _ => StepError::fatal("speech.provider_refused", message),
    }
}

fn unreachable_service(error: reqwest::Error) -> StepError {
    let error = error.without_url();
    let code =
        if error.is_timeout() { "speech.provider_timeout" } else { "speech.provider_unreachable" };
    StepError::retryable(code, crate::fetch::causes(&error))
}

fn read_answer(body: &[u8], language: Option<Language>, model: &str) -> StepResult<Transcript> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the service's answer is not what was asked for: {error}");
        StepError::retryable("speech.provider_answer", message)
    })?;
    let text = answer.text.trim().to_owned();
    let Some(words) = answer.words.or_else(|| text.is_empty().then(Vec::new)) else {
        let message = format!("the model `{model}` gave a text without the times of its words");
        return Err(StepError::fatal("speech.no_word_times", message)
            .with_hint("use a model that gives word times, such as `whisper-1`"));
    };
    let words = words.into_iter().map(|word| Word::new(word.word.trim(), word.start, word.end));
    let mut words: Vec<Word> = words.filter(|word| !word.text.is_empty()).collect();
    punctuate(&mut words, &text);
    Ok(Transcript {
        provider: Provider::OpenAi,
        model: Some(model.to_owned()),
        language: language_of(answer.language, language),
        speech: !words.is_empty(),
        words,
        text,
        draft: false,
    })
}

/// The language that the service names, as two letters where it is a known one; else that which was
/// asked for.
fn language_of(said: Option<String>, asked: Option<Language>) -> String {
    let said = said.filter(|said| !said.trim().is_empty());
    let known = said.as_deref().map_or(asked, language::find);
    known.map(|language| language.code.to_owned()).or(said).unwrap_or_default()
}

/// The service gives words bare and the text with its marks: puts the marks to the words, by which
/// captions know where sentences end.
fn punctuate(words: &mut [Word], text: &str) {
    /// Parts of the text that a word may be behind, where the two are written differently.
    const REACH: usize = 6;
    let bare = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let mut parts: Vec<&str> = text.split_whitespace().collect();
    for word in words {
        let said = bare(&word.text);
        let found =
            parts.iter().take(REACH).position(|part| !said.is_empty() && bare(part) == said);
        if let Some(n) = found {
            word.text = parts[n].to_owned();
            parts.drain(..=n);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(answer: &Value) -> Result<Transcript, String> {
        read_answer(answer.to_string().as_bytes(), None, "m").map_err(|error| error.0.code)
    }

    #[test]
    fn waits_are_read_as_seconds_and_as_instants() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        for (said, expected) in [
            ("40", Some(40)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:17 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(read_wait(said, now), expected.map(Duration::from_secs), "{said}");
        }
    }

    #[test]
    fn answers_are_read_leniently() {
        let words = json!([{ "word": " Hello", "start": 0.1, "end": 0.5, "probability": 0.9 }]);
        let transcript =
            read(&json!({ "text": " Hello. ", "language": "english", "words": words })).unwrap();
        assert_eq!(transcript.words, [Word::new("Hello.", 0.1, 0.5)]);
        assert_eq!((transcript.text.as_str(), transcript.language.as_str()), ("Hello.", "en"));
        for (answer, expected) in [
            (json!({ "text": "", "words": [] }), Ok(0)),
            (json!({ "text": "  " }), Ok(0)),
            (json!({ "words": words }), Ok(1)),
            (json!({ "text": "hello" }), Err("speech.no_word_times".to_owned())),
            (
                json!({ "text": "a", "words": [{ "word": "a" }] }),
                Err("speech.provider_answer".into()),
            ),
            (json!([]), Err("speech.provider_answer".into())),
        ] {
            let found = read(&answer).map(|transcript| transcript.words.len());
            assert_eq!(found, expected, "{answer}");
        }
    }

    #[test]
    fn languages_are_named_by_their_codes_where_they_are_known() {
        for (said, asked, expected) in [
            (Some("german"), None, "de"),
            (Some("de"), Some("en"), "de"),
            (Some("elvish"), Some("en"), "elvish"),
            (Some(" "), Some("en"), "en"),
            (None, Some("fr"), "fr"),
            (None, None, ""),
        ] {
            let found = language_of(said.map(ToOwned::to_owned), asked.and_then(language::find));
            assert_eq!(found, expected, "{said:?} {asked:?}");
        }
    }

    #[test]
    fn marks_are_put_to_the_words() {
        for (words, text, expected) in [
            ("hello world", "Hello, world!", "Hello, world!"),
            ("it's 5", "It's 5.", "It's 5."),
            ("twenty one men", "21 men.", "twenty one men."),
            ("a b", "", "a b"),
            ("- a", "— A.", "- A."),
            ("c", "far away from the next word is c.", "c"),
        ] {
            let mut words: Vec<Word> =
                words.split(' ').map(|word| Word::new(word, 0.0, 1.0)).collect();
            punctuate(&mut words, text);
            let found: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn marks_change_no_word_and_no_time(
            words in proptest::collection::vec("[a-z]{1,4}", 0..12),
            text in "[a-zA-Z,. ]{0,40}",
        ) {
            let letters = |words: &[Word]| -> Vec<String> {
                let bare = |word: &Word| word.text.to_lowercase().replace([',', '.'], "");
                words.iter().map(bare).collect()
            };
            let given: Vec<Word> = words
                .iter()
                .enumerate()
                .map(|(n, word)| Word::new(word, n as f64, n as f64 + 0.5))
                .collect();
            let mut marked = given.clone();
            punctuate(&mut marked, &text);
            prop_assert_eq!(letters(&given), letters(&marked));
            let times = |words: &[Word]| -> Vec<(f64, f64)> {
                words.iter().map(|word| (word.start_s, word.end_s)).collect()
            };
            prop_assert_eq!(times(&given), times(&marked));
        }
    }

    #[test]
    fn refusals_are_told_from_what_may_pass() {
        for (status, code, expected, retryable) in [
            (400, None, "speech.provider_refused", false),
            (401, Some("invalid_api_key"), "speech.provider_key", false),
            (403, None, "speech.provider_key", false),
            (404, Some("model_not_found"), "speech.provider_refused", false),
            (408, None, "speech.provider_failed", true),
            (413, None, "speech.provider_refused", false),
            (429, Some("rate_limit_exceeded"), "speech.provider_busy", true),
            (429, Some("insufficient_quota"), "speech.provider_quota", false),
            (500, None, "speech.provider_failed", true),
            (503, None, "speech.provider_failed", true),
        ] {
            let error = json!({ "message": "no", "code": code });
            let answer = ApiErrorResponse {
                status_code: reqwest::StatusCode::from_u16(status).unwrap(),
                api_error: serde_json::from_value(error).unwrap(),
            };
            let StepError(failure) = refused(&answer);
            assert_eq!(
                (failure.code.as_str(), failure.retryable),
                (expected, retryable),
                "{status}"
            );
        }
    }
}
