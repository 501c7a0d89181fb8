//! Where a run stands, and what it may do next. Live runs and crash recovery both go through
//! [`StepState::after`].

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use landfall_model::journal::Entry;
use landfall_model::plan::Plan;
use landfall_model::provider::{Outcome, Outputs};
use landfall_model::{StepId, planted};

use crate::schedule;

/// Where a step stands, as far as the journal can prove.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// Nothing has been tried.
    Waiting,
    /// It is being acted on, or was when the run died.
    Started {
        /// The name of the intent.
        token: String,
    },
    /// It ended well.
    Done {
        /// How.
        outcome: Outcome,
    },
    /// It failed.
    Failed,
    /// It is not acted on, because of another step.
    Skipped {
        /// Which one.
        because: StepId,
    },
}

/// A record that cannot follow what came before it: a bug, or a journal someone edited.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the journal says {entry} of a step that is {state:?}")]
pub struct OutOfOrder {
    state: StepState,
    entry: String,
}

impl StepState {
    /// Returns the state after `entry`, refusing one that cannot follow. A step may start again with
    /// the token it had: that is what happens after a crash.
    ///
    /// # Errors
    /// The entry cannot follow this state.
    pub fn after(&self, entry: &Entry) -> Result<StepState, OutOfOrder> {
        match (self, entry) {
            (StepState::Waiting, Entry::StepStarted { token, .. }) => {
                Ok(StepState::Started { token: token.clone() })
            }
            (StepState::Started { token }, Entry::StepStarted { token: again, .. }) if token == again => {
                Ok(self.clone())
            }
            (StepState::Started { .. }, Entry::StepDone { outcome, .. }) => {
                Ok(StepState::Done { outcome: *outcome })
            }
            (StepState::Started { .. }, Entry::StepFailed { .. }) => Ok(StepState::Failed),
            (StepState::Waiting, Entry::StepSkipped { because, .. }) => Ok(StepState::Skipped {
                because: because.clone(),
            }),
            (state, entry) => Err(OutOfOrder {
                state: state.clone(),
                entry: format!("{entry:?}").chars().take(80).collect(),
            }),
        }
    }

    fn ended_badly(&self) -> bool {
        matches!(self, StepState::Failed | StepState::Skipped { .. })
    }
}

/// A run of a plan.
#[derive(Clone, Debug)]
pub struct Run {
    ids: Vec<StepId>,
    index: HashMap<StepId, usize>,
    after: Vec<Vec<usize>>,
    followers: Vec<Vec<usize>>,
    states: Vec<StepState>,
    /// Steps this one still waits for.
    waiting: Vec<usize>,
    /// How long it is from each step's start until everything that waits for it could be done: the longest
    /// goes first.
    remaining_ms: Vec<u64>,
    ready: BTreeSet<(Reverse<u64>, usize)>,
    outputs: HashMap<StepId, Option<Outputs>>,
    finished: bool,
}

impl Run {
    /// A run at its beginning: what needs nothing done is done.
    pub fn new(plan: &Plan) -> Run {
        let index: HashMap<StepId, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| (step.id.clone(), index))
            .collect();
        let after = schedule::before(plan);
        let remaining_ms = schedule::remaining_ms(plan, &after);
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); plan.steps.len()];
        for (step, before) in after.iter().enumerate() {
            for one in before {
                followers[*one].push(step);
            }
        }
        let mut run = Run {
            ids: plan.steps.iter().map(|step| step.id.clone()).collect(),
            waiting: after.iter().map(Vec::len).collect(),
            states: vec![StepState::Waiting; plan.steps.len()],
            outputs: plan
                .wanted
                .steps
                .iter()
                .map(|step| (step.id.clone(), None))
                .collect(),
            ready: (0..plan.steps.len())
                .filter(|step| after[*step].is_empty())
                .map(|step| (Reverse(remaining_ms[step]), step))
                .collect(),
            remaining_ms,
            index,
            after,
            followers,
            finished: false,
        };
        for (at, step) in plan.steps.iter().enumerate() {
            if !step.action.runs() {
                run.outputs.insert(step.id.clone(), Some(step.outputs.clone()));
                run.done(at, Outcome::Unchanged);
            }
        }
        run
    }

    fn done(&mut self, at: usize, outcome: Outcome) {
        self.states[at] = StepState::Done { outcome };
        self.ready.remove(&self.place(at));
        self.release(at);
    }

    /// Its place among the steps that are ready.
    fn place(&self, at: usize) -> (Reverse<u64>, usize) {
        (Reverse(self.remaining_ms[at]), at)
    }

    /// One thing less to wait for, for all that wait for this step.
    fn release(&mut self, at: usize) {
        for follower in self.followers[at].clone() {
            self.waiting[follower] -= 1;
            if self.waiting[follower] == 0 && self.states[follower] == StepState::Waiting {
                self.ready.insert(self.place(follower));
            }
        }
    }

    /// Takes a record in.
    ///
    /// # Errors
    /// The record cannot follow what came before it.
    pub fn record(&mut self, entry: &Entry) -> Result<(), OutOfOrder> {
        let step = match entry {
            Entry::StepStarted { step, .. }
            | Entry::StepDone { step, .. }
            | Entry::StepFailed { step, .. }
            | Entry::StepSkipped { step, .. } => step,
            Entry::RunFinished { .. } => {
                self.finished = true;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let at = *self.index.get(step).ok_or_else(|| OutOfOrder {
            state: StepState::Waiting,
            entry: format!("something about `{step}`, which is not in the plan"),
        })?;
        let state = self.states[at].after(entry)?;
        self.ready.remove(&self.place(at));
        self.states[at] = state;
        if planted!(FailureIgnored) && self.states[at] == StepState::Failed {
            self.release(at);
        }
        if let Entry::StepDone { outcome, outputs, .. } = entry {
            self.outputs.insert(step.clone(), Some(outputs.clone()));
            self.done(at, *outcome);
        }
        Ok(())
    }

    /// Steps that may start now: that with the longest way to go behind it first.
    pub fn ready(&self) -> impl Iterator<Item = &StepId> {
        self.ready.iter().map(|(_, at)| &self.ids[*at])
    }

    /// Steps that were being acted on when the run died, with their tokens.
    pub fn started(&self) -> impl Iterator<Item = (&StepId, &str)> {
        self.states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| match state {
                StepState::Started { token } => Some((&self.ids[at], token.as_str())),
                _ => None,
            })
    }

    /// Waiting steps that can never start, each with the step to blame.
    pub fn unreachable(&self) -> Vec<(StepId, StepId)> {
        let mut blamed: HashMap<usize, StepId> = HashMap::new();
        if planted!(FailureIgnored) {
            return Vec::new();
        }
        // The plan's order puts every step after all it waits for, so one pass reaches everything.
        for at in 0..self.ids.len() {
            if self.states[at] != StepState::Waiting {
                continue;
            }
            let culprit = self.after[at]
                .iter()
                .find_map(|before| match &self.states[*before] {
                    StepState::Failed => Some(self.ids[*before].clone()),
                    StepState::Skipped { because } => Some(because.clone()),
                    _ => blamed.get(before).cloned(),
                });
            if let Some(culprit) = culprit {
                blamed.insert(at, culprit);
            }
        }
        let mut list: Vec<(usize, StepId)> = blamed.into_iter().collect();
        list.sort();
        list.into_iter()
            .map(|(at, because)| (self.ids[at].clone(), because))
            .collect()
    }

    /// What every step gives, as far as it is known.
    pub fn outputs(&self) -> &HashMap<StepId, Option<Outputs>> {
        &self.outputs
    }

    /// Where a step stands.
    pub fn state(&self, step: &StepId) -> Option<&StepState> {
        self.index.get(step).map(|at| &self.states[*at])
    }

    /// Whether nothing is left to do: every step is done, failed or skipped.
    pub fn is_over(&self) -> bool {
        self.states
            .iter()
            .all(|state| matches!(state, StepState::Done { .. }) || state.ended_badly())
    }

    /// Whether every step ended well.
    pub fn succeeded(&self) -> bool {
        self.states
            .iter()
            .all(|state| matches!(state, StepState::Done { .. }))
    }

    /// Whether the journal says the run is over.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}
