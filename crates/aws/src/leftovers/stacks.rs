//! What the platform's stacks hold, as CloudFormation lists it.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{ResourceStatus, StackResourceSummary, StackStatus};
use landfall_model::work::TAG_PLATFORM;

use crate::account::Account;
use crate::ask::Refused;
use crate::trouble::{Trouble, patiently};

/// The platform's stacks in one region, and what they hold.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// The ids of the stacks that stand.
    pub(super) stacks: Vec<String>,
    /// The stack of each resource, by type and physical id.
    pub(super) resources: BTreeMap<(String, String), String>,
}

impl Holdings {
    /// The stack that holds a thing known by one of these names. CloudFormation does not tag every type,
    /// and emulators tag few.
    pub(super) fn stack_of(&self, kind: &str, names: &[&str]) -> Option<&String> {
        names
            .iter()
            .find_map(|name| self.resources.get(&(kind.to_owned(), (*name).to_owned())))
    }
}

/// Lists the platform's stacks and what they hold.
pub(super) async fn holdings(account: &Account, region: &str, platform: &str) -> Result<Holdings, Refused> {
    let client = account.cloudformation(region);
    let mut found = Holdings::default();
    let mut next: Option<String> = None;
    loop {
        let page = patiently(None, || async {
            Ok(client
                .describe_stacks()
                .set_next_token(next.clone())
                .send()
                .await?)
        })
        .await
        .map_err(|trouble| Refused {
            action: "cloudformation:DescribeStacks".to_owned(),
            trouble,
        })?;
        for stack in page.stacks() {
            let mut tags = stack.tags().iter();
            let tag = tags.find(|tag| tag.key() == Some(TAG_PLATFORM));
            let Some(owner) = tag.and_then(|tag| tag.value()) else {
                continue;
            };
            let stands = stack.stack_status() != Some(&StackStatus::DeleteComplete);
            let (true, true, Some(id)) = (owner == platform, stands, stack.stack_id()) else {
                continue;
            };
            for resource in resources(account, region, id).await? {
                let (Some(kind), Some(physical)) =
                    (resource.resource_type(), resource.physical_resource_id())
                else {
                    continue;
                };
                found
                    .resources
                    .insert((kind.to_owned(), physical.to_owned()), id.to_owned());
            }
            found.stacks.push(id.to_owned());
        }
        next = page
            .next_token()
            .filter(|token| !token.is_empty())
            .map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// What one stack holds now. Nothing when it is gone.
pub(super) async fn resources(
    account: &Account,
    region: &str,
    stack: &str,
) -> Result<Vec<StackResourceSummary>, Refused> {
    let client = account.cloudformation(region);
    let mut found = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = patiently(None, || async {
            Ok(client
                .list_stack_resources()
                .stack_name(stack)
                .set_next_token(next.clone())
                .send()
                .await?)
        })
        .await;
        let page = match page {
            Err(Trouble::NotFound(_)) => return Ok(found),
            page => page.map_err(|trouble| Refused {
                action: "cloudformation:ListStackResources".to_owned(),
                trouble,
            })?,
        };
        next = page
            .next_token()
            .filter(|token| !token.is_empty())
            .map(str::to_owned);
        let there = |resource: &StackResourceSummary| {
            resource.resource_status() != Some(&ResourceStatus::DeleteComplete)
                && resource.physical_resource_id().is_some_and(|id| !id.is_empty())
        };
        found.extend(
            page.stack_resource_summaries
                .unwrap_or_default()
                .into_iter()
                .filter(there),
        );
        if next.is_none() {
            return Ok(found);
        }
    }
}
