//! Removing one leftover: look again, be sure that it is still the platform's, delete it.

use landfall_model::leftover::{Found, Swept};
use landfall_runner::{ApplyError, Progress};
use serde_json::json;

use super::balancers::{self, BALANCER, CLASSIC, TARGETS};
use super::held;
use super::mark::Mark;
use super::network::{self, GROUP, INTERFACE, TYPES};
use super::rules;
use super::tagged::{self, LOG_GROUP, name_of};
use super::thing::{Holder, Own, Thing, child, text};
use crate::ask::{LOGS, Parameters, Query, Refused, Region, is_gone, parameter};
use crate::trouble::Trouble;

/// Removes a leftover, or says why not. `own` is whose things were searched for, when anybody searched.
pub(super) async fn sweep(
    region: &Region<'_>,
    own: Own,
    leftover: &Found,
    progress: &Progress,
) -> Result<Swept, ApplyError> {
    let Found { kind, id, .. } = leftover;
    let doing = format!("removing the leftover {id}");
    if let Some(stack) = &leftover.stack {
        return Err(ApplyError::failed(format!(
            "{doing}: it belongs to the stack {stack} and goes with it"
        )));
    }
    let Some(marks) = Mark::read(&leftover.because) else {
        return Err(ApplyError::failed(format!(
            "{doing}: nothing tells why it should be the platform's (`{}`)",
            leftover.because
        )));
    };
    if !is_swept(kind) {
        return Ok(Swept::Never(by_hand(kind, id)));
    }
    let own = with_marks(own, &marks);
    let thing = match look(region, kind, id).await {
        Ok(Some(thing)) => thing,
        Ok(None) => return Ok(Swept::Gone),
        Err(refused) => return not_looked(refused, &doing),
    };
    if let Some(swept) = kept(&thing, &marks, &own) {
        return Ok(swept);
    }
    progress.say(format!("deleting {kind} {}", name_of(id)));
    match delete(region, &thing, &marks, &own).await {
        Ok(swept) => Ok(swept),
        Err(refused) => outcome(refused, &doing),
    }
}

/// Whose things they are, as far as the marks tell that a leftover was found by: those were compared with
/// what the platform has.
fn with_marks(mut own: Own, marks: &[Mark]) -> Own {
    for mark in marks {
        match mark {
            Mark::Platform(name) => own.platform = Some(name.clone()),
            Mark::Cluster(name) => own.clusters.push(name.clone()),
            Mark::Network(_) | Mark::Name(_) => {}
        }
    }
    own
}

/// Whether things of a type are deleted here at all.
fn is_swept(kind: &str) -> bool {
    matches!(kind, BALANCER | TARGETS | CLASSIC | LOG_GROUP) || deletion(kind).is_some()
}

/// A thing as it stands now.
async fn look(region: &Region<'_>, kind: &str, arn: &str) -> Result<Option<Thing>, Refused> {
    if let Some(known) = TYPES.iter().find(|known| known.kind == kind) {
        return network::one(region, known, name_of(arn)).await;
    }
    if kind == LOG_GROUP {
        let name = name_of(arn);
        let found = tagged::log_groups(region, name).await?;
        return Ok(found.into_iter().find(|thing| thing.id == name));
    }
    balancers::one(region, kind, arn).await
}

/// What only a person removes, and how.
fn by_hand(kind: &str, id: &str) -> String {
    let command = match kind {
        "AWS::EC2::Snapshot" => format!("aws ec2 delete-snapshot --snapshot-id {}", name_of(id)),
        "AWS::EC2::EIP" => format!("aws ec2 release-address --allocation-id {}", name_of(id)),
        "AWS::S3::Bucket" => format!("aws s3 rb --force s3://{}", id.rsplit(':').next().unwrap_or(id)),
        "AWS::SecretsManager::Secret" => format!("aws secretsmanager delete-secret --secret-id {id}"),
        "AWS::AutoScaling::AutoScalingGroup" => format!(
            "aws autoscaling delete-auto-scaling-group --force-delete --auto-scaling-group-name {}",
            id.rsplit('/').next().unwrap_or(id)
        ),
        _ => {
            return format!(
                "Landfall does not remove things of type {kind}; delete {id} in the console or with the AWS CLI"
            );
        }
    };
    format!("Landfall does not remove things of type {kind}; if it is to go: {command}")
}

/// Why a thing that was found must not be deleted now.
fn kept(thing: &Thing, marks: &[Mark], own: &Own) -> Option<Swept> {
    if let Some(stack) = thing.stack() {
        return Some(Swept::NotYet(format!("it belongs to the stack {stack}")));
    }
    if let Some(mark) = marks.iter().find(|mark| !mark.is_on(thing)) {
        return Some(Swept::NotYet(format!(
            "it no longer carries the mark it was found by ({mark}); left alone"
        )));
    }
    if let Some(other) = own.other(thing) {
        let other = other.words();
        return Some(Swept::Never(format!("it belongs to {other}; left alone")));
    }
    // Of a target group AWS knows better: its list of load balancers is behind while one goes.
    let asked = thing.holder.as_ref().filter(|_| thing.kind != TARGETS);
    asked.map(|holder| Swept::NotYet(in_use(holder)))
}

fn in_use(holder: &Holder) -> String {
    format!("in use by {}", holder.words())
}

/// The EC2 action that deletes a type, and the parameter with its id.
fn deletion(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "AWS::EC2::Instance" => Some(("TerminateInstances", "InstanceId.1")),
        "AWS::EC2::NatGateway" => Some(("DeleteNatGateway", "NatGatewayId")),
        "AWS::EC2::VPCEndpoint" => Some(("DeleteVpcEndpoints", "VpcEndpointId.1")),
        INTERFACE => Some(("DeleteNetworkInterface", "NetworkInterfaceId")),
        GROUP => Some(("DeleteSecurityGroup", "GroupId")),
        "AWS::EC2::Volume" => Some(("DeleteVolume", "VolumeId")),
        "AWS::EC2::LaunchTemplate" => Some(("DeleteLaunchTemplate", "LaunchTemplateId")),
        _ => None,
    }
}

async fn delete(region: &Region<'_>, thing: &Thing, marks: &[Mark], own: &Own) -> Result<Swept, Refused> {
    if let Some(holder) = held::by_cluster(region, thing).await? {
        return Ok(Swept::NotYet(in_use(&holder)));
    }
    let arn = |name: &str| -> Parameters { vec![parameter(name, thing.id.as_str())] };
    match thing.kind.as_str() {
        BALANCER => {
            let asked = arn("LoadBalancerArn");
            region
                .query(Query::Balancers, "DeleteLoadBalancer", &asked)
                .await?;
        }
        TARGETS => {
            let asked = arn("TargetGroupArn");
            region
                .query(Query::Balancers, "DeleteTargetGroup", &asked)
                .await?;
        }
        CLASSIC => {
            let asked = arn("LoadBalancerName");
            region
                .query(Query::ClassicBalancers, "DeleteLoadBalancer", &asked)
                .await?;
        }
        LOG_GROUP => {
            let asked = json!({ "logGroupName": thing.id });
            region.json(LOGS, "DeleteLogGroup", &asked).await?;
        }
        kind => {
            if kind == GROUP
                && let Some(swept) = group_is_held(region, thing, marks, own).await?
            {
                return Ok(swept);
            }
            let (action, id) = deletion(kind).expect("only what can be deleted was looked at");
            let answer = region.query(Query::Ec2, action, &arn(id)).await?;
            if let Some(trouble) = unsuccessful(&answer) {
                return Err(Refused {
                    action: format!("ec2:{action}"),
                    trouble,
                });
            }
        }
    }
    Ok(Swept::Gone)
}

/// What holds a security group. When nothing does, the rules that mention it are gone afterwards.
async fn group_is_held(
    region: &Region<'_>,
    group: &Thing,
    marks: &[Mark],
    own: &Own,
) -> Result<Option<Swept>, Refused> {
    // Before any rule goes: a group that is still worn goes on doing its work.
    if let Some(interface) = network::wearer(region, &group.id).await? {
        return Ok(Some(Swept::NotYet(format!("in use by interface {interface}"))));
    }
    let other = rules::revoke(region, group, marks, own).await?;
    Ok(other.map(|other| {
        Swept::Never(format!(
            "a rule of {other}, which is not the platform's, mentions it; revoke that rule by hand"
        ))
    }))
}

/// The trouble inside an answer with a good status: endpoints are deleted in numbers, and each can fail.
fn unsuccessful(answer: &str) -> Option<Trouble> {
    let document = roxmltree::Document::parse(answer).ok()?;
    let list = document
        .descendants()
        .find(|node| node.tag_name().name() == "unsuccessful")?;
    let error = child(child(list, "item")?, "error")?;
    Some(Trouble::of(&text(error, "code"), &text(error, "message")))
}

/// A look that had no good answer.
fn not_looked(refused: Refused, doing: &str) -> Result<Swept, ApplyError> {
    match refused.trouble {
        Trouble::Throttled(message) | Trouble::Unreachable(message) => Ok(Swept::NotYet(message)),
        _ => Err(refused.failing(doing)),
    }
}

/// What a refused deletion means.
fn outcome(refused: Refused, doing: &str) -> Result<Swept, ApplyError> {
    match &refused.trouble {
        trouble if is_gone(trouble) => Ok(Swept::Gone),
        trouble if is_protected(trouble) => Ok(Swept::Never(format!(
            "{trouble}; if it is to go, lift the protection"
        ))),
        trouble if waits(trouble) => Ok(Swept::NotYet(trouble.to_string())),
        _ => not_looked(refused, doing),
    }
}

/// Whether AWS means that somebody protected it from deletion or termination: that is a decision, which is
/// told and not lifted. EC2 and load balancing have no code for it, only words.
fn is_protected(trouble: &Trouble) -> bool {
    let Trouble::Other { message, .. } = trouble else {
        return false;
    };
    let message = message.to_lowercase();
    [
        "deletion protection",
        "termination protection",
        "disableapitermination",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// Whether AWS means "not now": something uses it or is being done to it.
fn waits(trouble: &Trouble) -> bool {
    let Trouble::Other { code, message } = trouble else {
        return false;
    };
    match code.as_str() {
        "DependencyViolation"
        | "ResourceInUse"
        | "ResourceInUseException"
        | "VolumeInUse"
        | "IncorrectState"
        | "IncorrectInstanceState"
        | "OperationNotPermitted"
        | "OperationAborted"
        | "OperationAbortedException" => true,
        // An interface that is attached, in EC2's older words.
        "InvalidParameterValue" => message.contains("in use"),
        code => code.ends_with(".InUse"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> Refused {
        Refused {
            action: "ec2:DeleteVolume".to_owned(),
            trouble: Trouble::of(code, message),
        }
    }

    #[test]
    fn what_is_in_use_is_asked_again_and_what_is_gone_is_gone() {
        for (code, message) in [
            ("DependencyViolation", "resource sg-1 has a dependent object"),
            (
                "ResourceInUse",
                "Target group is currently in use by a listener or a rule",
            ),
            ("VolumeInUse", "Volume vol-1 is currently attached to i-1"),
            ("InvalidNetworkInterface.InUse", "eni-1 is in use"),
            (
                "InvalidParameterValue",
                "Network interface 'eni-1' is currently in use.",
            ),
            ("OperationNotPermitted", "not while it is being changed"),
            ("RequestLimitExceeded", "Request limit exceeded."),
        ] {
            assert!(
                matches!(outcome(refused(code, message), "x"), Ok(Swept::NotYet(_))),
                "{code}"
            );
        }
        for code in ["InvalidVolume.NotFound", "LoadBalancerNotFound"] {
            assert_eq!(outcome(refused(code, ""), "x"), Ok(Swept::Gone), "{code}");
        }
        for code in ["UnauthorizedOperation", "InvalidParameterValue", "ExpiredToken"] {
            assert!(outcome(refused(code, "no"), "x").is_err(), "{code}");
        }
    }

    #[test]
    fn an_endpoint_that_fails_alone_is_not_taken_for_deleted() {
        // As the API reference of DeleteVpcEndpoints has it.
        let answer = "<DeleteVpcEndpointsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><unsuccessful><item><error>\
                      <code>InvalidVpcEndpointId.NotFound</code><message>The Vpc Endpoint Id 'vpce-1' does not exist</message>\
                      </error><resourceId>vpce-1</resourceId></item></unsuccessful></DeleteVpcEndpointsResponse>";
        assert!(is_gone(&unsuccessful(answer).unwrap()));
        assert_eq!(unsuccessful("<R><unsuccessful/></R>"), None);
        assert_eq!(unsuccessful("<R><return>true</return></R>"), None);
    }

    #[test]
    fn what_is_protected_waits_for_somebody() {
        for message in [
            "Load balancer 'a' cannot be deleted because deletion protection is enabled",
            "The instance 'i-1' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.",
        ] {
            let swept = outcome(refused("OperationNotPermitted", message), "x");
            assert!(
                matches!(swept, Ok(Swept::Never(why)) if why.contains(message)),
                "{message}"
            );
        }
    }

    fn own(clusters: &[&str]) -> Own {
        Own {
            platform: Some("acme".to_owned()),
            clusters: clusters.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_changed_hands_since_the_search_is_left_alone() {
        let marks = [Mark::Network("vpc-1".into())];
        let why = |thing: &Thing| match kept(thing, &marks, &own(&[])) {
            Some(Swept::NotYet(why)) => format!("not yet: {why}"),
            Some(Swept::Never(why)) => format!("never: {why}"),
            other => format!("{other:?}"),
        };
        let mut thing = Thing::new("AWS::EC2::Volume", "vol-1", "arn");
        let mut told = vec![why(&thing)];
        thing.network = Some("vpc-1".into());
        told.push(why(&thing));
        thing.tags.insert("landfall:platform".into(), "beta".into());
        told.push(why(&thing));
        thing
            .tags
            .insert("aws:cloudformation:stack-id".into(), "stack-1".into());
        told.push(why(&thing));
        insta::assert_snapshot!(told.join("\n"), @r"
        not yet: it no longer carries the mark it was found by (network vpc-1); left alone
        None
        never: it belongs to the platform beta; left alone
        not yet: it belongs to the stack stack-1
        ");
    }

    #[test]
    fn what_another_cluster_has_in_the_network_is_never_removed() {
        let network = Mark::Network("vpc-1".into());
        let swept = |key: &str, value: &str, marks: &[Mark], own: Own| {
            let mut thing = Thing::new(GROUP, "sg-1", "arn");
            thing.network = Some("vpc-1".into());
            thing.tags.insert(key.into(), value.into());
            kept(&thing, marks, &with_marks(own, marks))
        };
        let never = Some(Swept::Never("it belongs to the cluster beta; left alone".into()));
        let by_network = std::slice::from_ref(&network);
        for (key, value) in [
            ("kubernetes.io/cluster/beta", "owned"),
            ("elbv2.k8s.aws/cluster", "beta"),
        ] {
            // Even when nobody searched before.
            assert_eq!(swept(key, value, by_network, Own::default()), never, "{key}");
            assert_eq!(swept(key, value, by_network, own(&["acme-eks"])), never, "{key}");
            assert_eq!(swept(key, value, by_network, own(&["beta"])), None, "{key}");
            let by_cluster = [network.clone(), Mark::Cluster("beta".into())];
            assert_eq!(swept(key, value, &by_cluster, Own::default()), None, "{key}");
        }
        assert_eq!(
            swept("kubernetes.io/cluster/beta", "shared", by_network, own(&[])),
            None
        );
    }

    #[test]
    fn a_log_group_must_still_have_the_very_name() {
        let marks = [Mark::Name("/aws/lambda/acme-job".into())];
        let group = |name: &str| Thing::new(LOG_GROUP, name, "arn");
        assert_eq!(kept(&group("/aws/lambda/acme-job"), &marks, &own(&[])), None);
        assert!(kept(&group("/aws/lambda/acme-job-2"), &marks, &own(&[])).is_some());
        // As an earlier release had it.
        let marks = [Mark::Name("/aws/lambda/acme-".into())];
        assert!(kept(&group("/aws/lambda/acme-job"), &marks, &own(&[])).is_some());
    }
}
