//! What tells why an object is not ready: its pods, their claims, what they made, and what was said about them.
//!
//! Only asked for what is not ready, and only so much of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::discovery::Discovery;
use crate::explain::Related;
use crate::hangs::key_of_listed;
use crate::key::{GroupKind, Key};
use crate::link::Link;
use crate::logs;
use crate::trouble::Trouble;

/// How many pods, and how many parts of an Application, are looked at.
const LOOKED_AT: usize = 10;

/// Kinds that stand between an object and what it is waiting for.
const BETWEEN: &[(&str, &str)] = &[
    ("apps", "ReplicaSet"),
    ("batch", "Job"),
    ("cert-manager.io", "CertificateRequest"),
    ("acme.cert-manager.io", "Order"),
    ("acme.cert-manager.io", "Challenge"),
    ("karpenter.sh", "NodeClaim"),
];

/// Looks around an object.
pub(crate) async fn of(link: &Link, key: &Key, object: &Value) -> Result<Related, Trouble> {
    let discovery = link.discovery().await?;
    let owned = owned(link, &discovery, key, object).await?;
    let mut pods = match key.kind.as_str() {
        "Pod" => vec![object.clone()],
        _ => logs::pods_of(link, &discovery, key, object).await?,
    };
    if pods.is_empty() && !key.namespace.is_empty() && (key.is_custom() || !owned.is_empty()) {
        pods = children(link, &discovery, ("", "Pod"), &key.namespace, object, &owned).await?;
    }
    pods.retain(|pod| !is_ready(pod));
    pods.truncate(LOOKED_AT);
    let claims = match (pods.is_empty(), discovery.core("", "PersistentVolumeClaim")) {
        (false, Some(kind)) => {
            let all = link.list(kind, &key.namespace, &[]).await?;
            all.into_iter()
                .filter(|claim| pods.iter().any(|pod| uses(pod, claim)))
                .collect()
        }
        _ => Vec::new(),
    };
    let events = match discovery.core("", "Event") {
        Some(kind) => {
            let namespace = if key.namespace.is_empty() {
                "default"
            } else {
                &key.namespace
            };
            let all = link.list(kind, namespace, &[]).await?;
            let about: Vec<&Value> = [object]
                .into_iter()
                .chain(&pods)
                .chain(&claims)
                .chain(&owned)
                .collect();
            all.into_iter()
                .filter(|event| about.iter().any(|one| is_about(event, one)))
                .collect()
        }
        None => Vec::new(),
    };
    let mut logs = BTreeMap::new();
    for pod in pods.iter().filter(|pod| has_failed(pod)).take(2) {
        if let Some(line) = crate::logs::last_line(link, pod).await? {
            logs.insert(Key::of(pod).place(), line);
        }
    }
    Ok(Related {
        pods,
        events,
        claims,
        owned,
        logs,
    })
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn has_failed(pod: &Value) -> bool {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut all = lists
        .iter()
        .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    all.any(|one| {
        one["restartCount"].as_u64().unwrap_or(0) > 0
            || one["state"]["terminated"]["exitCode"].as_i64().unwrap_or(0) != 0
    })
}

fn uses(pod: &Value, claim: &Value) -> bool {
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let name = &claim["metadata"]["name"];
    volumes.any(|volume| !name.is_null() && &volume["persistentVolumeClaim"]["claimName"] == name)
}

fn is_about(event: &Value, object: &Value) -> bool {
    let about = &event["involvedObject"];
    let (uid, metadata) = (&about["uid"], &object["metadata"]);
    if !uid.is_null() && uid == &metadata["uid"] {
        return true;
    }
    about["kind"] == object["kind"]
        && about["name"] == metadata["name"]
        && about["namespace"] == metadata["namespace"]
}

fn is_of(object: &Value, makers: &[&Value]) -> bool {
    let mut owners = object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    owners.any(|owner| {
        makers
            .iter()
            .any(|maker| owner["uid"] == maker["metadata"]["uid"])
    })
}

/// What an object has made, of the kinds that stand between.
async fn owned(link: &Link, discovery: &Discovery, key: &Key, object: &Value) -> Result<Vec<Value>, Trouble> {
    if key.kind == "Application" {
        return parts_of(link, discovery, object).await;
    }
    let mut found: Vec<Value> = Vec::new();
    let makes = |kind: &str| match kind {
        "ReplicaSet" => key.kind == "Deployment",
        "Job" => key.kind == "CronJob" || key.is_custom(),
        "NodeClaim" => key.kind == "NodePool",
        _ => key.kind == "Certificate",
    };
    for (group, kind) in BETWEEN.iter().filter(|(_, kind)| makes(kind)) {
        let more = children(link, discovery, (group, kind), &key.namespace, object, &found).await?;
        found.extend(more);
    }
    Ok(found)
}

async fn children(
    link: &Link,
    discovery: &Discovery,
    (group, kind): (&str, &str),
    namespace: &str,
    object: &Value,
    between: &[Value],
) -> Result<Vec<Value>, Trouble> {
    let kind = GroupKind {
        group: group.to_owned(),
        kind: kind.to_owned(),
    };
    let Some(resource) = discovery.preferred(&kind) else {
        return Ok(Vec::new());
    };
    let makers: Vec<&Value> = [object].into_iter().chain(between).collect();
    let mut all = link.list(resource, namespace, &[]).await?;
    all.retain(|one| is_of(one, &makers));
    Ok(all)
}

/// The parts of an Application that are not well.
async fn parts_of(link: &Link, discovery: &Discovery, application: &Value) -> Result<Vec<Value>, Trouble> {
    let listed = application["status"]["resources"]
        .as_array()
        .into_iter()
        .flatten();
    let unwell = listed.filter(|one| {
        let health = one["health"]["status"].as_str().unwrap_or("Healthy");
        health != "Healthy" || one["status"].as_str().is_some_and(|sync| sync != "Synced")
    });
    let mut found = Vec::new();
    for key in unwell.map(key_of_listed).take(LOOKED_AT) {
        if let Some(resource) = discovery.preferred(&key.group_kind()) {
            found.extend(link.get(&resource.path_of(&key)).await?);
        }
    }
    Ok(found)
}
