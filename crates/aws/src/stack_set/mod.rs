//! CloudFormation stack sets: one template in many accounts and regions, for each `stackSet` step.
//!
//! What would change is told by comparing (`landfall_cloudformation::stack_set`), because stack sets have no
//! change sets. Every operation carries an id made of the intent's token and what it works on: after a crash
//! it is followed, not begun again.

mod operate;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{
    CallAs as As, PermissionModels, StackInstanceDetailedStatus, StackInstanceSummary, StackSet,
    StackSetStatus,
};
use landfall_cloudformation::stack_set::{self, Ended, Instance, Standing as Set};
use landfall_model::StepId;
use landfall_model::definition::{AutoDeployment, CallAs, StepKind};
use landfall_model::id::Digest;
use landfall_model::provider::{
    Applied, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{StackSetWork, Step, TAG_COMPONENT, TAG_STEP, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::json;

use crate::account::Account;
use crate::trouble::{Trouble, patiently};
use operate::Operator;

/// Carries out `stackSet` steps.
pub struct StackSets {
    account: Arc<Account>,
    are_asked_for: bool,
}

/// A stack set that was found, and what it is called in the world.
struct Found {
    name: String,
    id: String,
    set: Set,
}

impl StackSets {
    /// Stack sets of this account. `are_asked_for` says whether the platform file has any: where it has none, an
    /// account in which they may not be listed is taken to hold none.
    pub fn new(account: Arc<Account>, are_asked_for: bool) -> StackSets {
        StackSets {
            account,
            are_asked_for,
        }
    }

    /// The names and ids of all stack sets that stand, seen as oneself or as a delegated administrator.
    async fn list(&self, client: &Client, call_as: CallAs) -> Result<Vec<(String, String)>, Trouble> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = patiently(None, || {
                let call = client
                    .list_stack_sets()
                    .status(StackSetStatus::Active)
                    .set_call_as(said(call_as))
                    .set_next_token(next.clone());
                async { Ok(call.send().await?) }
            })
            .await;
            let page = match page {
                Err(trouble) if self.means_none(&trouble, call_as) => return Ok(all),
                page => page?,
            };
            all.extend(
                page.summaries()
                    .iter()
                    .filter(|one| one.status() != Some(&StackSetStatus::Deleted))
                    .filter_map(|one| {
                        Some((one.stack_set_name()?.to_owned(), one.stack_set_id()?.to_owned()))
                    }),
            );
            next = page.next_token;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Whether a refusal to list stack sets says that there are none of this platform.
    fn means_none(&self, trouble: &Trouble, call_as: CallAs) -> bool {
        match trouble {
            // What AWS answers an account that is nobody's delegated administrator.
            Trouble::Other { code, .. } if call_as == CallAs::DelegatedAdmin && code == "ValidationError" => {
                true
            }
            // A world without stack sets, as emulators are; a role that was never meant to make any.
            Trouble::Other { code, .. } if code == "InvalidAction" => !self.are_asked_for,
            Trouble::Denied(_) => !self.are_asked_for,
            _ => false,
        }
    }

    fn observed(step: &Step, work: &StackSetWork, found: &Found, busy: Option<String>) -> Observed {
        let Found { name, id, set } = found;
        let foreign = stack_set::foreign(name, &set.tags, &step.facts.name);
        let ours = foreign.is_none();
        let in_the_way = foreign.or_else(|| stack_set::other_permissions(work, set));
        let state = set.state();
        Observed {
            standing: match (in_the_way, busy) {
                (Some(why), _) => Standing::Foreign { why: why.said() },
                (None, Some(state)) => Standing::Busy { state },
                (None, None) => Standing::Present { state: state.clone() },
            },
            outputs: outputs(found),
            fingerprint: format!("{state}@{}@{id}", Digest::of(format!("{set:?}")).short()),
            owned: ours.then(|| {
                owned(
                    step.id.clone(),
                    &step.facts.name,
                    &work.region,
                    work.targets.call_as(),
                    found,
                )
            }),
        }
    }

    fn operator<'a>(
        &'a self,
        region: &str,
        name: &'a str,
        call_as: CallAs,
        intent: &'a Intent,
        progress: &'a Progress,
    ) -> Operator<'a> {
        Operator {
            account: &self.account,
            client: self.account.cloudformation(region),
            name,
            call_as,
            intent,
            progress,
        }
    }
}

/// As the call takes it; nothing said means as oneself.
fn said(call_as: CallAs) -> Option<As> {
    match call_as {
        CallAs::Own => None,
        CallAs::DelegatedAdmin => Some(As::DelegatedAdmin),
    }
}

fn outputs(found: &Found) -> Outputs {
    let Found { name, id, set } = found;
    Outputs::from_iter([
        ("name".to_owned(), name.as_str().into()),
        ("id".to_owned(), id.as_str().into()),
        ("accounts".to_owned(), set.accounts().into()),
        (
            "regions".to_owned(),
            set.regions.iter().cloned().collect::<Vec<_>>().into(),
        ),
    ])
}

fn owned(step: StepId, platform: &str, region: &str, call_as: CallAs, found: &Found) -> Owned {
    let address = json!({
        "platform": platform, "name": found.name, "region": region, "id": found.id, "callAs": call_as,
        "instances": found.set.instances.len(),
    });
    Owned::new(step, StepKind::StackSet, address)
}

/// How to find a stack set again, read from an inventory.
struct Address<'a> {
    platform: &'a str,
    name: &'a str,
    region: &'a str,
    id: &'a str,
    call_as: CallAs,
}

impl<'a> Address<'a> {
    fn of(owned: &'a Owned, region: &'a str) -> Address<'a> {
        let text = |key: &str| owned.address[key].as_str();
        let name = text("name").unwrap_or_default();
        Address {
            platform: text("platform").unwrap_or_default(),
            name,
            region: text("region").unwrap_or(region),
            id: text("id").unwrap_or(name),
            call_as: serde_json::from_value(owned.address["callAs"].clone()).unwrap_or_default(),
        }
    }
}

fn work(step: &Step) -> &StackSetWork {
    match &step.work {
        Work::StackSet(work) => work,
        other => unreachable!("stack sets are only given stackSet steps, not {other:?}"),
    }
}

/// Finds a stack set by name or id, with all its instances.
async fn describe(
    client: &Client,
    name: &str,
    call_as: CallAs,
    progress: Option<&Progress>,
) -> Result<Option<Found>, Trouble> {
    let found = patiently(progress, || async {
        Ok(client
            .describe_stack_set()
            .stack_set_name(name)
            .set_call_as(said(call_as))
            .send()
            .await?
            .stack_set)
    })
    .await;
    let set = match found {
        Ok(Some(set)) if set.status() != Some(&StackSetStatus::Deleted) => set,
        Ok(_) | Err(Trouble::NotFound(_)) => return Ok(None),
        Err(trouble) => return Err(trouble),
    };
    let instances = match instances(client, name, call_as, progress).await {
        // It went between the two calls.
        Err(Trouble::NotFound(_)) => return Ok(None),
        instances => instances?,
    };
    Ok(Some(Found {
        name: set.stack_set_name().unwrap_or(name).to_owned(),
        id: set.stack_set_id().unwrap_or(name).to_owned(),
        set: standing(set, instances),
    }))
}

/// Whether a stack set stands, as the account sees it that looks after it.
pub(crate) async fn is_there(client: &Client, id: &str) -> Result<bool, Trouble> {
    let mut stands = false;
    for call_as in [CallAs::Own, CallAs::DelegatedAdmin] {
        let found = patiently(None, || async {
            Ok(client
                .describe_stack_set()
                .stack_set_name(id)
                .set_call_as(said(call_as))
                .send()
                .await?)
        })
        .await;
        stands |= match found {
            Ok(found) => found
                .stack_set()
                .is_some_and(|set| set.status() != Some(&StackSetStatus::Deleted)),
            Err(Trouble::NotFound(_)) => false,
            // What AWS answers an account that is nobody's delegated administrator.
            Err(Trouble::Other { code, .. })
                if call_as == CallAs::DelegatedAdmin && code == "ValidationError" =>
            {
                false
            }
            Err(trouble) => return Err(trouble),
        };
        if stands {
            break;
        }
    }
    Ok(stands)
}

async fn instances(
    client: &Client,
    name: &str,
    call_as: CallAs,
    progress: Option<&Progress>,
) -> Result<Vec<Instance>, Trouble> {
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = patiently(progress, || {
            let call = client
                .list_stack_instances()
                .stack_set_name(name)
                .set_call_as(said(call_as))
                .set_next_token(next.clone());
            async { Ok(call.send().await?) }
        })
        .await?;
        all.extend(page.summaries().iter().map(instance));
        next = page.next_token;
        if next.is_none() {
            return Ok(all);
        }
    }
}

fn instance(summary: &StackInstanceSummary) -> Instance {
    let detail = summary
        .stack_instance_status()
        .and_then(|status| status.detailed_status());
    let state = match detail {
        // It stays out of date for as long as the account is suspended, whatever is done.
        Some(StackInstanceDetailedStatus::SkippedSuspendedAccount) => stack_set::SUSPENDED,
        _ => summary
            .status()
            .map_or(stack_set::CURRENT, |status| status.as_str()),
    };
    Instance {
        account: summary.account().unwrap_or_default().to_owned(),
        region: summary.region().unwrap_or_default().to_owned(),
        unit: summary.organizational_unit_id().map(str::to_owned),
        state: state.to_owned(),
        reason: summary.status_reason().unwrap_or_default().to_owned(),
    }
}

fn standing(set: StackSet, instances: Vec<Instance>) -> Set {
    let regions = set.regions().iter().cloned();
    let of_instances = instances.iter().map(|one| one.region.clone());
    let auto = set.auto_deployment();
    Set {
        template: set.template_body().unwrap_or_default().to_owned(),
        parameters: set
            .parameters()
            .iter()
            .filter_map(|one| Some((one.parameter_key()?.to_owned(), one.parameter_value()?.to_owned())))
            .collect(),
        tags: tags(&set),
        description: set.description().unwrap_or_default().to_owned(),
        service_managed: set.permission_model() == Some(&PermissionModels::ServiceManaged),
        administration_role: set.administration_role_arn().map(str::to_owned),
        execution_role: set.execution_role_name().map(str::to_owned),
        auto_deployment: AutoDeployment {
            enabled: auto.and_then(|auto| auto.enabled()).unwrap_or(false),
            retain_stacks_on_account_removal: auto
                .and_then(|auto| auto.retain_stacks_on_account_removal())
                .unwrap_or(false),
        },
        units: set.organizational_unit_ids().iter().cloned().collect(),
        regions: regions.chain(of_instances).collect(),
        instances,
    }
}

fn tags(set: &StackSet) -> BTreeMap<String, String> {
    set.tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())))
        .collect()
}

#[async_trait]
impl Provider for StackSets {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let client = self.account.cloudformation(&work.region);
        let call_as = work.targets.call_as();
        let looking =
            |trouble: Trouble| trouble.observing(&format!("could not look at the stack set `{}`", work.name));
        let found = describe(&client, &work.name, call_as, None)
            .await
            .map_err(looking)?;
        let Some(found) = found else {
            return Ok(Observed::absent());
        };
        let busy = operate::under_way(&client, &work.name, call_as, None)
            .await
            .map_err(looking)?;
        Ok(Self::observed(step, work, &found, busy))
    }

    async fn preview(&self, step: &Step, _seen: &Observed) -> Result<Vec<Change>, ObserveError> {
        let work = work(step);
        let client = self.account.cloudformation(&work.region);
        let found = describe(&client, &work.name, work.targets.call_as(), None)
            .await
            .map_err(|trouble| {
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
        let region = self.account.region();
        let client = self.account.cloudformation(region);
        let listing = |trouble: Trouble| trouble.observing("could not list the account's stack sets");
        // The list has no tags: only what may be ours by its name is looked at.
        let prefix = format!("{platform}-");
        let mut all: Vec<Owned> = Vec::new();
        for call_as in [CallAs::Own, CallAs::DelegatedAdmin] {
            for (name, id) in self.list(&client, call_as).await.map_err(listing)? {
                let is_known = all.iter().any(|one| one.address["id"] == id.as_str());
                if is_known || !name.starts_with(&prefix) {
                    continue;
                }
                let found = describe(&client, &name, call_as, None).await.map_err(listing)?;
                let Some(found) = found else { continue };
                let ours = stack_set::foreign(&name, &found.set.tags, platform).is_none();
                let (true, Some(component), Some(step)) = (
                    ours,
                    found.set.tags.get(TAG_COMPONENT),
                    found.set.tags.get(TAG_STEP),
                ) else {
                    continue;
                };
                all.push(owned(
                    StepId::new(component, step),
                    platform,
                    region,
                    call_as,
                    &found,
                ));
            }
        }
        Ok(all)
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let address = Address::of(owned, self.account.region());
        let client = self.account.cloudformation(address.region);
        let found = describe(&client, address.id, address.call_as, None)
            .await
            .map_err(|trouble| {
                trouble.observing(&format!("could not look at the stack set `{}`", address.name))
            })?;
        Ok(found.is_some_and(|found| {
            stack_set::foreign(&found.name, &found.set.tags, address.platform).is_none()
        }))
    }

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step);
        let operator = self.operator(&work.region, &work.name, work.targets.call_as(), intent, progress);
        let mut outcome = Outcome::Unchanged;
        let found = match operator.ours(step).await? {
            Some(found) => found,
            None => {
                outcome = Outcome::Created;
                operator.create(step, work).await?;
                operator.ours(step).await?.ok_or_else(|| gone(&work.name))?
            }
        };
        if let Some(why) = stack_set::other_permissions(work, &found.set) {
            return Err(why.failure().into());
        }
        // What was begun before a crash is this step's doing: it is waited for, and how it ended counts.
        let before = operator.begun_before().await?;
        if before.had_begun && outcome == Outcome::Unchanged {
            outcome = Outcome::Updated;
        }
        if let Some(failure) = before.failure {
            return Err(failure.into());
        }
        let found = operator.ours(step).await?.ok_or_else(|| gone(&work.name))?;
        let todo = stack_set::todo(step, work, &found.set);
        if !todo.is_nothing() && outcome == Outcome::Unchanged {
            outcome = Outcome::Updated;
        }
        if !todo.inoperable.is_empty() {
            return Err(stack_set::inoperable(&work.name, &todo.inoperable).into());
        }
        let mut notes = Vec::new();
        for group in &todo.remove {
            notes.extend(operator.remove(group, &found.set).await?);
        }
        let mut tolerated = Vec::new();
        if todo.update {
            tolerated.extend(operator.update(step, work, &found.set).await?);
        }
        for group in &todo.add {
            tolerated.extend(operator.add(work, group).await?);
        }
        notes.extend(tolerated.iter().map(Ended::said));
        let found = operator.ours(step).await?.ok_or_else(|| gone(&work.name))?;
        Ok(Applied {
            outcome,
            outputs: outputs(&found),
            owned: Some(owned(
                step.id.clone(),
                &step.facts.name,
                &work.region,
                work.targets.call_as(),
                &found,
            )),
            notes,
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let Address {
            platform,
            name,
            region,
            id,
            call_as,
        } = Address::of(owned, self.account.region());
        let operator = self.operator(region, name, call_as, intent, progress);
        let kept = operator.remove_all(id, platform).await?;
        Ok(Removed { kept })
    }

    async fn renew(&self) -> Result<(), String> {
        self.account.renew().await
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
