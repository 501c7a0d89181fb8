//! What was found before the first change: everything that would go wrong, each with the way out.

use serde::{Deserialize, Serialize};

use crate::id::StepId;

/// One thing found before the first change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it means for the plan.
    pub weight: Weight,
    /// The step it is about; none when it is about the whole platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// The resource it is about, by its logical id in the step's template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What would go wrong, or what could not be asked and why.
    pub what: String,
    /// What to do about it.
    pub way_out: String,
}

/// What a finding means for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Weight {
    /// It would fail: the plan is not carried out.
    Refuses,
    /// It would work, and somebody should know.
    Warns,
    /// It could not be asked, so nobody knows.
    Unchecked,
}

impl Weight {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Weight::Refuses => "refuses",
            Weight::Warns => "warns",
            Weight::Unchecked => "unchecked",
        }
    }
}

impl Finding {
    /// A finding about the whole platform.
    pub fn new(weight: Weight, what: impl Into<String>, way_out: impl Into<String>) -> Finding {
        Finding {
            weight,
            step: None,
            resource: None,
            what: what.into(),
            way_out: way_out.into(),
        }
    }

    /// Names the step it is about.
    #[must_use]
    pub fn of_step(mut self, step: &StepId) -> Finding {
        self.step = Some(step.clone());
        self
    }

    /// Names the resource it is about.
    #[must_use]
    pub fn of_resource(mut self, resource: impl Into<String>) -> Finding {
        self.resource = Some(resource.into());
        self
    }
}

/// Puts findings in the order in which they are shown, refusals first, and drops what is said twice.
pub fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings.dedup();
    findings
}
