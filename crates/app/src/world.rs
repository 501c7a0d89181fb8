//! Which world the work is done in: a real account, or a simulated one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use landfall_aws::{Account, AwsPreflight, Leftovers, S3Place, Secrets, StackSets, Stacks};
use landfall_kube::{Objects, PodProbe};
use landfall_local::Files;
use landfall_model::definition::StepKind;
use landfall_model::plan::{Plan, PlannedStep};
use landfall_model::wanted::Facts;
use landfall_runner::{Clock, Provider, Providers, SystemClock};
use landfall_session::Session;
use landfall_store::{Lock, Store, Taker, Waiting, Whereabouts};
use landfall_web::{Checks, Http, Requests};

use crate::clusters::EksClusters;
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

/// A platform in its AWS account.
pub(crate) struct Aws {
    /// The way to work with it.
    pub(crate) session: Session,
    /// Where its records can be.
    pub(crate) records: Records,
    /// Its clusters.
    pub(crate) clusters: Arc<EksClusters>,
}

/// Opens the AWS account the platform declares. Credentials of any other account are refused. Clusters that a
/// kubeconfig knows are reached through it.
pub(crate) async fn aws(loaded: &Loaded, kubeconfig: Option<&Path>) -> anyhow::Result<Aws> {
    let facts = &loaded.wanted.facts;
    let account = Account::connect(&facts.account, &facts.region).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let requests = Requests::new(Arc::new(Http), account.clone(), clock.clone());
    let has = |kind| loaded.wanted.steps.iter().any(|step| step.kind == kind);
    let sets = StackSets::new(account.clone(), has(StepKind::StackSet));
    let clusters = EksClusters::new(
        account.clone(),
        &facts.region,
        kubeconfig.map(Path::to_owned),
        has(StepKind::Objects),
    );
    let clusters = Arc::new(clusters);
    let probe = PodProbe::new(clusters.clone(), &facts.region, clock.clone());
    let checks = Checks::new(account.clone(), clock.clone())
        .with_roles(account.clone())
        .with_secrets(account.clone())
        .with_logs(account.clone())
        .with_probe(Arc::new(probe))
        .with_endpoint(account.endpoint().as_deref());
    let providers = Providers::default()
        .with(StepKind::Stack, Arc::new(Stacks::new(account.clone())))
        .with(StepKind::StackSet, Arc::new(sets))
        .with(
            StepKind::Objects,
            Arc::new(Objects::new(clusters.clone(), clock.clone())),
        )
        .with(StepKind::Secret, Arc::new(Secrets::new(account.clone())))
        .with(StepKind::Request, Arc::new(requests))
        .with(StepKind::Check, Arc::new(checks))
        .with_sweeper(Arc::new(Leftovers::new(account.clone())))
        .with_preflight(Arc::new(AwsPreflight::new(account.clone())));
    let mut session = session(loaded, clock, providers);
    let bucket = loaded.wanted.records_bucket.as_ref().map(|bucket| {
        let prefix = format!("landfall/{}.{}.{}", facts.name, facts.account, facts.region);
        let place = Arc::new(S3Place::new(account, bucket, &prefix, &facts.region));
        Bucket {
            name: bucket.clone(),
            store: Store::over(place.clone()).coming_from(&session.store),
            place,
        }
    });
    let beside = match &bucket {
        Some(bucket) => session.store.coming_from(&bucket.store),
        None => session.store.clone(),
    };
    let records = Records { beside, bucket };
    session.store = records.now().await?;
    Ok(Aws {
        session,
        records,
        clusters,
    })
}

/// Where a platform's records can be: beside its file, and in the bucket its file names.
pub(crate) struct Records {
    beside: Store,
    bucket: Option<Bucket>,
}

struct Bucket {
    name: String,
    place: Arc<S3Place>,
    store: Store,
}

impl Records {
    /// The records beside the platform file.
    pub(crate) fn beside(&self) -> &Store {
        &self.beside
    }

    /// Whether these are the records in the bucket.
    pub(crate) fn is_in_bucket(&self, store: &Store) -> bool {
        let bucket = self.bucket.as_ref();
        bucket.is_some_and(|bucket| bucket.store.name() == store.name())
    }

    /// The bucket that the platform file names for its records.
    pub(crate) fn bucket_name(&self) -> Option<&str> {
        self.bucket.as_ref().map(|bucket| bucket.name.as_str())
    }

    /// Where they are now, by what both places say of themselves.
    pub(crate) async fn now(&self) -> anyhow::Result<Store> {
        let store = match self.bucket_there().await? {
            Some(bucket) if is_in(&bucket.whereabouts().await?, &self.beside.whereabouts().await?) => bucket,
            _ => &self.beside,
        };
        Ok(store.clone())
    }

    /// Moves what is held into the bucket, once that is there. Says whether it did; what is held afterwards
    /// is where the records are.
    ///
    /// # Errors
    /// Both places have records of their own; the records cannot be moved. The platform is let go of then.
    pub(crate) async fn move_in(
        &self,
        held: Lock,
        store: &mut Store,
        taker: &Taker,
        tell: Tell<'_>,
    ) -> anyhow::Result<(Lock, bool)> {
        let target = match self.target(store).await {
            Ok(Some(target)) => target,
            Ok(None) => return Ok((held, false)),
            Err(error) => {
                // What went wrong first is what counts; a lease that cannot be written runs out.
                let _ = held.release().await;
                return Err(error);
            }
        };
        let held = held.move_to(target, taker, tell).await?;
        *store = target.clone();
        Ok((held, true))
    }

    /// Where the records should move that are in `store` now, if anywhere.
    async fn target(&self, store: &Store) -> anyhow::Result<Option<&Store>> {
        let Some(bucket) = self.bucket_there().await? else {
            return Ok(None);
        };
        let (there, here) = (bucket.whereabouts().await?, self.beside.whereabouts().await?);
        let are_two = if self.is_in_bucket(store) {
            are_others(&there, &here)
        } else {
            matches!(there, Whereabouts::Here { .. })
        };
        if are_two {
            return Err(Usage::error(
                format!(
                    "there are records of this platform in two places: {} and {}",
                    self.beside.name(),
                    bucket.name()
                ),
                "decide which are right (`landfall status` on each machine tells), and move the others away",
            ));
        }
        Ok((!self.is_in_bucket(store)).then_some(bucket))
    }

    /// The records in the bucket, when that is there.
    async fn bucket_there(&self) -> anyhow::Result<Option<&Store>> {
        match &self.bucket {
            Some(bucket) if bucket.place.exists().await? => Ok(Some(&bucket.store)),
            _ => Ok(None),
        }
    }
}

/// Whether the records are in the bucket, by what the bucket and the place beside the file say. Whoever has
/// nothing beside the file never begins anew there while the bucket says that there were records.
fn is_in(bucket: &Whereabouts, beside: &Whereabouts) -> bool {
    match (bucket, beside) {
        (Whereabouts::Here { epoch: there, .. }, Whereabouts::Here { epoch: here, .. }) => there >= here,
        (Whereabouts::Here { .. }, _) => true,
        (Whereabouts::Nothing, _) => false,
        // A move in that left the place beside is finished by whoever takes the bucket.
        (Whereabouts::HalfCopied { .. }, beside) => {
            matches!(beside, Whereabouts::Nothing | Whereabouts::Moved { .. })
        }
        (Whereabouts::Moved { .. }, beside) => matches!(beside, Whereabouts::Nothing),
    }
}

/// Whether both places surely have records that do not follow from each other.
fn are_others(bucket: &Whereabouts, beside: &Whereabouts) -> bool {
    match (bucket, beside) {
        (
            Whereabouts::Here {
                line: Some(there), ..
            },
            Whereabouts::Here { line: Some(here), .. },
        ) => there != here,
        _ => false,
    }
}

/// Hears of waiting for somebody who holds the platform.
pub(crate) type Tell<'a> = &'a (dyn Fn(&Waiting) + Send + Sync);

/// A session in a simulated cloud.
pub(crate) fn simulated(loaded: &Loaded, clock: Arc<dyn Clock>, cloud: &Arc<landfall_sim::World>) -> Session {
    session(loaded, clock, landfall_sim::providers(cloud))
}

/// A session in a simulated account in which nothing stands, and in which looking takes no time.
pub(crate) fn empty(loaded: &Loaded) -> Session {
    let clock: Arc<dyn Clock> = Arc::new(landfall_sim::ScaledClock::new(100_000.0));
    let facts = &loaded.wanted.facts;
    let config = landfall_sim::WorldConfig::new(&facts.account, &facts.region);
    let cloud = landfall_sim::World::new(config, clock.clone());
    let mut session = simulated(loaded, clock, &cloud);
    // Nobody is there who could say what is taken.
    session.providers = session.providers.without_preflight();
    session
}

/// A session in a world that these providers act in; files are written beside the platform file in any.
fn session(loaded: &Loaded, clock: Arc<dyn Clock>, providers: Providers) -> Session {
    let Loaded { wanted, folder } = loaded;
    let records = records(&wanted.facts, folder);
    let files: Arc<dyn Provider> = Arc::new(Files::new(folder.to_owned(), records.join("files")));
    let providers = providers
        .with(StepKind::Files, files.clone())
        .with(StepKind::Entity, files);
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
