//! What is done to a stack, and waited for: making way, beginning an operation, following its events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall_model::provider::{Cause, Failure};
use landfall_model::work::{StackWork, Step};
use landfall_runner::{ApplyError, Intent, Progress};

use super::record::Begun;
use super::spec::Spec;
use super::timeline::Event;
use super::{FINISH_THE_TEARDOWN, Meaning, Shown, SimStacks, meaning};
use crate::authorization::Context;

/// How often a busy stack is looked at: often at first, because short operations are common. The longest
/// wait is shorter than for a real account, which must not be asked too often.
pub(super) const LOOK_MS: (u64, u64) = (300, 3_000);

/// How an operation on a stack ended.
pub(super) struct Ended {
    pub(super) status: &'static str,
    /// Why it failed, when it did.
    pub(super) failure: Option<Failure>,
}

impl SimStacks {
    /// Waits out, clears away or frees whatever stands in the way of a change. Returns the stack to
    /// update or to go on with, or none when it is to be created.
    pub(super) async fn make_way(
        &self,
        step: &Step,
        work: &StackWork,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Option<Shown>, ApplyError> {
        let StackWork { name, region, .. } = work;
        let mut waited_out = None;
        loop {
            let stack = self
                .describe(region, name, &intent.token, Some(progress))
                .await
                .map_err(|trouble| trouble.failing(&format!("looking at the stack `{name}`")))?;
            let Some(stack) = stack else { return Ok(None) };
            if let Some(why) = stack
                .foreign(&step.facts.name)
                .or_else(|| stack.half_deleted(work))
            {
                return Err(why.failure().into());
            }
            // Begun before a crash or a lost answer. How it ends is how this step ends.
            if stack.begun.is_some() {
                return Ok(Some(stack));
            }
            match meaning(stack.status) {
                Meaning::Well => return Ok(Some(stack)),
                Meaning::Busy => {
                    if waited_out != Some(stack.touched) {
                        progress.say(format!("{}: waiting for that to end", stack.status));
                    }
                    waited_out = Some(stack.touched);
                    self.settled(&stack, work.interface.resources.len(), progress)
                        .await?;
                }
                Meaning::Leftover(_) => {
                    progress.say(format!("{}: clearing it away", stack.status));
                    let cleared = self.delete_and_wait(&stack, "", progress).await;
                    cleared.map_err(|error| match stack.status {
                        "DELETE_FAILED" => finish_the_teardown(error),
                        _ => error,
                    })?;
                }
                Meaning::Stuck(_) => {
                    progress.say(format!("{}: continuing the rollback", stack.status));
                    self.free(&stack, progress).await?;
                }
            }
        }
    }

    /// Continues a failed rollback.
    async fn free(&self, stack: &Shown, progress: &Progress) -> Result<(), ApplyError> {
        self.world
            .call(Some(progress), |state, now| {
                state.allow_stack("ContinueUpdateRollback", &stack.region, &stack.name)?;
                state.continue_rollback(&stack.id, now)
            })
            .await
            .map_err(|trouble| trouble.failing(&format!("freeing the stack `{}`", stack.name)))?;
        let ended = self.settled(stack, 0, progress).await?;
        match (meaning(ended.status), ended.failure) {
            (Meaning::Stuck(_), Some(failure)) => Err(failure.into()),
            _ => Ok(()),
        }
    }

    /// Waits until nothing is in progress any more, and tells what happens meanwhile.
    pub(super) async fn settled(
        &self,
        stack: &Shown,
        all: usize,
        progress: &Progress,
    ) -> Result<Ended, ApplyError> {
        let (mut wait, longest) = LOOK_MS;
        let mut events: Vec<Event> = Vec::new();
        let mut began = None;
        loop {
            let told = events.len();
            let (status, new, now) = self
                .world
                .call(Some(progress), |state, now| {
                    for action in [
                        "cloudformation:DescribeStacks",
                        "cloudformation:DescribeStackEvents",
                    ] {
                        state.allow(action, &stack.id, &Context::default())?;
                    }
                    let stack = state
                        .stack_by_id(&stack.id)
                        .expect("the world forgets no stack it has shown");
                    let latest = stack.latest();
                    // An operation that began meanwhile is another one.
                    let new = if told <= latest.len() {
                        &latest[told..]
                    } else {
                        latest
                    };
                    Ok((stack.status, new.to_vec(), now))
                })
                .await
                .map_err(|trouble| trouble.failing(&format!("waiting for the stack `{}`", stack.name)))?;
            events.extend(new);
            tell(&events, told, all, progress);
            if !matches!(meaning(status), Meaning::Busy) {
                return Ok(Ended {
                    status,
                    failure: self.failure(&stack.name, status, &events),
                });
            }
            self.world.sleep(Duration::from_millis(wait)).await;
            // What has taken long is looked at less often.
            let waited = now - *began.get_or_insert(now);
            wait = (wait * 3 / 2).min(longest.max(waited / 20));
        }
    }

    /// A failure told by the event that came first: everything after it, the rollback and the cancelled
    /// neighbours, only follows from it.
    fn failure(&self, name: &str, status: &str, events: &[Event]) -> Option<Failure> {
        if matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "DELETE_COMPLETE") {
            return None;
        }
        let causes: Vec<Cause> = events
            .iter()
            .map(|event| Cause {
                resource: event.resource.clone().unwrap_or_else(|| name.to_owned()),
                kind: event.kind.clone(),
                state: event.status.to_owned(),
                reason: event.reason.clone().unwrap_or_default(),
                at: self.world.text(event.at),
            })
            .collect();
        let otherwise = if status == "DELETE_FAILED" {
            format!(
                "remove what keeps the resource in use, then run the command again; the stack is `{name}`"
            )
        } else {
            "run the command again: in a simulated cloud, what failed once is mended".to_owned()
        };
        Some(landfall_cloudformation::failure(
            name, status, &causes, &otherwise,
        ))
    }

    /// Deletes a stack and waits until it is gone.
    pub(super) async fn delete_and_wait(
        &self,
        stack: &Shown,
        token: &str,
        progress: &Progress,
    ) -> Result<(), ApplyError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.world
                .call(Some(progress), |state, now| {
                    state.allow("cloudformation:DeleteStack", &stack.id, &Context::default())?;
                    state.delete_stack(&stack.id, token, now)
                })
                .await
                .map_err(|trouble| trouble.failing(&format!("deleting the stack `{}`", stack.name)))?;
            match self.settled(stack, 0, progress).await?.failure {
                None => return Ok(()),
                // What blocked it may have gone meanwhile.
                Some(_) if tries < 2 => progress.say("the deletion failed once; trying again"),
                Some(failure) => return Err(failure.into()),
            }
        }
    }

    pub(super) async fn protect(
        &self,
        stack: &Shown,
        protect: bool,
        progress: &Progress,
    ) -> Result<(), ApplyError> {
        let changed = self
            .world
            .call(Some(progress), |state, _| {
                let action = "cloudformation:UpdateTerminationProtection";
                state.allow(action, &stack.id, &Context::default())?;
                if let Some(stack) = state.stack_by_id(&stack.id) {
                    stack.protected = protect;
                }
                Ok(())
            })
            .await;
        changed.map_err(|trouble| {
            trouble.failing(&format!(
                "changing the termination protection of `{}`",
                stack.name
            ))
        })
    }

    /// Begins what has to be done, under the intent's name.
    pub(super) async fn begin(
        &self,
        work: &StackWork,
        goal: &Arc<Spec>,
        before: Option<&Shown>,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Begun, ApplyError> {
        let StackWork { name, region, .. } = work;
        let token = intent.token.as_str();
        progress.say("making a change set");
        let doing = match before {
            Some(_) => format!("updating the stack `{name}`"),
            None => format!("creating the stack `{name}`"),
        };
        self.world
            .call(Some(progress), |state, now| {
                state.allow_change_set(work)?;
                match before {
                    Some(stack) => state.update_stack(&stack.id, goal, token, now),
                    None => state.create_stack(region, name, goal, token, now),
                }
            })
            .await
            .map_err(|trouble| trouble.failing(&doing))
    }
}

/// Says that a teardown was begun, and that finishing it is not an apply's.
fn finish_the_teardown(error: ApplyError) -> ApplyError {
    match error {
        ApplyError::Failed(failure) => failure.way_out(FINISH_THE_TEARDOWN).into(),
        other => other,
    }
}

/// Whether a stack failed only because a role it needs was made a moment ago: IAM takes a while to spread
/// what it knows.
pub(super) fn is_too_early(failure: &Failure) -> bool {
    let cause = failure.cause.as_ref();
    cause.is_some_and(|cause| cause.reason.contains("cannot be assumed"))
}

/// Says what has happened since it was last said.
fn tell(events: &[Event], told: usize, all: usize, progress: &Progress) {
    if told == events.len() {
        return;
    }
    let ids: BTreeSet<&String> = events
        .iter()
        .filter_map(|event| event.resource.as_ref())
        .collect();
    let mut done = BTreeSet::new();
    for (at, event) in events.iter().enumerate() {
        let Some(id) = &event.resource else { continue };
        if event.status.ends_with("_COMPLETE") {
            done.insert(id);
        }
        if at >= told {
            progress.count(
                done.len(),
                all.max(ids.len()),
                format!("{} {id} {}", event.kind, event.status),
            );
        }
    }
}
