//! Admission: which webhooks have a say in a request, and what follows from their answers.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::message::Key;
use crate::selector::label_selector_fits;
use crate::served::Served;
use crate::status::Status;
use crate::store::Store;

/// What the server asks of the world around it.
pub trait Hooks: Send {
    /// What a webhook says of an object. `webhook` is one entry of the `webhooks` of a configuration.
    fn call_webhook(&mut self, api: &View<'_>, webhook: &Value, object: &Value) -> Webhook;

    /// From when on a custom resource definition is established.
    fn establishes(&mut self, crd: &Value, now: Timestamp) -> Timestamp;
}

/// The answer of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// It lets the object pass.
    Allowed,
    /// It refuses the object, with this message.
    Denied(String),
    /// Nobody answered, with the reason a client would see.
    Unreachable(String),
}

/// The objects of a cluster, to look at.
pub struct View<'a> {
    store: &'a Store,
}

impl View<'_> {
    /// The object under a key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.store.get(key)
    }

    /// All objects, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.store.iter()
    }

    /// The objects of a kind, in order of namespace and name.
    pub fn of_kind<'v>(
        &'v self,
        group: &'v str,
        kind: &'v str,
    ) -> impl Iterator<Item = (&'v Key, &'v Arc<Value>)> {
        self.store.of_kind(group, kind)
    }
}

/// What is about to happen to an object.
pub(crate) struct Attempt<'a> {
    pub(crate) operation: &'static str,
    pub(crate) served: &'a Served,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) object: &'a Value,
    pub(crate) before: Option<&'a Value>,
    pub(crate) dry_run: bool,
}

const GROUP: &str = "admissionregistration.k8s.io";

/// Asks all webhooks that have a say. Those that change objects come first, as in a real server, though
/// the ones here only judge.
pub(crate) fn review(
    store: &Store,
    hooks: Option<&mut Box<dyn Hooks>>,
    attempt: &Attempt<'_>,
) -> Result<(), Status> {
    // The configurations themselves pass without question, or nobody could mend a broken one.
    if attempt.served.group == GROUP {
        return Ok(());
    }
    let mut hooks = hooks;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        for (_, configuration) in store.of_kind(GROUP, kind) {
            let webhooks = configuration.get("webhooks").and_then(Value::as_array);
            for webhook in webhooks.into_iter().flatten() {
                if concerns(webhook, store, attempt) {
                    ask(webhook, store, hooks.as_deref_mut(), attempt)?;
                }
            }
        }
    }
    Ok(())
}

fn ask(
    webhook: &Value,
    store: &Store,
    hooks: Option<&mut Box<dyn Hooks>>,
    attempt: &Attempt<'_>,
) -> Result<(), Status> {
    let text = |field: &str| webhook.get(field).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    let conditions = webhook.get("matchConditions").and_then(Value::as_array);
    if conditions.is_some_and(|conditions| !conditions.is_empty()) {
        return Err(Status::lacking(&format!("matchConditions of webhook {name:?}")));
    }
    if attempt.dry_run && !matches!(text("sideEffects"), "None" | "NoneOnDryRun") {
        return Err(Status::bad_request(format!(
            "admission webhook {name:?} does not support dry run"
        )));
    }
    let answer = match hooks {
        Some(hooks) => hooks.call_webhook(&View { store }, webhook, attempt.object),
        None => Webhook::Unreachable("no endpoints available for the service".to_owned()),
    };
    match answer {
        Webhook::Allowed => Ok(()),
        Webhook::Denied(why) => Err(Status::new(
            403,
            "Forbidden",
            format!("admission webhook {name:?} denied the request: {why}"),
        )),
        Webhook::Unreachable(_) if text("failurePolicy") == "Ignore" => Ok(()),
        Webhook::Unreachable(why) => {
            let said = format!("failed calling webhook {name:?}: failed to call webhook: {why}");
            let mut status = Status::new(500, "InternalError", format!("Internal error occurred: {said}"));
            *status.details = serde_json::json!({ "causes": [{ "message": said }] });
            Err(status)
        }
    }
}

fn concerns(webhook: &Value, store: &Store, attempt: &Attempt<'_>) -> bool {
    let rules = webhook.get("rules").and_then(Value::as_array);
    let ruled = rules.into_iter().flatten().any(|rule| rule_fits(rule, attempt));
    ruled && namespace_fits(webhook, store, attempt) && object_fits(webhook, attempt)
}

fn rule_fits(rule: &Value, attempt: &Attempt<'_>) -> bool {
    let served = attempt.served;
    let lists = |field: &str, wanted: &str| {
        rule.get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|it| it == "*" || it == wanted)
    };
    let resource = if attempt.subresource.is_empty() {
        lists("resources", &served.plural) || lists("resources", "*/*")
    } else {
        let whole = format!("{}/{}", served.plural, attempt.subresource);
        let named = rule.get("resources").and_then(Value::as_array);
        named.into_iter().flatten().filter_map(Value::as_str).any(|it| {
            it == whole
                || it == "*/*"
                || it == format!("{}/*", served.plural)
                || it == format!("*/{}", attempt.subresource)
        })
    };
    let scope = match rule.get("scope").and_then(Value::as_str) {
        Some("Namespaced") => served.namespaced,
        Some("Cluster") => !served.namespaced,
        _ => true,
    };
    resource
        && scope
        && lists("operations", attempt.operation)
        && lists("apiGroups", &served.group)
        // A request in another version of the same kind counts too (matchPolicy Equivalent).
        && (lists("apiVersions", &served.version) || lists("apiVersions", served.storage()))
}

fn namespace_fits(webhook: &Value, store: &Store, attempt: &Attempt<'_>) -> bool {
    let Some(selector) = webhook.get("namespaceSelector") else {
        return true;
    };
    let nothing = Value::Null;
    let labels = |object: &Value| object.pointer("/metadata/labels").cloned().unwrap_or_default();
    if attempt.served.is("", "Namespace") {
        return label_selector_fits(selector, &labels(attempt.object));
    }
    if attempt.namespace.is_empty() {
        return true;
    }
    let namespace = store.get(&Key::new("", "Namespace", "", attempt.namespace));
    label_selector_fits(
        selector,
        &namespace.map_or(nothing, |namespace| labels(namespace)),
    )
}

fn object_fits(webhook: &Value, attempt: &Attempt<'_>) -> bool {
    let Some(selector) = webhook.get("objectSelector") else {
        return true;
    };
    let fits = |object: &Value| {
        let labels = object.pointer("/metadata/labels");
        label_selector_fits(selector, labels.unwrap_or(&Value::Null))
    };
    fits(attempt.object) || attempt.before.is_some_and(fits)
}
