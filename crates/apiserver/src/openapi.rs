//! OpenAPI version 3, as far as clients read it: which kinds there are, that fields are validated here,
//! and what the fields are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::served::{Served, api_version};

/// The index: one document for each group and version.
pub(crate) fn index(groups: &BTreeMap<&str, Vec<(&str, Vec<&Served>)>>) -> Value {
    let mut paths = Map::new();
    for (group, versions) in groups {
        for (version, kinds) in versions {
            let path = root(group, version);
            // The hash lets clients keep a document until its kinds change.
            let address = format!("/openapi/v3/{path}?hash={:x}", hash(kinds));
            paths.insert(path, json!({ "serverRelativeURL": address }));
        }
    }
    json!({ "paths": paths })
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn hash(kinds: &[&Served]) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    for served in kinds {
        served.kind.hash(&mut hasher);
        // Built-in schemas do not change while a server runs; custom ones are small.
        if served.custom.is_some() {
            served.schema.to_string().hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// The document of one group and version.
pub(crate) fn document(kinds: &[&Served]) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for served in kinds {
        let place = if served.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!(
            "/{}{place}/{}",
            root(&served.group, &served.version),
            served.plural
        );
        paths.insert(
            collection.clone(),
            json!({ "post": operation(served, "post"), "get": operation(served, "list") }),
        );
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({
                "get": operation(served, "get"),
                "put": operation(served, "put"),
                "patch": operation(served, "patch"),
                "delete": operation(served, "delete"),
            }),
        );
        add_schemas(served, &mut schemas);
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "unversioned" },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn operation(served: &Served, action: &str) -> Value {
    let parameter = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    let parameters: Vec<Value> = match action {
        "post" | "put" | "patch" => vec![
            parameter("dryRun"),
            parameter("fieldManager"),
            parameter("fieldValidation"),
        ],
        "delete" => vec![parameter("dryRun"), parameter("propagationPolicy")],
        _ => Vec::new(),
    };
    json!({
        "parameters": parameters,
        "responses": { "200": { "description": "OK" } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(served),
    })
}

fn gvk(served: &Served) -> Value {
    json!({ "group": served.group, "version": served.version, "kind": served.kind })
}

/// The schema of a kind and those it refers to, under names that hold in the whole document.
fn add_schemas(served: &Served, schemas: &mut Map<String, Value>) {
    let mut own = (*served.schema).clone();
    let prefix = format!(
        "{}.{}",
        api_version(&served.group, &served.version).replace('/', "."),
        served.kind
    );
    if let Some(root) = own.as_object_mut() {
        for word in ["definitions", "$defs"] {
            let Some(Value::Object(inner)) = root.remove(word) else {
                continue;
            };
            for (name, mut schema) in inner {
                point_to_components(&mut schema, word);
                schemas.entry(name).or_insert(schema);
            }
        }
        root.remove("$schema");
        root.insert("x-kubernetes-group-version-kind".to_owned(), json!([gvk(served)]));
    }
    for word in ["definitions", "$defs"] {
        point_to_components(&mut own, word);
    }
    schemas.insert(prefix, own);
}

fn point_to_components(schema: &mut Value, word: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(&format!("#/{word}/"))
            {
                *reference = format!("#/components/schemas/{name}");
            }
            for child in map.values_mut() {
                point_to_components(child, word);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point_to_components(item, word)),
        _ => {}
    }
}
