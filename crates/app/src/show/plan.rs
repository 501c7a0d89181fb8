//! Plans as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use landfall_engine::schedule::Forecast;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::leftover::Found;
use landfall_model::plan::{Action, Plan, PlannedStep};
use landfall_model::provider::{Change, Effect};

use super::{Paint, about, cost, count, findings};

/// Everything a plan would do, and why.
pub(crate) fn plan(plan: &Plan, forecast: &Forecast, paint: Paint) -> String {
    let mut text = heading(plan, paint);
    let width = id_width(plan);
    let kinds = plan.steps.iter().map(|step| step.kind.word().len());
    let kind_width = kinds.max().unwrap_or_default().max(6);
    for step in &plan.steps {
        if step.action == Action::None {
            continue;
        }
        let title = plan
            .wanted
            .step(&step.id)
            .map(|wanted| wanted.title.as_str())
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  {} {}  {:<kind_width$}  {}",
            sign(step.action, paint),
            paint.bold(&format!("{:<width$}", step.id)),
            step.kind.word(),
            if title.is_empty() {
                String::new()
            } else {
                title.to_owned()
            }
        );
        let _ = writeln!(text, "      {}", paint.dim(&why(step, plan)));
        for change in grouped(step) {
            text.push_str(&change_lines(&change, paint));
        }
    }
    let quiet = plan.count(Action::None);
    if quiet > 0 {
        let _ = writeln!(
            text,
            "  {}",
            paint.dim(&format!("{} up to date", count(quiet, "step")))
        );
    }
    text.push('\n');
    text.push_str(&totals(plan, paint));
    if plan.has_changes() {
        text.push_str(&time(forecast, paint));
    }
    text.push_str(&findings(&plan.findings, paint));
    text
}

/// When it should be done, why not sooner, and what that rests on.
fn time(forecast: &Forecast, paint: Paint) -> String {
    let Forecast {
        takes_ms,
        at_least_ms,
        critical,
        steps,
        timed,
        ..
    } = forecast;
    let path: Vec<&str> = critical.iter().map(|id| id.as_str()).collect();
    let rests_on = match (*timed, *steps) {
        (0, _) => "by what such things usually take; no step was timed here yet".to_owned(),
        (timed, steps) if timed == steps => "every step was timed here before".to_owned(),
        (timed, steps) => format!(
            "{timed} of {steps} steps were timed here before, the rest by what such things usually take"
        ),
    };
    format!(
        "{} about {}; nothing is done sooner than {}: {}\n      {}\n",
        paint.bold("Time:"),
        about(*takes_ms),
        about(*at_least_ms),
        path.join(" → "),
        paint.dim(&rests_on)
    )
}

fn heading(plan: &Plan, paint: Paint) -> String {
    let facts = &plan.wanted.facts;
    format!(
        "{}  account {}  {}\n\n",
        paint.bold(&facts.name),
        facts.account,
        facts.region
    )
}

/// The width of the column of step ids.
fn id_width(plan: &Plan) -> usize {
    plan.steps
        .iter()
        .map(|step| step.id.as_str().len())
        .max()
        .unwrap_or(0)
}

fn why(step: &PlannedStep, plan: &Plan) -> String {
    let mut text = format!("{}: {}", step.action.word(), step.reason);
    let waits: Vec<&str> = step.unknown_until.iter().map(|id| id.as_str()).collect();
    let behind = behind_others(step, plan);
    let after: Vec<&str> = step
        .after
        .iter()
        .filter(|id| !behind.contains(id))
        .map(|id| id.as_str())
        .filter(|id| !waits.contains(id))
        .collect();
    if !waits.is_empty() {
        let _ = write!(text, "; needs values of {}", waits.join(", "));
    }
    if !after.is_empty() {
        let _ = write!(text, "; after {}", after.join(", "));
    }
    text
}

/// What the steps that a step comes after come after themselves. Whoever reads of a chart that it waits for the machines
/// need not be told that it waits for the network.
fn behind_others<'a>(step: &'a PlannedStep, plan: &'a Plan) -> BTreeSet<&'a StepId> {
    let earlier = |step: &'a PlannedStep| step.after.iter().chain(&step.unknown_until);
    let mut behind = BTreeSet::new();
    let mut open: Vec<&StepId> = earlier(step).collect();
    while let Some(id) = open.pop() {
        for id in plan.step(id).into_iter().flat_map(earlier) {
            if behind.insert(id) {
                open.push(id);
            }
        }
    }
    behind
}

fn sign(action: Action, paint: Paint) -> String {
    match action {
        Action::Create => paint.green("+"),
        Action::Update => paint.yellow("~"),
        Action::Delete => paint.red("-"),
        Action::Adopt => paint.blue("="),
        Action::Check => paint.magenta("?"),
        Action::Quiesce => paint.magenta("‖"),
        Action::Sweep => paint.red("∅"),
        Action::None => " ".to_owned(),
    }
}

/// Many files added at once are told by their number: the list is what `render` is for.
fn grouped(step: &PlannedStep) -> Vec<Change> {
    const MANY: usize = 8;
    let is_plain_addition = |change: &&Change| change.effect == Effect::Add && change.kind.is_empty();
    let added = step.changes.iter().filter(is_plain_addition).count();
    if !matches!(step.kind, StepKind::Files | StepKind::Entity) || added <= MANY {
        return step.changes.clone();
    }
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for change in step.changes.iter().filter(is_plain_addition) {
        *folders
            .entry(change.subject.split_once('/').map_or("", |(folder, _)| folder))
            .or_default() += 1;
    }
    let sum = |(folder, files): (&str, usize)| {
        let place = if folder.is_empty() {
            "at the top".to_owned()
        } else {
            format!("in {folder}/")
        };
        Change {
            effect: Effect::Add,
            subject: format!("{} {place}", count(files, "file")),
            kind: String::new(),
            properties: Vec::new(),
        }
    };
    let others = step
        .changes
        .iter()
        .filter(|change| !is_plain_addition(change))
        .cloned();
    folders.into_iter().map(sum).chain(others).collect()
}

fn change_lines(change: &Change, paint: Paint) -> String {
    let (sign, note) = match change.effect {
        Effect::Add => (paint.green("+"), ""),
        Effect::Modify => (paint.yellow("~"), ""),
        Effect::Replace => (
            paint.red("±"),
            "  REPLACED: made anew, then the old one is deleted",
        ),
        Effect::MayReplace => (paint.red("±"), "  may be replaced"),
        Effect::Remove => (paint.red("-"), ""),
    };
    let kind = if change.kind.is_empty() {
        String::new()
    } else {
        format!("{}  ", change.kind)
    };
    let mut text = format!("      {sign} {kind}{}{}\n", change.subject, paint.red(note));
    for property in &change.properties {
        let _ = write!(text, "          {}", property.path);
        if property.before.is_some() || property.after.is_some() {
            let shown = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), shortened);
            let _ = write!(
                text,
                ": {} -> {}",
                shown(&property.before),
                shown(&property.after)
            );
        }
        if property.replaces {
            text.push_str(&paint.red("  forces replacement"));
        }
        text.push('\n');
    }
    text
}

fn shortened(value: &str) -> String {
    let line = value.replace('\n', " ");
    if line.chars().count() <= 72 {
        return line;
    }
    line.chars().take(69).chain("...".chars()).collect()
}

fn totals(plan: &Plan, paint: Paint) -> String {
    if !plan.has_changes() && plan.count(Action::Adopt) == 0 {
        let checks = plan.count(Action::Check);
        let checks = if checks == 0 {
            String::new()
        } else {
            format!(" {} will be run.", count(checks, "check"))
        };
        return format!(
            "{} The platform is as its file says.{checks}\n",
            paint.green("No changes.")
        );
    }
    let parts: Vec<String> = [
        (Action::Create, "to create"),
        (Action::Update, "to update"),
        (Action::Delete, "to delete"),
        (Action::Adopt, "to adopt"),
        (Action::Check, "to check"),
    ]
    .iter()
    .filter(|(action, _)| plan.count(*action) > 0)
    .map(|(action, words)| format!("{} {words}", plan.count(*action)))
    .collect();
    format!("{} {}.\n", paint.bold("Plan:"), parts.join(", "))
}

/// What `destroy` would do: the order, what is lost, what is kept, what it costs to keep.
pub(crate) fn destroy_rehearsal(plan: &Plan, found: &[Found], forecast: &Forecast, paint: Paint) -> String {
    let mut text = heading(plan, paint);
    let width = id_width(plan);
    for step in plan.steps.iter().filter(|step| step.action != Action::None) {
        let name = step.owned.as_ref().map(landfall_engine::certificate::name);
        let told = match step.action {
            Action::Delete => name.unwrap_or_default(),
            _ => step.reason.clone(),
        };
        let _ = writeln!(
            text,
            "  {} {}  {:<9}  {told}",
            sign(step.action, paint),
            paint.bold(&format!("{:<width$}", step.id)),
            step.kind.word()
        );
        let after: Vec<&str> = step
            .after
            .iter()
            .filter(|id| plan.step(id).is_some_and(|step| step.action != Action::Quiesce))
            .map(|id| id.as_str())
            .collect();
        if !after.is_empty() && step.action == Action::Delete {
            let _ = writeln!(
                text,
                "      {}",
                paint.dim(&format!("after {}", after.join(", ")))
            );
        }
    }
    for step in plan.steps.iter().filter(|step| step.action == Action::None) {
        let _ = writeln!(
            text,
            "    {:<width$}  {:<9}  {}",
            step.id,
            step.kind.word(),
            paint.dim(&step.reason)
        );
    }
    text.push_str(&at_stake(plan, found, paint));
    let kept = plan.count(Action::None);
    let _ = writeln!(
        text,
        "\n{} {} to remove, {kept} kept.",
        paint.bold("Rehearsal:"),
        plan.count(Action::Delete),
    );
    if plan.has_changes() {
        text.push_str(&time(forecast, paint));
    }
    text
}

/// Resources that hold data which goes with them, whatever their size.
const KEEPS_DATA: [&str; 11] = [
    "AWS::RDS::DBInstance",
    "AWS::RDS::DBCluster",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
    "AWS::EFS::FileSystem",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::OpenSearchService::Domain",
    "AWS::Cognito::UserPool",
    "AWS::ECR::Repository",
    "AWS::SQS::Queue",
    "AWS::APS::Workspace",
];

/// Data that is lost, leftovers that go with it, and what keeping it all costs.
fn at_stake(plan: &Plan, found: &[Found], paint: Paint) -> String {
    let mut text = String::new();
    let removed = || plan.steps.iter().filter(|step| step.action == Action::Delete);
    for step in removed() {
        let buckets = step.owned.as_ref().and_then(|owned| owned.address.get("empty"));
        for bucket in buckets
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
        {
            let bucket = bucket.as_str().unwrap_or_default();
            let lost = format!("every object and version in {bucket} ({})", step.id);
            let _ = writeln!(text, "  {} {lost}", paint.red("DATA LOST:"));
        }
    }
    for step in removed() {
        let template = plan
            .wanted
            .step(&step.id)
            .and_then(|wanted| wanted.template.as_ref());
        let is_kept = |id: &String| {
            let resource = template.and_then(|template| template.interface.resources.get(id));
            resource.is_some_and(|resource| resource.kept)
        };
        let lost = step
            .changes
            .iter()
            .filter(|change| KEEPS_DATA.contains(&change.kind.as_str()) && !is_kept(&change.subject));
        for change in lost {
            let _ = writeln!(
                text,
                "  {} {} {} ({})",
                paint.red("DATA LOST:"),
                change.kind,
                change.subject,
                step.id
            );
        }
    }
    for one in found {
        // What stands in a stack that stays is not lost.
        let goes = one.stack.as_ref().is_none_or(|stack| {
            removed().any(|step| {
                step.owned
                    .as_ref()
                    .is_some_and(|owned| owned.address["id"] == stack.as_str())
            })
        });
        if let (Some(data), true) = (&one.data, goes) {
            let _ = writeln!(
                text,
                "  {} {data} on {} {}",
                paint.red("DATA LOST:"),
                one.kind,
                one.id
            );
        }
    }
    let left: Vec<&Found> = found.iter().filter(|one| one.is_leftover()).collect();
    if !left.is_empty() {
        let _ = writeln!(
            text,
            "  {} made by controllers, swept on the way:",
            count(left.len(), "thing")
        );
        for one in left {
            let held = one
                .used_by
                .as_ref()
                .map(|by| format!("; waits for {by}"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "      {}  {}  {}",
                one.kind,
                one.id,
                paint.dim(&format!("{}{held}", one.because))
            );
        }
    }
    let monthly = cost::monthly(plan, found);
    if monthly > 0.0 {
        let monthly = if monthly < 10.0 {
            format!("{monthly:.2}")
        } else {
            format!("{monthly:.0}")
        };
        let _ = writeln!(
            text,
            "  Keeping it costs about ${monthly} a month by list prices, without machines, traffic and usage."
        );
    }
    if text.is_empty() {
        text
    } else {
        format!("\n{text}")
    }
}
