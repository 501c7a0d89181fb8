//! Looks at the world before a plan: everything at once, and nothing changed.

use std::collections::HashMap;

use futures::stream::{self, StreamExt};
use landfall_engine::{Evaluator, Expressions, Seen, SeenStep};
use landfall_model::definition::StepKind;
use landfall_model::provider::{Outputs, Owned, Standing};
use landfall_model::wanted::Wanted;
use landfall_model::{StepId, work::Step};

use crate::ports::{ObserveError, Providers};

/// How many observations go on at once: enough to be quick, few enough not to be throttled.
const AT_ONCE: usize = 8;

/// Why the world could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A step's values cannot be had.
    #[error("the step `{step}` cannot be looked at")]
    Step {
        /// Which step.
        step: StepId,
        /// Why.
        #[source]
        source: landfall_engine::evaluate::StepError,
    },
    /// A provider failed.
    #[error(transparent)]
    Provider(#[from] ObserveError),
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At what stands, and at what would change: for a plan.
    AtChanges,
    /// At what stands only: enough to remove it or to check it, and possible although a change would be
    /// refused.
    AtWhatStands,
}

/// What was recorded of a platform before.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// What it owned.
    pub owned: Vec<Owned>,
    /// What its checks gave when they last held.
    pub checked: HashMap<StepId, Outputs>,
}

/// What stands of a platform.
///
/// # Errors
/// A world that cannot be looked at: half a view would make a wrong plan.
pub async fn look(
    wanted: &Wanted,
    providers: &Providers,
    remembered: Remembered,
    closely: Look,
) -> Result<Seen, LookError> {
    let nothing: HashMap<StepId, Option<Outputs>> =
        wanted.steps.iter().map(|step| (step.id.clone(), None)).collect();
    let filled = fill(wanted, &nothing)?;
    for provider in providers.all() {
        provider.remember(&remembered.owned);
    }
    let observed: Vec<_> = stream::iter(filled)
        .map(|step| async move {
            let observed = providers.of(step.kind()).observe(&step).await?;
            Ok::<_, ObserveError>((step.id, observed))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut steps: HashMap<StepId, SeenStep> = HashMap::new();
    for result in observed {
        let (id, observed) = result?;
        steps.insert(
            id,
            SeenStep {
                observed,
                changes: None,
            },
        );
    }
    let Remembered {
        owned: remembered,
        checked,
    } = remembered;
    if closely == Look::AtChanges {
        preview(wanted, providers, &mut steps, &checked).await?;
    }
    let owned = owned(wanted, providers, &steps, remembered).await?;
    Ok(Seen {
        steps,
        owned,
        checked,
        ..Seen::default()
    })
}

/// Asks what would change, taking the outputs that stand now for those that will be.
async fn preview(
    wanted: &Wanted,
    providers: &Providers,
    steps: &mut HashMap<StepId, SeenStep>,
    checked: &HashMap<StepId, Outputs>,
) -> Result<(), LookError> {
    let outputs: HashMap<StepId, Option<Outputs>> = wanted
        .steps
        .iter()
        .map(|step| {
            if step.kind == StepKind::Check {
                return (step.id.clone(), checked.get(&step.id).cloned());
            }
            let seen = steps.get(&step.id).map(|seen| &seen.observed);
            let stands =
                seen.filter(|seen| !matches!(seen.standing, Standing::Absent | Standing::Leftover { .. }));
            (step.id.clone(), stands.map(|seen| seen.outputs.clone()))
        })
        .collect();
    let present = |id: &StepId| {
        steps
            .get(id)
            .is_some_and(|seen| matches!(seen.observed.standing, Standing::Present { .. }))
    };
    let ready: Vec<Step> = fill(wanted, &outputs)?
        .into_iter()
        .filter(|step| present(&step.id) && step.waits_for().is_empty())
        .collect();
    let previews: Vec<_> = stream::iter(ready)
        .map(|step| {
            let seen = steps[&step.id].observed.clone();
            async move {
                let changes = providers.of(step.kind()).preview(&step, &seen).await?;
                Ok::<_, ObserveError>((step.id, changes))
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for result in previews {
        let (id, changes) = result?;
        if let Some(seen) = steps.get_mut(&id) {
            seen.changes = Some(changes);
        }
    }
    Ok(())
}

fn fill(wanted: &Wanted, outputs: &HashMap<StepId, Option<Outputs>>) -> Result<Vec<Step>, LookError> {
    let expressions = Expressions::default();
    let evaluator = Evaluator::with(wanted, &expressions, outputs);
    wanted
        .steps
        .iter()
        .map(|step| {
            evaluator.step(step).map_err(|source| LookError::Step {
                step: step.id.clone(),
                source,
            })
        })
        .collect()
}

/// What the platform owns: what its steps stand as, what the world says carries its mark, and what
/// the inventory remembers of worlds that carry no marks (files). The world wins.
async fn owned(
    wanted: &Wanted,
    providers: &Providers,
    steps: &HashMap<StepId, SeenStep>,
    remembered: Vec<Owned>,
) -> Result<Vec<Owned>, LookError> {
    let mut owned: HashMap<StepId, Owned> = HashMap::new();
    for provider in providers.all() {
        for found in provider.owned(&wanted.facts.name).await? {
            owned.insert(found.step.clone(), found);
        }
    }
    // What someone else made is ours to use only once a run has recorded that.
    for seen in steps
        .values()
        .filter_map(|seen| seen.observed.owned.clone())
        .filter(|seen| !seen.adopted)
    {
        owned.insert(seen.step.clone(), seen);
    }
    for one in remembered {
        if let Some(known) = owned.get_mut(&one.step) {
            known.after.clone_from(&one.after);
            known.retain |= one.retain;
            known.adopted |= one.adopted;
            // The world does not tell which buckets are to be emptied; what was recorded of this very
            // thing does.
            if known.address.get("id").is_some() && known.address.get("id") == one.address.get("id") {
                known.address = one.address;
            }
        // What the world no longer shows is gone, whatever we remember.
        } else if one.adopted || providers.of(one.kind).stands(&one).await? {
            owned.insert(one.step.clone(), one);
        }
    }
    for step in &wanted.steps {
        if let Some(known) = owned.get_mut(&step.id) {
            // What it was made after still counts: a thing that it no longer needs must not go first.
            known.after.extend(step.after.iter().cloned());
            known.after.sort();
            known.after.dedup();
            known.retain = step.retain;
        }
    }
    let mut list: Vec<Owned> = owned.into_values().collect();
    list.sort_by(|a, b| a.step.cmp(&b.step));
    Ok(list)
}
