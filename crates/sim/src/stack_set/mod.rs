//! Stack sets in a simulated world: one for each `stackSet` step.
//!
//! Goes about it as the provider of a real account does: compares, deletes what should not be there, updates,
//! adds, one operation at a time, each named after its intent and what it works on.

mod record;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_cloudformation::stack_set::{self, Ended, Group, Standing as Set};
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::Digest;
use landfall_model::provider::{
    Applied, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{Known, StackSetWork, Step, TAG_COMPONENT, TAG_STEP, Targets, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::json;

pub(crate) use record::StackSetRecord;
use record::{Begun, Going, On, Pace, Verb};

use crate::authorization::Context;
use crate::trouble::Trouble;
use crate::world::{State, World};

/// Carries out `stackSet` steps in a simulated world.
pub struct SimStackSets {
    world: Arc<World>,
}

/// How often an operation is looked at: often at first, because short operations are common.
const LOOK_MS: (u64, u64) = (500, 5_000);

/// A stack set as a call shows it.
struct Shown {
    name: String,
    id: String,
    token: String,
    set: Set,
    operations: Vec<Going>,
}

impl Shown {
    fn of(record: &StackSetRecord, now: u64) -> Shown {
        Shown {
            name: record.name.clone(),
            id: record.id.clone(),
            token: record.token().to_owned(),
            set: record.shown(),
            operations: record.operations(now),
        }
    }

    /// What goes on, when something does.
    fn under_way(&self) -> Option<&Going> {
        self.operations.iter().find(|one| !one.over)
    }

    fn outputs(&self) -> Outputs {
        let regions: Vec<String> = self.set.regions.iter().cloned().collect();
        Outputs::from_iter([
            ("name".to_owned(), self.name.as_str().into()),
            ("id".to_owned(), self.id.as_str().into()),
            ("accounts".to_owned(), self.set.accounts().into()),
            ("regions".to_owned(), regions.into()),
        ])
    }

    fn owned(&self, step: StepId, platform: &str, region: &str) -> Owned {
        let address = json!({
            "platform": platform, "name": self.name, "region": region, "id": self.id,
            "instances": self.set.instances.len(),
        });
        Owned::new(step, StepKind::StackSet, address)
    }

    fn observed(&self, step: &Step, work: &StackSetWork) -> Observed {
        let foreign = stack_set::foreign(&self.name, &self.set.tags, &step.facts.name);
        let ours = foreign.is_none();
        let in_the_way = foreign.or_else(|| stack_set::other_permissions(work, &self.set));
        let state = self.set.state();
        Observed {
            standing: match (in_the_way, self.under_way()) {
                (Some(why), _) => Standing::Foreign { why: why.said() },
                (None, Some(going)) => Standing::Busy {
                    state: format!("{} RUNNING", going.word),
                },
                (None, None) => Standing::Present { state: state.clone() },
            },
            outputs: self.outputs(),
            fingerprint: format!(
                "{state}@{}@{}",
                Digest::of(format!("{:?}", self.set)).short(),
                self.id
            ),
            owned: ours.then(|| self.owned(step.id.clone(), &step.facts.name, &work.region)),
        }
    }
}

fn work(step: &Step) -> &StackSetWork {
    match &step.work {
        Work::StackSet(work) => work,
        other => unreachable!("stack sets are only given stackSet steps, not {other:?}"),
    }
}

/// How to find a stack set again, read from an inventory.
fn address<'a>(owned: &'a Owned, key: &str) -> &'a str {
    owned.address[key].as_str().unwrap_or_default()
}

impl State {
    /// Refuses a call about a stack set, by its name or id, that the policies in use do not allow.
    fn allow_stack_set(&mut self, action: &str, name: &str) -> Result<(), Trouble> {
        let stands = self.stack_set(name).map(|set| (set.name.clone(), set.id.clone()));
        let (name, id) = stands.unwrap_or_else(|| (name.to_owned(), String::new()));
        let action = format!("cloudformation:{action}");
        let id = id.rsplit([':', '/']).next().unwrap_or_default();
        let (region, account) = (&self.region, &self.account);
        let arn = |noun: &str| format!("arn:aws:cloudformation:{region}:{account}:{noun}/{name}:{id}");
        self.allow(&action, &arn("stackset"), &Context::default())?;
        // Where it goes is judged, too.
        if action.ends_with("StackInstances") && !action.contains(":List") {
            self.allow(&action, &arn("stackset-target"), &Context::default())?;
        }
        Ok(())
    }

    /// The same for making one, with the role it works with.
    fn allow_making_stack_set(&self, work: &StackSetWork) -> Result<(), Trouble> {
        self.allow_any("cloudformation:CreateStackSet")?;
        if let Targets::Accounts {
            administration_role, ..
        } = &work.targets
        {
            let given = administration_role.as_ref().and_then(Known::value).cloned();
            let usual = || {
                format!(
                    "arn:aws:iam::{}:role/AWSCloudFormationStackSetAdministrationRole",
                    self.account
                )
            };
            let context = Context::default().with("iam:PassedToService", "cloudformation.amazonaws.com");
            self.allow("iam:PassRole", &given.unwrap_or_else(usual), &context)?;
        }
        Ok(())
    }
}

impl SimStackSets {
    /// Stack sets of this world's account.
    pub fn new(world: Arc<World>) -> SimStackSets {
        SimStackSets { world }
    }

    /// The stack set of this name or id.
    async fn describe(&self, name: &str, progress: Option<&Progress>) -> Result<Option<Shown>, Trouble> {
        self.world
            .call(progress, |state, now| {
                state.allow_stack_set("DescribeStackSet", name)?;
                for action in [
                    "ListStackInstances",
                    "ListStackSetOperations",
                    "DescribeStackSetOperation",
                    "ListStackSetOperationResults",
                ] {
                    if state.stack_set(name).is_some() {
                        state.allow_stack_set(action, name)?;
                    }
                }
                Ok(state.stack_set(name).map(|set| Shown::of(set, now)))
            })
            .await
    }

    /// The stack set a step works on, refusing one that is not ours.
    async fn ours(&self, step: &Step, name: &str, progress: &Progress) -> Result<Option<Shown>, ApplyError> {
        let found = self
            .describe(name, Some(progress))
            .await
            .map_err(|trouble| trouble.failing(&format!("looking at the stack set `{name}`")))?;
        match found {
            Some(found) => match stack_set::foreign(name, &found.set.tags, &step.facts.name) {
                Some(why) => Err(why.failure().into()),
                None => Ok(Some(found)),
            },
            None => Ok(None),
        }
    }

    /// Waits until no operation is under way.
    async fn until_idle(&self, name: &str, progress: &Progress) -> Result<Option<Shown>, ApplyError> {
        let (mut wait, longest) = LOOK_MS;
        let mut told = false;
        loop {
            let found = self
                .describe(name, Some(progress))
                .await
                .map_err(|trouble| trouble.failing(&format!("looking at the stack set `{name}`")))?;
            let Some(found) = found else { return Ok(None) };
            let Some(going) = found.under_way() else {
                return Ok(Some(found));
            };
            if !told {
                told = true;
                progress.say(format!("{} RUNNING: waiting for that to end", going.word));
            }
            self.world.sleep(Duration::from_millis(wait)).await;
            wait = (wait * 3 / 2).min(longest);
        }
    }

    /// Begins an operation, unless it was begun before, and follows it to its end. Returns what failed within the
    /// tolerance.
    async fn operation(
        &self,
        set: &Shown,
        doing: &Doing<'_>,
        progress: &Progress,
    ) -> Result<Vec<Ended>, ApplyError> {
        let Doing {
            what,
            operation,
            verb,
            on,
            pace,
        } = doing;
        let failing = |trouble: Trouble| trouble.failing(&format!("{what} of the stack set `{}`", set.name));
        loop {
            let begun = self
                .world
                .call(Some(progress), |state, now| {
                    let action = match verb {
                        Verb::Create => "CreateStackInstances",
                        Verb::Update => "UpdateStackSet",
                        Verb::Delete => "DeleteStackInstances",
                    };
                    state.allow_stack_set(action, &set.id)?;
                    state.begin_on_stack_set(&set.id, operation, *verb, *on, *pace, now)
                })
                .await
                .map_err(failing)?;
            if begun == Begun::Yes {
                break;
            }
            progress.say("another operation is in progress: waiting for that to end");
            self.until_idle(&set.id, progress).await?;
        }
        let (mut wait, longest) = LOOK_MS;
        let mut told = 0;
        loop {
            let found = self.describe(&set.id, Some(progress)).await.map_err(failing)?;
            let going = found.and_then(|found| found.operations.into_iter().find(|one| one.id == *operation));
            let Some(going) = going else {
                return Err(gone(&set.name));
            };
            let done = going.ended.iter().filter(|one| one.state == "SUCCEEDED").count();
            if done > told {
                told = done;
                progress.count(done, going.ended.len(), format!("{what}: {done} done"));
            }
            if going.over {
                return if going.failed {
                    Err(stack_set::failure(&set.name, what, "FAILED", "", &going.ended).into())
                } else {
                    let failed = going.ended.into_iter().filter(|one| one.state == "FAILED");
                    Ok(failed.collect())
                };
            }
            self.world.sleep(Duration::from_millis(wait)).await;
            wait = (wait * 3 / 2).min(longest);
        }
    }

    async fn remove_group(
        &self,
        set: &Shown,
        group: &Group,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        progress.say(format!("deleting {} instances", group.places()));
        let doing = Doing {
            what: "deleting instances",
            operation: group.operation(&intent.token, "delete"),
            verb: Verb::Delete,
            on: On::Group(group),
            pace: Pace::of_a_removal(),
        };
        let failed = self.operation(set, &doing, progress).await?;
        if failed.is_empty() {
            return Ok(set.set.kept(&set.name, group));
        }
        let mut failure = stack_set::failure(&set.name, "deleting instances", "FAILED", "", &failed);
        let unreachable = stack_set::unreachable(&set.name);
        failure.way_out = Some(match failure.way_out {
            Some(way_out) if way_out != unreachable => format!("{way_out}; {unreachable}"),
            _ => unreachable,
        });
        Err(failure.into())
    }
}

/// One operation.
struct Doing<'a> {
    what: &'static str,
    operation: String,
    verb: Verb,
    on: On<'a>,
    pace: Pace,
}

#[async_trait]
impl Provider for SimStackSets {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let found = self.describe(&work.name, None).await.map_err(|trouble| {
            trouble.observing(&format!("could not look at the stack set `{}`", work.name))
        })?;
        Ok(found.map_or_else(Observed::absent, |found| found.observed(step, work)))
    }

    async fn preview(&self, step: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        let work = work(step);
        let found = self.describe(&work.name, None).await.map_err(|trouble| {
            trouble.observing(&format!(
                "could not ask what would change in the stack set `{}`",
                work.name
            ))
        })?;
        Ok(found
            .map(|found| stack_set::changes(step, work, &found.set))
            .unwrap_or_default())
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        // Asked only where there are stack sets: nobody else needs to be allowed to.
        if !self.world.has_stack_sets() {
            return Ok(Vec::new());
        }
        self.world
            .call(None, |state, now| {
                state.allow_any("cloudformation:ListStackSets")?;
                let stands = state.stack_sets.iter().filter(|set| set.stands());
                let ours = stands.filter(|set| stack_set::foreign(&set.name, set.tags(), platform).is_none());
                let owned = ours.filter_map(|set| {
                    let step = StepId::new(set.tags().get(TAG_COMPONENT)?, set.tags().get(TAG_STEP)?);
                    Some(Shown::of(set, now).owned(step, platform, &set.region))
                });
                Ok(owned.collect())
            })
            .await
            .map_err(|trouble| trouble.observing("could not list the account's stack sets"))
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let found = self
            .describe(address(owned, "id"), None)
            .await
            .map_err(|trouble| {
                trouble.observing(&format!(
                    "could not look at the stack set `{}`",
                    address(owned, "name")
                ))
            })?;
        Ok(found.is_some_and(|found| {
            stack_set::foreign(&found.name, &found.set.tags, address(owned, "platform")).is_none()
        }))
    }

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step);
        let name = work.name.as_str();
        if self.ours(step, name, progress).await?.is_none() {
            progress.say("making the stack set");
            self.world
                .call(Some(progress), |state, _| {
                    state.allow_making_stack_set(work)?;
                    state.make_stack_set(step, work, &intent.token)
                })
                .await
                .map_err(|trouble| trouble.failing(&format!("making the stack set `{name}`")))?;
        }
        self.until_idle(name, progress).await?;
        let found = self.ours(step, name, progress).await?.ok_or_else(|| gone(name))?;
        if let Some(why) = stack_set::other_permissions(work, &found.set) {
            return Err(why.failure().into());
        }
        // What was begun before a crash is this step's doing, and how it ended counts.
        let ours = |going: &&Going| going.id.starts_with(&intent.token);
        let before = found.operations.iter().rev().find(ours);
        if let Some(failed) = before.filter(|going| going.failed) {
            return Err(stack_set::failure(name, "an operation", "FAILED", "", &failed.ended).into());
        }
        let todo = stack_set::todo(step, work, &found.set);
        if !todo.inoperable.is_empty() {
            return Err(stack_set::inoperable(name, &todo.inoperable).into());
        }
        let outcome = match (
            found.token == intent.token,
            before.is_some() || !todo.is_nothing(),
        ) {
            (true, _) => Outcome::Created,
            (false, true) => Outcome::Updated,
            (false, false) => Outcome::Unchanged,
        };
        let mut notes = Vec::new();
        for group in &todo.remove {
            notes.extend(self.remove_group(&found, group, intent, progress).await?);
        }
        let mut tolerated = Vec::new();
        if todo.update {
            progress.say("updating the stack set and its instances");
            let doing = Doing {
                what: "updating",
                operation: format!("{}-update", intent.token),
                verb: Verb::Update,
                on: On::All(step, work),
                pace: Pace::of(work),
            };
            tolerated.extend(self.operation(&found, &doing, progress).await?);
        }
        for group in &todo.add {
            progress.say(format!("making {} instances", group.places()));
            let doing = Doing {
                what: "making instances",
                operation: group.operation(&intent.token, "create"),
                verb: Verb::Create,
                on: On::Group(group),
                pace: Pace::of(work),
            };
            tolerated.extend(self.operation(&found, &doing, progress).await?);
        }
        notes.extend(tolerated.iter().map(Ended::said));
        let found = self.ours(step, name, progress).await?.ok_or_else(|| gone(name))?;
        Ok(Applied {
            outcome,
            outputs: found.outputs(),
            owned: Some(found.owned(step.id.clone(), &step.facts.name, &work.region)),
            notes,
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let (name, id) = (address(owned, "name"), address(owned, "id"));
        // By its id: a stack set that was made anew under this name is another one.
        let Some(found) = self.until_idle(id, progress).await? else {
            return Ok(Removed::default());
        };
        if let Some(why) = stack_set::foreign(name, &found.set.tags, address(owned, "platform")) {
            return Err(Failure::new(why.what)
                .way_out("delete it by hand if it is to go")
                .into());
        }
        let places = found.set.instances.iter().map(|one| {
            let target = one.unit.as_deref().unwrap_or(&one.account);
            (target, one.region.as_str())
        });
        let mut kept = Vec::new();
        for group in stack_set::groups(places) {
            kept.extend(self.remove_group(&found, &group, intent, progress).await?);
        }
        progress.say("deleting the stack set");
        self.world
            .call(Some(progress), |state, _| {
                state.allow_stack_set("DeleteStackSet", id)?;
                state.delete_stack_set(id)
            })
            .await
            .map_err(|trouble| trouble.failing(&format!("deleting the stack set `{name}`")))?;
        Ok(Removed { kept })
    }

    async fn renew(&self) -> Result<(), String> {
        self.world.renewed()
    }
}

/// Somebody deleted a stack set between two looks at it.
fn gone(name: &str) -> ApplyError {
    Failure::new(format!("the stack set `{name}` is gone right after it was made"))
        .way_out(
            "find out who deletes it (`aws cloudtrail lookup-events --lookup-attributes \
             AttributeKey=EventName,AttributeValue=DeleteStackSet`), then run the command again: it makes it anew",
        )
        .into()
}
