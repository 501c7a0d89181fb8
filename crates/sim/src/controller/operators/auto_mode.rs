//! EKS Auto Mode: what EKS itself looks after in a cluster that is made so. Its machines are Karpenter's, its volumes
//! those of its own driver, its load balancers those of a controller like AWS's.

use serde_json::json;

use super::Again;
use crate::cluster::{Cluster, object};
use crate::world::State;

/// What it is called among the add-ons of a cluster.
pub(crate) const AUTO_MODE: &str = "eks-auto-mode";
/// The group of its kinds.
pub(in crate::controller) const GROUP: &str = "eks.amazonaws.com";

pub(super) fn tend(_: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    make_pools(cluster, now);
    super::bindings::bind(cluster, GROUP, now, again);
}

/// Makes the pools that a cluster is to have from the start, with their class, once their kinds are known.
fn make_pools(cluster: &mut Cluster, now: u64) {
    if !cluster.api.knows("karpenter.sh/v1", "NodePool")
        || !cluster.api.knows("eks.amazonaws.com/v1", "NodeClass")
    {
        return;
    }
    let Some((pools, role)) = cluster.pools.take().filter(|(pools, _)| !pools.is_empty()) else {
        return;
    };
    let class = json!({
        "apiVersion": "eks.amazonaws.com/v1", "kind": "NodeClass",
        "metadata": { "name": "default", "labels": { "app.kubernetes.io/managed-by": "eks" } },
        "spec": { "role": role },
    });
    let _ = cluster.create("eks", class, now);
    for name in &pools {
        let mut pool = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": { "name": name, "labels": { "app.kubernetes.io/managed-by": "eks" } },
            "spec": { "template": { "spec": {
                "nodeClassRef": { "group": GROUP, "kind": "NodeClass", "name": "default" },
                "requirements": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }],
            } } },
        });
        if name == "system" {
            pool["spec"]["template"]["spec"]["taints"] =
                json!([{ "key": "CriticalAddonsOnly", "effect": "NoSchedule" }]);
        }
        let _ = cluster.create("eks", pool, now);
    }
}

/// Whether a pod waits for a machine.
pub(in crate::controller) fn waits_for_machine(cluster: &Cluster) -> bool {
    let mut pods = cluster.api.of_kind("", "Pod");
    pods.any(|(_, pod)| {
        let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        !over && !object::is_going(pod) && pod["spec"]["nodeName"].is_null()
    })
}
