//! Finding everything that carries a platform's marks, and removing what nobody's template names.

use std::sync::Arc;

use async_trait::async_trait;
use landfall_model::definition::StepKind;
use landfall_model::leftover::{Found, Landmark, LandmarkKind, Marks, Swept};
use landfall_model::provider::{Failure, Owned};
use landfall_model::work::TAG_PLATFORM;
use landfall_runner::{ApplyError, ObserveError, Progress, Sweeper};

use crate::authorization::Context;
use crate::durations;
use crate::thing::{
    ENDPOINT, INSTANCE, INTERFACE, LOAD_BALANCER, LOG_GROUP, SECURITY_GROUP, TARGET_GROUP, Thing, ThingId,
    VOLUME,
};
use crate::trouble::Trouble;
use crate::world::{State, World};

/// Searches and sweeps a simulated world.
pub struct SimSweeper {
    world: Arc<World>,
}

impl SimSweeper {
    /// Sweeps this world's account.
    pub fn new(world: Arc<World>) -> SimSweeper {
        SimSweeper { world }
    }
}

/// Everything a search asks, whatever it finds.
const SEARCHING: [&str; 8] = [
    "tag:GetResources",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeVolumes",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "logs:DescribeLogGroups",
];

/// What is called to remove a thing, and what its ARN has before its id.
fn removing(kind: &str) -> Option<(&'static [&'static str], &'static str)> {
    Some(match kind {
        INSTANCE => (&["ec2:TerminateInstances"], "instance"),
        INTERFACE => (&["ec2:DeleteNetworkInterface"], "network-interface"),
        VOLUME => (&["ec2:DeleteVolume"], "volume"),
        ENDPOINT => (&["ec2:DeleteVpcEndpoints"], "vpc-endpoint"),
        SECURITY_GROUP => (
            &["ec2:RevokeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
            "security-group",
        ),
        LOAD_BALANCER => (&["elasticloadbalancing:DeleteLoadBalancer"], ""),
        TARGET_GROUP => (&["elasticloadbalancing:DeleteTargetGroup"], ""),
        LOG_GROUP => (&["logs:DeleteLogGroup"], ""),
        _ => return None,
    })
}

/// What a resource of a stack marks.
fn landmark(kind: &str) -> Option<LandmarkKind> {
    Some(match kind {
        "AWS::EC2::VPC" => LandmarkKind::Network,
        "AWS::EKS::Cluster" => LandmarkKind::Cluster,
        "AWS::EKS::Nodegroup" => LandmarkKind::Nodes,
        _ => return None,
    })
}

/// Where log groups of a cluster or a platform's functions are (source: the EKS and CloudWatch guides).
fn writes_to(marks: &Marks, name: &str) -> Option<String> {
    let clusters = marks
        .landmarks
        .iter()
        .filter(|landmark| landmark.kind == LandmarkKind::Cluster);
    for cluster in clusters {
        let places = [
            format!("/aws/eks/{}/", cluster.id),
            format!("/aws/containerinsights/{}/", cluster.id),
        ];
        if places.iter().any(|place| name.starts_with(place)) {
            return Some(format!("cluster {}", cluster.id));
        }
    }
    let of_functions = format!("/aws/lambda/{}-", marks.platform);
    name.starts_with(&of_functions)
        .then(|| format!("log group {of_functions}*"))
}

/// Why a thing is taken to be the platform's, if it is.
fn because(marks: &Marks, thing: &Thing) -> Option<String> {
    let here = || {
        marks
            .landmarks
            .iter()
            .filter(|landmark| landmark.region == thing.region)
    };
    let network = here().find(|landmark| {
        landmark.kind == LandmarkKind::Network && thing.network.as_ref() == Some(&landmark.id)
    });
    if let Some(network) = network {
        return Some(format!("network {}", network.id));
    }
    if thing.tags.get(TAG_PLATFORM) == Some(&marks.platform) {
        return Some(format!("tag {TAG_PLATFORM}"));
    }
    let cluster = here()
        .filter(|landmark| landmark.kind == LandmarkKind::Cluster)
        .find(|landmark| {
            let named = [
                "elbv2.k8s.aws/cluster",
                "eks:cluster-name",
                "eks:eks-cluster-name",
            ];
            thing
                .tags
                .contains_key(&format!("kubernetes.io/cluster/{}", landmark.id))
                || named.iter().any(|tag| thing.tags.get(*tag) == Some(&landmark.id))
        });
    if let Some(cluster) = cluster {
        return Some(format!("cluster {}", cluster.id));
    }
    (thing.kind == LOG_GROUP)
        .then(|| writes_to(marks, thing.short()))
        .flatten()
}

impl State {
    /// What a thing is used by.
    fn user(&self, id: ThingId, thing: &Thing) -> Option<String> {
        if let Some(of) = thing.of.and_then(|of| self.things.get(&of)) {
            return Some(of.id.clone());
        }
        let mut others = self.things.iter().filter(|(other, _)| **other != id);
        others
            .find(|(_, other)| thing.kind == SECURITY_GROUP && other.groups.contains(&id))
            .map(|(_, other)| other.id.clone())
    }

    fn search(&self, marks: &Marks, now: u64) -> Vec<Found> {
        let mut all = Vec::new();
        let tagged = format!("tag {TAG_PLATFORM}");
        for stack in &self.stacks {
            let ours = stack.tags(now).get(TAG_PLATFORM) == Some(&marks.platform);
            if !ours || !marks.regions.contains(&stack.region) {
                continue;
            }
            let found = |kind: &str, id: &str| Found {
                kind: kind.to_owned(),
                id: id.to_owned(),
                region: stack.region.clone(),
                because: tagged.clone(),
                stack: Some(stack.id.clone()),
                data: None,
                used_by: None,
            };
            let stand = stack.resources.values();
            all.extend(stand.map(|one| found(&one.kind, &one.physical)));
            all.extend(stack.left.iter().map(|one| found(&one.kind, &one.physical)));
        }
        for (id, thing) in &self.things {
            if !marks.regions.contains(&thing.region) {
                continue;
            }
            if let Some(because) = because(marks, thing) {
                all.push(Found {
                    kind: thing.kind.to_owned(),
                    id: thing.id.clone(),
                    region: thing.region.clone(),
                    because,
                    stack: thing.stack.clone(),
                    data: thing.holds_gib.map(|gib| format!("{gib} GiB")),
                    used_by: self.user(*id, thing),
                });
            }
        }
        all.sort();
        all
    }

    /// Refuses removing something that the policies in use do not allow to remove.
    fn allow_sweeping(&self, leftover: &Found) -> Result<(), Trouble> {
        let found = self.things.values().find(|thing| thing.id == leftover.id);
        let (Some(thing), Some((actions, noun))) = (found, removing(&leftover.kind)) else {
            return Ok(());
        };
        let context = Context::default().tagged(&thing.tags);
        let arn = match thing.id.starts_with("arn:") {
            true => thing.id.clone(),
            false => format!(
                "arn:aws:ec2:{}:{}:{noun}/{}",
                thing.region, self.account, thing.id
            ),
        };
        actions
            .iter()
            .try_for_each(|action| self.allow(action, &arn, &context))
    }

    fn sweep(&mut self, leftover: &Found, now: u64) -> Result<Swept, Trouble> {
        let found = self
            .things
            .iter()
            .find(|(_, thing)| thing.id == leftover.id && thing.region == leftover.region);
        let Some((id, thing)) = found.map(|(id, thing)| (*id, thing.clone())) else {
            return Ok(Swept::Gone);
        };
        if thing.kind == INSTANCE {
            if !thing.is_going() {
                let takes = durations::typical_ms(INSTANCE, true).unwrap_or(45_000);
                let takes = self.chance(&["terminates", &thing.id]).about(takes, 20);
                self.linger(id, now + takes);
            }
            self.stir_all(now);
            return Ok(Swept::Gone);
        }
        if thing.kind == SECURITY_GROUP {
            // Rules that mention a group keep it in place: they go first.
            if let Some(thing) = self.things.get_mut(&id) {
                thing.groups.clear();
            }
            let groups = self
                .things
                .values_mut()
                .filter(|other| other.kind == SECURITY_GROUP);
            for other in groups.filter(|other| other.stack.is_none()) {
                other.groups.retain(|one| *one != id);
            }
        }
        if let Some(reason) = self.holds_back(id) {
            return Ok(Swept::NotYet(reason));
        }
        self.take_away(id, now);
        if thing.kind == LOG_GROUP {
            self.log_group_gone(&thing.region, thing.short(), now);
        }
        if thing.kind != INTERFACE {
            self.stir_all(now);
        }
        Ok(Swept::Gone)
    }

    /// The stack something belongs to, by name.
    fn stack_of(&self, found: &Found) -> Option<String> {
        let of_thing = self
            .things
            .values()
            .find(|thing| thing.id == found.id && thing.region == found.region)
            .and_then(|thing| thing.stack.clone());
        let mut stacks = self
            .stacks
            .iter()
            .filter(|stack| !stack.is_gone() && stack.region == found.region);
        stacks
            .find(|stack| {
                of_thing.as_ref() == Some(&stack.id)
                    || stack
                        .resources
                        .values()
                        .any(|one| one.kind == found.kind && one.physical == found.id)
            })
            .map(|stack| stack.name.clone())
    }
}

#[async_trait]
impl Sweeper for SimSweeper {
    async fn marks(&self, platform: &str, owned: &[Owned]) -> Result<Marks, ObserveError> {
        let first = self.world.region();
        self.world
            .call(None, |state, _| {
                let mut regions = vec![first.clone()];
                let mut landmarks = Vec::new();
                for one in owned {
                    if let Some(region) = one.address["region"].as_str() {
                        regions.push(region.to_owned());
                    }
                    if one.kind != StepKind::Stack {
                        continue;
                    }
                    let id = one.address["id"].as_str().unwrap_or_default();
                    let Some(stack) = state.stacks.iter().find(|stack| stack.id == id) else {
                        continue;
                    };
                    if !stack.is_gone() {
                        state.allow("cloudformation:ListStackResources", id, &Context::default())?;
                    }
                    for resource in stack.resources.values() {
                        if let Some(kind) = landmark(&resource.kind) {
                            landmarks.push(Landmark {
                                step: one.step.clone(),
                                kind,
                                id: resource.physical.clone(),
                                region: stack.region.clone(),
                            });
                        }
                    }
                }
                regions.sort();
                regions.dedup();
                landmarks.sort();
                landmarks.dedup();
                Ok(Marks {
                    platform: platform.to_owned(),
                    regions,
                    landmarks,
                })
            })
            .await
            .map_err(|trouble| {
                trouble.observing("could not tell by what the platform's things are recognised")
            })
    }

    async fn search(&self, marks: &Marks) -> Result<Vec<Found>, ObserveError> {
        self.world
            .call(None, |state, now| {
                SEARCHING.iter().try_for_each(|action| state.allow_any(action))?;
                Ok(state.search(marks, now))
            })
            .await
            .map_err(|trouble| trouble.observing("could not search the account"))
    }

    async fn sweep(&self, leftover: &Found, progress: &Progress) -> Result<Swept, ApplyError> {
        let doing = format!("removing {} {}", leftover.kind, leftover.id);
        let (swept, stack) = self
            .world
            .call(Some(progress), |state, now| match state.stack_of(leftover) {
                Some(stack) => Ok((None, Some(stack))),
                None => {
                    state.allow_sweeping(leftover)?;
                    state.sweep(leftover, now).map(|swept| (Some(swept), None))
                }
            })
            .await
            .map_err(|trouble| trouble.failing(&doing))?;
        match (swept, stack) {
            (Some(swept), _) => Ok(swept),
            (None, stack) => Err(Failure::new(format!(
                "{} {} belongs to the stack `{}`",
                leftover.kind,
                leftover.id,
                stack.unwrap_or_default()
            ))
            .way_out("remove the stack; what it holds goes with it")
            .into()),
        }
    }
}
