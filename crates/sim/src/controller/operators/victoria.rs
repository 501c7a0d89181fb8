//! The VictoriaMetrics operator: programs that store, collect and alert, and the rules and targets they are given.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, deployment, keep, ready_replicas, service};
use crate::cluster::{Cluster, object};
use crate::world::State;

const MANAGER: &str = "victoria-metrics-operator";
const GROUP: &str = "operator.victoriametrics.com";
/// What holds back each of the kinds until it has cleaned up.
const FINALIZER: &str = "apps.victoriametrics.com/finalizer";

/// Kinds that run something, with the port it answers on.
const RUNS: [(&str, u64); 6] = [
    ("VMSingle", 8428),
    ("VMAgent", 8429),
    ("VMAlert", 8080),
    ("VMAlertmanager", 9093),
    ("VMAuth", 8427),
    ("VLSingle", 9428),
];

/// Kinds that say something to those.
const SAYS: [&str; 9] = [
    "VMRule",
    "VMPodScrape",
    "VMServiceScrape",
    "VMNodeScrape",
    "VMStaticScrape",
    "VMScrapeConfig",
    "VMProbe",
    "VMUser",
    "VMAlertmanagerConfig",
];

pub(super) fn tend(_: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    for (kind, port) in RUNS {
        for (key, one) in cluster.all(GROUP, kind) {
            if object::is_going(&one) {
                cluster.remove_finalizer(&key, FINALIZER, now);
            } else {
                run(cluster, (&key, &one), port, now, again);
            }
        }
    }
    for kind in SAYS {
        for (key, one) in cluster.all(GROUP, kind) {
            if !object::is_going(&one) {
                let status =
                    json!({ "updateStatus": "operational", "observedGeneration": object::generation(&one) });
                cluster.merge_status(MANAGER, &key, status, now);
            }
        }
    }
}

fn run(cluster: &mut Cluster, (key, one): (&Key, &Value), port: u64, now: u64, again: &mut Again) {
    let spec = &one["spec"];
    cluster.add_finalizer(MANAGER, key, FINALIZER, now);
    let program = key.kind.to_lowercase();
    let name = format!("{program}-{}", key.name);
    let place = (key.namespace.as_str(), name.as_str());
    let labels = json!({ "app.kubernetes.io/name": program, "app.kubernetes.io/instance": key.name, "managed-by": "vm-operator" });
    let wanted = spec["replicaCount"].as_u64().unwrap_or(1);
    let mut body = deployment(
        one,
        place,
        &labels,
        wanted,
        &format!("docker.io/victoriametrics/{program}:v1"),
    );
    if spec["storage"].is_object() {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": name, "namespace": key.namespace, "labels": labels, "ownerReferences": object::owned_by(one) },
            "spec": spec["storage"],
        });
        keep(cluster, MANAGER, claim, now);
        body["spec"]["strategy"] = json!({ "type": "Recreate" });
        body["spec"]["template"]["spec"]["volumes"] =
            json!([{ "name": "data", "persistentVolumeClaim": { "claimName": name } }]);
    }
    let runs = keep(cluster, MANAGER, body, now);
    let mut front = service(one, place, &labels, port);
    front["spec"]["ports"][0]["name"] = "http".into();
    keep(cluster, MANAGER, front, now);
    let is_ready = runs.is_some_and(|runs| ready_replicas(&runs) >= wanted);
    if !is_ready {
        again.soon();
    }
    let state = if is_ready { "operational" } else { "expanding" };
    let status = json!({ "updateStatus": state, "observedGeneration": object::generation(one) });
    cluster.merge_status(MANAGER, key, status, now);
}
