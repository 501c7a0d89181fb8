//! What is reached over the network: Services, Ingresses, Gateways and their routes, webhooks.

use serde_json::Value;

use super::conditions::needs;
use super::{Readiness, condition, is_true, said, waiting};

fn has_address(object: &Value) -> bool {
    let addresses = object["status"]["loadBalancer"]["ingress"].as_array();
    let mut addresses = addresses.into_iter().flatten();
    addresses.any(|one| one["hostname"].is_string() || one["ip"].is_string())
}

pub(super) fn service(object: &Value) -> Readiness {
    if object["spec"]["type"] != "LoadBalancer" || has_address(object) {
        return Readiness::Ready;
    }
    waiting("its load balancer has no address yet")
}

pub(super) fn ingress(object: &Value) -> Readiness {
    if has_address(object) {
        return Readiness::Ready;
    }
    let class = object["spec"]["ingressClassName"].as_str();
    let class = class.or(object["metadata"]["annotations"]["kubernetes.io/ingress.class"].as_str());
    match class {
        Some(class) => waiting(format!(
            "the controller of the class `{class}` has given it no address yet"
        )),
        None => waiting("it names no ingress class, so that only a default class gives it an address"),
    }
}

/// Source: Gateway API, `GatewayStatus`.
pub(super) fn gateway(object: &Value) -> Readiness {
    let status = &object["status"];
    for kind in ["Accepted", "Programmed"] {
        let one = needs(object, status, kind);
        if one != Readiness::Ready {
            return listener_trouble(status).map_or(one, waiting);
        }
    }
    if status["addresses"].as_array().is_none_or(Vec::is_empty) {
        return waiting("it has no address yet");
    }
    Readiness::Ready
}

/// What is wrong with a listener, when that says more than the Gateway does.
fn listener_trouble(status: &Value) -> Option<String> {
    let listeners = status["listeners"].as_array()?;
    listeners.iter().find_map(|listener| {
        let wrong = ["Accepted", "ResolvedRefs", "Programmed"]
            .iter()
            .find_map(|kind| condition(listener, kind).filter(|one| one["status"] == "False"))?;
        let name = listener["name"].as_str().unwrap_or_default();
        Some(format!("listener {name}: {}", said(wrong)))
    })
}

/// A route is ready when every parent it names has taken it and found what it sends to.
pub(super) fn route(object: &Value) -> Readiness {
    let empty = Vec::new();
    let wanted = object["spec"]["parentRefs"].as_array().unwrap_or(&empty);
    let parents = object["status"]["parents"].as_array().unwrap_or(&empty);
    for reference in wanted {
        let name = reference["name"].as_str().unwrap_or_default();
        let Some(parent) = parents
            .iter()
            .find(|parent| is_same_parent(&parent["parentRef"], reference))
        else {
            return waiting(format!("{name} has not taken it yet"));
        };
        for kind in ["Accepted", "ResolvedRefs"] {
            match needs(object, parent, kind) {
                Readiness::Ready => {}
                Readiness::Waiting { why } => return waiting(format!("{name}: {why}")),
                failed => return failed,
            }
        }
    }
    Readiness::Ready
}

fn is_same_parent(one: &Value, other: &Value) -> bool {
    let same = |field: &str| one[field].is_null() || other[field].is_null() || one[field] == other[field];
    one["name"] == other["name"]
        && ["namespace", "sectionName", "port", "kind"]
            .iter()
            .all(|field| same(field))
}

/// A policy is ready when everything it is attached to has accepted it.
pub(super) fn policy(object: &Value) -> Readiness {
    let Some(ancestors) = object["status"]["ancestors"]
        .as_array()
        .filter(|all| !all.is_empty())
    else {
        return waiting("nothing has taken this policy yet: does its target exist?");
    };
    for ancestor in ancestors {
        let one = needs(object, ancestor, "Accepted");
        if one != Readiness::Ready {
            return one;
        }
        if let Some(references) = condition(ancestor, "ResolvedRefs").filter(|one| !is_true(one)) {
            return waiting(said(references));
        }
    }
    Readiness::Ready
}

/// A webhook whose certificate authority is put in by cert-manager answers nobody before that.
pub(super) fn webhook_configuration(object: &Value) -> Readiness {
    let annotations = &object["metadata"]["annotations"];
    let is_injected = [
        "cert-manager.io/inject-ca-from",
        "cert-manager.io/inject-ca-from-secret",
    ]
    .iter()
    .any(|name| annotations[*name].is_string());
    let mut webhooks = object["webhooks"].as_array().into_iter().flatten();
    let bare = webhooks.find(|one| one["clientConfig"]["caBundle"].as_str().is_none_or(str::is_empty));
    match bare {
        Some(webhook) if is_injected => waiting(format!(
            "cert-manager has not put its certificate authority into {} yet",
            webhook["name"].as_str().unwrap_or_default()
        )),
        _ => Readiness::Ready,
    }
}

/// Whether something answers behind every webhook that must be asked, given the EndpointSlices of the cluster. A
/// configuration applied before its pods run would refuse what the next step applies.
pub fn webhooks_answer(configuration: &Value, slices: &[Value]) -> Readiness {
    for webhook in configuration["webhooks"].as_array().into_iter().flatten() {
        let service = &webhook["clientConfig"]["service"];
        let Some(name) = service["name"].as_str() else {
            continue;
        };
        if webhook["failurePolicy"] == "Ignore" {
            continue;
        }
        let namespace = service["namespace"].as_str().unwrap_or_default();
        let of_service = slices.iter().filter(|slice| {
            slice["metadata"]["namespace"] == namespace
                && slice["metadata"]["labels"]["kubernetes.io/service-name"] == name
        });
        let mut endpoints = of_service.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        if !endpoints.any(|one| one["conditions"]["ready"] != false) {
            return waiting(format!(
                "nothing answers behind the service {namespace}/{name} of its webhook"
            ));
        }
    }
    Readiness::Ready
}
