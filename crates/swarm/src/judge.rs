//! What must hold, whatever went wrong. Asks the world and the records, not those who worked on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use landfall_model::StepId;
use landfall_model::journal::Entry;
use landfall_model::plan::Action;
use landfall_store::{PastRun, Store};
use serde_json::Value;

use crate::process::Stage;

/// What is wrong now, in sentences; nothing when all is well.
pub(crate) async fn judge(stage: &Stage) -> Vec<String> {
    let mut wrong = std::mem::take(&mut *stage.denied.lock().expect("nobody panics while judging"));
    wrong.extend(numbered(stage));
    let twice = stage.world.created_twice();
    wrong.extend(
        twice
            .into_iter()
            // What a driver left when its claim went is no second one of the claim that came after.
            .filter(|what| !(stage.volumes_left && what.contains("AWS::EC2::Volume")))
            .map(|what| format!("there are two of {what}")),
    );
    match Store::over(std::sync::Arc::new(stage.memory.clone()))
        .all_runs()
        .await
    {
        Err(error) => wrong.push(format!("the records cannot be read: {error}")),
        Ok(runs) => {
            let mut intents = BTreeSet::new();
            for run in &runs {
                wrong.extend(sound(run, &mut intents));
            }
            wrong.extend(
                stage
                    .world
                    .intents()
                    .into_iter()
                    .filter(|token| !intents.contains(token))
                    .map(|token| {
                        format!("something was done under the intent {token}, which is not on record")
                    }),
            );
        }
    }
    wrong
}

/// The numbered journal: no gaps, and no record of an earlier epoch after one of a later.
fn numbered(stage: &Stage) -> Vec<String> {
    let mut first: BTreeMap<u64, Value> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    for wrote in stage.memory.history() {
        let number = wrote
            .name
            .strip_prefix("journal/")
            .and_then(|name| name.strip_suffix(".json")?.parse().ok());
        let (Some(number), Some(bytes)) = (number, wrote.bytes) else {
            continue;
        };
        // A late write may land where a record was put away; nobody reads there.
        if first.contains_key(&number) {
            continue;
        }
        let line: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let content = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(before) = acknowledged.insert(content, number) {
            wrong.push(format!("the record {before} stands again as {number}"));
        }
        first.insert(number, line);
    }
    let mut epoch = 0;
    for (expected, (number, line)) in (1..).zip(&first) {
        if *number != expected {
            wrong.push(format!("the journal has no record {expected}"));
            break;
        }
        let of = line["epoch"].as_u64().unwrap_or(0);
        if of < epoch {
            wrong.push(format!(
                "the record {number} is of epoch {of}, after one of epoch {epoch}"
            ));
        }
        epoch = epoch.max(of);
    }
    wrong
}

/// One run: begun before done, once each, in order, and never after a failure it depends on.
fn sound(run: &PastRun, intents: &mut BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut done: BTreeSet<&StepId> = run
        .plan
        .steps
        .iter()
        .filter(|step| step.action == Action::None)
        .map(|step| &step.id)
        .collect();
    if let Err(error) = landfall_runner::resume(&run.plan, &run.records) {
        wrong.push(format!("the run {} does not hang together: {error}", run.run));
    }
    for record in &run.records {
        match &record.entry {
            Entry::StepStarted { step, token } => {
                intents.insert(token.clone());
                let planned = run.plan.step(step);
                let missing = planned
                    .into_iter()
                    .flat_map(|step| &step.after)
                    .find(|before| run.plan.step(before).is_some() && !done.contains(before));
                if let Some(before) = missing {
                    wrong.push(format!("{step} was begun before {before} was done"));
                }
            }
            Entry::StepDone { step, .. } if !done.insert(step) => {
                wrong.push(format!("{step} was done twice in one run"));
            }
            _ => {}
        }
    }
    wrong
}
