//! An object against its schema: fields, types, values.

use serde_json::Value;

use super::{Found, Path, is_unknown, text};
use crate::schema::{ListType, Schema};

/// Checks one field of a mapping.
pub(super) fn field(
    of: Schema<'_>,
    owner: &str,
    name: &str,
    value: &Value,
    path: &Path<'_>,
    found: &mut Found,
) {
    if is_unknown(name) {
        return;
    }
    let here = Path::Key(path, name);
    if let Some(schema) = of.field(name) {
        return any(schema, value, &here, found);
    }
    let is_closed = of.get("properties").is_some() && !of.is("x-kubernetes-preserve-unknown-fields");
    if is_closed {
        let near = text::nearest(name, of.fields());
        // Short names are like each other without being slips: `csrf` and `cors`.
        let is_slip = near.is_some_and(|near| name.len() > 4 && strsim::damerau_levenshtein(name, near) <= 2);
        found.add_unless_lacking(
            &here,
            format!("{owner} has no field `{name}`"),
            Some(near.map_or_else(|| fields_there_are(of), |near| format!("did you mean `{near}`?"))),
            is_slip,
        );
    }
}

fn fields_there_are(of: Schema<'_>) -> String {
    let mut names: Vec<&str> = of.fields().collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(12);
    names.truncate(12);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("its fields are {}{more}", names.join(", "))
}

/// The fields that must be there and are not.
pub(super) fn missing(schema: Schema<'_>, value: &Value, path: &Path<'_>, found: &mut Found) {
    let Some(map) = value.as_object() else { return };
    if map.keys().any(|key| is_unknown(key)) {
        return;
    }
    for name in schema.required() {
        if map.get(name).is_none_or(Value::is_null) {
            let help = match name {
                "pathType" => Some("write `pathType: Prefix`, or `Exact`".to_owned()),
                _ => None,
            };
            let place = match path {
                Path::Root => "the object".to_owned(),
                path => path.last(),
            };
            found.add(path, format!("{place} needs the field `{name}`"), help);
        }
    }
}

/// Checks a value against the schema of its place.
fn any(schema: Schema<'_>, value: &Value, path: &Path<'_>, found: &mut Found) {
    let is_free = match value {
        // A field that is null is left out.
        Value::Null => true,
        Value::String(text) => is_unknown(text),
        _ => false,
    };
    if is_free || schema.is_open() && schema.kind() != Some("object") {
        return;
    }
    if schema.is("x-kubernetes-int-or-string") {
        return int_or_text(schema, value, path, found);
    }
    match (schema.kind(), value) {
        (Some("object"), Value::Object(map)) => {
            let owner = path.last();
            for (name, value) in map {
                field(schema, &owner, name, value, path, found);
            }
            missing(schema, value, path, found);
        }
        (Some("array"), Value::Array(items)) => list(schema, items, path, found),
        (Some("string"), Value::String(value)) => one_text(schema, value, path, found),
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            range(schema, number.as_i64().unwrap_or(i64::MAX), path, found);
        }
        (Some("number"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (Some(wanted), value) => mistyped(wanted, value, path, found),
    }
}

fn mistyped(wanted: &str, value: &Value, path: &Path<'_>, found: &mut Found) {
    let name = |kind: &str| match kind {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        _ => "a number",
    };
    let (is, help) = match (wanted, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => (
            if value.is_boolean() {
                "true or false"
            } else {
                "a number"
            },
            Some(format!("put it in quotes: \"{value}\"")),
        ),
        ("integer" | "number" | "boolean", Value::String(text)) => {
            let fits = match wanted {
                "boolean" => text == "true" || text == "false",
                _ => text.parse::<f64>().is_ok(),
            };
            ("a text", fits.then(|| format!("take the quotes off: {text}")))
        }
        ("array", _) => (name(kind_of(value)), Some("begin each item with `- `".to_owned())),
        _ => (name(kind_of(value)), None),
    };
    found.add(
        path,
        format!("{} must be {}, and is {is}", path.last(), name(wanted)),
        help,
    );
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    }
}

fn int_or_text(schema: Schema<'_>, value: &Value, path: &Path<'_>, found: &mut Found) {
    let is_quantity = schema.get("format").and_then(Value::as_str) == Some("quantity");
    match value {
        Value::String(text) if is_quantity && text::quantity(text).is_none() => found.add(
            path,
            format!("{} is not a quantity: `{text}`", path.last()),
            Some("write a number with a unit such as `500m`, `2`, `512Mi` or `20Gi`".to_owned()),
        ),
        Value::String(_) | Value::Number(_) => {}
        other => found.add(
            path,
            format!("{} must be a number or a text", path.last()),
            other.is_object().then(|| "write it in one line".to_owned()),
        ),
    }
}

fn one_text(schema: Schema<'_>, value: &str, path: &Path<'_>, found: &mut Found) {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let known: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        if !known.contains(&value) {
            let near = known.iter().find(|known| known.eq_ignore_ascii_case(value));
            found.add(
                path,
                format!("{} cannot be `{value}`", path.last()),
                Some(match near {
                    Some(near) => format!("write `{near}`"),
                    None => format!("it is one of {}", known.join(", ")),
                }),
            );
        }
    }
    match schema.get("format").and_then(Value::as_str) {
        Some("byte") if !text::is_base64(value) => found.add(
            path,
            format!("{} is not Base64", path.last()),
            Some("put plain text into `stringData` instead of `data`, or encode it".to_owned()),
        ),
        Some("date-time") if !text::is_time(value) => found.add(
            path,
            format!("{} is not a time: `{value}`", path.last()),
            Some("write it as 2030-01-31T12:00:00Z".to_owned()),
        ),
        _ => {}
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if let Some(pattern) = pattern.and_then(|pattern| regex::Regex::new(pattern).ok())
        && !pattern.is_match(value)
    {
        found.add(
            path,
            format!("{} does not fit the pattern {pattern}", path.last()),
            None,
        );
    }
}

fn range(schema: Schema<'_>, value: i64, path: &Path<'_>, found: &mut Found) {
    let limit = |word: &str| schema.get(word).and_then(Value::as_i64);
    let (least, most) = (limit("minimum"), limit("maximum"));
    if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
        let help = match (least, most) {
            (Some(least), Some(most)) if most < i64::from(i32::MAX) => {
                format!("it is between {least} and {most}")
            }
            (Some(least), _) => format!("it is at least {least}"),
            (None, most) => format!("it is at most {}", most.unwrap_or_default()),
        };
        found.add(path, format!("{} cannot be {value}", path.last()), Some(help));
    }
}

fn list(schema: Schema<'_>, items: &[Value], path: &Path<'_>, found: &mut Found) {
    let Some(item) = schema.items() else { return };
    for (index, value) in items.iter().enumerate() {
        any(item, value, &Path::Index(path, index), found);
    }
    match schema.list_type() {
        ListType::Atomic => {}
        ListType::Set => {
            for (index, value) in items.iter().enumerate() {
                if items[..index].contains(value) && !value.as_str().is_some_and(is_unknown) {
                    let here = Path::Index(path, index);
                    found.add(&here, format!("{value} stands twice in {}", path.last()), None);
                }
            }
        }
        ListType::Map(keys) => twice(item, &keys, items, path, found),
    }
}

/// Two items that the server would take for one.
fn twice(item: Schema<'_>, keys: &[&str], items: &[Value], path: &Path<'_>, found: &mut Found) {
    let identity = |value: &Value| -> Option<Vec<Value>> {
        let part = |key: &&str| {
            let given = value.get(*key).cloned();
            let value = given.or_else(|| item.field(key)?.get("default").cloned())?;
            (!value.as_str().is_some_and(is_unknown)).then_some(value)
        };
        keys.iter().map(part).collect()
    };
    let all: Vec<Option<Vec<Value>>> = items.iter().map(identity).collect();
    for (index, one) in all.iter().enumerate() {
        let Some(one) = one else { continue };
        if all[..index].contains(&Some(one.clone())) {
            let said: Vec<String> = one
                .iter()
                .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                .collect();
            found.add(
                &Path::Index(path, index),
                format!(
                    "{} has two items with the {} `{}`",
                    path.last(),
                    keys.join(" and "),
                    said.join(" ")
                ),
                Some("the server takes them for one: keep one of them".to_owned()),
            );
        }
    }
}
