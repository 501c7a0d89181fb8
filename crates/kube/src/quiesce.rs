//! Stopping what makes things anew, or more of them, as a teardown begins.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::provider::Owned;
use landfall_runner::{ApplyError, Progress};
use serde_json::{Value, json};

use crate::Objects;
use crate::hangs::key_of_listed;
use crate::key::{GroupKind, Key};
use crate::link::{Dialled, Link};
use crate::remove::Address;
use crate::trouble::Trouble;

/// Kinds of objects that make things anew, or more of them.
const STOPPED: &[(&str, &str)] = &[
    ("argoproj.io", "ApplicationSet"),
    ("argoproj.io", "Application"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "CronJob"),
    ("karpenter.sh", "NodePool"),
    ("keda.sh", "ScaledJob"),
    ("keda.sh", "ScaledObject"),
];

impl Objects {
    pub(crate) async fn quiesce_all(
        &self,
        owned: &Owned,
        progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        let address = Address::of(owned);
        let failing = |trouble: Trouble| {
            trouble.failing(&format!(
                "stopping what makes things anew in `{}`",
                address.cluster
            ))
        };
        let dialled = self
            .dial(address.region, address.cluster, Some(progress))
            .await
            .map_err(failing)?;
        let Dialled::Connected(link) = dialled else {
            return Ok(Vec::new());
        };
        match stop_all(&link, &address, owned).await {
            // A cluster that is gone makes nothing any more.
            Err(Trouble::Gone(_)) => Ok(Vec::new()),
            result => result.map_err(failing),
        }
    }
}

async fn stop_all(link: &Link, address: &Address<'_>, owned: &Owned) -> Result<Vec<String>, Trouble> {
    let discovery = link.recent_discovery().await?;
    let members = address
        .set(owned)
        .members(link, &discovery, address.kinds())
        .await?
        .objects;
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut ours: BTreeSet<String> = members.values().map(uid).collect();
    let kinds = STOPPED.iter().map(|(group, kind)| GroupKind {
        group: (*group).to_owned(),
        kind: (*kind).to_owned(),
    });
    let mut all: BTreeMap<Key, Value> = BTreeMap::new();
    for kind in kinds {
        if let Some(resource) = discovery.preferred(&kind) {
            let list = link.list(resource, "", &[]).await?;
            all.extend(list.into_iter().map(|object| (Key::of(&object), object)));
        }
    }
    // Applications of Applications: what ours have made is stopped, too.
    loop {
        let applications: Vec<&Value> = members
            .values()
            .chain(all.values())
            .filter(|object| object["kind"] == "Application" && ours.contains(&uid(object)))
            .collect();
        let found: Vec<String> = all
            .iter()
            .filter(|(_, object)| !ours.contains(&uid(object)))
            .filter(|(key, object)| {
                is_owned(object, &ours)
                    || applications
                        .iter()
                        .any(|application| has_applied(application, key, object))
            })
            .map(|(_, object)| uid(object))
            .collect();
        if found.is_empty() {
            break;
        }
        ours.extend(found);
    }
    let mut said = Vec::new();
    for (key, object) in all.iter().filter(|(_, object)| ours.contains(&uid(object))) {
        let Some(resource) = discovery.preferred(&key.group_kind()) else {
            continue;
        };
        if let Some((change, sentence)) = stop(key, object)
            && link.merge(&resource.path_of(key), &change).await?.is_some()
        {
            said.push(sentence);
        }
    }
    Ok(said)
}

fn is_owned(object: &Value, ours: &BTreeSet<String>) -> bool {
    let mut owners = object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    owners.any(|owner| owner["uid"].as_str().is_some_and(|uid| ours.contains(uid)))
}

/// Whether an object comes from an Application, as either of the two says.
fn has_applied(application: &Value, key: &Key, object: &Value) -> bool {
    let name = application["metadata"]["name"].as_str().unwrap_or_default();
    let tracking = object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].as_str();
    let tracked = tracking.and_then(|tracking| tracking.split(':').next());
    // In another namespace than Argo CD's own, its name has the namespace in front.
    let tracked = tracked.map(|tracked| tracked.rsplit('_').next().unwrap_or(tracked));
    let mut listed = application["status"]["resources"]
        .as_array()
        .into_iter()
        .flatten();
    tracked == Some(name) || listed.any(|one| key_of_listed(one) == *key)
}

/// What stops an object from making things anew, or more of them, and what is said of it. None when it has stopped.
fn stop(key: &Key, object: &Value) -> Option<(Value, String)> {
    let spec = &object["spec"];
    let said = key.said();
    let annotation = |name: &str| object["metadata"]["annotations"][name].as_str();
    match key.kind.as_str() {
        "Application" => {
            let automated = &spec["syncPolicy"]["automated"];
            let change = json!({ "spec": { "syncPolicy": { "automated": null } } });
            (!automated.is_null()).then(|| (change, format!("automated sync of the {said} is off")))
        }
        "ApplicationSet" => {
            // Deleting it must not delete what it made before its turn; making more of it stops with this.
            let stopped = spec["syncPolicy"]["applicationsSync"] == "create-only";
            let change = json!({ "spec": { "syncPolicy": { "applicationsSync": "create-only" } } });
            (!stopped).then(|| (change, format!("the {said} changes no Applications any more")))
        }
        "NodePool" => {
            let stopped = spec["limits"]["cpu"] == "0";
            let change = json!({ "spec": { "limits": { "cpu": "0" } } });
            (!stopped).then(|| (change, format!("the {said} makes no more machines")))
        }
        "HorizontalPodAutoscaler" => {
            let least = spec["minReplicas"].as_u64().unwrap_or(1);
            let stopped = spec["maxReplicas"].as_u64() == Some(least);
            let change = json!({ "spec": { "maxReplicas": least } });
            (!stopped).then(|| (change, format!("the {said} makes no more pods")))
        }
        "CronJob" => {
            let change = json!({ "spec": { "suspend": true } });
            (spec["suspend"] != true).then(|| (change, format!("the {said} starts no more Jobs")))
        }
        "ScaledObject" | "ScaledJob" => {
            let paused = "autoscaling.keda.sh/paused";
            let change = json!({ "metadata": { "annotations": { paused: "true" } } });
            (annotation(paused) != Some("true"))
                .then(|| (change, format!("the {said} scales nothing any more")))
        }
        _ => None,
    }
}

/// The fields that were written to stop an object, and that its manifest does not name: a teardown was begun and given
/// up. None when it is not stopped.
pub(crate) fn left_behind(key: &Key, object: &Value, wanted: &Value) -> Vec<Vec<String>> {
    if stop(key, object).is_some() {
        return Vec::new();
    }
    let managers = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    let ours = managers.filter(|one| {
        one["manager"] == crate::MANAGER && one["operation"] == "Update" && one["subresource"].is_null()
    });
    let mut found = Vec::new();
    for one in ours {
        gather(&one["fieldsV1"], object, wanted, &mut Vec::new(), &mut found);
    }
    found
}

fn gather(
    fields: &Value,
    object: &Value,
    wanted: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
) {
    for (name, below) in fields.as_object().into_iter().flatten() {
        let Some(name) = name.strip_prefix("f:") else {
            continue;
        };
        path.push(name.to_owned());
        match below.as_object() {
            Some(below) if below.is_empty() => {
                if wanted[name].is_null() && !object[name].is_null() {
                    found.push(path.clone());
                }
            }
            _ => gather(below, &object[name], &wanted[name], path, found),
        }
        path.pop();
    }
}

/// The change that takes fields away.
pub(crate) fn without(paths: &[Vec<String>]) -> Value {
    let mut change = json!({});
    for path in paths {
        let mut at = &mut change;
        for part in path {
            at = &mut at[part.as_str()];
        }
    }
    change
}
