//! Complaints: what is wrong, where, and the command that was meant.

use super::golden;
use super::world::{finish, place};

/// A definition with five mistakes of five kinds.
const FIVE: &str = r#"name: five
input:
  type: object
  properties: { video: { type: string } }
steps:
  - id: fetch
    uses: media.fetsh
    with: { source: "{{ input.video }}" }
  - id: probe
    uses: media.probe
    with: { media: "{{ steps.fetched.file }}" }
  - id: audio
    uses: media.extract_audio
    retires: { max_attempts: 3 }
    with: { media: "{{ steps.fetch.file }}" }
  - id: burn
    uses: ffmpeg.burn_subtitles
    timeout: 10 minutes
    with:
      video: "{{ steps.fetch.file }}"
      subtitles: "{{ steps.fetch.file }}"
      quality: 3
"#;

#[test]
fn five_mistakes_give_five_messages_with_line_column_and_hint() {
    let (_dir, path) = place();
    std::fs::write(path.join("five.yaml"), FIVE).unwrap();
    let ended = finish(&path, &["validate", "five.yaml"]).has_ended_with(1);
    golden::check("validate-five.txt", &ended.stdout);
    let (messages, hints): (Vec<_>, Vec<_>) =
        ended.stdout.lines().partition(|line| line.starts_with("five.yaml:"));
    assert_eq!((messages.len(), hints.len()), (5, 5), "{}", ended.stdout);
    for message in messages {
        let place: Vec<_> = message.splitn(4, ':').collect();
        assert!(place[1].parse::<u32>().is_ok() && place[2].parse::<u32>().is_ok(), "{message}");
        assert!(message.ends_with(']'), "{message}");
    }
    assert!(hints.iter().all(|hint| hint.starts_with("  hint: ")), "{hints:?}");
}

#[test]
fn the_same_problems_come_as_json() {
    let (_dir, path) = place();
    std::fs::write(path.join("five.yaml"), FIVE).unwrap();
    let ended = finish(&path, &["validate", "five.yaml", "notes.yaml", "--json"]).has_ended_with(1);
    let answer = ended.json();
    assert_eq!((&answer[0]["valid"], &answer[1]["valid"]), (&false.into(), &true.into()));
    let problems = answer[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 5);
    for problem in problems {
        for field in ["code", "message", "line", "column", "hint"] {
            assert!(!problem[field].is_null(), "{field}: {problem}");
        }
    }
}

#[test]
fn kinds_are_listed_with_their_inputs() {
    let (_dir, path) = place();
    let text = finish(&path, &["validate", "--kinds"]).has_ended_with(0).stdout;
    assert!(text.contains("\nmedia.fetch\n"), "{text}");
    assert!(text.contains("source     string | Stored, required"), "{text}");
    let kinds = finish(&path, &["validate", "--kinds", "--json"]).has_ended_with(0).json();
    let names: Vec<_> =
        kinds.as_array().unwrap().iter().filter_map(|kind| kind["name"].as_str()).collect();
    assert!(names.contains(&"ffmpeg.burn_subtitles"), "{names:?}");
}

#[test]
fn complaints_end_with_what_was_meant() {
    let (_dir, path) = place();
    let table: [(&[&str], i32, &str); 12] = [
        (&["srve"], 2, "hint: try: callsheet serve\n"),
        (&["run", "captoin", "--out", "o"], 2, "try: callsheet run caption --out o\n"),
        (&["graph", "captoin"], 2, "try: callsheet graph caption\n"),
        (&["run", "caption", "--otu", "o"], 2, "hint: try: callsheet run caption --out o\n"),
        (&["run", "caption", "--out", "o", "-i", "vidoe=a b"], 2, "-i 'video=a b'\n"),
        (&["run", "caption", "--out", "o"], 1, "the field `video` is missing"),
        (&["run", "caption", "--out", "o", "-i", "words_per_line=x"], 2, "takes integer, not `x`"),
        (&["run", "none.yaml", "--out", "o"], 1, "cannot read `none.yaml`"),
        (&["jobs", "--status", "runing"], 2, "hint: try: callsheet jobs --status running\n"),
        (&["jobs", "--server", "http://127.0.0.1:9"], 1, "start it with `callsheet serve`"),
        (&["jobs", "--server", "127.0.0.1:9"], 1, "write it like `http://"),
        (&["serve", "--listen", "0.0.0.0:0"], 2, "set a token"),
    ];
    for (args, code, words) in table {
        let ended = finish(&path, args).has_ended_with(code);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}: complaints go to stderr");
    }
}

#[test]
fn a_refused_run_leaves_nothing_behind() {
    let (_dir, path) = place();
    finish(&path, &["run", "caption", "--out", "o", "-i", "vidoe=a"]).has_ended_with(2);
    assert_eq!(std::fs::read_dir(path.join("o")).unwrap().count(), 0);
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let (_dir, path) = place();
    let program = env!("CARGO_BIN_EXE_callsheet");
    let script =
        format!("'{program}' validate --kinds --json | head -c 1; echo ${{PIPESTATUS[0]}}");
    let ended =
        std::process::Command::new("bash").current_dir(&path).args(["-c", &script]).output();
    let ended = ended.unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "[0\n");
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("panicked"));
}
