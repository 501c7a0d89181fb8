//! What the simulated world answers before the first change: from what stands in it, and from what others made
//! there before.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use landfall_model::question::{
    Answer, Certificate, Denial, Name, Network, Permission, Question, Quota, Zone,
};
use landfall_model::work::TAG_PLATFORM;
use landfall_runner::{ObserveError, Preflight};

use crate::authorization::Verdict;
use crate::network;
use crate::thing::LOG_GROUP;
use crate::trouble::Trouble;
use crate::world::{State, World};

/// What others made, use up or forbid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Networks, by region.
    pub networks: BTreeMap<String, Vec<Network>>,
    /// What is called how: by type, in CloudFormation's words, and name.
    pub names: BTreeMap<(String, String), Name>,
    /// Limits, by their code in Service Quotas. What is not listed is as AWS gives it to every account.
    pub limits: BTreeMap<String, LimitOfOthers>,
    /// Hosted zones, by id.
    pub zones: BTreeMap<String, Zone>,
    /// Certificates, by ARN.
    pub certificates: BTreeMap<String, Certificate>,
    /// What the credentials in use may not do.
    pub denied: BTreeMap<String, Denial>,
}

/// A limit of the account, and what others use of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitOfOthers {
    /// The limit, when it is not the usual one.
    pub limit: Option<u64>,
    /// How much of it others use.
    pub used: u64,
}

/// Answers for a simulated world.
pub struct SimPreflight {
    world: Arc<World>,
}

impl SimPreflight {
    /// Answers for this world.
    pub fn new(world: Arc<World>) -> SimPreflight {
        SimPreflight { world }
    }
}

#[async_trait]
impl Preflight for SimPreflight {
    /// Takes no time and is never throttled: what it would show is shown by everything else that is asked here.
    async fn ask(&self, question: &Question) -> Result<Answer, ObserveError> {
        let doing = "asking the simulated cloud";
        if self.world.renewed().is_err() {
            return Err(Trouble::Expired.observing(doing));
        }
        let (state, now) = self.world.at();
        state.answer(question, now).map_err(|why| ObserveError {
            way_out: Some("an account that is no simulation can be asked".to_owned()),
            ..ObserveError::new(doing, why)
        })
    }
}

/// The zones of a region that limits are kept for.
const ZONES: [&str; 3] = ["a", "b", "c"];

impl State {
    fn answer(&self, question: &Question, now: u64) -> Result<Answer, &'static str> {
        Ok(match question {
            Question::Permissions { actions } => {
                let denied = |permission: &Permission| {
                    let denial = self.denied(permission)?;
                    Some((permission.clone(), denial))
                };
                Answer::Permissions {
                    principal: format!("arn:aws:iam::{}:role/simulated", self.account),
                    denied: actions.iter().filter_map(denied).collect(),
                }
            }
            Question::Quota { quota, region } => self.quota(quota, region),
            Question::Networks { region } => Answer::Networks(self.networks_of(region, now)),
            Question::Name { kind, name, region } => Answer::Name(self.called(kind, name, region, now)),
            // What a platform file names by id was made by somebody this world knows nothing of.
            Question::Zone { .. } if self.others.zones.is_empty() => {
                return Err("nothing is known there of hosted zones that others made");
            }
            Question::Zone { id } => Answer::Zone(self.others.zones.get(id).cloned()),
            Question::Certificate { .. } if self.others.certificates.is_empty() => {
                return Err("nothing is known there of certificates that others requested");
            }
            Question::Certificate { arn } => Answer::Certificate(self.others.certificates.get(arn).cloned()),
        })
    }

    /// Why an action will not be allowed, by what others forbid and by the policies in use.
    fn denied(&self, Permission { action, resource }: &Permission) -> Option<Denial> {
        if let Some(denial) = self.others.denied.get(action) {
            return Some(*denial);
        }
        match self.allowed.as_ref()?.foresee(action, resource) {
            Verdict::Allowed => None,
            Verdict::NotAllowed => Some(Denial::NotAllowed),
            Verdict::Denied => Some(Denial::Explicit),
        }
    }

    fn quota(&self, quota: &Quota, region: &str) -> Answer {
        let of_others = self.others.limits.get(&quota.code).cloned().unwrap_or_default();
        let is_here = |other: &str| network::is_of_account(&quota.kind) || other == region;
        let stacks = self
            .stacks
            .iter()
            .filter(|stack| !stack.is_gone() && is_here(&stack.region));
        let own: usize = if quota.kind == "AWS::CloudFormation::Stack" {
            stacks.count()
        } else {
            stacks
                .flat_map(|stack| stack.resources.values())
                .filter(|resource| resource.kind == quota.kind)
                .count()
        };
        let own = own as u64;
        let used = if quota.kind == "AWS::EC2::NatGateway" {
            // Nobody says which zone a gateway is in: they are spread, others' first.
            let all = own + of_others.used;
            let share = |at: usize| all.saturating_sub(at as u64).div_ceil(ZONES.len() as u64);
            ZONES
                .iter()
                .enumerate()
                .map(|(at, zone)| (format!("{region}{zone}"), share(at)))
                .collect()
        } else {
            [(region.to_owned(), own + of_others.used)].into()
        };
        Answer::Quota {
            limit: of_others.limit.unwrap_or(quota.usual),
            assumed: false,
            used,
        }
    }

    fn networks_of(&self, region: &str, now: u64) -> Vec<Network> {
        let of_stacks = self
            .stacks
            .iter()
            .filter(|stack| stack.region == region && !stack.is_gone())
            .flat_map(|stack| {
                let spec = stack.spec(now);
                stack
                    .resources
                    .iter()
                    .filter(|(_, resource)| resource.kind == "AWS::EC2::VPC")
                    .map(move |(id, resource)| Network {
                        id: resource.physical.clone(),
                        name: None,
                        cidrs: spec
                            .and_then(|spec| spec.property(id, "CidrBlock"))
                            .into_iter()
                            .collect(),
                        platform: stack.tags(now).get(TAG_PLATFORM).cloned(),
                    })
            });
        let others = self.others.networks.get(region).into_iter().flatten();
        of_stacks.chain(others.cloned()).collect()
    }

    fn called(&self, kind: &str, name: &str, region: &str, now: u64) -> Name {
        let key = (kind.to_owned(), name.to_owned());
        if let Some(taken) = self.others.names.get(&key) {
            return taken.clone();
        }
        let taken = |by: &str| Name::Taken { by: by.to_owned() };
        if kind == "AWS::SecretsManager::Secret"
            && let Some(secret) = self
                .secrets
                .iter()
                .find(|one| one.name == name && !one.is_gone(now))
        {
            return if secret.is_deleted() {
                Name::Going { until: None }
            } else {
                taken(name)
            };
        }
        if kind == "AWS::IAM::OIDCProvider"
            && self
                .identity_providers
                .keys()
                .any(|url| url.trim_start_matches("https://").trim_end_matches('/') == name)
        {
            return taken(name);
        }
        let is_here = |other: &str| network::is_of_account(kind) || other == region;
        for stack in self.stacks.iter().filter(|stack| is_here(&stack.region)) {
            let left = stack.left.iter().map(|one| (&one.kind, &one.physical));
            let stands = stack.resources.values().map(|one| (&one.kind, &one.physical));
            for (other, physical) in stands.chain(left) {
                if other == kind && (physical == name || name.is_empty()) {
                    return taken(physical);
                }
            }
        }
        let mut logs = self
            .things
            .values()
            .filter(|thing| kind == LOG_GROUP && thing.kind == LOG_GROUP && thing.region == region);
        match logs.find(|thing| thing.short() == name) {
            Some(thing) => taken(&thing.id),
            None => Name::Free,
        }
    }
}
