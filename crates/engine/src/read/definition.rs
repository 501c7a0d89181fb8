//! Reads one definition: `component.yaml`, its templates and skeletons.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use indexmap::IndexMap;
use landfall_model::definition::{CheckSpec, Existing, OutputType, RuleSeverity, StepKind};
use landfall_model::id::Digest;
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::WantedTemplate;
use landfall_model::yaml::{self, Node};
use landfall_model::{Diagnostic, Diagnostics, SourceFile, Span, schema};
use serde_json::Value;

use super::{DefinitionFolder, Library, manifests, request};
use crate::expression::{Checker, Compiler, Names};
use crate::shape::Shape;
use crate::suggest;
use crate::types::Type;

/// A definition that was read and found sound.
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) inputs: IndexMap<String, Input>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: IndexMap<String, Output>,
    pub(crate) open: Option<Value>,
}

/// Something that must hold between inputs.
pub(crate) struct Rule {
    pub(crate) that: Value,
    pub(crate) otherwise: Value,
    pub(crate) way_out: Option<Value>,
    pub(crate) severity: RuleSeverity,
    pub(crate) span: Span,
    /// The inputs it speaks of.
    pub(crate) inputs: BTreeSet<String>,
}

/// One declared input.
pub(crate) struct Input {
    pub(crate) shape: Shape,
    pub(crate) kind: Type,
    pub(crate) default: Option<Value>,
    pub(crate) description: String,
}

/// One declared output.
pub(crate) struct Output {
    pub(crate) kind: Type,
    pub(crate) value: Value,
    pub(crate) references: BTreeSet<Vec<String>>,
}

/// One step of a definition.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) kind: StepKind,
    pub(crate) node: Node,
    pub(crate) spec: Value,
    pub(crate) after: Vec<String>,
    pub(crate) when: Option<Value>,
    pub(crate) retain: Option<Value>,
    pub(crate) existing: Option<Existing>,
    pub(crate) template: Option<WantedTemplate>,
    pub(crate) skeleton: BTreeMap<String, Digest>,
    /// Kubernetes objects, each where its manifest has it.
    pub(crate) objects: Vec<Node>,
    pub(crate) contents: Vec<(Digest, String)>,
    pub(crate) references: BTreeSet<Vec<String>>,
}

/// What `platform` is in every expression.
pub(crate) fn platform_type() -> Type {
    Type::object(
        "field",
        [
            ("name", Type::Text),
            ("region", Type::Text),
            ("account", Type::Text),
            ("tags", Type::Map(Box::new(Type::Text))),
            // The tags, and the one by which everything of the platform is found.
            ("marks", Type::Map(Box::new(Type::Text))),
        ],
    )
}

/// What every definition looks like: compiled once, however many are read.
static SHAPE: LazyLock<Shape> =
    LazyLock::new(|| Shape::new(schema::definition()).expect("the schema made from our own types is valid"));

/// Reads the definition `name` from its folder.
pub(crate) fn read(
    name: &str,
    folder: &DefinitionFolder,
    library: &dyn Library,
    compiler: &Compiler,
) -> Result<Definition, Diagnostics> {
    let path = |file: &str| format!("{}/{file}", folder.origin);
    let text = folder.files.get("component.yaml").cloned().unwrap_or_default();
    let source = SourceFile::new(path("component.yaml"), text);
    let root = yaml::parse(&source)?;
    let mut found = SHAPE.check(&root, "the definition");
    if let Some(node) = root.at(["metadata", "name"])
        && node.text().is_some_and(|text| text != name)
    {
        found.push(Diagnostic::error(
            format!("the definition in the folder `{name}` calls itself something else"),
            node.span.clone(),
            format!("should be `{name}`, like its folder"),
        ));
    }
    let inputs = inputs(&root, compiler, &mut found);
    let rules = rules(&root, &inputs, compiler, &mut found);
    let mut reader = StepReader {
        folder,
        library,
        found,
        steps: Vec::new(),
        templates: BTreeMap::new(),
    };
    for node in root.at(["spec", "steps"]).map(Node::items).unwrap_or_default() {
        reader.step(node);
    }
    let StepReader {
        mut found, mut steps, ..
    } = reader;
    let names = names(&inputs, &steps);
    check_steps(&mut steps, &names, compiler, folder, &mut found);
    let outputs = outputs(&root, &names, compiler, &mut found);
    let open = open(&root, &names, compiler, &mut found);
    found.or_ok(Definition {
        name: name.to_owned(),
        inputs,
        rules,
        steps,
        outputs,
        open,
    })
}

fn rules(
    root: &Node,
    inputs: &IndexMap<String, Input>,
    compiler: &Compiler,
    found: &mut Diagnostics,
) -> Vec<Rule> {
    let names = Names::from([("inputs", input_types(inputs)), ("platform", platform_type())]);
    let mut rules = Vec::new();
    for node in root.at(["spec", "rules"]).map(Node::items).unwrap_or_default() {
        let (Some(that), Some(otherwise)) = (node.get("that"), node.get("otherwise")) else {
            continue;
        };
        let mut checker = Checker::new(compiler, &names);
        if let Some(kind) = checker.node(that).filter(|kind| !Type::Bool.accepts(kind)) {
            checker.found.push(Diagnostic::error(
                "`that` must be true or false",
                that.span.clone(),
                format!("this expression is {kind}"),
            ));
        }
        let inputs = checker
            .references
            .iter()
            .filter(|path| path[0] == "inputs")
            .filter_map(|path| path.get(1).cloned())
            .collect();
        checker.node(otherwise);
        let way_out = node.get("wayOut");
        way_out.and_then(|way_out| checker.node(way_out));
        found.extend(checker.found);
        rules.push(Rule {
            that: that.value(),
            otherwise: otherwise.value(),
            way_out: way_out.map(Node::value),
            severity: node
                .get("severity")
                .and_then(|node| serde_json::from_value(node.value()).ok())
                .unwrap_or_default(),
            span: that.span.clone(),
            inputs,
        });
    }
    rules
}

fn inputs(root: &Node, compiler: &Compiler, found: &mut Diagnostics) -> IndexMap<String, Input> {
    let names = Names::from([("platform", platform_type())]);
    let mut inputs = IndexMap::new();
    for entry in root.at(["spec", "inputs"]).map(Node::entries).unwrap_or_default() {
        let Value::Object(mut schema) = entry.node.value() else {
            continue;
        };
        let default = schema.remove("default");
        let kind = Type::of_schema(&schema);
        let description = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
            .replace('\n', " ");
        let shape = match Shape::new(Value::Object(schema)) {
            Ok(shape) => shape,
            Err(why) => {
                let why = wrong_type(&entry.node).unwrap_or(why);
                found.push(
                    Diagnostic::error(
                        format!("the input `{}` is not a valid JSON Schema", entry.key),
                        entry.node.span.clone(),
                        why,
                    )
                    .help("an input is a JSON Schema, such as `{ type: string, description: … }`"),
                );
                continue;
            }
        };
        if let Some(node) = entry.node.get("default") {
            found.extend(shape.check(node, &format!("the default of `{}`", entry.key)));
            let mut checker = Checker::new(compiler, &names);
            checker.tree(node);
            found.extend(checker.found);
        }
        inputs.insert(
            entry.key.clone(),
            Input {
                shape,
                kind,
                default,
                description,
            },
        );
    }
    inputs
}

/// The most common mistake in a schema, in words of its own.
fn wrong_type(schema: &Node) -> Option<String> {
    const TYPES: [&str; 7] = [
        "string", "integer", "number", "boolean", "array", "object", "null",
    ];
    let kind = schema.get("type")?.text().filter(|kind| !TYPES.contains(kind))?;
    Some(format!(
        "there is no type `{kind}`; {}",
        suggest::help(kind, TYPES, "types")
    ))
}

struct StepReader<'a> {
    folder: &'a DefinitionFolder,
    library: &'a dyn Library,
    found: Diagnostics,
    steps: Vec<Step>,
    templates: BTreeMap<String, Option<WantedTemplate>>,
}

impl StepReader<'_> {
    fn step(&mut self, node: &Node) {
        let Some(name) = node
            .get("name")
            .and_then(|name| name.text().map(|text| (text.to_owned(), &name.span)))
        else {
            return;
        };
        let (name, name_span) = name;
        if let Some(first) = self.steps.iter().find(|step| step.name == name) {
            let first = first.node.get("name").map_or(&first.node.span, |name| &name.span);
            self.found.push(
                Diagnostic::error(
                    format!("two steps are called `{name}`"),
                    name_span.clone(),
                    "called so again",
                )
                .and(first.clone(), "first called so here")
                .help("give one of them another name"),
            );
            return;
        }
        let kinds: Vec<(StepKind, &str, &Node)> = StepKind::ALL
            .into_iter()
            .filter_map(|(kind, word)| Some((kind, word, node.get(word)?)))
            .collect();
        let [(kind, _, spec)] = kinds.as_slice() else {
            let words: Vec<String> = StepKind::ALL
                .iter()
                .map(|(_, word)| format!("`{word}`"))
                .collect();
            let label = match kinds.as_slice() {
                [] => "does nothing yet".to_owned(),
                several => several
                    .iter()
                    .map(|(_, word, _)| format!("`{word}`"))
                    .collect::<Vec<_>>()
                    .join(" and "),
            };
            self.found.push(
                Diagnostic::error(
                    format!("the step `{name}` must do exactly one thing"),
                    name_span.clone(),
                    label,
                )
                .help(format!("give it exactly one of {}", words.join(", "))),
            );
            return;
        };
        let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        let mut step = Step {
            title: text("title"),
            kind: *kind,
            spec: spec.value(),
            after: node
                .get("after")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text)
                .map(str::to_owned)
                .collect(),
            when: node.get("when").map(Node::value),
            retain: node.get("retain").map(Node::value),
            existing: node
                .get("existing")
                .and_then(|node| serde_json::from_value(node.value()).ok()),
            template: None,
            skeleton: BTreeMap::new(),
            objects: Vec::new(),
            contents: Vec::new(),
            references: BTreeSet::new(),
            node: node.clone(),
            name,
        };
        match kind {
            StepKind::Stack => self.template(&mut step, spec),
            StepKind::StackSet => {
                self.template(&mut step, spec);
                self.somewhere(&step.name, spec);
            }
            StepKind::Objects => manifests::read(self.folder, self.library, &mut step, spec, &mut self.found),
            StepKind::Files => self.skeleton(&mut step, spec),
            StepKind::Check => self.one_assertion(&step.name, spec),
            StepKind::Secret | StepKind::Request | StepKind::Entity | StepKind::Leftovers => {}
        }
        if let (Some(existing), true) = (node.get("existing"), *kind != StepKind::Stack) {
            self.found.push(Diagnostic::error(
                "`existing` goes with a `stack`",
                existing.span.clone(),
                "there is no stack here",
            ));
        }
        self.steps.push(step);
    }

    fn template(&mut self, step: &mut Step, spec: &Node) {
        let Some(node) = spec.get("template") else { return };
        let Some(file) = node.text() else { return };
        let Some(text) = self.folder.files.get(file) else {
            let templates = self
                .folder
                .files
                .keys()
                .map(String::as_str)
                .filter(|name| name.ends_with(".cfn.yaml"));
            self.found.push(
                Diagnostic::error(
                    format!("there is no template `{file}`"),
                    node.span.clone(),
                    "no such file",
                )
                .help(suggest::help(file, templates, "templates")),
            );
            return;
        };
        let template = self.templates.entry(file.to_owned()).or_insert_with(|| {
            let source = SourceFile::new(format!("{}/{file}", self.folder.origin), text.clone());
            match self.library.read_template(&source) {
                Ok(interface) => Some(WantedTemplate {
                    file: file.to_owned(),
                    digest: Digest::of(text),
                    interface,
                    large: self.library.is_large(text),
                }),
                Err(problems) => {
                    self.found.extend(problems);
                    None
                }
            }
        });
        if let Some(template) = template {
            step.contents.push((template.digest.clone(), text.clone()));
            step.template = Some(template.clone());
        }
    }

    fn skeleton(&mut self, step: &mut Step, spec: &Node) {
        let Some(node) = spec.get("from") else { return };
        let Some(from) = node.text() else { return };
        let prefix = format!("{}/", from.trim_end_matches('/'));
        for (path, text) in &self.folder.files {
            if let Some(inner) = path.strip_prefix(&prefix) {
                let digest = Digest::of(text);
                step.contents.push((digest.clone(), text.clone()));
                step.skeleton.insert(inner.to_owned(), digest);
            }
        }
        if step.skeleton.is_empty() {
            let folders: BTreeSet<&str> = self
                .folder
                .files
                .keys()
                .filter_map(|path| path.split_once('/'))
                .map(|(folder, _)| folder)
                .collect();
            self.found.push(
                Diagnostic::error(
                    format!("there is no skeleton `{from}`"),
                    node.span.clone(),
                    "no files there",
                )
                .help(suggest::help(from, folders, "folders")),
            );
        }
    }

    /// Which of both it is may depend on inputs, so a definition may write both; one must be there.
    fn somewhere(&mut self, name: &str, spec: &Node) {
        if spec.get("accounts").is_none() && spec.get("organizationalUnits").is_none() {
            self.found.push(
                Diagnostic::error(
                    format!("the stack set `{name}` does not say where it goes"),
                    spec.span.clone(),
                    "neither `accounts` nor `organizationalUnits`",
                )
                .help("give it `accounts`, a list of account ids, or `organizationalUnits`"),
            );
        }
    }

    fn one_assertion(&mut self, name: &str, spec: &Node) {
        let kinds = CheckSpec::KINDS
            .into_iter()
            .filter(|word| spec.get(word).is_some())
            .count();
        if kinds != 1 {
            self.found.push(
                Diagnostic::error(
                    format!("the check `{name}` must assert exactly one thing"),
                    spec.span.clone(),
                    format!("asserts {kinds}"),
                )
                .help(format!("give it exactly one of {}", CheckSpec::kinds())),
            );
        }
    }
}

fn input_types(inputs: &IndexMap<String, Input>) -> Type {
    let inputs = inputs
        .iter()
        .map(|(name, input)| (name.clone(), input.kind.clone()));
    Type::object("input", inputs)
}

/// What a check gives, by what it asserts.
fn check_outputs(step: &Step) -> Type {
    let text = |names: &[&'static str]| Type::object("output", names.iter().map(|name| (*name, Type::Text)));
    match step
        .spec
        .as_object()
        .and_then(|spec| CheckSpec::KINDS.into_iter().find(|kind| spec.contains_key(*kind)))
    {
        Some("identity") => text(&["account", "arn"]),
        Some("dns") => Type::object("output", [("answers", Type::List(Box::new(Type::Text)))]),
        Some("http") => Type::object("output", [("status", Type::Int)]),
        Some("oidc") => text(&[
            "issuer",
            "authorizationEndpoint",
            "tokenEndpoint",
            "userinfoEndpoint",
            "jwksUri",
        ]),
        Some("iamRole") => text(&["arn", "name"]),
        Some("tls") => text(&["expires", "issuer"]),
        Some("prometheus") => Type::object("output", [("value", Type::Double)]),
        Some("logs") => text(&["stream"]),
        Some("connection") => text(&["result"]),
        Some("signIn") => text(&["provider"]),
        _ => Type::Any,
    }
}

/// What expressions in a definition may use.
fn names(inputs: &IndexMap<String, Input>, steps: &[Step]) -> Names {
    let steps = steps.iter().map(|step| {
        let outputs: Type = match step.kind {
            StepKind::StackSet => {
                let list = || Type::List(Box::new(Type::Text));
                Type::object(
                    "output",
                    [
                        ("name", Type::Text),
                        ("id", Type::Text),
                        ("accounts", list()),
                        ("regions", list()),
                    ],
                )
            }
            StepKind::Stack => match &step.template {
                Some(template) => Type::object(
                    "output",
                    template
                        .interface
                        .outputs
                        .iter()
                        .map(|name| (name.clone(), Type::Text)),
                ),
                None => Type::Any,
            },
            StepKind::Objects => {
                let outputs = step.spec.get("outputs").and_then(Value::as_object);
                let names = outputs.into_iter().flat_map(|outputs| outputs.keys());
                Type::object("output", names.map(|name| (name.clone(), Type::Text)))
            }
            StepKind::Secret => Type::object(
                "output",
                ["arn", "name", "reference"].map(|name| (name, Type::Text)),
            ),
            StepKind::Request => request::outputs(&step.spec),
            StepKind::Files | StepKind::Entity => Type::object("output", [("path", Type::Text)]),
            StepKind::Leftovers => Type::Any,
            StepKind::Check => check_outputs(step),
        };
        (step.name.clone(), Type::object("field", [("outputs", outputs)]))
    });
    Names::from([
        ("inputs", input_types(inputs)),
        ("steps", Type::object("step", steps)),
        ("platform", platform_type()),
    ])
}

fn check_steps(
    steps: &mut [Step],
    names: &Names,
    compiler: &Compiler,
    folder: &DefinitionFolder,
    found: &mut Diagnostics,
) {
    let all: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    for step in steps {
        let mut checker = Checker::new(compiler, names);
        match step.kind {
            StepKind::Request => request::check(&step.node, &mut checker),
            _ => checker.tree(&step.node),
        }
        for object in &step.objects {
            checker.tree(object);
        }
        for item in step.node.get("after").map(Node::items).unwrap_or_default() {
            let Some(name) = item.text().filter(|name| !all.iter().any(|one| one == name)) else {
                continue;
            };
            checker.found.push(
                Diagnostic::error(
                    format!("there is no step `{name}` to wait for"),
                    item.span.clone(),
                    "no such step",
                )
                .help(suggest::help(name, all.iter().map(String::as_str), "steps")),
            );
        }
        for key in ["when", "retain"] {
            let Some(node) = step.node.get(key) else { continue };
            if let Some(kind) = Checker::new(compiler, names)
                .node(node)
                .filter(|kind| !Type::Bool.accepts(kind))
            {
                checker.found.push(Diagnostic::error(
                    format!("`{key}` must be true or false"),
                    node.span.clone(),
                    format!("this expression is {kind}"),
                ));
            }
        }
        step.references = std::mem::take(&mut checker.references);
        found.extend(checker.found);
        match step.kind {
            StepKind::Stack | StepKind::StackSet => {
                if let (Some(template), Some(spec)) = (&step.template, step.node.get(step.kind.word())) {
                    check_stack(&step.node, spec, &template.interface, compiler, names, found);
                }
            }
            StepKind::Files => check_skeleton(step, compiler, folder, found),
            StepKind::Entity => check_entities(&step.node, found),
            StepKind::Objects
            | StepKind::Secret
            | StepKind::Request
            | StepKind::Check
            | StepKind::Leftovers => {}
        }
    }
}

/// Checks what a `stack`, or a `stackSet`, gives to its template.
fn check_stack(
    step: &Node,
    stack: &Node,
    interface: &TemplateInterface,
    compiler: &Compiler,
    names: &Names,
    found: &mut Diagnostics,
) {
    let given = stack.get("parameters");
    for entry in given.map(Node::entries).unwrap_or_default() {
        let Some(parameter) = interface.parameters.get(&entry.key) else {
            found.push(
                Diagnostic::error(
                    format!("the template has no parameter `{}`", entry.key),
                    entry.key_span.clone(),
                    "no such parameter",
                )
                .help(suggest::help(
                    &entry.key,
                    interface.parameters.keys().map(String::as_str),
                    "parameters",
                )),
            );
            continue;
        };
        let kind = match entry.node.text() {
            Some(_) => Checker::new(compiler, names).node(&entry.node),
            None if entry.node.items().is_empty() && entry.node.entries().is_empty() => None,
            None => Some(Type::List(Box::new(Type::Any))),
        };
        if let Some(kind) = kind.filter(|kind| !kind.fits_in_text() && *kind != Type::Null) {
            found.push(
                Diagnostic::error(
                    format!("the parameter `{}` takes text", entry.key),
                    entry.node.span.clone(),
                    format!("this is {kind}"),
                )
                .help("join a list with `.join(',')`"),
            );
        }
        let literal = entry.node.value();
        if let Some(text) = literal.as_str().filter(|text| !text.contains("${"))
            && !parameter.allowed.is_empty()
            && !parameter.allowed.iter().any(|allowed| allowed == text)
        {
            found.push(
                Diagnostic::error(
                    format!("the parameter `{}` cannot be `{text}`", entry.key),
                    entry.node.span.clone(),
                    "not among the template's allowed values",
                )
                .help(suggest::help(
                    text,
                    parameter.allowed.iter().map(String::as_str),
                    "allowed values",
                )),
            );
        }
    }
    for (name, parameter) in &interface.parameters {
        if !parameter.has_default && given.is_none_or(|given| given.get(name).is_none()) {
            found.push(
                Diagnostic::error(
                    format!("the parameter `{name}` is not given"),
                    given.unwrap_or(stack).span.clone(),
                    "the template has no default for it",
                )
                .help(format!("add `{name}: …` to `parameters`")),
            );
        }
    }
    for item in stack.get("empty").map(Node::items).unwrap_or_default() {
        let Some(id) = item.text() else { continue };
        if interface
            .resources
            .get(id)
            .is_none_or(|resource| resource.kind != "AWS::S3::Bucket")
        {
            let buckets = interface
                .resources
                .iter()
                .filter(|(_, resource)| resource.kind == "AWS::S3::Bucket");
            found.push(
                Diagnostic::error(
                    format!("the template has no bucket `{id}`"),
                    item.span.clone(),
                    "no such bucket",
                )
                .help(suggest::help(id, buckets.map(|(id, _)| id.as_str()), "buckets")),
            );
        }
    }
    for entry in step
        .at(["existing", "outputs"])
        .map(Node::entries)
        .unwrap_or_default()
    {
        if !interface.outputs.contains(&entry.key) {
            found.push(
                Diagnostic::error(
                    format!("the template has no output `{}`", entry.key),
                    entry.key_span.clone(),
                    "what stands already must give the same outputs as the stack",
                )
                .help(suggest::help(
                    &entry.key,
                    interface.outputs.iter().map(String::as_str),
                    "outputs",
                )),
            );
        }
    }
}

fn check_skeleton(step: &Step, compiler: &Compiler, folder: &DefinitionFolder, found: &mut Diagnostics) {
    let Some(files) = step.node.get("files") else {
        return;
    };
    let values = files.get("values").map(Node::entries).unwrap_or_default();
    let values = values.iter().map(|entry| (entry.key.clone(), Type::Any));
    let names = Names::from([
        ("values", Type::object("value", values)),
        ("platform", platform_type()),
    ]);
    let from = files
        .get("from")
        .and_then(Node::text)
        .unwrap_or_default()
        .trim_end_matches('/');
    for path in step.skeleton.keys().filter(|path| path.ends_with(".tmpl")) {
        let path = format!("{from}/{path}");
        let text = folder.files.get(&path).cloned().unwrap_or_default();
        let source = SourceFile::new(format!("{}/{path}", folder.origin), text);
        let span = Span {
            range: 0..source.text.len(),
            file: source.clone(),
        };
        let mut checker = Checker::new(compiler, &names);
        checker.text(&source.text, &span);
        found.extend(checker.found);
    }
}

/// The parts of Backstage's entity envelope that can be checked before there are values
/// (source: Backstage, descriptor format of catalog entities).
fn check_entities(step: &Node, found: &mut Diagnostics) {
    for entity in step
        .at(["entity", "entities"])
        .map(Node::items)
        .unwrap_or_default()
    {
        for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
            if entity
                .at(path.iter().copied())
                .is_none_or(|node| node.text().is_none())
            {
                let missing = path.join(".");
                found.push(
                    Diagnostic::error(
                        format!("an entity has no `{missing}`"),
                        entity.nearest(path.iter().copied()).span.clone(),
                        format!("`{missing}` is missing here"),
                    )
                    .help("an entity needs `apiVersion`, `kind` and `metadata.name`"),
                );
            }
        }
        if let Some(node) = entity.at(["metadata", "name"])
            && let Some(name) = node.text().filter(|name| !name.contains("${"))
            && !crate::evaluate::is_entity_name(name)
        {
            found.push(
                Diagnostic::error(
                    format!("`{name}` cannot be an entity's name"),
                    node.span.clone(),
                    "not a name",
                )
                .help("letters, digits and `-`, `_`, `.` between them; at most 63 characters"),
            );
        }
    }
}

fn outputs(
    root: &Node,
    names: &Names,
    compiler: &Compiler,
    found: &mut Diagnostics,
) -> IndexMap<String, Output> {
    let mut outputs = IndexMap::new();
    for entry in root
        .at(["spec", "outputs"])
        .map(Node::entries)
        .unwrap_or_default()
    {
        let Some(kind) = entry.node.get("type").and_then(|kind| {
            serde_json::from_value::<OutputType>(kind.value())
                .ok()
                .map(Type::of_output)
        }) else {
            continue;
        };
        let Some(node) = entry.node.get("value") else {
            continue;
        };
        let mut checker = Checker::new(compiler, names);
        checker.tree(node);
        let given = match node.text() {
            Some(_) => Checker::new(compiler, names).node(node).unwrap_or(Type::Any),
            None => Type::Any,
        };
        if !kind.accepts(&given) {
            checker.found.push(
                Diagnostic::error(
                    format!("the output `{}` must be {kind}", entry.key),
                    node.span.clone(),
                    format!("this expression is {given}"),
                )
                .maybe_help(
                    matches!((&kind, &given), (Type::List(_), Type::Text))
                        .then(|| "a stack's outputs are text; split it: `.split(',')`".to_owned()),
                ),
            );
        }
        let references = std::mem::take(&mut checker.references);
        found.extend(checker.found);
        outputs.insert(
            entry.key.clone(),
            Output {
                kind,
                value: node.value(),
                references,
            },
        );
    }
    outputs
}

/// What is opened of it.
fn open(root: &Node, names: &Names, compiler: &Compiler, found: &mut Diagnostics) -> Option<Value> {
    let node = root.at(["spec", "open"])?;
    let mut checker = Checker::new(compiler, names);
    checker.tree(node);
    found.extend(checker.found);
    let one_of = |node: &Node, keys: [&str; 2], found: &mut Diagnostics| {
        if keys.iter().filter(|key| node.get(key).is_some()).count() != 1 {
            let [first, second] = keys;
            found.push(
                Diagnostic::error(
                    format!("exactly one of `{first}` and `{second}` is needed"),
                    node.span.clone(),
                    "has none or both",
                )
                .help("docs/formats.md shows both under “Opening”"),
            );
        }
    };
    one_of(node, ["service", "url"], found);
    for credential in node.get("credentials").map(Node::items).unwrap_or_default() {
        one_of(credential, ["value", "secret"], found);
    }
    Some(node.value())
}
