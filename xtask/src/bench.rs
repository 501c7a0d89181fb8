//! Measures, and prints tables.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{cargo, root, run, target};

const STARTS: usize = 40;

pub(crate) fn bench(flags: &[String]) -> anyhow::Result<()> {
    let mut planner = Command::new(env!("CARGO"));
    planner
        .current_dir(root())
        .args([
            "bench",
            "--quiet",
            "--package",
            "landfall-engine",
            "--bench",
            "planner",
            "--",
        ])
        .args(flags);
    run(&mut planner)?;
    println!();
    cargo(&[
        "bench",
        "--quiet",
        "--profile",
        "sim",
        "--package",
        "landfall-swarm",
        "--bench",
        "makespan",
    ])?;
    println!();
    start()?;
    dependencies()
}

/// How long the release binary takes to say what it can do.
fn start() -> anyhow::Result<()> {
    cargo(&["build", "--quiet", "--release", "--package", "landfall"])?;
    let binary = target().join("release/landfall");
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        Command::new(&binary)
            .arg("--help")
            .stdout(Stdio::null())
            .status()?;
        times.push(began.elapsed());
    }
    times.sort();
    println!("| start-up            | median    | slowest   | binary   |");
    println!("|---------------------|-----------|-----------|----------|");
    println!(
        "| `landfall --help`   | {:>6.1} ms | {:>6.1} ms | {:>4} MiB |",
        times[STARTS / 2].as_secs_f64() * 1000.0,
        times[STARTS - 1].as_secs_f64() * 1000.0,
        std::fs::metadata(&binary)?.len() / (1024 * 1024)
    );
    Ok(())
}

fn dependencies() -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "tree",
            "--package",
            "landfall",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut crates: Vec<&str> = text.lines().filter_map(|line| line.split(" (").next()).collect();
    crates.sort_unstable();
    crates.dedup();
    println!("\n{} crates in the binary, ours included.", crates.len());
    Ok(())
}
