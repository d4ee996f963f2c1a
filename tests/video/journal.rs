//! What is recorded of the jobs in a data directory that no engine is using.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use callsheet::{Event, ItemIndex, ListQuery, SledStore, StepIndex, Store, Token};

/// A place of work: a job, a step of it, an item of that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) job: String,
    pub(crate) step: String,
    pub(crate) item: u32,
}

/// Everything that is recorded.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Each job's status.
    pub(crate) jobs: BTreeMap<String, String>,
    /// The place of each attempt, by job and fence.
    pub(crate) attempts: BTreeMap<(String, u64), Place>,
    /// Places with a result.
    pub(crate) done: BTreeSet<Place>,
    /// Places with an attempt that has not ended.
    pub(crate) open: BTreeSet<Place>,
}

impl Journal {
    /// Reads a data directory. A kill may leave nothing to read.
    pub(crate) fn read(state: &Path) -> Self {
        if !callsheet::maintenance::holds_store(state) {
            return Self::default();
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = SledStore::open(state).unwrap();
            let mut journal = Self::default();
            let query = ListQuery { limit: 100, ..ListQuery::default() };
            let page = store.list(query).await.unwrap();
            assert!(page.next.is_none(), "more jobs than a page has");
            for head in page.heads {
                let id = head.id.to_string();
                journal.jobs.insert(id.clone(), head.status.as_str().to_owned());
                let definition = store.definition(head.workflow.digest.clone()).await.unwrap();
                let definition = definition.expect("the definition of a job is kept");
                let steps = definition.steps.iter().map(|step| step.id.clone()).collect();
                let records = store.journal(head.id, 0).await.unwrap();
                let mut of_job = OfJob { id, steps, journal: &mut journal };
                records.into_iter().flat_map(|it| it.events).for_each(|event| of_job.take(event));
            }
            store.close().await.unwrap();
            journal
        })
    }

    /// The place of an attempt.
    pub(crate) fn place(&self, job: &str, fence: u64) -> Option<&Place> {
        self.attempts.get(&(job.to_owned(), fence))
    }
}

/// The journal of one job, read in its order.
struct OfJob<'a> {
    id: String,
    steps: Vec<String>,
    journal: &'a mut Journal,
}

impl OfJob<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::StepStarted { step, item, token, .. } => self.started(step, item, token),
            Event::StepSucceeded { token, .. } => {
                let place = self.ended(token);
                let is_first = self.journal.done.insert(place.clone());
                assert!(is_first, "two results of {place:?}");
            }
            Event::AttemptFailed { token, .. } | Event::AttemptInterrupted { token, .. } => {
                self.ended(token);
            }
            _ => {}
        }
    }

    fn started(&mut self, step: StepIndex, item: ItemIndex, token: Token) {
        let name = self.steps[usize::try_from(step.0).unwrap()].clone();
        let place = Place { job: self.id.clone(), step: name, item: item.0 };
        assert!(!self.journal.done.contains(&place), "{place:?} has its result and began again");
        self.journal.attempts.insert((self.id.clone(), token.0), place.clone());
        self.journal.open.insert(place);
    }

    fn ended(&mut self, token: Token) -> Place {
        let place = self.journal.attempts[&(self.id.clone(), token.0)].clone();
        self.journal.open.remove(&place);
        place
    }
}
