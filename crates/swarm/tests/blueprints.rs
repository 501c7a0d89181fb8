//! Every blueprint, as people get it, in the simulated cloud: what it plans for an empty account, and that it stands
//! and goes again whatever goes wrong.

use std::path::Path;
use std::sync::Arc;

use landfall_local::Files;
use landfall_runner::Provider;
use landfall_swarm::{Platform, makespan, play_platform};

/// So many sessions with troubles each blueprint is played in; those with clusters, which take longer, in fewer.
const SEEDS: (u64, u64) = (6, 2);
/// No platform file is longer than what one can take in at once.
const LINES: usize = 160;

/// Every platform file of every blueprint, by a name for each.
fn platforms() -> Vec<(String, Platform)> {
    let mut all = Vec::new();
    for blueprint in landfall_catalogue::blueprints() {
        for (file, text) in landfall_catalogue::blueprint(&blueprint) {
            let Some(environment) = file.strip_suffix(".yaml") else {
                continue;
            };
            let name = match environment {
                "platform" => blueprint.clone(),
                other => format!("{blueprint}-{other}"),
            };
            all.push((
                name,
                Platform {
                    text,
                    definitions: [].into(),
                },
            ));
        }
    }
    assert!(all.len() >= 5, "{}", all.len());
    all
}

fn files(folder: &Path) -> Arc<dyn Provider> {
    Arc::new(Files::new(folder.join("files"), folder.join("records")))
}

#[test]
fn every_blueprint_is_short() {
    for (name, platform) in platforms() {
        let lines = platform.text.lines().count();
        assert!(lines <= LINES, "{name} has {lines} lines");
    }
}

#[test]
fn every_blueprint_stands_and_goes_and_is_quick_about_it() {
    for (name, platform) in platforms() {
        let folder = tempfile::tempdir().unwrap();
        let took = makespan(&platform, 1, files, folder.path());
        assert!(took.clean, "{name} leaves something");
        let ratio = took.apply.took_ms as f64 / took.apply.at_least_ms as f64;
        assert!(ratio <= 1.05, "{name} takes {ratio:.3} times what it must");
    }
}

#[test]
fn every_blueprint_survives_what_goes_wrong() {
    let mut failed = Vec::new();
    for (name, platform) in platforms() {
        let has_cluster = platform.text.contains("uses: eks");
        for seed in 0..if has_cluster { SEEDS.1 } else { SEEDS.0 } {
            let folder = tempfile::tempdir().unwrap();
            if let Err(one) = play_platform(&platform, seed, Some(files(folder.path()))) {
                failed.push(format!("{name}: {one}"));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed, the first: {}",
        failed.len(),
        failed[0]
    );
}
