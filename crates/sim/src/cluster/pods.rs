//! Pods: when they start, when they are ready, and why they are not. And what else is waited for.

use super::{Cluster, Controller, Key, Object, Pods, advice};
use crate::controller;
use crate::durations;
use crate::fault::Fault;
use crate::random::Random;
use crate::world::State;

impl State {
    /// Starts the pods that can start, and stops those that have no machine any more. Tells when the next
    /// of those that start are ready.
    pub(crate) fn schedule_pods(&mut self, cluster: &mut Cluster, now: u64) -> Option<u64> {
        let nodes = self.nodes(cluster.uid, now);
        let mut next = None;
        let workloads: Vec<Key> = cluster
            .objects
            .iter()
            .filter(|(_, object)| object.pods != Pods::None && object.deleting.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in workloads {
            let waits = cluster.pods_wait_for(&key, nodes);
            let Some(object) = cluster.objects.get_mut(&key) else {
                continue;
            };
            let starts = match (&object.pods, waits) {
                (Pods::Starting { .. }, Some(reason)) if nodes == 0 => Err(reason),
                (Pods::Pending(_), Some(reason)) => Err(reason),
                (Pods::Pending(_), None) => Ok(()),
                (Pods::Starting { ready_at }, _) => {
                    if *ready_at > now {
                        next = Some(next.map_or(*ready_at, |other: u64| other.min(*ready_at)));
                    }
                    continue;
                }
                _ => continue,
            };
            object.pods = match starts {
                Err(reason) => Pods::Pending(reason),
                Ok(()) => match self.pods_fail(&key) {
                    Some(reason) => Pods::Failing(reason),
                    None => {
                        let takes = start_ms(&key, object, self.seed);
                        let ready_at = now + takes;
                        next = Some(next.map_or(ready_at, |other: u64| other.min(ready_at)));
                        Pods::Starting { ready_at }
                    }
                },
            };
        }
        next
    }

    fn pods_fail(&mut self, key: &Key) -> Option<String> {
        let name = format!("{}/{}", key.kind, key.name);
        self.take_fault(|fault| match fault {
            Fault::PodsNeverReady { object, reason } if *object == name => Some(reason.clone()),
            Fault::ImagePullFails { object, image } if *object == name => Some(format!(
                "ImagePullBackOff: Back-off pulling image \"{image}\": rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": not found"
            )),
            _ => None,
        })
    }
}

/// How long the pods of a workload take until they are ready.
fn start_ms(key: &Key, object: &Object, seed: u64) -> u64 {
    let mut random = Random::of(
        seed,
        &[
            "pods",
            &key.kind,
            &key.namespace,
            &key.name,
            &object.uid.to_string(),
        ],
    );
    let known = ["keycloak", "postgre", "argocd", "developer-hub", "karpenter"];
    let slow = known.into_iter().find(|word| key.name.contains(word));
    let typical = slow
        .and_then(|word| durations::typical_ms(&format!("pods of {word}"), false))
        .or_else(|| durations::typical_ms("pods", false));
    random.about(typical.unwrap_or(35_000), 30)
}

impl Cluster {
    /// Why the pods of a workload cannot start.
    fn pods_wait_for(&self, key: &Key, nodes: usize) -> Option<String> {
        if nodes == 0 {
            return Some("0/0 nodes are available: no nodes available to schedule pods".to_owned());
        }
        let object = self.objects.get(key)?;
        object.claims(&key.kind).into_iter().find_map(|claim| {
            let claim = Key::new("v1", "PersistentVolumeClaim", Some(&key.namespace), &claim);
            match self.objects.get(&claim) {
                None => Some(format!("persistentvolumeclaim \"{}\" not found", claim.name)),
                Some(one) if one.status["phase"] != "Bound" => Some(format!(
                    "pod has unbound immediate PersistentVolumeClaims: {}",
                    claim.name
                )),
                Some(_) => None,
            }
        })
    }

    /// What an object still waits for, and how to mend it when that does not come; none when it is ready.
    pub(crate) fn unready(&self, key: &Key, now: u64) -> Option<(String, String)> {
        let Some(object) = self.objects.get(key) else {
            return Some((
                "it was deleted meanwhile".to_owned(),
                "somebody or something else deletes it (another tool that prunes, a person: the cluster's audit log says who); once \
                 that has stopped, run the command again: it is made anew"
                    .to_owned(),
            ));
        };
        let replicas = object.spec()["replicas"].as_u64().unwrap_or(1);
        let wanting = |why: &str, way_out: String| Some((why.to_owned(), way_out));
        let by = |controller: Controller, waits: &str, lacks: &str| {
            let lives = self.lives(controller, now).is_some();
            let why = if lives { waits } else { lacks };
            (why.to_owned(), advice::controller(controller, key, lives))
        };
        match key.kind.as_str() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Pod" | "Job" => match &object.pods {
                _ if replicas == 0 => None,
                pods if pods.are_ready(now) => None,
                Pods::Pending(reason) => wanting(
                    &format!("0 of {replicas} pods are ready: Pending: {reason}"),
                    advice::pending(key, reason),
                ),
                Pods::Failing(reason) => wanting(
                    &format!("0 of {replicas} pods are ready: {reason}"),
                    advice::failing(key, reason),
                ),
                _ => wanting(
                    &format!("0 of {replicas} pods are ready: they start"),
                    advice::slow(key),
                ),
            },
            "Ingress" if !controller::is_ours(object) => None,
            "Ingress" | "Gateway" if !object.has_hostname() => Some(by(
                Controller::LoadBalancer,
                "its load balancer is not active yet",
                "it has no address, and no load balancer controller runs that would make it one",
            )),
            "Service" if object.spec()["type"] == "LoadBalancer" && !object.has_hostname() => Some(by(
                Controller::LoadBalancer,
                "its load balancer is not active yet",
                "EXTERNAL-IP is <pending>, and no load balancer controller runs that would make it one",
            )),
            "PersistentVolumeClaim" if object.status["phase"] != "Bound" => Some(by(
                Controller::Volume,
                "it is Pending: waiting for a volume to be created by the driver ebs.csi.aws.com",
                "it is Pending: waiting for a volume to be created, and the driver ebs.csi.aws.com does not run",
            )),
            "Application" if object.status["health"]["status"] != "Healthy" => {
                let why = object.status["message"].as_str();
                Some(by(
                    Controller::Argo,
                    why.unwrap_or("it is not Synced and Healthy yet"),
                    "it is not Synced, and no Argo CD runs that would sync it",
                ))
            }
            "NodePool" if object.status["ready"] != true => Some(by(
                Controller::Karpenter,
                "it is not Ready yet",
                "it is not Ready, and no Karpenter runs",
            )),
            _ if object.ready_at > now => wanting(
                "it is not established yet",
                format!("look at the conditions of the {}", key.said()),
            ),
            _ => None,
        }
    }
}
