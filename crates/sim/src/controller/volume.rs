//! Volumes: what the EBS CSI driver makes for claims, and how they are attached and reclaimed.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, tags};
use crate::cluster::{Cluster, Controller, object};
use crate::fault::Fault;
use crate::thing::{INSTANCE, Thing, ThingId, VOLUME};
use crate::world::State;

const MANAGER: &str = "ebs.csi.aws.com";
/// Volumes wait for their driver.
const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";

fn purpose(claim: &Key, uid: &str) -> String {
    format!("volume of {} ({uid})", claim.said())
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

/// What becomes of a volume once its claim is gone, as its class says.
fn reclaims(cluster: &Cluster, claim: &Value) -> &'static str {
    let name = claim["spec"]["storageClassName"].as_str();
    let mut classes = cluster.api.of_kind("storage.k8s.io", "StorageClass");
    let class = classes.find(|(key, class)| match name {
        Some(name) => key.name == name,
        None => object::annotation(class, "storageclass.kubernetes.io/is-default-class") == Some("true"),
    });
    match class {
        Some((_, class)) if class["reclaimPolicy"] == "Retain" => "Retain",
        _ => "Delete",
    }
}

impl State {
    /// What the driver does, while it lives, with the platform whose tags it gives.
    pub(super) fn volumes(
        &mut self,
        cluster: &mut Cluster,
        platform: Option<&str>,
        now: u64,
        again: &mut Again,
    ) {
        for (key, claim) in cluster.all("", "PersistentVolumeClaim") {
            if !object::is_going(&claim) && claim["status"]["phase"] != "Bound" {
                self.make_volume(cluster, &key, &claim, platform, now);
            }
        }
        self.attach(cluster, now);
        self.reclaim(cluster, now, again);
    }

    fn make_volume(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        claim: &Arc<Value>,
        platform: Option<&str>,
        now: u64,
    ) {
        let uid = object::uid(claim).to_owned();
        let volume = format!("pvc-{uid}");
        let size = claim["spec"]["resources"]["requests"]["storage"].clone();
        let id = self.make(Thing {
            kind: VOLUME,
            region: cluster.region.clone(),
            tags: tags(
                cluster,
                platform,
                &[
                    ("ebs.csi.aws.com/cluster", "true"),
                    ("CSIVolumeName", volume.as_str()),
                    ("kubernetes.io/created-for/pvc/name", key.name.as_str()),
                    ("kubernetes.io/created-for/pvc/namespace", key.namespace.as_str()),
                ],
            ),
            maker: Controller::Volume.name(),
            purpose: purpose(key, &uid),
            cluster: Some((cluster.name.clone(), cluster.uid)),
            holds_gib: Some(gib(claim)),
            ready_at: now,
            ..Thing::default()
        });
        let body = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {
                "name": volume, "finalizers": [FINALIZER],
                "annotations": { "pv.kubernetes.io/provisioned-by": MANAGER },
            },
            "spec": {
                "capacity": { "storage": size }, "accessModes": claim["spec"]["accessModes"], "volumeMode": "Filesystem",
                "persistentVolumeReclaimPolicy": reclaims(cluster, claim),
                "storageClassName": claim["spec"]["storageClassName"].as_str().unwrap_or_default(),
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": key.namespace, "name": key.name, "uid": uid,
                },
                "csi": { "driver": MANAGER, "volumeHandle": self.things[&id].id },
            },
        });
        if let Ok(made) = cluster.create(MANAGER, body, now) {
            cluster.set_status(MANAGER, &made, json!({ "phase": "Bound" }), now);
        }
        cluster.edit(MANAGER, key, now, |claim| {
            claim["spec"]["volumeName"] = volume.as_str().into()
        });
        let status = json!({
            "phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": { "storage": size },
        });
        cluster.set_status(MANAGER, key, status, now);
    }

    /// Volumes are attached to machines while pods use them.
    fn attach(&mut self, cluster: &Cluster, now: u64) {
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
        let mut used = BTreeSet::new();
        for (key, pod) in cluster.api.of_kind("", "Pod") {
            for name in object::claims(pod) {
                let claim = object::key("v1", "PersistentVolumeClaim", &key.namespace, name);
                if let Some(found) = cluster.api.get(&claim) {
                    used.insert(purpose(&claim, object::uid(found)));
                }
            }
        }
        for thing in self.things.values_mut() {
            if thing.kind == VOLUME && thing.belongs_to(cluster.uid) {
                thing.of = machine.filter(|_| used.contains(&thing.purpose));
            }
        }
    }

    /// Volumes whose claims are gone are released, and deleted unless they are to be kept.
    fn reclaim(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        for (key, volume) in cluster.all("", "PersistentVolume") {
            let claimed = &volume["spec"]["claimRef"];
            let claim = object::key(
                "v1",
                "PersistentVolumeClaim",
                claimed["namespace"].as_str().unwrap_or_default(),
                claimed["name"].as_str().unwrap_or_default(),
            );
            let uid = claimed["uid"].as_str().unwrap_or_default();
            if cluster
                .api
                .get(&claim)
                .is_some_and(|claim| object::uid(claim) == uid)
            {
                continue;
            }
            cluster.merge_status(MANAGER, &key, json!({ "phase": "Released" }), now);
            if volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain" && !object::is_going(&volume) {
                continue;
            }
            let named = purpose(&claim, uid);
            let thing: Option<ThingId> = self
                .things
                .iter()
                .find(|(_, thing)| thing.kind == VOLUME && thing.purpose == named)
                .map(|(id, _)| *id);
            if let Some(id) = thing {
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
            cluster.delete(&key, now);
            cluster.remove_finalizer(&key, FINALIZER, now);
            cluster.remove_finalizer(&key, "kubernetes.io/pv-protection", now);
        }
    }
}
