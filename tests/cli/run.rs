//! `callsheet run` when nothing goes wrong, and when the job does.

use serde_json::json;

use super::world::{Origin, attempts, counts, finish, place};

#[test]
fn a_file_of_ones_own_runs_and_its_files_land() {
    let (_dir, path) = place();
    let origin = Origin::start();
    origin.open();
    let url = format!("url={}", origin.url);
    let ended = finish(&path, &["run", "notes.yaml", "-i", &url, "--out", "out", "--json"]);
    let result = ended.has_ended_with(0).json();
    let mut names: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["files", "job", "output", "status", "steps", "workflow"]);
    assert_eq!((&result["status"], &result["workflow"]), (&json!("succeeded"), &json!("notes")));
    assert_eq!(result["output"]["cues"], json!(1));
    assert_eq!(attempts(&result), counts(&[("first", 1), ("fetch", 1), ("last", 1)]));
    for step in result["steps"].as_array().unwrap() {
        assert!(step["started_at"].as_str().unwrap().ends_with('Z'), "{step}");
        assert!(step["seconds"].as_f64().unwrap() >= 0.0, "{step}");
        assert_eq!(step["status"], "succeeded");
    }
    // Both subtitle files are called `captions.srt`: the name of the output tells them apart.
    let files = [("first", "first-captions.srt"), ("last", "last-captions.srt")];
    for (key, name) in files {
        assert_eq!(result["files"][key], format!("out/{name}"));
        assert!(std::fs::read_to_string(path.join("out").join(name)).unwrap().contains("-->"));
    }
    assert_eq!(result["files"]["vtt"], "out/captions.vtt");
    assert!(!path.join("out/.callsheet").exists(), "a job that has succeeded leaves no data");
}

#[test]
fn people_are_told_where_the_files_are() {
    let (_dir, path) = place();
    let origin = Origin::start();
    origin.open();
    let url = format!("url={}", origin.url);
    let ended = finish(&path, &["run", "notes.yaml", "-i", &url, "--out", "out"]);
    let ended = ended.has_ended_with(0);
    let expected = "output  file\n\
        first   out/first-captions.srt\n\
        last    out/last-captions.srt\n\
        vtt     out/captions.vtt\n\n\
        output  value\n\
        cues    1\n";
    assert_eq!(ended.stdout, expected);
    for words in ["notes: job ", ", 3 steps\n", "  first  done in ", "job succeeded\n"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[test]
fn a_failed_job_says_why_and_can_be_looked_at() {
    let (_dir, path) = place();
    let args = ["run", "notes.yaml", "-i", "url=none.txt", "--out", "out", "--json"];
    let ended = finish(&path, &args).has_ended_with(1);
    let result = ended.json();
    assert_eq!(result["status"], "failed");
    assert_eq!(result["failure"]["code"], "fetch.not_found");
    assert!(ended.stderr.contains("[fetch.not_found]\nhint: "), "{}", ended.stderr);

    let dir = ["--data-dir", "out/.callsheet"];
    let list = finish(&path, &[&["jobs", "--json"], &dir[..]].concat()).has_ended_with(0).json();
    let id = list["jobs"][0]["id"].as_str().unwrap();
    assert_eq!(id, result["job"]);
    let shown = finish(&path, &[&["show", id], &dir[..]].concat()).has_ended_with(0).stdout;
    for words in ["status     failed", "[fetch.not_found]", "last   subtitles.compose  cancelled"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn a_data_directory_that_is_named_is_kept_and_used_by_one_at_a_time() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let url = format!("url={}", origin.url);
    let args = ["run", "notes.yaml", "-i", &url, "--out", "out", "--data-dir", "state"];
    let first = super::world::Running::start(&path, &args);
    origin.wait_until_asked();
    let second = finish(&path, &args).has_ended_with(3);
    assert!(second.stderr.contains("error: "), "{second:?}");
    origin.open();
    let (status, _) = first.end();
    assert!(status.success());
    assert!(path.join("state").is_dir());
    // It has ended, so the same command begins a new job.
    let again = finish(&path, &[&args[..], &["--json"]].concat()).has_ended_with(0);
    assert_eq!(origin.hits(), 2);
    assert_eq!(attempts(&again.json()), counts(&[("first", 1), ("fetch", 1), ("last", 1)]));
}

#[test]
fn a_file_that_the_job_was_given_is_not_written_over() {
    let (_dir, path) = place();
    std::fs::write(path.join("captions.vtt"), "mine\n").unwrap();
    let args = ["run", "notes.yaml", "-i", "url=captions.vtt", "--out", "."];
    let ended = finish(&path, &args).has_ended_with(1);
    let said = "error: `./captions.vtt` is an input of this job: its output `vtt` has that name\n";
    assert!(ended.stderr.contains(said), "{ended:?}");
    assert_eq!(std::fs::read_to_string(path.join("captions.vtt")).unwrap(), "mine\n");
    assert!(!path.join("first-captions.srt").exists(), "some files landed");
    // As the hint says, it is all there for another place, and does not run again.
    assert!(ended.stderr.contains("another --out and --data-dir ./.callsheet"), "{ended:?}");
    let args = [&args[..5], &["out", "--data-dir", "./.callsheet", "--json"]].concat();
    let again = finish(&path, &args).has_ended_with(0);
    assert_eq!(again.json()["files"]["vtt"], "out/captions.vtt");
    assert!(again.stderr.contains("s, cached\n"), "{again:?}");
}

#[test]
fn a_batch_tells_of_the_items_that_did_not_succeed() {
    let (_dir, path) = place();
    let items = r#"items=[
        { "id": "talk", "workflow": "analyze", "input": { "video": "none.mp4" } },
        { "workflow": "nothing" }
    ]"#;
    for form in [&[][..], &["--json"]] {
        let args = [&["run", "batch", "-i", items, "--out", "out"], form].concat();
        let ended = finish(&path, &args).has_ended_with(1);
        let results = &ended.json();
        let results = results.get("output").unwrap_or(results);
        assert_eq!(results["failed"], 1, "{ended:?}");
        for words in [
            "job succeeded\n",
            "error: 2 of 2 items did not succeed\n",
            "\n  results[0] `talk` failed: there is no file",
            "[fetch.not_found]\n    hint: ",
            "\n  results[1] refused: ",
        ] {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
        assert!(
            !path.join("out/.callsheet").exists(),
            "the job is over: run again, it begins anew"
        );
    }
}
