//! From files to [`Wanted`]: everything people wrote, checked and wired, or every error at once.
//!
//! Opens nothing itself: definitions and the reading of templates come through [`Library`].

mod definition;
mod manifests;
mod request;
mod wiring;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use landfall_model::definition::RuleSeverity;
use landfall_model::finding::{Finding, Weight};
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::{Facts, Wanted, WantedComponent, WantedStep};
use landfall_model::yaml::{self, Entry, Node};
use landfall_model::{Diagnostic, Diagnostics, SourceFile, Span, StepId, schema};
use serde_json::{Map, Value};

use crate::evaluate::{Evaluator, StepOutputs};
use crate::expression::{self, Checker, Compiler, Names};
use crate::shape::Shape;
use crate::suggest;
use crate::types::Type;
use definition::Definition;

/// A definition's folder, as found in some library.
#[derive(Clone, Debug)]
pub struct DefinitionFolder {
    /// What errors call the folder, such as `components/vpc`.
    pub origin: String,
    /// Its text files by path.
    pub files: BTreeMap<String, String>,
}

/// Where definitions come from, and who can read their templates.
pub trait Library {
    /// The folder of a definition; the error says why a folder that exists cannot be read.
    ///
    /// # Errors
    /// A sentence for people.
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String>;

    /// The names of all definitions there are.
    fn names(&self) -> Vec<String>;

    /// What a template promises.
    ///
    /// # Errors
    /// What is wrong with the template, with places.
    fn read_template(&self, file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics>;

    /// Whether a template is too large to be handed over inline, so that it needs the artifact bucket.
    fn is_large(&self, template: &str) -> bool;

    /// What is wrong with a Kubernetes object, as it is written: a text that contains `${` is a value nobody knows yet.
    /// Nothing, for who knows no kinds.
    fn check_object(&self, object: &Value) -> Vec<ObjectProblem> {
        let _ = object;
        Vec::new()
    }
}

/// One thing that is wrong with a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectProblem {
    /// Where: keys and list indexes, from the object on. What is missing is missing in what the path leads to.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// Whether a cluster surely refuses it.
    pub is_sure: bool,
}

/// What every platform file looks like.
static SHAPE: LazyLock<Shape> =
    LazyLock::new(|| Shape::new(schema::platform()).expect("the schema made from our own types is valid"));

/// Reads a platform and the definitions it uses.
///
/// # Errors
/// Everything wrong with them that can be known before anything runs.
pub fn read(platform: &Arc<SourceFile>, library: &dyn Library) -> Result<Wanted, Diagnostics> {
    let root = yaml::parse(platform)?;
    let compiler = Compiler::default();
    let mut reading = Reading {
        library,
        compiler: &compiler,
        found: Diagnostics::default(),
        definitions: HashMap::new(),
        uses: IndexMap::new(),
    };
    reading.platform(&root)
}

/// One component as the platform file uses it.
pub(crate) struct Use {
    pub(crate) name_span: Span,
    pub(crate) node: Node,
    pub(crate) definition: Option<Arc<Definition>>,
    pub(crate) after: Vec<(String, Span)>,
}

struct Reading<'a> {
    library: &'a dyn Library,
    compiler: &'a Compiler,
    found: Diagnostics,
    definitions: HashMap<String, Option<Arc<Definition>>>,
    uses: IndexMap<String, Use>,
}

impl Reading<'_> {
    fn platform(&mut self, root: &Node) -> Result<Wanted, Diagnostics> {
        self.found.extend(SHAPE.check(root, "the platform file"));
        let text = |path: &[&str]| {
            root.at(path.iter().copied())
                .and_then(Node::text)
                .unwrap_or_default()
                .to_owned()
        };
        let tags = root.at(["spec", "tags"]).map(Node::entries).unwrap_or_default();
        let facts = Facts {
            name: text(&["metadata", "name"]),
            region: text(&["spec", "region"]),
            account: text(&["spec", "account"]),
            tags: tags
                .iter()
                .filter_map(|tag| Some((tag.key.clone(), tag.node.text()?.to_owned())))
                .collect(),
        };
        self.reserved_tags(tags);
        for entry in root
            .at(["spec", "components"])
            .map(Node::entries)
            .unwrap_or_default()
        {
            self.component(entry);
        }
        let names = self.platform_names();
        for (name, used) in &self.uses {
            let problems = check_inputs(name, used, &names, self.compiler);
            self.found.extend(problems);
        }
        self.after();
        let bucket = root.at(["spec", "artifactBucket"]);
        if let Some(bucket) = bucket {
            let mut checker = Checker::new(self.compiler, &names);
            checker.node(bucket);
            self.found.extend(checker.found);
        }
        let artifact_bucket = bucket.and_then(Node::text).map(str::to_owned);
        let mut wanted = Wanted {
            facts,
            artifact_bucket,
            records_bucket: root
                .at(["spec", "recordsBucket"])
                .and_then(Node::text)
                .map(str::to_owned),
            components: self
                .uses
                .iter()
                .map(|(name, used)| (name.clone(), wanted_component(used)))
                .collect(),
            steps: Vec::new(),
            contents: BTreeMap::new(),
            warnings: Vec::new(),
        };
        self.known_inputs(&wanted);
        wanted.warnings = self.rules(&wanted);
        let steps = self.live_steps(&mut wanted);
        if self.found.has_errors() {
            return Err(std::mem::take(&mut self.found));
        }
        let mut wiring = wiring::Wiring::new(&wanted, &self.uses, self.compiler);
        wanted.steps = wiring.order(steps)?;
        self.known_work(&wanted);
        std::mem::take(&mut self.found).or_ok(wanted)
    }

    fn reserved_tags(&mut self, tags: &[Entry]) {
        for tag in tags {
            if tag.key.starts_with("landfall:") || tag.key.starts_with("aws:") {
                self.found.push(
                    Diagnostic::error(
                        format!("the tag `{}` is reserved", tag.key),
                        tag.key_span.clone(),
                        "this prefix is taken",
                    )
                    .help("`landfall:` tags say what belongs to a platform, `aws:` tags are Amazon's; choose another name"),
                );
            }
        }
    }

    fn component(&mut self, entry: &Entry) {
        let name = entry.key.clone();
        let is_name = name.len() <= 41
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        if !is_name {
            self.found.push(
                Diagnostic::error(
                    format!("`{name}` cannot be the name of a component"),
                    entry.key_span.clone(),
                    "not a name",
                )
                .help("a letter, then letters, digits and hyphens; at most 41 characters: it becomes part of stack names"),
            );
        }
        let after = entry
            .node
            .get("after")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| Some((item.text()?.to_owned(), item.span.clone())))
            .collect();
        let definition = entry.node.get("uses").and_then(|uses| {
            let name = uses.text()?;
            self.definition(name, &uses.span)
        });
        let used = Use {
            name_span: entry.key_span.clone(),
            node: entry.node.clone(),
            definition,
            after,
        };
        self.uses.insert(name, used);
    }

    fn definition(&mut self, name: &str, span: &Span) -> Option<Arc<Definition>> {
        if let Some(known) = self.definitions.get(name) {
            return known.clone();
        }
        let definition = match self.library.find(name) {
            Err(why) => {
                self.found.push(Diagnostic::error(
                    format!("the definition `{name}` cannot be read"),
                    span.clone(),
                    why,
                ));
                None
            }
            Ok(None) => {
                let names = self.library.names();
                self.found.push(
                    Diagnostic::error(
                        format!("there is no definition `{name}`"),
                        span.clone(),
                        "neither beside the platform file nor among those that come with Landfall",
                    )
                    .help(suggest::help(
                        name,
                        names.iter().map(String::as_str),
                        "definitions",
                    )),
                );
                return None;
            }
            Ok(Some(folder)) => match definition::read(name, &folder, self.library, self.compiler) {
                Ok(definition) => Some(Arc::new(definition)),
                Err(problems) => {
                    self.found.extend(problems);
                    None
                }
            },
        };
        self.definitions.insert(name.to_owned(), definition.clone());
        definition
    }

    /// What expressions in the platform file may use.
    fn platform_names(&self) -> Names {
        let components = self.uses.iter().map(|(name, used)| {
            let outputs = used.definition.as_ref().map_or(Type::Any, |definition| {
                Type::object(
                    "output",
                    definition
                        .outputs
                        .iter()
                        .map(|(name, output)| (name.clone(), output.kind.clone())),
                )
            });
            (name.clone(), outputs)
        });
        Names::from([
            ("components", Type::object("component", components)),
            ("platform", definition::platform_type()),
        ])
    }

    fn after(&mut self) {
        let mut found = Diagnostics::default();
        for used in self.uses.values() {
            for (name, span) in &used.after {
                if !self.uses.contains_key(name) {
                    found.push(
                        Diagnostic::error(
                            format!("there is no component `{name}` to wait for"),
                            span.clone(),
                            "no such component",
                        )
                        .help(suggest::help(
                            name,
                            self.uses.keys().map(String::as_str),
                            "components",
                        )),
                    );
                }
            }
        }
        self.found.extend(found);
    }

    /// Judges inputs that expressions make, as far as they are known already.
    fn known_inputs(&mut self, wanted: &Wanted) {
        let evaluator = Evaluator::new(wanted, self.compiler, &NothingKnown);
        let mut found = Diagnostics::default();
        for (name, used) in &self.uses {
            let Some(definition) = &used.definition else {
                continue;
            };
            for (input, declared) in &definition.inputs {
                let place = used.node.at(["with", input.as_str()]).unwrap_or(&used.node);
                let written = wanted
                    .components
                    .get(name)
                    .and_then(|component| component.inputs.get(input));
                let wrong_already = self.found.0.iter().any(|known| known.labels[0].0 == place.span);
                if wrong_already || !written.is_some_and(contains_expression) {
                    continue;
                }
                match evaluator.input(name, input) {
                    Ok(value) if expression::waits_for(&value).is_empty() => {
                        found.extend(declared.shape.check_value(
                            &value,
                            &blank(place),
                            &format!("`{input}`"),
                        ));
                    }
                    Ok(_) => {}
                    // When something else is wrong already, this is likely its echo.
                    Err(_) if self.found.has_errors() => {}
                    Err(error) => found.push(Diagnostic::error(
                        format!("`{input}` has no value"),
                        place.span.clone(),
                        error.to_string(),
                    )),
                }
            }
        }
        self.found.extend(found);
    }

    /// Judges the rules whose inputs are known. Returns what those that only warn have to say.
    fn rules(&mut self, wanted: &Wanted) -> Vec<Finding> {
        let mut warnings = Vec::new();
        // A rule over an input that is wrong already would only be its echo.
        if self.found.has_errors() {
            return warnings;
        }
        let evaluator = Evaluator::new(wanted, self.compiler, &NothingKnown);
        for (name, used) in &self.uses {
            for rule in used.definition.iter().flat_map(|definition| &definition.rules) {
                let place = rule
                    .inputs
                    .iter()
                    .find_map(|input| used.node.at(["with", input.as_str()]))
                    .map_or(&used.name_span, |node| &node.span);
                let said = |written: &Value| match evaluator.in_component(name, written) {
                    Ok(value) => expression::as_text(&value).unwrap_or_default(),
                    Err(error) => error.to_string(),
                };
                let what = match evaluator.in_component(name, &rule.that) {
                    Ok(Value::Bool(false)) => said(&rule.otherwise),
                    Ok(_) => continue,
                    Err(error) => error.to_string(),
                };
                let way_out = rule.way_out.as_ref().map(said);
                match rule.severity {
                    RuleSeverity::Refuse => self.found.push(
                        Diagnostic::error(what, place.clone(), format!("`{name}` cannot be like this"))
                            .and(rule.span.clone(), "the rule")
                            .maybe_help(way_out),
                    ),
                    RuleSeverity::Warn => warnings.push(Finding {
                        weight: Weight::Warns,
                        step: None,
                        resource: None,
                        what: format!("{name} ({}): {what}", place.place()),
                        way_out: way_out.unwrap_or_default(),
                    }),
                }
            }
        }
        warnings
    }

    /// The steps that `when` does not leave out, not yet wired or ordered.
    fn live_steps(&mut self, wanted: &mut Wanted) -> Vec<(WantedStep, Span)> {
        let mut steps = Vec::new();
        let mut names: HashMap<String, (StepId, Span)> = HashMap::new();
        let mut contents = BTreeMap::new();
        let evaluator = Evaluator::new(wanted, self.compiler, &NothingKnown);
        let mut found = Diagnostics::default();
        for (name, used) in &self.uses {
            let Some(definition) = &used.definition else {
                continue;
            };
            for step in &definition.steps {
                let mut decide = |what: &'static str, written: &Option<Value>, otherwise: bool| match written
                {
                    None => otherwise,
                    Some(written) => match evaluator.in_component(name, written) {
                        Ok(Value::Bool(value)) => value,
                        // Its own error is reported by the check of inputs.
                        Err(_) if self.found.has_errors() => otherwise,
                        other => {
                            found.push(undecided(what, &step.node, used, other));
                            otherwise
                        }
                    },
                };
                if !decide("when", &step.when, true) {
                    continue;
                }
                let retain = decide("retain", &step.retain, false);
                let id = StepId::new(name, &step.name);
                let written_out = format!("{name}-{}", step.name);
                if let Some((other, span)) = names.get(&written_out) {
                    found.push(
                        Diagnostic::error(
                            format!(
                                "`{id}` and `{other}` would both be called `{}-{written_out}`",
                                wanted.facts.name
                            ),
                            used.name_span.clone(),
                            format!("with its step `{}`", step.name),
                        )
                        .and(span.clone(), format!("with its step `{}`", other.step()))
                        .help("rename one of the two components"),
                    );
                }
                names.insert(written_out, (id.clone(), used.name_span.clone()));
                contents.extend(
                    step.contents
                        .iter()
                        .map(|(digest, text)| (digest.clone(), text.clone())),
                );
                let wanted_step = WantedStep {
                    id,
                    title: step.title.clone(),
                    kind: step.kind,
                    spec: step.spec.clone(),
                    after: Vec::new(),
                    retain,
                    existing: step.existing.clone(),
                    template: step.template.clone(),
                    skeleton: step.skeleton.clone(),
                };
                steps.push((wanted_step, step.node.span.clone()));
            }
        }
        wanted.contents = contents;
        self.found.extend(found);
        steps
    }

    /// Fills every step in as far as possible, so that what can only be wrong with values is found now.
    fn known_work(&mut self, wanted: &Wanted) {
        let evaluator = Evaluator::new(wanted, self.compiler, &NothingKnown);
        for step in &wanted.steps {
            let Err(error) = evaluator.step(step) else {
                continue;
            };
            let Some(used) = self.uses.get(step.id.component()) else {
                continue;
            };
            let node = used
                .definition
                .as_ref()
                .and_then(|definition| definition.steps.iter().find(|one| one.name == step.id.step()))
                .map(|one| &one.node);
            let mut diagnostic = Diagnostic::error(
                format!("the step `{}` cannot be planned", step.id),
                node.map_or(&used.name_span, |node| &node.span).clone(),
                error.reason,
            )
            .and(used.name_span.clone(), "used here");
            diagnostic.help = error.help;
            self.found.push(diagnostic);
        }
    }
}

/// Nothing has run yet; every step is assumed to be there.
struct NothingKnown;

impl StepOutputs for NothingKnown {
    fn outputs(&self, _step: &StepId) -> crate::evaluate::Given<'_> {
        crate::evaluate::Given::NotYet
    }
}

/// A node that points where `place` does but has no inside: a computed value has no places of its own.
fn blank(place: &Node) -> Node {
    Node {
        span: place.span.clone(),
        kind: yaml::Kind::Scalar(Value::Null),
    }
}

fn contains_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => expression::has_expression(text),
        Value::Array(items) => items.iter().any(contains_expression),
        Value::Object(map) => map.values().any(contains_expression),
        _ => false,
    }
}

fn undecided(
    what: &str,
    step: &Node,
    used: &Use,
    value: Result<Value, expression::EvaluateError>,
) -> Diagnostic {
    let place = step.get(what).unwrap_or(step).span.clone();
    let why = match value {
        Err(error) => error.to_string(),
        Ok(value) => match expression::waits_for(&value).first() {
            Some(step) => format!("it is known only once `{step}` is done"),
            None => format!("it is {value}, not true or false"),
        },
    };
    Diagnostic::error(format!("`{what}` must be known when planning"), place, why)
        .and(used.name_span.clone(), "used here")
        .help("decide it by inputs that are written in the platform file")
}

/// Inputs with defaults filled in, and outputs, expressions in place.
fn wanted_component(used: &Use) -> WantedComponent {
    let mut inputs = used
        .node
        .get("with")
        .map(|with| with.value())
        .and_then(|value| match value {
            Value::Object(map) => Some(map),
            _ => None,
        });
    let inputs = inputs.get_or_insert_with(Map::new);
    let mut outputs = Map::new();
    if let Some(definition) = &used.definition {
        for (name, input) in &definition.inputs {
            if let (false, Some(default)) = (inputs.contains_key(name), &input.default) {
                inputs.insert(name.clone(), default.clone());
            }
        }
        outputs.extend(
            definition
                .outputs
                .iter()
                .map(|(name, output)| (name.clone(), output.value.clone())),
        );
    }
    let uses = used
        .node
        .get("uses")
        .and_then(Node::text)
        .unwrap_or_default()
        .to_owned();
    let open = used
        .definition
        .as_ref()
        .and_then(|definition| definition.open.clone());
    WantedComponent {
        uses,
        inputs: std::mem::take(inputs),
        outputs,
        open,
    }
}

/// Checks what a component is given against what its definition asks for.
fn check_inputs(name: &str, used: &Use, names: &Names, compiler: &Compiler) -> Diagnostics {
    let mut checker = Checker::new(compiler, names);
    let Some(definition) = &used.definition else {
        if let Some(with) = used.node.get("with") {
            checker.tree(with);
        }
        return checker.found;
    };
    let empty = Vec::new();
    let given = used.node.get("with").map_or(empty.as_slice(), Node::entries);
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for entry in given {
        known.insert(&entry.key);
        let Some(input) = definition.inputs.get(&entry.key) else {
            checker.found.push(
                Diagnostic::error(
                    format!("`{}` has no input `{}`", definition.name, entry.key),
                    entry.key_span.clone(),
                    "no such input",
                )
                .help(suggest::help(
                    &entry.key,
                    definition.inputs.keys().map(String::as_str),
                    "inputs",
                )),
            );
            continue;
        };
        checker
            .found
            .extend(input.shape.check(&entry.node, &format!("`{}`", entry.key)));
        checker.tree(&entry.node);
        let kind = Checker::new(compiler, names).node(&entry.node);
        if let Some(kind) = kind.filter(|kind| !input.kind.accepts(kind)) {
            let help = match (&input.kind, &kind) {
                (Type::List(_), Type::Text) => {
                    Some("make it a list: `[…]`, or split it: `.split(',')`".to_owned())
                }
                (Type::Text, Type::List(_)) => Some("join it: `.join(',')`".to_owned()),
                (Type::Text, _) => Some("turn it into text: `string(…)`".to_owned()),
                _ => None,
            };
            checker.found.push(
                Diagnostic::error(
                    format!("`{}` must be {}", entry.key, input.kind),
                    entry.node.span.clone(),
                    format!("this expression is {kind}"),
                )
                .maybe_help(help),
            );
        }
    }
    for (input, declared) in &definition.inputs {
        if declared.default.is_none() && !known.contains(input.as_str()) {
            let help = match declared.description.as_str() {
                "" => format!("give it under `with`: `{input}: …`"),
                description => format!("`{input}`: {description}"),
            };
            checker.found.push(
                Diagnostic::error(
                    format!("`{name}` is not given its input `{input}`"),
                    used.name_span.clone(),
                    format!("`{}` needs `{input}`", definition.name),
                )
                .help(help),
            );
        }
    }
    checker.found
}
