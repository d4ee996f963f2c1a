//! Files that want to do harm, at every door of every shipped workflow: each is refused with its
//! own code, nothing else is read, and nothing is left behind.

mod bombs;
mod canary;
mod steps;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callsheet_actors::{Engine, JobHandle, Submit};
use callsheet_engine::{Ending, Phase};
use callsheet_storage::Digest;
use callsheet_workflows::{MediaOptions, register};
use serde_json::{Value, json};

use crate::samples::Samples;
use crate::support::offline;
use canary::Canary;

/// Every input of a shipped workflow that takes a file.
const DOORS: [(&str, &str); 12] = [
    ("analyze", "video"),
    ("background-music", "music"),
    ("background-music", "video"),
    ("caption", "video"),
    ("compose", "music"),
    ("compose", "scenes"),
    ("compose", "voices"),
    ("contact-sheet", "video"),
    ("convert", "video"),
    ("merge", "scenes"),
    ("merge", "voices"),
    ("thumbnail", "video"),
];

/// Files that nothing is wrong with.
struct Good {
    film: PathBuf,
    sound: PathBuf,
}

impl Good {
    fn new(samples: &Samples) -> Self {
        let film = "-f lavfi -i testsrc2=size=64x64:rate=10:duration=0.5 \
            -f lavfi -t 0.5 -i sine -c:v libx264 -preset ultrafast -c:a aac";
        Self {
            film: samples.ffmpeg(film, "film.mp4"),
            sound: samples.write("sound.wav", bombs::tone(8_000, 4_000)),
        }
    }

    /// The input of a workflow, with another file at one of its doors.
    fn but(&self, (workflow, field): (&str, &str), source: &str) -> Value {
        let (film, sound) = (&self.film, &self.sound);
        let scenes = || {
            json!({ "scenes": [film], "voices": [sound], "width": 480, "height": 480,
                "preset": "ultrafast" })
        };
        let mut input = match workflow {
            "background-music" => json!({ "video": film, "music": sound }),
            "merge" => scenes(),
            "compose" => {
                let mut input = scenes();
                (input["music"], input["captions"]) = (json!(sound), json!("none"));
                input
            }
            "convert" => json!({ "video": film, "format": "mkv" }),
            _ => json!({ "video": film }),
        };
        input[field] = match field {
            "scenes" | "voices" => json!([source]),
            _ => json!(source),
        };
        input
    }
}

/// A data directory, an engine in it, and those who must not be asked for anything.
struct Place {
    samples: Samples,
    canary: Canary,
    server: TcpListener,
    data: PathBuf,
    engine: Engine,
}

impl Place {
    async fn new(options: &MediaOptions) -> Self {
        let samples = Samples::new();
        let (canary, data) = (Canary::new(&samples), samples.path("data"));
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let builder = Engine::builder().data_dir(&data);
        let engine = register(builder, options).open().await.unwrap();
        Self { samples, canary, server, data, engine }
    }

    /// Puts in where the canary sits, and where the server listens.
    fn fill(&self, text: &str) -> String {
        let text = text.replace("CANARY", self.canary.path.to_str().unwrap());
        text.replace("SERVER", &self.server.local_addr().unwrap().to_string())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        self.samples.write(name, bytes).to_str().unwrap().to_owned()
    }

    async fn submit(&self, workflow: &str, input: Value) -> JobHandle {
        self.engine.submit(Submit::named(workflow, input)).await.unwrap().job
    }

    /// That nobody asked for anything, and that no process, no directory of work and no file is
    /// left but those that were fetched, beside what is known of the good ones.
    async fn must_be_as_before(self, fetched: &BTreeSet<String>) {
        let work = files(&self.data.join("work"));
        assert!(work.is_empty(), "left of the work: {work:?}");
        let data = self.data.to_str().unwrap();
        assert_eq!(processes(data), [""; 0]);
        let stored = files(self.engine.artifacts().root()).into_iter().filter(|name| {
            name.len() == 64 && name.parse::<Digest>().is_ok() && !fetched.contains(name)
        });
        assert_eq!(stored.collect::<Vec<_>>(), [""; 0], "files that nobody sent");
        self.engine.shutdown().await;
        assert!(self.server.accept().is_err(), "the server was asked");
        assert!(!self.canary.was_opened(), "the canary was opened");
    }
}

/// The names of all files below a directory, but for what steps have answered.
fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let known = |path: &Path| path.ends_with("artifacts/results");
    let entries = entries.flatten().filter(|entry| !known(&entry.path()));
    let named = entries.flat_map(|entry| match entry.path().is_dir() {
        true => files(&entry.path()),
        false => vec![entry.file_name().to_string_lossy().into_owned()],
    });
    named.collect()
}

/// Processes whose command line names a path.
fn processes(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(path)).collect()
}

/// How a job ended: the code of its failure, or none.
async fn ending(job: &JobHandle) -> Option<String> {
    // Long enough for a machine that is busy; what hangs is seen to.
    let view = job.wait_for(Duration::from_secs(120)).await.unwrap();
    match view.state.phase {
        Phase::Ended { ending: Ending::Succeeded(_), .. } => None,
        Phase::Ended { ending: Ending::Failed(failure), .. } => Some(failure.code),
        other => panic!("{other:?}"),
    }
}

/// Sources, each with what it is refused with at every door.
type Refused = Vec<(String, &'static str)>;

/// What ffmpeg would follow, whatever it is called.
fn scripts(place: &Place) -> Refused {
    let film = |name: &str, text: &str| place.write(name, place.fill(text));
    let hls = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://CANARY\n#EXT-X-ENDLIST\n";
    let far = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://SERVER/a.ts\n#EXT-X-ENDLIST\n";
    let dash = "<?xml version=\"1.0\"?><MPD><Period><AdaptationSet><Representation>\
        <BaseURL>http://SERVER/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>";
    let session = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n";
    let disguised =
        |head: &[u8], name: &str| place.write(name, [head, place.fill(hls).as_bytes()].concat());
    vec![
        (film("hls.mp4", hls), "media.not_allowed"),
        (film("hls-far.m3u8", far), "media.not_allowed"),
        (film("dash.mp4", dash), "media.not_allowed"),
        (film("list.mp4", "ffconcat version 1.0\nfile CANARY\n"), "media.not_allowed"),
        (film("bare-list.mp4", "file 'CANARY'\n"), "media.not_allowed"),
        (film("session.mp4", session), "media.not_allowed"),
        (film("graph.wav", "movie=CANARY"), "media.not_allowed"),
        (disguised(b"\0\0\0\x20ftypisom", "disguised.mp4"), "media.unreadable"),
        (disguised(b"\x1A\x45\xDF\xA3", "disguised.mkv"), "media.unreadable"),
    ]
}

/// What costs too much, is cut off or is nothing that can be played.
fn bombs(place: &Place) -> Refused {
    let samples = &place.samples;
    let write = |name: &str, bytes: Vec<u8>| place.write(name, bytes);
    vec![
        (write("pixels.avi", bombs::of_pixels(samples, 10_000, 8_000)), "media.too_many_pixels"),
        // So many that ffmpeg itself does not say how many.
        (write("more.avi", bombs::of_pixels(samples, 60_000, 60_000)), "media.unreadable"),
        (place.write("pictures.avi", bombs::of_many_pictures(samples)), "media.too_many_frames"),
        (place.write("streams.mkv", bombs::of_many_streams(samples)), "media.too_many_streams"),
        (place.write("hours.mp3", bombs::of_many_hours()), "media.too_long"),
        (place.write("cut.mp4", bombs::without_index(samples)), "media.unreadable"),
        (place.write("head.mp4", b"\0\0\0\x20ftypisom"), "media.unreadable"),
        (place.write("zip.mp4", b"PK\x03\x04\x14\0\0\0\x08\0"), "media.not_allowed"),
        (place.write("packed.mp4", b"\x1F\x8B\x08\0\0\0\0\0"), "media.not_allowed"),
        (place.write("empty.mp4", b""), "media.not_allowed"),
        (place.write("text.mp4", b"hello"), "media.not_allowed"),
        (place.write("page.mp4", b"<!doctype html><title>log in"), "media.not_allowed"),
        // What the kernel makes up is empty to us: this one holds the engine's environment.
        ("/proc/self/environ".to_owned(), "media.not_allowed"),
    ]
}

/// Names that mean something to ffmpeg or to a shell, and paths that are no files.
fn names(place: &Place) -> Refused {
    let path = |name: &str| place.samples.path(name).to_str().unwrap().to_owned();
    let _ = UnixListener::bind(place.samples.path("socket.mp4")).unwrap();
    std::fs::create_dir(place.samples.path("directory.mp4")).unwrap();
    for (from, to) in
        [("pipe.mp4", "canary.mp4"), ("zero.mp4", "/dev/zero"), ("round.mp4", "round.mp4")]
    {
        symlink(to, place.samples.path(from)).unwrap();
    }
    symlink("nothing.mp4", place.samples.path("dangling.mp4")).unwrap();
    let mut names: Refused = [
        ("concat:CANARY|CANARY", "fetch.scheme"),
        ("file:CANARY", "fetch.scheme"),
        ("file://CANARY", "fetch.scheme"),
        ("pipe:0", "fetch.scheme"),
        ("data:video/mp4;base64,AAAA", "fetch.scheme"),
        ("tcp://SERVER", "fetch.scheme"),
        ("tee:CANARY", "fetch.scheme"),
        ("subfile,,start,0,end,0,,:CANARY", "fetch.not_found"),
        ("-i", "fetch.not_found"),
        ("-f lavfi -i movie=CANARY", "fetch.not_found"),
        ("@CANARY", "fetch.not_found"),
        ("|cat CANARY", "fetch.not_found"),
        ("$(cat CANARY)", "fetch.not_found"),
        ("%d.mp4", "fetch.not_found"),
        ("*.mp4", "fetch.not_found"),
        ("a\nb.mp4", "fetch.not_found"),
        ("a\0b.mp4", "fetch.unreadable"),
        ("CANARY", "fetch.not_a_file"),
        ("/dev/zero", "fetch.not_a_file"),
        ("http://SERVER@", "fetch.url"),
        ("http://user:secret@SERVER/a.mp4", "fetch.credentials"),
    ]
    .map(|(source, code)| (place.fill(source), code))
    .into();
    names.extend([
        (path("pipe.mp4"), "fetch.not_a_file"),
        (path("zero.mp4"), "fetch.not_a_file"),
        (path("socket.mp4"), "fetch.not_a_file"),
        (path("directory.mp4"), "fetch.not_a_file"),
        (path("dangling.mp4"), "fetch.not_found"),
        (path("round.mp4"), "fetch.unreadable"),
        ("x".repeat(300), "fetch.unreadable"),
    ]);
    names
}

/// Runs every source through every door at once; the codes that were not as expected.
async fn wrong_answers(place: &Place, good: &Good, refused: &Refused) -> Vec<String> {
    let mut jobs = Vec::new();
    for door in DOORS {
        for (source, code) in refused {
            let job = place.submit(door.0, good.but(door, source)).await;
            jobs.push((door, source, *code, job));
        }
    }
    let mut wrong = Vec::new();
    for (door, source, code, job) in jobs {
        let found = ending(&job).await;
        if found.as_deref() != Some(code) {
            wrong.push(format!("{door:?} {source:?}: {found:?}, expected {code}"));
        }
    }
    wrong
}

/// The digests of all files that were there to be fetched.
fn fetched(place: &Place) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place.samples.path(".")).unwrap().flatten();
    let regular = entries.filter(|entry| entry.file_type().unwrap().is_file());
    regular.map(|it| Digest::of(&std::fs::read(it.path()).unwrap()).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_refuses_what_means_harm() {
    let place = Place::new(&offline()).await;
    let good = Good::new(&place.samples);
    let refused = [scripts(&place), bombs(&place), names(&place)].concat();
    assert_eq!(wrong_answers(&place, &good, &refused).await, [""; 0]);
    let fetched = fetched(&place);
    place.must_be_as_before(&fetched).await;
}

/// What a job may name is the operator's to say: a server that was not told otherwise takes neither
/// its own files nor those of its neighbours.
#[tokio::test(flavor = "multi_thread")]
async fn every_door_of_a_server_leads_outside_only() {
    let place = Place::new(&MediaOptions { openai: None, ..MediaOptions::default() }).await;
    let film = place.write("film.mp4", "secret");
    for (source, code) in [
        (place.fill("http://SERVER/a.mp4"), "fetch.private_address"),
        (place.fill("file://CANARY"), "fetch.scheme"),
        (place.fill("CANARY"), "fetch.local_path"),
        (film, "fetch.local_path"),
        ("-i".to_owned(), "fetch.local_path"),
    ] {
        // At all doors at once: whichever is tried first refuses it.
        let good = Good { film: (&source).into(), sound: (&source).into() };
        assert_eq!(wrong_answers(&place, &good, &vec![(source, code)]).await, [""; 0]);
    }
    place.must_be_as_before(&BTreeSet::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doors_are_all_there_are() {
    let place = Place::new(&offline()).await;
    let mut found = BTreeSet::new();
    for plan in place.engine.workflows() {
        let workflow = serde_json::to_value(plan.workflow()).unwrap();
        let fields = workflow["input"]["properties"].as_object().cloned().unwrap_or_default();
        for (field, schema) in fields {
            if schema.to_string().contains("path-or-url") {
                found.insert((workflow["name"].as_str().unwrap().to_owned(), field));
            }
        }
    }
    let doors = DOORS.map(|(workflow, field)| (workflow.to_owned(), field.to_owned()));
    assert_eq!(found, BTreeSet::from(doors));
}

/// A name is a name: a good file is taken whatever it is called, and its content decides.
#[tokio::test(flavor = "multi_thread")]
async fn good_files_of_evil_names_are_taken() {
    let place = Place::new(&offline()).await;
    let good = Good::new(&place.samples);
    let film = std::fs::read(&good.film).unwrap();
    let names = [
        "-y.mp4",
        "a\nb.mp4",
        "it's.mp4",
        "\"x\".mp4",
        "%03d.jpg",
        "a:b.mp4",
        "concat:a|b.txt",
        "$(touch x);.mp4",
        "[o];movie=x.mp4",
        "a\\b.mp4",
        "ä 🎬.m3u8",
        "list.ffconcat",
    ];
    let mut jobs = Vec::new();
    for name in names {
        let source = place.write(name, &film);
        jobs.push((name, place.submit("thumbnail", json!({ "video": source })).await, None));
    }
    symlink(&good.film, place.samples.path("link.mp4")).unwrap();
    let link = json!({ "video": place.samples.path("link.mp4") });
    jobs.push(("a link", place.submit("thumbnail", link).await, None));
    // A sound that is called a film is a sound.
    let sound = place.write("sound.mp4", std::fs::read(&good.sound).unwrap());
    for (workflow, field, code) in [
        ("analyze", "video", None),
        ("convert", "video", None),
        ("background-music", "music", None),
        ("background-music", "video", Some("music.no_video")),
        ("caption", "video", None),
        ("compose", "scenes", Some("merge.no_video")),
        ("contact-sheet", "video", Some("media.no_video")),
        ("merge", "scenes", Some("merge.no_video")),
        ("thumbnail", "video", Some("media.no_video")),
    ] {
        let input = good.but((workflow, field), &sound);
        jobs.push((workflow, place.submit(workflow, input).await, code));
    }
    for (what, job, code) in jobs {
        assert_eq!(ending(&job).await.as_deref(), code, "{what:?}");
    }
    assert!(files(&place.data.join("work")).is_empty());
    place.engine.shutdown().await;
    assert!(!place.canary.was_opened());
}
