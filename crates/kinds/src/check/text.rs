//! The syntax of texts: names, labels, quantities, times, Base64 (sources: Kubernetes, "Object Names and IDs", "Labels
//! and Selectors", "Quantity"; RFC 1123).

use serde_json::Value;

use super::{Found, Path, is_unknown};
use crate::Kind;

/// The name most like a misspelt one.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match wrong.len() {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    let lower = wrong.to_lowercase();
    names
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// The name, the namespace, labels and annotations of an object.
pub(super) fn metadata(kind: &Kind, object: &Value, found: &mut Found) {
    let metadata = &object["metadata"];
    let root = Path::Root;
    let path = Path::Key(&root, "metadata");
    if let Some(name) = known(&metadata["name"]) {
        let here = Path::Key(&path, "name");
        let is_label = matches!(
            (kind.group.as_str(), kind.kind.as_str()),
            ("", "Namespace" | "Service")
        );
        if kind.group == "rbac.authorization.k8s.io" {
            if name.contains(['/', '%']) || name == "." || name == ".." {
                found.add(
                    &here,
                    format!("`{name}` cannot be a name: it holds `/` or `%`"),
                    None,
                );
            }
        } else if is_label && !is_dns_label(name) {
            found.add(
                &here,
                format!("`{name}` cannot be the name of a {}", kind.kind),
                Some(
                    "use at most 63 small letters, digits and `-`, and begin and end with a letter or digit"
                        .to_owned(),
                ),
            );
        } else if !is_dns_name(name) {
            found.add(
                &here,
                format!("`{name}` cannot be a name"),
                Some(
                    "use small letters, digits, `-` and `.`, and begin and end with a letter or digit"
                        .to_owned(),
                ),
            );
        }
    }
    if let Some(namespace) = known(&metadata["namespace"]) {
        let here = Path::Key(&path, "namespace");
        if !kind.namespaced {
            let help = "take `namespace` out".to_owned();
            found.add(&here, format!("{} lives in no namespace", kind.kind), Some(help));
        } else if !is_dns_label(namespace) {
            found.add(&here, format!("`{namespace}` cannot be a namespace"), None);
        }
    }
    labels(&metadata["labels"], &Path::Key(&path, "labels"), found);
    for (name, _) in metadata["annotations"].as_object().into_iter().flatten() {
        let path = Path::Key(&path, "annotations");
        if !is_unknown(name) && !is_qualified(name) {
            found.add(
                &Path::Key(&path, name),
                format!("`{name}` cannot be an annotation's name"),
                None,
            );
        }
    }
}

/// A text that is known, if there is one.
pub(super) fn known(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !is_unknown(text))
}

/// Labels, wherever they stand.
pub(super) fn labels(labels: &Value, path: &Path<'_>, found: &mut Found) {
    for (name, value) in labels.as_object().into_iter().flatten() {
        let here = Path::Key(path, name);
        if !is_unknown(name) && !is_qualified(name) {
            found.add(&here, format!("`{name}` cannot be a label's name"), None);
        }
        if let Some(value) = known(value)
            && !is_label_value(value)
        {
            found.add(
                &here,
                format!("`{value}` cannot be a label's value"),
                Some(
                    "use at most 63 letters, digits, `-`, `_` and `.`; put longer texts into annotations"
                        .to_owned(),
                ),
            );
        }
    }
}

pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

fn is_dns_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.split('.').all(is_dns_part)
}

fn is_dns_part(part: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !part.is_empty() && part.chars().all(fits) && !part.starts_with('-') && !part.ends_with('-')
}

/// `name`, or `prefix.example.com/name`.
fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(&prefix.to_lowercase()) && is_word(name) && !name.is_empty(),
        None => !text.is_empty() && is_word(text),
    }
}

fn is_label_value(text: &str) -> bool {
    is_word(text)
}

fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(fits) && edge(text.chars().next()) && edge(text.chars().next_back())
}

/// The value of a quantity: `500m`, `2Gi`, `1e3`.
pub(super) fn quantity(text: &str) -> Option<f64> {
    const UNITS: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let is_number = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    };
    if !is_number(text) {
        return None;
    }
    if let Ok(number) = text.parse::<f64>() {
        return Some(number);
    }
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    number.parse::<f64>().ok().map(|number| number * factor)
}

pub(super) fn is_base64(text: &str) -> bool {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let body = text.trim_end_matches('=');
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    text.len().is_multiple_of(4) && text.len() - body.len() <= 2 && body.chars().all(fits)
}

/// A time as RFC 3339 writes it, as far as its form goes.
pub(super) fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
    let is = |place: usize, what: &[u8]| bytes.get(place).is_some_and(|byte| what.contains(byte));
    let date = (0..4).chain(5..7).chain(8..10).all(digit) && is(4, b"-") && is(7, b"-");
    let time = (11..13).chain(14..16).chain(17..19).all(digit) && is(13, b":") && is(16, b":");
    let zone = text.ends_with(['Z', 'z']) || text.len() >= 25 && matches!(bytes[text.len() - 6], b'+' | b'-');
    date && is(10, b"Tt ") && time && zone
}
