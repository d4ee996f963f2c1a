//! The recogniser on this machine: `pocketsphinx_continuous` with Debian's English model.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use callsheet_actors::{StepContext, StepError, StepResult};

use super::language::Language;
use super::transcript::{Provider, Transcript};
use crate::media::with_install_hint;
use crate::options::MediaOptions;
use crate::sandbox::{self, Access};
use crate::slots::Slots;
use crate::subtitles::Word;
use crate::tools::{MODELS, POCKETSPHINX};
use crate::wav::Wav;

/// The rate that the model was trained on.
const SAMPLE_RATE: u32 = 16_000;

/// The parts of the model, in its directory.
const ACOUSTIC: &str = "en-us";
const LANGUAGE: &str = "en-us.lm.bin";
const DICTIONARY: &str = "cmudict-en-us.dict";

/// Runs the recogniser.
pub(super) struct Recogniser {
    models: Option<PathBuf>,
    slots: Slots,
}

impl Recogniser {
    pub(super) fn new(options: &MediaOptions, slots: Slots) -> Self {
        // The program runs in a directory of its own, from which a relative path leads nowhere.
        let absolute = |models: &PathBuf| std::path::absolute(models).unwrap_or(models.clone());
        Self { models: options.pocketsphinx_models.as_ref().map(absolute), slots }
    }

    /// What tells one model from another without reading it: its files, their sizes and times.
    pub(super) fn stamp(&self) -> String {
        let models = self.models.as_deref().unwrap_or(Path::new(MODELS));
        let acoustic = fs::read_dir(models.join(ACOUSTIC)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = acoustic.map(|entry| entry.path()).collect();
        files.extend([LANGUAGE, DICTIONARY].map(|name| models.join(name)));
        files.sort_unstable();
        let stamps = files.iter().map(|file| {
            let about = fs::metadata(file).ok();
            let changed = about.as_ref().and_then(|about| about.modified().ok());
            format!("{} {:?} {changed:?}\n", file.display(), about.map(|about| about.len()))
        });
        stamps.collect()
    }

    /// Transcribes a WAV file.
    ///
    /// # Errors
    /// `speech.language`, `speech.audio`, `speech.recogniser`.
    pub(super) async fn transcribe(
        &self,
        audio: &Path,
        language: Option<Language>,
        context: &StepContext,
    ) -> StepResult<Transcript> {
        check_language(language)?;
        let wav = check(Wav::of_file(audio)?)?;
        let work = std::path::absolute(context.work_dir()?)?;
        let place = self.slots.take(context).await?;
        let heard = self.listen(audio, &work, wav.duration_s(), context).await?;
        drop(place);
        let text = heard.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        Ok(Transcript {
            provider: Provider::PocketSphinx,
            model: None,
            language: "en".to_owned(),
            speech: !heard.is_empty(),
            words: heard,
            text,
            draft: true,
        })
    }

    async fn listen(
        &self,
        audio: &Path,
        work: &Path,
        duration_s: f64,
        context: &StepContext,
    ) -> StepResult<Vec<Word>> {
        let audio = std::path::absolute(audio)?;
        // The program tells the kind of a file from the ending of its name.
        let (named, log) = (work.join("audio.wav"), work.join("recogniser.log"));
        symlink(&audio, &named)?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (hearing, watcher) = (heard.clone(), context.clone());
        let on_line = move |line: &str| {
            watcher.heartbeat();
            if let Some(word) = read_line(line) {
                let share = word.end_s / duration_s.max(0.1) * 100.0;
                watcher.progress(share.min(99.0), format!("heard `{}`", word.text));
                hearing.lock().unwrap_or_else(PoisonError::into_inner).push(word);
            }
        };
        let mut access = Access::default().inside(work).read(&audio);
        if let Some(models) = &self.models {
            access = access.read(models);
        }
        let ended = sandbox::command(POCKETSPHINX, &access, context)?
            .arg("-infile")
            .arg(&named)
            .args(["-time", "yes", "-logfn"])
            .arg(&log)
            .args(self.model_args())
            .current_dir(work)
            .on_stdout(on_line)
            .run()
            .await;
        ended.map_err(|error| explain(error, &log))?;
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *heard))
    }

    fn model_args(&self) -> Vec<std::ffi::OsString> {
        let Some(models) = &self.models else { return Vec::new() };
        [("-hmm", ACOUSTIC), ("-lm", LANGUAGE), ("-dict", DICTIONARY)]
            .into_iter()
            .flat_map(|(name, file)| [name.into(), models.join(file).into_os_string()])
            .collect()
    }
}

/// Refuses every language but the one of the model.
///
/// # Errors
/// `speech.language`.
pub(super) fn check_language(language: Option<Language>) -> StepResult<()> {
    let Some(Language { code, name, .. }) = language.filter(|language| language.code != "en")
    else {
        return Ok(());
    };
    let message = format!("the recogniser on this machine knows `en` only, not `{code}` ({name})");
    Err(StepError::fatal("speech.language", message)
        .with_hint("other languages need OpenAI: set `OPENAI_API_KEY`, or see why it failed"))
}

fn check(wav: Wav) -> StepResult<Wav> {
    if (wav.sample_rate, wav.channels, wav.bits) == (SAMPLE_RATE, 1, 16) {
        return Ok(wav);
    }
    let message = format!(
        "the audio has {} Hz, {} channels and {} bits; expected {SAMPLE_RATE} Hz, 1 and 16",
        wav.sample_rate, wav.channels, wav.bits
    );
    Err(StepError::fatal("speech.audio", message)
        .with_hint("take the sound out with `media.extract_audio` first"))
}

/// A failed run, with what the recogniser wrote in its log.
fn explain(error: StepError, log: &Path) -> StepError {
    if error.0.code != "process.exit" {
        return with_install_hint(error, POCKETSPHINX);
    }
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let said: Vec<&str> = log.lines().filter(|line| is_complaint(line)).collect();
    let said = said[said.len().saturating_sub(5)..].join("\n");
    let failed = StepError::fatal("speech.recogniser", format!("{}\n{said}", error.0.message));
    if said.contains("mdef") || said.contains("acoustic model") {
        return failed.with_hint("apt-get install pocketsphinx-en-us");
    }
    failed
}

fn is_complaint(line: &str) -> bool {
    line.starts_with("ERROR") || line.starts_with("FATAL")
}

/// Reads `word start end confidence`. Lines of another shape are whole texts; words in brackets are
/// silence and noises; a number after a word says which of its sounds was heard.
fn read_line(line: &str) -> Option<Word> {
    let mut parts = line.split(' ');
    let (word, start, end) = (parts.next()?, parts.next()?, parts.next()?);
    let confidence = parts.next()?;
    if parts.next().is_some() || word.is_empty() || word.starts_with(['<', '[', '+']) {
        return None;
    }
    let number = |text: &str| -> Option<f64> {
        let is_decimal = text.contains('.') && text.starts_with(|c: char| c.is_ascii_digit());
        is_decimal.then(|| text.parse().ok()).flatten()
    };
    let (start_s, end_s) = (number(start)?, number(end)?);
    let confidence = number(confidence)?;
    let text = match word.rsplit_once('(') {
        Some((text, variant)) if is_variant(variant) && !text.is_empty() => text,
        _ => word,
    };
    Some(Word {
        text: text.to_owned(),
        start_s,
        end_s,
        confidence: Some(confidence.clamp(0.0, 1.0)),
    })
}

fn is_variant(text: &str) -> bool {
    text.strip_suffix(')').is_some_and(|number| number.parse::<u8>().is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_words() {
        for (line, expected) in [
            ("hello(2) 0.160 0.570 1.000000", Some(("hello", 0.16, 0.57, 1.0))),
            ("they're 4.230 4.380 0.011414", Some(("they're", 4.23, 4.38, 0.011_414))),
            ("loud 1.000 1.500 1.000300", Some(("loud", 1.0, 1.5, 1.0))),
            ("<s> 0.080 0.150 1.000000", None),
            ("</s> 5.300 5.380 1.000000", None),
            ("<sil> 2.390 2.630 0.805876", None),
            ("[SPEECH] 3.420 3.570 0.526358", None),
            ("[NOISE] 3.420 3.570 0.526358", None),
            ("++BREATH++ 3.420 3.570 0.526358", None),
            ("hello and welcome to", None),
            ("hello and welcome to this", None),
            ("hello", None),
            ("", None),
            ("a inf nan 1.0", None),
        ] {
            let word = read_line(line);
            let found = word.as_ref().map(|word| {
                (word.text.as_str(), word.start_s, word.end_s, word.confidence.unwrap())
            });
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_relative_path_of_models_is_that_of_the_engine() {
        let models = Some(PathBuf::from("models"));
        let options = MediaOptions { pocketsphinx_models: models, ..MediaOptions::default() };
        let recogniser = Recogniser::new(&options, Slots::new(1));
        for word in recogniser.model_args() {
            let path = Path::new(&word);
            assert!(path.is_absolute() || path.to_str().unwrap().starts_with('-'), "{word:?}");
        }
    }

    #[test]
    fn other_sound_is_refused() {
        for (rate, channels, fits) in [(16_000, 1, true), (44_100, 1, false), (16_000, 2, false)] {
            let bytes = crate::wav::tests::silence(rate, channels, 10);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let checked = check(Wav::of_file(file.path()).unwrap());
            assert_eq!(checked.is_ok(), fits, "{rate} {channels}");
        }
    }
}
