//! Removing a step's objects: what controllers look after first, the controllers themselves and what they need last.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use landfall_model::provider::{Cause, Failure, Owned, Removed};
use landfall_runner::{ApplyError, Progress};
use serde_json::{Value, json};

use crate::advice;
use crate::applyset::{Members, Set};
use crate::desired::runs_on_removal;
use crate::discovery::Discovery;
use crate::hangs::{self, Hanging};
use crate::key::{self, GroupKind, Key};
use crate::link::{Dialled, Link};
use crate::looks::Looks;
use crate::trouble::Trouble;
use crate::{Objects, logs};

/// How long something that hangs is waited for.
const PATIENCE_MS: u64 = 15 * 60 * 1000;
/// How long something that nobody cares for any more is waited for, when its cluster goes too.
const ABANDONED_MS: u64 = 2 * 60 * 1000;
/// How long a volume is waited for that nobody seems to delete.
const VOLUME_MS: u64 = 60 * 1000;
/// How many objects are deleted at once.
const AT_ONCE: usize = 8;

/// Where a step's objects are.
pub(crate) struct Address<'a> {
    pub(crate) platform: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) region: &'a str,
    objects: &'a Value,
}

impl<'a> Address<'a> {
    pub(crate) fn of(owned: &'a Owned) -> Address<'a> {
        let text = |key: &str| owned.address[key].as_str().unwrap_or_default();
        Address {
            platform: text("platform"),
            cluster: text("cluster"),
            region: text("region"),
            objects: &owned.address["objects"],
        }
    }

    pub(crate) fn set(&self, owned: &Owned) -> Set {
        Set {
            platform: self.platform.to_owned(),
            step: owned.step.clone(),
        }
    }

    /// The objects that stood when this was written down.
    fn keys(&self) -> impl Iterator<Item = Key> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.objects.as_array().into_iter().flatten().map(move |one| Key {
            namespace: text(&one["namespace"]),
            kind: text(&one["kind"]),
            group: key::group(one["apiVersion"].as_str().unwrap_or_default()).to_owned(),
            name: text(&one["name"]),
        })
    }

    pub(crate) fn kinds(&self) -> BTreeSet<GroupKind> {
        self.keys().map(|key| key.group_kind()).collect()
    }
}

/// When an object is removed, among all of a step. `controls` tells whether the step has a controller.
pub(crate) fn rank(key: &Key, controls: bool) -> u8 {
    match key.kind.as_str() {
        "Namespace" => 4,
        "CustomResourceDefinition"
        | "ServiceAccount"
        | "Role"
        | "RoleBinding"
        | "ClusterRole"
        | "ClusterRoleBinding"
        | "StorageClass"
        | "IngressClass"
        | "PriorityClass" => 3,
        "Deployment" | "StatefulSet" | "DaemonSet" if controls => 2,
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "Pod"
        | "Job"
        | "CronJob"
        | "ConfigMap"
        | "Secret"
        | "PersistentVolumeClaim" => 1,
        "APIService" => 2,
        kind if kind.ends_with("WebhookConfiguration") => 2,
        _ => 0,
    }
}

/// Whether the children of an object have to be gone before it is: pods let go of their volumes, and machines of their
/// network, only while what they need still stands.
fn propagation(key: &Key) -> &'static str {
    let has_pods = [
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Job",
        "CronJob",
    ];
    if has_pods.contains(&key.kind.as_str()) || key.is_custom() {
        "Foreground"
    } else {
        "Background"
    }
}

/// A step's objects being removed.
struct Removing<'a> {
    link: &'a Link,
    set: Set,
    kinds: BTreeSet<GroupKind>,
    progress: &'a Progress,
    owned: &'a Owned,
    /// Claims and namespaces whose volumes have to go.
    claims: BTreeSet<Key>,
    /// What was asked to go, by uid.
    asked: BTreeSet<String>,
}

/// What is left of a step's objects at some moment.
struct Left {
    /// What is being removed now.
    now: BTreeMap<Key, Value>,
    all: usize,
    /// Volumes that are still to be deleted.
    volumes: Vec<String>,
}

impl Objects {
    pub(crate) async fn remove_all(&self, owned: &Owned, progress: &Progress) -> Result<Removed, ApplyError> {
        let address = Address::of(owned);
        let failing = |trouble: Trouble| {
            trouble.failing(&format!(
                "removing objects from the cluster `{}`",
                address.cluster
            ))
        };
        let goes_with_cluster = |step: &landfall_model::StepId| Removed {
            kept: vec![format!(
                "the objects of {step} go with the cluster {}, which does not answer",
                address.cluster
            )],
        };
        let link = match self.wait_for(&address, progress).await {
            Ok(Some(link)) => link,
            // The cluster is gone, and everything in it.
            Ok(None) => return Ok(Removed::default()),
            Err(Trouble::NoAnswer(_)) if owned.goes_along => return Ok(goes_with_cluster(&owned.step)),
            Err(trouble) => return Err(failing(trouble)),
        };
        let mut removing = Removing {
            link: &link,
            set: address.set(owned),
            kinds: address.kinds(),
            progress,
            owned,
            claims: address.keys().filter(has_volumes).collect(),
            asked: BTreeSet::new(),
        };
        match removing.run().await {
            Ok(removed) => removed.map_err(ApplyError::from),
            Err(Trouble::Gone(_)) => Ok(Removed::default()),
            Err(Trouble::NoAnswer(_)) if owned.goes_along => Ok(goes_with_cluster(&owned.step)),
            Err(trouble) => Err(failing(trouble)),
        }
    }

    /// The cluster, once it answers; none when there is none.
    async fn wait_for(
        &self,
        address: &Address<'_>,
        progress: &Progress,
    ) -> Result<Option<Box<Link>>, Trouble> {
        let began = self.clock.millis();
        let mut looks = Looks::new();
        loop {
            match self.dial(address.region, address.cluster, Some(progress)).await? {
                Dialled::Absent => return Ok(None),
                Dialled::Connected(link) => return Ok(Some(link)),
                Dialled::Starting(state) => {
                    if self.clock.millis().saturating_sub(began) > PATIENCE_MS {
                        return Err(Trouble::NoAnswer(format!("the cluster is {state}")));
                    }
                }
            }
            self.clock.sleep(looks.next()).await;
        }
    }
}

fn has_volumes(key: &Key) -> bool {
    key.group.is_empty() && matches!(key.kind.as_str(), "PersistentVolumeClaim" | "Namespace")
}

impl Removing<'_> {
    async fn run(&mut self) -> Result<Result<Removed, Failure>, Trouble> {
        if let Err(failure) = self.clean_up().await? {
            return Ok(Err(failure));
        }
        let clock = self.link.clock.clone();
        let mut changed_at = clock.millis();
        let mut before = usize::MAX;
        let mut told = String::new();
        let mut looks = Looks::new();
        loop {
            let left = self.remove_next().await?;
            if left.all != before {
                before = left.all;
                changed_at = clock.millis();
                looks = Looks::new();
            }
            let waited = clock.millis().saturating_sub(changed_at);
            if left.all == 0 {
                let kept = match left.volumes.as_slice() {
                    [] => Some(Vec::new()),
                    _ if waited >= PATIENCE_MS || waited >= VOLUME_MS && !self.driver_runs().await? => {
                        let kept = left.volumes.iter();
                        let kept =
                            kept.map(|id| format!("the volume {id} is left over: no driver deletes it"));
                        Some(kept.collect())
                    }
                    _ => None,
                };
                if let Some(kept) = kept {
                    self.remove_parent().await?;
                    return Ok(Ok(Removed { kept }));
                }
            }
            if left.now.is_empty() && left.all > 0 {
                // These went at once: on to what is next.
                continue;
            }
            if let Some(removed) = self.abandoned(&left, waited).await? {
                return Ok(Ok(removed));
            }
            if waited >= PATIENCE_MS
                && let Some((key, object)) = left.now.first_key_value()
            {
                let hanging = Hanging::look(self.link, key, object).await?;
                let after = format!("{} min", PATIENCE_MS / 60_000);
                return Ok(Err(hanging.failure(&after, clock.now())));
            }
            let message = match left.now.keys().next() {
                Some(key) => format!("waiting for {} to be gone", key.said()),
                None => format!("waiting for the volume {} to be deleted", left.volumes.join(", ")),
            };
            if message != told {
                self.progress.say(message.clone());
                told = message;
            }
            clock.sleep(looks.next()).await;
        }
    }

    /// What goes with its cluster: nobody cleans up behind these any more, or somebody is at it for ever. The cluster
    /// takes them along, and the sweep what was made for them.
    async fn abandoned(&self, left: &Left, waited: u64) -> Result<Option<Removed>, Trouble> {
        if !self.owned.goes_along || waited < ABANDONED_MS || left.now.is_empty() {
            return Ok(None);
        }
        // A definition goes when the last object of its kind does: another step may have left one to the cluster.
        let mut held: BTreeMap<Key, Value> = BTreeMap::new();
        for (key, object) in &left.now {
            let instances = match key.kind.as_str() {
                "CustomResourceDefinition" => hangs::instances(self.link, object).await?,
                _ => Vec::new(),
            };
            if instances.is_empty() {
                held.insert(key.clone(), object.clone());
            }
            held.extend(instances);
        }
        let swept = |object: &Value| hangs::waits_for(object).is_some_and(advice::is_swept);
        let given_up = waited >= PATIENCE_MS && held.values().all(swept);
        if !given_up && hangs::any_lives(self.link, held.values()).await? {
            return Ok(None);
        }
        let kept = held.iter().map(|(key, object)| {
            format!(
                "the {} goes with its cluster: nothing takes off {}",
                key.said(),
                hangs::finalizers(object).join(", ")
            )
        });
        Ok(Some(Removed { kept: kept.collect() }))
    }

    async fn members(&self, discovery: &Discovery) -> Result<Members, Trouble> {
        self.set.members(self.link, discovery, self.kinds.clone()).await
    }

    /// Lets Jobs run that clean up, and waits until they are done: whatever they need still stands.
    async fn clean_up(&self) -> Result<Result<(), Failure>, Trouble> {
        let clock = self.link.clock.clone();
        let began = clock.millis();
        let mut looks = Looks::new();
        let mut told = false;
        self.link.recent_discovery().await?;
        loop {
            let discovery = self.link.discovery().await?;
            let mut jobs = self.members(&discovery).await?.objects;
            jobs.retain(|_, object| runs_on_removal(object) && !is(object, "Complete"));
            // One that is being deleted has done its work, or was given up by hand.
            jobs.retain(|_, object| object["metadata"]["deletionTimestamp"].is_null());
            let Some((first, job)) = jobs.first_key_value() else {
                return Ok(Ok(()));
            };
            if let Some((key, job)) = jobs.iter().find(|(_, job)| is(job, "Failed")) {
                let summary = format!(
                    "the {}, which cleans up before the removal, has failed",
                    key.said()
                );
                return Ok(Err(self.not_cleaned(key, job, summary, "Failed").await?));
            }
            if clock.millis().saturating_sub(began) >= PATIENCE_MS {
                let after = PATIENCE_MS / 60_000;
                let summary = format!(
                    "the {}, which cleans up before the removal, is not done after {after} min",
                    first.said()
                );
                return Ok(Err(self.not_cleaned(first, job, summary, "Running").await?));
            }
            for (key, job) in &jobs {
                if job["spec"]["suspend"] == true
                    && let Some(resource) = discovery.preferred(&key.group_kind())
                {
                    let change = json!({ "spec": { "suspend": false } });
                    self.link.merge(&resource.path_of(key), &change).await?;
                }
            }
            if !told {
                self.progress.say(format!("{} cleans up", first.said()));
                told = true;
            }
            clock.sleep(looks.next()).await;
        }
    }

    async fn not_cleaned(
        &self,
        key: &Key,
        job: &Value,
        summary: String,
        state: &str,
    ) -> Result<Failure, Trouble> {
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        let condition = conditions.filter_map(|one| one["message"].as_str()).next_back();
        let log = logs::last_line_of(self.link, key, job).await?;
        let reason = match (log, condition) {
            (Some(line), _) => format!("its last word: {line}"),
            (None, Some(message)) => message.to_owned(),
            (None, None) => "it says nothing about why".to_owned(),
        };
        Ok(Failure {
            cause: Some(Cause {
                resource: key.place(),
                kind: key.kind.clone(),
                state: state.to_owned(),
                reason,
                at: self.link.clock.now(),
            }),
            ..Failure::new(summary)
        }
        .way_out(advice::clean_up_failed(key)))
    }

    /// Deletes what is next to go, and tells what is left.
    async fn remove_next(&mut self) -> Result<Left, Trouble> {
        let discovery = self.link.discovery().await?;
        let mut members = self.members(&discovery).await?;
        if members.objects.is_empty() {
            // A kind that was not known before may hold the last of them.
            let discovery = self.link.discover().await?;
            members = self.members(&discovery).await?;
        }
        self.claims
            .extend(members.objects.keys().filter(|key| has_volumes(key)).cloned());
        let controls = !self.owned.controls.is_empty()
            || members
                .parent
                .as_ref()
                .is_some_and(|parent| !crate::applyset::controls_of(parent).is_empty());
        let all = members.objects.len();
        let first = members.objects.keys().map(|key| rank(key, controls)).min();
        let mut now = members.objects;
        now.retain(|key, _| Some(rank(key, controls)) == first);
        let deletes = now.iter().filter(|(_, object)| {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            self.asked.insert(uid.to_owned()) && object["metadata"]["deletionTimestamp"].is_null()
        });
        let link = self.link;
        let deletes: Vec<_> = deletes
            .filter_map(|(key, object)| {
                let path = discovery.preferred(&key.group_kind())?.path_of(key);
                Some(async move { link.delete(&path, object, propagation(key)).await })
            })
            .collect();
        let deleted: Vec<Result<(), Trouble>> =
            stream::iter(deletes).buffer_unordered(AT_ONCE).collect().await;
        let asked = !deleted.is_empty();
        deleted.into_iter().collect::<Result<(), Trouble>>()?;
        if asked {
            return self.remaining(now, all).await;
        }
        let volumes = if all == 0 {
            self.volumes(&discovery).await?
        } else {
            Vec::new()
        };
        Ok(Left { now, all, volumes })
    }

    /// What is left just after something was deleted: most of it goes at once.
    async fn remaining(&self, mut now: BTreeMap<Key, Value>, all: usize) -> Result<Left, Trouble> {
        let discovery = self.link.discovery().await?;
        let still = self.members(&discovery).await?.objects;
        let before = now.len();
        now = now
            .into_keys()
            .filter_map(|key| still.get(&key).cloned().map(|object| (key, object)))
            .collect();
        let all = all - (before - now.len());
        let volumes = if all == 0 {
            self.volumes(&discovery).await?
        } else {
            Vec::new()
        };
        Ok(Left { now, all, volumes })
    }

    /// Volumes of claims that are gone, which their driver is to delete.
    async fn volumes(&self, discovery: &Discovery) -> Result<Vec<String>, Trouble> {
        let Some(kind) = discovery
            .core("", "PersistentVolume")
            .filter(|_| !self.claims.is_empty())
        else {
            return Ok(Vec::new());
        };
        let of_ours = |volume: &Value| {
            let claim = &volume["spec"]["claimRef"];
            self.claims.iter().any(|key| match key.kind.as_str() {
                "Namespace" => claim["namespace"] == key.name.as_str(),
                _ => claim["namespace"] == key.namespace.as_str() && claim["name"] == key.name.as_str(),
            })
        };
        let volumes = self.link.list(kind, "", &[]).await?;
        let to_go =
            |volume: &&Value| of_ours(volume) && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete";
        Ok(volumes
            .iter()
            .filter(to_go)
            .map(|volume| {
                let handle = volume["spec"]["csi"]["volumeHandle"].as_str();
                handle
                    .or(volume["metadata"]["name"].as_str())
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect())
    }

    async fn driver_runs(&self) -> Result<bool, Trouble> {
        hangs::runs(self.link, "aws-ebs-csi-driver").await
    }

    async fn remove_parent(&self) -> Result<(), Trouble> {
        let path = self.set.parent_path();
        match self.link.get(&path).await? {
            Some(parent) if self.set.may_have(&parent) => {
                self.link.delete(&path, &parent, "Background").await
            }
            _ => Ok(()),
        }
    }
}

fn is(job: &Value, kind: &str) -> bool {
    let mut conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == kind && one["status"] == "True")
}
