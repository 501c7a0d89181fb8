//! One Kubernetes object.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_model::work::{TAG_COMPONENT, TAG_PLATFORM, TAG_STEP};
use serde_json::{Value, json};

/// The labels that say whose an object is, with the tags they stand for.
pub(crate) const LABELS: [(&str, &str); 3] = [
    ("landfall.dev/platform", TAG_PLATFORM),
    ("landfall.dev/component", TAG_COMPONENT),
    ("landfall.dev/step", TAG_STEP),
];

/// What names an object in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

/// The group of an API version.
pub(crate) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Kinds that have no namespace, among those everyone has (source: `kubectl api-resources`).
const EVERYWHERE: &[&str] = &[
    "APIService",
    "ClusterRole",
    "ClusterRoleBinding",
    "CSIDriver",
    "CSINode",
    "CustomResourceDefinition",
    "EC2NodeClass",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "NodeClaim",
    "NodePool",
    "PersistentVolume",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

impl Key {
    pub(crate) fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Key {
        let namespace = match namespace {
            _ if EVERYWHERE.contains(&kind) || kind.starts_with("Cluster") => "",
            Some(namespace) => namespace,
            None => "default",
        };
        Key {
            namespace: namespace.to_owned(),
            kind: kind.to_owned(),
            group: group(api_version).to_owned(),
            name: name.to_owned(),
        }
    }

    /// Of an object as it is written.
    pub(crate) fn of(body: &Value) -> Key {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Key::new(
            &text(&body["apiVersion"]),
            &text(&body["kind"]),
            body["metadata"]["namespace"].as_str(),
            &text(&body["metadata"]["name"]),
        )
    }

    /// `Ingress shop/web`.
    pub(crate) fn said(&self) -> String {
        if self.namespace.is_empty() {
            format!("{} {}", self.kind, self.name)
        } else {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// An object as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// What it is, without its status.
    pub(crate) body: Arc<Value>,
    /// What Landfall applied last, when it did.
    pub(crate) applied: Option<Arc<Value>>,
    pub(crate) status: Value,
    /// Which object: a name can be used again.
    pub(crate) uid: u64,
    /// How often it was changed.
    pub(crate) generation: u64,
    pub(crate) finalizers: BTreeSet<String>,
    /// Since when it is being deleted.
    pub(crate) deleting: Option<u64>,
    /// What made it, when that was an object.
    pub(crate) owner: Option<Key>,
    pub(crate) pods: Pods,
    /// When it becomes ready, for what becomes ready by itself.
    pub(crate) ready_at: u64,
}

/// How far the pods of a workload are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pods {
    /// It has none.
    #[default]
    None,
    /// They wait, for what is said.
    Pending(String),
    /// They start, and are ready from some moment on.
    Starting {
        /// When.
        ready_at: u64,
    },
    /// They never become ready, for what is said, until the workload is applied again.
    Failing(String),
}

impl Pods {
    pub(crate) fn are_ready(&self, now: u64) -> bool {
        matches!(self, Pods::Starting { ready_at } if *ready_at <= now)
    }
}

impl Object {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.body["metadata"]["labels"].get(name)?.as_str()
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.body["metadata"]["annotations"].get(name)?.as_str()
    }

    pub(crate) fn spec(&self) -> &Value {
        &self.body["spec"]
    }

    pub(crate) fn api_version(&self) -> &str {
        self.body["apiVersion"].as_str().unwrap_or_default()
    }

    /// The platform with whose tags a controller marks what it makes, when it is told to.
    pub(super) fn marks_with(&self) -> Option<String> {
        fn find(value: &Value) -> Option<String> {
            match value {
                Value::String(text) => {
                    let (_, rest) = text.split_once("landfall:platform")?;
                    let name = rest.trim_start_matches(['"', '=', ':', ' ']);
                    let end = name.find([',', '"', '}', ' ']).unwrap_or(name.len());
                    Some(name[..end].to_owned()).filter(|name| !name.is_empty())
                }
                Value::Array(items) => items.iter().find_map(find),
                Value::Object(map) => map
                    .get(TAG_PLATFORM)
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                    .or_else(|| map.values().find_map(find)),
                _ => None,
            }
        }
        find(&self.body)
    }

    /// Changes what it is.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let mut body = self.body.as_ref().clone();
        change(&mut body);
        if body != *self.body {
            self.body = Arc::new(body);
            self.generation += 1;
        }
    }

    /// The volume claims its pods use: by name in its namespace.
    pub(crate) fn claims(&self, kind: &str) -> Vec<String> {
        let pod = if kind == "Pod" {
            self.spec()
        } else {
            &self.spec()["template"]["spec"]
        };
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let mut claims: Vec<String> = volumes
            .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
            .map(str::to_owned)
            .collect();
        claims.extend(self.own_claims().into_iter().map(|(name, _)| name));
        claims
    }

    /// The volume claims a stateful set makes for its pods: their names and specs.
    pub(crate) fn own_claims(&self) -> Vec<(String, Value)> {
        let spec = self.spec();
        let Some(templates) = spec["volumeClaimTemplates"].as_array() else {
            return Vec::new();
        };
        let set = self.body["metadata"]["name"].as_str().unwrap_or_default();
        let replicas = spec["replicas"].as_u64().unwrap_or(1);
        let mut claims = Vec::new();
        for template in templates {
            let name = template["metadata"]["name"].as_str().unwrap_or_default();
            for number in 0..replicas {
                claims.push((format!("{name}-{set}-{number}"), template["spec"].clone()));
            }
        }
        claims
    }

    /// The address a controller gave it.
    pub(crate) fn set_hostname(&mut self, kind: &str, hostname: &str) {
        self.status = if kind == "Gateway" {
            json!({
                "addresses": [{ "type": "Hostname", "value": hostname }],
                "conditions": [{ "type": "Programmed", "status": "True" }],
            })
        } else {
            json!({ "loadBalancer": { "ingress": [{ "hostname": hostname }] } })
        };
    }

    pub(crate) fn has_hostname(&self) -> bool {
        self.status["loadBalancer"]["ingress"][0]["hostname"].is_string()
            || self.status["addresses"][0]["value"].is_string()
    }
}
