//! One template in many accounts: they come and go, refuse, are busy, and die under the hands of who works on them.

use std::time::Duration;

use landfall_model::plan::Action;
use landfall_model::wanted::Wanted;
use landfall_runner::Ended;
use landfall_sim::Fault;

use crate::stage::{Attempt, Crash, Stage, plan_text, read};

const ONE: &str = "222233334444";
const TWO: &str = "333344445555";
const THREE: &str = "444455556666";

const TEMPLATE: &str = "Parameters:\n  Days: { Type: String, Default: '30' }\n\
     Resources:\n\
     \x20 Role: { Type: AWS::IAM::Role }\n\
     \x20 Bucket:\n    Type: AWS::S3::Bucket\n    DeletionPolicy: Retain\n    Properties: { BucketName: !Sub 'state-${AWS::AccountId}' }\n";

/// A role, and behind it the set that goes to these places.
fn rollout(places: &str, template: &str) -> Wanted {
    let component = format!(
        r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: {{ name: rollout }}
spec:
  steps:
    - name: administration
      stack: {{ template: role.cfn.yaml }}
    - name: accounts
      stackSet:
        template: set.cfn.yaml
        administrationRoleArn: "${{steps.administration.outputs.RoleArn}}"
        {places}
"#
    );
    read(
        "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: { name: acme }\nspec:\n  region: us-east-1\n  account: \"111122223333\"\n  \
         components:\n    rollout: { uses: rollout }\n",
        &[(
            "rollout",
            &[
                ("component.yaml", component.as_str()),
                (
                    "role.cfn.yaml",
                    "Resources:\n  Role: { Type: AWS::IAM::Role }\nOutputs:\n  RoleArn: { Value: !GetAtt Role.Arn }\n",
                ),
                ("set.cfn.yaml", template),
            ],
        )],
    )
}

fn accounts(ids: &[&str]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        "accounts: [{}]\n        regions: [us-east-1, eu-west-1]",
        ids.join(", ")
    )
}

fn standing(stage: &Stage) -> String {
    let mut all = stage.world.everything_standing();
    all.retain(|one| one.contains("stack set") || one.contains("StackSet"));
    all.join("\n")
}

#[tokio::test(start_paused = true)]
async fn accounts_come_and_go_and_nothing_is_left_but_what_the_template_keeps() {
    let mut stage = Stage::new(rollout(&accounts(&[ONE, TWO]), TEMPLATE), Vec::new());
    let plan = stage.plan().await;
    insta::assert_snapshot!(changes(&plan), @"
    create rollout.administration: does not exist yet
      Add AWS::IAM::Role Role
    create rollout.accounts: does not exist yet
      Add AWS::IAM::Role Role × 4
      Add AWS::S3::Bucket Bucket × 4
      Add  instance 222233334444/us-east-1
      Add  instance 333344445555/us-east-1
      Add  instance 222233334444/eu-west-1
      Add  instance 333344445555/eu-west-1
    ");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    told.assert_sound();
    insta::assert_snapshot!(standing(&stage), @"
    AWS::CloudFormation::StackSet acme-rollout-accounts (ACTIVE)
    AWS::S3::Bucket Bucket in 222233334444/us-east-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 222233334444/us-east-1 (stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 333344445555/us-east-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 333344445555/us-east-1 (stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 222233334444/eu-west-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 222233334444/eu-west-1 (stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 333344445555/eu-west-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 333344445555/eu-west-1 (stack set acme-rollout-accounts)
    ");
    assert!(!stage.plan().await.has_changes());

    stage.wanted = rollout(&accounts(&[TWO, THREE]), &TEMPLATE.replace("'30'", "'7'"));
    let plan = stage.plan().await;
    insta::assert_snapshot!(changes(&plan), @"
    update rollout.accounts: 2 added, 2 changed in place, 2 removed
      Remove  instance 222233334444/eu-west-1
      Remove  instance 222233334444/us-east-1
      Modify  template
      Modify AWS::CloudFormation::StackSet acme-rollout-accounts
      Add  instance 444455556666/us-east-1
      Add  instance 444455556666/eu-west-1
    ");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    insta::assert_snapshot!(standing(&stage), @"
    AWS::CloudFormation::StackSet acme-rollout-accounts (ACTIVE)
    AWS::S3::Bucket Bucket in 222233334444/eu-west-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 222233334444/us-east-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 333344445555/us-east-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 333344445555/us-east-1 (stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 333344445555/eu-west-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 333344445555/eu-west-1 (stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 444455556666/us-east-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 444455556666/us-east-1 (stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 444455556666/eu-west-1 (stack set acme-rollout-accounts)
    AWS::IAM::Role Role in 444455556666/eu-west-1 (stack set acme-rollout-accounts)
    ");
    assert!(!stage.plan().await.has_changes());

    let plan = stage.plan_destroy().await;
    insta::assert_snapshot!(plan_text(&plan), @"
    delete rollout.accounts: belongs to this platform
    delete rollout.administration: belongs to this platform
    ");
    let (ended, _) = stage.destroy().await;
    assert_eq!(ended, Ended::Succeeded);
    insta::assert_snapshot!(standing(&stage), @"
    AWS::S3::Bucket Bucket in 222233334444/eu-west-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 222233334444/us-east-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 333344445555/us-east-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 444455556666/us-east-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 333344445555/eu-west-1 (kept by stack set acme-rollout-accounts)
    AWS::S3::Bucket Bucket in 444455556666/eu-west-1 (kept by stack set acme-rollout-accounts)
    ");
    assert!(stage.world.created_twice().is_empty());
}

fn changes(plan: &landfall_model::plan::Plan) -> String {
    let steps = plan.steps.iter().filter(|step| step.action != Action::None);
    let lines = steps.flat_map(|step| {
        let told = step
            .changes
            .iter()
            .map(|change| format!("  {:?} {} {}", change.effect, change.kind, change.subject));
        std::iter::once(format!("{} {}: {}", step.action.word(), step.id, step.reason))
            .chain(told)
            .collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn units_bring_their_accounts_with_them() {
    let places = "organizationalUnits: [ou-ab12-cdef3456]";
    let mut stage = Stage::new(rollout(places, TEMPLATE), Vec::new());
    stage.apply().await;
    assert!(!stage.plan().await.has_changes());
    assert_eq!(standing(&stage).matches("AWS::S3::Bucket").count(), 2);
    // A set cannot change who gives it permissions.
    stage.wanted = rollout(&accounts(&[ONE]), TEMPLATE);
    let refused = landfall_engine::plan_apply(
        stage.wanted.clone(),
        &stage.seen().await,
        landfall_model::id::PlanId("plan".to_owned()),
        String::new(),
    );
    insta::assert_snapshot!(refused.unwrap_err(), @"
    something stands in the way:
      rollout.accounts: the stack set `acme-rollout-accounts` goes to organizational units, the file wants accounts, and a stack set cannot change that; give the component or the step another name: the new one is made and the old one removed
    ");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_refuses_is_named_and_the_next_run_goes_on() {
    let refuses = Fault::AccountRefuses {
        account: TWO.to_owned(),
        reason: "ResourceLogicalId:Bucket, ResourceType:AWS::S3::Bucket, ResourceStatusReason:state already exists"
            .to_owned(),
    };
    let mut stage = Stage::new(rollout(&accounts(&[ONE, TWO]), TEMPLATE), vec![refuses]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_snapshot!(told.ends(), @"
    rollout.accounts failed: state already exists
    rollout.administration Created
    ");
    let plan = stage.plan().await;
    insta::assert_snapshot!(changes(&plan), @"
    update rollout.accounts: 3 changed in place
      Modify  instance 333344445555/us-east-1
      Modify  instance 222233334444/eu-west-1
      Modify  instance 333344445555/eu-west-1
    ");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert!(!stage.plan().await.has_changes());
    assert_eq!(standing(&stage).matches("AWS::IAM::Role").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_be_reached_any_more_is_told_with_the_way_out() {
    let mut stage = Stage::new(rollout(&accounts(&[ONE, TWO]), TEMPLATE), Vec::new());
    stage.apply().await;
    stage.world.add_fault(Fault::AccountRefuses {
        account: TWO.to_owned(),
        reason: "Account 333344445555 is suspended".to_owned(),
    });
    let (ended, told) = stage.destroy().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_snapshot!(told.ends(), @"
    rollout.accounts failed: Account 333344445555 is suspended
    rollout.administration skipped: rollout.accounts
    ");
    // All but one place is gone; once the account answers again, the rest goes.
    assert_eq!(standing(&stage).matches("AWS::IAM::Role").count(), 1);
    let (ended, _) = stage.destroy().await;
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(standing(&stage).matches("kept by stack set").count(), 4);
    assert!(!standing(&stage).contains("AWS::IAM::Role"));
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_operation_is_waited_out_and_lost_answers_are_found_again() {
    let faults = vec![
        Fault::StackSetBusy {
            set: "acme-rollout-accounts".to_owned(),
            millis: 300_000,
        },
        Fault::CreateTimesOutButSucceeds {
            stack: "acme-rollout-accounts".to_owned(),
        },
        Fault::Throttling { calls: 12 },
        Fault::CredentialsExpireAt { millis: 40_000 },
    ];
    let mut stage = Stage::new(rollout(&accounts(&[ONE, TWO]), TEMPLATE), faults);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert_eq!(stage.world.faults(), []);
    let said = told.said.lock().unwrap().join("\n");
    assert!(said.contains("waiting for that to end"), "{said}");
    assert!(stage.world.created_twice().is_empty());
    assert!(!stage.plan().await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn death_at_any_record_changes_nothing_in_the_end() {
    let wanted = || rollout(&accounts(&[ONE, TWO]), TEMPLATE);
    let mut undisturbed = Stage::new(wanted(), Vec::new());
    let (_, all) = undisturbed.apply().await;
    let mut deaths = 0;
    for away in [0, 12, 1200] {
        for at in 1..=all.records().len() {
            let crash = Crash { at, before: false };
            let mut stage = Stage::new(wanted(), Vec::new());
            let plan = stage.plan().await;
            let told = stage.run(plan);
            assert_eq!(stage.attempt(&told, Some(crash)).await, Attempt::Crashed);
            deaths += 1;
            stage.wait(Duration::from_secs(away)).await;
            let ended = stage.attempt(&told, None).await;
            assert_eq!(ended, Attempt::Ended(Ended::Succeeded), "{}", told.text());
            told.assert_sound();
            assert_eq!(told.outcomes(), all.outcomes(), "{crash:?}");
            assert_eq!(standing(&stage), standing(&undisturbed), "{crash:?}");
            // Begun once, under one name.
            assert_eq!(stage.world.intents(), undisturbed.world.intents(), "{crash:?}");
        }
    }
    assert_eq!(deaths, 3 * all.records().len());
}
