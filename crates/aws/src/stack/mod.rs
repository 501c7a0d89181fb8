//! CloudFormation stacks: one for each `stack` step.
//!
//! Every change goes through a change set, so that what is applied is what was looked at. The name of
//! the change set is the intent's token: after a crash it tells what was under way.

mod change_set;
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Stack, StackStatus, Tag};
use landfall_cloudformation::{FINISH_THE_TEARDOWN, InTheWay};
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::provider::{
    Applied, Cause, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{Known, StackWork, Step, TAG_COMPONENT, TAG_PLATFORM, TAG_STEP, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::{Value, json};

use crate::account::Account;
use crate::existing::{self, Found};
use crate::trouble::{Trouble, patiently};

/// Carries out `stack` steps.
pub struct Stacks {
    account: Arc<Account>,
}

/// What a stack's status means for us.
enum Meaning {
    Well,
    Busy,
    Leftover(&'static str),
    Stuck(&'static str),
    Gone,
}

/// Source: CloudFormation User Guide, "Stack status codes".
fn meaning(status: &StackStatus) -> Meaning {
    match status {
        StackStatus::CreateComplete
        | StackStatus::UpdateComplete
        | StackStatus::UpdateRollbackComplete
        | StackStatus::ImportComplete
        | StackStatus::ImportRollbackComplete => Meaning::Well,
        StackStatus::DeleteComplete => Meaning::Gone,
        StackStatus::ReviewInProgress => {
            Meaning::Leftover("a change set was made and never executed; it holds nothing")
        }
        StackStatus::RollbackComplete => {
            Meaning::Leftover("its creation failed and was rolled back; it holds nothing")
        }
        StackStatus::RollbackFailed | StackStatus::CreateFailed => Meaning::Leftover(
            "its creation failed and could not be rolled back; what is left of it is deleted",
        ),
        StackStatus::DeleteFailed => Meaning::Leftover("its deletion failed; what is left of it is deleted"),
        StackStatus::UpdateRollbackFailed => {
            Meaning::Stuck("an update failed and its rollback too; the rollback is continued first")
        }
        StackStatus::UpdateFailed | StackStatus::ImportRollbackFailed => {
            Meaning::Stuck("an update failed and was left where it stood; it is rolled back first")
        }
        _ => Meaning::Busy,
    }
}

fn status(stack: &Stack) -> &StackStatus {
    stack.stack_status().unwrap_or(&StackStatus::CreateInProgress)
}

fn tags(stack: &Stack) -> BTreeMap<&str, &str> {
    stack
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?, tag.value()?)))
        .collect()
}

fn stack_outputs(stack: &Stack) -> Outputs {
    stack
        .outputs()
        .iter()
        .filter_map(|output| {
            Some((
                output.output_key()?.to_owned(),
                Value::from(output.output_value()?),
            ))
        })
        .collect()
}

/// Why we must not touch a stack: it is not marked as this platform's.
fn foreign(stack: &Stack, platform: &str) -> Option<InTheWay> {
    let name = stack.stack_name().unwrap_or_default();
    match tags(stack).get(TAG_PLATFORM) {
        Some(owner) if *owner == platform => None,
        Some(owner) => Some(InTheWay {
            what: format!("the stack `{name}` belongs to the platform `{owner}`"),
            way_out: "rename this platform or the component",
        }),
        // Nothing stands in it yet, and tags of a change set show only once it is executed.
        None if *status(stack) == StackStatus::ReviewInProgress => None,
        None => Some(InTheWay {
            what: format!("the stack `{name}` was not made by Landfall (it has no `{TAG_PLATFORM}` tag)"),
            way_out: "rename the component or remove the stack",
        }),
    }
}

/// Why a stack whose deletion failed must not be cleared away by an apply: it holds data, and whether
/// that may go is for `destroy` to ask.
fn half_deleted(stack: &Stack, work: &StackWork) -> Option<InTheWay> {
    let holds_data = *status(stack) == StackStatus::DeleteFailed && !work.empty.is_empty();
    holds_data.then(|| InTheWay {
        what: format!(
            "the deletion of the stack `{}` failed (DELETE_FAILED) and it still holds {}",
            work.name,
            work.empty.join(", ")
        ),
        way_out: "finish with `landfall destroy`, or move the data away and delete the stack",
    })
}

fn owned(step: StepId, platform: &str, region: &str, stack: &Stack, empty: &[String]) -> Owned {
    let address = json!({
        "platform": platform, "name": stack.stack_name(), "region": region, "id": stack.stack_id(), "empty": empty,
    });
    Owned::new(step, StepKind::Stack, address)
}

/// How to find a stack again, read from an inventory.
pub(crate) struct Address<'a> {
    platform: &'a str,
    pub(crate) name: &'a str,
    pub(crate) region: &'a str,
    pub(crate) id: &'a str,
}

impl<'a> Address<'a> {
    pub(crate) fn of(owned: &'a Owned, region: &'a str) -> Address<'a> {
        let text = |key: &str| owned.address[key].as_str();
        let name = text("name").unwrap_or_default();
        Address {
            platform: text("platform").unwrap_or_default(),
            name,
            region: text("region").unwrap_or(region),
            id: text("id").unwrap_or(name),
        }
    }
}

fn work(step: &Step) -> &StackWork {
    match &step.work {
        Work::Stack(work) => work,
        other => unreachable!("stacks are only given stack steps, not {other:?}"),
    }
}

/// Finds a stack by name or id.
pub(crate) async fn describe(
    client: &Client,
    name: &str,
    progress: Option<&Progress>,
) -> Result<Option<Stack>, Trouble> {
    let found = patiently(progress, || async {
        Ok(client
            .describe_stacks()
            .stack_name(name)
            .send()
            .await?
            .stacks
            .unwrap_or_default())
    })
    .await;
    match found {
        Ok(stacks) => Ok(stacks
            .into_iter()
            .find(|stack| !matches!(meaning(status(stack)), Meaning::Gone))),
        Err(Trouble::NotFound(_)) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

impl Stacks {
    /// Stacks of this account.
    pub fn new(account: Arc<Account>) -> Stacks {
        Stacks { account }
    }

    fn observed(step: &Step, work: &StackWork, stack: &Stack) -> Observed {
        let state = status(stack).as_str().to_owned();
        let in_the_way = foreign(stack, &step.facts.name).or_else(|| half_deleted(stack, work));
        let standing = match (in_the_way, meaning(status(stack))) {
            (Some(why), _) => Standing::Foreign { why: why.said() },
            (None, Meaning::Gone) => Standing::Absent,
            (None, Meaning::Well) => Standing::Present { state: state.clone() },
            (None, Meaning::Busy) => Standing::Busy { state: state.clone() },
            (None, Meaning::Leftover(why)) => Standing::Leftover {
                state: state.clone(),
                why: why.to_owned(),
            },
            (None, Meaning::Stuck(why)) => Standing::Stuck {
                state: state.clone(),
                why: why.to_owned(),
            },
        };
        let touched = stack.last_updated_time().or(stack.creation_time());
        let touched = touched.map(ToString::to_string).unwrap_or_default();
        let ours = !matches!(standing, Standing::Foreign { .. });
        Observed {
            standing,
            outputs: stack_outputs(stack),
            fingerprint: format!("{state}@{touched}@{}", stack.stack_id().unwrap_or_default()),
            owned: ours.then(|| {
                owned(
                    step.id.clone(),
                    &step.facts.name,
                    &work.region,
                    stack,
                    &work.empty,
                )
            }),
        }
    }

    /// What someone else made and we use as it stands, when the step allows for that.
    async fn found(&self, step: &Step, work: &StackWork) -> Result<Option<Observed>, Trouble> {
        let Some(existing) = &work.existing else {
            return Ok(None);
        };
        let provider = &existing.oidc_provider;
        Ok(match existing::oidc_provider(&self.account, provider).await? {
            Found::Nothing => None,
            Found::Usable { arn } => Some(Observed {
                standing: Standing::Found {
                    what: format!(
                        "the identity provider for {} that the account already has",
                        provider.url
                    ),
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
            Found::OtherAudience { arn } => Some(Observed {
                standing: Standing::Foreign {
                    why: format!(
                        "the account's identity provider for {url} does not list the audience `{audience}`; add it with \
                         `aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {arn} --client-id {audience}`",
                        url = provider.url,
                        audience = provider.audience
                    ),
                },
                outputs: Outputs::new(),
                fingerprint: format!("OTHER_AUDIENCE@@{arn}"),
                owned: None,
            }),
        })
    }

    /// The tags a step's stack carries, in CloudFormation's type.
    fn tags(step: &Step) -> Vec<Tag> {
        step.tags()
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect()
    }

    /// Waits out, clears away or frees whatever stands in the way of a change. Returns the stack to
    /// update, or none when it is to be created.
    async fn make_way(
        &self,
        client: &Client,
        step: &Step,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Option<Stack>, ApplyError> {
        let work = work(step);
        let doing = format!("looking at the stack `{}`", work.name);
        loop {
            let stack = describe(client, &work.name, Some(progress))
                .await
                .map_err(|trouble| trouble.failing(&doing))?;
            let Some(stack) = stack else { return Ok(None) };
            if let Some(why) = foreign(&stack, &step.facts.name).or_else(|| half_deleted(&stack, work)) {
                return Err(why.failure().into());
            }
            let id = stack.stack_id().unwrap_or(&work.name).to_owned();
            match meaning(status(&stack)) {
                Meaning::Gone => return Ok(None),
                Meaning::Well => return Ok(Some(stack)),
                // A change set of ours waits to be executed; anything else under review is thrown away.
                Meaning::Leftover(_) if *status(&stack) == StackStatus::ReviewInProgress => {
                    if change_set::is_there(client, &id, &intent.token, progress).await? {
                        return Ok(None);
                    }
                    progress.say("clearing away a change set that was never executed");
                    self.delete_and_wait(client, &work.name, &id, progress).await?;
                }
                Meaning::Leftover(_) => {
                    progress.say(format!("{}: clearing it away", status(&stack).as_str()));
                    let cleared = self.delete_and_wait(client, &work.name, &id, progress).await;
                    cleared.map_err(|error| match (status(&stack), error) {
                        (StackStatus::DeleteFailed, ApplyError::Failed(failure)) => {
                            failure.way_out(FINISH_THE_TEARDOWN).into()
                        }
                        (_, error) => error,
                    })?;
                }
                Meaning::Busy => {
                    progress.say(format!("{}: waiting for that to end", status(&stack).as_str()));
                    let ended =
                        wait::settled(client, &work.name, &id, work.interface.resources.len(), progress)
                            .await?;
                    // Our own operation, seen again after a crash: its failure is this step's failure.
                    let ours = change_set::was_executed(client, &id, &intent.token, progress).await;
                    if let (Some(failure), true) = (ended.failure, ours) {
                        return Err(failure.into());
                    }
                }
                Meaning::Stuck(_) => {
                    progress.say(format!("{}: continuing the rollback", status(&stack).as_str()));
                    self.free(client, &stack, &id, progress).await?;
                }
            }
        }
    }

    /// Continues a failed rollback, or rolls back an update that was left where it stood.
    async fn free(
        &self,
        client: &Client,
        stack: &Stack,
        id: &str,
        progress: &Progress,
    ) -> Result<(), ApplyError> {
        let name = stack.stack_name().unwrap_or_default();
        let result = patiently(Some(progress), || async {
            if *status(stack) == StackStatus::UpdateRollbackFailed {
                client.continue_update_rollback().stack_name(id).send().await?;
            } else {
                client.rollback_stack().stack_name(id).send().await?;
            }
            Ok(())
        })
        .await;
        result.map_err(|trouble| trouble.failing(&format!("freeing the stack `{name}`")))?;
        let ended = wait::rolled_back(client, name, id, progress).await?;
        if matches!(meaning(&ended.status), Meaning::Well) {
            return Ok(());
        }
        let mut failure = ended.failure.unwrap_or_else(|| {
            Failure::new(format!(
                "the stack `{name}` is {} and its rollback cannot be continued",
                ended.status.as_str()
            ))
        });
        failure.way_out = Some(format!(
            "mend the resource that is named, or skip it with `aws cloudformation continue-update-rollback --stack-name {name} \
             --resources-to-skip LOGICAL_ID`, then run `landfall apply` again"
        ));
        Err(failure.into())
    }

    /// Deletes a stack and waits until it is gone. Returns what CloudFormation left in place.
    async fn delete_and_wait(
        &self,
        client: &Client,
        name: &str,
        id: &str,
        progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        let doing = format!("deleting the stack `{name}`");
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = patiently(Some(progress), || async {
                client.delete_stack().stack_name(id).send().await?;
                Ok(())
            })
            .await;
            match sent {
                Ok(()) => {}
                Err(Trouble::NotFound(_)) => return Ok(Vec::new()),
                Err(trouble) => return Err(trouble.failing(&doing)),
            }
            let ended = wait::gone(client, name, id, progress).await?;
            match ended.failure {
                None => return Ok(ended.kept),
                // What blocked it may have gone meanwhile: eventual consistency, a slow detachment.
                Some(_) if tries < 2 => progress.say("the deletion failed once; trying again"),
                Some(mut failure) => {
                    failure.way_out.get_or_insert_with(|| {
                        format!("remove what keeps the resource in use, then run the command again; the stack is `{name}`")
                    });
                    return Err(failure.into());
                }
            }
        }
    }

    async fn empty_buckets(
        &self,
        client: &Client,
        region: &str,
        id: &str,
        buckets: &[String],
        progress: &Progress,
    ) -> Result<(), ApplyError> {
        for logical in buckets {
            let found = patiently(Some(progress), || async {
                Ok(client
                    .describe_stack_resource()
                    .stack_name(id)
                    .logical_resource_id(logical)
                    .send()
                    .await?)
            })
            .await;
            let bucket = match found {
                Err(Trouble::NotFound(_)) => continue,
                Err(trouble) => return Err(trouble.failing(&format!("looking for the bucket `{logical}`"))),
                Ok(found) => found
                    .stack_resource_detail
                    .and_then(|detail| detail.physical_resource_id)
                    .unwrap_or_default(),
            };
            if !bucket.is_empty() {
                progress.say(format!("emptying the bucket {bucket}"));
                crate::bucket::empty(&self.account, region, &bucket, progress)
                    .await
                    .map_err(|trouble| trouble.failing(&format!("emptying the bucket `{bucket}`")))?;
            }
        }
        Ok(())
    }

    async fn protect(
        &self,
        client: &Client,
        name: &str,
        protect: bool,
        progress: &Progress,
    ) -> Result<(), ApplyError> {
        patiently(Some(progress), || async {
            client
                .update_termination_protection()
                .stack_name(name)
                .enable_termination_protection(protect)
                .send()
                .await?;
            Ok(())
        })
        .await
        .map_err(|trouble| trouble.failing(&format!("changing the termination protection of `{name}`")))
    }
}

#[async_trait]
impl Provider for Stacks {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let client = self.account.cloudformation(&work.region);
        let looking =
            |trouble: Trouble| trouble.observing(&format!("could not look at the stack `{}`", work.name));
        let stack = describe(&client, &work.name, None).await.map_err(looking)?;
        let observed = stack
            .as_ref()
            .map_or_else(Observed::absent, |stack| Self::observed(step, work, stack));
        if matches!(observed.standing, Standing::Absent | Standing::Leftover { .. })
            && let Some(found) = self.found(step, work).await.map_err(looking)?
        {
            return Ok(found);
        }
        Ok(observed)
    }

    async fn preview(&self, step: &Step, _seen: &Observed) -> Result<Vec<Change>, ObserveError> {
        let work = work(step);
        let client = self.account.cloudformation(&work.region);
        change_set::preview(&self.account, &client, step, work)
            .await
            .map_err(|trouble| {
                trouble.observing(&format!(
                    "could not ask what would change in the stack `{}`",
                    work.name
                ))
            })
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        let region = self.account.region();
        let client = self.account.cloudformation(region);
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let page = patiently(None, || {
                let call = client.describe_stacks().set_next_token(next.clone());
                async { Ok(call.send().await?) }
            })
            .await
            .map_err(|trouble| trouble.observing("could not list the account's stacks"))?;
            for stack in page.stacks() {
                let tags = tags(stack);
                // The stacks of a stack set carry its tags, and are its business.
                let of_a_set = stack
                    .stack_name()
                    .is_some_and(|name| name.starts_with("StackSet-"));
                if let (true, Some(component), Some(step)) = (
                    tags.get(TAG_PLATFORM) == Some(&platform)
                        && !of_a_set
                        && !matches!(meaning(status(stack)), Meaning::Gone),
                    tags.get(TAG_COMPONENT),
                    tags.get(TAG_STEP),
                ) {
                    found.push(owned(StepId::new(component, step), platform, region, stack, &[]));
                }
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let address = Address::of(owned, self.account.region());
        let stack = describe(&self.account.cloudformation(address.region), address.id, None)
            .await
            .map_err(|trouble| {
                trouble.observing(&format!("could not look at the stack `{}`", address.name))
            })?;
        Ok(stack.is_some_and(|stack| foreign(&stack, address.platform).is_none()))
    }

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step);
        let client = self.account.cloudformation(&work.region);
        let name = work.name.as_str();
        let before = self.make_way(&client, step, intent, progress).await?;
        if before.is_none() {
            let found = self
                .found(step, work)
                .await
                .map_err(|trouble| trouble.failing("looking for what exists"))?;
            match found {
                Some(Observed {
                    standing: Standing::Foreign { why },
                    ..
                }) => {
                    return Err(Failure::new(why)
                        .way_out(
                            "do that, or leave the identity provider out of this platform, and run the command again",
                        )
                        .into());
                }
                Some(Observed {
                    standing: Standing::Found { what },
                    outputs,
                    owned,
                    ..
                }) => {
                    let notes = vec![format!("uses {what}; destroy leaves it in place")];
                    return Ok(Applied {
                        outcome: Outcome::Adopted,
                        outputs,
                        owned,
                        notes,
                    });
                }
                _ => {}
            }
        }
        let changed = change_set::carry_out(
            &self.account,
            &client,
            step,
            work,
            before.as_ref(),
            intent,
            progress,
        )
        .await?;
        let stack = describe(&client, name, Some(progress))
            .await
            .map_err(|trouble| trouble.failing(&format!("reading the outputs of `{name}`")))?
            .ok_or_else(|| gone(name))?;
        let protected = stack.enable_termination_protection().unwrap_or(false);
        if protected != work.termination_protection {
            self.protect(&client, name, work.termination_protection, progress)
                .await?;
        }
        let outcome = match (before, changed) {
            (None, _) => Outcome::Created,
            (Some(_), true) => Outcome::Updated,
            (Some(_), false) if protected != work.termination_protection => Outcome::Updated,
            (Some(_), false) => Outcome::Unchanged,
        };
        Ok(Applied {
            outcome,
            outputs: stack_outputs(&stack),
            owned: Some(owned(
                step.id.clone(),
                &step.facts.name,
                &work.region,
                &stack,
                &work.empty,
            )),
            notes: Vec::new(),
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        _intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let Address {
            platform,
            name,
            region,
            id,
        } = Address::of(owned, self.account.region());
        let client = self.account.cloudformation(region);
        let looking = |trouble: Trouble| trouble.failing(&format!("looking at the stack `{name}`"));
        // By its id: a stack that was made anew under this name is another stack.
        let Some(mut stack) = describe(&client, id, Some(progress)).await.map_err(looking)? else {
            return Ok(Removed::default());
        };
        if let Some(why) = foreign(&stack, platform) {
            return Err(Failure::new(why.what)
                .way_out("delete it by hand if it is to go")
                .into());
        }
        let id = stack.stack_id().unwrap_or(name).to_owned();
        if matches!(meaning(status(&stack)), Meaning::Busy) {
            progress.say(format!("{}: waiting for that to end", status(&stack).as_str()));
            wait::settled(&client, name, &id, 0, progress).await?;
            match describe(&client, &id, Some(progress)).await.map_err(looking)? {
                Some(settled) => stack = settled,
                None => return Ok(Removed::default()),
            }
        }
        if stack.enable_termination_protection() == Some(true) {
            self.protect(&client, name, false, progress).await?;
        }
        let buckets: Vec<String> = owned.address["empty"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        self.empty_buckets(&client, region, &id, &buckets, progress)
            .await?;
        let kept = self.delete_and_wait(&client, name, &id, progress).await?;
        Ok(Removed { kept })
    }

    async fn renew(&self) -> Result<(), String> {
        self.account.renew().await
    }
}

/// Somebody deleted a stack between its completion and the next look at it.
fn gone(name: &str) -> ApplyError {
    Failure {
        summary: format!("the stack `{name}` is gone right after it was made"),
        cause: Some(Cause {
            resource: name.to_owned(),
            kind: "AWS::CloudFormation::Stack".to_owned(),
            state: "DELETE_COMPLETE".to_owned(),
            reason: "somebody else deleted it while this run waited for it".to_owned(),
            at: String::new(),
        }),
        way_out: Some(format!(
            "find out who deletes it (`aws cloudtrail lookup-events --lookup-attributes \
             AttributeKey=EventName,AttributeValue=DeleteStack`), then run the command again: it makes `{name}` anew"
        )),
    }
    .into()
}

/// The parameters a step gives, which must all be known by now.
pub(crate) fn given(parameters: &BTreeMap<String, Known<String>>) -> Result<BTreeMap<&str, &str>, Trouble> {
    parameters
        .iter()
        .map(|(name, value)| match value {
            Known::Value(value) => Ok((name.as_str(), value.as_str())),
            Known::After(_) => Err(Trouble::Other {
                code: "NotKnownYet".to_owned(),
                message: format!("the parameter `{name}` still waits for other steps"),
            }),
        })
        .collect()
}
