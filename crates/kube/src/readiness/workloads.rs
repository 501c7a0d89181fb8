//! Workloads, their pods and their volumes.

use jiff::Timestamp;
use serde_json::Value;

use super::conditions::{number, unseen_or_silent};
use super::{RUN, Readiness, condition, failed, is_true, said, waiting};

/// How long a claim that nobody provisions yet may simply not have been noticed.
const UNNOTICED_SECONDS: i64 = 10;

fn replicas(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn counted(are: i64, of: i64, what: &str) -> Readiness {
    waiting(format!("{are} of {of} pods are {what}"))
}

/// Source: `kubectl rollout status`, and the deployment controller's conditions.
pub(super) fn deployment(object: &Value) -> Readiness {
    if let Some(unseen) = unseen_or_silent(object) {
        return unseen;
    }
    let status = &object["status"];
    if let Some(progress) = condition(status, "Progressing")
        && progress["reason"] == "ProgressDeadlineExceeded"
    {
        return failed(said(progress));
    }
    let wanted = replicas(object);
    let (all, updated) = (number(&status["replicas"]), number(&status["updatedReplicas"]));
    let available = number(&status["availableReplicas"]);
    if updated < wanted {
        if let Some(failure) = condition(status, "ReplicaFailure").filter(|one| is_true(one)) {
            return waiting(said(failure));
        }
        return counted(updated, wanted, "of the new version");
    }
    if all > updated {
        return waiting(format!(
            "{} pods of the old version are still there",
            all - updated
        ));
    }
    if available < wanted {
        return counted(available, wanted, "available");
    }
    Readiness::Ready
}

/// Source: `kubectl rollout status`; with OnDelete pods keep their version until somebody deletes them.
pub(super) fn stateful_set(object: &Value) -> Readiness {
    if let Some(unseen) = unseen_or_silent(object) {
        return unseen;
    }
    let (spec, status) = (&object["spec"], &object["status"]);
    let wanted = replicas(object);
    let ready = number(&status["readyReplicas"]);
    if ready < wanted {
        return counted(ready, wanted, "ready");
    }
    if number(&status["replicas"]) > wanted {
        return waiting("pods that are too many are still there");
    }
    if spec["updateStrategy"]["type"] == "OnDelete" {
        return Readiness::Ready;
    }
    let partition = number(&spec["updateStrategy"]["rollingUpdate"]["partition"]);
    let updated = number(&status["updatedReplicas"]);
    let due = (wanted - partition).max(0);
    let is_whole = status["updateRevision"] == status["currentRevision"];
    if updated < due && !(partition == 0 && is_whole) {
        return counted(updated, due, "of the new version");
    }
    Readiness::Ready
}

pub(super) fn daemon_set(object: &Value) -> Readiness {
    if let Some(unseen) = unseen_or_silent(object) {
        return unseen;
    }
    let status = &object["status"];
    let wanted = number(&status["desiredNumberScheduled"]);
    let updated = number(&status["updatedNumberScheduled"]);
    let available = number(&status["numberAvailable"]);
    if updated < wanted && object["spec"]["updateStrategy"]["type"] != "OnDelete" {
        return counted(updated, wanted, "of the new version");
    }
    if available < wanted {
        return counted(available, wanted, "available");
    }
    Readiness::Ready
}

pub(super) fn replica_set(object: &Value) -> Readiness {
    if let Some(unseen) = unseen_or_silent(object) {
        return unseen;
    }
    let status = &object["status"];
    if let Some(failure) = condition(status, "ReplicaFailure").filter(|one| is_true(one)) {
        return waiting(said(failure));
    }
    let (wanted, available) = (replicas(object), number(&status["availableReplicas"]));
    if available < wanted {
        return counted(available, wanted, "available");
    }
    Readiness::Ready
}

/// A Job is ready when it is done. One that runs on removal, or is suspended by its manifest, has nothing to do now.
pub(super) fn job(object: &Value) -> Readiness {
    let (spec, status) = (&object["spec"], &object["status"]);
    for end in ["Failed", "FailureTarget"] {
        if let Some(end) = condition(status, end).filter(|one| is_true(one)) {
            return failed(said(end));
        }
    }
    if condition(status, "Complete").is_some_and(is_true) {
        return Readiness::Ready;
    }
    if spec["suspend"] == true {
        return Readiness::Ready;
    }
    if object["metadata"]["annotations"][RUN] == "on-removal" {
        // Somebody took the suspension off: it runs now, and is waited for as any other.
        return waiting("its clean-up is running");
    }
    let wanted = spec["completions"].as_i64().unwrap_or(1);
    let (done, tried) = (number(&status["succeeded"]), number(&status["failed"]));
    match tried {
        0 => waiting(format!("{done} of {wanted} runs are done")),
        tried => waiting(format!(
            "{done} of {wanted} runs are done, {tried} tries have failed"
        )),
    }
}

pub(super) fn pod(object: &Value) -> Readiness {
    let status = &object["status"];
    let message = status["message"].as_str().or(status["reason"].as_str());
    match status["phase"].as_str() {
        Some("Succeeded") => Readiness::Ready,
        Some("Failed") => failed(message.unwrap_or("its containers have ended with an error")),
        phase => match condition(status, "Ready") {
            Some(ready) if is_true(ready) => Readiness::Ready,
            Some(ready) => waiting(said(ready)),
            None => waiting(format!("it is {}", phase.unwrap_or("not there yet"))),
        },
    }
}

/// A claim whose class waits for a pod stands as far as it can before there is one. The volume controller marks what it
/// wants provisioned (`storage-provisioner`), and the scheduler what a pod needs (`selected-node`): a claim that has
/// neither after a while waits for its first consumer.
pub(super) fn claim(object: &Value, now: Timestamp) -> Readiness {
    let annotations = &object["metadata"]["annotations"];
    let is_marked = [
        "volume.kubernetes.io/storage-provisioner",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
    ]
    .iter()
    .any(|name| annotations[*name].is_string());
    match object["status"]["phase"].as_str() {
        Some("Bound") => Readiness::Ready,
        Some("Lost") => failed("its volume is gone"),
        _ if object["spec"]["storageClassName"]
            .as_str()
            .is_none_or(str::is_empty) =>
        {
            waiting("it names no StorageClass, and the cluster has none by default")
        }
        _ if is_marked || object["spec"]["volumeName"].is_string() => waiting("its volume is being made"),
        _ if age(object, now) < UNNOTICED_SECONDS => waiting("it is not bound yet"),
        _ => Readiness::Ready,
    }
}

fn age(object: &Value, now: Timestamp) -> i64 {
    let made = object["metadata"]["creationTimestamp"].as_str();
    made.and_then(|text| text.parse::<Timestamp>().ok())
        .map_or(0, |made| now.as_second() - made.as_second())
}
