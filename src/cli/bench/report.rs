//! What a measurement has found, as JSON and as a table.

use serde::Serialize;
use serde_json::{Map, Value};

use super::broken;
use crate::cli::error::Result;
use crate::cli::print;

/// The figures of one measurement. The fields up to `ratio_to_bare_log` are the same for every job;
/// what has no meaning for a job is absent there (`null`).
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was measured.
    pub(crate) job: String,
    /// Jobs at once.
    pub(crate) concurrency: usize,
    pub(crate) jobs_per_s: Option<f64>,
    pub(crate) steps_per_s: Option<f64>,
    /// Median of the time of one job.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Processor time of the whole process.
    pub(crate) cpu_ms_per_job: Option<f64>,
    /// Resident memory, before the bare store and log were begun.
    pub(crate) rss_mib: Option<f64>,
    /// Growth of the data directory on the disk.
    pub(crate) bytes_per_step: Option<f64>,
    /// Waits for stable storage; one wait serves all that share it.
    pub(crate) flushes_per_step: Option<f64>,
    /// Durable records a second, as a share of what the store does without an engine.
    pub(crate) ratio_to_bare_store: Option<f64>,
    /// Durable records a second, as a share of what an append-only file does.
    pub(crate) ratio_to_bare_log: Option<f64>,
    /// What else there is to know, by name.
    pub(crate) detail: Map<String, Value>,
}

impl Report {
    /// Adds a figure of this job's own.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let value =
            value.as_f64().filter(|_| value.is_f64()).map_or(value, |it| rounded(it).into());
        self.detail.insert(name.to_owned(), value);
    }

    /// As one JSON object, on one line.
    ///
    /// # Errors
    /// Never with figures that are numbers.
    pub(crate) fn json(&self) -> Result<String> {
        let of = |error| broken("the report", error);
        let mut value = serde_json::to_value(self).map_err(of)?;
        for figure in value.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
            if let Some(number) = figure.as_f64().filter(|_| figure.is_f64()) {
                *figure = rounded(number).into();
            }
        }
        Ok(value.to_string())
    }

    /// As a table for people.
    pub(crate) fn table(&self) -> String {
        let figures = [
            ("jobs a second", self.jobs_per_s),
            ("steps a second", self.steps_per_s),
            ("p50, ms", self.p50_ms),
            ("p99, ms", self.p99_ms),
            ("processor time a job, ms", self.cpu_ms_per_job),
            ("memory, MiB", self.rss_mib),
            ("bytes on disk a step", self.bytes_per_step),
            ("flushes a step", self.flushes_per_step),
            ("share of the bare store", self.ratio_to_bare_store),
            ("share of the bare log", self.ratio_to_bare_log),
        ];
        let common = figures
            .into_iter()
            .filter_map(|(name, figure)| Some(vec![name.to_owned(), rounded(figure?).to_string()]));
        let own = self.detail.iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            vec![name.replace('_', " "), text]
        });
        let rows: Vec<_> = common.chain(own).collect();
        let what = format!("{}, {} at once", self.job, self.concurrency);
        print::table(&[&what, ""], &[1], &rows)
    }
}

/// Four digits that count: more is noise.
fn rounded(figure: f64) -> f64 {
    if figure == 0.0 || !figure.is_finite() {
        return 0.0;
    }
    let digits = 3 - figure.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.max(0));
    (figure * scale).round() / scale
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits() {
        let table = [
            (0.0, 0.0),
            (f64::NAN, 0.0),
            (123_456.7, 123_457.0),
            (1.234_56, 1.235),
            (0.001_234_56, 0.001_235),
            (99.999, 100.0),
        ];
        for (figure, expected) in table {
            assert!((rounded(figure) - expected).abs() < 1e-12, "{figure}");
        }
    }

    #[test]
    fn figures_are_rounded_and_the_table_has_what_is_known() {
        let mut report = Report { job: "chain10".into(), concurrency: 16, ..Report::default() };
        report.p50_ms = Some(1.234_56);
        report.note("file_system", "ext4");
        report.note("records_per_job", 12.000_01);
        let value: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(value["p50_ms"], 1.235);
        assert!(value["p99_ms"].is_null());
        assert_eq!(value["detail"]["records_per_job"], 12.0);
        let table = report.table();
        assert!(table.starts_with("chain10, 16 at once"), "{table}");
        assert!(table.contains("p50, ms") && !table.contains("p99, ms"), "{table}");
        assert!(table.contains("file system") && table.contains("ext4"), "{table}");
    }
}
