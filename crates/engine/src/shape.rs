//! Does a tree have the shape its JSON Schema asks for? Errors point into the file.
//!
//! The judging is `jsonschema`'s; this finds the places and the words.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use landfall_model::yaml::Node;
use landfall_model::{Diagnostic, Diagnostics};
use serde_json::Value;

use crate::expression;
use crate::suggest;

/// A schema ready for use.
pub(crate) struct Shape {
    schema: Value,
    validator: Validator,
}

impl Shape {
    /// Prepares a schema; the error is the schema's own fault, in words.
    pub(crate) fn new(schema: Value) -> Result<Shape, String> {
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| error.to_string())?;
        Ok(Shape { schema, validator })
    }

    /// Everything wrong with `node`. Expressions are let through: they are judged once known.
    pub(crate) fn check(&self, node: &Node, what: &str) -> Diagnostics {
        let value = node.value();
        let mut found = Diagnostics::default();
        for error in self.validator.iter_errors(&value) {
            if !is_expression(error.instance()) {
                for diagnostic in self.explain(&error, node, what) {
                    found.push(diagnostic);
                }
            }
        }
        found
    }

    /// Everything wrong with a value that stands at `node` once its expressions are known.
    pub(crate) fn check_value(&self, value: &Value, node: &Node, what: &str) -> Diagnostics {
        let mut found = Diagnostics::default();
        for error in self.validator.iter_errors(value) {
            for diagnostic in self.explain(&error, node, what) {
                found.push(diagnostic);
            }
        }
        found
    }

    fn explain(&self, error: &ValidationError<'_>, root: &Node, what: &str) -> Vec<Diagnostic> {
        let pointer = error.instance_path().as_str().to_owned();
        let path: Vec<String> = pointer
            .split('/')
            .skip(1)
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect();
        let parts = || path.iter().map(String::as_str);
        let node = root.nearest(parts());
        let name = match path.last() {
            Some(last) if last.parse::<usize>().is_ok() && path.len() > 1 => {
                format!("`{}[{last}]`", path[path.len() - 2])
            }
            Some(last) => format!("`{last}`"),
            None => what.to_owned(),
        };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
                .iter()
                .map(|key| self.unknown_key(error, node, key, what))
                .collect(),
            ValidationErrorKind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                vec![
                    Diagnostic::error(
                        format!("{name} has no `{property}`"),
                        node.span.clone(),
                        format!("`{property}` is missing here"),
                    )
                    .maybe_help(self.describe(error, property)),
                ]
            }
            kind => vec![problem(kind, error.instance(), &name, node)],
        }
    }

    fn unknown_key(&self, error: &ValidationError<'_>, node: &Node, key: &str, what: &str) -> Diagnostic {
        let span = node
            .entry(key)
            .map_or(&node.span, |entry| &entry.key_span)
            .clone();
        let known = self.siblings(error);
        Diagnostic::error(
            format!("unknown key `{key}` in {what}"),
            span,
            "not a key that means anything here",
        )
        .help(suggest::help(key, known.iter().map(String::as_str), "keys"))
    }

    /// The keys known where an error arose.
    fn siblings(&self, error: &ValidationError<'_>) -> Vec<String> {
        self.parent(error)
            .and_then(|parent| parent.get("properties"))
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }

    fn describe(&self, error: &ValidationError<'_>, property: &str) -> Option<String> {
        let schema = self.parent(error)?.get("properties")?.get(property)?;
        let text = schema.get("description")?.as_str()?;
        Some(format!(
            "`{property}`: {}",
            text.lines().collect::<Vec<_>>().join(" ")
        ))
    }

    fn parent(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let path = error.schema_path().as_str();
        let (parent, _) = path.rsplit_once('/')?;
        self.schema.pointer(parent)
    }
}

fn is_expression(value: &Value) -> bool {
    value.as_str().is_some_and(expression::has_expression)
}

fn problem(kind: &ValidationErrorKind, value: &Value, name: &str, node: &Node) -> Diagnostic {
    let is = shown(value);
    let (message, label, help) = match kind {
        ValidationErrorKind::Type { kind } => {
            let wanted = type_words(kind);
            let help = match (value, wanted.as_str()) {
                (Value::Number(_) | Value::Bool(_), "text") => {
                    // As it was written: 1.30 is not 1.3 once it is text.
                    let written = node.span.file.text.get(node.span.range.clone()).unwrap_or(&is);
                    Some(format!("put it in quotes: \"{written}\""))
                }
                (Value::Null, _) => Some("give it a value, or leave the key out".to_owned()),
                (Value::String(text), "a whole number" | "a number" | "true or false")
                    if text.parse::<f64>().is_ok() || text == "true" || text == "false" =>
                {
                    Some("leave the quotes out".to_owned())
                }
                (_, "a list") => Some("write it as a list: [one, two]".to_owned()),
                _ => None,
            };
            (
                format!("{name} must be {wanted}"),
                format!("this is {}", value_words(value)),
                help,
            )
        }
        ValidationErrorKind::Pattern { pattern } => (
            format!("{name} does not have the form it must have"),
            format!("{is} does not match {pattern}"),
            pattern_words(pattern),
        ),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(shown).collect();
            let plain = is.trim_matches('"').to_owned();
            let names: Vec<&str> = options.iter().map(|option| option.trim_matches('"')).collect();
            (
                format!("{name} cannot be {is}"),
                format!("not one of {}", options.join(", ")),
                suggest::nearest(&plain, names).map(|near| format!("did you mean `{near}`?")),
            )
        }
        ValidationErrorKind::Constant { expected_value } => (
            format!("{name} must be {}", shown(expected_value)),
            format!("this is {is}"),
            None,
        ),
        ValidationErrorKind::MinLength { limit } => (
            format!("{name} is too short"),
            format!("at least {limit} characters"),
            None,
        ),
        ValidationErrorKind::MaxLength { limit } => (
            format!("{name} is too long"),
            format!("at most {limit} characters"),
            None,
        ),
        ValidationErrorKind::MinItems { limit } => (
            format!("{name} has too few items"),
            format!("at least {limit}"),
            None,
        ),
        ValidationErrorKind::MaxItems { limit } => (
            format!("{name} has too many items"),
            format!("at most {limit}"),
            None,
        ),
        ValidationErrorKind::MinProperties { limit } => (
            format!("{name} has too few entries"),
            format!("at least {limit}"),
            None,
        ),
        ValidationErrorKind::Minimum { limit } => (
            format!("{name} is too small"),
            format!("{is} is less than {limit}"),
            None,
        ),
        ValidationErrorKind::Maximum { limit } => (
            format!("{name} is too large"),
            format!("{is} is more than {limit}"),
            None,
        ),
        ValidationErrorKind::UniqueItems => (
            format!("{name} has an item twice"),
            "each item once".to_owned(),
            None,
        ),
        ValidationErrorKind::Format { format } => (
            format!("{name} is not a valid {format}"),
            format!("{is} is not a {format}"),
            None,
        ),
        ValidationErrorKind::FalseSchema => (format!("{name} is not allowed here"), is, None),
        other => (
            format!("{name} is not valid"),
            format!("fails `{}`", other.keyword()),
            None,
        ),
    };
    Diagnostic::error(message, node.span.clone(), label).maybe_help(help)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 {
        let start: String = text.chars().take(57).collect();
        format!("{start}...")
    } else {
        text
    }
}

fn value_words(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(_) => format!("the text {}", shown(value)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn type_words(kind: &TypeKind) -> String {
    let words = |name: &str| {
        match name {
            "string" => "text",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a mapping",
            "null" => "empty",
            other => other,
        }
        .to_owned()
    };
    match kind {
        TypeKind::Single(one) => words(&one.to_string()),
        TypeKind::Multiple(several) => {
            // "or empty" is how an optional field looks in a schema; nobody writes it.
            let list: Vec<String> = several
                .iter()
                .map(|one| words(&one.to_string()))
                .filter(|one| one != "empty")
                .collect();
            list.join(" or ")
        }
    }
}

/// The patterns of our own formats, in words.
fn pattern_words(pattern: &str) -> Option<String> {
    let words = match pattern {
        "^[0-9]{12}$" => "an account id is twelve digits, in quotes",
        "^[a-z][a-z0-9-]{0,29}$" => {
            "a lower-case letter, then lower-case letters, digits and hyphens; at most 30 characters"
        }
        "^[a-zA-Z][a-zA-Z0-9-]{0,40}$" => "a letter, then letters, digits and hyphens; at most 41 characters",
        "^[a-z]{2}(-[a-z]+)+-[0-9]$" => "a region looks like `us-east-1`",
        "^[0-9]+(s|m|h)$" => "a duration looks like `30s`, `5m` or `1h`",
        _ => return None,
    };
    Some(words.to_owned())
}
