//! What Landfall knows of Kubernetes kinds, judged by the definitions their projects publish, and by every manifest that
//! ships.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landfall_kinds::{ListType, Schema};
use serde_json::Value;

/// Where the published definitions lie, when they do.
fn published() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("../shared/reference/crds");
    folder.exists().then_some(folder)
}

/// One version of a published definition.
struct Definition {
    group: String,
    version: String,
    names: Value,
    scope: String,
    schema: Value,
}

fn definitions(folder: &Path) -> Vec<Definition> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.extend(documents.iter().flat_map(versions));
            }
        }
    }
    found
}

fn versions(document: &Value) -> Vec<Definition> {
    let spec = &document["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter(|_| document["kind"] == "CustomResourceDefinition")
        .map(|version| Definition {
            group: text(&spec["group"]),
            version: text(&version["name"]),
            names: spec["names"].clone(),
            scope: text(&spec["scope"]),
            schema: version["schema"]["openAPIV3Schema"].clone(),
        })
        .collect()
}

/// What in our schema is not so in the published one.
fn differences(ours: Schema<'_>, theirs: &Value, path: &str, found: &mut Vec<String>) {
    let published = Schema::of(theirs);
    if ours.is_open() || published.is_open() {
        return;
    }
    let is_either = |schema: Schema<'_>| schema.is("x-kubernetes-int-or-string");
    if is_either(ours) || is_either(published) {
        if is_either(ours) != is_either(published) {
            found.push(format!("{path}: an integer or a text"));
        }
        return;
    }
    if ours.kind() != published.kind() {
        found.push(format!(
            "{path}: {:?}, and there {:?}",
            ours.kind(),
            published.kind()
        ));
        return;
    }
    let texts = |schema: Schema<'_>| -> Option<BTreeSet<String>> {
        let all = schema.get("enum")?.as_array()?.iter();
        Some(
            all.filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
        )
    };
    if let (Some(mine), Some(known)) = (texts(ours), texts(published))
        && !mine.is_superset(&known)
    {
        found.push(format!(
            "{path}: also {:?}",
            known.difference(&mine).collect::<Vec<_>>()
        ));
    }
    let limit = |schema: Schema<'_>, word: &str| schema.get(word).and_then(Value::as_i64);
    for (word, is_narrower) in [("minimum", 1), ("maximum", -1)] {
        if let (Some(mine), Some(known)) = (limit(ours, word), limit(published, word))
            && (mine - known) * is_narrower > 0
        {
            found.push(format!("{path}: {word} {mine}, and there {known}"));
        }
    }
    if ours.kind() == Some("array") {
        let (mine, known) = (ours.list_type(), published.list_type());
        if mine != known {
            found.push(format!("{path}: {mine:?}, and there {known:?}"));
        }
        if let (Some(mine), Some(known)) = (ours.items(), theirs.get("items")) {
            differences(mine, known, &format!("{path}[]"), found);
        }
        return;
    }
    if let Some(name) = ours.get("x-landfall-type").and_then(Value::as_str) {
        return merges(ours, published, &format!("{path} ({name})"), found);
    }
    let required: BTreeSet<&str> = published.required().collect();
    let mine: BTreeSet<&str> = ours.required().collect();
    if !path.is_empty() {
        for name in required.difference(&mine) {
            // What has a default is filled in before it is missed.
            if theirs["properties"][*name].get("default").is_none() {
                found.push(format!("{path}.{name}: must be there"));
            }
        }
        for name in mine.difference(&required) {
            found.push(format!("{path}.{name}: may be left out"));
        }
    }
    for name in ours.fields() {
        if path.is_empty() && name != "spec" {
            continue;
        }
        match (ours.field(name), theirs["properties"].get(name)) {
            (Some(mine), Some(known)) => differences(mine, known, &format!("{path}.{name}"), found),
            _ => found.push(format!("{path}.{name}: not there")),
        }
    }
    if let (Some(mine), Some(known)) = (
        ours.get("additionalProperties"),
        theirs.get("additionalProperties"),
    ) {
        differences(Schema::of(mine), known, &format!("{path}.*"), found);
    }
}

/// How lists merge in a type built in to Kubernetes. A published definition repeats such a type as it was in some older
/// version, and leaves out what controllers never read.
fn merges(ours: Schema<'_>, published: Schema<'_>, path: &str, found: &mut Vec<String>) {
    if ours.kind() == Some("array") && published.kind() == Some("array") {
        let (mine, known) = (ours.list_type(), published.list_type());
        if mine != known {
            found.push(format!("{path}: {mine:?}, and there {known:?}"));
        }
        if let (Some(mine), Some(known)) = (ours.items(), published.items()) {
            merges(mine, known, &format!("{path}[]"), found);
        }
    }
    for name in published.fields() {
        // A field that we do not have is newer than the version our types are of.
        if let (Some(mine), Some(known)) = (ours.field(name), published.field(name)) {
            merges(mine, known, &format!("{path}.{name}"), found);
        }
    }
}

#[test]
fn our_schemas_say_nothing_that_the_published_ones_do_not() {
    let Some(folder) = published() else {
        return eprintln!(
            "SKIPPED our_schemas_say_nothing_that_the_published_ones_do_not: no published definitions here"
        );
    };
    let definitions = definitions(&folder);
    assert!(definitions.len() > 30, "{} definitions", definitions.len());
    let (mut found, mut judged) = (Vec::new(), 0);
    for definition in &definitions {
        let kind = definition.names["kind"].as_str().unwrap_or_default();
        let version = format!("{}/{}", definition.group, definition.version);
        let Some(ours) = landfall_kinds::find(&version, kind) else {
            continue;
        };
        judged += 1;
        let mut wrong = Vec::new();
        let names = |field: &str| -> Vec<String> {
            let all = definition.names[field].as_array().into_iter().flatten();
            all.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        if definition.names["plural"] != ours.plural.as_str() || ours.short_names != names("shortNames") {
            wrong.push(format!(
                "names: {:?}, and there {}",
                (&ours.plural, &ours.short_names),
                definition.names
            ));
        }
        if (definition.scope == "Namespaced") != ours.namespaced {
            wrong.push(format!("scope: {}", definition.scope));
        }
        differences(ours.root(), &definition.schema, "", &mut wrong);
        found.extend(wrong.into_iter().map(|wrong| format!("{kind} {wrong}")));
    }
    assert!(judged >= 20, "{judged} kinds");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Every object in the manifests that ship, with the file it stands in.
fn shipped() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components");
    let mut found = Vec::new();
    for component in std::fs::read_dir(folder).unwrap() {
        let component = component.unwrap().path();
        let text = std::fs::read_to_string(component.join("component.yaml")).unwrap_or_default();
        let Ok(definition) = serde_saphyr::from_str::<Value>(&text) else {
            continue;
        };
        for step in definition["spec"]["steps"].as_array().into_iter().flatten() {
            for file in step["objects"]["manifests"].as_array().into_iter().flatten() {
                let path = component.join(file.as_str().unwrap_or_default());
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let name = path
                    .strip_prefix(component.parent().unwrap())
                    .unwrap()
                    .display()
                    .to_string();
                found.extend(documents.into_iter().map(|object| (name.clone(), object)));
            }
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

#[test]
fn every_manifest_that_ships_is_well() {
    let all = shipped();
    let mut wrong = Vec::new();
    for (file, object) in &all {
        for problem in landfall_kinds::check(object) {
            let kind = object["kind"].as_str().unwrap_or_default();
            wrong.push(format!(
                "{file} {kind} {}: {}",
                problem.path.join("."),
                problem.message
            ));
        }
    }
    assert!(all.len() > 50, "{} objects", all.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Puts something that fits in the place of every value that is not known yet, by leaving it out of what is judged.
fn accept_expressions(schema: &mut Value) {
    let unknown = serde_json::json!({ "type": "string", "pattern": "\\$\\{" });
    let Value::Object(map) = schema else {
        return;
    };
    for word in ["properties", "patternProperties"] {
        for one in map
            .get_mut(word)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flat_map(|map| map.values_mut())
        {
            accept_expressions(one);
            *one = serde_json::json!({ "anyOf": [unknown, one.take()] });
        }
    }
    for word in ["items", "additionalProperties"] {
        if let Some(one) = map.get_mut(word).filter(|one| one.is_object()) {
            accept_expressions(one);
            *one = serde_json::json!({ "anyOf": [unknown, one.take()] });
        }
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for one in map
            .get_mut(word)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            accept_expressions(one);
        }
    }
    if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        map.remove("type");
    }
    map.remove("format");
}

#[test]
fn every_manifest_that_ships_fits_the_published_definition() {
    let Some(folder) = published() else {
        return eprintln!(
            "SKIPPED every_manifest_that_ships_fits_the_published_definition: no published definitions here"
        );
    };
    let definitions = definitions(&folder);
    let (mut wrong, mut judged) = (Vec::new(), 0);
    for (file, object) in shipped() {
        let fits = |one: &&Definition| {
            object["kind"] == one.names["kind"]
                && object["apiVersion"] == format!("{}/{}", one.group, one.version)
        };
        let Some(definition) = definitions.iter().find(fits) else {
            continue;
        };
        let mut schema = definition.schema.clone();
        accept_expressions(&mut schema);
        let judge = jsonschema::validator_for(&schema).unwrap();
        for error in judge.iter_errors(&object) {
            wrong.push(format!("{file} {}: {error}", error.instance_path()));
        }
        judged += 1;
    }
    assert!(judged > 10, "{judged} objects");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_values_of_the_portal_fit_its_chart() {
    let file = published().map(|folder| folder.join("rhdh-chart-values.schema.json"));
    let Some(file) = file.filter(|file| file.exists()) else {
        return eprintln!("SKIPPED the_values_of_the_portal_fit_its_chart: no published schema here");
    };
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    accept_expressions(&mut schema);
    let judge = jsonschema::validator_for(&schema).unwrap();
    let (mut wrong, mut judged) = (Vec::new(), 0);
    for (file, object) in shipped() {
        let values = &object["spec"]["source"]["helm"]["valuesObject"];
        if !file.starts_with("portal-rhdh/") || values["upstream"].is_null() {
            continue;
        }
        wrong.extend(
            judge
                .iter_errors(values)
                .map(|error| format!("{file} {}: {error}", error.instance_path())),
        );
        let mut spoilt = values.clone();
        spoilt["upstream"]["backstage"]["replicas"] = Value::from("many");
        assert!(!judge.is_valid(&spoilt), "the judge sees what is wrong");
        judged += 1;
    }
    assert!(judged > 0, "the portal is installed by its chart");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn lists_of_built_in_kinds_merge_as_the_server_merges_them() {
    use landfall_kinds::PathPart::{Field, Item};
    let deployment = landfall_kinds::find("apps/v1", "Deployment").unwrap();
    let template = [
        Field("spec"),
        Field("template"),
        Field("spec"),
        Field("containers"),
    ];
    assert_eq!(
        landfall_kinds::list_type(deployment, &template),
        ListType::Map(vec!["name"])
    );
    let ports = [&template[..], &[Item, Field("ports")]].concat();
    assert_eq!(
        landfall_kinds::list_type(deployment, &ports),
        ListType::Map(vec!["containerPort", "protocol"])
    );
    let arguments = [&template[..], &[Item, Field("args")]].concat();
    assert_eq!(
        landfall_kinds::list_type(deployment, &arguments),
        ListType::Atomic
    );
}
