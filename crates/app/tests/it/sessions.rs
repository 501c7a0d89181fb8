//! Golden sessions: text files of commands with their full output, played against an emulator.
//!
//! A line that begins with `$ ` is run by the shell in the session's folder; what follows is what it
//! printed; a line that begins with `-- ` is a remark. `INSTA_UPDATE=always cargo test` writes the files anew; read the difference before you commit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{ACCOUNT, Session, bootstrap, steady};
use landfall_testkit::emulator::Emulator;
use landfall_testkit::tools_or_skip;

fn play(file: &Path, aws: &Emulator) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let session = Session::new(&aws.url, &bootstrap(""));
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_landfall"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut played = String::new();
    for line in text.lines() {
        if line.starts_with("-- ") {
            writeln!(played, "{line}").unwrap();
            continue;
        }
        let Some(command) = line.strip_prefix("$ ") else {
            continue;
        };
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1; set -o pipefail; {command}")])
            .current_dir(session.folder.path())
            .envs(Emulator::environment(&session.url, ACCOUNT))
            .env_remove("AWS_PROFILE")
            .env("PATH", &path)
            .output()
            .unwrap();
        let said = steady(&String::from_utf8_lossy(&output.stdout));
        writeln!(played, "\n$ {command}\n{}", said.trim_end()).unwrap();
        if !output.status.success() {
            writeln!(played, "[exit code {}]", output.status.code().unwrap_or(-1)).unwrap();
        }
    }
    // No line ends in white space: editors would take it away.
    let mut played: String = played
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    while played.contains("\n\n\n") {
        played = played.replace("\n\n\n", "\n\n");
    }
    played
}

fn golden(name: &str) {
    let tools = tools_or_skip!(name);
    let aws = Emulator::ministack(&tools);
    aws.ask(ACCOUNT, "client('iam').create_open_id_connect_provider(Url='https://token.actions.githubusercontent.com', ClientIDList=['sts.amazonaws.com'])");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/sessions")
        .join(format!("{name}.txt"));
    let played = play(&file, &aws);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&file, &played).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert!(
        played == golden,
        "the session {name} goes otherwise now:\n{played}"
    );
}

#[test]
fn from_nothing_and_back() {
    golden("from-nothing-and-back");
}

#[test]
fn a_saved_plan() {
    golden("a-saved-plan");
}

#[test]
fn without_an_account() {
    golden("without-an-account");
}
