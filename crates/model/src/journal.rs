//! What a journal records: intents before they are acted on, results after.

use serde::{Deserialize, Serialize};

use crate::id::{PlanId, RunId, StepId};
use crate::leftover::{Found, Landmark};
use crate::plan::Purpose;
use crate::provider::{Failure, Outcome, Outputs, Owned};

/// One record of a run, with the time it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When, RFC 3339.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "entry")]
pub enum Entry {
    /// A run began. Its plan is kept beside the journal.
    RunStarted {
        /// Which run.
        run: RunId,
        /// Of which plan.
        plan: PlanId,
        /// What for.
        purpose: Purpose,
    },
    /// A run that had stopped goes on.
    RunResumed,
    /// A step is about to be acted on. The token names this intent in the world.
    StepStarted {
        /// Which step.
        step: StepId,
        /// The name of the intent: the same after a crash, so that nothing is done twice.
        token: String,
    },
    /// A step is done.
    StepDone {
        /// Which step.
        step: StepId,
        /// How it ended.
        outcome: Outcome,
        /// What it gives.
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        /// How to find it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owned: Option<Owned>,
        /// What people should know.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        /// What of it marks other things: remembered, because nothing tells of it once it is gone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        landmarks: Vec<Landmark>,
        /// How long it took.
        took_ms: u64,
    },
    /// A step failed.
    StepFailed {
        /// Which step.
        step: StepId,
        /// Why.
        failure: Failure,
        /// How long it took.
        took_ms: u64,
    },
    /// A step is not acted on, because another failed or was itself skipped.
    StepSkipped {
        /// Which step.
        step: StepId,
        /// Because of which.
        because: StepId,
    },
    /// A leftover is about to be removed.
    Sweeping {
        /// Which step sweeps.
        step: StepId,
        /// What is removed.
        leftover: Found,
    },
    /// A leftover that was being removed is not found any more.
    SweptAway {
        /// Which step swept.
        step: StepId,
        /// What is gone.
        leftover: Found,
    },
    /// The run waits for something only a person can do.
    Paused {
        /// For what.
        reason: String,
    },
    /// The run was asked to stop; what was in flight has finished.
    Interrupted,
    /// The run is over.
    RunFinished {
        /// Whether every step ended well.
        succeeded: bool,
    },
}
