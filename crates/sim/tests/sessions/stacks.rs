//! What becomes of a stack that is changed, fails, gets stuck, or belongs to someone else.

use std::time::Duration;

use landfall_engine::plan_apply;
use landfall_model::journal::Entry;
use landfall_model::provider::{Failure, Outcome};
use landfall_model::wanted::Wanted;
use landfall_runner::{Ended, Look, Remembered, look};
use landfall_sim::Fault;

use crate::stage::{Attempt, Crash, Stage, Told, plan_text, read};

const PLATFORM: &str = r#"
apiVersion: landfall.dev/v1
kind: Platform
metadata: { name: shop }
spec:
  region: us-east-1
  account: "111122223333"
  components:
    data: { uses: data }
"#;

const COMPONENT: &str = r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: data }
spec:
  inputs:
    days: { type: integer, default: 7 }
  steps:
    - name: main
      stack: { template: main.cfn.yaml, parameters: { Days: "${inputs.days}" } }
"#;

const TEMPLATE: &str = "
Parameters: { Days: { Type: Number } }
Resources:
  Bucket: { Type: AWS::S3::Bucket, Properties: { Days: !Ref Days, Class: cold } }
  Policy: { Type: AWS::S3::BucketPolicy, DependsOn: [Bucket] }
Outputs: { BucketArn: { Value: made-up } }
";

/// Another version of it: one resource more, one less, one changed.
const CHANGED: &str = "
Parameters: { Days: { Type: Number } }
Resources:
  Bucket: { Type: AWS::S3::Bucket, Properties: { Days: !Ref Days, Class: warm } }
  Table: { Type: AWS::DynamoDB::Table, DependsOn: [Bucket] }
Outputs: { BucketArn: { Value: made-up } }
";

fn shop(template: &str, days: u32) -> Wanted {
    let component = COMPONENT.replace("default: 7", &format!("default: {days}"));
    read(
        PLATFORM,
        &[(
            "data",
            &[("component.yaml", &component), ("main.cfn.yaml", template)],
        )],
    )
}

async fn stands() -> Stage {
    let mut stage = Stage::new(shop(TEMPLATE, 7), Vec::new());
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    stage
}

fn resources(stage: &Stage) -> Vec<String> {
    let stacks = stage.world.stacks();
    let of = |stack: &landfall_sim::StackView| {
        let resources = stack.resources.iter();
        let resources: Vec<String> = resources
            .map(|(id, (_, status))| format!("{id} {status}"))
            .collect();
        format!("{}: {}", stack.status, resources.join(", "))
    };
    stacks.iter().map(of).collect()
}

fn failure(told: &Told) -> Failure {
    let failed = told.records().into_iter().find_map(|record| match record.entry {
        Entry::StepFailed { failure, .. } => Some(failure),
        _ => None,
    });
    failed.expect("a step failed")
}

fn breaks(resource: &str) -> Fault {
    Fault::StackFails {
        stack: "shop-data-main".to_owned(),
        resource: resource.to_owned(),
        reason: "no room".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_parameter_reaches_what_takes_it() {
    let mut stage = stands().await;
    stage.wanted = shop(TEMPLATE, 30);
    insta::assert_snapshot!(plan_text(&stage.plan().await), @"
    update data.main: 2 changed in place
      Modify AWS::CloudFormation::Stack shop-data-main
        Parameters.Days: 7 -> 30
      Modify AWS::S3::Bucket Bucket
        Days: 7 -> 30
    ");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(
        told.outcomes().into_values().collect::<Vec<_>>(),
        [Outcome::Updated]
    );
    assert_eq!(
        resources(&stage),
        ["UPDATE_COMPLETE: Bucket UPDATE_COMPLETE, Policy CREATE_COMPLETE"]
    );
    assert!(!stage.plan().await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn a_changed_template_adds_changes_and_removes() {
    let mut stage = stands().await;
    stage.wanted = shop(CHANGED, 7);
    insta::assert_snapshot!(plan_text(&stage.plan().await), @"
    update data.main: 1 added, 1 changed in place, 1 removed
      Add AWS::DynamoDB::Table Table
      Modify AWS::S3::Bucket Bucket
        Class: cold -> warm
      Remove AWS::S3::BucketPolicy Policy
    ");
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    assert_eq!(
        resources(&stage),
        ["UPDATE_COMPLETE: Bucket UPDATE_COMPLETE, Table CREATE_COMPLETE"]
    );
    assert!(!stage.plan().await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn a_comment_is_no_change() {
    let mut stage = stands().await;
    stage.wanted = shop(&format!("# About buckets.\n{TEMPLATE}"), 7);
    assert!(!stage.plan().await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_is_taken_back_and_tried_again() {
    let mut stage = stands().await;
    stage.wanted = shop(CHANGED, 7);
    stage.world.add_fault(breaks("Table"));
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_debug_snapshot!(failure(&told), @r#"
    Failure {
        summary: "the stack `shop-data-main` ended as UPDATE_ROLLBACK_COMPLETE",
        cause: Some(
            Cause {
                resource: "Table",
                kind: "AWS::DynamoDB::Table",
                state: "CREATE_FAILED",
                reason: "no room",
                at: "2026-01-01T00:01:26.873Z",
            },
        ),
        way_out: Some(
            "run the command again: in a simulated cloud, what failed once is mended",
        ),
    }
    "#);
    assert_eq!(
        resources(&stage),
        ["UPDATE_ROLLBACK_COMPLETE: Bucket UPDATE_COMPLETE, Policy CREATE_COMPLETE"]
    );
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    assert_eq!(
        resources(&stage),
        ["UPDATE_COMPLETE: Bucket UPDATE_COMPLETE, Table CREATE_COMPLETE"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_got_stuck_is_freed_first() {
    let mut stage = stands().await;
    stage.wanted = shop(CHANGED, 7);
    stage.world.add_fault(breaks("Bucket"));
    stage.world.add_fault(Fault::RollbackFails {
        stack: "shop-data-main".to_owned(),
        reason: "nor back".to_owned(),
    });
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    // What came first is told, not what followed from it.
    assert_eq!(failure(&told).cause.unwrap().reason, "no room");
    insta::assert_snapshot!(plan_text(&stage.plan().await), @"update data.main: UPDATE_ROLLBACK_FAILED: an update failed and its rollback too; the rollback is continued first");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert_eq!(
        told.said("continuing"),
        ["data.main: UPDATE_ROLLBACK_FAILED: continuing the rollback"]
    );
    assert_eq!(
        resources(&stage),
        ["UPDATE_COMPLETE: Bucket UPDATE_COMPLETE, Table CREATE_COMPLETE"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_could_not_be_rolled_back_is_cleared_away() {
    let mut stage = Stage::new(
        shop(TEMPLATE, 7),
        vec![
            breaks("Policy"),
            Fault::RollbackFails {
                stack: "shop-data-main".to_owned(),
                reason: "nor back".to_owned(),
            },
        ],
    );
    assert_eq!(stage.apply().await.0, Ended::Failed);
    assert_eq!(
        resources(&stage),
        ["ROLLBACK_FAILED: Bucket CREATE_COMPLETE, Policy DELETE_FAILED"]
    );
    insta::assert_snapshot!(plan_text(&stage.plan().await), @"
    create data.main: ROLLBACK_FAILED: its creation failed and could not be rolled back; what is left of it is deleted
      Add AWS::S3::Bucket Bucket
      Add AWS::S3::BucketPolicy Policy
    ");
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    assert_eq!(
        resources(&stage),
        ["CREATE_COMPLETE: Bucket CREATE_COMPLETE, Policy CREATE_COMPLETE"]
    );
    assert_eq!(stage.world.resources_standing(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_does_not_make_a_second_stack() {
    let lost = Fault::CreateTimesOutButSucceeds {
        stack: "shop-data-main".to_owned(),
    };
    let mut stage = Stage::new(shop(TEMPLATE, 7), vec![lost]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(
        told.outcomes().into_values().collect::<Vec<_>>(),
        [Outcome::Created]
    );
    assert_eq!(
        told.said("no answer"),
        ["data.main: no answer from AWS; trying again"]
    );
    assert_eq!(stage.world.stacks()[0].created_count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_nobody_watched_is_reported_by_the_next_process() {
    for away in [0, 12, 600] {
        let mut stage = Stage::new(shop(TEMPLATE, 7), vec![breaks("Bucket")]);
        let plan = stage.plan().await;
        let told = stage.run(plan);
        // The record of the failure is the third; it is never written.
        let crash = Crash { at: 3, before: true };
        assert_eq!(stage.attempt(&told, Some(crash)).await, Attempt::Crashed);
        stage.wait(Duration::from_secs(away)).await;
        assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Failed));
        assert_eq!(failure(&told).cause.unwrap().reason, "no room");
        assert_eq!(stage.world.stacks()[0].created_count, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_leaves_its_stacks_to_go_on_by_themselves() {
    let mut stage = Stage::new(shop(TEMPLATE, 7), Vec::new());
    let plan = stage.plan().await;
    let told = stage.run(plan);
    {
        let clock = stage.clock.clone();
        tokio::select! {
            _ = stage.attempt(&told, None) => panic!("the stack takes longer than that"),
            () = landfall_runner::Clock::sleep(&*clock, Duration::from_secs(5)) => {}
        }
    }
    assert_eq!(
        resources(&stage),
        ["CREATE_IN_PROGRESS: Bucket CREATE_IN_PROGRESS"]
    );
    insta::assert_snapshot!(plan_text(&stage.plan().await), @"update data.main: CREATE_IN_PROGRESS: waits until that is over, then brings it up to date");
    stage.wait(Duration::from_secs(60)).await;
    assert_eq!(
        resources(&stage),
        ["CREATE_COMPLETE: Bucket CREATE_COMPLETE, Policy CREATE_COMPLETE"]
    );
    assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Succeeded));
    assert_eq!(
        told.outcomes().into_values().collect::<Vec<_>>(),
        [Outcome::Created]
    );
}

#[tokio::test(start_paused = true)]
async fn another_run_waits_for_what_is_busy() {
    let mut stage = Stage::new(shop(TEMPLATE, 7), Vec::new());
    let plan = stage.plan().await;
    let told = stage.run(plan);
    let crash = Crash { at: 3, before: true };
    assert_eq!(stage.attempt(&told, Some(crash)).await, Attempt::Crashed);
    stage.wanted = shop(TEMPLATE, 30);
    stage.world.add_fault(breaks("Bucket"));
    assert_eq!(stage.apply().await.0, Ended::Failed);
    // An update is under way, and a third run, which knows nothing of it, comes to wait for it.
    stage.world.add_fault(breaks("Bucket"));
    let plan = stage.plan().await;
    let second = stage.run(plan);
    {
        let clock = stage.clock.clone();
        tokio::select! {
            _ = stage.attempt(&second, None) => panic!("the update takes longer than that"),
            () = landfall_runner::Clock::sleep(&*clock, Duration::from_secs(10)) => {}
        }
    }
    let (ended, third) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", third.text());
    assert_eq!(
        third.said("waiting for that"),
        ["data.main: UPDATE_IN_PROGRESS: waiting for that to end"]
    );
    assert!(!stage.plan().await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn a_stack_of_another_platform_is_not_touched() {
    // `shop-data` with a component `x` asks for the name that `shop` gives to its component `data-x`.
    let definition: &[(&str, &str)] = &[("component.yaml", COMPONENT), ("main.cfn.yaml", TEMPLATE)];
    let theirs = read(
        &PLATFORM.replace(" data: {", " data-x: {"),
        &[("data", definition)],
    );
    let ours = PLATFORM
        .replace("name: shop", "name: shop-data")
        .replace(" data: {", " x: {");
    let mut stage = Stage::new(read(&ours, &[("data", definition)]), Vec::new());
    let too_early = stage.plan().await;
    let ours = std::mem::replace(&mut stage.wanted, theirs);
    assert_eq!(stage.apply().await.0, Ended::Succeeded);

    stage.wanted = ours;
    stage.remembered.clear();
    let seen = look(
        &stage.wanted,
        &stage.providers,
        Remembered::default(),
        Look::AtWhatStands,
    )
    .await
    .unwrap();
    let refused = plan_apply(stage.wanted.clone(), &seen, too_early.id.clone(), String::new()).unwrap_err();
    insta::assert_snapshot!(refused, @"
    something stands in the way:
      x.main: the stack `shop-data-x-main` belongs to the platform `shop`; rename this platform or the component
    ");
    // Nor is it touched by a plan from before it was there.
    let told = stage.run(too_early);
    assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Failed));
    insta::assert_snapshot!(failure(&told).summary, @"the stack `shop-data-x-main` belongs to the platform `shop`");
    assert_eq!(
        resources(&stage),
        ["CREATE_COMPLETE: Bucket CREATE_COMPLETE, Policy CREATE_COMPLETE"]
    );
    assert_eq!(stage.plan_destroy().await.steps, []);
}

/// A template in which a parameter decides what there is.
const DECIDED: &str = "
Parameters: { Days: { Type: Number } }
Conditions: { Long: !Not [ !Equals [ !Ref Days, '7' ] ] }
Resources:
  Bucket: { Type: AWS::S3::Bucket, Properties: { Class: !If [ Long, cold, warm ] } }
  Table: { Type: AWS::DynamoDB::Table, Condition: Long }
Outputs:
  BucketArn: { Value: made-up }
  TableArn: { Condition: Long, Value: made-up }
";

#[tokio::test(start_paused = true)]
async fn a_resource_whose_condition_does_not_hold_is_not_there() {
    let mut stage = Stage::new(shop(DECIDED, 7), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(resources(&stage), ["CREATE_COMPLETE: Bucket CREATE_COMPLETE"]);
    assert_eq!(outputs(&told), ["BucketArn"]);

    stage.wanted = shop(DECIDED, 30);
    insta::assert_snapshot!(plan_text(&stage.plan().await), @"
    update data.main: 1 added, 2 changed in place
      Modify AWS::CloudFormation::Stack shop-data-main
        Parameters.Days: 7 -> 30
        Outputs: BucketArn -> BucketArn, TableArn
      Add AWS::DynamoDB::Table Table
      Modify AWS::S3::Bucket Bucket
        Class: ? -> ?
    ");
    let (_, told) = stage.apply().await;
    assert_eq!(
        resources(&stage),
        ["UPDATE_COMPLETE: Bucket UPDATE_COMPLETE, Table CREATE_COMPLETE"]
    );
    assert_eq!(outputs(&told), ["BucketArn", "TableArn"]);

    stage.wanted = shop(DECIDED, 7);
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    assert_eq!(resources(&stage), ["UPDATE_COMPLETE: Bucket UPDATE_COMPLETE"]);
}

/// What the only step gave.
fn outputs(told: &Told) -> Vec<String> {
    let given = told.records().into_iter().find_map(|record| match record.entry {
        Entry::StepDone { outputs, .. } => Some(outputs),
        _ => None,
    });
    given.expect("a step was applied").keys().cloned().collect()
}
