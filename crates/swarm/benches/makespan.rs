//! How long every blueprint takes in the simulated cloud: beside the least it can take, and beside the same steps
//! one after the other.
#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::sync::Arc;

use landfall_local::Files;
use landfall_swarm::{Makespan, Platform, Span, makespan};

/// How far above the least possible time a run may be.
const GOAL: f64 = 1.05;

fn main() {
    let blueprints = landfall_catalogue::blueprints();
    let mut platforms: Vec<(String, Platform)> = blueprints
        .into_iter()
        .filter_map(|name| Some((name.clone(), Platform::blueprint(&name)?)))
        .collect();
    platforms.push((
        "(cluster, as played by `landfall up cluster`)".to_owned(),
        Platform::demo(),
    ));
    println!(
        "| platform | run | steps | took | at least | ratio | one by one | times quicker | leftovers | left |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut worst: f64 = 0.0;
    let mut sizes = Vec::new();
    let mut noticed: Vec<u64> = Vec::new();
    for (name, platform) in &platforms {
        let folder = tempfile::tempdir().expect("a folder for files can be made");
        let one = makespan(
            platform,
            1,
            |folder| Arc::new(Files::new(folder.join("files"), folder.join("records"))),
            folder.path(),
        );
        let Makespan {
            apply,
            destroy,
            forecast_ms,
            swept,
            clean,
            resources,
            noticed_ms,
            planned_in,
        } = one;
        noticed.extend(noticed_ms);
        sizes.push(format!(
            "| {name} | {} | {} | {} | {resources} | {:.0} ms |",
            platform.text.lines().count(),
            platform.read().components.len(),
            apply.steps,
            planned_in.as_secs_f64() * 1000.0,
        ));
        worst = worst.max(row(name, "apply", &apply, "", ""));
        row(
            name,
            "destroy",
            &destroy,
            &swept.to_string(),
            if clean { "nothing" } else { "SOMETHING" },
        );
        println!("| {name} | forecast | | {} | | | | | | |", time(forecast_ms));
    }
    println!("\n| platform | lines | components | steps | resources in stacks | planned in |");
    println!("|---|---|---|---|---|---|");
    sizes.iter().for_each(|line| println!("{line}"));
    noticed.sort_unstable();
    if let (Some(median), Some(longest)) = (noticed.get(noticed.len() / 2), noticed.last()) {
        println!(
            "\nfrom the last object being ready to the step being done, over {} steps with objects: median {:.1} s, worst {:.1} s",
            noticed.len(),
            *median as f64 / 1000.0,
            *longest as f64 / 1000.0,
        );
    }
    println!("\nworst ratio of an apply: {worst:.3} (goal: at most {GOAL})");
    if worst > GOAL {
        std::process::exit(1);
    }
}

fn row(name: &str, run: &str, span: &Span, swept: &str, left: &str) -> f64 {
    let Span {
        steps,
        took_ms,
        at_least_ms,
        one_by_one_ms,
    } = *span;
    let ratio = took_ms as f64 / at_least_ms.max(1) as f64;
    let quicker = one_by_one_ms as f64 / took_ms.max(1) as f64;
    println!(
        "| {name} | {run} | {steps} | {} | {} | {ratio:.3} | {} | {quicker:.1} | {swept} | {left} |",
        time(took_ms),
        time(at_least_ms),
        time(one_by_one_ms),
    );
    ratio
}

fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}
