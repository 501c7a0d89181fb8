//! What a schema does to an object: unknown fields go, defaults come, and what does not fit is said.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::status::{Cause, type_name};

/// Takes out fields the schema does not know, and returns where they were.
///
/// An object of a custom resource whose schema names no properties holds nothing, unless it says
/// otherwise; in the schemas of built-in kinds (`custom` false) such an object is a free one.
pub(crate) fn prune(object: &mut Value, schema: Schema<'_>, custom: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    let way = Way { custom, whole: true };
    prune_at(object, schema, "", way, &mut unknown);
    unknown
}

#[derive(Clone, Copy)]
struct Way {
    custom: bool,
    /// At the object itself, whose first fields no schema needs to name.
    whole: bool,
}

fn prune_at(value: &mut Value, schema: Schema<'_>, path: &str, way: Way, unknown: &mut Vec<String>) {
    if schema.node().is_none() {
        return;
    }
    match value {
        Value::Object(map) => prune_map(map, schema, path, way, unknown),
        Value::Array(items) => {
            let way = Way { whole: false, ..way };
            for (place, item) in items.iter_mut().enumerate() {
                prune_at(item, schema.items(), &format!("{path}[{place}]"), way, unknown);
            }
        }
        _ => {}
    }
}

fn prune_map(
    map: &mut Map<String, Value>,
    schema: Schema<'_>,
    path: &str,
    way: Way,
    unknown: &mut Vec<String>,
) {
    let node = schema.node();
    let embedded =
        node.and_then(|node| node.get("x-kubernetes-embedded-resource")) == Some(&Value::Bool(true));
    let any_key = node.is_some_and(|node| match node.get("additionalProperties") {
        Some(Value::Bool(allowed)) => *allowed,
        Some(_) => true,
        None => node.get("properties").is_none() && !way.custom,
    });
    let open = schema.open() || any_key;
    let own = |name: &str| (way.whole || embedded) && matches!(name, "apiVersion" | "kind" | "metadata");
    map.retain(|name, child| {
        let here = || {
            if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            }
        };
        if !schema.names(name) && !open && !own(name) {
            unknown.push(here());
            return false;
        }
        let inner = schema.field(name);
        // Structures do not hold nulls, but for fields that say they may.
        let nullable = inner.node().is_none_or(|node| {
            node.get("nullable") == Some(&Value::Bool(true)) || node.as_object().is_none_or(Map::is_empty)
        });
        if child.is_null() && schema.names(name) && !nullable {
            return false;
        }
        if schema.names(name) || !own(name) {
            prune_at(child, inner, &here(), Way { whole: false, ..way }, unknown);
        }
        true
    });
}

/// Puts in the defaults the schema names.
pub(crate) fn fill(value: &mut Value, schema: Schema<'_>) {
    let Some(node) = schema.node() else { return };
    match value {
        Value::Object(map) => {
            if let Some(properties) = node.get("properties").and_then(Value::as_object) {
                for name in properties.keys() {
                    let nothing = map.get(name).is_none_or(Value::is_null);
                    if nothing && let Some(default) = schema.default_of(name) {
                        map.insert(name.clone(), default.clone());
                    }
                }
            }
            for (name, child) in map.iter_mut() {
                fill(child, schema.field(name));
            }
        }
        Value::Array(items) => {
            for item in items {
                fill(item, schema.items());
            }
        }
        _ => {}
    }
}

/// What of a value does not fit its schema.
pub(crate) fn misfits(object: &Value, schema: Schema<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(object, schema, "", &mut causes);
    causes
}

fn check(value: &Value, schema: Schema<'_>, path: &str, causes: &mut Vec<Cause>) {
    let Some(node) = schema.node().and_then(Value::as_object) else {
        return;
    };
    if value.is_null() && node.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    if !type_fits(value, node) {
        let want = match node.get("type") {
            Some(Value::String(want)) => want.clone(),
            Some(Value::Array(several)) => several
                .iter()
                .filter_map(Value::as_str)
                .find(|it| *it != "null")
                .unwrap_or("value")
                .to_owned(),
            _ => "integer or string".to_owned(),
        };
        causes.push(Cause::wrong_type(path, value, &want));
        return;
    }
    if let Some(Value::Array(allowed)) = node.get("enum")
        && !allowed.contains(value)
    {
        causes.push(Cause::unsupported(path, value, allowed));
    }
    match value {
        Value::Object(map) => check_map(map, schema, node, path, causes),
        Value::Array(items) => {
            check_length(value, items.len(), node, ("minItems", "maxItems"), path, causes);
            for (place, item) in items.iter().enumerate() {
                check(item, schema.items(), &format!("{path}[{place}]"), causes);
            }
        }
        Value::String(text) => {
            let long = text.chars().count();
            check_length(value, long, node, ("minLength", "maxLength"), path, causes);
            if let Some(pattern) = node.get("pattern").and_then(Value::as_str)
                && !matches_pattern(pattern, text)
            {
                causes.push(Cause::invalid(
                    path,
                    value,
                    &format!("in body should match '{pattern}'"),
                ));
            }
        }
        Value::Number(number) => check_bounds(value, number.as_f64(), node, path, causes),
        _ => {}
    }
}

/// Whether a text fits a pattern. Patterns are compiled once; one that cannot be read fits all, as its
/// definition would have been refused.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = compiled
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).ok());
    wanted.as_ref().is_none_or(|wanted| wanted.is_match(text))
}

fn check_map(
    map: &Map<String, Value>,
    schema: Schema<'_>,
    node: &Map<String, Value>,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    let required = node.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if map.get(name).is_none_or(Value::is_null) {
            causes.push(Cause::required(below(name)));
        }
    }
    check_length(
        &Value::String("object".to_owned()),
        map.len(),
        node,
        ("minProperties", "maxProperties"),
        path,
        causes,
    );
    for (name, child) in map {
        check(child, schema.field(name), &below(name), causes);
    }
}

fn type_fits(value: &Value, node: &Map<String, Value>) -> bool {
    if node.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return value.is_string() || value.is_number();
    }
    let fits = |want: &str| match want {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        want => type_name(value) == want,
    };
    match node.get("type") {
        Some(Value::String(want)) => fits(want),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(fits),
        _ => true,
    }
}

fn check_length(
    value: &Value,
    length: usize,
    node: &Map<String, Value>,
    (least, most): (&str, &str),
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let bound = |word: &str| node.get(word).and_then(Value::as_u64);
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if let Some(least) = bound(least).filter(|least| length < *least) {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("should have at least {least} items or characters"),
        ));
    }
    if let Some(most) = bound(most).filter(|most| length > *most) {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("may not be more than {most} items or characters"),
        ));
    }
}

fn check_bounds(
    value: &Value,
    number: Option<f64>,
    node: &Map<String, Value>,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let Some(number) = number else { return };
    let bound = |word: &str| node.get(word).and_then(Value::as_f64);
    let excluded = |word: &str| node.get(word) == Some(&Value::Bool(true));
    if let Some(least) = bound("minimum")
        && (number < least || (excluded("exclusiveMinimum") && number <= least))
    {
        let why = format!("in body should be greater than or equal to {least}");
        causes.push(Cause::invalid(path, value, &why));
    }
    if let Some(most) = bound("maximum")
        && (number > most || (excluded("exclusiveMaximum") && number >= most))
    {
        let why = format!("in body should be less than or equal to {most}");
        causes.push(Cause::invalid(path, value, &why));
    }
}
