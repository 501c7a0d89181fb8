//! Which resources a stack really has: templates name more than are made, because conditions leave some out.

use std::collections::HashMap;

use landfall_cloudformation::resolve::{Place, resolve};
use landfall_engine::{Evaluator, Expressions, Seen};
use landfall_model::StepId;
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::{Change, Effect, Outputs};
use landfall_model::question::Upcoming;
use landfall_model::work::{Step, Work};

/// Leaves out of a plan's creations what no condition asks for. What is not known yet stays.
pub(crate) fn of_creations(plan: &mut Plan, upcoming: &[Upcoming]) {
    for upcoming in upcoming {
        let Some(left_out) = left_out(&upcoming.step) else {
            continue;
        };
        let planned = plan
            .steps
            .iter_mut()
            .find(|planned| planned.id == upcoming.step.id && planned.action == Action::Create);
        if let Some(planned) = planned {
            planned
                .changes
                .retain(|change| !left_out.contains(&change.subject));
        }
    }
}

/// Says of every stack a plan removes which resources go with it.
pub(crate) fn of_removals(plan: &mut Plan, seen: &Seen) {
    let known: HashMap<StepId, Option<Outputs>> = plan
        .wanted
        .steps
        .iter()
        .map(|step| {
            let stands = seen.steps.get(&step.id);
            (
                step.id.clone(),
                stands.map(|stands| stands.observed.outputs.clone()),
            )
        })
        .collect();
    let expressions = Expressions::default();
    let evaluator = Evaluator::with(&plan.wanted, &expressions, &known);
    let removed = plan.steps.iter_mut().filter(|step| step.action == Action::Delete);
    for planned in removed {
        let filled = plan
            .wanted
            .step(&planned.id)
            .and_then(|step| evaluator.step(step).ok());
        let Some(Work::Stack(stack)) = filled.as_ref().map(|step| &step.work) else {
            continue;
        };
        let left_out = filled.as_ref().and_then(left_out).unwrap_or_default();
        planned.changes = stack
            .interface
            .resources
            .iter()
            .filter(|(id, _)| !left_out.contains(id))
            .map(|(id, resource)| Change {
                effect: Effect::Remove,
                subject: id.clone(),
                kind: resource.kind.clone(),
                properties: Vec::new(),
            })
            .collect();
    }
}

/// The logical ids that conditions surely leave out; nothing for a step that is no stack.
fn left_out(step: &Step) -> Option<Vec<String>> {
    let Work::Stack(stack) = &step.work else {
        return None;
    };
    let resolved = resolve(&stack.template, &stack.parameters, &Place::of(step, stack));
    let absent = resolved
        .resources
        .into_iter()
        .filter(|(_, resource)| resource.exists == Some(false));
    Some(absent.map(|(id, _)| id).collect())
}
