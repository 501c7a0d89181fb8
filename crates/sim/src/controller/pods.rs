//! Pods: when they start, when they are ready, and why they are not.

use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::Again;
use super::helm::Ran;
use crate::cluster::{Cluster, Fate, object};
use crate::durations;
use crate::fault::Fault;
use crate::random::Random;
use crate::world::State;

const KUBELET: &str = "kubelet";
const SCHEDULER: &str = "kube-scheduler";

/// What a pod belongs to in the end: the Deployment behind its ReplicaSet, or itself.
pub(super) fn workload(cluster: &Cluster, pod: &Value) -> Option<Key> {
    let namespace = pod["metadata"]["namespace"].as_str()?;
    let Some((kind, name, _)) = object::owner(pod) else {
        return Some(object::key(
            "v1",
            "Pod",
            namespace,
            pod["metadata"]["name"].as_str()?,
        ));
    };
    if kind == "ReplicaSet" {
        let set = object::key("apps/v1", kind, namespace, name);
        if let Some(set) = cluster.api.get(&set)
            && let Some((kind, name, _)) = object::owner(set)
        {
            return Some(object::key("apps/v1", kind, namespace, name));
        }
    }
    let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    Some(object::key(group, kind, namespace, name))
}

/// How long the pods of a workload take until they are ready.
fn start_ms(workload: &Key, pod: &Value, seed: u64) -> u64 {
    let parts = ["pods", &workload.kind, &workload.namespace, &workload.name];
    let mut random = Random::of(seed, &parts);
    let known = ["keycloak", "postgre", "argocd", "developer-hub", "karpenter"];
    let slow = known.into_iter().find(|word| workload.name.contains(word));
    let typical = match workload.kind.as_str() {
        "Job" => durations::typical_ms("Job", false),
        // Somebody looks something up, and is gone.
        "Pod" if pod["spec"]["restartPolicy"] == "Never" => Some(5_000),
        _ => slow.and_then(|word| durations::typical_ms(&format!("pods of {word}"), false)),
    };
    random.about(
        typical
            .or_else(|| durations::typical_ms("pods", false))
            .unwrap_or(35_000),
        30,
    )
}

/// Whether it ends by itself.
fn ends(pod: &Value) -> bool {
    matches!(pod["spec"]["restartPolicy"].as_str(), Some("Never" | "OnFailure"))
}

/// Why the scheduler finds no place for a pod.
fn no_place(cluster: &Cluster, pod: &Value, nodes: &[(Key, Arc<Value>)]) -> Option<String> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    for name in object::claims(pod) {
        let claim = object::key("v1", "PersistentVolumeClaim", namespace, name);
        match cluster.api.get(&claim) {
            None => return Some(format!("persistentvolumeclaim \"{name}\" not found")),
            Some(claim) if claim["status"]["phase"] != "Bound" && !nodes.is_empty() => {
                return Some(format!(
                    "0/{} nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/{} nodes are available: \
                     {} Preemption is not helpful for scheduling.",
                    nodes.len(),
                    nodes.len(),
                    nodes.len()
                ));
            }
            Some(_) => {}
        }
    }
    if nodes.is_empty() {
        return Some("no nodes available to schedule pods".to_owned());
    }
    let selector = &pod["spec"]["nodeSelector"];
    let fits = |node: &Value| selector.is_null() || object::selects(selector, &node["metadata"]["labels"]);
    (!nodes.iter().any(|(_, node)| fits(node))).then(|| {
        format!(
            "0/{} nodes are available: {} node(s) didn't match Pod's node affinity/selector.",
            nodes.len(),
            nodes.len()
        )
    })
}

impl State {
    /// Puts pods on machines, starts them, and lets those that are due be ready.
    pub(super) fn run_pods(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        let pods = cluster.all("", "Pod");
        if pods.is_empty() {
            cluster.fates.clear();
            return;
        }
        let nodes = cluster.all("", "Node");
        for (key, pod) in pods {
            let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if object::is_going(&pod) || over {
                continue;
            }
            match cluster.fates.get(object::uid(&pod)).cloned() {
                None => self.start(cluster, &key, &pod, &nodes, now, again),
                Some(Fate {
                    fails: None,
                    ready_at,
                }) if ready_at <= now => {
                    self.arrive(cluster, &key, &pod, now);
                    if let Some(fate) = cluster
                        .fates
                        .get(object::uid(&pod))
                        .filter(|fate| fate.ready_at > now)
                    {
                        again.at(fate.ready_at);
                    }
                }
                Some(Fate {
                    fails: Some(why),
                    ready_at,
                }) if ready_at <= now => {
                    fail(cluster, &key, &pod, &why, now);
                }
                Some(fate) => again.at(fate.ready_at),
            }
        }
    }

    fn start(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        pod: &Arc<Value>,
        nodes: &[(Key, Arc<Value>)],
        now: u64,
        again: &mut Again,
    ) {
        let text = cluster.text(now);
        let unscheduled = |why: &str| {
            let mut condition =
                object::put_condition(pod, "PodScheduled", false, "Unschedulable", why, &text);
            condition["lastProbeTime"] = Value::Null;
            json!({ "phase": "Pending", "qosClass": "Burstable", "conditions": [condition] })
        };
        let Some(of) = workload(cluster, pod) else {
            return;
        };
        let lacks_room = cluster.failing.get(&of).filter(|why| is_no_room(why)).cloned();
        if let Some(why) = lacks_room.or_else(|| no_place(cluster, pod, nodes)) {
            let why = why.strip_prefix("Pending: ").unwrap_or(&why).to_owned();
            let status = unscheduled(&why);
            if pod["status"]["conditions"][0]["message"] != why.as_str() {
                cluster.set_status(SCHEDULER, key, status, now);
                event(cluster, key, pod, "Warning", "FailedScheduling", &why, now);
            }
            return;
        }
        let node = match pod["spec"]["nodeName"].as_str() {
            Some(node) => node.to_owned(),
            None => {
                let selector = &pod["spec"]["nodeSelector"];
                let fitting: Vec<&Key> = nodes
                    .iter()
                    .filter(|(_, node)| {
                        selector.is_null() || object::selects(selector, &node["metadata"]["labels"])
                    })
                    .map(|(node, _)| node)
                    .collect();
                let place =
                    Random::of(0, &["place", object::uid(pod)]).next() as usize % fitting.len().max(1);
                let Some(node) = fitting.get(place).map(|node| node.name.clone()) else {
                    return;
                };
                cluster.edit(SCHEDULER, key, now, |pod| {
                    pod["spec"]["nodeName"] = node.as_str().into()
                });
                node
            }
        };
        let fails = match cluster.failing.get(&of) {
            Some(why) => Some(why.clone()),
            None => self.pods_fail(&of).inspect(|why| {
                cluster.failing.insert(of.clone(), why.clone());
            }),
        };
        if fails.as_deref().is_some_and(is_no_room) {
            // The next look says so.
            again.at(now + 1);
            return;
        }
        let takes = match fails {
            // A pull or a start that fails shows soon.
            Some(_) => 3_000,
            None => start_ms(&of, pod, self.seed),
        };
        let ready_at = now + takes;
        cluster
            .fates
            .insert(object::uid(pod).to_owned(), Fate { ready_at, fails });
        again.at(ready_at);
        let waits = json!({ "waiting": { "reason": "ContainerCreating" } });
        let status = running(pod, "Pending", &node, None, false, &waits, &text);
        cluster.set_status(KUBELET, key, status, now);
        let namespaced = format!("{}/{}", key.namespace, key.name);
        let said = format!("Successfully assigned {namespaced} to {node}");
        event(cluster, key, pod, "Normal", "Scheduled", &said, now);
    }

    fn pods_fail(&mut self, workload: &Key) -> Option<String> {
        let name = format!("{}/{}", workload.kind, workload.name);
        self.take_fault(|fault| match fault {
            Fault::PodsNeverReady { object, reason } if *object == name => Some(reason.clone()),
            Fault::ImagePullFails { object, image } if *object == name => Some(format!(
                "ImagePullBackOff: Back-off pulling image \"{image}\": rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": not found"
            )),
            _ => None,
        })
    }

    /// A pod is ready, or, when it ends by itself, done.
    fn arrive(&mut self, cluster: &mut Cluster, key: &Key, pod: &Value, now: u64) {
        let text = cluster.text(now);
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        if ends(pod) {
            let result = match self.run_helm(cluster, key, pod, now) {
                Ran::Done => self.run_once(cluster, pod),
                Ran::Failed(said) => Err(said),
                Ran::Waits => return,
            };
            let (phase, code, reason) = match &result {
                Ok(()) => ("Succeeded", 0, "Completed"),
                Err(said) => {
                    cluster.api.set_log(key, said.clone());
                    ("Failed", 1, "Error")
                }
            };
            let ended = json!({ "terminated": {
                "exitCode": code, "reason": reason, "startedAt": text, "finishedAt": text,
            } });
            let mut status = running(
                pod,
                phase,
                &node,
                address(cluster, pod).as_deref(),
                false,
                &ended,
                &text,
            );
            if let Err(said) = result {
                status["containerStatuses"][0]["state"]["terminated"]["message"] = said.into();
            }
            cluster.set_status(KUBELET, key, status, now);
            return;
        }
        if object::is_true(pod, "Ready") {
            return;
        }
        let address = address(cluster, pod);
        let runs = json!({ "running": { "startedAt": text } });
        let status = running(pod, "Running", &node, address.as_deref(), true, &runs, &text);
        cluster.set_status(KUBELET, key, status, now);
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let said = format!("Successfully pulled image \"{image}\"");
        event(cluster, key, pod, "Normal", "Pulled", &said, now);
    }
}

impl State {
    /// What a pod that ends by itself does, of what can be done here. Everything else is taken to succeed.
    fn run_once(&mut self, cluster: &mut Cluster, pod: &Value) -> Result<(), String> {
        let container = &pod["spec"]["containers"][0];
        let image = container["image"].as_str().unwrap_or_default();
        if image.contains("/external-dns:") {
            self.record_once(cluster);
        }
        super::operators::judge(self, cluster, pod).unwrap_or(Ok(()))
    }
}

/// The address of a pod: the one it has, or a new one.
fn address(cluster: &mut Cluster, pod: &Value) -> Option<String> {
    if let Some(address) = pod["status"]["podIP"].as_str() {
        return Some(address.to_owned());
    }
    cluster.addresses += 1;
    let number = cluster.addresses;
    Some(format!("10.0.{}.{}", 32 + number / 250 % 200, 2 + number % 250))
}

/// Whether what is said means that no machine has room.
fn is_no_room(why: &str) -> bool {
    why.contains("Insufficient") || why.contains("untolerated taint")
}

/// The status of a pod that has a machine.
fn running(
    pod: &Value,
    phase: &str,
    node: &str,
    address: Option<&str>,
    ready: bool,
    state: &Value,
    now: &str,
) -> Value {
    let done = phase == "Succeeded";
    let (reason, message) = match (ready, done) {
        (true, _) => ("", ""),
        (false, true) => ("PodCompleted", ""),
        (false, false) => ("ContainersNotReady", "containers with unready status"),
    };
    let conditions = json!([
        object::put_condition(pod, "PodScheduled", true, "", "", now),
        object::put_condition(pod, "Initialized", true, "", "", now),
        object::put_condition(pod, "ContainersReady", ready, reason, message, now),
        object::put_condition(pod, "Ready", ready, reason, message, now),
    ]);
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let containers: Vec<Value> = containers
        .map(|container| {
            let image = container["image"].as_str().unwrap_or_default();
            json!({
                "name": container["name"], "image": image, "imageID": "", "ready": ready, "started": ready, "restartCount": 0,
                "state": state, "lastState": {},
            })
        })
        .collect();
    let host = node
        .trim_start_matches("ip-")
        .split('.')
        .next()
        .unwrap_or_default()
        .replace('-', ".");
    let mut status = json!({
        "phase": phase, "qosClass": "Burstable", "hostIP": host, "hostIPs": [{ "ip": host }],
        "startTime": pod["status"]["startTime"].as_str().unwrap_or(now),
        "conditions": conditions, "containerStatuses": containers,
    });
    if let Some(address) = address {
        status["podIP"] = address.into();
        status["podIPs"] = json!([{ "ip": address }]);
    }
    status
}

/// A pod does not run, for what is said.
fn fail(cluster: &mut Cluster, key: &Key, pod: &Value, why: &str, now: u64) {
    let (reason, message) = why.split_once(": ").unwrap_or((why, ""));
    let first = &pod["status"]["containerStatuses"][0];
    let is_said = first["state"]["waiting"]["reason"] == reason
        || first["state"]["running"].is_object()
        || first["state"]["terminated"].is_object();
    if is_said {
        return;
    }
    let text = cluster.text(now);
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let pulls = reason.contains("ImagePull") || reason.contains("InvalidImage");
    let crashes = reason.contains("CrashLoop") || reason == "OOMKilled" || reason == "Error";
    if ends(pod) && crashes {
        let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error", "startedAt": text, "finishedAt": text } });
        let status = running(pod, "Failed", &node, None, false, &ended, &text);
        cluster.set_status(KUBELET, key, status, now);
        cluster.api.set_log(key, format!("fatal: {why}\n"));
        return;
    }
    let waits = if crashes { "CrashLoopBackOff" } else { reason };
    let is_waiting = pulls || crashes || reason.ends_with("Error") || reason.contains("ContainerCreating");
    let state = if is_waiting {
        let said = if message.is_empty() {
            let container = pod["spec"]["containers"][0]["name"].as_str().unwrap_or("it");
            format!(
                "back-off 5m0s restarting failed container={container} pod={}",
                key.name
            )
        } else {
            message.to_owned()
        };
        json!({ "waiting": { "reason": waits, "message": said } })
    } else {
        json!({ "running": { "startedAt": text } })
    };
    let address = (!pulls).then(|| address(cluster, pod)).flatten();
    let phase = if pulls { "Pending" } else { "Running" };
    let mut status = running(pod, phase, &node, address.as_deref(), false, &state, &text);
    if crashes {
        let last = if reason == "OOMKilled" {
            "OOMKilled"
        } else {
            "Error"
        };
        let code = if reason == "OOMKilled" { 137 } else { 1 };
        for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
            container["restartCount"] = json!(5);
            container["lastState"] = json!({ "terminated": {
                "exitCode": code, "reason": last, "startedAt": text, "finishedAt": text,
            } });
        }
        let said = if message.is_empty() {
            "fatal: the process ended with exit code 1"
        } else {
            message
        };
        cluster.api.set_log(key, format!("starting\n{said}\n"));
    }
    cluster.set_status(KUBELET, key, status, now);
    let (kind, said) = match (is_waiting, pulls) {
        (true, true) => ("Failed", format!("Failed to pull image: {message}")),
        (true, false) => ("BackOff", format!("Back-off restarting failed container: {why}")),
        (false, _) => ("Unhealthy", why.to_owned()),
    };
    event(cluster, key, pod, "Warning", kind, &said, now);
}

/// Writes an event about a pod.
fn event(cluster: &mut Cluster, key: &Key, pod: &Value, kind: &str, reason: &str, message: &str, now: u64) {
    let text = cluster.text(now);
    let uid = object::uid(pod);
    let digits = Random::of(0, &["event", uid, reason, message]).hex(16);
    let by = if matches!(reason, "FailedScheduling" | "Scheduled") {
        "default-scheduler"
    } else {
        KUBELET
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": format!("{}.{digits}", key.name), "namespace": key.namespace },
        "involvedObject": { "apiVersion": "v1", "kind": "Pod", "namespace": key.namespace, "name": key.name, "uid": uid },
        "type": kind, "reason": reason, "message": message, "count": 1,
        "firstTimestamp": text, "lastTimestamp": text, "source": { "component": by },
        "reportingComponent": by, "reportingInstance": "",
    });
    // One that is there already says the same.
    let _ = cluster.create(by, body, now);
}
