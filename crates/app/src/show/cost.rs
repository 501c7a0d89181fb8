//! What it costs to keep what a teardown would remove, by list prices: an order of magnitude, not a bill.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use landfall_model::definition::StepKind;
use landfall_model::leftover::Found;
use landfall_model::plan::{Action, Plan, PlannedStep};
use serde::Deserialize;

#[derive(Deserialize)]
struct Prices {
    types: BTreeMap<String, Price>,
    gibibyte: BTreeMap<String, Price>,
}

#[derive(Deserialize)]
struct Price {
    monthly: f64,
}

static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("our own table of prices is readable")
});

/// US dollars a month for everything the plan removes and every leftover found, machines and usage left out.
pub(crate) fn monthly(plan: &Plan, found: &[Found]) -> f64 {
    let removed = plan.steps.iter().filter(|step| step.action == Action::Delete);
    let in_stacks: f64 = removed
        .map(|step| match step.kind {
            StepKind::Secret => price("AWS::SecretsManager::Secret"),
            StepKind::Stack => step.changes.iter().map(|change| price(&change.kind)).sum(),
            StepKind::StackSet => {
                let wanted = plan.wanted.step(&step.id);
                let template = wanted.and_then(|wanted| wanted.template.as_ref());
                let resources = template.map(|template| template.interface.resources.values());
                let once: f64 = resources
                    .into_iter()
                    .flatten()
                    .map(|resource| price(&resource.kind))
                    .sum();
                once * times(step)
            }
            _ => 0.0,
        })
        .sum();
    let left: f64 = found
        .iter()
        .filter(|one| one.is_leftover())
        .map(|one| price(&one.kind) + by_size(one))
        .sum();
    in_stacks + left
}

/// How often a template stands: a stack set has it in many accounts.
fn times(step: &PlannedStep) -> f64 {
    let owned = step.owned.as_ref();
    let instances = owned.and_then(|owned| owned.address["instances"].as_u64());
    let instances = instances.and_then(|instances| u32::try_from(instances).ok());
    instances.map_or(1.0, f64::from)
}

fn price(kind: &str) -> f64 {
    PRICES.types.get(kind).map_or(0.0, |price| price.monthly)
}

fn by_size(found: &Found) -> f64 {
    let size = found
        .data
        .as_ref()
        .and_then(|data| data.strip_suffix(" GiB")?.parse::<f64>().ok());
    let price = PRICES
        .gibibyte
        .get(&found.kind)
        .map_or(0.0, |price| price.monthly);
    size.unwrap_or(0.0) * price
}
