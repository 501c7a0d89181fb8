//! Kubernetes clusters: their API servers, and which controllers live there.

mod hooks;
pub(crate) mod object;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use landfall_apiserver::{ApiServer, Key};
use landfall_model::work::TAG_PLATFORM;
use serde_json::Value;

pub(crate) use hooks::Meddling;

use crate::queue::Due;
use crate::thing::INSTANCE;
use crate::world::State;
use hooks::Surroundings;

/// The version of Kubernetes that clusters run when their stack says nothing else.
pub(crate) const VERSION: &str = "1.35";
/// How soon Kubernetes' own controllers see a change.
const TURN_MS: u64 = 200;

/// A cluster.
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
    /// The pools of machines that EKS makes by itself, with the role of their machines.
    pub(crate) pools: Option<(Vec<String>, String)>,
    /// Everything that clients see of it.
    pub(crate) api: ApiServer,
    /// What its API server is told about the world.
    pub(crate) meddling: Arc<Mutex<Meddling>>,
    /// What becomes of its pods, by uid.
    pub(crate) fates: BTreeMap<String, Fate>,
    /// Workloads whose pods do not run, and why, until they are mended.
    pub(crate) failing: BTreeMap<Key, String>,
    /// Which generation of what Argo CD looks after it has synced, by uid.
    pub(crate) synced: BTreeMap<String, u64>,
    /// The time at millisecond 0 of the world's clock.
    origin: Timestamp,
    /// How many addresses were ever given to pods.
    pub(crate) addresses: u64,
    /// When Kubernetes' own controllers have their next turn.
    pub(crate) next_turn: Option<u64>,
    /// When the other controllers look at it next.
    pub(crate) next_look: Option<u64>,
    /// How often they have.
    pub(crate) looks: u64,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// When it is ready, or done.
    pub(crate) ready_at: u64,
    /// Why it does not run.
    pub(crate) fails: Option<String>,
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
}

/// Kinds that run something, with their groups.
pub(crate) const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

impl Cluster {
    pub(crate) fn new(
        uid: u64,
        (name, region): (&str, &str),
        network: Option<String>,
        stack: String,
        tags: BTreeMap<String, String>,
        (seed, origin, now): (u64, Timestamp, u64),
    ) -> Cluster {
        let seed = crate::random::Random::of(seed, &["cluster", name, region, &uid.to_string()]).next();
        let mut api = ApiServer::new(seed, VERSION, stamp(origin, now));
        let meddling = Arc::new(Mutex::new(Meddling::default()));
        api.hooks(Box::new(Surroundings(meddling.clone())));
        Cluster {
            uid,
            name: name.to_owned(),
            region: region.to_owned(),
            network,
            stack,
            tags,
            status: Status::default(),
            groups: BTreeSet::new(),
            addons: BTreeSet::new(),
            pools: None,
            api,
            meddling,
            fates: BTreeMap::new(),
            failing: BTreeMap::new(),
            synced: BTreeMap::new(),
            origin,
            addresses: 0,
            next_turn: None,
            next_look: None,
            looks: 0,
        }
    }

    /// A moment of the world's clock.
    pub(crate) fn stamp(&self, at: u64) -> Timestamp {
        stamp(self.origin, at)
    }

    /// A moment as objects show it: in whole seconds.
    pub(crate) fn text(&self, at: u64) -> String {
        self.stamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// How long an object has stood, in milliseconds.
    pub(crate) fn since_creation(&self, object: &Value, now: u64) -> Option<u64> {
        let made: Timestamp = object["metadata"]["creationTimestamp"].as_str()?.parse().ok()?;
        u64::try_from(self.stamp(now).duration_since(made).as_millis()).ok()
    }

    /// What stands of one kind, to be looked at while it changes.
    pub(crate) fn all(&self, group: &str, kind: &str) -> Vec<(Key, Arc<Value>)> {
        let all = self.api.of_kind(group, kind);
        all.map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.api.get(key).cloned()
    }

    /// An object by what people call it.
    pub(crate) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Key> {
        let mut keys = self.api.iter().map(|(key, _)| key);
        keys.find(|key| {
            (key.kind.as_str(), key.namespace.as_str(), key.name.as_str()) == (kind, namespace, name)
        })
        .cloned()
    }

    /// Gives an object another status, unless it has that already.
    pub(crate) fn set_status(&mut self, manager: &str, key: &Key, status: Value, now: u64) {
        let at = self.stamp(now);
        if self.api.get(key).is_some_and(|object| object["status"] != status) {
            self.api.set_status(manager, key, status, at);
        }
    }

    /// Changes some fields of an object's status, where they differ.
    pub(crate) fn merge_status(&mut self, manager: &str, key: &Key, fields: Value, now: u64) {
        let Some(object) = self.api.get(key) else {
            return;
        };
        let mut status = object["status"].clone();
        if !status.is_object() {
            status = Value::Object(serde_json::Map::new());
        }
        if let Value::Object(fields) = fields {
            for (name, value) in fields {
                status[name] = value;
            }
        }
        self.set_status(manager, key, status, now);
    }

    /// Makes an object. Whoever wants it and is refused tries again.
    pub(crate) fn create(
        &mut self,
        manager: &str,
        body: Value,
        now: u64,
    ) -> Result<Key, landfall_apiserver::Status> {
        let at = self.stamp(now);
        self.api.create(manager, body, at)
    }

    /// Changes an object. What is refused stays as it is: whoever wants it tries again.
    pub(crate) fn edit(&mut self, manager: &str, key: &Key, now: u64, change: impl FnOnce(&mut Value)) {
        let at = self.stamp(now);
        let _ = self.api.update(manager, key, at, change);
    }

    pub(crate) fn add_finalizer(&mut self, manager: &str, key: &Key, finalizer: &str, now: u64) {
        let stands = self.api.get(key);
        if stands.is_none_or(|object| object::has_finalizer(object, finalizer) || object::is_going(object)) {
            return;
        }
        self.edit(manager, key, now, |object| {
            let list = &mut object["metadata"]["finalizers"];
            match list.as_array_mut() {
                Some(list) => list.push(finalizer.into()),
                None => *list = serde_json::json!([finalizer]),
            }
        });
    }

    pub(crate) fn remove_finalizer(&mut self, key: &Key, finalizer: &str, now: u64) {
        let at = self.stamp(now);
        self.api.remove_finalizer(key, finalizer, at);
    }

    pub(crate) fn delete(&mut self, key: &Key, now: u64) {
        let at = self.stamp(now);
        self.api.delete(key, at);
    }

    pub(crate) fn settle(&mut self, now: u64) {
        let at = self.stamp(now);
        self.api.settle(at);
    }

    /// Whether what goes by a name among workloads (`app.kubernetes.io/name`) runs, and with which platform's
    /// tags it marks what it makes, if any.
    pub(crate) fn runs(&self, app: &str) -> Option<Option<String>> {
        if self.status != Status::Active {
            return None;
        }
        let workloads = WORKLOADS
            .into_iter()
            .flat_map(|kind| self.api.of_kind("apps", kind));
        let mut named =
            workloads.filter(|(_, object)| object::label(object, "app.kubernetes.io/name") == Some(app));
        match named.find(|(key, object)| !object::is_going(object) && some_ready(&key.kind, object)) {
            Some((_, object)) => Some(object::marks_with(object)),
            None => self
                .addons
                .contains(app)
                // An add-on of EKS is configured with the tags of the cluster.
                .then(|| self.tags.get(TAG_PLATFORM).cloned()),
        }
    }

    /// Whether a controller lives, and with which platform's tags it marks what it makes, if any.
    pub(crate) fn lives(&self, controller: Controller) -> Option<Option<String>> {
        self.runs(controller.name())
    }

    /// What an object still waits for; none when it is ready.
    pub(crate) fn unready(&self, key: &Key, now: u64) -> Option<String> {
        let Some(object) = self.api.get(key) else {
            return Some("it does not exist".to_owned());
        };
        match landfall_kube::readiness::readiness(object, self.stamp(now)) {
            landfall_kube::readiness::Readiness::Ready => None,
            landfall_kube::readiness::Readiness::Waiting { why }
            | landfall_kube::readiness::Readiness::Failed { why } => Some(why),
        }
    }
}

fn stamp(origin: Timestamp, at: u64) -> Timestamp {
    let after = SignedDuration::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
    origin.checked_add(after).unwrap_or(Timestamp::MAX)
}

/// Whether a workload has a pod that is ready.
pub(crate) fn some_ready(kind: &str, object: &Value) -> bool {
    let counted = match kind {
        "DaemonSet" => &object["status"]["numberReady"],
        _ => &object["status"]["readyReplicas"],
    };
    counted.as_u64().unwrap_or(0) > 0
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
        is_meant: impl Fn(&Cluster) -> bool,
        act: impl FnOnce(&mut State, &mut Cluster) -> T,
    ) -> Option<T> {
        let place = self.clusters.iter().position(is_meant)?;
        let mut cluster = self.clusters.remove(place);
        let result = act(self, &mut cluster);
        self.clusters.insert(place, cluster);
        Some(result)
    }

    /// How many machines of a cluster can run something.
    pub(crate) fn nodes(&self, uid: u64, now: u64) -> usize {
        let all = self.things.values();
        all.filter(|thing| thing.kind == INSTANCE && thing.belongs_to(uid))
            .filter(|thing| thing.ready_at <= now && !thing.is_going())
            .count()
    }

    /// Something changed in a cluster: Kubernetes' own controllers see it at once, the others soon.
    pub(crate) fn stir(&mut self, uid: u64, now: u64) {
        self.turn_at(uid, now + TURN_MS);
        self.look_soon(uid, now);
    }

    /// Lets the controllers of a cluster look at it as soon as they usually do.
    pub(crate) fn look_soon(&mut self, uid: u64, now: u64) {
        let Some(cluster) = self.clusters.iter().find(|one| one.uid == uid) else {
            return;
        };
        let looks = cluster.looks.to_string();
        let mut random = self.chance(&["look", &cluster.name, &looks]);
        self.look_at(uid, now + random.between(10_000, 15_000));
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

    /// Gives Kubernetes' own controllers a turn at some moment, unless they have one earlier.
    pub(crate) fn turn_at(&mut self, uid: u64, at: u64) {
        let Some(cluster) = self.clusters.iter_mut().find(|one| one.uid == uid) else {
            return;
        };
        if cluster.next_turn.is_none_or(|next| next > at) {
            cluster.next_turn = Some(at);
            self.schedule(at, Due::Turn(uid));
        }
    }
}
