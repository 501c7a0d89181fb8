//! JSON patch and merge patch.

use serde_json::{Map, Value};

use crate::status::Status;

/// Lays a merge patch (RFC 7386) over a value: nulls take away.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// Carries out a JSON patch (RFC 6902).
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let steps = patch
        .as_array()
        .ok_or_else(|| Status::bad_request("a JSON patch must be a list"))?;
    for step in steps {
        one(target, step).map_err(|why| {
            Status::new(
                422,
                "Invalid",
                format!("the server rejected our request due to an error in our request: {why}"),
            )
        })?;
    }
    Ok(())
}

fn one(target: &mut Value, step: &Value) -> Result<(), String> {
    let text = |field: &str| step.get(field).and_then(Value::as_str);
    let path = text("path").ok_or("a step has no path")?;
    let value = || {
        step.get("value")
            .cloned()
            .ok_or_else(|| format!("no value for {path}"))
    };
    match text("op").unwrap_or_default() {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(|_| ()),
        "replace" => {
            let value = value()?;
            let place = target
                .pointer_mut(path)
                .ok_or_else(|| format!("replace operation does not apply: doc is missing path: {path}"))?;
            *place = value;
            Ok(())
        }
        "test" => {
            let wanted = value()?;
            let found = target.pointer(path).unwrap_or(&Value::Null);
            if *found == wanted {
                Ok(())
            } else {
                Err(format!("testing value {path} failed"))
            }
        }
        "move" => {
            let from = text("from").ok_or("a move has no from")?;
            let moved = remove(target, from)?;
            add(target, path, moved)
        }
        "copy" => {
            let from = text("from").ok_or("a copy has no from")?;
            let copied = target
                .pointer(from)
                .cloned()
                .ok_or_else(|| format!("copy operation does not apply: doc is missing path: {from}"))?;
            add(target, path, copied)
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// The parent of a path, and the last part of it.
fn parent<'v>(target: &'v mut Value, path: &str) -> Result<(&'v mut Value, String), String> {
    let (above, last) = path
        .rsplit_once('/')
        .ok_or_else(|| format!("invalid path {path:?}"))?;
    let parent = target
        .pointer_mut(above)
        .ok_or_else(|| format!("doc is missing path: {path}"))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), name) => {
            map.insert(name, value);
            Ok(())
        }
        (Value::Array(items), place) => {
            let place = if place == "-" {
                items.len()
            } else {
                place.parse().map_err(|_| format!("invalid index in {path:?}"))?
            };
            if place > items.len() {
                return Err(format!("index out of range in {path:?}"));
            }
            items.insert(place, value);
            Ok(())
        }
        _ => Err(format!(
            "add operation does not apply: doc is missing path: {path}"
        )),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let missing = || format!("remove operation does not apply: doc is missing path: {path}");
    match parent(target, path)? {
        (Value::Object(map), name) => map.shift_remove(&name).ok_or_else(missing),
        (Value::Array(items), place) => {
            let place: usize = place.parse().map_err(|_| missing())?;
            if place < items.len() {
                Ok(items.remove(place))
            } else {
                Err(missing())
            }
        }
        _ => Err(missing()),
    }
}
