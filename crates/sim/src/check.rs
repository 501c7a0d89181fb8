//! Checks in a simulated world.
//!
//! Credentials are judged as real ones are. Connections are tried by the real provider, from pods of the simulated
//! clusters. A name answers when a record leads to it and something in a cluster stands behind it. Of names that
//! nothing in this world speaks of there is nothing to look at: such checks pass, and say that nothing was looked at.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_kube::PodProbe;
use landfall_model::definition::{
    Assertion, CheckSpec, DnsCheck, HttpCheck, IamRoleCheck, IdentityCheck, OidcCheck, RecordType,
};
use landfall_model::provider::{Applied, Cause, Change, Failure, Observed, Outcome, Outputs, Owned, Removed};
use landfall_model::work::{Known, Step, Work};
use landfall_runner::{ApplyError, Identity, Intent, ObserveError, Progress, Provider, WhoAmI};
use landfall_web::Checks;
use serde_json::json;

use crate::account::SimAccount;
use crate::kubernetes::SimClusters;
use crate::world::World;

/// Carries out `check` steps in a simulated world.
pub struct SimChecks {
    who: SimAccount,
    world: Arc<World>,
    /// The real provider, for what it looks at in clusters.
    real: Checks,
}

/// How long a name or an address is pretended to be waited for.
const LOOK: Duration = Duration::from_secs(2);
/// How long until one looks again.
const AGAIN: Duration = Duration::from_secs(5);

impl SimChecks {
    /// Checks of this world.
    pub fn new(world: Arc<World>) -> SimChecks {
        let clusters = Arc::new(SimClusters::new(world.clone()));
        let clock = world.clock().clone();
        let probe = PodProbe::new(clusters, world.region(), clock.clone());
        let who = Arc::new(SimAccount::new(world.clone()));
        SimChecks {
            who: SimAccount::new(world.clone()),
            real: Checks::new(who, clock).with_probe(Arc::new(probe)),
            world,
        }
    }

    /// Waits until something answers under a name. Gives whether there was anything to look at.
    async fn answered(
        &self,
        (host, resolves): (&str, bool),
        within: &str,
        progress: &Progress,
    ) -> Result<bool, ApplyError> {
        let allowed = landfall_model::definition::duration(within).unwrap_or_default();
        let began = self.world.clock().millis();
        loop {
            self.world.sleep(LOOK).await;
            let why = match self.world.at().0.answers(host, resolves) {
                Ok(looked) => return Ok(looked),
                Err(why) => why,
            };
            let spent = Duration::from_millis(self.world.clock().millis().saturating_sub(began));
            if spent >= allowed {
                return Err(Failure {
                    cause: Some(Cause {
                        resource: host.to_owned(),
                        kind: "name".to_owned(),
                        state: "no answer".to_owned(),
                        reason: why,
                        at: self.world.text(self.world.now()),
                    }),
                    ..Failure::new(format!("nothing answered at {host} within {within}"))
                }
                .way_out("look at what is to answer there, then run the command again")
                .into());
            }
            progress.say(why);
            self.world.sleep(AGAIN.min(allowed.saturating_sub(spent))).await;
        }
    }

    async fn identity(&self, check: &IdentityCheck) -> Result<Applied, ApplyError> {
        let identity = self.who.who_am_i().await?;
        let IdentityCheck {
            account,
            minimum_lifetime,
            // Simulated credentials always are.
            temporary: _,
        } = check;
        if identity.account != *account {
            let summary = format!(
                "the credentials belong to account {}, not to {account}: they are {}",
                identity.account, identity.arn
            );
            let reason = format!("sts:GetCallerIdentity says account {}", identity.account);
            return Err(Failure {
                cause: Some(self.cause(&identity, "OTHER_ACCOUNT", reason)),
                ..Failure::new(summary)
            }
            .way_out(format!(
                "sign in to account {account} (`aws sso login`, or set AWS_PROFILE), or mend `account` of the check; then run the \
                 command again"
            ))
            .into());
        }
        let least = match minimum_lifetime {
            Some(text) => landfall_model::definition::duration(text).ok_or_else(|| {
                Failure::new(format!(
                    "`minimumLifetime` of the check is `{text}`, which is no time"
                ))
                .way_out("write it as `30s`, `45m` or `1h`")
            })?,
            None => Duration::ZERO,
        };
        let lasts = identity.lasts.unwrap_or(Duration::MAX);
        if lasts < least {
            let summary = format!(
                "the credentials of {} last {} s, but at least {} s are needed",
                identity.arn,
                lasts.as_secs(),
                least.as_secs()
            );
            let reason = format!("they expire in {} s", lasts.as_secs());
            return Err(Failure {
                cause: Some(self.cause(&identity, "EXPIRING", reason)),
                ..Failure::new(summary)
            }
            .way_out(
                "sign in again (`aws sso login`) and run the command again; when new credentials are as short, raise the session's \
                 maximum duration in IAM or IAM Identity Center",
            )
            .into());
        }
        let note = format!("simulated: {} in account {account}", identity.arn);
        Ok(passed(
            [("account", account.as_str().into()), ("arn", identity.arn.into())],
            note,
        ))
    }

    fn cause(&self, identity: &Identity, state: &str, reason: String) -> Cause {
        Cause {
            resource: identity.arn.clone(),
            kind: "credentials".to_owned(),
            state: state.to_owned(),
            reason,
            at: self.world.text(self.world.now()),
        }
    }

    async fn dns(&self, check: &DnsCheck, within: &str, progress: &Progress) -> Result<Applied, ApplyError> {
        let leads = matches!(check.kind, RecordType::A | RecordType::Aaaa | RecordType::Cname);
        let looked = if leads {
            self.answered((&check.name, true), within, progress).await?
        } else {
            self.world.sleep(LOOK).await;
            false
        };
        // An address from the block set aside for documentation (source: RFC 5737).
        let answer = check.contains.as_deref().unwrap_or("192.0.2.1");
        let note = format!(
            "simulated: {} {}",
            check.name,
            if looked {
                "leads somewhere"
            } else {
                "was not looked up"
            }
        );
        Ok(passed([("answers", json!([answer]))], note))
    }

    async fn http(
        &self,
        check: &HttpCheck,
        within: &str,
        progress: &Progress,
    ) -> Result<Applied, ApplyError> {
        let looked = self.answered((host(&check.url), false), within, progress).await?;
        let note = format!("simulated: {} {}", check.url, said(looked));
        Ok(passed([("status", check.status.into())], note))
    }

    async fn oidc(&self, check: &OidcCheck) -> Applied {
        self.world.sleep(LOOK).await;
        let issuer = check.issuer.trim_end_matches('/');
        passed(
            [
                ("issuer", json!(issuer)),
                (
                    "authorizationEndpoint",
                    json!(format!("{issuer}/oauth2/authorize")),
                ),
                ("tokenEndpoint", json!(format!("{issuer}/oauth2/token"))),
                ("userinfoEndpoint", json!(format!("{issuer}/oauth2/userInfo"))),
                ("jwksUri", json!(format!("{issuer}/.well-known/jwks.json"))),
            ],
            format!("simulated: {issuer} was not asked"),
        )
    }

    /// What nothing in this world could show: it passes, and says so.
    async fn unseen<const N: usize>(&self, outputs: [(&str, serde_json::Value); N], note: String) -> Applied {
        self.world.sleep(LOOK).await;
        passed(outputs, note)
    }

    async fn iam_role(&self, check: &IamRoleCheck) -> Result<Applied, ApplyError> {
        self.world
            .call(None, |state, _| state.allow_any("iam:ListRoles"))
            .await
            .map_err(|trouble| trouble.failing(&format!("listing the roles below {}", check.path_prefix)))?;
        let account = self.world.account();
        let name = format!("{}0123456789abcdef", plain(&check.name));
        let arn = format!("arn:aws:iam::{account}:role{}{name}", check.path_prefix);
        Ok(passed(
            [("arn", json!(arn)), ("name", json!(name))],
            format!("simulated: roles below {} were not looked at", check.path_prefix),
        ))
    }
}

/// The host of an address.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}

/// What is said of something, by whether there was anything to look at.
fn said(looked: bool) -> &'static str {
    if looked { "answers" } else { "was not asked" }
}

/// The beginning of a regular expression as a name it fits, as far as that is plain.
fn plain(form: &str) -> String {
    form.chars()
        .skip_while(|letter| *letter == '^')
        .take_while(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
        .collect()
}

fn passed<const N: usize>(outputs: [(&str, serde_json::Value); N], note: String) -> Applied {
    Applied {
        outcome: Outcome::Passed,
        outputs: outputs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Outputs>(),
        owned: None,
        notes: vec![note],
    }
}

#[async_trait]
impl Provider for SimChecks {
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

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let Work::Check(Known::Value(spec)) = &step.work else {
            return Err(
                Failure::new(format!("`{}` is not a check whose values are known", step.id))
                    .way_out(
                        "let the step that gives the value be done before this one: take it from its outputs",
                    )
                    .into(),
            );
        };
        match spec.assertion() {
            Some(Assertion::Identity(check)) => self.identity(check).await,
            Some(Assertion::Dns(check)) => self.dns(check, &spec.within, progress).await,
            Some(Assertion::Http(check)) => self.http(check, &spec.within, progress).await,
            Some(Assertion::Oidc(check)) => Ok(self.oidc(check).await),
            Some(Assertion::IamRole(check)) => self.iam_role(check).await,
            Some(Assertion::Tls(check)) => {
                let looked = self
                    .answered((&check.host, false), &spec.within, progress)
                    .await?;
                let note = format!(
                    "simulated: the certificate of {} {}",
                    check.host,
                    if looked {
                        "is taken to be good"
                    } else {
                        "was not looked at"
                    }
                );
                let outputs = [
                    ("expires", json!("2099-12-31")),
                    ("issuer", json!("a simulated authority")),
                ];
                Ok(passed(outputs, note))
            }
            Some(Assertion::Prometheus(check)) => {
                let note = format!("simulated: {} was not asked", check.url);
                Ok(self.unseen([("value", json!(check.at_least))], note).await)
            }
            Some(Assertion::Logs(check)) => {
                let note = format!("simulated: the log {} was not read", check.log_group);
                Ok(self.unseen([("stream", json!("simulated"))], note).await)
            }
            Some(Assertion::Connection(_)) => self.real.apply(step, intent, progress).await,
            Some(Assertion::SignIn(check)) => {
                let note = format!("simulated: nobody signed in at {}", check.start);
                Ok(self.unseen([("provider", json!(check.start))], note).await)
            }
            None => Err(Failure::new(
                "the check does not say what to look at, or says several things at once",
            )
            .way_out(format!("give it exactly one of {}", CheckSpec::kinds()))
            .into()),
        }
    }

    async fn remove(&self, _: &Owned, _: &Intent, _: &Progress) -> Result<Removed, ApplyError> {
        Ok(Removed::default())
    }

    async fn renew(&self) -> Result<(), String> {
        self.world.renewed()
    }
}
