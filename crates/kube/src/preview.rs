//! What applying a step would change: the server itself is asked, object by object, without anything being kept.

use futures::{StreamExt, stream};
use landfall_model::provider::{Change, Effect, PropertyChange};
use landfall_model::work::{ObjectsWork, Step};
use serde_json::Value;

use crate::applyset::Set;
use crate::conflict::{Part, set_by};
use crate::desired::{self, Desired};
use crate::link::{APPLY, Link};
use crate::quiesce;
use crate::stand::SERVERS;
use crate::trouble::{Refusal, Trouble};

/// How many objects are asked about at once.
const AT_ONCE: usize = 8;
/// What stands for a value that nobody may see.
const SECRET: &str = "(secret)";

/// What would change of a step's objects.
pub(crate) async fn changes(link: &Link, step: &Step, work: &ObjectsWork) -> Result<Vec<Change>, Trouble> {
    let discovery = link.recent_discovery().await?;
    let wanted = desired::all(step, work, &discovery).map_err(|why| Refusal::known("Unknown", why))?;
    let kinds: Vec<_> = wanted.iter().map(|one| one.key.group_kind()).collect();
    let members = Set::of(step).members(link, &discovery, kinds).await?.objects;
    let asked: Vec<_> = wanted
        .iter()
        .map(|one| change(link, one, members.get(&one.key)))
        .collect();
    let mut answers = stream::iter(asked).buffered(AT_ONCE);
    let mut changes = Vec::new();
    while let Some(answer) = answers.next().await {
        changes.extend(answer?);
    }
    let unwanted = members
        .keys()
        .filter(|key| !wanted.iter().any(|one| one.key == **key));
    changes.extend(unwanted.map(|key| Change {
        effect: Effect::Remove,
        subject: key.name.clone(),
        kind: key.kind.clone(),
        properties: Vec::new(),
    }));
    Ok(changes)
}

/// What applying one object would change.
async fn change(link: &Link, one: &Desired, seen: Option<&Value>) -> Result<Option<Change>, Trouble> {
    let mut change = Change {
        effect: Effect::Add,
        subject: one.key.name.clone(),
        kind: one.key.kind.clone(),
        properties: Vec::new(),
    };
    let discovery = link.discovery().await?;
    let Some(resource) = discovery.version(&one.api_version, &one.key.kind) else {
        return Ok(Some(change));
    };
    let path = resource.path_of(&one.key);
    let live = match seen {
        Some(live) => Some(live.clone()),
        None => link.get(&path).await?,
    };
    let Some(live) = live.filter(|live| live["metadata"]["deletionTimestamp"].is_null()) else {
        return Ok(Some(change));
    };
    let mut found = Differences::of(&live);
    let dry = format!("{path}?dryRun=All&force=true&fieldManager={}", crate::MANAGER);
    match link.put(http::Method::PATCH, dry, APPLY, &one.body).await {
        Ok((_, applied)) => found.between(&applied, true),
        Err(Trouble::Refused(refusal)) if refusal.code == 404 => return Ok(Some(change)),
        // A webhook that cannot be asked without consequences, or what cannot be changed in place: the manifest itself
        // tells what it wants to be different.
        Err(Trouble::Refused(refusal)) => {
            found.between(&one.body, false);
            if one.key.kind == "Job" && refusal.is_immutable() {
                change.effect = Effect::Replace;
                for property in &mut found.list {
                    property.replaces = property.path.starts_with("spec.template");
                }
                change.properties = found.list;
                return Ok(Some(change));
            }
        }
        Err(trouble) => return Err(trouble),
    }
    // What a teardown stopped and left behind goes with the next apply.
    for path in quiesce::left_behind(&one.key, &live, &one.body) {
        let value = path.iter().fold(&live, |value, part| &value[part.as_str()]);
        let path: Vec<Part<'_>> = path.iter().map(|part| Part::Key(part)).collect();
        found.add(&path, value, &Value::Null);
    }
    if found.list.is_empty() {
        return Ok(None);
    }
    change.effect = Effect::Modify;
    change.properties = found.list;
    Ok(Some(change))
}

/// Where an object would not be as it is.
struct Differences<'a> {
    live: &'a Value,
    secret: bool,
    list: Vec<PropertyChange>,
}

impl<'a> Differences<'a> {
    fn of(live: &'a Value) -> Differences<'a> {
        Differences {
            live,
            secret: live["kind"] == "Secret",
            list: Vec::new(),
        }
    }

    /// `whole` tells whether `after` is all of it, so that what it lacks goes.
    fn between(&mut self, after: &Value, whole: bool) {
        self.walk(&mut Vec::new(), self.live, after, whole);
    }

    fn walk<'b>(&mut self, path: &mut Vec<Part<'b>>, before: &'b Value, after: &'b Value, whole: bool) {
        if before == after {
            return;
        }
        match (before, after) {
            (Value::Object(fields), Value::Object(others)) => {
                let servers: &[&str] = match path.as_slice() {
                    [] => &["status"],
                    [Part::Key("metadata")] => &SERVERS,
                    _ => &[],
                };
                for field in union(fields, others) {
                    let kept_by_server = servers.contains(&field);
                    if kept_by_server || !whole && !others.contains_key(field) {
                        continue;
                    }
                    path.push(Part::Key(field));
                    self.walk(path, &before[field], &after[field], whole);
                    path.pop();
                }
            }
            (Value::Array(items), Value::Array(others))
                if items.len() == others.len() && items.iter().chain(others).all(Value::is_object) =>
            {
                for (at, (item, other)) in items.iter().zip(others).enumerate() {
                    path.push(Part::Item(item, at));
                    self.walk(path, item, other, whole);
                    path.pop();
                }
            }
            _ => self.add(path, before, after),
        }
    }

    fn add(&mut self, path: &[Part<'_>], before: &Value, after: &Value) {
        let hidden = self.secret && matches!(path.first(), Some(Part::Key("data" | "stringData")));
        let shown = |value: &Value| match value {
            Value::Null => None,
            _ if hidden => Some(SECRET.to_owned()),
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let by = set_by(self.live, path);
        let before = match (shown(before), by) {
            (Some(value), Some(by)) => Some(format!("{value} (set by {by})")),
            (value, _) => value,
        };
        self.list.push(PropertyChange {
            path: said(path),
            before,
            after: shown(after),
            replaces: false,
        });
    }
}

/// The fields of either, in their order.
fn union<'a>(
    one: &'a serde_json::Map<String, Value>,
    other: &'a serde_json::Map<String, Value>,
) -> Vec<&'a str> {
    let more = other.keys().filter(|field| !one.contains_key(*field));
    one.keys().chain(more).map(String::as_str).collect()
}

/// `spec.template.spec.containers[0].image`.
fn said(path: &[Part<'_>]) -> String {
    let mut text = String::new();
    for part in path {
        match part {
            Part::Item(_, at) => text.push_str(&format!("[{at}]")),
            Part::Key(key) if text.is_empty() => text.push_str(key),
            Part::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
        }
    }
    text
}
