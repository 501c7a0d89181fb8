//! What carries a platform's marks in an account, and removing what no stack takes away: load balancers,
//! disks, interfaces and logs that controllers made.
//!
//! Nothing of a stack is deleted here, and nothing is deleted that does not carry its mark at that moment.
//! Detaches nothing, lifts no protection and never waits: who calls asks again.

mod balancers;
mod held;
mod mark;
mod network;
mod rules;
mod stacks;
mod sweep;
mod tagged;
mod thing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use landfall_model::definition::StepKind;
use landfall_model::leftover::{Found, Landmark, LandmarkKind, Marks, Swept};
use landfall_model::provider::Owned;
use landfall_runner::{ApplyError, ObserveError, Progress, Sweeper};

use crate::account::Account;
use crate::ask::{Refused, Region};
use crate::leftovers::balancers::{BALANCER, CLASSIC, TARGETS};
use crate::leftovers::mark::Mark;
use crate::leftovers::network::{GROUP, INTERFACE, TYPES};
use crate::leftovers::tagged::{Confirm, GLOBAL, confirm, kind_of, name_of};
use crate::leftovers::thing::{Own, Thing};
use crate::stack::{Address, describe};

/// Searches an account for what is a platform's, and removes what is left over.
pub struct Leftovers {
    account: Arc<Account>,
    /// The marks last read or searched for. A sweep needs them to tell what is the platform's and its
    /// clusters' from what is others'; without them, it lets be what a leftover's own marks do not cover.
    marks: Mutex<Option<Marks>>,
}

impl Leftovers {
    /// Leftovers in this account.
    pub fn new(account: Arc<Account>) -> Leftovers {
        Leftovers {
            account,
            marks: Mutex::default(),
        }
    }

    fn remember(&self, marks: &Marks) {
        *self.marks.lock().expect("nobody panics while holding the marks") = Some(marks.clone());
    }

    /// Whose things were last searched for in a region.
    fn own(&self, region: &str) -> Own {
        let marks = self.marks.lock().expect("nobody panics while holding the marks");
        marks
            .as_ref()
            .map(|marks| mark::own(marks, region))
            .unwrap_or_default()
    }

    async fn landmarks(&self, owned: &Owned) -> Result<Vec<Landmark>, ObserveError> {
        let address = Address::of(owned, self.account.region());
        let doing = format!("could not list what the stack `{}` holds", address.name);
        let client = self.account.cloudformation(address.region);
        let stack = describe(&client, address.id, None).await.map_err(|trouble| {
            let action = "cloudformation:DescribeStacks".to_owned();
            Refused { action, trouble }.observing(&doing)
        })?;
        if stack.is_none() {
            return Ok(Vec::new());
        }
        let resources = stacks::resources(&self.account, address.region, address.id)
            .await
            .map_err(|refused| refused.observing(&doing))?;
        Ok(resources
            .iter()
            .filter_map(|resource| {
                let (kind, id) = landmark(resource.resource_type()?, resource.physical_resource_id()?)?;
                Some(Landmark {
                    step: owned.step.clone(),
                    kind,
                    id,
                    region: address.region.to_owned(),
                })
            })
            .collect())
    }

    /// Everything in one region.
    async fn region(&self, marks: &Marks, name: &str) -> Result<Vec<Found>, ObserveError> {
        let region = Region {
            account: &self.account,
            name,
            patient: true,
        };
        let refused = |what: &str| {
            let doing = format!("could not list {what} in {name}");
            move |refused: Refused| refused.observing(&doing)
        };
        let mut known = mark::of_region(marks, name);
        let holdings = stacks::holdings(&self.account, name, &marks.platform)
            .await
            .map_err(refused("the platform's stacks"))?;
        let tagged = tagged::all(&region, &known, &[])
            .await
            .map_err(refused("what is tagged"))?;

        let mut things = Vec::new();
        for kind in &TYPES {
            let listed: Vec<String> = tagged
                .keys()
                .filter_map(|arn| match confirm(arn) {
                    Confirm::Ec2 { kind: listed, id } if listed == kind.kind => Some(id),
                    _ => None,
                })
                .collect();
            things.extend(
                network::all(&region, kind, &known, &listed)
                    .await
                    .map_err(refused(kind.kind))?,
            );
        }
        things.extend(balancers::all(&region).await.map_err(refused("load balancers"))?);
        let names = mark::log_names(marks, name);
        things.extend(
            self.log_groups(&region, &names, &tagged)
                .await
                .map_err(refused("log groups"))?,
        );
        known.extend(names);
        things.extend(
            self.others(&region, &holdings.stacks, &tagged)
                .await
                .map_err(refused("what is tagged"))?,
        );

        let mut things = held::resolve(things, &holdings, marks, name);
        things.retain(|thing| known.iter().any(|mark| mark.is_on(thing)));
        held::by_clusters(&region, &mut things)
            .await
            .map_err(refused("clusters"))?;
        Ok(things
            .iter()
            .filter_map(|thing| thing.found(&known, name))
            .collect())
    }

    /// Log groups by their names, and those that are tagged.
    async fn log_groups(
        &self,
        region: &Region<'_>,
        names: &[Mark],
        tagged: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<Vec<Thing>, Refused> {
        let mut found = Vec::new();
        for mark in names {
            if let Mark::Name(name) = mark {
                found.extend(tagged::log_groups(region, name).await?);
            }
        }
        for arn in tagged.keys() {
            if let Confirm::LogGroup(name) = confirm(arn)
                && !found.iter().any(|group| group.id == name)
            {
                found.extend(tagged::log_groups(region, &name).await?);
            }
        }
        Ok(found)
    }

    /// What is tagged and is of no type that is described by itself.
    async fn others(
        &self,
        region: &Region<'_>,
        stacks: &[String],
        tagged: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<Vec<Thing>, Refused> {
        let mut found = Vec::new();
        for (arn, tags) in tagged {
            let how = confirm(arn);
            let stack = stacks.contains(arn).then(|| arn.clone());
            let stands = match &how {
                Confirm::Ec2 { .. } | Confirm::Described | Confirm::LogGroup(_) => false,
                Confirm::Stack => stack.is_some(),
                _ => tagged::stands(region, arn, &how).await?,
            };
            if stands {
                let mut thing = Thing::new(&kind_of(arn), name_of(arn), arn);
                thing.tags = tags.clone();
                // A stack is the platform's own way to remove it.
                thing.held_by_stack = stack;
                found.push(thing);
            }
        }
        Ok(found)
    }

    /// What is of no region, when none of the searched ones lists it.
    async fn global(&self, marks: &Marks) -> Result<Vec<Found>, ObserveError> {
        let region = Region {
            account: &self.account,
            name: "us-east-1",
            patient: true,
        };
        let doing = "could not list what is tagged and of no region";
        let known = [Mark::Platform(marks.platform.clone())];
        let tagged = tagged::all(&region, &known, &GLOBAL)
            .await
            .map_err(|refused| refused.observing(doing))?;
        let found = tagged.into_iter().map(|(arn, tags)| {
            let mut thing = Thing::new(&kind_of(&arn), name_of(&arn), &arn);
            thing.tags = tags;
            thing
        });
        Ok(found
            .filter_map(|thing| thing.found(&known, region.name))
            .collect())
    }
}

/// What a stack's resource marks, by its type and physical id.
fn landmark(kind: &str, id: &str) -> Option<(LandmarkKind, String)> {
    let logs = |service: &str| Some((LandmarkKind::Logs, format!("/aws/{service}/{id}")));
    let kind = match kind {
        "AWS::Lambda::Function" => return logs("lambda"),
        "AWS::CodeBuild::Project" => return logs("codebuild"),
        "AWS::EC2::VPC" => LandmarkKind::Network,
        "AWS::EKS::Cluster" => LandmarkKind::Cluster,
        "AWS::EKS::Nodegroup" => LandmarkKind::Nodes,
        _ => return None,
    };
    // CloudFormation calls a node group `cluster/group`.
    let name = id.rsplit('/').next().unwrap_or(id);
    Some((kind, name.to_owned()))
}

/// What uses others before what is used.
fn rank(kind: &str) -> u8 {
    match kind {
        "AWS::EC2::Instance" | BALANCER | CLASSIC => 0,
        TARGETS | "AWS::EC2::VPCEndpoint" | "AWS::EC2::LaunchTemplate" | "AWS::EC2::NatGateway" => 1,
        INTERFACE | "AWS::EC2::Volume" => 2,
        GROUP => 3,
        _ => 4,
    }
}

/// Each thing once, in the order in which they can go: a tag and a network may have found the same one.
fn once(found: Vec<Found>) -> Vec<Found> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Found> = found
        .into_iter()
        .filter(|one| seen.insert(one.id.clone()))
        .collect();
    found.sort_by(|one, other| {
        let place = |found: &Found| rank(&found.kind);
        (place(one), &one.id).cmp(&(place(other), &other.id))
    });
    found
}

#[async_trait]
impl Sweeper for Leftovers {
    async fn marks(&self, platform: &str, owned: &[Owned]) -> Result<Marks, ObserveError> {
        let mut regions = BTreeSet::from([self.account.region().to_owned()]);
        let mut landmarks = BTreeSet::new();
        for owned in owned
            .iter()
            .filter(|owned| owned.kind == StepKind::Stack && !owned.adopted)
        {
            let address = Address::of(owned, self.account.region());
            regions.insert(address.region.to_owned());
            landmarks.extend(self.landmarks(owned).await?);
        }
        let marks = Marks {
            platform: platform.to_owned(),
            regions: regions.into_iter().collect(),
            landmarks: landmarks.into_iter().collect(),
        };
        self.remember(&marks);
        Ok(marks)
    }

    async fn search(&self, marks: &Marks) -> Result<Vec<Found>, ObserveError> {
        self.remember(marks);
        let mut found = Vec::new();
        for region in &marks.regions {
            found.extend(self.region(marks, region).await?);
        }
        // In China and GovCloud things without a region are listed elsewhere; nobody has checked where.
        let global = |region: &String| region == "us-east-1";
        let other_partition = |region: &String| region.starts_with("cn-") || region.starts_with("us-gov-");
        if !marks.regions.iter().any(global) && !marks.regions.iter().any(other_partition) {
            found.extend(self.global(marks).await?);
        }
        Ok(once(found))
    }

    async fn sweep(&self, leftover: &Found, progress: &Progress) -> Result<Swept, ApplyError> {
        let region = Region {
            account: &self.account,
            name: &leftover.region,
            patient: false,
        };
        sweep::sweep(&region, self.own(region.name), leftover, progress).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_group_is_known_by_its_own_name() {
        assert_eq!(
            landmark("AWS::EKS::Nodegroup", "acme-eks/workers"),
            Some((LandmarkKind::Nodes, "workers".to_owned()))
        );
        assert_eq!(
            landmark("AWS::EC2::VPC", "vpc-1"),
            Some((LandmarkKind::Network, "vpc-1".to_owned()))
        );
        assert_eq!(landmark("AWS::S3::Bucket", "acme"), None);
    }

    #[test]
    fn what_writes_logs_marks_its_log_group() {
        for (kind, group) in [
            ("AWS::Lambda::Function", "/aws/lambda/acme-job"),
            ("AWS::CodeBuild::Project", "/aws/codebuild/acme-job"),
        ] {
            let marked = landmark(kind, "acme-job");
            assert_eq!(marked, Some((LandmarkKind::Logs, group.to_owned())));
        }
    }

    #[test]
    fn what_uses_others_comes_before_what_is_used() {
        let kinds = [
            "AWS::S3::Bucket",
            GROUP,
            "AWS::EC2::Volume",
            INTERFACE,
            "AWS::EC2::NatGateway",
            "AWS::EC2::LaunchTemplate",
            "AWS::EC2::VPCEndpoint",
            TARGETS,
            CLASSIC,
            BALANCER,
            "AWS::EC2::Instance",
        ];
        let found = |(at, kind): (usize, &&str)| Found {
            kind: (*kind).to_owned(),
            id: format!("{at:02}"),
            region: "r".to_owned(),
            because: "network vpc-1".to_owned(),
            stack: None,
            data: None,
            used_by: None,
        };
        let mut all: Vec<Found> = kinds.iter().enumerate().map(found).collect();
        all.push(all[3].clone());
        let order: Vec<String> = once(all).into_iter().map(|found| found.id).collect();
        assert_eq!(order.join(" "), "08 09 10 04 05 06 07 02 03 01 00");
    }
}
