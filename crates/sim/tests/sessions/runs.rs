//! Plans carried out from their beginning to their end.

use std::time::Duration;

use landfall_model::journal::Entry;
use landfall_model::plan::Action;
use landfall_runner::{Clock as _, Ended};
use landfall_sim::Fault;
use tokio::sync::watch;

use crate::stage::{ACCESS, Attempt, PLATFORM, SIGN_IN, Stage, acme, plan_text, read};

fn fails(stack: &str, resource: &str) -> Fault {
    Fault::StackFails {
        stack: stack.to_owned(),
        resource: resource.to_owned(),
        reason: "the limit for this account is reached".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_is_applied() {
    let mut stage = Stage::new(acme(), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded);
    told.assert_sound();
    insta::assert_snapshot!(told.text());
}

#[tokio::test(start_paused = true)]
async fn a_second_plan_has_no_changes() {
    let mut stage = Stage::new(acme(), Vec::new());
    stage.apply().await;
    let plan = stage.plan().await;
    assert!(!plan.has_changes());
    insta::assert_snapshot!(plan_text(&plan), @"");
    let calls = stage.world.calls();
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded);
    // Looking at a world costs calls, too; nothing else was asked of this one.
    assert!(
        stage.world.calls() - calls < 30,
        "{}",
        stage.world.calls() - calls
    );
    assert_eq!(told.records().len(), 6, "{}", told.text());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_world() {
    let journal = async |seed| {
        let mut stage = Stage::with(acme(), |config| config.seed = seed);
        stage.apply().await.1.text()
    };
    assert_eq!(journal(1).await, journal(1).await);
    assert_ne!(journal(1).await, journal(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_failing_stack_stops_only_what_depends_on_it() {
    let mut stage = Stage::new(acme(), vec![fails("acme-access-state", "BucketPolicy")]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    told.assert_sound();
    insta::assert_snapshot!(told.text());
    insta::assert_snapshot!(stage.statuses().join("\n"), @"");

    // What failed is mended: the next run clears the rest away and makes what is missing.
    let plan = stage.plan().await;
    insta::assert_snapshot!(plan_text(&plan), @"");
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert_eq!(told.said("clearing it away").len(), 1);
    assert!(!stage.plan().await.has_changes());
    for stack in stage.world.stacks() {
        let made = if stack.name == "acme-access-state" { 2 } else { 1 };
        assert_eq!(stack.created_count, made, "{}", stack.name);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_pause_a_run_until_they_are_renewed() {
    let mut stage = Stage::new(acme(), Vec::new());
    let plan = stage.plan().await;
    let told = stage.run(plan);
    // Revoked while four stacks are being made; signed in again a minute after the run asks for it.
    let millis = stage.clock.millis() + 10_000;
    let world = stage.world.clone();
    let clock = stage.clock.clone();
    let (attempt, ()) = tokio::join!(stage.attempt(&told, None), async {
        clock.sleep(Duration::from_secs(5)).await;
        world.add_fault(Fault::CredentialsExpireAt { millis });
    });
    assert_eq!(attempt, Attempt::Ended(Ended::Succeeded));
    told.assert_sound();
    insta::assert_snapshot!(told.text());
    assert_eq!(
        told.said("credentials"),
        [
            "access.boundary: waiting for credentials to be renewed",
            "access.oidc: waiting for credentials to be renewed",
            "access.state: waiting for credentials to be renewed",
        ]
    );
    assert!(stage.world.stacks().iter().all(|stack| stack.created_count == 1));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_will_not_last_are_refused_before_anything_is_made() {
    let expiry = Fault::CredentialsExpireAt {
        millis: 5 * 60 * 1000,
    };
    let mut stage = Stage::new(acme(), vec![expiry]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_snapshot!(told.text(), @"");
    assert_eq!(stage.world.stacks(), []);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_stop_finishes_what_is_in_flight() {
    let mut stage = Stage::new(acme(), Vec::new());
    let plan = stage.plan().await;
    let told = stage.run(plan);
    let (asked, stop) = watch::channel(false);
    let clock = stage.clock.clone();
    let ask = async {
        clock.sleep(Duration::from_secs(10)).await;
        asked.send(true).unwrap();
        std::future::pending::<()>().await;
    };
    let attempt = tokio::select! {
        attempt = stage.attempt_until(&told, None, stop) => attempt,
        () = ask => unreachable!("asking never ends"),
    };
    assert_eq!(attempt, Attempt::Ended(Ended::Interrupted));
    insta::assert_snapshot!(told.text());
    insta::assert_snapshot!(told.said("stopping").join("\n"), @"");
    let busy = stage
        .statuses()
        .into_iter()
        .filter(|status| status.contains("IN_PROGRESS"));
    assert_eq!(busy.count(), 0);

    assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Succeeded));
    told.assert_sound();
    assert!(stage.world.stacks().iter().all(|stack| stack.created_count == 1));
    assert!(!stage.plan().await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out() {
    let mut stage = Stage::new(acme(), vec![Fault::Throttling { calls: 25 }]);
    let plan = stage.plan().await;
    assert_eq!(stage.world.faults(), [], "looking waits it out, too");
    stage.world.add_fault(Fault::Throttling { calls: 40 });
    let told = stage.run(plan);
    assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Succeeded));
    assert_eq!(stage.world.faults(), []);
    assert!(!told.said("throttled").is_empty());
    assert!(stage.world.stacks().iter().all(|stack| stack.created_count == 1));
}

#[tokio::test(start_paused = true)]
async fn throttling_without_end_fails_the_step_in_the_end() {
    let mut stage = Stage::new(acme(), Vec::new());
    let plan = stage.plan().await;
    stage.world.add_fault(Fault::Throttling { calls: u32::MAX });
    let told = stage.run(plan);
    assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Failed));
    insta::assert_snapshot!(told.text(), @"");
}

#[tokio::test(start_paused = true)]
async fn destroy_leaves_nothing_but_what_templates_keep() {
    let mut stage = Stage::new(acme(), Vec::new());
    stage.apply().await;
    assert_eq!(stage.world.resources_standing(), 9);
    let (ended, told) = stage.destroy().await;
    assert_eq!(ended, Ended::Succeeded);
    told.assert_sound();
    insta::assert_snapshot!(told.text());
    assert_eq!(
        stage.world.left_in_place(),
        ["AWS::Cognito::UserPool acme-signIn-pool-Pool"]
    );
    assert_eq!(stage.world.resources_standing(), 1);
    assert_eq!(stage.world.stacks(), []);
    assert!(stage.remembered.is_empty());
    assert_eq!(stage.plan_destroy().await.count(Action::Delete), 0);

    // And back again: the secret is restored with the value it had.
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    let [secret] = &stage.world.secrets()[..] else {
        panic!("one secret")
    };
    assert_eq!((secret.deleted, secret.created_count), (false, 1));
}

#[tokio::test(start_paused = true)]
async fn destroy_keeps_what_is_retained() {
    let kept = PLATFORM.replace("prefix: acme", "prefix: acme, keepState: true");
    let mut stage = Stage::new(
        read(&kept, &[("access", ACCESS), ("sign-in", SIGN_IN)]),
        Vec::new(),
    );
    stage.apply().await;
    let (ended, _) = stage.destroy().await;
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(stage.statuses(), ["acme-access-state CREATE_COMPLETE"]);
    assert_eq!(
        stage.world.resources_standing(),
        2 + stage.world.left_in_place().len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_fails_once_is_tried_again() {
    let mut stage = Stage::new(acme(), Vec::new());
    stage.apply().await;
    let stuck = Fault::DeleteFails {
        stack: "acme-access-state".to_owned(),
        resource: "BucketPolicy".to_owned(),
        reason: "the bucket is being changed by someone else".to_owned(),
    };
    stage.world.add_fault(stuck.clone());
    let (ended, told) = stage.destroy().await;
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(
        told.said("trying again"),
        ["access.state: the deletion failed once; trying again"]
    );

    // Twice is too much for one run, and is cleared away by the next.
    stage.apply().await;
    stage.world.add_fault(stuck.clone());
    stage.world.add_fault(stuck);
    let (ended, told) = stage.destroy().await;
    assert_eq!(ended, Ended::Failed);
    let failed: Vec<_> = told
        .records()
        .into_iter()
        .filter_map(|record| match record.entry {
            Entry::StepFailed { failure, .. } => failure.cause.map(|cause| (failure.summary, cause.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(
        failed,
        [(
            "the stack `acme-access-state` ended as DELETE_FAILED".to_owned(),
            "the bucket is being changed by someone else".to_owned()
        )]
    );
    assert_eq!(stage.statuses(), ["acme-access-state DELETE_FAILED"]);
    assert_eq!(stage.destroy().await.0, Ended::Succeeded);
    assert_eq!(stage.world.stacks(), []);
}

#[tokio::test(start_paused = true)]
async fn what_someone_else_made_is_used_and_left_in_place() {
    let mut stage = Stage::with(acme(), |config| {
        let audiences = vec!["sts.amazonaws.com".to_owned()];
        config.identity_providers.insert(
            "https://token.actions.githubusercontent.com".to_owned(),
            audiences,
        );
    });
    let plan = stage.plan().await;
    assert_eq!(plan.count(Action::Adopt), 1, "{}", plan_text(&plan));
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded);
    insta::assert_snapshot!(told.text().split("\n00:").find(|text| text.contains("Adopted")).unwrap(), @"");
    assert!(!stage.plan().await.has_changes());
    assert_eq!(stage.plan().await.count(Action::Adopt), 0);
    assert!(
        stage
            .world
            .stacks()
            .iter()
            .all(|stack| stack.name != "acme-access-oidc")
    );
    assert_eq!(stage.destroy().await.0, Ended::Succeeded);
}
