//! The types of values, as far as they can be known before there are values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use landfall_model::definition::OutputType;
use serde_json::Value;

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    /// Anything: known only with its value.
    Any,
    Null,
    Bool,
    Int,
    Double,
    Text,
    List(Box<Type>),
    Map(Box<Type>),
    /// A mapping whose keys are all known; what it is called is for error texts.
    Object(&'static str, Arc<BTreeMap<String, Type>>),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Any => "any value",
            Type::Null => "null",
            Type::Bool => "a boolean",
            Type::Int => "a whole number",
            Type::Double => "a number",
            Type::Text => "text",
            Type::List(item) if **item != Type::Any => return write!(f, "a list of {}", plural(item)),
            Type::List(_) => "a list",
            Type::Map(_) | Type::Object(..) => "a mapping",
        })
    }
}

fn plural(item: &Type) -> &'static str {
    match item {
        Type::Text => "texts",
        Type::Bool => "booleans",
        Type::Int | Type::Double => "numbers",
        Type::List(_) => "lists",
        Type::Null | Type::Any => "values",
        Type::Map(_) | Type::Object(..) => "mappings",
    }
}

impl Type {
    /// Whether a value of type `given` may stand where this one is expected.
    pub(crate) fn accepts(&self, given: &Type) -> bool {
        match (self, given) {
            (Type::Any, _) | (_, Type::Any) | (Type::Double, Type::Int) => true,
            (Type::List(wanted), Type::List(given)) | (Type::Map(wanted), Type::Map(given)) => {
                wanted.accepts(given)
            }
            (Type::Map(_), Type::Object(..)) | (Type::Object(..), Type::Map(_) | Type::Object(..)) => true,
            (wanted, given) => wanted == given,
        }
    }

    /// The type both branches of a choice have, or any.
    pub(crate) fn join(self, other: Type) -> Type {
        if self.accepts(&other) && other.accepts(&self) {
            if self == Type::Any { Type::Any } else { self }
        } else {
            Type::Any
        }
    }

    /// Whether it can be put into the middle of a text.
    pub(crate) fn fits_in_text(&self) -> bool {
        !matches!(self, Type::List(_) | Type::Map(_) | Type::Object(..) | Type::Null)
    }

    /// The type a JSON Schema describes.
    pub(crate) fn of_schema(schema: &serde_json::Map<String, Value>) -> Type {
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => Type::Text,
            Some("integer") => Type::Int,
            Some("number") => Type::Double,
            Some("boolean") => Type::Bool,
            Some("null") => Type::Null,
            Some("array") => Type::List(Box::new(
                schema
                    .get("items")
                    .and_then(Value::as_object)
                    .map_or(Type::Any, Type::of_schema),
            )),
            Some("object") => match schema.get("properties").and_then(Value::as_object) {
                Some(properties) if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    let fields = properties
                        .iter()
                        .map(|(key, schema)| {
                            (key.clone(), schema.as_object().map_or(Type::Any, Type::of_schema))
                        })
                        .collect();
                    Type::Object("field", Arc::new(fields))
                }
                _ => Type::Map(Box::new(
                    schema
                        .get("additionalProperties")
                        .and_then(Value::as_object)
                        .map_or(Type::Any, Type::of_schema),
                )),
            },
            _ => Type::Any,
        }
    }

    /// The type a definition declares for an output.
    pub(crate) fn of_output(kind: OutputType) -> Type {
        match kind {
            OutputType::String => Type::Text,
            OutputType::Integer => Type::Int,
            OutputType::Number => Type::Double,
            OutputType::Boolean => Type::Bool,
            OutputType::Array => Type::List(Box::new(Type::Any)),
            OutputType::Object => Type::Map(Box::new(Type::Any)),
        }
    }

    /// A mapping with just these keys.
    pub(crate) fn object<K: Into<String>>(
        called: &'static str,
        fields: impl IntoIterator<Item = (K, Type)>,
    ) -> Type {
        Type::Object(
            called,
            Arc::new(fields.into_iter().map(|(key, kind)| (key.into(), kind)).collect()),
        )
    }
}
