//! Every kind of mishap, once: the town comes about all the same, and nothing of it is left.

use std::time::Duration;

use landfall_runner::Ended;
use landfall_sim::{Fault, Target, demo};

use crate::stage::{Attempt, Crash, Shelf, Stage, plan_text, read_from};
use crate::town::{WEB, marks, sweep, town};

fn object(kind: &str, namespace: &str, name: &str) -> Target {
    Target::Object {
        cluster: "town".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn mishaps() -> Vec<Fault> {
    let text = str::to_owned;
    let stack = || text("town-network-vpc");
    vec![
        Fault::StackFails {
            stack: stack(),
            resource: text("SubnetA"),
            reason: text("no room"),
        },
        Fault::DeleteFails {
            stack: stack(),
            resource: text("Vpc"),
            reason: text("in use"),
        },
        Fault::CreateTimesOutButSucceeds {
            stack: text("town-cluster-plane"),
        },
        Fault::Throttling { calls: 30 },
        Fault::ThrottlingBurst {
            millis: 600_000,
            for_millis: 120_000,
        },
        Fault::IamVisibleLate { millis: 30_000 },
        Fault::OutputsAppearLate {
            stack: stack(),
            millis: 20_000,
        },
        Fault::LimitExceeded {
            stack: stack(),
            resource: text("Vpc"),
        },
        Fault::CrdLate {
            kind: text("Widget"),
            millis: 1_000,
        },
        Fault::InterfacesLinger { millis: 900_000 },
        Fault::VolumeLeftover,
        Fault::LoadBalancerLeftover,
        Fault::NodeLeftover,
        Fault::LogGroupRecreated {
            name: text("/aws/eks/town/cluster"),
            times: 2,
        },
        Fault::GuardDutyEndpoint { network: stack() },
        Fault::HumanDeletes {
            target: object("Deployment", "shop", "web"),
            millis: 900_000,
        },
        Fault::HumanDeletes {
            target: object("Namespace", "", "shop"),
            millis: 850_000,
        },
        Fault::HumanDeletes {
            target: Target::Stack {
                name: text("town-cluster-nodes"),
            },
            millis: 900_000,
        },
        // Not the cluster's stack: its deletion fails at the node group, which an apply leaves in place.
        Fault::HumanDeletes {
            target: Target::LoadBalancer {
                of: text("Ingress shop/web"),
            },
            millis: 1_000_000,
        },
        Fault::HumanChanges {
            target: Target::LoadBalancer {
                of: text("Ingress shop/web"),
            },
            path: text("landfall:platform"),
            value: None,
            millis: 1_000_000,
        },
        Fault::PodsNeverReady {
            object: text("Deployment/web"),
            reason: text("CrashLoopBackOff"),
        },
        Fault::ImagePullFails {
            object: text("Deployment/balancer"),
            image: text("balancer:v2"),
        },
    ]
}

/// Applied until it stands, then removed until nothing does, swept in between.
async fn lifetime(fault: Fault) {
    let mut stage = Stage::new(town(WEB), vec![fault.clone()]);
    let mut story = Vec::new();
    let mut stands = false;
    for _ in 0..5 {
        let (ended, told) = stage.apply().await;
        story.push(told.text());
        stands = ended == Ended::Succeeded && !stage.plan().await.has_changes();
        if stands {
            break;
        }
    }
    let plan = plan_text(&stage.plan().await);
    assert!(stands, "{fault:?}\n{plan}\n{}", story.join("\n\n"));
    stage.world.write_log("us-east-1", "/aws/eks/town/cluster");
    // What people do, they do by now, and it is mended.
    stage.wait(Duration::from_secs(1200)).await;
    for _ in 0..5 {
        if !stage.plan().await.has_changes() {
            break;
        }
        story.push(stage.apply().await.1.text());
    }
    assert!(
        !stage.plan().await.has_changes(),
        "{fault:?}\n{}",
        story.join("\n\n")
    );
    assert_eq!(stage.world.created_twice(), Vec::<String>::new(), "{fault:?}");
    let marks = marks(&stage).await;
    for _ in 0..8 {
        let (_, told) = stage.destroy().await;
        story.push(told.text());
        for _ in 0..6 {
            story.push(sweep(&stage, &marks).await);
            stage.wait(Duration::from_secs(120)).await;
        }
        if stage.world.everything_standing().is_empty() {
            return;
        }
    }
    panic!(
        "{fault:?}\n{:#?}\n{}",
        stage.world.everything_standing(),
        story.join("\n\n")
    );
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_mishap_is_survived() {
    for fault in mishaps() {
        lifetime(fault).await;
    }
}

#[tokio::test(start_paused = true)]
async fn death_at_any_record_makes_nothing_twice_and_leaves_nothing() {
    for at in (1..30).step_by(2) {
        let crash = Some(Crash {
            at,
            before: at % 4 == 1,
        });
        let mut stage = Stage::new(town(WEB), Vec::new());
        for removing in [false, true] {
            let plan = if removing {
                stage.plan_destroy().await
            } else {
                stage.plan().await
            };
            let told = stage.run(plan);
            if stage.attempt(&told, crash).await == Attempt::Crashed {
                stage.wait(Duration::from_secs(90)).await;
                let ended = stage.attempt(&told, None).await;
                assert_eq!(ended, Attempt::Ended(Ended::Succeeded), "{at}\n{}", told.text());
            }
            told.assert_sound();
            assert_eq!(stage.world.created_twice(), Vec::<String>::new(), "{at}");
            if !removing {
                let plan = stage.plan().await;
                assert!(!plan.has_changes(), "{at}\n{}", plan_text(&plan));
            }
        }
        assert_eq!(stage.world.everything_standing(), Vec::<String>::new(), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_with_everything_leaves_nothing() {
    let definitions = demo::names().map(|name| (name.to_owned(), demo::definition(name)));
    let wanted = read_from(demo::PLATFORM, &Shelf(definitions.collect()));
    for seed in 0..5 {
        let mut stage = Stage::with(wanted.clone(), |config| {
            config.seed = seed;
            config
                .repositories
                .insert(demo::REPOSITORY.to_owned(), demo::repository());
        });
        let (ended, told) = stage.apply().await;
        assert_eq!(ended, Ended::Succeeded, "{seed}\n{}", told.text());
        assert!(
            !stage.plan().await.has_changes(),
            "{seed}\n{}",
            plan_text(&stage.plan().await)
        );
        assert_eq!(stage.world.created_twice(), Vec::<String>::new(), "{seed}");
        let (ended, told) = stage.destroy().await;
        assert_eq!(ended, Ended::Succeeded, "{seed}\n{}", told.text());
        assert_eq!(stage.world.everything_standing(), Vec::<String>::new(), "{seed}");
    }
}
