//! A sync that fails, once or for ever, and one that takes its time, under the shipped binary.

use std::sync::Arc;

use crate::found::Found;
use crate::serve::{Place, Server, block_on, until};
use crate::shim::Sync;

#[test]
fn one_failed_sync_stops_the_engine_and_loses_nothing() {
    block_on(failed_sync(Sync::FailsOnce));
}

#[test]
fn syncs_that_fail_for_ever_stop_the_engine_and_lose_nothing() {
    block_on(failed_sync(Sync::Fails));
}

/// The kernel forgets a failed page after it has told of it once: whoever tries again is told that
/// all is well. So one failure is the end, and only a new process looks at what is there.
async fn failed_sync(how: Sync) {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut accepted = Vec::new();
    for _ in 0..3 {
        accepted.push(server.submit(&place).await.unwrap());
    }
    server.succeeds(&accepted[0]).await;
    server.client.ready().await.unwrap();

    place.control.sync(how);
    let refusal = loop {
        let has_failed = place.control.faults_given() > 0;
        match server.submit(&place).await {
            Ok(job) => {
                assert!(!has_failed, "job {job} was acknowledged after a sync had failed");
                accepted.push(job);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal.code(), "store.failed" | "client.connection"), "{refusal}");
    let health = server.client.ready().await.expect_err("it is not well");
    assert!(matches!(health.code(), "store.failed" | "client.connection"), "{health}");
    let since = std::time::Instant::now();
    let status = server.end();
    println!("{how:?}: ended {:?} after it was seen, {status}", since.elapsed());
    assert_eq!(status.code(), Some(3), "{}", server.said());
    assert!(server.said().contains("[store.failed]"), "{}", server.said());

    place.control.sync(Sync::Works);
    let found = Found::read(&place.data()).unwrap();
    for job in &accepted {
        assert!(found.0.contains_key(job), "the acknowledged job {job} is lost");
    }
    found.artifacts_hold(&place.data()).unwrap();
    let server = Server::start(&place);
    for job in &accepted {
        server.succeeds(job).await;
    }
}

/// Reads do not wait for a commit that waits for the disk: told by order, not by a clock.
#[test]
fn a_slow_disk_does_not_delay_reads() {
    block_on(async {
        let place = Place::new();
        let server = Arc::new(Server::start(&place));
        let old = server.submit(&place).await.unwrap();
        server.succeeds(&old).await;

        place.control.sync(Sync::Waits);
        let submits: Vec<_> = (0..40)
            .map(|_| {
                let (server, request) = (server.clone(), place.job());
                tokio::spawn(async move { server.client.submit(&request, None).await })
            })
            .collect();
        until("a commit waits for its sync", async || place.control.syncs_held() > 0).await;
        for _ in 0..5 {
            assert_eq!(server.client.job(&old).await.unwrap().head.status.as_str(), "succeeded");
            let page = server.client.jobs(&Default::default()).await.unwrap();
            assert_eq!(page.jobs.len(), 1, "what is not durable is not shown");
            server.client.ready().await.unwrap();
            server.client.actors().await.unwrap();
        }
        assert!(place.control.syncs_held() > 0, "the sync still waits");
        assert!(submits.iter().all(|it| !it.is_finished()), "nothing is acknowledged before it");

        place.control.sync(Sync::Works);
        for submit in submits {
            server.succeeds(&submit.await.unwrap().unwrap().id).await;
        }
    });
}
