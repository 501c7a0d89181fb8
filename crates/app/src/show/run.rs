//! A run as it goes on: bars on a terminal, plain lines elsewhere, JSON lines for programs.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use landfall_engine::Run;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::{Failure, Outcome, Outputs};
use landfall_runner::{Event, Watcher};

use super::{Paint, duration};

/// Where a run is shown.
pub(crate) struct Screen {
    kind: Kind,
    paint: Paint,
    width: usize,
    total: usize,
    /// Steps whose parts are too many and too quick to be told one by one in a log.
    quiet: HashSet<StepId>,
    state: Mutex<State>,
}

enum Kind {
    Bars(MultiProgress),
    Lines,
    Json,
}

#[derive(Default)]
struct State {
    bars: HashMap<StepId, ProgressBar>,
    said: HashMap<StepId, String>,
    done: usize,
}

impl Screen {
    /// A screen for a run of this plan.
    pub(crate) fn new(plan: &Plan, json: bool, paint: Paint) -> Screen {
        let kind = if json {
            Kind::Json
        } else if std::io::stdout().is_terminal() {
            Kind::Bars(MultiProgress::with_draw_target(
                indicatif::ProgressDrawTarget::stdout(),
            ))
        } else {
            Kind::Lines
        };
        let running = || plan.steps.iter().filter(|step| step.action.runs());
        Screen {
            kind,
            paint,
            width: running().map(|step| step.id.as_str().len()).max().unwrap_or(0),
            total: running().count(),
            quiet: running()
                .filter(|step| matches!(step.kind, StepKind::Files | StepKind::Entity))
                .map(|step| step.id.clone())
                .collect(),
            state: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        match &self.kind {
            // Printing above the bars keeps them whole.
            Kind::Bars(bars) => {
                let _ = bars.println(text);
            }
            Kind::Lines => println!("{text}"),
            Kind::Json => {}
        }
    }

    fn step(&self, sign: &str, step: &StepId, text: &str) {
        self.line(&format!(
            "  {sign} {:<width$}  {text}",
            step.as_str(),
            width = self.width
        ));
    }

    fn started(&self, step: &StepId) {
        match &self.kind {
            Kind::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(0).with_style(bar_style(false)));
                bar.set_prefix(format!("{:<width$}", step.as_str(), width = self.width));
                bar.set_message("started");
                bar.enable_steady_tick(std::time::Duration::from_millis(120));
                self.state().bars.insert(step.clone(), bar);
            }
            Kind::Lines => self.step("…", step, "started"),
            Kind::Json => {}
        }
    }

    fn progress(&self, step: &StepId, parts: Option<(u64, u64)>, message: &str) {
        match &self.kind {
            Kind::Bars(_) => {
                if let Some(bar) = self.state().bars.get(step) {
                    if let Some((done, all)) = parts {
                        bar.set_style(bar_style(true));
                        bar.set_length(all);
                        bar.set_position(done);
                    }
                    bar.set_message(message.to_owned());
                }
            }
            Kind::Lines if self.quiet.contains(step) => {}
            Kind::Lines => {
                // The same words again would only fill a log.
                let new = self
                    .state()
                    .said
                    .insert(step.clone(), message.to_owned())
                    .as_deref()
                    != Some(message);
                if new {
                    let parts = parts
                        .map(|(done, all)| format!("[{done}/{all}] "))
                        .unwrap_or_default();
                    self.step(" ", step, &self.paint.dim(&format!("{parts}{message}")));
                }
            }
            Kind::Json => {}
        }
    }

    fn ended(&self, step: &StepId, sign: &str, text: &str) {
        let done = {
            let mut state = self.state();
            state.done += 1;
            if let Some(bar) = state.bars.remove(step) {
                bar.finish_and_clear();
            }
            state.done
        };
        let progress = self.paint.dim(&format!("({done} of {})", self.total));
        self.step(sign, step, &format!("{text}  {progress}"));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while drawing")
    }

    fn recorded(&self, entry: &Entry) {
        let paint = self.paint;
        match entry {
            Entry::StepStarted { step, .. } => self.started(step),
            Entry::StepDone {
                step,
                outcome,
                notes,
                took_ms,
                ..
            } => {
                let text = format!("{} in {}", outcome_word(*outcome), duration(*took_ms));
                self.ended(step, &paint.green("✓"), &text);
                for note in notes {
                    self.step(" ", step, note);
                }
            }
            Entry::StepFailed {
                step,
                failure,
                took_ms,
            } => {
                let text = format!(
                    "{} after {}: {}",
                    paint.red("FAILED"),
                    duration(*took_ms),
                    failure.summary
                );
                self.ended(step, &paint.red("✗"), &text);
            }
            Entry::StepSkipped { step, because } => {
                self.ended(
                    step,
                    &paint.yellow("-"),
                    &format!("not started, because {because} failed"),
                );
            }
            Entry::Sweeping { step, leftover } => {
                self.step(" ", step, &format!("sweeping {} {}", leftover.kind, leftover.id));
            }
            Entry::SweptAway { step, leftover } => {
                self.step(" ", step, &format!("gone: {} {}", leftover.kind, leftover.id));
            }
            Entry::Paused { reason } => self.paused(reason),
            Entry::RunResumed => self.line(&paint.dim("going on where the last run stopped")),
            Entry::RunStarted { .. } | Entry::Interrupted | Entry::RunFinished { .. } => {}
        }
    }

    fn paused(&self, reason: &str) {
        self.line(&format!(
            "\n{} the credentials have expired: {reason}\n  Renew them (for example `aws sso login`) in another window; the run goes on by itself.\n  \
             Credentials given as environment variables cannot be renewed from outside: press ctrl-C,\n  \
             set new ones and run the command again; it goes on where it stopped.\n",
            self.paint.yellow("PAUSED:")
        ));
    }
}

/// A running step's bar; parts are shown once they are counted.
fn bar_style(counted: bool) -> ProgressStyle {
    let template = if counted {
        "  {spinner:.blue} {prefix}  {wide_msg} {pos}/{len} {elapsed:>4}"
    } else {
        "  {spinner:.blue} {prefix}  {wide_msg} {elapsed:>4}"
    };
    let style = ProgressStyle::with_template(template).expect("the template is ours");
    style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

impl Watcher for Screen {
    fn event(&self, event: &Event) {
        if matches!(self.kind, Kind::Json) {
            if let Some(line) = json_line(event) {
                println!("{line}");
            }
            return;
        }
        match event {
            Event::Recorded(entry) => self.recorded(entry),
            Event::Progress { step, parts, message } => self.progress(step, *parts, message),
            Event::Paused { reason } => self.paused(reason),
            Event::Stopping { in_flight } => {
                let names: Vec<&str> = in_flight.iter().map(StepId::as_str).collect();
                self.line(&format!(
                    "\n{} no further step is started; waiting for {} to end. Press ctrl-C again to leave at once:\n  \
                     the journal is safe, and the next run picks up what is in progress.\n",
                    self.paint.yellow("STOPPING:"),
                    names.join(", ")
                ));
            }
        }
    }
}

fn json_line(event: &Event) -> Option<String> {
    let value = match event {
        Event::Recorded(entry) => serde_json::to_value(entry).ok()?,
        Event::Progress { step, parts, message } => serde_json::json!({
            "entry": "progress", "step": step, "done": parts.map(|(done, _)| done), "of": parts.map(|(_, all)| all),
            "message": message,
        }),
        Event::Paused { reason } => serde_json::json!({ "entry": "paused", "reason": reason }),
        Event::Stopping { in_flight } => serde_json::json!({ "entry": "stopping", "inFlight": in_flight }),
    };
    Some(value.to_string())
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Adopted => "adopted",
        Outcome::Removed => "removed",
        Outcome::Passed => "passed",
        Outcome::Quiesced => "quiesced",
        Outcome::Swept => "swept",
    }
}

/// One line: what a run came to.
pub(crate) fn summary(plan: &Plan, records: &[Record], took_ms: u64, paint: Paint) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut add = |word: &'static str| match counts.iter_mut().find(|(seen, _)| *seen == word) {
        Some((_, number)) => *number += 1,
        None => counts.push((word, 1)),
    };
    let mut failed = 0;
    let mut skipped = 0;
    for record in records {
        match &record.entry {
            Entry::StepDone { outcome, .. } => add(outcome_word(*outcome)),
            Entry::StepFailed { .. } => failed += 1,
            Entry::StepSkipped { .. } => skipped += 1,
            _ => {}
        }
    }
    let mut parts: Vec<String> = counts
        .iter()
        .map(|(word, number)| format!("{number} {word}"))
        .collect();
    if failed > 0 {
        parts.push(paint.red(&format!("{failed} failed")));
    }
    if skipped > 0 {
        parts.push(format!("{skipped} not started"));
    }
    let untouched = plan.count(Action::None);
    if untouched > 0 {
        parts.push(format!("{untouched} untouched"));
    }
    let word = if failed > 0 {
        paint.red("Failed:")
    } else {
        paint.green("Done:")
    };
    format!("{word} {} in {}.\n", parts.join(", "), duration(took_ms))
}

/// Every failure with its first cause and the next thing to do.
pub(crate) fn failures(records: &[Record], paint: Paint) -> String {
    let mut text = String::new();
    for record in records {
        let Entry::StepFailed { step, failure, .. } = &record.entry else {
            continue;
        };
        let Failure {
            summary,
            cause,
            way_out,
        } = failure;
        let _ = writeln!(
            text,
            "{} {}",
            paint.red("✗"),
            paint.bold(&format!("{step}: {summary}"))
        );
        if let Some(cause) = cause {
            let kind = if cause.kind.is_empty() {
                String::new()
            } else {
                format!(" ({})", cause.kind)
            };
            let _ = writeln!(text, "    began with  {}{kind} {}", cause.resource, cause.state);
            let _ = writeln!(text, "    because     {}", cause.reason);
        }
        if let Some(way_out) = way_out {
            let _ = writeln!(text, "    what to do  {way_out}");
        }
    }
    let skipped: Vec<String> = records
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::StepSkipped { step, .. } => Some(step.to_string()),
            _ => None,
        })
        .collect();
    if !skipped.is_empty() {
        let _ = writeln!(text, "    not started {}", skipped.join(", "));
    }
    text
}

/// The outputs of all components.
pub(crate) fn outputs(plan: &Plan, run: &Run, paint: Paint) -> String {
    let all = component_outputs(plan, run);
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", paint.bold("Outputs"));
    for (name, value) in all {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = if value.is_empty() {
            paint.dim("(empty)")
        } else {
            value
        };
        let _ = writeln!(text, "  {name:<width$}  {value}");
    }
    text
}

fn component_outputs(plan: &Plan, run: &Run) -> Vec<(String, serde_json::Value)> {
    let expressions = landfall_engine::Expressions::default();
    let evaluator = landfall_engine::Evaluator::with(&plan.wanted, &expressions, run.outputs());
    plan.wanted
        .components
        .keys()
        .flat_map(|component| {
            let outputs: Outputs = evaluator.known_outputs(component).unwrap_or_default();
            outputs
                .into_iter()
                .map(move |(name, value)| (format!("{component}.{name}"), value))
        })
        .collect()
}
