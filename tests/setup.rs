//! `scripts/setup.sh` on machines that lack something: every tool that it looks for is a stand-in
//! in a folder of its own, which is the whole `PATH`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Tools of the base system that the script itself is written with.
const BASE: &[&str] = &["awk", "bash", "dirname", "env", "grep", "head", "id", "sed", "sort", "tr"];

/// A machine with all that Callsheet needs.
const COMPLETE: &[(&str, &str)] = &[
    ("ar", ""),
    ("bwrap", ""),
    ("cargo", ""),
    ("cc", ""),
    ("fc-list", "echo a.ttf"),
    ("ffmpeg", "echo ' .. subtitles V->V'; echo ' V libx264 H.264'"),
    ("ffprobe", ""),
    ("flite", ""),
    ("pocketsphinx_continuous", ""),
    ("rustc", "echo 'rustc 1.99.0-nightly (abc 2030-01-01)'"),
];

/// A package manager that knows its packages only after `update`, and then installs the voice or
/// the sandbox.
const APT: &str = r#"
echo "apt-get $*" >>"$LOG"
case "$*" in
  *update) : >"$TOOLS/lists" ;;
  *install*) [ -e "$TOOLS/lists" ] || exit 100 ;;&
  *flite) /bin/ln -s "$TOOLS/ffprobe" "$TOOLS/flite" ;;
  *bubblewrap) /bin/ln -s "$TOOLS/ffprobe" "$TOOLS/bwrap" ;;
esac
"#;

/// What one run of the script did.
struct Run {
    succeeded: bool,
    said: String,
    log: String,
}

/// Runs the script for the tests on a complete machine without `missing` and with `extra` tools.
fn setup(missing: &[&str], extra: &[(&str, &str)]) -> Run {
    setup_for(&["--for-tests"], missing, extra)
}

fn setup_for(arguments: &[&str], missing: &[&str], extra: &[(&str, &str)]) -> Run {
    let tools = tempfile::tempdir().expect("a temporary folder can be made");
    let tools = tools.path();
    for name in BASE {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
        let tool = found.iter().find(|path| path.exists()).expect("a base tool is installed");
        symlink(tool, tools.join(name)).expect("a link can be made");
    }
    let present = COMPLETE.iter().filter(|(name, _)| !missing.contains(name));
    for (name, body) in present.chain(extra) {
        let path = tools.join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/bash\n{body}\n")).expect("a stand-in can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    }
    let (log, model) = (tools.join("log"), tools.join("model"));
    fs::create_dir(&model).expect("a folder can be made");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup.sh");
    let output = Command::new("/bin/bash")
        .arg(script)
        .args(arguments)
        .env_clear()
        .envs([("PATH", tools), ("TOOLS", tools), ("LOG", &log), ("CALLSHEET_MODEL_DIR", &model)])
        .output()
        .expect("bash can be started");
    let said = [output.stdout, output.stderr].concat();
    Run {
        succeeded: output.status.success(),
        said: String::from_utf8_lossy(&said).into_owned(),
        log: fs::read_to_string(log).unwrap_or_default(),
    }
}

#[test]
fn a_complete_machine_is_left_alone_in_silence() {
    let run = setup(&[], &[("apt-get", APT)]);
    assert!(run.succeeded, "{}", run.said);
    assert_eq!((run.said.as_str(), run.log.as_str()), ("", ""));
}

#[test]
fn what_is_missing_is_installed_after_the_lists_are_fetched() {
    let run = setup(&["flite"], &[("apt-get", APT), ("id", "echo 0")]);
    assert!(run.succeeded, "{}", run.said);
    let deeds: Vec<&str> = run
        .log
        .lines()
        .filter_map(|line| line.split(' ').find(|w| *w == "install" || *w == "update"))
        .collect();
    assert_eq!(deeds, ["install", "update", "install"], "{}", run.log);
    assert!(run.log.ends_with("install -y --no-install-recommends flite\n"), "{}", run.log);
}

/// What the script asks its package manager to install, in order.
fn installed(run: &Run) -> Vec<&str> {
    let lines = run.log.lines().filter(|line| line.contains(" install "));
    lines.filter_map(|line| line.rsplit(' ').next()).collect()
}

#[test]
fn the_sandbox_comes_along_and_its_lack_is_a_note() {
    type Tools = &'static [(&'static str, &'static str)];
    let apt: Tools = &[("apt-get", APT), ("id", "echo 0")];
    let broken: Tools =
        &[("apt-get", "echo \"apt-get $*\" >>\"$LOG\"; exit 100"), ("id", "echo 0")];
    let user: Tools = &[("apt-get", APT), ("id", "echo 1000")];
    let (plain, tests): (&[&str], &[&str]) = (&[], &["--for-tests"]);
    let once: &[&str] = &["bubblewrap"];
    let again: &[&str] = &["bubblewrap", "bubblewrap"];
    for (arguments, missing, tools, asked, note) in [
        (tests, &["bwrap"][..], apt, again, false),
        // The lists were not fetched, so it was not tried again.
        (tests, &["bwrap"], broken, once, true),
        (tests, &["bwrap"], &[("id", "echo 0")], &[], true),
        (tests, &["bwrap"], user, &[], true),
        // Nothing else is missing: a plain set-up leaves the machine alone.
        (plain, &["bwrap"], apt, &[], false),
        (plain, &["bwrap", "flite"], apt, &["flite", "flite", "bubblewrap"], false),
    ] {
        let run = setup_for(arguments, missing, tools);
        assert!(run.succeeded, "{arguments:?} without {missing:?}: {}", run.said);
        assert_eq!(installed(&run), asked, "{arguments:?} without {missing:?}: {}", run.said);
        assert_eq!(run.said.contains("note: without bubblewrap"), note, "{}", run.said);
    }
}

#[test]
fn every_machine_that_cannot_be_set_up_is_told_why() {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);
    let cases: &[Case] = &[
        (&["flite", "cc"], &[], "error: these are missing here: build-essential flite "),
        (
            &["flite"],
            &[("apt-get", "exit 100"), ("id", "echo 0")],
            "error: apt-get could not fetch the package lists",
        ),
        (&["flite"], &[("apt-get", ""), ("id", "echo 0")], "error: still missing after"),
        (
            &["flite"],
            &[("apt-get", APT), ("id", "echo 1000")],
            "takes root: flite\nhint: run as root: apt-get",
        ),
        (&["rustc"], &[], "error: Rust is not installed; version 1."),
        (&[], &[("rustc", "echo 'rustc 1.70.0 (abc)'")], "error: Rust 1.70.0 is too old; 1."),
        (&[], &[("cargo", "exit 101")], "error: cargo has no rustfmt\nhint: "),
        (&[], &[("ffmpeg", "echo ' V libx264 '")], "error: this ffmpeg cannot draw subtitles"),
        (&[], &[("ffmpeg", "echo ' x subtitles '")], "error: this ffmpeg cannot encode H.264"),
    ];
    for (missing, extra, expected) in cases {
        let run = setup(missing, extra);
        assert!(!run.succeeded, "without {missing:?}, with {extra:?}: {}", run.said);
        assert!(run.said.contains(expected), "{}\nis not\n{expected}", run.said);
    }
}
