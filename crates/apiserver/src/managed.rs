//! Managed fields: who set which field, and what follows when somebody else wants it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fields::Fields;
use crate::merge;
use crate::served::Served;
use crate::status::Status;

/// How a manager came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// One entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq)]
struct Manager {
    operation: Operation,
    time: String,
    name: String,
    api_version: String,
    subresource: String,
    fields: Fields,
}

impl Manager {
    fn read(entry: &Value) -> Option<Manager> {
        let text = |field: &str| {
            entry
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Manager {
            operation,
            time: text("time"),
            name: text("manager"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            fields: Fields::read(entry.get("fieldsV1")?),
        })
    }

    fn written(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.written(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.clone().into();
        }
        entry
    }

    /// As in the message of a conflict.
    fn said(&self) -> String {
        let mut said = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            said.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            said.push_str(&format!(" using {}", self.api_version));
        }
        said
    }
}

/// Who writes, and through which door.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: Timestamp,
}

impl Writer<'_> {
    fn is(&self, entry: &Manager, operation: Operation, served: &Served) -> bool {
        entry.name == self.manager
            && entry.operation == operation
            && entry.subresource == self.subresource
            // One who applies stays the same in whatever version.
            && (operation == Operation::Apply || entry.api_version == served.api_version())
    }

    fn entry(&self, operation: Operation, served: &Served, fields: Fields) -> Manager {
        Manager {
            operation,
            time: seconds(self.now),
            name: self.manager.to_owned(),
            api_version: served.api_version(),
            subresource: self.subresource.to_owned(),
            fields,
        }
    }
}

/// A time as the API writes it.
pub(crate) fn seconds(time: Timestamp) -> String {
    // Whole seconds: `Timestamp` prints its fraction when it has one.
    Timestamp::from_second(time.as_second()).map_or_else(|_| time.to_string(), |time| time.to_string())
}

fn read(object: &Value) -> Vec<Manager> {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map(|entries| entries.iter().filter_map(Manager::read).collect())
        .unwrap_or_default()
}

fn write(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|manager| !manager.fields.is_empty());
    managers.sort_by(|one, other| {
        (
            one.operation,
            &one.time,
            &one.name,
            &one.api_version,
            &one.subresource,
        )
            .cmp(&(
                other.operation,
                &other.time,
                &other.name,
                &other.api_version,
                &other.subresource,
            ))
    });
    let entries: Vec<Value> = managers.iter().map(Manager::written).collect();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), Value::Array(entries));
        }
    }
}

/// Takes out what nobody owns: what the server sets, and the half this door does not lead to.
fn without_the_servers(mut fields: Fields, served: &Served, subresource: &str) -> Fields {
    for name in ["apiVersion", "kind"] {
        fields.forget(&[name]);
    }
    for name in [
        "name",
        "namespace",
        "generateName",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        fields.forget(&["metadata", name]);
    }
    if subresource.is_empty() && served.status {
        fields.forget(&["status"]);
    }
    if subresource == "status" {
        fields.forget(&["spec"]);
    }
    fields
}

/// What an applied configuration makes of a live object, managed fields included.
pub(crate) fn applied(
    live: Option<&Value>,
    config: &Value,
    served: &Served,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Status> {
    let schema = served.schema();
    let broken = |why: String| {
        Status::new(
            500,
            "InternalError",
            format!(
                "failed to create typed patch object ({}; {}): {why}",
                config
                    .pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
                served.api_version()
            ),
        )
    };
    let wanted = merge::fields_of(config, schema).map_err(broken)?;
    let wanted = without_the_servers(wanted, served, writer.subresource);
    let mut object = merge::merged(live, config, schema).map_err(broken)?;
    let mut managers = live.map(read).unwrap_or_default();
    let mine = managers
        .iter()
        .position(|entry| writer.is(entry, Operation::Apply, served));
    let last = match mine {
        Some(place) => managers.remove(place).fields,
        None => Fields::default(),
    };
    let mut owned = wanted.clone();
    for manager in &managers {
        owned.add(&manager.fields);
    }
    // Metadata holds what the server wrote, so it stays when nobody owns anything in it.
    owned.keep("metadata");
    object = merge::pruned(object, &last, Some(&owned), schema).unwrap_or_else(|| json!({}));

    let mut differs = merge::difference(live, Some(&object), schema);
    differs.changed = without_the_servers(differs.changed, served, writer.subresource);
    differs.removed = without_the_servers(differs.removed, served, writer.subresource);
    take_over(&mut managers, &differs, force, served, config)?;
    managers.push(writer.entry(Operation::Apply, served, wanted));
    write(&mut object, managers);
    Ok(object)
}

/// Takes changed and removed fields away from the managers that had them, or says who has them.
fn take_over(
    managers: &mut [Manager],
    differs: &merge::Difference,
    force: bool,
    served: &Served,
    config: &Value,
) -> Result<(), Status> {
    if !force {
        let conflicts: Vec<(String, String)> = managers
            .iter()
            .flat_map(|manager| {
                let fields = manager.fields.intersection(&differs.changed).said();
                let said = manager.said();
                fields.into_iter().map(move |field| (said.clone(), field))
            })
            .collect();
        if !conflicts.is_empty() {
            return Err(conflict(&conflicts, served, config));
        }
    }
    for manager in managers {
        manager.fields = manager
            .fields
            .difference(&differs.changed)
            .difference(&differs.removed);
    }
    Ok(())
}

fn conflict(conflicts: &[(String, String)], served: &Served, config: &Value) -> Status {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(manager, field)| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {manager}"),
                "field": field,
            })
        })
        .collect();
    let noun = if conflicts.len() == 1 {
        "conflict"
    } else {
        "conflicts"
    };
    let mut said = format!("Apply failed with {} {noun}: ", conflicts.len());
    let mut managers: Vec<&String> = conflicts.iter().map(|(manager, _)| manager).collect();
    managers.dedup();
    match (managers.as_slice(), conflicts) {
        ([manager], [(_, field)]) => said.push_str(&format!("conflict with {manager}: {field}")),
        _ => {
            let by_manager: Vec<String> = managers
                .iter()
                .map(|manager| {
                    let fields: Vec<String> = conflicts
                        .iter()
                        .filter(|(other, _)| other == *manager)
                        .map(|(_, field)| format!("- {field}"))
                        .collect();
                    format!("conflicts with {manager}:\n{}", fields.join("\n"))
                })
                .collect();
            said.push_str(&by_manager.join("\n"));
        }
    }
    let name = config.pointer("/metadata/name").and_then(Value::as_str);
    let mut details = served.details(name.unwrap_or_default());
    details["causes"] = causes.into();
    Status {
        code: 409,
        reason: "Conflict".to_owned(),
        message: said,
        details: details.into(),
    }
}

/// Notes in a new object who owns what after it was written without apply.
pub(crate) fn updated(live: Option<&Value>, object: &mut Value, served: &Served, writer: Writer<'_>) {
    let given = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let mut managers = match given {
        // Entries written out by the client count: that is how tools hand fields over. An empty
        // list, or one empty entry, lets go of everything.
        Some(entries)
            if entries
                .iter()
                .all(|entry| entry.as_object().is_none_or(|it| it.is_empty())) =>
        {
            Vec::new()
        }
        Some(_) => read(object),
        None => live.map(read).unwrap_or_default(),
    };
    let schema = served.schema();
    let mut differs = merge::difference(live, Some(object), schema);
    differs.changed = without_the_servers(differs.changed, served, writer.subresource);
    differs.removed = without_the_servers(differs.removed, served, writer.subresource);
    if differs.changed.is_empty() && differs.removed.is_empty() {
        write(object, managers);
        return;
    }
    let mine = managers
        .iter()
        .position(|entry| writer.is(entry, Operation::Update, served));
    let mut own = match mine {
        Some(place) => managers.remove(place).fields,
        None => Fields::default(),
    };
    for manager in &mut managers {
        manager.fields = manager
            .fields
            .difference(&differs.changed)
            .difference(&differs.removed);
    }
    own = own.difference(&differs.removed).union(&differs.changed);
    managers.push(writer.entry(Operation::Update, served, own));
    write(object, managers);
}

/// Whether two objects are the same but for times in their managed fields.
pub(crate) fn same_but_times(one: &Value, other: &Value) -> bool {
    let (Some(one_map), Some(other_map)) = (one.as_object(), other.as_object()) else {
        return one == other;
    };
    if one_map.len() != other_map.len() {
        return false;
    }
    one_map.iter().all(|(name, value)| match other_map.get(name) {
        Some(theirs) if name == "metadata" => same_metadata(value, theirs),
        Some(theirs) => value == theirs,
        None => false,
    })
}

fn same_metadata(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return one == other;
    };
    one.len() == other.len()
        && one.iter().all(|(name, value)| match other.get(name) {
            Some(theirs) if name == "managedFields" => same_managers(value, theirs),
            Some(theirs) => value == theirs,
            None => false,
        })
}

fn same_managers(one: &Value, other: &Value) -> bool {
    let timeless = |entries: &Value| -> Vec<Value> {
        let mut entries = entries.as_array().cloned().unwrap_or_default();
        for entry in &mut entries {
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("time");
            }
        }
        entries.sort_by_key(Value::to_string);
        entries
    };
    timeless(one) == timeless(other)
}
