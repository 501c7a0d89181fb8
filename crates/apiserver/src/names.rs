//! How objects may be called.

use serde_json::Value;

use crate::served::Served;
use crate::status::Cause;

/// What is wrong with the name of an object, if anything.
pub(crate) fn misnamed(served: &Served, name: &str) -> Option<Cause> {
    let value = Value::from(name);
    let wrong = |why: &str| Some(Cause::invalid("metadata.name", &value, why));
    // Role-based access lets names be anything that fits in a path.
    if served.group == "rbac.authorization.k8s.io" {
        return match name {
            "." | ".." => wrong("may not be '.' or '..'"),
            name if name.contains('/') || name.contains('%') => wrong("may not contain '/' or '%'"),
            _ => None,
        };
    }
    let label = matches!(
        (served.group.as_str(), served.kind.as_str()),
        ("", "Namespace" | "Service")
    );
    if label {
        let letters_first = served.kind == "Service";
        if is_label(name) && !(letters_first && name.starts_with(|first: char| first.is_ascii_digit())) {
            return None;
        }
        return if letters_first {
            wrong(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                 alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
                 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            )
        } else {
            wrong(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
                 must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
                 used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            )
        };
    }
    if is_subdomain(name) {
        return None;
    }
    wrong(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation \
         is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    )
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_word(name)
}

fn is_word(name: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.starts_with(inner)
        && name.ends_with(inner)
        && name.chars().all(|letter| inner(letter) || letter == '-')
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_word)
}

/// What is wrong with the labels and annotations of an object.
pub(crate) fn mislabelled(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (map, is_label) in [("labels", true), ("annotations", false)] {
        let Some(found) = object.pointer(&format!("/metadata/{map}")) else {
            continue;
        };
        let Some(entries) = found.as_object() else {
            causes.push(Cause::wrong_type(format!("metadata.{map}"), found, "object"));
            continue;
        };
        for (key, value) in entries {
            let key_value = Value::from(key.as_str());
            if !is_qualified(key) {
                let why = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start \
                           and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                           '123-abc', regex used for validation is \
                           '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
                causes.push(Cause::invalid(format!("metadata.{map}"), &key_value, why));
            }
            match value.as_str() {
                None => causes.push(Cause::wrong_type(
                    format!("metadata.{map}.{key}"),
                    value,
                    "string",
                )),
                Some(text) if is_label && !is_label_value(text) => {
                    let why = if text.len() > 63 {
                        "must be no more than 63 bytes"
                    } else {
                        "a valid label must be an empty string or consist of alphanumeric characters, '-', \
                         '_' or '.', and must start and end with an alphanumeric character (e.g. \
                         'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                    };
                    causes.push(Cause::invalid(format!("metadata.{map}"), value, why));
                }
                Some(_) => {}
            }
        }
    }
    causes
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            is_subdomain(&prefix.to_ascii_lowercase()) && !name.is_empty() && is_label_value(name)
        }
        None => !key.is_empty() && is_label_value(key),
    }
}

fn is_label_value(text: &str) -> bool {
    let edge = |letter: char| letter.is_ascii_alphanumeric();
    text.is_empty()
        || (text.len() <= 63
            && text.starts_with(edge)
            && text.ends_with(edge)
            && text
                .chars()
                .all(|letter| edge(letter) || matches!(letter, '-' | '_' | '.')))
}
