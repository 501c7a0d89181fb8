//! What a platform owns, what its checks gave, and how long its steps took: everything that runs recorded,
//! folded into one document.
//!
//! The fold depends on the records alone, in their order. So whoever makes it gets the same, and it does not
//! matter who keeps it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use landfall_model::StepId;
use landfall_model::id::RunId;
use landfall_model::journal::{Entry, Record};
use landfall_model::leftover::Landmark;
use landfall_model::plan::{Plan, PlannedStep, Purpose};
use landfall_model::provider::{Outcome, Outputs, Owned};
use landfall_runner::Place;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::Error;
use crate::files::{parse, pretty};
use crate::journal::{self, Line, Said};
use crate::read::{self, LOOKS, path};
use crate::runs;

pub(crate) const NAME: &str = "inventory.json";

/// How many times count in a mean: later ones weigh as much as the eighth, so that the mean follows.
const WEIGHT: u64 = 8;

/// What the platform owned when something was last changed, and what was learned on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Everything owned, by step.
    pub owned: Vec<Owned>,
    /// What checks gave when they last held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checked: BTreeMap<StepId, Outputs>,
    /// Networks and clusters there were since the last teardown: what they mark may outlive them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub landmarks: BTreeSet<Landmark>,
    /// Regions in which anything was made since the last teardown: it searches all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<String>,
    /// How long steps took.
    #[serde(default, skip_serializing_if = "Durations::is_empty")]
    pub durations: Durations,
    /// The last run that recorded anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunId>,
    /// The number of the last record folded in. None when an older Landfall wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
}

/// How long steps took, by definition, step and action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Durations(pub BTreeMap<String, Learned>);

/// How long one kind of thing took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Learned {
    /// How many times it was timed.
    pub count: u64,
    /// The mean, recent ones weighing more.
    pub mean_ms: u64,
}

impl Durations {
    /// Under what the durations of a step are kept: `<definition>/<step>:<action>`. None when its component
    /// is no longer in the platform file: nobody knows any more what it was.
    pub fn key(plan: &Plan, step: &PlannedStep) -> Option<String> {
        let component = plan.wanted.components.get(step.id.component())?;
        Some(format!(
            "{}/{}:{}",
            component.uses,
            step.id.step(),
            step.action.word()
        ))
    }

    /// What was learned under a key.
    pub fn of(&self, key: &str) -> Option<Learned> {
        self.0.get(key).copied()
    }

    /// What was learned about a step of a plan.
    pub fn of_step(&self, plan: &Plan, step: &PlannedStep) -> Option<Learned> {
        self.of(&Durations::key(plan, step)?)
    }

    /// Whether nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one more time in.
    pub fn learn(&mut self, key: String, took_ms: u64) {
        let Learned { count, mean_ms } = self.0.entry(key).or_default();
        *count += 1;
        let weight = (*count).min(WEIGHT);
        // Rounded to the nearest, or a mean would never reach what it nears from below.
        *mean_ms = (*mean_ms * (weight - 1) + took_ms + weight / 2) / weight;
    }
}

impl Inventory {
    /// Takes one record of a run in.
    pub(crate) fn take(&mut self, run: &RunId, record: &Record, plan: Option<&Plan>) {
        self.last_run = Some(run.clone());
        match &record.entry {
            Entry::StepDone {
                step,
                outcome,
                outputs,
                owned,
                took_ms,
                landmarks,
                ..
            } => {
                self.landmarks.extend(landmarks.iter().cloned());
                let region = owned
                    .as_ref()
                    .and_then(|owned| owned.address.get("region")?.as_str());
                self.regions.extend(region.map(str::to_owned));
                self.done(step, *outcome, outputs, owned.as_ref());
                if matches!(outcome, Outcome::Created | Outcome::Updated | Outcome::Removed) {
                    let key = plan.and_then(|plan| Durations::key(plan, plan.step(step)?));
                    if let Some(key) = key {
                        self.durations.learn(key, *took_ms);
                    }
                }
            }
            Entry::RunStarted { .. } => {
                if let Some(marks) = plan.and_then(|plan| plan.marks.as_ref()) {
                    self.landmarks.extend(marks.landmarks.iter().cloned());
                    self.regions.extend(marks.regions.iter().cloned());
                }
            }
            Entry::RunFinished { succeeded } => {
                let Some(plan) = plan else { return };
                // A plan names everything that stood when it was made. What it does not name was gone already,
                // by whatever hand.
                self.owned.retain(|owned| plan.step(&owned.step).is_some());
                if *succeeded && plan.purpose == Purpose::Destroy {
                    // What someone else made is not used by this platform any more; not ours to remember.
                    self.owned.retain(|owned| !owned.adopted);
                    // Its last step has searched by all of them, and found nothing.
                    self.landmarks.clear();
                    self.regions.clear();
                }
            }
            _ => {}
        }
    }

    fn done(&mut self, step: &StepId, outcome: Outcome, outputs: &Outputs, owned: Option<&Owned>) {
        match (outcome, owned) {
            (Outcome::Removed, _) => self.owned.retain(|one| one.step != *step),
            (Outcome::Passed, _) => {
                self.checked.insert(step.clone(), outputs.clone());
            }
            (_, Some(owned)) => {
                self.owned.retain(|one| one.step != *step);
                self.owned.push(owned.clone());
                self.owned.sort_by(|a, b| a.step.cmp(&b.step));
            }
            (_, None) => {}
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        pretty(self)
    }
}

/// The inventory as it is kept, with its version.
pub(crate) async fn kept(place: &dyn Place) -> Result<Option<(Inventory, String)>, Error> {
    let Some(kept) = place.read(NAME).await? else {
        return Ok(None);
    };
    let inventory = parse(&path(place, NAME), &kept.bytes)?;
    Ok(Some((inventory, kept.version)))
}

/// What to fold records into, when what is kept does not say how far it goes: what an older Landfall kept
/// lacks at most what its last run did; what was lost is made anew from all runs.
async fn beginning(store: &Store, kept: Option<Inventory>) -> Result<(Inventory, Vec<RunId>), Error> {
    let mut moved = runs::put_away(store.place.as_ref()).await?;
    let mut inventory = match kept {
        Some(inventory) => {
            moved.drain(..moved.len().saturating_sub(1));
            inventory
        }
        None => Inventory::default(),
    };
    for run in &moved {
        let plan = runs::plan_if_readable(store.place.as_ref(), run).await?;
        for record in runs::moved_records(store.place.as_ref(), run).await?.records {
            inventory.take(run, &record, plan.as_ref());
        }
    }
    Ok((inventory, moved))
}

/// Folds records in, as far as they go.
pub(crate) async fn fold(
    store: &Store,
    kept: Option<Inventory>,
    lines: &[(u64, Line)],
) -> Result<Inventory, Error> {
    let (mut inventory, folded) = match kept {
        Some(inventory) if inventory.through.is_some() => (inventory, Vec::new()),
        kept => {
            let lost = kept.is_none();
            let (inventory, folded) = beginning(store, kept).await?;
            // An older Landfall's run that goes on has records in both places, and all of them count.
            (inventory, if lost { folded } else { Vec::new() })
        }
    };
    let mut plans: HashMap<&RunId, Option<Plan>> = HashMap::new();
    let mut through = inventory.through.unwrap_or_default();
    for (number, line) in lines.iter().filter(|(number, _)| *number > through) {
        if let Said::Record(run, record) = &line.said
            && !folded.contains(run)
        {
            if !plans.contains_key(run) {
                plans.insert(run, runs::plan_if_readable(store.place.as_ref(), run).await?);
            }
            inventory.take(run, record, plans[run].as_ref());
        }
        inventory.through = Some(*number);
    }
    through = through.max(inventory.through.unwrap_or_default());
    inventory.through = Some(through);
    Ok(inventory)
}

impl Store {
    /// What the platform owns: the inventory, and what runs recorded since. Never waits for who writes.
    ///
    /// # Errors
    /// Records cannot be read.
    pub async fn inventory(&self) -> Result<Inventory, Error> {
        let place = self.place.as_ref();
        let mut missing = 0;
        for _ in 0..LOOKS {
            let before = kept(place).await?;
            let through = before.as_ref().and_then(|(inventory, _)| inventory.through);
            let Some(lines) = read::numbered(place, through.unwrap_or_default()).await? else {
                continue;
            };
            if before.is_some() {
                if let Some(number) = read::hole(through.unwrap_or_default(), &lines) {
                    // Put away in between; then the inventory has gone on too.
                    missing = number;
                    continue;
                }
            } else if kept(place).await?.is_some() {
                continue;
            }
            return fold(self, before.map(|(inventory, _)| inventory), &lines).await;
        }
        Err(Error::Missing {
            path: path(place, &journal::name(missing)),
        })
    }
}
