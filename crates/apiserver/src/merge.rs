//! Merging by schema, as server-side apply does it: which fields a value has, what differs between
//! two, what one laid over the other gives, and what is left when fields are taken away.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::fields::{Fields, Part};
use crate::schema::{Listing, Schema};

/// The fields a value has, in the sense of who may own them: leaves, items of lists and maps.
pub(crate) fn fields_of(value: &Value, schema: Schema<'_>) -> Result<Fields, String> {
    match value {
        Value::Object(map) if !map.is_empty() && !schema.atomic_map() => {
            let mut fields = Fields::default();
            for (name, child) in map {
                let mut found =
                    fields_of(child, schema.field(name)).map_err(|why| format!(".{name}{why}"))?;
                // Fields of a structure belong to it; entries of a map are things of their own.
                found.own |= !schema.names(name);
                fields.put(Part::Field(name.clone()), found);
            }
            Ok(fields)
        }
        Value::Array(items) if !items.is_empty() => match parts(items, schema)? {
            None => Ok(Fields::leaf()),
            Some(parts) => {
                let mut fields = Fields::default();
                for (part, item) in parts.into_iter().zip(items) {
                    let mut found = match part {
                        Part::Key(_) => fields_of(item, schema.items())?,
                        _ => Fields::leaf(),
                    };
                    found.own = true;
                    fields.put(part, found);
                }
                Ok(fields)
            }
        },
        _ => Ok(Fields::leaf()),
    }
}

/// What each item of a list is called; `None` when the list is one value.
fn parts(items: &[Value], schema: Schema<'_>) -> Result<Option<Vec<Part>>, String> {
    let parts: Vec<Part> = match schema.listing() {
        Listing::Atomic => return Ok(None),
        Listing::Set => items.iter().map(|item| Part::Value(item.to_string())).collect(),
        Listing::Map(keys) => {
            let inner = schema.items();
            items
                .iter()
                .map(|item| part_by_keys(item, keys, inner))
                .collect::<Result<_, _>>()?
        }
    };
    Ok(Some(parts))
}

/// The part of an item by its key fields, each with its default when it is left out.
fn part_by_keys(item: &Value, keys: &[Value], schema: Schema<'_>) -> Result<Part, String> {
    let mut found = BTreeMap::new();
    for key in keys.iter().filter_map(Value::as_str) {
        let value = match item.get(key) {
            Some(value) if !value.is_null() => Some(value.clone()),
            _ => schema.default_of(key).cloned().or_else(|| known_default(key)),
        };
        if let Some(value) = value {
            found.insert(key.to_owned(), value);
        }
    }
    if found.is_empty() {
        let keys: Vec<String> = keys.iter().map(Value::to_string).collect();
        return Err(format!(
            ": element 0: associative list with keys has an element that omits key field {}",
            keys.join(", ")
        ));
    }
    Ok(Part::keys(found))
}

/// The schemas of the built-in kinds leave out the one default that is part of a key.
fn known_default(key: &str) -> Option<Value> {
    (key == "protocol").then(|| Value::from("TCP"))
}

/// What differs between two values.
#[derive(Default)]
pub(crate) struct Difference {
    /// Fields that are new or have another value.
    pub(crate) changed: Fields,
    /// Fields that are gone.
    pub(crate) removed: Fields,
}

impl Difference {
    fn put(&mut self, part: &Part, inner: Difference) {
        self.changed.put(part.clone(), inner.changed);
        self.removed.put(part.clone(), inner.removed);
    }
}

/// What differs between an old value and a new one.
pub(crate) fn difference(old: Option<&Value>, new: Option<&Value>, schema: Schema<'_>) -> Difference {
    let mut found = Difference::default();
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => found.changed = nodes_of(new, schema),
        (Some(old), None) => found.removed = nodes_of(old, schema),
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) if !schema.atomic_map() => {
            for (name, was) in old {
                let inner = difference(Some(was), new.get(name), schema.field(name));
                found.put(&Part::Field(name.clone()), inner);
            }
            for (name, is) in new {
                if !old.contains_key(name) {
                    let inner = difference(None, Some(is), schema.field(name));
                    found.put(&Part::Field(name.clone()), inner);
                }
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            match (by_part(old, schema), by_part(new, schema)) {
                (Some(old), Some(new)) => {
                    for (part, was) in &old {
                        let inner = difference(Some(was), new.get(part).copied(), schema.items());
                        found.put(part, as_item(inner, new.contains_key(part)));
                    }
                    for (part, is) in &new {
                        if !old.contains_key(part) {
                            let mut inner = difference(None, Some(is), schema.items());
                            inner.changed.own = true;
                            found.put(part, inner);
                        }
                    }
                }
                _ => found.changed = Fields::leaf(),
            }
        }
        (Some(old), Some(new)) => {
            found.removed = nodes_of(old, schema);
            found.changed = nodes_of(new, schema);
            found.removed.own = false;
            found.changed.own = true;
        }
    }
    found
}

fn as_item(mut inner: Difference, stays: bool) -> Difference {
    if !stays {
        inner.removed.own = true;
    }
    inner
}

/// All nodes of a value: leaves, items, maps and lists. Structures count through what they hold.
fn nodes_of(value: &Value, schema: Schema<'_>) -> Fields {
    match value {
        Value::Object(map) if !map.is_empty() && !schema.atomic_map() => {
            let structure = schema.node().is_some_and(|node| node.get("properties").is_some());
            let mut fields = Fields {
                own: !structure,
                children: BTreeMap::new(),
            };
            for (name, child) in map {
                fields.put(Part::Field(name.clone()), nodes_of(child, schema.field(name)));
            }
            fields
        }
        Value::Array(items) if !items.is_empty() => match parts(items, schema) {
            Ok(Some(parts)) => {
                let mut fields = Fields::leaf();
                for (part, item) in parts.into_iter().zip(items) {
                    let mut child = match part {
                        Part::Key(_) => nodes_of(item, schema.items()),
                        _ => Fields::leaf(),
                    };
                    child.own = true;
                    fields.put(part, child);
                }
                fields
            }
            _ => Fields::leaf(),
        },
        _ => Fields::leaf(),
    }
}

fn by_part<'v>(items: &'v [Value], schema: Schema<'_>) -> Option<BTreeMap<Part, &'v Value>> {
    let parts = parts(items, schema).ok()??;
    Some(parts.into_iter().zip(items).collect())
}

/// What a configuration laid over a live value gives.
pub(crate) fn merged(live: Option<&Value>, config: &Value, schema: Schema<'_>) -> Result<Value, String> {
    match (live, config) {
        (Some(Value::Object(live)), Value::Object(config)) if !schema.atomic_map() => {
            let mut all = live.clone();
            for (name, wanted) in config {
                let inner = merged(live.get(name), wanted, schema.field(name))
                    .map_err(|why| format!(".{name}{why}"))?;
                all.insert(name.clone(), inner);
            }
            Ok(Value::Object(all))
        }
        (None, Value::Object(config)) if !schema.atomic_map() => {
            let mut all = Map::new();
            for (name, wanted) in config {
                let inner =
                    merged(None, wanted, schema.field(name)).map_err(|why| format!(".{name}{why}"))?;
                all.insert(name.clone(), inner);
            }
            Ok(Value::Object(all))
        }
        (live, Value::Array(wanted)) => {
            let Some(wanted_parts) = parts(wanted, schema)? else {
                return Ok(config.clone());
            };
            no_twins(&wanted_parts)?;
            let empty = Vec::new();
            let live = live.and_then(Value::as_array).unwrap_or(&empty);
            let live_parts = parts(live, schema)?.unwrap_or_default();
            merged_lists(live, &live_parts, wanted, &wanted_parts, schema)
        }
        _ => Ok(config.clone()),
    }
}

fn no_twins(parts: &[Part]) -> Result<(), String> {
    let mut sorted: Vec<&Part> = parts.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let twin = Fields {
                own: false,
                children: BTreeMap::from([(pair[0].clone(), Fields::leaf())]),
            };
            Err(format!(": duplicate entries for key {}", twin.said().join("")))
        }
        None => Ok(()),
    }
}

/// Items wanted come in the order they are wanted in; items only the live list has keep their places
/// between them.
fn merged_lists(
    live: &[Value],
    live_parts: &[Part],
    wanted: &[Value],
    wanted_parts: &[Part],
    schema: Schema<'_>,
) -> Result<Value, String> {
    let live_by: HashMap<String, usize> = live_parts
        .iter()
        .enumerate()
        .map(|(place, part)| (format!("{part:?}"), place))
        .collect();
    let is_wanted: Vec<bool> = live_parts
        .iter()
        .map(|part| wanted_parts.contains(part))
        .collect();
    let mut all = Vec::with_capacity(live.len().max(wanted.len()));
    let mut next = 0;
    for (part, item) in wanted_parts.iter().zip(wanted) {
        let Some(&place) = live_by.get(&format!("{part:?}")) else {
            all.push(merged_item(None, item, part, schema)?);
            continue;
        };
        while next < live.len() && !is_wanted[next] {
            all.push(live[next].clone());
            next += 1;
        }
        next = (next + 1).min(live.len());
        all.push(merged_item(Some(&live[place]), item, part, schema)?);
    }
    for place in next..live.len() {
        if !is_wanted[place] {
            all.push(live[place].clone());
        }
    }
    Ok(Value::Array(all))
}

fn merged_item(
    live: Option<&Value>,
    wanted: &Value,
    part: &Part,
    schema: Schema<'_>,
) -> Result<Value, String> {
    match part {
        Part::Key(_) => merged(live, wanted, schema.items()),
        _ => Ok(wanted.clone()),
    }
}

/// What is left of a value when all that was owned before (`last`) and is owned by nobody now
/// (`owned`) is taken away. `None` when nothing is left.
pub(crate) fn pruned(
    value: Value,
    last: &Fields,
    owned: Option<&Fields>,
    schema: Schema<'_>,
) -> Option<Value> {
    match value {
        Value::Object(map) if !schema.atomic_map() => {
            let was_empty = map.is_empty();
            let mut left = Map::with_capacity(map.len());
            for (name, child) in map {
                let part = Part::Field(name);
                let kept = pruned_child(child, &part, last, owned, |part| match part {
                    Part::Field(name) => (schema.field(name), schema.names(name)),
                    _ => (schema, false),
                });
                if let (Some(kept), Part::Field(name)) = (kept, part) {
                    left.insert(name, kept);
                }
            }
            let stays = was_empty || !left.is_empty() || owned.is_some_and(|owned| owned.own);
            stays.then_some(Value::Object(left))
        }
        Value::Array(items) => {
            let Ok(Some(parts)) = parts(&items, schema) else {
                return Some(Value::Array(items));
            };
            let was_empty = items.is_empty();
            let left: Vec<Value> = parts
                .iter()
                .zip(items)
                .filter_map(|(part, item)| pruned_child(item, part, last, owned, |_| (schema.items(), false)))
                .collect();
            let stays = was_empty || !left.is_empty() || owned.is_some_and(|owned| owned.own);
            stays.then_some(Value::Array(left))
        }
        leaf => Some(leaf),
    }
}

fn pruned_child<'s>(
    child: Value,
    part: &Part,
    last: &Fields,
    owned: Option<&Fields>,
    schema_of: impl FnOnce(&Part) -> (Schema<'s>, bool),
) -> Option<Value> {
    let Some(last) = last.children.get(part) else {
        return Some(child);
    };
    let owned = owned.and_then(|owned| owned.children.get(part));
    let (schema, in_structure) = schema_of(part);
    // A structure that was owned through its fields goes whole, what was defaulted in it included.
    let was_member = last.own || (in_structure && !last.children.is_empty());
    if was_member && owned.is_none() {
        return None;
    }
    pruned(child, last, owned, schema)
}
