//! The API server of a cluster: what it takes, what it refuses, and what becomes of what is deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Cluster, Controller, Key, Object, Pods, Status};
use crate::durations;
use crate::random::Random;

/// Why the API server does not take an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In its words.
    pub(crate) reason: String,
    /// Whether that may pass with time.
    pub(crate) passes: bool,
}

/// What came of applying an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Made,
    Changed,
    Same,
}

/// Groups of kinds that every cluster has; those that end in `.k8s.io` without being named here do not.
const EVERYONES: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Namespaces that every cluster has.
const NAMESPACES: &[&str] = &["", "default", "kube-system", "kube-public", "kube-node-lease"];

/// The finalizer of claims, which the cluster itself sees to.
pub(crate) const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";

impl Cluster {
    /// Why an object cannot be made or changed now.
    pub(crate) fn refuses(&self, key: &Key, api_version: &str, now: u64) -> Option<Refusal> {
        let passing = |reason: String| Some(Refusal { reason, passes: true });
        if self.status != Status::Active {
            return passing(format!("the cluster {} does not answer", self.name));
        }
        if !self.knows(key, now) {
            return passing(format!(
                "no matches for kind \"{}\" in version \"{api_version}\"",
                key.kind
            ));
        }
        let namespace = Key::new("v1", "Namespace", None, &key.namespace);
        match self.objects.get(&namespace) {
            None if !NAMESPACES.contains(&key.namespace.as_str()) => {
                return Some(Refusal {
                    reason: format!("namespaces \"{}\" not found", key.namespace),
                    passes: false,
                });
            }
            Some(object) if object.deleting.is_some() && !self.objects.contains_key(key) => {
                return passing(format!(
                    "{} \"{}\" is forbidden: unable to create new content in namespace {} because it is being terminated",
                    key.kind.to_lowercase(),
                    key.name,
                    key.namespace
                ));
            }
            _ => {}
        }
        if self
            .objects
            .get(key)
            .is_some_and(|object| object.deleting.is_some())
        {
            return passing(format!(
                "object is being deleted: {} \"{}\" already exists",
                key.kind, key.name
            ));
        }
        self.webhook_in_the_way(key, now).and_then(passing)
    }

    /// Whether the cluster knows objects of this kind: it always does, a definition of it is established,
    /// or a controller has brought it along.
    fn knows(&self, key: &Key, now: u64) -> bool {
        if EVERYONES.contains(&key.group.as_str()) {
            return true;
        }
        let brought = Controller::ALL.into_iter().any(|controller| {
            controller.brings().contains(&key.group.as_str())
                && (self.workloads(controller).next().is_some() || self.addons.contains(controller.name()))
        });
        brought
            || self.objects.iter().any(|(other, definition)| {
                other.kind == "CustomResourceDefinition"
                    && definition.ready_at <= now
                    && definition.deleting.is_none()
                    && definition.spec()["group"] == key.group.as_str()
                    && definition.spec()["names"]["kind"] == key.kind.as_str()
            })
    }

    /// A webhook that has to be asked about this kind, and whose pods do not run.
    fn webhook_in_the_way(&self, key: &Key, now: u64) -> Option<String> {
        let configurations = self.objects.iter().filter(|(other, one)| {
            matches!(
                other.kind.as_str(),
                "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration"
            ) && one.deleting.is_none()
        });
        let plural = plural(&key.kind);
        for (_, configuration) in configurations {
            for webhook in configuration.body["webhooks"].as_array().into_iter().flatten() {
                if webhook["failurePolicy"] == "Ignore" || !judges(webhook, &key.group, &plural) {
                    continue;
                }
                let service = &webhook["clientConfig"]["service"];
                let (Some(name), Some(namespace)) = (service["name"].as_str(), service["namespace"].as_str())
                else {
                    continue;
                };
                let answers = self.objects.iter().any(|(other, workload)| {
                    other.namespace == namespace
                        && workload.pods.are_ready(now)
                        && workload.deleting.is_none()
                        && (other.name == name
                            || workload.label("app.kubernetes.io/name") == Some(name)
                            || name.starts_with(&other.name))
                });
                if !answers {
                    return Some(format!(
                        "Internal error occurred: failed calling webhook \"{}\": failed to call webhook: Post \"https://{name}.{namespace}.svc:443{}?timeout=10s\": dial tcp: connect: connection refused",
                        webhook["name"].as_str().unwrap_or_default(),
                        service["path"].as_str().unwrap_or("/"),
                    ));
                }
            }
        }
        None
    }

    /// Makes or changes an object.
    pub(crate) fn put(
        &mut self,
        key: &Key,
        body: &Arc<Value>,
        by_landfall: bool,
        owner: Option<Key>,
        seed: u64,
        now: u64,
    ) -> Put {
        if let Some(object) = self.objects.get_mut(key) {
            if let Pods::Failing(_) = object.pods {
                // Tried again: as if somebody had mended what was wrong.
                object.pods = Pods::Pending("it was just applied again".to_owned());
            }
            let before = object.applied.clone();
            if by_landfall {
                object.applied = Some(body.clone());
            }
            let mut merged = object.body.as_ref().clone();
            if let Some(before) = before.filter(|before| before != body) {
                prune(&mut merged, &before, body);
            }
            merge(&mut merged, body);
            if merged == *object.body {
                return Put::Same;
            }
            object.body = Arc::new(merged);
            object.generation += 1;
            return Put::Changed;
        }
        self.made += 1;
        let mut random = Random::of(seed, &["object", &self.name, &key.kind, &key.name]);
        let defines = key.kind == "CustomResourceDefinition";
        let ready_in = defines
            .then(|| durations::typical_ms(&key.kind, false))
            .flatten()
            .unwrap_or(0);
        let listed = body["metadata"]["finalizers"].as_array().into_iter().flatten();
        let mut finalizers: BTreeSet<String> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
        if key.kind == "PersistentVolumeClaim" {
            finalizers.insert(PVC_PROTECTION.to_owned());
        }
        let has_pods = matches!(
            key.kind.as_str(),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Pod" | "Job"
        );
        self.objects.insert(
            key.clone(),
            Object {
                body: body.clone(),
                applied: by_landfall.then(|| body.clone()),
                status: Value::Null,
                uid: self.made,
                generation: 1,
                finalizers,
                deleting: None,
                owner,
                pods: if has_pods {
                    Pods::Pending("it was just made".to_owned())
                } else {
                    Pods::None
                },
                ready_at: now + random.about(ready_in, 30),
            },
        );
        Put::Made
    }

    /// Begins to delete an object. What is in a namespace, or of a kind that is defined, goes with it.
    pub(crate) fn delete(&mut self, key: &Key, now: u64) {
        if let Some(object) = self.objects.get_mut(key) {
            object.deleting.get_or_insert(now);
            self.settle(now);
        }
    }

    /// Lets everything go that is being deleted and that nothing holds back.
    pub(crate) fn settle(&mut self, now: u64) {
        loop {
            for key in self.dragged_along() {
                if let Some(object) = self.objects.get_mut(&key) {
                    object.deleting.get_or_insert(now);
                }
            }
            let going: Vec<Key> = self
                .objects
                .iter()
                .filter(|(key, object)| {
                    object.deleting.is_some() && object.finalizers.is_empty() && !self.holds_something(key)
                })
                .map(|(key, _)| key.clone())
                .collect();
            if going.is_empty() {
                return;
            }
            for key in going {
                self.objects.remove(&key);
            }
        }
    }

    /// What goes because something else does, and does not know it yet.
    fn dragged_along(&self) -> Vec<Key> {
        let going: Vec<(&Key, &Object)> = self
            .objects
            .iter()
            .filter(|(key, object)| {
                object.deleting.is_some()
                    && matches!(key.kind.as_str(), "Namespace" | "CustomResourceDefinition")
            })
            .collect();
        if going.is_empty() {
            return Vec::new();
        }
        let drags = |key: &Key| {
            going.iter().any(|(other, object)| match other.kind.as_str() {
                "Namespace" => key.namespace == other.name,
                _ => {
                    object.spec()["group"] == key.group.as_str()
                        && object.spec()["names"]["kind"] == key.kind.as_str()
                }
            })
        };
        self.objects
            .iter()
            .filter(|(key, object)| object.deleting.is_none() && drags(key))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Whether something is left in a namespace, or of a kind that is defined.
    fn holds_something(&self, key: &Key) -> bool {
        match key.kind.as_str() {
            "Namespace" => self.objects.keys().any(|other| other.namespace == key.name),
            "CustomResourceDefinition" => {
                let Some(definition) = self.objects.get(key) else {
                    return false;
                };
                let spec = definition.spec();
                self.objects.keys().any(|other| {
                    spec["group"] == other.group.as_str() && spec["names"]["kind"] == other.kind.as_str()
                })
            }
            _ => false,
        }
    }
}

/// Whether a webhook has to be asked about objects of a group and kind.
fn judges(webhook: &Value, group: &str, plural: &str) -> bool {
    let has = |list: &Value, one: &str| {
        let mut items = list.as_array().into_iter().flatten();
        items.any(|item| item == one || item == "*" || item.as_str().is_some_and(|item| item == "*/*"))
    };
    let mut rules = webhook["rules"].as_array().into_iter().flatten();
    rules.any(|rule| has(&rule["apiGroups"], group) && has(&rule["resources"], plural))
}

/// The name of a kind among resources: what `kubectl` calls it.
fn plural(kind: &str) -> String {
    let word = kind.to_lowercase();
    if let Some(stem) = word.strip_suffix('y')
        && !word.ends_with("ay")
    {
        format!("{stem}ies")
    } else if word.ends_with('s') {
        format!("{word}es")
    } else {
        format!("{word}s")
    }
}

/// Writes what is applied over what stands.
fn merge(live: &mut Value, applied: &Value) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            for (key, value) in applied {
                match live.get_mut(key) {
                    Some(old) => merge(old, value),
                    None => {
                        live.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (live, applied) => {
            if live != applied {
                *live = applied.clone();
            }
        }
    }
}

/// Takes out what was applied before and is not any more.
fn prune(live: &mut Value, before: &Value, now: &Value) {
    if let (Value::Object(live), Value::Object(before)) = (live, before) {
        for (key, old) in before {
            match now.get(key) {
                None => {
                    live.remove(key);
                }
                Some(new) => {
                    if let Some(live) = live.get_mut(key) {
                        prune(live, old, new);
                    }
                }
            }
        }
    }
}
