//! A platform with everything that makes a teardown hard: a network, a cluster, machines, controllers that
//! make load balancers, machines and volumes, GitOps that heals itself, and something that uses it all.
//!
//! For the simulated cloud only; the real components are the catalogue's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The platform file.
pub const PLATFORM: &str = include_str!("../demo/platform.yaml");

/// Where its GitOps application comes from.
pub const REPOSITORY: &str = "https://git.acme.example/orders";

macro_rules! definitions {
    ($($name:literal: [$($file:literal),+]),+ $(,)?) => {
        const DEFINITIONS: &[(&str, &[(&str, &str)])] = &[
            $(($name, &[$(($file, include_str!(concat!("../demo/components/", $name, "/", $file)))),+])),+
        ];
    };
}

definitions! {
    "demo-application": ["component.yaml", "application.yaml"],
    "demo-autoscaled": ["component.yaml", "pool.yaml"],
    "demo-autoscaler": ["component.yaml", "controller.yaml"],
    "demo-cluster": ["component.yaml", "eks.cfn.yaml"],
    "demo-gitops": ["component.yaml", "controller.yaml"],
    "demo-ingress-controller": ["component.yaml", "controller.yaml"],
    "demo-network": ["component.yaml", "vpc.cfn.yaml"],
    "demo-nodes": ["component.yaml", "nodes.cfn.yaml"],
    "demo-shop": ["component.yaml", "shop.yaml"],
}

/// The names of its definitions.
pub fn names() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.iter().map(|(name, _)| *name)
}

/// The files of one of its definitions; none when there is no such definition.
pub fn definition(name: &str) -> BTreeMap<String, String> {
    let files = DEFINITIONS
        .iter()
        .find(|(one, _)| *one == name)
        .map(|(_, files)| *files);
    let files = files.unwrap_or_default().iter();
    files
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

/// What is in the repository of its GitOps application: a service that asks for a load balancer of its own,
/// and a database with a disk.
pub fn repository() -> Vec<Value> {
    let labels = json!({ "app": "orders" });
    vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "orders", "namespace": "orders" },
            "spec": {
                "replicas": 1, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "orders", "image": "registry.example/orders:1" }] } },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "orders", "namespace": "orders" },
            "spec": { "type": "LoadBalancer", "selector": labels, "ports": [{ "port": 443, "targetPort": 8443 }] },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "ledger", "namespace": "orders" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "8Gi" } } },
        }),
    ]
}
