//! Small worlds in which something is not ready, and what explains it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn object(kind: &str, name: &str, more: Value) -> Value {
    let (version, kind) = kind.rsplit_once(' ').unwrap();
    let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": "shop", "uid": name } });
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
    object
}

fn event(about: &Value, reason: &str, message: &str, at: &str) -> Value {
    json!({
        "involvedObject": { "kind": about["kind"], "name": about["metadata"]["name"], "uid": about["metadata"]["uid"] },
        "reason": reason, "message": message, "type": "Warning", "lastTimestamp": format!("2026-11-21T12:{at}:00Z"),
    })
}

fn deployment() -> Value {
    object("apps/v1 Deployment", "web", json!({}))
}

fn pod(status: Value) -> Value {
    object("v1 Pod", "web-1", json!({ "status": status }))
}

fn container(state: Value) -> Value {
    let mut container = json!({ "name": "web" });
    for (field, value) in state.as_object().into_iter().flatten() {
        container[field] = value.clone();
    }
    pod(json!({ "containerStatuses": [container] }))
}

fn said(worlds: Vec<(&str, Value, Related)>) -> String {
    let mut text = String::new();
    for (about, object, related) in worlds {
        let _ = writeln!(text, "# {about}");
        match explain(&object, &related) {
            None => text.push_str("nothing explains it\n"),
            Some(Explanation {
                why,
                way_out,
                subject,
            }) => {
                let subject =
                    subject.map_or_else(|| "itself".to_owned(), |(kind, place)| format!("{kind} {place}"));
                let _ = writeln!(text, "{subject}: {why}\n    {way_out}");
            }
        }
    }
    text
}

fn with_pod(pod: Value) -> Related {
    Related {
        pods: vec![pod],
        ..Related::default()
    }
}

fn with_event(pod: Value, reason: &str, message: &str) -> Related {
    Related {
        events: vec![
            event(&pod, "Older", "not this one", "00"),
            event(&pod, reason, message, "01"),
        ],
        ..with_pod(pod)
    }
}

#[test]
fn pods_that_do_not_run() {
    let waiting = |reason: &str, message: &str| {
        container(json!({ "state": { "waiting": { "reason": reason, "message": message } } }))
    };
    let unscheduled = |message: &str| {
        pod(
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }] }),
        )
    };
    let crashing = container(json!({
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container" } },
        "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
    }));
    let killed = container(json!({
        "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
    }));
    let started = || pod(json!({ "phase": "Running" }));
    let with_log = Related {
        logs: BTreeMap::from([(
            "shop/web-1".to_owned(),
            "could not connect to the database\n".to_owned(),
        )]),
        ..with_pod(crashing)
    };
    let pulling = waiting("ImagePullBackOff", "Back-off pulling image \"nginx:9\"");
    insta::assert_snapshot!(said(vec![
        (
            "an image that is not there",
            deployment(),
            with_event(pulling, "Failed", "Failed to pull image \"nginx:9\": not found"),
        ),
        (
            "an image that may not be read",
            deployment(),
            with_pod(waiting("ErrImagePull", "pull access denied, 403 Forbidden"))
        ),
        ("a container that ends", deployment(), with_log),
        (
            "a container that wants more memory",
            deployment(),
            with_pod(killed)
        ),
        (
            "a Secret that is missing",
            deployment(),
            with_pod(waiting("CreateContainerConfigError", "secret \"db\" not found"))
        ),
        (
            "no machine",
            deployment(),
            with_pod(unscheduled("no nodes available to schedule pods"))
        ),
        (
            "no room",
            deployment(),
            with_pod(unscheduled("0/3 nodes are available: 3 Insufficient cpu."))
        ),
        (
            "a taint",
            deployment(),
            with_pod(unscheduled(
                "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}."
            ))
        ),
        (
            "a probe",
            deployment(),
            with_event(
                started(),
                "Unhealthy",
                "Readiness probe failed: HTTP probe failed with statuscode: 500"
            )
        ),
        (
            "no address",
            deployment(),
            with_event(
                started(),
                "FailedCreatePodSandBox",
                "plugin type=\"aws-cni\" failed (add): failed to assign an IP address to container"
            ),
        ),
        (
            "a mount",
            deployment(),
            with_event(
                started(),
                "FailedMount",
                "MountVolume.SetUp failed: secret \"tls\" not found"
            )
        ),
        ("nothing known", deployment(), Related::default()),
    ]));
}

#[test]
fn pods_that_are_not_made() {
    let set = object("apps/v1 ReplicaSet", "web-5d", json!({}));
    let refused = |message: &str| Related {
        events: vec![event(&set, "FailedCreate", message, "00")],
        owned: vec![set.clone()],
        ..Related::default()
    };
    insta::assert_snapshot!(said(vec![
        (
            "a quota",
            deployment(),
            refused("pods \"web-5d-x\" is forbidden: exceeded quota: small")
        ),
        (
            "Pod Security",
            deployment(),
            refused("pods \"web-5d-x\" is forbidden: violates PodSecurity \"restricted:latest\"")
        ),
        (
            "a service account",
            deployment(),
            refused("error looking up service account: serviceaccount \"web\" not found")
        ),
    ]));
}

/// The volume explains the claim, which explains the pod, which explains the set.
#[test]
fn volumes_that_do_not_come() {
    let claim = object(
        "v1 PersistentVolumeClaim",
        "data",
        json!({ "status": { "phase": "Pending" } }),
    );
    let stuck = pod(json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "message": "pod has unbound immediate PersistentVolumeClaims",
    }] }));
    let failed = |message: &str| Related {
        events: vec![event(&claim, "ProvisioningFailed", message, "00")],
        claims: vec![claim.clone()],
        ..with_pod(stuck.clone())
    };
    insta::assert_snapshot!(said(vec![
        (
            "a role that may not",
            deployment(),
            failed("UnauthorizedOperation: not authorized to perform ec2:CreateVolume")
        ),
        (
            "a class that is missing",
            deployment(),
            failed("storageclass.storage.k8s.io \"fast\" not found")
        ),
        (
            "the claim itself",
            claim.clone(),
            failed("storageclass.storage.k8s.io \"fast\" not found")
        ),
        ("nobody says why", deployment(), with_pod(stuck.clone())),
    ]));
}

#[test]
fn what_controllers_say() {
    let application = |status: Value| {
        object(
            "argoproj.io/v1alpha1 Application",
            "shop",
            json!({ "status": status }),
        )
    };
    let part = json!({ "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web" });
    let mut refused = part.clone();
    refused["status"] = json!("SyncFailed");
    refused["message"] = json!("Deployment.apps \"web\" is invalid: spec.selector: field is immutable");
    let mut degraded = part;
    degraded["health"] =
        json!({ "status": "Degraded", "message": "Deployment exceeded its progress deadline" });
    let challenge = object(
        "acme.cert-manager.io/v1 Challenge",
        "web-1",
        json!({ "spec": { "dnsName": "shop.example.com" }, "status": { "reason": "failed to change Route 53 record set: AccessDenied" } }),
    );
    let machine = object(
        "karpenter.sh/v1 NodeClaim",
        "spot-1",
        json!({ "status": { "conditions": [{ "type": "Launched", "status": "False", "reason": "InsufficientCapacity", "message": "all requested instance types were unavailable" }] } }),
    );
    let ingress = object("networking.k8s.io/v1 Ingress", "web", json!({}));
    let owned = |one: Value| Related {
        owned: vec![one],
        ..Related::default()
    };
    let parts = Related {
        pods: vec![container(
            json!({ "state": { "waiting": { "reason": "CreateContainerConfigError", "message": "secret \"db\" not found" } } }),
        )],
        owned: vec![deployment()],
        ..Related::default()
    };
    insta::assert_snapshot!(said(vec![
        (
            "a part that is refused",
            application(json!({ "operationState": { "syncResult": { "resources": [refused] } } })),
            Related::default(),
        ),
        (
            "a part that is unwell",
            application(json!({ "resources": [degraded] })),
            Related::default()
        ),
        ("the pod of a part", application(json!({})), parts),
        (
            "a challenge",
            object("cert-manager.io/v1 Certificate", "web", json!({})),
            owned(challenge)
        ),
        (
            "a machine",
            object("karpenter.sh/v1 NodePool", "spot", json!({})),
            owned(machine)
        ),
        (
            "an event",
            ingress.clone(),
            Related {
                events: vec![event(
                    &ingress,
                    "FailedBuildModel",
                    "unable to resolve at least one subnet",
                    "00"
                )],
                ..Related::default()
            },
        ),
    ]));
}
