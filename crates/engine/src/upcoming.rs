//! What a plan is about to make: its steps filled in, and which of their resources stand already. What is
//! asked before the first change starts from this.

use std::collections::{BTreeSet, HashMap};

use landfall_model::StepId;
use landfall_model::plan::{Action, Plan, PlannedStep};
use landfall_model::provider::{Effect, Observed, Outputs};
use landfall_model::question::Upcoming;
use landfall_model::work::{Step, Work};

use crate::evaluate::{Evaluator, Expressions};

/// The steps that a plan creates or changes.
pub fn upcoming(plan: &Plan) -> Vec<Upcoming> {
    let known: HashMap<StepId, Option<Outputs>> = plan
        .steps
        .iter()
        .filter(|step| plan.wanted.step(&step.id).is_some())
        .map(|step| {
            let given = step.action == Action::None;
            (step.id.clone(), given.then(|| step.outputs.clone()))
        })
        .collect();
    let expressions = Expressions::default();
    let evaluator = Evaluator::with(&plan.wanted, &expressions, &known);
    let changed = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Create | Action::Update));
    changed
        .filter_map(|planned| {
            let wanted = plan.wanted.step(&planned.id)?;
            // A step that cannot be filled in is no step of any plan.
            let step = evaluator.step(wanted).ok()?;
            Some(Upcoming {
                standing: standing(planned, &step),
                after_remains: planned.action == Action::Create
                    && planned.seen != Observed::absent().fingerprint,
                step,
            })
        })
        .collect()
}

/// What stands of a step that is changed: everything but what its world says will be added. Where the world
/// could not tell yet, everything is taken to stand: a name must never be told taken by its own bearer.
fn standing(planned: &PlannedStep, step: &Step) -> BTreeSet<String> {
    let Work::Stack(stack) = &step.work else {
        return BTreeSet::new();
    };
    if planned.action == Action::Create {
        return BTreeSet::new();
    }
    let is_added = |id: &String| {
        planned
            .changes
            .iter()
            .any(|change| change.effect == Effect::Add && change.subject == *id)
    };
    let ids = stack.interface.resources.keys();
    ids.filter(|id| !is_added(id)).cloned().collect()
}
