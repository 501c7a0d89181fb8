//! What the definitions and blueprints that ship need.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use landfall_engine::{DefinitionFolder, Evaluator, Expressions, Library};
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::Wanted;
use landfall_model::work::Step;
use landfall_model::{Diagnostics, SourceFile};
use landfall_policy::{LIMIT, Policy, Statement, Wants, needs, type_facts};

/// The definitions that ship.
struct Shelf;

impl Library for Shelf {
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String> {
        let files = landfall_catalogue::definition(name);
        Ok((!files.is_empty()).then(|| DefinitionFolder {
            origin: format!("components/{name}"),
            files,
        }))
    }

    fn names(&self) -> Vec<String> {
        landfall_catalogue::definitions()
    }

    fn read_template(&self, file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        landfall_cloudformation::read_template(file)
    }

    fn is_large(&self, text: &str) -> bool {
        text.len() > landfall_cloudformation::INLINE_LIMIT
    }
}

fn wanted(platform: &str) -> Wanted {
    landfall_engine::read(&SourceFile::new("platform.yaml", platform), &Shelf)
        .unwrap_or_else(|found| panic!("{}", landfall_engine::render::diagnostics(&found, false)))
}

fn steps(wanted: &Wanted) -> Vec<Step> {
    let nothing: HashMap<_, _> = wanted.steps.iter().map(|step| (step.id.clone(), None)).collect();
    let expressions = Expressions::default();
    let evaluator = Evaluator::with(wanted, &expressions, &nothing);
    wanted
        .steps
        .iter()
        .map(|step| evaluator.step(step).unwrap())
        .collect()
}

fn policy(wanted: &Wanted, destroy: bool) -> Policy {
    needs(&Wants {
        platform: &wanted.facts,
        steps: &steps(wanted),
        records: wanted.records_bucket.as_deref(),
        destroy,
    })
}

fn blueprint(name: &str) -> Wanted {
    wanted(&landfall_catalogue::blueprint(name)["platform.yaml"])
}

fn shown(statements: impl IntoIterator<Item = Statement>) -> String {
    let shown = statements
        .into_iter()
        .map(|statement| serde_json::to_string_pretty(&statement.json()).unwrap());
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_type_in_the_definitions_is_known() {
    let mut unknown = BTreeSet::new();
    let mut seen = 0;
    for name in landfall_catalogue::definitions() {
        for (path, text) in landfall_catalogue::definition(&name) {
            if !path.ends_with(".cfn.yaml") {
                continue;
            }
            let template = landfall_cloudformation::read_template(&SourceFile::new(&path, text)).unwrap();
            for (id, resource) in template.resources {
                seen += 1;
                if type_facts(&resource.kind).is_none() {
                    unknown.insert(format!("{name}/{path}: {id} {}", resource.kind));
                }
            }
        }
    }
    assert!(seen > 10, "{seen}");
    assert!(
        unknown.is_empty(),
        "not in crates/policy/src/actions.json: {unknown:#?}"
    );
}

#[test]
fn an_account_that_is_bootstrapped() {
    insta::assert_snapshot!(shown(policy(&blueprint("account-bootstrap"), false).statements));
}

#[test]
fn a_teardown_needs_more() {
    let wanted = blueprint("account-bootstrap");
    let without = policy(&wanted, false);
    let with = policy(&wanted, true);
    let more = with
        .statements
        .into_iter()
        .filter(|statement| !without.statements.contains(statement));
    insta::assert_snapshot!(shown(more));
}

#[test]
fn no_document_is_longer_than_iam_takes() {
    for name in landfall_catalogue::blueprints() {
        let documents = policy(&blueprint(&name), true).documents();
        let lengths: Vec<usize> = documents.iter().map(landfall_policy::Document::length).collect();
        assert!(
            lengths.iter().all(|length| *length <= LIMIT),
            "{name}: {lengths:?}"
        );
        assert!(
            documents.len() <= 10,
            "{name}: a role takes ten policies, not {lengths:?}"
        );
    }
}
