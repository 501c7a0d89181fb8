//! Removing a step's objects, and stopping what makes things anew.

use landfall_model::provider::{Failure, Owned, Removed};
use landfall_runner::{ApplyError, Progress};
use serde_json::json;

use super::SimObjects;
use super::apply::Looks;
use super::owner;
use crate::cluster::{Cluster, Controller, Key, Object};
use crate::trouble::Trouble;
use crate::world::State;

/// How long something that hangs is waited for.
const PATIENCE_MS: u64 = 15 * 60 * 1000;
/// How long a volume is waited for that nobody seems to delete.
const VOLUME_MS: u64 = 60 * 1000;

/// Where a step's objects are.
pub(super) struct Address<'a> {
    pub(super) platform: &'a str,
    pub(super) cluster: &'a str,
    pub(super) region: &'a str,
}

impl<'a> Address<'a> {
    pub(super) fn of(owned: &'a Owned) -> Address<'a> {
        let text = |key: &str| owned.address[key].as_str().unwrap_or_default();
        Address {
            platform: text("platform"),
            cluster: text("cluster"),
            region: text("region"),
        }
    }
}

/// When an object is removed, among all of a step: what controllers look after first, the controllers
/// themselves and what they need last.
fn rank(key: &Key, object: &Object) -> u8 {
    let controls = object.annotation(super::CONTROLS).is_some();
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
        kind if kind.ends_with("WebhookConfiguration") => 2,
        _ => 0,
    }
}

/// What is left of a step's objects at some moment.
struct Left {
    /// What is being removed now, with what it waits for.
    now: Vec<(Key, Vec<String>, bool)>,
    all: usize,
    /// Volumes that are still to be deleted, and whether anything lives that would.
    volumes: Vec<String>,
    driver_lives: bool,
}

/// Every object of a step that is owned, in a cluster.
fn objects(cluster: &Cluster, platform: &str, owned: &Owned) -> Vec<(Key, u8)> {
    let ours = |object: &Object| owner(object).is_some_and(|(of, step)| of == platform && step == owned.step);
    cluster
        .objects
        .iter()
        .filter(|(_, object)| ours(object))
        .map(|(key, object)| (key.clone(), rank(key, object)))
        .collect()
}

impl State {
    /// Deletes what is next to go, and tells what is left.
    fn remove_next(
        &mut self,
        address: &Address<'_>,
        owned: &Owned,
        claims: &[Key],
        now: u64,
    ) -> Option<Left> {
        let left = self.with_cluster(address.region, address.cluster, |state, cluster| {
            let all = objects(cluster, address.platform, owned);
            let first = all.iter().map(|(_, rank)| *rank).min().unwrap_or(0);
            for (key, _) in all.iter().filter(|(_, rank)| *rank == first) {
                state.delete_object(cluster, key, now);
            }
            let now_gone = |key: &Key| !cluster.objects.contains_key(key);
            let waits = |key: &Key| {
                let object = &cluster.objects[key];
                let holds = object.finalizers.iter().cloned().collect();
                let controller = waits_for(key, object);
                let lives = controller.is_none_or(|one| cluster.lives(one, now).is_some());
                (key.clone(), holds, lives)
            };
            let current = all
                .iter()
                .filter(|(key, rank)| *rank == first && !now_gone(key))
                .map(|(key, _)| waits(key))
                .collect();
            let released = state.released(cluster);
            let of_ours = |purpose: &str| {
                let mut claims = claims.iter();
                claims.any(|claim| purpose.starts_with(&format!("volume of {} ", claim.said())))
            };
            let volumes = released
                .iter()
                .filter(|id| of_ours(&state.things[*id].purpose))
                .map(|id| state.things[id].id.clone());
            let left = Left {
                now: current,
                all: all.iter().filter(|(key, _)| !now_gone(key)).count(),
                volumes: volumes.collect(),
                driver_lives: cluster.lives(Controller::Volume, now).is_some(),
            };
            (left, cluster.uid)
        });
        let (left, uid) = left?;
        if left.all > 0 || !left.volumes.is_empty() {
            self.stir(uid, now);
        }
        Some(left)
    }
}

/// The controller that has to take a finalizer off an object.
fn waits_for(key: &Key, object: &Object) -> Option<Controller> {
    let held = |word: &str| object.finalizers.iter().any(|one| one.contains(word));
    if held("k8s.aws/") && key.kind != "EC2NodeClass" {
        Some(Controller::LoadBalancer)
    } else if held("argocd.argoproj.io") {
        Some(Controller::Argo)
    } else if held("karpenter.") {
        Some(Controller::Karpenter)
    } else {
        None
    }
}

impl SimObjects {
    pub(super) async fn remove_all(&self, owned: &Owned, progress: &Progress) -> Result<Removed, ApplyError> {
        let address = Address::of(owned);
        let failing = |trouble: Trouble| {
            trouble.failing(&format!(
                "removing objects from the cluster `{}`",
                address.cluster
            ))
        };
        let claims = self
            .world
            .call(Some(progress), |state, _| {
                let cluster = state.cluster(address.region, address.cluster);
                Ok(cluster.map_or_else(Vec::new, |cluster| {
                    let all = objects(cluster, address.platform, owned).into_iter();
                    let claims = all
                        .map(|(key, _)| key)
                        .filter(|key| key.kind == "PersistentVolumeClaim");
                    claims.collect()
                }))
            })
            .await
            .map_err(failing)?;
        let began = self.world.now();
        let mut changed_at = began;
        let mut before = usize::MAX;
        let mut told = String::new();
        let mut looks = Looks::new();
        loop {
            let left = self
                .world
                .call(Some(progress), |state, now| {
                    Ok((state.remove_next(&address, owned, &claims, now), now))
                })
                .await
                .map_err(failing)?;
            let (Some(left), now) = left else {
                // The cluster is gone, and everything in it.
                return Ok(Removed::default());
            };
            if left.all != before {
                before = left.all;
                changed_at = now;
                looks = Looks::new();
            }
            let waited = now.saturating_sub(changed_at);
            if left.all == 0 {
                if left.volumes.is_empty() {
                    return Ok(Removed::default());
                }
                if !left.driver_lives && waited >= VOLUME_MS || waited >= PATIENCE_MS {
                    let kept = left.volumes.into_iter();
                    let kept = kept.map(|id| format!("the volume {id} is left over: no driver deletes it"));
                    return Ok(Removed { kept: kept.collect() });
                }
            }
            if waited >= PATIENCE_MS
                && let Some((key, finalizers, lives)) = left.now.first()
            {
                return Err(hangs(key, finalizers, *lives).into());
            }
            let message = match left.now.first() {
                Some((key, _, _)) => format!("waiting for {} to be gone", key.said()),
                None => format!("waiting for the volume {} to be deleted", left.volumes.join(", ")),
            };
            if message != told {
                progress.say(message.clone());
                told = message;
            }
            self.world.sleep(looks.next()).await;
        }
    }

    pub(super) async fn quiesce_all(
        &self,
        owned: &Owned,
        progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        let address = Address::of(owned);
        self.world
            .call(Some(progress), |state, now| {
                let stopped = state.with_cluster(address.region, address.cluster, |_, cluster| {
                    let mut said = Vec::new();
                    let mut ours: Vec<Key> = objects(cluster, address.platform, owned)
                        .into_iter()
                        .map(|(key, _)| key)
                        .collect();
                    // Applications of Applications: what ours have made is stopped, too.
                    let mut at = 0;
                    while at < ours.len() {
                        let made: Vec<Key> = cluster
                            .objects
                            .iter()
                            .filter(|(key, object)| {
                                object.owner.as_ref() == Some(&ours[at]) && !ours.contains(key)
                            })
                            .map(|(key, _)| key.clone())
                            .collect();
                        ours.extend(made);
                        at += 1;
                    }
                    for key in ours {
                        if let Some(object) = cluster.objects.get_mut(&key) {
                            said.extend(stop(&key, object));
                        }
                    }
                    (said, cluster.uid)
                });
                Ok(stopped.map_or_else(Vec::new, |(said, uid)| {
                    state.stir(uid, now);
                    said
                }))
            })
            .await
            .map_err(|trouble| {
                trouble.failing(&format!(
                    "stopping what makes things anew in `{}`",
                    address.cluster
                ))
            })
    }
}

/// Stops what an object makes anew, or more of.
fn stop(key: &Key, object: &mut Object) -> Option<String> {
    let before = object.generation;
    let said = match key.kind.as_str() {
        "Application" => {
            object.edit(|body| {
                if let Some(policy) = body["spec"]["syncPolicy"].as_object_mut() {
                    policy.remove("automated");
                }
            });
            format!("automated sync of the {} is off", key.said())
        }
        "NodePool" => {
            object.edit(|body| body["spec"]["limits"] = json!({ "cpu": "0" }));
            format!("the {} makes no more machines", key.said())
        }
        "HorizontalPodAutoscaler" => {
            object.edit(|body| {
                let least = body["spec"]["minReplicas"].as_u64().unwrap_or(1);
                body["spec"]["maxReplicas"] = json!(least);
            });
            format!("the {} makes no more pods", key.said())
        }
        _ => return None,
    };
    (object.generation != before).then_some(said)
}

fn hangs(key: &Key, finalizers: &[String], lives: bool) -> Failure {
    let said = key.said();
    let minutes = PATIENCE_MS / 60_000;
    if finalizers.is_empty() {
        return Failure::new(format!(
            "the {said} is not gone after {minutes} min: something is left in it"
        ))
        .way_out(format!("look what is left in the {said}, and why it does not go"));
    }
    let list = finalizers.join(", ");
    let failure = Failure::new(format!(
        "the {said} is not gone after {minutes} min: it waits for its finalizer {list}"
    ));
    if lives {
        failure.way_out(format!(
            "look what {list} waits for; when nothing cares for it any more, take it off with `kubectl patch`, and run the command again"
        ))
    } else {
        failure.way_out(format!(
            "the controller that takes off {list} does not run: start it again, or take the finalizer off with `kubectl patch` and let the sweep remove what it made"
        ))
    }
}
