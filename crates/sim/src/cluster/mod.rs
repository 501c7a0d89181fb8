//! Kubernetes clusters: what stands in them, and which controllers live there.

pub(crate) mod advice;
mod api;
mod object;
mod pods;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use api::{PVC_PROTECTION, Put, Refusal};
pub(crate) use object::{Key, LABELS, Object, Pods};

use crate::queue::Due;
use crate::thing::INSTANCE;
use crate::world::State;

/// A cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Which cluster: a name can be used again.
    pub(crate) uid: u64,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) network: Option<String>,
    /// The stack it belongs to, by id.
    pub(crate) stack: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) status: Status,
    /// Its node groups, as `stack/logical id`.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) addons: BTreeSet<String>,
    pub(crate) objects: BTreeMap<Key, Object>,
    /// How many objects were ever made in it.
    pub(crate) made: u64,
    /// When its controllers look at it next.
    pub(crate) next_look: Option<u64>,
    /// How often they have.
    pub(crate) looks: u64,
}

/// Whether a cluster can be talked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Creating,
    Active,
    Deleting,
}

/// A controller that makes things in the account or in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    LoadBalancer,
    Volume,
    Argo,
    Karpenter,
}

impl Controller {
    /// What its workload is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Controller::LoadBalancer => "aws-load-balancer-controller",
            Controller::Volume => "aws-ebs-csi-driver",
            Controller::Argo => "argocd-application-controller",
            Controller::Karpenter => "karpenter",
        }
    }

    /// Groups of kinds it brings along.
    fn brings(self) -> &'static [&'static str] {
        match self {
            Controller::LoadBalancer => &["elbv2.k8s.aws", "gateway.networking.k8s.io", "gateway.k8s.aws"],
            Controller::Volume => &["snapshot.storage.k8s.io"],
            Controller::Argo => &["argoproj.io"],
            Controller::Karpenter => &["karpenter.sh", "karpenter.k8s.aws"],
        }
    }

    const ALL: [Controller; 4] = [
        Controller::LoadBalancer,
        Controller::Volume,
        Controller::Argo,
        Controller::Karpenter,
    ];
}

impl Cluster {
    pub(crate) fn new(
        uid: u64,
        name: &str,
        region: &str,
        network: Option<String>,
        stack: String,
        tags: BTreeMap<String, String>,
    ) -> Cluster {
        Cluster {
            uid,
            name: name.to_owned(),
            region: region.to_owned(),
            network,
            stack,
            tags,
            ..Cluster::default()
        }
    }

    /// The workloads of a controller, ready or not.
    fn workloads(&self, controller: Controller) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter().filter(move |(key, object)| {
            matches!(key.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet")
                && object.label("app.kubernetes.io/name") == Some(controller.name())
        })
    }

    /// Whether a controller lives, and with which platform's tags it marks what it makes, if any.
    pub(crate) fn lives(&self, controller: Controller, now: u64) -> Option<Option<String>> {
        if self.status != Status::Active {
            return None;
        }
        let ready = self
            .workloads(controller)
            .find(|(_, object)| object.deleting.is_none() && object.pods.are_ready(now));
        match ready {
            Some((_, object)) => Some(object.marks_with()),
            None => self.addons.contains(controller.name()).then(|| {
                // An add-on of EKS is configured with the tags of the cluster.
                self.tags.get(landfall_model::work::TAG_PLATFORM).cloned()
            }),
        }
    }
}

impl State {
    /// A cluster by its name.
    pub(crate) fn cluster(&self, region: &str, name: &str) -> Option<&Cluster> {
        let mut clusters = self.clusters.iter();
        clusters.find(|cluster| cluster.name == name && cluster.region == region)
    }

    /// Works on a cluster and on the world around it; none when there is no such cluster.
    pub(crate) fn with_cluster<T>(
        &mut self,
        region: &str,
        name: &str,
        act: impl FnOnce(&mut State, &mut Cluster) -> T,
    ) -> Option<T> {
        let mut clusters = self.clusters.iter();
        let place = clusters.position(|cluster| cluster.name == name && cluster.region == region)?;
        let mut cluster = std::mem::take(&mut self.clusters[place]);
        let result = act(self, &mut cluster);
        self.clusters[place] = cluster;
        Some(result)
    }

    /// How many machines of a cluster can run something.
    pub(crate) fn nodes(&self, uid: u64, now: u64) -> usize {
        let all = self.things.values();
        all.filter(|thing| thing.kind == INSTANCE && thing.belongs_to(uid))
            .filter(|thing| thing.ready_at <= now && !thing.is_going())
            .count()
    }

    /// Lets the controllers of a cluster look at it soon.
    pub(crate) fn stir(&mut self, uid: u64, now: u64) {
        let wait = {
            let Some(cluster) = self.clusters.iter().find(|one| one.uid == uid) else {
                return;
            };
            let looks = cluster.looks.to_string();
            self.chance(&["look", &cluster.name, &looks])
                .between(10_000, 15_000)
        };
        self.look_at(uid, now + wait);
    }

    /// Lets the controllers of a cluster look at it at some moment, unless they do so earlier.
    pub(crate) fn look_at(&mut self, uid: u64, at: u64) {
        let Some(cluster) = self.clusters.iter_mut().find(|one| one.uid == uid) else {
            return;
        };
        if cluster.next_look.is_none_or(|next| next > at) {
            cluster.next_look = Some(at);
            self.schedule(at, Due::Reconcile(uid));
        }
    }
}
