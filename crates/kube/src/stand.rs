//! What stands of a step, told to the engine: how to find it again, what it gives, when it has changed.

use std::collections::BTreeMap;

use landfall_model::definition::StepKind;
use landfall_model::provider::{Outputs, Owned};
use landfall_model::work::ObjectsWork;
use serde_json::{Value, json};

use crate::applyset::Set;
use crate::digest;
use crate::discovery::Discovery;
use crate::key::Key;

/// Kinds a controller elsewhere may have to clean up after.
const LOOKED_AFTER: &[&str] = &["Ingress", "PersistentVolumeClaim"];

/// Where a step's objects stand.
pub(crate) struct Standing<'a> {
    pub(crate) set: &'a Set,
    pub(crate) cluster: &'a str,
    pub(crate) region: &'a str,
    /// Kinds of objects that these look after.
    pub(crate) controls: Vec<String>,
}

impl Standing<'_> {
    /// How to find a step's objects again.
    pub(crate) fn owned(mut self, objects: &BTreeMap<Key, Value>) -> Owned {
        let mut list = Vec::new();
        let mut holds = Vec::new();
        for (key, object) in objects {
            list.push(json!({
                "apiVersion": object["apiVersion"],
                "kind": key.kind,
                "namespace": (!key.namespace.is_empty()).then_some(&key.namespace),
                "name": key.name,
            }));
            holds.extend(held(key, object));
            if makes_anything(key) {
                holds.push(Owned::ANYTHING.to_owned());
            }
        }
        for list in [&mut holds, &mut self.controls] {
            list.sort();
            list.dedup();
        }
        let address = json!({
            "platform": self.set.platform, "cluster": self.cluster, "region": self.region, "objects": list,
        });
        Owned {
            holds,
            controls: self.controls,
            ..Owned::new(self.set.step.clone(), StepKind::Objects, address)
        }
    }
}

/// Whether objects of its kind make objects of any kind, at any time.
fn makes_anything(key: &Key) -> bool {
    matches!(
        (key.group.as_str(), key.kind.as_str()),
        ("argoproj.io", "Application" | "ApplicationSet")
            | ("helm.toolkit.fluxcd.io", "HelmRelease")
            | ("kustomize.toolkit.fluxcd.io", "Kustomization")
    )
}

/// The kind of an object that a controller may have to clean up after.
fn held(key: &Key, object: &Value) -> Option<String> {
    let matters = LOOKED_AFTER.contains(&key.kind.as_str())
        || key.is_custom()
        || key.kind == "Service" && object["spec"]["type"] == "LoadBalancer";
    if matters {
        return Some(key.kind.clone());
    }
    let claims = &object["spec"]["volumeClaimTemplates"];
    let has_claims = key.kind == "StatefulSet" && claims.as_array().is_some_and(|list| !list.is_empty());
    has_claims.then(|| "PersistentVolumeClaim".to_owned())
}

/// Changes whenever the objects do, and not when only their status does.
pub(crate) fn fingerprint(objects: &BTreeMap<Key, Value>) -> String {
    let sum = objects.iter().fold(0_u64, |sum, (key, object)| {
        let metadata = &object["metadata"];
        let version = match (&metadata["generation"], key.kind.as_str()) {
            (Value::Number(generation), _) => generation.to_string(),
            // A digest of a secret would tell something about it.
            (_, "Secret") => metadata["resourceVersion"].to_string(),
            _ => content(object).to_string(),
        };
        let deleting = !metadata["deletionTimestamp"].is_null();
        let text = format!(
            "{}/{}/{}/{}/{deleting}/{version}",
            key.group,
            key.kind,
            key.place(),
            metadata["uid"]
        );
        sum.wrapping_add(digest::number(&text))
    });
    format!("APPLIED@{} objects@{sum:016x}", objects.len())
}

/// An object without what the server keeps about it.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.shift_remove("metadata");
        fields.shift_remove("status");
    }
    content
}

/// Fields of the metadata that only the server writes.
pub(crate) const SERVERS: [&str; 8] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Whether two states of an object differ only in what the server keeps about it.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    let plain = |object: &Value| {
        let mut labels_and_more = object["metadata"].clone();
        if let Some(fields) = labels_and_more.as_object_mut() {
            fields.retain(|field, _| !SERVERS.contains(&field.as_str()));
        }
        (labels_and_more, content(object))
    };
    plain(one) == plain(other)
}

/// The first object of a kind and name in the manifests.
pub(crate) fn key_of_output(
    discovery: &Discovery,
    work: &ObjectsWork,
    kind: &str,
    name: &str,
) -> Option<Key> {
    let mut objects = work.objects.iter();
    let one = objects.find(|one| one.kind == kind && one.name == name)?;
    Some(discovery.key(&one.api_version, kind, one.namespace.as_deref(), name))
}

/// What a step gives, as far as the objects have it yet.
pub(crate) fn outputs(discovery: &Discovery, work: &ObjectsWork, objects: &BTreeMap<Key, Value>) -> Outputs {
    let found = work.outputs.iter().filter_map(|(name, output)| {
        let (kind, object) = output.of.split_once('/')?;
        let mut value = objects.get(&key_of_output(discovery, work, kind, object)?)?;
        for part in output.path.split('.') {
            value = match part.parse::<usize>() {
                Ok(number) if value.is_array() => value.get(number)?,
                _ => value.get(part)?,
            };
        }
        (!value.is_null()).then(|| (name.clone(), value.clone()))
    });
    found.collect()
}
