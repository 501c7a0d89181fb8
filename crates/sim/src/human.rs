//! What people do to the world by hand, behind everyone's back.

use landfall_apiserver::Key;
use serde_json::Value;

use crate::cluster::{Cluster, Status, object};
use crate::fault::{Fault, Target};
use crate::queue::Due;
use crate::thing::{LOAD_BALANCER, LOG_GROUP, Thing, ThingId};
use crate::world::{State, World};

impl World {
    /// Takes a finalizer off an object, as `kubectl patch` would. Tells whether it had it.
    pub fn remove_finalizer(
        &self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        finalizer: &str,
    ) -> bool {
        let (mut state, now) = self.at();
        let done = state.with_cluster(
            |one| one.name == cluster,
            |_, cluster| {
                let key = cluster.find(kind, namespace, name);
                let had = key.is_some_and(|key| {
                    let stands = cluster.get(&key);
                    let had = stands.is_some_and(|one| object::has_finalizer(&one, finalizer));
                    cluster.remove_finalizer(&key, finalizer, now);
                    had
                });
                cluster.settle(now);
                (had, cluster.uid)
            },
        );
        let Some((had, uid)) = done else {
            return false;
        };
        state.stir(uid, now);
        had
    }

    /// Makes a log group, as a function or an add-on that writes does.
    pub fn write_log(&self, region: &str, name: &str) {
        let (mut state, now) = self.at();
        state.make_log_group(region, name, now);
    }
}

impl State {
    /// Makes a log group, unless there is one.
    pub(crate) fn make_log_group(&mut self, region: &str, name: &str, now: u64) {
        let mut things = self.things.values();
        if things.any(|thing| thing.kind == LOG_GROUP && thing.region == region && thing.short() == name) {
            return;
        }
        self.make(Thing {
            kind: LOG_GROUP,
            id: name.to_owned(),
            region: region.to_owned(),
            maker: "logs",
            purpose: format!("log group {name}"),
            ready_at: now,
            ..Thing::default()
        });
    }

    /// Lets everything happen that people do at this moment.
    pub(crate) fn interfere(&mut self, now: u64) {
        while let Some(fault) =
            self.take_fault(|fault| fault.comes_at().filter(|at| *at <= now).map(|_| fault.clone()))
        {
            match fault {
                Fault::HumanDeletes { target, .. } => self.delete_by_hand(&target, now),
                Fault::HumanChanges {
                    target, path, value, ..
                } => self.change_by_hand("kubectl-edit", &target, &path, value.as_deref(), now),
                Fault::FieldConflict {
                    target,
                    manager,
                    path,
                    value,
                    ..
                } => self.change_by_hand(&manager, &target, &path, Some(&value), now),
                _ => {}
            }
        }
        let again: Vec<(String, String)> = self
            .returning
            .iter()
            .filter(|(at, _, _)| *at <= now)
            .map(|(_, region, name)| (region.clone(), name.clone()))
            .collect();
        self.returning.retain(|(at, _, _)| *at > now);
        for (region, name) in again {
            self.make_log_group(&region, &name, now);
        }
    }

    /// A log group was deleted: it comes back, when something still writes to it.
    pub(crate) fn log_group_gone(&mut self, region: &str, name: &str, now: u64) {
        let writes = self.faults.iter_mut().find_map(|fault| match fault {
            Fault::LogGroupRecreated { name: other, times } if other == name && *times > 0 => {
                *times -= 1;
                Some(())
            }
            _ => None,
        });
        self.faults
            .retain(|fault| !matches!(fault, Fault::LogGroupRecreated { times: 0, .. }));
        if writes.is_some() {
            let at = now + 60_000;
            self.returning.push((at, region.to_owned(), name.to_owned()));
            self.schedule(at, Due::Interference);
        }
    }

    fn load_balancer_of(&self, of: &str) -> Option<ThingId> {
        let named = format!(" of {of} in ");
        self.things
            .iter()
            .find(|(_, thing)| thing.kind == LOAD_BALANCER && thing.purpose.contains(&named))
            .map(|(id, _)| *id)
    }

    fn delete_by_hand(&mut self, target: &Target, now: u64) {
        match target {
            Target::Stack { name } => {
                let found = self
                    .stacks
                    .iter()
                    .rev()
                    .find(|stack| stack.name == *name && !stack.is_gone());
                if let Some(id) = found.map(|stack| stack.id.clone()) {
                    // Refused when something is going on, as for anybody.
                    let _ = self.delete_stack(&id, "", now);
                }
            }
            Target::Object { .. } => {
                self.on_object(target, now, |state, cluster, key| {
                    state.delete_object(cluster, key, now)
                });
            }
            Target::LoadBalancer { of } => {
                if let Some(id) = self.load_balancer_of(of) {
                    self.take_away(id, now);
                    self.stir_all(now);
                }
            }
        }
    }

    fn change_by_hand(&mut self, manager: &str, target: &Target, path: &str, value: Option<&str>, now: u64) {
        match target {
            Target::Stack { name } => {
                let found = self
                    .stacks
                    .iter_mut()
                    .rev()
                    .find(|stack| stack.name == *name && !stack.is_gone());
                if let Some(stack) = found {
                    stack.retag(path, value);
                }
            }
            Target::Object { .. } => {
                let value =
                    value.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)));
                self.on_object(target, now, |_, cluster, key| {
                    cluster.edit(manager, key, now, |body| set(body, path, value));
                });
            }
            Target::LoadBalancer { of } => {
                let id = self.load_balancer_of(of);
                if let Some(thing) = id.and_then(|id| self.things.get_mut(&id)) {
                    match value {
                        Some(value) => thing.tags.insert(path.to_owned(), value.to_owned()),
                        None => thing.tags.remove(path),
                    };
                }
            }
        }
    }

    /// Lets the controllers of every cluster look at the world.
    pub(crate) fn stir_all(&mut self, now: u64) {
        let all: Vec<u64> = self.clusters.iter().map(|one| one.uid).collect();
        for uid in all {
            self.stir(uid, now);
        }
    }

    /// Does something to an object that somebody lays hands on, when it is there.
    fn on_object(&mut self, target: &Target, now: u64, act: impl FnOnce(&mut State, &mut Cluster, &Key)) {
        let Target::Object {
            cluster,
            kind,
            namespace,
            name,
        } = target
        else {
            return;
        };
        let done = self.with_cluster(
            |one| one.name == *cluster && one.status == Status::Active,
            |state, cluster| {
                if let Some(key) = cluster.find(kind, namespace, name) {
                    act(state, cluster, &key);
                    cluster.settle(now);
                }
                cluster.uid
            },
        );
        if let Some(uid) = done {
            self.stir(uid, now);
        }
    }
}

/// Sets the value at a path with dots, or takes it away.
pub(crate) fn set(body: &mut Value, path: &str, value: Option<Value>) {
    let Some((parents, last)) = path.rsplit_once('.').or(Some(("", path))) else {
        return;
    };
    let mut at = body;
    for part in parents.split('.').filter(|part| !part.is_empty()) {
        if at.is_array() {
            let place = part.parse::<usize>().unwrap_or(usize::MAX);
            let Some(item) = at.get_mut(place) else {
                return;
            };
            at = item;
            continue;
        }
        if !at[part].is_object() && !at[part].is_array() {
            if value.is_none() {
                return;
            }
            at[part] = serde_json::json!({});
        }
        at = &mut at[part];
    }
    match value {
        Some(value) => at[last] = value,
        None => {
            if let Some(map) = at.as_object_mut() {
                map.remove(last);
            }
        }
    }
}
