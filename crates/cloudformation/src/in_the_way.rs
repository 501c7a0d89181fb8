//! What stands in the way of a stack, and what a person can do about it.

use landfall_model::provider::Failure;

/// What an apply cannot clear away: a teardown that was begun.
pub const FINISH_THE_TEARDOWN: &str = "a teardown of this stack was begun and did not end: finish it with `landfall destroy`, which \
     sweeps what stands in the way, then run `landfall apply` again";

/// Why a stack is not touched, and what a person can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTheWay {
    /// What stands there.
    pub what: String,
    /// The next thing to do.
    pub way_out: &'static str,
}

impl InTheWay {
    /// As the reason why a step failed.
    pub fn failure(self) -> Failure {
        Failure::new(self.what).way_out(self.way_out)
    }

    /// In one line.
    pub fn said(self) -> String {
        format!("{}; {}", self.what, self.way_out)
    }
}
