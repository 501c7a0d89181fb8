//! Objects as a server gives them, and how far they are.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// An object of this kind, seen by its controller, with a spec and a status.
fn object(kind: &str, spec: Value, status: Value) -> Value {
    let (version, kind) = kind.rsplit_once(' ').unwrap();
    json!({
        "apiVersion": version, "kind": kind,
        "metadata": { "name": "one", "namespace": "shop", "generation": 2, "creationTimestamp": "2026-11-21T11:00:00Z" },
        "spec": spec, "status": status,
    })
}

fn said(objects: &[(&str, Value)]) -> String {
    let mut text = String::new();
    for (about, object) in objects {
        let far = match readiness(object, now()) {
            Readiness::Ready => "ready".to_owned(),
            Readiness::Waiting { why } => format!("waiting: {why}"),
            Readiness::Failed { why } => format!("FAILED: {why}"),
        };
        let _ = writeln!(text, "{about}: {far}");
    }
    text
}

fn true_condition(kind: &str) -> Value {
    json!([{ "type": kind, "status": "True" }])
}

fn false_condition(kind: &str, reason: &str, message: &str) -> Value {
    json!([{ "type": kind, "status": "False", "reason": reason, "message": message }])
}

#[test]
fn workloads() {
    let deployment = |status: Value| object("apps/v1 Deployment", json!({ "replicas": 3 }), status);
    let counts = |all: i64, updated: i64, available: i64| {
        deployment(json!({
            "observedGeneration": 2, "replicas": all, "updatedReplicas": updated, "availableReplicas": available,
        }))
    };
    let set = |spec: Value, status: Value| object("apps/v1 StatefulSet", spec, status);
    let daemons = |status: Value| object("apps/v1 DaemonSet", json!({}), status);
    insta::assert_snapshot!(said(&[
        ("Deployment nobody has seen", deployment(json!({}))),
        (
            "Deployment seen before its change",
            deployment(json!({ "observedGeneration": 1 }))
        ),
        ("Deployment with one new pod", counts(3, 1, 3)),
        ("Deployment with old pods", counts(5, 3, 3)),
        ("Deployment that starts", counts(3, 3, 1)),
        ("Deployment", counts(3, 3, 3)),
        (
            "Deployment that has given up",
            deployment(json!({
                "observedGeneration": 2,
                "conditions": false_condition("Progressing", "ProgressDeadlineExceeded", "ReplicaSet has timed out progressing."),
            })),
        ),
        (
            "Deployment that may make no pods",
            deployment(json!({
                "observedGeneration": 2,
                "conditions": [{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota" }],
            })),
        ),
        (
            "StatefulSet",
            set(
                json!({}),
                json!({ "observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1 })
            )
        ),
        (
            "StatefulSet half updated",
            set(
                json!({ "replicas": 3 }),
                json!({
                    "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1, "currentRevision": "a",
                    "updateRevision": "b",
                }),
            ),
        ),
        (
            "StatefulSet with a partition",
            set(
                json!({ "replicas": 3, "updateStrategy": { "rollingUpdate": { "partition": 2 } } }),
                json!({
                    "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1, "currentRevision": "a",
                    "updateRevision": "b",
                }),
            ),
        ),
        (
            "StatefulSet updated by hand",
            set(
                json!({ "updateStrategy": { "type": "OnDelete" } }),
                json!({ "observedGeneration": 2, "replicas": 1, "readyReplicas": 1 }),
            ),
        ),
        (
            "DaemonSet without machines",
            daemons(json!({ "observedGeneration": 2, "desiredNumberScheduled": 0 }))
        ),
        (
            "DaemonSet on its way",
            daemons(json!({
                "observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1,
            })),
        ),
    ]));
}

#[test]
fn jobs_pods_and_claims() {
    let job = |spec: Value, status: Value| object("batch/v1 Job", spec, status);
    let mut on_removal = job(json!({ "suspend": true }), json!({}));
    on_removal["metadata"]["annotations"] = json!({ "landfall.dev/run": "on-removal" });
    let claim = |annotations: Value, status: Value| {
        let mut claim = object(
            "v1 PersistentVolumeClaim",
            json!({ "storageClassName": "gp3" }),
            status,
        );
        claim["metadata"]["annotations"] = annotations;
        claim
    };
    let mut young = claim(json!({}), json!({ "phase": "Pending" }));
    young["metadata"]["creationTimestamp"] = json!("2026-11-21T11:59:58Z");
    let mut going = object("v1 ConfigMap", json!(null), json!(null));
    going["metadata"]["deletionTimestamp"] = json!("2026-11-21T11:59:58Z");
    insta::assert_snapshot!(said(&[
        (
            "Job that runs",
            job(json!({}), json!({ "active": 1, "failed": 2 }))
        ),
        (
            "Job that is done",
            job(json!({}), json!({ "conditions": true_condition("Complete") }))
        ),
        (
            "Job that has failed",
            job(
                json!({}),
                json!({ "conditions": [{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit" }] }),
            ),
        ),
        ("Job for the removal", on_removal),
        (
            "Pod",
            object(
                "v1 Pod",
                json!({}),
                json!({ "phase": "Running", "conditions": true_condition("Ready") })
            )
        ),
        (
            "Pod that starts",
            object(
                "v1 Pod",
                json!({}),
                json!({ "phase": "Running", "conditions": false_condition("Ready", "ContainersNotReady", "containers with unready status: [web]") }),
            ),
        ),
        (
            "Pod that has failed",
            object(
                "v1 Pod",
                json!({}),
                json!({ "phase": "Failed", "reason": "Evicted" })
            )
        ),
        ("claim", claim(json!({}), json!({ "phase": "Bound" }))),
        ("claim just made", young),
        (
            "claim without a pod",
            claim(json!({}), json!({ "phase": "Pending" }))
        ),
        (
            "claim that is provisioned",
            claim(
                json!({ "volume.kubernetes.io/storage-provisioner": "ebs.csi.aws.com" }),
                json!({ "phase": "Pending" })
            ),
        ),
        ("ConfigMap", object("v1 ConfigMap", json!(null), json!(null))),
        ("ConfigMap that goes", going),
        (
            "Namespace",
            object("v1 Namespace", json!({}), json!({ "phase": "Active" }))
        ),
    ]));
}

#[test]
fn addresses_and_routes() {
    let parents = |conditions: Value| json!({ "parents": [{ "parentRef": { "name": "edge", "namespace": "edge" }, "conditions": conditions }] });
    let route = |status: Value| {
        object(
            "gateway.networking.k8s.io/v1 HTTPRoute",
            json!({ "parentRefs": [{ "name": "edge", "namespace": "edge", "sectionName": "https" }] }),
            status,
        )
    };
    let gateway = |status: Value| object("gateway.networking.k8s.io/v1 Gateway", json!({}), status);
    let both = json!([{ "type": "Accepted", "status": "True" }, { "type": "Programmed", "status": "True" }]);
    insta::assert_snapshot!(said(&[
        (
            "Service",
            object("v1 Service", json!({ "type": "ClusterIP" }), json!({}))
        ),
        (
            "Service without address",
            object("v1 Service", json!({ "type": "LoadBalancer" }), json!({}))
        ),
        (
            "Ingress without address",
            object(
                "networking.k8s.io/v1 Ingress",
                json!({ "ingressClassName": "alb" }),
                json!({})
            )
        ),
        (
            "Ingress without class",
            object("networking.k8s.io/v1 Ingress", json!({}), json!({}))
        ),
        (
            "Ingress",
            object(
                "networking.k8s.io/v1 Ingress",
                json!({}),
                json!({ "loadBalancer": { "ingress": [{ "hostname": "k8s-shop.eu-west-1.elb.amazonaws.com" }] } }),
            ),
        ),
        ("Gateway nobody has seen", gateway(json!({}))),
        ("Gateway without address", gateway(json!({ "conditions": both }))),
        (
            "Gateway",
            gateway(json!({ "conditions": both, "addresses": [{ "value": "a.example" }] }))
        ),
        (
            "Gateway with a bad listener",
            gateway(json!({
                "conditions": [{ "type": "Accepted", "status": "True" }, { "type": "Programmed", "status": "False", "reason": "Invalid" }],
                "listeners": [{ "name": "https", "conditions": false_condition("ResolvedRefs", "InvalidCertificateRef", "Secret edge/tls not found") }],
            })),
        ),
        ("route nobody has taken", route(json!({}))),
        (
            "route without backend",
            route(parents(json!([
                { "type": "Accepted", "status": "True" },
                { "type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "Service shop/web not found" },
            ])))
        ),
        (
            "route taken before its change",
            route(parents(json!([
                { "type": "Accepted", "status": "True", "observedGeneration": 1 }, { "type": "ResolvedRefs", "status": "True", "observedGeneration": 1 },
            ])))
        ),
        (
            "route",
            route(parents(
                json!([{ "type": "Accepted", "status": "True" }, { "type": "ResolvedRefs", "status": "True" }])
            ))
        ),
        (
            "policy nobody has taken",
            object(
                "gateway.envoyproxy.io/v1alpha1 SecurityPolicy",
                json!({}),
                json!({})
            )
        ),
        (
            "policy",
            object(
                "gateway.envoyproxy.io/v1alpha1 SecurityPolicy",
                json!({}),
                json!({ "ancestors": [{ "conditions": true_condition("Accepted") }] }),
            ),
        ),
    ]));
}

#[test]
fn custom_resources() {
    let source = |revision: &str| json!({ "repoURL": "https://charts.example.com", "chart": "shop", "targetRevision": revision });
    let application = |status: Value| {
        let spec = json!({ "source": source("2.0.0"), "syncPolicy": { "automated": {} } });
        object("argoproj.io/v1alpha1 Application", spec, status)
    };
    let synced = |sync: &str, health: &str, revision: &str, operation: Value| {
        application(json!({
            "sync": { "status": sync, "comparedTo": { "source": source(revision) } }, "health": { "status": health },
            "operationState": operation,
        }))
    };
    let database = |phase: &str, ready: u64| {
        object(
            "postgresql.cnpg.io/v1 Cluster",
            json!({ "instances": 3 }),
            json!({ "phase": phase, "readyInstances": ready }),
        )
    };
    let release = |conditions: Value| {
        object(
            "helm.toolkit.fluxcd.io/v2 HelmRelease",
            json!({}),
            json!({ "observedGeneration": 2, "conditions": conditions }),
        )
    };
    insta::assert_snapshot!(said(&[
        ("Application nobody has seen", application(json!({}))),
        (
            "Application of the old version",
            synced("Synced", "Healthy", "1.0.0", json!(null))
        ),
        (
            "Application that is behind",
            synced("OutOfSync", "Missing", "2.0.0", json!(null))
        ),
        (
            "Application whose sync fails",
            synced(
                "OutOfSync",
                "Degraded",
                "2.0.0",
                json!({ "phase": "Failed", "message": "one or more objects failed to apply" })
            ),
        ),
        (
            "Application that starts",
            synced("Synced", "Progressing", "2.0.0", json!(null))
        ),
        (
            "Application",
            synced("Synced", "Healthy", "2.0.0", json!({ "phase": "Succeeded" }))
        ),
        (
            "Application with a bad source",
            application(json!({
                "sync": { "status": "Unknown" }, "conditions": [{ "type": "ComparisonError", "message": "chart shop not found" }],
            })),
        ),
        ("database", database("Cluster in healthy state", 3)),
        ("database that starts", database("Setting up primary", 0)),
        (
            "database nobody has seen",
            object(
                "postgresql.cnpg.io/v1 Cluster",
                json!({ "instances": 1 }),
                json!({})
            )
        ),
        (
            "Certificate nobody has seen",
            object("cert-manager.io/v1 Certificate", json!({}), json!({}))
        ),
        (
            "secret that is not found",
            object(
                "external-secrets.io/v1 ExternalSecret",
                json!({}),
                json!({ "conditions": false_condition("Ready", "SecretSyncedError", "could not get secret data from provider") }),
            ),
        ),
        (
            "release that has given up",
            release(
                json!([{ "type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": "Failed to upgrade after 3 attempts" }])
            )
        ),
        ("release", release(true_condition("Ready"))),
        (
            "registry of charts",
            object(
                "source.toolkit.fluxcd.io/v1 HelmRepository",
                json!({ "type": "oci" }),
                json!({})
            ),
        ),
        (
            "metrics that expand",
            object(
                "operator.victoriametrics.com/v1beta1 VMSingle",
                json!({}),
                json!({ "updateStatus": "expanding" })
            ),
        ),
        (
            "portal",
            object(
                "rhdh.redhat.com/v1alpha5 Backstage",
                json!({}),
                json!({ "conditions": true_condition("Deployed") })
            )
        ),
        (
            "NodePool nobody has seen",
            object("karpenter.sh/v1 NodePool", json!({}), json!({}))
        ),
        (
            "something nobody knows",
            object("example.com/v1 Widget", json!({}), json!({}))
        ),
        (
            "something nobody knows that waits",
            object(
                "example.com/v1 Widget",
                json!({}),
                json!({ "conditions": false_condition("Ready", "Working", "soon") })
            ),
        ),
        (
            "definition",
            object(
                "apiextensions.k8s.io/v1 CustomResourceDefinition",
                json!({}),
                json!({ "conditions": true_condition("Established") })
            ),
        ),
        (
            "definition whose names are taken",
            object(
                "apiextensions.k8s.io/v1 CustomResourceDefinition",
                json!({}),
                json!({ "conditions": false_condition("NamesAccepted", "PluralConflict", "\"widgets\" is already in use") }),
            ),
        ),
    ]));
}

#[test]
fn webhooks_need_somebody_who_answers() {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "a" },
        "webhooks": [{ "name": "a.example", "clientConfig": { "service": { "name": "hook", "namespace": "system" }, "caBundle": "Q0E=" } }],
    });
    let slice = |ready: bool| {
        json!({
            "metadata": { "namespace": "system", "labels": { "kubernetes.io/service-name": "hook" } },
            "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": ready } }],
        })
    };
    let nobody = Readiness::Waiting {
        why: "nothing answers behind the service system/hook of its webhook".to_owned(),
    };
    assert_eq!(webhooks_answer(&configuration, &[]), nobody);
    assert_eq!(webhooks_answer(&configuration, &[slice(false)]), nobody);
    assert_eq!(webhooks_answer(&configuration, &[slice(true)]), Readiness::Ready);
    assert_eq!(readiness(&configuration, now()), Readiness::Ready);
}
