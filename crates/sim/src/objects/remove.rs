//! Removing a step's objects, and stopping what makes things anew.

use landfall_model::provider::{Cause, Failure, Owned, Removed};
use landfall_runner::{ApplyError, Progress};
use serde_json::json;

use super::SimObjects;
use super::apply::Looks;
use super::owner;
use crate::cluster::{Cluster, Controller, Key, Object, advice};
use crate::trouble::Trouble;
use crate::world::State;

/// How long something that hangs is waited for.
const PATIENCE_MS: u64 = 15 * 60 * 1000;
/// How long something that nobody cares for any more is waited for, when its cluster goes too.
const ABANDONED_MS: u64 = 2 * 60 * 1000;
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

/// An object that is being removed.
struct Waiting {
    key: Key,
    finalizers: Vec<String>,
    /// Whether what takes them off lives.
    lives: bool,
    /// Whether that is a controller whose things a sweep finds: then it may be left to the sweep.
    known: bool,
}

/// What is left of a step's objects at some moment.
struct Left {
    /// What is being removed now, with what it waits for.
    now: Vec<Waiting>,
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
                Waiting {
                    key: key.clone(),
                    finalizers: holds,
                    lives,
                    known: controller.is_some(),
                }
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
            // Nobody cleans up behind these any more, or somebody is at it for ever. The cluster takes them along,
            // and the sweep what was made for them.
            let abandoned = waited >= ABANDONED_MS && left.now.iter().all(|one| !one.lives)
                || waited >= PATIENCE_MS && left.now.iter().all(|one| one.known);
            if owned.goes_along && abandoned {
                let kept = left.now.iter().map(|one| {
                    format!(
                        "the {} goes with its cluster: nothing takes off {}",
                        one.key.said(),
                        one.finalizers.join(", ")
                    )
                });
                return Ok(Removed { kept: kept.collect() });
            }
            if waited >= PATIENCE_MS
                && let Some(Waiting { key, .. }) = left.now.first()
            {
                let after = format!("{} min", PATIENCE_MS / 60_000);
                let failure = self
                    .world
                    .call(Some(progress), |state, now| {
                        let cluster = state.cluster(address.region, address.cluster);
                        let at = self.world.text(now);
                        Ok(cluster.map(|cluster| hangs(cluster, key, now, &after, &at)))
                    })
                    .await
                    .map_err(failing)?;
                if let Some(failure) = failure {
                    return Err(failure.into());
                }
            }
            let message = match left.now.first() {
                Some(one) => format!("waiting for {} to be gone", one.key.said()),
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

/// How many things left in a namespace are named.
const NAMED: usize = 3;

/// Why something that is deleted is not gone `after` a while.
pub(super) fn hangs(cluster: &Cluster, key: &Key, now: u64, after: &str, at: &str) -> Failure {
    let said = key.said();
    let object = cluster.objects.get(key);
    let finalizers: Vec<String> =
        object.map_or_else(Vec::new, |object| object.finalizers.iter().cloned().collect());
    let controller = object.and_then(|object| waits_for(key, object));
    let lives = controller.is_none_or(|one| cluster.lives(one, now).is_some());
    let made = made_by(cluster, key);
    let within = |other: &Key| match key.kind.as_str() {
        "Namespace" => other.namespace == key.name,
        _ => made.contains(other),
    };
    let mut left: Vec<(&Key, &Object)> = cluster
        .objects
        .iter()
        .filter(|(other, _)| within(other))
        .collect();
    // What is held back itself holds back the rest.
    left.sort_by_key(|(_, object)| object.finalizers.is_empty());
    let held = left
        .first()
        .filter(|(_, object)| !object.finalizers.is_empty())
        .copied();
    let mut inside: Vec<String> = left
        .iter()
        .map(|(other, object)| match object.finalizers.first() {
            Some(finalizer) => format!("the {} (finalizer {finalizer})", other.said()),
            None => format!("the {}", other.said()),
        })
        .collect();
    let more = inside.len().saturating_sub(NAMED);
    inside.truncate(NAMED);
    if more > 0 {
        inside.push(format!("{more} more"));
    }
    let reason = match (finalizers.as_slice(), inside.as_slice()) {
        ([], []) => "it was asked to go, and nothing says why it does not".to_owned(),
        ([], left) => format!("it still holds {}", left.join(", ")),
        (finalizers, []) => format!("it waits for its finalizer {}", finalizers.join(", ")),
        (finalizers, left) => format!(
            "it waits for its finalizer {}, and still there is {}",
            finalizers.join(", "),
            left.join(", ")
        ),
    };
    let resource = match key.namespace.as_str() {
        "" => key.name.clone(),
        namespace => format!("{namespace}/{}", key.name),
    };
    Failure {
        summary: format!("the {said} is not gone after {after}"),
        cause: Some(Cause {
            resource,
            kind: key.kind.clone(),
            state: "Terminating".to_owned(),
            reason,
            at: at.to_owned(),
        }),
        way_out: Some(match held {
            // What is inside has to go first: that is where to begin.
            Some((other, object)) if lives => {
                let finalizers: Vec<String> = object.finalizers.iter().cloned().collect();
                let lives = waits_for(other, object).is_none_or(|one| cluster.lives(one, now).is_some());
                let advice = advice::hanging(other, &finalizers, &[], lives);
                format!("begin with the {}: {advice}", other.said())
            }
            _ => advice::hanging(key, &finalizers, &inside, lives),
        }),
    }
}

/// What an object has made, and what that has made.
fn made_by(cluster: &Cluster, maker: &Key) -> Vec<Key> {
    let mut made = vec![maker.clone()];
    let mut at = 0;
    while at < made.len() {
        let next = cluster
            .objects
            .iter()
            .filter(|(key, object)| object.owner.as_ref() == Some(&made[at]) && !made.contains(key));
        let next: Vec<Key> = next.map(|(key, _)| key.clone()).collect();
        made.extend(next);
        at += 1;
    }
    made.remove(0);
    made
}
