//! Why something that was asked to go does not go: which finalizer holds it, whose that is, and what is left in it.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use landfall_model::provider::{Cause, Failure};
use serde_json::Value;

use crate::advice;
use crate::applyset::list_all;
use crate::discovery::Resource;
use crate::key::{GroupKind, Key};
use crate::link::Link;
use crate::trouble::Trouble;

/// How many things left in a namespace are named.
const NAMED: usize = 3;
/// How many lists are asked for at once.
const AT_ONCE: usize = 8;
/// For how long each of many kinds is asked for.
const BRIEFLY_MS: u64 = 10_000;
/// The finalizers of what waits for its children, or for its instances: they are named instead.
const OF_WHAT_IS_LEFT: [&str; 2] = ["foregroundDeletion", "customresourcecleanup.apiextensions.k8s.io"];
/// Since when a controller that wrote a status still counts as being there.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// Something that does not go.
pub(crate) struct Hanging {
    key: Key,
    finalizers: Vec<String>,
    /// Whether what takes them off lives, as far as that is known.
    lives: bool,
    /// What is left in it: names with their finalizers, held ones first.
    left: Vec<(Key, Vec<String>)>,
    /// Whether what takes the finalizers of the first of these off lives.
    first_lives: bool,
}

/// The finalizers that hold an object.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let all = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    let all = all
        .filter_map(Value::as_str)
        .filter(|one| !OF_WHAT_IS_LEFT.contains(one));
    all.map(str::to_owned).collect()
}

/// The controller that has to take a finalizer off an object, when it is one we know.
pub(crate) fn waits_for(object: &Value) -> Option<&'static str> {
    finalizers(object).iter().find_map(|one| advice::keeper(one))
}

/// Whether a controller's workload is ready anywhere in the cluster.
pub(crate) async fn runs(link: &Link, controller: &str) -> Result<bool, Trouble> {
    let discovery = link.discovery().await?;
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"].map(|kind| GroupKind {
        group: "apps".to_owned(),
        kind: kind.to_owned(),
    });
    let selector = format!("app.kubernetes.io/name={controller}");
    let workloads = list_all(link, &discovery, kinds, &selector).await?;
    Ok(workloads.iter().any(|one| {
        let count = |field: &str| one["status"][field].as_u64().unwrap_or(0);
        one["metadata"]["deletionTimestamp"].is_null() && count("readyReplicas") + count("numberReady") > 0
    }))
}

/// Whether somebody is left to take the finalizers off an object. Nobody known counts as somebody; and as a capability
/// of EKS, Argo CD runs outside of the cluster: what it wrote shows that it is there.
async fn lives(link: &Link, object: &Value) -> Result<bool, Trouble> {
    any_lives(link, [object].into_iter()).await
}

/// Whether somebody is left to take the finalizers off any of these objects. Each controller is looked for once.
pub(crate) async fn any_lives(link: &Link, objects: impl Iterator<Item = &Value>) -> Result<bool, Trouble> {
    let mut controllers = BTreeSet::new();
    for object in objects {
        match waits_for(object) {
            Some(controller) if !recent(&object["status"]["reconciledAt"], link.now()) => {
                controllers.insert(controller);
            }
            _ => return Ok(true),
        }
    }
    for controller in controllers {
        if runs(link, controller).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn recent(at: &Value, now: Timestamp) -> bool {
    let at = at.as_str().and_then(|at| at.parse::<Timestamp>().ok());
    at.is_some_and(|at| now.duration_since(at) < RECENT)
}

impl Hanging {
    /// Looks why an object does not go.
    pub(crate) async fn look(link: &Link, key: &Key, object: &Value) -> Result<Hanging, Trouble> {
        let mut left: Vec<(Key, Value)> = match key.kind.as_str() {
            "Namespace" => inside(link, Some(&key.name)).await?.into_iter().collect(),
            "CustomResourceDefinition" => instances(link, object).await?,
            _ => made_by(link, key, object).await?,
        };
        // What is held back itself holds back the rest.
        left.sort_by_key(|(_, object)| finalizers(object).is_empty());
        let first_lives = match left.first() {
            Some((_, object)) => lives(link, object).await?,
            None => true,
        };
        Ok(Hanging {
            key: key.clone(),
            finalizers: finalizers(object),
            lives: lives(link, object).await?,
            left: left
                .into_iter()
                .map(|(key, object)| (key, finalizers(&object)))
                .collect(),
            first_lives,
        })
    }

    /// As the reason why a step failed `after` a while.
    pub(crate) fn failure(&self, after: &str, at: String) -> Failure {
        let said = self.key.said();
        let named = self
            .left
            .iter()
            .take(NAMED)
            .map(|(other, finalizers)| match finalizers.first() {
                Some(finalizer) => format!("the {} (finalizer {finalizer})", other.said()),
                None => format!("the {}", other.said()),
            });
        let mut inside: Vec<String> = named.collect();
        let more = self.left.len().saturating_sub(NAMED);
        if more > 0 {
            inside.push(format!("{more} more"));
        }
        let reason = match (self.finalizers.as_slice(), inside.as_slice()) {
            ([], []) => "it was asked to go, and nothing says why it does not".to_owned(),
            ([], left) => format!("it still holds {}", left.join(", ")),
            (finalizers, []) => format!("it waits for its finalizer {}", finalizers.join(", ")),
            (finalizers, left) => format!(
                "it waits for its finalizer {}, and still there is {}",
                finalizers.join(", "),
                left.join(", ")
            ),
        };
        let held = self.left.first().filter(|(_, finalizers)| !finalizers.is_empty());
        Failure {
            summary: format!("the {said} is not gone after {after}"),
            cause: Some(Cause {
                resource: self.key.place(),
                kind: self.key.kind.clone(),
                state: "Terminating".to_owned(),
                reason,
                at,
            }),
            way_out: Some(match held {
                // What is inside has to go first: that is where to begin.
                Some((other, finalizers)) if self.lives => {
                    let advice = advice::hanging(other, finalizers, &[], self.first_lives);
                    format!("begin with the {}: {advice}", other.said())
                }
                _ => advice::hanging(&self.key, &self.finalizers, &inside, self.lives),
            }),
        }
    }
}

/// Everything in a namespace, or everything that has none.
async fn inside(link: &Link, namespace: Option<&str>) -> Result<BTreeMap<Key, Value>, Trouble> {
    let discovery = link.discover().await?;
    let lists: Vec<_> = discovery
        .listable()
        .into_iter()
        .filter(|resource| resource.namespaced == namespace.is_some() && resource.kind != "Event")
        .map(|resource| link.list_within(resource, namespace.unwrap_or_default(), &[], Some(BRIEFLY_MS)))
        .collect();
    let mut lists = stream::iter(lists).buffer_unordered(AT_ONCE);
    let mut found = BTreeMap::new();
    while let Some(list) = lists.next().await {
        // One API that does not answer (a metrics server that is gone) must not hide the others.
        let list = match list {
            Err(Trouble::Refused(_) | Trouble::NoAnswer(_) | Trouble::Throttled) => continue,
            list => list?,
        };
        found.extend(list.into_iter().map(|object| (Key::of(&object), object)));
    }
    Ok(found)
}

/// Every object of the kind that a definition brings.
pub(crate) async fn instances(link: &Link, definition: &Value) -> Result<Vec<(Key, Value)>, Trouble> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spec = &definition["spec"];
    let mut versions = spec["versions"].as_array().into_iter().flatten();
    let Some(version) = versions.find(|version| version["served"] == true) else {
        return Ok(Vec::new());
    };
    // Of a definition that goes, the server may no longer tell.
    let resource = Resource {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        kind: text(&spec["names"]["kind"]),
        plural: text(&spec["names"]["plural"]),
        namespaced: spec["scope"] == "Namespaced",
        verbs: Vec::new(),
    };
    let found = link.list_within(&resource, "", &[], Some(BRIEFLY_MS)).await?;
    Ok(found
        .into_iter()
        .map(|object| (Key::of(&object), object))
        .collect())
}

/// What an object has made, and what that has made.
async fn made_by(link: &Link, key: &Key, object: &Value) -> Result<Vec<(Key, Value)>, Trouble> {
    let namespace = Some(key.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let mut candidates = inside(link, namespace).await?;
    let mut makers = vec![object["metadata"]["uid"].clone()];
    let mut made = Vec::new();
    while let Some(maker) = makers.pop() {
        let is_its = |object: &Value| {
            let mut owners = object["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten();
            owners.any(|owner| owner["uid"] == maker)
        };
        let found: Vec<Key> = candidates
            .iter()
            .filter(|(_, object)| is_its(object))
            .map(|(key, _)| key.clone())
            .collect();
        for key in found {
            if let Some(object) = candidates.remove(&key) {
                makers.push(object["metadata"]["uid"].clone());
                made.push((key, object));
            }
        }
    }
    made.extend(applied_by(link, object).await?);
    made.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(made)
}

/// How many objects of an Application are looked at.
const OF_APPLICATION: usize = 20;

/// What an Application of Argo CD has made: it says so itself.
async fn applied_by(link: &Link, object: &Value) -> Result<Vec<(Key, Value)>, Trouble> {
    if object["kind"] != "Application" {
        return Ok(Vec::new());
    }
    let discovery = link.discovery().await?;
    let mut found = Vec::new();
    let listed = object["status"]["resources"].as_array().into_iter().flatten();
    for key in listed.map(key_of_listed).take(OF_APPLICATION) {
        let Some(resource) = discovery.preferred(&key.group_kind()) else {
            continue;
        };
        if let Some(object) = link.get(&resource.path_of(&key)).await? {
            found.push((key, object));
        }
    }
    Ok(found)
}

/// What names an object in the status of an Application.
pub(crate) fn key_of_listed(listed: &Value) -> Key {
    let text = |field: &str| listed[field].as_str().unwrap_or_default().to_owned();
    Key {
        namespace: text("namespace"),
        kind: text("kind"),
        group: text("group"),
        name: text("name"),
    }
}
