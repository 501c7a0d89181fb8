//! Networks, clusters and machines that come and go with the resources of stacks, and what keeps them
//! from going.

use crate::cluster::{Cluster, Controller, Status};
use crate::controller::AUTO_MODE;
use crate::fault::Fault;
use crate::stack::Event;
use crate::thing::{ENDPOINT, INSTANCE, INTERFACE, SECURITY_GROUP, TARGET_GROUP, Thing, ThingId};
use crate::world::State;

/// A network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) region: String,
    /// The stack it belongs to, by id.
    pub(crate) stack: String,
    pub(crate) subnets: Vec<String>,
}

/// Types of resources that stand in a network, and keep it from going.
const STAND_IN_NETWORKS: &[&str] = &[
    "AWS::EC2::NatGateway",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::Subnet",
    "AWS::EC2::VPCEndpoint",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
];

/// Types whose names are one account's, or the whole world's, and how AWS says that one is taken.
fn taken(kind: &str, name: &str) -> Option<(String, bool)> {
    Some(match kind {
        "AWS::S3::Bucket" => (
            format!("{name} already exists (Service: S3, Status Code: 0)"),
            false,
        ),
        "AWS::IAM::Role" => (
            format!("Resource of type 'AWS::IAM::Role' with identifier '{name}' already exists."),
            false,
        ),
        "AWS::Logs::LogGroup" => (
            format!("Resource of type 'AWS::Logs::LogGroup' with identifier '{name}' already exists."),
            true,
        ),
        "AWS::EKS::Cluster" => (
            format!("Cluster already exists with name: {name} (Service: Eks, Status Code: 409)"),
            true,
        ),
        _ => return None,
    })
}

/// Whether there is one of it for the whole account, whatever the region.
pub(crate) fn is_of_account(kind: &str) -> bool {
    kind.starts_with("AWS::IAM::") || kind == "AWS::S3::Bucket"
}

impl State {
    /// Why a resource of this type and name cannot be made in a region: the name is taken.
    pub(crate) fn name_taken(&self, kind: &str, name: &str, region: &str) -> Option<String> {
        let (reason, regional) = taken(kind, name)?;
        let here = |other: &str| !regional || other == region;
        let in_stacks = self
            .stacks
            .iter()
            .filter(|stack| here(&stack.region))
            .any(|stack| {
                let mut resources = stack.resources.values();
                resources.any(|one| one.kind == kind && one.physical == name)
                    || stack
                        .left
                        .iter()
                        .any(|one| one.kind == kind && one.physical == name)
            });
        let of_others = || {
            let mut things = self
                .things
                .values()
                .filter(|thing| thing.kind == kind && here(&thing.region));
            things.any(|thing| thing.short() == name)
                || self
                    .others
                    .names
                    .contains_key(&(kind.to_owned(), name.to_owned()))
        };
        (in_stacks || of_others()).then_some(reason)
    }

    /// Why something cannot be removed with its stack, and whether that is said at once or after trying.
    pub(crate) fn in_use(&self, region: &str, event: &Event) -> Option<(String, bool)> {
        let id = event.physical.as_str();
        match event.kind.as_str() {
            "AWS::EC2::VPC" => {
                let mut things = self.things.values();
                let is_used = things
                    .any(|thing| thing.kind != TARGET_GROUP && thing.network.as_deref() == Some(id))
                    || self.others_stand_in(id);
                is_used.then(|| {
                    (
                        format!(
                            "The vpc '{id}' has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400, Request ID: {})",
                            self.chance(&["request", id]).uuid()
                        ),
                        false,
                    )
                })
            }
            "AWS::EC2::Subnet" => {
                let mut things = self.things.values();
                things
                    .any(|thing| thing.kind == INTERFACE && thing.subnet.as_deref() == Some(id))
                    .then(|| {
                        (
                            format!(
                                "The subnet '{id}' has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400, Request ID: {})",
                                self.chance(&["request", id]).uuid()
                            ),
                            false,
                        )
                    })
            }
            "AWS::EKS::Cluster" => {
                let cluster = self.cluster(region, id)?;
                (!cluster.groups.is_empty()).then(|| {
                    (
                        "Cluster has nodegroups attached (Service: Eks, Status Code: 409)".to_owned(),
                        true,
                    )
                })
            }
            _ => None,
        }
    }

    /// Whether another stack than the network's own has something in it.
    fn others_stand_in(&self, network: &str) -> bool {
        let Some(own) = self.networks.iter().find(|one| one.id == network) else {
            return false;
        };
        let stacks = self.stacks.iter().enumerate();
        let mut others = stacks.filter(|(_, stack)| {
            let mut resources = stack.resources.values();
            stack.id != own.stack
                && stack.region == own.region
                && resources.any(|one| STAND_IN_NETWORKS.contains(&one.kind.as_str()))
        });
        others.any(|(place, _)| self.network_of(place).as_deref() == Some(network))
    }

    /// What follows in the world from something that happened in a stack.
    pub(crate) fn happened(&mut self, place: usize, event: &Event) {
        let now = event.at;
        let Some(logical) = &event.resource else {
            if event.status == "CREATE_COMPLETE" {
                self.guard_duty(place, now);
            }
            if matches!(event.status, "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
                let name = self.stacks[place].name.clone();
                let late = self.take_fault(|fault| match fault {
                    Fault::OutputsAppearLate { stack, millis } if *stack == name => Some(*millis),
                    _ => None,
                });
                self.stacks[place].outputs_from = now + late.unwrap_or(0);
            }
            return;
        };
        match (event.kind.as_str(), event.status) {
            ("AWS::EC2::VPC", "CREATE_COMPLETE") => {
                let (region, stack) = (self.stacks[place].region.clone(), self.stacks[place].id.clone());
                self.networks.push(Network {
                    id: event.physical.clone(),
                    region,
                    stack,
                    subnets: Vec::new(),
                });
            }
            ("AWS::IAM::Role", "CREATE_COMPLETE") => {
                let late = self.take_fault(|fault| match fault {
                    Fault::IamVisibleLate { millis } => Some(*millis),
                    _ => None,
                });
                if let Some(millis) = late {
                    self.roles_visible_at = now + millis;
                }
            }
            ("AWS::EC2::VPC", "DELETE_COMPLETE") => self.networks.retain(|one| one.id != event.physical),
            ("AWS::EC2::Subnet", "CREATE_COMPLETE") => {
                if let Some(network) = self.network_of(place)
                    && let Some(network) = self.networks.iter_mut().find(|one| one.id == network)
                {
                    network.subnets.push(event.physical.clone());
                }
            }
            ("AWS::EC2::Subnet", "DELETE_COMPLETE") => {
                for network in &mut self.networks {
                    network.subnets.retain(|subnet| *subnet != event.physical);
                }
            }
            ("AWS::EKS::Cluster", status) => self.cluster_happened(place, &event.physical, status, now),
            // Spot's machines come and go with its cluster there, as those of a group do with the group.
            ("AWS::EKS::Nodegroup" | "Custom::SpotOcean", status) => {
                self.nodes_happened(place, logical, status, now);
            }
            ("AWS::EKS::Addon", "CREATE_COMPLETE" | "DELETE_IN_PROGRESS") => {
                let stack = &self.stacks[place];
                let spec = stack.newest_spec();
                let name = spec.and_then(|spec| spec.property(logical, "AddonName"));
                let cluster = self.cluster_of(place, logical);
                if let (Some(name), Some(at)) = (name, cluster) {
                    self.addon_happened(at, &name, event.status == "CREATE_COMPLETE", now);
                }
            }
            ("AWS::EKS::Capability", "CREATE_COMPLETE" | "DELETE_IN_PROGRESS") => {
                let spec = self.stacks[place].newest_spec();
                let kind = spec.and_then(|spec| spec.property(logical, "Type"));
                // The others are not played here.
                if let (Some("ARGOCD"), Some(at)) = (kind.as_deref(), self.cluster_of(place, logical)) {
                    self.addon_happened(
                        at,
                        Controller::Argo.name(),
                        event.status == "CREATE_COMPLETE",
                        now,
                    );
                }
            }
            _ => {}
        }
    }

    /// An add-on of a cluster runs from now on, or does not any more.
    fn addon_happened(&mut self, at: usize, name: &str, runs: bool, now: u64) {
        if runs {
            self.bring(at, name, now);
        } else {
            self.clusters[at].addons.remove(name);
        }
        let uid = self.clusters[at].uid;
        self.stir(uid, now);
    }

    /// The network a stack is about: its own, the one its parameters name, or the only one of the region.
    fn network_of(&self, place: usize) -> Option<String> {
        let stack = &self.stacks[place];
        let here = || self.networks.iter().filter(|one| one.region == stack.region);
        if let Some(own) = here().find(|one| one.stack == stack.id) {
            return Some(own.id.clone());
        }
        let named = here().find(|one| {
            stack.newest_spec().is_some_and(|spec| {
                spec.values().any(|value| {
                    value.contains(&one.id)
                        || one.subnets.iter().any(|subnet| value.contains(subnet.as_str()))
                })
            })
        });
        let only = || {
            let mut all = here();
            let first = all.next()?;
            all.next().is_none().then_some(first)
        };
        named.or_else(only).map(|one| one.id.clone())
    }

    /// The cluster a resource belongs to: the one its `ClusterName` or the stack's parameters name, the
    /// stack's own, or the only one of the region.
    fn cluster_of(&self, place: usize, logical: &str) -> Option<usize> {
        let stack = &self.stacks[place];
        let here = || {
            let all = self.clusters.iter().enumerate();
            all.filter(|(_, one)| one.region == stack.region)
        };
        let spec = stack.newest_spec();
        let named = spec.and_then(|spec| spec.property(logical, "ClusterName"));
        let named = named.and_then(|name| here().find(|(_, one)| one.name == name));
        let own = || here().find(|(_, one)| one.stack == stack.id);
        let by_parameter =
            || here().find(|(_, one)| spec.is_some_and(|spec| spec.values().any(|value| *value == one.name)));
        let only = || {
            let mut all = here();
            let first = all.next()?;
            all.next().is_none().then_some(first)
        };
        named
            .or_else(own)
            .or_else(by_parameter)
            .or_else(only)
            .map(|(at, _)| at)
    }

    fn cluster_happened(&mut self, place: usize, name: &str, status: &str, now: u64) {
        let region = self.stacks[place].region.clone();
        let stack = self.stacks[place].id.clone();
        let at = self
            .clusters
            .iter()
            .position(|one| one.name == name && one.region == region && one.stack == stack);
        match (status, at) {
            ("CREATE_IN_PROGRESS", None) => {
                if self.name_is_used_by_cluster(name, &region) {
                    return;
                }
                self.cluster_count += 1;
                let tags = self.stacks[place].tags(now).clone();
                let network = self.network_of(place);
                self.clusters.push(Cluster::new(
                    self.cluster_count,
                    (name, &region),
                    network,
                    stack,
                    tags,
                    (self.seed, self.origin, now),
                ));
            }
            ("CREATE_COMPLETE", Some(at)) => {
                self.clusters[at].status = Status::Active;
                let uid = self.clusters[at].uid;
                self.furnish(at, place, now);
                if let Some(network) = self.clusters[at].network.clone() {
                    for number in 0..2 {
                        self.make(Thing {
                            kind: INTERFACE,
                            region: region.clone(),
                            network: Some(network.clone()),
                            maker: "eks",
                            purpose: format!("control plane of {name}, {number}"),
                            stack: Some(stack.clone()),
                            cluster: Some((name.to_owned(), uid)),
                            managed: true,
                            ..Thing::default()
                        });
                    }
                }
                self.stir(uid, now);
            }
            ("DELETE_IN_PROGRESS", Some(at)) => {
                self.clusters[at].status = Status::Deleting;
                if self.clusters[at].addons.contains(AUTO_MODE) {
                    self.end_machines(self.clusters[at].uid, now);
                }
            }
            ("DELETE_FAILED", Some(at)) => {
                self.clusters[at].status = Status::Active;
                let uid = self.clusters[at].uid;
                self.stir(uid, now);
            }
            ("DELETE_COMPLETE", Some(at)) => {
                let uid = self.clusters.remove(at).uid;
                let until = now
                    + self
                        .chance(&["linger", name, &uid.to_string()])
                        .between(5_000, 40_000);
                let own: Vec<ThingId> = self
                    .things
                    .iter()
                    .filter(|(_, thing)| thing.belongs_to(uid) && thing.maker == "eks" && thing.of.is_none())
                    .filter(|(_, thing)| thing.kind == INTERFACE)
                    .map(|(id, _)| *id)
                    .collect();
                for id in own {
                    self.linger(id, until);
                }
            }
            _ => {}
        }
    }

    /// Gives a new cluster what EKS puts into it.
    fn furnish(&mut self, at: usize, place: usize, now: u64) {
        self.define(at, "eks", now);
        let stack = &self.stacks[place];
        let logical = stack
            .resources
            .iter()
            .find(|(_, one)| one.kind == "AWS::EKS::Cluster");
        let (Some(spec), Some((logical, _))) = (stack.newest_spec(), logical) else {
            return;
        };
        if spec.property(logical, "ComputeConfig.Enabled").as_deref() != Some("true") {
            return;
        }
        let pools = spec
            .value(logical, "ComputeConfig.NodePools")
            .cloned()
            .unwrap_or_default();
        let pools = pools.as_array().into_iter().flatten();
        let pools = pools.filter_map(|name| name.as_str().filter(|name| !name.is_empty()).map(str::to_owned));
        let role = spec
            .property(logical, "ComputeConfig.NodeRoleArn")
            .unwrap_or_default();
        self.clusters[at].pools = Some((pools.collect(), role));
        self.bring(at, AUTO_MODE, now);
    }

    /// EKS ends the machines of a cluster that it looked after.
    fn end_machines(&mut self, uid: u64, now: u64) {
        let machines = self
            .things
            .iter()
            .filter(|(_, thing)| thing.kind == INSTANCE && thing.belongs_to(uid));
        let machines: Vec<ThingId> = machines.map(|(id, _)| *id).collect();
        for id in machines {
            let takes = crate::durations::typical_ms(INSTANCE, true).unwrap_or(45_000);
            let until = now
                + self
                    .chance(&["terminates", &self.things[&id].id])
                    .about(takes, 20);
            self.linger(id, until);
        }
    }

    fn name_is_used_by_cluster(&self, name: &str, region: &str) -> bool {
        self.clusters
            .iter()
            .any(|one| one.name == name && one.region == region)
    }

    fn nodes_happened(&mut self, place: usize, logical: &str, status: &str, now: u64) {
        let Some(at) = self.cluster_of(place, logical) else {
            return;
        };
        let stack = self.stacks[place].id.clone();
        let group = format!("{}/{logical}", self.stacks[place].name);
        let event_kind = self.stacks[place]
            .resources
            .get(logical)
            .map(|one| one.kind.clone());
        let event_kind = event_kind.unwrap_or_default();
        let (name, uid) = (self.clusters[at].name.clone(), self.clusters[at].uid);
        let of_group: Vec<ThingId> = self
            .things
            .iter()
            .filter(|(_, thing)| thing.kind == INSTANCE && thing.stack.as_ref() == Some(&stack))
            .filter(|(_, thing)| thing.purpose.starts_with(&group))
            .map(|(id, _)| *id)
            .collect();
        match status {
            // EKS knows nothing of Spot's machines.
            "CREATE_IN_PROGRESS" if event_kind == "AWS::EKS::Nodegroup" => {
                self.clusters[at].groups.insert(group);
            }
            "CREATE_COMPLETE" => {
                let spec = self.stacks[place].newest_spec();
                let wanted = spec
                    .and_then(|spec| {
                        let sizes = ["ScalingConfig.DesiredSize", "DesiredSize"];
                        sizes.iter().find_map(|size| spec.property(logical, size))
                    })
                    .and_then(|size| size.parse::<u64>().ok());
                for number in 0..wanted.unwrap_or(2).clamp(1, 5) {
                    let instance = self.make(Thing {
                        kind: INSTANCE,
                        region: self.clusters[at].region.clone(),
                        network: self.clusters[at].network.clone(),
                        tags: [
                            ("eks:cluster-name".to_owned(), name.clone()),
                            (format!("kubernetes.io/cluster/{name}"), "owned".to_owned()),
                        ]
                        .into(),
                        maker: "eks",
                        purpose: format!("{group}, node {number}"),
                        stack: Some(stack.clone()),
                        cluster: Some((name.clone(), uid)),
                        ready_at: now,
                        ..Thing::default()
                    });
                    self.make_interface(instance, Vec::new(), false);
                }
                self.stir(uid, now);
            }
            "DELETE_IN_PROGRESS" => {
                // Drained: nothing runs on them any more.
                for id in of_group {
                    if let Some(thing) = self.things.get_mut(&id) {
                        thing.ready_at = u64::MAX;
                    }
                }
                self.stir(uid, now);
            }
            "DELETE_COMPLETE" => {
                self.clusters[at].groups.remove(&group);
                for id in of_group {
                    self.take_away(id, now);
                }
                self.stir(uid, now);
            }
            _ => {}
        }
    }

    /// GuardDuty watches a network, when a fault says so: nobody asked for it, and nobody takes it away.
    fn guard_duty(&mut self, place: usize, now: u64) {
        let stack = &self.stacks[place];
        let own = self.networks.iter().find(|one| one.stack == stack.id);
        let Some((network, region)) = own.map(|own| (own.id.clone(), own.region.clone())) else {
            return;
        };
        let name = stack.name.clone();
        let watches = self.take_fault(|fault| match fault {
            Fault::GuardDutyEndpoint { network } if *network == name => Some(()),
            _ => None,
        });
        if watches.is_none() {
            return;
        }
        let tags = [("GuardDutyManaged".to_owned(), "true".to_owned())];
        let thing = |kind: &'static str, purpose: &str| Thing {
            kind,
            region: region.clone(),
            network: Some(network.clone()),
            tags: tags.clone().into(),
            maker: "guardduty",
            purpose: format!("{purpose} of GuardDuty in {network}"),
            ready_at: now,
            ..Thing::default()
        };
        let group = self.make(thing(SECURITY_GROUP, "security group"));
        let endpoint = self.make(thing(ENDPOINT, "endpoint"));
        for _ in 0..2 {
            self.make_interface(endpoint, vec![group], true);
        }
    }
}
