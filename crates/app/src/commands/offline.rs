//! Commands that ask no account: they read files and write files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use landfall_engine::Seen;
use landfall_model::id::PlanId;
use landfall_model::schema;
use landfall_model::work::{Known, ObjectWork, Targets, Work};

use super::print_json;
use crate::cli::SchemaOf;
use crate::files;
use crate::trouble::Usage;

/// Writes a blueprint's platform file.
pub(crate) fn init(arguments: &crate::cli::Init) -> anyhow::Result<u8> {
    let names = landfall_catalogue::blueprints();
    let Some(name) = &arguments.blueprint else {
        println!("Blueprints:");
        for name in names {
            println!("  landfall init {name}");
        }
        return Ok(0);
    };
    // A blueprint with several environments has a platform file for each.
    let files: Vec<(String, String)> = landfall_catalogue::blueprint(name)
        .into_iter()
        .filter(|(path, _)| path.ends_with(".yaml"))
        .collect();
    if files.is_empty() {
        return Err(Usage::error(
            format!("there is no blueprint `{name}`"),
            format!("the blueprints are {}", names.join(", ")),
        ));
    }
    for (file, _) in &files {
        let path = arguments.to.join(file);
        if path.exists() {
            return Err(Usage::error(
                format!("{} exists already", path.display()),
                "move it away, or name another folder with `--to`",
            ));
        }
    }
    std::fs::create_dir_all(&arguments.to)
        .with_context(|| format!("could not make {}", arguments.to.display()))?;
    let mut written = Vec::new();
    for (file, text) in &files {
        let path = arguments.to.join(file);
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        written.push(path.display().to_string());
    }
    println!(
        "Wrote {}. Put your own values in, then run `landfall plan`.",
        written.join(", ")
    );
    Ok(0)
}

/// Prints a JSON Schema.
pub(crate) fn schema(arguments: &crate::cli::Schema) -> anyhow::Result<u8> {
    let schema = match arguments.of {
        SchemaOf::Platform => schema::for_editors(schema::platform(), "Landfall platform"),
        SchemaOf::Component => schema::for_editors(schema::definition(), "Landfall component"),
    };
    print_json(&schema)?;
    Ok(0)
}

/// Prints a completion script.
pub(crate) fn completions(arguments: &crate::cli::Completions) -> anyhow::Result<u8> {
    let mut command = crate::cli::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "landfall", &mut std::io::stdout());
    Ok(0)
}

/// Writes out what would be used: templates with their parameters, files as far as they are known.
pub(crate) fn render(arguments: &crate::cli::Render) -> anyhow::Result<u8> {
    let loaded = files::load(&arguments.common.platform)?;
    let wanted = loaded.wanted;
    let plan = landfall_engine::plan_apply(
        wanted,
        &Seen::default(),
        PlanId("render".to_owned()),
        String::new(),
    )?;
    let nothing = plan
        .wanted
        .steps
        .iter()
        .map(|step| (step.id.clone(), None))
        .collect::<std::collections::HashMap<_, _>>();
    let expressions = landfall_engine::Expressions::default();
    let evaluator = landfall_engine::Evaluator::with(&plan.wanted, &expressions, &nothing);
    let mut written = Vec::new();
    for wanted in &plan.wanted.steps {
        let step = evaluator.step(wanted)?;
        let folder = arguments.to.join(wanted.id.component()).join(wanted.id.step());
        match step.work {
            Work::Stack(stack) => {
                put(&folder.join("template.cfn.yaml"), &stack.template, &mut written)?;
                let text = parameters(&stack.parameters)?;
                put(&folder.join("parameters.json"), &text, &mut written)?;
            }
            Work::StackSet(set) => {
                put(&folder.join("template.cfn.yaml"), &set.template, &mut written)?;
                let text = parameters(&set.parameters)?;
                put(&folder.join("parameters.json"), &text, &mut written)?;
                let what = match set.targets {
                    Targets::Accounts { .. } => "Account",
                    Targets::Units { .. } => "OrganizationalUnitId",
                };
                let instances: Vec<serde_json::Value> = set
                    .places()
                    .map(|(id, region)| serde_json::json!({ what: id, "Region": region }))
                    .collect();
                let text = serde_json::to_string_pretty(&instances)? + "\n";
                put(&folder.join("instances.json"), &text, &mut written)?;
            }
            Work::Files(files) | Work::Entity(files) => match files.files {
                Known::Value(files) => {
                    for (path, text) in &files {
                        put(&folder.join(path), text, &mut written)?;
                    }
                }
                Known::After(steps) => {
                    // The skeleton as it stands: which values it waits for is said beside it.
                    for (path, digest) in &wanted.skeleton {
                        let text = plan
                            .wanted
                            .contents
                            .get(digest)
                            .map(String::as_str)
                            .unwrap_or_default();
                        put(&folder.join(path), text, &mut written)?;
                    }
                    put(
                        &folder.join("NOT-YET-KNOWN"),
                        &format!("{}\n", unknown(&steps)),
                        &mut written,
                    )?;
                }
            },
            Work::Objects(work) => {
                let written_out = wanted.spec["objects"].as_array();
                let mut text = String::new();
                for (object, as_written) in work.objects.iter().zip(written_out.into_iter().flatten()) {
                    // What is not known yet stays as it was written, expressions and all.
                    let body = match &object.body {
                        Known::Value(body) => body,
                        Known::After(_) => as_written,
                    };
                    text.push_str("---\n");
                    text.push_str(&landfall_engine::render::yaml(&placed(object, body)));
                }
                put(&folder.join("objects.yaml"), &text, &mut written)?;
            }
            Work::Secret(secret) => {
                let text = serde_json::to_string_pretty(
                    &serde_json::json!({ "name": secret.name, "generate": secret.spec }),
                )?;
                put(&folder.join("secret.json"), &(text + "\n"), &mut written)?;
            }
            Work::Request(_) => {
                // As the definition has it: which things there are may depend on what is not known yet.
                let text = serde_json::to_string_pretty(&wanted.spec)?;
                put(&folder.join("request.json"), &(text + "\n"), &mut written)?;
            }
            Work::Check(check) => {
                let text = match check {
                    Known::Value(check) => serde_json::to_string_pretty(&check)?,
                    Known::After(steps) => unknown(&steps),
                };
                put(&folder.join("check.json"), &(text + "\n"), &mut written)?;
            }
        }
    }
    if arguments.common.json {
        print_json(&written)?;
    } else {
        println!("Wrote {} files to {}.", written.len(), arguments.to.display());
    }
    Ok(0)
}

/// Parameters as the AWS CLI takes them.
fn parameters(given: &BTreeMap<String, Known<String>>) -> anyhow::Result<String> {
    let list: Vec<serde_json::Value> = given
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Known::Value(value) => value.clone(),
                Known::After(steps) => unknown(steps),
            };
            serde_json::json!({ "ParameterKey": name, "ParameterValue": value })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

fn unknown<'a>(steps: impl IntoIterator<Item = &'a landfall_model::StepId>) -> String {
    let names: Vec<&str> = steps.into_iter().map(landfall_model::StepId::as_str).collect();
    format!("(known once {} is done)", names.join(", "))
}

fn put(path: &Path, text: &str, written: &mut Vec<String>) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
    written.push(path.display().to_string());
    Ok(())
}

/// An object with the namespace that its step gives it, as a plain file has to say it.
fn placed(object: &ObjectWork, body: &serde_json::Value) -> serde_json::Value {
    let mut body = body.clone();
    let kind = landfall_kinds::find(&object.api_version, &object.kind);
    if let Some(namespace) = &object.namespace
        && kind.is_none_or(|kind| kind.namespaced)
    {
        body["metadata"]["namespace"] = namespace.as_str().into();
    }
    body
}
