//! Which world the work is done in: a real account, or a simulated one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use landfall_aws::{Account, Leftovers, Secrets, Stacks};
use landfall_local::Files;
use landfall_model::definition::StepKind;
use landfall_model::plan::{Plan, PlannedStep};
use landfall_model::wanted::{Facts, Wanted};
use landfall_runner::{Clock, Provider, Providers, Sweeper, SystemClock, WhoAmI};
use landfall_session::Session;
use landfall_sim::{SimAccount, SimObjects, SimSecrets, SimStacks, SimSweeper};
use landfall_store::Store;
use landfall_web::Checks;

use crate::files::Loaded;
use crate::trouble::Usage;

/// The folder of records beside the platform file: one for each platform, account and region, so that
/// several files in one folder, or a file that was renamed, never share theirs.
pub(crate) fn records(facts: &Facts, folder: &Path) -> PathBuf {
    let Facts {
        name,
        account,
        region,
        tags: _,
    } = facts;
    folder
        .join(".landfall")
        .join(format!("{name}.{account}.{region}"))
}

/// A session in the AWS account the platform declares. Credentials of any other are refused.
pub(crate) async fn aws(loaded: &Loaded) -> anyhow::Result<Session> {
    carried_out(&loaded.wanted)?;
    let facts = &loaded.wanted.facts;
    let account = Account::connect(&facts.account, &facts.region).await?;
    Ok(session(
        loaded,
        Arc::new(SystemClock),
        Parts {
            stacks: Arc::new(Stacks::new(account.clone())),
            objects: None,
            secrets: Arc::new(Secrets::new(account.clone())),
            sweeper: Arc::new(Leftovers::new(account.clone())),
            who: account,
        },
    ))
}

/// Refuses what only the simulated cloud can carry out so far.
fn carried_out(wanted: &Wanted) -> anyhow::Result<()> {
    match wanted.steps.iter().find(|step| step.kind == StepKind::Objects) {
        None => Ok(()),
        Some(step) => Err(Usage::error(
            format!(
                "the step `{}` makes Kubernetes objects, which works in the simulated cloud only so far",
                step.id
            ),
            "take the component out of the platform file; `landfall up cluster` shows what such steps will do",
        )),
    }
}

/// A session in a simulated cloud.
pub(crate) fn simulated(loaded: &Loaded, clock: Arc<dyn Clock>, cloud: &Arc<landfall_sim::World>) -> Session {
    session(
        loaded,
        clock,
        Parts {
            stacks: Arc::new(SimStacks::new(cloud.clone())),
            objects: Some(Arc::new(SimObjects::new(cloud.clone()))),
            secrets: Arc::new(SimSecrets::new(cloud.clone())),
            sweeper: Arc::new(SimSweeper::new(cloud.clone())),
            who: Arc::new(SimAccount::new(cloud.clone())),
        },
    )
}

/// What differs between a real account and a simulated one.
struct Parts {
    stacks: Arc<dyn Provider>,
    objects: Option<Arc<dyn Provider>>,
    secrets: Arc<dyn Provider>,
    sweeper: Arc<dyn Sweeper>,
    who: Arc<dyn WhoAmI>,
}

fn session(loaded: &Loaded, clock: Arc<dyn Clock>, parts: Parts) -> Session {
    let Parts {
        stacks,
        objects,
        secrets,
        sweeper,
        who,
    } = parts;
    let Loaded { wanted, folder } = loaded;
    let records = records(&wanted.facts, folder);
    let files: Arc<dyn Provider> = Arc::new(Files::new(folder.to_owned(), records.join("files")));
    let mut providers = Providers::default()
        .with(StepKind::Stack, stacks)
        .with(StepKind::Secret, secrets)
        .with(StepKind::Files, files.clone())
        .with(StepKind::Entity, files)
        .with(StepKind::Check, Arc::new(Checks::new(who, clock.clone())))
        .with_sweeper(sweeper);
    if let Some(objects) = objects {
        providers = providers.with(StepKind::Objects, objects);
    }
    Session {
        wanted: wanted.clone(),
        providers,
        clock,
        store: Store::folder(records),
        unique: Arc::new(|| uuid::Uuid::new_v4().simple().to_string()[..6].to_owned()),
        usually: Arc::new(usually),
    }
}

/// What such a step usually takes, by the recorded durations the simulated cloud runs on.
fn usually(plan: &Plan, step: &PlannedStep) -> Option<u64> {
    landfall_sim::usually_ms(plan, step)
}
