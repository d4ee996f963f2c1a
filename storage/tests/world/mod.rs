//! A small world of jobs in every state, decided by the engine itself, and what a store must answer
//! about them for ever.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test uses its own part

pub mod expected;
pub mod life;
pub mod scripts;

use std::path::Path;

use callsheet_storage::{ArtifactStore, SledStore, Store};

use crate::common::{block_on, open};
use expected::Expected;
use life::Life;
use scripts::Script;

/// Fills a data directory with every job of [`scripts::all`] over several openings, as the death of
/// a process leaves it, and answers with what must be read of it.
pub fn fill(dir: &Path) -> Expected {
    fill_with(dir, &scripts::all())
}

/// The same with jobs of one's own choice.
pub fn fill_with(dir: &Path, scripts: &[Script]) -> Expected {
    let artifacts = ArtifactStore::open(dir.join("artifacts")).unwrap();
    let film = scripts::film();
    assert_eq!(artifacts.put_bytes(film.as_bytes()).unwrap(), scripts::film_reference().artifact);
    // Half of each life before a restart, the other half after it.
    let mut lives = Vec::new();
    let store = open(dir);
    block_on(async {
        for script in scripts {
            let mut life = Life::begin(&store, script).await;
            life.play(&store, &script.before).await;
            lives.push(life);
        }
    });
    close(store);
    let store = open(dir);
    let expected = block_on(async {
        for (life, script) in lives.iter_mut().zip(scripts) {
            life.take_over(&store).await;
            life.play(&store, &script.after).await;
        }
        Expected::capture(&store, scripts).await
    });
    close(store);
    expected
}

/// Closes a store in order.
pub fn close(store: SledStore) {
    block_on(async { assert_eq!(store.close().await, Ok(())) });
}
