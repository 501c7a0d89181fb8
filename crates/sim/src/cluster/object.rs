//! What is read off a Kubernetes object, and what is written about its conditions.

use landfall_apiserver::Key;
use landfall_model::work::TAG_PLATFORM;
use serde_json::{Value, json};

/// A label's value.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(name)?.as_str()
}

/// An annotation's value.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(name)?.as_str()
}

/// Which object: a name can be used again.
pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub(crate) fn generation(object: &Value) -> u64 {
    object["metadata"]["generation"].as_u64().unwrap_or(1)
}

/// Whether it is being deleted.
pub(crate) fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let all = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str)
}

pub(crate) fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).any(|one| one == name)
}

/// What controls an object: its kind, name and uid.
pub(crate) fn owner(object: &Value) -> Option<(&str, &str, &str)> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some((
        owner["kind"].as_str()?,
        owner["name"].as_str()?,
        owner["uid"].as_str()?,
    ))
}

/// A reference that says an object is controlled by another.
pub(crate) fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

/// What an object of an API version is called.
pub(crate) fn key(api_version: &str, kind: &str, namespace: &str, name: &str) -> Key {
    Key {
        group: api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The status of a condition, and what is said about it.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut all = object["status"]["conditions"].as_array()?.iter();
    all.find(|one| one["type"] == kind)
}

pub(crate) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|one| one["status"] == "True")
}

/// One condition as it is to be. When it came to be so is kept from what stands.
pub(crate) fn put_condition(
    before: &Value,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: &str,
) -> Value {
    let status = if holds { "True" } else { "False" };
    let old = condition(before, kind).filter(|old| old["status"] == status);
    let since = old.map_or_else(|| json!(now), |old| old["lastTransitionTime"].clone());
    json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    })
}

/// The platform with whose tags a controller marks what it makes, when it is told to.
pub(crate) fn marks_with(workload: &Value) -> Option<String> {
    fn find(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => {
                let (_, rest) = text.split_once("landfall:platform")?;
                let name = rest.trim_start_matches(['"', '=', ':', ' ']);
                let end = name.find([',', '"', '}', ' ']).unwrap_or(name.len());
                Some(name[..end].to_owned()).filter(|name| !name.is_empty())
            }
            Value::Array(items) => items.iter().find_map(find),
            Value::Object(map) => map
                .get(TAG_PLATFORM)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .or_else(|| map.values().find_map(find)),
            _ => None,
        }
    }
    find(&workload["spec"])
}

/// The volume claims a pod uses: by name in its namespace.
pub(crate) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

/// Whether a controller has given an object an address.
pub(crate) fn has_address(object: &Value) -> bool {
    let first = &object["status"]["loadBalancer"]["ingress"][0];
    first["hostname"].is_string() || object["status"]["addresses"][0]["value"].is_string()
}

/// Whether labels are those a selector asks for.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|wanted| wanted.iter().all(|(name, value)| labels.get(name) == Some(value)))
}
