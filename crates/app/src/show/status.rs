//! What is running, as a table.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use landfall_engine::Seen;
use landfall_engine::run::StepState;
use landfall_engine::schedule::{self, Forecast, Limits};
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::journal::Entry;
use landfall_model::provider::Standing;
use landfall_model::wanted::Wanted;
use landfall_store::{Inventory, PastRun};
use serde_json::{Value, json};

use super::{Paint, about, count, duration};

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
pub(crate) fn status(
    wanted: &Wanted,
    seen: &Seen,
    last: Option<&PastRun>,
    live: Option<&Live>,
    paint: Paint,
) -> String {
    let facts = &wanted.facts;
    let mut text = format!(
        "{}  account {}  {}\n\n",
        paint.bold(&facts.name),
        facts.account,
        facts.region
    );
    let rows = rows(wanted, seen);
    let width = rows.iter().map(|row| row.step.len()).max().unwrap_or(0);
    let kinds = rows.iter().map(|row| row.kind.word().len());
    let kind_width = kinds.max().unwrap_or_default().max(6);
    for row in &rows {
        let word = format!("{:<8}", row.word);
        let word = match row.word {
            "ready" | "adopted" => paint.green(&word),
            "missing" | "busy" | "outdated" | "unwanted" => paint.yellow(&word),
            _ => paint.red(&word),
        };
        let _ = writeln!(
            text,
            "  {:<width$}  {:<kind_width$}  {word}  {}",
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
                paint.yellow(&format!(
                    "`landfall {word}` goes on with it, unless a process still does."
                ))
            );
        }
    }
    if let Some(live) = live {
        text.push_str(&live.text());
    }
    text
}

/// How far a run has come that is not over.
pub(crate) struct Live {
    under_way: Vec<UnderWay>,
    forecast: Forecast,
}

/// One step that was begun and is not over.
struct UnderWay {
    step: StepId,
    for_ms: u64,
    takes_ms: u64,
}

/// How far a run has come, from its records; none when nothing of it is under way.
pub(crate) fn live(past: &PastRun, now: &str, limits: &Limits) -> Option<Live> {
    let run = landfall_runner::resume(&past.plan, &past.records).ok()?;
    let now: jiff::Timestamp = now.parse().ok()?;
    let mut for_ms: HashMap<&StepId, u64> = HashMap::new();
    for record in &past.records {
        if let (Entry::StepStarted { step, .. }, Ok(at)) =
            (&record.entry, record.at.parse::<jiff::Timestamp>())
        {
            // Begun again after a crash: counted from the first time.
            let since = u64::try_from(now.duration_since(at).as_millis()).unwrap_or(0);
            for_ms.entry(step).or_insert(since);
        }
    }
    let under_way: Vec<UnderWay> = run
        .started()
        .filter_map(|(step, _)| {
            Some(UnderWay {
                step: step.clone(),
                for_ms: for_ms.get(step).copied().unwrap_or(0),
                takes_ms: schedule::takes_ms(past.plan.step(step)?),
            })
        })
        .collect();
    if under_way.is_empty() {
        return None;
    }
    let forecast = schedule::forecast_rest(&past.plan, limits, |step| match run.state(&step.id)? {
        StepState::Waiting => Some(schedule::takes_ms(step)),
        // Late already: nobody knows how much longer.
        StepState::Started { .. } => {
            let since = for_ms.get(&step.id).copied().unwrap_or(0);
            Some(schedule::takes_ms(step).saturating_sub(since).max(1_000))
        }
        _ => None,
    });
    Some(Live { under_way, forecast })
}

impl Live {
    fn text(&self) -> String {
        let mut text = String::new();
        for UnderWay {
            step,
            for_ms,
            takes_ms,
        } in &self.under_way
        {
            let _ = writeln!(
                text,
                "  under way: {step}, for {} of about {}",
                duration(*for_ms),
                about(*takes_ms)
            );
        }
        let path: Vec<&str> = self.forecast.critical.iter().map(StepId::as_str).collect();
        let left = about(self.forecast.takes_ms);
        let _ = writeln!(text, "  about {left} left: {}", path.join(" → "));
        text
    }

    fn json(&self) -> Value {
        json!({
            "underWay": self.under_way.iter().map(|one| json!({
                "step": one.step, "forMs": one.for_ms, "takesMs": one.takes_ms,
            })).collect::<Vec<_>>(),
            "leftMs": self.forecast.takes_ms,
            "criticalPath": self.forecast.critical,
        })
    }
}

/// What making the inventory anew has changed.
pub(crate) fn rebuilt(before: &Inventory, after: &Inventory, paint: Paint) -> String {
    let steps = |inventory: &Inventory| -> BTreeSet<StepId> {
        inventory.owned.iter().map(|owned| owned.step.clone()).collect()
    };
    let (old, new) = (steps(before), steps(after));
    let mut text = format!(
        "The inventory was made anew: {} owned.\n",
        count(new.len(), "thing")
    );
    for step in new.difference(&old) {
        let _ = writeln!(text, "  {} {step}  found in the account", paint.green("+"));
    }
    for step in old.difference(&new) {
        let _ = writeln!(
            text,
            "  {} {step}  was remembered, and is not there",
            paint.red("-")
        );
    }
    text.push('\n');
    text
}

/// The same for programs.
pub(crate) fn status_json(
    wanted: &Wanted,
    seen: &Seen,
    last: Option<&PastRun>,
    live: Option<&Live>,
) -> Value {
    json!({
        "platform": wanted.facts,
        "steps": rows(wanted, seen)
            .iter()
            .map(|row| json!({ "step": row.step, "kind": row.kind, "state": row.word, "detail": row.detail }))
            .collect::<Vec<_>>(),
        "lastRun": last.map(|run| json!({
            "run": run.run, "purpose": run.plan.purpose, "finished": run.is_finished(),
        })),
        "live": live.map(Live::json),
    })
}
