use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use landfall_model::SourceFile;
use landfall_model::definition::SecretSpec;
use landfall_model::work::{Known, SecretWork, StackWork, Work};

use super::*;

fn facts() -> Facts {
    Facts {
        name: "demo".to_owned(),
        region: "eu-central-1".to_owned(),
        account: "111122223333".to_owned(),
        tags: BTreeMap::new(),
    }
}

/// A step with a stack; parameters are `Name=value`, or `Name` for one that waits for `demo.secret`.
fn stack(name: &str, parameters: &[&str], template: &str) -> Step {
    let waits = || Known::After(BTreeSet::from([StepId::new("demo", "secret")]));
    let parameters = parameters.iter().map(|given| match given.split_once('=') {
        Some((name, value)) => (name.to_owned(), Known::Value(value.to_owned())),
        None => ((*given).to_owned(), waits()),
    });
    let interface = landfall_cloudformation::read_template(&SourceFile::new("template", template)).unwrap();
    Step {
        id: StepId::new("demo", name),
        facts: facts(),
        work: Work::Stack(Box::new(StackWork {
            name: format!("demo-{name}"),
            region: "eu-central-1".to_owned(),
            template: template.to_owned(),
            interface,
            parameters: parameters.collect(),
            termination_protection: false,
            empty: Vec::new(),
            existing: None,
            artifact_bucket: None,
        })),
    }
}

/// The statements that are about something in particular, a line each.
fn told(steps: &[Step]) -> String {
    let policy = needs(&Wants {
        platform: &facts(),
        steps,
        records: None,
        destroy: false,
    });
    let short = |text: &String| {
        text.replace("arn:aws:", "")
            .replace(":eu-central-1:111122223333:", "::")
    };
    let mut lines: Vec<String> = policy
        .statements
        .iter()
        .filter(|statement| !statement.resources.contains("*") && statement.sid != "OwnStacks")
        .map(|statement| {
            let all = |texts: &BTreeSet<String>| texts.iter().map(short).collect::<Vec<_>>().join(" ");
            let when: Vec<String> = statement
                .conditions
                .iter()
                .map(|condition| format!("\n  when {} {}", condition.key, all(&condition.values)))
                .collect();
            format!(
                "{}\n  may {}\n  on {}{}",
                statement.sid,
                all(&statement.actions),
                all(&statement.resources),
                when.concat()
            )
        })
        .collect();
    lines.extend(
        policy
            .unknown
            .iter()
            .map(|one| format!("UNKNOWN {} {} {}", one.step, one.resource, one.kind)),
    );
    lines.join("\n")
}

#[test]
fn a_name_in_the_template_is_the_name_in_the_policy() {
    let template = "\
Parameters: { Name: { Type: String } }
Conditions: { Never: !Equals [!Ref Name, nothing] }
Resources:
  Named: { Type: AWS::SQS::Queue, Properties: { QueueName: !Sub '${Name}-jobs' } }
  Unnamed: { Type: AWS::SQS::Queue }
  Absent: { Type: AWS::S3::Bucket, Condition: Never }
";
    assert_snapshot!(told(&[stack("queues", &["Name=demo"], template)]), @"
    SqsThroughCloudFormation
      may sqs:CreateQueue sqs:DeleteQueue sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ListQueueTags sqs:SetQueueAttributes sqs:TagQueue sqs:UntagQueue
      on sqs::demo-jobs sqs::demo-queues-Unnamed*
      when aws:CalledVia cloudformation.amazonaws.com
    ");
}

#[test]
fn a_role_is_passed_to_one_service_only() {
    let template = "\
Resources:
  Role: { Type: AWS::IAM::Role, Properties: { RoleName: worker, Path: /demo/ } }
  Function: { Type: AWS::Lambda::Function, Properties: { FunctionName: work, Role: !GetAtt Role.Arn } }
";
    let told = told(&[stack("work", &[], template)]);
    let pass = told.split("PassRoles").nth(1).unwrap();
    assert_snapshot!(pass.trim(), @"
    ToLambda
      may iam:PassRole
      on iam::111122223333:role/demo/worker
      when iam:PassedToService lambda.amazonaws.com
    ");
}

#[test]
fn what_another_step_makes_is_known_by_its_name() {
    let roles = "Resources: { Role: { Type: AWS::IAM::Role, Properties: { RoleName: worker } } }";
    let work = "\
Parameters: { Role: { Type: String } }
Resources: { Function: { Type: AWS::Lambda::Function, Properties: { FunctionName: work, Role: !Ref Role } } }
";
    let told = told(&[stack("roles", &[], roles), stack("work", &["Role"], work)]);
    let pass = told.split("PassRoles").nth(1).unwrap();
    assert_snapshot!(pass.trim(), @"
    ToLambda
      may iam:PassRole
      on iam::111122223333:role/worker
      when iam:PassedToService lambda.amazonaws.com
    ");
}

#[test]
fn values_that_cloudformation_fetches_are_read_with_the_same_permissions() {
    let template = "\
Parameters:
  Password: { Type: String, NoEcho: true }
  Image: { Type: 'AWS::SSM::Parameter::Value<String>', Default: /aws/service/ami/x }
  Own: { Type: 'AWS::SSM::Parameter::Value<String>', Default: /demo/own }
Resources:
  Parameter:
    Type: AWS::SSM::Parameter
    Properties: { Name: /demo/x, Value: '{{resolve:secretsmanager:other:SecretString:key}}' }
";
    let secret = Step {
        id: StepId::new("demo", "secret"),
        facts: facts(),
        work: Work::Secret(SecretWork {
            name: "demo/secret".to_owned(),
            spec: serde_json::from_value::<SecretSpec>(serde_json::json!({ "description": "x" })).unwrap(),
        }),
    };
    assert_snapshot!(told(&[secret, stack("values", &["Password"], template)]), @"
    KeepSecrets
      may secretsmanager:CreateSecret secretsmanager:RestoreSecret secretsmanager:TagResource
      on secretsmanager::secret:demo/secret-*
    Secretsmanager
      may secretsmanager:GetSecretValue
      on secretsmanager::secret:demo/secret-* secretsmanager::secret:other-*
    Ssm
      may ssm:GetParameters
      on ssm::parameter/demo/own ssm:eu-central-1::parameter/aws/service/ami/x
    SsmThroughCloudFormation
      may ssm:AddTagsToResource ssm:DeleteParameter ssm:GetParameters ssm:ListTagsForResource ssm:PutParameter ssm:RemoveTagsFromResource
      on ssm::parameter/demo/x
      when aws:CalledVia cloudformation.amazonaws.com
    ");
}

#[test]
fn a_type_that_is_not_known_is_named() {
    let template = "Resources: { It: { Type: AWS::QuantumLedger::Ledger } }";
    assert_snapshot!(told(&[stack("ledger", &[], template)]), @"UNKNOWN demo.ledger It AWS::QuantumLedger::Ledger");
}

#[test]
fn a_long_statement_is_parted_and_loses_nothing() {
    let resources: Vec<String> = (0..150)
        .map(|at| format!("  Queue{at}: {{ Type: AWS::SQS::Queue, Properties: {{ QueueName: a-rather-long-name-{at} }} }}\n"))
        .collect();
    let template = format!("Resources:\n{}", resources.concat());
    let steps = [stack("queues", &[], &template)];
    let policy = needs(&Wants {
        platform: &facts(),
        steps: &steps,
        records: None,
        destroy: false,
    });
    let documents = policy.documents();
    assert!(documents.len() > 1 && documents.iter().all(|document| document.length() <= LIMIT));
    let pairs = |statements: &[Statement]| -> BTreeSet<(String, String)> {
        let all = statements.iter().flat_map(|one| {
            one.actions.iter().flat_map(|action| {
                one.resources
                    .iter()
                    .map(|resource| (action.clone(), resource.clone()))
            })
        });
        all.collect()
    };
    let parted: Vec<Statement> = documents
        .into_iter()
        .flat_map(|document| document.statements)
        .collect();
    assert_eq!(pairs(&parted), pairs(&policy.statements));
    let sids: BTreeSet<&String> = parted.iter().map(|one| &one.sid).collect();
    assert_eq!(sids.len(), parted.len());
}
