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

/// The folder of records beside the platform file.
pub(crate) fn store(folder: &Path) -> Store {
    Store::new(folder.join(".landfall"))
}

/// The AWS account the platform declares. Credentials of any other are refused.
pub(crate) async fn aws(facts: &Facts, folder: &Path) -> anyhow::Result<World> {
    let account = Account::connect(&facts.account, &facts.region).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stacks = Arc::new(Stacks::new(account.clone()));
    let secrets = Arc::new(Secrets::new(account.clone()));
    Ok(world(folder, clock, stacks, secrets, account))
}

/// A world from its parts that differ between a real account and a simulated one.
pub(crate) fn world(
    folder: &Path,
    clock: Arc<dyn Clock>,
    stacks: Arc<dyn Provider>,
    secrets: Arc<dyn Provider>,
    who: Arc<dyn WhoAmI>,
) -> World {
    let store = store(folder);
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
