//! `landfall policy`: what whoever carries a platform out must be allowed.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use landfall_engine::{Evaluator, Expressions};
use landfall_model::wanted::Wanted;
use landfall_model::work::Step;
use landfall_policy::{Document, LIMIT, Policy, Wants};

use super::print_json;
use crate::files;

/// Prints the policy, or writes it. Asks no account.
pub(crate) fn policy(arguments: &crate::cli::Policy) -> anyhow::Result<u8> {
    let loaded = files::load(&arguments.common.platform)?;
    let policy = needs(&loaded.wanted, arguments.destroy)?;
    let documents = policy.documents();
    let mut files = Vec::new();
    if let Some(folder) = &arguments.out {
        files = write(folder, &documents)?;
    }
    if arguments.common.json {
        print_json(&serde_json::json!({
            "complete": policy.unknown.is_empty(),
            "policies": documents.iter().map(Document::json).collect::<Vec<_>>(),
            "files": files,
            "unknownTypes": policy
                .unknown
                .iter()
                .map(|one| serde_json::json!({ "step": one.step, "resource": one.resource, "type": one.kind }))
                .collect::<Vec<_>>(),
        }))?;
    } else if arguments.out.is_none() {
        for document in &documents {
            print_json(&document.json())?;
        }
    }
    summarize(&policy, &documents, &files);
    Ok(u8::from(!policy.unknown.is_empty()))
}

/// What carrying out a platform needs, when nothing stands yet.
pub(crate) fn needs(wanted: &Wanted, destroy: bool) -> anyhow::Result<Policy> {
    let nothing = wanted
        .steps
        .iter()
        .map(|step| (step.id.clone(), None))
        .collect::<HashMap<_, _>>();
    let expressions = Expressions::default();
    let evaluator = Evaluator::with(wanted, &expressions, &nothing);
    let steps = wanted
        .steps
        .iter()
        .map(|step| Ok(evaluator.step(step)?))
        .collect::<anyhow::Result<Vec<Step>>>()?;
    Ok(landfall_policy::needs(&Wants {
        platform: &wanted.facts,
        steps: &steps,
        records: wanted.records_bucket.as_deref(),
        destroy,
    }))
}

fn write(folder: &Path, documents: &[Document]) -> anyhow::Result<Vec<String>> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let mut files = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let path = folder.join(format!("policy-{}.json", at + 1));
        let text = serde_json::to_string_pretty(&document.json())? + "\n";
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        files.push(path.display().to_string());
    }
    // Those of a longer policy that was written here before would allow more than this one.
    for at in documents.len() + 1.. {
        let path = folder.join(format!("policy-{at}.json"));
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(error).with_context(|| format!("could not remove {}", path.display())),
        }
    }
    Ok(files)
}

/// Says how much there is, and what is missing, beside what programs read.
fn summarize(policy: &Policy, documents: &[Document], files: &[String]) {
    let longest = documents.iter().map(Document::length).max().unwrap_or(0);
    eprintln!(
        "{} statements in {} policies; the longest has {longest} of the {LIMIT} characters that IAM takes.",
        policy.statements.len(),
        documents.len(),
    );
    // A role takes ten unless its quota was raised (source: IAM quotas).
    if documents.len() > 10 {
        eprintln!("A role takes 10 policies unless its quota is raised; 20 is the most.");
    }
    if !files.is_empty() {
        eprintln!("Wrote {}.", files.join(", "));
    }
    for unknown in &policy.unknown {
        eprintln!(
            "INCOMPLETE: what `{}` needs is not known (`{}` of the step {})",
            unknown.kind, unknown.resource, unknown.step
        );
    }
}
