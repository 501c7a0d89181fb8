//! What a plan should take, and in which order a run starts its steps.

mod common;

use std::collections::HashMap;
use std::fmt::Write as _;

use landfall_engine::Run;
use landfall_engine::schedule::{Forecast, Limits, forecast};
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::PlanId;
use landfall_model::plan::{Action, Estimate, Plan, PlannedStep, Purpose};
use landfall_model::provider::Outputs;
use proptest::prelude::*;

use common::wanted;

/// A plan from `(seconds, the steps it waits for)`, each step named by its place.
fn plan(steps: &[(u64, Vec<usize>)]) -> Plan {
    let id = |at: usize| StepId::new("c", &format!("s{at}"));
    Plan {
        format: 1,
        id: PlanId("plan".to_owned()),
        made_at: String::new(),
        purpose: Purpose::Apply,
        wanted: wanted(Vec::new()),
        steps: steps
            .iter()
            .enumerate()
            .map(|(at, (seconds, after))| PlannedStep {
                id: id(at),
                kind: if at % 3 == 0 {
                    StepKind::Objects
                } else {
                    StepKind::Stack
                },
                action: if *seconds == 0 {
                    Action::None
                } else {
                    Action::Create
                },
                reason: String::new(),
                after: after.iter().map(|at| id(*at)).collect(),
                unknown_until: [].into(),
                changes: Vec::new(),
                seen: String::new(),
                outputs: Outputs::new(),
                owned: None,
                estimate: (*seconds % 2 == 1)
                    .then_some(Estimate {
                        takes_ms: seconds * 1000,
                        timed: 1,
                    })
                    .or(Some(Estimate {
                        takes_ms: seconds * 1000,
                        timed: 0,
                    })),
            })
            .collect(),
        marks: None,
        findings: Vec::new(),
    }
}

fn told(forecast: &Forecast) -> String {
    let critical: Vec<&str> = forecast.critical.iter().map(StepId::as_str).collect();
    let mut text = String::new();
    let _ = write!(
        text,
        "{} s (at least {}, one by one {}); {} of {} timed; critical: {}",
        forecast.takes_ms / 1000,
        forecast.at_least_ms / 1000,
        forecast.one_by_one_ms / 1000,
        forecast.timed,
        forecast.steps,
        critical.join(" ")
    );
    text
}

#[test]
fn the_longest_way_goes_first() {
    // A long chain, and short things that stand before it in the file.
    let steps = [
        (60, vec![]),
        (60, vec![]),
        (60, vec![]),
        (100, vec![]),
        (555, vec![3]),
        (150, vec![4]),
    ];
    let plan = plan(&steps);
    let run = Run::new(&plan);
    assert_eq!(run.ready().next().map(StepId::as_str), Some("c.s3"));
    insta::assert_snapshot!(told(&forecast(&plan, &Limits::of(10))), @"805 s (at least 805, one by one 985); 1 of 6 timed; critical: c.s3 c.s4 c.s5");
    insta::assert_snapshot!(told(&forecast(&plan, &Limits::of(2))), @"805 s (at least 805, one by one 985); 1 of 6 timed; critical: c.s3 c.s4 c.s5");
    insta::assert_snapshot!(told(&forecast(&plan, &Limits::of(1))), @"985 s (at least 805, one by one 985); 1 of 6 timed; critical: c.s3 c.s4 c.s5");
}

#[test]
fn a_kind_whose_provider_wants_fewer_waits_for_its_own_kind_only() {
    let plan = plan(&[(10, vec![]), (10, vec![]), (10, vec![]), (10, vec![])]);
    let limits = Limits {
        of_kind: HashMap::from([(StepKind::Objects, 1)]),
        ..Limits::of(10)
    };
    insta::assert_snapshot!(told(&forecast(&plan, &limits)), @"20 s (at least 10, one by one 40); 0 of 4 timed; critical: c.s0");
}

fn graphs() -> impl Strategy<Value = Vec<(u64, Vec<usize>)>> {
    prop::collection::vec(
        (
            0..400_u64,
            prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ),
        1..40,
    )
    .prop_map(|steps| {
        steps
            .into_iter()
            .enumerate()
            .map(|(at, (seconds, edges))| {
                let mut after: Vec<usize> = match at {
                    0 => Vec::new(),
                    _ => edges.into_iter().map(|edge| edge.index(at)).collect(),
                };
                after.sort_unstable();
                after.dedup();
                (seconds, after)
            })
            .collect()
    })
}

proptest! {
    /// No schedule beats the critical path or needs longer than one step after the other; Graham's bound
    /// holds between them.
    #[test]
    fn a_forecast_stays_within_its_bounds(steps in graphs(), at_once in 1..12_usize) {
        let plan = plan(&steps);
        let forecast = forecast(&plan, &Limits::of(at_once));
        prop_assert!(forecast.at_least_ms <= forecast.takes_ms);
        prop_assert!(forecast.takes_ms <= forecast.one_by_one_ms);
        let graham = forecast.at_least_ms + forecast.one_by_one_ms / at_once as u64;
        prop_assert!(forecast.takes_ms <= graham + 1);
        let path: u64 = forecast.critical.iter().filter_map(|id| plan.step(id)).map(landfall_engine::schedule::takes_ms).sum();
        prop_assert_eq!(path, forecast.at_least_ms);
    }

    /// With room for everything, nothing waits but for what it depends on.
    #[test]
    fn with_ample_room_a_forecast_is_the_critical_path(steps in graphs()) {
        let plan = plan(&steps);
        let forecast = forecast(&plan, &Limits::of(100));
        prop_assert_eq!(forecast.takes_ms, forecast.at_least_ms);
    }
}
