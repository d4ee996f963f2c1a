//! What a game's progress must be, counted from its steps anew.

use callsheet_engine::{Gauge, ItemStatus, JobState, Phase, StepIndex, StepStatus};

/// Sums of weights are not exact.
const TINY: f64 = 1e-6;

/// Watches the progress of one owner of a job: what it has heard of attempts dies with it.
pub(crate) struct Meter {
    gauge: Gauge,
    recorded: f64,
    heard: u64,
}

impl Meter {
    pub(crate) fn new(state: &JobState) -> Self {
        Self { gauge: Gauge::new(state), recorded: state.progress(), heard: 0 }
    }

    /// After every decision: the open attempts say something, and all figures must be right.
    pub(crate) fn observe(&mut self, state: &JobState) {
        let shown = self.gauge.percent();
        self.gauge.follow(state);
        for token in state.open_tokens() {
            let (step, item) = state.open_attempt(token).expect("it is open");
            self.heard += 53;
            // Also less than before, and more than there is.
            let percent = (self.heard % 120) as f64;
            self.gauge.note(step, item, state.share(step), percent);
        }
        let (least, most) = bounds(state);
        let recorded = state.progress();
        let now = self.gauge.percent();
        assert!((0.0..100.0).contains(&now) && now >= shown, "{shown} went to {now}");
        assert!(recorded >= self.recorded - TINY, "{} went back to {recorded}", self.recorded);
        if matches!(state.phase, Phase::Running) {
            assert!((recorded - least).abs() < TINY, "{recorded} is recorded, {least} has settled");
            assert!(now <= most + TINY, "{now} of {most} is shown");
            assert!(now >= least - TINY, "{now} of {least} is shown");
        }
        self.recorded = recorded;
    }
}

/// The percentages of what has settled, and of that with all that has begun.
fn bounds(state: &JobState) -> (f64, f64) {
    let (mut total, mut least, mut most) = (0.0, 0.0, 0.0);
    for (n, step) in (0u32..).zip(&state.steps) {
        let weight = state.plan.step(StepIndex(n)).weight;
        total += if step.status == StepStatus::Skipped { 0.0 } else { weight };
        match &step.status {
            StepStatus::Succeeded(_) | StepStatus::Failed(_) => {
                least += weight;
                most += weight;
            }
            StepStatus::Active(active) => {
                let (settled, items) = active.progress();
                least += weight * settled as f64 / items as f64;
                let begun = active.items.iter().filter(|item| {
                    let over =
                        matches!(item.status, ItemStatus::Succeeded(_) | ItemStatus::Failed(_));
                    item.attempts > 0 || over
                });
                most += weight * begun.count() as f64 / items as f64;
            }
            StepStatus::Pending | StepStatus::Skipped | StepStatus::Cancelled => {}
        }
    }
    let percent = |sum: f64| if total > 0.0 { (100.0 * sum / total).min(99.9) } else { 0.0 };
    (percent(least), percent(most))
}
