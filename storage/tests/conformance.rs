//! Both stores keep what every store promises.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use callsheet_storage::{MemoryStore, SledStore, conformance};
use tempfile::TempDir;

async fn open_sled(path: PathBuf) -> SledStore {
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&path)).await;
    opened.expect("opening does not panic").expect("the store opens")
}

fn new_dir() -> TempDir {
    tempfile::tempdir().expect("a directory for a test")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_conforms() {
    conformance::run(|| async { MemoryStore::new() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sled_store_conforms() {
    let (dir, next) = (new_dir(), AtomicU32::new(0));
    conformance::run(|| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        open_sled(dir.path().join(n.to_string()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sled_store_is_durable() {
    conformance::run_durable(new_dir, |dir| open_sled(dir.path().join("data"))).await;
}
