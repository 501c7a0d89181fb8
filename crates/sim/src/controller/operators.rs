//! Operators: while their pods run, what they look after comes to hold what its conditions say.
//!
//! Of some little more is known than that: they are an entry in [`OPERATORS`] with kinds and conditions. One that
//! also makes things gives a function of its own.

mod auto_mode;
mod backstage;
mod bindings;
mod certificates;
mod envoy;
mod names;
mod postgres;
mod probe;
mod routes;
mod secrets;
mod victoria;

use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

pub(crate) use auto_mode::AUTO_MODE;
pub(super) use auto_mode::{GROUP as AUTO_MODE_GROUP, waits_for_machine};
pub(super) use probe::judge;

use super::Again;
use crate::cluster::{Cluster, object};
use crate::durations;
use crate::random::Random;
use crate::world::State;

/// What stands where a secret would.
pub(super) const PLACEHOLDER: &str = "only-in-the-simulated-world";

/// What more an operator does: it sees the whole cluster.
pub(super) type Tend = fn(&mut State, &mut Cluster, u64, &mut Again);

/// Something that looks after kinds of objects.
pub(super) struct Operator {
    /// The label `app.kubernetes.io/name` of what has to run.
    pub(super) app: &'static str,
    pub(super) kinds: &'static [Tended],
    pub(super) also: Option<Tend>,
}

/// A kind it looks after.
pub(super) struct Tended {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    /// The conditions that come to hold.
    pub(super) conditions: &'static [&'static str],
    /// How long that takes when `durations.json` does not say.
    pub(super) seconds: u64,
}

const fn by(app: &'static str, also: Tend) -> Operator {
    Operator {
        app,
        kinds: &[],
        also: Some(also),
    }
}

/// Everyone there is.
pub(super) const OPERATORS: &[Operator] = &[
    by("cert-manager", certificates::tend),
    by("external-secrets", secrets::tend),
    by("cloudnative-pg", postgres::tend),
    by("gateway-helm", envoy::tend),
    by("external-dns", names::tend),
    by("victoria-metrics-operator", victoria::tend),
    by("rhdh-operator", backstage::tend),
    by("aws-load-balancer-controller", bindings::tend),
    by(AUTO_MODE, auto_mode::tend),
];

/// The conditions of an object as they are to be, each as kind, whether it holds, reason and message. `before` has
/// those it had under `status`.
fn conditions(before: &Value, generation: u64, said: &[(&str, bool, &str, &str)], now: &str) -> Value {
    let all = said.iter().map(|(kind, holds, reason, message)| {
        let mut one = object::put_condition(before, kind, *holds, reason, message, now);
        one["observedGeneration"] = json!(generation);
        one
    });
    all.collect()
}

/// Whether an object holds everything that `wanted` says, whatever else it has.
fn holds(stands: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(wanted) => wanted.iter().all(|(name, value)| holds(&stands[name], value)),
        Value::Array(wanted) => {
            let stands = stands.as_array().map(Vec::as_slice).unwrap_or_default();
            stands.len() == wanted.len() && stands.iter().zip(wanted).all(|(one, other)| holds(one, other))
        }
        other => stands == other,
    }
}

/// Keeps an object as it is wanted, and gives it as it stands.
fn keep(cluster: &mut Cluster, manager: &str, body: Value, now: u64) -> Option<Arc<Value>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &body["metadata"];
    let key = object::key(
        &text(&body["apiVersion"]),
        &text(&body["kind"]),
        &text(&metadata["namespace"]),
        &text(&metadata["name"]),
    );
    let stands = cluster.get(&key);
    let is_kept = |one: &Arc<Value>| object::is_going(one) || holds(one, &body);
    if !stands.as_ref().is_some_and(is_kept) {
        let at = cluster.stamp(now);
        // What is refused is tried again with the next look.
        let _ = cluster.api.apply(manager, true, body, at);
    }
    cluster.get(&key)
}

/// Writes an event about an object.
fn event(cluster: &mut Cluster, manager: &str, about: &Value, (reason, message): (&str, &str), now: u64) {
    let text = cluster.text(now);
    let metadata = &about["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let digits = Random::of(0, &["event", object::uid(about), reason, message]).hex(16);
    let body = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": format!("{name}.{digits}"), "namespace": namespace },
        "involvedObject": {
            "apiVersion": about["apiVersion"], "kind": about["kind"], "namespace": metadata["namespace"].as_str().unwrap_or_default(),
            "name": name, "uid": metadata["uid"],
        },
        "type": "Warning", "reason": reason, "message": message, "count": 1,
        "firstTimestamp": text, "lastTimestamp": text, "source": { "component": manager },
        "reportingComponent": manager, "reportingInstance": "",
    });
    // One that is there already says the same.
    let _ = cluster.create(manager, body, now);
}

/// A deployment of an operator's making: its labels, how many, and its image.
fn deployment(
    owner: &Value,
    (namespace, name): (&str, &str),
    labels: &Value,
    replicas: u64,
    image: &str,
) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": labels, "ownerReferences": object::owned_by(owner) },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": image }] },
            },
        },
    })
}

/// A service of an operator's making.
fn service(owner: &Value, (namespace, name): (&str, &str), selector: &Value, port: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace, "labels": selector, "ownerReferences": object::owned_by(owner) },
        "spec": { "selector": selector, "ports": [{ "name": "main", "port": port, "targetPort": port }] },
    })
}

/// How many pods of a workload are ready.
fn ready_replicas(object: &Value) -> u64 {
    object["status"]["readyReplicas"].as_u64().unwrap_or(0)
}

impl State {
    pub(super) fn operators(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        for operator in OPERATORS {
            let has_any = operator
                .kinds
                .iter()
                .any(|kind| cluster.api.of_kind(kind.group, kind.kind).next().is_some());
            if !(has_any || operator.also.is_some()) || cluster.runs(operator.app).is_none() {
                continue;
            }
            for kind in operator.kinds {
                for (key, one) in cluster.all(kind.group, kind.kind) {
                    self.tend(cluster, operator.app, kind, (&key, &one), now, again);
                }
            }
            if let Some(also) = operator.also {
                also(self, cluster, now, again);
            }
        }
    }

    /// Whether what begins with the making of an object has had its time.
    fn has_taken(
        &self,
        cluster: &Cluster,
        one: &Value,
        (what, seconds): (&str, u64),
        now: u64,
        again: &mut Again,
    ) -> bool {
        let typical = durations::typical_ms(what, false).unwrap_or(seconds * 1000);
        let takes = self.chance(&["takes", what, object::uid(one)]).about(typical, 30);
        let since = cluster.since_creation(one, now);
        let due = since.map_or(now, |age| now + takes.saturating_sub(age));
        if due > now {
            again.at(due);
        }
        due <= now
    }

    fn tend(
        &mut self,
        cluster: &mut Cluster,
        manager: &str,
        kind: &Tended,
        (key, one): (&Key, &Value),
        now: u64,
        again: &mut Again,
    ) {
        let holds = |name: &&str| object::is_true(one, name);
        let is_seen = one["status"]["observedGeneration"] == object::generation(one);
        if object::is_going(one) || is_seen && kind.conditions.iter().all(holds) {
            return;
        }
        let typical = durations::typical_ms(kind.kind, false).unwrap_or(kind.seconds * 1000);
        let takes = self.chance(&["tended", object::uid(one)]).about(typical, 30);
        let due = cluster
            .since_creation(one, now)
            .map_or(now, |age| now + takes.saturating_sub(age));
        if due > now {
            again.at(due);
            return;
        }
        let text = cluster.text(now);
        let conditions: Vec<Value> = kind
            .conditions
            .iter()
            .map(|name| {
                let mut one_of = object::put_condition(one, name, true, name, "", &text);
                one_of["observedGeneration"] = json!(object::generation(one));
                one_of
            })
            .collect();
        let status = json!({ "observedGeneration": object::generation(one), "conditions": conditions });
        cluster.merge_status(manager, key, status, now);
    }
}
