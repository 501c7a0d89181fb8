//! Death at every record of a run, and what the next process makes of it.

use std::time::Duration;

use landfall_runner::Ended;
use landfall_sim::Fault;

use crate::stage::{Attempt, Crash, Stage, Told, acme};

/// How long nobody is there after a death: not at all, so that everything is still under way; a little,
/// so that some of it is; long enough that all of it has ended.
const AWAY: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(12),
    Duration::from_secs(20 * 60),
];

/// Every way to die in a run, until it is too short to die any later.
async fn at_every_record(mut die: impl AsyncFnMut(Crash, Duration) -> Attempt) -> usize {
    let mut deaths = 0;
    for away in AWAY {
        for before in [true, false] {
            for at in 1.. {
                match die(Crash { at, before }, away).await {
                    Attempt::Crashed => deaths += 1,
                    Attempt::Ended(_) => break,
                }
            }
        }
    }
    deaths
}

/// Goes on with a run after a death.
async fn go_on(stage: &mut Stage, told: &Told, away: Duration, crash: Crash) {
    stage.wait(away).await;
    let ended = stage.attempt(told, None).await;
    assert_eq!(
        ended,
        Attempt::Ended(Ended::Succeeded),
        "{crash:?}\n{}",
        told.text()
    );
    told.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn death_at_any_record_of_an_apply_changes_nothing_in_the_end() {
    let mut undisturbed = Stage::new(acme(), Vec::new());
    let (_, all) = undisturbed.apply().await;
    let deaths = at_every_record(async |crash, away| {
        let mut stage = Stage::new(acme(), Vec::new());
        let plan = stage.plan().await;
        let told = stage.run(plan);
        let attempt = stage.attempt(&told, Some(crash)).await;
        if attempt == Attempt::Crashed {
            go_on(&mut stage, &told, away, crash).await;
        }
        assert_eq!(stage.world.stacks(), undisturbed.world.stacks(), "{crash:?}");
        assert_eq!(stage.world.secrets(), undisturbed.world.secrets(), "{crash:?}");
        assert!(stage.world.stacks().iter().all(|stack| stack.created_count == 1));
        assert_eq!(told.outputs(), all.outputs(), "{crash:?}");
        assert_eq!(told.outcomes(), all.outcomes(), "{crash:?}");
        assert!(!stage.plan().await.has_changes(), "{crash:?}");
        attempt
    })
    .await;
    assert_eq!(deaths, AWAY.len() * 2 * all.records().len());
}

#[tokio::test(start_paused = true)]
async fn death_at_any_record_of_a_run_that_fails_does_not_hide_the_failure() {
    let fails = || Fault::StackFails {
        stack: "acme-access-boundary".to_owned(),
        resource: "Boundary".to_owned(),
        reason: "no room".to_owned(),
    };
    let mut undisturbed = Stage::new(acme(), vec![fails()]);
    let (_, all) = undisturbed.apply().await;
    assert_eq!(all.ends().matches("skipped").count(), 3);
    let deaths = at_every_record(async |crash, away| {
        let mut stage = Stage::new(acme(), vec![fails()]);
        let plan = stage.plan().await;
        let told = stage.run(plan);
        let attempt = stage.attempt(&told, Some(crash)).await;
        if attempt == Attempt::Crashed {
            stage.wait(away).await;
            let ended = stage.attempt(&told, None).await;
            assert_eq!(ended, Attempt::Ended(Ended::Failed), "{crash:?}\n{}", told.text());
            told.assert_sound();
        }
        assert_eq!(told.ends(), all.ends(), "{crash:?}");
        assert_eq!(stage.world.stacks(), undisturbed.world.stacks(), "{crash:?}");
        attempt
    })
    .await;
    assert_eq!(deaths, AWAY.len() * 2 * all.records().len());
}

#[tokio::test(start_paused = true)]
async fn death_at_any_record_of_a_destroy_leaves_nothing_more() {
    let mut undisturbed = Stage::new(acme(), Vec::new());
    undisturbed.apply().await;
    let (_, all) = undisturbed.destroy().await;
    let deaths = at_every_record(async |crash, away| {
        let mut stage = Stage::new(acme(), Vec::new());
        stage.apply().await;
        let plan = stage.plan_destroy().await;
        let told = stage.run(plan);
        let attempt = stage.attempt(&told, Some(crash)).await;
        if attempt == Attempt::Crashed {
            go_on(&mut stage, &told, away, crash).await;
        }
        assert_eq!(stage.world.stacks(), [], "{crash:?}");
        assert_eq!(
            stage.world.left_in_place(),
            undisturbed.world.left_in_place(),
            "{crash:?}"
        );
        assert_eq!(stage.world.resources_standing(), 1, "{crash:?}");
        assert_eq!(told.outcomes(), all.outcomes(), "{crash:?}");
        assert!(stage.remembered.is_empty(), "{crash:?}");
        attempt
    })
    .await;
    assert_eq!(deaths, AWAY.len() * 2 * all.records().len());
}
