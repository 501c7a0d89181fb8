//! Random platforms: a cluster with controllers, or not; and stacks, secrets and checks in any shape.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use fastrand::Rng;
use landfall_engine::{DefinitionFolder, Library};
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::Wanted;
use landfall_model::{Diagnostics, SourceFile};
use landfall_sim::demo;

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "us-east-1";

/// A platform somebody could have written.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The platform file.
    pub text: String,
    /// Definitions of its own, beside those of the demo: files by name.
    pub definitions: BTreeMap<String, BTreeMap<String, String>>,
}

impl Platform {
    /// The one that `landfall up cluster` plays.
    pub fn demo() -> Platform {
        Platform {
            text: demo::PLATFORM.to_owned(),
            definitions: BTreeMap::new(),
        }
    }

    /// A blueprint that comes with Landfall.
    pub fn blueprint(name: &str) -> Option<Platform> {
        let files = landfall_catalogue::blueprint(name);
        Some(Platform {
            text: files.get("platform.yaml")?.clone(),
            definitions: BTreeMap::new(),
        })
    }

    /// Draws one.
    pub(crate) fn draw(rng: &mut Rng) -> Platform {
        let mut components = String::new();
        if rng.u8(..100) < 55 {
            cluster(rng, &mut components);
        }
        let mut definitions = BTreeMap::new();
        let parts = if components.is_empty() {
            rng.usize(1..8)
        } else {
            rng.usize(0..4)
        };
        if parts > 0 {
            definitions.insert("parts".to_owned(), definition(rng, parts));
            components.push_str("    parts: { uses: parts }\n");
        }
        let text = format!(
            "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: {{ name: acme }}\nspec:\n  region: {REGION}\n  \
             account: \"{ACCOUNT}\"\n  components:\n{components}"
        );
        Platform { text, definitions }
    }

    /// The same platform after somebody went on writing: other parts, perhaps a component less.
    pub(crate) fn changed(&self, rng: &mut Rng) -> Platform {
        let mut next = self.clone();
        if let Some(files) = next.definitions.get_mut("parts") {
            *files = definition(rng, rng.clone().usize(1..6));
        }
        for optional in ["shop", "burst"] {
            if rng.bool() {
                let line = format!("    {optional}: ");
                next.text = next.text.lines().filter(|text| !text.starts_with(&line)).fold(
                    String::new(),
                    |mut text, line| {
                        let _ = writeln!(text, "{line}");
                        text
                    },
                );
            }
        }
        next
    }

    /// Reads it as every platform is read.
    ///
    /// # Panics
    /// It is not sound.
    pub fn read(&self) -> Wanted {
        let file = SourceFile::new("platform.yaml", self.text.as_str());
        landfall_engine::read(&file, &Shelf(&self.definitions)).unwrap_or_else(|found| {
            panic!(
                "a drawn platform must be sound:\n{}\n{}",
                self.text,
                landfall_engine::render::diagnostics(&found, false)
            )
        })
    }
}

fn cluster(rng: &mut Rng, components: &mut String) {
    components.push_str("    network: { uses: demo-network }\n");
    components
        .push_str("    cluster: { uses: demo-cluster, with: { vpcId: \"${components.network.vpcId}\" } }\n");
    components.push_str(
        "    nodes: { uses: demo-nodes, with: { clusterName: \"${components.cluster.clusterName}\" } }\n",
    );
    // Some wait until there are machines, some do not think of it.
    let from = if rng.bool() { "nodes" } else { "cluster" };
    let mut add = |name: &str, uses: &str, more: &str| {
        let _ = writeln!(
            components,
            "    {name}: {{ uses: {uses}, with: {{ clusterName: \"${{components.{from}.clusterName}}\"{more} }} }}"
        );
    };
    if rng.u8(..100) < 80 {
        add("ingress", "demo-ingress-controller", "");
        if rng.u8(..100) < 80 {
            add("shop", "demo-shop", "");
        }
        if rng.u8(..100) < 50 {
            add("gitops", "demo-gitops", "");
            add(
                "orders",
                "demo-application",
                &format!(", repository: \"{}\"", demo::REPOSITORY),
            );
        }
    }
    if rng.u8(..100) < 40 {
        add("autoscaler", "demo-autoscaler", "");
        add("burst", "demo-autoscaled", "");
    }
}

/// A definition with so many steps, each waiting for some of those before it.
fn definition(rng: &mut Rng, steps: usize) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut text =
        "apiVersion: landfall.dev/v1\nkind: Component\nmetadata: { name: parts }\nspec:\n  steps:\n"
            .to_owned();
    // What each step is called, by what it is: a step cannot change its kind under one name.
    let mut called: Vec<String> = Vec::new();
    let mut gives: Vec<Option<&str>> = Vec::new();
    for at in 0..steps {
        let mut before: Vec<usize> = (0..at).filter(|_| rng.u8(..100) < 30).collect();
        before.dedup();
        let (values, others): (Vec<usize>, Vec<usize>) = before
            .into_iter()
            .partition(|from| gives[*from].is_some() && rng.bool());
        let names = |steps: &[usize]| {
            steps
                .iter()
                .map(|at| called[*at].clone())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let what = rng.u8(..100);
        let name = match what {
            0..75 => format!("stack{at}"),
            75..90 => format!("secret{at}"),
            _ => format!("check{at}"),
        };
        match what {
            0..75 => {
                let _ = writeln!(text, "    - name: {name}\n      after: [{}]", names(&others));
                let given: Vec<String> = values
                    .iter()
                    .map(|from| {
                        let output = gives[*from].unwrap_or_default();
                        format!("P{from}: \"${{steps.{}.outputs.{output}}}\"", called[*from])
                    })
                    .collect();
                let _ = writeln!(
                    text,
                    "      stack: {{ template: {name}.cfn.yaml, parameters: {{ {} }} }}",
                    given.join(", ")
                );
                files.insert(format!("{name}.cfn.yaml"), template(rng, &values));
                gives.push(Some("FirstArn"));
            }
            75..90 => {
                let all: Vec<usize> = values.into_iter().chain(others).collect();
                let _ = writeln!(
                    text,
                    "    - {{ name: {name}, after: [{}], secret: {{ recoveryDays: 0 }} }}",
                    names(&all)
                );
                gives.push(Some("arn"));
            }
            _ => {
                let all: Vec<usize> = values.into_iter().chain(others).collect();
                let _ = writeln!(
                    text,
                    "    - {{ name: {name}, after: [{}], check: {{ identity: {{ account: \"${{platform.account}}\" }}, within: 30s }} }}",
                    names(&all)
                );
                gives.push(None);
            }
        }
        called.push(name);
    }
    files.insert("component.yaml".to_owned(), text);
    files
}

fn template(rng: &mut Rng, values: &[usize]) -> String {
    let kinds = [
        "AWS::IAM::Role",
        "AWS::S3::Bucket",
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
        "AWS::CloudFront::Distribution",
    ];
    let parameters: Vec<String> = values
        .iter()
        .map(|from| format!("P{from}: {{ Type: String }}"))
        .collect();
    let mut text = format!("Parameters: {{ {} }}\nResources:\n", parameters.join(", "));
    let in_a_row = rng.bool();
    for at in 0..rng.usize(1..4) {
        let kind = kinds[rng.usize(..kinds.len())];
        let _ = write!(text, "  R{at}: {{ Type: {kind}");
        if in_a_row && at > 0 {
            let _ = write!(text, ", DependsOn: [R{}]", at - 1);
        }
        text.push_str(" }\n");
    }
    text.push_str("Outputs: { FirstArn: { Value: made-up } }\n");
    text
}

/// Definitions of one platform, those of the demo, and those that come with Landfall.
struct Shelf<'a>(&'a BTreeMap<String, BTreeMap<String, String>>);

impl Library for Shelf<'_> {
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String> {
        let own = self.0.get(name).cloned().unwrap_or_default();
        let files = [own, demo::definition(name), landfall_catalogue::definition(name)];
        Ok(files
            .into_iter()
            .find(|files| !files.is_empty())
            .map(|files| DefinitionFolder {
                origin: format!("components/{name}"),
                files,
            }))
    }

    fn names(&self) -> Vec<String> {
        let demo = demo::names().map(str::to_owned);
        self.0.keys().cloned().chain(demo).collect()
    }

    fn read_template(&self, file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        landfall_cloudformation::read_template(file)
    }

    fn is_large(&self, _: &str) -> bool {
        false
    }
}
