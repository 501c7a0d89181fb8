//! What the API refuses although the shape is right.

use serde_json::Value;

use super::text::known;
use super::{Found, Path, is_unknown, pods};
use crate::Kind;

const ROOT: Path<'static> = Path::Root;
const SPEC: Path<'static> = Path::Key(&ROOT, "spec");

/// Kinds built in to Kubernetes.
pub(super) fn builtin(kind: &Kind, object: &Value, found: &mut Found) {
    match kind.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            pods::workload(object, &["Always"], found)
        }
        "Job" => job(&object["spec"], &SPEC, found),
        "CronJob" => cron_job(object, found),
        "Pod" => pods::pod(&object["spec"], &SPEC, &[], found),
        "Service" => service(object, found),
        "Ingress" => ingress(object, found),
        "PersistentVolumeClaim" => claim(object, found),
        "PodDisruptionBudget" => either(object, &SPEC, "minAvailable", "maxUnavailable", found),
        "HorizontalPodAutoscaler" => autoscaler(object, found),
        "RoleBinding" | "ClusterRoleBinding" => binding(kind, object, found),
        _ => {}
    }
}

/// Custom kinds: what their own rules refuse.
pub(super) fn custom(kind: &Kind, object: &Value, found: &mut Found) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("argoproj.io", "Application") => application(object, found),
        ("karpenter.sh", "NodePool") => node_pool(object, found),
        ("karpenter.k8s.aws", "EC2NodeClass") | ("eks.amazonaws.com", "NodeClass") => {
            either(object, &SPEC, "role", "instanceProfile", found);
        }
        ("gateway.networking.k8s.io", "Gateway") => gateway(object, found),
        _ => {}
    }
}

/// At most one of two fields.
fn either(object: &Value, path: &Path<'_>, one: &str, other: &str, found: &mut Found) {
    let is_there = |field: &str| !object["spec"][field].is_null();
    if is_there(one) && is_there(other) {
        let help = "keep one of them".to_owned();
        found.add(
            &Path::Key(path, other),
            format!("`{one}` and `{other}` exclude each other"),
            Some(help),
        );
    }
}

fn job(spec: &Value, path: &Path<'_>, found: &mut Found) {
    let template = Path::Key(path, "template");
    pods::template_at(
        &spec["template"],
        &template,
        &["Never", "OnFailure"],
        Vec::new(),
        found,
    );
}

fn cron_job(object: &Value, found: &mut Found) {
    if let Some(schedule) = known(&object["spec"]["schedule"]) {
        let is_named = schedule.starts_with('@');
        if !is_named && schedule.split_whitespace().count() != 5 {
            found.add(
                &Path::Key(&SPEC, "schedule"),
                format!("`{schedule}` is not a schedule"),
                Some("write five fields: minute, hour, day, month, weekday".to_owned()),
            );
        }
    }
    let template = Path::Key(&SPEC, "jobTemplate");
    job(
        &object["spec"]["jobTemplate"]["spec"],
        &Path::Key(&template, "spec"),
        found,
    );
}

fn service(object: &Value, found: &mut Found) {
    let spec = &object["spec"];
    if !spec.is_object() {
        return;
    }
    let ports = spec["ports"].as_array();
    let path = Path::Key(&SPEC, "ports");
    let is_external = spec["type"] == "ExternalName";
    let is_open = spec["type"].as_str().is_some_and(is_unknown) || spec["ports"].is_string();
    if is_external && spec["externalName"].is_null() {
        found.add(&SPEC, "a Service of type ExternalName needs `externalName`", None);
    }
    let is_headless = spec["clusterIP"] == "None";
    if !is_external && !is_headless && !is_open && ports.is_none_or(Vec::is_empty) {
        found.add(&SPEC, "a Service needs `ports`", None);
    }
    let ports = ports.map(Vec::as_slice).unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let here = Path::Index(&path, index);
        if ports.len() > 1 && port.is_object() && port["name"].is_null() {
            let help = "give each a `name`".to_owned();
            found.add(
                &here,
                "a Service with several ports needs names for them",
                Some(help),
            );
        }
        let name = known(&port["name"]);
        if name.is_some() && ports[..index].iter().any(|other| known(&other["name"]) == name) {
            found.add(
                &here,
                format!("two ports are called `{}`", name.unwrap_or_default()),
                None,
            );
        }
    }
}

fn ingress(object: &Value, found: &mut Found) {
    let rules = Path::Key(&SPEC, "rules");
    for (index, rule) in object["spec"]["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let rule_path = Path::Index(&rules, index);
        let http = Path::Key(&rule_path, "http");
        let paths = Path::Key(&http, "paths");
        for (index, one) in rule["http"]["paths"].as_array().into_iter().flatten().enumerate() {
            let here = Path::Index(&paths, index);
            let is_free = one["pathType"] == "ImplementationSpecific";
            if let Some(path) = known(&one["path"]).filter(|path| !is_free && !path.starts_with('/')) {
                let help = format!("write `/{path}`");
                found.add(
                    &Path::Key(&here, "path"),
                    format!("`{path}` must begin with `/`"),
                    Some(help),
                );
            }
            let port = &one["backend"]["service"]["port"];
            if port["name"].is_string() && !port["number"].is_null() {
                let backend = Path::Key(&here, "backend");
                found.add(&backend, "a port is named either by `name` or by `number`", None);
            }
        }
    }
}

fn claim(object: &Value, found: &mut Found) {
    let spec = &object["spec"];
    if !spec.is_object() {
        return;
    }
    if spec["accessModes"].as_array().is_some_and(Vec::is_empty) || spec["accessModes"].is_null() {
        let help = "write `accessModes: [ReadWriteOnce]`".to_owned();
        found.add(&SPEC, "a claim needs `accessModes`", Some(help));
    }
    let resources = &spec["resources"];
    if resources.is_null()
        || resources.is_object()
            && resources["requests"]["storage"].is_null()
            && !resources["requests"].is_string()
    {
        found.add(&SPEC, "a claim needs `resources.requests.storage`", None);
    }
}

fn autoscaler(object: &Value, found: &mut Found) {
    let spec = &object["spec"];
    if let (Some(least), Some(most)) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64())
        && least > most
    {
        found.add(
            &Path::Key(&SPEC, "minReplicas"),
            "`minReplicas` is higher than `maxReplicas`",
            None,
        );
    }
}

fn binding(kind: &Kind, object: &Value, found: &mut Found) {
    let role = &object["roleRef"];
    let path = Path::Key(&ROOT, "roleRef");
    if let Some(group) = known(&role["apiGroup"])
        && group != "rbac.authorization.k8s.io"
    {
        let help = "write `apiGroup: rbac.authorization.k8s.io`".to_owned();
        found.add(
            &Path::Key(&path, "apiGroup"),
            format!("no roles live in `{group}`"),
            Some(help),
        );
    }
    if kind.kind == "ClusterRoleBinding" && role["kind"] == "Role" {
        found.add(
            &Path::Key(&path, "kind"),
            "a ClusterRoleBinding cannot name a Role",
            Some("name a ClusterRole, or make it a RoleBinding".to_owned()),
        );
    }
    let subjects = Path::Key(&ROOT, "subjects");
    for (index, subject) in object["subjects"].as_array().into_iter().flatten().enumerate() {
        let here = Path::Index(&subjects, index);
        let is_account = subject["kind"] == "ServiceAccount";
        if is_account && subject["namespace"].is_null() {
            found.add(&here, "a ServiceAccount is named with its `namespace`", None);
        }
        let group = known(&subject["apiGroup"]);
        if is_account && group.is_some_and(|group| !group.is_empty()) {
            let help = "take `apiGroup` out".to_owned();
            found.add(
                &Path::Key(&here, "apiGroup"),
                "a ServiceAccount has no `apiGroup`",
                Some(help),
            );
        }
    }
}

fn application(object: &Value, found: &mut Found) {
    let spec = &object["spec"];
    if !spec.is_object() {
        return;
    }
    let sources = ["source", "sources", "sourceHydrator"];
    if sources.iter().all(|field| spec[*field].is_null()) {
        found.add(&SPEC, "an Application needs a `source`, or `sources`", None);
    }
    let destination = &spec["destination"];
    let both = destination["server"].is_string() && destination["name"].is_string();
    if both {
        let help = "keep one of them".to_owned();
        found.add(
            &Path::Key(&SPEC, "destination"),
            "`server` and `name` exclude each other",
            Some(help),
        );
    }
    let source = Path::Key(&SPEC, "source");
    let one = &spec["source"];
    if one.is_object() && !one["chart"].is_null() && one["targetRevision"].is_null() {
        found.add(
            &source,
            "a source with a `chart` needs its version as `targetRevision`",
            None,
        );
    }
}

fn node_pool(object: &Value, found: &mut Found) {
    let requirements = &object["spec"]["template"]["spec"]["requirements"];
    let template = Path::Key(&SPEC, "template");
    let inner = Path::Key(&template, "spec");
    let path = Path::Key(&inner, "requirements");
    for (index, one) in requirements.as_array().into_iter().flatten().enumerate() {
        let here = Path::Index(&path, index);
        let values = one["values"].as_array().map(Vec::len);
        match one["operator"].as_str() {
            Some("In" | "NotIn") if values.is_none_or(|count| count == 0) && !one["values"].is_string() => {
                found.add(&here, "the operator needs `values`", None);
            }
            Some("Gt" | "Lt" | "Gte" | "Lte") if values.is_some_and(|count| count != 1) => {
                found.add(&here, "the operator needs exactly one value", None);
            }
            Some("Exists" | "DoesNotExist") if values.is_some_and(|count| count > 0) => {
                found.add(&here, "the operator takes no `values`", None);
            }
            _ => {}
        }
    }
}

fn gateway(object: &Value, found: &mut Found) {
    let listeners = Path::Key(&SPEC, "listeners");
    for (index, one) in object["spec"]["listeners"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let here = Path::Index(&listeners, index);
        let needs = matches!(one["protocol"].as_str(), Some("HTTPS" | "TLS"));
        if needs && one["tls"].is_null() {
            found.add(&here, "a listener for HTTPS or TLS needs `tls`", None);
        }
        if one["protocol"] == "HTTP" && !one["tls"].is_null() {
            found.add(&Path::Key(&here, "tls"), "a listener for HTTP has no `tls`", None);
        }
    }
}
