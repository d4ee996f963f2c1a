//! Real media to work on, and a look at the processes that work on it.

use std::path::Path;
use std::process::Command;

use super::world::Running;

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
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "state", "--allow-local-paths"];
    let flows = path.join("flows");
    let args: Vec<&str> = if flows.is_dir() {
        [&args[..], &["--workflows", "flows"]].concat()
    } else {
        args.to_vec()
    };
    let mut running = Running::start(path, &args);
    let line = running.wait_for("callsheet listens on ");
    let url = line.split(' ').find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches(',').to_owned();
    (running, url)
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
