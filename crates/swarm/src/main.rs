//! `cargo xtask sim`: as many seeds as there is patience for, on all cores.
#![expect(clippy::print_stdout, reason = "a tool reports on the terminal")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use landfall_model::planted::Bug;
use landfall_swarm::{Failed, Went, play};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|one| one == flag)?;
        arguments.get(at + 1)
    };
    let number = |flag: &str| after(flag).and_then(|text| text.replace('_', "").parse::<u64>().ok());
    let bug = after("--bug").map(|name| {
        let found = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == *name);
        found.unwrap_or_else(|| {
            println!("there is no mistake {name}; there are {:?}", Bug::ALL);
            std::process::exit(2)
        })
    });
    if let Some(seed) = number("--seed") {
        return one(seed, bug);
    }
    let seeds = number("--seeds").unwrap_or(10_000);
    let from = number("--from").unwrap_or(0);
    many(from, seeds, bug, number("--keep-going").is_some())
}

fn one(seed: u64, bug: Option<Bug>) -> ExitCode {
    match play(seed, bug) {
        Ok(went) => {
            println!("seed {seed} went well: {went:?}");
            ExitCode::SUCCESS
        }
        Err(failed) => {
            println!("{failed}");
            ExitCode::FAILURE
        }
    }
}

fn many(from: u64, seeds: u64, bug: Option<Bug>, keep_going: bool) -> ExitCode {
    let next = Arc::new(AtomicU64::new(from));
    let stop = Arc::new(AtomicBool::new(false));
    let went: Arc<Mutex<Vec<Went>>> = Arc::default();
    let failed: Arc<Mutex<Vec<Failed>>> = Arc::default();
    // What is played now: a session that hangs is found by its seed.
    let playing: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let began = Instant::now();
    let threads: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
        .map(|_| {
            let (next, stop, went, failed) = (next.clone(), stop.clone(), went.clone(), failed.clone());
            let playing = playing.clone();
            std::thread::spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + seeds || stop.load(Ordering::SeqCst) {
                        return;
                    }
                    playing.lock().expect("nobody panics here").insert(seed);
                    let played = play(seed, bug);
                    playing.lock().expect("nobody panics here").remove(&seed);
                    match played {
                        Ok(one) => went.lock().expect("nobody panics here").push(one),
                        Err(one) => {
                            stop.store(!keep_going, Ordering::SeqCst);
                            failed.lock().expect("nobody panics here").push(*one);
                        }
                    }
                    let done = seed - from + 1;
                    if done.is_multiple_of(1_000) {
                        let longest = playing.lock().expect("nobody panics here").first().copied();
                        let oldest = longest
                            .map(|seed| format!(" (at seed {seed})"))
                            .unwrap_or_default();
                        println!(
                            "{done} of {seeds} seeds, {:.0} s{oldest}",
                            began.elapsed().as_secs_f64()
                        );
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        // A session that panics is a session that failed; its seed is in the message.
        if thread.join().is_err() {
            return ExitCode::FAILURE;
        }
    }
    let (went, mut failed) = (
        went.lock().expect("nobody panics here"),
        failed.lock().expect("nobody panics here"),
    );
    failed.sort_by_key(|one| one.seed);
    report(&went, began.elapsed().as_secs_f64());
    match failed.first() {
        None => {
            println!("every session converged, and every teardown left nothing.");
            ExitCode::SUCCESS
        }
        Some(first) => {
            println!("\n{first}\n");
            for one in failed.iter() {
                println!("FAILED seed {}: {}", one.seed, one.wrong.join("; "));
            }
            println!(
                "{} of {} sessions failed.",
                failed.len(),
                failed.len() + went.len()
            );
            ExitCode::FAILURE
        }
    }
}

fn report(went: &[Went], seconds: f64) {
    let sum = |of: fn(&Went) -> u64| went.iter().map(of).sum::<u64>();
    let mut takeovers: Vec<u64> = went
        .iter()
        .flat_map(|one| one.takeovers_ms.iter().copied())
        .collect();
    takeovers.sort_unstable();
    let middle = takeovers.get(takeovers.len() / 2).copied().unwrap_or(0);
    let longest = takeovers.last().copied().unwrap_or(0);
    println!(
        "{} sessions in {seconds:.1} s ({:.0} a second), {} of them without any trouble; {:.1} simulated years",
        went.len(),
        went.len() as f64 / seconds,
        went.iter().filter(|one| one.quiet).count(),
        sum(|one| one.virtual_ms) as f64 / 1000.0 / 86_400.0 / 365.25
    );
    println!(
        "{} processes, {} calls to the cloud, {} leftovers swept, {} takeovers from the dead (middle {:.1} s, longest {:.1} s)",
        sum(|one| one.processes),
        sum(|one| one.calls),
        went.iter().map(|one| one.swept).sum::<usize>(),
        takeovers.len(),
        middle as f64 / 1000.0,
        longest as f64 / 1000.0
    );
}
