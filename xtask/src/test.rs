//! Runs all tests, and says by name what could not be run here.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::{generate, root, tidy, tools};

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
    let (passed, failed, well) = counted(&mut command)?;
    print_lines("What the emulators lack, by name", &notes)?;
    let skipped = print_lines("SKIPPED on this machine", &skipped)?;
    println!("\ntests: {passed} passed, {failed} failed, {skipped} skipped");
    if !well {
        bail!("some tests failed; see above");
    }
    Ok(())
}

/// Runs the tests, letting every line through, and adds up what each runner says at its end. A test
/// that skips itself counts as passed there; its name is in the list of the skipped.
fn counted(command: &mut Command) -> anyhow::Result<(usize, usize, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (mut passed, mut failed) = (0, 0);
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines())
    {
        let line = line?;
        println!("{line}");
        if let Some(counts) = line.strip_prefix("test result: ") {
            let number = |word: &str| {
                let before = counts.split(word).next()?;
                before.trim().rsplit(' ').next()?.parse::<usize>().ok()
            };
            passed += number(" passed").unwrap_or(0);
            failed += number(" failed").unwrap_or(0);
        }
    }
    Ok((passed, failed, child.wait()?.success()))
}

/// Prints the lines of a file, each once, and returns how many there are.
fn print_lines(title: &str, file: &std::path::Path) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(file)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    let count = lines.len();
    if !lines.is_empty() {
        println!("\n{title}:");
        for line in lines {
            println!("  {line}");
        }
    }
    Ok(count)
}
