//! Custom resources: those whose controllers have words of their own, then the words that most share.

use serde_json::Value;

use super::conditions::{number, unseen, unseen_or_silent};
use super::{Readiness, condition, failed, is_true, needs, network, said, waiting};

/// Groups and kinds whose controller always writes the condition `Ready`: one that is not there yet is waited for.
const ALWAYS_READY_CONDITION: &[(&str, &[&str])] = &[
    ("karpenter.sh", &["NodePool"]),
    ("karpenter.k8s.aws", &["EC2NodeClass"]),
    ("eks.amazonaws.com", &["NodeClass"]),
    ("cert-manager.io", &["Certificate", "Issuer", "ClusterIssuer"]),
    (
        "external-secrets.io",
        &[
            "ExternalSecret",
            "ClusterExternalSecret",
            "SecretStore",
            "ClusterSecretStore",
        ],
    ),
    (
        "source.toolkit.fluxcd.io",
        &[
            "GitRepository",
            "OCIRepository",
            "Bucket",
            "HelmChart",
            "HelmRepository",
        ],
    ),
    ("helm.toolkit.fluxcd.io", &["HelmRelease"]),
    ("kustomize.toolkit.fluxcd.io", &["Kustomization"]),
];

/// Kinds of the VictoriaMetrics operator that run something.
const VICTORIA_RUNS: &[&str] = &[
    "VMAgent",
    "VMAlert",
    "VMAlertmanager",
    "VMAuth",
    "VMCluster",
    "VMSingle",
    "VLSingle",
    "VLCluster",
    "VLAgent",
    "VTSingle",
];

pub(super) fn readiness(group: &str, kind: &str, object: &Value) -> Readiness {
    let status = &object["status"];
    match (group, kind) {
        ("argoproj.io", "Application") => application(object),
        ("argoproj.io", "ApplicationSet") => application_set(status),
        ("gateway.networking.k8s.io", "Gateway") => network::gateway(object),
        ("gateway.networking.k8s.io", "GatewayClass") => needs(object, status, "Accepted"),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute" | "UDPRoute") => {
            network::route(object)
        }
        ("gateway.networking.k8s.io", "BackendTLSPolicy") => network::policy(object),
        ("gateway.envoyproxy.io", kind) if kind.ends_with("Policy") => network::policy(object),
        ("gateway.envoyproxy.io", "Backend") => needs(object, status, "Accepted"),
        ("postgresql.cnpg.io", "Cluster") => database_cluster(object),
        ("postgresql.cnpg.io", "Pooler") => pooler(object),
        ("postgresql.cnpg.io", "Database" | "Publication" | "Subscription") => applied(object),
        ("postgresql.cnpg.io", "Backup") => backup(status),
        ("elbv2.k8s.aws", "TargetGroupBinding") => unseen_or_silent(object).unwrap_or(Readiness::Ready),
        ("rhdh.redhat.com", "Backstage") => needs(object, status, "Deployed"),
        ("operator.victoriametrics.com", kind) => victoria(kind, object),
        // A HelmRepository of an OCI registry is a note that nobody works on.
        ("source.toolkit.fluxcd.io", "HelmRepository") if object["spec"]["type"] == "oci" => Readiness::Ready,
        _ => {
            let always = ALWAYS_READY_CONDITION
                .iter()
                .any(|(known, kinds)| *known == group && kinds.contains(&kind));
            shared(object, always)
        }
    }
}

/// The words that most controllers share (source: Kubernetes API conventions, and kstatus).
fn shared(object: &Value, always: bool) -> Readiness {
    let status = &object["status"];
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    for given_up in ["Stalled", "Failed"] {
        if let Some(one) = condition(status, given_up).filter(|one| is_true(one)) {
            return failed(said(one));
        }
    }
    for kind in ["Ready", "Available"] {
        if condition(status, kind).is_some() {
            return needs(object, status, kind);
        }
    }
    if let Some(one) = condition(status, "Reconciling").filter(|one| is_true(one)) {
        return waiting(said(one));
    }
    if always {
        return waiting("its controller has not looked at it yet");
    }
    Readiness::Ready
}

/// Synced and healthy, and that of the sources the object names now: its status carries no generation, so what was
/// compared is compared.
fn application(object: &Value) -> Readiness {
    let (spec, status) = (&object["spec"], &object["status"]);
    let conditions = status["conditions"].as_array();
    let error = conditions
        .into_iter()
        .flatten()
        .find(|one| one["type"].as_str().is_some_and(|kind| kind.ends_with("Error")));
    let Some(sync) = status["sync"]["status"].as_str() else {
        return waiting(error.map_or_else(|| "Argo CD has not looked at it yet".to_owned(), said_by_argo));
    };
    if !is_compared(spec, &status["sync"]["comparedTo"]) {
        return waiting("Argo CD has not seen the last change yet");
    }
    if let Some(error) = error {
        return waiting(said_by_argo(error));
    }
    let operation = &status["operationState"];
    let message = operation["message"].as_str().unwrap_or_default();
    if sync != "Synced" {
        if spec["syncPolicy"]["automated"].is_null() && sync == "OutOfSync" {
            // Its manifest leaves syncing to people: it stands as asked.
            return Readiness::Ready;
        }
        return waiting(match operation["phase"].as_str() {
            Some("Failed" | "Error") => format!("the sync has failed: {message}"),
            Some("Running") if !message.is_empty() => format!("it is syncing: {message}"),
            _ => format!("it is {sync}"),
        });
    }
    match status["health"]["status"].as_str() {
        Some("Healthy") if operation["phase"] == "Running" => waiting(format!("it is syncing: {message}")),
        Some("Healthy") => Readiness::Ready,
        health => {
            let health = health.unwrap_or("of unknown health");
            waiting(match status["health"]["message"].as_str() {
                Some(message) => format!("it is {health}: {message}"),
                None => format!("it is {health}"),
            })
        }
    }
}

fn said_by_argo(condition: &Value) -> String {
    let kind = condition["type"].as_str().unwrap_or_default();
    let message = condition["message"].as_str().unwrap_or_default();
    format!("{kind}: {message}")
}

/// Whether what Argo CD compared last are the sources of this spec. An older Argo CD, or none yet, does not say.
fn is_compared(spec: &Value, compared: &Value) -> bool {
    let same = |wanted: &Value, seen: &Value| {
        ["repoURL", "chart", "path", "targetRevision"]
            .iter()
            .all(|field| wanted[*field] == seen[*field] || wanted[*field] == "" && seen[*field].is_null())
            && (seen["helm"]["valuesObject"].is_null()
                || seen["helm"]["valuesObject"] == wanted["helm"]["valuesObject"])
    };
    if compared["source"].is_object()
        && spec["source"].is_object()
        && !same(&spec["source"], &compared["source"])
    {
        return false;
    }
    match (spec["sources"].as_array(), compared["sources"].as_array()) {
        (Some(wanted), Some(seen)) => {
            wanted.len() == seen.len() && wanted.iter().zip(seen).all(|(wanted, seen)| same(wanted, seen))
        }
        _ => true,
    }
}

fn application_set(status: &Value) -> Readiness {
    if let Some(error) = condition(status, "ErrorOccurred").filter(|one| is_true(one)) {
        return waiting(said(error));
    }
    match condition(status, "ResourcesUpToDate") {
        Some(one) if is_true(one) => Readiness::Ready,
        Some(one) => waiting(said(one)),
        None => waiting("Argo CD has not looked at it yet"),
    }
}

/// Source: CloudNativePG, `ClusterStatus`.
fn database_cluster(object: &Value) -> Readiness {
    let status = &object["status"];
    let wanted = object["spec"]["instances"].as_i64().unwrap_or(1);
    let ready = number(&status["readyInstances"]);
    let phase = status["phase"].as_str();
    let is_healthy = phase == Some("Cluster in healthy state");
    let is_ready = condition(status, "Ready").map_or(is_healthy, is_true);
    if is_ready && is_healthy && ready >= wanted {
        return Readiness::Ready;
    }
    let reason = status["phaseReason"].as_str().filter(|reason| !reason.is_empty());
    let instances = format!("{ready} of {wanted} instances are ready");
    waiting(match (phase, reason) {
        (Some(phase), Some(reason)) => format!("{phase} ({reason}); {instances}"),
        (Some(phase), None) => format!("{phase}; {instances}"),
        _ => "CloudNativePG has not looked at it yet".to_owned(),
    })
}

fn pooler(object: &Value) -> Readiness {
    let wanted = object["spec"]["instances"].as_i64().unwrap_or(1);
    let ready = number(&object["status"]["instances"]);
    if ready >= wanted {
        return Readiness::Ready;
    }
    waiting(format!("{ready} of {wanted} instances are ready"))
}

fn applied(object: &Value) -> Readiness {
    let status = &object["status"];
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    match status["applied"].as_bool() {
        Some(true) => Readiness::Ready,
        Some(false) => waiting(status["message"].as_str().unwrap_or("it could not be applied")),
        None => waiting("CloudNativePG has not looked at it yet"),
    }
}

fn backup(status: &Value) -> Readiness {
    match status["phase"].as_str() {
        Some("completed") => Readiness::Ready,
        Some("failed") => failed(status["error"].as_str().unwrap_or("the backup has failed")),
        phase => waiting(format!("it is {}", phase.unwrap_or("not begun"))),
    }
}

/// Source: VictoriaMetrics operator, `status.updateStatus`.
fn victoria(kind: &str, object: &Value) -> Readiness {
    let status = &object["status"];
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let reason = status["reason"].as_str().unwrap_or_default();
    match status["updateStatus"].as_str() {
        Some("operational" | "paused") => Readiness::Ready,
        None if VICTORIA_RUNS.contains(&kind) => waiting("the operator has not looked at it yet"),
        None => Readiness::Ready,
        Some(state) if reason.is_empty() => waiting(format!("it is {state}")),
        Some(state) => waiting(format!("it is {state}: {reason}")),
    }
}
