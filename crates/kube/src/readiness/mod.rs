//! Says whether an object is ready, from the object alone, as `kubectl rollout status` and the controllers' own
//! documentation judge it. Pure: no cluster is asked.
//!
//! An object is ready when what it asks for stands. Waiting is the answer to everything that may still come; failed only
//! to what its controller has given up.

mod conditions;
mod custom;
mod network;
mod workloads;

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use conditions::{condition, is_true, said};
use conditions::{failed, needs, unseen, waiting};
pub use network::webhooks_answer;

/// How far an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// What it asks for stands.
    Ready,
    /// It may still come.
    Waiting {
        /// What for.
        why: String,
    },
    /// Its controller has given up: waiting does not help.
    Failed {
        /// What it said.
        why: String,
    },
}

/// The annotation of Jobs that run when their step is removed.
const RUN: &str = "landfall.dev/run";

/// How far an object is, as it was read at `now`.
pub fn readiness(object: &Value, now: Timestamp) -> Readiness {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return waiting("it is being deleted");
    }
    let group = crate::key::group(object["apiVersion"].as_str().unwrap_or_default());
    let kind = object["kind"].as_str().unwrap_or_default();
    let status = &object["status"];
    match (group, kind) {
        ("apps", "Deployment") => workloads::deployment(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps", "DaemonSet") => workloads::daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workloads::replica_set(object),
        ("batch", "Job") => workloads::job(object),
        ("", "Pod") => workloads::pod(object),
        ("", "PersistentVolumeClaim") => workloads::claim(object, now),
        ("", "Namespace") => match status["phase"].as_str() {
            Some("Active") => Readiness::Ready,
            phase => waiting(format!("it is {}", phase.unwrap_or("not there yet"))),
        },
        ("", "Service") => network::service(object),
        ("networking.k8s.io", "Ingress") => network::ingress(object),
        ("admissionregistration.k8s.io", _) => network::webhook_configuration(object),
        ("apiregistration.k8s.io", "APIService") => needs(object, status, "Available"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ if is_builtin(group) => unseen(object).unwrap_or(Readiness::Ready),
        _ => custom::readiness(group, kind, object),
    }
}

/// Kinds of the API server itself that nobody has to work on.
fn is_builtin(group: &str) -> bool {
    !group.contains('.')
        || group.ends_with(".k8s.io") && landfall_kinds::core().iter().any(|kind| kind.group == group)
}

fn definition(object: &Value) -> Readiness {
    let status = &object["status"];
    if let Some(names) = condition(status, "NamesAccepted")
        && names["status"] == "False"
    {
        return failed(said(names));
    }
    needs(object, status, "Established")
}

#[cfg(test)]
mod tests;
