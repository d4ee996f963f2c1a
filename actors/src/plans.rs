//! Compiled workflows: those that can be submitted, by name, and those that jobs run, by digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsheet_engine::Plan;
use callsheet_engine::definition::{Workflow, nearest};
use callsheet_storage::{Store, StoreError};

use crate::error::EngineError;

/// The plans of one engine.
#[derive(Default)]
pub(crate) struct Plans {
    tables: Mutex<Tables>,
    /// Held while a stored definition is compiled: after a restart thousands of jobs ask for the
    /// same one at once.
    compiling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Tables {
    named: BTreeMap<String, Arc<Plan>>,
    digests: HashMap<String, Weak<Plan>>,
    /// The size at which plans that nobody runs are swept out of `digests`.
    sweep_at: usize,
}

impl Plans {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, plan: Arc<Plan>) {
        self.keep(&plan);
        self.lock().named.insert(plan.workflow().name.clone(), plan);
    }

    /// Remembers a plan for as long as some job runs it.
    pub(crate) fn keep(&self, plan: &Arc<Plan>) {
        let mut tables = self.lock();
        if tables.known(plan.digest()).is_some() {
            return;
        }
        tables.sweep();
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
        if let Some(plan) = self.lock().known(digest) {
            return Ok(plan);
        }
        let _alone = self.compiling.lock().await;
        if let Some(plan) = self.lock().known(digest) {
            return Ok(plan);
        }
        // A definition that cannot be used stops the jobs that run it, not the engine.
        let lost = |why: String| StoreError::Unreadable(format!("definition `{digest}`: {why}"));
        let workflow = store.definition(digest.to_owned()).await?;
        let workflow = workflow.ok_or_else(|| lost("it is missing from the store".into()))?;
        let plan = Arc::new(recompile(workflow).await.map_err(lost)?);
        self.keep(&plan);
        Ok(plan)
    }
}

impl Tables {
    fn known(&self, digest: &str) -> Option<Arc<Plan>> {
        self.digests.get(digest).and_then(Weak::upgrade)
    }

    /// Forgets the plans that nobody runs, once there may be as many of them as of the others: so
    /// a plan costs the same however many there are.
    fn sweep(&mut self) {
        if self.digests.len() >= self.sweep_at {
            self.digests.retain(|_, plan| plan.strong_count() > 0);
            self.sweep_at = (2 * self.digests.len()).max(16);
        }
    }
}

/// A definition may have 100,000 steps; the actors' threads have other things to do meanwhile.
async fn recompile(workflow: Workflow) -> Result<Plan, String> {
    let compiled = tokio::task::spawn_blocking(|| Plan::recompile(workflow)).await;
    compiled.map_err(|error| error.to_string())?.map_err(|problems| problems.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use callsheet_engine::definition::Step;

    use super::*;
    use crate::testing::Faulty;

    fn workflow(name: &str) -> Workflow {
        Workflow::new(name, vec![Step::new("a", "k")])
    }

    fn plan(name: &str) -> Arc<Plan> {
        Arc::new(Plan::recompile(workflow(name)).unwrap())
    }

    #[test]
    fn a_name_stands_for_the_plan_that_was_registered_last() {
        let plans = Plans::default();
        let first = plan("one");
        plans.register(first.clone());
        plans.register(plan("two"));
        let steps = vec![Step::new("b", "k")];
        let again = Arc::new(Plan::recompile(Workflow::new("one", steps)).unwrap());
        plans.register(again.clone());
        assert_eq!(plans.named("one").unwrap(), again);
        assert_eq!(plans.all().len(), 2);
        let unknown = plans.named("tow").unwrap_err();
        assert_eq!(unknown.hint().as_deref(), Some("did you mean `two`?"));
        // Jobs that run the one before still find it.
        assert_eq!(plans.lock().known(first.digest()), Some(first));
    }

    #[test]
    fn plans_that_nobody_runs_are_forgotten() {
        let plans = Plans::default();
        let kept = plan("kept");
        plans.keep(&kept);
        for n in 0..1_000 {
            plans.keep(&plan(&format!("gone{n}")));
            assert!(plans.lock().digests.len() <= 16, "after {n}");
        }
        assert_eq!(plans.lock().known(kept.digest()), Some(kept));
    }

    #[tokio::test]
    async fn a_definition_is_read_and_compiled_once_for_all_who_ask() {
        let store = Faulty::new();
        let digest = store.define(workflow("stored")).await;
        let plans = Plans::default();
        let asked = (0..100).map(|_| plans.frozen(&digest, &store));
        let plan = futures::future::try_join_all(asked).await.unwrap();
        assert!(plan.iter().all(|it| Arc::ptr_eq(it, &plan[0])));
        assert_eq!(store.definitions_read(), 1);
        drop(plan);
        plans.frozen(&digest, &store).await.unwrap();
        assert_eq!(store.definitions_read(), 2, "nobody ran it any more");
    }

    #[tokio::test]
    async fn a_definition_that_is_missing_stops_no_engine() {
        let (plans, store) = (Plans::default(), Faulty::new());
        let error = plans.frozen("no such digest", &store).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable(_)) && !error.is_fatal(), "{error}");
    }
}
