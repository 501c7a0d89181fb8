//! The main job against emulators we did not write. What was made is asked of the services themselves,
//! through boto3, never of the stack's status.

use std::process::Command;

use crate::common::{ACCOUNT, Session, bootstrap, platform};
use landfall_testkit::emulator::Emulator;
use landfall_testkit::{note, program, skip, tools_or_skip};

const PROVIDER: &str = "\
client('iam').create_open_id_connect_provider(Url='https://token.actions.githubusercontent.com', ClientIDList=['sts.amazonaws.com'])
";

/// Everything of an account that the bootstrap could leave behind.
const LEFT: &str = "\
iam = client('iam')
print(json.dumps({
    'roles': sorted(r['RoleName'] for r in iam.list_roles()['Roles'] if 'acme' in r['RoleName']),
    'policies': sorted(p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']),
    'providers': [p['Arn'] for p in iam.list_open_id_connect_providers()['OpenIDConnectProviderList']],
    'buckets': [b['Name'] for b in client('s3').list_buckets()['Buckets']],
    'tables': client('dynamodb').list_tables()['TableNames'],
    'stacks': [s['StackName'] for s in client('cloudformation').describe_stacks()['Stacks'] if s['StackStatus'] != 'DELETE_COMPLETE'],
}, indent=1))
";

#[test]
fn an_account_is_bootstrapped_changed_and_taken_back() {
    let tools = tools_or_skip!("an_account_is_bootstrapped_changed_and_taken_back");
    let aws = Emulator::ministack(&tools);
    aws.ask(ACCOUNT, PROVIDER);
    let session = Session::new(&aws.url, &bootstrap(""));

    let plan = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(3), "{}", plan.text);
    insta::assert_snapshot!("bootstrap_plan", plan.text);
    session.well(&["apply", "--yes"]);

    // As IAM and S3 tell it.
    insta::assert_snapshot!("bootstrap_made", aws.ask(ACCOUNT, "\
iam, s3 = client('iam'), client('s3')
trust = lambda role: iam.get_role(RoleName=role)['Role']['AssumeRolePolicyDocument']['Statement']
bucket = 'acme-tfstate-' + account + '-us-east-1'
print(json.dumps({
    'portal trusts': trust('acme-portal'),
    'pipeline trusts': trust('acme-pipeline'),
    'boundary': [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']],
    'versioning': s3.get_bucket_versioning(Bucket=bucket).get('Status'),
    'public access': s3.get_public_access_block(Bucket=bucket)['PublicAccessBlockConfiguration'],
    'encryption': s3.get_bucket_encryption(Bucket=bucket)['ServerSideEncryptionConfiguration']['Rules'][0]['ApplyServerSideEncryptionByDefault'],
    'policy': [s['Sid'] + ' ' + s['Effect'] for s in json.loads(s3.get_bucket_policy(Bucket=bucket)['Policy'])['Statement']],
    'tables': client('dynamodb').list_tables()['TableNames'],
}, indent=1))"));

    let again = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(
        again.code,
        Some(0),
        "a second plan has no changes:\n{}",
        again.text
    );
    insta::assert_snapshot!("bootstrap_second_plan", again.text);

    // One input changes one role.
    session.edit("owner:", "branch: trunk\n        owner:");
    let plan = session.well(&["plan"]);
    insta::assert_snapshot!("bootstrap_changed_plan", plan);
    session.well(&["apply", "--yes"]);
    let trust = aws.ask(
        ACCOUNT,
        "print(client('iam').get_role(RoleName='acme-pipeline')['Role']['AssumeRolePolicyDocument'])",
    );
    assert!(trust.contains("repo:acme/live:ref:refs/heads/trunk"), "{trust}");
    assert!(
        session
            .read("repository/.github/workflows/terraform.yml")
            .contains("trunk")
    );

    // Another adds a table.
    session.edit("owner:", "dynamodbLockTable: true\n        owner:");
    session.well(&["apply", "--yes"]);
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'])"),
        "['acme-tflock']"
    );
    assert!(
        session
            .read("repository/foundation/backend.tf")
            .contains("dynamodb_table")
    );
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));

    // What a person wrote since is theirs.
    session.write("repository/README.md", "# Ours now\n");
    // Every version in the bucket goes with it, when asked.
    aws.ask(ACCOUNT, "\
s3 = client('s3')
for body in (b'one', b'two'):
    s3.put_object(Bucket='acme-tfstate-' + account + '-us-east-1', Key='acme/live/foundation/terraform.tfstate', Body=body)
");
    let kept = session.well(&["destroy", "--yes"]);
    assert!(
        kept.contains("retained on purpose")
            && kept.contains("`landfall destroy --include-retained` removes"),
        "{kept}"
    );
    session.well(&["destroy", "--yes", "--include-retained"]);
    insta::assert_snapshot!("bootstrap_left", aws.ask(ACCOUNT, LEFT));
    assert_eq!(session.read("repository/README.md"), "# Ours now\n");
    assert!(!session.path("repository/foundation").exists());
}

#[test]
fn records_move_into_their_bucket_and_out_of_it_before_it_goes() {
    let tools = tools_or_skip!("records_move_into_their_bucket_and_out_of_it_before_it_goes");
    let aws = Emulator::ministack(&tools);
    aws.ask(ACCOUNT, PROVIDER);
    let file = bootstrap("").replace(
        "  components:\n",
        "  recordsBucket: acme-tfstate-111122223333-us-east-1\n  components:\n",
    );
    let one = Session::new(&aws.url, &file);
    let applied = one.well(&["apply", "--yes"]);
    let place = "s3://acme-tfstate-111122223333-us-east-1/landfall/acme.111122223333.us-east-1";
    assert!(
        applied.contains(&format!("The records are kept in {place} from now on.")),
        "{applied}"
    );

    // A colleague, on another machine: the same file and nothing else.
    let other = Session::new(&aws.url, &file);
    assert!(
        other.well(&["status"]).contains("Last run: "),
        "{}",
        other.well(&["status"])
    );
    other.well(&["apply", "--yes"]);
    let run = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("Last run:"))
            .map(str::to_owned)
    };
    assert_eq!(run(&one.well(&["status"])), run(&other.well(&["status"])));
    let kept = "print(sorted({o['Key'].split('/')[2] for o in client('s3').list_objects_v2(Bucket='acme-tfstate-' + account + '-us-east-1', Prefix='landfall/')['Contents']}))";
    assert_eq!(
        aws.ask(ACCOUNT, kept),
        "['inventory.json', 'journal', 'lease.json', 'runs']"
    );

    let gone = other.well(&["destroy", "--yes", "--include-retained"]);
    assert!(gone.contains("Nothing of the platform is left."), "{gone}");
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('s3').list_buckets()['Buckets'])"),
        "[]"
    );
    let certificate = other.read(".landfall/acme.111122223333.us-east-1/certificate.json");
    assert!(certificate.contains("\"clean\": true"), "{certificate}");
}

#[test]
fn an_inventory_is_made_anew_from_the_account_alone() {
    let tools = tools_or_skip!("an_inventory_is_made_anew_from_the_account_alone");
    let aws = Emulator::ministack(&tools);
    aws.ask(ACCOUNT, PROVIDER);
    let session = Session::new(&aws.url, &bootstrap(""));
    session.well(&["apply", "--yes"]);
    let inventory = ".landfall/acme.111122223333.us-east-1/inventory.json";
    let owned = |text: &str| -> Vec<String> {
        let inventory: serde_json::Value = serde_json::from_str(text).unwrap();
        let owned = inventory["owned"].as_array().unwrap();
        let in_the_account = owned
            .iter()
            .filter(|one| one["kind"] == "stack" && one["adopted"] != true);
        in_the_account.map(|one| one["step"].to_string()).collect()
    };
    let before = owned(&session.read(inventory));
    std::fs::remove_dir_all(session.path(".landfall")).unwrap();
    let rebuilt = session.well(&["status", "--rebuild"]);
    assert!(rebuilt.contains("The inventory was made anew"), "{rebuilt}");
    assert_eq!(owned(&session.read(inventory)), before);
    session.well(&["destroy", "--yes", "--include-retained"]);
    insta::assert_snapshot!("bootstrap_left", aws.ask(ACCOUNT, LEFT));
}

#[test]
fn catalog_entries_are_accepted_by_backstage() {
    let tools = tools_or_skip!("catalog_entries_are_accepted_by_backstage");
    let aws = Emulator::ministack(&tools);
    aws.ask(ACCOUNT, PROVIDER);
    let session = Session::new(&aws.url, &bootstrap(""));
    session.well(&["apply", "--yes"]);
    let output = Command::new("node")
        .current_dir(tools.join("backstage"))
        .arg("check-entities.mjs")
        .arg(session.path("repository/catalog-info.yaml"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    insta::assert_snapshot!(text, @r"
    accepted system:default/acme
    accepted resource:default/acme-account
    accepted resource:default/acme-tfstate
    accepted resource:default/acme-portal
    accepted resource:default/acme-pipeline
    accepted component:default/live
    ");
}

#[test]
fn terraform_keeps_its_state_in_the_bucket() {
    let tools = tools_or_skip!("terraform_keeps_its_state_in_the_bucket");
    let Some(terraform) = program("terraform").or_else(|| program("tofu")) else {
        return skip(
            "terraform_keeps_its_state_in_the_bucket",
            "neither terraform nor tofu is on the path",
        );
    };
    let aws = Emulator::ministack(&tools);
    aws.ask(ACCOUNT, PROVIDER);
    let session = Session::new(&aws.url, &bootstrap(""));
    session.well(&["apply", "--yes"]);
    let layer = session.path("repository/foundation");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&terraform);
        command
            .args(arguments)
            .current_dir(&layer)
            .envs(Emulator::environment(&aws.url, ACCOUNT))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_S3_USE_PATH_STYLE", "true")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_CONFIG_FILE", "/dev/null");
        command
    };
    let well = |arguments: &[&str]| {
        let output = run(arguments).output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "terraform {arguments:?}:\n{text}");
        text
    };
    well(&["fmt", "-check", "-recursive", ".."]);
    // An emulator behind one address has no bucket names in front of it.
    well(&["init", "-input=false", "-backend-config=use_path_style=true"]);
    well(&["apply", "-input=false", "-auto-approve"]);
    let keys = "print([o['Key'] for o in client('s3').list_objects_v2(Bucket='acme-tfstate-' + account + '-us-east-1').get('Contents', [])])";
    let state = aws.ask(ACCOUNT, keys);
    assert!(
        state.contains("foundation") && state.contains("tfstate") && !state.contains("tflock"),
        "{state}"
    );

    // One apply holds the lock while it asks; a second is refused and told by whom.
    std::fs::write(layer.join("slow.tf"), "resource \"terraform_data\" \"slow\" {\n  provisioner \"local-exec\" {\n    command = \"sleep 8\"\n  }\n}\n").unwrap();
    let mut first = run(&["apply", "-input=false", "-auto-approve"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    while !aws.ask(ACCOUNT, keys).contains("tflock") {
        assert!(began.elapsed().as_secs() < 30, "the lock appears");
    }
    let second = run(&["apply", "-input=false", "-auto-approve", "-lock-timeout=0s"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && text.contains("Error acquiring the state lock"),
        "{text}"
    );
    assert!(first.wait().unwrap().success());
    assert!(!aws.ask(ACCOUNT, keys).contains("tflock"), "the lock is gone");
}

#[test]
fn a_type_an_emulator_lacks_stops_only_what_depends_on_it() {
    let tools = tools_or_skip!("a_type_an_emulator_lacks_stops_only_what_depends_on_it");
    let aws = Emulator::ministack(&tools);
    let session = Session::new(&aws.url, &bootstrap(""));
    let answer = session.run(&["apply", "--yes"]);
    assert_eq!(answer.code, Some(1), "{}", answer.text);
    let failed = answer.text.split("\n✗ ").last().unwrap_or_default().to_owned();
    insta::assert_snapshot!("refused_type", crate::common::steady(&failed));
    let roles = aws.ask(ACCOUNT, "print(sorted(r['RoleName'] for r in client('iam').list_roles()['Roles'] if 'acme' in r['RoleName']))");
    assert_eq!(
        roles, "['acme-portal']",
        "what does not need the provider was made"
    );
    // Another attempt finds the refused stack out of the way.
    aws.ask(ACCOUNT, PROVIDER);
    session.well(&["apply", "--yes"]);
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
}

const TABLE: &str = "\
Parameters:
  Name: { Type: String }
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Ref Name
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
Outputs:
  Name: { Value: !Ref Table }
";

#[test]
fn moto_takes_the_same_calls() {
    let tools = tools_or_skip!("moto_takes_the_same_calls");
    let aws = Emulator::moto(&tools);
    // moto knows one account by default, whatever the credentials.
    let account = aws.ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])");
    let account: &'static str = account.leak();
    let mut session = Session::new(
        &aws.url,
        &platform("    artifacts: { uses: artifact-bucket }\n    demo: { uses: demo }\n"),
    );
    session.edit(ACCOUNT, account);
    session.account = account;
    session.component(
        "    - name: table\n      stack: { template: table.cfn.yaml, parameters: { Name: demo-table } }\n",
    );
    session.write("components/demo/table.cfn.yaml", TABLE);
    session.well(&["apply", "--yes"]);
    let made = aws.ask(account, "print(client('dynamodb').list_tables()['TableNames'], [b['Name'] for b in client('s3').list_buckets()['Buckets']])");
    assert_eq!(
        made,
        format!("['demo-table'] ['acme-artifacts-{account}-us-east-1']")
    );
    let again = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(again.code, Some(0), "{}", again.text);
    session.well(&["destroy", "--yes"]);
    let left = aws.ask(
        account,
        "print(client('dynamodb').list_tables()['TableNames'], client('s3').list_buckets()['Buckets'])",
    );
    assert_eq!(left, "[] []");
}

#[test]
fn a_broken_template_rolls_back_and_the_report_names_what_came_first() {
    let tools = tools_or_skip!("a_broken_template_rolls_back_and_the_report_names_what_came_first");
    let aws = Emulator::ministack(&tools);
    let broken = "\
Resources:
  First: { Type: AWS::SQS::Queue, Properties: { QueueName: first } }
  Signal: { Type: AWS::CloudFormation::WaitConditionHandle }
  Second:
    # Nobody sends the signal.
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: First
    Properties: { Handle: !Ref Signal, Timeout: 1 }
Outputs:
  Name: { Value: x }
";
    let steps = "    - name: broken\n      stack: { template: broken.cfn.yaml }\n    - name: table\n      \
                 stack: { template: table.cfn.yaml, parameters: { Name: other } }\n    - name: after\n      \
                 stack: { template: table.cfn.yaml, parameters: { Name: \"${steps.broken.outputs.Name}\" } }\n";
    let session = Session::with_component(
        &aws.url,
        steps,
        &[("broken.cfn.yaml", broken), ("table.cfn.yaml", TABLE)],
    );
    let answer = session.run(&["apply", "--yes"]);
    assert_eq!(answer.code, Some(1), "{}", answer.text);
    let report = answer
        .text
        .split("\n\n")
        .find(|part| part.starts_with('✗'))
        .unwrap_or_default();
    insta::assert_snapshot!("broken_template", crate::common::steady(report));
    assert_eq!(aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'], client('sqs').list_queues().get('QueueUrls'))"), "['other'] []");

    // Mended, the same command clears the rolled back stack away and makes it anew.
    let status = session.well(&["status"]);
    assert!(status.contains("ROLLBACK_COMPLETE"), "{status}");
    session.write(
        "components/demo/broken.cfn.yaml",
        &broken.replace("    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: First\n    Properties: { Handle: !Ref Signal, Timeout: 1 }\n", "    Type: AWS::SQS::Queue\n"),
    );
    session.well(&["apply", "--yes"]);
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
}

#[test]
fn a_generated_secret_is_kept_and_never_written_down() {
    let tools = tools_or_skip!("a_generated_secret_is_kept_and_never_written_down");
    let aws = Emulator::ministack(&tools);
    let session = Session::with_component(
        &aws.url,
        "    - name: key\n      secret: { description: For tests, length: 32, excludePunctuation: true, recoveryDays: 0 }\n",
        &[],
    );
    let mut said = session.well(&["apply", "--yes"]);
    let value = aws.ask(
        ACCOUNT,
        "print(client('secretsmanager').get_secret_value(SecretId='acme-demo-key')['SecretString'])",
    );
    assert_eq!(value.len(), 32);
    said.push_str(&session.well(&["plan", "--json"]));
    said.push_str(&session.well(&["status", "--json"]));
    said.push_str(&session.records());
    assert!(!said.contains(&value), "the value is nowhere to be read");
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
    session.well(&["apply", "--yes"]);
    let same = aws.ask(
        ACCOUNT,
        "print(client('secretsmanager').get_secret_value(SecretId='acme-demo-key')['SecretString'])",
    );
    assert_eq!(same, value, "it is generated once");
    session.well(&["destroy", "--yes"]);
    assert_eq!(
        aws.ask(
            ACCOUNT,
            "print(client('secretsmanager').list_secrets()['SecretList'])"
        ),
        "[]"
    );
}

#[test]
fn a_large_template_goes_through_the_artifact_bucket() {
    let tools = tools_or_skip!("a_large_template_goes_through_the_artifact_bucket");
    let aws = Emulator::ministack(&tools);
    let large = format!("{TABLE}# {}\n", "x".repeat(60_000));
    let steps = "    - name: table\n      stack: { template: table.cfn.yaml, parameters: { Name: large } }\n";
    let session = Session::with_component(&aws.url, steps, &[("table.cfn.yaml", &large)]);
    let answer = session.run(&["apply", "--yes"]);
    assert!(
        answer.code == Some(1) && answer.text.contains("give the platform an `artifactBucket`"),
        "{}",
        answer.text
    );
    session.edit("  components:\n", "  artifactBucket: \"${components.artifacts.bucketName}\"\n  components:\n    artifacts: { uses: artifact-bucket }\n");
    let plan = session.well(&["plan"]);
    assert!(
        plan.contains("needs values of artifacts.bucket"),
        "the bucket comes first:\n{plan}"
    );
    session.well(&["apply", "--yes"]);
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'])"),
        "['large']"
    );
    let keys = aws.ask(ACCOUNT, "print([o['Key'] for o in client('s3').list_objects_v2(Bucket='acme-artifacts-' + account + '-us-east-1')['Contents']])");
    assert!(keys.contains("landfall/templates/"), "{keys}");
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let tools = tools_or_skip!("what_is_not_ours_is_not_touched");
    let aws = Emulator::ministack(&tools);
    let steps = "    - name: table\n      stack: { template: table.cfn.yaml, parameters: { Name: ours } }\n";
    let mut session = Session::with_component(&aws.url, steps, &[("table.cfn.yaml", TABLE)]);
    let make = |tags: &str| {
        format!(
            "cf = client('cloudformation')\ncf.create_stack(StackName='acme-demo-table', TemplateBody='''{}''', Tags={tags})\n\
             cf.get_waiter('stack_create_complete').wait(StackName='acme-demo-table', WaiterConfig={{'Delay': 1}})",
            TABLE.replace("{ Type: String }", "{ Type: String, Default: theirs }")
        )
    };
    aws.ask(ACCOUNT, &make("[]"));
    let by_hand = session.run(&["apply", "--yes"]);
    aws.ask(
        ACCOUNT,
        "client('cloudformation').delete_stack(StackName='acme-demo-table')\nimport time; time.sleep(1)",
    );
    aws.ask(
        ACCOUNT,
        &make("[{'Key': 'landfall:platform', 'Value': 'umbrella'}]"),
    );
    let others = session.run(&["apply", "--yes"]);
    let destroy = session.well(&["destroy", "--yes"]);
    session.account = "999988887777";
    let account = session.run(&["apply", "--yes"]);
    insta::assert_snapshot!(
        "not_ours",
        format!("{}\n{}\n{destroy}\n{}", by_hand.text, others.text, account.text)
    );
    assert_eq!(
        (by_hand.code, others.code, account.code),
        (Some(1), Some(1), Some(2))
    );
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'])"),
        "['theirs']"
    );
}

/// Deploys every rendered template as a stack of its own and tells which types were not made.
const COVERAGE: &str = "\
import pathlib, sys, time
cf = client('cloudformation')
for path in sorted(pathlib.Path(FOLDER).rglob('template.cfn.yaml')):
    name = '-'.join(path.relative_to(FOLDER).parts[:-1])
    values = json.loads((path.parent / 'parameters.json').read_text())
    for value in values:
        if value['ParameterValue'].startswith('(known once'):
            kind = value['ParameterKey']
            value['ParameterValue'] = ('arn:aws:s3:::bucket' if 'Bucket' in kind else
                'arn:aws:dynamodb:us-east-1:' + account + ':table/table' if 'Table' in kind else
                'arn:aws:iam::' + account + ':policy/policy')
    wanted = [line.split()[-1] for line in path.read_text().splitlines() if line.strip().startswith('Type: AWS::') and '::Parameter' not in line]
    try:
        cf.create_stack(StackName=name, TemplateBody=path.read_text(), Parameters=values, Capabilities=['CAPABILITY_NAMED_IAM'])
    except Exception as error:
        print('refuses', name + ':', str(error).split('operation: ')[-1])
        continue
    for _ in range(50):
        stack = cf.describe_stacks(StackName=name)['Stacks'][0]
        if not stack['StackStatus'].endswith('IN_PROGRESS'):
            break
        time.sleep(0.1)
    made = [r.get('ResourceType', '') for r in cf.describe_stack_resources(StackName=name)['StackResources'] if r.get('PhysicalResourceId')]
    if stack['StackStatus'] != 'CREATE_COMPLETE':
        print('fails', name + ':', stack.get('StackStatusReason', stack['StackStatus']))
    for kind in sorted(set(wanted) - set(made)):
        print('ignores', kind)
    print('makes', *sorted(set(made)))
";

#[test]
fn the_types_an_emulator_lacks_are_listed_by_name() {
    let tools = tools_or_skip!("the_types_an_emulator_lacks_are_listed_by_name");
    let every_option = "        dynamodbLockTable: true\n        pullRequestPlans: true\n";
    for aws in [Emulator::ministack(&tools), Emulator::moto(&tools)] {
        let session = Session::new(&aws.url, &bootstrap(every_option));
        session.edit(
            "  components:\n",
            "  components:\n    artifacts: { uses: artifact-bucket }\n",
        );
        session.well(&["render", "--to", "rendered"]);
        let folder = session.path("rendered").display().to_string();
        let told = aws.ask(ACCOUNT, &format!("FOLDER = '{folder}'\n{COVERAGE}"));
        assert!(told.contains("makes "), "{}: {told}", aws.name);
        for line in told.lines().filter(|line| !line.starts_with("makes")) {
            note(&format!("{} {line}", aws.name));
        }
    }
}

#[test]
fn platforms_in_one_folder_keep_apart() {
    let tools = tools_or_skip!("platforms_in_one_folder_keep_apart");
    let aws = Emulator::ministack(&tools);
    let steps = "    - name: table\n      stack: { template: table.cfn.yaml, parameters: { Name: \"${platform.name}\" } }\n";
    let session = Session::with_component(&aws.url, steps, &[("table.cfn.yaml", TABLE)]);
    let other = session
        .read("platform.yaml")
        .replace("name: acme", "name: umbrella");
    session.write("umbrella.yaml", &other);
    session.well(&["apply", "--yes"]);
    session.well(&["apply", "--yes", "-p", "umbrella.yaml"]);
    let plan = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(
        plan.code,
        Some(0),
        "the other platform is none of its business:\n{}",
        plan.text
    );
    session.well(&["destroy", "--yes"]);
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'])"),
        "['umbrella']"
    );
}

#[test]
fn what_is_retained_stays_when_its_step_leaves_the_file() {
    let tools = tools_or_skip!("what_is_retained_stays_when_its_step_leaves_the_file");
    let aws = Emulator::ministack(&tools);
    let kept = "    - name: kept\n      retain: true\n      stack: { template: table.cfn.yaml, parameters: { Name: kept } }\n";
    let other = "    - name: other\n      stack: { template: table.cfn.yaml, parameters: { Name: other } }\n";
    let session = Session::with_component(&aws.url, &format!("{kept}{other}"), &[("table.cfn.yaml", TABLE)]);
    session.well(&["apply", "--yes"]);
    session.component(other);
    let plan = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{}", plan.text);
    session.component(kept);
    session.well(&["apply", "--yes"]);
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'])"),
        "['kept']"
    );
}

#[test]
fn a_stack_whose_export_is_in_use_is_not_said_to_be_gone() {
    let tools = tools_or_skip!("a_stack_whose_export_is_in_use_is_not_said_to_be_gone");
    let aws = Emulator::ministack(&tools);
    let exports = TABLE.replace(
        "{ Value: !Ref Table }",
        "{ Value: !Ref Table, Export: { Name: the-table } }",
    );
    let steps =
        "    - name: table\n      stack: { template: table.cfn.yaml, parameters: { Name: shared } }\n";
    let session = Session::with_component(&aws.url, steps, &[("table.cfn.yaml", &exports)]);
    session.well(&["apply", "--yes"]);
    let importer = "Resources: {Queue: {Type: 'AWS::SQS::Queue', Properties: {QueueName: {'Fn::ImportValue': the-table}}}}";
    aws.ask(ACCOUNT, &format!("cf = client('cloudformation')\ncf.create_stack(StackName='importer', TemplateBody=\"{importer}\")\ncf.get_waiter('stack_create_complete').wait(StackName='importer', WaiterConfig={{'Delay': 1}})"));
    let answer = session.run(&["destroy", "--yes"]);
    assert_eq!(answer.code, Some(1), "{}", answer.text);
    assert!(
        answer.text.contains("the-table"),
        "the reason is told:\n{}",
        answer.text
    );
    aws.ask(
        ACCOUNT,
        "client('cloudformation').delete_stack(StackName='importer')\nimport time; time.sleep(1)",
    );
    session.well(&["destroy", "--yes"]);
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('dynamodb').list_tables()['TableNames'])"),
        "[]"
    );
}

#[test]
fn what_a_check_gives_is_no_reason_to_change_things_again() {
    let tools = tools_or_skip!("what_a_check_gives_is_no_reason_to_change_things_again");
    let aws = Emulator::ministack(&tools);
    let steps = "    - name: who\n      check: { identity: { account: \"${platform.account}\" }, within: 10s }\n    - name: table\n      \
                 stack: { template: table.cfn.yaml, parameters: { Name: \"table-${steps.who.outputs.account}\" } }\n";
    let session = Session::with_component(&aws.url, steps, &[("table.cfn.yaml", TABLE)]);
    session.well(&["apply", "--yes"]);
    let plan = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{}", plan.text);
}

#[test]
fn a_stack_does_not_move_to_another_region_unnoticed() {
    let tools = tools_or_skip!("a_stack_does_not_move_to_another_region_unnoticed");
    let aws = Emulator::ministack(&tools);
    let steps = |region: &str| {
        format!(
            "    - name: table\n      stack: {{ template: table.cfn.yaml, region: {region}, parameters: {{ Name: far }} }}\n"
        )
    };
    let session = Session::with_component(&aws.url, &steps("eu-west-1"), &[("table.cfn.yaml", TABLE)]);
    session.well(&["apply", "--yes"]);
    session.component(&steps("eu-north-1"));
    let answer = session.run(&["plan"]);
    assert!(
        answer.code == Some(1) && answer.text.contains("it stands in eu-west-1"),
        "{}",
        answer.text
    );
    session.component(&steps("eu-west-1"));
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
    session.well(&["destroy", "--yes"]);
    assert_eq!(
        aws.ask(
            ACCOUNT,
            "print(client('dynamodb', 'eu-west-1').list_tables()['TableNames'])"
        ),
        "[]"
    );
}
