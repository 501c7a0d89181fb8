//! Limits of an account, and how much of each the steps to come need.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use landfall_model::StepId;
use landfall_model::question::{Quota, Upcoming};
use landfall_model::work::Work;
use serde::Deserialize;

use crate::thing::{Thing, items};

/// Where limits of the whole account are kept.
const FOR_THE_ACCOUNT: &str = "us-east-1";

/// What counts as one for the policies on a role: not a resource, but a property of one.
pub(crate) const POLICIES_ON_A_ROLE: &str = "AWS::IAM::Role.ManagedPolicyArns";
/// The type of a stack.
const STACK: &str = "AWS::CloudFormation::Stack";

/// A limit (source: Service Quotas, and "Service endpoints and quotas" in the AWS general reference).
#[derive(Deserialize)]
struct Limit {
    kind: String,
    service: String,
    code: String,
    name: String,
    usual: u64,
    #[serde(default)]
    everywhere: bool,
}

static LIMITS: LazyLock<Vec<Limit>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("quotas.json")).expect("quotas.json is tested with the rest")
});

/// How much of a limit is needed in a region, and who needs it first.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) quota: Quota,
    pub(crate) region: String,
    pub(crate) count: u64,
    pub(crate) step: StepId,
    pub(crate) resource: Option<String>,
}

/// Everything that counts towards a limit.
pub(crate) fn needs(upcoming: &[Upcoming], things: &[Thing]) -> Vec<Need> {
    let mut needs: BTreeMap<(usize, String), Need> = BTreeMap::new();
    let mut need = |kind: &str, region: &str, count: u64, step: &StepId, resource: Option<&str>| {
        let Some((at, limit)) = LIMITS.iter().enumerate().find(|(_, limit)| limit.kind == kind) else {
            return;
        };
        let region = if limit.everywhere { FOR_THE_ACCOUNT } else { region };
        let entry = needs.entry((at, region.to_owned())).or_insert_with(|| Need {
            quota: Quota {
                service: limit.service.clone(),
                code: limit.code.clone(),
                kind: limit.kind.clone(),
                name: limit.name.clone(),
                usual: limit.usual,
            },
            region: region.to_owned(),
            count: 0,
            step: step.clone(),
            resource: resource.map(str::to_owned),
        });
        if kind != POLICIES_ON_A_ROLE {
            entry.count += count;
        } else if count > entry.count {
            entry.count = count;
            entry.step = step.clone();
            entry.resource = resource.map(str::to_owned);
        }
    };
    for one in upcoming {
        if let Work::Stack(stack) = &one.step.work
            && one.standing.is_empty()
            && !one.after_remains
        {
            need(STACK, &stack.region, 1, &one.step.id, None);
        }
    }
    // What is only made perhaps must not count: it could fill a limit that holds.
    for thing in things.iter().filter(|thing| thing.certain && !thing.stands) {
        need(&thing.kind, &thing.region, 1, &thing.step, Some(&thing.id));
        let policies = items(&thing.properties["ManagedPolicyArns"]).len();
        if thing.kind == "AWS::IAM::Role" && policies > 0 {
            let count = u64::try_from(policies).unwrap_or(u64::MAX);
            need(
                POLICIES_ON_A_ROLE,
                &thing.region,
                count,
                &thing.step,
                Some(&thing.id),
            );
        }
    }
    needs.into_values().collect()
}
