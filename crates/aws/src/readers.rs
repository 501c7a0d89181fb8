//! What is only read for others: secrets and logs.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, LogEvent, LogReader, Logged, SecretReader, SecretValue};
use serde_json::{Value, json};

use crate::account::Account;
use crate::ask::{LOGS, Region, SECRETS};
use crate::trouble::Trouble;

/// More pages than a filter goes through within a quarter of an hour of a busy log.
const PAGES: usize = 50;

#[async_trait]
impl SecretReader for Account {
    async fn secret(&self, id: &str) -> Result<SecretValue, ApplyError> {
        let doing = format!("reading the secret {id}");
        // A secret may lie in another region: its ARN says where.
        let region = id
            .strip_prefix("arn:")
            .and_then(|rest| rest.split(':').nth(2))
            .unwrap_or(self.region());
        let asked = Region {
            account: self,
            name: region,
            patient: true,
        };
        let answer = asked
            .json(SECRETS, "GetSecretValue", &json!({ "SecretId": id }))
            .await
            .map_err(|refused| match refused.trouble {
                Trouble::NotFound(_) => {
                    Failure::new(format!("{doing}: there is no such secret, or it has no value"))
                        .way_out("check the ARN or the name, and its region")
                        .into()
                }
                _ => refused.failing(&doing),
            })?;
        match answer["SecretString"].as_str() {
            Some(text) => Ok(SecretValue::new(text)),
            None => Err(Failure::new(format!("{doing}: its value is binary, not text"))
                .way_out("store it as text")
                .into()),
        }
    }
}

#[async_trait]
impl LogReader for Account {
    async fn find(
        &self,
        region: Option<&str>,
        group: &str,
        pattern: &str,
        since: Duration,
    ) -> Result<Logged, ApplyError> {
        let asked = Region {
            account: self,
            name: region.unwrap_or(self.region()),
            patient: true,
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let start = u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or_default();
        let mut body = json!({ "logGroupName": group, "startTime": start, "limit": 1 });
        if !pattern.is_empty() {
            body["filterPattern"] = pattern.into();
        }
        for _ in 0..PAGES {
            let answer = match asked.json(LOGS, "FilterLogEvents", &body).await {
                Ok(answer) => answer,
                Err(refused) if matches!(refused.trouble, Trouble::NotFound(_)) => {
                    return Ok(Logged::NoGroup);
                }
                Err(refused) => return Err(refused.failing(&format!("reading the log {group}"))),
            };
            if let Some(event) = answer["events"].as_array().and_then(|events| events.first()) {
                let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                return Ok(Logged::Event(LogEvent {
                    stream: text("logStreamName"),
                    message: text("message"),
                }));
            }
            // A page without events is not the last one: the service searches for a while and hands over.
            match &answer["nextToken"] {
                Value::String(next) => body["nextToken"] = next.as_str().into(),
                _ => break,
            }
        }
        Ok(Logged::Nothing)
    }
}
