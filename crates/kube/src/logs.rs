//! What pods say.

use serde_json::Value;

use crate::discovery::Discovery;
use crate::key::Key;
use crate::link::{Link, encoded};
use crate::trouble::Trouble;

/// How many lines of a log are read.
const LINES: usize = 20;
/// How much of a line is shown.
const LONGEST: usize = 300;

/// The pods that an object selects, or that belong to it.
pub(crate) async fn pods_of(
    link: &Link,
    discovery: &Discovery,
    key: &Key,
    object: &Value,
) -> Result<Vec<Value>, Trouble> {
    let Some(pods) = discovery.core("", "Pod") else {
        return Ok(Vec::new());
    };
    let spec = &object["spec"];
    let labels = spec["selector"]["matchLabels"]
        .as_object()
        .or_else(|| match key.kind.as_str() {
            "Service" | "ReplicationController" => spec["selector"].as_object(),
            _ => None,
        });
    let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
        return Ok(Vec::new());
    };
    let selector: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()))
        .collect();
    link.list(pods, &key.namespace, &[("labelSelector", &selector.join(","))])
        .await
}

/// The last line that says something, of a pod's container that failed or else of its first one.
pub(crate) async fn last_line(link: &Link, pod: &Value) -> Result<Option<String>, Trouble> {
    let key = Key::of(pod);
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let mut containers = statuses
        .iter()
        .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    let failed = containers.find(|one| {
        one["restartCount"].as_u64().unwrap_or(0) > 0
            || one["state"]["terminated"]["exitCode"].as_i64().unwrap_or(0) != 0
    });
    let mut path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?tailLines={LINES}",
        key.namespace, key.name
    );
    if let Some(failed) = failed {
        if let Some(name) = failed["name"].as_str() {
            path.push_str(&format!("&container={}", encoded(name)));
        }
        // Of one that waits to be started again, what it said before is what matters.
        if !failed["state"]["waiting"].is_null() && failed["restartCount"].as_u64().unwrap_or(0) > 0 {
            path.push_str("&previous=true");
        }
    }
    let Some(text) = link.text(&path).await? else {
        return Ok(None);
    };
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    Ok(last.map(|line| line.chars().take(LONGEST).collect()))
}

/// The last line of the newest pod of an object.
pub(crate) async fn last_line_of(link: &Link, key: &Key, object: &Value) -> Result<Option<String>, Trouble> {
    let discovery = link.discovery().await?;
    let mut pods = pods_of(link, &discovery, key, object).await?;
    pods.sort_by_key(|pod| {
        pod["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    match pods.last() {
        Some(pod) => last_line(link, pod).await,
        None => Ok(None),
    }
}
