//! Format 1, which had one key a record and no log.
//!
//! Records and heads of jobs that have ended are read where they lie, by
//! [`history`](super::history). Jobs that have not ended all lay under one prefix, those asleep
//! too, and had no timers; they are moved when such a store is first opened. Each step is one
//! atomic batch, and a step that was done finds nothing to do: a crash in the middle costs nothing.

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sled::Db;

use super::codec::Codec;
use super::history::{self, AtRest, Run};
use super::keys;
use super::writer::timer_value;
use crate::limits::SCAN_CHUNK_COUNT;
use crate::store::JobStatus;

/// Moves the jobs of format 1 that have not ended, those asleep to their timers. Blocks.
pub(super) fn move_live_jobs(db: &Db, file: &File, codec: &Codec) -> Result<(), String> {
    let moved = catch_unwind(AssertUnwindSafe(|| {
        let mut after = Some(vec![keys::AWAKE]);
        while let Some(key) = after {
            after = move_some(db, file, codec, key)?;
        }
        Ok(())
    }));
    moved.unwrap_or_else(|_| Err("sled panicked on a damaged page".to_owned()))
}

/// One step; answers with the key from which on the next one goes.
fn move_some(
    db: &Db,
    file: &File,
    codec: &Codec,
    after: Vec<u8>,
) -> Result<Option<Vec<u8>>, String> {
    let end = vec![keys::AWAKE + 1];
    let range = (Bound::Excluded(after), Bound::Excluded(end));
    let mut batch = sled::Batch::default();
    let mut last = None;
    for entry in db.range::<Vec<u8>, _>(range).take(SCAN_CHUNK_COUNT) {
        let (key, value) = entry.map_err(|error| error.to_string())?;
        move_job(db, codec, &key, &value, &mut batch)?;
        last = Some(key.to_vec());
    }
    if last.is_some() {
        db.apply_batch(batch).map_err(|error| error.to_string())?;
        db.flush().map_err(|error| error.to_string())?;
        file.sync_data().map_err(|error| error.to_string())?;
    }
    Ok(last)
}

fn move_job(
    db: &Db,
    codec: &Codec,
    key: &[u8],
    value: &[u8],
    batch: &mut sled::Batch,
) -> Result<(), String> {
    // One that cannot be read is quarantined where it is, when it is asked for.
    let Some(job) = keys::job_of(key) else { return Ok(()) };
    let Ok(at_rest) = history::decode(key, value) else { return Ok(()) };
    if at_rest.records.is_some() {
        return Ok(()); // it is of format 2 already
    }
    let Ok(head) = codec.head(job, &at_rest.head) else { return Ok(()) };
    let last = db.range(keys::records(job, 0)).next_back();
    let last = last.transpose().map_err(|error| error.to_string())?;
    let Some(last) = last.and_then(|(key, _)| keys::sequence_of(&key)) else { return Ok(()) };
    let tail = Run { first: last + 1, contents: Vec::new() };
    let job_value = AtRest { records: Some(last + 1), tail, ..at_rest };
    let new_key = match head.status {
        JobStatus::Sleeping { until } => {
            let timer = keys::timer(until, job);
            batch.insert(timer.as_slice(), timer_value(&timer));
            batch.remove(key);
            keys::head(keys::ASLEEP, job)
        }
        _ => key.to_vec(),
    };
    let value = history::encode(&new_key, &job_value);
    batch.insert(new_key, value.expect("a head fits, or lies in a file of its own"));
    Ok(())
}
