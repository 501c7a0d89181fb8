//! Where a thing is, once ids are known that only the API could tell: `{id}` is its own, `{NAME.FIELD}` a field of a
//! thing above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

/// What is known of the things of a step.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// All names there are.
    pub(crate) names: BTreeSet<String>,
    /// What stands, by name.
    pub(crate) standing: BTreeMap<String, Value>,
}

/// A thing that something else is named after, and that does not stand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) String);

/// Puts ids into a text. In a path they are escaped.
pub(crate) fn text(
    written: &str,
    own: Option<&Value>,
    known: &Known,
    in_path: bool,
) -> Result<String, Missing> {
    let mut out = String::new();
    let mut rest = written;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = rest.find('}') else { break };
        match stands_for(&rest[1..end], own, known)? {
            // An id that is empty, or points to what it lies in, would lead to the whole list instead of one item.
            Some(value) if in_path && matches!(value.as_str(), "" | "." | "..") => {
                return Err(Missing(rest[1..end].to_owned()));
            }
            Some(value) => {
                if in_path {
                    escape(&value, &mut out);
                } else {
                    out.push_str(&value);
                }
                rest = &rest[end + 1..];
            }
            // Something else in braces, such as the JSON of a policy or a reference to a secret.
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Puts ids into every text of a tree.
pub(crate) fn tree(written: &Value, own: Option<&Value>, known: &Known) -> Result<Value, Missing> {
    Ok(match written {
        Value::String(written) => Value::String(text(written, own, known, false)?),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| tree(item, own, known))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| Ok((key.clone(), tree(value, own, known)?)))
                .collect::<Result<_, Missing>>()?,
        ),
        other => other.clone(),
    })
}

fn stands_for(inner: &str, own: Option<&Value>, known: &Known) -> Result<Option<String>, Missing> {
    if inner == "id" {
        return Ok(own.and_then(|own| plain(own.get("id")?)));
    }
    let named = known.names.iter().find_map(|name| {
        let field = inner.strip_prefix(name.as_str())?.strip_prefix('.')?;
        Some((name, field))
    });
    let Some((name, field)) = named else {
        return Ok(None);
    };
    let value = known
        .standing
        .get(name)
        .and_then(|value| plain(field_of(value, field)?));
    value.map(Some).ok_or_else(|| Missing(name.clone()))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A field by its dotted path, or by a JSON pointer when names have points in them.
pub(crate) fn field_of<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.starts_with('/') {
        return value.pointer(path);
    }
    path.split('.').try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    })
}

/// Sets a field by its path, making what it lies in.
pub(crate) fn set(value: &mut Value, path: &str, field: Value) {
    let parts: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer
            .split('/')
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
        None => path.split('.').map(str::to_owned).collect(),
    };
    let mut at = value;
    for part in parts {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(part).or_insert(Value::Null);
    }
    *at = field;
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_put_where_they_are_named() {
        let known = Known {
            names: ["client-web", "role"].map(str::to_owned).into(),
            standing: [("client-web".to_owned(), json!({ "id": "c/1", "name": "Web" }))].into(),
        };
        let own = json!({ "id": 7 });
        let path = |written: &str| text(written, Some(&own), &known, true);
        assert_eq!(
            path("/clients/{client-web.id}/x/{id}").unwrap(),
            "/clients/c%2F1/x/7"
        );
        assert_eq!(path("/roles/{role.id}"), Err(Missing("role".to_owned())));
        for empty in ["", "."] {
            let own = json!({ "id": empty });
            assert_eq!(
                text("/clients/{id}", Some(&own), &known, true),
                Err(Missing("id".to_owned()))
            );
        }
        let body =
            json!({ "a": "{client-web.name}", "b": "{{resolve:secretsmanager:x}}", "c": "{\"id\":1}" });
        assert_eq!(
            tree(&body, None, &known).unwrap(),
            json!({ "a": "Web", "b": "{{resolve:secretsmanager:x}}", "c": "{\"id\":1}" })
        );
        let mut value = json!({ "a": 1 });
        set(&mut value, "attributes.landfall", json!("x"));
        set(&mut value, "/attributes/land.fall", json!("y"));
        assert_eq!(
            value,
            json!({ "a": 1, "attributes": { "landfall": "x", "land.fall": "y" } })
        );
    }
}
