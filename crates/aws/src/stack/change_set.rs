//! Change sets: what would change, and carrying exactly that out.

use std::time::Duration;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::operation::describe_change_set::DescribeChangeSetOutput;
use aws_sdk_cloudformation::types::{
    Capability, ChangeAction, ChangeSetStatus, ChangeSetType, ExecutionStatus, Parameter, Replacement,
    RequiresRecreation, ResourceChange, Stack, TemplateStage,
};
use landfall_model::id::Digest;
use landfall_model::provider::{Change, Effect, Failure, PropertyChange};
use landfall_model::work::{StackWork, Step};
use landfall_runner::{ApplyError, Intent, Progress};

use super::{Stacks, describe, given, tags, wait};
use crate::account::Account;
use crate::bucket::{Body, body};
use crate::trouble::{Pace, Trouble, patiently};

async fn create(
    client: &Client,
    step: &Step,
    work: &StackWork,
    body: &Body,
    kind: ChangeSetType,
    name: &str,
    progress: Option<&Progress>,
) -> Result<(), Trouble> {
    let parameters: Vec<Parameter> = given(&work.parameters)?
        .into_iter()
        .map(|(name, value)| {
            Parameter::builder()
                .parameter_key(name)
                .parameter_value(value)
                .build()
        })
        .collect();
    patiently(progress, || async {
        let mut call = client
            .create_change_set()
            .stack_name(&work.name)
            .change_set_name(name)
            .change_set_type(kind.clone())
            .description(format!("Landfall, {}", step.id))
            .capabilities(Capability::CapabilityNamedIam)
            .capabilities(Capability::CapabilityAutoExpand)
            .set_parameters(Some(parameters.clone()))
            .set_tags(Some(Stacks::tags(step)));
        call = match body {
            Body::Inline(text) => call.template_body(text),
            Body::Address(url) => call.template_url(url),
        };
        call.send().await?;
        Ok(())
    })
    .await
}

/// How a change set turned out.
enum Ready {
    /// It can be executed.
    Changes(Box<DescribeChangeSetOutput>),
    /// There is nothing to change.
    Nothing,
    /// It has been executed already.
    Executed,
    /// The stack changed after it was made; it can never be executed.
    Obsolete,
    /// CloudFormation refuses it.
    Refused(String),
}

/// A change set with all its changes: it comes in pages.
async fn describe_set(
    client: &Client,
    stack: &str,
    name: &str,
    progress: Option<&Progress>,
) -> Result<DescribeChangeSetOutput, Trouble> {
    let mut whole: Option<DescribeChangeSetOutput> = None;
    loop {
        let next = whole.as_mut().and_then(|whole| whole.next_token.take());
        if let (Some(_), None) = (&whole, &next) {
            break;
        }
        let page = patiently(progress, || {
            let call = client
                .describe_change_set()
                .stack_name(stack)
                .change_set_name(name)
                .include_property_values(true)
                .set_next_token(next.clone());
            async { Ok(call.send().await?) }
        })
        .await?;
        match &mut whole {
            None => whole = Some(page),
            Some(whole) => {
                whole.next_token = page.next_token;
                whole
                    .changes
                    .get_or_insert_default()
                    .extend(page.changes.unwrap_or_default());
            }
        }
    }
    Ok(whole.expect("the first page was read before the loop ended"))
}

async fn ready(
    client: &Client,
    stack: &str,
    name: &str,
    progress: Option<&Progress>,
) -> Result<Ready, Trouble> {
    let mut pace = Pace::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let set = describe_set(client, stack, name, progress).await?;
        let reason = set.status_reason().unwrap_or_default().to_owned();
        match set.status() {
            Some(ChangeSetStatus::CreateComplete)
                if set.execution_status() == Some(&ExecutionStatus::ExecuteComplete) =>
            {
                return Ok(Ready::Executed);
            }
            Some(ChangeSetStatus::CreateComplete)
                if matches!(
                    set.execution_status(),
                    Some(ExecutionStatus::Obsolete | ExecutionStatus::ExecuteFailed)
                ) =>
            {
                return Ok(Ready::Obsolete);
            }
            Some(ChangeSetStatus::CreateComplete) => return Ok(Ready::Changes(Box::new(set))),
            Some(ChangeSetStatus::Failed) if says_nothing_changes(&reason) => return Ok(Ready::Nothing),
            Some(ChangeSetStatus::Failed) => return Ok(Ready::Refused(reason)),
            _ => pace.wait().await,
        }
    }
}

/// CloudFormation reports "nothing to do" as a failed change set, told apart by its words only.
fn says_nothing_changes(reason: &str) -> bool {
    [
        "didn't contain changes",
        "did not contain changes",
        "No updates are to be performed",
        "no changes",
    ]
    .iter()
    .any(|words| reason.contains(words))
}

async fn delete(client: &Client, stack: &str, name: &str) -> Result<(), Trouble> {
    let deleted = patiently(None, || async {
        client
            .delete_change_set()
            .stack_name(stack)
            .change_set_name(name)
            .send()
            .await?;
        Ok(())
    })
    .await;
    match deleted {
        Err(Trouble::NotFound(_)) => Ok(()),
        deleted => deleted,
    }
}

/// Whether a change set of this name waits on the stack.
pub(super) async fn is_there(
    client: &Client,
    stack: &str,
    name: &str,
    progress: &Progress,
) -> Result<bool, ApplyError> {
    match describe_set(client, stack, name, Some(progress)).await {
        Ok(set) => Ok(set.status() != Some(&ChangeSetStatus::Failed)),
        Err(Trouble::NotFound(_)) => Ok(false),
        Err(trouble) => Err(trouble.failing("looking for a change set of this run")),
    }
}

/// Whether a change set of this name is what the stack last carried out. Some worlds forget a change
/// set once it is executed; then it cannot be told, and the stack's own state decides.
pub(super) async fn was_executed(client: &Client, stack: &str, name: &str, progress: &Progress) -> bool {
    match describe_set(client, stack, name, Some(progress)).await {
        Ok(set) => matches!(
            set.execution_status(),
            Some(
                ExecutionStatus::ExecuteComplete
                    | ExecutionStatus::ExecuteFailed
                    | ExecutionStatus::ExecuteInProgress
            )
        ),
        Err(_) => false,
    }
}

/// What applying a step would change in its stack. Makes a change set, reads it and deletes it again.
pub(super) async fn preview(
    account: &Account,
    client: &Client,
    step: &Step,
    work: &StackWork,
) -> Result<Vec<Change>, Trouble> {
    let Some(stack) = describe(client, &work.name, None).await? else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    if stack.enable_termination_protection().unwrap_or(false) != work.termination_protection {
        changes.push(Change {
            effect: Effect::Modify,
            subject: "termination protection".to_owned(),
            kind: String::new(),
            properties: vec![PropertyChange {
                path: "enabled".to_owned(),
                before: Some((!work.termination_protection).to_string()),
                after: Some(work.termination_protection.to_string()),
                replaces: false,
            }],
        });
    }
    if is_up_to_date(client, step, work, &stack).await? {
        return Ok(changes);
    }
    // Named after its content, so that looking twice at once does not collide with itself.
    let content = format!("{}{:?}{:?}", work.template, work.parameters, step.tags());
    let name = format!("landfall-preview-{}", Digest::of(content).short());
    let body = body(account, &work.template, work.artifact_bucket.as_ref(), None).await?;
    match create(client, step, work, &body, ChangeSetType::Update, &name, None).await {
        Err(trouble) if !trouble.is_code("AlreadyExists") => return Err(trouble),
        _ => {}
    }
    let outcome = ready(client, &work.name, &name, None).await;
    delete(client, &work.name, &name).await?;
    match outcome? {
        Ready::Changes(set) => {
            for change in set.changes() {
                changes.extend(change.resource_change().map(resource_change));
            }
            if changes.is_empty() {
                changes.push(Change {
                    effect: Effect::Modify,
                    subject: "outputs or description".to_owned(),
                    kind: String::new(),
                    properties: Vec::new(),
                });
            }
        }
        Ready::Nothing | Ready::Executed | Ready::Obsolete => {}
        Ready::Refused(reason) => {
            return Err(Trouble::Other {
                code: "ChangeSetFailed".to_owned(),
                message: reason,
            });
        }
    }
    Ok(changes)
}

/// Whether the stack was made of just this template, these parameters and these tags. What is hidden,
/// fetched from elsewhere or made by a macro cannot be compared here; CloudFormation can, in a change set.
async fn is_up_to_date(
    client: &Client,
    step: &Step,
    work: &StackWork,
    stack: &Stack,
) -> Result<bool, Trouble> {
    let told_only_by_a_change_set = work.interface.has_transform
        || work
            .interface
            .parameters
            .values()
            .any(|parameter| parameter.no_echo || parameter.fetched);
    if told_only_by_a_change_set {
        return Ok(false);
    }
    let wanted_tags = step.tags();
    let same_tags = tags(stack).len() == wanted_tags.len()
        && tags(stack)
            .iter()
            .all(|(key, value)| wanted_tags.get(*key).is_some_and(|wanted| wanted == value));
    let given = given(&work.parameters)?;
    let same_parameters = work.interface.parameters.iter().all(|(name, declared)| {
        let now = stack
            .parameters()
            .iter()
            .find(|one| one.parameter_key() == Some(name));
        let wanted = given.get(name.as_str()).copied().or(declared.default.as_deref());
        now.and_then(|now| now.parameter_value()) == wanted
    });
    if !same_tags || !same_parameters {
        return Ok(false);
    }
    let template = patiently(None, || async {
        Ok(client
            .get_template()
            .stack_name(&work.name)
            .template_stage(TemplateStage::Original)
            .send()
            .await?)
    })
    .await?;
    Ok(template.template_body() == Some(work.template.as_str()))
}

fn resource_change(change: &ResourceChange) -> Change {
    let effect = match (change.action(), change.replacement()) {
        (Some(ChangeAction::Add | ChangeAction::Import), _) => Effect::Add,
        (Some(ChangeAction::Remove), _) => Effect::Remove,
        (_, Some(Replacement::True)) => Effect::Replace,
        (_, Some(Replacement::Conditional)) => Effect::MayReplace,
        _ => Effect::Modify,
    };
    let mut properties: Vec<PropertyChange> = Vec::new();
    for detail in change.details() {
        let Some(target) = detail.target() else { continue };
        let path = target
            .path()
            .map(|path| path.trim_start_matches("/Properties/").to_owned())
            .or_else(|| target.name().map(str::to_owned))
            .or_else(|| target.attribute().map(|attribute| attribute.as_str().to_owned()))
            .unwrap_or_default();
        let one = PropertyChange {
            path,
            before: target.before_value().map(str::to_owned),
            after: target.after_value().map(str::to_owned),
            replaces: target.requires_recreation() == Some(&RequiresRecreation::Always),
        };
        // One property can be listed for each reason it changes.
        if !properties.iter().any(|seen| seen.path == one.path) {
            properties.push(one);
        }
    }
    Change {
        effect,
        subject: change.logical_resource_id().unwrap_or_default().to_owned(),
        kind: change.resource_type().unwrap_or_default().to_owned(),
        properties,
    }
}

/// Makes a change set under the intent's name, executes it and waits. Returns whether anything changed.
pub(super) async fn carry_out(
    account: &Account,
    client: &Client,
    step: &Step,
    work: &StackWork,
    before: Option<&Stack>,
    intent: &Intent,
    progress: &Progress,
) -> Result<bool, ApplyError> {
    let name = work.name.as_str();
    let doing = format!(
        "{} the stack `{name}`",
        if before.is_some() { "updating" } else { "creating" }
    );
    let failing = |trouble: Trouble| trouble.failing(&doing);
    progress.say("making a change set");
    let kind = if before.is_some() {
        ChangeSetType::Update
    } else {
        ChangeSetType::Create
    };
    let body = body(
        account,
        &work.template,
        work.artifact_bucket.as_ref(),
        Some(progress),
    )
    .await
    .map_err(failing)?;
    let make = || {
        create(
            client,
            step,
            work,
            &body,
            kind.clone(),
            &intent.token,
            Some(progress),
        )
    };
    match make().await {
        // Made before a crash: it is looked at below like a new one.
        Err(trouble) if trouble.is_code("AlreadyExists") => {}
        made => made.map_err(failing)?,
    }
    let mut set = ready(client, name, &intent.token, Some(progress))
        .await
        .map_err(failing)?;
    if matches!(set, Ready::Obsolete) {
        delete(client, name, &intent.token).await.map_err(failing)?;
        make().await.map_err(failing)?;
        set = ready(client, name, &intent.token, Some(progress))
            .await
            .map_err(failing)?;
    }
    let set = match set {
        Ready::Obsolete => {
            let summary = format!("the stack `{name}` is being changed by someone else at the same time");
            return Err(Failure::new(summary)
                .way_out("run `landfall apply` again once they are done")
                .into());
        }
        Ready::Nothing => {
            delete(client, name, &intent.token).await.map_err(failing)?;
            return Ok(false);
        }
        Ready::Executed => return Ok(true),
        Ready::Refused(reason) => {
            delete(client, name, &intent.token).await.map_err(failing)?;
            // A refused creation leaves an empty stack under review; it must not outlive the refusal.
            if before.is_none() {
                let deleted = patiently(Some(progress), || async {
                    client.delete_stack().stack_name(name).send().await?;
                    Ok(())
                });
                deleted.await.map_err(failing)?;
            }
            return Err(Failure::new(format!(
                "CloudFormation refuses the change set for `{name}`: {reason}"
            ))
            .way_out("mend the template or the inputs it names; nothing was changed")
            .into());
        }
        Ready::Changes(set) => set,
    };
    let id = set.stack_id().unwrap_or(name).to_owned();
    let change_set = set.change_set_id().unwrap_or(&intent.token);
    let executed = patiently(Some(progress), || async {
        client
            .execute_change_set()
            .stack_name(name)
            .change_set_name(change_set)
            .client_request_token(&intent.token)
            .send()
            .await?;
        Ok(())
    })
    .await;
    match executed {
        Ok(()) => {}
        // The answer to an earlier try was lost: it is being executed.
        Err(trouble) if trouble.is_code("TokenAlreadyExists") => {}
        Err(trouble) if trouble.is_code("InvalidChangeSetStatus") => {
            // Being executed, as an answer to an earlier try that was lost; or no longer executable.
            if !was_executed(client, &id, &intent.token, progress).await {
                return Err(failing(trouble));
            }
        }
        Err(trouble) => return Err(failing(trouble)),
    }
    let ended = wait::settled(client, name, &id, set.changes().len(), progress).await?;
    match ended.failure {
        Some(failure) => Err(failure.into()),
        None => Ok(true),
    }
}
