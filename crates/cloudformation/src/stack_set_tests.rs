use std::fmt::Write as _;

use indexmap::IndexMap;
use landfall_model::StepId;
use landfall_model::definition::{CallAs, RegionConcurrency};
use landfall_model::template::{TemplateInterface, TemplateParameter};
use landfall_model::wanted::Facts;
use landfall_model::work::Work;

use super::*;

const TEMPLATE: &str = "\
Parameters:\n  Prefix: {Type: String}\n  Days: {Type: Number, Default: 30}\n  Key: {Type: String, NoEcho: true}\n\
Resources:\n  Role: {Type: AWS::IAM::Role, Properties: {RoleName: !Ref Prefix, Path: /}}\n  Bucket: {Type: AWS::S3::Bucket, DeletionPolicy: Retain}\n";

fn parameter(default: Option<&str>, no_echo: bool) -> TemplateParameter {
    TemplateParameter {
        has_default: default.is_some(),
        default: default.map(str::to_owned),
        no_echo,
        allowed: Vec::new(),
        fetched: false,
    }
}

fn accounts(ids: &[&str]) -> Targets {
    Targets::Accounts {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        administration_role: None,
        execution_role: "AWSCloudFormationStackSetExecutionRole".to_owned(),
    }
}

fn units(ids: &[&str]) -> Targets {
    Targets::Units {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        auto_deployment: AutoDeployment::default(),
        call_as: CallAs::Own,
    }
}

fn step(targets: Targets, regions: &[&str]) -> Step {
    let known = |text: &str| Known::Value(text.to_owned());
    Step {
        id: StepId::new("demo", "set"),
        facts: Facts {
            name: "acme".to_owned(),
            region: "us-east-1".to_owned(),
            account: "111122223333".to_owned(),
            tags: BTreeMap::new(),
        },
        work: Work::StackSet(Box::new(StackSetWork {
            name: "acme-demo-set".to_owned(),
            region: "us-east-1".to_owned(),
            template: TEMPLATE.to_owned(),
            interface: TemplateInterface {
                parameters: IndexMap::from([
                    ("Prefix".to_owned(), parameter(None, false)),
                    ("Days".to_owned(), parameter(Some("30"), false)),
                    ("Key".to_owned(), parameter(None, true)),
                ]),
                ..TemplateInterface::default()
            },
            parameters: BTreeMap::from([
                ("Prefix".to_owned(), known("acme")),
                ("Key".to_owned(), known("{{resolve:secretsmanager:one}}")),
            ]),
            targets,
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            max_concurrent_percentage: 100,
            failure_tolerance_percentage: 0,
            region_concurrency: RegionConcurrency::Sequential,
            artifact_bucket: None,
        })),
    }
}

fn work(step: &Step) -> &StackSetWork {
    match &step.work {
        Work::StackSet(work) => work,
        _ => panic!("it is a stack set"),
    }
}

fn instance(account: &str, region: &str, state: &str) -> Instance {
    Instance {
        account: account.to_owned(),
        region: region.to_owned(),
        state: state.to_owned(),
        ..Instance::default()
    }
}

/// What stands after a step was carried out.
fn carried_out(step: &Step) -> Standing {
    let work = work(step);
    let places = work.places();
    let mut set = Standing {
        template: work.template.clone(),
        parameters: BTreeMap::from([
            ("Prefix".to_owned(), "acme".to_owned()),
            ("Key".to_owned(), "****".to_owned()),
        ]),
        tags: step.tags(),
        description: description(step, work),
        regions: work.regions.iter().cloned().collect(),
        instances: places.map(|(id, region)| instance(id, region, CURRENT)).collect(),
        ..Standing::default()
    };
    match &work.targets {
        Targets::Accounts { execution_role, .. } => {
            set.administration_role =
                Some("arn:aws:iam::111122223333:role/AWSCloudFormationStackSetAdministrationRole".to_owned());
            set.execution_role = Some(execution_role.clone());
        }
        Targets::Units { ids, .. } => {
            set.service_managed = true;
            set.units = ids.iter().cloned().collect();
            for one in &mut set.instances {
                one.unit = Some(one.account.clone());
                one.account = "222233334444".to_owned();
            }
        }
    }
    set
}

fn told(changes: &[Change]) -> String {
    changes.iter().fold(String::new(), |mut text, change| {
        let _ = writeln!(text, "{:?} {} {}", change.effect, change.kind, change.subject);
        for one in &change.properties {
            let _ = writeln!(
                text,
                "  {}: {} -> {}",
                one.path,
                one.before.as_deref().unwrap_or("(none)"),
                one.after.as_deref().unwrap_or("(none)")
            );
        }
        text
    })
}

#[test]
fn what_was_carried_out_needs_nothing() {
    for targets in [
        accounts(&["222233334444", "333344445555"]),
        units(&["ou-ab12-cdef3456"]),
    ] {
        let step = step(targets, &["us-east-1", "eu-west-1"]);
        let set = carried_out(&step);
        assert_eq!(changes(&step, work(&step), &set), []);
        assert!(todo(&step, work(&step), &set).is_nothing());
    }
}

#[test]
fn accounts_and_regions_come_and_go() {
    let set = carried_out(&step(
        accounts(&["222233334444", "333344445555"]),
        &["us-east-1", "eu-west-1"],
    ));
    let step = step(
        accounts(&["333344445555", "444455556666"]),
        &["us-east-1", "eu-north-1"],
    );
    insta::assert_snapshot!(told(&changes(&step, work(&step), &set)), @"
    Remove  instance 222233334444/eu-west-1
    Remove  instance 333344445555/eu-west-1
    Remove  instance 222233334444/us-east-1
    Add  instance 444455556666/us-east-1
    Add  instance 333344445555/eu-north-1
    Add  instance 444455556666/eu-north-1
    ");
    let Todo { remove, add, .. } = todo(&step, work(&step), &set);
    insta::assert_debug_snapshot!((remove, add), @r#"
    (
        [
            Group {
                ids: [
                    "222233334444",
                    "333344445555",
                ],
                regions: [
                    "eu-west-1",
                ],
            },
            Group {
                ids: [
                    "222233334444",
                ],
                regions: [
                    "us-east-1",
                ],
            },
        ],
        [
            Group {
                ids: [
                    "444455556666",
                ],
                regions: [
                    "us-east-1",
                ],
            },
            Group {
                ids: [
                    "333344445555",
                    "444455556666",
                ],
                regions: [
                    "eu-north-1",
                ],
            },
        ],
    )
    "#);
}

#[test]
fn an_instance_that_lags_behind_is_updated_and_one_that_is_lost_is_told() {
    let step = step(accounts(&["222233334444", "333344445555"]), &["us-east-1"]);
    let mut set = carried_out(&step);
    set.instances[0].state = "OUTDATED".to_owned();
    set.instances[0].reason = "the account said no".to_owned();
    let what = todo(&step, work(&step), &set);
    assert!(what.update && what.inoperable.is_empty());
    set.instances[1].state = INOPERABLE.to_owned();
    let what = todo(&step, work(&step), &set);
    assert_eq!(what.inoperable.len(), 1);
    insta::assert_snapshot!(told(&changes(&step, work(&step), &set)), @"
    Modify  instance 222233334444/us-east-1
      state: OUTDATED (the account said no) -> CURRENT
    Modify  instance 333344445555/us-east-1
      state: INOPERABLE -> CURRENT
    ");
    insta::assert_debug_snapshot!(inoperable("acme-demo-set", &what.inoperable), @r#"
    Failure {
        summary: "the stack set `acme-demo-set` can do nothing with its instances in 333344445555/us-east-1: their deletion failed before (INOPERABLE)",
        cause: None,
        way_out: Some(
            "delete what is left of the stack in that account by hand; if the account is gone for good, let go of its stacks where they are: `aws cloudformation delete-stack-instances --stack-set-name acme-demo-set --accounts ACCOUNT --regions REGION --retain-stacks`, then run the command again",
        ),
    }
    "#);
}

#[test]
fn what_changes_in_each_account_is_told_by_resource() {
    let step = step(accounts(&["222233334444"]), &["us-east-1"]);
    let mut set = carried_out(&step);
    set.template = TEMPLATE.replace("Path: /", "Path: /old/").replace(
        "  Bucket: {Type: AWS::S3::Bucket, DeletionPolicy: Retain}\n",
        "  Queue: {Type: AWS::SQS::Queue}\n",
    );
    set.parameters.insert("Days".to_owned(), "7".to_owned());
    set.parameters.insert("Gone".to_owned(), "1".to_owned());
    set.tags.remove("landfall:step");
    set.administration_role = Some("arn:aws:iam::111122223333:role/other".to_owned());
    insta::assert_snapshot!(told(&changes(&step, work(&step), &set)), @"
    MayReplace AWS::IAM::Role Role
      Path: /old/ -> /
    Add AWS::S3::Bucket Bucket
    Remove AWS::SQS::Queue Queue
    Modify AWS::CloudFormation::StackSet acme-demo-set
      Parameters.Days: 7 -> 30
      Parameters.Gone: 1 -> (none)
      Tags.landfall:step: (none) -> set
      AdministrationRoleARN: arn:aws:iam::111122223333:role/other -> arn:aws:iam::111122223333:role/AWSCloudFormationStackSetAdministrationRole
    ");
}

#[test]
fn comments_change_nothing_and_what_a_hidden_parameter_refers_to_does() {
    let one = step(accounts(&["222233334444"]), &["us-east-1"]);
    let mut set = carried_out(&one);
    set.template = format!("# why\n{TEMPLATE}");
    assert_eq!(changes(&one, work(&one), &set), []);
    let mut other = one.clone();
    if let Work::StackSet(work) = &mut other.work {
        let reference = "{{resolve:secretsmanager:two}}".to_owned();
        work.parameters.insert("Key".to_owned(), Known::Value(reference));
    }
    let changes = changes(&other, work(&other), &set);
    assert_eq!(changes[0].properties[0].path, "Description");
    assert!(!told(&changes).contains("resolve"), "{}", told(&changes));
}

#[test]
fn a_unit_without_accounts_is_known_by_its_id() {
    let step = step(units(&["ou-ab12-cdef3456", "ou-ab12-00000000"]), &["us-east-1"]);
    let mut set = carried_out(&step);
    set.instances
        .retain(|one| one.unit.as_deref() != Some("ou-ab12-00000000"));
    assert!(todo(&step, work(&step), &set).is_nothing());
    set.units.remove("ou-ab12-00000000");
    let what = todo(&step, work(&step), &set);
    assert_eq!(what.add[0].ids, ["ou-ab12-00000000"]);
}

#[test]
fn permissions_are_decided_once() {
    let set = carried_out(&step(accounts(&["222233334444"]), &["us-east-1"]));
    let step = step(units(&["ou-ab12-cdef3456"]), &["us-east-1"]);
    let why = other_permissions(work(&step), &set).map(InTheWay::said);
    insta::assert_snapshot!(why.unwrap_or_default(), @"the stack set `acme-demo-set` goes to accounts, the file wants organizational units, and a stack set cannot change that; give the component or the step another name: the new one is made and the old one removed");
}

#[test]
fn operations_cover_as_many_places_as_they_can_and_keep_their_names() {
    let places = [
        ("1", "us-east-1"),
        ("2", "us-east-1"),
        ("1", "eu-west-1"),
        ("2", "eu-west-1"),
        ("2", "eu-north-1"),
    ];
    let made = groups(places);
    let told: Vec<(String, String)> = made
        .iter()
        .map(|one| (one.ids.join("+"), one.regions.join("+")))
        .collect();
    let expected = [("1+2", "us-east-1+eu-west-1"), ("2", "eu-north-1")];
    let expected = expected.map(|(ids, regions)| (ids.to_owned(), regions.to_owned()));
    assert_eq!(told, expected);
    assert_eq!(made.iter().map(Group::places).sum::<usize>(), places.len());
    assert_eq!(
        made[0].operation("landfall-0", "create"),
        groups(places)[0].operation("landfall-0", "create")
    );
    assert_ne!(
        made[0].operation("landfall-0", "create"),
        made[1].operation("landfall-0", "create")
    );
}

fn ended(account: &str, state: &str, reason: &str) -> Ended {
    Ended {
        account: account.to_owned(),
        region: "us-east-1".to_owned(),
        state: state.to_owned(),
        reason: reason.to_owned(),
    }
}

#[test]
fn a_failure_names_every_account_and_begins_with_the_first() {
    let role = "Account 222233334444 should have 'AWSCloudFormationStackSetExecutionRole' role with trust relationship to Role \
                'AWSCloudFormationStackSetAdministrationRole'.";
    let bucket = "ResourceLogicalId:Bucket, ResourceType:AWS::S3::Bucket, ResourceStatusReason:acme-log already exists.";
    let results = [
        ended("222233334444", "FAILED", role),
        ended("333344445555", "FAILED", bucket),
        ended("444455556666", "CANCELLED", ""),
        ended("555566667777", "SUCCEEDED", ""),
    ];
    let failure_of = |results: &[Ended]| failure("acme-demo-set", "making instances", "FAILED", "", results);
    insta::assert_debug_snapshot!(failure_of(&results), @r#"
    Failure {
        summary: "making instances of the stack set `acme-demo-set` failed in 222233334444/us-east-1, 333344445555/us-east-1 and was left alone in 1 more; 333344445555/us-east-1: Bucket: acme-log already exists",
        cause: Some(
            Cause {
                resource: "instance 222233334444/us-east-1",
                kind: "",
                state: "FAILED",
                reason: "Account 222233334444 should have 'AWSCloudFormationStackSetExecutionRole' role with trust relationship to Role 'AWSCloudFormationStackSetAdministrationRole'",
                at: "",
            },
        ),
        way_out: Some(
            "make the execution role in that account with a trust in the administration role (the definition `account-bootstrap-set` has a template to hand out, `execution-role.cfn.yaml`), then run the command again",
        ),
    }
    "#);
    insta::assert_debug_snapshot!(failure_of(&results[1..2]), @r#"
    Failure {
        summary: "making instances of the stack set `acme-demo-set` failed in 333344445555/us-east-1",
        cause: Some(
            Cause {
                resource: "Bucket in 333344445555/us-east-1",
                kind: "AWS::S3::Bucket",
                state: "FAILED",
                reason: "acme-log already exists",
                at: "",
            },
        ),
        way_out: Some(
            "names of buckets are shared by everybody and somebody has this one: choose another name in the inputs; if it is yours (`aws s3api head-bucket --bucket NAME` succeeds), it is a remainder: empty and remove it; then run the command again: it goes on from here",
        ),
    }
    "#);
    insta::assert_debug_snapshot!(failure("acme-demo-set", "making instances", "STOPPED", "", &[]), @r#"
    Failure {
        summary: "making instances of the stack set `acme-demo-set` ended as STOPPED",
        cause: None,
        way_out: Some(
            "see who stopped it (`aws cloudformation list-stack-set-operations --stack-set-name acme-demo-set`), then run the command again: it goes on from here",
        ),
    }
    "#);
    let refused = "You must enable organizations access to operate a service managed stack set";
    insta::assert_debug_snapshot!(failure("acme-demo-set", "making instances", "FAILED", refused, &[]), @r#"
    Failure {
        summary: "making instances of the stack set `acme-demo-set` ended as FAILED: You must enable organizations access to operate a service managed stack set",
        cause: None,
        way_out: Some(
            "let the management account turn it on: `aws cloudformation activate-organizations-access`, then run the command again",
        ),
    }
    "#);
}

/// CloudFormation passes over accounts that are suspended: they stay out of date for as long as they are, and
/// must not bring about an update in every run.
#[test]
fn suspended_accounts_are_no_reason_to_update() {
    let step = step(accounts(&["222233334444", "333344445555"]), &["us-east-1"]);
    let work = work(&step);
    let mut set = carried_out(&step);
    set.instances[1].state = SUSPENDED.to_owned();
    assert!(todo(&step, work, &set).is_nothing());
    assert_eq!(changes(&step, work, &set), []);
    set.instances[1].state = "OUTDATED".to_owned();
    assert!(todo(&step, work, &set).update);
    assert_eq!(changes(&step, work, &set).len(), 1);
}
