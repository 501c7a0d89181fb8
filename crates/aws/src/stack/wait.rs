//! Waits for stack operations by their events, and tells what a failure began with.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{ResourceStatus, StackEvent, StackStatus};
use landfall_model::provider::{Cause, Failure};
use landfall_runner::{ApplyError, Progress};

use super::{Meaning, meaning};
use crate::trouble::{Pace, Trouble, patiently};

/// How an operation on a stack ended.
pub(super) struct Ended {
    /// The stack's status.
    pub(super) status: StackStatus,
    /// Why it failed, when it did.
    pub(super) failure: Option<Failure>,
    /// What a deletion left in place by policy, a sentence each.
    pub(super) kept: Vec<String>,
    /// Whether the operation was a deletion.
    was_deleting: bool,
    /// The last event that came with a reason.
    refusal: Option<Cause>,
}

/// Which of the stack's own events an operation begins with, looking back from now.
#[derive(Clone, Copy, PartialEq)]
enum Since {
    /// The last creation, update or deletion.
    Operation,
    /// The last time a rollback was begun or continued.
    Rollback,
}

/// Waits until nothing is in progress any more.
pub(super) async fn settled(
    client: &Client,
    name: &str,
    id: &str,
    resources: usize,
    progress: &Progress,
) -> Result<Ended, ApplyError> {
    watch(client, name, id, resources, Since::Operation, progress).await
}

/// Waits until a rollback that is continued has ended, one way or the other.
pub(super) async fn rolled_back(
    client: &Client,
    name: &str,
    id: &str,
    progress: &Progress,
) -> Result<Ended, ApplyError> {
    watch(client, name, id, 0, Since::Rollback, progress).await
}

/// How long a deletion may take to show: a poll right after the call can still see the state before it.
const DELETION_SHOWS: Duration = Duration::from_secs(30);

/// Waits until a stack that is being deleted is gone, or its deletion has failed or was refused.
pub(super) async fn gone(
    client: &Client,
    name: &str,
    id: &str,
    progress: &Progress,
) -> Result<Ended, ApplyError> {
    let began = tokio::time::Instant::now();
    let mut pace = Pace::new(Duration::from_millis(300), Duration::from_secs(3));
    loop {
        let mut ended = watch(client, name, id, 0, Since::Operation, progress).await?;
        if matches!(
            ended.status,
            StackStatus::DeleteComplete | StackStatus::DeleteFailed
        ) {
            return Ok(ended);
        }
        // CloudFormation puts a stack back where it was when it will not delete it, for example while
        // another stack imports one of its exports.
        if ended.was_deleting || began.elapsed() > DELETION_SHOWS {
            let state = ended.status.as_str();
            let mut failure = Failure::new(format!(
                "CloudFormation did not delete the stack `{name}`; it is {state}"
            ));
            failure.cause = ended
                .failure
                .take()
                .and_then(|failure| failure.cause)
                .or(ended.refusal.take());
            failure.way_out = failure
                .cause
                .as_ref()
                .and_then(|cause| landfall_cloudformation::way_out(&cause.kind, &cause.reason));
            ended.failure = Some(failure);
            return Ok(ended);
        }
        pace.wait().await;
    }
}

async fn watch(
    client: &Client,
    name: &str,
    id: &str,
    resources: usize,
    since: Since,
    progress: &Progress,
) -> Result<Ended, ApplyError> {
    let failing = |trouble: Trouble| trouble.failing(&format!("waiting for the stack `{name}`"));
    // Short operations are common and long ones are long: ask often at first, seldom later.
    let mut pace = Pace::new(Duration::from_millis(300), Duration::from_secs(10));
    let mut told = BTreeSet::new();
    loop {
        let status = status_of(client, id, progress).await.map_err(failing)?;
        let events = operation(client, id, since, progress).await.map_err(failing)?;
        tell(&events, id, resources, &mut told, progress);
        if !matches!(meaning(&status), Meaning::Busy) {
            let deletes = |event: &StackEvent| {
                is_of_stack(event, id) && event.resource_status() == Some(&ResourceStatus::DeleteInProgress)
            };
            return Ok(Ended {
                failure: is_failure(&status).then(|| failure(name, &status, &events)),
                kept: kept(&events),
                was_deleting: events.iter().any(deletes),
                refusal: events
                    .iter()
                    .rev()
                    .find(|event| event.resource_status_reason().is_some())
                    .map(cause),
                status,
            });
        }
        pace.wait().await;
    }
}

/// The status of a stack, which by its id is found even after it is gone.
async fn status_of(client: &Client, id: &str, progress: &Progress) -> Result<StackStatus, Trouble> {
    let found = patiently(Some(progress), || async {
        Ok(client.describe_stacks().stack_name(id).send().await?)
    })
    .await;
    match found {
        Ok(found) => Ok(found
            .stacks()
            .first()
            .and_then(|stack| stack.stack_status().cloned())
            .unwrap_or(StackStatus::DeleteComplete)),
        Err(Trouble::NotFound(_)) => Ok(StackStatus::DeleteComplete),
        Err(trouble) => Err(trouble),
    }
}

fn is_failure(status: &StackStatus) -> bool {
    !matches!(
        status,
        StackStatus::CreateComplete
            | StackStatus::UpdateComplete
            | StackStatus::ImportComplete
            | StackStatus::DeleteComplete
            | StackStatus::ReviewInProgress
    )
}

/// The events of the operation that is going on or was the last, the oldest first.
async fn operation(
    client: &Client,
    id: &str,
    since: Since,
    progress: &Progress,
) -> Result<Vec<StackEvent>, Trouble> {
    let mut events: Vec<StackEvent> = Vec::new();
    let mut next = None;
    loop {
        let page = patiently(Some(progress), || {
            let call = client
                .describe_stack_events()
                .stack_name(id)
                .set_next_token(next.clone());
            async { Ok(call.send().await?) }
        })
        .await;
        let page = match page {
            Err(Trouble::NotFound(_)) => break,
            page => page?,
        };
        let mut complete = false;
        for event in page.stack_events.unwrap_or_default() {
            complete = begins_operation(&event, id, since);
            events.push(event);
            if complete {
                break;
            }
        }
        next = page.next_token;
        if complete || next.is_none() {
            break;
        }
    }
    events.reverse();
    Ok(events)
}

fn is_of_stack(event: &StackEvent, id: &str) -> bool {
    event.physical_resource_id() == Some(id) && event.resource_type() == Some("AWS::CloudFormation::Stack")
}

/// Newest first, an operation ends with the stack's own event that began it.
fn begins_operation(event: &StackEvent, id: &str, since: Since) -> bool {
    let begins = match event.resource_status() {
        Some(ResourceStatus::UpdateRollbackInProgress) => since == Since::Rollback,
        Some(
            ResourceStatus::CreateInProgress
            | ResourceStatus::UpdateInProgress
            | ResourceStatus::DeleteInProgress,
        ) => true,
        _ => false,
    };
    begins && is_of_stack(event, id)
}

fn state(event: &StackEvent) -> &str {
    event.resource_status().map_or("", ResourceStatus::as_str)
}

fn tell(events: &[StackEvent], id: &str, resources: usize, told: &mut BTreeSet<String>, progress: &Progress) {
    let parts = events.iter().filter(|event| !is_of_stack(event, id));
    let done: BTreeSet<&str> = parts
        .clone()
        .filter(|event| state(event).ends_with("_COMPLETE"))
        .filter_map(|event| event.logical_resource_id())
        .collect();
    let all: BTreeSet<&str> = parts.filter_map(|event| event.logical_resource_id()).collect();
    for event in events {
        let Some(event_id) = event.event_id() else {
            continue;
        };
        if is_of_stack(event, id) || !told.insert(event_id.to_owned()) {
            continue;
        }
        let message = format!(
            "{} {} {}",
            event.resource_type().unwrap_or_default(),
            event.logical_resource_id().unwrap_or_default(),
            state(event)
        );
        progress.count(done.len(), resources.max(all.len()), message);
    }
}

/// What CloudFormation left in place because the template says so.
fn kept(events: &[StackEvent]) -> Vec<String> {
    events
        .iter()
        .filter(|event| event.resource_status() == Some(&ResourceStatus::DeleteSkipped))
        .map(|event| {
            format!(
                "{} {} is kept by its template ({})",
                event.resource_type().unwrap_or_default(),
                event.physical_resource_id().unwrap_or_default(),
                event.logical_resource_id().unwrap_or_default()
            )
        })
        .collect()
}

/// A failure told by the event that came first: everything after it, the rollback and the cancelled
/// neighbours, only follows from it.
fn failure(name: &str, status: &StackStatus, events: &[StackEvent]) -> Failure {
    let told = |event: &StackEvent| Cause {
        reason: event.resource_status_reason().unwrap_or_default().to_owned(),
        ..cause(event)
    };
    let causes: Vec<Cause> = events.iter().map(told).collect();
    let otherwise = "mend what the reason names, then run the command again: it goes on from here";
    landfall_cloudformation::failure(name, status.as_str(), &causes, otherwise)
}

fn cause(event: &StackEvent) -> Cause {
    Cause {
        resource: event.logical_resource_id().unwrap_or_default().to_owned(),
        kind: event.resource_type().unwrap_or_default().to_owned(),
        state: state(event).to_owned(),
        reason: event
            .resource_status_reason()
            .unwrap_or("CloudFormation gave no reason")
            .to_owned(),
        at: event.timestamp().map(ToString::to_string).unwrap_or_default(),
    }
}
