//! An engine of today takes up the jobs of every golden store: what was done stays done, and what
//! was open is made again.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use callsheet_actors::{Engine, StepContext};
use callsheet_engine::JobId;
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

/// Only a job that nobody goes on with takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn engine(dir: &Path) -> Engine {
    let work = |_: Value, _: StepContext| async { Ok(json!({ "file": "made anew" })) };
    let builder = Engine::builder().data_dir(dir).step_fn("test.work", work);
    builder.step_fn("test.other", work).open().await.unwrap()
}

#[tokio::test]
async fn jobs_of_golden_stores_run_to_their_end() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/tests/golden");
    for format in 1.. {
        let packed = golden.join(format!("v{format}.tar.gz"));
        if !packed.exists() {
            assert!(format > 1, "there is a golden store");
            break;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        let unpacked = tar.arg("-xzf").arg(&packed).arg("-C").arg(dir.path());
        assert!(unpacked.status().expect("tar is installed").success());
        let expected = std::fs::read_to_string(golden.join(format!("v{format}.json"))).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();

        let engine = engine(dir.path()).await;
        for job in expected["jobs"].as_array().unwrap() {
            let id: JobId = job["id"].as_str().unwrap().parse().unwrap();
            let ended = tokio::time::timeout(PATIENCE, engine.job(id).wait()).await;
            let status = ended.expect("somebody goes on with it").unwrap().head.status;
            let expected = match job["status"].as_str().unwrap() {
                "failed" => JobStatus::Failed,
                "cancelled" | "stopping" => JobStatus::Cancelled,
                _ => JobStatus::Succeeded,
            };
            assert_eq!(status, expected, "format {format}, job {id}");
        }
        engine.shutdown().await;
    }
}
