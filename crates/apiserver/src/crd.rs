//! Custom resource definitions: the kinds they bring, and when they are served.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::managed::seconds;
use crate::message::Key;
use crate::rules::Rules;
use crate::served::{Custom, Served};
use crate::server::ApiServer;
use crate::table::Column;

/// The finalizer that lets the instances of a definition go before it.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "CustomResourceDefinition";

impl ApiServer {
    /// What follows from a write: a definition brings its kinds.
    pub(crate) fn after_write(&mut self, key: &Key, now: Timestamp) {
        if key.group != GROUP || key.kind != KIND {
            return;
        }
        let Some(definition) = self.store.get(key).cloned() else {
            return;
        };
        if is_true(&definition, "Established") {
            self.serve_definition(&definition);
            return;
        }
        if self.pending.contains_key(key) {
            return;
        }
        let from = match &mut self.hooks {
            Some(hooks) => hooks.establishes(&definition, now),
            None => now,
        };
        self.pending.insert(key.clone(), from);
        self.establish_due(now);
    }

    /// Establishes the definitions whose time has come. Whether there were any.
    pub(crate) fn establish_due(&mut self, now: Timestamp) -> bool {
        let due: Vec<Key> = self
            .pending
            .iter()
            .filter(|(_, from)| **from <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &due {
            self.pending.remove(key);
            self.establish(key, now);
        }
        !due.is_empty()
    }

    fn establish(&mut self, key: &Key, now: Timestamp) {
        let Some(definition) = self.store.get(key).cloned() else {
            return;
        };
        let spec = definition.get("spec").cloned().unwrap_or_default();
        let served = read(&definition);
        let lacking: Vec<String> = served
            .iter()
            .filter_map(|served| served.custom.as_ref())
            .flat_map(|custom| custom.rules.lacking.clone())
            .collect();
        let time = seconds(now);
        let condition = |sort: &str, holds: bool, reason: &str, message: &str| {
            json!({
                "type": sort,
                "status": if holds { "True" } else { "False" },
                "lastTransitionTime": time,
                "reason": reason,
                "message": message,
            })
        };
        let mut conditions = vec![
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
        ];
        if !lacking.is_empty() {
            let message = format!(
                "501: this server does not evaluate these x-kubernetes-validations: {}",
                lacking.join("; ")
            );
            conditions.push(condition("RulesEvaluated", false, "NotImplemented", &message));
        }
        let stored: Vec<&Value> = spec
            .get("versions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
            .filter_map(|version| version.get("name"))
            .collect();
        let status = json!({
            "conditions": conditions,
            "acceptedNames": spec.get("names").cloned().unwrap_or_default(),
            "storedVersions": stored,
        });
        self.set_status("kube-apiserver", key, status, now);
        // Writing the status has already led here when it changed; it always does.
        if let Some(definition) = self.store.get(key).cloned() {
            self.serve_definition(&definition);
        }
    }

    fn serve_definition(&mut self, definition: &Value) {
        let served = read(definition);
        let (group, plural) = names(definition);
        self.registry
            .put(&group, &plural, served.into_iter().map(Arc::new).collect());
    }

    /// Stops serving the kinds of a definition that is gone.
    pub(crate) fn after_removal(&mut self, key: &Key, last: &Value) {
        if key.group == GROUP && key.kind == KIND {
            let (group, plural) = names(last);
            self.registry.take(&group, &plural);
            self.pending.remove(key);
        }
        if key.group.is_empty() && key.kind == "Pod" {
            self.logs.remove(key);
        }
    }
}

/// Whether a condition of an object holds.
pub(crate) fn is_true(object: &Value, condition: &str) -> bool {
    object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|one| {
            one.get("type").and_then(Value::as_str) == Some(condition)
                && one.get("status").and_then(Value::as_str) == Some("True")
        })
}

/// Group and plural of a definition.
fn names(definition: &Value) -> (String, String) {
    let text = |pointer: &str| {
        definition
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    (
        text("/spec/group").to_owned(),
        text("/spec/names/plural").to_owned(),
    )
}

/// The group and kind whose instances a definition brings.
pub(crate) fn instances(definition: &Value) -> (String, String) {
    let text = |pointer: &str| {
        definition
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    (
        text("/spec/group").to_owned(),
        text("/spec/names/kind").to_owned(),
    )
}

/// The served versions of a definition.
fn read(definition: &Value) -> Vec<Served> {
    let spec = definition.get("spec").cloned().unwrap_or_default();
    let text = |value: &Value, pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let list = |pointer: &str| -> Vec<String> {
        let items = spec.pointer(pointer).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let versions = spec.get("versions").and_then(Value::as_array);
    let versions: Vec<&Value> = versions.into_iter().flatten().collect();
    let storage = versions
        .iter()
        .find(|version| version.get("storage") == Some(&Value::Bool(true)))
        .map(|version| text(version, "/name"))
        .unwrap_or_default();
    let needs_webhook = text(&spec, "/conversion/strategy") == "Webhook";
    versions
        .into_iter()
        .filter(|version| version.get("served") == Some(&Value::Bool(true)))
        .map(|version| {
            let schema = version
                .pointer("/schema/openAPIV3Schema")
                .cloned()
                .unwrap_or_default();
            let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
            let deprecated = version.get("deprecated") == Some(&Value::Bool(true));
            let name = text(version, "/name");
            Served {
                group: text(&spec, "/group"),
                kind: text(&spec, "/names/kind"),
                plural: text(&spec, "/names/plural"),
                singular: text(&spec, "/names/singular"),
                short_names: list("/names/shortNames"),
                categories: list("/names/categories"),
                namespaced: text(&spec, "/scope") == "Namespaced",
                status: version.pointer("/subresources/status").is_some(),
                scale: version.pointer("/subresources/scale").is_some(),
                custom: Some(Custom {
                    spec_replicas: pointer(&text(version, "/subresources/scale/specReplicasPath")),
                    status_replicas: pointer(&text(version, "/subresources/scale/statusReplicasPath")),
                    columns: columns.into_iter().flatten().map(Column::read).collect(),
                    rules: Rules::read(&schema),
                    convertible: !needs_webhook || name == storage,
                    storage: storage.clone(),
                    deprecated: deprecated.then(|| {
                        format!(
                            "{}/{name} {} is deprecated",
                            text(&spec, "/group"),
                            text(&spec, "/names/kind")
                        )
                    }),
                }),
                schema: Arc::new(schema),
                version: name,
            }
        })
        .collect()
}

/// `.spec.replicas` as `/spec/replicas`.
fn pointer(path: &str) -> String {
    path.replace('.', "/")
}
