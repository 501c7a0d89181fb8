//! What ships, judged by tools that know AWS and Backstage better than we do.

use std::path::{Path, PathBuf};
use std::process::Command;

use landfall_testkit::tools_or_skip;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn templates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(repository().join("components")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.to_string_lossy().ends_with(".cfn.yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 8, "{found:?}");
    found
}

fn output(command: &mut Command) -> (bool, String) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

#[test]
fn cfn_lint_finds_nothing() {
    let tools = tools_or_skip!("cfn_lint_finds_nothing");
    let (well, text) = output(
        Command::new(tools.join("lint/bin/cfn-lint"))
            .args(["--include-checks", "W", "--"])
            .args(templates()),
    );
    assert!(well && text.trim().is_empty(), "{text}");
}

#[test]
fn checkov_finds_nothing_unexplained() {
    let tools = tools_or_skip!("checkov_finds_nothing_unexplained");
    let mut command = Command::new(tools.join("lint/bin/checkov"));
    command.args([
        "--framework",
        "cloudformation",
        "--compact",
        "--quiet",
        "--output",
        "json",
    ]);
    for template in templates() {
        command.arg("--file").arg(template);
    }
    let result = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&result.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&result.stderr)));
    let failed = report
        .pointer("/results/failed_checks")
        .and_then(serde_json::Value::as_array);
    let failed: Vec<String> = failed
        .unwrap_or_else(|| panic!("a report has results: {report}"))
        .iter()
        .map(|check| {
            format!(
                "{} {} {}",
                check["check_id"], check["resource"], check["file_path"]
            )
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(
        report["summary"]["passed"].as_u64() > Some(20),
        "{}",
        report["summary"]
    );
}

/// What checkov says of manifests, of which objects (their names begin so), and why it stays.
const EXPLAINED: [(&str, &[&str], &str); 9] = [
    (
        "CKV_K8S_11",
        &[""],
        "no limit of CPU: it slows a program down while the machine has time to spare; requests share it out",
    ),
    (
        "CKV_K8S_15",
        &[""],
        "tags here are versions: asking the registry at every start ties starting to the registry",
    ),
    (
        "CKV_K8S_43",
        &[""],
        "versions are inputs that people read and change; a digest says neither version nor architecture",
    ),
    (
        "CKV_K8S_8",
        DEMONSTRATION,
        "programs that listen for a moment: what is shown is who reaches them, not how they are healed",
    ),
    (
        "CKV_K8S_9",
        &["Deployment.groups-"],
        "machines are outside of the group that these pods are behind: their probes would not get in",
    ),
    (
        "CKV_K8S_22",
        &["Deployment.keycloak."],
        "an image that is not built ahead writes what it builds beside itself when it starts",
    ),
    (
        "CKV_K8S_35",
        &["Deployment.keycloak.", "StatefulSet.postgres-"],
        "these images read the secrets of their first start from the environment",
    ),
    (
        "CKV_K8S_40",
        &["Deployment.keycloak.", "StatefulSet.postgres-"],
        "the images' own users, to whom their files belong",
    ),
    (
        "CKV_K8S_38",
        &["Job."],
        "these Jobs work on the cluster through its API, each as an account of its own",
    ),
];

const DEMONSTRATION: &[&str] = &[
    "Deployment.client.",
    "Deployment.groups-",
    "Deployment.management-ui.",
    "Deployment.stars.",
];

#[test]
fn checkov_finds_nothing_unexplained_in_clusters() {
    let tools = tools_or_skip!("checkov_finds_nothing_unexplained_in_clusters");
    // Folders whose names begin with a dot are passed over.
    let folder = tempfile::Builder::new().prefix("rendered-").tempdir().unwrap();
    for blueprint in blueprints() {
        let name = blueprint.parent().unwrap().file_name().unwrap();
        let (well, text) = output(
            Command::new(env!("CARGO_BIN_EXE_landfall"))
                .args(["render", "--to"])
                .arg(folder.path().join(name))
                .arg("--platform")
                .arg(&blueprint),
        );
        assert!(well, "{}: {text}", blueprint.display());
    }
    let result = Command::new(tools.join("lint/bin/checkov"))
        .args([
            "--framework",
            "kubernetes",
            "--compact",
            "--quiet",
            "--output",
            "json",
        ])
        .arg("--directory")
        .arg(folder.path())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&result.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&result.stderr)));
    let failed = report
        .pointer("/results/failed_checks")
        .and_then(serde_json::Value::as_array)
        .unwrap_or_else(|| panic!("a report has results: {report}"));
    let mut used = std::collections::BTreeSet::new();
    let mut unexplained = Vec::new();
    for check in failed {
        let [id, resource] = ["check_id", "resource"].map(|field| check[field].as_str().unwrap());
        let is_why = |(check, objects, _): &&(&str, &[&str], &str)| {
            *check == id && objects.iter().any(|prefix| resource.starts_with(prefix))
        };
        match EXPLAINED.iter().find(is_why) {
            Some((check, ..)) => drop(used.insert(*check)),
            None => unexplained.push(format!("{id} {resource} {}", check["file_path"])),
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    // A reason that nothing needs any more goes.
    let unused: Vec<_> = EXPLAINED
        .iter()
        .filter(|(check, ..)| !used.contains(check))
        .collect();
    assert!(unused.is_empty(), "{unused:#?}");
    assert!(
        report["summary"]["resource_count"].as_u64() > Some(150) && report["summary"]["parsing_errors"] == 0,
        "{}",
        report["summary"]
    );
}

/// Renders a platform with every option of the bootstrap on, and one with none.
fn rendered(folder: &Path, options: &str) -> PathBuf {
    let text = format!(
        "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: {{ name: acme }}\nspec:\n  region: us-east-1\n  account: \"111122223333\"\n  \
         components:\n    artifacts: {{ uses: artifact-bucket }}\n    bootstrap:\n      uses: account-bootstrap\n      with:\n        \
         repository: acme/live\n        portalPrincipalArn: arn:aws:iam::444455556666:role/portal\n        owner: group:default/platform\n{options}"
    );
    std::fs::write(folder.join("platform.yaml"), text).unwrap();
    let (well, text) = output(
        Command::new(env!("CARGO_BIN_EXE_landfall"))
            .current_dir(folder)
            .args(["render", "--to", "rendered"]),
    );
    assert!(well, "{text}");
    folder.join("rendered")
}

#[test]
fn parliament_accepts_every_policy() {
    let tools = tools_or_skip!("parliament_accepts_every_policy");
    let every_option = "        dynamodbLockTable: true\n        pullRequestPlans: true\n        \
                        stateKmsKeyArn: arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555\n";
    for options in ["", every_option] {
        let folder = tempfile::tempdir().unwrap();
        let rendered = rendered(folder.path(), options);
        let (well, text) = output(
            Command::new(tools.join("lint/bin/python"))
                .arg(repository().join("tools/judge_policies.py"))
                .arg(rendered),
        );
        assert!(well, "{text}");
    }
    for blueprint in blueprints() {
        let folder = tempfile::tempdir().unwrap();
        let (well, text) = output(
            Command::new(env!("CARGO_BIN_EXE_landfall"))
                .args(["render", "--to"])
                .arg(folder.path().join("rendered"))
                .arg("--platform")
                .arg(&blueprint),
        );
        assert!(well, "{}: {text}", blueprint.display());
        let (well, text) = output(
            Command::new(tools.join("lint/bin/python"))
                .arg(repository().join("tools/judge_policies.py"))
                .arg(folder.path().join("rendered")),
        );
        assert!(well, "{}: {text}", blueprint.display());
    }
}

/// The platform file of every blueprint.
fn blueprints() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(repository().join("blueprints")).unwrap();
    let mut files: Vec<PathBuf> = folders
        .map(|folder| folder.unwrap().path().join("platform.yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

#[test]
fn what_landfall_asks_for_is_judged() {
    let tools = tools_or_skip!("what_landfall_asks_for_is_judged");
    let folder = tempfile::tempdir().unwrap();
    let mut printed = 0;
    for blueprint in std::fs::read_dir(repository().join("blueprints")).unwrap() {
        let blueprint = blueprint.unwrap().path();
        let to = folder.path().join(blueprint.file_name().unwrap());
        let (well, text) = output(
            Command::new(env!("CARGO_BIN_EXE_landfall"))
                .args(["policy", "--destroy", "--platform"])
                .arg(blueprint.join("platform.yaml"))
                .arg("--out")
                .arg(&to),
        );
        assert!(well && text.contains("Wrote "), "{}: {text}", blueprint.display());
        printed += 1;
    }
    assert!(printed >= 5, "{printed}");
    let (well, text) = output(
        Command::new(tools.join("lint/bin/python"))
            .arg(repository().join("tools/judge_needs.py"))
            .arg(repository().join("crates/policy/src/actions.json"))
            .arg(folder.path()),
    );
    assert!(well, "{text}");
}

/// The code of functions lies in their templates; Node runs it as the runtime would.
#[test]
fn code_of_functions_does_what_it_should() {
    let _tools = tools_or_skip!("code_of_functions_does_what_it_should");
    let (well, text) = output(
        Command::new("node")
            .args(["--test", "tools/lambda/"])
            .current_dir(repository()),
    );
    let passed = text
        .lines()
        .find_map(|line| line.strip_prefix("# pass ")?.parse::<u32>().ok());
    assert!(well && passed >= Some(150), "{text}");
}
