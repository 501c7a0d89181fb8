//! Checks the things of a `request` step before there are values: `each` is known only inside of what is made for it.

use landfall_model::yaml::Node;
use landfall_model::{Diagnostic, Diagnostics};
use serde_json::Value;

use crate::expression::{Checker, Names};
use crate::types::Type;

/// What the step gives. With `each` the names may depend on values.
pub(crate) fn outputs(spec: &Value) -> Type {
    let resources = || spec["resources"].as_array().into_iter().flatten();
    let of = |resource: &Value| resource["outputs"].as_object().cloned().unwrap_or_default();
    if resources().any(|resource| resource.get("each").is_some() && !of(resource).is_empty()) {
        return Type::Any;
    }
    let names = resources().flat_map(|resource| of(resource).into_iter().map(|(name, _)| name));
    Type::object("output", names.map(|name| (name, Type::Any)))
}

/// Checks every expression of the step.
pub(crate) fn check(step: &Node, checker: &mut Checker<'_>) {
    for entry in step.entries() {
        if entry.key != "request" {
            checker.tree(&entry.node);
            continue;
        }
        for entry in entry.node.entries() {
            if entry.key == "resources" {
                for resource in entry.node.items() {
                    check_resource(resource, checker);
                }
            } else {
                checker.tree(&entry.node);
            }
        }
    }
}

fn check_resource(resource: &Node, checker: &mut Checker<'_>) {
    let Some(each) = resource.get("each") else {
        checker.tree(resource);
        return;
    };
    checker.tree(each);
    // Its own problems have just been found.
    let item = match Checker::new(checker.compiler, checker.names).node(each) {
        Some(Type::List(item)) => *item,
        Some(Type::Any) | None => Type::Any,
        Some(other) => {
            checker.found.push(
                Diagnostic::error(
                    "`each` must be a list",
                    each.span.clone(),
                    format!("this is {other}"),
                )
                .help("there is one thing for each item of it"),
            );
            Type::Any
        }
    };
    let names: Names = checker
        .names
        .iter()
        .map(|(name, kind)| (*name, kind.clone()))
        .chain([("each", item)])
        .collect();
    let mut inner = Checker::new(checker.compiler, &names);
    for entry in resource.entries().iter().filter(|entry| entry.key != "each") {
        inner.tree(&entry.node);
    }
    let Checker {
        found, references, ..
    } = inner;
    let found: Diagnostics = found;
    checker.found.extend(found);
    let of_others = references.into_iter().filter(|path| path[0] != "each");
    checker.references.extend(of_others);
    if let Some(name) = resource.get("name")
        && name.text().is_some_and(|text| !text.contains("${"))
    {
        checker.found.push(
            Diagnostic::error(
                "with `each` every thing needs a name of its own",
                name.span.clone(),
                "all of them would be called so",
            )
            .help("let the name say which item it is: `role-${each}` or `role-${each.name}`"),
        );
    }
}
