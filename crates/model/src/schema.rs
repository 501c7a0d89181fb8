//! JSON Schemas of the file formats, generated from the types that read them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::definition::DefinitionFile;
use crate::platform::PlatformFile;

/// The schema of `platform.yaml` as Landfall checks it: an expression is checked after it is known.
pub fn platform() -> Value {
    generate::<PlatformFile>()
}

/// The schema of `component.yaml` as Landfall checks it.
pub fn definition() -> Value {
    generate::<DefinitionFile>()
}

/// A schema for editors: as `schema`, but wherever a number, a boolean or a patterned text is
/// expected below a step or a component, a `${ }` expression is welcome too.
pub fn for_editors(mut schema: Value, title: &str) -> Value {
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        for (name, definition) in definitions.iter_mut() {
            if TAKES_EXPRESSIONS.contains(&name.as_str())
                && let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut)
            {
                for (key, property) in properties.iter_mut() {
                    if !NEVER_EXPRESSIONS.contains(&key.as_str()) {
                        or_expression(property);
                    }
                }
            }
        }
    }
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), title.into());
    }
    schema
}

/// The definitions whose fields may be expressions.
const TAKES_EXPRESSIONS: [&str; 23] = [
    "StepDefinition",
    "StackSpec",
    "ObjectsSpec",
    "SecretSpec",
    "FilesSpec",
    "EntitySpec",
    "IdentityCheck",
    "DnsCheck",
    "HttpCheck",
    "OidcCheck",
    "IamRoleCheck",
    "TlsCheck",
    "PrometheusCheck",
    "LogsCheck",
    "ConnectionCheck",
    "SignInCheck",
    "RequestSpec",
    "RequestAuth",
    "RequestResource",
    "RequestCall",
    "RuleSpec",
    "CheckSpec",
    "Existing",
];

/// Fields that must be plain: what names a step or a file of the definition.
const NEVER_EXPRESSIONS: [&str; 9] = [
    "name",
    "title",
    "after",
    "template",
    "from",
    "manifests",
    "controls",
    "outputs",
    "severity",
];

fn or_expression(property: &mut Value) {
    let restricts = property.get("pattern").is_some()
        || matches!(
            property.get("type").and_then(Value::as_str),
            Some("integer" | "number" | "boolean" | "array")
        )
        || property.get("type").is_some_and(|types| {
            types
                .as_array()
                .is_some_and(|types| types.iter().any(|one| one == "boolean" || one == "integer"))
        });
    if !restricts {
        return;
    }
    let description = property.get("description").cloned();
    let mut either = Map::new();
    if let Some(description) = description {
        either.insert("description".to_owned(), description);
    }
    if let Some(default) = property.get("default") {
        either.insert("default".to_owned(), default.clone());
    }
    either.insert(
        "anyOf".to_owned(),
        json!([property.take(), { "type": "string", "pattern": "\\$\\{", "description": "A CEL expression" }]),
    );
    *property = Value::Object(either);
}

fn generate<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema: Schema = generator.into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    simplify(&mut schema);
    schema
}

/// Says the same in fewer words, which errors are then made of. An optional field may be left out, but
/// nobody writes `null` for it: `X or null` becomes `X`. A choice between constants becomes a list.
fn simplify(schema: &mut Value) {
    if let Some(map) = schema.as_object_mut() {
        let constants = map.get("oneOf").and_then(Value::as_array).and_then(|choices| {
            choices
                .iter()
                .map(|choice| choice.get("const").cloned())
                .collect::<Option<Vec<Value>>>()
        });
        if let Some(constants) = constants {
            map.remove("oneOf");
            map.insert("type".to_owned(), "string".into());
            map.insert("enum".to_owned(), Value::Array(constants));
        }
        if let Some(Value::Array(either)) = map.get_mut("anyOf") {
            either.retain(|one| one != &json!({ "type": "null" }));
            if let [only] = either.as_mut_slice()
                && let Value::Object(only) = only.take()
            {
                map.remove("anyOf");
                map.extend(only);
            }
        }
        if let Some(Value::Array(types)) = map.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = types.as_mut_slice() {
                let only = only.take();
                map.insert("type".to_owned(), only);
            }
        }
        map.values_mut().for_each(simplify);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(simplify);
    }
}
