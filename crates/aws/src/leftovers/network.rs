//! What EC2 has: a table of types, and how each is read from its answer.

use roxmltree::Node;

use super::mark::{CLUSTER_KEYS, Mark, cluster_key};
use super::thing::{Holder, Thing, child, members, tags, text};
use crate::ask::{Parameters, Query, Refused, Region, is_gone, parameter};
use landfall_model::work::TAG_PLATFORM;

/// One type of EC2.
pub(super) struct Type {
    /// In CloudFormation's words.
    pub(super) kind: &'static str,
    /// In ARNs.
    pub(super) arn: &'static str,
    /// The action that describes it, and the list in its answer.
    action: &'static str,
    list: &'static str,
    /// Its id's element, and the filter by id. Launch templates have no such filter, and an emulator has none
    /// for endpoints: these are asked for one by one, by their id.
    id: &'static str,
    by_id: &'static str,
    /// How it is searched.
    search: Search,
    /// The rest of it; none when it is as good as gone.
    read: fn(Node<'_, '_>, Thing) -> Option<Thing>,
}

/// How things of a type are searched, beside by what the tagging API says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// By network and by tags.
    Network,
    /// By tags only: it is in no network.
    Tags,
    /// Not at all: it is made by stacks and by people, never by a controller, and goes with its network
    /// or blocks its deletion by name.
    No,
}

/// Sources: EC2 API reference, the answer of each action.
pub(super) const TYPES: [Type; 15] = [
    Type {
        kind: "AWS::EC2::Instance",
        arn: "instance",
        action: "DescribeInstances",
        list: "instancesSet",
        id: "instanceId",
        by_id: "instance-id",
        search: Search::Network,
        read: instance,
    },
    Type {
        kind: "AWS::EC2::NatGateway",
        arn: "natgateway",
        action: "DescribeNatGateways",
        list: "natGatewaySet",
        id: "natGatewayId",
        by_id: "nat-gateway-id",
        search: Search::Network,
        read: nat_gateway,
    },
    Type {
        kind: "AWS::EC2::VPCEndpoint",
        arn: "vpc-endpoint",
        action: "DescribeVpcEndpoints",
        list: "vpcEndpointSet",
        id: "vpcEndpointId",
        by_id: "",
        search: Search::Network,
        read: endpoint,
    },
    Type {
        kind: INTERFACE,
        arn: "network-interface",
        action: "DescribeNetworkInterfaces",
        list: "networkInterfaceSet",
        id: "networkInterfaceId",
        by_id: "network-interface-id",
        search: Search::Network,
        read: interface,
    },
    Type {
        kind: GROUP,
        arn: "security-group",
        action: "DescribeSecurityGroups",
        list: "securityGroupInfo",
        id: "groupId",
        by_id: "group-id",
        search: Search::Network,
        read: group,
    },
    Type {
        kind: "AWS::EC2::Volume",
        arn: "volume",
        action: "DescribeVolumes",
        list: "volumeSet",
        id: "volumeId",
        by_id: "volume-id",
        search: Search::Tags,
        read: volume,
    },
    Type {
        kind: "AWS::EC2::LaunchTemplate",
        arn: "launch-template",
        action: "DescribeLaunchTemplates",
        list: "launchTemplates",
        id: "launchTemplateId",
        by_id: "",
        search: Search::Tags,
        read: plain,
    },
    confirmed(
        "AWS::EC2::VPC",
        "vpc",
        "DescribeVpcs",
        "vpcSet",
        "vpcId",
        "vpc-id",
    ),
    confirmed(
        "AWS::EC2::Subnet",
        "subnet",
        "DescribeSubnets",
        "subnetSet",
        "subnetId",
        "subnet-id",
    ),
    confirmed(
        "AWS::EC2::RouteTable",
        "route-table",
        "DescribeRouteTables",
        "routeTableSet",
        "routeTableId",
        "route-table-id",
    ),
    confirmed(
        "AWS::EC2::InternetGateway",
        "internet-gateway",
        "DescribeInternetGateways",
        "internetGatewaySet",
        "internetGatewayId",
        "internet-gateway-id",
    ),
    confirmed(
        "AWS::EC2::NetworkAcl",
        "network-acl",
        "DescribeNetworkAcls",
        "networkAclSet",
        "networkAclId",
        "network-acl-id",
    ),
    confirmed(
        "AWS::EC2::EIP",
        "elastic-ip",
        "DescribeAddresses",
        "addressesSet",
        "allocationId",
        "allocation-id",
    ),
    confirmed(
        "AWS::EC2::FlowLog",
        "vpc-flow-log",
        "DescribeFlowLogs",
        "flowLogSet",
        "flowLogId",
        "flow-log-id",
    ),
    Type {
        read: snapshot,
        ..confirmed(
            "AWS::EC2::Snapshot",
            "snapshot",
            "DescribeSnapshots",
            "snapshotSet",
            "snapshotId",
            "snapshot-id",
        )
    },
];

pub(super) const INTERFACE: &str = "AWS::EC2::NetworkInterface";
pub(super) const GROUP: &str = "AWS::EC2::SecurityGroup";

/// A type that is only looked at when the tagging API lists it.
const fn confirmed(
    kind: &'static str,
    arn: &'static str,
    action: &'static str,
    list: &'static str,
    id: &'static str,
    by_id: &'static str,
) -> Type {
    Type {
        kind,
        arn,
        action,
        list,
        id,
        by_id,
        search: Search::No,
        read: plain,
    }
}

/// How many ids go into one filter.
const IDS: usize = 100;

/// Everything of a type that could carry one of the marks, and what `listed` names by id.
pub(super) async fn all(
    region: &Region<'_>,
    kind: &Type,
    marks: &[Mark],
    listed: &[String],
) -> Result<Vec<Thing>, Refused> {
    let mut pages = Vec::new();
    for filter in filters(kind, marks) {
        pages.extend(region.pages(Query::Ec2, kind.action, filter).await?);
    }
    let mut things: Vec<Thing> = pages.iter().flat_map(|page| read(region, kind, page)).collect();
    let missing: Vec<&String> = listed
        .iter()
        .filter(|id| !things.iter().any(|thing| thing.id == **id))
        .collect();
    for ids in missing.chunks(IDS) {
        things.extend(by_ids(region, kind, ids).await?);
    }
    things.sort_by(|one, other| one.id.cmp(&other.id));
    things.dedup_by(|one, other| one.id == other.id);
    Ok(things)
}

/// One thing, as it stands now.
pub(super) async fn one(region: &Region<'_>, kind: &Type, id: &str) -> Result<Option<Thing>, Refused> {
    let found = by_ids(region, kind, &[&id.to_owned()]).await?;
    Ok(found.into_iter().find(|thing| thing.id == id))
}

/// An interface that wears a security group.
pub(super) async fn wearer(region: &Region<'_>, group: &str) -> Result<Option<String>, Refused> {
    let kind = TYPES.iter().find(|kind| kind.kind == INTERFACE);
    let kind = kind.expect("the table has interfaces");
    let asked = filter("group-id", std::iter::once(group));
    let pages = region.pages(Query::Ec2, kind.action, asked).await?;
    let interfaces = pages.iter().flat_map(|page| read(region, kind, page));
    let mut wearing = interfaces.filter(|interface| interface.groups.iter().any(|worn| worn == group));
    Ok(wearing.next().map(|interface| interface.id))
}

async fn by_ids(region: &Region<'_>, kind: &Type, ids: &[&String]) -> Result<Vec<Thing>, Refused> {
    // A filter leaves out what is gone, where a list of ids would be refused for it.
    if kind.by_id.is_empty() {
        let name = format!("{}{}.1", kind.id[..1].to_uppercase(), &kind.id[1..]);
        let mut found = Vec::new();
        for id in ids {
            let asked = vec![parameter(name.as_str(), id.as_str())];
            match region.query(Query::Ec2, kind.action, &asked).await {
                Ok(page) => found.extend(read(region, kind, &page)),
                Err(Refused { trouble, .. }) if is_gone(&trouble) => {}
                Err(refused) => return Err(refused),
            }
        }
        return Ok(found);
    }
    let asked = filter(kind.by_id, ids.iter().map(|id| id.as_str()));
    let page = region.query(Query::Ec2, kind.action, &asked).await?;
    Ok(read(region, kind, &page))
}

fn filter<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> Parameters {
    let mut parameters = vec![parameter("Filter.1.Name", name)];
    parameters.extend(
        values
            .enumerate()
            .map(|(at, value)| parameter(format!("Filter.1.Value.{}", at + 1), value)),
    );
    parameters
}

/// The questions that find a type: one per way to search. Values are compared here, so that all keys go
/// into one question, and an emulator that overlooks a filter only answers too much.
fn filters(kind: &Type, marks: &[Mark]) -> Vec<Parameters> {
    if kind.search == Search::No {
        return Vec::new();
    }
    let mut keys: Vec<String> = vec![TAG_PLATFORM.to_owned()];
    let mut networks = Vec::new();
    for mark in marks {
        match mark {
            Mark::Cluster(name) => keys.push(cluster_key(name)),
            Mark::Network(id) => networks.push(id.as_str()),
            Mark::Platform(_) | Mark::Name(_) => {}
        }
    }
    if keys.len() > 1 {
        keys.extend(CLUSTER_KEYS.map(str::to_owned));
    }
    let mut questions = vec![filter("tag-key", keys.iter().map(String::as_str))];
    if kind.search == Search::Network && !networks.is_empty() {
        questions.push(filter("vpc-id", networks.into_iter()));
    }
    for question in &mut questions {
        // The most that every one of these actions takes.
        question.push(parameter("MaxResults", "200"));
    }
    questions
}

/// The things of a type in an answer of this region.
pub(super) fn read(region: &Region<'_>, kind: &Type, page: &str) -> Vec<Thing> {
    things(kind, page, |id| region.arn("ec2", &format!("{}/{id}", kind.arn)))
}

/// The things of a type in an answer.
fn things(kind: &Type, page: &str, arn: impl Fn(&str) -> String) -> Vec<Thing> {
    let Ok(document) = roxmltree::Document::parse(page) else {
        return Vec::new();
    };
    let nodes = document
        .descendants()
        .filter(|node| node.tag_name().name() == kind.list)
        .flat_map(|list| list.children().filter(Node::is_element));
    nodes
        .filter_map(|node| {
            let id = text(node, kind.id);
            if id.is_empty() {
                return None;
            }
            let mut thing = Thing::new(kind.kind, &id, &arn(&id));
            thing.tags = tags(node, "tagSet", "key", "value");
            thing.network = Some(text(node, "vpcId")).filter(|id| !id.is_empty());
            (kind.read)(node, thing)
        })
        .collect()
}

fn plain(_: Node<'_, '_>, thing: Thing) -> Option<Thing> {
    Some(thing)
}

fn instance(node: Node<'_, '_>, mut thing: Thing) -> Option<Thing> {
    let state = child(node, "instanceState").map(|state| text(state, "name"));
    // One that is terminated stays listed for about an hour; one that shuts down needs no more asking.
    if matches!(state.as_deref(), Some("terminated" | "shutting-down")) {
        return None;
    }
    // Terminated, it would be made anew: it goes when its group does.
    let group = thing.tags.get("aws:autoscaling:groupName");
    thing.holder = group.map(|name| Holder::new("auto scaling group", name));
    Some(thing)
}

fn nat_gateway(node: Node<'_, '_>, mut thing: Thing) -> Option<Thing> {
    if matches!(text(node, "state").as_str(), "deleting" | "deleted" | "failed") {
        return None;
    }
    thing.interfaces = members(node, "natGatewayAddressSet")
        .into_iter()
        .map(|address| text(address, "networkInterfaceId"))
        .filter(|id| !id.is_empty())
        .collect();
    Some(thing)
}

fn endpoint(node: Node<'_, '_>, mut thing: Thing) -> Option<Thing> {
    if matches!(
        text(node, "state").to_lowercase().as_str(),
        "deleting" | "deleted"
    ) {
        return None;
    }
    thing.interfaces = members(node, "networkInterfaceIdSet")
        .into_iter()
        .filter_map(|id| id.text())
        .map(str::to_owned)
        .collect();
    // Made by a service such as RDS or a VPC lattice: deleted through it.
    if text(node, "requesterManaged") == "true" {
        thing.holder = Some(Holder::new(
            "the service that requested it:",
            text(node, "serviceName"),
        ));
    }
    Some(thing)
}

fn interface(node: Node<'_, '_>, mut thing: Thing) -> Option<Thing> {
    thing.groups = members(node, "groupSet")
        .into_iter()
        .map(|group| text(group, "groupId"))
        .collect();
    let attachment = child(node, "attachment");
    thing.holder = holder(&Attached {
        kind: &text(node, "interfaceType"),
        description: &text(node, "description"),
        requester_managed: text(node, "requesterManaged") == "true",
        available: text(node, "status") == "available",
        instance: &attachment
            .map(|node| text(node, "instanceId"))
            .unwrap_or_default(),
    });
    Some(thing)
}

/// What an interface tells about who has it.
struct Attached<'a> {
    kind: &'a str,
    description: &'a str,
    requester_managed: bool,
    available: bool,
    instance: &'a str,
}

/// Who has an interface, and so takes it away. None when nobody does and it is to be deleted by itself:
/// what a dead CNI, Lambda or EKS leaves is `available`.
///
/// AWS tells it by type and by the words of the description only. Sources: EC2 API reference,
/// `NetworkInterface.InterfaceType`; EC2 User Guide, "Requester-managed network interfaces"; ELB's and EKS'
/// guides for their descriptions.
fn holder(interface: &Attached<'_>) -> Option<Holder> {
    let words = interface.description;
    let after = |prefix: &str| words.strip_prefix(prefix).map(str::trim);
    let first_word = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let named = after("Interface for NAT Gateway ")
        .map(|id| Holder::new("NAT gateway", first_word(id)))
        .or_else(|| after("VPC Endpoint Interface ").map(|id| Holder::new("VPC endpoint", first_word(id))))
        .or_else(|| after("ELB ").map(|name| Holder::new("load balancer", first_word(name))));
    if named.is_some() {
        return named;
    }
    if interface.available && !interface.requester_managed {
        return None;
    }
    if !interface.instance.is_empty() {
        return Some(Holder::new("instance", interface.instance));
    }
    if let Some(cluster) = after("Amazon EKS ") {
        return Some(Holder::new("EKS cluster", first_word(cluster)));
    }
    let what = match interface.kind {
        "nat_gateway" => "NAT gateway",
        "vpc_endpoint" | "gateway_load_balancer_endpoint" => "VPC endpoint",
        "network_load_balancer" | "load_balancer" | "gateway_load_balancer" => "load balancer",
        "lambda" => "Lambda function",
        "transit_gateway" => "transit gateway",
        "trunk" | "branch" => "instance",
        _ if !words.is_empty() => return Some(Holder::new("AWS:", words)),
        _ => "a service of AWS",
    };
    Some(Holder::new(what, ""))
}

fn group(node: Node<'_, '_>, thing: Thing) -> Option<Thing> {
    // Every network has one; it goes with the network and cannot be deleted.
    (text(node, "groupName") != "default").then_some(thing)
}

fn volume(node: Node<'_, '_>, mut thing: Thing) -> Option<Thing> {
    if matches!(text(node, "status").as_str(), "deleting" | "deleted") {
        return None;
    }
    thing.data = Some(format!("{} GiB", text(node, "size")));
    let attachment = members(node, "attachmentSet").into_iter().next();
    thing.holder = attachment
        .map(|attachment| text(attachment, "instanceId"))
        .filter(|id| !id.is_empty())
        .map(|id| Holder::new("instance", id));
    Some(thing)
}

fn snapshot(node: Node<'_, '_>, mut thing: Thing) -> Option<Thing> {
    thing.data = Some(format!("{} GiB", text(node, "volumeSize")));
    Some(thing)
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
