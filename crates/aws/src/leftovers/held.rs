//! What has the things that were found: a service that made them for something of its own, another
//! platform, a cluster that still stands.

use std::collections::BTreeMap;

use landfall_model::leftover::{LandmarkKind, Marks};
use landfall_model::work::{TAG_COMPONENT, TAG_STEP};

use super::balancers::{BALANCER, CLASSIC};
use super::mark;
use super::network::{GROUP, INTERFACE};
use super::stacks::Holdings;
use super::tagged::{self, Confirm, SECRET, STACK_SET, name_of};
use super::thing::{Holder, Thing};
use crate::ask::{Refused, Region};

/// Says of each thing which stack has it and what holds it, from what was found beside it. Leaves out what
/// goes by itself.
pub(super) fn resolve(
    mut things: Vec<Thing>,
    holdings: &Holdings,
    marks: &Marks,
    region: &str,
) -> Vec<Thing> {
    for thing in &mut things {
        let names = [thing.id.as_str(), thing.arn.as_str(), name_of(&thing.arn)];
        if let Some(stack) = holdings.stack_of(&thing.kind, &names) {
            thing.held_by_stack = Some(stack.clone());
        } else if let Some(step) = own_step(thing) {
            thing.held_by_stack.get_or_insert(step);
        }
    }
    let mut made_for: BTreeMap<String, Holder> = BTreeMap::new();
    for thing in &things {
        let what = match thing.kind.as_str() {
            "AWS::EC2::NatGateway" => "NAT gateway",
            _ => "VPC endpoint",
        };
        let parts = thing.interfaces.iter();
        made_for.extend(parts.map(|id| (id.clone(), Holder::new(what, thing.id.as_str()))));
    }
    for thing in things.iter_mut().filter(|thing| thing.kind == INTERFACE) {
        if let Some(holder) = made_for.remove(&thing.id) {
            thing.holder = Some(holder);
        }
    }
    // What holds an interface may be a stack's: then the interface goes with it.
    let stacks: Vec<Option<String>> = things
        .iter()
        .map(|thing| {
            let holder = thing.holder.as_ref().filter(|_| thing.kind == INTERFACE)?;
            things.iter().find(|other| holder.is(other))?.stack()
        })
        .collect();
    for (thing, stack) in things.iter_mut().zip(stacks) {
        thing.held_by_stack = thing.held_by_stack.take().or(stack);
    }
    // The interfaces of a standing cluster's own go with the cluster, which is a stack's.
    let clusters = marks
        .landmarks
        .iter()
        .filter(|landmark| landmark.kind == LandmarkKind::Cluster && landmark.region == region);
    let clusters: Vec<Holder> = clusters
        .map(|cluster| Holder::new("EKS cluster", cluster.id.as_str()))
        .collect();
    things.retain(|thing| {
        thing.kind != INTERFACE
            || thing
                .holder
                .as_ref()
                .is_none_or(|holder| !clusters.contains(holder))
    });
    let wearers = wearers(&things);
    let own = mark::own(marks, region);
    for thing in &mut things {
        if let Some(other) = own.other(thing) {
            thing.holder = Some(other);
        } else if thing.kind == GROUP {
            thing.holder = wearers.get(&thing.id).cloned();
        }
    }
    things
}

/// The step that keeps a secret or a stack set, in the place of a stack: the step's own removal takes it away.
fn own_step(thing: &Thing) -> Option<String> {
    let component = thing.tags.get(TAG_COMPONENT)?;
    let step = thing.tags.get(TAG_STEP)?;
    [SECRET, STACK_SET]
        .contains(&thing.kind.as_str())
        .then(|| format!("landfall:{component}.{step}"))
}

/// Who wears each security group: a load balancer rather than one of its interfaces, for people's sake.
fn wearers(things: &[Thing]) -> BTreeMap<String, Holder> {
    let mut wearers: BTreeMap<String, Holder> = BTreeMap::new();
    for (kinds, what) in [
        (&[BALANCER, CLASSIC][..], "load balancer"),
        (&[INTERFACE][..], "interface"),
    ] {
        for thing in things.iter().filter(|thing| kinds.contains(&thing.kind.as_str())) {
            let name = match what {
                "interface" => thing.id.as_str(),
                _ => name_of(&thing.arn),
            };
            for group in &thing.groups {
                wearers
                    .entry(group.clone())
                    .or_insert_with(|| Holder::new(what, name));
            }
        }
    }
    wearers
}

/// What of EKS made a thing for itself, by its tags: a node group its launch template (which AWS deletes
/// without a word while the node group still starts machines from it), a cluster its security group.
fn made_by_cluster(thing: &Thing) -> Option<(Holder, Confirm)> {
    let tag = |key: &str| thing.tags.get(key);
    if let (Some(cluster), Some(group)) = (tag("eks:cluster-name"), tag("eks:nodegroup-name")) {
        let path = format!("/clusters/{cluster}/node-groups/{group}");
        return Some((
            Holder::new("node group", group.as_str()),
            Confirm::NodeGroup(path),
        ));
    }
    let cluster = tag("aws:eks:cluster-name")?;
    let path = Confirm::Cluster(format!("/clusters/{cluster}"));
    Some((Holder::new("EKS cluster", cluster.as_str()), path))
}

/// The cluster or node group that still stands and has this thing.
pub(super) async fn by_cluster(region: &Region<'_>, thing: &Thing) -> Result<Option<Holder>, Refused> {
    let Some((holder, confirm)) = made_by_cluster(thing) else {
        return Ok(None);
    };
    let stands = tagged::stands(region, &thing.arn, &confirm).await?;
    Ok(stands.then_some(holder))
}

/// The same for many things, each cluster and node group asked for once.
pub(super) async fn by_clusters(region: &Region<'_>, things: &mut [Thing]) -> Result<(), Refused> {
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    for thing in things.iter_mut().filter(|thing| thing.holder.is_none()) {
        let Some((holder, confirm)) = made_by_cluster(thing) else {
            continue;
        };
        let words = format!("{confirm:?}");
        let stands = match known.get(&words) {
            Some(stands) => *stands,
            None => tagged::stands(region, &thing.arn, &confirm).await?,
        };
        known.insert(words, stands);
        thing.holder = stands.then_some(holder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_model::StepId;
    use landfall_model::leftover::Landmark;

    fn thing(kind: &str, id: &str) -> Thing {
        let mut thing = Thing::new(kind, id, &format!("arn/{id}"));
        thing.network = Some("vpc-1".to_owned());
        thing
    }

    fn interface(id: &str, holder: Option<Holder>) -> Thing {
        Thing {
            holder,
            groups: vec!["sg-worn".to_owned()],
            ..thing(INTERFACE, id)
        }
    }

    fn tagged(mut thing: Thing, key: &str, value: &str) -> Thing {
        thing.tags.insert(key.to_owned(), value.to_owned());
        thing
    }

    #[test]
    fn what_has_an_interface_takes_it_away() {
        let stack = "aws:cloudformation:stack-id";
        let mut endpoint = thing("AWS::EC2::VPCEndpoint", "vpce-free");
        endpoint.interfaces = vec!["eni-endpoint".to_owned()];
        let mut balancer = thing(BALANCER, "balancer");
        balancer.arn = "arn:aws:elasticloadbalancing:r:a:loadbalancer/net/web/1".to_owned();
        let things = vec![
            tagged(thing("AWS::EC2::NatGateway", "nat-stack"), stack, "stack-1"),
            thing("AWS::EC2::Instance", "i-listed"),
            endpoint,
            tagged(balancer, stack, "stack-2"),
            interface("eni-nat", Some(Holder::new("NAT gateway", "nat-stack"))),
            interface("eni-other-nat", Some(Holder::new("NAT gateway", "nat-unknown"))),
            interface("eni-instance", Some(Holder::new("instance", "i-listed"))),
            interface("eni-endpoint", None),
            interface("eni-balancer", Some(Holder::new("load balancer", "net/web/1"))),
            interface("eni-cluster", Some(Holder::new("EKS cluster", "acme-eks"))),
            interface("eni-other-cluster", Some(Holder::new("EKS cluster", "beta"))),
            interface("eni-free", None),
            thing(GROUP, "sg-worn"),
            thing(GROUP, "sg-free"),
            tagged(thing(GROUP, "sg-guest"), "landfall:platform", "beta"),
            tagged(
                thing("AWS::EC2::Instance", "i-own"),
                "eks:eks-cluster-name",
                "acme-eks",
            ),
            tagged(
                thing("AWS::EC2::Instance", "i-neighbour"),
                "eks:eks-cluster-name",
                "beta",
            ),
            tagged(thing(BALANCER, "lb-neighbour"), "elbv2.k8s.aws/cluster", "beta"),
            tagged(
                thing("AWS::EC2::Volume", "vol-neighbour"),
                "kubernetes.io/cluster/beta",
                "owned",
            ),
            tagged(
                thing("AWS::EC2::Volume", "vol-shared"),
                "kubernetes.io/cluster/beta",
                "shared",
            ),
        ];
        let mut holdings = Holdings::default();
        let listed = ("AWS::EC2::Instance".to_owned(), "i-listed".to_owned());
        holdings.resources.insert(listed, "stack-3".to_owned());
        let marks = Marks {
            platform: "acme".to_owned(),
            regions: vec!["r".to_owned()],
            landmarks: vec![Landmark {
                step: StepId::new("cluster", "cluster"),
                kind: LandmarkKind::Cluster,
                id: "acme-eks".to_owned(),
                region: "r".to_owned(),
            }],
        };
        let told: Vec<String> = resolve(things, &holdings, &marks, "r")
            .iter()
            .map(|thing| {
                let holder = thing.holder.as_ref().map_or("nobody".to_owned(), Holder::words);
                let stack = thing.stack().unwrap_or_else(|| "no stack".to_owned());
                format!("{}: {holder}, {stack}", thing.id)
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        nat-stack: nobody, stack-1
        i-listed: nobody, stack-3
        vpce-free: nobody, no stack
        balancer: nobody, stack-2
        eni-nat: NAT gateway nat-stack, stack-1
        eni-other-nat: NAT gateway nat-unknown, no stack
        eni-instance: instance i-listed, stack-3
        eni-endpoint: VPC endpoint vpce-free, no stack
        eni-balancer: load balancer net/web/1, stack-2
        eni-other-cluster: EKS cluster beta, no stack
        eni-free: nobody, no stack
        sg-worn: interface eni-nat, no stack
        sg-free: nobody, no stack
        sg-guest: the platform beta, no stack
        i-own: nobody, no stack
        i-neighbour: the cluster beta, no stack
        lb-neighbour: the cluster beta, no stack
        vol-neighbour: the cluster beta, no stack
        vol-shared: nobody, no stack
        ");
    }

    #[test]
    fn a_secret_of_a_step_is_the_steps_and_nothing_else_is() {
        let of_step = |thing: Thing| {
            let thing = tagged(thing, "landfall:platform", "acme");
            let thing = tagged(thing, "landfall:component", "web");
            tagged(thing, "landfall:step", "key")
        };
        let in_stack = tagged(
            of_step(thing(SECRET, "c")),
            "aws:cloudformation:stack-id",
            "stack-1",
        );
        let things = vec![
            of_step(thing(SECRET, "a")),
            tagged(thing(SECRET, "b"), "landfall:platform", "acme"),
            in_stack,
            of_step(thing("AWS::EC2::Volume", "d")),
        ];
        let marks = Marks {
            platform: "acme".to_owned(),
            ..Marks::default()
        };
        let found = resolve(things, &Holdings::default(), &marks, "r");
        let stacks: Vec<Option<String>> = found.iter().map(Thing::stack).collect();
        let of = |stack: &str| Some(stack.to_owned());
        assert_eq!(stacks, [of("landfall:web.key"), None, of("stack-1"), None]);
    }

    #[test]
    fn what_eks_makes_for_itself_is_told_by_its_tags() {
        let template = thing("AWS::EC2::LaunchTemplate", "lt-1");
        let template = tagged(template, "eks:cluster-name", "acme-eks");
        assert_eq!(made_by_cluster(&template), None);
        let (holder, confirm) = made_by_cluster(&tagged(template, "eks:nodegroup-name", "workers")).unwrap();
        assert_eq!(holder.words(), "node group workers");
        assert_eq!(
            confirm,
            Confirm::NodeGroup("/clusters/acme-eks/node-groups/workers".to_owned())
        );
        let group = tagged(thing(GROUP, "sg-1"), "aws:eks:cluster-name", "acme-eks");
        assert_eq!(made_by_cluster(&group).unwrap().0.words(), "EKS cluster acme-eks");
    }
}
