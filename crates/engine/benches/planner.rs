//! How long reading and planning take, and how much memory, for large platforms.
//!
//! `cargo xtask bench` prints a table. Each case runs in a process of its own, so that its peak memory
//! is its own.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench reports on the terminal"
)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_engine::{DefinitionFolder, Library, Seen, SeenStep};
use landfall_model::id::PlanId;
use landfall_model::provider::{Observed, Outputs, Standing};
use landfall_model::template::{TemplateInterface, TemplateParameter, TemplateResource};
use landfall_model::{Diagnostics, SourceFile};

/// One definition: a stack that takes a value and gives one.
struct OneDefinition;

const DEFINITION: &str = r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: part }
spec:
  inputs:
    from: { type: string, default: "" }
  steps:
    - name: stack
      stack: { template: part.cfn.yaml, parameters: { From: "${inputs.from}", Name: "${platform.name}-part" } }
  outputs:
    id: { type: string, value: "${steps.stack.outputs.Id}" }
"#;

impl Library for OneDefinition {
    fn find(&self, _name: &str) -> Result<Option<DefinitionFolder>, String> {
        let files = [("component.yaml", DEFINITION), ("part.cfn.yaml", "Resources: {}")];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        Ok(Some(DefinitionFolder {
            origin: "components/part".to_owned(),
            files: BTreeMap::from(files),
        }))
    }

    fn names(&self) -> Vec<String> {
        vec!["part".to_owned()]
    }

    fn read_template(&self, _file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        let topic = TemplateResource {
            kind: "AWS::SNS::Topic".to_owned(),
            condition: None,
            after: Vec::new(),
            kept: false,
            snapshot: false,
        };
        let parameter = |name: &str| (name.to_owned(), TemplateParameter::default());
        Ok(TemplateInterface {
            parameters: [parameter("From"), parameter("Name")].into_iter().collect(),
            resources: [("Topic".to_owned(), topic)].into_iter().collect(),
            outputs: vec!["Id".to_owned()],
            ..TemplateInterface::default()
        })
    }

    fn is_large(&self, _template: &str) -> bool {
        false
    }
}

fn platform(steps: usize, chained: bool) -> String {
    let mut text = "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: { name: large }\nspec:\n  region: us-east-1\n  \
                    account: \"111122223333\"\n  components:\n"
        .to_owned();
    for index in 0..steps {
        let with = if chained && index > 0 {
            format!(", with: {{ from: \"${{components.c{}.id}}\" }}", index - 1)
        } else {
            String::new()
        };
        let _ = writeln!(text, "    c{index}: {{ uses: part{with} }}");
    }
    text
}

/// Peak resident memory of this process, in MiB; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// The fastest of three tries; only the last result is kept, so that peak memory is that of one.
fn best<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut fastest = Duration::MAX;
    let mut last = None;
    for _ in 0..3 {
        drop(last.take());
        let began = Instant::now();
        last = Some(work());
        fastest = fastest.min(began.elapsed());
    }
    (fastest, last.unwrap())
}

fn one(steps: usize, chained: bool, standing: bool) {
    let file = SourceFile::new("platform.yaml", platform(steps, chained));
    let (reading, wanted) = best(|| landfall_engine::read(&file, &OneDefinition).unwrap());
    let mut seen = Seen::default();
    if standing {
        let outputs = Outputs::from_iter([("Id".to_owned(), "x".into())]);
        let observed = Observed {
            standing: Standing::Present {
                state: "CREATE_COMPLETE".to_owned(),
            },
            outputs,
            fingerprint: "CREATE_COMPLETE@t@id".to_owned(),
            owned: None,
        };
        let one = SeenStep {
            observed,
            changes: Some(Vec::new()),
        };
        seen.steps = wanted
            .steps
            .iter()
            .map(|step| (step.id.clone(), one.clone()))
            .collect::<HashMap<_, _>>();
    }
    let plan_once = || {
        landfall_engine::plan_apply(wanted.clone(), &seen, PlanId("bench".to_owned()), String::new()).unwrap()
    };
    let (planning, plan) = best(plan_once);
    assert_eq!(plan.steps.len(), steps);
    assert_eq!(plan.has_changes(), !standing);
    println!(
        "| {steps:>6} | {:<11} | {:<8} | {:>9.1} ms | {:>9.1} ms | {:>5} MiB |",
        if chained { "chained" } else { "independent" },
        if standing { "standing" } else { "absent" },
        reading.as_secs_f64() * 1000.0,
        planning.as_secs_f64() * 1000.0,
        peak_memory()
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--case") {
        let case: Vec<&str> = arguments[at + 1].split(',').collect();
        one(
            case[0].parse().unwrap(),
            case[1] == "chained",
            case[2] == "standing",
        );
        return;
    }
    println!("| steps  | graph       | world    | reading      | planning     | peak      |");
    println!("|--------|-------------|----------|--------------|--------------|-----------|");
    for steps in [1_000, 10_000] {
        for graph in ["independent", "chained"] {
            for world in ["absent", "standing"] {
                let case = format!("{steps},{graph},{world}");
                let status = Command::new(std::env::current_exe().unwrap())
                    .args(["--case", &case])
                    .status()
                    .unwrap();
                assert!(status.success(), "the case {case} failed");
            }
        }
    }
}
