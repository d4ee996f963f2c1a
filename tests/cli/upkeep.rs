//! `callsheet backup`, `restore`, `verify` and `compact`, on jobs that a server runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::server::Server;
use super::world::{Finished, Origin, Running, attempts, finish, place};

fn url_of(origin: &Origin) -> String {
    format!("url={}", origin.url)
}

/// A data directory `state` with ended jobs in it.
fn at_rest(jobs: usize) -> (tempfile::TempDir, PathBuf) {
    let (dir, path) = place();
    let origin = Origin::start();
    origin.open();
    let server = Server::start(&path, &[]);
    for n in 0..jobs {
        let (url, key) = (url_of(&origin), format!("key {n}"));
        let submit = ["submit", "notes", "-i", &url, "--key", &key, "--wait"];
        server.ask(&submit).has_ended_with(0);
    }
    server.running.signal(Signal::TERM);
    let (status, _) = server.running.end();
    assert_eq!(status.code(), Some(0));
    (dir, path)
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_backup_of_a_server_that_goes_on_is_a_server_of_its_own() {
    let (_dir, path) = place();
    let origin = Origin::start();
    let server = Server::start(&path, &["--token", "secret"]);
    let ask = |args: &[&str]| server.ask(&[args, &["--token", "secret"]].concat());
    let url = url_of(&origin);
    let id = ask(&["submit", "notes", "-i", &url, "--key", "k"]).has_ended_with(0).stdout;
    let id = id.trim();
    origin.wait_until_asked();
    let refused = server.ask(&["backup", "stolen"]).has_ended_with(1);
    assert!(refused.stderr.contains("[auth."), "{}", refused.stderr);
    assert!(!path.join("stolen").exists());

    let made = ask(&["backup", "live.backup", "--json"]).has_ended_with(0).json();
    assert_eq!((&made["contents"]["jobs"], &made["contents"]["keys"]), (&1.into(), &1.into()));
    assert_eq!(made["contents"]["artifacts"], 3, "the first step's files");
    let again = ask(&["backup", "live.backup"]).has_ended_with(1);
    assert!(again.stderr.contains("`live.backup` is there already"), "{}", again.stderr);
    let restored = finish(&path, &["restore", "live.backup", "--data-dir", "copy"]);
    let said = restored.has_ended_with(0).stdout;
    assert!(said.starts_with("restored 1 job (") && said.contains("to copy"), "{said}");
    let sound = finish(&path, &["verify", "--data-dir", "copy"]).has_ended_with(0);
    assert!(sound.stdout.contains("all of it is sound"), "{}", sound.stdout);

    // Both go on: what was recorded before the backup is not done again in the copy.
    origin.open();
    ask(&["show", id, "--follow"]).has_ended_with(0);
    let copy = path.join("copy-place");
    fs::create_dir(&copy).unwrap();
    fs::copy(path.join("notes.yaml"), copy.join("notes.yaml")).unwrap();
    fs::rename(path.join("copy"), copy.join("state")).unwrap();
    let other = Server::start(&copy, &[]);
    other.ask(&["show", id, "--follow"]).has_ended_with(0);
    let shown = other.ask(&["show", id, "--json"]).has_ended_with(0).json();
    let made = attempts(&shown);
    assert_eq!(made[0], ("first".to_owned(), 1), "done before the backup: {made:?}");
    assert_eq!(made[1], ("fetch".to_owned(), 2), "open at the backup: {made:?}");
    let key = ["submit", "notes", "-i", &url, "--key", "k"];
    assert_eq!(other.ask(&key).has_ended_with(0).stdout.trim(), id, "keys are kept");
}

#[test]
fn what_is_in_use_is_not_touched() {
    let (_dir, path) = place();
    let server = Server::start(&path, &[]);
    let cases: [(&[&str], &str); 3] = [
        (&["backup", "b", "--data-dir", "state"], "leave --data-dir out"),
        (&["verify", "--data-dir", "state"], "verify a backup"),
        (&["compact", "--data-dir", "state"], "hint: stop it"),
    ];
    for (args, hint) in cases {
        // A server in the environment does not get in the way of a directory that is named.
        let refused = server.ask(args).has_ended_with(3);
        let said = &refused.stderr;
        assert!(said.contains("is in use by process") && said.contains(hint), "{said}");
    }
    assert!(!path.join("b").exists());
}

#[test]
fn nothing_is_made_where_no_store_is() {
    let (_dir, path) = place();
    fs::create_dir(path.join("empty")).unwrap();
    let cases: [&[&str]; 3] = [
        &["backup", "b", "--data-dir", "empty"],
        &["verify", "--data-dir", "empty"],
        &["compact", "--data-dir", "empty"],
    ];
    for args in cases {
        let refused = finish(&path, args).has_ended_with(3);
        assert!(refused.stderr.contains("`empty` holds no store"), "{}", refused.stderr);
    }
    assert_eq!(files_below(&path.join("empty")), Vec::<PathBuf>::new());
}

#[test]
fn a_backup_that_is_no_whole_one_is_refused() {
    let (_dir, path) = at_rest(2);
    finish(&path, &["backup", "whole", "--data-dir", "state"]).has_ended_with(0);
    let bytes = fs::read(path.join("whole")).unwrap();
    fs::write(path.join("cut"), &bytes[..bytes.len() - 10]).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(path.join("changed"), changed).unwrap();
    for (file, words) in [
        ("cut", "it is cut off after"),
        ("changed", "its checksum is wrong"),
        ("notes.yaml", "callsheet backup FILE"),
    ] {
        let refused = finish(&path, &["restore", file, "--data-dir", "copy"]).has_ended_with(1);
        let said = &refused.stderr;
        assert!(said.contains(words) && said.contains(&format!("`{file}`")), "{said}");
        assert!(said.contains("hint: ") && !path.join("copy").exists(), "{said}");
    }
    let mixed = finish(&path, &["restore", "whole", "--data-dir", "state"]).has_ended_with(1);
    assert!(mixed.stderr.contains("hint: restore into a directory that is empty"), "{mixed:?}");
}

#[test]
fn damage_is_named_with_its_job_and_left_out_of_a_backup() {
    let (_dir, path) = at_rest(2);
    let sound = finish(&path, &["verify", "--data-dir", "state", "--json"]).has_ended_with(0);
    let sound = sound.json();
    assert_eq!((&sound["jobs"], &sound["ended"]), (&2.into(), &2.into()));
    assert_eq!(sound["faults"].as_array().map(Vec::len), Some(0));
    let victim = files_below(&path.join("state/artifacts"))
        .into_iter()
        .find(|file| file.file_name().is_some_and(|name| name.len() == 64))
        .unwrap();
    fs::remove_file(&victim).unwrap();
    let digest = victim.file_name().unwrap().to_string_lossy().into_owned();
    let found = finish(&path, &["verify", "--data-dir", "state"]).has_ended_with(1);
    assert!(found.stderr.contains(&format!("error: artifact `{digest}`")), "{}", found.stderr);
    assert!(found.stderr.contains("job `"), "{}", found.stderr);
    let unread = ["verify", "--data-dir", "state", "--without-artifacts"];
    finish(&path, &unread).has_ended_with(0);
    let partial = finish(&path, &["backup", "b", "--data-dir", "state"]).has_ended_with(1);
    assert!(partial.stderr.contains(&format!("left out artifact `{digest}`")), "{partial:?}");
    let said = finish(&path, &["restore", "b", "--data-dir", "copy"]).has_ended_with(1).stderr;
    assert!(said.contains(&digest) && path.join("copy/store").is_dir(), "{said}");
}

/// The report of a directory that must be sound.
fn sound(path: &Path, dir: &str) -> Finished {
    finish(path, &["verify", "--data-dir", dir, "--json"]).has_ended_with(0)
}

#[test]
fn a_compaction_that_is_killed_loses_nothing() {
    let (_dir, path) = at_rest(3);
    let before = sound(&path, "state").json();
    for wait in [0, 10, 20, 30, 40, 60, 80, 120, 160, 220] {
        let running = Running::start(&path, &["compact", "--data-dir", "state"]);
        thread::sleep(Duration::from_millis(wait));
        running.signal(Signal::KILL);
        running.end();
        assert_eq!(sound(&path, "state").json(), before, "killed after {wait} ms");
    }
    let done = finish(&path, &["compact", "--data-dir", "state", "--json"]).has_ended_with(0);
    assert_eq!(done.json()["jobs"], 3);
    assert_eq!(sound(&path, "state").json(), before);
}

/// The copies that a backup leaves under its name; what is there must be whole.
fn is_there_and_whole(path: &Path, name: &str) -> bool {
    if !path.join(name).exists() {
        return false;
    }
    let dir = format!("{name}-restored");
    finish(path, &["restore", name, "--data-dir", &dir]).has_ended_with(0);
    finish(path, &["verify", "--data-dir", &dir]).has_ended_with(0);
    true
}

#[test]
fn a_backup_that_is_killed_takes_no_name() {
    let (_dir, path) = at_rest(3);
    let mut cut = 0;
    for wait in [2, 5, 10, 20, 40, 80] {
        let name = format!("b-{wait}");
        let running = Running::start(&path, &["backup", &name, "--data-dir", "state"]);
        thread::sleep(Duration::from_millis(wait));
        running.signal(Signal::KILL);
        let (status, _) = running.end();
        let is_whole = is_there_and_whole(&path, &name);
        assert!(is_whole || !status.success(), "what was said to be backed up is there");
        cut += usize::from(!is_whole);
        if !is_whole {
            finish(&path, &["backup", &name, "--data-dir", "state"]).has_ended_with(0);
            assert!(is_there_and_whole(&path, &name), "another one takes its place");
            assert!(!path.join(format!("{name}.partial")).exists());
        }
    }
    assert!(cut > 0, "at least one was cut off");
}

#[test]
fn a_backup_that_does_not_arrive_whole_takes_no_name() {
    let (_dir, path) = place();
    let origin = Origin::start();
    origin.open();
    let server = Server::start(&path, &[]);
    server.ask(&["submit", "notes", "-i", &url_of(&origin), "--wait"]).has_ended_with(0);
    let through = |on_the_way: OnTheWay, name: &str| {
        let url = between(&server.url, on_the_way);
        finish(&path, &["backup", name, "--server", &url])
    };
    through(|_| {}, "whole").has_ended_with(0);
    assert!(is_there_and_whole(&path, "whole"));
    let broken: [(&str, OnTheWay); 4] = [
        ("nothing", Vec::clear),
        ("begun", |all| {
            let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            all.truncate(head + 30);
        }),
        ("last", |all| all.truncate(all.len() - 20)),
        ("byte", |all| {
            let at = all.len() - 60;
            all[at] ^= 1;
        }),
    ];
    for (name, on_the_way) in broken {
        let refused = through(on_the_way, name).has_ended_with(1);
        assert!(refused.stderr.contains("hint: "), "{name}: {}", refused.stderr);
        if name != "nothing" {
            let said = "the backup broke off and nothing of it was kept";
            assert!(refused.stderr.contains(said), "{name}: {}", refused.stderr);
        }
        for left in [name.to_owned(), format!("{name}.partial")] {
            assert!(!path.join(&left).exists(), "{left}");
        }
    }
}

/// What happens to the bytes of an answer on their way.
type OnTheWay = fn(&mut Vec<u8>);

/// A network between the command and a server, for one connection; with its address.
fn between(server: &str, on_the_way: OnTheWay) -> String {
    let server = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
            asked.push(byte[0]);
        }
        // The server closes after its answer, so that all of it is there to be changed.
        let asked = String::from_utf8(asked).unwrap();
        let asked = asked.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        let mut server = TcpStream::connect(server).unwrap();
        server.write_all(asked.as_bytes()).unwrap();
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).unwrap();
        on_the_way(&mut answer);
        // A client that has heard enough may be gone.
        let _ = client.write_all(&answer);
    });
    url
}

#[test]
fn a_restore_that_is_killed_is_not_taken_for_a_store() {
    let (_dir, path) = at_rest(3);
    let before = sound(&path, "state").json();
    finish(&path, &["backup", "b", "--data-dir", "state"]).has_ended_with(0);
    let mut cut = 0;
    for wait in [5, 15, 25, 40, 60, 90, 130, 200] {
        let dir = format!("copy-{wait}");
        let running = Running::start(&path, &["restore", "b", "--data-dir", &dir]);
        thread::sleep(Duration::from_millis(wait));
        running.signal(Signal::KILL);
        let (status, _) = running.end();
        let ended = finish(&path, &["verify", "--data-dir", &dir, "--json"]);
        match ended.code {
            Some(0) => assert_eq!(ended.json(), before, "whole after {wait} ms"),
            _ => {
                assert!(!status.success(), "what was said to be restored opens: {ended:?}");
                cut += 1;
            }
        }
    }
    assert!(cut > 0, "at least one was cut off");
}
