//! Where objects are kept, and what lately happened to them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use crate::message::Key;

/// How many events are kept for watches that come back; older ones are gone.
const KEPT_EVENTS: usize = 4096;

/// What happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    /// The object before, `None` when it is new.
    pub(crate) before: Option<Arc<Value>>,
    /// The object now; the last one seen when it is gone.
    pub(crate) object: Arc<Value>,
    pub(crate) gone: bool,
}

/// The objects of a cluster.
#[derive(Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    events: VecDeque<Event>,
    revision: u64,
    /// The revision of the last event that is no longer kept.
    forgotten: u64,
    /// Whether something happened from which something else may follow (see `garbage`).
    unsettled: bool,
}

impl Store {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// The objects of a kind, in order of namespace and name.
    pub(crate) fn of_kind<'a>(
        &'a self,
        group: &'a str,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.from(Key::new(group, kind, "", ""), Bound::Included)
            .take_while(move |(key, _)| key.kind == kind && key.group == group)
    }

    /// The objects at and after a key.
    pub(crate) fn from(
        &self,
        key: Key,
        bound: fn(Key) -> Bound<Key>,
    ) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.range((bound(key), Bound::Unbounded))
    }

    /// Keeps an object under the next revision, which is written into it.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let has = |field: &str| object["metadata"].get(field).is_some();
        // Whatever is neither owned nor on its way out moves nothing else.
        self.unsettled |= has("ownerReferences") || has("deletionTimestamp");
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), object.clone());
        self.note(Event {
            revision: self.revision,
            key,
            before,
            object: object.clone(),
            gone: false,
        });
        object
    }

    /// Lets go of an object. What is returned carries the revision of its end.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.revision += 1;
        self.unsettled = true;
        let mut last = (*before).clone();
        last["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(last);
        self.note(Event {
            revision: self.revision,
            key: key.clone(),
            before: Some(before),
            object: object.clone(),
            gone: true,
        });
        Some(object)
    }

    /// Whether something happened since the last time this was asked.
    pub(crate) fn take_unsettled(&mut self) -> bool {
        std::mem::take(&mut self.unsettled)
    }

    fn note(&mut self, event: Event) {
        if self.events.len() == KEPT_EVENTS
            && let Some(old) = self.events.pop_front()
        {
            self.forgotten = old.revision;
        }
        self.events.push_back(event);
    }

    /// What happened after a revision, or `None` when that is too long ago to say.
    pub(crate) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Event>> {
        if revision < self.forgotten {
            return None;
        }
        let from = self.events.partition_point(|event| event.revision <= revision);
        Some(self.events.range(from..))
    }
}
