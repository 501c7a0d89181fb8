//! What is running, as a table.

use std::fmt::Write as _;

use landfall_engine::Seen;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::provider::Standing;
use landfall_model::wanted::Wanted;
use landfall_store::PastRun;
use serde_json::{Value, json};

use super::{Paint, count};

/// One step's row: its state in a word, and what to know about it.
struct Row<'a> {
    step: &'a str,
    kind: StepKind,
    word: &'static str,
    detail: String,
}

fn rows<'a>(wanted: &'a Wanted, seen: &'a Seen) -> Vec<Row<'a>> {
    let adopted: Vec<&StepId> = seen
        .owned
        .iter()
        .filter(|owned| owned.adopted)
        .map(|owned| &owned.step)
        .collect();
    let mut rows: Vec<Row<'_>> = wanted
        .steps
        .iter()
        .filter(|step| step.kind != StepKind::Check)
        .map(|step| {
            let seen = seen.steps.get(&step.id);
            let adopted = adopted.contains(&&step.id);
            let (word, detail) = match seen.map(|seen| (&seen.observed.standing, seen.changes.as_deref())) {
                None | Some((Standing::Absent, _)) => {
                    ("missing", "not made yet, or removed by someone".to_owned())
                }
                Some((Standing::Present { state }, Some(changes))) if !changes.is_empty() => (
                    "outdated",
                    format!("{state}; {} by the next apply", count(changes.len(), "change")),
                ),
                Some((Standing::Present { state }, _)) => ("ready", state.clone()),
                Some((Standing::Busy { state }, _)) => ("busy", state.clone()),
                Some((Standing::Leftover { state, why } | Standing::Stuck { state, why }, _)) => {
                    ("broken", format!("{state}: {why}"))
                }
                Some((Standing::Found { what }, _)) if adopted => ("adopted", what.clone()),
                Some((Standing::Found { what }, _)) => ("missing", format!("the next apply uses {what}")),
                Some((Standing::Foreign { why }, _)) => ("foreign", why.clone()),
            };
            let retained = if step.retain { "; kept by destroy" } else { "" };
            Row {
                step: step.id.as_str(),
                kind: step.kind,
                word,
                detail: format!("{detail}{retained}"),
            }
        })
        .collect();
    rows.extend(
        seen.owned
            .iter()
            .filter(|owned| wanted.step(&owned.step).is_none())
            .map(|owned| Row {
                step: owned.step.as_str(),
                kind: owned.kind,
                word: "unwanted",
                detail: "no longer in the platform file; the next apply removes it".to_owned(),
            }),
    );
    rows
}

/// What is running.
pub(crate) fn status(wanted: &Wanted, seen: &Seen, last: Option<&PastRun>, paint: Paint) -> String {
    let facts = &wanted.facts;
    let mut text = format!(
        "{}  account {}  {}\n\n",
        paint.bold(&facts.name),
        facts.account,
        facts.region
    );
    let rows = rows(wanted, seen);
    let width = rows.iter().map(|row| row.step.len()).max().unwrap_or(0);
    for row in &rows {
        let word = format!("{:<8}", row.word);
        let word = match row.word {
            "ready" | "adopted" => paint.green(&word),
            "missing" | "busy" | "outdated" | "unwanted" => paint.yellow(&word),
            _ => paint.red(&word),
        };
        let _ = writeln!(
            text,
            "  {:<width$}  {:<6}  {word}  {}",
            row.step,
            row.kind.word(),
            paint.dim(&row.detail)
        );
    }
    let ready = rows
        .iter()
        .filter(|row| matches!(row.word, "ready" | "adopted"))
        .count();
    let _ = writeln!(text, "\n{ready} of {} ready.", count(rows.len(), "step"));
    if let Some(run) = last {
        let state = if run.is_finished() {
            "finished"
        } else {
            "did not finish"
        };
        let at = run
            .records
            .last()
            .map(|record| record.at.as_str())
            .unwrap_or_default();
        let word = run.plan.purpose.word();
        let _ = writeln!(text, "Last run: {} ({word}), {state} {at}.", run.run);
        if !run.is_finished() {
            let _ = writeln!(
                text,
                "{}",
                paint.yellow(&format!("`landfall {word}` goes on with it."))
            );
        }
    }
    text
}

/// The same for programs.
pub(crate) fn status_json(wanted: &Wanted, seen: &Seen, last: Option<&PastRun>) -> Value {
    json!({
        "platform": wanted.facts,
        "steps": rows(wanted, seen)
            .iter()
            .map(|row| json!({ "step": row.step, "kind": row.kind, "state": row.word, "detail": row.detail }))
            .collect::<Vec<_>>(),
        "lastRun": last.map(|run| json!({
            "run": run.run, "purpose": run.plan.purpose, "finished": run.is_finished(),
        })),
    })
}
