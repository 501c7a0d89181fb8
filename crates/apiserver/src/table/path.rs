//! The part of JSONPath that columns are written in: `.a.b`, `[0]`, `[*]`, `['a/b']`,
//! `[?(@.type=="Ready")]`.

use serde_json::Value;

/// What stands at a path, in order.
pub(crate) fn find<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = vec![value];
    let mut rest = path.trim_start_matches('{').trim_end_matches('}');
    rest = rest.strip_prefix('$').unwrap_or(rest);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = closing(after) else {
                return Vec::new();
            };
            let (inner, after) = after.split_at(end);
            found = bracket(&found, inner);
            rest = &after[1..];
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = field_end(name);
            let (field, after) = name.split_at(end);
            if !field.is_empty() {
                // A dot within a name is written with a backslash.
                let field = field.replace("\\.", ".");
                found = found.iter().filter_map(|value| value.get(&field)).collect();
            } else if after.starts_with('.') {
                return Vec::new();
            }
            rest = after;
        }
    }
    found.retain(|value| !value.is_null());
    found
}

fn field_end(text: &str) -> usize {
    let mut escaped = false;
    for (place, letter) in text.char_indices() {
        match letter {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' | '[' if !escaped => return place,
            _ => {}
        }
        escaped = false;
    }
    text.len()
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (place, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if letter == open => quote = None,
            (None, ']') => return Some(place),
            _ => {}
        }
    }
    None
}

fn bracket<'v>(values: &[&'v Value], inner: &str) -> Vec<&'v Value> {
    if inner == "*" {
        return values
            .iter()
            .filter_map(|value| value.as_array())
            .flatten()
            .collect();
    }
    if let Some(test) = inner.strip_prefix("?(").and_then(|test| test.strip_suffix(')')) {
        let Some((path, wanted)) = test.split_once("==") else {
            return Vec::new();
        };
        let path = path.trim().trim_start_matches('@');
        let wanted = unquoted(wanted.trim());
        return values
            .iter()
            .filter_map(|value| value.as_array())
            .flatten()
            .filter(|item| {
                find(item, path).first().is_some_and(|found| match found {
                    Value::String(text) => text == wanted,
                    other => wanted.parse::<Value>().is_ok_and(|wanted| wanted == **other),
                })
            })
            .collect();
    }
    if let Ok(place) = inner.parse::<usize>() {
        return values.iter().filter_map(|value| value.get(place)).collect();
    }
    let name = unquoted(inner);
    values.iter().filter_map(|value| value.get(name)).collect()
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(|letter| letter == '\'' || letter == '"')
}
