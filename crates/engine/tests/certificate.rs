//! What a certificate says of what is left.

mod common;

use landfall_engine::Seen;
use landfall_engine::certificate::{TeardownRun, certify};
use landfall_engine::teardown::plan_destroy;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::{PlanId, RunId};
use landfall_model::journal::{Entry, Record};
use landfall_model::leftover::Found;
use landfall_model::provider::{Failure, Owned};

use common::wanted;

fn bucket() -> Owned {
    let address = serde_json::json!({ "name": "acme-state-bucket", "id": "stack-1" });
    Owned {
        retain: true,
        ..Owned::new(StepId::new("state", "bucket"), StepKind::Stack, address)
    }
}

fn found(stack: Option<&str>) -> Found {
    Found {
        kind: "AWS::S3::Bucket".to_owned(),
        id: "arn:aws:s3:::acme-state".to_owned(),
        region: "us-east-1".to_owned(),
        because: "tag landfall:platform=acme".to_owned(),
        stack: stack.map(str::to_owned),
        data: None,
        used_by: None,
    }
}

/// A teardown of the bucket, kept or not, that ended as `records` say, and what was seen after it.
fn certificate(retained_too: bool, records: Vec<Entry>, after: &Seen) -> String {
    let before = Seen {
        owned: vec![bucket()],
        ..Seen::default()
    };
    let plan = plan_destroy(
        wanted(Vec::new()),
        &before,
        retained_too,
        PlanId("plan".to_owned()),
        String::new(),
    );
    let records: Vec<Record> = records
        .into_iter()
        .map(|entry| Record {
            at: String::new(),
            entry,
        })
        .collect();
    let run = RunId("run".to_owned());
    let runs = [TeardownRun {
        run: &run,
        plan: &plan,
        records: &records,
    }];
    let certificate = certify(&wanted(Vec::new()).facts, &runs, after, String::new());
    format!(
        "clean {}, standing {:?}, retained {:?}, found {}, remarks {:?}",
        certificate.clean,
        certificate.standing,
        certificate
            .retained
            .iter()
            .map(|thing| thing.what.as_str())
            .collect::<Vec<_>>(),
        certificate.found.len(),
        certificate.remarks
    )
}

#[test]
fn what_was_to_go_and_did_not_is_standing_although_it_is_retained_by_its_file() {
    let after = Seen {
        owned: vec![bucket()],
        ..Seen::default()
    };
    let failed = Entry::StepFailed {
        step: StepId::new("state", "bucket"),
        failure: Failure::new("the bucket is not empty"),
        took_ms: 1,
    };
    insta::assert_snapshot!(certificate(true, vec![failed], &after), @"clean false, standing [StepId(state.bucket)], retained [], found 0, remarks []");
    insta::assert_snapshot!(certificate(false, Vec::new(), &after), @r#"
    clean true, standing [], retained ["state.bucket"], found 0, remarks []
    "#);
}

#[test]
fn what_belongs_to_a_stack_that_is_not_ours_is_told_and_left() {
    let after = |stack| Seen {
        found: vec![found(stack)],
        ..Seen::default()
    };
    insta::assert_snapshot!(certificate(true, Vec::new(), &after(None)), @"clean false, standing [], retained [], found 1, remarks []");
    insta::assert_snapshot!(certificate(true, Vec::new(), &after(Some("stack-1"))), @r#"
    clean true, standing [], retained ["AWS::S3::Bucket arn:aws:s3:::acme-state"], found 0, remarks []
    "#);
    insta::assert_snapshot!(certificate(true, Vec::new(), &after(Some("stack-of-somebody"))), @r#"
    clean true, standing [], retained [], found 0, remarks ["AWS::S3::Bucket arn:aws:s3:::acme-state carries a mark of the platform and belongs to stack-of-somebody, which is not the platform's; left alone"]
    "#);
}
