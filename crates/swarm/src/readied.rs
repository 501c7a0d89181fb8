//! How soon a step with objects is done once the last of its objects is ready: what looking at them costs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::journal::Entry;
use landfall_model::plan::Plan;
use landfall_runner::{Clock, Event};
use landfall_sim::World;

/// How often the truth is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Steps in flight, and how long those that are done were ready before.
#[derive(Default)]
pub(crate) struct Readied {
    steps: Mutex<BTreeMap<StepId, Readiness>>,
}

/// Since when all objects of a step are ready, in milliseconds, and how long it took until it was done.
#[derive(Default)]
struct Readiness {
    since: Option<u64>,
    took_ms: Option<u64>,
}

impl Readied {
    /// Of the steps of this plan that have objects.
    pub(crate) fn of(plan: &Plan) -> Arc<Readied> {
        let steps = plan.steps.iter().filter(|step| step.kind == StepKind::Objects);
        let steps = steps.map(|step| (step.id.clone(), Readiness::default()));
        Arc::new(Readied {
            steps: Mutex::new(steps.collect()),
        })
    }

    /// Hears that a step is done.
    pub(crate) fn hear(&self, event: &Event, clock: &dyn Clock) {
        let Event::Recorded(entry) = event else {
            return;
        };
        let Entry::StepDone { step, .. } = entry.as_ref() else {
            return;
        };
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = steps.get_mut(step) {
            let now = clock.millis();
            one.took_ms = Some(now.saturating_sub(one.since.unwrap_or(now)));
        }
    }

    /// Looks at the world for ever.
    pub(crate) async fn look(&self, world: &World, clock: &dyn Clock) {
        loop {
            clock.sleep(EVERY).await;
            let now = clock.millis();
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            for (step, one) in steps.iter_mut().filter(|(_, one)| one.took_ms.is_none()) {
                let ready = world.objects_ready(step.component(), step.step());
                one.since = ready.then(|| one.since.unwrap_or(now));
            }
        }
    }

    /// What each of them took, in milliseconds, the quickest first.
    pub(crate) fn took_ms(&self) -> Vec<u64> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<u64> = steps.values().filter_map(|one| one.took_ms).collect();
        all.sort_unstable();
        all
    }
}
