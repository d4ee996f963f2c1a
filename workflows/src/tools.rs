//! The programs that the media steps need, and where they come from.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The encoder.
pub(crate) const FFMPEG: &str = "ffmpeg";

/// The program that looks into media files.
pub(crate) const FFPROBE: &str = "ffprobe";

/// The offline recogniser.
pub(crate) const POCKETSPHINX: &str = "pocketsphinx_continuous";

/// A program or model that is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingTool {
    /// What is missing.
    pub program: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
    /// Which step kinds need it.
    pub needed_for: &'static str,
}

impl MissingTool {
    /// What to type to get it.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("apt-get install {}", self.package)
    }
}

const TOOLS: [MissingTool; 3] = [
    MissingTool {
        program: FFMPEG,
        package: "ffmpeg",
        needed_for: "`media.extract_audio`, `media.verify`, `ffmpeg.*`",
    },
    MissingTool { program: FFPROBE, package: "ffmpeg", needed_for: "every media step" },
    MissingTool {
        program: POCKETSPHINX,
        package: "pocketsphinx",
        needed_for: "`speech.transcribe` without an OpenAI key",
    },
];

/// The model of the offline recogniser, which Debian packs apart from it.
const MODEL: MissingTool = MissingTool {
    program: "the en-us model of PocketSphinx",
    package: "pocketsphinx-en-us",
    needed_for: "`speech.transcribe` without an OpenAI key",
};

/// Where Debian puts the model, and the recogniser looks for it unless told otherwise.
pub(crate) const MODELS: &str = "/usr/share/pocketsphinx/model/en-us";

/// What of the programs that the media steps need is not installed.
#[must_use]
pub fn missing_tools() -> Vec<MissingTool> {
    missing_in(&path(), &Path::new(MODELS).join("en-us"))
}

/// Where a program is. Links stay: one that stands for many programs goes by the link's name.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_in(path(), program)
}

fn find_in(directories: Vec<PathBuf>, program: &str) -> Option<PathBuf> {
    let mut found = directories.into_iter().map(|directory| directory.join(program));
    found.find(|path| path.is_absolute() && is_program(path))
}

fn path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

fn is_program(path: &Path) -> bool {
    let about = std::fs::metadata(path);
    about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// What to type to get the package of a program, if it is one of ours.
pub(crate) fn install_hint(program: &str) -> Option<String> {
    TOOLS.iter().find(|tool| tool.program == program).map(MissingTool::hint)
}

fn missing_in(directories: &[PathBuf], model: &Path) -> Vec<MissingTool> {
    let installed = |tool: &MissingTool| directories.iter().any(|d| d.join(tool.program).is_file());
    let mut missing: Vec<MissingTool> =
        TOOLS.iter().filter(|tool| !installed(tool)).copied().collect();
    // Without the recogniser of Debian the place of its model says nothing.
    if !missing.iter().any(|tool| tool.program == POCKETSPHINX) && !model.is_dir() {
        missing.push(MODEL);
    }
    missing
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_run_by_its_own_name() {
        let directory = tempfile::tempdir().unwrap();
        let (shell, link) = (Path::new("/bin/sh"), directory.path().join(FFMPEG));
        std::os::unix::fs::symlink(shell, &link).unwrap();
        let path = || vec![PathBuf::from("relative"), directory.path().to_owned()];
        assert_eq!(find_in(path(), FFMPEG), Some(link));
        assert_eq!(find_in(path(), FFPROBE), None);
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let directory = tempfile::tempdir().unwrap();
        let path = [directory.path().to_owned()];
        let names = |missing: Vec<MissingTool>| -> Vec<&str> {
            missing.into_iter().map(|tool| tool.program).collect()
        };
        assert_eq!(names(missing_in(&path, directory.path())), [FFMPEG, FFPROBE, POCKETSPHINX]);
        for program in [FFMPEG, FFPROBE, POCKETSPHINX] {
            std::fs::write(directory.path().join(program), "").unwrap();
        }
        assert!(missing_in(&path, directory.path()).is_empty());
        let missing = missing_in(&path, Path::new("/nowhere"));
        assert_eq!(missing[0].hint(), "apt-get install pocketsphinx-en-us");
        assert_eq!(install_hint(FFPROBE).as_deref(), Some("apt-get install ffmpeg"));
        assert_eq!(install_hint("sh"), None);
    }
}
