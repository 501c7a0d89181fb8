//! CEL rules of custom resource definitions (`x-kubernetes-validations`).
//!
//! A rule that uses a function this server does not have is not evaluated, and the definition says so
//! in a condition. Guessing would be worse than either answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::{Context, Program};
use serde_json::Value;

use crate::schema::{Listing, Schema};
use crate::status::Cause;

/// What the expression language here knows beside operators.
const FUNCTIONS: [&str; 15] = [
    "all",
    "contains",
    "double",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "has",
    "int",
    "map",
    "matches",
    "size",
    "startsWith",
    "string",
    "uint",
];

/// The rules of one schema, ready to run.
#[derive(Default)]
pub(crate) struct Rules {
    programs: HashMap<String, Program>,
    /// Rules that cannot be evaluated here, each with the reason.
    pub(crate) lacking: Vec<String>,
}

impl Rules {
    /// Reads the rules anywhere in a schema.
    pub(crate) fn read(schema: &Value) -> Rules {
        let mut found = BTreeSet::new();
        collect(schema, &mut found);
        let mut rules = Rules::default();
        for text in found {
            match compile(text) {
                Ok(program) => {
                    rules.programs.insert(text.to_owned(), program);
                }
                Err(why) => rules.lacking.push(format!("{text:?} {why}")),
            }
        }
        rules
    }

    /// What the rules find wrong with an object.
    pub(crate) fn broken(&self, object: &Value, before: Option<&Value>, schema: Schema<'_>) -> Vec<Cause> {
        let mut causes = Vec::new();
        if !self.programs.is_empty() {
            self.walk(object, before, schema, "", &mut causes);
        }
        causes
    }

    fn walk(
        &self,
        value: &Value,
        before: Option<&Value>,
        schema: Schema<'_>,
        path: &str,
        causes: &mut Vec<Cause>,
    ) {
        let rules = schema
            .node()
            .and_then(|node| node.get("x-kubernetes-validations"))
            .and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            causes.extend(self.judge(rule, value, before, path));
        }
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    let before = before.and_then(|before| before.get(name));
                    self.walk(child, before, schema.field(name), &path, causes);
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let before = before.and_then(|before| counterpart(item, before, schema));
                    self.walk(item, before, schema.items(), &format!("{path}[{place}]"), causes);
                }
            }
            _ => {}
        }
    }

    fn judge(&self, rule: &Value, value: &Value, before: Option<&Value>, path: &str) -> Option<Cause> {
        let text = rule.get("rule")?.as_str()?;
        let program = self.programs.get(text)?;
        let of_a_change = program.references().has_variable("oldSelf");
        // A rule about a change has nothing to say of what is new.
        if of_a_change && before.is_none() {
            return None;
        }
        let mut context = Context::default();
        context.add_variable_from_value("self", to_cel(value));
        if let Some(before) = before {
            context.add_variable_from_value("oldSelf", to_cel(before));
        }
        let why = match program.execute(&context) {
            Ok(cel::Value::Bool(true)) => return None,
            Ok(cel::Value::Bool(false)) => match rule.get("message").and_then(Value::as_str) {
                Some(message) => message.to_owned(),
                None => format!("failed rule: {text}"),
            },
            Ok(_) => format!("rule does not give a boolean: {text}"),
            Err(error) => format!("rule evaluation error: {error}"),
        };
        let field = rule.get("fieldPath").and_then(Value::as_str).unwrap_or_default();
        let reason = match rule.get("reason").and_then(Value::as_str) {
            Some("FieldValueForbidden") => "FieldValueForbidden",
            Some("FieldValueRequired") => "FieldValueRequired",
            Some("FieldValueDuplicate") => "FieldValueDuplicate",
            _ => "FieldValueInvalid",
        };
        let shown = match value {
            Value::Object(_) => "\"object\"".to_owned(),
            Value::Array(_) => "\"array\"".to_owned(),
            plain => plain.to_string(),
        };
        Some(Cause {
            reason,
            message: format!("Invalid value: {shown}: {why}"),
            field: format!("{path}{field}"),
        })
    }
}

/// The item of the old list that this item continues.
fn counterpart<'v>(item: &Value, before: &'v Value, schema: Schema<'_>) -> Option<&'v Value> {
    let Listing::Map(keys) = schema.listing() else {
        return None;
    };
    before.as_array()?.iter().find(|old| {
        keys.iter()
            .filter_map(Value::as_str)
            .all(|key| old.get(key) == item.get(key))
    })
}

fn collect<'v>(schema: &'v Value, found: &mut BTreeSet<&'v str>) {
    match schema {
        Value::Object(map) => {
            for (name, child) in map {
                if name == "x-kubernetes-validations" {
                    let rules = child.as_array().into_iter().flatten();
                    found.extend(rules.filter_map(|rule| rule.get("rule").and_then(Value::as_str)));
                } else {
                    collect(child, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn compile(text: &str) -> Result<Program, String> {
    let program = Program::compile(text).map_err(|error| format!("cannot be read: {error}"))?;
    let lacking: Vec<String> = program
        .references()
        .functions()
        .into_iter()
        .filter(|name| name.chars().next().is_some_and(char::is_alphabetic) && !FUNCTIONS.contains(name))
        .map(|name| format!("{name}()"))
        .collect();
    if lacking.is_empty() {
        Ok(program)
    } else {
        Err(format!("uses {}", lacking.join(", ")))
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let map: HashMap<String, cel::Value> = map
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value)))
                .collect();
            cel::Value::from(map)
        }
    }
}
