//! Which world the work is done in: a real account, or a simulated one.

use std::path::Path;
use std::sync::Arc;

use landfall_aws::{Account, Secrets, Stacks};
use landfall_local::Files;
use landfall_model::definition::StepKind;
use landfall_model::wanted::Facts;
use landfall_runner::{Clock, Provider, Providers, SystemClock, WhoAmI};
use landfall_store::Store;
use landfall_web::Checks;

/// A world, ready to be worked in.
pub(crate) struct World {
    pub(crate) providers: Providers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
}

/// The folder of records beside the platform file: one for each platform, account and region, so that
/// several files in one folder, or a file that was renamed, never share theirs.
pub(crate) fn store(facts: &Facts, folder: &Path) -> Store {
    let Facts {
        name,
        account,
        region,
        tags: _,
    } = facts;
    Store::new(
        folder
            .join(".landfall")
            .join(format!("{name}.{account}.{region}")),
    )
}

/// The AWS account the platform declares. Credentials of any other are refused.
pub(crate) async fn aws(facts: &Facts, folder: &Path) -> anyhow::Result<World> {
    let account = Account::connect(&facts.account, &facts.region).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stacks = Arc::new(Stacks::new(account.clone()));
    let secrets = Arc::new(Secrets::new(account.clone()));
    Ok(world(facts, folder, clock, stacks, secrets, account))
}

/// A world from its parts that differ between a real account and a simulated one.
pub(crate) fn world(
    facts: &Facts,
    folder: &Path,
    clock: Arc<dyn Clock>,
    stacks: Arc<dyn Provider>,
    secrets: Arc<dyn Provider>,
    who: Arc<dyn WhoAmI>,
) -> World {
    let store = store(facts, folder);
    let files: Arc<dyn Provider> = Arc::new(Files::new(folder.to_owned(), store.root().join("files")));
    let providers = Providers::default()
        .with(StepKind::Stack, stacks)
        .with(StepKind::Secret, secrets)
        .with(StepKind::Files, files.clone())
        .with(StepKind::Entity, files)
        .with(StepKind::Check, Arc::new(Checks::new(who, clock.clone())));
    World {
        providers,
        clock,
        store,
    }
}
