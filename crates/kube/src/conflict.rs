//! Who else manages a field, and whether it may be taken from them.

use serde_json::Value;

use crate::key::Key;
use crate::trouble::Refusal;

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conflict {
    pub(crate) manager: String,
    /// As the server writes it: `.spec.replicas`.
    pub(crate) field: String,
}

/// The fields that a refusal is about.
pub(crate) fn conflicts(refusal: &Refusal) -> Vec<Conflict> {
    let causes = refusal
        .causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict");
    let mut all: Vec<Conflict> = causes
        .map(|cause| Conflict {
            manager: cause.message.split('"').nth(1).unwrap_or("unknown").to_owned(),
            field: cause.field.clone(),
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Tools that people change things with by hand: what they changed is drift, not somebody's work.
pub(crate) fn is_by_hand(manager: &str) -> bool {
    manager.starts_with("kubectl") || ["Lens", "lens", "k9s", "node-fetch"].contains(&manager)
}

/// Whether a field may be taken back without asking: from people's tools, and from what we did ourselves in another
/// way, such as stopping something for a teardown that never came.
pub(crate) fn may_be_taken(conflict: &Conflict) -> bool {
    is_by_hand(&conflict.manager) || conflict.manager == crate::MANAGER
}

/// What is said of fields that were taken back from people.
pub(crate) fn taken_back(key: &Key, conflicts: &[Conflict]) -> Option<String> {
    let by_hand: Vec<String> = conflicts
        .iter()
        .filter(|one| is_by_hand(&one.manager))
        .map(|one| format!("{} (set by {})", plain(&one.field), one.manager))
        .collect();
    (!by_hand.is_empty()).then(|| format!("taken back in the {}: {}", key.said(), by_hand.join(", ")))
}

/// What is said of fields that somebody else keeps, and the ways out.
pub(crate) fn kept_by_others(conflicts: &[Conflict]) -> (String, String) {
    let others: Vec<&Conflict> = conflicts.iter().filter(|one| !may_be_taken(one)).collect();
    let fields: Vec<String> = others
        .iter()
        .map(|one| format!("{} is managed by `{}`", plain(&one.field), one.manager))
        .collect();
    let names: Vec<&str> = others.iter().map(|one| plain(&one.field)).collect();
    let way_out = format!(
        "leave {} out of the manifest, so that its manager keeps it; or take it over for good with `force: true` in the step's \
         `objects`; or stop what manages it; then run the command again: it goes on from here",
        names.join(" and ")
    );
    (fields.join("; "), way_out)
}

fn plain(field: &str) -> &str {
    field.trim_start_matches('.')
}

/// One step on the way to a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Key(&'a str),
    /// An item of a list, and where it is in it.
    Item(&'a Value, usize),
}

/// Who set a field last, other than ourselves: from the server's own records.
pub(crate) fn set_by(object: &Value, path: &[Part<'_>]) -> Option<String> {
    let managers = object["metadata"]["managedFields"].as_array()?;
    let others = managers.iter().filter(|one| {
        let ours = one["manager"] == crate::MANAGER;
        !ours && one["subresource"].as_str().is_none_or(|part| part != "status")
    });
    others
        .filter(|one| manages(&one["fieldsV1"], path))
        .max_by_key(|one| one["time"].as_str().unwrap_or_default().to_owned())
        .and_then(|one| one["manager"].as_str())
        .map(str::to_owned)
}

fn manages(fields: &Value, path: &[Part<'_>]) -> bool {
    let Some(fields) = fields.as_object() else {
        return false;
    };
    let Some((first, rest)) = path.split_first() else {
        return true;
    };
    // A field without anything below it is managed as a whole.
    if fields.is_empty() {
        return true;
    }
    let below = match first {
        Part::Key(key) => fields.get(&format!("f:{key}")),
        Part::Item(item, at) => fields
            .iter()
            .find(|(name, _)| is_item(name, item, *at))
            .map(|(_, below)| below),
    };
    below.is_some_and(|below| manages(below, rest))
}

fn is_item(name: &str, item: &Value, at: usize) -> bool {
    match name.split_once(':') {
        Some(("k", keys)) => serde_json::from_str::<Value>(keys)
            .ok()
            .and_then(|keys| {
                keys.as_object()
                    .map(|keys| keys.iter().all(|(key, value)| &item[key] == value))
            })
            .unwrap_or(false),
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| &value == item),
        Some(("i", index)) => index.parse() == Ok(at),
        _ => false,
    }
}
