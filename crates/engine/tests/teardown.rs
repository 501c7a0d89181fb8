//! The order of a teardown, shown whole.

mod common;

use landfall_engine::{Seen, plan_destroy};
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::PlanId;
use landfall_model::leftover::{Landmark, LandmarkKind, Marks};
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::Owned;
use landfall_model::wanted::WantedStep;

use common::wanted;

/// Things as `name kind after,after`; `+Ingress` holds such objects, `*Ingress` looks after them, `!` is retained.
fn owned(lines: &str) -> Vec<Owned> {
    lines
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, kind) = (words.next()?, words.next()?);
            let (component, step) = name.split_once('.')?;
            let kind = StepKind::ALL.iter().find(|(_, word)| *word == kind)?.0;
            let mut owned = Owned::new(StepId::new(component, step), kind, serde_json::json!({}));
            for word in words {
                match word.split_at(1) {
                    ("+", held) => owned.holds.push(held.to_owned()),
                    ("*", held) => owned.controls.push(held.to_owned()),
                    ("!", _) => owned.retain = true,
                    _ => {
                        let (component, step) = word.split_once('.')?;
                        owned.after.push(StepId::new(component, step));
                    }
                }
            }
            Some(owned)
        })
        .collect()
}

fn landmark(step: &str, kind: LandmarkKind) -> Landmark {
    let (component, step) = step.split_once('.').unwrap_or_default();
    Landmark {
        step: StepId::new(component, step),
        kind,
        id: "id".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

fn torn_down(lines: &str, landmarks: Vec<Landmark>) -> String {
    torn_down_with(lines, landmarks, &[])
}

/// The same, with checks between things: `(check, what it waits for)`.
fn torn_down_with(lines: &str, landmarks: Vec<Landmark>, checks: &[(&str, &str)]) -> String {
    let id = |name: &str| {
        let (component, step) = name.split_once('.').unwrap_or_default();
        StepId::new(component, step)
    };
    let wanted = wanted(
        checks
            .iter()
            .map(|(check, after)| WantedStep {
                id: id(check),
                title: String::new(),
                kind: StepKind::Check,
                spec: serde_json::Value::Null,
                after: vec![id(after)],
                retain: false,
                existing: None,
                template: None,
                skeleton: [].into(),
            })
            .collect(),
    );
    let seen = Seen {
        owned: owned(lines),
        marks: Some(Marks {
            platform: "acme".to_owned(),
            regions: vec!["us-east-1".to_owned()],
            landmarks,
        }),
        ..Seen::default()
    };
    text(&plan_destroy(
        wanted,
        &seen,
        false,
        PlanId("plan".to_owned()),
        String::new(),
    ))
}

fn text(plan: &Plan) -> String {
    plan.steps
        .iter()
        .map(|step| {
            let after: Vec<&str> = step.after.iter().map(StepId::as_str).collect();
            let why = if step.action == Action::None {
                step.reason.as_str()
            } else {
                ""
            };
            format!("{} {}  {}{why}", step.action.word(), step.id, after.join(" "))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_cluster_goes_from_its_objects_to_its_network() {
    let world = "\
        net.vpc stack
        eks.cluster stack net.vpc
        nodes.group stack eks.cluster
        lbc.objects objects eks.cluster *Ingress *Service
        shop.objects objects eks.cluster +Ingress +PersistentVolumeClaim
        dns.zone stack";
    let landmarks = vec![
        landmark("net.vpc", LandmarkKind::Network),
        landmark("eks.cluster", LandmarkKind::Cluster),
        landmark("nodes.group", LandmarkKind::Nodes),
    ];
    insta::assert_snapshot!(torn_down(world, landmarks), @"
    quiesce lbc.objects:quiesce  
    quiesce shop.objects:quiesce  
    delete shop.objects  lbc.objects:quiesce shop.objects:quiesce
    delete lbc.objects  lbc.objects:quiesce shop.objects shop.objects:quiesce
    delete nodes.group  lbc.objects lbc.objects:quiesce shop.objects shop.objects:quiesce
    delete eks.cluster  lbc.objects lbc.objects:quiesce nodes.group shop.objects shop.objects:quiesce
    sweep leftovers:in-networks  eks.cluster lbc.objects:quiesce nodes.group shop.objects:quiesce
    delete net.vpc  leftovers:in-networks
    delete dns.zone  
    sweep leftovers  dns.zone eks.cluster lbc.objects net.vpc nodes.group shop.objects
    ");
}

#[test]
fn what_the_files_say_counts_for_more_than_what_is_inferred() {
    // The shop was made before the controller, for data: it cannot go first.
    let world = "\
        shop.objects objects +Ingress
        lbc.objects objects shop.objects *Ingress";
    insta::assert_snapshot!(torn_down(world, Vec::new()), @"
    quiesce shop.objects:quiesce  
    quiesce lbc.objects:quiesce  
    delete lbc.objects  lbc.objects:quiesce shop.objects:quiesce
    delete shop.objects  lbc.objects lbc.objects:quiesce shop.objects:quiesce
    sweep leftovers  lbc.objects shop.objects
    ");
}

#[test]
fn a_network_stays_while_something_retained_stands_in_it() {
    let world = "\
        net.vpc stack
        db.instance stack net.vpc !
        web.stack stack net.vpc";
    let landmarks = vec![landmark("net.vpc", LandmarkKind::Network)];
    insta::assert_snapshot!(torn_down(world, landmarks), @"
    delete web.stack  
    none db.instance  web.stackretained on purpose
    none net.vpc  db.instance web.stackkept for db.instance, which is retained and needs it
    sweep leftovers  web.stack
    ");
}

#[test]
fn what_lies_behind_a_check_counts_too() {
    let world = "\
        net.vpc stack
        db.instance stack net.check !
        app.stack stack net.check";
    let landmarks = vec![landmark("net.vpc", LandmarkKind::Network)];
    let checks = [("net.check", "net.vpc")];
    insta::assert_snapshot!(torn_down_with(world, landmarks, &checks), @"
    delete app.stack  
    none db.instance  app.stackretained on purpose
    none net.vpc  app.stack db.instancekept for db.instance, which is retained and needs it
    sweep leftovers  app.stack
    ");
}
