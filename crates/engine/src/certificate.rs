//! Draws up the certificate of a teardown, from what its runs recorded and from a fresh look at the world.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use landfall_model::certificate::{Certificate, FORMAT, RemovedThing, RetainedThing};
use landfall_model::id::RunId;
use landfall_model::journal::{Entry, Record};
use landfall_model::leftover::Found;
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::{Outcome, Owned};
use landfall_model::wanted::Facts;

use crate::Seen;

/// How a search names the owner of what a step that is no stack has made.
const OF_A_STEP: &str = "landfall:";

/// One run of a teardown.
#[derive(Clone, Copy, Debug)]
pub struct TeardownRun<'a> {
    /// Which run.
    pub run: &'a RunId,
    /// What it carried out.
    pub plan: &'a Plan,
    /// What it recorded.
    pub records: &'a [Record],
}

/// What is left of a platform, after these runs and in the light of what stands now. `after` must come from
/// a look and a search made when the last of them was over.
pub fn certify(facts: &Facts, runs: &[TeardownRun<'_>], after: &Seen, at: String) -> Certificate {
    let mut removed = BTreeMap::new();
    let mut swept: BTreeSet<Found> = BTreeSet::new();
    let mut retained: BTreeSet<RetainedThing> = BTreeSet::new();
    let mut remarks = Vec::new();
    for run in runs {
        for record in run.records {
            match &record.entry {
                Entry::StepDone {
                    step,
                    outcome: Outcome::Removed,
                    notes,
                    ..
                } => {
                    let planned = run.plan.step(step);
                    let thing = RemovedThing {
                        step: step.clone(),
                        kind: planned.map_or(landfall_model::definition::StepKind::Stack, |step| step.kind),
                        name: planned
                            .and_then(|step| step.owned.as_ref())
                            .map(name)
                            .unwrap_or_default(),
                    };
                    removed.insert(step.clone(), thing);
                    remarks.extend(notes.iter().map(|note| format!("{step}: {note}")));
                }
                Entry::Sweeping { leftover, .. } | Entry::SweptAway { leftover, .. } => {
                    swept.insert(leftover.clone());
                }
                _ => {}
            }
        }
        retained.extend(
            run.plan
                .steps
                .iter()
                .filter(|step| step.action == Action::None)
                .map(|step| RetainedThing {
                    what: step.id.to_string(),
                    why: step.reason.clone(),
                }),
        );
    }
    // What went in a later run was not kept after all.
    retained.retain(|thing| !removed.keys().any(|step| step.as_str() == thing.what));
    let kept: HashSet<&str> = retained.iter().map(|thing| thing.what.as_str()).collect();
    let standing: Vec<_> = after
        .owned
        .iter()
        .filter(|owned| !owned.adopted && !kept.contains(owned.step.as_str()))
        .map(|owned| owned.step.clone())
        .collect();
    let stacks: HashSet<&str> = after.owned.iter().filter_map(stack_id).collect();
    let ours: HashSet<&str> = runs
        .iter()
        .flat_map(|run| &run.plan.steps)
        .filter_map(|step| step.owned.as_ref().and_then(stack_id))
        .collect();
    let mut found = Vec::new();
    for one in &after.found {
        match one.stack.as_deref() {
            // It stands with its stack or step, which is told of already.
            Some(stack) if stacks.contains(stack) || stack.starts_with(OF_A_STEP) => {}
            Some(stack) if ours.contains(stack) => {
                retained.insert(RetainedThing {
                    what: format!("{} {}", one.kind, one.id),
                    why: format!("kept by the template of {stack}, which is gone"),
                });
            }
            Some(stack) => remarks.push(format!(
                "{} {} carries a mark of the platform and belongs to {stack}, which is not the platform's; left alone",
                one.kind, one.id
            )),
            None => found.push(one.clone()),
        }
    }
    let still: HashSet<&str> = after.found.iter().map(|one| one.id.as_str()).collect();
    swept.retain(|one| !still.contains(one.id.as_str()));
    Certificate {
        format: FORMAT,
        platform: facts.name.clone(),
        account: facts.account.clone(),
        region: facts.region.clone(),
        at,
        runs: runs.iter().map(|run| run.run.clone()).collect(),
        clean: standing.is_empty() && found.is_empty(),
        removed: removed.into_values().collect(),
        swept: swept.into_iter().collect(),
        retained: retained.into_iter().collect(),
        remarks,
        searched: after.marks.clone(),
        found,
        standing,
    }
}

/// What the world calls something owned: a stack's name, a folder.
pub fn name(owned: &Owned) -> String {
    let text = |key: &str| owned.address.get(key).and_then(serde_json::Value::as_str);
    text("name")
        .or_else(|| text("root"))
        .unwrap_or_default()
        .to_owned()
}

fn stack_id(owned: &Owned) -> Option<&str> {
    owned.address.get("id").and_then(serde_json::Value::as_str)
}
