//! Volumes: what the EBS CSI driver makes for claims, and what the cluster itself does about claims.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Again, tags};
use crate::cluster::{Cluster, Controller, Key, PVC_PROTECTION};
use crate::fault::Fault;
use crate::thing::{INSTANCE, Thing, ThingId, VOLUME};
use crate::world::State;

fn purpose(key: &Key, uid: u64) -> String {
    format!("volume of {} ({uid})", key.said())
}

/// `20Gi` is 20.
fn gib(claim: &Value) -> u64 {
    let text = claim["spec"]["resources"]["requests"]["storage"]
        .as_str()
        .unwrap_or("1Gi");
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    let number = number.parse().unwrap_or(1);
    if text.ends_with("Ti") {
        number * 1024
    } else {
        number
    }
}

impl State {
    /// `driver` is there while the driver lives, with the platform whose tags it gives.
    pub(super) fn volumes(
        &mut self,
        cluster: &mut Cluster,
        driver: Option<Option<&str>>,
        now: u64,
        again: &mut Again,
    ) {
        self.claims_of_stateful_sets(cluster, now, again);
        let claims: Vec<Key> = keys(cluster);
        let in_use: Vec<Key> = cluster
            .objects
            .iter()
            .flat_map(|(key, object)| {
                let claims = object.claims(&key.kind).into_iter();
                claims.map(|name| Key::new("v1", "PersistentVolumeClaim", Some(&key.namespace), &name))
            })
            .collect();
        for key in &claims {
            let Some(object) = cluster.objects.get_mut(key) else {
                continue;
            };
            if object.deleting.is_some() {
                if !in_use.contains(key) && object.finalizers.remove(PVC_PROTECTION) {
                    again.soon();
                }
                continue;
            }
            if object.status["phase"] != "Bound"
                && let Some(platform) = driver
            {
                let uid = object.uid;
                let holds = gib(&object.body);
                object.status = json!({ "phase": "Bound" });
                again.soon();
                self.make_volume(cluster, key, uid, holds, platform, now);
            }
        }
        cluster.settle(now);
        self.attach(cluster, &in_use, now);
        if driver.is_some() {
            self.reclaim(cluster, now, again);
        }
    }

    fn make_volume(
        &mut self,
        cluster: &Cluster,
        key: &Key,
        uid: u64,
        holds: u64,
        platform: Option<&str>,
        now: u64,
    ) {
        let volume = format!(
            "pvc-{}",
            self.chance(&["pv", &cluster.name, &uid.to_string()]).uuid()
        );
        let tags = tags(
            cluster,
            platform,
            &[
                ("ebs.csi.aws.com/cluster", "true"),
                ("CSIVolumeName", volume.as_str()),
                ("kubernetes.io/created-for/pvc/name", key.name.as_str()),
                ("kubernetes.io/created-for/pvc/namespace", key.namespace.as_str()),
            ],
        );
        self.make(Thing {
            kind: VOLUME,
            region: cluster.region.clone(),
            tags,
            maker: Controller::Volume.name(),
            purpose: purpose(key, uid),
            cluster: Some((cluster.name.clone(), cluster.uid)),
            holds_gib: Some(holds),
            ready_at: now,
            ..Thing::default()
        });
    }

    /// Stateful sets make claims for their pods, which stay when the set goes.
    fn claims_of_stateful_sets(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        let sets: Vec<(String, Value, Value)> = cluster
            .objects
            .iter()
            .filter(|(key, object)| key.kind == "StatefulSet" && object.deleting.is_none())
            .flat_map(|(key, object)| {
                let labels = object.spec()["selector"]["matchLabels"].clone();
                let claims = object.own_claims().into_iter();
                claims.map(move |(name, spec)| {
                    let mut metadata = json!({ "name": name, "namespace": key.namespace });
                    if labels.is_object() {
                        metadata["labels"] = labels.clone();
                    }
                    (key.namespace.clone(), metadata, spec)
                })
            })
            .collect();
        for (namespace, metadata, spec) in sets {
            let name = metadata["name"].as_str().unwrap_or_default();
            let key = Key::new("v1", "PersistentVolumeClaim", Some(&namespace), name);
            if !cluster.objects.contains_key(&key) {
                let body = json!({
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec,
                });
                cluster.put(&key, &Arc::new(body), false, None, self.seed, now);
                again.soon();
            }
        }
    }

    /// Volumes are attached to machines while pods use them.
    fn attach(&mut self, cluster: &Cluster, in_use: &[Key], now: u64) {
        let machine = self
            .things
            .iter()
            .find(|(_, thing)| {
                thing.kind == INSTANCE
                    && thing.belongs_to(cluster.uid)
                    && thing.ready_at <= now
                    && !thing.is_going()
            })
            .map(|(id, _)| *id);
        let used: Vec<String> = in_use
            .iter()
            .filter_map(|key| Some(purpose(key, cluster.objects.get(key)?.uid)))
            .collect();
        for thing in self.things.values_mut() {
            if thing.kind == VOLUME && thing.belongs_to(cluster.uid) {
                thing.of = machine.filter(|_| used.contains(&thing.purpose));
            }
        }
    }

    /// The volumes of a cluster whose claims are gone and that its driver still has to delete.
    pub(crate) fn released(&self, cluster: &Cluster) -> Vec<ThingId> {
        let claimed: Vec<String> = keys(cluster)
            .iter()
            .filter_map(|key| Some(purpose(key, cluster.objects.get(key)?.uid)))
            .collect();
        let keeps = cluster
            .objects
            .iter()
            .any(|(key, class)| key.kind == "StorageClass" && class.body["reclaimPolicy"] == "Retain");
        if keeps {
            return Vec::new();
        }
        self.things
            .iter()
            .filter(|(_, thing)| thing.kind == VOLUME && thing.belongs_to(cluster.uid))
            .filter(|(_, thing)| thing.purpose.starts_with("volume of") && !claimed.contains(&thing.purpose))
            .map(|(id, _)| *id)
            .collect()
    }

    fn reclaim(&mut self, cluster: &Cluster, now: u64, again: &mut Again) {
        for id in self.released(cluster) {
            if self.things[&id].of.is_some() {
                again.soon();
                continue;
            }
            let forgotten = self.take_fault(|fault| matches!(fault, Fault::VolumeLeftover).then_some(()));
            match (forgotten, self.things.get_mut(&id)) {
                (Some(()), Some(thing)) => thing.purpose = format!("forgotten {}", thing.purpose),
                _ => self.take_away(id, now),
            }
        }
    }
}

fn keys(cluster: &Cluster) -> Vec<Key> {
    let all = cluster.objects.keys();
    all.filter(|key| key.kind == "PersistentVolumeClaim")
        .cloned()
        .collect()
}
