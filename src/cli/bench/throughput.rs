//! Jobs, or submits, as fast as they go: the engine, the bare store and the bare log in turns.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use callsheet::{Engine, StoreStats};

use super::bare_log;
use super::bare_store::{BareStore, Script};
use super::door::{Door, Over};
use super::load::{self, Done};
use super::meter;
use super::place::Place;
use super::repertoire::{self, Piece, SINGLE};
use super::report::Report;
use crate::cli::error::{CliError, Result};

/// Turns of engine, store and log: whatever else the machine does meets them all.
const ROUNDS: u32 = 3;

/// The engine is warmed up for this share of its time.
const WARM_UP_SHARE: u32 = 5;

/// The bare store and the bare log get this share of the engine's time each.
const BARE_SHARE: u32 = 3;

/// What to measure, and how long.
pub(crate) struct Asked {
    /// The name that it was asked for by.
    pub(crate) name: String,
    /// Jobs at once.
    pub(crate) jobs: usize,
    /// Time for the engine.
    pub(crate) time: Duration,
}

/// Jobs of a piece from submit to their durable end.
///
/// # Errors
/// When the engine or the disk fails.
pub(crate) async fn closed_loop(piece: &Piece, asked: &Asked, place: &Place) -> Result<Report> {
    let subject = Subject::open(place).await?;
    let script = Script::of(&subject.engine, piece).await?;
    subject.run(piece, asked.jobs, asked.time / WARM_UP_SHARE).await?;
    let mut of_engine = Part::default();
    let mut beside = Beside::new(place, script, asked);
    for _ in 0..ROUNDS {
        let meter = subject.start();
        let done = subject.run(piece, asked.jobs, asked.time / ROUNDS).await?;
        of_engine.add(done, subject.stop(&meter));
        beside.round(of_engine.bytes_per_record()).await?;
    }
    subject.engine.stop_now().await;
    let records = beside.script.records() as f64;
    let mut report = of_engine.report(piece, asked, records);
    beside.close(&mut report, of_engine.per_second() * records).await;
    place.describe(&mut report);
    Ok(report)
}

/// Submits, answered when they are durable. The jobs run behind them, as they do in life.
///
/// # Errors
/// When the engine or the disk fails.
pub(crate) async fn submits(over: Over, asked: &Asked, place: &Place) -> Result<Report> {
    let subject = Subject::open(place).await?;
    let door = Door::open(over, &subject.engine).await?;
    let script = Script::of(&subject.engine, &SINGLE).await?.accepted();
    subject.submit(&door, asked.jobs, asked.time / WARM_UP_SHARE).await?;
    let mut of_engine = Part::default();
    let ended = subject.engine.stats().jobs_succeeded;
    let meter = subject.start();
    let done = subject.submit(&door, asked.jobs, asked.time).await?;
    of_engine.add(done, subject.stop(&meter));
    let ended = subject.engine.stats().jobs_succeeded - ended;
    // What was accepted would run on beside the others; it is not what is measured here.
    subject.engine.stop_now().await;
    let mut beside = Beside::new(place, script, asked);
    for _ in 0..ROUNDS {
        beside.round(of_engine.bytes_per_record()).await?;
    }
    let mut report = of_engine.report(&SINGLE, asked, 1.0);
    report.steps_per_s = Some(ended as f64 / asked.time.as_secs_f64());
    report.note("jobs_ended_meanwhile", ended);
    report.note("over", over.name());
    beside.close(&mut report, of_engine.per_second()).await;
    place.describe(&mut report);
    Ok(report)
}

/// The engine under measurement.
pub(crate) struct Subject {
    engine: Engine,
    dir: PathBuf,
}

/// What had been spent at an instant.
pub(crate) struct Meter {
    store: StoreStats,
    cpu: Duration,
    disk: u64,
}

impl Subject {
    /// Opens one in the place.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        let dir = place.join("engine");
        let opened = repertoire::builder().data_dir(&dir).open().await;
        let engine = opened.map_err(|error| CliError::from(error).exit_with_engine())?;
        Ok(Self { engine, dir })
    }

    /// The engine itself.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What a job of a piece records.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) async fn script(&self, piece: &Piece) -> Result<Script> {
        Script::of(&self.engine, piece).await
    }

    /// What a job of a piece records that sleeps in the end.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) async fn script_of_a_sleeper(&self, piece: &Piece) -> Result<Script> {
        Script::of_a_sleeper(&self.engine, piece).await
    }

    /// One job of a piece.
    ///
    /// # Errors
    /// When it does not end as it should.
    pub(crate) async fn once(&self, piece: &Piece) -> Result<Done> {
        let since = Instant::now();
        to_its_end(&self.engine, piece).await?;
        Ok(Done::one(since.elapsed()))
    }

    /// Lets go of it.
    pub(crate) async fn close(self) {
        self.engine.stop_now().await;
    }

    async fn run(&self, piece: &Piece, at_once: usize, time: Duration) -> Result<Done> {
        let (engine, piece) = (self.engine.clone(), *piece);
        let one = move || {
            let engine = engine.clone();
            async move { to_its_end(&engine, &piece).await }
        };
        load::keep(at_once, time, one).await
    }

    async fn submit(&self, door: &Door, at_once: usize, time: Duration) -> Result<Done> {
        let (engine, door) = (self.engine.clone(), door.clone());
        let one = move || {
            let (engine, door) = (engine.clone(), door.clone());
            async move { door.submit(&engine).await }
        };
        load::keep(at_once, time, one).await
    }

    /// Begins to measure what is spent.
    pub(crate) fn start(&self) -> Meter {
        Meter {
            store: self.engine.stats().store,
            cpu: meter::cpu_time(),
            disk: meter::bytes_on_disk(&self.dir),
        }
    }

    /// What was spent since then.
    pub(crate) fn stop(&self, since: &Meter) -> Cost {
        let (now, store) = (self.start(), since.store);
        Cost {
            records: now.store.records - store.records,
            flushes: now.store.flushes - store.flushes,
            keys: now.store.keys - store.keys,
            bytes: now.store.bytes - store.bytes,
            cpu: now.cpu.saturating_sub(since.cpu),
            disk: now.disk.saturating_sub(since.disk),
        }
    }
}

/// Submits a job and waits for its durable end.
async fn to_its_end(engine: &Engine, piece: &Piece) -> Result<()> {
    let view = engine.submit(piece.job()).await?.job.wait().await?;
    match view.state.output() {
        Some(_) => Ok(()),
        None => Err(super::broken("a job", view.head.status.as_str())),
    }
}

/// What some rounds have cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    records: u64,
    flushes: u64,
    keys: u64,
    bytes: u64,
    cpu: Duration,
    disk: u64,
}

/// The engine's part of a measurement.
#[derive(Default)]
pub(crate) struct Part {
    done: Done,
    cost: Cost,
    rss_mib: Option<f64>,
}

impl Part {
    /// Size of the record that the bare log writes as often as the engine writes one.
    pub(crate) fn bytes_per_record(&self) -> usize {
        usize::try_from(self.cost.bytes / self.records().max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Records that were made durable.
    pub(crate) fn records(&self) -> u64 {
        self.cost.records
    }

    /// Jobs a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.done.per_second()
    }

    /// Takes one more round.
    pub(crate) fn add(&mut self, done: Done, cost: Cost) {
        self.done.add(done);
        let before = self.cost;
        self.cost = Cost {
            records: before.records + cost.records,
            flushes: before.flushes + cost.flushes,
            keys: before.keys + cost.keys,
            bytes: before.bytes + cost.bytes,
            cpu: before.cpu + cost.cpu,
            disk: before.disk + cost.disk,
        };
        // After the first round: the bare store that comes next has a cache of its own.
        self.rss_mib.get_or_insert_with(meter::resident_mib);
    }

    /// The figures; `records` is what counts of one job beside the bare store and the bare log.
    pub(crate) fn report(&self, piece: &Piece, asked: &Asked, records: f64) -> Report {
        let jobs = self.done.count().max(1) as f64;
        let steps = jobs * piece.steps as f64;
        let [p50, p99] = self.done.latencies.percentiles_ms([50.0, 99.0]);
        let mut report = Report {
            job: asked.name.clone(),
            concurrency: asked.jobs,
            jobs_per_s: Some(self.done.per_second()),
            steps_per_s: Some(self.done.per_second() * piece.steps as f64),
            p50_ms: Some(p50),
            p99_ms: Some(p99),
            cpu_ms_per_job: Some(self.cost.cpu.as_secs_f64() * 1e3 / jobs),
            rss_mib: self.rss_mib,
            bytes_per_step: Some(self.cost.disk as f64 / steps),
            flushes_per_step: Some(self.cost.flushes as f64 / steps),
            ..Report::default()
        };
        report.note("jobs_done", self.done.count());
        report.note("records_per_s", self.done.per_second() * records);
        report.note("records_per_job", self.cost.records as f64 / jobs);
        report.note("keys_per_job", self.cost.keys as f64 / jobs);
        let flushes = self.cost.flushes.max(1) as f64;
        report.note("records_per_flush", self.cost.records as f64 / flushes);
        report.note("bytes_per_record", self.bytes_per_record());
        report
    }
}

/// The bare store and the bare log, measured in the same run.
pub(crate) struct Beside<'a> {
    place: &'a Place,
    script: Script,
    store: Option<BareStore>,
    jobs: usize,
    time: Duration,
    of_store: Done,
    of_appends: Done,
    of_log: Done,
}

impl<'a> Beside<'a> {
    /// Nothing measured yet.
    pub(crate) fn new(place: &'a Place, script: Script, asked: &Asked) -> Self {
        let time = asked.time / ROUNDS / BARE_SHARE;
        let jobs = asked.jobs;
        let (of_store, of_appends, of_log) = (Done::default(), Done::default(), Done::default());
        Self { place, script, store: None, jobs, time, of_store, of_appends, of_log }
    }

    /// One turn of each, with records of so many bytes for the log.
    ///
    /// # Errors
    /// When one of them fails.
    pub(crate) async fn round(&mut self, bytes: usize) -> Result<()> {
        let store = match self.store.take() {
            Some(store) => store,
            None => {
                let store = BareStore::open(self.place).await?;
                store.measure(&self.script, self.jobs, self.time / WARM_UP_SHARE).await?;
                store
            }
        };
        self.of_store.add(store.measure(&self.script, self.jobs, self.time).await?);
        if self.script.records() > 1 {
            let appends = store.measure_appends(&self.script, self.jobs, self.time);
            self.of_appends.add(appends.await?);
        }
        self.store = Some(store);
        self.of_log.add(bare_log::measure(self.place, self.jobs, bytes, self.time).await?);
        Ok(())
    }

    /// All rounds, and the ratios for so many records a second of the engine's.
    ///
    /// # Errors
    /// When one of them fails.
    pub(crate) async fn all(
        mut self,
        report: &mut Report,
        records_per_s: f64,
        bytes: usize,
    ) -> Result<()> {
        for _ in 0..ROUNDS {
            self.round(bytes).await?;
        }
        self.close(report, records_per_s).await;
        Ok(())
    }

    /// Adds the ratios to a report, for so many records a second of the engine's.
    pub(crate) async fn close(self, report: &mut Report, records_per_s: f64) {
        if let Some(store) = self.store {
            store.close().await;
        }
        let of_store = self.of_store.per_second() * self.script.records() as f64;
        let of_log = self.of_log.per_second();
        let share = |of: f64| (of > 0.0).then(|| records_per_s / of);
        report.ratio_to_bare_store = share(of_store);
        report.ratio_to_bare_log = share(of_log);
        report.note("bare_store_records_per_s", of_store);
        report.note("bare_log_records_per_s", of_log);
        let [p50] = self.of_store.latencies.percentiles_ms([50.0]);
        report.note("bare_store_job_p50_ms", p50);
        // What was not measured is not nought.
        let of_appends = self.of_appends.per_second();
        if of_appends > 0.0 {
            report.note("bare_store_appends_per_s", of_appends);
        }
        if of_appends > 0.0 && of_log > 0.0 {
            report.note("ratio_of_appends_to_bare_log", of_appends / of_log);
        }
        if of_log > 0.0 {
            report.note("ratio_of_bare_store_to_bare_log", of_store / of_log);
        }
    }
}

impl Place {
    /// Says where it was measured.
    pub(crate) fn describe(&self, report: &mut Report) {
        report.note("directory", self.parent().display().to_string());
        report.note("file_system", self.file_system.clone());
        report.note("fdatasync_ms", self.sync.as_secs_f64() * 1e3);
        report.note("cores", std::thread::available_parallelism().map_or(1, usize::from));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(name: &str, jobs: usize) -> Asked {
        Asked { name: name.into(), jobs, time: Duration::from_millis(300) }
    }

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::find(Some(dir.path())).unwrap();
        (dir, place)
    }

    fn is_sane(report: &Report) {
        let figures = [
            report.jobs_per_s,
            report.steps_per_s,
            report.p50_ms,
            report.p99_ms,
            report.cpu_ms_per_job,
            report.rss_mib,
            report.flushes_per_step,
            report.ratio_to_bare_store,
            report.ratio_to_bare_log,
        ];
        for figure in figures {
            assert!(figure.is_some_and(|figure| figure.is_finite() && figure > 0.0), "{report:?}");
        }
        assert!(report.bytes_per_step.is_some_and(|bytes| bytes >= 0.0), "{report:?}");
        assert!(report.p99_ms >= report.p50_ms, "{report:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn jobs_are_measured() {
        for (piece, jobs) in [(repertoire::CHAIN10, 4), (repertoire::FAN100, 1)] {
            let (_dir, place) = place();
            let report = closed_loop(&piece, &asked(piece.name, jobs), &place).await.unwrap();
            is_sane(&report);
            assert_eq!((report.job.as_str(), report.concurrency), (piece.name, jobs));
            let steps = report.steps_per_s.unwrap() / report.jobs_per_s.unwrap();
            assert!((steps - piece.steps as f64).abs() < 1e-6, "{report:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn submits_are_measured() {
        for over in [Over::Embedded, Over::Http] {
            let (_dir, place) = place();
            let report = submits(over, &asked("submit", 8), &place).await.unwrap();
            is_sane(&report);
            assert!(report.detail["jobs_ended_meanwhile"].is_u64(), "{report:?}");
            assert_eq!(report.detail["over"], over.name());
        }
    }
}
