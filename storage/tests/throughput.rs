//! How many records a second a store makes durable. Prints, and promises nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Instant;

use callsheet_storage::{Created, Store};
use common::{block_on, commit, id, new_job, open};

#[test]
#[ignore = "a measurement: run it alone, in a release build"]
fn records_a_second() {
    for producers in [1, 16, 256] {
        let root = tempfile::tempdir_in(".").unwrap();
        let store = Arc::new(open(&root.path().join("data")));
        let each = 4_000_u64.div_ceil(producers).max(50);
        block_on(async {
            let mut claims = Vec::new();
            for n in 0..producers {
                assert_eq!(store.create(new_job(n)).await, Ok(Created::New));
                claims.push(store.claim(id(n)).await.unwrap());
            }
            let start = Instant::now();
            let tasks = claims.into_iter().zip(0..).map(|(claim, n)| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for sequence in 1..=each {
                        store.commit(commit(&claim, n, sequence)).await.unwrap();
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
            let took = start.elapsed();
            let total = producers * each;
            let rate = total as f64 / took.as_secs_f64();
            println!("{producers:4} producers: {rate:9.0} records/s ({total} in {took:.2?})");
            store.close().await.unwrap();
        });
    }
}
