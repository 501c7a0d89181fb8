//! A folder with a platform, and `landfall` run in it as its users would.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use landfall_testkit::emulator::Emulator;

/// The account that tests bootstrap. Emulators keep accounts apart by it.
pub(crate) const ACCOUNT: &str = "111122223333";

/// One folder, one account, one address.
pub(crate) struct Session {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) account: &'static str,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Session {
    pub(crate) fn new(url: &str, platform: &str) -> Session {
        let session = Session {
            folder: tempfile::tempdir().unwrap(),
            url: url.to_owned(),
            account: ACCOUNT,
        };
        session.write("platform.yaml", platform);
        session
    }

    /// A session with one component of its own, whose steps are given.
    pub(crate) fn with_component(url: &str, steps: &str, templates: &[(&str, &str)]) -> Session {
        let session = Session::new(url, &platform("    demo: { uses: demo }\n"));
        session.component(steps);
        for (name, text) in templates {
            session.write(&format!("components/demo/{name}"), text);
        }
        session
    }

    pub(crate) fn component(&self, steps: &str) {
        let text = format!(
            "apiVersion: landfall.dev/v1\nkind: Component\nmetadata: {{ name: demo }}\nspec:\n  steps:\n{steps}"
        );
        self.write("components/demo/component.yaml", &text);
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    /// Puts one text for another in the platform file.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = self.read("platform.yaml");
        assert!(text.contains(from), "{from} is in the platform file");
        self.write("platform.yaml", &text.replace(from, to));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("AWS_PROFILE")
            .envs(Emulator::environment(&self.url, self.account))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Answer {
            code: output.status.code(),
            text,
        }
    }

    /// Runs a command that must succeed.
    pub(crate) fn well(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, Some(0), "landfall {arguments:?}:\n{}", answer.text);
        answer.text
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Everything below `.landfall`, to look for what must not be there.
    pub(crate) fn records(&self) -> String {
        let mut text = String::new();
        collect(&self.path(".landfall"), &mut text);
        text
    }

    /// The folder of all runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.path(&format!(".landfall/acme.{}.us-east-1/runs", self.account))
    }

    /// The records of the last run: its own file once it is over, numbered ones before.
    pub(crate) fn journal(&self) -> Vec<serde_json::Value> {
        let runs = paths(&self.runs());
        let run = runs.last().unwrap();
        if let Ok(text) = std::fs::read_to_string(run.join("journal.jsonl")) {
            return text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
        }
        let run = run.file_name().unwrap().to_str().unwrap();
        paths(&self.runs().with_file_name("journal"))
            .into_iter()
            .filter_map(|path| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok())
            .filter(|record: &serde_json::Value| record["run"] == run)
            .map(|mut record| {
                let fields = record.as_object_mut().unwrap();
                fields.remove("epoch");
                fields.remove("nonce");
                if fields["entry"] != "runStarted" {
                    fields.remove("run");
                }
                record
            })
            .collect()
    }
}

/// What is in a folder, sorted.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn collect(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
        }
    }
}

/// A platform file with these components.
pub(crate) fn platform(components: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata:\n  name: acme\nspec:\n  region: us-east-1\n  \
         account: \"{ACCOUNT}\"\n  components:\n{components}"
    )
}

/// The account bootstrap, as its document has it, with more inputs when given.
pub(crate) fn bootstrap(more: &str) -> String {
    platform(&format!(
        "    bootstrap:\n      uses: account-bootstrap\n      with:\n        repository: acme/live\n        \
         portalPrincipalArn: arn:aws:iam::444455556666:role/portal\n        owner: group:default/platform\n{more}"
    ))
}

/// Takes out what differs from run to run: times, durations, ids.
pub(crate) fn steady(text: &str) -> String {
    text.lines().map(steady_line).collect::<Vec<_>>().join("\n")
}

fn is_time(word: &str) -> bool {
    let word = word.trim_start_matches('(');
    word.len() > 18 && word.starts_with("20") && word.contains('T') && word.contains(':')
}

fn steady_line(line: &str) -> String {
    // What was timed differs from machine to machine, and with it the longest path.
    if line.starts_with("Time: about") {
        return "Time: about N; nothing is done sooner than N: PATH".to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let mut parts = line.split(' ').peekable();
    while let Some(word) = parts.next() {
        let next = parts
            .peek()
            .map(|next| next.trim_end_matches(['.', ',', ')', ':']))
            .unwrap_or_default();
        let is_number = word.parse::<f64>().is_ok();
        if is_number && matches!(next, "ms" | "s" | "min") {
            words.push("N".to_owned());
        } else if is_time(word) {
            words.push(if word.starts_with('(') { "(TIME)" } else { "TIME" }.to_owned());
        } else if word.len() == 21 && word.starts_with("20") && word.as_bytes()[14] == b'-' {
            words.push("RUN".to_owned());
        } else {
            words.push(word.to_owned());
        }
    }
    // Minutes or milliseconds: a slow machine must not make another text.
    words
        .join(" ")
        .replace("N min N s", "N ms")
        .replace("N s", "N ms")
}
