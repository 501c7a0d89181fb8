//! Lists of objects, whole or page by page, in the form a client asked for.

use std::ops::Bound;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::message::Key;
use crate::selector::Selection;
use crate::served::Served;
use crate::server::ApiServer;
use crate::status::Status;
use crate::table;

/// What comes with each row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// The form in which objects are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// Only metadata.
    Partial,
    /// Rows of a table, for people.
    Table(Include),
}

impl Form {
    /// The form an `Accept` header asks for: the first of its choices we know.
    pub(crate) fn asked(accept: &str, include: &str) -> Form {
        for choice in accept.split(',') {
            let has = |wanted: &str| choice.split(';').any(|part| part.trim() == wanted);
            if !has("application/json") {
                if has("*/*") {
                    return Form::Whole;
                }
                continue;
            }
            if has("as=Table") {
                return Form::Table(match include {
                    "None" => Include::Nothing,
                    "Object" => Include::Object,
                    _ => Include::Metadata,
                });
            }
            if has("as=PartialObjectMetadata") || has("as=PartialObjectMetadataList") {
                return Form::Partial;
            }
            if !choice.contains("as=") {
                return Form::Whole;
            }
        }
        Form::Whole
    }

    /// One object in this form.
    pub(crate) fn one(self, served: &Served, object: &Value, with_heads: bool, now: Timestamp) -> Value {
        match self {
            Form::Whole => as_served(served, object),
            Form::Partial => partial(object),
            Form::Table(include) => {
                let metadata = json!({ "resourceVersion": revision_of(object) });
                table::table(served, &[object], metadata, include, with_heads, now)
            }
        }
    }
}

pub(crate) fn revision_of(object: &Value) -> &str {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An object in the version it was asked for in.
pub(crate) fn as_served(served: &Served, object: &Value) -> Value {
    let mut shown = object.clone();
    if served.version != served.storage() {
        shown["apiVersion"] = served.api_version().into();
    }
    shown
}

pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// What a list or a watch is asked for.
pub(crate) struct Listed {
    pub(crate) served: Arc<Served>,
    /// Empty for all.
    pub(crate) namespace: String,
    pub(crate) selection: Selection,
    pub(crate) form: Form,
    pub(crate) limit: usize,
    pub(crate) from: String,
    pub(crate) revision: String,
    pub(crate) timeout: Option<SignedDuration>,
    pub(crate) bookmarks: bool,
    /// Whether the objects that stand are told first, and their end marked.
    pub(crate) send_initial: bool,
    /// False when the client said it does not want them.
    pub(crate) send_initial_or_default: bool,
    pub(crate) has_selectors: bool,
}

impl ApiServer {
    /// The objects of a kind that are selected, in order of namespace and name.
    pub(crate) fn selected<'a>(
        &'a self,
        served: &'a Served,
        namespace: &'a str,
        selection: &'a Selection,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let from = Key::new(&served.group, &served.kind, namespace, "");
        self.selected_from(served, namespace, selection, from, Bound::Included)
    }

    fn selected_from<'a>(
        &'a self,
        served: &'a Served,
        namespace: &'a str,
        selection: &'a Selection,
        from: Key,
        bound: fn(Key) -> Bound<Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.store
            .from(from, bound)
            .take_while(move |(key, _)| {
                served.is(&key.group, &key.kind) && (namespace.is_empty() || key.namespace == namespace)
            })
            .filter(|(_, object)| selection.takes(object))
    }

    /// A list, or a page of one.
    pub(crate) fn list(&self, listed: &Listed, now: Timestamp) -> Result<Value, Status> {
        let served = &listed.served;
        let (from, bound, revision): (Key, fn(Key) -> Bound<Key>, String) = if listed.from.is_empty() {
            let from = Key::new(&served.group, &served.kind, &listed.namespace, "");
            (from, Bound::Included, self.revision().to_string())
        } else {
            let (last, revision) = read_token(&listed.from, served)?;
            (last, Bound::Excluded, revision)
        };
        let mut found = self.selected_from(served, &listed.namespace, &listed.selection, from, bound);
        let mut page = Vec::new();
        let mut last = None;
        while listed.limit == 0 || page.len() < listed.limit {
            let Some((key, object)) = found.next() else { break };
            page.push(&**object);
            last = Some(key);
        }
        let left = found.count();
        let mut metadata = json!({ "resourceVersion": revision });
        if left > 0
            && let Some(last) = last
        {
            metadata["continue"] = token(last, &revision).into();
            if !listed.has_selectors {
                metadata["remainingItemCount"] = left.into();
            }
        }
        Ok(match listed.form {
            Form::Table(include) => table::table(served, &page, metadata, include, true, now),
            Form::Partial => {
                let items: Vec<Value> = page.iter().map(|object| partial(object)).collect();
                json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                    "items": items,
                })
            }
            Form::Whole => {
                let items: Vec<Value> = page.iter().map(|object| as_served(served, object)).collect();
                json!({
                    "kind": format!("{}List", served.kind),
                    "apiVersion": served.api_version(),
                    "metadata": metadata,
                    "items": items,
                })
            }
        })
    }
}

/// Where a next page begins. Not secret, only opaque.
fn token(last: &Key, revision: &str) -> String {
    use base64::Engine as _;
    let text = format!("{revision}/{}/{}", last.namespace, last.name);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn read_token(token: &str, served: &Served) -> Result<(Key, String), Status> {
    use base64::Engine as _;
    let broken = || Status::bad_request("continue key is not valid");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| broken())?;
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    let mut parts = text.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(revision), Some(namespace), Some(name)) => Ok((
            Key::new(&served.group, &served.kind, namespace, name),
            revision.to_owned(),
        )),
        _ => Err(broken()),
    }
}
