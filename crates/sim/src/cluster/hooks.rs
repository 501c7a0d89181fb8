//! What an API server asks of the world around it: whether a webhook answers, and when a definition is
//! established.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use landfall_apiserver::{Hooks, View, Webhook};
use serde_json::Value;

use super::object;
use crate::durations;
use crate::random::Random;

/// What goes wrong in an API server, set before it is asked and read afterwards.
#[derive(Debug, Default)]
pub(crate) struct Meddling {
    /// Kinds whose next definition is established late, by how many milliseconds.
    pub(crate) late: Vec<(String, u64)>,
    /// Those that have been.
    pub(crate) came_late: Vec<String>,
    /// What webhooks say no with, while they do: the beginning of their names, and the words.
    pub(crate) refusing: Vec<(String, String)>,
}

/// What an API server sees of the world.
pub(super) struct Surroundings(pub(super) Arc<Mutex<Meddling>>);

/// Whether a pod is ready, which a service sends traffic to.
fn answers(pod: &Value, selector: &Value) -> bool {
    !object::is_going(pod)
        && object::is_true(pod, "Ready")
        && object::selects(selector, &pod["metadata"]["labels"])
}

impl Hooks for Surroundings {
    fn call_webhook(&mut self, api: &View<'_>, webhook: &Value, _: &Value) -> Webhook {
        let name = webhook["name"].as_str().unwrap_or_default();
        let meddling = self.0.lock().expect("nothing panics while it holds this");
        if let Some((_, why)) = meddling
            .refusing
            .iter()
            .find(|(some, _)| name.starts_with(some.as_str()))
        {
            return Webhook::Denied(why.clone());
        }
        let service = &webhook["clientConfig"]["service"];
        let (Some(to), Some(namespace)) = (service["name"].as_str(), service["namespace"].as_str()) else {
            return Webhook::Allowed;
        };
        let path = service["path"].as_str().unwrap_or("/");
        let port = service["port"].as_u64().unwrap_or(443);
        let unreachable = |why: String| {
            Webhook::Unreachable(format!(
                "Post \"https://{to}.{namespace}.svc:{port}{path}?timeout=10s\": {why}"
            ))
        };
        let Some(found) = api.get(&object::key("v1", "Service", namespace, to)) else {
            return unreachable(format!("service \"{to}\" not found"));
        };
        let selector = &found["spec"]["selector"];
        let mut pods = api.of_kind("", "Pod");
        if pods.any(|(key, pod)| key.namespace == namespace && answers(pod, selector)) {
            Webhook::Allowed
        } else {
            unreachable(format!("no endpoints available for service \"{to}\""))
        }
    }

    fn establishes(&mut self, definition: &Value, now: Timestamp) -> Timestamp {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let mut meddling = self.0.lock().expect("nothing panics while it holds this");
        let late = meddling.late.iter().position(|(some, _)| some == kind);
        let takes = match late {
            Some(at) => {
                let (kind, millis) = meddling.late.remove(at);
                meddling.came_late.push(kind);
                millis
            }
            None => {
                let typical = durations::typical_ms("CustomResourceDefinition", false).unwrap_or(2_000);
                Random::of(0, &["established", kind, object::uid(definition)]).about(typical, 30)
            }
        };
        let takes = SignedDuration::from_millis(i64::try_from(takes).unwrap_or(i64::MAX));
        now.checked_add(takes).unwrap_or(Timestamp::MAX)
    }
}
