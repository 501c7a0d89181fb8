//! Which world the work is done in: a real account, or a simulated one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use landfall_aws::{Account, Leftovers, S3Place, Secrets, Stacks};
use landfall_local::Files;
use landfall_model::definition::StepKind;
use landfall_model::plan::{Plan, PlannedStep};
use landfall_model::wanted::{Facts, Wanted};
use landfall_runner::{Clock, Provider, Providers, Sweeper, SystemClock, WhoAmI};
use landfall_session::Session;
use landfall_sim::{SimAccount, SimObjects, SimSecrets, SimStacks, SimSweeper};
use landfall_store::{Store, Taker, Waiting};
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

/// A session in the AWS account the platform declares, and where its records are. Credentials of any other
/// account are refused.
pub(crate) async fn aws(loaded: &Loaded) -> anyhow::Result<(Session, Records)> {
    carried_out(&loaded.wanted)?;
    let facts = &loaded.wanted.facts;
    let account = Account::connect(&facts.account, &facts.region).await?;
    let mut session = session(
        loaded,
        Arc::new(SystemClock),
        Parts {
            stacks: Arc::new(Stacks::new(account.clone())),
            objects: None,
            secrets: Arc::new(Secrets::new(account.clone())),
            sweeper: Arc::new(Leftovers::new(account.clone())),
            who: account.clone(),
        },
    );
    let bucket = loaded.wanted.records_bucket.as_ref().map(|bucket| {
        let prefix = format!("landfall/{}.{}.{}", facts.name, facts.account, facts.region);
        Arc::new(S3Place::new(account, bucket, &prefix, &facts.region))
    });
    let records = Records {
        beside: session.store.clone(),
        bucket,
    };
    session.store = records.now().await?;
    Ok((session, records))
}

/// Where a platform's records can be: beside its file, and in the bucket its file names.
pub(crate) struct Records {
    beside: Store,
    bucket: Option<Arc<S3Place>>,
}

impl Records {
    /// The records in the bucket, when it is there.
    async fn in_bucket(&self) -> anyhow::Result<Option<Store>> {
        match &self.bucket {
            Some(bucket) if bucket.exists().await? => Ok(Some(Store::over(bucket.clone()))),
            _ => Ok(None),
        }
    }

    /// Where they are now: in the bucket, unless that is not there or nothing was moved into it yet.
    async fn now(&self) -> anyhow::Result<Store> {
        Ok(match self.in_bucket().await? {
            Some(bucket) if !self.only_beside(&bucket).await? => bucket,
            _ => self.beside.clone(),
        })
    }

    async fn only_beside(&self, bucket: &Store) -> anyhow::Result<bool> {
        Ok(bucket.last_run().await?.is_none() && self.beside.last_run().await?.is_some())
    }

    /// Moves them into the bucket, once it is there and has none yet. Returns where they are from now on.
    pub(crate) async fn move_into_bucket(
        &self,
        taker: &Taker,
        tell: Tell<'_>,
    ) -> anyhow::Result<Option<Store>> {
        match self.in_bucket().await? {
            Some(bucket) if self.only_beside(&bucket).await? => {
                self.beside.copy_to(&bucket, taker, tell).await?;
                Ok(Some(bucket))
            }
            _ => Ok(None),
        }
    }

    /// Moves them back into the bucket, when it did not go after all.
    pub(crate) async fn move_back_into_bucket(&self, taker: &Taker, tell: Tell<'_>) -> anyhow::Result<()> {
        if let Some(bucket) = self.in_bucket().await? {
            self.beside.copy_to(&bucket, taker, tell).await?;
        }
        Ok(())
    }

    /// Moves them out of the bucket, which may be about to go. Returns where they are from now on.
    pub(crate) async fn move_out_of_bucket(&self, taker: &Taker, tell: Tell<'_>) -> anyhow::Result<Store> {
        if let Some(bucket) = self.in_bucket().await?
            && bucket.last_run().await?.is_some()
        {
            bucket.copy_to(&self.beside, taker, tell).await?;
        }
        Ok(self.beside.clone())
    }
}

/// Hears of waiting for somebody who holds the platform.
pub(crate) type Tell<'a> = &'a (dyn Fn(&Waiting) + Send + Sync);

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
