//! Stacks in a simulated world: one for each `stack` step.
//!
//! Goes about it as the provider of a real account does: looks first, waits out what is busy, clears away
//! what a failure left, frees what is stuck, and names every operation after its intent, so that one that
//! goes on after a crash is found again and not begun a second time.

mod record;
mod spec;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::StepId;
use landfall_model::definition::{Existing, StepKind};
use landfall_model::provider::{
    Applied, Cause, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{StackWork, Step, TAG_COMPONENT, TAG_PLATFORM, TAG_STEP, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::{Value, json};

pub(crate) use record::StackRecord;
use record::{Begun, Operation, Verb};
use spec::Spec;
use timeline::Event;

use crate::trouble::Trouble;
use crate::world::{State, World};

/// Carries out `stack` steps in a simulated world.
pub struct SimStacks {
    world: Arc<World>,
}

/// How often a busy stack is looked at: often at first, because short operations are common. The longest
/// wait is shorter than for a real account, which must not be asked too often.
const LOOK_MS: (u64, u64) = (300, 3_000);

/// What a stack's status means for us.
#[derive(Clone, Copy)]
enum Meaning {
    Well,
    Busy,
    Leftover(&'static str),
    Stuck(&'static str),
}

/// Source: CloudFormation User Guide, "Stack status codes".
fn meaning(status: &str) -> Meaning {
    match status {
        "ROLLBACK_COMPLETE" => Meaning::Leftover("its creation failed and was rolled back; it holds nothing"),
        "ROLLBACK_FAILED" => Meaning::Leftover(
            "its creation failed and could not be rolled back; what is left of it is deleted",
        ),
        "DELETE_FAILED" => Meaning::Leftover("its deletion failed; what is left of it is deleted"),
        "UPDATE_ROLLBACK_FAILED" => {
            Meaning::Stuck("an update failed and its rollback too; the rollback is continued first")
        }
        status if status.ends_with("_IN_PROGRESS") => Meaning::Busy,
        _ => Meaning::Well,
    }
}

/// A stack as a call shows it.
struct Shown {
    name: String,
    region: String,
    id: String,
    status: &'static str,
    touched: u64,
    tags: BTreeMap<String, String>,
    protected: bool,
    spec: Option<Arc<Spec>>,
    /// What the intent that was asked about began, when it did.
    begun: Option<Verb>,
}

impl Shown {
    fn of(stack: &StackRecord, token: &str, now: u64) -> Shown {
        Shown {
            name: stack.name.clone(),
            region: stack.region.clone(),
            id: stack.id.clone(),
            status: stack.status(now),
            touched: stack.touched(),
            tags: stack.tags(now).clone(),
            protected: stack.protected,
            spec: stack.spec(now).cloned(),
            begun: stack.begun_by(token).map(|operation| operation.verb),
        }
    }

    /// Why we must not touch it: it is not marked as this platform's.
    fn foreign(&self, platform: &str) -> Option<String> {
        let name = &self.name;
        match self.tags.get(TAG_PLATFORM) {
            Some(owner) if owner == platform => None,
            Some(owner) => Some(format!(
                "the stack `{name}` belongs to the platform `{owner}`; rename this platform or the component"
            )),
            None => Some(format!(
                "the stack `{name}` was not made by Landfall (it has no `{TAG_PLATFORM}` tag); rename the component or remove the stack"
            )),
        }
    }

    fn outputs(&self, account: &str) -> Outputs {
        self.spec
            .as_ref()
            .map(|spec| spec.outputs(account, &self.region, &self.name))
            .unwrap_or_default()
    }

    fn owned(&self, step: StepId, empty: &[String]) -> Owned {
        let address = json!({
                "name": self.name, "region": self.region, "id": self.id, "empty": empty,
            });
        Owned::new(step, StepKind::Stack, address)
    }
}

/// How an operation on a stack ended.
struct Ended {
    status: &'static str,
    /// Why it failed, when it did.
    failure: Option<Failure>,
}

/// What stands of the one thing of its kind that an account can hold.
enum Existent {
    Nothing,
    Usable(String),
    OtherAudience(String),
}

impl State {
    fn existing(&self, existing: &Existing) -> Existent {
        let provider = &existing.oidc_provider;
        let host = spec::host(&provider.url);
        let arn = format!("arn:aws:iam::{}:oidc-provider/{host}", self.account);
        let found = self
            .identity_providers
            .iter()
            .find(|(url, _)| spec::host(url) == host);
        match found {
            None => Existent::Nothing,
            Some((_, audiences)) if audiences.contains(&provider.audience) => Existent::Usable(arn),
            Some(_) => Existent::OtherAudience(arn),
        }
    }
}

fn work(step: &Step) -> &StackWork {
    match &step.work {
        Work::Stack(work) => work,
        other => unreachable!("stacks are only given stack steps, not {other:?}"),
    }
}

/// Where something owned is: its name, region and id.
fn address(owned: &Owned) -> (&str, Option<&str>, &str) {
    let text = |key: &str| owned.address[key].as_str();
    (
        text("name").unwrap_or_default(),
        text("region"),
        text("id").unwrap_or_default(),
    )
}

impl SimStacks {
    /// Stacks of this world's account.
    pub fn new(world: Arc<World>) -> SimStacks {
        SimStacks { world }
    }

    /// The stack of this name, and what the intent named by `token` has begun with it.
    async fn describe(
        &self,
        region: &str,
        name: &str,
        token: &str,
        progress: Option<&Progress>,
    ) -> Result<Option<Shown>, Trouble> {
        self.world
            .call(progress, |state, now| {
                let stack = state.stack(region, name, now);
                Ok(stack.map(|stack| Shown::of(stack, token, now)))
            })
            .await
    }

    fn observed(&self, step: &Step, work: &StackWork, stack: &Shown) -> Observed {
        let state = stack.status.to_owned();
        let standing = match (stack.foreign(&step.facts.name), meaning(stack.status)) {
            (Some(why), _) => Standing::Foreign { why },
            (None, Meaning::Well) => Standing::Present { state },
            (None, Meaning::Busy) => Standing::Busy { state },
            (None, Meaning::Leftover(why)) => Standing::Leftover {
                state,
                why: why.to_owned(),
            },
            (None, Meaning::Stuck(why)) => Standing::Stuck {
                state,
                why: why.to_owned(),
            },
        };
        let ours = !matches!(standing, Standing::Foreign { .. });
        Observed {
            standing,
            outputs: stack.outputs(&self.world.account()),
            fingerprint: format!("{}@{}@{}", stack.status, self.world.text(stack.touched), stack.id),
            owned: ours.then(|| stack.owned(step.id.clone(), &work.empty)),
        }
    }

    /// What someone else made and we use as it stands, when the step allows for that.
    async fn found(
        &self,
        step: &Step,
        work: &StackWork,
        progress: Option<&Progress>,
    ) -> Result<Option<Observed>, Trouble> {
        let Some(existing) = &work.existing else {
            return Ok(None);
        };
        let url = &existing.oidc_provider.url;
        let found = self
            .world
            .call(progress, |state, _| Ok(state.existing(existing)))
            .await?;
        Ok(match found {
            Existent::Nothing => None,
            Existent::Usable(arn) => Some(Observed {
                standing: Standing::Found {
                    what: format!("the identity provider for {url} that the account already has"),
                },
                outputs: existing
                    .outputs
                    .iter()
                    .map(|(name, value)| (name.clone(), value.as_str().into()))
                    .collect(),
                fingerprint: format!("FOUND@@{arn}"),
                owned: Some(Owned {
                    adopted: true,
                    ..Owned::new(step.id.clone(), StepKind::Stack, json!({ "oidcProvider": arn }))
                }),
            }),
            Existent::OtherAudience(arn) => Some(Observed {
                standing: Standing::Foreign {
                    why: format!(
                        "the account's identity provider for {url} does not list the audience `{}`; add it to {arn}",
                        existing.oidc_provider.audience
                    ),
                },
                outputs: Outputs::new(),
                fingerprint: format!("OTHER_AUDIENCE@@{arn}"),
                owned: None,
            }),
        })
    }

    /// Waits out, clears away or frees whatever stands in the way of a change. Returns the stack to
    /// update or to go on with, or none when it is to be created.
    async fn make_way(
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
            if let Some(why) = stack.foreign(&step.facts.name) {
                return Err(Failure::new(why).into());
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
                    self.delete_and_wait(&stack, "", progress).await?;
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
    async fn settled(&self, stack: &Shown, all: usize, progress: &Progress) -> Result<Ended, ApplyError> {
        let (mut wait, longest) = LOOK_MS;
        let mut told = 0;
        loop {
            let seen = self
                .world
                .call(Some(progress), |state, now| {
                    let stack = state.stack_by_id(&stack.id);
                    Ok(stack.map(|stack| (stack.status(now), stack.latest(now))))
                })
                .await
                .map_err(|trouble| trouble.failing(&format!("waiting for the stack `{}`", stack.name)))?;
            let (status, operation) = seen.expect("the world forgets no stack it has shown");
            tell(&operation, all, &mut told, progress);
            if !matches!(meaning(status), Meaning::Busy) {
                return Ok(Ended {
                    status,
                    failure: self.failure(&stack.name, status, &operation.events),
                });
            }
            self.world.sleep(Duration::from_millis(wait)).await;
            wait = (wait * 3 / 2).min(longest);
        }
    }

    /// A failure told by the event that came first: everything after it, the rollback and the cancelled
    /// neighbours, only follows from it.
    fn failure(&self, name: &str, status: &str, events: &[Event]) -> Option<Failure> {
        if matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "DELETE_COMPLETE") {
            return None;
        }
        let first = events.iter().find(|event| event.status.ends_with("_FAILED"));
        let cause = first.map(|event| Cause {
            resource: event.resource.clone().unwrap_or_else(|| name.to_owned()),
            kind: event.kind.clone(),
            state: event.status.to_owned(),
            reason: event.reason.clone().unwrap_or_default(),
            at: self.world.text(event.at),
        });
        Some(Failure {
            summary: format!("the stack `{name}` ended as {status}"),
            cause,
            way_out: Some(
                "run the command again: in a simulated cloud, what failed once is mended".to_owned(),
            ),
        })
    }

    /// Deletes a stack and waits until it is gone.
    async fn delete_and_wait(
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

    async fn protect(&self, stack: &Shown, protect: bool, progress: &Progress) -> Result<(), ApplyError> {
        let changed = self
            .world
            .call(Some(progress), |state, _| {
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
    async fn begin(
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
            .call(Some(progress), |state, now| match before {
                Some(stack) => state.update_stack(&stack.id, goal, token, now),
                None => state.create_stack(region, name, goal, token, now),
            })
            .await
            .map_err(|trouble| trouble.failing(&doing))
    }
}

/// Says what has happened since it was last said.
fn tell(operation: &Operation, all: usize, told: &mut usize, progress: &Progress) {
    let parts: Vec<&Event> = operation
        .events
        .iter()
        .filter(|event| event.resource.is_some())
        .collect();
    let ids: BTreeSet<&Option<String>> = parts.iter().map(|event| &event.resource).collect();
    let mut done = BTreeSet::new();
    for (at, event) in parts.iter().enumerate() {
        if event.status.ends_with("_COMPLETE") {
            done.insert(&event.resource);
        }
        if at >= *told {
            let id = event.resource.as_deref().unwrap_or_default();
            progress.count(
                done.len(),
                all.max(ids.len()),
                format!("{} {id} {}", event.kind, event.status),
            );
        }
    }
    *told = (*told).max(parts.len());
}

#[async_trait]
impl Provider for SimStacks {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let looking =
            |trouble: Trouble| trouble.observing(&format!("could not look at the stack `{}`", work.name));
        let stack = self
            .describe(&work.region, &work.name, "", None)
            .await
            .map_err(looking)?;
        let observed = stack.map_or_else(Observed::absent, |stack| self.observed(step, work, &stack));
        if matches!(observed.standing, Standing::Absent | Standing::Leftover { .. })
            && let Some(found) = self.found(step, work, None).await.map_err(looking)?
        {
            return Ok(found);
        }
        Ok(observed)
    }

    async fn preview(&self, step: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        let work = work(step);
        let doing = format!("could not ask what would change in the stack `{}`", work.name);
        let goal = Spec::of(step, work).map_err(|why| Trouble::Refused(why).observing(&doing))?;
        let stack = self
            .describe(&work.region, &work.name, "", None)
            .await
            .map_err(|trouble| trouble.observing(&doing))?;
        let Some(stack) = stack else {
            return Ok(Vec::new());
        };
        let mut changes = match &stack.spec {
            Some(before) => goal.changes(&work.name, before),
            None => Vec::new(),
        };
        if stack.protected != work.termination_protection {
            changes.push(Change {
                effect: landfall_model::provider::Effect::Modify,
                subject: work.name.clone(),
                kind: spec::STACK.to_owned(),
                properties: vec![landfall_model::provider::PropertyChange {
                    path: "TerminationProtection".to_owned(),
                    before: Some(stack.protected.to_string()),
                    after: Some(work.termination_protection.to_string()),
                    replaces: false,
                }],
            });
        }
        Ok(changes)
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        let region = self.world.region();
        self.world
            .call(None, |state, now| {
                let stands = state
                    .stacks
                    .iter()
                    .filter(|stack| stack.region == region && !stack.is_gone(now))
                    .map(|stack| Shown::of(stack, "", now));
                let ours = stands.filter(|stack| stack.foreign(platform).is_none());
                let owned = ours.filter_map(|stack| {
                    let step = StepId::new(stack.tags.get(TAG_COMPONENT)?, stack.tags.get(TAG_STEP)?);
                    Some(stack.owned(step, &[]))
                });
                Ok(owned.collect())
            })
            .await
            .map_err(|trouble| trouble.observing("could not list the account's stacks"))
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let (name, region, _) = address(owned);
        let region = region.map_or_else(|| self.world.region(), str::to_owned);
        let stack = self
            .describe(&region, name, "", None)
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the stack `{name}`")))?;
        Ok(stack.is_some())
    }

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step);
        let name = work.name.as_str();
        let goal = Spec::of(step, work).map_err(|why| {
            Failure::new(format!(
                "CloudFormation refuses the change set for `{name}`: {why}"
            ))
            .way_out("mend the template or the inputs it names; nothing was changed")
        })?;
        let before = self.make_way(step, work, intent, progress).await?;
        if before.is_none()
            && let Some(found) = self
                .found(step, work, Some(progress))
                .await
                .map_err(|trouble| trouble.failing("looking for what exists"))?
        {
            return adopted(found);
        }
        let begun = match before.as_ref().and_then(|stack| stack.begun) {
            Some(_) => Begun::Yes,
            None => {
                self.begin(work, &Arc::new(goal), before.as_ref(), intent, progress)
                    .await?
            }
        };
        let describing = |trouble: Trouble| trouble.failing(&format!("reading the outputs of `{name}`"));
        let gone = || ApplyError::failed(format!("the stack `{name}` is gone right after it was made"));
        let stack = self
            .describe(&work.region, name, &intent.token, Some(progress))
            .await
            .map_err(describing)?
            .ok_or_else(gone)?;
        if begun == Begun::Yes {
            let all = work.interface.resources.len();
            if let Some(failure) = self.settled(&stack, all, progress).await?.failure {
                return Err(failure.into());
            }
        }
        let protection_changes = stack.protected != work.termination_protection;
        if protection_changes {
            self.protect(&stack, work.termination_protection, progress)
                .await?;
        }
        let stack = self
            .describe(&work.region, name, &intent.token, Some(progress))
            .await
            .map_err(describing)?
            .ok_or_else(gone)?;
        Ok(Applied {
            outcome: match stack.begun {
                Some(Verb::Create) => Outcome::Created,
                Some(_) => Outcome::Updated,
                None if protection_changes => Outcome::Updated,
                None => Outcome::Unchanged,
            },
            outputs: stack.outputs(&self.world.account()),
            owned: Some(stack.owned(step.id.clone(), &work.empty)),
            notes: Vec::new(),
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let (name, region, id) = address(owned);
        let region = region.map_or_else(|| self.world.region(), str::to_owned);
        let looking = |trouble: Trouble| trouble.failing(&format!("looking at the stack `{name}`"));
        loop {
            let stack = self
                .describe(&region, name, &intent.token, Some(progress))
                .await
                .map_err(looking)?;
            let Some(stack) = stack else { break };
            if !stack.tags.contains_key(TAG_PLATFORM) {
                return Err(Failure::new(format!(
                    "the stack `{name}` no longer carries this platform's tags"
                ))
                .way_out("someone took it over or made it anew; delete it by hand if it is to go")
                .into());
            }
            if matches!(meaning(stack.status), Meaning::Busy) {
                progress.say(format!("{}: waiting for that to end", stack.status));
                self.settled(&stack, 0, progress).await?;
                continue;
            }
            if stack.protected {
                self.protect(&stack, false, progress).await?;
            }
            let buckets = owned.address["empty"].as_array().into_iter().flatten();
            for bucket in buckets.filter_map(Value::as_str) {
                progress.say(format!("emptying the bucket {bucket}"));
            }
            self.delete_and_wait(&stack, &intent.token, progress).await?;
        }
        let kept = self
            .world
            .call(Some(progress), |state, now| {
                Ok(state.stack_by_id(id).map(|stack| kept(stack, now)))
            })
            .await
            .map_err(looking)?;
        Ok(Removed {
            kept: kept.unwrap_or_default(),
        })
    }

    async fn renew(&self) -> Result<(), String> {
        self.world.renewed()
    }
}

/// What CloudFormation left in place because the template says so.
fn kept(stack: &StackRecord, now: u64) -> Vec<String> {
    stack
        .left_in_place(now)
        .map(|event| {
            format!(
                "{} {} is kept by its template ({})",
                event.kind,
                event.physical,
                event.resource.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

/// Ends a step whose thing someone else has made.
fn adopted(found: Observed) -> Result<Applied, ApplyError> {
    match found.standing {
        Standing::Found { what } => Ok(Applied {
            outcome: Outcome::Adopted,
            outputs: found.outputs,
            owned: found.owned,
            notes: vec![format!("uses {what}; destroy leaves it in place")],
        }),
        Standing::Foreign { why } => Err(Failure::new(why).into()),
        other => unreachable!("what exists is found or foreign, not {other:?}"),
    }
}
