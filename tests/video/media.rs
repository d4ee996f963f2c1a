//! Real media to work on, and a look at the processes that work on it.

use std::path::Path;
use std::process::Command;

use super::world::{Running, callsheet};

/// Runs a tool; its failure is the test's.
fn tool(program: &str, args: &[&str]) {
    let ended = Command::new(program).args(args).output();
    let output = ended.unwrap_or_else(|error| panic!("`{program}` is not installed: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a video of what the arguments name as picture and sound.
fn film(inputs: &[&str], path: &Path) {
    let quick = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -shortest";
    let args = ["-v", "error", "-y"].iter().chain(inputs).copied().chain(quick.split(' '));
    tool("ffmpeg", &args.chain([path.to_str().unwrap()]).collect::<Vec<_>>());
}

/// A moving picture with a tone.
pub(crate) fn moving_picture(path: &Path, seconds: u32, size: &str) {
    let picture = format!("testsrc2=size={size}:rate=25:duration={seconds}");
    let tone = format!("sine=frequency=330:duration={seconds}");
    film(&["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone], path);
}

/// A moving picture with somebody who says `text`.
pub(crate) fn speaking_picture(path: &Path, text: &str) {
    let voice = path.with_extension("wav");
    let voice = voice.to_str().unwrap();
    tool("flite", &["-voice", "slt", "-t", text, "-o", voice]);
    film(&["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-i", voice], path);
}

/// Starts a server whose steps may read files of this machine; answers with its address too.
pub(crate) fn serve(path: &Path) -> (Running, String) {
    let mut running = Running::of(serve_command(path, "state", &[]));
    let url = address(&mut running).expect("the server lives");
    (running, url)
}

/// The command of such a server; it offers what is in `flows`.
pub(crate) fn serve_command(path: &Path, state: &str, env: &[(String, String)]) -> Command {
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", state, "--allow-local-paths"];
    let mut command = callsheet(path, &args);
    if path.join("flows").is_dir() {
        command.args(["--workflows", "flows"]);
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// Where a server listens; none when it dies before.
pub(crate) fn address(running: &mut Running) -> Option<String> {
    let line = running.hear("callsheet listens on ")?;
    let url = line.split(' ').find(|word| word.starts_with("http://"))?;
    Some(url.trim_end_matches(',').to_owned())
}

/// Process numbers of everything that works for the engine whose data is in `state`: each of them
/// has the engine's work directory in its environment.
pub(crate) fn workers(state: &Path) -> Vec<u32> {
    let state = state.canonicalize().unwrap();
    let mark = format!("CALLSHEET_WORK_ROOT={}", state.join("work").display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .collect()
}

/// Files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found
}

/// How long a file is, by its container.
pub(crate) fn ffprobe_seconds(path: &Path) -> f64 {
    let args = ["-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration"];
    let output = Command::new("ffprobe").args(args).arg(path).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    printed.parse().unwrap_or_else(|_| panic!("{}: `{printed}`", path.display()))
}
