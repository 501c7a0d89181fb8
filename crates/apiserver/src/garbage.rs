//! Deleting: finalizers, owners, namespaces, definitions and claims.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::crd;
use crate::managed::seconds;
use crate::message::Key;
use crate::server::ApiServer;

/// What becomes of the objects an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay, and belong to nobody.
    Orphan,
}

impl Propagation {
    fn finalizer(self) -> Option<&'static str> {
        match self {
            Propagation::Background => None,
            Propagation::Foreground => Some("foregroundDeletion"),
            Propagation::Orphan => Some("orphan"),
        }
    }
}

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn uid(object: &Value) -> &str {
    object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl ApiServer {
    /// Begins to delete an object: it is gone at once, or waits for its finalizers.
    pub(crate) fn begin_deletion(&mut self, key: &Key, how: Option<Propagation>, now: Timestamp) {
        let Some(object) = self.store.get(key) else { return };
        let mut object = (**object).clone();
        let how = how.unwrap_or(Propagation::Background);
        let was_deleting = is_deleting(&object);
        let mut changed = false;
        if !was_deleting {
            object["metadata"]["deletionTimestamp"] = seconds(now).into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if object.pointer("/metadata/generation").is_some() {
                let generation = object["metadata"]["generation"].as_u64().unwrap_or(1);
                object["metadata"]["generation"] = (generation + 1).into();
            }
            changed = true;
        }
        if let Some(finalizer) = how.finalizer()
            && !finalizers(&object).any(|it| it == finalizer)
        {
            let mut all: Vec<Value> = finalizers(&object).map(Value::from).collect();
            all.push(finalizer.into());
            object["metadata"]["finalizers"] = all.into();
            changed = true;
        }
        if key.group.is_empty() && key.kind == "Namespace" {
            object["status"]["phase"] = "Terminating".into();
            // A namespace ends by being settled, never at once.
            if changed {
                self.store.put(key.clone(), object);
            }
            return;
        }
        if finalizers(&object).next().is_none() {
            self.let_go(key);
        } else if changed {
            self.store.put(key.clone(), object);
        }
    }

    /// Removes an object for good.
    pub(crate) fn let_go(&mut self, key: &Key) {
        if let Some(last) = self.store.remove(key) {
            self.after_removal(key, &last);
        }
    }

    /// Removes an object that was only waiting for its finalizers, if none is left.
    pub(crate) fn finish_deletion(&mut self, key: &Key, _now: Timestamp) {
        let Some(object) = self.store.get(key) else { return };
        let is_namespace = key.group.is_empty() && key.kind == "Namespace";
        let waits = is_namespace
            && object
                .pointer("/spec/finalizers")
                .and_then(Value::as_array)
                .is_some_and(|it| !it.is_empty());
        if is_deleting(object) && finalizers(object).next().is_none() && !waits {
            self.let_go(key);
        }
    }

    pub(crate) fn take_finalizer(&mut self, key: &Key, finalizer: &str, now: Timestamp) {
        let Some(object) = self.store.get(key) else { return };
        let left: Vec<Value> = finalizers(object)
            .filter(|it| *it != finalizer)
            .map(Value::from)
            .collect();
        if left.len() == finalizers(object).count() {
            return;
        }
        let mut object = (**object).clone();
        if left.is_empty() {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("finalizers");
            }
        } else {
            object["metadata"]["finalizers"] = left.into();
        }
        self.store.put(key.clone(), object);
        self.finish_deletion(key, now);
    }

    /// Does what a cluster does by itself with what is deleted: owned objects follow their owners,
    /// namespaces and definitions take their content along, claims wait for their pods. Also
    /// establishes definitions whose time has come. Until nothing moves.
    pub fn settle(&mut self, now: Timestamp) {
        if !self.pending.is_empty() {
            self.establish_due(now);
        }
        while self.store.take_unsettled() {
            self.collect_owned(now);
            self.end_owners(now);
            self.end_namespaces(now);
            self.end_definitions(now);
            self.end_claims(now);
        }
    }

    /// Deletes objects all of whose owners are gone.
    fn collect_owned(&mut self, now: Timestamp) {
        let lost: Vec<Key> = self
            .store
            .iter()
            .filter(|(_, object)| !is_deleting(object))
            .filter(|(key, object)| {
                let mut all = owners(object).peekable();
                all.peek().is_some() && all.all(|owner| self.owner_is_gone(owner, key))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in lost {
            self.begin_deletion(&key, None, now);
        }
    }

    fn owner_is_gone(&self, owner: &Value, owned: &Key) -> bool {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        // Who owns things of a kind nobody knows cannot be looked up, so nothing follows.
        let Some(served) = self.registry.by_kind(text("apiVersion"), text("kind")) else {
            return false;
        };
        let namespace = if served.namespaced {
            owned.namespace.as_str()
        } else {
            ""
        };
        let key = Key::new(&served.group, &served.kind, namespace, text("name"));
        self.store.get(&key).is_none_or(|found| uid(found) != text("uid"))
    }

    /// Owners that wait for what they own, and owners that let it go free.
    fn end_owners(&mut self, now: Timestamp) {
        let waiting: HashMap<String, (Key, Propagation)> = self
            .store
            .iter()
            .filter(|(_, object)| is_deleting(object))
            .filter_map(|(key, object)| {
                let how = finalizers(object).find_map(|finalizer| match finalizer {
                    "foregroundDeletion" => Some(Propagation::Foreground),
                    "orphan" => Some(Propagation::Orphan),
                    _ => None,
                })?;
                Some((uid(object).to_owned(), (key.clone(), how)))
            })
            .collect();
        if waiting.is_empty() {
            return;
        }
        let owned: Vec<(Key, String)> = self
            .store
            .iter()
            .flat_map(|(key, object)| owners(object).map(move |owner| (key, owner)))
            .filter_map(|(key, owner)| {
                let uid = owner.get("uid").and_then(Value::as_str)?;
                waiting.contains_key(uid).then(|| (key.clone(), uid.to_owned()))
            })
            .collect();
        for (key, owner) in &owned {
            match waiting.get(owner) {
                Some((_, Propagation::Orphan)) => self.set_free(key, owner),
                Some(_) => {
                    let deleting = self.store.get(key).is_some_and(|object| is_deleting(object));
                    if !deleting {
                        self.begin_deletion(key, Some(Propagation::Foreground), now);
                    }
                }
                None => {}
            }
        }
        for (uid, (key, how)) in &waiting {
            let still_owns = owned
                .iter()
                .any(|(other, owner)| owner == uid && self.store.get(other).is_some());
            let finished = match how {
                Propagation::Orphan => true,
                _ => !still_owns,
            };
            if finished && let Some(finalizer) = how.finalizer() {
                self.take_finalizer(key, finalizer, now);
            }
        }
    }

    fn set_free(&mut self, key: &Key, owner: &str) {
        let Some(object) = self.store.get(key) else { return };
        let mut object = (**object).clone();
        if let Some(owners) = object
            .pointer_mut("/metadata/ownerReferences")
            .and_then(Value::as_array_mut)
        {
            owners.retain(|it| it.get("uid").and_then(Value::as_str) != Some(owner));
        }
        self.store.put(key.clone(), object);
    }

    /// Empties namespaces on their way out; what hangs in one is said in its conditions.
    fn end_namespaces(&mut self, now: Timestamp) {
        let ending: Vec<Key> = self
            .store
            .of_kind("", "Namespace")
            .filter(|(_, namespace)| is_deleting(namespace))
            .map(|(key, _)| key.clone())
            .collect();
        for namespace in ending {
            let content: Vec<Key> = self
                .store
                .iter()
                .filter(|(key, object)| key.namespace == namespace.name && !is_deleting(object))
                .map(|(key, _)| key.clone())
                .collect();
            for key in &content {
                self.begin_deletion(key, None, now);
            }
            let left: Vec<Key> = self
                .store
                .iter()
                .filter(|(key, _)| key.namespace == namespace.name)
                .map(|(key, _)| key.clone())
                .collect();
            self.say_what_is_left(&namespace, &left, now);
        }
    }

    fn say_what_is_left(&mut self, namespace: &Key, left: &[Key], now: Timestamp) {
        let Some(object) = self.store.get(namespace) else {
            return;
        };
        let mut object = (**object).clone();
        if left.is_empty() {
            let spec = object.get_mut("spec").and_then(Value::as_object_mut);
            let held = spec.is_some_and(|spec| spec.remove("finalizers").is_some());
            // One that somebody else still holds is written once, or nothing would ever come to rest.
            if held {
                self.store.put(namespace.clone(), object);
                self.finish_deletion(namespace, now);
            }
            return;
        }
        let (resources, finalizers) = self.counted(left);
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
        let conditions = json!([
            condition(
                "NamespaceDeletionDiscoveryFailure",
                false,
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            condition(
                "NamespaceDeletionGroupVersionParsingFailure",
                false,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            condition(
                "NamespaceDeletionContentFailure",
                false,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            condition(
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                &format!("Some resources are remaining: {resources}"),
            ),
            condition(
                "NamespaceFinalizersRemaining",
                !finalizers.is_empty(),
                "SomeFinalizersRemain",
                &format!("Some content in the namespace has finalizers remaining: {finalizers}"),
            ),
        ]);
        // The time of a condition is when it came to be, so only other words are a change.
        let words = |conditions: Option<&Value>| -> Vec<Value> {
            conditions
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|condition| condition.get("message").cloned())
                .collect()
        };
        if words(object.pointer("/status/conditions")) != words(Some(&conditions)) {
            object["status"]["conditions"] = conditions;
            self.store.put(namespace.clone(), object);
        }
    }

    /// How many objects of each kind are left, and how many wait for each finalizer.
    fn counted(&self, left: &[Key]) -> (String, String) {
        let mut kinds: std::collections::BTreeMap<String, usize> = Default::default();
        let mut waits: std::collections::BTreeMap<String, usize> = Default::default();
        for key in left {
            let plural = self.registry.stored(&key.group, &key.kind).map_or_else(
                || key.kind.clone(),
                |served| format!("{}.{}", served.plural, served.group),
            );
            *kinds.entry(plural).or_default() += 1;
            if let Some(object) = self.store.get(key) {
                for finalizer in finalizers(object) {
                    *waits.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, count)| format!("{kind} has {count} resource instances"))
            .collect();
        let waits: Vec<String> = waits
            .iter()
            .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
            .collect();
        (kinds.join(", "), waits.join(", "))
    }

    /// Lets the instances of definitions go, then the definitions.
    fn end_definitions(&mut self, now: Timestamp) {
        let ending: Vec<(Key, (String, String))> = self
            .store
            .of_kind("apiextensions.k8s.io", "CustomResourceDefinition")
            .filter(|(_, definition)| is_deleting(definition))
            .filter(|(_, definition)| finalizers(definition).any(|it| it == crd::CLEANUP))
            .map(|(key, definition)| (key.clone(), crd::instances(definition)))
            .collect();
        for (key, (group, kind)) in ending {
            let instances: Vec<Key> = self
                .store
                .of_kind(&group, &kind)
                .map(|(key, _)| key.clone())
                .collect();
            for instance in &instances {
                self.begin_deletion(instance, None, now);
            }
            if self.store.of_kind(&group, &kind).next().is_none() {
                self.take_finalizer(&key, crd::CLEANUP, now);
            }
        }
    }

    /// Lets go of claims no pod uses, and of volumes no claim is bound to.
    fn end_claims(&mut self, now: Timestamp) {
        const CLAIM: &str = "kubernetes.io/pvc-protection";
        const VOLUME: &str = "kubernetes.io/pv-protection";
        let deleting = |kind: &'static str, finalizer: &'static str| -> Vec<Key> {
            self.store
                .of_kind("", kind)
                .filter(|(_, object)| is_deleting(object))
                .filter(|(_, object)| finalizers(object).any(|it| it == finalizer))
                .map(|(key, _)| key.clone())
                .collect()
        };
        let claims: Vec<Key> = deleting("PersistentVolumeClaim", CLAIM)
            .into_iter()
            .filter(|claim| !self.is_mounted(claim))
            .collect();
        let volumes: Vec<Key> = deleting("PersistentVolume", VOLUME)
            .into_iter()
            .filter(|volume| !self.is_bound(volume))
            .collect();
        for claim in claims {
            self.take_finalizer(&claim, CLAIM, now);
        }
        for volume in volumes {
            self.take_finalizer(&volume, VOLUME, now);
        }
    }

    fn is_mounted(&self, claim: &Key) -> bool {
        self.store.of_kind("", "Pod").any(|(key, pod)| {
            let ended = matches!(
                pod.pointer("/status/phase").and_then(Value::as_str),
                Some("Succeeded" | "Failed")
            );
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
            key.namespace == claim.namespace
                && !ended
                && volumes.into_iter().flatten().any(|volume| {
                    volume
                        .pointer("/persistentVolumeClaim/claimName")
                        .and_then(Value::as_str)
                        == Some(claim.name.as_str())
                })
        })
    }

    fn is_bound(&self, volume: &Key) -> bool {
        let Some(object) = self.store.get(volume) else {
            return false;
        };
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let claim = Key::new(
            "",
            "PersistentVolumeClaim",
            text("/spec/claimRef/namespace"),
            text("/spec/claimRef/name"),
        );
        self.store.get(&claim).is_some()
    }
}
