//! What is found before the first change: the platform file, the engine, the session and the world together.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use landfall_model::finding::{Finding, Weight};
use landfall_model::plan::Plan;
use landfall_model::question::{Certificate, Denial, Name, Network, Seen, Zone};
use landfall_model::wanted::Wanted;
use landfall_model::work::Step;
use landfall_policy::Statement;
use landfall_runner::Watcher;
use landfall_session::{Session, Steering};
use landfall_sim::{Allowed, Fault, LimitOfOthers, Others, VirtualClock, World, WorldConfig};
use landfall_store::{MemoryPlace, Store};
use serde_json::json;
use tokio::sync::watch;

use crate::stage::{ACCOUNT, REGION, read};

const PLATFORM: &str = r#"
apiVersion: landfall.dev/v1
kind: Platform
metadata: { name: acme }
spec:
  region: us-east-1
  account: "111122223333"
  components:
    access: { uses: access }
    network: { uses: network }
    cluster: { uses: cluster }
    portal: { uses: portal }
"#;

const ACCESS: &str = "Resources:
  Portal: { Type: AWS::IAM::Role, Properties: { RoleName: acme-portal, ManagedPolicyArns: [a, b, c] } }
  Boundary: { Type: AWS::IAM::ManagedPolicy, Properties: { ManagedPolicyName: acme-boundary } }
  Machines: { Type: AWS::IAM::InstanceProfile, Properties: { InstanceProfileName: acme-machines } }
  GitHub: { Type: AWS::IAM::OIDCProvider, Properties: { Url: 'https://token.actions.githubusercontent.com' } }
  State: { Type: AWS::S3::Bucket, Properties: { BucketName: acme-state } }
  Artifacts: { Type: AWS::S3::Bucket, Properties: { BucketName: acme-artifacts } }
  Detector: { Type: AWS::GuardDuty::Detector, Properties: { Enable: true } }
";

const NETWORK: &str = "Resources:
  Vpc: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.0.0/16 } }
  SubnetA: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/20 } }
  SubnetB: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.16.0/20 } }
  SubnetC: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.32.0/20 } }
  AddressA: { Type: AWS::EC2::EIP }
  AddressB: { Type: AWS::EC2::EIP }
  GatewayA: { Type: AWS::EC2::NatGateway, Properties: { SubnetId: !Ref SubnetA } }
  GatewayB: { Type: AWS::EC2::NatGateway, Properties: { SubnetId: !Ref SubnetB } }
";

const CLUSTER: &str = "Resources:
  Cluster: { Type: AWS::EKS::Cluster, Properties: { Name: acme, Version: '1.35', UpgradePolicy: { SupportType: STANDARD } } }
  Nodes: { Type: AWS::EKS::Nodegroup, Properties: { ClusterName: !Ref Cluster, AmiType: AL2023_x86_64_STANDARD } }
  Logs: { Type: AWS::Logs::LogGroup, Properties: { LogGroupName: /aws/eks/acme/cluster } }
  Images: { Type: AWS::ECR::Repository, Properties: { RepositoryName: acme/shop } }
  Interruptions: { Type: AWS::SQS::Queue, Properties: { QueueName: acme-interruptions } }
  Token: { Type: AWS::SecretsManager::Secret, Properties: { Name: acme/token } }
  Locks: { Type: AWS::DynamoDB::Table, Properties: { TableName: acme-locks } }
  Alias: { Type: AWS::KMS::Alias, Properties: { AliasName: alias/acme } }
";

const PORTAL: &str = "Resources:
  SignIn: { Type: AWS::Cognito::UserPoolDomain, Properties: { Domain: acme-login } }
  OwnSignIn: { Type: AWS::Cognito::UserPoolDomain, Properties: { Domain: login.acme.example,
    CustomDomainConfig: { CertificateArn: 'arn:aws:acm:us-east-1:111122223333:certificate/login' } } }
  Zone: { Type: AWS::Route53::HostedZone, Properties: { Name: apps.acme.example } }
  Certificate: { Type: AWS::CertificateManager::Certificate, Properties: { DomainName: portal.acme.example, ValidationMethod: DNS,
    DomainValidationOptions: [{ DomainName: portal.acme.example, HostedZoneId: Z0ACME }] } }
  Record: { Type: AWS::Route53::RecordSet, Properties: { HostedZoneId: Z0ACME, Name: portal.acme.example, Type: CNAME } }
  Listener: { Type: AWS::ElasticLoadBalancingV2::Listener, Properties: { Certificates: [{ CertificateArn: 'arn:aws:acm:us-east-1:111122223333:certificate/web' }] } }
  EdgeRole: { Type: AWS::IAM::Role, Properties: { AssumeRolePolicyDocument: { Statement: [{ Effect: Allow, Action: sts:AssumeRole,
    Principal: { Service: [lambda.amazonaws.com, edgelambda.amazonaws.com] } }] } } }
  Gate: { Type: AWS::Lambda::Function, Properties: { Role: !GetAtt EdgeRole.Arn, Runtime: nodejs24.x, MemorySize: 128, Timeout: 5 } }
  GateVersion: { Type: AWS::Lambda::Version, Properties: { FunctionName: !Ref Gate } }
  Web: { Type: AWS::CloudFront::Distribution, Properties: { DistributionConfig: {
    ViewerCertificate: { AcmCertificateArn: 'arn:aws:acm:us-east-1:111122223333:certificate/web' },
    DefaultCacheBehavior: { LambdaFunctionAssociations: [{ EventType: viewer-request, LambdaFunctionARN: !Ref GateVersion }] } } } }
";

/// The platform, with parts of its templates replaced.
fn platform(faults: &[(&str, &str)]) -> Wanted {
    let component = |name: &str| {
        format!(
            "apiVersion: landfall.dev/v1\nkind: Component\nmetadata: {{ name: {name} }}\n\
             spec: {{ steps: [{{ name: main, stack: {{ template: main.cfn.yaml }} }}] }}\n"
        )
    };
    let mut templates = [ACCESS, NETWORK, CLUSTER, PORTAL].map(str::to_owned);
    for (right, wrong) in faults {
        let template = templates
            .iter_mut()
            .find(|template| template.contains(right))
            .unwrap_or_else(|| panic!("{right} is in a template"));
        *template = template.replacen(right, wrong, 1);
    }
    let files: Vec<(String, String)> = ["access", "network", "cluster", "portal"]
        .into_iter()
        .map(component)
        .zip(templates)
        .collect();
    let of = |at: usize| {
        [
            ("component.yaml", files[at].0.as_str()),
            ("main.cfn.yaml", files[at].1.as_str()),
        ]
    };
    read(
        PLATFORM,
        &[
            ("access", &of(0)),
            ("network", &of(1)),
            ("cluster", &of(2)),
            ("portal", &of(3)),
        ],
    )
}

/// What others have in a world in which nothing is wrong.
fn neighbours() -> Others {
    let certificate = |name: &str| Certificate {
        status: "ISSUED".to_owned(),
        names: vec![name.to_owned()],
    };
    let servers = vec!["ns-1.awsdns.test".to_owned(), "ns-2.awsdns.test".to_owned()];
    Others {
        networks: [(
            REGION.to_owned(),
            vec![Network {
                id: "vpc-default".to_owned(),
                name: None,
                cidrs: vec!["172.31.0.0/16".to_owned()],
                platform: None,
            }],
        )]
        .into(),
        zones: [(
            "Z0ACME".to_owned(),
            Zone {
                name: "acme.example".to_owned(),
                private: false,
                servers: servers.clone(),
                seen: Seen::Servers(servers),
            },
        )]
        .into(),
        certificates: [
            (
                "arn:aws:acm:us-east-1:111122223333:certificate/web".to_owned(),
                certificate("acme.example"),
            ),
            (
                "arn:aws:acm:us-east-1:111122223333:certificate/login".to_owned(),
                certificate("login.acme.example"),
            ),
        ]
        .into(),
        ..Others::default()
    }
}

fn session(wanted: Wanted, others: Others) -> (Session, Arc<World>) {
    let config = WorldConfig {
        others,
        ..WorldConfig::new(ACCOUNT, REGION)
    };
    session_in(wanted, config)
}

fn session_in(wanted: Wanted, config: WorldConfig) -> (Session, Arc<World>) {
    let today: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
    let clock = Arc::new(VirtualClock::starting_at(today));
    let world = World::new(config, clock.clone());
    let session = Session {
        wanted,
        providers: landfall_sim::providers(&world),
        clock,
        store: Store::over(Arc::new(MemoryPlace::default())),
        unique: Arc::new(|| "1".to_owned()),
        usually: Arc::new(landfall_sim::usually_ms),
    };
    (session, world)
}

fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for finding in &plan.findings {
        let Finding {
            weight,
            step,
            resource,
            what,
            way_out,
        } = finding;
        let step = step.as_ref().map_or("-", |step| step.as_str());
        let _ = writeln!(
            text,
            "{:<9} {step} {}: {what}\n          {way_out}",
            weight.word(),
            resource.as_deref().unwrap_or("-")
        );
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_good_platform_in_a_good_world_has_no_findings() {
    let (session, _) = session(platform(&[]), neighbours());
    assert_eq!(text(&session.plan().await.unwrap()), "");
}

/// Each fault, and a word of the finding that must name it.
const FAULTS_OF_THE_FILES: [(&str, &str, &str); 16] = [
    (
        "BucketName: acme-artifacts",
        "BucketName: Acme_Artifacts",
        "`Acme_Artifacts` cannot be",
    ),
    (
        "CidrBlock: 10.1.16.0/20",
        "CidrBlock: 10.9.16.0/20",
        "10.9.16.0/20 is not inside",
    ),
    (
        "CidrBlock: 10.1.32.0/20",
        "CidrBlock: 10.1.8.0/21",
        "10.1.8.0/21 overlaps 10.1.0.0/20",
    ),
    (
        "  AddressA:",
        "  Second: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.128.0/17 } }\n  AddressA:",
        "10.1.128.0/17 overlaps 10.1.0.0/16",
    ),
    ("Version: '1.35'", "Version: '1.30'", "Kubernetes 1.30"),
    (
        "AmiType: AL2023_x86_64_STANDARD",
        "AmiType: AL2_x86_64",
        "Amazon Linux 2",
    ),
    (
        "  Images:",
        "  Metrics: { Type: AWS::Lambda::Function, Properties: { Runtime: python3.7 } }\n  Images:",
        "python3.7",
    ),
    (
        "  Locks:",
        "  Twin: { Type: AWS::SQS::Queue, Properties: { QueueName: acme-interruptions } }\n  Locks:",
        "queue acme-interruptions is made by",
    ),
    (
        "  Zone:",
        "  Reporter: { Type: AWS::Lambda::Function, Properties: { Runtime: nodejs20.x } }\n  Zone:",
        "nodejs20.x",
    ),
    (
        "us-east-1:111122223333:certificate/login",
        "eu-west-1:111122223333:certificate/login",
        "Cognito takes certificates",
    ),
    ("MemorySize: 128", "MemorySize: 256", "at most 128 MB"),
    ("Timeout: 5 }", "Timeout: 30 }", "at most 5 s"),
    (
        "Runtime: nodejs24.x, ",
        "Runtime: nodejs24.x, Environment: { Variables: { POOL: x } }, ",
        "no environment variables",
    ),
    (
        "ViewerCertificate: { AcmCertificateArn: 'arn:aws:acm:us-east-1:",
        "ViewerCertificate: { AcmCertificateArn: 'arn:aws:acm:eu-central-1:",
        "CloudFront takes certificates",
    ),
    (
        "  SignIn:",
        "  Waiting: { Type: AWS::CertificateManager::Certificate, Properties: { DomainName: a.acme.example, ValidationMethod: DNS } }\n  SignIn:",
        "nobody makes the DNS record",
    ),
    (
        "ManagedPolicyArns: [a, b, c]",
        "ManagedPolicyArns: [a, b, c, d, e, f, g, h, i, j, k]",
        "managed policies on one role",
    ),
];

const FAULTS_OF_THE_WORLD: [&str; 22] = [
    "may not eks:CreateCluster: the organization",
    "bucket acme-state belongs to another account",
    "role acme-portal already",
    "policy acme-boundary already",
    "instance profile acme-machines already",
    "identity provider token.actions.githubusercontent.com already",
    "GuardDuty is on",
    "cluster acme already",
    "log group /aws/eks/acme/cluster already",
    "image repository acme/shop already",
    "queue acme-interruptions already",
    "secret acme/token was deleted",
    "table acme-locks already",
    "alias of a key alias/acme already",
    "sign-in domain acme-login belongs to another account",
    "hosted zone apps.acme.example already",
    "acme.example is delegated to",
    "certificate/web for acme.example is not issued",
    "networks (VPCs) in a region: 5 of 5",
    "elastic IP addresses in a region: 4 of 5",
    "NAT gateways in a zone: room for 1",
    "overlaps 10.0.0.0/13 of the network vpc-legacy",
];

/// A world in which everything is wrong at once.
fn bad_world() -> Others {
    let mut others = neighbours();
    let taken = |arn: &str| Name::Taken { by: arn.to_owned() };
    let going = Name::Going {
        until: Some("2026-12-01".to_owned()),
    };
    others.names = [
        ("AWS::S3::Bucket", "acme-state", Name::TakenElsewhere),
        (
            "AWS::IAM::Role",
            "acme-portal",
            taken("arn:aws:iam::111122223333:role/acme-portal"),
        ),
        (
            "AWS::IAM::ManagedPolicy",
            "acme-boundary",
            taken("arn:aws:iam::111122223333:policy/acme-boundary"),
        ),
        (
            "AWS::IAM::InstanceProfile",
            "acme-machines",
            taken("acme-machines"),
        ),
        (
            "AWS::GuardDuty::Detector",
            "",
            taken("12abc34d567e8fa901bc2d34e56789f0"),
        ),
        (
            "AWS::EKS::Cluster",
            "acme",
            taken("arn:aws:eks:us-east-1:111122223333:cluster/acme"),
        ),
        (
            "AWS::Logs::LogGroup",
            "/aws/eks/acme/cluster",
            taken("/aws/eks/acme/cluster"),
        ),
        ("AWS::ECR::Repository", "acme/shop", taken("acme/shop")),
        (
            "AWS::SQS::Queue",
            "acme-interruptions",
            taken("acme-interruptions"),
        ),
        ("AWS::SecretsManager::Secret", "acme/token", going),
        ("AWS::DynamoDB::Table", "acme-locks", taken("acme-locks")),
        ("AWS::KMS::Alias", "alias/acme", taken("alias/acme")),
        ("AWS::Cognito::UserPoolDomain", "acme-login", Name::TakenElsewhere),
        ("AWS::Route53::HostedZone", "apps.acme.example", taken("Z0APPS")),
        (
            "AWS::IAM::OIDCProvider",
            "token.actions.githubusercontent.com",
            taken("arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"),
        ),
    ]
    .into_iter()
    .map(|(kind, name, answer)| ((kind.to_owned(), name.to_owned()), answer))
    .collect();
    others.zones.get_mut("Z0ACME").unwrap().seen = Seen::Servers(vec!["ns.registrar.test".to_owned()]);
    for certificate in others.certificates.values_mut() {
        certificate.status = "PENDING_VALIDATION".to_owned();
    }
    others.limits = [("L-F678F1CE", 5), ("L-0263D0A3", 4), ("L-FE5A380F", 14)]
        .into_iter()
        .map(|(code, used)| (code.to_owned(), LimitOfOthers { limit: None, used }))
        .collect();
    others.networks.get_mut(REGION).unwrap().push(Network {
        id: "vpc-legacy".to_owned(),
        name: Some("legacy".to_owned()),
        cidrs: vec!["10.0.0.0/13".to_owned()],
        platform: None,
    });
    others.denied = [("eks:CreateCluster".to_owned(), Denial::Organization)].into();
    others
}

#[tokio::test(start_paused = true)]
async fn thirty_eight_faults_are_found_in_one_pass() {
    let faults = FAULTS_OF_THE_FILES.map(|(right, wrong, _)| (right, wrong));
    let (session, world) = session(platform(&faults), bad_world());
    let plan = session.plan().await.unwrap();
    let said = text(&plan);
    let expected = FAULTS_OF_THE_FILES
        .iter()
        .map(|(_, _, word)| *word)
        .chain(FAULTS_OF_THE_WORLD);
    for word in expected.clone() {
        assert!(said.contains(word), "nothing says `{word}`:\n{said}");
    }
    assert_eq!(expected.count(), 38);
    assert!(plan.findings.iter().all(|finding| !finding.way_out.is_empty()));
    assert!(plan.is_refused());
    assert_eq!(world.stacks(), [], "looking changes nothing");
    insta::assert_snapshot!(said);
}

/// Each fault alone is found, and nothing else is.
#[tokio::test(start_paused = true)]
async fn each_fault_of_the_files_is_found_alone() {
    for (right, wrong, word) in FAULTS_OF_THE_FILES {
        let (session, _) = session(platform(&[(right, wrong)]), neighbours());
        let plan = session.plan().await.unwrap();
        let said = text(&plan);
        assert!(said.contains(word), "nothing says `{word}`:\n{said}");
        let others = plan
            .findings
            .iter()
            .filter(|finding| !finding.what.contains(word));
        let others: Vec<&Finding> = others.collect();
        // A certificate named in another region is one this world knows nothing of; a second network needs no
        // more than there is room for.
        let known = |finding: &&Finding| finding.what.starts_with("there is no certificate");
        assert!(others.iter().all(known), "`{wrong}` is found to be more:\n{said}");
    }
}

/// What is missing of the policy that `landfall policy` prints is found before anything is made.
#[tokio::test(start_paused = true)]
async fn a_missing_statement_is_found_and_a_whole_policy_is_enough() {
    let wanted = platform(&[]);
    let (good, _) = session(wanted.clone(), neighbours());
    let plan = good.plan().await.unwrap();
    let steps: Vec<Step> = landfall_engine::upcoming(&plan)
        .into_iter()
        .map(|one| one.step)
        .collect();
    let policy = landfall_policy::needs(&landfall_policy::Wants {
        platform: &wanted.facts,
        steps: &steps,
        records: None,
        destroy: false,
    });
    let found = async |statements: &[Statement]| {
        let document = json!({ "Statement": statements.iter().map(Statement::json).collect::<Vec<_>>() });
        let config = WorldConfig {
            others: neighbours(),
            allowed: Some(Allowed::read([&document]).unwrap()),
            ..WorldConfig::new(ACCOUNT, REGION)
        };
        session_in(wanted.clone(), config).0.preflight(&plan).await
    };
    assert_eq!(found(&policy.statements).await, []);
    for at in 0..policy.statements.len() {
        let mut statements = policy.statements.clone();
        let missing = statements.remove(at);
        let findings = found(&statements).await;
        // One that is needed for a name not known yet only warns.
        let told = findings.iter().any(|one| one.weight != Weight::Unchecked);
        assert!(told, "without {} nothing is found", missing.sid);
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_is_no_finding_and_what_cannot_be_asked_is() {
    let (session, world) = session(platform(&[]), neighbours());
    let (_stop, stopped) = watch::channel(false);
    let steering = Steering {
        watcher: Arc::new(|_| Arc::new(|_: &landfall_runner::Event| {}) as Arc<dyn Watcher>),
        stop: stopped,
        at_once: 10,
    };
    let taker = landfall_store::Taker {
        holder: landfall_store::Holder::this_process(),
        nonce: "1".to_owned(),
        clock: session.clock.clone(),
    };
    let lock = session.store.lock(&taker, &|_| {}).await.unwrap();
    let plan = session.plan().await.unwrap();
    let done = session.run(&lock, &plan, &steering).await.unwrap();
    lock.release().await.unwrap();
    assert_eq!(done.ended, landfall_runner::Ended::Succeeded);
    assert_eq!(
        text(&session.plan().await.unwrap()),
        "",
        "it has its names itself"
    );

    // The same names again, under another platform's name.
    let mut other = platform(&[]);
    other.facts.name = "other".to_owned();
    let again = Session {
        wanted: other,
        store: Store::over(Arc::new(MemoryPlace::default())),
        ..session.clone()
    };
    let found = again.plan().await.map(|plan| plan.findings);
    let refused = found.map(|found| found.iter().filter(|one| one.weight == Weight::Refuses).count());
    assert!(refused.is_ok_and(|refused| refused >= 12));

    world.add_fault(Fault::CredentialsExpireAt { millis: 0 });
    let expired = session.preflight(&plan).await;
    assert!(!expired.is_empty() && expired.iter().all(|one| one.weight == Weight::Unchecked));
}
