//! What of a request for a transcript the service looks at, and what it refuses.

use super::form::{File, Form};
use super::refusal::{FORMATS, Refusal};

/// The models that there are, and whether they give times.
const MODELS: [(&str, bool); 4] = [
    ("whisper-1", true),
    ("gpt-4o-transcribe", false),
    ("gpt-4o-mini-transcribe", false),
    ("gpt-4o-transcribe-diarize", false),
];

/// Parameters that the service knows.
const KNOWN: [&str; 12] = [
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "timestamp_granularities",
    "stream",
    "include[]",
    "chunking_strategy",
    "user",
];

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
    Srt,
    Vtt,
    Verbose { words: bool, segments: bool },
}

/// A request that the service accepts.
pub(super) struct Asked<'a> {
    pub(super) file: File<'a>,
    pub(super) language: Option<String>,
    pub(super) format: Format,
}

/// Checks a request as the service does.
///
/// # Errors
/// The service's refusal.
pub(super) fn check(form: &Form) -> Result<Asked<'_>, Refusal> {
    if let Some(unknown) = form.names().find(|name| !KNOWN.contains(name)) {
        let message = format!("Unrecognized request argument supplied: {unknown}");
        return Err(Refusal::invalid(message));
    }
    let Some(model) = form.text("model").filter(|model| !model.is_empty()) else {
        return Err(Refusal::invalid("you must provide a model parameter"));
    };
    let Some((_, gives_times)) = MODELS.iter().find(|(name, _)| *name == model) else {
        return Err(Refusal::no_model(&model));
    };
    let Some(file) = form.file("file") else {
        return Err(Refusal::invalid("'file' is a required property").param("file"));
    };
    check_file(&file)?;
    check_temperature(form)?;
    let language = form.text("language").filter(|language| !language.is_empty());
    if let Some(language) = language.as_ref().filter(|language| !is_language(language)) {
        let message = format!(
            "Invalid language '{language}'. Language parameter must be in ISO-639-1 format."
        );
        return Err(Refusal::invalid(message).param("language").code("invalid_language_format"));
    }
    let format = format(form)?;
    if !gives_times && !matches!(format, Format::Json | Format::Text) {
        let asked = form.text("response_format").unwrap_or_default();
        let message = format!(
            "response_format '{asked}' is not compatible with model '{model}'. Use 'json' or \
             'text' instead."
        );
        return Err(Refusal::invalid(message).param("response_format").code("unsupported_value"));
    }
    Ok(Asked { file, language, format })
}

fn check_file(file: &File<'_>) -> Result<(), Refusal> {
    let ending = file.name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    if !ending.is_some_and(|ending| FORMATS.contains(&ending.as_str())) {
        let known: Vec<String> = FORMATS.iter().map(|ending| format!("'{ending}'")).collect();
        let message = format!("Invalid file format. Supported formats: [{}]", known.join(", "));
        return Err(Refusal::invalid(message));
    }
    if file.content.is_empty() {
        let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
        return Err(Refusal::invalid(message).param("file").code("audio_too_short"));
    }
    Ok(())
}

fn check_temperature(form: &Form) -> Result<(), Refusal> {
    let Some(text) = form.text("temperature") else { return Ok(()) };
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
        _ => Err(Refusal::invalid(format!("'{text}' is not a number from 0 to 1 - 'temperature'"))
            .param("temperature")),
    }
}

/// Two or three letters.
fn is_language(text: &str) -> bool {
    (2..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn format(form: &Form) -> Result<Format, Refusal> {
    let asked = form.text("response_format");
    let mut wanted = form.all("timestamp_granularities[]");
    wanted.extend(form.all("timestamp_granularities"));
    if let Some(wrong) = wanted.iter().find(|it| *it != "word" && *it != "segment") {
        let message =
            format!("Invalid value: '{wrong}'. Supported values are: 'segment' and 'word'.");
        return Err(Refusal::invalid(message).param("timestamp_granularities"));
    }
    let format = match asked.as_deref() {
        None | Some("" | "json") => Format::Json,
        Some("text") => Format::Text,
        Some("srt") => Format::Srt,
        Some("vtt") => Format::Vtt,
        Some("verbose_json") => {
            let words = wanted.iter().any(|it| it == "word");
            let segments = wanted.is_empty() || wanted.iter().any(|it| it == "segment");
            return Ok(Format::Verbose { words, segments });
        }
        Some(other) => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'json', 'text', 'srt', \
                 'verbose_json' and 'vtt'."
            );
            return Err(Refusal::invalid(message).param("response_format"));
        }
    };
    if wanted.is_empty() {
        return Ok(format);
    }
    let message = "timestamp_granularities are only supported with response_format 'verbose_json'.";
    Err(Refusal::invalid(message).param("timestamp_granularities"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    /// A form with a file of this name and these fields.
    fn form(file: &str, fields: &[(&str, &str)]) -> Form {
        let mut body = String::new();
        for (name, value) in fields {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"");
            body.push_str(&format!("--b\r\n{head}\r\n\r\n{value}\r\n"));
        }
        if !file.is_empty() {
            let head =
                format!("Content-Disposition: form-data; name=\"file\"; filename=\"{file}\"");
            body.push_str(&format!("--b\r\n{head}\r\n\r\nsound\r\n"));
        }
        body.push_str("--b--\r\n");
        Form::read("multipart/form-data; boundary=b", body.as_bytes()).unwrap()
    }

    const MODEL: (&str, &str) = ("model", "whisper-1");

    #[test]
    fn the_form_of_the_answer_is_what_was_asked_for() {
        let verbose = ("response_format", "verbose_json");
        let (word, segment) =
            (("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment"));
        for (fields, expected) in [
            (vec![MODEL], Format::Json),
            (vec![MODEL, ("response_format", "srt")], Format::Srt),
            (vec![MODEL, ("response_format", "vtt")], Format::Vtt),
            (vec![MODEL, ("response_format", "text")], Format::Text),
            (vec![MODEL, verbose], Format::Verbose { words: false, segments: true }),
            (vec![MODEL, verbose, word], Format::Verbose { words: true, segments: false }),
            (vec![MODEL, verbose, word, segment], Format::Verbose { words: true, segments: true }),
            (vec![("model", "gpt-4o-transcribe"), ("response_format", "text")], Format::Text),
        ] {
            assert_eq!(
                check(&form("a.wav", &fields)).unwrap_or_else(|_| panic!()).format,
                expected
            );
        }
    }

    #[test]
    fn wrong_requests_are_refused_as_the_service_does() {
        let verbose = ("response_format", "verbose_json");
        for (file, fields, status) in [
            ("a.wav", vec![], 400),
            ("a.wav", vec![("model", "whisper-9")], 404),
            ("", vec![MODEL], 400),
            ("a.txt", vec![MODEL], 400),
            ("noending", vec![MODEL], 400),
            ("a.wav", vec![MODEL, ("colour", "red")], 400),
            ("a.wav", vec![MODEL, ("temperature", "2")], 400),
            ("a.wav", vec![MODEL, ("language", "English")], 400),
            ("a.wav", vec![MODEL, ("response_format", "xml")], 400),
            ("a.wav", vec![MODEL, ("timestamp_granularities[]", "word")], 400),
            ("a.wav", vec![MODEL, verbose, ("timestamp_granularities[]", "letter")], 400),
            ("a.wav", vec![("model", "gpt-4o-transcribe"), verbose], 400),
        ] {
            let form = form(file, &fields);
            let refusal = check(&form).err().unwrap_or_else(|| panic!("{file} {fields:?}"));
            assert_eq!(refusal.into_response().status(), status, "{file} {fields:?}");
        }
    }
}
