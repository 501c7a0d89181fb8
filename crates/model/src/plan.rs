//! A plan: every action on every step, in order, with reasons. Immutable once made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::definition::StepKind;
use crate::finding::{Finding, Weight};
use crate::id::{PlanId, StepId};
use crate::leftover::Marks;
use crate::provider::{Change, Outputs, Owned};
use crate::wanted::Wanted;

/// The version of the plan format. A plan of another version is refused.
pub const FORMAT: u32 = 1;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// To bring the platform to what its file says.
    Apply,
    /// To remove it.
    Destroy,
}

impl Purpose {
    /// The command that carries it out.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Apply => "apply",
            Purpose::Destroy => "destroy",
        }
    }
}

/// What is to be done, in order, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of this format.
    pub format: u32,
    /// Which plan.
    pub id: PlanId,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// What it is for.
    pub purpose: Purpose,
    /// What the platform asks for, with its wiring and contents.
    pub wanted: Wanted,
    /// What is to be done, each after all it waits for.
    pub steps: Vec<PlannedStep>,
    /// By what leftovers are recognised while everything is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Marks>,
    /// What was found before the first change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// What is to be done about one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// Which step.
    pub id: StepId,
    /// Its kind.
    pub kind: StepKind,
    /// What is to be done.
    pub action: Action,
    /// Why, in a few words.
    pub reason: String,
    /// Steps of this plan that come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// Steps whose outputs its values still wait for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown_until: BTreeSet<StepId>,
    /// What would change, in the world's terms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What stood when the plan was made.
    pub seen: String,
    /// What it gives, for a step that stands and is not touched.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// How to find what stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Owned>,
    /// How long it should take, when there is anything to go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// How long a step should take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// In milliseconds.
    pub takes_ms: u64,
    /// How many times this very thing was timed before; 0 when the number comes from a table of what such
    /// things take elsewhere.
    #[serde(default)]
    pub timed: u32,
}

/// What is to be done about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Remove it.
    Delete,
    /// Use what someone else made, and leave it in place.
    Adopt,
    /// Ascertain that something holds; changes nothing.
    Check,
    /// Stop what in it makes things anew, before anything is removed.
    Quiesce,
    /// Remove what controllers left behind.
    Sweep,
    /// Leave it as it is.
    None,
}

impl Action {
    /// Whether the world is different afterwards.
    pub fn changes_the_world(self) -> bool {
        matches!(
            self,
            Action::Create | Action::Update | Action::Delete | Action::Quiesce | Action::Sweep
        )
    }

    /// Whether there is anything to carry out.
    pub fn runs(self) -> bool {
        self != Action::None
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Adopt => "adopt",
            Action::Check => "check",
            Action::Quiesce => "quiesce",
            Action::Sweep => "sweep",
            Action::None => "none",
        }
    }
}

impl Plan {
    /// Whether carrying it out would change the world.
    pub fn has_changes(&self) -> bool {
        self.steps.iter().any(|step| step.action.changes_the_world())
    }

    /// Whether something was found that would fail, so that it must not be carried out.
    pub fn is_refused(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.weight == Weight::Refuses)
    }

    /// How many steps have this action.
    pub fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    /// The planned step with this id.
    pub fn step(&self, id: &StepId) -> Option<&PlannedStep> {
        self.steps.iter().find(|step| step.id == *id)
    }
}
