//! Fields of built-in kinds that stay as they were made.

use serde_json::Value;

use crate::served::Served;
use crate::status::Cause;

const IMMUTABLE: &str = "field is immutable";

/// Which unchangeable fields a change would change.
pub(crate) fn changed(served: &Served, before: &Value, after: &Value) -> Vec<Cause> {
    let fields: &[&str] = match (served.group.as_str(), served.kind.as_str()) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => &["/spec/selector"],
        ("batch", "Job") => &["/spec/selector", "/spec/template", "/spec/completionMode"],
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &["/roleRef"],
        ("storage.k8s.io", "StorageClass") => &[
            "/provisioner",
            "/parameters",
            "/reclaimPolicy",
            "/volumeBindingMode",
        ],
        ("scheduling.k8s.io", "PriorityClass") => &["/value"],
        ("", "Secret") => &["/type"],
        ("", "Service") => return service(before, after),
        ("", "PersistentVolumeClaim") => return claim(before, after),
        ("", "PersistentVolume") => &["/spec/csi", "/spec/volumeMode"],
        ("", "Pod") => return pod(before, after),
        ("apps", "StatefulSet") => return stateful_set(before, after),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &[
            "/spec/group",
            "/spec/scope",
            "/spec/names/kind",
            "/spec/names/plural",
        ],
        _ => &[],
    };
    let mut causes: Vec<Cause> = fields
        .iter()
        .filter(|field| before.pointer(field) != after.pointer(field))
        .map(|field| still(field, after))
        .collect();
    causes.extend(frozen(served, before, after));
    causes
}

fn still(pointer: &str, after: &Value) -> Cause {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let value = after.pointer(pointer).cloned().unwrap_or_default();
    Cause::invalid(field, &value, IMMUTABLE)
}

/// Maps and secrets can be frozen for good.
fn frozen(served: &Served, before: &Value, after: &Value) -> Vec<Cause> {
    let can = matches!(served.kind.as_str(), "ConfigMap" | "Secret") && served.group.is_empty();
    if !can || before.get("immutable") != Some(&Value::Bool(true)) {
        return Vec::new();
    }
    ["immutable", "data", "binaryData"]
        .iter()
        .filter(|field| before.get(**field) != after.get(**field))
        .map(|field| Cause::forbidden(*field, "field is immutable when `immutable` is set"))
        .collect()
}

fn service(before: &Value, after: &Value) -> Vec<Cause> {
    let sort = |service: &Value| {
        service
            .pointer("/spec/type")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let external = Some("ExternalName".to_owned());
    if sort(before) == external || sort(after) == external {
        return Vec::new();
    }
    let address = |service: &Value| service.pointer("/spec/clusterIP").cloned().unwrap_or_default();
    if address(before) == address(after) || address(before).as_str().is_none_or(str::is_empty) {
        return Vec::new();
    }
    vec![Cause::invalid(
        "spec.clusterIPs[0]",
        &address(after),
        "may not change once set",
    )]
}

/// Of a claim only the size may grow, and the attributes class change.
fn claim(before: &Value, after: &Value) -> Vec<Cause> {
    let rest = |claim: &Value| {
        let mut spec = claim.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("resources");
            spec.remove("volumeAttributesClassName");
        }
        spec
    };
    let mut was = rest(before);
    let is = rest(after);
    // The volume is filled in when the claim is bound.
    if was.get("volumeName").is_none()
        && let (Some(was), Some(volume)) = (was.as_object_mut(), is.get("volumeName"))
    {
        was.insert("volumeName".to_owned(), volume.clone());
    }
    if was == is {
        return Vec::new();
    }
    vec![Cause::forbidden(
        "spec",
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
         claims",
    )]
}

/// Of a pod only images, deadlines, tolerations and gates may change; its node is set once.
fn pod(before: &Value, after: &Value) -> Vec<Cause> {
    let rest = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        let Some(fields) = spec.as_object_mut() else {
            return spec;
        };
        for free in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "schedulingGates",
            "nodeName",
            "ephemeralContainers",
        ] {
            fields.remove(free);
        }
        for list in ["containers", "initContainers"] {
            let containers = fields.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        spec
    };
    let node = before.pointer("/spec/nodeName");
    if rest(before) == rest(after) && (node.is_none() || node == after.pointer("/spec/nodeName")) {
        return Vec::new();
    }
    vec![Cause::forbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,\
         `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
         existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
         previously negative)",
    )]
}

fn stateful_set(before: &Value, after: &Value) -> Vec<Cause> {
    let rest = |set: &Value| {
        let mut spec = set.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            for free in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                spec.remove(free);
            }
        }
        spec
    };
    if rest(before) == rest(after) {
        return Vec::new();
    }
    vec![Cause::forbidden(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
         'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
         'minReadySeconds' are forbidden",
    )]
}
