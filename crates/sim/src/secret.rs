//! Secrets that a simulated AWS Secrets Manager generates and keeps. There are no values, only names.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::provider::{
    Applied, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{SecretWork, Step, TAG_COMPONENT, TAG_PLATFORM, TAG_STEP, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::json;

use crate::authorization::Context;
use crate::random::Random;
use crate::trouble::Trouble;
use crate::world::{State, World};

/// Carries out `secret` steps in a simulated world.
pub struct SimSecrets {
    world: Arc<World>,
}

/// One secret that was made.
#[derive(Clone, Debug)]
pub(crate) struct SecretRecord {
    pub(crate) name: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) arn: String,
    made_at: u64,
    /// The intent that made it.
    token: String,
    /// When it goes for good, once it is deleted.
    gone_at: Option<u64>,
}

impl SecretRecord {
    pub(crate) fn is_deleted(&self) -> bool {
        self.gone_at.is_some()
    }

    pub(crate) fn is_gone(&self, now: u64) -> bool {
        self.gone_at.is_some_and(|gone_at| gone_at <= now)
    }

    fn outputs(&self) -> Outputs {
        let SecretRecord { arn, name, .. } = self;
        let reference = format!("{{{{resolve:secretsmanager:{arn}:SecretString}}}}");
        Outputs::from_iter([
            ("arn".to_owned(), arn.as_str().into()),
            ("name".to_owned(), name.as_str().into()),
            ("reference".to_owned(), reference.into()),
        ])
    }

    fn foreign(&self, platform: &str) -> Option<String> {
        (self.tags.get(TAG_PLATFORM).map(String::as_str) != Some(platform)).then(|| {
            format!(
                "the secret `{}` exists and does not carry this platform's tags; rename the component or remove the secret",
                self.name
            )
        })
    }

    fn observed(&self, step: &Step, work: &SecretWork) -> Observed {
        let state = if self.is_deleted() { "DELETED" } else { "KEPT" };
        let standing = match self.foreign(&step.facts.name) {
            Some(why) => Standing::Foreign { why },
            None if self.is_deleted() => Standing::Leftover {
                state: state.to_owned(),
                why: "scheduled for deletion; it is restored with the value it had".to_owned(),
            },
            None => Standing::Present {
                state: state.to_owned(),
            },
        };
        let ours = matches!(standing, Standing::Present { .. });
        Observed {
            standing,
            outputs: self.outputs(),
            fingerprint: format!("{state}@{}@{}", self.made_at, self.arn),
            owned: ours.then(|| owned(step.id.clone(), &self.name, work.spec.recovery_days)),
        }
    }
}

fn owned(step: StepId, name: &str, recovery_days: u32) -> Owned {
    let address = json!({ "name": name, "recoveryDays": recovery_days });
    Owned::new(step, StepKind::Secret, address)
}

fn name(owned: &Owned) -> &str {
    owned.address["name"].as_str().unwrap_or_default()
}

fn work(step: &Step) -> &SecretWork {
    match &step.work {
        Work::Secret(work) => work,
        other => unreachable!("secrets are only given secret steps, not {other:?}"),
    }
}

impl State {
    fn secret(&mut self, name: &str, now: u64) -> Option<&mut SecretRecord> {
        self.secrets
            .iter_mut()
            .rev()
            .find(|secret| secret.name == name && !secret.is_gone(now))
    }

    /// Refuses a call about a secret. One that does not stand has no ARN: it is judged by its name alone.
    fn allow_secret(&mut self, action: &str, name: &str, now: u64) -> Result<(), Trouble> {
        let arn = self.secret(name, now).map(|secret| secret.arn.clone());
        let about = arn.unwrap_or_else(|| name.to_owned());
        self.allow(&format!("secretsmanager:{action}"), &about, &Context::default())
    }

    /// Generates a secret, unless one of this name stands: that is never overwritten.
    fn make_secret(&mut self, step: &Step, name: &str, token: &str, now: u64) -> Result<(), Trouble> {
        if let Some(stands) = self.secret(name, now) {
            // An earlier try, whose answer was lost, made it.
            return if stands.token == token {
                Ok(())
            } else {
                Err(Trouble::Refused(format!(
                    "a secret named `{name}` already exists (ResourceExistsException)"
                )))
            };
        }
        let count = self.secrets.len().to_string();
        let suffix = Random::of(self.seed, &["secret", name, &count]).suffix(6);
        let arn = format!(
            "arn:aws:secretsmanager:{}:{}:secret:{name}-{suffix}",
            self.region, self.account
        );
        self.allow_any("secretsmanager:GetRandomPassword")?;
        for action in ["secretsmanager:CreateSecret", "secretsmanager:TagResource"] {
            self.allow(action, &arn, &Context::default())?;
        }
        self.secrets.push(SecretRecord {
            name: name.to_owned(),
            tags: step.tags(),
            arn,
            made_at: now,
            token: token.to_owned(),
            gone_at: None,
        });
        Ok(())
    }
}

impl SimSecrets {
    /// Secrets of this world's account.
    pub fn new(world: Arc<World>) -> SimSecrets {
        SimSecrets { world }
    }

    async fn describe(
        &self,
        name: &str,
        progress: Option<&Progress>,
    ) -> Result<Option<SecretRecord>, Trouble> {
        self.world
            .call(progress, |state, now| {
                state.allow_secret("DescribeSecret", name, now)?;
                Ok(state.secret(name, now).cloned())
            })
            .await
    }
}

#[async_trait]
impl Provider for SimSecrets {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let secret = self
            .describe(&work.name, None)
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the secret `{}`", work.name)))?;
        Ok(secret.map_or_else(Observed::absent, |secret| secret.observed(step, work)))
    }

    /// A secret that stands is never changed: its value was generated once and is kept.
    async fn preview(&self, _: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        Ok(Vec::new())
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        self.world
            .call(None, |state, _| {
                state.allow_any("secretsmanager:ListSecrets")?;
                let ours = state.secrets.iter().filter(|secret| {
                    !secret.is_deleted()
                        && secret.tags.get(TAG_PLATFORM).map(String::as_str) == Some(platform)
                });
                let owned = ours.filter_map(|secret| {
                    let step = StepId::new(secret.tags.get(TAG_COMPONENT)?, secret.tags.get(TAG_STEP)?);
                    // Nothing in the account says how many days were wanted.
                    Some(owned(step, &secret.name, 7))
                });
                Ok(owned.collect())
            })
            .await
            .map_err(|trouble| trouble.observing("could not list the account's secrets"))
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let name = name(owned);
        let secret = self
            .describe(name, None)
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the secret `{name}`")))?;
        Ok(secret.is_some_and(|secret| !secret.is_deleted()))
    }

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step);
        let name = work.name.as_str();
        let failing = |trouble: Trouble| trouble.failing(&format!("making the secret `{name}`"));
        let seen = self.describe(name, Some(progress)).await.map_err(failing)?;
        let outcome = match seen {
            None => {
                progress.say("generating the secret");
                self.world
                    .call(Some(progress), |state, now| {
                        state.make_secret(step, name, &intent.token, now)
                    })
                    .await
                    .map_err(failing)?;
                Outcome::Created
            }
            Some(secret) => {
                if let Some(why) = secret.foreign(&step.facts.name) {
                    return Err(Failure::new(why)
                        .way_out("do one of both, then run the command again: it goes on from here")
                        .into());
                }
                match (secret.is_deleted(), secret.token == intent.token) {
                    (true, _) => {
                        progress.say("restoring the secret");
                        self.world
                            .call(Some(progress), |state, now| {
                                state.allow_secret("RestoreSecret", name, now)?;
                                if let Some(secret) = state.secret(name, now) {
                                    secret.gone_at = None;
                                }
                                Ok(())
                            })
                            .await
                            .map_err(failing)?;
                        Outcome::Updated
                    }
                    // This very intent made it, before a crash.
                    (false, true) => Outcome::Created,
                    (false, false) => Outcome::Unchanged,
                }
            }
        };
        let secret = self.describe(name, Some(progress)).await.map_err(failing)?;
        let secret = secret.ok_or_else(|| {
            Failure::new(format!("the secret `{name}` was made but cannot be found")).way_out(
                "find out who deletes it (`aws cloudtrail lookup-events --lookup-attributes \
                 AttributeKey=EventName,AttributeValue=DeleteSecret`), then run the command again: it makes it anew",
            )
        })?;
        let Observed { outputs, owned, .. } = secret.observed(step, work);
        Ok(Applied {
            outcome,
            outputs,
            owned,
            notes: Vec::new(),
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        _intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let name = name(owned);
        let days = owned.address["recoveryDays"].as_u64().unwrap_or(7);
        // The service takes 7 to 30 days, or none at all.
        let days = if days == 0 { 0 } else { days.max(7) };
        self.world
            .call(Some(progress), |state, now| {
                state.allow_secret("DeleteSecret", name, now)?;
                if let Some(secret) = state.secret(name, now) {
                    secret.gone_at.get_or_insert(now + days * 24 * 60 * 60 * 1000);
                }
                Ok(())
            })
            .await
            .map_err(|trouble| trouble.failing(&format!("deleting the secret `{name}`")))?;
        let kept = if days == 0 {
            Vec::new()
        } else {
            vec![format!("the secret `{name}` can be restored for {days} days")]
        };
        Ok(Removed { kept })
    }

    async fn renew(&self) -> Result<(), String> {
        self.world.renewed()
    }
}
