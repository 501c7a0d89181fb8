//! ExternalDNS: records for the hosts of what has an address; and what the world's names lead to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Again;
use super::routes::fits;
use crate::cluster::{Cluster, Status, object};
use crate::world::State;

const GATEWAYS: &str = "gateway.networking.k8s.io";
const HOSTNAME: &str = "external-dns.alpha.kubernetes.io/hostname";

/// Where ExternalDNS looks when it is not told.
const SOURCES: [&str; 4] = ["ingress", "service", "gateway-httproute", "gateway-grpcroute"];

pub(super) fn tend(state: &mut State, cluster: &mut Cluster, _: u64, _: &mut Again) {
    let values = values(cluster);
    let said = values["sources"].as_array().cloned().unwrap_or_default();
    let sources: Vec<&str> = if said.is_empty() {
        SOURCES.to_vec()
    } else {
        said.iter().filter_map(Value::as_str).collect()
    };
    let wanted = hosts(cluster, &sources);
    state.record(cluster, wanted, values["policy"] != "upsert-only");
}

/// What it was installed with, as far as an Application says so.
fn values(cluster: &Cluster) -> Value {
    let mut all = cluster.api.of_kind("argoproj.io", "Application");
    let own = all.find(|(_, one)| one["spec"]["source"]["chart"] == "external-dns");
    own.map(|(_, one)| one["spec"]["source"]["helm"]["valuesObject"].clone())
        .unwrap_or_default()
}

/// Whether a route goes through a Gateway that has an address.
fn goes_out(cluster: &Cluster, namespace: &str, route: &Value) -> bool {
    let parents = route["status"]["parents"].as_array().into_iter().flatten();
    parents.into_iter().any(|parent| {
        let accepted = serde_json::json!({ "status": parent });
        let reference = &parent["parentRef"];
        let gateway = object::key(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            reference["namespace"].as_str().unwrap_or(namespace),
            reference["name"].as_str().unwrap_or_default(),
        );
        object::is_true(&accepted, "Accepted")
            && cluster
                .api
                .get(&gateway)
                .is_some_and(|gateway| object::has_address(gateway))
    })
}

/// The hosts that should have records.
fn hosts(cluster: &Cluster, sources: &[&str]) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    let mut add = |host: &Value| {
        hosts.extend(host.as_str().map(str::to_owned));
    };
    if sources.contains(&"ingress") {
        for (_, ingress) in cluster.api.of_kind("networking.k8s.io", "Ingress") {
            let from = object::annotation(
                ingress,
                "external-dns.alpha.kubernetes.io/ingress-hostname-source",
            );
            if object::has_address(ingress) && from != Some("annotation-only") && !object::is_going(ingress) {
                ingress["spec"]["rules"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(|rule| add(&rule["host"]));
            }
        }
    }
    if sources.contains(&"service") {
        for (_, service) in cluster.api.of_kind("", "Service") {
            if object::has_address(service) && !object::is_going(service) {
                add(&service["metadata"]["annotations"][HOSTNAME]);
            }
        }
    }
    for (source, kind) in [
        ("gateway-httproute", "HTTPRoute"),
        ("gateway-grpcroute", "GRPCRoute"),
    ] {
        if !sources.contains(&source) {
            continue;
        }
        for (key, route) in cluster.api.of_kind(GATEWAYS, kind) {
            if goes_out(cluster, &key.namespace, route) && !object::is_going(route) {
                route["spec"]["hostnames"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(&mut add);
            }
        }
    }
    hosts
}

impl State {
    /// Lets the records of a cluster be these.
    fn record(&mut self, cluster: &Cluster, wanted: BTreeSet<String>, removes: bool) {
        if removes {
            self.records
                .retain(|host, by| *by != cluster.uid || wanted.contains(host));
        }
        for host in wanted {
            // Somebody else's stays as it is.
            self.records.entry(host).or_insert(cluster.uid);
        }
    }

    /// ExternalDNS runs once, in a pod: what has gone has no records any more.
    pub(in crate::controller) fn record_once(&mut self, cluster: &Cluster) {
        let wanted = hosts(cluster, &SOURCES);
        self.record(cluster, wanted, true);
    }

    /// Whether a stack has made a record of this name.
    fn is_in_a_stack(&self, host: &str) -> bool {
        let stacks = self.stacks.iter().filter(|one| !one.is_gone());
        let mut records = stacks.flat_map(|stack| {
            let records = stack
                .resources
                .iter()
                .filter(|(_, one)| one.kind == "AWS::Route53::RecordSet");
            records.filter_map(move |(logical, one)| {
                let done = one.status.ends_with("_COMPLETE");
                stack.newest_spec()?.property(logical, "Name").filter(|_| done)
            })
        });
        records.any(|name| fits(name.trim_end_matches('.'), host))
    }

    /// Why nothing answers under a name, or, when `resolves`, why it leads nowhere; no error when nobody here speaks
    /// of that name. Then it says whether anything was looked at.
    pub(crate) fn answers(&self, host: &str, resolves: bool) -> Result<bool, String> {
        let mut claims = Vec::new();
        for cluster in self.clusters.iter().filter(|one| one.status == Status::Active) {
            claims.extend(claimed(cluster, host));
        }
        let has_name = self.is_in_a_stack(host) || self.records.keys().any(|name| fits(name, host));
        match (claims.is_empty(), has_name) {
            (true, has_name) => Ok(has_name),
            (false, false) => Err(format!("no record leads to {host}")),
            (false, true) if resolves => Ok(true),
            (false, true) => {
                let mut why = None;
                for claim in claims {
                    match claim {
                        Ok(()) => return Ok(true),
                        Err(one) => why = Some(one),
                    }
                }
                why.map_or(Ok(true), Err)
            }
        }
    }
}

/// What in a cluster says that it answers under a name, and what still keeps each from doing so.
fn claimed(cluster: &Cluster, host: &str) -> Vec<Result<(), String>> {
    let mut all = Vec::new();
    for (key, ingress) in cluster.api.of_kind("networking.k8s.io", "Ingress") {
        for rule in ingress["spec"]["rules"].as_array().into_iter().flatten() {
            if !rule["host"].as_str().is_some_and(|own| fits(own, host)) {
                continue;
            }
            let paths = rule["http"]["paths"].as_array().into_iter().flatten();
            let names = paths.map(|path| &path["backend"]["service"]["name"]);
            all.push(if object::has_address(ingress) {
                answered(cluster, &key.namespace, names)
            } else {
                Err(format!("{} has no address", key.said()))
            });
        }
    }
    for kind in ["HTTPRoute", "GRPCRoute"] {
        for (key, route) in cluster.api.of_kind(GATEWAYS, kind) {
            let mut hosts = route["spec"]["hostnames"].as_array().into_iter().flatten();
            if !hosts.any(|own| own.as_str().is_some_and(|own| fits(own, host))) {
                continue;
            }
            let rules = route["spec"]["rules"].as_array().into_iter().flatten();
            let backends = rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
            all.push(if goes_out(cluster, &key.namespace, route) {
                answered(cluster, &key.namespace, backends.map(|one| &one["name"]))
            } else {
                Err(format!(
                    "{} goes through no gateway that has an address",
                    key.said()
                ))
            });
        }
    }
    all
}

/// Whether pods are ready behind each of some services.
fn answered<'a>(
    cluster: &Cluster,
    namespace: &str,
    services: impl Iterator<Item = &'a Value>,
) -> Result<(), String> {
    for name in services.filter_map(Value::as_str) {
        let mut slices = cluster.api.of_kind("discovery.k8s.io", "EndpointSlice");
        let is_ready = slices.any(|(key, slice)| {
            let mut endpoints = slice["endpoints"].as_array().into_iter().flatten();
            key.namespace == namespace
                && object::label(slice, "kubernetes.io/service-name") == Some(name)
                && endpoints.any(|one| one["conditions"]["ready"] != false)
        });
        if !is_ready {
            return Err(format!("no pod is ready behind the service {namespace}/{name}"));
        }
    }
    Ok(())
}
