//! The project's chores. `cargo xtask` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores report on the terminal"
)]

mod bench;
mod generate;
mod test;
mod tidy;
mod tools;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

const HELP: &str = "\
cargo xtask <chore>

  up [flags]   build landfall and try everything in a simulated cloud (flags go to `landfall up`)
  test [name]  install what the tests need into .tools/, then run them all, or those whose name matches
  tools        only install what the tests need
  generate     write the generated files anew: schemas, command-line help
  tidy         check the walls between crates and the promises a program can check
  bench        measure, and print tables
  sim [flags]  play random platforms with random troubles: `--seeds N`, `--seed S` for one with its story,
               `--from S`, `--keep-going 1`, `--bug NAME` with a mistake planted
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let result = match chore.as_str() {
        "up" => up(&rest),
        "test" => test::test(&rest),
        "tools" => tools::install().map(|_| ()),
        "generate" => generate::generate(),
        "tidy" => tidy::tidy(),
        "bench" => bench::bench(&rest),
        "sim" => sim(&rest),
        _ => {
            println!("{HELP}");
            return ExitCode::from(if chore.is_empty() || chore == "help" { 0 } else { 2 });
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn up(flags: &[String]) -> anyhow::Result<()> {
    println!("Building landfall (the first time takes a few minutes) …");
    cargo(&["build", "--quiet", "--package", "landfall"])?;
    run(Command::new(target().join("debug/landfall"))
        .arg("up")
        .args(flags))
}

fn sim(flags: &[String]) -> anyhow::Result<()> {
    println!("Building the simulation (the first time takes a few minutes) …");
    cargo(&[
        "build",
        "--quiet",
        "--profile",
        "sim",
        "--package",
        "landfall-swarm",
    ])?;
    run(Command::new(target().join("sim/landfall-swarm")).args(flags))
}

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(PathBuf::from)
        .unwrap_or_default()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

pub(crate) fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    run(Command::new(env!("CARGO")).current_dir(root()).args(arguments))
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
