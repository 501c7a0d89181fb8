//! Checks: assertions about the world as a user meets it, looked at again until they hold or the
//! time is up.
//!
//! And requests: things that a web API keeps, brought to what a definition says ([`Requests`]).
//!
//! A check changes nothing and owns nothing. It does not decide what a failed check means for the
//! rest of the run; that is the engine's.

mod certificate;
mod connection;
mod dns;
mod html;
mod http;
mod iam_role;
mod identity;
mod logs;
mod oidc;
mod prometheus;
mod reach;
mod request;
mod sign_in;
mod tls;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::definition::{Assertion, CheckSpec};
use landfall_model::provider::{Applied, Cause, Change, Failure, Observed, Outcome, Outputs, Owned, Removed};
use landfall_model::work::{Known, Step, Work};
use landfall_runner::{
    ApplyError, Clock, Intent, LogReader, ObserveError, Probe, Progress, Provider, Roles, SecretReader,
    WhoAmI,
};

use crate::reach::Reach;
pub use crate::request::{Answer, Http, Request, Requests, Transport, Unreached};
use crate::tls::Trust;

/// Carries out `check` steps.
pub struct Checks {
    who: Arc<dyn WhoAmI>,
    roles: Option<Arc<dyn Roles>>,
    secrets: Option<Arc<dyn SecretReader>>,
    logs: Option<Arc<dyn LogReader>>,
    probe: Option<Arc<dyn Probe>>,
    reach: Reach,
    trust: Trust,
    clock: Arc<dyn Clock>,
}

impl Checks {
    /// Checks that ask `who` whose credentials are in use, and wait by `clock`.
    pub fn new(who: Arc<dyn WhoAmI>, clock: Arc<dyn Clock>) -> Checks {
        Checks {
            who,
            roles: None,
            secrets: None,
            logs: None,
            probe: None,
            reach: Reach::default(),
            trust: Trust::default(),
            clock,
        }
    }

    /// Lets checks that sign in read passwords by `secrets`.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn SecretReader>) -> Checks {
        self.secrets = Some(secrets);
        self
    }

    /// Lets checks of logs ask `logs`.
    #[must_use]
    pub fn with_logs(mut self, logs: Arc<dyn LogReader>) -> Checks {
        self.logs = Some(logs);
        self
    }

    /// Lets checks of connections try them by `probe`.
    #[must_use]
    pub fn with_probe(mut self, probe: Arc<dyn Probe>) -> Checks {
        self.probe = Some(probe);
        self
    }

    /// Lets checks of roles ask `roles`.
    #[must_use]
    pub fn with_roles(mut self, roles: Arc<dyn Roles>) -> Checks {
        self.roles = Some(roles);
        self
    }

    /// Asks what AWS answers in an account's name at `url`, as `AWS_ENDPOINT_URL` says for all of AWS. An address
    /// that cannot be read is left to those who use it for more.
    #[must_use]
    pub fn with_endpoint(mut self, url: Option<&str>) -> Checks {
        self.reach.endpoint = url.and_then(|url| url.parse().ok());
        self
    }

    async fn until_it_holds(
        &self,
        check: &Check<'_>,
        within: &str,
        step: &Step,
        progress: &Progress,
    ) -> Result<Held, ApplyError> {
        let allowed =
            landfall_model::definition::duration(within).ok_or_else(|| not_a_time("within", within))?;
        let began = self.clock.millis();
        for attempt in 0.. {
            let left = allowed.saturating_sub(self.since(began));
            let seen = match check.look(left).await {
                Ok(held) => return Ok(held),
                Err(Miss::Never(error)) => return Err(error),
                Err(Miss::NotYet(seen)) => seen,
            };
            let spent = self.since(began);
            if spent >= allowed {
                return Err(self.too_late(check, within, *seen).into());
            }
            progress.say(format!("{}, {} of {within}", seen.what, wait::short(spent)));
            // The last look falls on the deadline itself, so that no time allowed is wasted.
            let pause = wait::pause(attempt, step.id.as_str()).min(allowed.saturating_sub(spent));
            self.clock.sleep(pause).await;
        }
        unreachable!("attempts are counted without an end")
    }

    fn since(&self, began: u64) -> Duration {
        Duration::from_millis(self.clock.millis().saturating_sub(began))
    }

    fn too_late(&self, check: &Check<'_>, within: &str, seen: Seen) -> Failure {
        Failure {
            summary: format!("{} did not hold within {within}", check.subject()),
            cause: Some(Cause {
                resource: seen.resource,
                kind: seen.kind,
                state: seen.state,
                reason: seen.what,
                at: self.clock.now(),
            }),
            way_out: Some(seen.way_out),
        }
    }
}

/// The one assertion of a `check` step, and whom it asks.
struct Check<'a> {
    assertion: Assertion<'a>,
    checks: &'a Checks,
    /// What is made for this check is called so.
    name: String,
}

impl<'a> Check<'a> {
    fn of(spec: &'a CheckSpec, checks: &'a Checks, step: &Step) -> Result<Check<'a>, ApplyError> {
        let Some(assertion) = spec.assertion() else {
            return Err(Failure::new(
                "the check does not say what to look at, or says several things at once",
            )
            .way_out(format!("give it exactly one of {}", CheckSpec::kinds()))
            .into());
        };
        Ok(Check {
            assertion,
            checks,
            // Names of components may have capitals, those of pods may not.
            name: format!("landfall-{}-{}", step.id.component(), step.id.step()).to_lowercase(),
        })
    }

    /// Looks once, taking no longer than a look may and `left` allows.
    async fn look(&self, left: Duration) -> Result<Held, Miss> {
        let Checks {
            who,
            roles,
            secrets,
            logs,
            probe,
            reach,
            trust,
            clock,
        } = self.checks;
        match self.assertion {
            Assertion::Identity(check) => identity::look(check, who.as_ref()).await,
            Assertion::Dns(check) => dns::look(check, left).await,
            Assertion::Http(check) => http::look(check, reach, left).await,
            Assertion::Oidc(check) => oidc::look(check, reach, left).await,
            Assertion::IamRole(check) => iam_role::look(check, roles.as_deref()).await,
            Assertion::Tls(check) => tls::look(check, trust, wait::seconds(&clock.now()), left).await,
            Assertion::Prometheus(check) => prometheus::look(check, reach, left).await,
            Assertion::Logs(check) => logs::look(check, logs.as_deref()).await,
            Assertion::Connection(check) => connection::look(check, probe.as_deref(), &self.name, left).await,
            Assertion::SignIn(check) => sign_in::look(check, secrets.as_deref(), left).await,
        }
    }

    fn subject(&self) -> String {
        match self.assertion {
            Assertion::Identity(check) => format!("the identity check for account {}", check.account),
            Assertion::Dns(check) => format!("the DNS check of {}", check.name),
            Assertion::Http(check) => format!("the HTTP check of {}", http::shown(&check.url)),
            Assertion::Oidc(check) => format!("the sign-in check of {}", http::shown(&check.issuer)),
            Assertion::IamRole(check) => format!("the check for a role like `{}`", check.name),
            Assertion::Tls(check) => format!("the certificate check of {}:{}", check.host, check.port),
            Assertion::Prometheus(check) => format!("the check of `{}`", check.query),
            Assertion::Logs(check) => format!("the check of the log {}", check.log_group),
            Assertion::Connection(check) => {
                format!(
                    "the check of the connection from {} to {}",
                    check.from.namespace, check.to
                )
            }
            Assertion::SignIn(check) => format!("the check of signing in at {}", http::shown(&check.start)),
        }
    }
}

/// What a check that holds gives.
#[derive(Debug, PartialEq)]
struct Held {
    outputs: Outputs,
    notes: Vec<String>,
}

/// Why a check does not hold.
#[derive(Debug)]
enum Miss {
    /// It may hold later.
    NotYet(Box<Seen>),
    /// Waiting will not help, or is not ours to do.
    Never(ApplyError),
}

impl From<Seen> for Miss {
    fn from(seen: Seen) -> Miss {
        Miss::NotYet(Box::new(seen))
    }
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Miss {
        Miss::Never(failure.into())
    }
}

/// What was seen instead of what should be.
#[derive(Debug)]
struct Seen {
    /// In a sentence without its full stop, to be followed by how long that has been so.
    what: String,
    resource: String,
    kind: String,
    state: String,
    way_out: String,
}

fn not_a_time(field: &str, text: &str) -> Failure {
    Failure::new(format!("`{field}` of the check is `{text}`, which is no time"))
        .way_out("write a number and a unit, such as `30s`, `5m` or `1h`")
}

#[async_trait]
impl Provider for Checks {
    /// Nothing: a check leaves nothing that could stand, and is looked at in every run.
    async fn observe(&self, _: &Step) -> Result<Observed, ObserveError> {
        Ok(Observed::absent())
    }

    async fn preview(&self, _: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        Ok(Vec::new())
    }

    async fn owned(&self, _: &str) -> Result<Vec<Owned>, ObserveError> {
        Ok(Vec::new())
    }

    async fn stands(&self, _: &Owned) -> Result<bool, ObserveError> {
        Ok(false)
    }

    async fn apply(&self, step: &Step, _: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let Work::Check(Known::Value(spec)) = &step.work else {
            return Err(ApplyError::failed(format!(
                "`{}` is not a check whose values are known",
                step.id
            )));
        };
        let check = Check::of(spec, self, step)?;
        let Held { outputs, notes } = self.until_it_holds(&check, &spec.within, step, progress).await?;
        Ok(Applied {
            outcome: Outcome::Passed,
            outputs,
            owned: None,
            notes,
        })
    }

    async fn remove(&self, _: &Owned, _: &Intent, _: &Progress) -> Result<Removed, ApplyError> {
        Ok(Removed::default())
    }
}

#[cfg(test)]
mod look_tests;
#[cfg(test)]
mod sign_in_tests;
#[cfg(test)]
mod tests;
