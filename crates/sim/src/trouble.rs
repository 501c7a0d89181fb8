//! What can go wrong with a call, and whether waiting helps.

use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, ObserveError};

/// Why a call had no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// Too many calls.
    #[error("Rate exceeded (Throttling)")]
    Throttled,
    /// No answer came. What was asked for may have been done all the same.
    #[error("no answer came")]
    NoAnswer,
    /// The credentials have expired.
    #[error("The security token included in the request is expired")]
    Expired,
    /// The world says no.
    #[error("{0}")]
    Refused(String),
}

impl Trouble {
    pub(crate) fn passes_by_itself(&self) -> bool {
        matches!(self, Trouble::Throttled | Trouble::NoAnswer)
    }

    /// As the reason why a step failed while `doing` something.
    pub(crate) fn failing(self, doing: &str) -> ApplyError {
        match self {
            Trouble::Expired => ApplyError::CredentialsExpired(self.to_string()),
            other => Failure::new(format!("{doing}: {other}")).into(),
        }
    }

    /// As the reason why the world could not be looked at.
    pub(crate) fn observing(self, doing: &str) -> ObserveError {
        let way_out = match &self {
            Trouble::Expired => Some("renew the credentials and run the command again"),
            _ => None,
        };
        let mut error = ObserveError::new(doing, self);
        error.way_out = way_out.map(str::to_owned);
        error
    }
}
