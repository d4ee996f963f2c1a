//! Accepting a job: from what the caller gives to what the writer is handed.

use super::codec::{Codec, Encoded, KeyBody};
use super::log::index::Head;
use super::read::Reader;
use super::writer::{KeyValues, NewValues, Request};
use super::{SledStore, blocking, keys, locked};
use crate::artifacts::Digest;
use crate::check;
use crate::error::StoreError;
use crate::limits::MAX_KNOWN_DEFINITIONS_COUNT;
use crate::store::{Created, NewJob};

impl SledStore {
    pub(super) async fn create_job(&self, mut job: NewJob) -> Result<Created, StoreError> {
        check::new_job(&job)?;
        let asked = job.idempotency.take();
        let key = asked.map(|asked| (Digest::of(asked.key.as_bytes()), asked.request));
        self.create_checked(job, key, None).await
    }

    pub(super) async fn create_jobs(
        &self,
        mut first: NewJob,
        second: NewJob,
    ) -> Result<Created, StoreError> {
        check::new_job(&first)?;
        check::second_job(&first, &second)?;
        let asked = first.idempotency.take();
        let key = asked.map(|asked| (Digest::of(asked.key.as_bytes()), asked.request));
        let reader = self.reader.clone();
        let second = EncodedJob::of(second, None)?;
        // It may be large, or its definition new; nobody is in a hurry for the second.
        let second = blocking(move || second.settle(&reader, false)).await?;
        self.create_checked(first, key, Some(second)).await
    }

    /// Accepts a job of another store, with the digest of the key that it was accepted under there
    /// and the request.
    pub(crate) async fn create_imported(
        &self,
        job: NewJob,
        key: Option<(Digest, String)>,
    ) -> Result<Created, StoreError> {
        check::new_job(&job)?;
        self.create_checked(job, key, None).await
    }

    async fn create_checked(
        &self,
        job: NewJob,
        key: Option<(Digest, String)>,
        second: Option<NewValues>,
    ) -> Result<Created, StoreError> {
        let digest = job.head.workflow.digest.clone();
        let is_known = locked(&self.definitions).contains(&digest);
        let encoded = EncodedJob::of(job, key)?;
        let values = if is_known && encoded.is_small() {
            encoded.settle(&self.reader, is_known)?
        } else {
            let reader = self.reader.clone();
            blocking(move || encoded.settle(&reader, is_known)).await?
        };
        let second = second.map(Box::new);
        let values = Box::new(values);
        let request = |reply, admission| {
            Request::Create(Box::new(NewValues { admission, second, ..*values }), reply)
        };
        let created = self.ask(request, StoreError::OutcomeUnknown).await?;
        if created == Created::New && !is_known {
            let mut known = locked(&self.definitions);
            if known.len() >= MAX_KNOWN_DEFINITIONS_COUNT {
                known.clear();
            }
            known.insert(digest);
        }
        Ok(created)
    }
}

/// A job to accept, whose contents may still have to go to files.
struct EncodedJob {
    job: NewJob,
    key: Option<(Digest, String)>,
    head: Encoded,
    record: Encoded,
}

impl EncodedJob {
    fn of(job: NewJob, key: Option<(Digest, String)>) -> Result<Self, StoreError> {
        let head = Codec::encode_head(&job.head)?;
        let record = Codec::encode_record(&job.events)?;
        Ok(Self { job, key, head, record })
    }

    fn is_small(&self) -> bool {
        matches!((&self.head, &self.record), (Encoded::Ready(_), Encoded::Ready(_)))
    }

    /// Blocks if the definition has to be looked for, or if something is large.
    fn settle(self, reader: &Reader, is_known: bool) -> Result<NewValues, StoreError> {
        let Self { job: new, key, head, record } = self;
        let (codec, job) = (reader.codec(), new.head.id);
        let definition_key = keys::definition(&new.head.workflow.digest);
        let definition = match is_known || reader.has(&definition_key)? {
            true => None,
            false => {
                let value = codec.encode_value(&definition_key, &*new.definition)?;
                Some((definition_key, value))
            }
        };
        let idempotency = match key {
            Some((digest, request)) => {
                let key = keys::idempotency_at(digest);
                let body = KeyBody { job, request };
                let value = codec.encode_value(&key, &body)?;
                Some(KeyValues { key, value, request: body.request })
            }
            None => None,
        };
        let record = codec.settle(record)?;
        let head = Head { status: new.head.status, content: codec.settle(head)? };
        Ok(NewValues { job, head, record, definition, idempotency, admission: None, second: None })
    }
}
