//! Why an operation on a stack failed, told by its events: the same for a real stack and a simulated one.

use landfall_model::provider::{Cause, Failure};

use crate::advice::way_out;

/// The type of a stack among resources.
const STACK: &str = "AWS::CloudFormation::Stack";

/// Why an operation that left the stack `name` as `status` failed. `events` are all of that operation, the oldest
/// first, those of the stack itself under its name; `otherwise` is what to do when the reason is not one that is
/// known.
pub fn failure(name: &str, status: &str, events: &[Cause], otherwise: &str) -> Failure {
    let cause = first(events).cloned().map(|mut cause| {
        if cause.reason.is_empty() {
            "CloudFormation gave no reason".clone_into(&mut cause.reason);
        }
        cause
    });
    let known = cause
        .as_ref()
        .and_then(|cause| way_out(&cause.kind, &cause.reason));
    let mut way_out = known.unwrap_or_else(|| otherwise.to_owned());
    let mut summary = format!("the stack `{name}` ended as {status}");
    if status.ends_with("ROLLBACK_FAILED") {
        if let Some(stuck) = stuck(events, cause.as_ref()) {
            summary = format!(
                "{summary}: rolling back failed too, at {} ({}): {}",
                stuck.resource, stuck.kind, stuck.reason
            );
        }
        way_out = format!("{way_out}. {}", after_rollback(name, status));
    }
    Failure {
        summary,
        cause,
        way_out: Some(way_out),
    }
}

/// What the next command does with a stack whose rollback failed, and what to do when that fails as well.
pub fn after_rollback(name: &str, status: &str) -> String {
    if status == "UPDATE_ROLLBACK_FAILED" {
        format!(
            "`landfall apply` continues the rollback first; when that fails again, skip what cannot be put back with `aws \
             cloudformation continue-update-rollback --stack-name {name} --resources-to-skip LOGICAL_ID`"
        )
    } else {
        "`landfall apply` deletes what is left of the stack first, and makes it anew".to_owned()
    }
}

/// The event that came first: everything after it, the rollback and the cancelled neighbours, only follows from
/// it. What a nested stack says of itself only repeats what happened in it.
fn first(events: &[Cause]) -> Option<&Cause> {
    let mut failed = events.iter().filter(|event| event.state.ends_with("_FAILED"));
    let own = failed
        .clone()
        .find(|event| !event.reason.contains("cancelled") && event.kind != STACK);
    // Some refusals are told of the stack only, with the event that starts the rollback.
    let rollback = || {
        let mut all = events.iter();
        all.find(|event| event.state.contains("ROLLBACK_IN_PROGRESS") && !event.reason.is_empty())
    };
    own.or_else(|| failed.next()).or_else(rollback)
}

/// What kept the rollback from ending: the last resource that failed, when that is not how it all began.
fn stuck<'a>(events: &'a [Cause], first: Option<&Cause>) -> Option<&'a Cause> {
    let rollback = events
        .iter()
        .position(|event| event.state.contains("ROLLBACK_IN_PROGRESS"))?;
    let mut late = events[rollback..].iter().rev();
    late.find(|event| event.kind != STACK && event.state.ends_with("_FAILED") && Some(*event) != first)
}
