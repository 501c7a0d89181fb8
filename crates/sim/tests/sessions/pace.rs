//! How fast the world turns.

use landfall_runner::Ended;

use crate::stage::{Attempt, Stage};
use crate::town::{WEB, town};

/// Run with `cargo test --release -p landfall-sim --test sessions -- --ignored --nocapture pace`.
#[test]
#[ignore = "tells a number, and proves nothing"]
fn whole_lifetimes_in_a_second() {
    let wanted = town(WEB);
    let count = 300;
    let began = std::time::Instant::now();
    let mut planning = std::time::Duration::ZERO;
    for seed in 0..count {
        let wanted = wanted.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut stage = Stage::with(wanted, |config| config.seed = seed);
            let planned = std::time::Instant::now();
            let plan = stage.plan().await;
            planning += planned.elapsed();
            let told = stage.run(plan);
            let attempt = stage.attempt(&told, None).await;
            assert_eq!(attempt, Attempt::Ended(Ended::Succeeded), "{}", told.text());
            let (ended, told) = stage.destroy().await;
            assert_eq!(ended, Ended::Succeeded, "seed {seed}: {}", told.text());
            assert_eq!(
                stage.world.everything_standing(),
                Vec::<String>::new(),
                "seed {seed}"
            );
        });
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{:.0} lifetimes in a second, {:.0} % of it for looking and planning before the first run",
        count as f64 / seconds,
        100.0 * planning.as_secs_f64() / seconds
    );
}
