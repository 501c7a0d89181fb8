//! What a step usually takes, from the recorded durations: for estimates, before anything was timed.

use std::collections::HashMap;

use landfall_model::definition::StepKind;
use landfall_model::plan::{Action, Plan, PlannedStep};
use landfall_model::provider::Effect;
use landfall_model::template::TemplateInterface;

use crate::durations::typical_ms;

/// What CloudFormation takes for itself around the resources of a stack.
const STACK_MS: u64 = 5_000;
/// What an operation on a stack set takes before and after it works on stacks.
const SET_MS: u64 = 20_000;
/// What a kind of resource takes that is in no table.
const OTHER_MS: u64 = 10_000;
/// What applying some objects takes beside waiting for them.
const OBJECTS_MS: u64 = 5_000;
/// What a sweep takes when controllers have cleaned up behind themselves: it looks twice.
const SWEEP_MS: u64 = 30_000;

/// How long a step of a plan usually takes, in milliseconds; none when there is nothing to go by.
pub fn usually_ms(plan: &Plan, step: &PlannedStep) -> Option<u64> {
    let wanted = plan.wanted.step(&step.id);
    match (step.kind, step.action) {
        (_, Action::None) => None,
        (_, Action::Quiesce) => Some(1_000),
        (StepKind::Leftovers, _) => Some(SWEEP_MS),
        (StepKind::Stack, Action::Update) => {
            let kinds = step
                .changes
                .iter()
                .filter(|change| change.effect != Effect::Remove);
            let longest = kinds.map(|change| making(&change.kind, false)).max();
            Some(STACK_MS + longest.unwrap_or_default())
        }
        (StepKind::Stack, action) => {
            let template = wanted?.template.as_ref()?;
            Some(STACK_MS + longest_path(&template.interface, action == Action::Delete))
        }
        (StepKind::StackSet, action) => {
            let wanted = wanted?;
            let template = wanted.template.as_ref()?;
            let one = STACK_MS + longest_path(&template.interface, action == Action::Delete);
            // Accounts are worked at together, regions usually one after the other.
            let regions = wanted.spec.get("regions").and_then(|regions| regions.as_array());
            Some(SET_MS + one * regions.map_or(1, |regions| regions.len().max(1) as u64))
        }
        (StepKind::Objects, action) => {
            let removing = action == Action::Delete;
            let objects = wanted?.spec.get("objects")?.as_array()?;
            let kinds = objects.iter().filter_map(|object| object.get("kind")?.as_str());
            let longest = kinds.filter_map(|kind| typical_ms(kind, removing)).max();
            Some(OBJECTS_MS + longest.unwrap_or_default())
        }
        (StepKind::Secret, _) => Some(1_000),
        (StepKind::Request, _) => Some(5_000),
        (StepKind::Files | StepKind::Entity, _) => Some(200),
        (StepKind::Check, _) => Some(2_000),
    }
}

fn making(kind: &str, removing: bool) -> u64 {
    typical_ms(kind, removing).unwrap_or(OTHER_MS)
}

/// The resources of a template that wait for each other the longest.
fn longest_path(interface: &TemplateInterface, removing: bool) -> u64 {
    fn end<'a>(
        id: &'a str,
        interface: &'a TemplateInterface,
        removing: bool,
        ends: &mut HashMap<&'a str, u64>,
    ) -> u64 {
        if let Some(end) = ends.get(id) {
            return *end;
        }
        // A circle ends here: whether a template is sound is judged elsewhere.
        ends.insert(id, 0);
        let Some(resource) = interface.resources.get(id) else {
            return 0;
        };
        let before = resource
            .after
            .iter()
            .map(|before| end(before, interface, removing, ends))
            .max();
        let own = if removing && resource.kept {
            0
        } else {
            making(&resource.kind, removing)
        };
        let end = before.unwrap_or_default() + own;
        ends.insert(id, end);
        end
    }
    let mut ends = HashMap::new();
    let ids = interface.resources.keys();
    ids.map(|id| end(id, interface, removing, &mut ends))
        .max()
        .unwrap_or_default()
}
