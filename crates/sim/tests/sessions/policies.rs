//! Platforms that are carried out with just what `landfall policy` prints, and with one statement less.

use std::collections::HashMap;
use std::sync::Arc;

use landfall_engine::{DefinitionFolder, Evaluator, Expressions, Library, Seen, plan_apply, plan_destroy};
use landfall_model::definition::StepKind;
use landfall_model::id::PlanId;
use landfall_model::plan::Plan;
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::Wanted;
use landfall_model::work::Step;
use landfall_model::{Diagnostics, SourceFile};
use landfall_policy::{Statement, Wants, needs};
use landfall_runner::{Clock as _, Ended, Look, Remembered, Sweeper as _, WhoAmI as _, look};
use landfall_sim::{Allowed, SimAccount, SimSweeper};
use serde_json::{Value, json};

use crate::stage::{Attempt, Stage};
use crate::town::{WEB, remove, town};

/// The definitions that ship.
struct Shipped;

impl Library for Shipped {
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

/// A platform without what it writes to this machine, which needs nobody's leave.
fn wanted(platform: &str) -> Wanted {
    let mut wanted = landfall_engine::read(&SourceFile::new("platform.yaml", platform), &Shipped)
        .unwrap_or_else(|found| panic!("{}", landfall_engine::render::diagnostics(&found, false)));
    wanted
        .steps
        .retain(|step| !matches!(step.kind, StepKind::Files | StepKind::Entity));
    wanted
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

fn statements(wanted: &Wanted) -> Vec<Statement> {
    let policy = needs(&Wants {
        platform: &wanted.facts,
        steps: &steps(wanted),
        // Records are not kept in a simulated bucket.
        records: None,
        destroy: true,
    });
    assert_eq!(policy.unknown, []);
    policy.statements
}

fn document(statements: &[&Statement]) -> Value {
    let statements: Vec<Value> = statements.iter().map(|statement| statement.json()).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Brings a platform about and takes it away again, as far as that goes. `leave` is what happens in
/// between.
async fn lives(wanted: &Wanted, document: &Value, leave: impl AsyncFn(&Stage)) -> Result<(), String> {
    let allowed = Allowed::read([document]).unwrap();
    let facts = &wanted.facts;
    let mut stage = Stage::with(wanted.clone(), |config| {
        config.account.clone_from(&facts.account);
        config.region.clone_from(&facts.region);
        config.allowed = Some(allowed);
    });
    let account = SimAccount::new(stage.world.clone());
    account.who_am_i().await.map_err(text)?;
    let id = || PlanId("plan".to_owned());

    let seen = looked(&stage).await?;
    let plan = plan_apply(wanted.clone(), &seen, id(), stage.clock.now()).map_err(text)?;
    ended(&mut stage, plan).await?;
    leave(&stage).await;

    let mut seen = looked(&stage).await?;
    let sweeper = SimSweeper::new(stage.world.clone());
    let marks = sweeper.marks(&facts.name, &seen.owned).await.map_err(text)?;
    seen.found = sweeper.search(&marks).await.map_err(text)?;
    seen.marks = Some(marks);
    let plan = plan_destroy(wanted.clone(), &seen, true, id(), stage.clock.now());
    ended(&mut stage, plan).await
}

async fn looked(stage: &Stage) -> Result<Seen, String> {
    look(
        &stage.wanted,
        &stage.providers,
        Remembered::default(),
        Look::AtChanges,
    )
    .await
    .map_err(text)
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

async fn ended(stage: &mut Stage, plan: Plan) -> Result<(), String> {
    let told = stage.run(plan);
    match stage.attempt(&told, None).await {
        Attempt::Ended(Ended::Succeeded) => Ok(()),
        _ => Err(told.text()),
    }
}

/// Every blueprint's platform files.
fn platforms() -> Vec<(String, Wanted)> {
    let mut platforms = Vec::new();
    for name in landfall_catalogue::blueprints() {
        for (path, text) in landfall_catalogue::blueprint(&name) {
            if path.ends_with(".yaml") && text.contains("kind: Platform") {
                platforms.push((format!("{name}/{path}"), wanted(&text)));
            }
        }
    }
    platforms
}

async fn nothing(_: &Stage) {}

/// A world of its own on a thread of its own: there are many statements, and each takes a whole life.
fn in_a_world_of_its_own<T>(life: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(life)
}

#[test]
fn every_blueprint_lives_with_what_its_policy_allows() {
    for (name, wanted) in platforms() {
        let statements = statements(&wanted);
        let all: Vec<&Statement> = statements.iter().collect();
        if let Err(told) = in_a_world_of_its_own(lives(&wanted, &document(&all), nothing)) {
            panic!("{name}: {told}");
        }
    }
}

#[test]
fn no_blueprint_lives_with_one_statement_less() {
    std::thread::scope(|threads| {
        for (name, wanted) in platforms() {
            threads.spawn(move || {
                let needless = needless(&wanted);
                assert!(needless.is_empty(), "{name}: {needless:#?}");
            });
        }
    });
}

/// Statements without which a platform lives all the same.
fn needless(wanted: &Wanted) -> Vec<String> {
    let statements = statements(wanted);
    let mut needless = Vec::new();
    for left_out in &statements {
        // Nothing is left over of most platforms; what sweeping needs is shown below. And what cannot be asked
        // before the first change keeps nothing from being done.
        if left_out.sid.starts_with("SweepLeftovers") || left_out.sid == "AskBefore" {
            continue;
        }
        let others: Vec<&Statement> = statements.iter().filter(|one| *one != left_out).collect();
        if in_a_world_of_its_own(lives(wanted, &document(&others), nothing)).is_ok() {
            needless.push(left_out.json().to_string());
        }
    }
    needless
}

#[tokio::test(start_paused = true)]
async fn what_controllers_leave_is_swept_only_by_who_may() {
    // Somebody takes the machines away, and with them the controllers: what they made is left over.
    let wanted = town(WEB);
    let leave = async |stage: &Stage| {
        assert_eq!(remove(stage, "cluster.nodes").await, "cluster.nodes is removed");
    };
    let statements = statements(&wanted);
    let all: Vec<&Statement> = statements.iter().collect();
    if let Err(told) = lives(&wanted, &document(&all), &leave).await {
        panic!("{told}");
    }
    let others: Vec<&Statement> = all
        .into_iter()
        .filter(|one| !one.sid.starts_with("SweepLeftovers"))
        .collect();
    let told = lives(&wanted, &document(&others), &leave).await.unwrap_err();
    assert!(
        told.contains("is not authorized to perform: ec2:DeleteNetworkInterface"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_looks_as_cloudformation_tells_it() {
    let wanted = platforms()
        .into_iter()
        .find(|(name, _)| name.starts_with("account-bootstrap"))
        .unwrap()
        .1;
    let mut statements = statements(&wanted);
    statements.retain(|one| !one.sid.starts_with("S3"));
    let told = lives(
        &wanted,
        &document(&statements.iter().collect::<Vec<_>>()),
        nothing,
    )
    .await
    .unwrap_err();
    let refused: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("bootstrap.state failed"))
        .collect();
    let first: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("first: AWS::S3::Bucket"))
        .collect();
    insta::assert_snapshot!([refused, first].concat().join("\n"), @r#"
    00:00:23.752  bootstrap.state failed after 23.0 s: the stack `acme-dev-bootstrap-state` ended as ROLLBACK_COMPLETE
        first: AWS::S3::Bucket StateBucket CREATE_FAILED at 2026-01-01T00:00:05.700Z: Resource handler returned message: "User: arn:aws:sts::111122223333:assumed-role/simulated/you is not authorized to perform: s3:CreateBucket on resource: arn:aws:s3:::acme-dev-tfstate-111122223333-us-east-1 because no identity-based policy allows the s3:CreateBucket action (Service: S3, Status Code: 403)" (HandlerErrorCode: AccessDenied)
    "#);
}
