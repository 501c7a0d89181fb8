//! What a step's objects are to be: the manifests, with the labels that say whose they are.

use k8s_openapi::ByteString;
use landfall_model::work::{Known, ObjectsWork, Step};
use serde_json::{Map, Value};

use crate::applyset::Set;
use crate::discovery::Discovery;
use crate::key::Key;

/// One object as it is to be.
#[derive(Clone)]
pub(crate) struct Desired {
    pub(crate) key: Key,
    pub(crate) api_version: String,
    /// As the manifest names it, whether the kind has one or not.
    namespace: Option<String>,
    pub(crate) body: Value,
}

/// The annotation of a Job that runs when its step is removed.
const RUN: &str = "landfall.dev/run";

/// Whether an object is a Job that runs when its step is removed, and not before.
pub(crate) fn runs_on_removal(object: &Value) -> bool {
    object["kind"] == "Job" && object["metadata"]["annotations"][RUN] == "on-removal"
}

/// The names of a step's objects.
pub(crate) fn keys(work: &ObjectsWork, discovery: &Discovery) -> Vec<Key> {
    work.objects
        .iter()
        .map(|one| discovery.key(&one.api_version, &one.kind, one.namespace.as_deref(), &one.name))
        .collect()
}

/// Every object of a step, in the order in which they are applied. The error says which is not known yet.
pub(crate) fn all(step: &Step, work: &ObjectsWork, discovery: &Discovery) -> Result<Vec<Desired>, String> {
    let set = Set::of(step);
    let mut all = Vec::with_capacity(work.objects.len());
    for object in &work.objects {
        let Known::Value(body) = &object.body else {
            return Err(format!(
                "the {} `{}` still waits for other steps",
                object.kind, object.name
            ));
        };
        let mut one = Desired {
            key: Key::default(),
            api_version: object.api_version.clone(),
            namespace: object.namespace.clone(),
            body: body.clone(),
        };
        one.key = discovery.key(
            &object.api_version,
            &object.kind,
            object.namespace.as_deref(),
            &object.name,
        );
        one.mark(&set);
        all.push(one);
    }
    all.sort_by_key(|one| rank(&one.key));
    Ok(all)
}

impl Desired {
    /// Names it anew, once the cluster knows its kind.
    pub(crate) fn known_to(&mut self, discovery: &Discovery) {
        let key = discovery.key(
            &self.api_version,
            &self.key.kind,
            self.namespace.as_deref(),
            &self.key.name,
        );
        if key != self.key {
            self.key = key;
            self.place();
        }
    }

    /// Writes into it where it is.
    fn place(&mut self) {
        let metadata = map(&mut self.body["metadata"]);
        match self.key.namespace.as_str() {
            "" => metadata.shift_remove("namespace"),
            namespace => metadata.insert("namespace".to_owned(), namespace.into()),
        };
    }

    fn mark(&mut self, set: &Set) {
        self.place();
        if let Some(body) = self.body.as_object_mut() {
            body.shift_remove("status");
        }
        let metadata = map(&mut self.body["metadata"]);
        // What only a server may say: manifests that were saved from a cluster have it.
        for field in [
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "generation",
            "selfLink",
        ] {
            metadata.shift_remove(field);
        }
        let labels = map(metadata.entry("labels").or_insert(Value::Null));
        for (label, value) in set.labels() {
            labels.insert(label.to_owned(), value.into());
        }
        labels.insert(crate::applyset::PART_OF.to_owned(), set.id().into());
        if runs_on_removal(&self.body) {
            self.body["spec"]["suspend"] = true.into();
        }
        if self.key.kind == "Secret" && self.key.group.is_empty() {
            self.encode();
        }
    }

    /// Writes `stringData` of a Secret as the server keeps it: of what is only ever written, nobody could take
    /// anything away again.
    fn encode(&mut self) {
        let Some(Value::Object(texts)) = self.body.get_mut("stringData").map(Value::take) else {
            return;
        };
        let (texts, strange): (Map<_, _>, Map<_, _>) =
            texts.into_iter().partition(|(_, value)| value.is_string());
        let data = map(&mut self.body["data"]);
        for (key, text) in texts {
            let bytes = text.as_str().unwrap_or_default().as_bytes().to_vec();
            data.insert(key, serde_json::json!(ByteString(bytes)));
        }
        if let Some(body) = self.body.as_object_mut() {
            body.shift_remove("stringData");
            // What is no text is left for the server to refuse.
            if !strange.is_empty() {
                body.insert("stringData".to_owned(), Value::Object(strange));
            }
        }
    }
}

fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

/// The rank of definitions: what comes after them may be of kinds that they define.
pub(crate) const DEFINITIONS: u8 = 1;

/// When an object is applied, among all of a step: what others need comes first.
pub(crate) fn rank(key: &Key) -> u8 {
    match key.kind.as_str() {
        "Namespace" => 0,
        "CustomResourceDefinition" => DEFINITIONS,
        "ServiceAccount"
        | "Role"
        | "RoleBinding"
        | "ClusterRole"
        | "ClusterRoleBinding"
        | "ConfigMap"
        | "Secret"
        | "StorageClass"
        | "PriorityClass"
        | "IngressClass"
        | "ResourceQuota"
        | "LimitRange"
        | "PersistentVolumeClaim" => 2,
        _ if key.is_custom() => 6,
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Pod" | "Job" | "CronJob" => 4,
        "APIService" => 5,
        kind if kind.contains("Webhook") || kind.contains("AdmissionPolicy") => 5,
        _ => 3,
    }
}
