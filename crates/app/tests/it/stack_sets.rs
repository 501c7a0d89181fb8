//! One template in many accounts, against an emulator that really deploys it there. What was made is asked of
//! the services of each account, through boto3 with credentials of a role in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{ACCOUNT, Session, platform};
use landfall_testkit::emulator::Emulator;
use landfall_testkit::proxy::{Proxy, Verdict};
use landfall_testkit::tools_or_skip;

/// `inside(account, service)` is a client with credentials of a role in another account.
const INSIDE: &str = "\
def inside(account, service, region='us-east-1'):
    c = client('sts').assume_role(RoleArn='arn:aws:iam::' + account + ':role/look', RoleSessionName='look')['Credentials']
    return boto3.client(service, region_name=region, endpoint_url=client('sts').meta.endpoint_url,
        aws_access_key_id=c['AccessKeyId'], aws_secret_access_key=c['SecretAccessKey'], aws_session_token=c['SessionToken'])
";

const TEMPLATE: &str = "\
Parameters:
  Prefix: { Type: String }
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties: { BucketName: !Sub \"${Prefix}-${AWS::AccountId}-${AWS::Region}\" }
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Ref Prefix
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
";

fn steps(accounts: &str, regions: &str) -> String {
    format!(
        "    - name: everywhere\n      stackSet:\n        template: set.cfn.yaml\n        parameters: {{ Prefix: \"${{platform.name}}-log\" }}\n        \
         accounts: [{accounts}]\n        regions: [{regions}]\n"
    )
}

/// moto knows one account by default, whatever the credentials.
fn session(aws: &Emulator, platform: &str) -> Session {
    let account = aws.ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])");
    let account: &'static str = account.leak();
    let mut session = Session::new(&aws.url, platform);
    session.edit(ACCOUNT, account);
    session.account = account;
    session
}

/// The part of a plan that is the same on every machine.
fn what_changes(plan: &str, account: &str) -> String {
    let changes = plan.split("\nPlan:").next().unwrap_or_default();
    let lines = changes.lines().map(str::trim_end).collect::<Vec<_>>();
    lines.join("\n").replace(account, "ACCOUNT")
}

fn what_stands(aws: &Emulator, account: &str, accounts: &[&str]) -> String {
    aws.ask(
        account,
        &format!(
            "{INSIDE}\nfor a in {accounts:?}:\n    print(a, [b['Name'] for b in inside(a, 's3').list_buckets()['Buckets']], \
             [inside(a, 'dynamodb', r).list_tables()['TableNames'] for r in ('us-east-1', 'eu-west-1')])\n\
             print([s['StackSetName'] for s in client('cloudformation').list_stack_sets()['Summaries'] if s['Status'] == 'ACTIVE'])"
        ),
    )
}

#[test]
fn a_template_is_rolled_out_to_accounts_that_come_and_go() {
    let tools = tools_or_skip!("a_template_is_rolled_out_to_accounts_that_come_and_go");
    let aws = Emulator::moto(&tools);
    let session = session(&aws, &platform("    demo: { uses: demo }\n"));
    let (one, two, three) = ("222233334444", "333344445555", "444455556666");
    session.write("components/demo/set.cfn.yaml", TEMPLATE);
    session.component(&steps(&format!("\"{one}\", \"{two}\""), "us-east-1"));

    let plan = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(3), "{}", plan.text);
    insta::assert_snapshot!("stack_set_plan", what_changes(&plan.text, session.account));
    session.well(&["apply", "--yes"]);
    insta::assert_snapshot!(what_stands(&aws, session.account, &[one, two, three]), @"
    222233334444 ['acme-log-222233334444-us-east-1'] [['acme-log'], []]
    333344445555 ['acme-log-333344445555-us-east-1'] [['acme-log'], []]
    444455556666 [] [[], []]
    ['acme-demo-everywhere']
    ");
    let again = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(
        again.code,
        Some(0),
        "a second plan has no changes:\n{}",
        again.text
    );

    // One account more, one region more, and a tag for all.
    session.component(&steps(
        &format!("\"{one}\", \"{two}\", \"{three}\""),
        "us-east-1, eu-west-1",
    ));
    session.edit(
        "  components:\n",
        "  tags: { CostCenter: platform }\n  components:\n",
    );
    let plan = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(3), "{}", plan.text);
    insta::assert_snapshot!("stack_set_grows", what_changes(&plan.text, session.account));
    session.well(&["apply", "--yes"]);
    insta::assert_snapshot!(what_stands(&aws, session.account, &[one, two, three]), @"
    222233334444 ['acme-log-222233334444-us-east-1', 'acme-log-222233334444-eu-west-1'] [['acme-log'], ['acme-log']]
    333344445555 ['acme-log-333344445555-us-east-1', 'acme-log-333344445555-eu-west-1'] [['acme-log'], ['acme-log']]
    444455556666 ['acme-log-444455556666-us-east-1', 'acme-log-444455556666-eu-west-1'] [['acme-log'], ['acme-log']]
    ['acme-demo-everywhere']
    ");
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
    let status = session.well(&["status"]);
    assert!(status.contains("ACTIVE, 6 current"), "{status}");

    // An account leaves: what it was given goes, and nothing of the others'.
    session.component(&steps(&format!("\"{two}\", \"{three}\""), "us-east-1, eu-west-1"));
    let plan = session.well(&["plan"]);
    assert!(
        plan.contains("- instance 222233334444/eu-west-1") && !plan.contains("+ instance"),
        "{plan}"
    );
    session.well(&["apply", "--yes"]);
    insta::assert_snapshot!(what_stands(&aws, session.account, &[one, two, three]), @"
    222233334444 [] [[], []]
    333344445555 ['acme-log-333344445555-us-east-1', 'acme-log-333344445555-eu-west-1'] [['acme-log'], ['acme-log']]
    444455556666 ['acme-log-444455556666-us-east-1', 'acme-log-444455556666-eu-west-1'] [['acme-log'], ['acme-log']]
    ['acme-demo-everywhere']
    ");

    // Found by its tags alone.
    std::fs::remove_dir_all(session.path(".landfall")).unwrap();
    session.well(&["status", "--rebuild"]);
    let gone = session.well(&["destroy", "--yes"]);
    assert!(gone.contains("Nothing of the platform is left."), "{gone}");
    insta::assert_snapshot!(what_stands(&aws, session.account, &[one, two, three]), @"
    222233334444 [] [[], []]
    333344445555 [] [[], []]
    444455556666 [] [[], []]
    []
    ");
}

#[test]
fn a_stack_set_of_somebody_else_is_left_alone() {
    let tools = tools_or_skip!("a_stack_set_of_somebody_else_is_left_alone");
    let aws = Emulator::moto(&tools);
    let session = session(&aws, &platform("    demo: { uses: demo }\n"));
    session.write("components/demo/set.cfn.yaml", TEMPLATE);
    session.component(&steps("\"222233334444\"", "us-east-1"));
    aws.ask(
        session.account,
        "client('cloudformation').create_stack_set(StackSetName='acme-demo-everywhere', TemplateBody='Resources: {Q: {Type: \"AWS::SQS::Queue\"}}')",
    );
    let plan = session.run(&["plan"]);
    assert_eq!(plan.code, Some(1), "{}", plan.text);
    assert!(
        plan.text
            .contains("the stack set `acme-demo-everywhere` was not made by Landfall"),
        "{}",
        plan.text
    );
}

/// What the bootstrap made in an account, as IAM and S3 tell it.
const BOOTSTRAPPED: &str = "\
for a in ('222233334444', '333344445555'):
    iam = inside(a, 'iam')
    roles = sorted(r['RoleName'] for r in iam.list_roles()['Roles'] if 'acme' in r['RoleName'])
    print(a, roles, [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']], [b['Name'] for b in inside(a, 's3').list_buckets()['Buckets']])
    for role in roles:
        for s in iam.get_role(RoleName=role)['Role']['AssumeRolePolicyDocument']['Statement']:
            print('  ', role, s['Principal'], s['Condition'])
";

#[test]
fn many_accounts_are_bootstrapped_and_let_go() {
    let tools = tools_or_skip!("many_accounts_are_bootstrapped_and_let_go");
    let aws = Emulator::moto(&tools);
    let blueprint = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../blueprints/many-accounts/platform.yaml"
    );
    let session = session(&aws, &std::fs::read_to_string(blueprint).unwrap());
    // moto shows no outputs of a stack made by change set, so it could not hand over the role's ARN.
    session.edit(
        "      with:\n",
        "      with:\n        administrationRole: false\n",
    );
    session.well(&["apply", "--yes"]);
    let ask = format!("{INSIDE}{BOOTSTRAPPED}");
    insta::assert_snapshot!(aws.ask(session.account, &ask), @"
    222233334444 ['acme-live-pipeline', 'acme-live-portal'] ['acme-live-boundary'] ['acme-live-tfstate-222233334444-us-east-1']
       acme-live-pipeline {} {'StringEquals': {'token.actions.githubusercontent.com:aud': 'sts.amazonaws.com', 'token.actions.githubusercontent.com:sub': 'repo:acme@123456/live-infrastructure@456789:environment:production-222233334444'}}
       acme-live-portal {'AWS': 'arn:aws:iam::444455556666:role/portal'} {'StringEquals': {'sts:ExternalId': 'landfall:acme-live:222233334444'}}
    333344445555 ['acme-live-pipeline', 'acme-live-portal'] ['acme-live-boundary'] ['acme-live-tfstate-333344445555-us-east-1']
       acme-live-pipeline {} {'StringEquals': {'token.actions.githubusercontent.com:aud': 'sts.amazonaws.com', 'token.actions.githubusercontent.com:sub': 'repo:acme@123456/live-infrastructure@456789:environment:production-333344445555'}}
       acme-live-portal {'AWS': 'arn:aws:iam::444455556666:role/portal'} {'StringEquals': {'sts:ExternalId': 'landfall:acme-live:333344445555'}}
    ");
    let catalog = session.read("accounts/catalog-info.yaml");
    assert!(
        catalog.contains("name: acme-live-222233334444")
            && catalog.contains("name: acme-live-tfstate-333344445555"),
        "{catalog}"
    );
    let again = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(
        again.code,
        Some(0),
        "a second plan has no changes:\n{}",
        again.text
    );

    let gone = session.well(&["destroy", "--yes"]);
    assert!(
        gone.contains("AWS::S3::Bucket acme-live-tfstate-222233334444-us-east-1 is kept by its template"),
        "{gone}"
    );
    let left = aws.ask(
        session.account,
        &format!("{INSIDE}for a in ('222233334444', '333344445555'):\n    print(a, [r['RoleName'] for r in inside(a, 'iam').list_roles()['Roles'] if 'acme' in r['RoleName']])"),
    );
    assert_eq!(left, "222233334444 []\n333344445555 []");
}

/// What CloudFormation says of an operation on the stack set, in its own format.
fn operation(state: &str) -> String {
    format!(
        "<DescribeStackSetOperationResponse><DescribeStackSetOperationResult><StackSetOperation>\
         <OperationId>one</OperationId><Action>CREATE</Action><Status>{state}</Status>\
         </StackSetOperation></DescribeStackSetOperationResult></DescribeStackSetOperationResponse>"
    )
}

fn results(of: &[(&str, &str, &str)]) -> String {
    let members: String = of
        .iter()
        .map(|(account, state, reason)| {
            format!(
                "<member><Account>{account}</Account><Region>us-east-1</Region><Status>{state}</Status>\
                 <StatusReason>{reason}</StatusReason></member>"
            )
        })
        .collect();
    format!(
        "<ListStackSetOperationResultsResponse><ListStackSetOperationResultsResult><Summaries>{members}</Summaries>\
         </ListStackSetOperationResultsResult></ListStackSetOperationResultsResponse>"
    )
}

fn error(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{code}</Message></Error></ErrorResponse>"
    )
}

/// moto finishes every operation at once and never fails one, so the proxy tells of others.
#[tokio::test(flavor = "multi_thread")]
async fn operations_that_take_long_are_busy_or_lost_are_followed_to_their_end() {
    let tools = tools_or_skip!("operations_that_take_long_are_busy_or_lost_are_followed_to_their_end");
    let aws = Emulator::moto(&tools);
    let (begun, looked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let proxy = Proxy::start(&aws.url, move |call| match call.action.as_str() {
        // First somebody else's operation is in the way; then the answer is lost, and the retry finds it begun.
        "CreateStackInstances" => match begun.fetch_add(1, Ordering::SeqCst) {
            0 => Verdict::Answer(409, error("OperationInProgressException")),
            1 => Verdict::PassAndAnswer(503),
            _ => Verdict::Answer(409, error("OperationIdAlreadyExistsException")),
        },
        // moto does not know our operation's id.
        "DescribeStackSetOperation" => {
            let state = match looked.fetch_add(1, Ordering::SeqCst) {
                0 => "QUEUED",
                1 => "RUNNING",
                _ => "SUCCEEDED",
            };
            Verdict::Answer(200, operation(state))
        }
        "ListStackSetOperationResults" => Verdict::Answer(200, results(&[("222233334444", "SUCCEEDED", "")])),
        _ => Verdict::Pass,
    })
    .await;
    let mut session = session(&aws, &platform("    demo: { uses: demo }\n"));
    session.url.clone_from(&proxy.url);
    session.write("components/demo/set.cfn.yaml", TEMPLATE);
    session.component(&steps("\"222233334444\"", "us-east-1"));
    let applied = session.well(&["apply", "--yes"]);
    assert!(
        applied.contains("another operation is in progress: waiting for that to end")
            && applied.contains("[1/1] 222233334444/us-east-1 done"),
        "{applied}"
    );
    let made = what_stands(&aws, session.account, &["222233334444"]);
    assert!(made.contains("acme-log-222233334444-us-east-1"), "{made}");
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_by_account_and_what_was_tolerated_is_noted() {
    let tools = tools_or_skip!("a_failure_is_told_by_account_and_what_was_tolerated_is_noted");
    let aws = Emulator::moto(&tools);
    let ended = Arc::new(AtomicUsize::new(0));
    let fails = ended.clone();
    let proxy = Proxy::start(&aws.url, move |call| {
        let succeeds = fails.load(Ordering::SeqCst) > 0;
        match call.action.as_str() {
            "DescribeStackSetOperation" => {
                Verdict::Answer(200, operation(if succeeds { "SUCCEEDED" } else { "FAILED" }))
            }
            "ListStackSetOperationResults" => Verdict::Answer(
                200,
                results(&[
                    ("222233334444", "SUCCEEDED", ""),
                    (
                        "333344445555",
                        "FAILED",
                        "ResourceLogicalId:Bucket, ResourceType:AWS::S3::Bucket, ResourceStatusReason:acme-log already exists.",
                    ),
                    ("444455556666", if succeeds { "SUCCEEDED" } else { "CANCELLED" }, ""),
                ]),
            ),
            _ => Verdict::Pass,
        }
    })
    .await;
    let mut session = session(&aws, &platform("    demo: { uses: demo }\n"));
    session.url.clone_from(&proxy.url);
    session.write("components/demo/set.cfn.yaml", TEMPLATE);
    let accounts = "\"222233334444\", \"333344445555\", \"444455556666\"";
    session.component(&steps(accounts, "us-east-1"));
    let answer = session.run(&["apply", "--yes"]);
    assert_eq!(answer.code, Some(1), "{}", answer.text);
    let failed = answer.text.split("\n✗ ").last().unwrap_or_default().to_owned();
    insta::assert_snapshot!(crate::common::steady(failed.split("\nFailed:").next().unwrap_or_default()), @"
    demo.everywhere: making instances of the stack set `acme-demo-everywhere` failed in 333344445555/us-east-1 and was left alone in 1 more
        began with  Bucket in 333344445555/us-east-1 (AWS::S3::Bucket) FAILED
        because     acme-log already exists
        what to do  names of buckets are shared by everybody and somebody has this one: choose another name in the inputs; if it is yours (`aws s3api head-bucket --bucket NAME` succeeds), it is a remainder: empty and remove it; then run the command again: it goes on from here
    ");

    ended.store(1, Ordering::SeqCst);
    session.edit(
        "  components:\n",
        "  tags: { CostCenter: platform }\n  components:\n",
    );
    let answer = session.well(&["apply", "--yes"]);
    assert!(
        answer.contains("333344445555/us-east-1: FAILED (ResourceLogicalId:Bucket"),
        "{answer}"
    );
}

/// Killed after CloudFormation was asked and before it answered: the next process goes on, and makes nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rollout_goes_on() {
    let tools = tools_or_skip!("a_killed_rollout_goes_on");
    let aws = Emulator::moto(&tools);
    for action in ["CreateStackInstances", "DeleteStackInstances"] {
        let proxy = Proxy::start(&aws.url, move |call| {
            if call.action == action {
                Verdict::PassAndHold
            } else {
                Verdict::Pass
            }
        })
        .await;
        let mut session = session(&aws, &platform("    demo: { uses: demo }\n"));
        session.write("components/demo/set.cfn.yaml", TEMPLATE);
        session.component(&steps("\"222233334444\", \"333344445555\"", "us-east-1"));
        let command: &[&str] = if action.starts_with("Create") {
            &["apply", "--yes"]
        } else {
            session.well(&["apply", "--yes"]);
            &["destroy", "--yes"]
        };
        session.url.clone_from(&proxy.url);
        let mut child = session.spawn(command);
        tokio::time::timeout(Duration::from_secs(120), proxy.holding())
            .await
            .unwrap_or_else(|_| panic!("{action} was never called"));
        child.kill().unwrap();
        child.wait().unwrap();
        proxy.rule(|_| Verdict::Pass);
        session.well(command);
        let stands = what_stands(&aws, session.account, &["222233334444", "333344445555"]);
        if action.starts_with("Create") {
            assert_eq!(stands.matches("'acme-log-").count(), 2, "{action}: {stands}");
            assert_eq!(
                session.run(&["plan", "--detailed-exitcode"]).code,
                Some(0),
                "{action}"
            );
            session.well(&["destroy", "--yes"]);
        } else {
            assert!(!stands.contains("acme"), "{action}: {stands}");
        }
    }
}
