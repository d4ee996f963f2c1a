//! One job with very many items: what one item costs, and whether that stays the same.

use std::time::Instant;

use serde_json::json;

use super::broken;
use super::place::Place;
use super::repertoire::Piece;
use super::report::Report;
use super::throughput::{Asked, Beside, Part, Subject};
use crate::cli::error::Result;

/// Each size is so many times the one before it.
const GROWTH: usize = 10;

/// Sizes that are measured, the largest included.
const SIZES: u32 = 4;

/// Items of the job whose records the bare store writes.
const SCRIPT_ITEMS: usize = 1_000;

/// Jobs of growing size, one at a time; the figures are those of the largest.
///
/// # Errors
/// When the engine or the disk fails.
pub(crate) async fn measure(items: usize, asked: &Asked, place: &Place) -> Result<Report> {
    let subject = Subject::open(place).await?;
    let script = subject.script(&Piece::fan(items.min(SCRIPT_ITEMS))).await?;
    let mut of_engine = Part::default();
    let mut costs = Vec::new();
    let mut sizes: Vec<usize> = (0..SIZES).map(|n| items / GROWTH.pow(n)).collect();
    sizes.retain(|size| *size > 0);
    for size in sizes.iter().rev() {
        let (piece, meter, since) = (Piece::fan(*size), subject.start(), Instant::now());
        let done = subject.once(&piece).await?;
        let micros = since.elapsed().as_secs_f64() * 1e6 / *size as f64;
        costs.push((*size, micros));
        of_engine = Part::default();
        of_engine.add(done, subject.stop(&meter));
    }
    subject.close().await;
    let piece = Piece::fan(items);
    let mut report = of_engine.report(&piece, asked, of_engine.records() as f64);
    let mut beside = Beside::new(place, script, asked);
    beside.round(of_engine.bytes_per_record()).await?;
    beside.close(&mut report, of_engine.per_second() * of_engine.records() as f64).await;
    report.note("items", items);
    let by_size = costs.iter().map(|(size, micros)| json!({ "items": size, "us": micros.round() }));
    report.note("us_per_item", by_size.collect::<Vec<_>>());
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else {
        return Err(broken("the fan-out", "it has no items"));
    };
    report.note("us_per_item_of_the_largest_to_the_smallest", last.1 / first.1);
    place.describe(&mut report);
    Ok(report)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn sizes_grow_and_each_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::find(Some(dir.path())).unwrap();
        let time = Duration::from_millis(100);
        let asked = Asked { name: "fan100k".into(), jobs: 1, time };
        let report = measure(50, &asked, &place).await.unwrap();
        let costs = report.detail["us_per_item"].as_array().unwrap();
        let sizes: Vec<_> = costs.iter().map(|cost| cost["items"].as_u64().unwrap()).collect();
        assert_eq!(sizes, [5, 50]);
        assert!(costs.iter().all(|cost| cost["us"].as_f64().unwrap() > 0.0), "{report:?}");
        assert!(report.steps_per_s.unwrap() > report.jobs_per_s.unwrap());
        assert!(report.ratio_to_bare_store.unwrap() > 0.0, "{report:?}");
    }
}
