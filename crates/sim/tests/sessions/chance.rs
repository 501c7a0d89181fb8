//! Any platform, any single mishap, any deaths: run again often enough, it always comes right.

use std::fmt::Write as _;
use std::time::Duration;

use landfall_model::plan::{Plan, Purpose};
use landfall_runner::Ended;
use landfall_sim::Fault;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::stage::{Attempt, Crash, Shelf, Stage, Told, read_from};

/// A step of some kind, and which of the steps before it it waits for: for a value, or just so.
#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    values: Vec<usize>,
    after: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A stack with some resources, each needing the one before it, or none.
    Stack {
        resources: usize,
        in_a_row: bool,
    },
    Secret,
    Check,
}

/// A mishap, at a step given by any number.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    None,
    Fails {
        at: usize,
        resource: usize,
        rollback_too: bool,
    },
    DeletionFails {
        at: usize,
        times: usize,
    },
    AnswerLost {
        at: usize,
    },
    Throttled {
        calls: u32,
    },
    Expired {
        seconds: u64,
    },
}

/// A death, and for how long nobody is there afterwards.
#[derive(Clone, Copy, Debug)]
struct Death {
    crash: Crash,
    away_s: u64,
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let kind = prop_oneof![
        6 => (1..4_usize, any::<bool>()).prop_map(|(resources, in_a_row)| Kind::Stack { resources, in_a_row }),
        1 => Just(Kind::Secret),
        1 => Just(Kind::Check),
    ];
    let edges = || prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let step = (kind, edges(), edges());
    prop::collection::vec(step, 1..=12).prop_map(|steps| {
        let earlier = |edges: Vec<prop::sample::Index>, at: usize| {
            let mut edges: Vec<usize> = match at {
                0 => Vec::new(),
                _ => edges.into_iter().map(|edge| edge.index(at)).collect(),
            };
            edges.sort_unstable();
            edges.dedup();
            edges
        };
        let nodes = steps
            .into_iter()
            .enumerate()
            .map(|(at, (kind, values, after))| Node {
                kind,
                values: earlier(values, at),
                after: earlier(after, at),
            });
        nodes.collect()
    })
}

fn mishaps() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        Just(Mishap::None),
        (0..12_usize, 0..3_usize, any::<bool>()).prop_map(|(at, resource, rollback_too)| Mishap::Fails {
            at,
            resource,
            rollback_too
        }),
        (0..12_usize, 1..4_usize).prop_map(|(at, times)| Mishap::DeletionFails { at, times }),
        (0..12_usize).prop_map(|at| Mishap::AnswerLost { at }),
        // As many as are waited out: patience ends after a quarter of an hour.
        (1..40_u32).prop_map(|calls| Mishap::Throttled { calls }),
        (0..200_u64).prop_map(|seconds| Mishap::Expired { seconds }),
    ]
}

fn deaths() -> impl Strategy<Value = Vec<Death>> {
    let death = (
        1..30_usize,
        any::<bool>(),
        prop_oneof![Just(0), 1..30_u64, Just(1200)],
    );
    let death = death.prop_map(|(at, before, away_s)| Death {
        crash: Crash { at, before },
        away_s,
    });
    prop::collection::vec(death, 0..4)
}

/// The platform that has these steps, as files.
fn platform(nodes: &[Node]) -> Stage {
    let mut component =
        "apiVersion: landfall.dev/v1\nkind: Component\nmetadata: { name: any }\nspec:\n  steps:\n".to_owned();
    let mut files = std::collections::BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut after = node.after.clone();
        // Only stacks take values here, and not from checks: what a check gives is known only in a run, so
        // a plan has to look at whatever takes it again.
        let gives = |from: &&usize| !matches!(nodes[**from].kind, Kind::Check);
        let takes = matches!(node.kind, Kind::Stack { .. });
        let (values, others): (Vec<usize>, Vec<usize>) =
            node.values.iter().partition(|from| takes && gives(from));
        after.extend(others);
        let after: Vec<String> = after.iter().map(|at| format!("s{at}")).collect();
        let _ = writeln!(
            component,
            "    - name: s{at}\n      after: [{}]",
            after.join(", ")
        );
        match node.kind {
            Kind::Secret => component.push_str("      secret: { recoveryDays: 0 }\n"),
            Kind::Check => component
                .push_str("      check: { identity: { account: \"${platform.account}\" }, within: 30s }\n"),
            Kind::Stack { resources, in_a_row } => {
                let value = |from: &usize| {
                    let output = match nodes[*from].kind {
                        Kind::Stack { .. } => "OtherArn",
                        Kind::Secret | Kind::Check => "arn",
                    };
                    format!("P{from}: \"${{steps.s{from}.outputs.{output}}}\"")
                };
                let given: Vec<String> = values.iter().map(value).collect();
                let _ = writeln!(
                    component,
                    "      stack: {{ template: s{at}.cfn.yaml, parameters: {{ {} }} }}",
                    given.join(", ")
                );
                let declared: Vec<String> = values
                    .iter()
                    .map(|from| format!("P{from}: {{ Type: String }}"))
                    .collect();
                let kinds = ["AWS::IAM::Role", "AWS::S3::Bucket", "AWS::DynamoDB::Table"];
                let mut template = format!("Parameters: {{ {} }}\nResources:\n", declared.join(", "));
                for (resource, kind) in kinds.iter().enumerate().take(resources) {
                    let _ = write!(template, "  R{resource}: {{ Type: {kind}");
                    if in_a_row && resource > 0 {
                        let _ = write!(template, ", DependsOn: [R{}]", resource - 1);
                    }
                    template.push_str(" }\n");
                }
                template.push_str("Outputs: { OtherArn: { Value: made-up } }\n");
                files.insert(format!("s{at}.cfn.yaml"), template);
            }
        }
    }
    files.insert("component.yaml".to_owned(), component);
    let shelf = Shelf([("any".to_owned(), files)].into());
    let wanted = read_from(
        "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: { name: p }\n\
         spec: { region: us-east-1, account: \"111122223333\", components: { c: { uses: any } } }\n",
        &shelf,
    );
    Stage::new(wanted, Vec::new())
}

/// The faults of a mishap, at stacks of this platform.
fn faults(mishap: Mishap, nodes: &[Node]) -> Vec<Fault> {
    let stacks: Vec<usize> = (0..nodes.len())
        .filter(|at| matches!(nodes[*at].kind, Kind::Stack { .. }))
        .collect();
    let stack = |at: usize| {
        stacks
            .get(at % stacks.len().max(1))
            .map(|at| format!("p-c-s{at}"))
    };
    let faults = match mishap {
        Mishap::None => Some(Vec::new()),
        Mishap::Fails {
            at,
            resource,
            rollback_too,
        } => stack(at).map(|stack| {
            let fails = Fault::StackFails {
                stack: stack.clone(),
                resource: format!("R{resource}"),
                reason: "no room".to_owned(),
            };
            let rollback = Fault::RollbackFails {
                stack,
                reason: "nor back".to_owned(),
            };
            if rollback_too {
                vec![fails, rollback]
            } else {
                vec![fails]
            }
        }),
        Mishap::DeletionFails { at, times } => stack(at).map(|stack| {
            let fails = Fault::DeleteFails {
                stack,
                resource: "R0".to_owned(),
                reason: "in use".to_owned(),
            };
            vec![fails; times]
        }),
        Mishap::AnswerLost { at } => stack(at).map(|stack| vec![Fault::CreateTimesOutButSucceeds { stack }]),
        Mishap::Throttled { calls } => Some(vec![Fault::Throttling { calls }]),
        Mishap::Expired { seconds } => Some(vec![Fault::CredentialsExpireAt {
            millis: seconds * 1000,
        }]),
    };
    faults.unwrap_or_default()
}

/// Runs again and again, dying as told, until a run succeeds. Returns all the runs.
async fn converge(stage: &mut Stage, purpose: Purpose, deaths: &mut Vec<Death>) -> Vec<Told> {
    let mut runs: Vec<Told> = Vec::new();
    for _ in 0..5 {
        let plan: Plan = match purpose {
            Purpose::Apply => stage.plan().await,
            Purpose::Destroy => stage.plan_destroy().await,
        };
        let told = stage.run(plan);
        let ended = loop {
            let death = deaths.pop();
            match stage.attempt(&told, death.map(|death| death.crash)).await {
                Attempt::Ended(ended) => break ended,
                Attempt::Crashed => {
                    stage
                        .wait(Duration::from_secs(death.map_or(0, |death| death.away_s)))
                        .await;
                }
            }
        };
        told.assert_sound();
        runs.push(told);
        match ended {
            Ended::Succeeded => return runs,
            Ended::Failed => {}
            Ended::Interrupted => panic!("nobody asked it to stop"),
        }
    }
    let texts: Vec<String> = runs.iter().map(Told::text).collect();
    panic!("five runs, and none succeeded:\n{}", texts.join("\n\n"));
}

async fn session(nodes: Vec<Node>, mishap: Mishap, mut deaths: Vec<Death>, at_once: usize) {
    let mut stage = platform(&nodes);
    stage.at_once = at_once;
    for fault in faults(mishap, &nodes) {
        stage.world.add_fault(fault);
    }
    let runs = converge(&mut stage, Purpose::Apply, &mut deaths).await;
    let wanted = nodes
        .iter()
        .filter(|node| matches!(node.kind, Kind::Stack { .. }))
        .count();
    let stacks = stage.world.stacks();
    assert_eq!(stacks.len(), wanted);
    for stack in &stacks {
        assert_eq!(stack.status, "CREATE_COMPLETE");
        let failed = runs.len() > 1 && matches!(mishap, Mishap::Fails { .. });
        assert!(
            stack.created_count == 1 || failed && stack.created_count == 2,
            "{stack:?}"
        );
    }
    let plan = stage.plan().await;
    assert!(!plan.has_changes(), "{}", crate::stage::plan_text(&plan));

    converge(&mut stage, Purpose::Destroy, &mut deaths).await;
    assert_eq!(stage.world.stacks(), []);
    assert_eq!(stage.world.secrets(), []);
    assert_eq!(stage.world.resources_standing(), 0);
}

/// How many sessions are tried; more when asked, as with every other property test.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/sessions/seeds.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_it_comes_right(
        nodes in nodes(), mishap in mishaps(), deaths in deaths(), at_once in 1..6_usize
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(session(nodes, mishap, deaths, at_once));
    }
}
