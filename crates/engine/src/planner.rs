//! Wanted × seen → plan. Pure: the same world and the same file give the same plan.

use std::collections::{HashMap, HashSet};

use landfall_model::definition::StepKind;
use landfall_model::id::PlanId;
use landfall_model::leftover::{Found, Marks};
use landfall_model::plan::{Action, FORMAT, Plan, PlannedStep, Purpose};
use landfall_model::provider::{Change, Effect, Observed, Outputs, Owned, Standing};
use landfall_model::wanted::{Wanted, WantedStep};
use landfall_model::{StepId, work::Step};

use crate::evaluate::{Evaluator, Expressions, StepError};
use crate::teardown::no_longer_wanted;

/// What stands, as the providers reported it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What stands of each step the platform asks for.
    pub steps: HashMap<StepId, SeenStep>,
    /// Everything the platform owns, asked for or not.
    pub owned: Vec<Owned>,
    /// By what the platform's things are recognised, when that was asked.
    pub marks: Option<Marks>,
    /// What carries those marks, when it was searched for.
    pub found: Vec<Found>,
    /// What checks gave when they last held. They are run again, but what they give seldom changes:
    /// without this, every plan would have changes behind them.
    pub checked: HashMap<StepId, Outputs>,
}

/// What stands of one step.
#[derive(Clone, Debug)]
pub struct SeenStep {
    /// What its provider saw.
    pub observed: Observed,
    /// What applying it would change, where its provider could tell; `None` where it could not yet.
    pub changes: Option<Vec<Change>>,
}

/// Why there can be no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something in the way belongs to someone else. All of it is named.
    #[error("{} in the way:\n{}", things(.0.len()), list(.0))]
    Foreign(Vec<(StepId, String)>),
    /// A step's values cannot be had.
    #[error("the step `{step}` cannot be planned")]
    Step {
        /// Which step.
        step: StepId,
        /// Why.
        #[source]
        source: StepError,
    },
}

fn things(count: usize) -> String {
    if count == 1 {
        "something stands".to_owned()
    } else {
        format!("{count} things stand")
    }
}

fn list(foreign: &[(StepId, String)]) -> String {
    foreign
        .iter()
        .map(|(step, why)| format!("  {step}: {why}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Plans how to bring the world to what the platform asks for.
///
/// # Errors
/// Things in the way that belong to others; values that cannot be had.
pub fn plan_apply(wanted: Wanted, seen: &Seen, id: PlanId, made_at: String) -> Result<Plan, Error> {
    let expressions = Expressions::default();
    let mut known: HashMap<StepId, Option<Outputs>> =
        wanted.steps.iter().map(|step| (step.id.clone(), None)).collect();
    let mut foreign = Vec::new();
    let mut steps = Vec::with_capacity(wanted.steps.len());
    for step in &wanted.steps {
        let filled = Evaluator::with(&wanted, &expressions, &known)
            .step(step)
            .map_err(|source| Error::Step {
                step: step.id.clone(),
                source,
            })?;
        let absent = SeenStep {
            observed: Observed::absent(),
            changes: None,
        };
        let stands = seen.steps.get(&step.id).unwrap_or(&absent);
        if let Standing::Foreign { why } = &stands.observed.standing {
            foreign.push((step.id.clone(), why.clone()));
            continue;
        }
        if let Some(why) = stands_elsewhere(step, stands, seen) {
            foreign.push((step.id.clone(), why));
            continue;
        }
        let adopted_before = seen
            .owned
            .iter()
            .any(|owned| owned.adopted && owned.step == step.id);
        let planned = decide(step, &filled, stands, adopted_before);
        if planned.action == Action::None {
            known.insert(step.id.clone(), Some(planned.outputs.clone()));
        } else if let (Action::Check, Some(outputs)) = (planned.action, seen.checked.get(&step.id)) {
            known.insert(step.id.clone(), Some(outputs.clone()));
        }
        steps.push(planned);
    }
    if !foreign.is_empty() {
        return Err(Error::Foreign(foreign));
    }
    let asked_for: HashSet<&StepId> = wanted.steps.iter().map(|step| &step.id).collect();
    let unwanted: Vec<&Owned> = seen
        .owned
        .iter()
        .filter(|owned| !asked_for.contains(&owned.step))
        .collect();
    for owned in &unwanted {
        steps.push(no_longer_wanted(
            owned,
            &seen.owned,
            "no longer in the platform file",
        ));
    }
    Ok(Plan {
        format: FORMAT,
        id,
        made_at,
        purpose: Purpose::Apply,
        steps: in_order(steps),
        // What the file and the world have to say is found once there is a plan to look at.
        findings: Vec::new(),
        wanted,
        marks: None,
    })
}

/// Why a step that is missing where the file puts it must not be made: it stands where the file put it
/// before, or as what the file made of it before, and would stand there for ever.
fn stands_elsewhere(step: &WantedStep, stands: &SeenStep, seen: &Seen) -> Option<String> {
    let was = |owned: &&Owned| owned.step == step.id && owned.kind != step.kind && !owned.adopted;
    if let Some(old) = seen.owned.iter().find(was) {
        return Some(format!(
            "it stands as `{}` and is `{}` in the file, and a step cannot change what it is; give the new one another \
             name, and the old one is removed",
            old.kind.word(),
            step.kind.word()
        ));
    }
    let missing = step.kind == StepKind::Stack && stands.observed.standing == Standing::Absent;
    let old = seen
        .owned
        .iter()
        .find(|owned| missing && owned.step == step.id && !owned.adopted)?;
    let region = old
        .address
        .get("region")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("another region");
    Some(format!(
        "it stands in {region}, and a stack cannot move; put the region back, or take the step out of the file, apply, and \
         add it again"
    ))
}

fn decide(step: &WantedStep, filled: &Step, stands: &SeenStep, adopted_before: bool) -> PlannedStep {
    let observed = &stands.observed;
    let unknown_until = filled.waits_for();
    let changes = stands.changes.clone().unwrap_or_default();
    let first_unknown = unknown_until.first().map(|step| step.as_str().to_owned());
    let (action, reason) = match &observed.standing {
        _ if step.kind == StepKind::Check => (Action::Check, "looked at in every run".to_owned()),
        Standing::Absent => (Action::Create, "does not exist yet".to_owned()),
        Standing::Leftover { state, why } => (Action::Create, format!("{state}: {why}")),
        Standing::Stuck { state, why } => (Action::Update, format!("{state}: {why}")),
        Standing::Busy { state } => (
            Action::Update,
            format!("{state}: waits until that is over, then brings it up to date"),
        ),
        Standing::Found { what } if adopted_before => (Action::None, format!("uses {what}")),
        Standing::Found { what } => (Action::Adopt, format!("uses {what}; destroy leaves it in place")),
        Standing::Foreign { why } => (Action::None, why.clone()),
        Standing::Present { .. } if !changes.is_empty() => (Action::Update, summary(&changes)),
        Standing::Present { .. } => match first_unknown {
            Some(source) => (
                Action::Update,
                format!("looked at again after {source}, whose outputs may change"),
            ),
            None => (Action::None, "up to date".to_owned()),
        },
    };
    PlannedStep {
        id: step.id.clone(),
        kind: step.kind,
        action,
        reason,
        after: step.after.clone(),
        unknown_until,
        changes: if action == Action::Create {
            created(filled)
        } else {
            changes
        },
        seen: observed.fingerprint.clone(),
        outputs: if action == Action::None {
            observed.outputs.clone()
        } else {
            Outputs::new()
        },
        owned: observed.owned.clone(),
        estimate: None,
    }
}

/// What a step that does not exist yet will make, as far as its definition tells.
fn created(step: &Step) -> Vec<Change> {
    let add = |subject: &str, kind: &str| Change {
        effect: Effect::Add,
        subject: subject.to_owned(),
        kind: kind.to_owned(),
        properties: Vec::new(),
    };
    match &step.work {
        landfall_model::work::Work::Stack(stack) => stack
            .interface
            .resources
            .iter()
            .map(|(id, resource)| add(id, &resource.kind))
            .collect(),
        // Each resource once, with how many there will be; then where.
        landfall_model::work::Work::StackSet(set) => {
            let places: Vec<String> = set.places().map(|(id, region)| instance(id, region)).collect();
            let resources = set.interface.resources.iter();
            resources
                .map(|(id, resource)| add(&format!("{id} × {}", places.len()), &resource.kind))
                .chain(places.iter().map(|place| add(place, "")))
                .collect()
        }
        landfall_model::work::Work::Objects(work) => work
            .objects
            .iter()
            .map(|object| add(&object.name, &object.kind))
            .collect(),
        landfall_model::work::Work::Request(work) => {
            let names = work.resources.iter().map(|resource| resource.name.as_str());
            names.map(|name| add(name, "")).collect()
        }
        landfall_model::work::Work::Files(files) | landfall_model::work::Work::Entity(files) => files
            .files
            .value()
            .into_iter()
            .flat_map(|files| files.keys())
            .map(|path| add(path, ""))
            .collect(),
        _ => Vec::new(),
    }
}

/// What a plan calls one place a stack set goes to. Providers call it the same.
fn instance(id: &str, region: &str) -> String {
    format!("instance {id}/{region}")
}

fn summary(changes: &[Change]) -> String {
    let count = |effects: &[Effect]| {
        changes
            .iter()
            .filter(|change| effects.contains(&change.effect))
            .count()
    };
    let parts = [
        (count(&[Effect::Add]), "added"),
        (count(&[Effect::Modify]), "changed in place"),
        (count(&[Effect::Replace, Effect::MayReplace]), "replaced"),
        (count(&[Effect::Remove]), "removed"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    parts.join(", ")
}

/// Puts each step after all it waits for; edges to steps that are not in the plan are dropped, and
/// so is an edge that would close a circle (a step now wanted the other way round).
pub(crate) fn in_order(steps: Vec<PlannedStep>) -> Vec<PlannedStep> {
    let index: HashMap<StepId, usize> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| (step.id.clone(), index))
        .collect();
    let edges: Vec<Vec<usize>> = steps
        .iter()
        .map(|step| {
            step.after
                .iter()
                .filter_map(|id| index.get(id).copied())
                .collect()
        })
        .collect();
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; steps.len()];
    let mut kept: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    for start in 0..steps.len() {
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.pop() {
            if next == 0 {
                if marks[at] != Mark::New {
                    continue;
                }
                marks[at] = Mark::Open;
            }
            match edges[at].get(next) {
                Some(before) => {
                    if marks[*before] != Mark::Open {
                        kept[at].push(*before);
                    }
                    stack.push((at, next + 1));
                    if marks[*before] == Mark::New {
                        stack.push((*before, 0));
                    }
                }
                None => {
                    marks[at] = Mark::Done;
                    order.push(at);
                }
            }
        }
    }
    let ids: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
    let mut slots: Vec<Option<PlannedStep>> = steps.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|at| {
            let mut step = slots[at].take()?;
            let mut after: Vec<StepId> = kept[at].iter().map(|before| ids[*before].clone()).collect();
            after.sort();
            after.dedup();
            step.after = after;
            Some(step)
        })
        .collect()
}

/// What has moved since a plan was made: the reasons why it must not be applied any more.
pub fn moved(plan: &Plan, seen: &Seen) -> Vec<String> {
    let absent = Observed::absent().fingerprint;
    let mut moved: Vec<String> = plan
        .steps
        .iter()
        .filter(|step| step.kind != StepKind::Check && plan.wanted.step(&step.id).is_some())
        .filter_map(|step| {
            let now = seen
                .steps
                .get(&step.id)
                .map_or(absent.as_str(), |seen| &seen.observed.fingerprint);
            (now != step.seen)
                .then(|| format!("{}: was {}, is {}", step.id, state_of(&step.seen), state_of(now)))
        })
        .collect();
    // What is to be removed must be the very thing that was there, and still be meant to go.
    let key = |owned: &Owned| (owned.address.clone(), owned.retain, owned.adopted);
    moved.extend(
        plan.steps
            .iter()
            .filter(|step| step.action == Action::Delete)
            .filter_map(|step| {
                let planned = step.owned.as_ref()?;
                let now = seen.owned.iter().find(|owned| owned.step == step.id)?;
                (key(now) != key(planned))
                    .then(|| format!("{}: is not what was to be removed any more", step.id))
            }),
    );
    let planned: HashSet<&StepId> = plan.steps.iter().map(|step| &step.id).collect();
    moved.extend(
        seen.owned
            .iter()
            .filter(|owned| !planned.contains(&owned.step))
            .map(|owned| format!("{}: has been made since", owned.step)),
    );
    moved
}

/// A fingerprint starts with the state in words, up to the first `@`.
fn state_of(fingerprint: &str) -> String {
    match fingerprint.split_once('@') {
        Some((state, rest)) => format!("{state} ({})", rest.split('@').next().unwrap_or_default()),
        None => fingerprint.to_owned(),
    }
}
