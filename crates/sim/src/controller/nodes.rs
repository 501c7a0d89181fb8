//! Machines that have joined, as Node objects.

use serde_json::{Value, json};

use super::Again;
use crate::cluster::{Cluster, object};
use crate::random::Random;
use crate::thing::{INSTANCE, Thing};
use crate::world::State;

/// What a machine is called in its cluster.
pub(super) fn node_name(machine: &Thing) -> String {
    let mut random = Random::of(0, &["address", &machine.id]);
    format!(
        "ip-10-0-{}-{}.{}.compute.internal",
        random.between(0, 31),
        random.between(4, 254),
        machine.region
    )
}

fn node(machine: &Thing, version: &str, now: &str) -> Value {
    let name = node_name(machine);
    let address = name
        .trim_start_matches("ip-")
        .split('.')
        .next()
        .unwrap_or_default()
        .replace('-', ".");
    let zone = format!(
        "{}{}",
        machine.region,
        ["a", "b"][(machine.id.len() + machine.purpose.len()) % 2]
    );
    let mut labels = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "m7i.large",
        "topology.kubernetes.io/region": machine.region,
        "topology.kubernetes.io/zone": zone,
    });
    for tag in ["karpenter.sh/nodepool", "eks:nodegroup-name"] {
        if let Some(value) = machine.tags.get(tag) {
            let label = if tag.starts_with("eks:") {
                "eks.amazonaws.com/nodegroup"
            } else {
                tag
            };
            labels[label] = value.as_str().into();
        }
    }
    let holds = |kind: &str, holds: &str, reason: &str| json!({ "type": kind, "status": holds, "reason": reason, "message": "kubelet says so", "lastTransitionTime": now, "lastHeartbeatTime": now });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "spec": { "providerID": format!("aws:///{zone}/{}", machine.id) },
        "status": {
            "capacity": { "cpu": "2", "memory": "7934Mi", "pods": "29" },
            "allocatable": { "cpu": "1930m", "memory": "7244Mi", "pods": "29" },
            "addresses": [
                { "type": "InternalIP", "address": address },
                { "type": "Hostname", "address": name },
            ],
            "conditions": [
                holds("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                holds("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                holds("PIDPressure", "False", "KubeletHasSufficientPID"),
                holds("Ready", "True", "KubeletReady"),
            ],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.12",
                "kubeProxyVersion": "", "kubeletVersion": format!("v{version}.0-eks-1-1"), "machineID": "", "operatingSystem": "linux",
                "osImage": "Bottlerocket OS", "systemUUID": "",
            },
        },
    })
}

impl State {
    /// Makes Node objects for machines that have joined, and takes away those of machines that are gone or
    /// drained, with the pods on them.
    pub(super) fn sync_nodes(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        let mut wanted = Vec::new();
        for machine in self.things.values() {
            if machine.kind != INSTANCE || !machine.belongs_to(cluster.uid) || machine.is_going() {
                continue;
            }
            if machine.ready_at > now {
                if machine.ready_at != u64::MAX {
                    again.at(machine.ready_at);
                }
                continue;
            }
            wanted.push(machine);
        }
        let text = cluster.text(now);
        let mut names = Vec::with_capacity(wanted.len());
        for machine in wanted {
            let name = node_name(machine);
            if cluster.api.get(&object::key("v1", "Node", "", &name)).is_none() {
                let mut body = node(machine, crate::cluster::VERSION, &text);
                let status = body["status"].take();
                if let Ok(key) = cluster.create("kubelet", body, now) {
                    cluster.set_status("kubelet", &key, status, now);
                }
            }
            names.push(name);
        }
        for (key, _) in cluster.all("", "Node") {
            if names.contains(&key.name) {
                continue;
            }
            cluster.delete(&key, now);
            for (pod, body) in cluster.all("", "Pod") {
                if body["spec"]["nodeName"] == key.name.as_str() {
                    cluster.fates.remove(object::uid(&body));
                    cluster.delete(&pod, now);
                }
            }
        }
    }
}
