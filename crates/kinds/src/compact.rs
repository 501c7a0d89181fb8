//! Custom kinds, from schemas of our own in a compact form: the fields that are used, closed, so that a misspelt one is
//! noticed.
//!
//! One file holds one group and version. A type is written so:
//!
//! | written | means |
//! |---|---|
//! | `string`, `integer`, `number`, `boolean`, `quantity`, `int-or-string`, `date-time`, `any` | that |
//! | `integer 1..65535` | with limits |
//! | `A \| B`, `= A` | one of these texts |
//! | `map` | texts by name |
//! | `^name` | a type of this file's `types` |
//! | `k8s core.v1.PodSpec` | a type built in to Kubernetes |
//! | `[T]`, `[T, set]`, `[T, by name,port]` | a list: one value, a set, a map by these fields |
//! | `{ name!: T, other: T }` | an object; `!` says that the field must be there |
//! | `{ "*": T }` | anything by name |

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::builtin;

/// The files, each one group and version.
const FILES: &[(&str, &str)] = &[
    ("argo-cd", include_str!("../schemas/argo-cd.yaml")),
    ("aws", include_str!("../schemas/aws.yaml")),
    ("cert-manager", include_str!("../schemas/cert-manager.yaml")),
    ("cloudnative-pg", include_str!("../schemas/cloudnative-pg.yaml")),
    ("envoy-gateway", include_str!("../schemas/envoy-gateway.yaml")),
    (
        "external-secrets",
        include_str!("../schemas/external-secrets.yaml"),
    ),
    ("flux", include_str!("../schemas/flux.yaml")),
    ("gateway-api", include_str!("../schemas/gateway-api.yaml")),
    ("karpenter", include_str!("../schemas/karpenter.yaml")),
    ("monitoring", include_str!("../schemas/monitoring.yaml")),
    ("rhdh", include_str!("../schemas/rhdh.yaml")),
    (
        "victoria-metrics",
        include_str!("../schemas/victoria-metrics.yaml"),
    ),
];

/// Every custom kind. The files are ours: one that cannot be read is a mistake of ours, which a test would have shown.
pub(crate) fn kinds() -> Vec<Kind> {
    let read = |(name, text): &(&str, &str)| {
        let groups: Vec<Value> = serde_saphyr::from_str(text)
            .unwrap_or_else(|error| panic!("the schemas of {name} are valid YAML: {error}"));
        let kinds = groups.iter().flat_map(group).collect::<Vec<_>>();
        assert!(!kinds.is_empty(), "the schemas of {name} hold kinds");
        kinds
    };
    FILES.iter().flat_map(read).collect()
}

fn group(file: &Value) -> Vec<Kind> {
    let text = |field: &str| file[field].as_str().unwrap_or_default().to_owned();
    let names = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let types = &file["types"];
    let kinds = file["kinds"].as_object().into_iter().flatten();
    kinds
        .map(|(name, about)| {
            let singular = name.to_lowercase();
            let plural = about["plural"]
                .as_str()
                .map_or_else(|| plural_of(&singular), str::to_owned);
            Kind {
                group: text("group"),
                version: about["version"]
                    .as_str()
                    .map_or_else(|| text("version"), str::to_owned),
                kind: name.clone(),
                plural,
                singular,
                short_names: names(&about["short"]),
                categories: names(&about["categories"]),
                namespaced: about["scope"] != "Cluster",
                status: true,
                scale: about["scale"] == true,
                schema: Arc::new(whole(about, types)),
            }
        })
        .collect()
}

fn plural_of(singular: &str) -> String {
    match singular.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ if singular.ends_with('s') => format!("{singular}es"),
        _ => format!("{singular}s"),
    }
}

/// The schema of an object, with what every object has.
fn whole(about: &Value, types: &Value) -> Value {
    let metadata = builtin::definitions().get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let mut properties = Map::new();
    properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
    properties.insert("kind".to_owned(), json!({ "type": "string" }));
    properties.insert("metadata".to_owned(), metadata.cloned().unwrap_or_default());
    let mut required = vec!["metadata".to_owned()];
    let mut add = |name: &str, schema: Value| {
        let bare = name.trim_end_matches('!');
        if bare != name {
            required.push(bare.to_owned());
        }
        properties.insert(bare.to_owned(), schema);
    };
    for (name, written) in about.as_object().into_iter().flatten() {
        if name.trim_end_matches('!') == "spec" {
            add(name, schema(written, types));
        }
    }
    for (name, written) in about["fields"].as_object().into_iter().flatten() {
        add(name, schema(written, types));
    }
    add(
        "status",
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
    );
    json!({ "type": "object", "properties": properties, "required": required })
}

fn schema(written: &Value, types: &Value) -> Value {
    match written {
        Value::String(text) => named(text, types),
        Value::Array(items) => {
            let mut list = json!({ "type": "array", "items": items.first().map(|item| schema(item, types)) });
            match items.get(1).and_then(Value::as_str) {
                Some("set") => list["x-kubernetes-list-type"] = json!("set"),
                Some(by) => {
                    let keys = by.strip_prefix("by ").unwrap_or(by);
                    list["x-kubernetes-list-type"] = json!("map");
                    list["x-kubernetes-list-map-keys"] = keys.split(',').collect();
                }
                None => {}
            }
            list
        }
        Value::Object(fields) => object(fields, types),
        other => unreachable!("the schemas hold texts, lists and mappings, not {other}"),
    }
}

fn object(fields: &Map<String, Value>, types: &Value) -> Value {
    let mut object = json!({ "type": "object" });
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, written) in fields {
        if name == "*" {
            object["additionalProperties"] = schema(written, types);
            continue;
        }
        let bare = name.trim_end_matches('!');
        if bare != name {
            required.push(bare);
        }
        properties.insert(bare.to_owned(), schema(written, types));
    }
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if !properties.is_empty() {
        object["properties"] = Value::Object(properties);
    }
    object
}

fn named(text: &str, types: &Value) -> Value {
    if let Some(name) = text.strip_prefix('^') {
        let written = &types[name];
        assert!(!written.is_null(), "there is a type `{name}`");
        return schema(written, types);
    }
    if let Some(name) = text.strip_prefix("k8s ") {
        let full = crate::tables::name(name);
        let known = builtin::definitions().get(&full).cloned();
        let mut known = known.unwrap_or_else(|| panic!("Kubernetes has a type `{name}`"));
        // Published definitions repeat such types as they were in some older version: who compares wants to know.
        known["x-landfall-type"] = json!(full);
        return known;
    }
    if let Some(only) = text.strip_prefix("= ") {
        return json!({ "type": "string", "enum": [only] });
    }
    if text.contains('|') {
        let values: Vec<&str> = text.split('|').map(str::trim).collect();
        return json!({ "type": "string", "enum": values });
    }
    match text.split_once(' ').unwrap_or((text, "")) {
        ("integer", "") => json!({ "type": "integer" }),
        ("integer", limits) => {
            let (least, most) = limits.split_once("..").unwrap_or((limits, ""));
            let mut schema = json!({ "type": "integer" });
            for (word, limit) in [("minimum", least), ("maximum", most)] {
                if let Ok(limit) = limit.parse::<i64>() {
                    schema[word] = json!(limit);
                }
            }
            schema
        }
        ("map", "") => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        ("quantity", "") => json!({ "x-kubernetes-int-or-string": true, "format": "quantity" }),
        ("int-or-string", "") => json!({ "x-kubernetes-int-or-string": true }),
        ("date-time", "") => json!({ "type": "string", "format": "date-time" }),
        ("any", "") => json!({ "x-kubernetes-preserve-unknown-fields": true }),
        (kind @ ("string" | "boolean" | "number"), "") => json!({ "type": kind }),
        _ => panic!("`{text}` is a type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_can_be_read_and_name_each_kind_once() {
        let mut names: Vec<String> = kinds()
            .iter()
            .map(|kind| format!("{} {}", kind.api_version(), kind.kind))
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count > 40, "{names:#?}");
    }
}
