//! Runs all tests, and says by name what could not be run here.

use std::process::Command;

use anyhow::bail;

use crate::{generate, root, run, tidy, tools};

pub(crate) fn test(filter: &[String]) -> anyhow::Result<()> {
    let tools = tools::install()?;
    tidy::tidy()?;
    generate::check()?;
    // Tests write here what this machine keeps them from; it is told at the end, where it is seen.
    let skipped = tools.join("skipped.txt");
    let notes = tools.join("notes.txt");
    for file in [&skipped, &notes] {
        std::fs::write(file, "")?;
    }
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(filter)
        .env("LANDFALL_TOOLS", &tools)
        .env("LANDFALL_SKIPPED", &skipped)
        .env("LANDFALL_NOTES", &notes)
        // A snapshot that differs fails; it is never written by a test run.
        .env("INSTA_UPDATE", "no");
    let result = run(&mut command);
    print_lines("What the emulators lack, by name", &notes)?;
    print_lines("SKIPPED on this machine", &skipped)?;
    if result.is_err() {
        bail!("some tests failed; see above");
    }
    println!("All tests passed.");
    Ok(())
}

fn print_lines(title: &str, file: &std::path::Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    if !lines.is_empty() {
        println!("\n{title}:");
        for line in lines {
            println!("  {line}");
        }
    }
    Ok(())
}
