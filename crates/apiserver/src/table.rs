//! Tables: the columns people know from `kubectl get`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::listing::{Include, partial};
use crate::served::Served;

mod cells;
mod path;

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    sort: String,
    format: String,
    description: String,
    priority: i64,
    path: String,
}

impl Column {
    /// Reads one of `additionalPrinterColumns`.
    pub(crate) fn read(column: &Value) -> Column {
        let text = |field: &str| {
            column
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Column {
            name: text("name"),
            sort: text("type"),
            format: text("format"),
            description: text("description"),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            path: text("jsonPath"),
        }
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.sort,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = path::find(object, &self.path);
        let Some(found) = found.first() else {
            return if self.sort == "date" {
                "<unknown>".into()
            } else {
                Value::Null
            };
        };
        match (self.sort.as_str(), found) {
            ("date", Value::String(time)) => cells::age_of(time, now).into(),
            ("string", Value::String(_)) | ("integer" | "number" | "boolean", _) => (*found).clone(),
            (_, Value::String(text)) => text.clone().into(),
            (_, other) => other.to_string().into(),
        }
    }
}

/// A table of objects.
pub(crate) fn table(
    served: &Served,
    objects: &[&Value],
    metadata: Value,
    include: Include,
    with_heads: bool,
    now: Timestamp,
) -> Value {
    let custom: &[Column] = served.custom.as_ref().map_or(&[], |custom| &custom.columns);
    let known = cells::columns(&served.group, &served.kind);
    let mut heads = Vec::new();
    if with_heads {
        heads = heads_of(served, custom, known);
    }
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let shown = match include {
                Include::Nothing => Value::Null,
                Include::Metadata => partial(object),
                Include::Object => (*object).clone(),
            };
            json!({ "cells": row(served, custom, object, now), "object": shown })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": heads,
        "rows": rows,
    })
}

fn heads_of(served: &Served, custom: &[Column], known: &[(&str, &str, u8)]) -> Vec<Value> {
    let head = |name: &str, sort: &str, priority: u8| {
        let format = if name == "Name" { "name" } else { "" };
        json!({ "name": name, "type": sort, "format": format, "description": "", "priority": priority })
    };
    let mut heads = vec![head("Name", "string", 0)];
    if served.custom.is_some() {
        if custom.is_empty() {
            heads.push(head("Age", "date", 0));
        } else {
            heads.extend(custom.iter().map(Column::definition));
        }
    } else {
        heads.extend(
            known
                .iter()
                .map(|(name, sort, priority)| head(name, sort, *priority)),
        );
    }
    heads
}

fn row(served: &Served, custom: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
    let mut row = vec![name];
    if served.custom.is_some() {
        if custom.is_empty() {
            row.push(cells::age(object, now).into());
        } else {
            row.extend(custom.iter().map(|column| column.cell(object, now)));
        }
    } else {
        row.extend(cells::cells(&served.group, &served.kind, object, now));
    }
    row
}
