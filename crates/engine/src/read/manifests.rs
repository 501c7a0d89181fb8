//! Reads the manifests of an `objects` step: every object with its place, and what each must have.

use std::collections::BTreeSet;

use landfall_model::diagnostic::Severity;
use landfall_model::yaml::{self, Kind, Node};
use landfall_model::{Diagnostic, Diagnostics, SourceFile, Span};
use serde_json::Value;

use super::definition::Step;
use super::{DefinitionFolder, Library, ObjectProblem};
use crate::suggest;

/// Reads every object of the step's manifests into it: as nodes for checking, as values for later.
pub(crate) fn read(
    folder: &DefinitionFolder,
    library: &dyn Library,
    step: &mut Step,
    spec: &Node,
    found: &mut Diagnostics,
) {
    for item in spec.get("manifests").map(Node::items).unwrap_or_default() {
        let Some(file) = item.text() else { continue };
        let Some(text) = folder.files.get(file) else {
            let yaml = folder.files.keys().map(String::as_str).filter(|name| {
                !matches!(*name, "component.yaml" | "README.md")
                    && !name.ends_with(".cfn.yaml")
                    && name.ends_with(".yaml")
            });
            found.push(
                Diagnostic::error(
                    format!("there is no manifest `{file}`"),
                    item.span.clone(),
                    "no such file",
                )
                .help(suggest::help(file, yaml, "manifests")),
            );
            continue;
        };
        let source = SourceFile::new(format!("{}/{file}", folder.origin), text.clone());
        match yaml::parse_all(&source) {
            Ok(objects) if objects.is_empty() => found.push(
                Diagnostic::error(
                    format!("the manifest `{file}` is empty"),
                    item.span.clone(),
                    "holds no object",
                )
                .help("write an object into it, or take it out of `manifests`"),
            ),
            Ok(objects) => {
                for object in objects {
                    if envelope(&object, found) {
                        judged(&object, library, found);
                    }
                    step.objects.push(object);
                }
            }
            Err(problems) => found.extend(problems),
        }
    }
    twice(&step.objects, found);
    outputs(spec, &step.objects, found);
    if let Value::Object(spec) = &mut step.spec {
        spec.remove("manifests");
        spec.insert(
            "objects".to_owned(),
            step.objects.iter().map(Node::value).collect(),
        );
    }
}

/// Whether the object has what every object has (source: Kubernetes API conventions, "Types (Kinds)" and "Metadata").
fn envelope(object: &Node, found: &mut Diagnostics) -> bool {
    let before = found.0.len();
    if !matches!(object.kind, Kind::Map(_)) {
        found.push(
            Diagnostic::error(
                "a manifest holds objects",
                object.span.clone(),
                "this is not a mapping",
            )
            .help("an object needs `apiVersion`, `kind` and `metadata.name`"),
        );
        return false;
    }
    for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
        if object
            .at(path.iter().copied())
            .and_then(Node::text)
            .is_none_or(str::is_empty)
        {
            let missing = path.join(".");
            found.push(
                Diagnostic::error(
                    format!("an object has no `{missing}`"),
                    start(object.nearest(path.iter().copied())),
                    format!("`{missing}` is missing here"),
                )
                .help("an object needs `apiVersion`, `kind` and `metadata.name`"),
            );
        }
    }
    found.0.len() == before
}

/// What is wrong with the object by the schema of its kind, each at its place.
fn judged(object: &Node, library: &dyn Library, found: &mut Diagnostics) {
    for problem in library.check_object(&object.value()) {
        let ObjectProblem {
            path,
            message,
            help,
            is_sure,
        } = problem;
        let mut diagnostic = Diagnostic::error(message, place(object, &path), "here");
        if !is_sure {
            diagnostic.severity = Severity::Warning;
        }
        found.push(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }
}

/// Where to point for a path: at a value that fits in a line, otherwise at the key it stands under.
fn place(object: &Node, path: &[String]) -> Span {
    let node = object.nearest(path.iter().map(String::as_str));
    if let Kind::Scalar(_) = node.kind {
        return start(node);
    }
    let key = path.split_last().and_then(|(last, before)| {
        object
            .at(before.iter().map(String::as_str))
            .and_then(|parent| parent.entry(last))
    });
    key.map_or_else(|| start(node), |entry| entry.key_span.clone())
}

/// The first line of a node: a whole object is too much to point at.
fn start(node: &Node) -> Span {
    let range = node.span.range.clone();
    let text = &node.span.file.text[range.clone()];
    let end = text.find('\n').map_or(range.end, |end| range.start + end);
    Span {
        range: range.start..end,
        file: node.span.file.clone(),
    }
}

fn text<'a>(object: &'a Node, path: &[&str]) -> &'a str {
    object
        .at(path.iter().copied())
        .and_then(Node::text)
        .unwrap_or_default()
}

fn twice(objects: &[Node], found: &mut Diagnostics) {
    let mut seen = BTreeSet::new();
    for object in objects {
        let name = text(object, &["metadata", "name"]);
        let key = (
            text(object, &["apiVersion"]),
            text(object, &["kind"]),
            text(object, &["metadata", "namespace"]),
            name,
        );
        if !name.is_empty() && !seen.insert(key) {
            found.push(
                Diagnostic::error(
                    format!("the {} `{name}` stands twice in the manifests of one step", key.1),
                    start(object),
                    "once more",
                )
                .help("rename one of them, or remove it"),
            );
        }
    }
}

fn outputs(spec: &Node, objects: &[Node], found: &mut Diagnostics) {
    let called = |object: &Node| {
        format!(
            "{}/{}",
            text(object, &["kind"]),
            text(object, &["metadata", "name"])
        )
    };
    for entry in spec.get("outputs").map(Node::entries).unwrap_or_default() {
        let Some((node, of)) = entry.node.get("of").and_then(|node| Some((node, node.text()?))) else {
            continue;
        };
        if of.contains("${") || objects.iter().any(|object| called(object) == of) {
            continue;
        }
        let names: Vec<String> = objects.iter().map(called).collect();
        found.push(
            Diagnostic::error(
                format!("there is no object `{of}`"),
                node.span.clone(),
                "not in the manifests",
            )
            .help(suggest::help(of, names.iter().map(String::as_str), "objects")),
        );
    }
}
