//! What a teardown ends with: what was removed, what was kept on purpose, and what a fresh search found.

use serde::{Deserialize, Serialize};

use crate::definition::StepKind;
use crate::id::{RunId, StepId};
use crate::leftover::{Found, Marks};

/// The version of the certificate format.
pub const FORMAT: u32 = 1;

/// What is left of a platform after a teardown, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The version of this format.
    pub format: u32,
    /// The platform's name.
    pub platform: String,
    /// Its account.
    pub account: String,
    /// Its region.
    pub region: String,
    /// When the last search was made, RFC 3339.
    pub at: String,
    /// The runs that removed it, the first first.
    pub runs: Vec<RunId>,
    /// Whether nothing is left but what is kept on purpose.
    pub clean: bool,
    /// What steps had brought about and is gone.
    pub removed: Vec<RemovedThing>,
    /// What controllers had left and is gone.
    pub swept: Vec<Found>,
    /// What stays on purpose.
    pub retained: Vec<RetainedThing>,
    /// What was said on the way that people should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// What the search at the end looked for; none when nobody could search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<Marks>,
    /// What that search found that should not be there.
    pub found: Vec<Found>,
    /// What steps still stand as that should not.
    pub standing: Vec<StepId>,
}

/// What a step had brought about and is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedThing {
    /// Which step.
    pub step: StepId,
    /// Its kind.
    pub kind: StepKind,
    /// What the world called it, when it had a name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What stays on purpose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetainedThing {
    /// What it is.
    pub what: String,
    /// Why it stays, and how it would go.
    pub why: String,
}
