//! What is done to a stack set, and waited for: one operation at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{
    AutoDeployment, Capability, ConcurrencyMode, DeploymentTargets, Parameter, PermissionModels,
    RegionConcurrencyType, StackSetOperationPreferences, StackSetOperationResultStatus,
    StackSetOperationStatus, StackSetOperationSummary, Tag,
};
use landfall_cloudformation::stack_set::{self, Ended, Group, Standing as Set};
use landfall_model::definition::{CallAs, RegionConcurrency};
use landfall_model::provider::Failure;
use landfall_model::work::{StackSetWork, Step, Targets};
use landfall_runner::{ApplyError, Intent, Progress};

use super::{Found, describe, said};
use crate::account::Account;
use crate::bucket::{Body, body};
use crate::stack::given;
use crate::trouble::{Pace, Trouble, patiently};

/// Works on one stack set for one intent.
pub(super) struct Operator<'a> {
    pub(super) account: &'a Account,
    pub(super) client: Client,
    pub(super) name: &'a str,
    pub(super) call_as: CallAs,
    pub(super) intent: &'a Intent,
    pub(super) progress: &'a Progress,
}

/// What this intent had begun before a crash.
pub(super) struct Before {
    /// Whether it had begun anything.
    pub(super) had_begun: bool,
    /// Why the last of it failed, when it did.
    pub(super) failure: Option<Failure>,
}

/// How one operation ended.
struct Over {
    status: StackSetOperationStatus,
    reason: String,
    results: Vec<Ended>,
}

/// How often instances are made that fail because a role cannot be assumed yet, and how long is waited.
const TRIES: u32 = 4;
const UNTIL_A_ROLE_IS_SEEN: Duration = Duration::from_secs(15);
/// How often a stack set is emptied that fills up again or will not get empty, before a person is asked.
const REMOVALS: usize = 20;

/// How long an operation may take to show after it was begun.
const OPERATION_SHOWS: Duration = Duration::from_secs(30);

fn is_under_way(status: &StackSetOperationStatus) -> bool {
    matches!(
        status,
        StackSetOperationStatus::Queued
            | StackSetOperationStatus::Running
            | StackSetOperationStatus::Stopping
    )
}

/// The operations of a stack set, as many as CloudFormation still knows.
async fn operations(
    client: &Client,
    name: &str,
    call_as: CallAs,
    progress: Option<&Progress>,
) -> Result<Vec<StackSetOperationSummary>, Trouble> {
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = patiently(progress, || {
            let call = client
                .list_stack_set_operations()
                .stack_set_name(name)
                .set_call_as(said(call_as))
                .set_next_token(next.clone());
            async { Ok(call.send().await?) }
        })
        .await?;
        next = page.next_token;
        all.extend(page.summaries.unwrap_or_default());
        if next.is_none() {
            return Ok(all);
        }
    }
}

/// What is going on with a stack set, in CloudFormation's words; none when nothing is.
pub(super) async fn under_way(
    client: &Client,
    name: &str,
    call_as: CallAs,
    progress: Option<&Progress>,
) -> Result<Option<String>, Trouble> {
    let all = match operations(client, name, call_as, progress).await {
        Err(Trouble::NotFound(_)) => return Ok(None),
        all => all?,
    };
    Ok(all
        .iter()
        .find(|one| one.status().is_some_and(is_under_way))
        .map(|one| {
            format!(
                "{} {}",
                one.action().map_or("OPERATION", |action| action.as_str()),
                one.status().map_or("RUNNING", |status| status.as_str())
            )
        }))
}

impl Operator<'_> {
    fn failing(&self, doing: &str) -> impl Fn(Trouble) -> ApplyError {
        let doing = format!("{doing} the stack set `{}`", self.name);
        let name = self.name.to_owned();
        move |trouble| {
            // What CloudFormation refuses at once has the same ways out as what it fails later.
            let known = stack_set::advice(&name, "", &trouble.to_string());
            match (trouble.failing(&doing), known) {
                (ApplyError::Failed(failure), Some(known)) if failure.way_out.is_none() => {
                    failure.way_out(known).into()
                }
                (error, _) => error,
            }
        }
    }

    /// The stack set, if it stands, refusing one that is not ours.
    pub(super) async fn ours(&self, step: &Step) -> Result<Option<Found>, ApplyError> {
        let found = describe(&self.client, self.name, self.call_as, Some(self.progress))
            .await
            .map_err(self.failing("looking at"))?;
        let Some(found) = found else { return Ok(None) };
        match stack_set::foreign(self.name, &found.set.tags, &step.facts.name) {
            Some(why) => Err(why.failure().into()),
            None => Ok(Some(found)),
        }
    }

    /// Makes the set itself, which makes nothing in any account yet.
    pub(super) async fn create(&self, step: &Step, work: &StackSetWork) -> Result<(), ApplyError> {
        let failing = self.failing("making");
        let body = body(
            self.account,
            &work.template,
            work.artifact_bucket.as_ref(),
            Some(self.progress),
        )
        .await
        .map_err(&failing)?;
        let parameters = parameters(&given(&work.parameters).map_err(&failing)?);
        self.progress.say("making the stack set");
        let made = patiently(Some(self.progress), || {
            let mut call = self
                .client
                .create_stack_set()
                .stack_set_name(self.name)
                .description(stack_set::description(step, work))
                .capabilities(Capability::CapabilityNamedIam)
                .capabilities(Capability::CapabilityAutoExpand)
                .set_parameters(Some(parameters.clone()))
                .set_tags(Some(tags(step)))
                .set_call_as(said(self.call_as))
                .client_request_token(&self.intent.token);
            call = match &body {
                Body::Inline(text) => call.template_body(text),
                Body::Address(url) => call.template_url(url),
            };
            call = match &work.targets {
                Targets::Accounts { execution_role, .. } => call
                    .permission_model(PermissionModels::SelfManaged)
                    .set_administration_role_arn(stack_set::administration_role(work, None))
                    .execution_role_name(execution_role),
                Targets::Units { auto_deployment, .. } => call
                    .permission_model(PermissionModels::ServiceManaged)
                    .auto_deployment(auto(auto_deployment)),
            };
            async {
                call.send().await?;
                Ok(())
            }
        })
        .await;
        match made {
            // Made by an earlier try whose answer was lost; whose it is, is looked at next.
            Err(trouble) if trouble.is_code("NameAlreadyExists") => Ok(()),
            made => made.map_err(failing),
        }
    }

    /// Brings the set, and every instance it has, up to date.
    pub(super) async fn update(
        &self,
        step: &Step,
        work: &StackSetWork,
        standing: &Set,
    ) -> Result<Vec<Ended>, ApplyError> {
        let failing = self.failing("updating");
        let body = body(
            self.account,
            &work.template,
            work.artifact_bucket.as_ref(),
            Some(self.progress),
        )
        .await
        .map_err(&failing)?;
        let mut values = given(&work.parameters).map_err(&failing)?;
        // What is not given any more goes back to the template's default.
        for (name, declared) in &work.interface.parameters {
            if let (true, Some(default)) = (standing.parameters.contains_key(name), &declared.default) {
                values.entry(name).or_insert(default);
            }
        }
        let parameters = parameters(&values);
        let stands: Vec<String> = work
            .regions
            .iter()
            .filter(|region| standing.regions.contains(*region))
            .cloned()
            .collect();
        self.progress.say("updating the stack set and its instances");
        let operation = format!("{}-update", self.intent.token);
        self.operation("updating", &operation, |id| {
            let mut call = self
                .client
                .update_stack_set()
                .stack_set_name(self.name)
                .description(stack_set::description(step, work))
                .capabilities(Capability::CapabilityNamedIam)
                .capabilities(Capability::CapabilityAutoExpand)
                .set_parameters(Some(parameters.clone()))
                .set_tags(Some(tags(step)))
                .set_call_as(said(self.call_as))
                .operation_preferences(preferences(work, &stands))
                .operation_id(id);
            call = match &body {
                Body::Inline(text) => call.template_body(text),
                Body::Address(url) => call.template_url(url),
            };
            call = match &work.targets {
                Targets::Accounts { execution_role, .. } => call
                    .permission_model(PermissionModels::SelfManaged)
                    .set_administration_role_arn(stack_set::administration_role(work, Some(standing)))
                    .execution_role_name(execution_role),
                Targets::Units { auto_deployment, .. } => call
                    .permission_model(PermissionModels::ServiceManaged)
                    .auto_deployment(auto(auto_deployment)),
            };
            async { Ok(call.send().await?.operation_id) }
        })
        .await
    }

    /// Makes instances. A role that was made a moment ago cannot be assumed everywhere yet, so that is tried again.
    pub(super) async fn add(&self, work: &StackSetWork, group: &Group) -> Result<Vec<Ended>, ApplyError> {
        let first = group.operation(&self.intent.token, "create");
        self.progress.say(format!("making {} instances", group.places()));
        let mut tries = 1;
        loop {
            let operation = if tries == 1 {
                first.clone()
            } else {
                format!("{first}-{tries}")
            };
            let made = self
                .operation("making instances", &operation, |id| {
                    let call = self
                        .client
                        .create_stack_instances()
                        .stack_set_name(self.name)
                        .set_regions(Some(group.regions.clone()))
                        .set_call_as(said(self.call_as))
                        .operation_preferences(preferences(work, &group.regions))
                        .operation_id(id);
                    let call = match work.targets {
                        Targets::Accounts { .. } => call.set_accounts(Some(group.ids.clone())),
                        Targets::Units { .. } => call.deployment_targets(units(&group.ids)),
                    };
                    async { Ok(call.send().await?.operation_id) }
                })
                .await;
            match made {
                Err(ApplyError::Failed(failure)) if tries < TRIES && is_too_early(&failure) => {
                    tries += 1;
                    self.progress
                        .say("a role could not be assumed yet; making the instances once more");
                    tokio::time::sleep(UNTIL_A_ROLE_IS_SEEN).await;
                }
                made => return made,
            }
        }
    }

    /// Deletes instances and what they made. Returns what their template keeps, a sentence each.
    pub(super) async fn remove(&self, group: &Group, standing: &Set) -> Result<Vec<String>, ApplyError> {
        self.progress
            .say(format!("deleting {} instances", group.places()));
        let operation = group.operation(&self.intent.token, "delete");
        let removed = self
            .operation("deleting instances", &operation, |id| {
                let call = self
                    .client
                    .delete_stack_instances()
                    .stack_set_name(self.name)
                    .set_regions(Some(group.regions.clone()))
                    .set_call_as(said(self.call_as))
                    .operation_preferences(
                        StackSetOperationPreferences::builder()
                            .region_concurrency_type(RegionConcurrencyType::Parallel)
                            .concurrency_mode(ConcurrencyMode::SoftFailureTolerance)
                            .max_concurrent_percentage(100)
                            // One account that cannot be reached must not keep the others.
                            .failure_tolerance_percentage(100)
                            .build(),
                    )
                    .retain_stacks(false)
                    .operation_id(id);
                let call = if standing.service_managed {
                    call.deployment_targets(units(&group.ids))
                } else {
                    call.set_accounts(Some(group.ids.clone()))
                };
                async { Ok(call.send().await?.operation_id) }
            })
            .await?;
        if removed.is_empty() {
            return Ok(standing.kept(self.name, group));
        }
        // Tolerated by CloudFormation, not by us: what should be gone is not.
        let mut failure = stack_set::failure(self.name, "deleting instances", "FAILED", "", &removed);
        let unreachable = stack_set::unreachable(self.name);
        failure.way_out = Some(match failure.way_out {
            Some(way_out) if way_out != unreachable => format!("{way_out}; {unreachable}"),
            _ => unreachable,
        });
        Err(failure.into())
    }

    /// Deletes all instances, then the set. Returns what their template keeps, a sentence each.
    pub(super) async fn remove_all(&self, id: &str, platform: &str) -> Result<Vec<String>, ApplyError> {
        let mut kept = Vec::new();
        for _ in 0..REMOVALS {
            self.until_idle().await?;
            // By its id: a stack set that was made anew under this name is another one.
            let found = describe(&self.client, id, self.call_as, Some(self.progress))
                .await
                .map_err(self.failing("looking at"))?;
            let Some(Found { set, .. }) = found else {
                return Ok(kept);
            };
            if let Some(why) = stack_set::foreign(self.name, &set.tags, platform) {
                return Err(Failure::new(why.what)
                    .way_out("delete it by hand if it is to go")
                    .into());
            }
            // Empty units are in no instance, and need not be taken out: only what stands is deleted.
            let of_instances = set.instances.iter().map(|one| {
                let target = if set.service_managed {
                    one.unit.as_deref().unwrap_or(&one.account)
                } else {
                    &one.account
                };
                (target, one.region.as_str())
            });
            for group in stack_set::groups(of_instances) {
                kept.extend(self.remove(&group, &set).await?);
            }
            self.progress.say("deleting the stack set");
            let deleted = patiently(Some(self.progress), || async {
                self.client
                    .delete_stack_set()
                    .stack_set_name(id)
                    .set_call_as(said(self.call_as))
                    .send()
                    .await?;
                Ok(())
            })
            .await;
            match deleted {
                Ok(()) | Err(Trouble::NotFound(_)) => return Ok(kept),
                // Accounts joined meanwhile, or something else is going on: look again.
                Err(trouble)
                    if trouble.is_code("StackSetNotEmpty") || trouble.is_code("OperationInProgress") =>
                {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
                Err(trouble) => return Err(self.failing("deleting")(trouble)),
            }
        }
        Err(
            Failure::new(format!("the stack set {} does not become empty", self.name))
                .way_out("look in its console which instances stay and why, then run the command again")
                .into(),
        )
    }

    /// Waits for whatever goes on, and tells how the last operation of this very intent ended.
    pub(super) async fn begun_before(&self) -> Result<Before, ApplyError> {
        self.until_idle().await?;
        let all = operations(&self.client, self.name, self.call_as, Some(self.progress))
            .await
            .map_err(self.failing("looking at"))?;
        let ours = |one: &&StackSetOperationSummary| {
            one.operation_id()
                .is_some_and(|id| id.starts_with(&self.intent.token))
        };
        let last = all
            .iter()
            .filter(ours)
            .max_by_key(|one| one.creation_timestamp().map(aws_smithy_types::DateTime::as_nanos));
        let Some(last) = last else {
            return Ok(Before {
                had_begun: false,
                failure: None,
            });
        };
        let over = self.over(last.operation_id().unwrap_or_default()).await?;
        Ok(Before {
            had_begun: true,
            failure: (over.status != StackSetOperationStatus::Succeeded)
                .then(|| self.failure("an operation", &over)),
        })
    }

    /// Waits until no operation is under way: a stack set has one at a time.
    async fn until_idle(&self) -> Result<(), ApplyError> {
        let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(10));
        let mut told = None;
        loop {
            let state = under_way(&self.client, self.name, self.call_as, Some(self.progress))
                .await
                .map_err(self.failing("looking at"))?;
            let Some(state) = state else { return Ok(()) };
            if told.as_ref() != Some(&state) {
                self.progress.say(format!("{state}: waiting for that to end"));
                told = Some(state);
            }
            pace.wait().await;
        }
    }

    /// Begins an operation, unless it was begun before, and follows it to its end. Returns what failed within the
    /// tolerance.
    async fn operation<F>(
        &self,
        doing: &str,
        id: &str,
        begin: impl Fn(&str) -> F,
    ) -> Result<Vec<Ended>, ApplyError>
    where
        F: Future<Output = Result<Option<String>, Trouble>>,
    {
        let id = loop {
            match patiently(Some(self.progress), || begin(id)).await {
                Ok(given) => break given.unwrap_or_else(|| id.to_owned()),
                // Begun by an earlier try whose answer was lost, or before a crash.
                Err(trouble)
                    if trouble.is_code("OperationIdAlreadyExists") || trouble.is_code("StaleRequest") =>
                {
                    break id.to_owned();
                }
                Err(trouble) if trouble.is_code("OperationInProgress") => {
                    self.progress
                        .say("another operation is in progress: waiting for that to end");
                    // Some operations, of the organization's own, are in no list.
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    self.until_idle().await?;
                }
                Err(trouble) => return Err(self.failing(doing)(trouble)),
            }
        };
        let over = self.over(&id).await?;
        if over.status != StackSetOperationStatus::Succeeded {
            return Err(self.failure(doing, &over).into());
        }
        let mut results = over.results;
        results.retain(|one| one.state == "FAILED");
        Ok(results)
    }

    fn failure(&self, doing: &str, over: &Over) -> Failure {
        stack_set::failure(
            self.name,
            doing,
            over.status.as_str(),
            &over.reason,
            &over.results,
        )
    }

    /// Follows an operation to its end, telling in how many places it is done.
    async fn over(&self, id: &str) -> Result<Over, ApplyError> {
        let failing = self.failing("waiting for");
        let began = tokio::time::Instant::now();
        let mut pace = Pace::new(Duration::from_millis(300), Duration::from_secs(10));
        let mut told = 0;
        loop {
            let found = patiently(Some(self.progress), || async {
                Ok(self
                    .client
                    .describe_stack_set_operation()
                    .stack_set_name(self.name)
                    .operation_id(id)
                    .set_call_as(said(self.call_as))
                    .send()
                    .await?
                    .stack_set_operation)
            })
            .await;
            let operation = match found {
                Err(Trouble::NotFound(_)) if began.elapsed() < OPERATION_SHOWS => {
                    pace.wait().await;
                    continue;
                }
                found => found.map_err(&failing)?,
            };
            let status = operation.as_ref().and_then(|one| one.status().cloned());
            let status = status.unwrap_or(StackSetOperationStatus::Running);
            let results = self.results(id).await.map_err(&failing)?;
            let done = results.iter().filter(|one| one.state == "SUCCEEDED").count();
            if done > told {
                told = done;
                let last = results.iter().rev().find(|one| one.state == "SUCCEEDED");
                let place = last.map_or_else(String::new, |one| format!("{}/{}", one.account, one.region));
                self.progress.count(done, results.len(), format!("{place} done"));
            }
            if !is_under_way(&status) {
                return Ok(Over {
                    status,
                    reason: operation.and_then(|one| one.status_reason).unwrap_or_default(),
                    results,
                });
            }
            pace.wait().await;
        }
    }

    async fn results(&self, id: &str) -> Result<Vec<Ended>, Trouble> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = patiently(Some(self.progress), || {
                let call = self
                    .client
                    .list_stack_set_operation_results()
                    .stack_set_name(self.name)
                    .operation_id(id)
                    .set_call_as(said(self.call_as))
                    .set_next_token(next.clone());
                async { Ok(call.send().await?) }
            })
            .await?;
            all.extend(page.summaries().iter().map(|one| {
                Ended {
                    account: one.account().unwrap_or_default().to_owned(),
                    region: one.region().unwrap_or_default().to_owned(),
                    state: one
                        .status()
                        .map_or("PENDING", StackSetOperationResultStatus::as_str)
                        .to_owned(),
                    reason: one.status_reason().unwrap_or_default().to_owned(),
                }
            }));
            next = page.next_token;
            if next.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Whether CloudFormation could not assume a role that may have been made a moment ago.
fn is_too_early(failure: &Failure) -> bool {
    let cause = failure.cause.as_ref();
    cause.is_some_and(|cause| cause.reason.contains("role with trust relationship"))
}

fn parameters(values: &BTreeMap<&str, &str>) -> Vec<Parameter> {
    values
        .iter()
        .map(|(name, value)| {
            Parameter::builder()
                .parameter_key(*name)
                .parameter_value(*value)
                .build()
        })
        .collect()
}

fn tags(step: &Step) -> Vec<Tag> {
    step.tags()
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

fn units(ids: &[String]) -> DeploymentTargets {
    DeploymentTargets::builder()
        .set_organizational_unit_ids(Some(ids.to_vec()))
        .build()
}

/// CloudFormation takes no word about stacks that stay while accounts that leave are not looked after.
fn auto(wanted: &landfall_model::definition::AutoDeployment) -> AutoDeployment {
    let auto = AutoDeployment::builder().enabled(wanted.enabled);
    if wanted.enabled {
        auto.retain_stacks_on_account_removal(wanted.retain_stacks_on_account_removal)
            .build()
    } else {
        auto.build()
    }
}

fn preferences(work: &StackSetWork, regions: &[String]) -> StackSetOperationPreferences {
    let preferences = StackSetOperationPreferences::builder()
        // Otherwise no more accounts than may fail, and one, are worked on at once.
        .concurrency_mode(ConcurrencyMode::SoftFailureTolerance)
        .max_concurrent_percentage(i32::from(work.max_concurrent_percentage))
        .failure_tolerance_percentage(i32::from(work.failure_tolerance_percentage));
    match work.region_concurrency {
        RegionConcurrency::Parallel => preferences.region_concurrency_type(RegionConcurrencyType::Parallel),
        RegionConcurrency::Sequential => preferences
            .region_concurrency_type(RegionConcurrencyType::Sequential)
            .set_region_order((regions.len() > 1).then(|| regions.to_vec())),
    }
    .build()
}
