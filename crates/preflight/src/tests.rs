//! Sessions: a few templates, a date, everything that is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use indexmap::IndexMap;
use landfall_model::StepId;
use landfall_model::finding::Finding;
use landfall_model::question::{
    Answer, Certificate, Denial, Name, Network, Permission, Question, Seen, Upcoming, Zone,
};
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::Facts;
use landfall_model::work::{Known, ObjectWork, ObjectsWork, StackWork, Step, Work};

use super::*;

const TODAY: &str = "2026-11-21";

fn step(id: &str, region: &str, template: &str) -> Upcoming {
    let (component, name) = id.split_once('.').unwrap();
    Upcoming {
        step: Step {
            id: StepId::new(component, name),
            facts: Facts {
                name: "acme".to_owned(),
                account: "111122223333".to_owned(),
                region: "eu-west-1".to_owned(),
                tags: BTreeMap::new(),
            },
            work: Work::Stack(Box::new(StackWork {
                name: format!("acme-{component}-{name}"),
                region: region.to_owned(),
                template: template.to_owned(),
                interface: TemplateInterface::default(),
                parameters: BTreeMap::new(),
                termination_protection: false,
                empty: Vec::new(),
                existing: None,
                artifact_bucket: None,
            })),
        },
        standing: BTreeSet::new(),
        after_remains: false,
    }
}

fn one(resources: &str) -> Vec<Upcoming> {
    vec![step("a.b", "eu-west-1", &format!("Resources:\n{resources}"))]
}

fn text(found: &[Finding]) -> String {
    let mut text = String::new();
    for finding in found {
        let _ = writeln!(
            text,
            "{} {} {}: {}\n    {}",
            finding.weight.word(),
            finding.step.as_ref().map_or("-", |step| step.as_str()),
            finding.resource.as_deref().unwrap_or("-"),
            finding.what,
            finding.way_out
        );
    }
    text
}

fn found(upcoming: &[Upcoming]) -> String {
    text(&findings(upcoming, TODAY))
}

#[test]
fn objects_whose_values_do_not_fit() {
    let object = |name: &str, body: Known<serde_json::Value>| ObjectWork {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
        body,
    };
    let body = |name: &str, replicas: serde_json::Value| {
        serde_json::json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "shop" },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "web", "image": "nginx:1" }] },
                },
            },
        })
    };
    let mut upcoming = step("a.b", "eu-west-1", "");
    upcoming.step.work = Work::Objects(Box::new(ObjectsWork {
        cluster: Known::Value("acme".to_owned()),
        objects: vec![
            object("right", Known::Value(body("right", 2.into()))),
            object("wrong", Known::Value(body("wrong", "two".into()))),
            object("later", Known::After(BTreeSet::from([StepId::new("a", "first")]))),
        ],
        controls: Vec::new(),
        force: false,
        outputs: IndexMap::new(),
        within_s: 60,
    }));
    insta::assert_snapshot!(found(&[upcoming]), @r"
    refuses a.b -: the Deployment shop/wrong at `spec.replicas`: `replicas` must be a whole number, and is a text
        correct the manifest, or the input its value comes from
    ");
}

#[test]
fn what_has_ended_or_ends_soon() {
    let cluster = |id: &str, version: &str, policy: &str| {
        format!(
            "  {id}: {{ Type: AWS::EKS::Cluster, Properties: {{ Version: '{version}', UpgradePolicy: {{ SupportType: {policy} }} }} }}\n"
        )
    };
    let clusters: String = [
        cluster("LongAgo", "1.24", "EXTENDED"),
        cluster("Ended", "1.30", "EXTENDED"),
        cluster("EndsNow", "1.31", "EXTENDED"),
        cluster("Dear", "1.33", "EXTENDED"),
        cluster("Forced", "1.33", "STANDARD"),
        cluster("Soon", "1.34", "EXTENDED"),
        cluster("SoonForced", "1.34", "STANDARD"),
        cluster("Good", "1.35", "STANDARD"),
        cluster("Tomorrows", "1.42", "STANDARD"),
    ]
    .concat();
    let rest =
        "  Old: { Type: AWS::EKS::Nodegroup, Properties: { ClusterName: !Ref Soon, AmiType: AL2_x86_64 } }
  Unsupported: { Type: AWS::EKS::Nodegroup, Properties: { ClusterName: shop, AmiType: AL2_ARM_64 } }
  New: { Type: AWS::EKS::Nodegroup, Properties: { ClusterName: !Ref Soon, AmiType: AL2023_x86_64_STANDARD } }
  Python37: { Type: AWS::Lambda::Function, Properties: { Runtime: python3.7 } }
  Node18: { Type: AWS::Lambda::Function, Properties: { Runtime: nodejs18.x } }
  Node24: { Type: AWS::Lambda::Function, Properties: { Runtime: nodejs24.x } }
  Cobol: { Type: AWS::Lambda::Function, Properties: { Runtime: cobol85 } }
  Image: { Type: AWS::Lambda::Function, Properties: { PackageType: Image } }
";
    insta::assert_snapshot!(found(&one(&format!("{clusters}{rest}"))));
}

#[test]
fn what_stands_is_judged_more_mildly() {
    let mut upcoming = one(
        "  Cluster: { Type: AWS::EKS::Cluster, Properties: { Version: '1.30' } }
  Nodes: { Type: AWS::EKS::Nodegroup, Properties: { AmiType: AL2_x86_64 } }
  Function: { Type: AWS::Lambda::Function, Properties: { Runtime: nodejs14.x } }
  Bucket: { Type: AWS::S3::Bucket, Properties: { BucketName: LETTERS } }
",
    );
    upcoming[0].standing = ["Cluster", "Nodes", "Function", "Bucket"]
        .map(str::to_owned)
        .into();
    insta::assert_snapshot!(found(&upcoming));
}

#[test]
fn the_day_decides() {
    let upcoming = one("  Cluster: { Type: AWS::EKS::Cluster, Properties: { Version: '1.35' } }\n");
    let weights = [
        "2026-12-26",
        "2026-12-27",
        "2027-03-28",
        "2028-03-28",
        "yesterday",
    ]
    .map(|today| {
        let found = findings(&upcoming, today);
        format!("{today}: {}", text(&found).lines().next().unwrap_or("nothing"))
    });
    insta::assert_snapshot!(weights.join("\n"));
}

#[test]
fn ranges_that_overlap_or_lie_outside() {
    let mut upcoming = one(
        "  Vpc: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.0.0/16 } }
  More: { Type: AWS::EC2::VPCCidrBlock, Properties: { VpcId: !Ref Vpc, CidrBlock: 100.64.0.0/16 } }
  Inside: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/20 } }
  InMore: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 100.64.0.0/20 } }
  Outside: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.2.0.0/20 } }
  Over: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.8.0/21 } }
  Tiny: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.128.0/29 } }
  Wrong: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.0.0/16 } }
  Crooked: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 192.168.7.0/16 } }
",
    );
    upcoming.push(step(
        "c.d",
        "eu-west-1",
        "Resources:
  Joined: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.0.0/20 } }
  Twin: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.0.0/20 } }
  Peering: { Type: AWS::EC2::VPCPeeringConnection, Properties: { VpcId: !Ref Joined, PeerVpcId: !Ref Twin } }
",
    ));
    upcoming.push(step(
        "e.f",
        "eu-north-1",
        "Resources:
  Vpc: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 172.20.0.0/16 } }
  Cluster: { Type: AWS::EKS::Cluster, Properties: { Version: '1.35', KubernetesNetworkConfig: { ServiceIpv4Cidr: 172.20.0.0/20 } } }
",
    ));
    insta::assert_snapshot!(found(&upcoming));
}

#[test]
fn what_works_in_one_region_only() {
    let resources = "  Own: { Type: AWS::CertificateManager::Certificate, Properties: { DomainName: acme.example } }
  OfOwn: { Type: AWS::CloudFront::Distribution, Properties: { DistributionConfig: { ViewerCertificate: { AcmCertificateArn: !Ref Own } } } }
  OfOther: { Type: AWS::CloudFront::Distribution, Properties: { DistributionConfig: { ViewerCertificate: { AcmCertificateArn: 'arn:aws:acm:eu-central-1:111122223333:certificate/1' } } } }
  Right: { Type: AWS::CloudFront::Distribution, Properties: { DistributionConfig: { ViewerCertificate: { AcmCertificateArn: 'arn:aws:acm:us-east-1:111122223333:certificate/1' } } } }
  SignIn: { Type: AWS::Cognito::UserPoolDomain, Properties: { Domain: auth.acme.example, CustomDomainConfig: { CertificateArn: !Ref Own } } }
  Listener: { Type: AWS::ElasticLoadBalancingV2::Listener, Properties: { Certificates: [{ CertificateArn: 'arn:aws:acm:us-east-1:111122223333:certificate/1' }] } }
  Acl: { Type: AWS::WAFv2::WebACL, Properties: { Scope: CLOUDFRONT } }
  Elsewhere: { Type: AWS::CloudFront::Distribution, Properties: { DistributionConfig: { DefaultCacheBehavior: { LambdaFunctionAssociations: [
    { EventType: viewer-request, LambdaFunctionARN: 'arn:aws:lambda:eu-west-1:111122223333:function:auth:3' },
    { EventType: origin-request, LambdaFunctionARN: 'arn:aws:lambda:us-east-1:111122223333:function:auth:live' },
    { EventType: origin-response, LambdaFunctionARN: 'arn:aws:lambda:us-east-1:111122223333:function:auth:7' }] } } } }
";
    insta::assert_snapshot!(found(&one(resources)));
}

const EDGE: &str = "  Role: { Type: AWS::IAM::Role, Properties: { AssumeRolePolicyDocument: { Statement: [{ Effect: Allow, Action: sts:AssumeRole, Principal: { Service: [lambda.amazonaws.com, edgelambda.amazonaws.com] } }] } } }
  Alone: { Type: AWS::Lambda::Function, Properties: { Role: !GetAtt Role.Arn, Runtime: nodejs24.x, MemorySize: 512, Timeout: 31 } }
  Auth: { Type: AWS::Lambda::Function, Properties: { Role: !GetAtt Role.Arn, Runtime: java25, MemorySize: 512, Timeout: 6, Architectures: [arm64],
    Environment: { Variables: { POOL: x } }, Layers: [y], VpcConfig: { SubnetIds: [z] } } }
  Version: { Type: AWS::Lambda::Version, Properties: { FunctionName: !Ref Auth } }
  Web: { Type: AWS::CloudFront::Distribution, Properties: { DistributionConfig: { CacheBehaviors: [{ LambdaFunctionAssociations: [{ EventType: viewer-request, LambdaFunctionARN: !Ref Version }] }] } } }
";

#[test]
fn functions_at_the_edge() {
    insta::assert_snapshot!(found(&[step("a.b", "eu-west-1", &format!("Resources:\n{EDGE}"))]));
}

#[test]
fn names_that_are_refused_or_given_twice() {
    let resources = "  Letters: { Type: AWS::S3::Bucket, Properties: { BucketName: Acme_State } }
  Long: { Type: AWS::S3::Bucket, Properties: { BucketName: acme-state-111122223333-eu-west-1-and-many-more-words-than-there-is-room-for } }
  Address: { Type: AWS::S3::Bucket, Properties: { BucketName: 192.168.0.1 } }
  Kept: { Type: AWS::S3::Bucket, Properties: { BucketName: acme-s3alias } }
  Chosen: { Type: AWS::S3::Bucket }
  Role: { Type: AWS::IAM::Role, Properties: { RoleName: 'acme/portal role' } }
  Repository: { Type: AWS::ECR::Repository, Properties: { RepositoryName: acme/-app } }
  Group: { Type: AWS::Logs::LogGroup, Properties: { LogGroupName: 'aws/acme' } }
  Alias: { Type: AWS::KMS::Alias, Properties: { AliasName: acme } }
  Domain: { Type: AWS::Cognito::UserPoolDomain, Properties: { Domain: my-aws-login } }
  OwnDomain: { Type: AWS::Cognito::UserPoolDomain, Properties: { Domain: login.aws.example } }
  Queue: { Type: AWS::SQS::Queue, Properties: { QueueName: a.b.fifo } }
  Balancer: { Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: { Name: internal-web } }
  Detector: { Type: AWS::GuardDuty::Detector, Properties: { Enable: true } }
  Zone: { Type: AWS::Route53::HostedZone, Properties: { Name: acme.example. } }
  Zone2: { Type: AWS::Route53::HostedZone, Properties: { Name: acme.example } }
";
    let mut upcoming = one(resources);
    upcoming.push(step(
        "c.d",
        "us-east-1",
        "Conditions: { Never: !Equals [a, b] }
Parameters: { Later: { Type: String } }
Resources:
  Role: { Type: AWS::IAM::Role, Properties: { RoleName: acme } }
  Bucket: { Type: AWS::S3::Bucket, Condition: Never, Properties: { BucketName: NO } }
  Waits: { Type: AWS::S3::Bucket, Properties: { BucketName: !Ref Later } }
  Detector: { Type: AWS::GuardDuty::Detector, Properties: { Enable: true } }
",
    ));
    upcoming.push(step(
        "e.f",
        "eu-west-1",
        "Resources:
  Role: { Type: AWS::IAM::Role, Properties: { RoleName: acme } }
  Detector: { Type: AWS::GuardDuty::Detector, Properties: { Enable: true } }
",
    ));
    insta::assert_snapshot!(found(&upcoming));
}

#[test]
fn what_may_not_be_made_is_a_warning() {
    let mut upcoming = vec![step(
        "a.b",
        "eu-west-1",
        "Parameters: { On: { Type: String } }
Conditions: { Wanted: !Equals [!Ref On, 'true'] }
Resources:
  Bucket: { Type: AWS::S3::Bucket, Condition: Wanted, Properties: { BucketName: A } }
",
    )];
    let Work::Stack(stack) = &mut upcoming[0].step.work else {
        panic!("it is a stack");
    };
    let waits = Known::After([StepId::new("x", "y")].into());
    stack.parameters.insert("On".to_owned(), waits);
    insta::assert_snapshot!(found(&upcoming));
}

/// A template that makes one of everything the world is asked about.
const ASKING: &str = "  Vpc: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.0.0/16 } }
  GatewayA: { Type: AWS::EC2::NatGateway }
  GatewayB: { Type: AWS::EC2::NatGateway }
  Role: { Type: AWS::IAM::Role, Properties: { RoleName: acme, ManagedPolicyArns: [a, b, c, d, e, f, g, h, i, j, k] } }
  Bucket: { Type: AWS::S3::Bucket, Properties: { BucketName: acme } }
  Secret: { Type: AWS::SecretsManager::Secret, Properties: { Name: acme } }
  Detector: { Type: AWS::GuardDuty::Detector }
  Zone: { Type: AWS::Route53::HostedZone, Properties: { Name: acme.example } }
  Certificate: { Type: AWS::CertificateManager::Certificate, Properties: { DomainName: a.acme.example, ValidationMethod: DNS, DomainValidationOptions: [{ DomainName: a.acme.example, HostedZoneId: Z1 }] } }
  Record: { Type: AWS::Route53::RecordSet, Properties: { HostedZoneId: Z1, Name: '*.acme.example.' } }
  Elsewhere: { Type: AWS::Route53::RecordSet, Properties: { HostedZoneId: Z1, Name: acme.test } }
  Own: { Type: AWS::Route53::RecordSet, Properties: { HostedZoneId: !Ref Zone, Name: acme.test } }
  Listener: { Type: AWS::ElasticLoadBalancingV2::Listener, Properties: { Certificates: [{ CertificateArn: 'arn:aws:acm:eu-west-1:111122223333:certificate/1' }] } }
";

fn permission(action: &str) -> Permission {
    Permission {
        action: action.to_owned(),
        resource: "*".to_owned(),
    }
}

#[test]
fn the_world_is_asked_each_question_once() {
    let mut upcoming = one(ASKING);
    // The same zone and the same limits once more, and things that stand already.
    upcoming.push(step(
        "c.d",
        "eu-west-1",
        &format!("Resources:\n{}", ASKING.replace("acme,", "other,")),
    ));
    upcoming[1].standing = [
        "Vpc",
        "Role",
        "Bucket",
        "Secret",
        "Detector",
        "Zone",
        "Certificate",
    ]
    .map(str::to_owned)
    .into();
    let asked: Vec<String> = inquiries(&upcoming, [permission("iam:CreateRole")].into())
        .iter()
        .map(|inquiry| match &inquiry.question {
            Question::Permissions { actions } => format!("permissions: {}", actions.len()),
            Question::Quota { quota, region } => {
                let crate::inquiry::Matter::Room(need) = &inquiry.matter else {
                    panic!("a limit is about room");
                };
                format!("limit of {} in {region}, {} needed", quota.name, need.count)
            }
            Question::Networks { region } => format!("networks in {region}"),
            Question::Name { kind, name, region } => format!("name {kind} {name} in {region}"),
            Question::Zone { id } => format!("zone {id}"),
            Question::Certificate { arn } => format!("certificate {arn}"),
        })
        .collect();
    insta::assert_snapshot!(asked.join("\n"));
}

/// Answers every question by `answer`, none where it gives none.
fn judged(upcoming: &[Upcoming], answer: impl Fn(&Question) -> Option<Answer>) -> String {
    let mut found = Vec::new();
    for inquiry in inquiries(
        upcoming,
        [permission("iam:CreateRole"), permission("ec2:CreateVpc")].into(),
    ) {
        match answer(&inquiry.question) {
            Some(answer) => found.extend(inquiry.judge(&answer)),
            None => found.push(inquiry.unanswered("access denied", Some("allow it"))),
        }
    }
    text(&in_order(found))
}

fn network(id: &str, name: Option<&str>, cidr: &str) -> Network {
    Network {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        cidrs: vec![cidr.to_owned()],
        platform: None,
    }
}

fn zone(private: bool, seen: Seen) -> Zone {
    Zone {
        name: "acme.example".to_owned(),
        private,
        servers: vec!["ns-1.awsdns.test.".to_owned(), "ns-2.awsdns.test".to_owned()],
        seen,
    }
}

fn good(question: &Question) -> Answer {
    match question {
        Question::Permissions { .. } => Answer::Permissions {
            principal: "arn:aws:iam::111122223333:role/deployer".to_owned(),
            denied: Vec::new(),
        },
        Question::Quota { .. } => Answer::Quota {
            limit: 20,
            assumed: false,
            used: [("eu-west-1".to_owned(), 3)].into(),
        },
        Question::Networks { .. } => Answer::Networks(vec![network("vpc-1", None, "10.2.0.0/16")]),
        Question::Name { .. } => Answer::Name(Name::Free),
        Question::Zone { .. } => Answer::Zone(Some(zone(
            false,
            Seen::Servers(vec!["NS-2.awsdns.test".to_owned(), "ns-1.awsdns.test".to_owned()]),
        ))),
        Question::Certificate { .. } => Answer::Certificate(Some(Certificate {
            status: "ISSUED".to_owned(),
            names: vec!["acme.example".to_owned()],
        })),
    }
}

#[test]
fn nothing_is_found_in_a_world_that_has_room() {
    let upcoming = one(&ASKING.replace(
        "  Elsewhere: { Type: AWS::Route53::RecordSet, Properties: { HostedZoneId: Z1, Name: acme.test } }\n",
        "",
    ));
    assert_eq!(judged(&upcoming, |question| Some(good(question))), "");
    assert_eq!(found(&upcoming), "");
}

#[test]
fn everything_that_can_be_answered_badly() {
    let bad = |question: &Question| {
        Some(match question {
            Question::Permissions { actions } => Answer::Permissions {
                principal: "arn:aws:iam::111122223333:role/deployer".to_owned(),
                denied: actions
                    .iter()
                    .cloned()
                    .zip([Denial::NotAllowed, Denial::Organization])
                    .collect(),
            },
            Question::Quota { quota, .. } if quota.kind == "AWS::EC2::NatGateway" => Answer::Quota {
                limit: 5,
                assumed: false,
                used: [("eu-west-1a".to_owned(), 5), ("eu-west-1b".to_owned(), 4)].into(),
            },
            Question::Quota { quota, .. } if quota.kind == "AWS::IAM::Role.ManagedPolicyArns" => {
                Answer::Quota {
                    limit: 10,
                    assumed: true,
                    used: [("each".to_owned(), 0)].into(),
                }
            }
            Question::Quota { quota, .. } => Answer::Quota {
                limit: quota.usual,
                assumed: true,
                used: [("eu-west-1".to_owned(), quota.usual)].into(),
            },
            Question::Networks { .. } => Answer::Networks(vec![
                network("vpc-1", Some("legacy"), "10.0.0.0/12"),
                network("vpc-2", None, "10.200.0.0/16"),
            ]),
            Question::Name { kind, .. } => Answer::Name(match kind.as_str() {
                "AWS::S3::Bucket" => Name::TakenElsewhere,
                "AWS::SecretsManager::Secret" => Name::Going {
                    until: Some("2026-12-01".to_owned()),
                },
                _ => Name::Taken {
                    by: "arn:aws:x".to_owned(),
                },
            }),
            Question::Zone { .. } => Answer::Zone(Some(zone(
                false,
                Seen::Servers(vec!["ns.registrar.test".to_owned()]),
            ))),
            Question::Certificate { .. } => Answer::Certificate(Some(Certificate {
                status: "PENDING_VALIDATION".to_owned(),
                names: vec!["acme.example".to_owned()],
            })),
        })
    };
    insta::assert_snapshot!(judged(&one(ASKING), bad));
}

#[test]
fn other_bad_answers() {
    let mut remains = one(ASKING);
    remains[0].after_remains = true;
    let answers = |question: &Question| {
        Some(match question {
            Question::Quota { quota, .. } if quota.kind == "AWS::EC2::NatGateway" => Answer::Quota {
                limit: 5,
                assumed: false,
                used: [("eu-west-1a".to_owned(), 5), ("eu-west-1b".to_owned(), 0)].into(),
            },
            Question::Name { kind, .. } if kind == "AWS::S3::Bucket" => Answer::Name(Name::Taken {
                by: "acme".to_owned(),
            }),
            Question::Zone { .. } => Answer::Zone(None),
            Question::Certificate { .. } => Answer::Certificate(None),
            other => good(other),
        })
    };
    let private = |question: &Question| {
        Some(match question {
            Question::Zone { .. } => Answer::Zone(Some(zone(true, Seen::Servers(Vec::new())))),
            other => good(other),
        })
    };
    let nobody = |question: &Question| {
        Some(match question {
            Question::Zone { .. } => Answer::Zone(Some(zone(false, Seen::Servers(Vec::new())))),
            other => good(other),
        })
    };
    let unseen = |question: &Question| {
        Some(match question {
            Question::Zone { .. } => Answer::Zone(Some(zone(false, Seen::Unknown("no network".to_owned())))),
            other => good(other),
        })
    };
    let all = [
        judged(&remains, answers),
        judged(&one(ASKING), private),
        judged(&one(ASKING), nobody),
        judged(&one(ASKING), unseen),
    ];
    insta::assert_snapshot!(all.join("--\n"));
}

#[test]
fn what_is_not_answered_is_said() {
    insta::assert_snapshot!(judged(&one(ASKING), |_| None));
}

/// Whatever is not known must not keep a good platform from being made.
#[test]
fn what_is_unknown_refuses_nothing() {
    let template = "\
Parameters:
  Other: { Type: String }
  Another: { Type: String }
Conditions:
  Perhaps: !Equals [!Ref Other, x]
Resources:
  LookedUp:
    Type: AWS::EC2::VPC
    Properties: { CidrBlock: '{{resolve:ssm:/acme/cidr}}' }
  Named:
    Type: AWS::S3::Bucket
    Properties: { BucketName: '{{resolve:ssm:/acme/bucket}}' }
  One:
    Type: AWS::EC2::Subnet
    Properties: { VpcId: !Ref Other, CidrBlock: 10.0.0.0/24 }
  Two:
    Type: AWS::EC2::Subnet
    Properties: { VpcId: !Ref Another, CidrBlock: 10.0.0.0/24 }
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{ Principal: { Service: edgelambda.amazonaws.com } }]
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Role: !GetAtt Role.Arn
      VpcConfig: !If [Perhaps, { SubnetIds: [!Ref One] }, !Ref AWS::NoValue]
      Environment:
        Variables: !If [Perhaps, { A: b }, !Ref AWS::NoValue]
  OnlyPerhaps:
    Type: AWS::S3::Bucket
    Condition: Perhaps
    Properties: { BucketName: acme-twice }
  Surely:
    Type: AWS::S3::Bucket
    Properties: { BucketName: acme-twice }
";
    let mut upcoming = step("a.b", "us-east-1", template);
    let Work::Stack(stack) = &mut upcoming.step.work else {
        panic!("it is a stack");
    };
    for name in ["Other", "Another"] {
        let after = Known::After(BTreeSet::from([StepId::new("c", "d")]));
        stack.parameters.insert(name.to_owned(), after);
    }
    let upcoming = [upcoming];
    let found = found(&upcoming);
    assert!(!found.contains("refuses"), "{found}");
    assert!(found.contains("(whether it is made is not known yet)"), "{found}");
    let buckets = inquiries(&upcoming, BTreeSet::new())
        .into_iter()
        .find_map(|inquiry| match inquiry.matter {
            crate::inquiry::Matter::Room(need) if need.quota.kind == "AWS::S3::Bucket" => Some(need.count),
            _ => None,
        });
    assert_eq!(buckets, Some(2), "what is only made perhaps is not counted");
}

#[test]
fn what_stands_twice_is_no_reason_to_refuse() {
    let mut upcoming = one("  A: { Type: AWS::SQS::Queue, Properties: { QueueName: jobs } }
  B: { Type: AWS::SQS::Queue, Properties: { QueueName: jobs } }
");
    assert!(found(&upcoming).starts_with("refuses"), "{}", found(&upcoming));
    upcoming[0].standing = BTreeSet::from(["A".to_owned(), "B".to_owned()]);
    assert!(found(&upcoming).starts_with("warns"), "{}", found(&upcoming));
}

#[test]
fn a_foreign_view_of_a_zone_refuses_nothing() {
    let upcoming = one("  Certificate:
    Type: AWS::CertificateManager::Certificate
    Properties:
      DomainName: acme.example
      ValidationMethod: DNS
      DomainValidationOptions: [{ DomainName: acme.example, HostedZoneId: Z1 }]
");
    let seen = |servers: &[&str]| {
        let servers: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
        let text = judged(&upcoming, |question| match question {
            Question::Zone { .. } => Some(Answer::Zone(Some(zone(false, Seen::Servers(servers.clone()))))),
            other => Some(good(other)),
        });
        text.split(' ').next().unwrap_or_default().trim().to_owned()
    };
    assert_eq!(seen(&["ns-1.awsdns.test", "ns-2.awsdns.test"]), "");
    assert_eq!(seen(&["ns-2.awsdns.test.", "ns.owner.test"]), "");
    assert_eq!(seen(&["ns.registrar.test"]), "warns");
    assert_eq!(seen(&[]), "refuses");
}

#[test]
fn where_nothing_was_counted_there_is_no_telling() {
    let upcoming = one("  Gateway: { Type: AWS::EC2::NatGateway }\n");
    let answered = |used: BTreeMap<String, u64>, assumed: bool| {
        judged(&upcoming, |question| match question {
            Question::Quota { quota, .. } if quota.kind == "AWS::EC2::NatGateway" => Some(Answer::Quota {
                limit: 5,
                assumed,
                used: used.clone(),
            }),
            other => Some(good(other)),
        })
    };
    let full = || BTreeMap::from([("eu-west-1a".to_owned(), 5)]);
    assert_eq!(answered(BTreeMap::new(), false), "");
    assert!(answered(full(), false).starts_with("refuses"));
    assert!(answered(full(), true).starts_with("warns"));
}

#[test]
fn certificates_that_a_policy_speaks_of_are_not_asked_for() {
    let arn = "arn:aws:acm:us-east-1:999988887777:certificate/1";
    let policy = format!(
        "  Policy: {{ Type: AWS::IAM::ManagedPolicy, Properties: {{ PolicyDocument: {{ Statement: [{{ Resource: '{arn}' }}] }} }} }}\n"
    );
    let listener = format!(
        "  Listener: {{ Type: AWS::ElasticLoadBalancingV2::Listener, Properties: {{ Certificates: [{{ CertificateArn: '{arn}' }}] }} }}\n"
    );
    let asked = |resources: &str| {
        inquiries(&one(resources), BTreeSet::new())
            .iter()
            .any(|inquiry| matches!(inquiry.question, Question::Certificate { .. }))
    };
    assert!(!asked(&policy));
    assert!(asked(&listener));
}

#[test]
fn rules_of_the_usual_regions_are_not_those_of_china() {
    let template = "Resources:
  Site:
    Type: AWS::CloudFront::Distribution
    Properties:
      DistributionConfig:
        ViewerCertificate: { AcmCertificateArn: 'arn:aws-cn:acm:cn-north-1:111122223333:certificate/1' }
";
    assert_eq!(found(&[step("a.b", "cn-north-1", template)]), "");
    assert!(found(&[step("a.b", "us-east-1", template)]).starts_with("refuses"));
}
