//! What AWS refuses, and what it only shows late.

use landfall_model::journal::Entry;
use landfall_model::wanted::Wanted;
use landfall_runner::Ended;
use landfall_sim::Fault;

use crate::stage::{Stage, Told, read};

const COMPONENT: &str = r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: code }
spec:
  steps:
    - name: role
      stack: { template: role.cfn.yaml }
    - name: run
      stack: { template: run.cfn.yaml, parameters: { Role: "${steps.role.outputs.RoleArn}" } }
    - name: logs
      stack: { template: logs.cfn.yaml, parameters: { Function: "${steps.run.outputs.Name}" } }
"#;

fn code() -> Wanted {
    read(
        "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: { name: p }\n\
         spec: { region: us-east-1, account: \"111122223333\", components: { a: { uses: code } } }\n",
        &[(
            "code",
            &[
                ("component.yaml", COMPONENT),
                (
                    "role.cfn.yaml",
                    "Resources: { Role: { Type: AWS::IAM::Role } }\nOutputs: { RoleArn: { Value: !GetAtt Role.Arn } }\n",
                ),
                (
                    "run.cfn.yaml",
                    "Parameters: { Role: { Type: String } }\n\
                     Resources: { Function: { Type: AWS::Lambda::Function, Properties: { Role: !Ref Role } } }\n\
                     Outputs: { Name: { Value: !Ref Function } }\n",
                ),
                (
                    "logs.cfn.yaml",
                    "Parameters: { Function: { Type: String } }\n\
                     Resources: { Group: { Type: AWS::Logs::LogGroup, Properties: { LogGroupName: !Sub \"/aws/lambda/${Function}\" } } }\n",
                ),
            ],
        )],
    )
}

fn reasons(told: &Told) -> String {
    let failed = told
        .records()
        .into_iter()
        .filter_map(|record| match record.entry {
            Entry::StepFailed { step, failure, .. } => {
                let cause = failure.cause?;
                Some(format!(
                    "{step}: {} {} {}: {}",
                    cause.kind, cause.resource, cause.state, cause.reason
                ))
            }
            _ => None,
        });
    failed.collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn a_role_that_cannot_be_assumed_yet_is_waited_for() {
    let mut stage = Stage::new(code(), vec![Fault::IamVisibleLate { millis: 20_000 }]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert_eq!(
        told.said("assumed"),
        ["a.run: a role could not be assumed yet; making the stack once more"]
    );
}

#[tokio::test(start_paused = true)]
async fn outputs_that_are_shown_late_are_waited_for() {
    let late = Fault::OutputsAppearLate {
        stack: "p-a-role".to_owned(),
        millis: 9_000,
    };
    let mut stage = Stage::new(code(), vec![late]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert!(!told.said("not shown yet").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_refuses_a_stack() {
    let mut stage = Stage::new(code(), Vec::new());
    // Something wrote before anybody made a place for it.
    stage.world.write_log("us-east-1", "/aws/lambda/p-a-run-Function");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_snapshot!(reasons(&told));
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_told_in_the_words_of_aws() {
    let limit = Fault::LimitExceeded {
        stack: "p-a-role".to_owned(),
        resource: "Role".to_owned(),
    };
    let mut stage = Stage::new(code(), vec![limit]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_snapshot!(reasons(&told));
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_throttling_is_waited_out() {
    let burst = Fault::ThrottlingBurst {
        millis: 5_000,
        for_millis: 40_000,
    };
    let mut stage = Stage::new(code(), vec![burst]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert!(!told.said("throttled").is_empty());
    assert_eq!(stage.world.faults(), []);
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_not_ours_any_more_is_not_removed() {
    let mut stage = Stage::new(code(), Vec::new());
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    let owned = stage.remembered[&crate::town::id("a.logs")].clone();
    stage.world.add_fault(Fault::HumanChanges {
        target: landfall_sim::Target::Stack {
            name: "p-a-logs".to_owned(),
        },
        path: "landfall:platform".to_owned(),
        value: Some("other".to_owned()),
        millis: 0,
    });
    insta::assert_snapshot!(crate::town::remove(&stage, "a.logs").await);
    assert!(!stage.providers.of(owned.kind).stands(&owned).await.unwrap());
}
