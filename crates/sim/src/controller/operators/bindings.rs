//! The AWS Load Balancer Controller's own kinds: pods of a service as targets of a target group that somebody else
//! made.

use serde_json::json;

use super::{Again, event};
use crate::cluster::{Cluster, object};
use crate::world::State;

pub(super) fn tend(_: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    bind(cluster, "elbv2.k8s.aws", now, again);
}

/// Keeps the bindings of one group of kinds.
pub(super) fn bind(cluster: &mut Cluster, group: &'static str, now: u64, again: &mut Again) {
    let finalizer = format!("{group}/resources");
    let manager = if group == "elbv2.k8s.aws" {
        "aws-load-balancer-controller"
    } else {
        super::AUTO_MODE
    };
    for (key, binding) in cluster.all(group, "TargetGroupBinding") {
        if object::is_going(&binding) {
            cluster.remove_finalizer(&key, &finalizer, now);
            continue;
        }
        cluster.add_finalizer(manager, &key, &finalizer, now);
        let name = binding["spec"]["serviceRef"]["name"].as_str().unwrap_or_default();
        if cluster
            .api
            .get(&object::key("v1", "Service", &key.namespace, name))
            .is_none()
        {
            let why = format!("Service \"{name}\" not found");
            event(cluster, manager, &binding, ("BackendNotFound", &why), now);
            again.soon();
            continue;
        }
        let status = json!({ "observedGeneration": object::generation(&binding) });
        cluster.merge_status(manager, &key, status, now);
    }
}
