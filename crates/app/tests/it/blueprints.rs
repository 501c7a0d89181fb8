//! What every blueprint plans for an empty account: the whole plan, as people read it.

use std::process::Command;

/// Every platform file of every blueprint, as `blueprint/file`.
fn platform_files() -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../blueprints");
    let mut files = Vec::new();
    for blueprint in std::fs::read_dir(root).unwrap() {
        let blueprint = blueprint.unwrap();
        for file in std::fs::read_dir(blueprint.path()).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            if file.ends_with(".yaml") {
                files.push(format!("{}/{file}", blueprint.file_name().to_string_lossy()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_blueprint_plans_from_an_empty_account() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../blueprints");
    let files = platform_files();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        // Neither credentials nor an endpoint: nobody is there to be asked.
        let output = Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(["plan", "--empty", "--platform", &file])
            .current_dir(root)
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_ENDPOINT_URL")
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{file}: {stderr}\n{stdout}");
        let name = file
            .trim_end_matches(".yaml")
            .replace("/platform", "")
            .replace('/', "-");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "plans" }, {
            insta::assert_snapshot!(name, stdout);
        });
    }
}

#[test]
fn a_blueprint_is_written_whole_and_only_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let init = || {
        Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(["init", "data-platform"])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let first = init();
    insta::assert_snapshot!(
        String::from_utf8(first.stdout).unwrap(),
        @"Wrote ./platform.yaml, ./production.yaml, ./staging.yaml. Put your own values in, then run `landfall plan`."
    );
    let again = init();
    assert_eq!(again.status.code(), Some(2));
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("exists already")
    );
}
