//! What is found before the first change, against emulators we did not write: what others made there is made
//! through boto3, never by us.

use crate::common::{ACCOUNT, Session, platform};
use landfall_testkit::emulator::Emulator;
use landfall_testkit::tools_or_skip;

const TEMPLATE: &str = "\
Resources:
  State: { Type: AWS::S3::Bucket, Properties: { BucketName: acme-state } }
  Free: { Type: AWS::S3::Bucket, Properties: { BucketName: acme-free } }
  Portal: { Type: AWS::IAM::Role, Properties: { RoleName: acme-portal, AssumeRolePolicyDocument: { Statement: [] } } }
  FreeRole: { Type: AWS::IAM::Role, Properties: { RoleName: acme-free, AssumeRolePolicyDocument: { Statement: [] } } }
  Boundary: { Type: AWS::IAM::ManagedPolicy, Properties: { ManagedPolicyName: acme-boundary, PolicyDocument: {} } }
  Machines: { Type: AWS::IAM::InstanceProfile, Properties: { InstanceProfileName: acme-machines, Roles: [acme-portal] } }
  GitHub: { Type: AWS::IAM::OIDCProvider, Properties: { Url: 'https://token.actions.githubusercontent.com' } }
  Logs: { Type: AWS::Logs::LogGroup, Properties: { LogGroupName: /aws/eks/acme/cluster } }
  Images: { Type: AWS::ECR::Repository, Properties: { RepositoryName: acme/shop } }
  Token: { Type: AWS::SecretsManager::Secret, Properties: { Name: acme/token } }
  Key: { Type: AWS::SecretsManager::Secret, Properties: { Name: acme/key } }
  Cluster: { Type: AWS::EKS::Cluster, Properties: { Name: acme, Version: '1.30' } }
  Interruptions: { Type: AWS::SQS::Queue, Properties: { QueueName: acme-interruptions } }
  FreeQueue: { Type: AWS::SQS::Queue, Properties: { QueueName: acme-free } }
  Locks: { Type: AWS::DynamoDB::Table, Properties: { TableName: acme-locks } }
  Alias: { Type: AWS::KMS::Alias, Properties: { AliasName: alias/acme } }
  SignIn: { Type: AWS::Cognito::UserPoolDomain, Properties: { Domain: acme-login } }
  Zone: { Type: AWS::Route53::HostedZone, Properties: { Name: acme.example } }
  Detector: { Type: AWS::GuardDuty::Detector, Properties: { Enable: true } }
  Vpc: { Type: AWS::EC2::VPC, Properties: { CidrBlock: 10.1.0.0/16 } }
  Subnet: { Type: AWS::EC2::Subnet, Properties: { VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/20 } }
  Address: { Type: AWS::EC2::EIP }
  Gateway: { Type: AWS::EC2::NatGateway, Properties: { SubnetId: !Ref Subnet } }
  Missing: { Type: AWS::Route53::RecordSet, Properties: { HostedZoneId: Z0MISSING, Name: a.acme.example, Type: A } }
  Listener: { Type: AWS::ElasticLoadBalancingV2::Listener, Properties: { Certificates: [{ CertificateArn:
    'arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012' }] } }
";

/// What others made. Whatever an emulator does not know is printed: it cannot be found in it either.
const OTHERS: &str = "\
def make(service, call, **given):
    try:
        return getattr(client(service), call)(**given)
    except Exception as error:
        print('cannot', service, call, type(error).__name__)
        return {}
make('s3', 'create_bucket', Bucket='acme-state')
trust = json.dumps({'Version': '2012-10-17', 'Statement': []})
make('iam', 'create_role', RoleName='acme-portal', Path='/ops/', AssumeRolePolicyDocument=trust)
make('iam', 'create_policy', PolicyName='acme-boundary', Path='/ops/', PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 's3:*', 'Resource': '*'}]}))
make('iam', 'create_instance_profile', InstanceProfileName='acme-machines')
make('iam', 'create_open_id_connect_provider', Url='https://token.actions.githubusercontent.com', ClientIDList=['sts.amazonaws.com'], ThumbprintList=['0' * 40])
make('logs', 'create_log_group', logGroupName='/aws/eks/acme/cluster')
make('logs', 'create_log_group', logGroupName='/aws/eks/acme/cluster-two')
make('ecr', 'create_repository', repositoryName='acme/shop')
make('secretsmanager', 'create_secret', Name='acme/token', SecretString='x')
make('secretsmanager', 'create_secret', Name='acme/key', SecretString='x')
make('secretsmanager', 'delete_secret', SecretId='acme/key', RecoveryWindowInDays=7)
make('eks', 'create_cluster', name='acme', roleArn='arn:aws:iam::' + account + ':role/x', resourcesVpcConfig={'subnetIds': []})
make('sqs', 'create_queue', QueueName='acme-interruptions')
make('dynamodb', 'create_table', TableName='acme-locks', BillingMode='PAY_PER_REQUEST', AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}], KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}])
key = make('kms', 'create_key').get('KeyMetadata', {}).get('KeyId')
make('kms', 'create_alias', AliasName='alias/acme', TargetKeyId=key)
pool = make('cognito-idp', 'create_user_pool', PoolName='others').get('UserPool', {}).get('Id')
make('cognito-idp', 'create_user_pool_domain', Domain='acme-login', UserPoolId=pool)
make('route53', 'create_hosted_zone', Name='acme.example', CallerReference='1')
make('guardduty', 'create_detector', Enable=True)
ec2 = client('ec2')
ec2.create_tags(Resources=[ec2.create_vpc(CidrBlock='10.1.128.0/17')['Vpc']['VpcId']], Tags=[{'Key': 'Name', 'Value': 'legacy'}])
while len(ec2.describe_vpcs()['Vpcs']) < 5:
    ec2.create_vpc(CidrBlock='192.168.0.0/24')
for _ in range(5):
    ec2.allocate_address(Domain='vpc')
";

/// What is made anew each time, taken out: ids, and the day on which something is gone.
fn plain(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(['(', ')', ',', ';']);
        let end = bare.rsplit([':', '/']).next().unwrap_or(bare);
        let digits = end.chars().filter(char::is_ascii_hexdigit).count();
        let has_digit = end.contains(|c: char| c.is_ascii_digit());
        let is_number_of_theirs = !bare.contains("certificate/")
            && has_digit
            && (digits >= 17
                || end.starts_with("us-east-1_")
                || end.len() > 12 && end.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()));
        if bare.len() == 10 && bare.starts_with("20") && bare.as_bytes()[4] == b'-' {
            word.replace(bare, "DATE")
        } else if bare.starts_with("http://") {
            word.replace(bare, "URL")
        } else if bare.contains(":secret:") {
            word.replace(bare, bare.rsplit_once('-').unwrap_or((bare, "")).0)
        } else if is_number_of_theirs {
            word.replace(end, "ID")
        } else {
            word.to_owned()
        }
    };
    let words = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

fn session(aws: &Emulator) -> Session {
    let account = aws.ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])");
    let account: &'static str = account.leak();
    let mut session = Session::with_component(
        &aws.url,
        "    - name: main\n      stack: { template: main.cfn.yaml }\n",
        &[("main.cfn.yaml", TEMPLATE)],
    );
    session.edit(ACCOUNT, account);
    session.account = account;
    session
}

fn found(aws: &Emulator) -> String {
    let session = session(aws);
    let cannot = aws.ask(session.account, OTHERS);
    let plan = session.run(&["plan"]);
    assert_eq!(plan.code, Some(1), "{}", plan.text);
    let json = session.run(&["plan", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    let section = plan.text.split_once("Before the first change:").unwrap().1;

    // An apply says the same, changes nothing and journals nothing.
    let apply = session.run(&["apply", "--yes"]);
    assert_eq!(apply.code, Some(1), "{}", apply.text);
    assert!(apply.text.contains("Nothing was done"), "{}", apply.text);
    let stacks = "print(client('cloudformation').list_stacks()['StackSummaries'])";
    assert_eq!(aws.ask(session.account, stacks), "[]");
    assert!(!session.records().contains("stepStarted"));

    // A saved plan is judged anew.
    session.run(&["plan", "--out", "plan.json"]);
    let saved = session.run(&["apply", "plan.json", "--yes"]);
    assert_eq!(saved.code, Some(1), "{}", saved.text);
    assert!(saved.text.contains("bucket acme-state already"), "{}", saved.text);

    let count = json["findings"].as_array().unwrap().len();
    format!(
        "{}\n{count} findings in JSON, {}\n{}",
        cannot.trim(),
        json["findings"][0]["weight"],
        plain(section)
    )
}

#[test]
fn what_others_have_is_found_in_ministack() {
    let tools = tools_or_skip!("what_others_have_is_found_in_ministack");
    let aws = Emulator::ministack(&tools);
    insta::assert_snapshot!("preflight_ministack", found(&aws));

    // Who knows better goes on, and meets what was found.
    let session = session(&aws);
    let despite = session.run(&["apply", "--yes", "--despite-findings"]);
    assert!(
        despite.text.contains("Before the first change:"),
        "{}",
        despite.text
    );
    assert!(!despite.text.contains("Nothing was done"), "{}", despite.text);
    assert!(session.records().contains("stepStarted"), "{}", despite.text);
}

#[test]
fn what_others_have_is_found_in_moto() {
    let tools = tools_or_skip!("what_others_have_is_found_in_moto");
    insta::assert_snapshot!("preflight_moto", found(&Emulator::moto(&tools)));
}

#[test]
fn what_needs_no_account_is_found_without_one() {
    let session = Session::new("http://127.0.0.1:9", &platform("    demo: { uses: demo }\n"));
    session.component("    - name: main\n      stack: { template: main.cfn.yaml }\n");
    session.write(
        "components/demo/main.cfn.yaml",
        "\
Resources:
  Cluster: { Type: AWS::EKS::Cluster, Properties: { Name: acme, Version: '1.24' } }
  Bucket: { Type: AWS::S3::Bucket, Properties: { BucketName: Acme } }
",
    );
    let plan = session.run(&["plan", "--empty"]);
    assert_eq!(plan.code, Some(1), "{}", plan.text);
    let section = plan.text.split_once("Before the first change:").unwrap().1;
    insta::assert_snapshot!("preflight_empty", section);
}
