//! What WORKFLOW on the command line means: the name of a shipped workflow, or a file.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use callsheet::definition::nearest;
use callsheet::limits::MAX_DEFINITION_BYTES;
use callsheet::{Engine, Plan};

use crate::cli::correct;
use crate::cli::error::{CliError, Result};

/// The plan for a word on the command line.
///
/// # Errors
/// When there is no such workflow, or its file cannot be read or has problems.
pub(crate) fn plan(engine: &Engine, word: &str) -> Result<Arc<Plan>> {
    if let Some(plan) = engine.workflow(word) {
        return Ok(plan);
    }
    if !looks_like_file(word) && !Path::new(word).is_file() {
        return Err(unknown(engine, word));
    }
    let text = read(Path::new(word))?;
    engine.validate(&text).map_err(|problems| CliError::problems(word, &problems))
}

/// The text of a definition; `-` is standard input.
///
/// # Errors
/// When it cannot be read, is too long, or is not UTF-8.
pub(crate) fn read(path: &Path) -> Result<String> {
    let refused = |error: std::io::Error| CliError::file("read", path, &error);
    let mut bytes = Vec::new();
    // One byte more than allowed, so that too much is noticed and a device is not read for ever.
    let most = MAX_DEFINITION_BYTES as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(refused)?;
    } else {
        let file = std::fs::File::open(path).map_err(refused)?;
        file.take(most).read_to_end(&mut bytes).map_err(refused)?;
    }
    if bytes.len() > MAX_DEFINITION_BYTES {
        return Err(CliError::failed(format!(
            "`{}` is longer than {MAX_DEFINITION_BYTES} bytes",
            path.display()
        ))
        .hint("a definition holds steps, not data: pass data as input or as files"));
    }
    String::from_utf8(bytes)
        .map_err(|_| CliError::failed(format!("`{}` is not UTF-8 text", path.display())))
}

/// Whether a word can only be meant as a file.
pub(crate) fn looks_like_file(word: &str) -> bool {
    let endings = [".yaml", ".yml", ".json"];
    word == "-" || word.contains('/') || endings.iter().any(|ending| word.ends_with(ending))
}

fn unknown(engine: &Engine, word: &str) -> CliError {
    let plans = engine.workflows();
    let names: Vec<&str> = plans.iter().map(|plan| plan.workflow().name.as_str()).collect();
    CliError::usage(format!("there is no workflow `{word}` and no such file"))
        .maybe_hint(correct::hint(word, nearest(word, names.iter().copied())))
        .hint(format!("shipped: {}; or give the path of a YAML or JSON file", names.join(", ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_names() {
        for word in ["a.yaml", "dir/flow", "./x", "b.json", "-"] {
            assert!(looks_like_file(word), "{word}");
        }
        for word in ["caption", "my-flow", "v1.caption"] {
            assert!(!looks_like_file(word), "{word}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.yaml");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is not UTF-8"));
        std::fs::write(&path, vec![b'a'; MAX_DEFINITION_BYTES + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("longer than"));
        let missing = read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("cannot read"), "{missing}");
    }
}
