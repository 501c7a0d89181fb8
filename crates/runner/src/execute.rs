//! Executes a plan: as parallel as its graph allows, every intent journalled before it is acted on.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use landfall_engine::run::OutOfOrder;
use landfall_engine::{Evaluator, Expressions, Run};
use landfall_model::definition::StepKind;
use landfall_model::id::RunId;
use landfall_model::journal::{Entry, Record};
use landfall_model::leftover::{Landmark, Marks};
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::{Applied, Failure, Outcome, Outputs, Owned};
use landfall_model::{StepId, plan::PlannedStep, planted};
use tokio::sync::{Notify, watch};

use crate::notes::{Note, Notes, notes};
use crate::ports::{ApplyError, Clock, Event, Intent, Journal, JournalError, Progress, Providers, Watcher};
use crate::sweep::Sweep;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step ended well.
    Succeeded,
    /// A step failed; what does not depend on it was carried out.
    Failed,
    /// It was asked to stop; it can be resumed.
    Interrupted,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal contradicts itself.
    #[error("the journal of this run does not hang together")]
    OutOfOrder(#[from] OutOfOrder),
}

/// Everything a run needs.
pub struct Execution<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Which run this is: part of every token.
    pub run: RunId,
    /// Who does it.
    pub providers: &'a Providers,
    /// Where it is recorded.
    pub journal: &'a mut dyn Journal,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub watcher: Arc<dyn Watcher>,
    /// Turns true when the run should stop.
    pub stop: watch::Receiver<bool>,
    /// How many steps may run at once.
    pub at_once: usize,
}

/// Where a run stood when it died, from its records.
///
/// # Errors
/// Records that cannot follow each other.
pub fn resume(plan: &Plan, records: &[Record]) -> Result<Run, OutOfOrder> {
    let mut run = Run::new(plan);
    for record in records {
        run.record(&record.entry)?;
    }
    Ok(run)
}

type Work<'a> =
    Pin<Box<dyn Future<Output = (StepId, u64, Result<Applied, ApplyError>, Vec<Landmark>)> + Send + 'a>>;

impl Execution<'_> {
    /// Starts the run from its beginning.
    ///
    /// # Errors
    /// The journal fails; nothing is done that is not recorded.
    pub async fn start(mut self) -> Result<Ended, Stop> {
        let run = Run::new(self.plan);
        self.note(Entry::RunStarted {
            run: self.run.clone(),
            plan: self.plan.id.clone(),
            purpose: self.plan.purpose,
        })
        .await?;
        self.go(run).await
    }

    /// Goes on where `run` stands.
    ///
    /// # Errors
    /// The journal fails; nothing is done that is not recorded.
    pub async fn go_on(mut self, run: Run) -> Result<Ended, Stop> {
        self.note(Entry::RunResumed).await?;
        self.go(run).await
    }

    async fn note(&mut self, entry: Entry) -> Result<(), JournalError> {
        let record = Record {
            at: self.clock.now(),
            entry,
        };
        self.journal.append(&record).await?;
        self.watcher.event(&Event::Recorded(Box::new(record.entry)));
        Ok(())
    }

    async fn go(mut self, mut run: Run) -> Result<Ended, Stop> {
        let expressions = Expressions::default();
        let owned: Vec<Owned> = self
            .plan
            .steps
            .iter()
            .filter_map(|step| step.owned.clone())
            .collect();
        for provider in self.providers.all() {
            provider.remember(&owned);
        }
        let credentials = Credentials::new(self.providers, self.clock.clone());
        let (notes, mut noted) = notes();
        let limits = self.providers.limits(self.at_once);
        let mut in_flight: FuturesUnordered<Work<'_>> = FuturesUnordered::new();
        let mut stopping = *self.stop.borrow();
        // What was under way when the run died comes first: it may still be in progress out there.
        let mut again: Vec<(StepId, String)> = run
            .started()
            .map(|(step, token)| (step.clone(), token.to_owned()))
            .collect();
        let mut running: BTreeSet<StepId> = BTreeSet::new();
        let kinds: HashMap<&StepId, StepKind> =
            self.plan.steps.iter().map(|step| (&step.id, step.kind)).collect();
        let mut under_way: HashMap<StepKind, usize> = HashMap::new();
        // True at first: a run may have died right after it recorded a failure.
        let mut failed = true;
        loop {
            let skipped = if std::mem::take(&mut failed) {
                run.unreachable()
            } else {
                Vec::new()
            };
            for (step, because) in skipped {
                let entry = Entry::StepSkipped { step, because };
                run.record(&entry)?;
                self.note(entry).await?;
            }
            for (step, mut token) in again.drain(..) {
                if planted!(TokenChanges) {
                    token.push_str("-again");
                }
                let work = self
                    .begin(&mut run, &expressions, &credentials, &notes, &step, token)
                    .await?;
                *under_way.entry(kinds[&step]).or_default() += 1;
                running.insert(step);
                in_flight.push(work);
            }
            while !stopping && !credentials.are_awaited() && in_flight.len() < limits.all {
                let has_room = |step: &&StepId| {
                    let kind = kinds[*step];
                    under_way.get(&kind).copied().unwrap_or(0) < limits.of_kind(kind)
                };
                let Some(step) = run.ready().find(has_room).cloned() else {
                    break;
                };
                let token = token(&self.run, &step);
                let work = self
                    .begin(&mut run, &expressions, &credentials, &notes, &step, token)
                    .await?;
                *under_way.entry(kinds[&step]).or_default() += 1;
                running.insert(step);
                in_flight.push(work);
            }
            if in_flight.is_empty() {
                break;
            }
            let mut stop = self.stop.clone();
            tokio::select! {
                Some((step, took_ms, result, landmarks)) = in_flight.next() => {
                    running.remove(&step);
                    *under_way.entry(kinds[&step]).or_default() -= 1;
                    let result = match result {
                        Ok(applied) => Ok(applied),
                        Err(ApplyError::Failed(failure)) => Err(*failure),
                        // The step keeps its state: it is acted on again, with its token, on resuming.
                        Err(ApplyError::CredentialsExpired(_) | ApplyError::Stopped) => {
                            stopping = true;
                            continue;
                        }
                    };
                    let result = match result {
                        Err(_) if planted!(FailureRecordedAsDone) => {
                            Ok(without_outputs(Outcome::Unchanged, Vec::new()))
                        }
                        result => result,
                    };
                    failed = result.is_err();
                    let entry = ended(step, took_ms, result, landmarks);
                    run.record(&entry)?;
                    self.note(entry).await?;
                }
                Some(Note { entry, written }) = noted.recv() => {
                    self.note(entry).await?;
                    // Whoever wanted to know may have given up meanwhile.
                    let _ = written.send(());
                }
                changed = stop.changed(), if !stopping => {
                    stopping = changed.is_err() || *stop.borrow();
                    self.stop = stop;
                    if stopping {
                        let in_flight = running.iter().cloned().collect();
                        credentials.give_up();
                        self.watcher.event(&Event::Stopping { in_flight });
                    }
                }
            }
        }
        if run.is_over() {
            let succeeded = run.succeeded();
            self.note(Entry::RunFinished { succeeded }).await?;
            return Ok(if succeeded {
                Ended::Succeeded
            } else {
                Ended::Failed
            });
        }
        self.note(Entry::Interrupted).await?;
        Ok(Ended::Interrupted)
    }

    /// Records the intent, then hands the step to its provider.
    async fn begin<'w>(
        &mut self,
        run: &mut Run,
        expressions: &Expressions,
        credentials: &Credentials,
        notes: &Notes,
        step: &StepId,
        token: String,
    ) -> Result<Work<'w>, Stop>
    where
        Self: 'w,
    {
        let entry = Entry::StepStarted {
            step: step.clone(),
            token: token.clone(),
        };
        run.record(&entry)?;
        if !planted!(IntentForgotten) {
            self.note(entry).await?;
        }
        let planned = self
            .plan
            .step(step)
            .expect("the run only starts steps of its own plan")
            .clone();
        let task = Task {
            provider: (planned.action != Action::Sweep).then(|| self.providers.of(planned.kind).clone()),
            act: act(self.plan, &planned, expressions, run.outputs()),
            sweeper: self.providers.sweeper().cloned(),
            intent: Intent { token },
            progress: Progress::new(step.clone(), self.watcher.clone()),
            credentials: credentials.clone(),
            notes: notes.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        };
        let clock = self.clock.clone();
        let step = step.clone();
        let platform = self.plan.wanted.facts.name.clone();
        Ok(Box::pin(async move {
            let began = clock.millis();
            let result = task.run().await;
            let took_ms = clock.millis().saturating_sub(began);
            let landmarks = task.landmarks(&platform, &result).await;
            (step, took_ms, result, landmarks)
        }))
    }
}

/// The name of an intent: the same after a crash, different in every run.
fn token(run: &RunId, step: &StepId) -> String {
    let digest = landfall_model::id::Digest::of(format!("{run}/{step}"));
    format!("landfall-{}", digest.short())
}

fn ended(step: StepId, took_ms: u64, result: Result<Applied, Failure>, landmarks: Vec<Landmark>) -> Entry {
    match result {
        Ok(Applied {
            outcome,
            outputs,
            owned,
            notes,
        }) => Entry::StepDone {
            step,
            outcome,
            outputs,
            owned,
            notes,
            landmarks,
            took_ms,
        },
        Err(failure) => Entry::StepFailed {
            step,
            failure,
            took_ms,
        },
    }
}

/// What is to be done about one step, every value filled in.
enum Act {
    Apply(Box<landfall_model::work::Step>, Vec<StepId>, bool),
    Quiesce(Box<Owned>),
    Remove(Box<Owned>),
    Sweep(StepId, Marks),
    /// Its values cannot be had.
    Impossible(Failure),
}

fn act(
    plan: &Plan,
    planned: &PlannedStep,
    expressions: &Expressions,
    outputs: &HashMap<StepId, Option<Outputs>>,
) -> Act {
    match (planned.action, &planned.owned, &plan.marks) {
        (Action::Delete, Some(owned), _) => return Act::Remove(Box::new(owned.clone())),
        (Action::Quiesce, Some(owned), _) => return Act::Quiesce(Box::new(owned.clone())),
        (Action::Sweep, _, Some(marks)) => return Act::Sweep(planned.id.clone(), marks.clone()),
        (Action::Delete | Action::Quiesce | Action::Sweep, ..) => {
            return Act::Impossible(
                Failure::new("the plan does not say where to find it").way_out("make the plan again"),
            );
        }
        _ => {}
    }
    let Some(wanted) = plan.wanted.step(&planned.id) else {
        return Act::Impossible(Failure::new("the plan does not say what it should be"));
    };
    match Evaluator::with(&plan.wanted, expressions, outputs).step(wanted) {
        Ok(step) => match step.waits_for().first() {
            Some(waits) => Act::Impossible(
                Failure::new(format!("a value from `{waits}` never came")).way_out(format!(
                    "run the command again: it looks anew at what `{waits}` gives"
                )),
            ),
            None => Act::Apply(Box::new(step), wanted.after.clone(), wanted.retain),
        },
        Err(error) => {
            let failure = Failure::new(error.reason);
            Act::Impossible(match error.help {
                Some(help) => failure.way_out(help),
                None => failure,
            })
        }
    }
}

fn without_outputs(outcome: Outcome, notes: Vec<String>) -> Applied {
    Applied {
        outcome,
        outputs: Outputs::new(),
        owned: None,
        notes,
    }
}

struct Task {
    /// None for a sweep, which goes across all kinds.
    provider: Option<Arc<dyn crate::ports::Provider>>,
    sweeper: Option<Arc<dyn crate::ports::Sweeper>>,
    act: Act,
    intent: Intent,
    progress: Progress,
    credentials: Credentials,
    notes: Notes,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
}

impl Task {
    async fn run(&self) -> Result<Applied, ApplyError> {
        loop {
            let result = self.once().await;
            let Err(ApplyError::CredentialsExpired(reason)) = result else {
                return result;
            };
            self.progress.say("waiting for credentials to be renewed");
            if !self.credentials.renewed(&reason, &self.notes).await {
                return Err(ApplyError::CredentialsExpired(reason));
            }
        }
    }

    /// What of a step that was carried out marks other things. Asked at once: when the step is gone, by whatever
    /// hand, nothing tells any more. When it cannot be asked now, a teardown asks again.
    async fn landmarks(&self, platform: &str, result: &Result<Applied, ApplyError>) -> Vec<Landmark> {
        let owned = result.as_ref().ok().and_then(|applied| applied.owned.as_ref());
        match (&self.sweeper, owned.filter(|owned| !owned.adopted)) {
            (Some(sweeper), Some(owned)) => {
                let marks = sweeper.marks(platform, std::slice::from_ref(owned)).await;
                marks.map(|marks| marks.landmarks).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    async fn once(&self) -> Result<Applied, ApplyError> {
        let Task { intent, progress, .. } = self;
        let provider = || {
            let provider = self.provider.as_ref();
            provider.expect("only a sweep has no provider, and it needs none")
        };
        match &self.act {
            Act::Impossible(failure) => Err(failure.clone().into()),
            Act::Quiesce(owned) => {
                let stopped = provider().quiesce(owned, intent, progress).await?;
                Ok(without_outputs(Outcome::Quiesced, stopped))
            }
            Act::Remove(owned) => {
                let removed = provider().remove(owned, intent, progress).await?;
                Ok(without_outputs(Outcome::Removed, removed.kept))
            }
            Act::Sweep(step, marks) => {
                let Some(sweeper) = &self.sweeper else {
                    return Err(ApplyError::failed("nobody was given to sweep leftovers"));
                };
                let sweep = Sweep {
                    sweeper: sweeper.as_ref(),
                    step,
                    marks,
                    clock: self.clock.as_ref(),
                    notes: &self.notes,
                    progress,
                    stop: self.stop.clone(),
                };
                Ok(without_outputs(
                    Outcome::Swept,
                    sweep.until_nothing_is_left().await?,
                ))
            }
            Act::Apply(step, after, retain) => {
                let mut applied = provider().apply(step, intent, progress).await?;
                if let Some(owned) = &mut applied.owned {
                    owned.after.clone_from(after);
                    owned.retain = *retain;
                }
                Ok(applied)
            }
        }
    }
}

/// Waits until expired credentials are renewed: one wait for all steps that ran into it.
#[derive(Clone)]
struct Credentials {
    providers: Providers,
    clock: Arc<dyn Clock>,
    waiting: Arc<tokio::sync::Mutex<()>>,
    give_up: Arc<Notify>,
    given_up: Arc<AtomicBool>,
    awaited: Arc<AtomicBool>,
}

/// How often renewed credentials are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Credentials {
    fn new(providers: &Providers, clock: Arc<dyn Clock>) -> Credentials {
        Credentials {
            providers: providers.clone(),
            clock,
            waiting: Arc::default(),
            give_up: Arc::default(),
            given_up: Arc::default(),
            awaited: Arc::default(),
        }
    }

    /// Whether the run is paused for them: then no new step is started.
    fn are_awaited(&self) -> bool {
        self.awaited.load(Ordering::SeqCst)
    }

    /// Returns true once the world answers again, false when the run is to stop instead.
    async fn renewed(&self, reason: &str, notes: &Notes) -> bool {
        let one_at_a_time = self.waiting.lock().await;
        let mut told = false;
        loop {
            let mut why = None;
            for provider in self.providers.all() {
                if let Err(reason) = provider.renew().await {
                    why = Some(reason);
                }
            }
            self.awaited.store(why.is_some(), Ordering::SeqCst);
            if why.is_none() {
                drop(one_at_a_time);
                return true;
            }
            if self.given_up.load(Ordering::SeqCst) {
                return false;
            }
            if !told {
                told = true;
                notes
                    .write(Entry::Paused {
                        reason: reason.to_owned(),
                    })
                    .await;
            }
            tokio::select! {
                () = self.clock.sleep(LOOK_AGAIN) => {}
                () = self.give_up.notified() => return false,
            }
        }
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        self.give_up.notify_waiters();
    }
}
