//! Secrets that AWS Secrets Manager generates and keeps.
//!
//! The value passes through this process once, from the call that generates it to the call that
//! stores it, and is written nowhere: steps that need it get a dynamic reference.

use std::sync::Arc;

use async_trait::async_trait;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::Digest;
use landfall_model::provider::{
    Applied, Change, Failure, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{SecretWork, Step, TAG_COMPONENT, TAG_PLATFORM, TAG_STEP, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::{Value, json};

use crate::account::Account;
use crate::signed::Call;
use crate::trouble::{Trouble, patiently};

/// Carries out `secret` steps.
pub struct Secrets {
    account: Arc<Account>,
}

impl Secrets {
    /// Secrets of this account, in the platform's region.
    pub fn new(account: Arc<Account>) -> Secrets {
        Secrets { account }
    }

    async fn call(&self, action: &str, body: Value, progress: Option<&Progress>) -> Result<Value, Trouble> {
        let region = self.account.region();
        let answer = patiently(progress, || async {
            self.account
                .send(&Call {
                    service: "secretsmanager",
                    region,
                    method: "POST",
                    url: format!(
                        "{}/",
                        self.account
                            .address(&format!("secretsmanager.{region}.amazonaws.com"))
                    ),
                    headers: vec![
                        ("content-type", "application/x-amz-json-1.1".to_owned()),
                        ("x-amz-target", format!("secretsmanager.{action}")),
                    ],
                    body: body.to_string().into_bytes(),
                })
                .await
        })
        .await?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    async fn describe(&self, name: &str, progress: Option<&Progress>) -> Result<Option<Value>, Trouble> {
        match self
            .call("DescribeSecret", json!({ "SecretId": name }), progress)
            .await
        {
            Ok(secret) => Ok(Some(secret)),
            Err(Trouble::NotFound(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    async fn create(
        &self,
        step: &Step,
        work: &SecretWork,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<(), Trouble> {
        let password = self
            .call(
                "GetRandomPassword",
                json!({
                    "PasswordLength": work.spec.length,
                    "ExcludePunctuation": work.spec.exclude_punctuation,
                    "ExcludeCharacters": work.spec.exclude_characters,
                    "RequireEachIncludedType": true,
                }),
                Some(progress),
            )
            .await?;
        let tags: Vec<Value> = step
            .tags()
            .into_iter()
            .map(|(key, value)| json!({ "Key": key, "Value": value }))
            .collect();
        let made = self
            .call(
                "CreateSecret",
                json!({
                    "Name": work.name,
                    "Description": work.spec.description,
                    "SecretString": password["RandomPassword"],
                    // The service wants 32 to 64 characters.
                    "ClientRequestToken": Digest::of(&intent.token).0,
                    "Tags": tags,
                }),
                Some(progress),
            )
            .await;
        match made {
            // An earlier try, before a crash, made it.
            Err(trouble) if trouble.is_code("ResourceExists") => Ok(()),
            made => made.map(|_| ()),
        }
    }

    fn observed(step: &Step, work: &SecretWork, secret: &Value) -> Observed {
        let arn = secret["ARN"].as_str().unwrap_or_default();
        let deleted = secret.get("DeletedDate").is_some_and(|date| !date.is_null());
        let standing = if tag(secret, TAG_PLATFORM) != Some(&step.facts.name) {
            Standing::Foreign {
                why: format!(
                    "the secret `{}` exists and does not carry this platform's tags; rename the component or remove the secret",
                    work.name
                ),
            }
        } else if deleted {
            Standing::Leftover {
                state: "DELETED".to_owned(),
                why: "scheduled for deletion; it is restored with the value it had".to_owned(),
            }
        } else {
            Standing::Present {
                state: "KEPT".to_owned(),
            }
        };
        let state = if deleted { "DELETED" } else { "KEPT" };
        Observed {
            standing,
            outputs: outputs(arn, &work.name),
            fingerprint: format!("{state}@{}@{arn}", secret["CreatedDate"]),
            owned: (!deleted).then(|| {
                owned(
                    step.id.clone(),
                    &step.facts.name,
                    &work.name,
                    work.spec.recovery_days,
                )
            }),
        }
    }
}

fn tag<'a>(secret: &'a Value, key: &str) -> Option<&'a str> {
    let tags = secret["Tags"].as_array()?;
    tags.iter().find(|tag| tag["Key"] == key)?["Value"].as_str()
}

fn outputs(arn: &str, name: &str) -> Outputs {
    let reference = format!("{{{{resolve:secretsmanager:{arn}:SecretString}}}}");
    Outputs::from_iter([
        ("arn".to_owned(), arn.into()),
        ("name".to_owned(), name.into()),
        ("reference".to_owned(), reference.into()),
    ])
}

fn owned(step: StepId, platform: &str, name: &str, recovery_days: u32) -> Owned {
    let address = json!({ "platform": platform, "name": name, "recoveryDays": recovery_days });
    Owned::new(step, StepKind::Secret, address)
}

fn work(step: &Step) -> &SecretWork {
    match &step.work {
        Work::Secret(work) => work,
        other => unreachable!("secrets are only given secret steps, not {other:?}"),
    }
}

#[async_trait]
impl Provider for Secrets {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let secret = self
            .describe(&work.name, None)
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the secret `{}`", work.name)))?;
        Ok(secret.map_or_else(Observed::absent, |secret| Self::observed(step, work, &secret)))
    }

    /// A secret that stands is never changed: its value was generated once and is kept.
    async fn preview(&self, _step: &Step, _seen: &Observed) -> Result<Vec<Change>, ObserveError> {
        Ok(Vec::new())
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        let mut found = Vec::new();
        let mut next = Value::Null;
        loop {
            let mut body =
                json!({ "Filters": [{ "Key": "tag-key", "Values": [TAG_PLATFORM] }], "MaxResults": 100 });
            if let (false, Some(body)) = (next.is_null(), body.as_object_mut()) {
                body.insert("NextToken".to_owned(), next);
            }
            let page = self
                .call("ListSecrets", body, None)
                .await
                .map_err(|trouble| trouble.observing("could not list the account's secrets"))?;
            for secret in page["SecretList"].as_array().into_iter().flatten() {
                if let (Some(name), true, Some(component), Some(step)) = (
                    secret["Name"].as_str(),
                    tag(secret, TAG_PLATFORM) == Some(platform),
                    tag(secret, TAG_COMPONENT),
                    tag(secret, TAG_STEP),
                ) {
                    found.push(owned(StepId::new(component, step), platform, name, 7));
                }
            }
            next = page["NextToken"].clone();
            if next.is_null() {
                return Ok(found);
            }
        }
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let name = owned.address["name"].as_str().unwrap_or_default();
        let secret = self
            .describe(name, None)
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the secret `{name}`")))?;
        let platform = owned.address["platform"].as_str();
        Ok(secret.is_some_and(|secret| {
            tag(&secret, TAG_PLATFORM) == platform && secret.get("DeletedDate").is_none_or(Value::is_null)
        }))
    }

    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step);
        let doing = format!("making the secret `{}`", work.name);
        let failing = |trouble: Trouble| trouble.failing(&doing);
        let seen = self.describe(&work.name, Some(progress)).await.map_err(failing)?;
        let seen = seen.map(|secret| Self::observed(step, work, &secret));
        let outcome = match seen.map(|seen| seen.standing) {
            None => {
                self.create(step, work, intent, progress).await.map_err(failing)?;
                Outcome::Created
            }
            Some(Standing::Foreign { why }) => return Err(Failure::new(why).into()),
            Some(Standing::Leftover { .. }) => {
                self.call("RestoreSecret", json!({ "SecretId": work.name }), Some(progress))
                    .await
                    .map_err(failing)?;
                Outcome::Updated
            }
            Some(_) => Outcome::Unchanged,
        };
        let secret = self
            .describe(&work.name, Some(progress))
            .await
            .map_err(failing)?
            .ok_or_else(|| {
                ApplyError::failed(format!("the secret `{}` was made but cannot be found", work.name))
            })?;
        let seen = Self::observed(step, work, &secret);
        if let Standing::Foreign { why } = seen.standing {
            return Err(Failure::new(why).into());
        }
        Ok(Applied {
            outcome,
            outputs: seen.outputs,
            owned: seen.owned,
            notes: Vec::new(),
        })
    }

    async fn remove(
        &self,
        owned: &Owned,
        _intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError> {
        let name = owned.address["name"].as_str().unwrap_or_default();
        let doing = format!("deleting the secret `{name}`");
        match self
            .describe(name, Some(progress))
            .await
            .map_err(|trouble| trouble.failing(&doing))?
        {
            None => return Ok(Removed::default()),
            Some(secret) if tag(&secret, TAG_PLATFORM) != owned.address["platform"].as_str() => {
                return Err(Failure::new(format!(
                    "the secret `{name}` no longer carries this platform's tags"
                ))
                .way_out("someone took it over; delete it by hand if it is to go")
                .into());
            }
            Some(_) => {}
        }
        let days = owned.address["recoveryDays"].as_u64().unwrap_or(7);
        let mut body = json!({ "SecretId": name });
        if let Some(body) = body.as_object_mut() {
            // The service takes 7 to 30 days, or none at all.
            match days {
                0 => body.insert("ForceDeleteWithoutRecovery".to_owned(), true.into()),
                days => body.insert("RecoveryWindowInDays".to_owned(), days.max(7).into()),
            };
        }
        match self.call("DeleteSecret", body, Some(progress)).await {
            Ok(_) if days > 0 => Ok(Removed {
                kept: vec![format!(
                    "the secret `{name}` can be restored for {} days",
                    days.max(7)
                )],
            }),
            Ok(_) | Err(Trouble::NotFound(_)) => Ok(Removed::default()),
            // Already scheduled for deletion.
            Err(trouble) if trouble.is_code("InvalidRequest") && trouble.says("delet") => {
                Ok(Removed::default())
            }
            Err(trouble) => Err(trouble.failing(&doing)),
        }
    }

    async fn renew(&self) -> Result<(), String> {
        self.account.renew().await
    }
}
