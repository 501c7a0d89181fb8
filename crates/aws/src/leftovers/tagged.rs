//! What the Resource Groups Tagging API lists: things of every service by tag. It lags behind the services
//! by minutes and goes on listing what was deleted, so what it says is confirmed where that costs one call.

use std::collections::BTreeMap;

use landfall_model::work::TAG_PLATFORM;
use serde_json::{Value, json};

use super::mark::{CLUSTER_KEYS, Mark, cluster_key, is_named};
use super::network::TYPES;
use super::thing::Thing;
use crate::ask::{KEYS, LOGS, Refused, Region, SECRETS, TAGGING, is_gone};

/// Services without regions, whose things the tagging API lists in `us-east-1` only.
pub(super) const GLOBAL: [&str; 3] = ["cloudfront", "iam", "route53"];

/// Everything that carries one of the marks' tags, by ARN.
pub(super) async fn all(
    region: &Region<'_>,
    marks: &[Mark],
    services: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Refused> {
    let mut found = BTreeMap::new();
    for (key, value) in questions(marks) {
        // Filters with different keys must all fit, so each key is a question of its own.
        let mut body = json!({ "TagFilters": [{ "Key": key, "Values": [value] }], "ResourcesPerPage": 100 });
        if !services.is_empty() {
            body["ResourceTypeFilters"] = json!(services);
        }
        for page in region
            .json_pages(TAGGING, "GetResources", body, "PaginationToken")
            .await?
        {
            found.extend(resources(&page));
        }
    }
    Ok(found)
}

fn questions(marks: &[Mark]) -> Vec<(String, String)> {
    let mut questions = Vec::new();
    for mark in marks {
        match mark {
            Mark::Platform(name) => questions.push((TAG_PLATFORM.to_owned(), name.clone())),
            Mark::Cluster(name) => {
                questions.push((cluster_key(name), "owned".to_owned()));
                questions.extend(CLUSTER_KEYS.map(|key| (key.to_owned(), name.clone())));
            }
            Mark::Network(_) | Mark::Name(_) => {}
        }
    }
    questions
}

fn resources(page: &Value) -> Vec<(String, BTreeMap<String, String>)> {
    let list = page["ResourceTagMappingList"].as_array().into_iter().flatten();
    list.filter_map(|one| {
        let tags = one["Tags"].as_array().into_iter().flatten();
        let tags =
            tags.filter_map(|tag| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].as_str()?.to_owned())));
        Some((one["ResourceARN"].as_str()?.to_owned(), tags.collect()))
    })
    .collect()
}

pub(super) const SECRET: &str = "AWS::SecretsManager::Secret";
pub(super) const STACK_SET: &str = "AWS::CloudFormation::StackSet";
pub(super) const LOG_GROUP: &str = "AWS::Logs::LogGroup";

/// The log group with this name, or all below it when it ends with a slash; tags included.
pub(super) async fn log_groups(region: &Region<'_>, wanted: &str) -> Result<Vec<Thing>, Refused> {
    let body = json!({ "logGroupNamePrefix": wanted });
    let mut found = Vec::new();
    for page in region
        .json_pages(LOGS, "DescribeLogGroups", body, "nextToken")
        .await?
    {
        for group in page["logGroups"].as_array().into_iter().flatten() {
            let name = group["logGroupName"].as_str();
            let Some(name) = name.filter(|name| is_named(name, wanted)) else {
                continue;
            };
            found.push(log_group(region, name, group["storedBytes"].as_u64()).await?);
        }
    }
    Ok(found)
}

async fn log_group(region: &Region<'_>, name: &str, bytes: Option<u64>) -> Result<Thing, Refused> {
    let arn = region.arn("logs", &format!("log-group:{name}"));
    let mut thing = Thing::new(LOG_GROUP, name, &arn);
    thing.data = bytes.filter(|bytes| *bytes > 0).map(size);
    let answer = region
        .json(LOGS, "ListTagsForResource", &json!({ "resourceArn": arn }))
        .await;
    match answer {
        Ok(answer) => {
            let tags = answer["tags"].as_object().into_iter().flatten();
            let tags = tags.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            thing.tags = tags.collect();
        }
        Err(refused) if is_gone(&refused.trouble) || region.is_lacking(&refused.trouble) => {}
        Err(refused) => return Err(refused),
    }
    Ok(thing)
}

/// Bytes in the unit people would say.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{} GiB", bytes / 1_073_741_824),
    }
}

/// What becomes of an ARN that the tagging API lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Confirm {
    /// It is a thing of EC2: described with all others of its type.
    Ec2 {
        kind: &'static str,
        id: String,
    },
    /// Load balancers and target groups are all described anyway.
    Described,
    /// The platform's stacks are all listed anyway.
    Stack,
    /// One call tells whether a stack set stands: it goes on being listed, as `DELETED`.
    StackSet(String),
    /// A log group is described by its name.
    LogGroup(String),
    /// One call tells whether it stands.
    Secret,
    Key,
    Cluster(String),
    NodeGroup(String),
    /// There is no cheap way to tell, or none that is the same for all types: it may be gone already.
    /// S3, ECR, DynamoDB, Lambda, IAM and whatever else a template may hold.
    Taken,
}

/// How to confirm an ARN.
pub(super) fn confirm(arn: &str) -> Confirm {
    let (service, resource) = parts(arn);
    let (first, rest) = split(resource);
    match (service, first) {
        ("ec2", first) => match TYPES.iter().find(|kind| kind.arn == first) {
            Some(kind) => Confirm::Ec2 {
                kind: kind.kind,
                id: rest.to_owned(),
            },
            None => Confirm::Taken,
        },
        ("elasticloadbalancing", "loadbalancer" | "targetgroup") => Confirm::Described,
        ("cloudformation", "stack") => Confirm::Stack,
        ("cloudformation", "stackset") => Confirm::StackSet(rest.to_owned()),
        ("logs", "log-group") => Confirm::LogGroup(rest.trim_end_matches(":*").to_owned()),
        ("secretsmanager", "secret") => Confirm::Secret,
        ("kms", "key") => Confirm::Key,
        ("eks", "cluster") => Confirm::Cluster(format!("/clusters/{rest}")),
        ("eks", "nodegroup") => {
            let mut names = rest.split('/');
            let (cluster, group) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            Confirm::NodeGroup(format!("/clusters/{cluster}/node-groups/{group}"))
        }
        _ => Confirm::Taken,
    }
}

/// Whether a listed thing stands, where [`Confirm`] says that one call tells.
pub(super) async fn stands(region: &Region<'_>, arn: &str, how: &Confirm) -> Result<bool, Refused> {
    let answer = match how {
        Confirm::Secret => {
            let asked = json!({ "SecretId": arn });
            region.json(SECRETS, "DescribeSecret", &asked).await
        }
        Confirm::Key => {
            let asked = json!({ "KeyId": arn });
            region.json(KEYS, "DescribeKey", &asked).await
        }
        Confirm::Cluster(path) => {
            let found = region.cluster_thing(path, "DescribeCluster").await?;
            return Ok(found.is_some_and(|found| found["cluster"]["status"] != "DELETING"));
        }
        Confirm::NodeGroup(path) => {
            let found = region.cluster_thing(path, "DescribeNodegroup").await?;
            return Ok(found.is_some_and(|found| found["nodegroup"]["status"] != "DELETING"));
        }
        Confirm::StackSet(id) => {
            let client = region.account.cloudformation(region.name);
            let found = crate::stack_set::is_there(&client, id).await;
            return found.map_err(|trouble| Refused {
                action: "cloudformation:DescribeStackSet".to_owned(),
                trouble,
            });
        }
        _ => return Ok(true),
    };
    match answer {
        Ok(answer) => Ok(!is_going(&answer)),
        Err(refused) if is_gone(&refused.trouble) => Ok(false),
        Err(refused) => Err(refused),
    }
}

/// A secret can be restored for days, a key for weeks, after they were deleted: they are still listed.
fn is_going(answer: &Value) -> bool {
    answer.get("DeletedDate").is_some_and(|date| !date.is_null())
        || answer["KeyMetadata"]["KeyState"]
            .as_str()
            .is_some_and(|state| state.starts_with("Pending") && state.ends_with("Deletion"))
}

/// The service and the resource in an ARN.
fn parts(arn: &str) -> (&str, &str) {
    let mut parts = arn.splitn(6, ':');
    let service = parts.nth(2).unwrap_or_default();
    (service, parts.nth(2).unwrap_or_default())
}

/// A resource's type and its name: `instance/i-1`, `log-group:/a/b`.
fn split(resource: &str) -> (&str, &str) {
    match resource.find([':', '/']) {
        Some(at) => (&resource[..at], &resource[at + 1..]),
        None => ("", resource),
    }
}

/// The name in an ARN, as CloudFormation calls the resource where it does not use the ARN.
pub(super) fn name_of(arn: &str) -> &str {
    let (_, rest) = split(parts(arn).1);
    rest
}

/// An ARN's type in CloudFormation's words; `service:type` where it is not one of those that our templates
/// and controllers make. Source: the resource and property types reference, and the service authorization
/// reference for what ARNs look like.
pub(super) fn kind_of(arn: &str) -> String {
    let (service, resource) = parts(arn);
    let (first, _) = split(resource);
    if let Some(kind) = TYPES.iter().find(|kind| service == "ec2" && kind.arn == first) {
        return kind.kind.to_owned();
    }
    let kind = match (service, first) {
        ("acm", "certificate") => "AWS::CertificateManager::Certificate",
        ("apigateway", _) if resource.starts_with("/apis") => "AWS::ApiGatewayV2::Api",
        ("apigateway", _) if resource.starts_with("/restapis") => "AWS::ApiGateway::RestApi",
        ("aps", "workspace") => "AWS::APS::Workspace",
        ("autoscaling", "autoScalingGroup") => "AWS::AutoScaling::AutoScalingGroup",
        ("cloudformation", "stack") => "AWS::CloudFormation::Stack",
        ("cloudformation", "stackset") => STACK_SET,
        ("cloudfront", "distribution") => "AWS::CloudFront::Distribution",
        ("cloudwatch", "alarm") => "AWS::CloudWatch::Alarm",
        ("codebuild", "project") => "AWS::CodeBuild::Project",
        ("cognito-idp", "userpool") => "AWS::Cognito::UserPool",
        ("dynamodb", "table") => "AWS::DynamoDB::Table",
        ("ecr", "repository") => "AWS::ECR::Repository",
        ("eks", "addon") => "AWS::EKS::Addon",
        ("eks", "cluster") => "AWS::EKS::Cluster",
        ("eks", "nodegroup") => "AWS::EKS::Nodegroup",
        ("elasticfilesystem", "file-system") => "AWS::EFS::FileSystem",
        ("elasticloadbalancing", "loadbalancer") => {
            if resource.matches('/').count() > 1 {
                "AWS::ElasticLoadBalancingV2::LoadBalancer"
            } else {
                "AWS::ElasticLoadBalancing::LoadBalancer"
            }
        }
        ("elasticloadbalancing", "targetgroup") => "AWS::ElasticLoadBalancingV2::TargetGroup",
        ("events", "rule") => "AWS::Events::Rule",
        ("iam", "instance-profile") => "AWS::IAM::InstanceProfile",
        ("iam", "oidc-provider") => "AWS::IAM::OIDCProvider",
        ("iam", "policy") => "AWS::IAM::ManagedPolicy",
        ("iam", "role") => "AWS::IAM::Role",
        ("kms", "key") => "AWS::KMS::Key",
        ("lambda", "function") => "AWS::Lambda::Function",
        ("logs", "log-group") => LOG_GROUP,
        ("rds", "cluster") => "AWS::RDS::DBCluster",
        ("rds", "db") => "AWS::RDS::DBInstance",
        ("route53", "hostedzone") => "AWS::Route53::HostedZone",
        ("s3", "") => "AWS::S3::Bucket",
        ("secretsmanager", "secret") => SECRET,
        ("servicediscovery", "namespace") => "AWS::ServiceDiscovery::HttpNamespace",
        ("servicediscovery", "service") => "AWS::ServiceDiscovery::Service",
        ("sns", "") => "AWS::SNS::Topic",
        ("sqs", "") => "AWS::SQS::Queue",
        ("ssm", "parameter") => "AWS::SSM::Parameter",
        ("states", "stateMachine") => "AWS::StepFunctions::StateMachine",
        _ => return format!("{service}:{first}").trim_end_matches(':').to_owned(),
    };
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_told_in_cloudformations_words() {
        let arns = [
            "arn:aws:ec2:eu-west-1:111122223333:volume/vol-1",
            "arn:aws:ec2:eu-west-1:111122223333:natgateway/nat-1",
            "arn:aws:ec2:eu-west-1:111122223333:vpc-endpoint/vpce-1",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/web/50dc6c495c0c9188",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/a1b2",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/web/73e2d6bc24d8a067",
            "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/eks/acme/cluster",
            "arn:aws:s3:::acme-artifacts",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme-key-AbCdEf",
            "arn:aws:eks:eu-west-1:111122223333:nodegroup/acme/workers/1234",
            "arn:aws:apigateway:eu-west-1::/apis/abc",
            "arn:aws:ec2:eu-west-1:111122223333:capacity-reservation/cr-1",
            "arn:aws:glue:eu-west-1:111122223333:job/nightly",
            "arn:aws:cloudformation:eu-west-1:111122223333:stackset/acme-accounts-all:1b2c",
        ];
        let told: Vec<String> = arns
            .iter()
            .map(|arn| format!("{} {} {:?}", kind_of(arn), name_of(arn), confirm(arn)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_is_deleted_but_still_listed_is_told() {
        assert!(is_going(&json!({ "ARN": "a", "DeletedDate": 1.0 })));
        assert!(!is_going(&json!({ "ARN": "a", "DeletedDate": null })));
        assert!(is_going(
            &json!({ "KeyMetadata": { "KeyState": "PendingDeletion" } })
        ));
        assert!(is_going(
            &json!({ "KeyMetadata": { "KeyState": "PendingReplicaDeletion" } })
        ));
        assert!(!is_going(&json!({ "KeyMetadata": { "KeyState": "Enabled" } })));
    }

    #[test]
    fn sizes_are_told_in_the_unit_people_say() {
        assert_eq!(
            [12, 2048, 5_000_000, 21_474_836_480].map(size),
            ["12 B", "2 KiB", "4 MiB", "20 GiB"]
        );
    }
}
