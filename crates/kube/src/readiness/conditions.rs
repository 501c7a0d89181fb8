//! The words every status shares: conditions, generations, numbers.

use serde_json::Value;

use super::Readiness;

/// One condition of a status.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|one| one["type"] == kind)
}

pub(crate) fn is_true(condition: &Value) -> bool {
    condition["status"] == "True"
}

/// What a condition says for people: `Reason: message`.
pub(crate) fn said(condition: &Value) -> String {
    let reason = condition["reason"].as_str().unwrap_or_default();
    let message = condition["message"].as_str().unwrap_or_default().trim();
    match (reason, message) {
        ("", "") => {
            let kind = condition["type"].as_str().unwrap_or("condition");
            let status = condition["status"].as_str().unwrap_or("Unknown");
            format!("its condition {kind} is {status}")
        }
        (one, "") | ("", one) => one.to_owned(),
        (reason, message) if message.starts_with(reason) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// Waiting, when its controller has not seen the object as it is now.
pub(super) fn unseen(object: &Value) -> Option<Readiness> {
    let seen = object["status"]["observedGeneration"].as_i64();
    let now = object["metadata"]["generation"].as_i64();
    match (seen, now) {
        (Some(seen), Some(now)) if seen < now => {
            Some(waiting("its controller has not seen the last change yet"))
        }
        _ => None,
    }
}

/// As [`unseen`], for kinds whose controller always says what it has seen.
pub(super) fn unseen_or_silent(object: &Value) -> Option<Readiness> {
    match object["status"]["observedGeneration"].as_i64() {
        None => Some(waiting("its controller has not looked at it yet")),
        Some(_) => unseen(object),
    }
}

/// Ready when this condition is true and says so of the object as it is now.
pub(super) fn needs(object: &Value, status: &Value, kind: &str) -> Readiness {
    let Some(condition) = condition(status, kind) else {
        return waiting(format!("its condition {kind} is not there yet"));
    };
    let generation = object["metadata"]["generation"].as_i64();
    if let (Some(seen), Some(now)) = (condition["observedGeneration"].as_i64(), generation)
        && seen < now
    {
        return waiting("its controller has not seen the last change yet");
    }
    if is_true(condition) {
        Readiness::Ready
    } else {
        waiting(said(condition))
    }
}

pub(super) fn waiting(why: impl Into<String>) -> Readiness {
    Readiness::Waiting { why: why.into() }
}

pub(super) fn failed(why: impl Into<String>) -> Readiness {
    Readiness::Failed { why: why.into() }
}

/// A number that is nought when it is not there, as in every status.
pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}
