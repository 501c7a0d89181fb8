//! What lives in clusters: every ten to fifteen seconds it looks at the objects, and makes the world follow.
//! Kubernetes' own controllers have their turn as soon as anything changes.
//!
//! A controller lives while its workload is ready, on machines that are there, in a cluster that answers.
//! What it made stays when it dies.

mod argo;
mod charts;
mod endpoints;
mod flux;
mod helm;
mod install;
mod karpenter;
mod load_balancer;
mod network_policy;
mod nodes;
mod operators;
mod pods;
mod turn;
mod volume;
mod workloads;

use std::collections::BTreeMap;

use landfall_model::work::TAG_PLATFORM;

pub(crate) use operators::AUTO_MODE;

use crate::cluster::{Cluster, Controller, Status, object};
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
        let is_due = |one: &Cluster| one.uid == uid && one.next_look == Some(now);
        let done = self.with_cluster(is_due, |state, cluster| {
            cluster.next_look = None;
            cluster.looks += 1;
            let mut again = Again::default();
            let before = cluster.api.revision();
            if cluster.status == Status::Active {
                state.look(cluster, now, &mut again);
                cluster.settle(now);
            }
            (again, cluster.api.revision() != before)
        });
        let Some((again, changed)) = done else {
            return;
        };
        if again.soon || changed {
            self.stir(uid, now);
        }
        if let Some(at) = again.at {
            self.look_at(uid, at.max(now + 1));
        }
    }

    fn look(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        if cluster.lives(Controller::Argo).is_some() {
            self.argo(cluster, now, again);
        }
        self.flux(cluster, now, again);
        let of_eks = cluster.runs(AUTO_MODE);
        if let Some(marks) = cluster.lives(Controller::LoadBalancer) {
            self.load_balancers(cluster, marks.as_deref(), &load_balancer::OWN, now, again);
        }
        if let Some(marks) = &of_eks {
            self.load_balancers(cluster, marks.as_deref(), &load_balancer::OF_EKS, now, again);
        }
        if let Some(marks) = cluster.lives(Controller::Volume).or_else(|| of_eks.clone()) {
            self.volumes(cluster, marks.as_deref(), now, again);
        }
        if let Some(marks) = cluster.lives(Controller::Karpenter).or(of_eks) {
            self.karpenter(cluster, marks.as_deref(), now, again);
        }
        self.operators(cluster, now, again);
    }

    /// The kinds that a chart brings are known from now on.
    pub(crate) fn define(&mut self, place: usize, chart: &str, now: u64) {
        let definitions = charts::named(chart)
            .map(charts::Chart::definitions)
            .unwrap_or_default();
        let cluster = &mut self.clusters[place];
        let at = cluster.stamp(now);
        for body in definitions {
            // Somebody else may have brought them.
            let _ = cluster.api.apply("eks", true, body, at);
        }
    }

    /// An add-on runs, or a capability of the cluster: its kinds are known from now on.
    pub(crate) fn bring(&mut self, place: usize, addon: &str, now: u64) {
        let chart = match addon {
            "argocd-application-controller" => "argo-cd",
            other => other,
        };
        self.define(place, chart, now);
        let cluster = &mut self.clusters[place];
        cluster.addons.insert(addon.to_owned());
        if addon == "argocd-application-controller" {
            install::make_namespace(cluster, "eks", "argocd", now);
        }
    }

    /// Begins to delete an object, for anybody.
    pub(crate) fn delete_object(&mut self, cluster: &mut Cluster, key: &landfall_apiserver::Key, now: u64) {
        self.before_deletion(cluster, key, now);
        cluster.delete(key, now);
    }

    /// Lets an object be held back that somebody is about to delete, when a fault says so.
    pub(crate) fn before_deletion(&mut self, cluster: &mut Cluster, key: &landfall_apiserver::Key, now: u64) {
        use crate::fault::Fault;
        let Some(stands) = cluster.get(key) else {
            return;
        };
        if object::is_going(&stands) {
            return;
        }
        let name = cluster.name.clone();
        let stuck = self.take_fault(|fault| match fault {
            Fault::NamespaceStuck { namespace, finalizer }
                if key.kind == "Namespace" && *namespace == key.name =>
            {
                Some(finalizer.clone())
            }
            Fault::FinalizerStuck { target, finalizer } if target.is_object(&name, key) => {
                Some(finalizer.clone())
            }
            _ => None,
        });
        if let Some(finalizer) = stuck {
            cluster.add_finalizer("somebody", key, &finalizer, now);
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
