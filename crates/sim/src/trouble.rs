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
            other => {
                let way_out = other.way_out();
                Failure::new(format!("{doing}: {other}")).way_out(way_out).into()
            }
        }
    }

    /// As the reason why the world could not be looked at.
    pub(crate) fn observing(self, doing: &str) -> ObserveError {
        ObserveError {
            way_out: Some(self.way_out()),
            expired: self == Trouble::Expired,
            ..ObserveError::new(doing, self)
        }
    }

    /// The next thing to do.
    fn way_out(&self) -> String {
        let text = match self {
            Trouble::Throttled => {
                "AWS has been asked too often for a quarter of an hour, perhaps by somebody else in this account (CloudTrail shows \
                 who): run the command again once that is over; it goes on from here"
            }
            Trouble::NoAnswer => {
                "nothing has been answered for a quarter of an hour: check the network, and whether AWS reports trouble \
                 (health.aws.amazon.com), then run the command again; it goes on from here"
            }
            Trouble::Expired => "renew the credentials and run the command again",
            Trouble::Refused(reason) => {
                let known = landfall_cloudformation::way_out("", reason);
                return known.unwrap_or_else(|| {
                    "mend what it says, then run the command again: it goes on from here".to_owned()
                });
            }
        };
        text.to_owned()
    }
}
