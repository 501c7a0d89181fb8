//! Envoy Gateway: classes, and the proxies with their service that it runs for every Gateway of them.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, conditions, keep, ready_replicas, routes};
use crate::cluster::{Cluster, object};
use crate::random::Random;
use crate::world::State;

pub(super) const MANAGER: &str = "envoy-gateway";
pub(super) const CONTROLLER: &str = "gateway.envoyproxy.io/gatewayclass-controller";
pub(super) const GATEWAYS: &str = "gateway.networking.k8s.io";
pub(super) const GATEWAYS_V1: &str = "gateway.networking.k8s.io/v1";
const PROXIES: &str = "gateway.envoyproxy.io/v1alpha1";
/// What holds back a class while there are Gateways of it.
const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

pub(super) fn tend(_: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    for (key, class) in cluster.all(GATEWAYS, "GatewayClass") {
        if class["spec"]["controllerName"] == CONTROLLER {
            keep_class(cluster, (&key, &class), now);
        }
    }
    for (key, gateway) in cluster.all(GATEWAYS, "Gateway") {
        if let (Some(class), false) = (class(cluster, &gateway), object::is_going(&gateway)) {
            run(cluster, (&key, &gateway), &class, now, again);
        }
    }
    clear(cluster, now);
    routes::accept(cluster, now);
    routes::accept_policies(cluster, now);
}

/// The class of a Gateway, when it is one of Envoy Gateway's that it has accepted.
pub(super) fn class(cluster: &Cluster, gateway: &Value) -> Option<Value> {
    let name = gateway["spec"]["gatewayClassName"].as_str().unwrap_or_default();
    let class = cluster.get(&object::key(GATEWAYS_V1, "GatewayClass", "", name))?;
    let ours = class["spec"]["controllerName"] == CONTROLLER && object::is_true(&class, "Accepted");
    ours.then(|| class.as_ref().clone())
}

/// What a class says about its proxies: the EnvoyProxy it names.
fn parameters(cluster: &Cluster, class: &Value) -> Result<Value, String> {
    let named = &class["spec"]["parametersRef"];
    let Some(name) = named["name"].as_str() else {
        return Ok(Value::Null);
    };
    let namespace = named["namespace"].as_str().unwrap_or_default();
    let found = cluster.get(&object::key(PROXIES, "EnvoyProxy", namespace, name));
    found
        .map(|found| found["spec"]["provider"]["kubernetes"].clone())
        .ok_or_else(|| {
            format!("Invalid parametersRef: EnvoyProxy.gateway.envoyproxy.io \"{name}\" not found")
        })
}

fn keep_class(cluster: &mut Cluster, (key, class): (&Key, &Value), now: u64) {
    let uses = |gateway: &Value| gateway["spec"]["gatewayClassName"] == key.name.as_str();
    let is_used = cluster
        .api
        .of_kind(GATEWAYS, "Gateway")
        .any(|(_, gateway)| uses(gateway));
    if is_used {
        cluster.add_finalizer(MANAGER, key, FINALIZER, now);
    } else {
        cluster.remove_finalizer(key, FINALIZER, now);
    }
    if object::is_going(class) {
        return;
    }
    let text = cluster.text(now);
    let said = match parameters(cluster, class) {
        Ok(_) => (true, "Accepted", "Valid GatewayClass".to_owned()),
        Err(why) => (false, "InvalidParameters", why),
    };
    let (holds, reason, message) = said;
    let all = conditions(
        class,
        object::generation(class),
        &[("Accepted", holds, reason, &message)],
        &text,
    );
    cluster.set_status(MANAGER, key, json!({ "conditions": all }), now);
}

/// Where Envoy Gateway itself runs, and with it the proxies.
fn home(cluster: &Cluster) -> Option<String> {
    let mut all = cluster.api.of_kind("apps", "Deployment");
    let own = all.find(|(_, one)| object::label(one, "app.kubernetes.io/name") == Some("gateway-helm"));
    own.map(|(key, _)| key.namespace.clone())
}

fn owning(key: &Key) -> Value {
    json!({
        "app.kubernetes.io/component": "proxy", "app.kubernetes.io/managed-by": "envoy-gateway", "app.kubernetes.io/name": "envoy",
        "gateway.envoyproxy.io/owning-gateway-name": key.name,
        "gateway.envoyproxy.io/owning-gateway-namespace": key.namespace,
    })
}

/// The port on which a proxy listens: never one for which it would have to be root.
fn inside(port: u64) -> u64 {
    if port < 1024 { port + 10_000 } else { port }
}

/// The proxies' service, as the class describes it.
fn front(
    owner: &Value,
    (namespace, name): (&str, &str),
    labels: &Value,
    gateway: &Value,
    wanted: &Value,
) -> Value {
    let wanted = &wanted["envoyService"];
    let mut ports: Vec<Value> = Vec::new();
    for listener in gateway["spec"]["listeners"].as_array().into_iter().flatten() {
        let port = listener["port"].as_u64().unwrap_or(80);
        if ports.iter().all(|one| one["port"] != port) {
            let scheme = listener["protocol"].as_str().unwrap_or("HTTP").to_lowercase();
            ports.push(json!({ "name": format!("{scheme}-{port}"), "port": port, "protocol": "TCP", "targetPort": inside(port) }));
        }
    }
    let kind = wanted["type"].as_str().unwrap_or("LoadBalancer");
    let mut spec = json!({ "type": kind, "selector": labels, "ports": ports });
    if kind == "LoadBalancer" {
        spec["externalTrafficPolicy"] = wanted["externalTrafficPolicy"].as_str().unwrap_or("Local").into();
        for field in ["loadBalancerClass", "loadBalancerSourceRanges"] {
            if !wanted[field].is_null() {
                spec[field] = wanted[field].clone();
            }
        }
    }
    let mut metadata = json!({
        "name": wanted["name"].as_str().unwrap_or(name), "namespace": namespace, "labels": labels,
        "ownerReferences": owner,
    });
    if wanted["annotations"].is_object() {
        metadata["annotations"] = wanted["annotations"].clone();
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
}

fn run(cluster: &mut Cluster, (key, gateway): (&Key, &Value), class: &Value, now: u64, again: &mut Again) {
    let Some(home) = home(cluster) else {
        return;
    };
    let wanted = parameters(cluster, class).unwrap_or_default();
    let digits = Random::of(0, &["envoy", &key.namespace, &key.name]).hex(8);
    let name = format!("envoy-{}-{}-{digits}", key.namespace, key.name);
    let labels = owning(key);
    // What is made for a Gateway is in another namespace; so its class owns it, which is in none.
    let mut owner = object::owned_by(class);
    owner[0]["controller"] = json!(false);
    let replicas = wanted["envoyDeployment"]["replicas"].as_u64().unwrap_or(1);
    let mut body = super::deployment(
        class,
        (&home, &name),
        &labels,
        replicas,
        "docker.io/envoyproxy/envoy:distroless-v1.36",
    );
    body["metadata"]["ownerReferences"] = owner.clone();
    let listeners = gateway["spec"]["listeners"].as_array().into_iter().flatten();
    let ports: Vec<Value> = listeners
        .map(
            |one| json!({ "name": one["name"], "containerPort": inside(one["port"].as_u64().unwrap_or(80)) }),
        )
        .collect();
    body["spec"]["template"]["spec"]["containers"][0]["name"] = "envoy".into();
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = ports.into();
    let runs = keep(cluster, MANAGER, body, now);
    let service = keep(
        cluster,
        MANAGER,
        front(&owner, (&home, &name), &labels, gateway, &wanted),
        now,
    );
    let ready = runs.map_or(0, |runs| ready_replicas(&runs));
    let addresses = service.map_or_else(Vec::new, |service| addresses(&service));
    let replicas = replicas.to_string();
    let told = match (ready, addresses.is_empty()) {
        (0, _) => (false, "NoResources", "Deployment replicas unavailable".to_owned()),
        (_, true) => (
            false,
            "AddressNotAssigned",
            "No addresses have been assigned to the Gateway".to_owned(),
        ),
        (ready, false) => (
            true,
            "Programmed",
            format!("Address assigned to the Gateway, {ready}/{replicas} envoy replicas available"),
        ),
    };
    if !told.0 {
        again.soon();
    }
    let text = cluster.text(now);
    let generation = object::generation(gateway);
    let said = [
        (
            "Accepted",
            true,
            "Accepted",
            "The Gateway has been scheduled by Envoy Gateway",
        ),
        ("Programmed", told.0, told.1, told.2.as_str()),
    ];
    let status = json!({
        "addresses": addresses, "conditions": conditions(gateway, generation, &said, &text),
        "listeners": listener_statuses(cluster, (key, gateway), &text),
    });
    cluster.set_status(MANAGER, key, status, now);
}

/// Where a service is reached.
fn addresses(service: &Value) -> Vec<Value> {
    if service["spec"]["type"] != "LoadBalancer" {
        let address = service["spec"]["clusterIP"].as_str();
        return address
            .map(|address| json!({ "type": "IPAddress", "value": address }))
            .into_iter()
            .collect();
    }
    let all = service["status"]["loadBalancer"]["ingress"]
        .as_array()
        .into_iter()
        .flatten();
    all.filter_map(|one| Some(json!({ "type": "Hostname", "value": one["hostname"].as_str()? })))
        .collect()
}

fn listener_statuses(cluster: &Cluster, (key, gateway): (&Key, &Value), now: &str) -> Value {
    let before = gateway["status"]["listeners"].as_array();
    let generation = object::generation(gateway);
    let listeners = gateway["spec"]["listeners"].as_array().into_iter().flatten();
    let all = listeners.map(|listener| {
        let old = before.and_then(|all| all.iter().find(|one| one["name"] == listener["name"]));
        let old = json!({ "status": old.cloned().unwrap_or_default() });
        let missing = listener["tls"]["certificateRefs"].as_array().into_iter().flatten().find_map(|one| {
            let name = one["name"].as_str()?;
            let namespace = one["namespace"].as_str().unwrap_or(&key.namespace);
            let secret = object::key("v1", "Secret", namespace, name);
            cluster.api.get(&secret).is_none().then(|| format!("Secret {namespace}/{name} does not exist."))
        });
        let said = match &missing {
            None => [
                ("Accepted", true, "Accepted", "Listener has been successfully translated"),
                ("Programmed", true, "Programmed", "Sending translated listener configuration to the data plane"),
                ("ResolvedRefs", true, "ResolvedRefs", "Listener references have been resolved"),
            ],
            Some(why) => [
                ("Accepted", true, "Accepted", "Listener has been successfully translated"),
                ("Programmed", false, "Invalid", "Listener is invalid, see other Conditions for details."),
                ("ResolvedRefs", false, "InvalidCertificateRef", why.as_str()),
            ],
        };
        let kinds = match listener["protocol"].as_str() {
            Some("HTTP" | "HTTPS") => json!([
                { "group": GATEWAYS, "kind": "HTTPRoute" }, { "group": GATEWAYS, "kind": "GRPCRoute" },
            ]),
            _ => json!([]),
        };
        json!({
            "name": listener["name"], "supportedKinds": kinds, "conditions": conditions(&old, generation, &said, now),
            "attachedRoutes": routes::attached(cluster, key, listener["name"].as_str().unwrap_or_default()),
        })
    });
    all.collect()
}

/// Takes away what was made for Gateways that are gone.
fn clear(cluster: &mut Cluster, now: u64) {
    for (group, kind) in [("apps", "Deployment"), ("", "Service")] {
        for (key, one) in cluster.all(group, kind) {
            let of =
                |what: &str| object::label(&one, &format!("gateway.envoyproxy.io/owning-gateway-{what}"));
            let (Some(name), Some(namespace)) = (of("name"), of("namespace")) else {
                continue;
            };
            let gateway = object::key(GATEWAYS_V1, "Gateway", namespace, name);
            if cluster.api.get(&gateway).is_none() && !object::is_going(&one) {
                cluster.delete(&key, now);
            }
        }
    }
}
