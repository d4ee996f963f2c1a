//! The life of files: what is used stays, what nobody needs goes, and there is a bound.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use callsheet_actors::{Engine, EngineError, Keeping, Submit};
use callsheet_engine::{Phase, Timestamp};
use callsheet_storage::{Artifact, Digest, JobStatus, Terms};
use serde_json::json;

use crate::kept::{MAKE, World, builder, ended, engine, fleeting, put_stray, text};
use crate::world::{eventually, failure, output, until_running};

/// No results are kept, so that nothing but jobs keeps files.
fn bare() -> Keeping {
    Keeping { cache: false, ..fleeting() }
}

/// Sweeps until the clock has moved on.
async fn sweep(engine: &Engine) {
    for _ in 0..3 {
        engine.sweep().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Sweeps until these are gone: the actor of a job that has ended goes a moment after it.
async fn until_swept(engine: &Engine, texts: &[&str]) {
    for _ in 0..3_000 {
        sweep(engine).await;
        if !texts.iter().any(|text| has(engine, text)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left: Vec<_> = texts.iter().filter(|text| has(engine, text)).collect();
    panic!("never swept: {left:?}");
}

/// Waits until the actors of jobs that have ended are gone, and use no file any more.
async fn until_idle(engine: &Engine) {
    eventually("all actors are gone", || engine.stats().jobs_active == 0).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn has(engine: &Engine, bytes: &str) -> bool {
    engine.artifacts().contains(&Digest::of(bytes.as_bytes()))
}

#[tokio::test]
async fn files_of_an_ended_job_stay_for_its_retention() {
    let engine = engine(&Arc::default(), bare()).await;
    let hour = Some(Duration::from_secs(3_600));
    ended(&engine, text("none")).await;
    ended(&engine, text("hour").retention(hour)).await;
    ended(&engine, text("ever").retention(None)).await;
    // The same content in two jobs stays for the longer of their times, in either order.
    ended(&engine, text("both").retention(hour)).await;
    ended(&engine, text("both")).await;
    until_swept(&engine, &["none"]).await;
    let there = ["none", "hour", "ever", "both"].map(|it| has(&engine, it));
    assert_eq!(there, [false, true, true, true]);
    let stats = engine.stats().files;
    assert_eq!((stats.swept, stats.swept_bytes, stats.bytes), (1, 4, 12));
}

#[tokio::test]
async fn nothing_has_an_end_unless_somebody_says_so() {
    let keeping = Keeping { grace: Duration::ZERO, ..Keeping::default() };
    let engine = engine(&Arc::default(), keeping).await;
    ended(&engine, text("one")).await;
    engine.artifacts().put_bytes(b"upload").unwrap();
    sweep(&engine).await;
    assert!(has(&engine, "one") && has(&engine, "upload"));
}

#[tokio::test]
async fn a_retention_counts_from_the_end_of_the_job() {
    let world = Arc::new(World::default());
    let engine = engine(&world, bare()).await;
    let input = json!({ "text": "one", "waits": true });
    // Ends are rounded up to a part of the time; this one is less than the sleep below.
    let submit = Submit::named("test", input).retention(Some(Duration::from_secs(1)));
    let job = engine.submit(submit).await.unwrap().job;
    eventually("it works", || has(&engine, "one")).await;
    let store = engine.artifacts().clone();
    let end = |digest: &Digest| std::fs::metadata(store.path(digest)).unwrap().modified().unwrap();
    let digest = Digest::of(b"one");
    let put = end(&digest);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.go.notify_one();
    let view = job.wait().await.unwrap();
    let Phase::Ended { at, .. } = view.state.phase else { panic!("it has not ended") };
    let kept = end(&digest);
    assert!(kept > put);
    let since = kept.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let until = Timestamp(i64::try_from(since).unwrap());
    // The term is written before the end is recorded, in the turn that decides on it.
    assert!(until.0 + 1 >= at.0 + 1_000, "{until:?} {at:?}");
}

#[tokio::test]
async fn what_a_live_job_uses_stays_whatever_its_retention_is() {
    let world = Arc::new(World::default());
    let asleep = "
name: asleep
steps:
  - { id: a, uses: make, with: { text: '{{ input.text }}' } }
  - { id: t, sleep: 1h, needs: [a] }
  - { id: b, uses: read, needs: [t], with: { file: '{{ steps.a }}' } }";
    let napping = asleep.replace("name: asleep", "name: napping").replace("sleep: 1h", "uses: nap");
    let builder = builder(&world, 1).in_memory().keeping(bare());
    let engine = builder.workflow(MAKE).workflow(asleep).workflow(napping).open().await.unwrap();
    // One whose body has made a file and has not come to its end; one that works on; one that
    // sleeps and has no actor.
    let body = Submit::named("test", json!({ "text": "body", "waits": true }));
    let body = engine.submit(body).await.unwrap().job;
    let works = engine.submit(Submit::named("napping", json!({ "text": "works" }))).await.unwrap();
    let sleeps = engine.submit(Submit::named("asleep", json!({ "text": "sleeps" }))).await.unwrap();
    // And one that has a file among its input.
    let stray = put_stray(engine.artifacts(), b"input");
    let input = json!({ "text": "other", "file": stray });
    let named = engine.submit(Submit::named("napping", input)).await.unwrap();
    until_running(&works.job, "t").await;
    until_running(&sleeps.job, "t").await;
    until_running(&named.job, "t").await;
    eventually("the body has made its file", || has(&engine, "body")).await;
    eventually("the sleeper has no actor", || engine.stats().jobs_active == 3).await;
    sweep(&engine).await;
    for text in ["body", "works", "sleeps", "input", "other"] {
        assert!(has(&engine, text), "`{text}` was swept under a live job");
    }
    world.go.notify_one();
    assert_eq!(body.wait().await.unwrap().head.status, JobStatus::Succeeded);
    for job in [works.job, sleeps.job, named.job] {
        job.cancel(None).await.unwrap();
        job.wait().await.unwrap();
    }
    until_swept(&engine, &["body", "works", "sleeps", "input", "other"]).await;
}

#[tokio::test]
async fn the_output_of_a_child_stays_until_its_parent_has_recorded_it() {
    let (dir, world) = (tempfile::tempdir().unwrap(), Arc::new(World::default()));
    let builder = || {
        let builder = builder(&world, 1).data_dir(dir.path()).keeping(bare());
        let builder = builder.drain_grace(Duration::from_secs(1)).workflow(
            "{ name: maker, steps: [{ id: a, uses: make, with: '{{ input }}' }], \
               output: '{{ steps.a }}' }",
        );
        builder.workflow("{ name: busy, steps: [{ id: a, uses: nap }] }").workflow(
            "{ name: parent, steps: [{ id: c, uses: workflow.run, \
               with: { workflow: maker, input: { text: made, waits: true } } }] }",
        )
    };
    let engine = builder().open().await.unwrap();
    let submit = |workflow| engine.submit(Submit::named(workflow, json!({})));
    let busy = submit("busy").await.unwrap().job.id();
    let parent = submit("parent").await.unwrap().job.id();
    eventually("the child is at work", || has(&engine, "made")).await;
    // The parent gives its wait back, and the child has time to come to its end.
    let stops = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shutdown().await }
    });
    eventually("nobody waits for the child", || engine.stats().attempts_open == 2).await;
    world.go.notify_one();
    stops.await.unwrap();
    drop(engine);
    // The parent waits for a place.
    let engine = builder().max_active_jobs(1).open().await.unwrap();
    sweep(&engine).await;
    assert!(has(&engine, "made"));
    engine.job(busy).cancel(None).await.unwrap();
    let view = engine.job(parent).wait().await.unwrap();
    assert_eq!(output(&view, "c")["output"]["artifact"], json!(Digest::of(b"made")));
    assert_eq!(world.begun.load(SeqCst), 1);
    assert!(has(&engine, "made"));
    until_swept(&engine, &["made"]).await;
}

#[tokio::test]
async fn a_kept_result_keeps_its_files_until_it_is_forgotten() {
    let world = Arc::new(World::default());
    let engine = engine(&world, fleeting()).await;
    ended(&engine, text("one")).await;
    sweep(&engine).await;
    assert!(has(&engine, "one"));
    ended(&engine, text("one")).await;
    assert_eq!(world.begun.load(SeqCst), 1);
    let small = Keeping { cache_max_bytes: 0, ..fleeting() };
    let engine = crate::kept::engine(&world, small).await;
    ended(&engine, text("two")).await;
    until_swept(&engine, &["two"]).await;
    assert_eq!(engine.stats().files.cache_results, 0);
}

#[tokio::test]
async fn beyond_the_bound_a_step_fails_and_a_job_is_refused_until_there_is_room() {
    let world = Arc::new(World::default());
    let keeping = Keeping { max_bytes: Some(1_000), ..bare() };
    let engine = engine(&world, keeping).await;
    let large = "x".repeat(900);
    let kept = ended(&engine, text(&large).retention(None)).await;
    assert_eq!(kept.head.status, JobStatus::Succeeded);
    let retry = "
name: once
steps: [{ id: a, uses: make, retry: { max_attempts: 1 }, with: '{{ input }}' }]";
    engine.register(retry).unwrap();
    let input = json!({ "text": "y".repeat(101) });
    let refused = ended(&engine, Submit::named("once", input)).await;
    assert_eq!(failure(&refused), "artifact.quota");
    assert_eq!(engine.stats().files.bytes, 900);
    // What fits is put; the content that is there needs no room.
    assert_eq!(ended(&engine, text(&large)).await.head.status, JobStatus::Succeeded);
    let input = json!({ "text": "z".repeat(95) });
    ended(&engine, Submit::named("once", input).retention(None)).await;
    let submit = engine.submit(text("more")).await.map(drop);
    assert_eq!(submit, Err(EngineError::Quota { used: 995, most: 1_000 }));
}

#[tokio::test]
async fn a_submit_that_is_repeated_needs_no_room() {
    let keeping = Keeping { max_bytes: Some(1_000), ..bare() };
    let engine = engine(&Arc::default(), keeping).await;
    let full = || text(&"x".repeat(1_000)).retention(None).idempotency_key("k");
    let first = engine.submit(full()).await.unwrap().job;
    assert_eq!(first.wait().await.unwrap().head.status, JobStatus::Succeeded);
    let again = engine.submit(full()).await.unwrap();
    assert_eq!((again.job.id(), again.is_new), (first.id(), false));
    let other = engine.submit(text("other").idempotency_key("k")).await.err();
    assert_eq!(other, Some(EngineError::KeyReused { job: first.id() }));
    let new = engine.submit(text("other").idempotency_key("other")).await.err();
    assert_eq!(new, Some(EngineError::Quota { used: 1_000, most: 1_000 }));
}

#[tokio::test]
async fn room_is_made_as_often_as_it_can_be() {
    let keeping = Keeping { max_bytes: Some(1_000), ..bare() };
    let engine = engine(&Arc::default(), keeping).await;
    let asked = async |bytes| engine.room_for(bytes).await.map(drop).map_err(|it| it.code());
    for n in 0..4 {
        assert_eq!(asked(600).await, Ok(()), "{n}");
        put_stray(engine.artifacts(), &[n; 600]);
        // Its time is over once the clock has moved on.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A sweep looks at every file: what one has just failed to make is not asked of another.
    let hold = Arc::new(engine.artifacts().hold());
    let terms = Terms { hold: Some(hold.clone()), keep_for: Some(Duration::ZERO) };
    let held = engine.artifacts().under(terms);
    assert!(held.prolong(&Digest::of(&[3; 600])).unwrap());
    let sweeps = || engine.stats().files.sweeps;
    let before = sweeps();
    for _ in 0..5 {
        assert_eq!(asked(600).await, Err("artifact.quota"));
    }
    assert_eq!(sweeps(), before + 1);
    drop((held, hold));
    assert_eq!(asked(500).await, Ok(()), "it is less than what there was none for");
}

#[tokio::test]
async fn a_job_that_follows_one_that_was_taken_needs_no_room_of_its_own() {
    let engine = engine(&Arc::default(), bare()).await;
    let first = ended(&engine, text("one").retention(None)).await;
    engine.artifacts().set_max_bytes(Some(1));
    let refused = engine.submit(text("two")).await.map(drop);
    assert_eq!(refused, Err(EngineError::Quota { used: 3, most: 1 }));
    let follower = engine.follow(first.head.id, text("one")).await.unwrap().job;
    assert_eq!(follower.wait().await.unwrap().head.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_key_gives_the_same_job_whatever_the_engine_is_told_of_files_since() {
    let dir = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    let open = |retention| {
        let keeping = Keeping { retention, ..bare() };
        builder(&world, 1).data_dir(dir.path()).keeping(keeping).workflow(MAKE).open()
    };
    let hour = Some(Duration::from_secs(3_600));
    let asked = [text("a"), text("b").retention(hour), text("c").retention(None)];
    let keyed = || asked.clone().into_iter().zip(["a", "b", "c"]);
    let mut given = Vec::new();
    for retention in [None, Some(Duration::from_secs(7)), hour] {
        let engine = open(retention).await.unwrap();
        for (n, (submit, key)) in keyed().enumerate() {
            let submitted = engine.submit(submit.idempotency_key(key)).await;
            let id = submitted.unwrap_or_else(|error| panic!("{key}: {error}")).job.id();
            match given.get(n) {
                Some(before) => assert_eq!(id, *before, "{key} {retention:?}"),
                None => given.push(id),
            }
        }
        // What is asked for counts, also where it comes to the same.
        for (other, key) in [
            (text("a").retention(hour), "a"),
            (text("a").retention(None), "a"),
            (text("a").no_cache(), "a"),
            (text("b"), "b"),
            (text("c"), "c"),
        ] {
            let refused = engine.submit(other.idempotency_key(key)).await.map(drop);
            assert!(matches!(refused, Err(EngineError::KeyReused { .. })), "{key} {refused:?}");
        }
        engine.shutdown().await;
    }
}

#[tokio::test]
async fn for_room_a_sweep_is_made_and_kept_results_are_forgotten() {
    let world = Arc::new(World::default());
    let keeping = Keeping { max_bytes: Some(1_000), ..fleeting() };
    let engine = engine(&world, keeping).await;
    for n in 0..3_u8 {
        // Each fits only when a result of before, whose job has ended, makes room.
        let large = char::from(b'a' + n).to_string().repeat(600);
        let view = ended(&engine, text(&large)).await;
        assert_eq!(view.head.status, JobStatus::Succeeded, "{n}: {view:?}");
        until_idle(&engine).await;
    }
    assert!(engine.stats().files.cache_forgotten >= 2);
}

#[tokio::test]
async fn the_files_of_an_input_have_the_term_of_the_job_from_the_submit_on() {
    let engine = engine(&Arc::default(), bare()).await;
    engine.register("{ name: nap, steps: [{ id: a, uses: nap }] }").unwrap();
    let file = put_stray(engine.artifacts(), b"input");
    let later = std::time::SystemTime::now() + Duration::from_secs(1_800);
    assert_eq!(engine.artifacts().due(later).unwrap().len(), 1);
    let url = format!("http://elsewhere/v1/artifacts/{}?name=a", file.artifact);
    let submit = Submit::named("nap", json!({ "from": url }));
    let hour = Some(Duration::from_secs(3_600));
    let job = engine.submit(submit.retention(hour)).await.unwrap().job;
    assert_eq!(engine.artifacts().due(later).unwrap(), []);
    job.cancel(None).await.unwrap();
}

#[tokio::test]
async fn what_was_there_at_the_submit_is_there_for_the_job() {
    let engine = engine(&Arc::default(), bare()).await;
    let read = "
name: reader
steps: [{ id: b, uses: read, with: { file: '{{ input.file }}' } }]
output: '{{ steps.b }}'";
    engine.register(read).unwrap();
    let sweeper = {
        let engine = engine.clone();
        tokio::spawn(async move {
            loop {
                engine.sweep().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let (mut kept, mut gone) = (0, 0);
    for n in 0..150_u32 {
        let bytes = format!("old {n}");
        let file: Artifact = put_stray(engine.artifacts(), bytes.as_bytes());
        let job = engine.submit(Submit::named("reader", json!({ "file": file }))).await.unwrap();
        let was_there = has(&engine, &bytes);
        let view = job.job.wait().await.unwrap();
        match view.head.status {
            JobStatus::Succeeded => kept += 1,
            _ => gone += 1,
        }
        let expected = if was_there { JobStatus::Succeeded } else { JobStatus::Failed };
        assert_eq!(view.head.status, expected, "{n}");
    }
    sweeper.abort();
    assert!(kept > 0, "{kept} {gone}");
}

#[tokio::test]
async fn a_verification_and_a_backup_do_not_miss_what_was_swept() {
    use callsheet_storage::maintenance::{VerifyOptions, verify};
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(&Arc::default(), 1).data_dir(dir.path()).keeping(bare());
    let engine = builder.workflow(MAKE).open().await.unwrap();
    ended(&engine, text("gone")).await;
    ended(&engine, text("kept").retention(None)).await;
    until_swept(&engine, &["gone"]).await;
    assert!(has(&engine, "kept"));
    let kept = engine.artifacts().path(&Digest::of(b"kept"));
    let artifacts = engine.artifacts().clone();
    engine.stop_now().await;
    drop(engine);
    let store = callsheet_storage::SledStore::open(dir.path()).unwrap();
    let options = || VerifyOptions { artifacts: true, progress: Arc::new(|_, _, _| {}) };
    let found = verify(&store, artifacts.clone(), options()).await.unwrap();
    assert_eq!((found.faults.as_slice(), found.artifacts), (&[][..], 1));
    // What is promised is missed all the same.
    std::fs::remove_file(kept).unwrap();
    let found = verify(&store, artifacts, options()).await.unwrap();
    assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
}

/// Jobs that share contents, make, recall and read files, while sweeps run without a pause and
/// nothing is kept for a moment longer than it is used.
#[tokio::test]
async fn sweeps_and_jobs_race_and_no_job_misses_a_file() {
    let world = Arc::new(World::default());
    let keeping = Keeping { cache_max_bytes: 40, ..fleeting() };
    let engine = engine(&world, keeping).await;
    let chain = "
name: chain
steps:
  - { id: a, uses: make, for_each: '{{ input.texts }}', with: { text: '{{ item }}' } }
  - { id: n, sleep: 5ms, needs: [a] }
  - id: b
    uses: read
    needs: [n]
    for_each: '{{ steps.a }}'
    with: { file: '{{ item }}' }
output: '{{ steps.b }}'";
    engine.register(chain).unwrap();
    let sweepers: Vec<_> = (0..2)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move {
                loop {
                    engine.sweep().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    let jobs = std::env::var("CALLSHEET_SWEEP_JOBS").ok().and_then(|text| text.parse().ok());
    for round in 0..jobs.unwrap_or(200_u32) / 20 {
        let mut running = Vec::new();
        for n in 0..20 {
            let texts: Vec<String> = (0..3).map(|k| format!("t{}", (round + n * k) % 7)).collect();
            let input = json!({ "texts": texts });
            let job = engine.submit(Submit::named("chain", input)).await.unwrap().job;
            running.push((texts, job));
        }
        for (texts, job) in running {
            let view = job.wait().await.unwrap();
            assert_eq!(view.head.status, JobStatus::Succeeded, "{:?}", view.state.failure());
            assert_eq!(output(&view, "b"), json!(texts));
        }
    }
    eventually("something is swept", || engine.stats().files.swept > 0).await;
    sweepers.iter().for_each(|it| it.abort());
    // A removal that is under way comes to its end.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let counted = engine.artifacts().used_bytes();
    assert_eq!(engine.artifacts().count().unwrap(), counted);
}
