//! What controllers leave behind, and how it is swept: in the right order, in the wrong one, too early.

use std::time::Duration;

use landfall_model::leftover::{Found, Swept};
use landfall_runner::{ApplyError, Ended, Sweeper as _};
use landfall_sim::{Fault, SimSweeper};

use crate::stage::Stage;
use crate::town::{WEB, leftovers, marks, progress, remove, standing, sweep, town};

async fn stands(faults: Vec<Fault>) -> Stage {
    let mut stage = Stage::new(town(WEB), faults);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    stage
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_goes_first_leaves_what_its_controllers_made() {
    let stage = stands(Vec::new()).await;
    let marks = marks(&stage).await;
    let mut story = Vec::new();
    for step in ["cluster.nodes", "cluster.plane", "network.vpc"] {
        story.push(remove(&stage, step).await);
    }
    insta::assert_snapshot!("a_network_refuses_to_go", story.join("\n"));
    insta::assert_snapshot!("what_controllers_left", standing(&stage));

    // Everything in the cluster went with it: nothing is left to be done about the objects.
    assert_eq!(remove(&stage, "shop.web").await, "shop.web is removed");

    // Swept again and again, until a search finds nothing.
    let mut story = String::new();
    for _ in 0..30 {
        let swept = sweep(&stage, &marks).await;
        if swept.is_empty() {
            break;
        }
        story.push_str(&swept);
        story.push_str("---\n");
        stage.wait(Duration::from_secs(60)).await;
    }
    insta::assert_snapshot!("what_was_swept", story);
    assert_eq!(remove(&stage, "network.vpc").await, "network.vpc is removed");
    assert_eq!(standing(&stage), "");
}

#[tokio::test(start_paused = true)]
async fn what_is_swept_while_its_controller_lives_comes_back() {
    let stage = stands(Vec::new()).await;
    let marks = marks(&stage).await;
    let before = leftovers(&stage, &marks).await;
    let first = sweep(&stage, &marks).await;
    assert!(first.contains("LoadBalancer"), "{first}");
    stage.wait(Duration::from_secs(20)).await;
    insta::assert_snapshot!(before);
    let again: Vec<String> = stage
        .world
        .things()
        .into_iter()
        .map(|thing| thing.purpose)
        .collect();
    assert!(
        again.contains(&"load balancer of Ingress shop/web in town".to_owned()),
        "{again:?}"
    );
    assert_eq!(stage.world.created_twice(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn interfaces_linger_and_hold_back_their_security_groups() {
    let stage = stands(vec![Fault::InterfacesLinger { millis: 480_000 }]).await;
    let marks = marks(&stage).await;
    remove(&stage, "cluster.nodes").await;
    remove(&stage, "cluster.plane").await;
    sweep(&stage, &marks).await;
    stage.wait(Duration::from_secs(120)).await;
    insta::assert_snapshot!(leftovers(&stage, &marks).await);
    stage.wait(Duration::from_secs(600)).await;
    sweep(&stage, &marks).await;
    assert_eq!(leftovers(&stage, &marks).await, "");
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_a_stack_is_not_swept() {
    let stage = stands(Vec::new()).await;
    let marks = marks(&stage).await;
    let sweeper = SimSweeper::new(stage.world.clone());
    let found = sweeper.search(&marks).await.unwrap();
    let of_stacks: Vec<&Found> = found.iter().filter(|one| !one.is_leftover()).collect();
    assert!(of_stacks.len() >= 7, "{of_stacks:#?}");
    let (progress, _) = progress("town.sweep");
    for one in of_stacks {
        let swept = sweeper.sweep(one, &progress).await;
        assert!(matches!(swept, Err(ApplyError::Failed(_))), "{one:?} {swept:?}");
    }
    let gone = Found {
        id: "vol-0".to_owned(),
        stack: None,
        ..found[0].clone()
    };
    assert_eq!(sweeper.sweep(&gone, &progress).await, Ok(Swept::Gone));
}

#[tokio::test(start_paused = true)]
async fn guard_duty_makes_things_in_a_network_that_nobody_asked_for() {
    let fault = Fault::GuardDutyEndpoint {
        network: "town-network-vpc".to_owned(),
    };
    let stage = stands(vec![fault]).await;
    let marks = marks(&stage).await;
    for step in [
        "shop.web",
        "drivers.storage",
        "drivers.balancer",
        "cluster.nodes",
        "cluster.plane",
    ] {
        assert_eq!(remove(&stage, step).await, format!("{step} is removed"));
    }
    let mut story = vec![
        remove(&stage, "network.vpc").await,
        leftovers(&stage, &marks).await,
    ];
    for _ in 0..5 {
        story.push(sweep(&stage, &marks).await);
        stage.wait(Duration::from_secs(60)).await;
    }
    story.push(remove(&stage, "network.vpc").await);
    insta::assert_snapshot!(story.join("\n"));
    assert_eq!(standing(&stage), "");
}

#[tokio::test(start_paused = true)]
async fn volumes_load_balancers_and_machines_are_forgotten_sometimes() {
    let stage = stands(vec![Fault::VolumeLeftover, Fault::LoadBalancerLeftover]).await;
    let marks = marks(&stage).await;
    for step in [
        "shop.web",
        "drivers.storage",
        "drivers.balancer",
        "cluster.nodes",
        "cluster.plane",
    ] {
        assert_eq!(remove(&stage, step).await, format!("{step} is removed"));
    }
    insta::assert_snapshot!(leftovers(&stage, &marks).await);
}

#[tokio::test(start_paused = true)]
async fn a_log_group_comes_back_while_something_writes() {
    let fault = Fault::LogGroupRecreated {
        name: "/aws/eks/town/cluster".to_owned(),
        times: 1,
    };
    let stage = stands(vec![fault]).await;
    stage.world.write_log("us-east-1", "/aws/eks/town/cluster");
    stage.world.write_log("us-east-1", "/aws/eks/village/cluster");
    let marks = marks(&stage).await;
    remove(&stage, "cluster.nodes").await;
    let groups = async || {
        let found = leftovers(&stage, &marks).await;
        found
            .lines()
            .find(|line| line.contains("LogGroup"))
            .map(str::to_owned)
    };
    assert_eq!(groups().await.as_deref(), Some("1 AWS::Logs::LogGroup"));
    sweep(&stage, &marks).await;
    assert_eq!(groups().await, None);
    stage.wait(Duration::from_secs(90)).await;
    assert_eq!(groups().await.as_deref(), Some("1 AWS::Logs::LogGroup"));
    sweep(&stage, &marks).await;
    stage.wait(Duration::from_secs(90)).await;
    assert_eq!(groups().await, None);
}
