//! Load balancers of both generations, and target groups. Their lists cannot be filtered by network or tag:
//! all of a region are listed, and their tags asked for.

use std::collections::BTreeMap;

use super::thing::{Holder, Thing, child, members, tags, text};
use crate::ask::{Parameters, Query, Refused, Region, parameter};

pub(super) const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
pub(super) const TARGETS: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
pub(super) const CLASSIC: &str = "AWS::ElasticLoadBalancing::LoadBalancer";

/// How many things may be named when asking for tags.
const AT_ONCE: usize = 20;

/// Every load balancer and target group of a region, with tags.
pub(super) async fn all(region: &Region<'_>) -> Result<Vec<Thing>, Refused> {
    let mut things = Vec::new();
    for page in region
        .pages(Query::Balancers, "DescribeLoadBalancers", Vec::new())
        .await?
    {
        things.extend(balancers(&page));
    }
    for page in region
        .pages(Query::Balancers, "DescribeTargetGroups", Vec::new())
        .await?
    {
        things.extend(target_groups(&page));
    }
    tag(region, Query::Balancers, &mut things).await?;
    let mut classic = Vec::new();
    for page in region
        .pages(Query::ClassicBalancers, "DescribeLoadBalancers", Vec::new())
        .await?
    {
        classic.extend(classic_balancers(&page, |name| {
            region.arn("elasticloadbalancing", &format!("loadbalancer/{name}"))
        }));
    }
    tag(region, Query::ClassicBalancers, &mut classic).await?;
    things.extend(classic);
    Ok(things)
}

/// One of them, as it stands now.
pub(super) async fn one(region: &Region<'_>, kind: &str, arn: &str) -> Result<Option<Thing>, Refused> {
    let name = arn.rsplit('/').next().unwrap_or(arn);
    let (api, action, asked) = match kind {
        BALANCER => (
            Query::Balancers,
            "DescribeLoadBalancers",
            parameter("LoadBalancerArns.member.1", arn),
        ),
        TARGETS => (
            Query::Balancers,
            "DescribeTargetGroups",
            parameter("TargetGroupArns.member.1", arn),
        ),
        _ => (
            Query::ClassicBalancers,
            "DescribeLoadBalancers",
            parameter("LoadBalancerNames.member.1", name),
        ),
    };
    let page = match region.query(api, action, &vec![asked]).await {
        Err(refused) if crate::ask::is_gone(&refused.trouble) => return Ok(None),
        page => page?,
    };
    let mut things = match kind {
        BALANCER => balancers(&page),
        TARGETS => target_groups(&page),
        _ => classic_balancers(&page, |_| arn.to_owned()),
    };
    things.retain(|thing| thing.arn == arn);
    tag(region, api, &mut things).await?;
    Ok(things.pop())
}

async fn tag(region: &Region<'_>, api: Query, things: &mut [Thing]) -> Result<(), Refused> {
    let (asked, told) = match api {
        Query::ClassicBalancers => ("LoadBalancerNames", "LoadBalancerName"),
        _ => ("ResourceArns", "ResourceArn"),
    };
    for some in things.chunks_mut(AT_ONCE) {
        let ids: Parameters = some
            .iter()
            .enumerate()
            .map(|(at, thing)| parameter(format!("{asked}.member.{}", at + 1), thing.id.as_str()))
            .collect();
        // One that went since it was listed makes the whole question fail: then it is asked one by one.
        let pages = match region.query(api, "DescribeTags", &ids).await {
            Ok(page) => vec![page],
            Err(refused) if crate::ask::is_gone(&refused.trouble) => {
                let mut pages = Vec::new();
                for thing in some.iter() {
                    let id = vec![parameter(format!("{asked}.member.1"), thing.id.as_str())];
                    match region.query(api, "DescribeTags", &id).await {
                        Err(refused) if crate::ask::is_gone(&refused.trouble) => {}
                        page => pages.push(page?),
                    }
                }
                pages
            }
            Err(refused) => return Err(refused),
        };
        let mut tags: BTreeMap<String, BTreeMap<String, String>> =
            pages.iter().flat_map(|page| described_tags(page, told)).collect();
        for thing in some {
            thing.tags = tags.remove(&thing.id).unwrap_or_default();
        }
    }
    Ok(())
}

/// Reads every member of the list with this name.
fn list<T>(page: &str, name: &str, read: impl Fn(roxmltree::Node<'_, '_>) -> Option<T>) -> Vec<T> {
    let Ok(document) = roxmltree::Document::parse(page) else {
        return Vec::new();
    };
    let lists = document
        .descendants()
        .filter(|node| node.tag_name().name() == name && node.parent_element().is_some());
    lists
        .flat_map(|list| list.children().filter(roxmltree::Node::is_element))
        .filter_map(read)
        .collect()
}

fn balancers(page: &str) -> Vec<Thing> {
    list(page, "LoadBalancers", |node| {
        let arn = text(node, "LoadBalancerArn");
        let mut thing = Thing::new(BALANCER, &arn, &arn);
        thing.network = Some(text(node, "VpcId"));
        thing.groups = words(node, "SecurityGroups");
        (!arn.is_empty()).then_some(thing)
    })
}

fn target_groups(page: &str) -> Vec<Thing> {
    list(page, "TargetGroups", |node| {
        let arn = text(node, "TargetGroupArn");
        let mut thing = Thing::new(TARGETS, &arn, &arn);
        // Those of Lambda functions are in no network.
        thing.network = Some(text(node, "VpcId")).filter(|id| !id.is_empty());
        let balancer = words(node, "LoadBalancerArns").into_iter().next();
        thing.holder = balancer.map(|arn| {
            let name = arn.split_once(":loadbalancer/").map(|(_, name)| name.to_owned());
            Holder::new("load balancer", name.unwrap_or(arn))
        });
        (!arn.is_empty()).then_some(thing)
    })
}

fn classic_balancers(page: &str, arn: impl Fn(&str) -> String) -> Vec<Thing> {
    list(page, "LoadBalancerDescriptions", |node| {
        let name = text(node, "LoadBalancerName");
        let mut thing = Thing::new(CLASSIC, &name, &arn(&name));
        thing.network = Some(text(node, "VPCId"));
        thing.groups = words(node, "SecurityGroups");
        (!name.is_empty()).then_some(thing)
    })
}

fn words(node: roxmltree::Node<'_, '_>, name: &str) -> Vec<String> {
    members(node, name)
        .into_iter()
        .filter_map(|member| member.text())
        .map(str::to_owned)
        .collect()
}

fn described_tags(page: &str, id: &str) -> Vec<(String, BTreeMap<String, String>)> {
    list(page, "TagDescriptions", |node| {
        child(node, id)?;
        Some((text(node, id), tags(node, "Tags", "Key", "Value")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the API reference of DescribeLoadBalancers, DescribeTargetGroups and DescribeTags has them.
    const BALANCERS: &str = r#"<DescribeLoadBalancersResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
      <DescribeLoadBalancersResult><LoadBalancers><member>
        <LoadBalancerArn>arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/my-load-balancer/50dc6c495c0c9188</LoadBalancerArn>
        <Scheme>internet-facing</Scheme><LoadBalancerName>my-load-balancer</LoadBalancerName><VpcId>vpc-3ac0fb5f</VpcId>
        <State><Code>active</Code></State><Type>application</Type>
        <SecurityGroups><member>sg-5943793c</member></SecurityGroups></member></LoadBalancers></DescribeLoadBalancersResult></DescribeLoadBalancersResponse>"#;
    const GROUPS: &str = r#"<DescribeTargetGroupsResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
      <DescribeTargetGroupsResult><TargetGroups><member>
        <TargetGroupArn>arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067</TargetGroupArn>
        <VpcId>vpc-3ac0fb5f</VpcId><LoadBalancerArns><member>arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/my-load-balancer/50dc6c495c0c9188</member></LoadBalancerArns>
      </member></TargetGroups></DescribeTargetGroupsResult></DescribeTargetGroupsResponse>"#;
    const CLASSICS: &str = r#"<DescribeLoadBalancersResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/">
      <DescribeLoadBalancersResult><LoadBalancerDescriptions><member><SecurityGroups/><LoadBalancerName>a1b2</LoadBalancerName>
        <VPCId>vpc-1</VPCId><ListenerDescriptions><member><Listener/></member></ListenerDescriptions></member></LoadBalancerDescriptions>
      </DescribeLoadBalancersResult></DescribeLoadBalancersResponse>"#;

    #[test]
    fn a_target_group_is_held_by_its_balancer() {
        let balancers = balancers(BALANCERS);
        let groups = target_groups(GROUPS);
        assert_eq!((balancers.len(), groups.len()), (1, 1));
        let holder = groups[0].holder.as_ref().unwrap();
        assert!(holder.is(&balancers[0]));
        assert_eq!(
            holder.words(),
            "load balancer app/my-load-balancer/50dc6c495c0c9188"
        );
        assert_eq!(balancers[0].network.as_deref(), Some("vpc-3ac0fb5f"));
        assert_eq!(balancers[0].groups, ["sg-5943793c"]);
    }

    #[test]
    fn both_generations_are_told_apart() {
        // ministack answers a question about classic ones with those of the other generation.
        assert_eq!(classic_balancers(BALANCERS, str::to_owned), []);
        let found = classic_balancers(CLASSICS, |name| format!("loadbalancer/{name}"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].network.as_deref(), Some("vpc-1"));
    }

    #[test]
    fn tags_are_read_for_each() {
        let page = "<R><DescribeTagsResult><TagDescriptions><member><ResourceArn>arn:1</ResourceArn><Tags><member>\
                    <Key>elbv2.k8s.aws/cluster</Key><Value>acme</Value></member></Tags></member>\
                    <member><ResourceArn>arn:2</ResourceArn><Tags/></member></TagDescriptions></DescribeTagsResult></R>";
        let found = described_tags(page, "ResourceArn");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1["elbv2.k8s.aws/cluster"], "acme");
    }
}
