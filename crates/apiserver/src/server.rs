//! The server: its state, and what controllers do with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admission::Hooks;
use crate::message::Key;
use crate::served::{Registry, Served};
use crate::status::Status;
use crate::store::Store;
use crate::watch::Watch;
use crate::write::How;

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is new.
    Created,
    /// The object is another one now.
    Changed,
    /// Nothing changed, nothing was written.
    Same,
}

/// A Kubernetes API server without sockets, tasks or a clock.
///
/// Pods are gone as soon as they are deleted: there is no kubelet that would end them.
pub struct ApiServer {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) version: String,
    pub(crate) hooks: Option<Box<dyn Hooks>>,
    pub(crate) groups: HashMap<String, Vec<String>>,
    pub(crate) logs: HashMap<Key, String>,
    /// Definitions that are not yet established, and from when on they are.
    pub(crate) pending: BTreeMap<Key, Timestamp>,
    random: u64,
}

impl ApiServer {
    /// A server of a version (as in `1.35`) with the namespaces every cluster has. The seed decides
    /// uids and generated names.
    pub fn new(seed: u64, version: &str, now: Timestamp) -> ApiServer {
        let mut server = ApiServer {
            store: Store::default(),
            registry: Registry::default(),
            version: version.to_owned(),
            hooks: None,
            groups: HashMap::new(),
            logs: HashMap::new(),
            pending: BTreeMap::new(),
            random: seed,
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            // The only refusals are of broken or known names.
            let made = server.create("kube-apiserver", namespace, now);
            debug_assert!(made.is_ok(), "a new cluster takes its namespaces: {made:?}");
        }
        server
    }

    /// The object under a key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.store.get(key)
    }

    /// All objects, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.store.iter()
    }

    /// The objects of a kind, in order of namespace and name.
    pub fn of_kind<'a>(
        &'a self,
        group: &'a str,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.store.of_kind(group, kind)
    }

    /// The revision of the last change to anything.
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }

    /// Whether objects of this kind can be made now: built-in kinds, and those of established
    /// definitions.
    pub fn knows(&self, api_version: &str, kind: &str) -> bool {
        self.registry.by_kind(api_version, kind).is_some()
    }

    /// Makes an object, as a controller does.
    pub fn create(&mut self, manager: &str, object: Value, now: Timestamp) -> Result<Key, Status> {
        let served = self.served_for(&object)?;
        let namespace = namespace_of(&object, &served);
        let written = self.accept_new(&served, &namespace, object, &How::by(manager), now)?;
        Ok(key_of(&served, &written.object))
    }

    /// Applies an object server-side, as a controller does.
    pub fn apply(
        &mut self,
        manager: &str,
        force: bool,
        object: Value,
        now: Timestamp,
    ) -> Result<(Key, Outcome), Status> {
        let served = self.served_for(&object)?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        let key = Key::new(
            &served.group,
            &served.kind,
            &namespace_of(&object, &served),
            &name,
        );
        let written = self.accept_apply(&served, &key, object, force, &How::by(manager), now)?;
        Ok((key, written.outcome))
    }

    /// Changes an object, all but its status.
    pub fn update(
        &mut self,
        manager: &str,
        key: &Key,
        now: Timestamp,
        change: impl FnOnce(&mut Value),
    ) -> Result<Outcome, Status> {
        let served = self.stored_kind(key)?;
        let before = self
            .store
            .get(key)
            .ok_or_else(|| Status::not_found(&served, &key.name))?;
        let mut object = (**before).clone();
        change(&mut object);
        let written = self.accept_change(&served, key, object, &How::by(manager), now)?;
        Ok(written.outcome)
    }

    /// Sets the status of an object, whole. An object that is not there stays away.
    pub fn set_status(&mut self, manager: &str, key: &Key, status: Value, now: Timestamp) -> Outcome {
        let (Some(before), Ok(served)) = (self.store.get(key), self.stored_kind(key)) else {
            return Outcome::Same;
        };
        if before.get("status") == Some(&status) {
            return Outcome::Same;
        }
        let mut object = (**before).clone();
        object["status"] = status;
        let how = How {
            subresource: if served.status { "status" } else { "" },
            ..How::by(manager)
        };
        match self.accept_change(&served, key, object, &how, now) {
            Ok(written) => written.outcome,
            // A status that its own schema refuses is one that no controller manages to set.
            Err(_) => Outcome::Same,
        }
    }

    /// Deletes an object: it goes, or waits for its finalizers. What it owns goes with
    /// [`ApiServer::settle`].
    pub fn delete(&mut self, key: &Key, now: Timestamp) {
        self.begin_deletion(key, None, now);
    }

    /// Takes a finalizer off an object, which lets it go when it was the last one.
    pub fn remove_finalizer(&mut self, key: &Key, finalizer: &str, now: Timestamp) {
        self.take_finalizer(key, finalizer, now);
    }

    /// What `kubectl logs` shows of a pod.
    pub fn set_log(&mut self, pod: &Key, text: String) {
        self.logs.insert(pod.clone(), text);
    }

    /// Who answers for webhooks and for the time a definition takes.
    pub fn hooks(&mut self, hooks: Box<dyn Hooks>) {
        self.hooks = Some(hooks);
    }

    /// The groups of a user. One in `system:masters` may do everything; all others may do what the
    /// roles bound to them and their groups say.
    pub fn set_groups(&mut self, user: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.groups.insert(user.to_owned(), groups);
    }

    /// What a watch has not yet seen, one JSON document a line. Empty when nothing is new.
    pub fn events(&self, watch: &mut Watch, now: Timestamp) -> Vec<u8> {
        watch.news(self, now)
    }

    fn served_for(&self, object: &Value) -> Result<Arc<Served>, Status> {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        self.registry
            .by_kind(text("apiVersion"), text("kind"))
            .cloned()
            .ok_or_else(Status::no_such_page)
    }

    pub(crate) fn stored_kind(&self, key: &Key) -> Result<Arc<Served>, Status> {
        self.registry
            .stored(&key.group, &key.kind)
            .cloned()
            .ok_or_else(Status::no_such_page)
    }

    /// The next of a row of numbers that look random (splitmix64).
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn next_uid(&mut self) -> String {
        let (high, low) = (self.next_random(), self.next_random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }

    /// The end of a generated name.
    pub(crate) fn next_suffix(&mut self) -> String {
        // No vowels and no look-alikes, so that no words come out.
        const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5)
            .map(|_| char::from(LETTERS[(self.next_random() % 27) as usize]))
            .collect()
    }
}

/// The namespace an object is meant for; `default` when it names none.
pub(crate) fn namespace_of(object: &Value, served: &Served) -> String {
    if !served.namespaced {
        return String::new();
    }
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or("default")
        .to_owned()
}

pub(crate) fn key_of(served: &Served, object: &Value) -> Key {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    Key::new(
        &served.group,
        &served.kind,
        text("/metadata/namespace"),
        text("/metadata/name"),
    )
}
