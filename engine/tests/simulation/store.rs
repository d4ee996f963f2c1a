//! A store that keeps the contract of the real ones, with a disk of its own making: one writer,
//! batches that take time, rooms that fill up, and a process that may die in the middle.
//!
//! What it has in `jobs` is durable. What waits or is under way is lost with its process, unless
//! the dice let the batch reach the disk without anybody hearing of it.

use std::collections::{BTreeMap, VecDeque};

use callsheet_engine::{Event, JobId, Timestamp};

/// Durable truth and its one writer.
#[derive(Debug, Default)]
pub(crate) struct Store {
    jobs: BTreeMap<JobId, Kept>,
    keys: BTreeMap<u64, (u64, JobId)>,
    epoch: u64,
    waiting: VecDeque<Request>,
    under_way: Vec<Request>,
    pub(crate) room: Room,
    /// It has failed: everything is refused until the next process opens it.
    pub(crate) stopped: bool,
}

/// A job on the disk.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) graph: usize,
    pub(crate) status: Status,
    pub(crate) records: Vec<Vec<Event>>,
    /// The latest owner's; none before the first claim and after the job's end.
    epoch: Option<u64>,
}

/// Room on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Room {
    #[default]
    Free,
    /// Not for new jobs.
    Scarce,
    /// For nothing.
    Full,
}

/// Recorded status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Sleeping(Timestamp),
    Stopping,
    Succeeded,
    Failed,
    Cancelled,
}

impl Status {
    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A caller, with the number of its question.
    Caller(usize, u64),
    Actor(u64),
}

/// Something to write, and whose process asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) process: u64,
    pub(crate) asker: Asker,
    pub(crate) verb: Verb,
}

#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Create(NewJob),
    Claim(JobId),
    Commit(Commit),
}

#[derive(Clone, Debug)]
pub(crate) struct NewJob {
    pub(crate) id: JobId,
    pub(crate) graph: usize,
    pub(crate) event: Event,
    /// Key and hash of the request.
    pub(crate) key: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) job: JobId,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) status: Option<Status>,
}

/// What the store says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    New(JobId),
    Existing(JobId),
    Conflict(JobId),
    Claimed(Claim),
    /// The record with this number is durable.
    Committed(u64),
    Refused(Refusal),
}

#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) epoch: u64,
    pub(crate) graph: usize,
    pub(crate) status: Status,
    pub(crate) records: u64,
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownJob,
    StaleEpoch,
    WrongSequence,
    Full,
    OutcomeUnknown,
    Stopped,
}

/// What has just become durable.
#[derive(Clone, Debug)]
pub(crate) enum Durable {
    Created(NewJob),
    Claimed(JobId, u64),
    Committed(Commit),
}

/// The most requests of one batch.
const BATCH: usize = 16;

impl Store {
    /// Takes a request in; true when the writer was idle and is to be started.
    pub(crate) fn ask(&mut self, request: Request) -> bool {
        self.waiting.push_back(request);
        self.under_way.is_empty()
    }

    /// Begins a batch of what waits; false when nothing does.
    pub(crate) fn begin(&mut self) -> bool {
        assert!(self.under_way.is_empty(), "one batch at a time");
        let count = self.waiting.len().min(BATCH);
        self.under_way.extend(self.waiting.drain(..count));
        count > 0
    }

    /// The batch under way is on the disk.
    pub(crate) fn finish(&mut self) -> Vec<(Request, Answer, Option<Durable>)> {
        let batch = std::mem::take(&mut self.under_way);
        let write = |request: Request| {
            let (answer, durable) = self.write(request.verb.clone());
            (request, answer, durable)
        };
        batch.into_iter().map(write).collect()
    }

    /// A process dies. What it had under way reaches the disk or not; nobody hears of it.
    pub(crate) fn forget(&mut self, process: u64, reaches_disk: bool) -> Vec<Durable> {
        self.waiting.retain(|request| request.process != process);
        let under_way = std::mem::take(&mut self.under_way);
        let (dead, alive) = under_way.into_iter().partition(|it| it.process == process);
        self.under_way = alive;
        let dead: Vec<Request> = dead;
        let dead = dead.into_iter().filter(|_| reaches_disk);
        dead.filter_map(|request| self.write(request.verb).1).collect()
    }

    /// A process has lost the lock: it submits nothing any more. What its jobs have under way is
    /// another matter, which epochs decide.
    pub(crate) fn lock_lost(&mut self, process: u64) {
        let submits = |request: &Request| {
            request.process == process && matches!(request.verb, Verb::Create(_))
        };
        self.waiting.retain(|request| !submits(request));
        self.under_way.retain(|request| !submits(request));
    }

    /// The disk fails: everything waiting has an unknown outcome, and so has all that comes.
    pub(crate) fn fail(&mut self, reaches_disk: bool) -> (Vec<Request>, Vec<Durable>) {
        let batch = std::mem::take(&mut self.under_way);
        let mut durable = Vec::new();
        if reaches_disk {
            durable.extend(batch.iter().filter_map(|request| self.write(request.verb.clone()).1));
        }
        self.stopped = true;
        let waiting = std::mem::take(&mut self.waiting);
        (batch.into_iter().chain(waiting).collect(), durable)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&Kept> {
        self.jobs.get(&id)
    }

    pub(crate) fn live(&self) -> Vec<(JobId, Status)> {
        let all = self.jobs.iter().map(|(id, kept)| (*id, kept.status));
        all.filter(|(_, status)| !status.has_ended()).collect()
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = (&JobId, &Kept)> {
        self.jobs.iter()
    }

    fn write(&mut self, verb: Verb) -> (Answer, Option<Durable>) {
        let written = match verb {
            Verb::Create(job) => self.create(job),
            Verb::Claim(job) => self.claim(job),
            Verb::Commit(commit) => self.commit(commit),
        };
        written.unwrap_or_else(|refusal| (Answer::Refused(refusal), None))
    }

    fn create(&mut self, job: NewJob) -> Result<(Answer, Option<Durable>), Refusal> {
        if let Some((key, request)) = job.key
            && let Some((before, id)) = self.keys.get(&key)
        {
            let same = *before == request;
            return Ok((if same { Answer::Existing(*id) } else { Answer::Conflict(*id) }, None));
        }
        if self.room != Room::Free {
            return Err(Refusal::Full);
        }
        if let Some((key, request)) = job.key {
            self.keys.insert(key, (request, job.id));
        }
        let records = vec![vec![job.event.clone()]];
        let kept = Kept { graph: job.graph, status: Status::Running, records, epoch: None };
        let before = self.jobs.insert(job.id, kept);
        assert!(before.is_none(), "ids are drawn once");
        Ok((Answer::New(job.id), Some(Durable::Created(job))))
    }

    fn claim(&mut self, id: JobId) -> Result<(Answer, Option<Durable>), Refusal> {
        let epoch = self.epoch + 1;
        let kept = self.jobs.get_mut(&id).ok_or(Refusal::UnknownJob)?;
        kept.epoch = Some(epoch);
        self.epoch = epoch;
        let claim = Claim {
            epoch,
            graph: kept.graph,
            status: kept.status,
            records: kept.records.len() as u64,
            events: kept.records.concat(),
        };
        Ok((Answer::Claimed(claim), Some(Durable::Claimed(id, epoch))))
    }

    fn commit(&mut self, commit: Commit) -> Result<(Answer, Option<Durable>), Refusal> {
        if self.room == Room::Full {
            return Err(Refusal::Full);
        }
        let kept = self.jobs.get_mut(&commit.job).ok_or(Refusal::UnknownJob)?;
        if kept.epoch != Some(commit.epoch) {
            return Err(Refusal::StaleEpoch);
        }
        if commit.sequence != kept.records.len() as u64 {
            return Err(Refusal::WrongSequence);
        }
        kept.records.push(commit.events.clone());
        if let Some(status) = commit.status {
            kept.status = status;
            if status.has_ended() {
                kept.epoch = None;
            }
        }
        Ok((Answer::Committed(commit.sequence), Some(Durable::Committed(commit))))
    }
}
