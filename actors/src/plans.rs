//! Compiled workflows: those that can be submitted, by name, and those that jobs run, by digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsheet_engine::Plan;
use callsheet_engine::definition::nearest;
use callsheet_storage::{Store, StoreError};

use crate::error::EngineError;

/// The plans of one engine.
#[derive(Default)]
pub(crate) struct Plans(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    named: BTreeMap<String, Arc<Plan>>,
    digests: HashMap<String, Weak<Plan>>,
}

impl Plans {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, plan: Arc<Plan>) {
        self.keep(&plan);
        self.lock().named.insert(plan.workflow().name.clone(), plan);
    }

    /// Remembers a plan for as long as some job runs it.
    pub(crate) fn keep(&self, plan: &Arc<Plan>) {
        let mut tables = self.lock();
        tables.digests.retain(|_, known| known.strong_count() > 0);
        tables.digests.insert(plan.digest().to_owned(), Arc::downgrade(plan));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Plan>> {
        self.lock().named.values().cloned().collect()
    }

    pub(crate) fn named(&self, name: &str) -> Result<Arc<Plan>, EngineError> {
        let tables = self.lock();
        tables.named.get(name).cloned().ok_or_else(|| EngineError::UnknownWorkflow {
            name: name.to_owned(),
            nearest: nearest(name, tables.named.keys().map(String::as_str)).map(str::to_owned),
        })
    }

    /// The plan that an accepted job runs: from memory, or from the definition that was frozen.
    pub(crate) async fn frozen(
        &self,
        digest: &str,
        store: &dyn Store,
    ) -> Result<Arc<Plan>, StoreError> {
        if let Some(plan) = self.lock().digests.get(digest).and_then(Weak::upgrade) {
            return Ok(plan);
        }
        let lost = |why: String| StoreError::Stopped(format!("definition `{digest}`: {why}"));
        let workflow = store.definition(digest.to_owned()).await?;
        let workflow = workflow.ok_or_else(|| lost("it is missing from the store".into()))?;
        let plan = Plan::recompile(workflow).map_err(|problems| lost(problems.to_string()))?;
        let plan = Arc::new(plan);
        self.keep(&plan);
        Ok(plan)
    }
}
