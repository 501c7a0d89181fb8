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
const TAKES_EXPRESSIONS: [&str; 10] = [
    "StepDefinition",
    "StackSpec",
    "SecretSpec",
    "FilesSpec",
    "EntitySpec",
    "IdentityCheck",
    "DnsCheck",
    "HttpCheck",
    "CheckSpec",
    "Existing",
];

/// Fields that must be plain: what names a step or a file of the definition.
const NEVER_EXPRESSIONS: [&str; 5] = ["name", "title", "after", "template", "from"];

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
    schema.to_value()
}
