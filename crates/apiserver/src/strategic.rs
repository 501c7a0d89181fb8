//! Strategic merge patch: lists of objects are merged item by item, with directives for the rest.

use serde_json::{Map, Value};

use crate::schema::{Listing, Schema};
use crate::status::Status;

/// Lays a strategic merge patch over a value.
pub(crate) fn merge(target: &mut Value, patch: &Value, schema: Schema<'_>) -> Result<(), Status> {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove("$patch");
            *target = Value::Object(whole);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(Status::bad_request(format!("Unknown patch type found: {other}")));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return Ok(());
    };
    retain(fields, patch);
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            take_from_set(fields, list, value);
        }
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        if value.is_null() {
            fields.remove(name);
            continue;
        }
        let inner = schema.field(name);
        match value {
            Value::Array(items) => {
                let live = fields
                    .entry(name.as_str())
                    .or_insert_with(|| Value::Array(Vec::new()));
                merge_list(live, items, inner)?;
            }
            _ => merge(fields.entry(name.as_str()).or_insert(Value::Null), value, inner)?,
        }
    }
    for (name, order) in patch {
        if let Some(list) = name.strip_prefix("$setElementOrder/")
            && let (Some(Value::Array(items)), Some(order)) = (fields.get_mut(list), order.as_array())
        {
            put_in_order(items, order, merge_key(schema.field(list)));
        }
    }
    Ok(())
}

/// `$retainKeys`: only these fields stay.
fn retain(fields: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|name, _| kept.iter().any(|it| it.as_str() == Some(name)));
    }
}

fn take_from_set(fields: &mut Map<String, Value>, list: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Some(gone)) = (fields.get_mut(list), gone.as_array()) {
        items.retain(|item| !gone.contains(item));
    }
}

/// The field by which items of a list are told apart: the first of its keys.
fn merge_key<'s>(schema: Schema<'s>) -> Option<&'s str> {
    if let Some(key) = schema
        .node()
        .and_then(|node| node.get("x-kubernetes-patch-merge-key"))
        .and_then(Value::as_str)
    {
        return Some(key);
    }
    match schema.listing() {
        Listing::Map(keys) => keys.first().and_then(Value::as_str),
        _ => None,
    }
}

fn merge_list(live: &mut Value, patch: &[Value], schema: Schema<'_>) -> Result<(), Status> {
    let replace = patch
        .iter()
        .any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"));
    let is_set = matches!(schema.listing(), Listing::Set);
    let Some(items) = live.as_array_mut().filter(|_| !replace) else {
        let kept = patch.iter().filter(|item| item.get("$patch").is_none());
        *live = Value::Array(kept.cloned().collect());
        return Ok(());
    };
    if is_set {
        for item in patch {
            if !items.contains(item) {
                items.push(item.clone());
            }
        }
        return Ok(());
    }
    let Some(key) = merge_key(schema) else {
        *live = Value::Array(patch.to_vec());
        return Ok(());
    };
    for item in patch {
        let Some(wanted) = item.get(key) else {
            return Err(Status::bad_request(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        };
        let place = items.iter().position(|it| it.get(key) == Some(wanted));
        if item.get("$patch").and_then(Value::as_str) == Some("delete") {
            items.retain(|it| it.get(key) != Some(wanted));
        } else if let Some(place) = place {
            merge(&mut items[place], item, schema.items())?;
        } else {
            let mut new = Value::Null;
            merge(&mut new, item, schema.items())?;
            items.push(new);
        }
    }
    Ok(())
}

/// Puts items in the order a patch names; those it does not name stay where they are, relative to
/// what is before them.
fn put_in_order(items: &mut Vec<Value>, order: &[Value], key: Option<&str>) {
    let same = |item: &Value, wanted: &Value| match key {
        Some(key) => item.get(key) == wanted.get(key),
        None => item == wanted,
    };
    let named: Vec<bool> = items
        .iter()
        .map(|item| order.iter().any(|wanted| same(item, wanted)))
        .collect();
    let mut sorted = order
        .iter()
        .filter_map(|wanted| items.iter().find(|item| same(item, wanted)).cloned())
        .collect::<Vec<_>>()
        .into_iter();
    let reordered: Vec<Value> = items
        .iter()
        .zip(named)
        .filter_map(|(item, named)| if named { sorted.next() } else { Some(item.clone()) })
        .collect();
    *items = reordered;
}
