//! What lives in clusters: every ten to fifteen seconds it looks at the objects, and makes the world follow.
//!
//! A controller lives while its workload is ready, on machines that are there, in a cluster that answers.
//! What it made stays when it dies.

mod argo;
mod karpenter;
mod load_balancer;
#[cfg_attr(not(test), expect(dead_code, reason = "asked by pods that probe connections"))]
mod network_policy;
mod volume;

use std::collections::BTreeMap;

pub(crate) use load_balancer::is_ours;

use landfall_model::work::TAG_PLATFORM;

use crate::cluster::{Cluster, Controller, Status};
use crate::world::State;

/// When a cluster is worth looking at again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// As always: something is under way that nobody announces.
    soon: bool,
    /// At some moment.
    at: Option<u64>,
}

impl Again {
    pub(crate) fn soon(&mut self) {
        self.soon = true;
    }

    pub(crate) fn at(&mut self, at: u64) {
        self.at = Some(self.at.map_or(at, |other| other.min(at)));
    }
}

impl State {
    /// Lets what lives in a cluster look at it once.
    pub(crate) fn reconcile(&mut self, uid: u64, now: u64) {
        let Some(place) = self.clusters.iter().position(|one| one.uid == uid) else {
            return;
        };
        if self.clusters[place].next_look != Some(now) {
            return;
        }
        let mut cluster = std::mem::take(&mut self.clusters[place]);
        cluster.next_look = None;
        cluster.looks += 1;
        let mut again = Again::default();
        let before = cluster.objects.len();
        if let Some(ready) = self.schedule_pods(&mut cluster, now) {
            again.at(ready);
        }
        if cluster.status == Status::Active {
            if cluster.lives(Controller::Argo, now).is_some() {
                self.argo(&mut cluster, now, &mut again);
            }
            if let Some(marks) = cluster.lives(Controller::LoadBalancer, now) {
                self.load_balancers(&mut cluster, marks.as_deref(), now, &mut again);
            }
            let marks = cluster.lives(Controller::Volume, now);
            self.volumes(
                &mut cluster,
                marks.as_ref().map(Option::as_deref),
                now,
                &mut again,
            );
            if let Some(marks) = cluster.lives(Controller::Karpenter, now) {
                self.karpenter(&mut cluster, marks.as_deref(), now, &mut again);
            }
            cluster.settle(now);
            if let Some(ready) = self.schedule_pods(&mut cluster, now) {
                again.at(ready);
            }
        }
        let changed = cluster.objects.len() != before;
        self.clusters[place] = cluster;
        if again.soon || changed {
            self.stir(uid, now);
        }
        if let Some(at) = again.at {
            self.look_at(uid, at.max(now + 1));
        }
    }
}

/// The tags of what a controller makes for a cluster.
fn tags(cluster: &Cluster, platform: Option<&str>, own: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = own
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    if let Some(platform) = platform {
        tags.insert(TAG_PLATFORM.to_owned(), platform.to_owned());
    }
    tags.insert(
        format!("kubernetes.io/cluster/{}", cluster.name),
        "owned".to_owned(),
    );
    tags
}
