//! Address ranges: networks that overlap, subnets outside their network or over each other.

use ipnet::Ipv4Net;
use landfall_cloudformation::is_unknown;
use landfall_cloudformation::resolve::refers_to;
use landfall_model::finding::{Finding, Weight};

use crate::thing::Thing;

/// A network to come, with the ranges that are known.
pub(crate) struct Network<'a> {
    pub(crate) thing: &'a Thing,
    pub(crate) ranges: Vec<Ipv4Net>,
}

/// Judges every range among the resources to come.
pub(crate) fn judge(things: &[Thing], found: &mut Vec<Finding>) {
    for thing in things {
        if let Some((what, text)) = written(thing) {
            found.extend(malformed(thing, what, text));
        }
    }
    let networks = networks(things);
    overlapping(&networks, things, found);
    let subnets: Vec<(&Thing, Ipv4Net)> = things
        .iter()
        .filter(|thing| thing.kind == "AWS::EC2::Subnet")
        .filter_map(|thing| Some((thing, range(thing.text("CidrBlock")?)?)))
        .collect();
    for (subnet, inner) in &subnets {
        found.extend(outside(subnet, *inner, &networks, things));
    }
    for (at, (subnet, range)) in subnets.iter().enumerate() {
        let network = &subnet.properties["VpcId"];
        // Two networks that are both unknown look the same.
        let is_told = !is_unknown(network) || refers_to(network).is_some();
        let same_network =
            |other: &Thing| is_told && other.step == subnet.step && other.properties["VpcId"] == *network;
        let overlapped = subnets[..at]
            .iter()
            .find(|(other, taken)| same_network(other) && overlap(*taken, *range));
        if let Some((other, taken)) = overlapped {
            found.push(subnet.finding_beside(
                other,
                Weight::Refuses,
                format!("the subnet {range} overlaps {taken} of `{}`", other.id),
                "give each subnet a range of its own; `cidrSubnet` counts them off",
            ));
        }
    }
    for cluster in things.iter().filter(|thing| thing.kind == "AWS::EKS::Cluster") {
        found.extend(services(cluster, &networks));
    }
}

/// The networks to come, with their ranges.
pub(crate) fn networks(things: &[Thing]) -> Vec<Network<'_>> {
    let of = |thing: &Thing| {
        let further = things
            .iter()
            .filter(|other| other.kind == "AWS::EC2::VPCCidrBlock")
            .filter(|other| {
                other
                    .target(&other.properties["VpcId"], things)
                    .is_some_and(|target| (&target.step, &target.id) == (&thing.step, &thing.id))
            });
        std::iter::once(thing)
            .chain(further)
            .filter_map(|thing| range(thing.text("CidrBlock")?))
            .collect()
    };
    things
        .iter()
        .filter(|thing| thing.kind == "AWS::EC2::VPC")
        .map(|thing| Network {
            thing,
            ranges: of(thing),
        })
        .collect()
}

/// Reads a range; what is malformed is told elsewhere.
pub(crate) fn range(text: &str) -> Option<Ipv4Net> {
    text.trim().parse().ok()
}

/// Whether two ranges have addresses in common.
pub(crate) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// The ranges a resource writes down, each with what it is.
fn written(thing: &Thing) -> Option<(&'static str, &str)> {
    let what = match thing.kind.as_str() {
        "AWS::EC2::VPC" | "AWS::EC2::VPCCidrBlock" => "network",
        "AWS::EC2::Subnet" => "subnet",
        _ => return None,
    };
    Some((what, thing.text("CidrBlock")?))
}

/// What AWS refuses of a single range. It takes networks and subnets of /16 to /28 (source: Amazon VPC user
/// guide, "VPC CIDR blocks").
fn malformed(thing: &Thing, what: &str, text: &str) -> Option<Finding> {
    let Some(range) = range(text) else {
        return Some(thing.finding(
            Weight::Refuses,
            format!("`{text}` is no range of addresses"),
            "write it as in 10.0.0.0/16",
        ));
    };
    let length = range.prefix_len();
    if !(16..=28).contains(&length) {
        return Some(thing.finding(
            Weight::Refuses,
            format!("{range} is a /{length}, and AWS makes a {what} of /16 to /28 only"),
            "choose a prefix between /16 and /28",
        ));
    }
    (range != range.trunc()).then(|| {
        thing.finding(
            Weight::Warns,
            format!(
                "{range} does not begin where its prefix says; AWS takes {} for it",
                range.trunc()
            ),
            format!("write {}", range.trunc()),
        )
    })
}

/// Networks of one platform that overlap. Nothing fails while they stay apart, but they can never be joined;
/// where the platform joins them itself, that fails.
fn overlapping(networks: &[Network<'_>], things: &[Thing], found: &mut Vec<Finding>) {
    for (at, network) in networks.iter().enumerate() {
        for other in &networks[..at] {
            let pair = network.ranges.iter().find_map(|range| {
                let taken = other.ranges.iter().find(|taken| overlap(**taken, *range))?;
                Some((*range, *taken))
            });
            let Some((range, taken)) = pair else { continue };
            let (weight, then) = if joined(network.thing, other.thing, things) {
                (Weight::Refuses, "and the platform connects them, which fails")
            } else {
                (Weight::Warns, "so they can never be connected")
            };
            found.push(network.thing.finding_beside(
                other.thing,
                weight,
                format!(
                    "{range} overlaps {taken} of `{}` in {}, {then}",
                    other.thing.id, other.thing.step
                ),
                "give each network a range of its own",
            ));
        }
    }
}

fn joined(a: &Thing, b: &Thing, things: &[Thing]) -> bool {
    let is = |thing: Option<&Thing>, wanted: &Thing| {
        thing.is_some_and(|thing| (&thing.step, &thing.id) == (&wanted.step, &wanted.id))
    };
    things
        .iter()
        .filter(|thing| thing.kind == "AWS::EC2::VPCPeeringConnection")
        .any(|peering| {
            let one = peering.target(&peering.properties["VpcId"], things);
            let other = peering.target(&peering.properties["PeerVpcId"], things);
            is(one, a) && is(other, b) || is(one, b) && is(other, a)
        })
}

fn outside(subnet: &Thing, inner: Ipv4Net, networks: &[Network<'_>], things: &[Thing]) -> Option<Finding> {
    let target = subnet.target(&subnet.properties["VpcId"], things)?;
    let network = networks
        .iter()
        .find(|network| (&network.thing.step, &network.thing.id) == (&target.step, &target.id))?;
    if network.ranges.is_empty() || network.ranges.iter().any(|outer| outer.contains(&inner)) {
        return None;
    }
    let ranges: Vec<String> = network.ranges.iter().map(Ipv4Net::to_string).collect();
    Some(subnet.finding(
        Weight::Refuses,
        format!(
            "the subnet {inner} is not inside its network `{}` ({})",
            target.id,
            ranges.join(", ")
        ),
        "take its range from the network's; `cidrSubnet` does",
    ))
}

/// The addresses of services must not be in the cluster's own network (source: EKS API reference,
/// `KubernetesNetworkConfigRequest`).
fn services(cluster: &Thing, networks: &[Network<'_>]) -> Option<Finding> {
    let services = range(cluster.properties["KubernetesNetworkConfig"]["ServiceIpv4Cidr"].as_str()?)?;
    // Which network it stands in is not known before there are subnets; more than one is a guess.
    let mut near = networks
        .iter()
        .filter(|network| network.thing.region == cluster.region);
    let (Some(network), None) = (near.next(), near.next()) else {
        return None;
    };
    let taken = network.ranges.iter().find(|taken| overlap(**taken, services))?;
    Some(cluster.finding(
        Weight::Refuses,
        format!(
            "the range of services {services} overlaps {taken} of the network `{}`",
            network.thing.id
        ),
        "choose a range outside the network, or leave it out: EKS chooses one then",
    ))
}
