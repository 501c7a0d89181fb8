//! Why a cluster did not do what it was asked, and whether waiting helps.

use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, ObserveError};
use serde_json::Value;

use crate::clusters::Unreachable;

/// Why a request had no good answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Trouble {
    /// Too many requests.
    #[error("the cluster has been asked too often")]
    Throttled,
    /// No answer came, or not from the API server itself. What was asked for may have been done all the same.
    #[error("no answer came ({0})")]
    NoAnswer(String),
    /// The credentials have expired, or were never good.
    #[error("{0}")]
    Expired(String),
    /// The cluster is not there any more.
    #[error("the cluster {0} is gone")]
    Gone(String),
    /// It could not be found out where the cluster is.
    #[error("{0}")]
    Unreachable(String),
    /// The API server says no.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
}

/// What the API server says when it refuses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    /// In one word, such as `Invalid`.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) causes: Vec<RefusalCause>,
}

/// One of several reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefusalCause {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Refusal {
    /// What is no answer of the server, but known without asking it.
    pub(crate) fn known(reason: &str, message: impl Into<String>) -> Refusal {
        Refusal {
            reason: reason.to_owned(),
            message: message.into(),
            ..Refusal::default()
        }
    }

    /// Reads a `Status`, or whatever stands in its place. Of a secret, no value is repeated.
    pub(crate) fn read(code: u16, text: &str, secret: bool) -> Refusal {
        let status: Value = serde_json::from_str(text).unwrap_or_default();
        let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let clean = |message: String| {
            let places = ["Invalid value: ", "got &value."];
            let cut = places
                .iter()
                .find_map(|words| Some(message.find(words)? + words.len()));
            match cut {
                Some(cut) if secret => format!("{}(not shown)", &message[..cut]),
                _ => message,
            }
        };
        if status["kind"] != "Status" {
            let first = text.trim().lines().next().unwrap_or_default();
            return Refusal {
                code,
                message: match first {
                    "" => format!("HTTP {code}"),
                    first => first.chars().take(300).collect(),
                },
                ..Refusal::default()
            };
        }
        let causes = status["details"]["causes"].as_array().into_iter().flatten();
        Refusal {
            code,
            reason: said(&status["reason"]),
            message: clean(said(&status["message"])),
            causes: causes
                .map(|cause| RefusalCause {
                    reason: said(&cause["reason"]),
                    message: clean(said(&cause["message"])),
                    field: said(&cause["field"]),
                })
                .collect(),
        }
    }

    /// Whether it is a matter of who manages which field.
    pub(crate) fn is_field_conflict(&self) -> bool {
        self.code == 409
            && self
                .causes
                .iter()
                .any(|cause| cause.reason == "FieldManagerConflict")
    }

    /// Whether something may not change that was asked to.
    pub(crate) fn is_immutable(&self) -> bool {
        const WORDS: [&str; 4] = [
            "immutable",
            "Forbidden: updates to ",
            "may not change once set",
            "cannot change roleRef",
        ];
        let says = |message: &str| WORDS.iter().any(|words| message.contains(words));
        self.code == 422 && (says(&self.message) || self.causes.iter().any(|cause| says(&cause.message)))
    }

    /// Whether it may be taken later, as it is.
    pub(crate) fn passes(&self) -> bool {
        let said = |words: &str| self.message.contains(words);
        match self.code {
            409 => true,
            403 => said("being terminated"),
            404 => self.is_unknown_kind(),
            500.. => true,
            _ => matches!(self.reason.as_str(), NO_KIND | DELETING) || said("failed calling webhook"),
        }
    }

    /// Whether the server does not know the kind, not the object.
    pub(crate) fn is_unknown_kind(&self) -> bool {
        self.reason == NO_KIND
            || self.code == 404
                && (self.message.contains("could not find the requested resource")
                    || self.message.contains("page not found"))
    }
}

/// Nothing in the cluster defines the kind.
pub(crate) const NO_KIND: &str = "NoKind";
/// Something of the name is still being deleted.
pub(crate) const DELETING: &str = "Deleting";
/// It belongs to somebody else.
pub(crate) const FOREIGN: &str = "Foreign";

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        Trouble::Refused(Box::new(refusal))
    }
}

impl From<Unreachable> for Trouble {
    fn from(why: Unreachable) -> Trouble {
        match why {
            Unreachable {
                message,
                expired: true,
                ..
            } => Trouble::Expired(message),
            Unreachable {
                message,
                passes: true,
                ..
            } => Trouble::NoAnswer(message),
            Unreachable { message, .. } => Trouble::Unreachable(message),
        }
    }
}

impl Trouble {
    pub(crate) fn passes_by_itself(&self) -> bool {
        matches!(self, Trouble::Throttled | Trouble::NoAnswer(_))
    }

    /// As the reason why a step failed while `doing` something.
    pub(crate) fn failing(self, doing: &str) -> ApplyError {
        match self {
            Trouble::Expired(why) => ApplyError::CredentialsExpired(why),
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
            expired: matches!(self, Trouble::Expired(_)),
            ..ObserveError::new(doing, self)
        }
    }

    /// The next thing to do.
    fn way_out(&self) -> String {
        let text = match self {
            Trouble::Throttled => {
                "the API server has turned requests away all the time: look what else asks so much of it (`kubectl get --raw /metrics | \
                 grep apiserver_flowcontrol_rejected`), then run the command again; it goes on from here"
            }
            Trouble::NoAnswer(_) => {
                "check the network between here and the cluster's endpoint, whether that endpoint is open to this address (`aws eks \
                 describe-cluster` shows endpointPublicAccess and publicAccessCidrs), and whether `kubectl version` answers; then run \
                 the command again: it goes on from here"
            }
            Trouble::Expired(_) => "renew the credentials and run the command again",
            Trouble::Gone(_) => {
                "look whether the cluster stands (`aws eks list-clusters`); run the command again: it plans anew from what is there"
            }
            Trouble::Refused(refusal) if refusal.message.contains("conversion webhook") => {
                "objects of this kind are read through a webhook of its definition, and nothing answers there: look why its pods do \
                 not run; when that software is gone for good, delete the CustomResourceDefinition (`kubectl get crd` lists them), \
                 and its objects with it; then run the command again: it goes on from here"
            }
            Trouble::Refused(refusal) if refusal.message.contains("failed calling webhook") => {
                "a webhook has to be asked, and nothing answers there: look why its pods do not run; when that software is gone for \
                 good, remove its ValidatingWebhookConfiguration or MutatingWebhookConfiguration; then run the command again: it goes \
                 on from here"
            }
            Trouble::Refused(refusal) if refusal.code == 403 => {
                "the identity in use may not do this in the cluster: give it an EKS access entry with the policy \
                 AmazonEKSClusterAdminPolicy (`aws eks list-access-entries` shows who has one), then run the command again: it goes on \
                 from here"
            }
            Trouble::Unreachable(_) | Trouble::Refused(_) => {
                "mend what it says, then run the command again: it goes on from here"
            }
        };
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Refusal, Trouble};

    #[test]
    fn what_a_dead_webhook_holds_up_has_a_way_out() {
        let way_out = |message: &str| {
            let status = json!({ "kind": "Status", "message": message });
            Trouble::from(Refusal::read(500, &status.to_string(), false)).way_out()
        };
        let reading = way_out(
            "conversion webhook for karpenter.sh/v1beta1, Kind=NodePool failed: Post \"https://karpenter.kube-system.svc\": no \
             endpoints available for service \"karpenter\"",
        );
        assert!(
            reading.contains("delete the CustomResourceDefinition"),
            "{reading}"
        );
        let changing = way_out(
            "Internal error occurred: failed calling webhook \"vscaledobject.kb.io\": failed to call webhook",
        );
        assert!(
            changing.contains("remove its ValidatingWebhookConfiguration"),
            "{changing}"
        );
    }

    #[test]
    fn no_error_repeats_a_secret() {
        let messages = [
            "failed to create typed patch object (shop/login; /v1, Kind=Secret): .stringData.password: expected string, got \
             &value.valueUnstructured{Value:4711}",
            "Secret \"login\" is invalid: data[password]: Invalid value: \"4711\": too short",
        ];
        for message in messages {
            let status = json!({
                "kind": "Status", "message": message, "details": { "causes": [{ "message": message, "field": "data" }] },
            });
            let refusal = Refusal::read(422, &status.to_string(), true);
            assert!(refusal.message.ends_with("(not shown)"), "{}", refusal.message);
            assert!(!format!("{refusal:?}").contains("4711"));
            assert_eq!(Refusal::read(422, &status.to_string(), false).message, message);
        }
    }
}
