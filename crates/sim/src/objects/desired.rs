//! What a step's objects are to be: the manifests, with the labels that say whose they are.

use std::sync::Arc;

use landfall_model::provider::PropertyChange;
use landfall_model::work::{Known, ObjectsWork, Step};
use serde_json::{Map, Value};

use super::{CONTROLS, property};
use crate::cluster::{Key, LABELS};

/// One object as it is to be.
pub(super) struct Desired {
    pub(super) key: Key,
    pub(super) api_version: String,
    pub(super) body: Arc<Value>,
}

/// The names of a step's objects.
pub(super) fn keys(work: &ObjectsWork) -> Vec<Key> {
    let all = work.objects.iter();
    all.map(|one| Key::new(&one.api_version, &one.kind, one.namespace.as_deref(), &one.name))
        .collect()
}

/// Every object of a step, in the order they are applied. The error says which is not known yet.
pub(super) fn all(step: &Step, work: &ObjectsWork) -> Result<Vec<Desired>, String> {
    let mut all = Vec::with_capacity(work.objects.len());
    for object in &work.objects {
        let Known::Value(body) = &object.body else {
            return Err(format!(
                "the {} `{}` still waits for other steps",
                object.kind, object.name
            ));
        };
        let key = Key::new(
            &object.api_version,
            &object.kind,
            object.namespace.as_deref(),
            &object.name,
        );
        let mut body = body.clone();
        mark(&mut body, step, work, &key);
        all.push(Desired {
            key,
            api_version: object.api_version.clone(),
            body: Arc::new(body),
        });
    }
    all.sort_by_key(|one| rank(&one.key));
    Ok(all)
}

fn mark(body: &mut Value, step: &Step, work: &ObjectsWork, key: &Key) {
    let tags = step.tags();
    let metadata = &mut body["metadata"];
    if !key.namespace.is_empty() {
        metadata["namespace"] = key.namespace.as_str().into();
    }
    let labels = map(&mut metadata["labels"]);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "landfall".into());
    for (label, tag) in LABELS {
        if let Some(value) = tags.get(tag) {
            labels.insert(label.to_owned(), value.as_str().into());
        }
    }
    if !work.controls.is_empty() {
        let annotations = map(&mut metadata["annotations"]);
        annotations.insert(CONTROLS.to_owned(), work.controls.join(",").into());
    }
}

fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

/// When an object is applied, among all of a step: what others need comes first.
fn rank(key: &Key) -> u8 {
    match key.kind.as_str() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" | "ConfigMap"
        | "Secret" | "StorageClass" | "PriorityClass" | "IngressClass" => 2,
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Pod" | "Job" | "CronJob" => 3,
        _ if key.group.contains('.') && !key.group.ends_with(".k8s.io") => 5,
        _ if key.group == "gateway.networking.k8s.io" => 5,
        _ => 4,
    }
}

/// What of an object would change: where it is not as it is to be, and what was applied before and is no
/// longer wanted. Fields that others have added are theirs.
pub(super) fn differences(
    path: &str,
    wanted: &Value,
    live: &Value,
    before: &Value,
    found: &mut Vec<PropertyChange>,
) {
    let (Value::Object(wanted_map), Value::Object(live_map)) = (wanted, live) else {
        if wanted != live {
            found.push(property(path, live, wanted));
        }
        return;
    };
    let nothing = Value::Null;
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    for (key, wanted) in wanted_map {
        let live = live_map.get(key).unwrap_or(&nothing);
        if wanted != live {
            let before = before.get(key).unwrap_or(&nothing);
            differences(&below(key), wanted, live, before, found);
        }
    }
    for (key, _) in before.as_object().into_iter().flatten() {
        if let (None, Some(live)) = (wanted_map.get(key), live_map.get(key)) {
            found.push(property(&below(key), live, &nothing));
        }
    }
}
