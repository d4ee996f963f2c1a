//! Paid once, across deaths of the engine: `callsheet serve` is killed at random moments and at the
//! named points around the call, and the service, a process of its own, counts.
//!
//! What is promised, exactly: a call whose result is recorded is never made again; a call that was
//! under way when the engine died, from its start to the record of its result, is made once more.
//! The service has no way to recognise the second one, so nobody can promise less.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use callsheet::server::client::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::draw::{Draw, number};
use super::fakes::{Fake, KEY};
use super::journal::{Journal, Place};
use super::media::{address, serve_command, workers};
use super::samples;
use super::world::Running;

/// The sound of a film, its words from the service, and what is made of them: all that a call costs
/// in a job, without the pictures.
const PAID: &str = "
name: paid
input: { type: object, required: [video], properties: { video: { type: string } } }
steps:
  - { id: fetch, uses: media.fetch, with: { source: '{{ input.video }}' } }
  - { id: audio, uses: media.extract_audio, with: { media: '{{ steps.fetch.file }}' } }
  - id: cut
    uses: speech.cut
    with: { audio: '{{ steps.audio.audio }}', min_piece_s: 2, max_piece_s: 4 }
  - id: words
    uses: speech.recognise
    for_each: '{{ steps.cut.pieces }}'
    with: { audio: '{{ item.audio }}', provider: openai }
    retry: { max_attempts: 6, initial: 10ms, factor: 1 }
  - id: whole
    uses: speech.join
    with: { pieces: '{{ steps.cut.pieces }}', transcripts: '{{ steps.words }}' }
output: '{{ steps.whole.text }}'
";

/// Only a job that never ends takes so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the service hears.
const TEXT: &str = "once upon a time";

#[test]
fn killed_at_random_moments_no_finished_call_is_repeated() {
    let wanted = number("CALLSHEET_KILLS", 3);
    let mut draw = Draw(number("CALLSHEET_KILL_SEED", 0x9a1d));
    let mut world = World::new(&["--fault", "all=delay:150ms"]);
    let whole = world.job(&[]);
    while world.kills < wanted {
        assert!(world.jobs < wanted * 4 + 8, "too many jobs end before their kill");
        world.job(&[0, 0].map(|_| Fate::After(whole.mul_f64(draw.share()))));
    }
    world.report("at random moments");
}

#[test]
fn a_call_that_the_service_failed_is_made_again_and_paid_once() {
    let mut world = World::new(&["--fault", "1=500", "--fault", "2=429:1s", "--fault", "3=cut"]);
    // What is cut was worked out and paid for, and is no result.
    world.lost = 1;
    world.job(&[]);
    let (calls, pieces) = (world.fake.calls(), world.calls().len());
    assert!(pieces > 1, "one call is all there is: {calls}");
    assert_eq!(calls["paid"], json!(pieces + 1), "{calls}");
    assert_eq!(calls["calls"], json!(pieces + 3), "{calls}");
}

/// Points, and the passings of each of them at which the calls are near: they are the fourth and
/// the fifth body.
#[cfg(feature = "failpoints")]
const POINTS: [(&str, u64); 9] = [
    ("actors.body.before", 4),
    ("actors.body.before", 5),
    ("actors.body.after", 4),
    ("actors.body.after", 5),
    ("actors.commit.before", 4),
    ("actors.commit.before", 5),
    ("actors.commit.after", 5),
    ("actors.commit.before", 6),
    ("actors.commit.after", 6),
];

#[cfg(feature = "failpoints")]
#[test]
fn killed_at_the_points_around_the_call_no_finished_call_is_repeated() {
    let mut world = World::new(&[]);
    for (point, passing) in POINTS {
        let before = (world.kills, world.cut, world.kept);
        world.job(&[Fate::AtPoint(point, passing)]);
        let is_cut = if world.cut > before.1 { "the call was cut off" } else { "" };
        let is_kept = if world.kept > before.2 { "the call was recorded" } else { "" };
        println!("{point}@{passing}: {is_cut}{is_kept}");
        assert_eq!(world.kills, before.0 + 1, "{point} was not passed {passing} times");
    }
    world.report("at named points");
    assert!(world.cut > 0 && world.kept > 0, "no kill came near the call, so nothing was shown");
}

/// What befalls a life of the engine.
#[derive(Clone, Copy, Debug)]
enum Fate {
    After(Duration),
    #[cfg_attr(not(feature = "failpoints"), expect(dead_code, reason = "no points there"))]
    AtPoint(&'static str, u64),
}

/// A service that outlives the engines that ask it.
struct World {
    dir: tempfile::TempDir,
    path: PathBuf,
    fake: Fake,
    jobs: u64,
    kills: u64,
    /// Calls that a kill cut off, and calls that were recorded before one.
    cut: usize,
    kept: usize,
    /// Paid answers that the service itself kept from arriving.
    lost: usize,
}

impl World {
    fn new(faults: &[&str]) -> Self {
        // Made here, so that the time of the first job is that of a job.
        samples::directory();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        std::fs::create_dir(path.join("flows")).unwrap();
        std::fs::write(path.join("flows/paid.yaml"), PAID).unwrap();
        let fake = Fake::start(&path, &[faults, &["--text", TEXT]].concat());
        Self { dir, path, fake, jobs: 0, kills: 0, cut: 0, kept: 0, lost: 0 }
    }

    /// A job in a data directory of its own, over the lives that are given and one in peace.
    ///
    /// Answers how long the last of them worked.
    fn job(&mut self, fates: &[Fate]) -> Duration {
        let state = format!("state-{}", self.jobs);
        let key = state.clone();
        self.jobs += 1;
        let mut seen = Seen { lost: self.lost, ..Seen::default() };
        for fate in fates {
            let command = self.command(&state, *fate);
            let (killed, _) = live(command, Some(*fate), &key);
            self.settles(&state);
            seen.check(&self.read(&state), &self.calls());
            if !killed {
                break;
            }
            self.kills += 1;
            let journal = self.read(&state);
            self.cut += journal.open.iter().filter(|place| place.step == "words").count();
            seen.keep(&journal, &self.calls());
        }
        let command = serve_command(&self.path, &state, &self.env());
        let (killed, took) = live(command, None, &key);
        assert!(!killed, "the engine died in peace");
        let journal = self.read(&state);
        let all: Vec<&str> = journal.jobs.values().map(String::as_str).collect();
        assert_eq!(all, ["succeeded"], "one key, one job");
        seen.check(&journal, &self.calls());
        let pieces = journal.done.iter().filter(|place| place.step == "words").count();
        assert!(pieces > 1, "the film is one piece: {journal:?}");
        self.kept += seen.done.len();
        took
    }

    fn env(&self) -> Vec<(String, String)> {
        let url = self.fake.base_url();
        vec![("OPENAI_BASE_URL".into(), url), ("OPENAI_API_KEY".into(), KEY.into())]
    }

    fn command(&self, state: &str, fate: Fate) -> Command {
        let mut env = self.env();
        if let Fate::AtPoint(point, passing) = fate {
            env.push(("CALLSHEET_DIE_AT".into(), format!("{point}@{passing}")));
        }
        serve_command(&self.path, state, &env)
    }

    fn read(&self, state: &str) -> Journal {
        Journal::read(&self.path.join(state))
    }

    /// Whoever worked for the engine is gone, or goes when the next one starts.
    fn settles(&self, state: &str) {
        let state = self.path.join(state);
        for _ in 0..100 {
            if !state.is_dir() || workers(&state).is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The paid calls of each place: the client's key names job, step and item.
    fn calls(&self) -> BTreeMap<Place, usize> {
        let mut calls = BTreeMap::new();
        for call in self.fake.calls()["log"].as_array().unwrap() {
            if call["paid"] == true {
                *calls.entry(place(call)).or_insert(0) += 1;
            }
        }
        calls
    }

    fn report(&self, when: &str) {
        println!(
            "{} kills {when} over {} jobs, all succeeded; {} calls were recorded before a kill and \
             not repeated, {} were cut off and made again",
            self.kills, self.jobs, self.kept, self.cut
        );
        assert!(self.dir.path().is_dir());
    }
}

fn place(call: &Value) -> Place {
    let key = call["idempotency_key"].as_str().expect("every call carries its key");
    let parts: Vec<&str> = key.split('/').collect();
    let [job, step, item] = parts[..] else { panic!("a key of another shape: {key}") };
    Place { job: job.into(), step: step.into(), item: item.parse().unwrap() }
}

/// What was seen at the kills of a job so far.
#[derive(Default)]
struct Seen {
    /// Paid calls of each place that had its result.
    done: BTreeMap<Place, usize>,
    /// Kills that found a place without its result, but with an attempt under way.
    hit: BTreeMap<Place, usize>,
    jobs: BTreeSet<String>,
    lost: usize,
}

impl Seen {
    fn check(&mut self, journal: &Journal, calls: &BTreeMap<Place, usize>) {
        self.jobs.extend(journal.jobs.keys().cloned());
        for (place, count) in &self.done {
            assert_eq!(
                calls.get(place),
                Some(count),
                "{place:?} had its result, and was paid again"
            );
        }
        for (place, count) in calls.iter().filter(|(place, _)| self.jobs.contains(&place.job)) {
            let hit = self.hit.get(place).copied().unwrap_or(0);
            let most = 1 + hit + self.lost;
            assert!(*count <= most, "{place:?} was paid {count} times over {hit} kills");
        }
    }

    fn keep(&mut self, journal: &Journal, calls: &BTreeMap<Place, usize>) {
        for place in journal.done.iter().filter(|place| place.step == "words") {
            let paid = calls.get(place).copied().unwrap_or(0);
            assert!(paid > 0, "{place:?} has a result that nobody was asked for");
            self.done.entry(place.clone()).or_insert(paid);
        }
        for place in journal.open.iter().filter(|place| place.step == "words") {
            *self.hit.entry(place.clone()).or_insert(0) += 1;
        }
    }
}

/// A life of the engine: until its fate, or until the job has ended. True when it was killed; and
/// how long it lived once it listened.
fn live(command: Command, fate: Option<Fate>, key: &str) -> (bool, Duration) {
    let video = samples::directory().join("talk.mp4");
    let mut server = Running::of(command);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = address(&mut server);
    let since = Instant::now();
    let over = runtime.spawn({
        let key = key.to_owned();
        async move {
            let client = Client::new(&url?, None).ok()?;
            let request = json!({ "workflow": "paid", "input": { "video": video } });
            let request = serde_json::from_value(request).unwrap();
            let id = client.submit(&request, Some(&key)).await.ok()?.id;
            Some(client.wait(&id).await.ok()?.head.status)
        }
    });
    match fate {
        Some(Fate::After(time)) => std::thread::sleep(time),
        Some(Fate::AtPoint(..)) | None => {
            while !over.is_finished() && !server.has_ended() {
                assert!(since.elapsed() < PATIENCE, "the job does not end: {}", server.said());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    let lived = since.elapsed();
    let died = server.has_ended();
    let ended = over.is_finished() && !died;
    if !died {
        server.signal(Signal::KILL);
    }
    server.end();
    over.abort();
    // A server that is killed after the job's end has shown nothing.
    (!ended, lived)
}
