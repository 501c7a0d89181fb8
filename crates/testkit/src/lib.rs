//! What several rooms' tests share: emulators as real endpoints, a proxy that misbehaves on demand,
//! and a loud way to skip what a machine cannot have.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a panic or a line on the terminal is how tests speak"
)]

pub mod emulator;
pub mod proxy;

use std::io::Write as _;
use std::path::PathBuf;

/// The folder with tools that `cargo xtask test` installs.
pub fn tools() -> Option<PathBuf> {
    let folder = std::env::var_os("LANDFALL_TOOLS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools"),
        PathBuf::from,
    );
    folder.join("ministack/installed.txt").exists().then_some(folder)
}

/// Says that a test is skipped, and why, where it is seen: on the terminal and in the list that
/// `cargo xtask test` prints at its end. There, what it installs itself must not be missing.
pub fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var_os("LANDFALL_TOOLS").is_none() || !reason.contains("cargo xtask"),
        "{test}: {reason}, although `cargo xtask test` should have installed it"
    );
    eprintln!("SKIPPED {test}: {reason}");
    append("LANDFALL_SKIPPED", &format!("{test}: {reason}"));
}

/// Notes a fact about an emulator for the list that `cargo xtask test` prints at its end.
pub fn note(fact: &str) {
    eprintln!("NOTE {fact}");
    append("LANDFALL_NOTES", fact);
}

fn append(variable: &str, line: &str) {
    if let Some(file) = std::env::var_os(variable) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// The tools' folder, or a loud skip of the test with this name.
#[macro_export]
macro_rules! tools_or_skip {
    ($test:expr) => {
        match $crate::tools() {
            Some(tools) => tools,
            None => {
                $crate::skip(
                    $test,
                    "its tools are not installed; `cargo xtask test` installs them",
                );
                return;
            }
        }
    };
}

/// Finds a program on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
