//! Figures for `/metrics`: those of the engine, read when somebody asks, and those of the requests.
//!
//! The meter is a value of the router, not of the process, so two engines in one process have
//! figures of their own.

use std::sync::Arc;
use std::time::Duration;

use callsheet_actors::{Engine, Stats};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::sync::Semaphore;

use crate::limits::MAX_STREAMS_COUNT;

/// Bounds of the buckets of request durations, in seconds: from a list of jobs in memory to the
/// longest wait.
const DURATION_SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0];

/// The meter of one router. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Counter<u64>,
    durations: Histogram<f64>,
    /// Its instruments live as long as it does.
    _provider: SdkMeterProvider,
}

impl Metrics {
    pub(crate) fn new(engine: Engine, streams: Arc<Semaphore>) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .expect("a registry that is new takes its first collector");
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("callsheet");
        observe_engine(&meter, &engine);
        meter
            .u64_observable_gauge("callsheet_event_streams_open")
            .with_description("Event streams that are open")
            .with_callback(move |figure| {
                let free = streams.available_permits();
                figure.observe(MAX_STREAMS_COUNT.saturating_sub(free) as u64, &[]);
            })
            .build();
        let requests = meter
            .u64_counter("callsheet_http_requests")
            .with_description("HTTP requests answered")
            .build();
        let durations = meter
            .f64_histogram("callsheet_http_request_duration")
            .with_unit("s")
            .with_description("Time from a request's head to its answer's head")
            .with_boundaries(DURATION_SECONDS.to_vec())
            .build();
        Self(Arc::new(Inner { registry, requests, durations, _provider: provider }))
    }

    /// Counts a request. The route is the pattern that matched, never the path: a label must not
    /// have as many values as there are jobs.
    pub(crate) fn count(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = [
            KeyValue::new("method", method),
            KeyValue::new("route", route.to_owned()),
            KeyValue::new("status", i64::from(status)),
        ];
        self.0.requests.add(1, &labels);
        self.0.durations.record(took.as_secs_f64(), &labels);
    }

    /// All figures in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A counter of the engine: name, help, label (name and value) and where it is found.
type EngineCounter = (&'static str, &'static str, Option<(&'static str, &'static str)>, Pick);
type Pick = fn(&Stats) -> u64;

const ENGINE_COUNTERS: &[EngineCounter] = &[
    ("callsheet_jobs_submitted", "Jobs accepted", None, |s| s.jobs_submitted),
    ("callsheet_jobs_ended", ENDED, Some(("status", "succeeded")), |s| s.jobs_succeeded),
    ("callsheet_jobs_ended", ENDED, Some(("status", "failed")), |s| s.jobs_failed),
    ("callsheet_jobs_ended", ENDED, Some(("status", "cancelled")), |s| s.jobs_cancelled),
    ("callsheet_attempts_started", "Attempts at steps started", None, |s| s.attempts_started),
    ("callsheet_attempts_ended", TRIED, Some(("status", "succeeded")), |s| s.attempts_succeeded),
    ("callsheet_attempts_ended", TRIED, Some(("status", "failed")), |s| s.attempts_failed),
    ("callsheet_attempts_abandoned", "Bodies that did not stop in time", None, |s| {
        s.attempts_abandoned
    }),
    ("callsheet_actor_restarts", "Actors of jobs started again after a death", None, |s| {
        s.actor_restarts
    }),
    ("callsheet_store_commits", "Records made durable", None, |s| s.commits),
    ("callsheet_cache_lookups", LOOKED, Some(("result", "hit")), |s| s.files.cache_hits),
    ("callsheet_cache_lookups", LOOKED, Some(("result", "miss")), |s| s.files.cache_misses),
    ("callsheet_cache_lookups", LOOKED, Some(("result", "joined")), |s| s.files.cache_joined),
    ("callsheet_cache_results_kept", "Results of steps kept", None, |s| s.files.cache_stored),
    ("callsheet_cache_results_forgotten", "Kept results forgotten by sweeps", None, |s| {
        s.files.cache_forgotten
    }),
    ("callsheet_artifact_sweeps", "Sweeps of files", None, |s| s.files.sweeps),
    ("callsheet_artifacts_swept", "Files removed by sweeps", None, |s| s.files.swept),
    ("callsheet_artifact_bytes_swept", "Bytes of files removed by sweeps", None, |s| {
        s.files.swept_bytes
    }),
];

const ENDED: &str = "Jobs that ended";
const TRIED: &str = "Attempts at steps that ended";
const LOOKED: &str = "Attempts that looked for the result of an earlier one";

const ENGINE_GAUGES: &[(&str, &str, Pick)] = &[
    ("callsheet_jobs_active", "Jobs that have an actor", |s| s.jobs_active),
    ("callsheet_attempts_open", "Attempts that are open", |s| s.attempts_open),
    ("callsheet_artifact_bytes", "Bytes of all files", |s| s.files.bytes),
    ("callsheet_artifact_max_bytes", "Most bytes of files, 0 for no bound", |s| s.files.max_bytes),
    ("callsheet_cache_results", "Results kept, as of the last sweep", |s| s.files.cache_results),
    ("callsheet_cache_bytes", "Bytes that kept results hold", |s| s.files.cache_bytes),
];

fn observe_engine(meter: &Meter, engine: &Engine) {
    let mut names: Vec<&'static str> = ENGINE_COUNTERS.iter().map(|counter| counter.0).collect();
    names.dedup();
    for name in names {
        let rows: Vec<&EngineCounter> =
            ENGINE_COUNTERS.iter().filter(|counter| counter.0 == name).collect();
        let help = rows.first().map_or("", |row| row.1);
        let engine = engine.clone();
        meter
            .u64_observable_counter(name)
            .with_description(help)
            .with_callback(move |figure| {
                let stats = engine.stats();
                for (_, _, label, pick) in &rows {
                    let labels: Vec<KeyValue> =
                        label.iter().map(|(name, value)| KeyValue::new(*name, *value)).collect();
                    figure.observe(pick(&stats), &labels);
                }
            })
            .build();
    }
    for (name, help, pick) in ENGINE_GAUGES {
        let engine = engine.clone();
        meter
            .u64_observable_gauge(*name)
            .with_description(*help)
            .with_callback(move |figure| figure.observe(pick(&engine.stats()), &[]))
            .build();
    }
}
