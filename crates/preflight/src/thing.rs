//! The resources of the steps to come, with their values filled in as far as they are known.

use std::collections::BTreeMap;

use landfall_cloudformation::resolve::{pattern, refers_to, unknown};
use landfall_cloudformation::{Place, is_unknown, resolve};
use landfall_model::StepId;
use landfall_model::finding::{Finding, Weight};
use landfall_model::question::Upcoming;
use landfall_model::work::{StackWork, Work};
use serde_json::Value;

/// One resource of a step to come.
#[derive(Clone, Debug)]
pub(crate) struct Thing {
    pub(crate) step: StepId,
    /// Its logical id.
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) region: String,
    pub(crate) properties: Value,
    /// Whether it will surely be there: its condition is known, or it has none.
    pub(crate) certain: bool,
    /// Whether it stands already and stays.
    pub(crate) stands: bool,
    /// Whether the remains of an earlier attempt go first, so that a taken name proves nothing.
    pub(crate) after_remains: bool,
    /// Whether the step uses what is there already, when it is.
    pub(crate) adopts: bool,
}

/// The resources of all stacks among these steps, in their order; without those whose condition is false.
pub(crate) fn things(upcoming: &[Upcoming]) -> Vec<Thing> {
    upcoming
        .iter()
        .filter_map(|one| match &one.step.work {
            Work::Stack(stack) => Some((one, stack)),
            _ => None,
        })
        .flat_map(|(one, stack)| of_stack(one, stack))
        .collect()
}

fn of_stack(upcoming: &Upcoming, stack: &StackWork) -> Vec<Thing> {
    let Upcoming {
        step,
        standing,
        after_remains,
    } = upcoming;
    let resolved = resolve(&stack.template, &stack.parameters, &Place::of(step, stack));
    let present = resolved
        .resources
        .into_iter()
        .filter(|(_, resource)| resource.exists != Some(false));
    present
        .map(|(id, resource)| Thing {
            step: step.id.clone(),
            stands: standing.contains(&id),
            id,
            kind: resource.kind,
            region: stack.region.clone(),
            certain: resource.exists == Some(true),
            properties: without_lookups(resource.properties),
            after_remains: *after_remains,
            adopts: stack.existing.is_some(),
        })
        .collect()
}

/// Leaves out what CloudFormation looks up itself: what a dynamic reference stands for is known to nobody here.
fn without_lookups(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains("{{resolve:") => unknown(),
        Value::Array(items) => items.into_iter().map(without_lookups).collect(),
        Value::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| (key, without_lookups(value)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}

impl Thing {
    /// A property's text, when it is one and known.
    pub(crate) fn text(&self, property: &str) -> Option<&str> {
        self.properties[property].as_str()
    }

    /// A property's number, when it is one and known. Parameters arrive as text.
    pub(crate) fn number(&self, property: &str) -> Option<u64> {
        let value = &self.properties[property];
        value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
    }

    /// Whether a property is written down with something in it. What is unknown may be left out yet.
    pub(crate) fn has(&self, property: &str) -> bool {
        match &self.properties[property] {
            Value::Null => false,
            // A reference is there, and so is a text of which a part is known.
            value if is_unknown(value) => refers_to(value).is_some() || pattern(value).is_some(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        }
    }

    /// The resource of the same template that a value refers to.
    pub(crate) fn target<'a>(&self, value: &Value, all: &'a [Thing]) -> Option<&'a Thing> {
        let (id, _) = refers_to(value)?;
        all.iter().find(|thing| thing.step == self.step && thing.id == id)
    }

    /// A finding about this resource and another one: what would fail does so only when both are made, and
    /// cannot when both stand.
    pub(crate) fn finding_beside(
        &self,
        other: &Thing,
        weight: Weight,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Finding {
        let both = Thing {
            certain: self.certain && other.certain,
            ..self.clone()
        };
        match weight {
            Weight::Refuses if self.stands && other.stands => both.finding(Weight::Warns, what, way_out),
            weight => both.finding(weight, what, way_out),
        }
    }

    /// A finding about this resource. What would fail is only a warning where it is not sure yet that the
    /// resource will be made.
    pub(crate) fn finding(
        &self,
        weight: Weight,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Finding {
        let mut what = what.into();
        let weight = if weight == Weight::Refuses && !self.certain {
            what.push_str(" (whether it is made is not known yet)");
            Weight::Warns
        } else {
            weight
        };
        Finding::new(weight, what, way_out)
            .of_step(&self.step)
            .of_resource(&self.id)
    }
}

/// The items of a list, when it is one; a single text counts as a list of one.
pub(crate) fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one if is_unknown(one) => Vec::new(),
        one => vec![one],
    }
}

/// The parts of an ARN: partition, service, region, account, and the rest.
pub(crate) struct Arn<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) rest: &'a str,
}

impl<'a> Arn<'a> {
    pub(crate) fn read(text: &'a str) -> Option<Arn<'a>> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", _, service, region, _, rest] => Some(Arn {
                service,
                region,
                rest,
            }),
            _ => None,
        }
    }
}

/// Groups by a key, keeping the order in which keys first come.
pub(crate) fn grouped<K: Ord + Clone, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut place: BTreeMap<K, usize> = BTreeMap::new();
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        let at = *place.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(value);
    }
    groups
}
