//! Two hundred sessions in the ordinary run, those that once failed first; and the mistakes they must notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use landfall_model::planted::Bug;
use landfall_swarm::{Failed, play};

/// Seeds that once failed, with why: kept for ever.
const REGRESSIONS: &str = include_str!("regressions.txt");

/// How many seeds are played; more when asked, as by `LANDFALL_SEEDS=100000`.
fn seeds() -> u64 {
    let asked = std::env::var("LANDFALL_SEEDS").ok();
    asked.and_then(|seeds| seeds.parse().ok()).unwrap_or(200)
}

fn regressions() -> Vec<u64> {
    let lines = REGRESSIONS.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

/// Plays all of them on all cores; comes back with those that failed, by seed.
fn failures(seeds: Vec<u64>) -> Vec<Failed> {
    let next = Arc::new(AtomicU64::new(0));
    let seeds = Arc::new(seeds);
    let failed: Arc<Mutex<Vec<Failed>>> = Arc::default();
    let threads: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
        .map(|_| {
            let (next, seeds, failed) = (next.clone(), seeds.clone(), failed.clone());
            std::thread::spawn(move || {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
                    if let Err(one) = play(*seed, None) {
                        failed.lock().expect("nobody panics here").push(*one);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no session panics");
    }
    let mut failed = std::mem::take(&mut *failed.lock().expect("nobody panics here"));
    failed.sort_by_key(|one| one.seed);
    failed
}

#[test]
fn every_session_converges_and_every_teardown_leaves_nothing() {
    let seeds: Vec<u64> = regressions().into_iter().chain(0..seeds()).collect();
    let failed = failures(seeds);
    if let Some(first) = failed.first() {
        let others: Vec<u64> = failed.iter().map(|one| one.seed).collect();
        panic!(
            "{} sessions failed: {others:?}\nthe first of them, {first}",
            failed.len()
        );
    }
}

#[test]
fn the_same_seed_plays_the_same_session() {
    for seed in 0..20 {
        let (once, again) = (play(seed, None), play(seed, None));
        assert_eq!(format!("{once:?}"), format!("{again:?}"), "seed {seed}");
    }
}

/// The proof of the proof: each mistake that somebody could make is noticed within a few hundred seeds.
#[test]
fn every_planted_mistake_is_noticed() {
    const PATIENCE: u64 = 1_000;
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        match (0..PATIENCE).find_map(|seed| play(seed, Some(bug)).err()) {
            Some(failed) => println!("{bug:?}: noticed by seed {}: {}", failed.seed, failed.wrong[0]),
            None => missed.push(bug),
        }
    }
    assert_eq!(missed, [], "not noticed within {PATIENCE} seeds");
}
