//! Kubernetes objects: the provider of `objects` steps over a real API server.
//!
//! Objects are applied by server-side apply, found again by the labels of their set, waited for, and removed in the
//! order that lets controllers clean up. Nothing here knows AWS: [`Clusters`] tells how a cluster is reached. All
//! waiting goes through the runner's clock, so that a simulated world can run it in its own time.

mod address;
mod advice;
mod apply;
mod applyset;
pub mod client;
mod clusters;
mod conflict;
mod desired;
mod digest;
mod discovery;
pub mod explain;
pub mod forward;
mod hangs;
mod key;
pub mod kubeconfig;
mod link;
mod logs;
mod looks;
mod observe;
mod preview;
mod probe;
mod quiesce;
pub mod readiness;
mod ready;
mod related;
mod remove;
mod stand;
mod trouble;

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use landfall_model::provider::{Applied, Change, Observed, Owned, Removed};
use landfall_model::work::{ObjectsWork, Step, Work};
use landfall_runner::{ApplyError, Clock, Intent, ObserveError, Progress, Provider};

pub use clusters::{Clusters, Reach, Unreachable};
pub use forward::{can_forward, forward, secret_value};
pub use kube::Client;
pub use probe::{PROBE_TO, PodProbe};

use link::{Dial, Dialled, Memories};
use trouble::Trouble;

/// The name under which fields are managed.
pub(crate) const MANAGER: &str = "landfall";

/// Carries out `objects` steps.
pub struct Objects {
    clusters: Arc<dyn Clusters>,
    clock: Arc<dyn Clock>,
    memories: Memories,
}

impl Objects {
    /// Objects in the clusters that `clusters` finds, waited for by `clock`.
    pub fn new(clusters: Arc<dyn Clusters>, clock: Arc<dyn Clock>) -> Objects {
        Objects {
            clusters,
            clock,
            memories: Memories::default(),
        }
    }

    async fn dial(&self, region: &str, name: &str, progress: Option<&Progress>) -> Result<Dialled, Trouble> {
        let dial = Dial {
            clusters: &self.clusters,
            clock: &self.clock,
            memories: &self.memories,
            region,
            name,
            progress,
        };
        dial.dial().await
    }
}

fn work(step: &Step) -> &ObjectsWork {
    match &step.work {
        Work::Objects(work) => work,
        other => unreachable!("objects are only given objects steps, not {other:?}"),
    }
}

#[async_trait]
impl Provider for Objects {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        self.observe_all(step, work(step)).await
    }

    async fn preview(&self, step: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        self.preview_all(step, work(step)).await
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        self.owned_by(platform).await
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        self.still_stands(owned).await
    }

    async fn apply(&self, step: &Step, _: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        self.apply_all(step, work(step), progress).await
    }

    async fn remove(&self, owned: &Owned, _: &Intent, progress: &Progress) -> Result<Removed, ApplyError> {
        self.remove_all(owned, progress).await
    }

    async fn quiesce(
        &self,
        owned: &Owned,
        _: &Intent,
        progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        self.quiesce_all(owned, progress).await
    }

    async fn renew(&self) -> Result<(), String> {
        self.clusters.renew().await?;
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.values().for_each(|memory| memory.renewed());
        Ok(())
    }
}
