//! Routes through Envoy's Gateways, and the policies attached to either.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::conditions;
use super::envoy::{CONTROLLER, GATEWAYS, GATEWAYS_V1, MANAGER, class};
use crate::cluster::{Cluster, object};

const ROUTES: [&str; 2] = ["HTTPRoute", "GRPCRoute"];
const POLICIES: &str = "gateway.envoyproxy.io";

/// The Gateway that a reference of an object means, when it is one of Envoy's.
fn gateway(cluster: &Cluster, namespace: &str, reference: &Value) -> Option<(Key, Value)> {
    let namespace = reference["namespace"].as_str().unwrap_or(namespace);
    let name = reference["name"].as_str().unwrap_or_default();
    let key = object::key(GATEWAYS_V1, "Gateway", namespace, name);
    let found = cluster.get(&key)?;
    class(cluster, &found)?;
    Some((key, found.as_ref().clone()))
}

/// How many routes a listener has.
pub(super) fn attached(cluster: &Cluster, gateway: &Key, listener: &str) -> usize {
    let all = ROUTES
        .into_iter()
        .flat_map(|kind| cluster.api.of_kind(GATEWAYS, kind));
    all.filter(|(key, route)| {
        let mut parents = route["spec"]["parentRefs"].as_array().into_iter().flatten();
        parents.any(|parent| {
            parent["name"] == gateway.name.as_str()
                && parent["namespace"].as_str().unwrap_or(&key.namespace) == gateway.namespace
                && parent["sectionName"]
                    .as_str()
                    .is_none_or(|section| section == listener)
        })
    })
    .count()
}

/// Whether a listener's host and a route's have a name in common.
pub(super) fn fits(listener: &str, host: &str) -> bool {
    let below = |wild: &str, name: &str| wild.strip_prefix('*').is_some_and(|end| name.ends_with(end));
    listener == host || below(listener, host) || below(host, listener)
}

/// Why a Gateway does not take a route; none when it does.
fn refusal(
    cluster: &Cluster,
    gateway: (&Key, &Value),
    parent: &Value,
    route: (&Key, &Value),
) -> Option<(&'static str, &'static str)> {
    let (at, gateway) = gateway;
    let (key, route) = route;
    let listeners = gateway["spec"]["listeners"].as_array().into_iter().flatten();
    let meant: Vec<&Value> = listeners
        .filter(|one| {
            (parent["sectionName"].is_null() || one["name"] == parent["sectionName"])
                && (parent["port"].is_null() || one["port"] == parent["port"])
        })
        .collect();
    if meant.is_empty() {
        return Some(("NoMatchingParent", "No listeners match this parent ref"));
    }
    let lets_in = |listener: &&&Value| {
        let namespaces = &listener["allowedRoutes"]["namespaces"];
        match namespaces["from"].as_str().unwrap_or("Same") {
            "All" => true,
            "Selector" => {
                let own = cluster.get(&object::key("v1", "Namespace", "", &key.namespace));
                let labels = own
                    .map(|own| own["metadata"]["labels"].clone())
                    .unwrap_or_default();
                crate::controller::network_policy::fits(&namespaces["selector"], &labels)
            }
            _ => at.namespace == key.namespace,
        }
    };
    let allowing: Vec<&&Value> = meant.iter().filter(lets_in).collect();
    if allowing.is_empty() {
        return Some((
            "NotAllowedByListeners",
            "No listeners included by this parent ref allowed this attachment.",
        ));
    }
    let hosts = route["spec"]["hostnames"].as_array().cloned().unwrap_or_default();
    let shares = |listener: &Value| {
        let own = listener["hostname"].as_str();
        let mut hosts = hosts.iter().filter_map(Value::as_str);
        hosts.clone().next().is_none()
            || own.is_none()
            || hosts.any(|host| own.is_some_and(|own| fits(own, host)))
    };
    if !allowing.iter().any(|listener| shares(listener)) {
        return Some((
            "NoMatchingListenerHostname",
            "There were no hostname intersections between the HTTPRoute and this parent ref's Listener(s).",
        ));
    }
    None
}

/// What a route sends to and is not there, with the reason in the Gateway API's words.
fn unresolved(cluster: &Cluster, key: &Key, route: &Value) -> Option<(&'static str, String)> {
    let rules = route["spec"]["rules"].as_array().into_iter().flatten();
    let backends = rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    for backend in backends {
        let name = backend["name"].as_str().unwrap_or_default();
        let namespace = backend["namespace"].as_str().unwrap_or(&key.namespace);
        let (version, kind) = match backend["kind"].as_str().unwrap_or("Service") {
            "Backend" => ("gateway.envoyproxy.io/v1alpha1", "Backend"),
            _ => ("v1", "Service"),
        };
        if namespace != key.namespace && !granted(cluster, key, namespace) {
            let why =
                format!("Backend ref to {kind} {namespace}/{name} not permitted by any ReferenceGrant.");
            return Some(("RefNotPermitted", why));
        }
        let Some(found) = cluster.get(&object::key(version, kind, namespace, name)) else {
            return Some(("BackendNotFound", format!("{kind} {namespace}/{name} not found")));
        };
        let mut ports = found["spec"]["ports"].as_array().into_iter().flatten();
        if kind == "Service" && !ports.any(|one| one["port"] == backend["port"]) {
            return Some((
                "PortNotFound",
                format!(
                    "TCP Port {} not found on Service {namespace}/{name}",
                    backend["port"]
                ),
            ));
        }
    }
    None
}

/// Whether a namespace lets routes of another one send to its services.
fn granted(cluster: &Cluster, route: &Key, namespace: &str) -> bool {
    let mut grants = cluster.api.of_kind(GATEWAYS, "ReferenceGrant");
    grants.any(|(key, grant)| {
        let mut from = grant["spec"]["from"].as_array().into_iter().flatten();
        key.namespace == namespace
            && from
                .any(|one| one["kind"] == route.kind.as_str() && one["namespace"] == route.namespace.as_str())
    })
}

/// Says of every route whether its Gateways take it, and find what it sends to.
pub(super) fn accept(cluster: &mut Cluster, now: u64) {
    let text = cluster.text(now);
    for kind in ROUTES {
        for (key, route) in cluster.all(GATEWAYS, kind) {
            let generation = object::generation(&route);
            let mut parents = Vec::new();
            for parent in route["spec"]["parentRefs"].as_array().into_iter().flatten() {
                let Some((at, gateway)) = gateway(cluster, &key.namespace, parent) else {
                    continue;
                };
                let mut before = route["status"]["parents"].as_array().into_iter().flatten();
                let before = before.find(|one| one["parentRef"] == *parent).cloned();
                let before = json!({ "status": before.unwrap_or_default() });
                let accepted = match refusal(cluster, (&at, &gateway), parent, (&key, &route)) {
                    None => ("Accepted", true, "Accepted", "Route is accepted"),
                    Some((reason, why)) => ("Accepted", false, reason, why),
                };
                let missing = unresolved(cluster, &key, &route);
                let resolved = match &missing {
                    None => (
                        "ResolvedRefs",
                        true,
                        "ResolvedRefs",
                        "Resolved all the Object references for the Route",
                    ),
                    Some((reason, why)) => ("ResolvedRefs", false, *reason, why.as_str()),
                };
                parents.push(json!({
                    "parentRef": parent, "controllerName": CONTROLLER,
                    "conditions": conditions(&before, generation, &[accepted, resolved], &text),
                }));
            }
            if !parents.is_empty() && !object::is_going(&route) {
                cluster.set_status(MANAGER, &key, json!({ "parents": parents }), now);
            }
        }
    }
}

/// The Gateways that a target of a policy means, as references.
fn ancestors(cluster: &Cluster, policy: &Key, target: &Value) -> Vec<Value> {
    let reference = |key: &Key, section: &Value| {
        let mut one =
            json!({ "group": GATEWAYS, "kind": "Gateway", "namespace": key.namespace, "name": key.name });
        if section.is_string() {
            one["sectionName"] = section.clone();
        }
        one
    };
    let kind = target["kind"].as_str().unwrap_or_default();
    if kind == "Gateway" {
        let found = gateway(cluster, &policy.namespace, target);
        return found
            .map(|(key, _)| reference(&key, &target["sectionName"]))
            .into_iter()
            .collect();
    }
    let name = target["name"].as_str().unwrap_or_default();
    let route = object::key(GATEWAYS_V1, kind, &policy.namespace, name);
    let Some(route) = cluster.get(&route) else {
        return Vec::new();
    };
    let parents = route["spec"]["parentRefs"].as_array().into_iter().flatten();
    let found = parents.filter_map(|parent| gateway(cluster, &policy.namespace, parent));
    found.map(|(key, _)| reference(&key, &Value::Null)).collect()
}

/// Says of every policy whether what it is attached to has taken it.
pub(super) fn accept_policies(cluster: &mut Cluster, now: u64) {
    let text = cluster.text(now);
    let kinds = [
        "ClientTrafficPolicy",
        "BackendTrafficPolicy",
        "SecurityPolicy",
        "EnvoyExtensionPolicy",
    ];
    for kind in kinds {
        for (key, policy) in cluster.all(POLICIES, kind) {
            let spec = &policy["spec"];
            let one = spec["targetRef"].is_object().then(|| spec["targetRef"].clone());
            let many = spec["targetRefs"].as_array().cloned().unwrap_or_default();
            let mut all: Vec<Value> = Vec::new();
            for target in one.into_iter().chain(many) {
                for ancestor in ancestors(cluster, &key, &target) {
                    let mut before = policy["status"]["ancestors"].as_array().into_iter().flatten();
                    let before = before.find(|one| one["ancestorRef"] == ancestor).cloned();
                    let before = json!({ "status": before.unwrap_or_default() });
                    let said = [("Accepted", true, "Accepted", "Policy has been accepted.")];
                    all.push(json!({
                        "ancestorRef": ancestor, "controllerName": CONTROLLER,
                        "conditions": conditions(&before, object::generation(&policy), &said, &text),
                    }));
                }
            }
            if !object::is_going(&policy) {
                let status = if all.is_empty() {
                    json!({})
                } else {
                    json!({ "ancestors": all })
                };
                cluster.set_status(MANAGER, &key, status, now);
            }
        }
    }
    for (key, backend) in cluster.all(POLICIES, "Backend") {
        let said = [("Accepted", true, "Accepted", "The Backend was accepted")];
        let all = conditions(&backend, object::generation(&backend), &said, &text);
        cluster.set_status(MANAGER, &key, json!({ "conditions": all }), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_listeners_and_routes_meet() {
        assert!(fits("*.acme.example", "shop.acme.example"));
        assert!(fits("shop.acme.example", "*.acme.example"));
        assert!(fits("shop.acme.example", "shop.acme.example"));
        assert!(!fits("*.acme.example", "acme.example"));
        assert!(!fits("shop.acme.example", "other.acme.example"));
    }
}
