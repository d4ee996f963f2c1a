//! The bare log: one file that grows, one fdatasync for all that waits. Nothing durable can be
//! faster on this disk in this way, so it is the limit that the engine is measured against.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::broken;
use super::load::{self, Done};
use super::place::Place;
use crate::cli::error::{CliError, Result};

/// An append and where to tell that it is durable.
type Append = (usize, oneshot::Sender<()>);

/// Appends of `bytes` each, by so many producers that wait for the disk each time.
///
/// # Errors
/// When the file cannot be written.
pub(crate) async fn measure(
    place: &Place,
    producers: usize,
    bytes: usize,
    time: Duration,
) -> Result<Done> {
    let (queue, appends) = mpsc::channel(producers);
    let path = place.join("log");
    let file = File::create(&path).map_err(|error| CliError::file("make", &path, &error))?;
    let writer = std::thread::spawn(move || write(file, appends));
    let one = move || {
        let queue = queue.clone();
        async move {
            let (reply, durable) = oneshot::channel();
            let gone = || broken("the bare log", "its writer has ended");
            queue.send((bytes, reply)).await.map_err(|_| gone())?;
            durable.await.map_err(|_| gone())
        }
    };
    let done = load::keep(producers, time, one).await;
    // The queue is gone with the producers, so the writer ends.
    let written = tokio::task::spawn_blocking(move || writer.join()).await;
    let _ = std::fs::remove_file(&path);
    match written {
        Ok(Ok(Err(error))) => Err(CliError::file("write", Path::new(&path), &error)),
        _ => done,
    }
}

/// Appends what waits, syncs once, answers all; until nobody can ask any more.
fn write(mut file: File, mut appends: mpsc::Receiver<Append>) -> std::io::Result<()> {
    let mut block = Vec::new();
    let mut answers = Vec::new();
    while let Some(first) = appends.blocking_recv() {
        let mut next = Some(first);
        while let Some((bytes, reply)) = next {
            block.resize(block.len() + bytes, 7);
            answers.push(reply);
            next = appends.try_recv().ok();
        }
        file.write_all(&block)?;
        file.sync_data()?;
        block.clear();
        for reply in answers.drain(..) {
            // A producer that is gone needs no answer.
            let _ = reply.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_append_is_answered_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (queue, appends) = mpsc::channel(4);
        let file = File::create(&path).unwrap();
        let writer = std::thread::spawn(move || write(file, appends));
        for _ in 0..10 {
            let (reply, durable) = oneshot::channel();
            queue.send((100, reply)).await.unwrap();
            durable.await.unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1_000);
        drop(queue);
        writer.join().unwrap().unwrap();
        let place = Place::find(Some(dir.path())).unwrap();
        let done = measure(&place, 4, 100, Duration::from_millis(20)).await.unwrap();
        assert!(done.count() >= 4 && done.per_second() > 0.0);
        assert!(!place.join("log").exists());
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let (queue, appends) = mpsc::channel(1);
        let file = File::options().write(true).open("/dev/full").unwrap();
        let writer = std::thread::spawn(move || write(file, appends));
        let (reply, durable) = oneshot::channel();
        queue.send((100, reply)).await.unwrap();
        assert!(durable.await.is_err(), "nothing is answered that is not written");
        assert!(writer.join().unwrap().is_err());
    }
}
