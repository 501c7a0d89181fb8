//! What providers report: what stands, what would change, what was done, what failed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::definition::StepKind;
use crate::id::StepId;

/// Named values a step gives to those that wait for it.
pub type Outputs = Map<String, Value>;

/// What stands of a step, as far as its world can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Whether it stands, and how.
    pub standing: Standing,
    /// What it gives, when it stands.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Outputs,
    /// Changes whenever the world does; compared before a saved plan is applied.
    pub fingerprint: String,
    /// How to find it again, when it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Owned>,
}

impl Observed {
    /// Nothing stands.
    pub fn absent() -> Observed {
        Observed {
            standing: Standing::Absent,
            outputs: Outputs::new(),
            fingerprint: "absent".to_owned(),
            owned: None,
        }
    }
}

/// Whether something stands, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Standing {
    /// Nothing is there.
    Absent,
    /// It stands and is well.
    Present {
        /// The world's word for its state, such as `CREATE_COMPLETE`.
        state: String,
    },
    /// Something is being done to it; `apply` waits for that first.
    Busy {
        /// The world's word for its state.
        state: String,
    },
    /// A remainder of something that failed; `apply` clears it away and makes it anew.
    Leftover {
        /// The world's word for its state.
        state: String,
        /// What that means.
        why: String,
    },
    /// It stands but is stuck; `apply` frees it first, then updates it.
    Stuck {
        /// The world's word for its state.
        state: String,
        /// What that means.
        why: String,
    },
    /// Someone else made the one thing of its kind; it is used as it stands.
    Found {
        /// What was found.
        what: String,
    },
    /// It belongs to someone else; Landfall does not touch it.
    Foreign {
        /// Whose it is, and what to do.
        why: String,
    },
}

/// One thing that would change, in the world's own terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happens to it.
    pub effect: Effect,
    /// Its name: a logical id, a path.
    pub subject: String,
    /// Its type, such as `AWS::S3::Bucket`; empty where the world has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The properties that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<PropertyChange>,
}

/// What happens to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Made.
    Add,
    /// Changed in place.
    Modify,
    /// Made anew, and the old one removed.
    Replace,
    /// Perhaps made anew: known only once other values are.
    MayReplace,
    /// Removed.
    Remove,
}

/// One property that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PropertyChange {
    /// Its path.
    pub path: String,
    /// Its value now, when the world tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value afterwards, when the world tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether this property is why the whole thing is made anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

/// Something the platform owns, and how to find it again without its definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owned {
    /// The step that brought it about.
    pub step: StepId,
    /// The step's kind.
    pub kind: StepKind,
    /// What its provider needs to find it.
    pub address: Value,
    /// Steps it was made after; removal goes the other way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// Kinds of objects in it that a controller elsewhere may look after, such as `Ingress`;
    /// [`Owned::ANYTHING`] for what makes objects of its own at any time, as an Argo CD `Application` does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// Kinds of objects it looks after: what holds such objects must be gone before it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// Whether the cluster it stands in goes in the same teardown: what hangs because nobody is left to clean
    /// up behind it may be left to that, and what was made for it is swept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_along: bool,
    /// Whether `destroy` keeps it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain: bool,
    /// Whether someone else made it, so that it is left in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

impl Owned {
    /// Among what something holds: it may hold objects of any kind.
    pub const ANYTHING: &'static str = "*";

    /// Something a step of this kind brought about, found again by `address`.
    pub fn new(step: StepId, kind: StepKind, address: Value) -> Owned {
        Owned {
            step,
            kind,
            address,
            after: Vec::new(),
            holds: Vec::new(),
            controls: Vec::new(),
            goes_along: false,
            retain: false,
            adopted: false,
        }
    }
}

/// How a step ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// Nothing needed doing.
    Unchanged,
    /// What someone else made is used as it stands.
    Adopted,
    /// It was removed, or was already gone.
    Removed,
    /// The assertion holds.
    Passed,
    /// What in it makes things anew was stopped.
    Quiesced,
    /// No leftover is found any more.
    Swept,
}

/// What a provider did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// How it ended.
    pub outcome: Outcome,
    /// What the step gives.
    pub outputs: Outputs,
    /// How to find it again, for what can be found.
    pub owned: Option<Owned>,
    /// What people should know, a sentence each.
    pub notes: Vec<String>,
}

/// What removing left behind on purpose, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Things kept, and why.
    pub kept: Vec<String>,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What failed, in one sentence.
    pub summary: String,
    /// What came first: the resource whose failure started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The next thing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

impl Failure {
    /// A failure told by its summary alone.
    pub fn new(summary: impl Into<String>) -> Failure {
        Failure {
            summary: summary.into(),
            cause: None,
            way_out: None,
        }
    }

    /// Adds the next thing to do.
    #[must_use]
    pub fn way_out(mut self, way_out: impl Into<String>) -> Failure {
        self.way_out = Some(way_out.into());
        self
    }
}

/// The event a failure started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The resource's logical id, or the nearest thing to it.
    pub resource: String,
    /// Its type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its state then.
    pub state: String,
    /// What the world said.
    pub reason: String,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
}
