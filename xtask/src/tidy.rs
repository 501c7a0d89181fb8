//! Keeps the walls: which crate may know which, and promises that a program can check.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::root;

/// What each crate of ours may depend on. The table in ARCHITECTURE.md, for machines.
const WALLS: &[(&str, &[&str])] = &[
    ("landfall-model", &[]),
    ("landfall-engine", &["landfall-model"]),
    ("landfall-runner", &["landfall-model", "landfall-engine"]),
    ("landfall-cloudformation", &["landfall-model"]),
    (
        "landfall-preflight",
        &["landfall-model", "landfall-cloudformation", "landfall-kinds"],
    ),
    ("landfall-policy", &["landfall-model", "landfall-cloudformation"]),
    (
        "landfall-aws",
        &["landfall-model", "landfall-runner", "landfall-cloudformation"],
    ),
    ("landfall-web", &["landfall-model", "landfall-runner"]),
    ("landfall-kinds", &[]),
    ("landfall-apiserver", &["landfall-kinds"]),
    (
        "landfall-kube",
        &["landfall-model", "landfall-runner", "landfall-kinds"],
    ),
    ("landfall-local", &["landfall-model", "landfall-runner"]),
    ("landfall-store", &["landfall-model", "landfall-runner"]),
    (
        "landfall-sim",
        &[
            "landfall-model",
            "landfall-runner",
            "landfall-cloudformation",
            "landfall-policy",
            "landfall-kinds",
            "landfall-apiserver",
            "landfall-kube",
            "landfall-web",
        ],
    ),
    (
        "landfall-session",
        &[
            "landfall-model",
            "landfall-engine",
            "landfall-cloudformation",
            "landfall-runner",
            "landfall-store",
            "landfall-policy",
            "landfall-preflight",
        ],
    ),
    ("landfall-catalogue", &[]),
    ("landfall-testkit", &[]),
    (
        "landfall-swarm",
        &[
            "landfall-model",
            "landfall-engine",
            "landfall-runner",
            "landfall-session",
            "landfall-store",
            "landfall-sim",
            "landfall-cloudformation",
            "landfall-catalogue",
        ],
    ),
    ("xtask", &[]),
];

/// Crates of others that must not appear in the rooms that only decide.
const NOT_IN_DECIDING_ROOMS: [&str; 8] = [
    "tokio",
    "reqwest",
    "aws-config",
    "aws-sdk-cloudformation",
    "kube",
    "sqlx",
    "uuid",
    "fastrand",
];

/// Crates that cost more to build than they are worth (see CONTRIBUTING.md).
const BANNED: [&str; 4] = ["aws-sdk-ec2", "aws-sdk-s3", "aws-sdk-iam", "openssl-sys"];

pub(crate) fn tidy() -> anyhow::Result<()> {
    let mut found = Vec::new();
    walls(&mut found)?;
    banned(&mut found)?;
    texts(&mut found)?;
    if !found.is_empty() {
        bail!("not tidy:\n  {}", found.join("\n  "));
    }
    println!("tidy: the walls stand.");
    Ok(())
}

fn walls(found: &mut Vec<String>) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading `cargo metadata`")?;
    let walls: BTreeMap<&str, &[&str]> = WALLS.iter().copied().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "landfall" {
            continue;
        }
        let Some(allowed) = walls.get(name) else {
            found.push(format!(
                "{name}: not in the table of walls (xtask/src/tidy.rs and ARCHITECTURE.md)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            // Tests may reach further: kind is null for what is shipped.
            if !dependency["kind"].is_null() {
                continue;
            }
            if on == "landfall" || on.starts_with("landfall-") && !allowed.contains(&on) {
                found.push(format!("{name} depends on {on}, which is behind a wall"));
            }
            let decides = matches!(name, "landfall-model" | "landfall-engine");
            if decides && NOT_IN_DECIDING_ROOMS.contains(&on) {
                found.push(format!("{name} depends on {on}, but deciding does no I/O"));
            }
        }
    }
    Ok(())
}

fn banned(found: &mut Vec<String>) -> anyhow::Result<()> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    for name in BANNED {
        if lock.contains(&format!("name = \"{name}\"\n")) {
            found.push(format!(
                "{name} is in Cargo.lock; it is banned (see CONTRIBUTING.md)"
            ));
        }
    }
    Ok(())
}

/// Promises about the text of tracked files.
fn texts(found: &mut Vec<String>) -> anyhow::Result<()> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "-co", "--exclude-standard"])
        .output()?;
    let files = String::from_utf8_lossy(&output.stdout).into_owned();
    // Spelled apart, so that this file does not find itself.
    let unwanted = [
        ["index.crates", ".io"].concat(),
        ["static.crates", ".io"].concat(),
        ["pypi", ".org"].concat(),
        ["registry.npm", "js.org"].concat(),
        ["deb.deb", "ian.org"].concat(),
        ["/ro", "ot/"].concat(),
    ];
    for file in files.lines() {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else {
            continue;
        };
        if file != "Cargo.lock" {
            for word in unwanted.iter().filter(|word| text.contains(word.as_str())) {
                found.push(format!(
                    "{file} names {word}: a machine's path or a registry's host"
                ));
            }
        }
        let is_test = file.contains("/tests/") || file.contains("testkit");
        if file.ends_with(".rs") && !is_test && text.lines().count() > 900 {
            found.push(format!(
                "{file} has more than 900 lines; would a newcomer find their way?"
            ));
        }
        let stubs = [
            ["to", "do!("].concat(),
            ["unimpl", "emented!("].concat(),
            ["#[ig", "nore]"].concat(),
        ];
        if file.ends_with(".rs") && stubs.iter().any(|stub| text.contains(stub.as_str())) {
            found.push(format!("{file} has a stub or a silently skipped test"));
        }
    }
    Ok(())
}
