//! What tools that install things have in common: they put objects where they belong, remember by a mark
//! which are theirs, and take them away again.

use landfall_apiserver::{Key, Outcome};
use serde_json::{Value, json};

use crate::cluster::{Cluster, object};
use crate::world::State;

/// How a tool writes.
pub(super) struct Installer<'a> {
    /// Its name as a field manager.
    pub(super) manager: &'a str,
    /// Where objects go that do not say so.
    pub(super) namespace: &'a str,
    /// The annotations by which it knows its objects.
    pub(super) marks: &'a dyn Fn(&Key) -> Vec<(String, String)>,
}

/// What came of one object.
pub(super) struct Installed {
    pub(super) key: Key,
    pub(super) result: Result<Outcome, String>,
}

/// Whether objects of a kind are in namespaces.
fn is_namespaced(cluster: &Cluster, api_version: &str, kind: &str) -> bool {
    let known = landfall_kinds::find(api_version, kind);
    if let Some(known) = known {
        return known.namespaced;
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let mut all = cluster
        .api
        .of_kind("apiextensions.k8s.io", "CustomResourceDefinition");
    let found = all.find(|(_, one)| one["spec"]["group"] == group && one["spec"]["names"]["kind"] == kind);
    found.is_none_or(|(_, definition)| definition["spec"]["scope"] == "Namespaced")
}

/// What an object is called once it is where it belongs.
pub(super) fn placed(cluster: &Cluster, body: &Value, namespace: &str) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&body["apiVersion"]), text(&body["kind"]));
    let own = body["metadata"]["namespace"].as_str().unwrap_or(namespace);
    let within = if is_namespaced(cluster, &version, &kind) {
        own
    } else {
        ""
    };
    object::key(&version, &kind, within, &text(&body["metadata"]["name"]))
}

impl Installer<'_> {
    /// Applies everything, and goes on after a refusal.
    pub(super) fn install(&self, cluster: &mut Cluster, bodies: &[Value], now: u64) -> Vec<Installed> {
        let mut done = Vec::with_capacity(bodies.len());
        for body in bodies {
            let key = placed(cluster, body, self.namespace);
            let mut body = body.clone();
            if !key.namespace.is_empty() {
                body["metadata"]["namespace"] = key.namespace.as_str().into();
            }
            for (name, value) in (self.marks)(&key) {
                let annotations = &mut body["metadata"]["annotations"];
                if !annotations.is_object() {
                    *annotations = json!({});
                }
                annotations[&name] = value.into();
            }
            let at = cluster.stamp(now);
            let result = match cluster.get(&key) {
                Some(stands) if object::is_going(&stands) => Err(format!("{} is being deleted", key.said())),
                _ => {
                    let applied = cluster.api.apply(self.manager, true, body, at);
                    applied
                        .map(|(_, outcome)| outcome)
                        .map_err(|status| status.message)
                }
            };
            done.push(Installed { key, result });
        }
        done
    }
}

/// Makes a namespace, unless there is one.
pub(super) fn make_namespace(cluster: &mut Cluster, manager: &str, name: &str, now: u64) {
    if name.is_empty()
        || cluster
            .api
            .get(&object::key("v1", "Namespace", "", name))
            .is_some()
    {
        return;
    }
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let _ = cluster.create(manager, body, now);
}

/// Everything that carries a mark.
pub(super) fn marked(cluster: &Cluster, name: &str, fits: impl Fn(&str) -> bool) -> Vec<Key> {
    let all = cluster.api.iter();
    all.filter(|(_, one)| object::annotation(one, name).is_some_and(&fits))
        .map(|(key, _)| key.clone())
        .collect()
}

/// What is at an address: a chart's objects, those the world was told of, or nothing anybody knows.
pub(super) fn contents(state: &State, url: &str, part: &str, values: &str) -> Result<Vec<Value>, String> {
    if let Some(chart) = super::charts::find(url, part) {
        return Ok(chart.all(values));
    }
    let url = url.trim_end_matches('/');
    let whole = format!("{url}/{}", part.trim_start_matches("./"));
    let told = state
        .repositories
        .get(&whole)
        .or_else(|| state.repositories.get(url));
    match told {
        Some(objects) => Ok(objects.iter().map(|one| one.as_ref().clone()).collect()),
        None => Err(format!(
            "the simulated world does not know `{part}` of {url}: add crates/sim/charts/NAME.yaml, or tell the world what is there"
        )),
    }
}
