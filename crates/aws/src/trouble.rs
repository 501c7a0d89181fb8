//! What can go wrong with a call to AWS, and whether waiting helps.

use std::time::Duration;

use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, ObserveError, Progress};

/// Why a call to AWS had no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The credentials have expired.
    #[error("{0}")]
    Expired(String),
    /// Too many calls; or AWS has trouble of its own.
    #[error("{0}")]
    Throttled(String),
    /// No answer came.
    #[error("{0}")]
    Unreachable(String),
    /// The credentials may not do this.
    #[error("{0}")]
    Denied(String),
    /// Anything else, with AWS's code and words.
    #[error("{message} ({code})")]
    Other {
        /// AWS's error code.
        code: String,
        /// AWS's words.
        message: String,
    },
}

impl Trouble {
    /// Sorts an error by AWS's code (source: the "Common Errors" page of each service's API reference).
    pub(crate) fn of(code: &str, message: &str) -> Trouble {
        let message = if message.is_empty() { code } else { message }.to_owned();
        match code {
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => {
                Trouble::Expired(message)
            }
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "SlowDown"
            | "PriorRequestNotComplete"
            | "ServiceUnavailable"
            | "InternalFailure"
            | "InternalError"
            | "InternalServiceError"
            | "ServiceUnavailableException" => Trouble::Throttled(message),
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AuthorizationError" => {
                Trouble::Denied(message)
            }
            "NoSuchEntity"
            | "NoSuchBucket"
            | "NoSuchKey"
            | "ResourceNotFoundException"
            | "ChangeSetNotFound"
            | "ChangeSetNotFoundException"
            | "StackSetNotFound"
            | "StackSetNotFoundException"
            | "StackInstanceNotFoundException"
            | "OperationNotFound"
            | "OperationNotFoundException" => Trouble::NotFound(message),
            // CloudFormation says "does not exist" of a stack as a validation error.
            "ValidationError" if message.contains("does not exist") => Trouble::NotFound(message),
            _ => Trouble::Other {
                code: code.to_owned(),
                message,
            },
        }
    }

    /// The error code, for the few that callers tell apart.
    pub(crate) fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Trouble::Other { code, .. } if code == wanted || code == &format!("{wanted}Exception"))
    }

    pub(crate) fn says(&self, part: &str) -> bool {
        self.to_string().contains(part)
    }

    pub(crate) fn passes_by_itself(&self) -> bool {
        matches!(self, Trouble::Throttled(_) | Trouble::Unreachable(_))
    }

    /// As the reason why a step failed while `doing` something.
    pub(crate) fn failing(self, doing: &str) -> ApplyError {
        match self {
            Trouble::Expired(message) => ApplyError::CredentialsExpired(message),
            Trouble::Denied(message) => Failure::new(format!(
                "{doing}: the credentials are not allowed to: {message}"
            ))
            .way_out("give the role the permission that the message names, then run `landfall apply` again")
            .into(),
            other => ApplyError::failed(format!("{doing}: {other}")),
        }
    }

    /// As the reason why the world could not be looked at.
    pub(crate) fn observing(self, doing: &str) -> ObserveError {
        let way_out = match &self {
            Trouble::Expired(_) => {
                Some("renew the credentials (for example `aws sso login`) and run the command again")
            }
            Trouble::Denied(_) => Some("give the role the permission that the message names"),
            Trouble::Unreachable(_) => Some("check the network, the region and AWS_ENDPOINT_URL"),
            _ => None,
        };
        let expired = matches!(self, Trouble::Expired(_));
        ObserveError {
            way_out: way_out.map(str::to_owned),
            expired,
            ..ObserveError::new(doing, self)
        }
    }
}

impl<E> From<SdkError<E>> for Trouble
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Trouble {
        match &error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                match service.err().code() {
                    Some(code) => Trouble::of(code, service.err().message().unwrap_or_default()),
                    None if status >= 500 || status == 429 => Trouble::Throttled(format!("HTTP {status}")),
                    None => Trouble::Other {
                        code: format!("HTTP {status}"),
                        message: chain(&error),
                    },
                }
            }
            _ => {
                let text = chain(&error);
                if is_expiry(&text) {
                    Trouble::Expired(text)
                } else if text.contains("no credentials found") {
                    // Waiting brings none; the chain's whole history helps nobody either.
                    Trouble::Denied(
                        "none were found in the environment, a profile, or this machine's role".to_owned(),
                    )
                } else {
                    Trouble::Unreachable(text)
                }
            }
        }
    }
}

/// Credentials are fetched while a call is sent, so their expiry shows up as a failed dispatch.
fn is_expiry(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("expired")
        && ["token", "credential", "session"]
            .iter()
            .any(|word| text.contains(word))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Growing waits with jitter, so that many steps do not ask in step.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    next: Duration,
    most: Duration,
}

impl Pace {
    pub(crate) fn new(first: Duration, most: Duration) -> Pace {
        Pace { next: first, most }
    }

    pub(crate) async fn wait(&mut self) {
        let jitter = 0.8 + 0.4 * fastrand::f64();
        tokio::time::sleep(self.next.mul_f64(jitter)).await;
        self.next = self.next.mul_f64(1.5).min(self.most);
    }
}

/// How long throttling and lost connections are waited out before a step fails for them.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Makes a call again and again while only waiting is needed.
pub(crate) async fn patiently<T, F>(
    progress: Option<&Progress>,
    mut call: impl FnMut() -> F,
) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let began = tokio::time::Instant::now();
    let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(20));
    loop {
        match call().await {
            Err(trouble) if trouble.passes_by_itself() && began.elapsed() < PATIENCE => {
                // A look at the world should not hang for minutes on a wrong address.
                let Some(progress) = progress else {
                    if matches!(trouble, Trouble::Unreachable(_)) && began.elapsed() > Duration::from_secs(20)
                    {
                        return Err(trouble);
                    }
                    pace.wait().await;
                    continue;
                };
                progress.say(match &trouble {
                    Trouble::Throttled(_) => "AWS asks for patience (throttled); trying again".to_owned(),
                    _ => "no answer from AWS; trying again".to_owned(),
                });
                pace.wait().await;
            }
            result => return result,
        }
    }
}
