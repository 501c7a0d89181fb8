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
    insta::assert_snapshot!(plan_text(&plan), @"
    check access.identity: looked at in every run
    none access.boundary: up to date
    none access.oidc: up to date
    none access.state: up to date
    none access.pipeline: up to date
    none signIn.clientSecret: up to date
    none signIn.pool: up to date
    check signIn.discovery: looked at in every run
    ");
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
    insta::assert_snapshot!(stage.statuses().join("\n"), @"
    acme-access-boundary CREATE_COMPLETE
    acme-access-oidc CREATE_COMPLETE
    acme-access-state ROLLBACK_COMPLETE
    ");

    // What failed is mended: the next run clears the rest away and makes what is missing.
    let plan = stage.plan().await;
    insta::assert_snapshot!(plan_text(&plan), @"
    check access.identity: looked at in every run
    none access.boundary: up to date
    none access.oidc: up to date
    create access.state: ROLLBACK_COMPLETE: its creation failed and was rolled back; it holds nothing
      Add AWS::S3::Bucket Bucket
      Add AWS::S3::BucketPolicy BucketPolicy
    create access.pipeline: does not exist yet
      Add AWS::IAM::Role Role
    none signIn.clientSecret: up to date
    create signIn.pool: does not exist yet
      Add AWS::Cognito::UserPool Pool
      Add AWS::Cognito::UserPoolClient Client
      Add AWS::Cognito::UserPoolDomain Domain
    check signIn.discovery: looked at in every run
    ");
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
    insta::assert_snapshot!(told.text(), @r#"
    00:00:00.480  run-1 of plan starts, to Apply
    00:00:00.480  access.identity starts as landfall-a6af4849c8cb
    00:00:00.480  signIn.clientSecret starts as landfall-afa0c6fcfa16
    00:00:00.600  access.identity failed after 0.1 s: the credentials of arn:aws:sts::111122223333:assumed-role/simulated/you last 299 s, but at least 900 s are needed
        first: credentials arn:aws:sts::111122223333:assumed-role/simulated/you EXPIRING at 2026-01-01T00:00:00.600Z: they expire in 299 s
        way out: sign in again (`aws sso login`) and run the command again; when new credentials are as short, raise the session's maximum duration in IAM or IAM Identity Center
    00:00:00.600  access.boundary is skipped because of access.identity
    00:00:00.600  access.oidc is skipped because of access.identity
    00:00:00.600  access.state is skipped because of access.identity
    00:00:00.600  access.pipeline is skipped because of access.identity
    00:00:00.600  signIn.pool is skipped because of access.identity
    00:00:00.600  signIn.discovery is skipped because of access.identity
    00:00:00.960  signIn.clientSecret is done: Created in 0.4 s
        arn: arn:aws:secretsmanager:us-east-1:111122223333:secret:acme-signIn-clientSecret-urazmy
        name: acme-signIn-clientSecret
        reference: {{resolve:secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:acme-signIn-clientSecret-urazmy:SecretString}}
        owns {"name":"acme-signIn-clientSecret","recoveryDays":7}
    00:00:00.960  finished, badly
    "#);
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
    insta::assert_snapshot!(told.said("stopping").join("\n"), @"stopping: [StepId(access.boundary), StepId(access.oidc), StepId(access.state)]");
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
async fn a_run_that_waits_for_credentials_can_be_stopped() {
    let mut stage = Stage::new(acme(), Vec::new());
    let plan = stage.plan().await;
    let told = stage.run(plan);
    let (asked, stop) = watch::channel(false);
    let (clock, world) = (stage.clock.clone(), stage.world.clone());
    let (attempt, ()) = tokio::join!(stage.attempt_until(&told, None, stop), async {
        clock.sleep(Duration::from_secs(5)).await;
        world.add_fault(Fault::CredentialsExpireAt { millis: 0 });
        clock.sleep(Duration::from_secs(25)).await;
        asked.send(true).unwrap();
    });
    assert_eq!(attempt, Attempt::Ended(Ended::Interrupted));
    // What was in flight has no end yet: it is taken up again where the world left it.
    assert_eq!(told.outcomes().len(), 2, "{}", told.text());
    stage.world.renew_credentials();
    assert_eq!(stage.attempt(&told, None).await, Attempt::Ended(Ended::Succeeded));
    told.assert_sound();
    assert!(stage.world.stacks().iter().all(|stack| stack.created_count == 1));
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
    insta::assert_snapshot!(told.text(), @"
    00:00:00.480  run-1 of plan starts, to Apply
    00:00:00.480  access.identity starts as landfall-a6af4849c8cb
    00:00:00.480  signIn.clientSecret starts as landfall-afa0c6fcfa16
    00:15:18.100  access.identity failed after 917.6 s: asking whose credentials these are: Rate exceeded (Throttling)
        way out: AWS has been asked too often for a quarter of an hour, perhaps by somebody else in this account (CloudTrail shows who): run the command again once that is over; it goes on from here
    00:15:18.100  access.boundary is skipped because of access.identity
    00:15:18.100  access.oidc is skipped because of access.identity
    00:15:18.100  access.state is skipped because of access.identity
    00:15:18.100  access.pipeline is skipped because of access.identity
    00:15:18.100  signIn.pool is skipped because of access.identity
    00:15:18.100  signIn.discovery is skipped because of access.identity
    00:15:18.100  signIn.clientSecret failed after 917.6 s: making the secret `acme-signIn-clientSecret`: Rate exceeded (Throttling)
        way out: AWS has been asked too often for a quarter of an hour, perhaps by somebody else in this account (CloudTrail shows who): run the command again once that is over; it goes on from here
    00:15:18.100  finished, badly
    ");
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
    insta::assert_snapshot!(told.text().split("\n00:").find(|text| text.contains("Adopted")).unwrap(), @r#"
    00:01.320  access.oidc is done: Adopted in 0.2 s
        ProviderArn: arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com
        owns {"oidcProvider":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}
        made after access.identity
        made by someone else
        note: uses the identity provider for https://token.actions.githubusercontent.com that the account already has; destroy leaves it in place
    "#);
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
