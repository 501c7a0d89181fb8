//! What goes wrong while a run goes on: kill -9 around every call that changes something, ctrl-C,
//! throttling, credentials that expire, stacks that are stuck. Real processes, a real emulator behind
//! a proxy of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{ACCOUNT, Session};
use landfall_testkit::emulator::Emulator;
use landfall_testkit::proxy::{Call, Proxy, Verdict};
use landfall_testkit::tools_or_skip;

const QUEUE: &str = "\
Parameters:
  Name: { Type: String }
Resources:
  Queue: { Type: AWS::SQS::Queue, Properties: { QueueName: !Ref Name } }
Outputs:
  Name: { Value: !GetAtt Queue.QueueName }
";

const STEPS: &str = "    - name: first
      stack: { template: queue.cfn.yaml, parameters: { Name: first }, terminationProtection: true }
    - name: second
      stack: { template: queue.cfn.yaml, parameters: { Name: \"${steps.first.outputs.Name}-second\" } }
    - name: key
      after: [first]
      secret: { recoveryDays: 0 }
    - name: note
      entity:
        file: out/catalog-info.yaml
        entities: [{ apiVersion: backstage.io/v1alpha1, kind: System, metadata: { name: \"${steps.second.outputs.Name}\" } }]
";

fn session(url: &str) -> Session {
    Session::with_component(url, STEPS, &[("queue.cfn.yaml", QUEUE)])
}

const STANDS: &str = "\
stacks = client('cloudformation').list_stacks()['StackSummaries']
print(sorted(s['StackName'] + ' ' + s['StackStatus'] for s in stacks),
      sorted(u.rsplit('/', 1)[1] for u in client('sqs').list_queues().get('QueueUrls', [])),
      [s['Name'] for s in client('secretsmanager').list_secrets()['SecretList']])
";

/// Lets the n-th changing call be judged, and all others pass.
fn nth_change(n: usize, verdict: Verdict) -> impl Fn(&Call) -> Verdict {
    let seen = AtomicUsize::new(0);
    move |call| {
        let is_it =
            call.changes() && call.action != "GetRandomPassword" && seen.fetch_add(1, Ordering::SeqCst) == n;
        if is_it { verdict.clone() } else { Verdict::Pass }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_around_every_change_and_the_next_run_converges() {
    let tools = tools_or_skip!("kill_9_around_every_change_and_the_next_run_converges");
    let aws = Emulator::ministack(&tools);

    // Undisturbed, to know how many changes there are and how the end looks.
    let proxy = Proxy::start(&aws.url, |_| Verdict::Pass).await;
    let calm = session(&proxy.url);
    calm.well(&["apply", "--yes"]);
    let end = aws.ask(ACCOUNT, STANDS);
    let mut changes: Vec<String> = proxy
        .calls()
        .into_iter()
        .filter(Call::changes)
        .map(|call| call.action)
        .collect();
    changes.sort();
    let calm = format!("{end}\n{}", changes.join("\n"));
    insta::assert_snapshot!(calm, @r"
    ['acme-demo-first CREATE_COMPLETE', 'acme-demo-second CREATE_COMPLETE'] ['first', 'first-second'] ['acme-demo-key']
    CreateChangeSet
    CreateChangeSet
    CreateSecret
    ExecuteChangeSet
    ExecuteChangeSet
    UpdateTerminationProtection
    ");

    for n in 0..changes.len() {
        for verdict in [Verdict::Hold, Verdict::PassAndHold] {
            let place = format!("killed at change {n}, {verdict:?}");
            // Emulated accounts are worlds of their own.
            let account: &'static str =
                format!("2{n:03}{}0000000", usize::from(verdict == Verdict::Hold)).leak();
            let proxy = Proxy::start(&aws.url, nth_change(n, verdict)).await;
            let mut session = session(&proxy.url);
            session.edit(ACCOUNT, account);
            session.account = account;
            let mut child = session.spawn(&["apply", "--yes"]);
            tokio::time::timeout(Duration::from_secs(30), proxy.holding())
                .await
                .expect("the call comes");
            child.kill().unwrap();
            child.wait().unwrap();
            let before = session.journal();

            proxy.rule(|_| Verdict::Pass);
            let text = session.well(&["apply", "--yes"]);
            assert!(text.contains("Going on with the run"), "{place}\n{text}");
            assert_eq!(
                aws.ask(account, STANDS),
                end.replace(ACCOUNT, account),
                "{place}\n{text}"
            );
            let journal = session.journal();
            assert_eq!(
                journal[..before.len()],
                before,
                "{place}: nothing recorded is lost"
            );
            for step in ["demo.first", "demo.second", "demo.key", "demo.note"] {
                let done = journal
                    .iter()
                    .filter(|one| one["entry"] == "stepDone" && one["step"] == step)
                    .count();
                assert_eq!(done, 1, "{place}: {step} is done once");
                let was_done = before
                    .iter()
                    .any(|one| one["entry"] == "stepDone" && one["step"] == step);
                let again = journal[before.len()..]
                    .iter()
                    .any(|one| one["entry"] == "stepStarted" && one["step"] == step);
                assert!(
                    !(was_done && again),
                    "{place}: {step} had finished and is not repeated"
                );
            }
            assert_eq!(
                session.run(&["plan", "--detailed-exitcode"]).code,
                Some(0),
                "{place}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_apply_is_told_who_is_at_work_and_readers_are_not_kept_waiting() {
    let tools = tools_or_skip!("a_second_apply_is_told_who_is_at_work_and_readers_are_not_kept_waiting");
    let aws = Emulator::ministack(&tools);
    let proxy = Proxy::start(&aws.url, nth_change(0, Verdict::Hold)).await;
    let session = session(&proxy.url);
    let mut child = session.spawn(&["apply", "--yes"]);
    tokio::time::timeout(Duration::from_secs(30), proxy.holding())
        .await
        .expect("the call comes");
    let began = std::time::Instant::now();
    let second = session.run(&["apply", "--yes"]);
    assert_eq!(second.code, Some(1));
    let told = format!("(process {}), since 20", child.id());
    assert!(second.text.contains(&told), "{}", second.text);
    assert!(
        second
            .text
            .contains("another landfall process is changing this platform"),
        "{}",
        second.text
    );
    let status = session.well(&["status"]);
    assert!(status.contains("`landfall apply` goes on with it"), "{status}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
    proxy.rule(|_| Verdict::Pass);
    session.well(&["apply", "--yes"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on() {
    let tools = tools_or_skip!("ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on");
    let aws = Emulator::ministack(&tools);
    // The first stack takes until we let it: its changes are refused as throttled meanwhile.
    let throttled = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    let proxy = Proxy::start(&aws.url, move |call| {
        if call.action == "ExecuteChangeSet" {
            Verdict::Answer(400, throttled.to_owned())
        } else {
            Verdict::Pass
        }
    })
    .await;
    let session = session(&proxy.url);
    let child = session.spawn(&["apply", "--yes"]);
    wait_for(&proxy, "ExecuteChangeSet").await;
    let interrupted = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.rule(|_| Verdict::Pass);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("STOPPING: no further step is started; waiting for demo.first to end"),
        "{text}"
    );
    assert!(
        text.contains("✓ demo.first"),
        "what is in flight is finished:\n{text}"
    );
    assert!(
        text.contains("Stopped. `landfall apply` goes on where this run stopped."),
        "{text}"
    );
    assert!(!text.contains("… demo.second"), "nothing new is started:\n{text}");
    assert!(
        session
            .well(&["status"])
            .contains("`landfall apply` goes on with it")
    );
    session.well(&["apply", "--yes"]);
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
}

async fn wait_for(proxy: &Proxy, action: &str) {
    let mut rounds = 0;
    while !proxy.calls().iter().any(|call| call.action == action) {
        rounds += 1;
        assert!(rounds < 600, "{action} comes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_outages_are_waited_out() {
    let tools = tools_or_skip!("throttling_and_outages_are_waited_out");
    let aws = Emulator::ministack(&tools);
    let throttled = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    let calls = Arc::new(AtomicUsize::new(0));
    // Every third call is throttled, every seventh meets a service that has trouble of its own.
    let proxy = Proxy::start(&aws.url, move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        n if n % 7 == 3 => Verdict::Answer(503, String::new()),
        n if n % 3 == 1 => Verdict::Answer(400, throttled.to_owned()),
        _ => Verdict::Pass,
    })
    .await;
    let session = session(&proxy.url);
    session.well(&["apply", "--yes"]);
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
    session.well(&["destroy", "--yes"]);
    assert_eq!(
        aws.ask(ACCOUNT, "print(client('sqs').list_queues().get('QueueUrls', []))"),
        "[]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_pause_the_run_until_they_are_renewed() {
    let tools = tools_or_skip!("expired_credentials_pause_the_run_until_they_are_renewed");
    let aws = Emulator::ministack(&tools);
    let expired = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error></ErrorResponse>";
    let changed = Arc::new(AtomicUsize::new(0));
    let count = changed.clone();
    let proxy = Proxy::start(&aws.url, move |call| {
        // From the second change on nothing is answered any more, not even "who am I".
        if call.changes() {
            count.fetch_add(1, Ordering::SeqCst);
        }
        if count.load(Ordering::SeqCst) > 2 {
            Verdict::Answer(403, expired.to_owned())
        } else {
            Verdict::Pass
        }
    })
    .await;
    let session = session(&proxy.url);
    let child = session.spawn(&["apply", "--yes"]);
    let mut rounds = 0;
    while !session.runs().exists() || !session.records().contains("\"entry\":\"paused\"") {
        rounds += 1;
        assert!(rounds < 600, "the run pauses");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.rule(|_| Verdict::Pass);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(
        text.matches("PAUSED: the credentials have expired").count(),
        1,
        "{text}"
    );
    assert_eq!(session.run(&["plan", "--detailed-exitcode"]).code, Some(0));
}

/// What DescribeStacks says of a stack in this state.
fn described(state: &str) -> String {
    described_as("acme-demo-first", state)
}

fn described_as(name: &str, state: &str) -> String {
    format!(
        "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult><Stacks><member>\
         <StackName>{name}</StackName><StackId>{name}</StackId>\
         <StackStatus>{state}</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
         <Tags><member><Key>landfall:platform</Key><Value>acme</Value></member></Tags>\
         </member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )
}

/// No emulator gets stuck, so the proxy tells of a stack that is, until it is dealt with.
#[tokio::test(flavor = "multi_thread")]
async fn stuck_stacks_are_freed_or_cleared_away() {
    let tools = tools_or_skip!("stuck_stacks_are_freed_or_cleared_away");
    let mut told = String::new();
    for (state, remedy) in [
        ("UPDATE_ROLLBACK_FAILED", "ContinueUpdateRollback"),
        ("DELETE_FAILED", "DeleteStack"),
        ("ROLLBACK_FAILED", "DeleteStack"),
        ("REVIEW_IN_PROGRESS", "DeleteStack"),
    ] {
        let aws = Emulator::ministack(&tools);
        if state == "UPDATE_ROLLBACK_FAILED" {
            session(&aws.url).well(&["apply", "--yes"]);
        }
        let freed = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::start(&aws.url, move |call| {
            let before = freed.load(Ordering::SeqCst) == 0;
            match call.action.as_str() {
                action if action == remedy && before => {
                    freed.store(1, Ordering::SeqCst);
                    Verdict::Answer(
                        200,
                        format!("<{action}Response><{action}Result/></{action}Response>"),
                    )
                }
                "DescribeStacks" if before && call.stack == "acme-demo-first" => {
                    Verdict::Answer(200, described(state))
                }
                _ => Verdict::Pass,
            }
        })
        .await;
        let stuck = session(&proxy.url);
        let plan = stuck.well(&["plan"]);
        told.push_str(
            plan.lines()
                .find(|line| line.contains(state))
                .unwrap_or("(not told)")
                .trim(),
        );
        told.push('\n');
        stuck.well(&["apply", "--yes"]);
        assert!(
            proxy.calls().iter().any(|call| call.action == remedy),
            "{state} is met with {remedy}"
        );
        assert_eq!(
            stuck.run(&["plan", "--detailed-exitcode"]).code,
            Some(0),
            "{state}"
        );
    }
    insta::assert_snapshot!(told, @r"
    update: UPDATE_ROLLBACK_FAILED: an update failed and its rollback too; the rollback is continued first
    create: DELETE_FAILED: its deletion failed; what is left of it is deleted
    create: ROLLBACK_FAILED: its creation failed and could not be rolled back; what is left of it is deleted
    create: REVIEW_IN_PROGRESS: a change set was made and never executed; it holds nothing
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_deleted_stack_with_data_is_not_cleared_away() {
    let tools = tools_or_skip!("a_half_deleted_stack_with_data_is_not_cleared_away");
    let aws = Emulator::ministack(&tools);
    let proxy = Proxy::start(&aws.url, |call| {
        let is_it = call.action == "DescribeStacks" && call.stack == "acme-artifacts-bucket";
        if is_it {
            Verdict::Answer(200, described_as("acme-artifacts-bucket", "DELETE_FAILED"))
        } else {
            Verdict::Pass
        }
    })
    .await;
    let session = Session::new(
        &proxy.url,
        &crate::common::platform("    artifacts: { uses: artifact-bucket }\n"),
    );
    let answer = session.run(&["apply", "--yes"]);
    assert_eq!(answer.code, Some(1));
    insta::assert_snapshot!(answer.text.trim(), @r"
    error: something stands in the way:
      artifacts.bucket: the deletion of the stack `acme-artifacts-bucket` failed (DELETE_FAILED) and it still holds ArtifactBucket; finish with `landfall destroy`, or move the data away and delete the stack
    ");
    assert!(!proxy.calls().iter().any(|call| call.action == "DeleteStack"));
}
