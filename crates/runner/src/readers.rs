//! Ports for what is only read: a secret, a log, whether a pod can reach something.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::definition::ConnectionFrom;
use landfall_model::provider::Failure;

use crate::ports::ApplyError;

/// A secret's value. It is never shown, not even by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Keeps a value from being shown.
    pub fn new(value: impl Into<String>) -> SecretValue {
        SecretValue(value.into())
    }

    /// The value itself, for the one request that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Reads secrets from AWS Secrets Manager.
#[async_trait]
pub trait SecretReader: Send + Sync {
    /// The text of the secret with this name or ARN.
    async fn secret(&self, id: &str) -> Result<SecretValue, ApplyError>;

    /// One key of a secret whose text is JSON.
    async fn key(&self, id: &str, key: &str) -> Result<SecretValue, ApplyError> {
        let whole = self.secret(id).await?;
        let parsed: Option<serde_json::Value> = serde_json::from_str(whole.reveal()).ok();
        match parsed.as_ref().and_then(|parsed| parsed.get(key)) {
            Some(serde_json::Value::String(text)) => Ok(SecretValue::new(text)),
            Some(other) if other.is_number() || other.is_boolean() => Ok(SecretValue::new(other.to_string())),
            _ => Err(Failure::new(format!("the secret {id} has no key `{key}`"))
                .way_out("look at its keys in the console of AWS Secrets Manager, and mend the reference")
                .into()),
        }
    }
}

/// One event of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// The stream it arrived in.
    pub stream: String,
    /// What it says.
    pub message: String,
}

/// What a log was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// There is no such log group yet.
    NoGroup,
    /// Nothing in it fits.
    Nothing,
    /// This fits.
    Event(LogEvent),
}

/// Reads CloudWatch Logs.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// An event of the last `since` that fits a filter pattern, in the platform's region or another.
    async fn find(
        &self,
        region: Option<&str>,
        group: &str,
        pattern: &str,
        since: Duration,
    ) -> Result<Logged, ApplyError>;
}

/// What came of trying to reach something from a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The connection was made.
    Connected,
    /// It was not made; this is what the pod said.
    Refused(String),
    /// The pod could not try yet: this is in its way.
    NotYet(String),
}

/// Tries to reach things from inside a cluster.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Opens a TCP connection from a pod that is made for it and gone afterwards. `name` names the pod: the same for
    /// the same try, so that one left behind by a crash is found. Takes no longer than `within`.
    async fn connect(
        &self,
        cluster: &str,
        name: &str,
        from: &ConnectionFrom,
        to: (&str, u16),
        within: Duration,
    ) -> Result<Probed, ApplyError>;
}
