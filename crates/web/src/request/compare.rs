//! What differs between what is wanted and what an API says stands.
//!
//! Only fields that are named are looked at. Nothing and an empty value are the same, since APIs leave empty fields out;
//! the order of lists does not count, since many of them are sets; a text that holds JSON is compared as JSON.

use landfall_model::definition::RequestLists;
use landfall_model::provider::PropertyChange;
use serde_json::{Map, Value};

use super::reference::has_reference;

/// What would have to change for `seen` to be as `wanted`. Secrets are left out: an API does not tell them.
pub(crate) fn differences(wanted: &Value, seen: &Value, lists: RequestLists) -> Vec<PropertyChange> {
    let mut found = Vec::new();
    // Where nothing is wanted, what stands is right as it stands.
    if !wanted.is_null() {
        compare(wanted, seen, lists, "", &mut found);
    }
    found
}

/// Whether `seen` has everything that is wanted.
pub(crate) fn fits(wanted: &Value, seen: &Value, lists: RequestLists) -> bool {
    differences(wanted, seen, lists).is_empty()
}

fn compare(wanted: &Value, seen: &Value, lists: RequestLists, path: &str, found: &mut Vec<PropertyChange>) {
    match (wanted, seen) {
        (Value::String(text), _) if has_reference(text) => {}
        (wanted, seen) if is_empty(wanted) && is_empty(seen) => {}
        (Value::Object(wanted), _) => {
            for (key, value) in wanted {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                compare(value, seen.get(key).unwrap_or(&Value::Null), lists, &path, found);
            }
        }
        (Value::Array(wanted_items), Value::Array(seen_items)) if same(wanted_items, seen_items, lists) => {}
        (Value::String(wanted_text), Value::String(seen_text)) if wanted_text != seen_text => {
            match (structure(wanted_text), structure(seen_text)) {
                (Some(wanted), Some(seen)) if fits(&wanted, &seen, lists) => {}
                _ => found.push(change(path, wanted, seen)),
            }
        }
        (wanted, seen) if wanted == seen => {}
        (Value::Number(wanted), Value::Number(seen)) if wanted.as_f64() == seen.as_f64() => {}
        (wanted, seen) => found.push(change(path, wanted, seen)),
    }
}

/// Whether each wanted item is there; and, unless others may be, nothing else.
fn same(wanted: &[Value], seen: &[Value], lists: RequestLists) -> bool {
    if lists == RequestLists::Same && wanted.len() != seen.len() {
        return false;
    }
    let mut left: Vec<&Value> = seen.iter().collect();
    wanted.iter().all(|wanted| {
        let at = left.iter().position(|seen| fits(wanted, seen, lists));
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

/// A text that holds a list or a mapping in JSON.
fn structure(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    matches!(value, Value::Array(_) | Value::Object(_)).then_some(value)
}

fn change(path: &str, wanted: &Value, seen: &Value) -> PropertyChange {
    let shown = |value: &Value| match value {
        Value::Null => None,
        _ if is_secret(path) => Some("(not shown)".to_owned()),
        Value::String(text) => Some(text.clone()),
        other => Some(hidden(other).to_string()),
    };
    PropertyChange {
        path: path.to_owned(),
        before: shown(seen),
        after: shown(wanted),
        replaces: false,
    }
}

/// Whether a field is called as one that holds a secret.
fn is_secret(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default().to_lowercase();
    ["secret", "password", "token", "privatekey", "credentials"]
        .iter()
        .any(|word| last.ends_with(word))
}

/// The same value with everything left out that may be a secret.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, _)| !is_secret(key))
                .map(|(key, value)| (key.clone(), hidden(value)))
                .collect(),
        ),
        Value::Array(items) => items.iter().map(hidden).collect(),
        other => other.clone(),
    }
}

/// What stands, with what is wanted laid over it. Lists that must hold something among others keep the others.
pub(crate) fn merged(seen: &Value, wanted: &Value, lists: RequestLists) -> Value {
    match (seen, wanted) {
        (Value::Object(seen), Value::Object(wanted)) => {
            let mut whole: Map<String, Value> = seen.clone();
            for (key, value) in wanted {
                let before = whole.get(key).unwrap_or(&Value::Null);
                let after = merged(before, value, lists);
                whole.insert(key.clone(), after);
            }
            Value::Object(whole)
        }
        (Value::Array(seen), Value::Array(wanted)) if lists == RequestLists::Contain => {
            let missing = wanted
                .iter()
                .filter(|wanted| !seen.iter().any(|seen| fits(wanted, seen, lists)));
            seen.iter().chain(missing).cloned().collect()
        }
        (_, wanted) => wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(wanted: &Value, seen: &Value) -> Vec<String> {
        differences(wanted, seen, RequestLists::Same)
            .into_iter()
            .map(|change| {
                let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
                format!(
                    "{}: {} -> {}",
                    change.path,
                    text(change.before),
                    text(change.after)
                )
            })
            .collect()
    }

    #[test]
    fn only_what_is_named_is_compared() {
        let seen = json!({
            "enabled": true, "displayName": "Old", "ssoSessionIdleTimeout": 1800,
            "attributes": { "a": "1", "theirs": "x" },
            "redirectUris": ["https://b/*", "https://a/*"],
            "policies": [{ "id": "7", "name": "p", "config": { "roles": "[{\"id\":\"r\",\"required\":false}]" } }],
        });
        let wanted = json!({
            "enabled": true, "displayName": "New", "description": "", "ssoSessionIdleTimeout": 1800.0,
            "attributes": { "a": "2", "b": null },
            "redirectUris": ["https://a/*", "https://b/*"],
            "policies": [{ "name": "p", "config": { "roles": "[{ \"id\": \"r\", \"required\": false }]" } }],
            "secret": "{{resolve:secretsmanager:acme}}",
        });
        assert_eq!(
            changed(&wanted, &seen),
            ["displayName: Old -> New", "attributes.a: 1 -> 2"]
        );
        assert_eq!(
            merged(&seen, &json!({ "attributes": { "a": "2" } }), RequestLists::Same)["attributes"],
            json!({ "a": "2", "theirs": "x" })
        );
    }

    #[test]
    fn lists_are_the_same_or_have_something_among_others() {
        let seen = json!({ "roles": ["default", "a"] });
        let wanted = json!({ "roles": ["a"] });
        assert_eq!(changed(&wanted, &seen), [r#"roles: ["default","a"] -> ["a"]"#]);
        assert!(fits(&wanted, &seen, RequestLists::Contain));
        assert!(!fits(&json!({ "roles": ["b"] }), &seen, RequestLists::Contain));
        // Two that are alike are two.
        assert!(!fits(&json!(["a", "a"]), &json!(["a", "b"]), RequestLists::Same));
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let seen = json!({ "clientSecret": "s3cret", "users": [{ "name": "ann", "password": "s3cret" }] });
        let wanted = json!({ "clientSecret": "other", "users": [] });
        let shown = changed(&wanted, &seen).join("\n");
        assert!(!shown.contains("s3cret") && !shown.contains("other"), "{shown}");
    }
}
