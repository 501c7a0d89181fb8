//! Rules of security groups that mention another group. A group that is mentioned cannot be deleted, and
//! two that mention each other hold each other for good: such rules are revoked first.

use roxmltree::Node;

use super::mark::Mark;
use super::network::{self, GROUP, TYPES};
use super::thing::{Own, Thing, members, text};
use crate::ask::{Parameters, Query, Refused, Region, parameter};

/// A rule of one group that mentions another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Whose rule it is.
    pub(super) group: String,
    egress: bool,
    protocol: String,
    ports: Option<(String, String)>,
    /// The group it mentions, which is one of this account.
    of: String,
}

/// Revokes every rule that mentions `group`, of groups that carry one of the same marks or the platform's
/// tag. Returns who keeps mentioning it, when that is a group of somebody else: then nothing was revoked.
pub(super) async fn revoke(
    region: &Region<'_>,
    group: &Thing,
    marks: &[Mark],
    own: &Own,
) -> Result<Option<String>, Refused> {
    let network = group.network.clone().unwrap_or_default();
    let asked = vec![
        parameter("Filter.1.Name", "vpc-id"),
        parameter("Filter.1.Value.1", network),
    ];
    let pages = region.pages(Query::Ec2, "DescribeSecurityGroups", asked).await?;
    let kind = TYPES.iter().find(|kind| kind.kind == GROUP);
    let kind = kind.expect("the table has security groups");
    let groups: Vec<Thing> = pages
        .iter()
        .flat_map(|page| network::read(region, kind, page))
        .collect();
    // A default group has no entry here: its rules are somebody's, too.
    let is_ours = |id: &str| {
        groups.iter().any(|other| {
            let marked = own
                .platform
                .as_deref()
                .is_some_and(|name| other.platform() == Some(name))
                || marks.iter().any(|mark| mark.is_on(other));
            other.id == id && marked && own.other(other).is_none()
        })
    };
    let mentions: Vec<Mention> = pages.iter().flat_map(|page| mentions(page, &group.id)).collect();
    if let Some(mention) = mentions.iter().find(|mention| !is_ours(&mention.group)) {
        return Ok(Some(mention.group.clone()));
    }
    for mention in &mentions {
        let (action, parameters) = revocation(mention);
        match region.query(Query::Ec2, action, &parameters).await {
            // Someone else was faster.
            Err(refused) if crate::ask::is_gone(&refused.trouble) => {}
            done => drop(done?),
        }
    }
    Ok(None)
}

/// Every rule in an answer that mentions `of`, but for its own.
fn mentions(page: &str, of: &str) -> Vec<Mention> {
    let Ok(document) = roxmltree::Document::parse(page) else {
        return Vec::new();
    };
    let groups = document
        .descendants()
        .filter(|node| node.tag_name().name() == "securityGroupInfo")
        .flat_map(|list| list.children().filter(Node::is_element));
    let mut found = Vec::new();
    for group in groups {
        let id = text(group, "groupId");
        for (list, egress) in [("ipPermissions", false), ("ipPermissionsEgress", true)] {
            for rule in members(group, list) {
                let pairs = members(rule, "groups");
                let pairs = pairs.into_iter().filter(|pair| text(*pair, "groupId") == of);
                found.extend(pairs.filter(|_| id != of).map(|_| {
                    let ports = (text(rule, "fromPort"), text(rule, "toPort"));
                    Mention {
                        group: id.clone(),
                        egress,
                        protocol: text(rule, "ipProtocol"),
                        ports: (!ports.0.is_empty()).then_some(ports),
                        of: of.to_owned(),
                    }
                }));
            }
        }
    }
    found
}

/// The call that takes out this mention and leaves the rest of its rule.
fn revocation(mention: &Mention) -> (&'static str, Parameters) {
    let action = if mention.egress {
        "RevokeSecurityGroupEgress"
    } else {
        "RevokeSecurityGroupIngress"
    };
    let mut parameters = vec![
        parameter("GroupId", mention.group.as_str()),
        parameter("IpPermissions.1.IpProtocol", mention.protocol.as_str()),
    ];
    if let Some((from, to)) = &mention.ports {
        parameters.push(parameter("IpPermissions.1.FromPort", from.as_str()));
        parameters.push(parameter("IpPermissions.1.ToPort", to.as_str()));
    }
    parameters.push(parameter("IpPermissions.1.Groups.1.GroupId", mention.of.as_str()));
    (action, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the API reference of DescribeSecurityGroups has it, with more groups.
    const GROUPS: &str = r#"<DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
      <requestId>1</requestId><securityGroupInfo>
      <item><ownerId>123456789012</ownerId><groupId>sg-nodes</groupId><groupName>nodes</groupName><vpcId>vpc-1</vpcId>
        <ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>80</fromPort><toPort>8080</toPort>
          <groups><item><userId>123456789012</userId><groupId>sg-traffic</groupId></item>
                  <item><userId>123456789012</userId><groupId>sg-nodes</groupId></item></groups>
          <ipRanges><item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item></ipPermissions>
        <ipPermissionsEgress><item><ipProtocol>-1</ipProtocol>
          <groups><item><groupId>sg-traffic</groupId></item></groups></item></ipPermissionsEgress></item>
      <item><groupId>sg-traffic</groupId><groupName>k8s-traffic</groupName><vpcId>vpc-1</vpcId>
        <ipPermissions><item><ipProtocol>-1</ipProtocol>
          <groups><item><groupId>sg-traffic</groupId></item></groups></item></ipPermissions></item>
      </securityGroupInfo></DescribeSecurityGroupsResponse>"#;

    #[test]
    fn only_what_others_say_of_a_group_is_revoked() {
        let calls: Vec<String> = mentions(GROUPS, "sg-traffic")
            .iter()
            .map(|mention| {
                let (action, parameters) = revocation(mention);
                let parameters: Vec<String> = parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!("{action} {}", parameters.join(" "))
            })
            .collect();
        insta::assert_snapshot!(calls.join("\n"), @r"
        RevokeSecurityGroupIngress GroupId=sg-nodes IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=80 IpPermissions.1.ToPort=8080 IpPermissions.1.Groups.1.GroupId=sg-traffic
        RevokeSecurityGroupEgress GroupId=sg-nodes IpPermissions.1.IpProtocol=-1 IpPermissions.1.Groups.1.GroupId=sg-traffic
        ");
        assert_eq!(mentions(GROUPS, "sg-nodes"), []);
    }
}
