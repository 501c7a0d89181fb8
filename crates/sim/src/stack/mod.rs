//! Stacks in a simulated world: one for each `stack` step.
//!
//! Goes about it as the provider of a real account does: looks first, waits out what is busy, clears away
//! what a failure left, frees what is stuck, and names every operation after its intent, so that one that
//! goes on after a crash is found again and not begun a second time.

mod allow;
mod operate;
mod record;
mod spec;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_cloudformation::{FINISH_THE_TEARDOWN, InTheWay};
use landfall_model::StepId;
use landfall_model::definition::{Existing, StepKind};
use landfall_model::provider::{
    Applied, Cause, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{StackWork, Step, TAG_COMPONENT, TAG_PLATFORM, TAG_STEP, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::{Value, json};

use operate::{LOOK_MS, is_too_early};
pub(crate) use record::StackRecord;
use record::{Begun, Verb};
use spec::Spec;
pub(crate) use timeline::Event;

use crate::authorization::Context;
use crate::trouble::Trouble;
use crate::world::{State, World};

/// Carries out `stack` steps in a simulated world.
pub struct SimStacks {
    world: Arc<World>,
}

/// How often a stack is made that fails because a role cannot be assumed yet.
const TRIES: u32 = 4;

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
    /// Whether its outputs are shown yet.
    shows_outputs: bool,
    /// What the intent that was asked about began, when it did.
    begun: Option<Verb>,
}

impl Shown {
    fn of(stack: &StackRecord, token: &str, now: u64) -> Shown {
        Shown {
            name: stack.name.clone(),
            region: stack.region.clone(),
            id: stack.id.clone(),
            status: stack.status,
            touched: stack.touched(),
            tags: stack.tags(now).clone(),
            protected: stack.protected,
            spec: stack.spec(now).cloned(),
            shows_outputs: stack.outputs_from <= now,
            begun: stack.begun_by(token).map(|operation| operation.verb),
        }
    }

    /// Why we must not touch it: it is not marked as this platform's.
    fn foreign(&self, platform: &str) -> Option<InTheWay> {
        let name = &self.name;
        match self.tags.get(TAG_PLATFORM) {
            Some(owner) if owner == platform => None,
            Some(owner) => Some(InTheWay {
                what: format!("the stack `{name}` belongs to the platform `{owner}`"),
                way_out: "rename this platform or the component",
            }),
            None => Some(InTheWay {
                what: format!("the stack `{name}` was not made by Landfall (it has no `{TAG_PLATFORM}` tag)"),
                way_out: "rename the component or remove the stack",
            }),
        }
    }

    /// Why a stack whose deletion failed must not be cleared away by an apply: it holds data, and whether
    /// that may go is for `destroy` to ask.
    fn half_deleted(&self, work: &StackWork) -> Option<InTheWay> {
        let holds_data = self.status == "DELETE_FAILED" && !work.empty.is_empty();
        holds_data.then(|| InTheWay {
            what: format!(
                "the deletion of the stack `{}` failed (DELETE_FAILED) and it still holds {}",
                work.name,
                work.empty.join(", ")
            ),
            way_out: "finish with `landfall destroy`, or move the data away and delete the stack",
        })
    }

    fn outputs(&self, account: &str) -> Outputs {
        self.spec
            .as_ref()
            .filter(|_| self.shows_outputs)
            .map(|spec| spec.outputs(account, &self.region, &self.name, &self.id))
            .unwrap_or_default()
    }

    fn owned(&self, step: StepId, platform: &str, empty: &[String]) -> Owned {
        let address = json!({
            "platform": platform, "name": self.name, "region": self.region, "id": self.id, "empty": empty,
        });
        Owned::new(step, StepKind::Stack, address)
    }
}

/// What stands of the one thing of its kind that an account can hold.
enum Existent {
    Nothing,
    Usable(String),
    OtherAudience(String),
}

impl State {
    fn identity_provider(&self, url: &str) -> String {
        format!("arn:aws:iam::{}:oidc-provider/{}", self.account, spec::host(url))
    }

    fn existing(&self, existing: &Existing) -> Existent {
        let provider = &existing.oidc_provider;
        let host = spec::host(&provider.url);
        let arn = self.identity_provider(&provider.url);
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

/// How to find a stack again, read from an inventory.
struct Address<'a> {
    platform: &'a str,
    name: &'a str,
    id: &'a str,
}

impl<'a> Address<'a> {
    fn of(owned: &'a Owned) -> Address<'a> {
        let text = |key: &str| owned.address[key].as_str().unwrap_or_default();
        Address {
            platform: text("platform"),
            name: text("name"),
            id: text("id"),
        }
    }
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
                state.allow_stack("DescribeStacks", region, name)?;
                let stack = state.stack(region, name);
                Ok(stack.map(|stack| Shown::of(stack, token, now)))
            })
            .await
    }

    /// The stack of this id, unless it is gone.
    async fn describe_id(
        &self,
        id: &str,
        token: &str,
        progress: Option<&Progress>,
    ) -> Result<Option<Shown>, Trouble> {
        self.world
            .call(progress, |state, now| {
                let stack = state.stack_by_id(id).filter(|stack| !stack.is_gone());
                Ok(stack.map(|stack| Shown::of(stack, token, now)))
            })
            .await
    }

    fn observed(&self, step: &Step, work: &StackWork, stack: &Shown) -> Observed {
        let state = stack.status.to_owned();
        let in_the_way = stack
            .foreign(&step.facts.name)
            .or_else(|| stack.half_deleted(work));
        let standing = match (in_the_way, meaning(stack.status)) {
            (Some(why), _) => Standing::Foreign { why: why.said() },
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
            owned: ours.then(|| stack.owned(step.id.clone(), &step.facts.name, &work.empty)),
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
            .call(progress, |state, _| {
                let arn = state.identity_provider(url);
                state.allow("iam:GetOpenIDConnectProvider", &arn, &Context::default())?;
                Ok(state.existing(existing))
            })
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
            .world
            .call(None, |state, now| {
                let (region, name) = (&work.region, &work.name);
                state.allow_stack("DescribeStacks", region, name)?;
                let Some(stack) = state.stack(region, name) else {
                    return Ok(None);
                };
                let shown = Shown::of(stack, "", now);
                state.allow_preview(region, name)?;
                Ok(Some(shown))
            })
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
                state.allow_any("cloudformation:DescribeStacks")?;
                let stands = state
                    .stacks
                    .iter()
                    .filter(|stack| stack.region == region && !stack.is_gone())
                    .map(|stack| Shown::of(stack, "", now));
                let ours = stands.filter(|stack| stack.foreign(platform).is_none());
                let owned = ours.filter_map(|stack| {
                    let step = StepId::new(stack.tags.get(TAG_COMPONENT)?, stack.tags.get(TAG_STEP)?);
                    Some(stack.owned(step, platform, &[]))
                });
                Ok(owned.collect())
            })
            .await
            .map_err(|trouble| trouble.observing("could not list the account's stacks"))
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let Address { platform, name, id } = Address::of(owned);
        let stack = self
            .describe_id(id, "", None)
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the stack `{name}`")))?;
        Ok(stack.is_some_and(|stack| stack.foreign(platform).is_none()))
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
        let goal = Arc::new(goal);
        let mut begun = match before.as_ref().and_then(|stack| stack.begun) {
            Some(_) => Begun::Yes,
            None => self.begin(work, &goal, before.as_ref(), intent, progress).await?,
        };
        let describing = |trouble: Trouble| trouble.failing(&format!("reading the outputs of `{name}`"));
        let gone = || {
            ApplyError::from(Failure {
                summary: format!("the stack `{name}` is gone right after it was made"),
                cause: Some(Cause {
                    resource: name.to_owned(),
                    kind: spec::STACK.to_owned(),
                    state: "DELETE_COMPLETE".to_owned(),
                    reason: "somebody else deleted it while this run waited for it".to_owned(),
                    at: self.world.text(self.world.now()),
                }),
                way_out: Some(format!(
                    "find out who deletes it (`aws cloudtrail lookup-events --lookup-attributes \
                     AttributeKey=EventName,AttributeValue=DeleteStack`), then run the command again: it makes `{name}` anew"
                )),
            })
        };
        let mut stack = self
            .describe(&work.region, name, &intent.token, Some(progress))
            .await
            .map_err(describing)?
            .ok_or_else(gone)?;
        let mut tries = 1;
        while begun == Begun::Yes {
            let all = goal.interface.resources.len();
            let ended = self.settled(&stack, all, progress).await?;
            let Some(failure) = ended.failure else { break };
            if ended.status != "ROLLBACK_COMPLETE" || !is_too_early(&failure) || tries == TRIES {
                return Err(failure.into());
            }
            tries += 1;
            progress.say("a role could not be assumed yet; making the stack once more");
            self.delete_and_wait(&stack, "", progress).await?;
            begun = self.begin(work, &goal, None, intent, progress).await?;
            stack = self
                .describe(&work.region, name, &intent.token, Some(progress))
                .await
                .map_err(describing)?
                .ok_or_else(gone)?;
        }
        let protection_changes = stack.protected != work.termination_protection;
        if protection_changes {
            self.protect(&stack, work.termination_protection, progress)
                .await?;
        }
        let stack = loop {
            let stack = self
                .describe(&work.region, name, &intent.token, Some(progress))
                .await
                .map_err(describing)?
                .ok_or_else(gone)?;
            if stack.shows_outputs {
                break stack;
            }
            progress.say("complete, but its outputs are not shown yet; looking again");
            self.world.sleep(Duration::from_millis(LOOK_MS.1)).await;
        };
        Ok(Applied {
            outcome: match stack.begun {
                Some(Verb::Create) => Outcome::Created,
                Some(_) => Outcome::Updated,
                None if protection_changes => Outcome::Updated,
                None => Outcome::Unchanged,
            },
            outputs: stack.outputs(&self.world.account()),
            owned: Some(stack.owned(step.id.clone(), &step.facts.name, &work.empty)),
            notes: Vec::new(),
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let Address { platform, name, id } = Address::of(owned);
        let looking = |trouble: Trouble| trouble.failing(&format!("looking at the stack `{name}`"));
        loop {
            // By its id: a stack that was made anew under this name is another stack.
            let stack = self
                .describe_id(id, &intent.token, Some(progress))
                .await
                .map_err(looking)?;
            let Some(stack) = stack else { break };
            if let Some(why) = stack.foreign(platform) {
                return Err(Failure::new(why.what)
                    .way_out("delete it by hand if it is to go")
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
                self.world
                    .call(Some(progress), |state, _| state.allow_emptying(id, bucket))
                    .await
                    .map_err(|trouble| trouble.failing(&format!("emptying the bucket `{bucket}`")))?;
            }
            self.delete_and_wait(&stack, &intent.token, progress).await?;
        }
        let kept = self
            .world
            .call(Some(progress), |state, _| {
                Ok(state.stack_by_id(id).map(|stack| kept(stack)))
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
fn kept(stack: &StackRecord) -> Vec<String> {
    stack
        .left
        .iter()
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
        Standing::Foreign { why } => Err(Failure::new(why)
            .way_out(
                "do that, or leave the identity provider out of this platform, and run the command again",
            )
            .into()),
        other => unreachable!("what exists is found or foreign, not {other:?}"),
    }
}
