//! What stands behind services: the addresses of pods that are ready.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::turn::MANAGER;
use crate::cluster::{Cluster, object};

/// The port of a pod that a service's port means.
fn target(port: &Value, pod: &Value) -> Value {
    match &port["targetPort"] {
        Value::Number(number) => json!(number),
        Value::String(name) => {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let mut ports = containers.flat_map(|one| one["ports"].as_array().into_iter().flatten());
            let found = ports.find(|one| one["name"] == name.as_str());
            found.map_or_else(|| port["port"].clone(), |one| one["containerPort"].clone())
        }
        _ => port["port"].clone(),
    }
}

/// Keeps an EndpointSlice for every service that selects pods.
pub(super) fn sync_endpoints(cluster: &mut Cluster, now: u64) {
    let services = cluster.all("", "Service");
    if services.is_empty() {
        return;
    }
    let pods = cluster.all("", "Pod");
    for (key, service) in services {
        let selector = &service["spec"]["selector"];
        if !selector.is_object() || object::is_going(&service) {
            continue;
        }
        let behind: Vec<&(Key, std::sync::Arc<Value>)> = pods
            .iter()
            .filter(|(at, pod)| {
                at.namespace == key.namespace
                    && pod["status"]["podIP"].is_string()
                    && !object::is_going(pod)
                    && object::selects(selector, &pod["metadata"]["labels"])
            })
            .collect();
        let endpoints: Vec<Value> = behind
            .iter()
            .map(|(at, pod)| {
                let ready = object::is_true(pod, "Ready");
                json!({
                    "addresses": [pod["status"]["podIP"]],
                    "conditions": { "ready": ready, "serving": ready, "terminating": false },
                    "nodeName": pod["spec"]["nodeName"],
                    "targetRef": { "kind": "Pod", "name": at.name, "namespace": at.namespace, "uid": pod["metadata"]["uid"] },
                })
            })
            .collect();
        let ports: Vec<Value> = service["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| {
                let number = behind
                    .first()
                    .map_or_else(|| port["port"].clone(), |(_, pod)| target(port, pod));
                json!({
                    "name": port["name"].as_str().unwrap_or_default(), "port": number,
                    "protocol": port["protocol"].as_str().unwrap_or("TCP"),
                })
            })
            .collect();
        let name = format!(
            "{}-{}",
            key.name,
            super::workloads::digits(object::uid(&service), 5)
        );
        let slice = object::key("discovery.k8s.io/v1", "EndpointSlice", &key.namespace, &name);
        match cluster.get(&slice) {
            None if endpoints.is_empty() => {}
            None => {
                let body = json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {
                        "name": name, "namespace": key.namespace,
                        "labels": { "kubernetes.io/service-name": key.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" },
                        "ownerReferences": object::owned_by(&service),
                    },
                    "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
                });
                let _ = cluster.create(MANAGER, body, now);
            }
            Some(stands) => {
                if stands["endpoints"] != Value::Array(endpoints.clone()) {
                    cluster.edit(MANAGER, &slice, now, |body| {
                        body["endpoints"] = Value::Array(endpoints);
                        body["ports"] = Value::Array(ports);
                    });
                }
            }
        }
    }
}

/// Says of APIs that others serve whether they answer: when a pod behind their service is ready.
pub(super) fn sync_api_services(cluster: &mut Cluster, now: u64) {
    for (key, service) in cluster.all("apiregistration.k8s.io", "APIService") {
        let behind = &service["spec"]["service"];
        let (Some(name), Some(namespace)) = (behind["name"].as_str(), behind["namespace"].as_str()) else {
            continue;
        };
        let found = cluster.get(&object::key("v1", "Service", namespace, name));
        let answers = found.is_some_and(|found| {
            let selector = &found["spec"]["selector"];
            cluster.api.of_kind("", "Pod").any(|(at, pod)| {
                at.namespace == namespace
                    && object::is_true(pod, "Ready")
                    && object::selects(selector, &pod["metadata"]["labels"])
            })
        });
        let (reason, message) = if answers {
            ("Passed", "all checks passed".to_owned())
        } else {
            let why = format!("endpoints for service/{name} in \"{namespace}\" have no addresses");
            ("MissingEndpoints", why)
        };
        let text = cluster.text(now);
        let condition = object::put_condition(&service, "Available", answers, reason, &message, &text);
        cluster.set_status(MANAGER, &key, json!({ "conditions": [condition] }), now);
    }
}
