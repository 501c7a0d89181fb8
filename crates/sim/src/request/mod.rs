//! Web APIs in a simulated world, for `request` steps: wherever one asks, a Keycloak answers.
//!
//! The provider is the real one; only the way requests take is simulated. There is a Keycloak for each address, and it
//! outlives providers as everything in the world does. Secrets have made-up values, which it takes.

mod keycloak;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_runner::{ApplyError, SecretReader, SecretValue};
use landfall_web::{Answer, Request, Transport, Unreached};

pub use keycloak::{Answered, Asked, Keycloak};

use crate::world::World;

/// How long an answer takes.
const ANSWER: Duration = Duration::from_millis(40);

/// The Keycloaks of a world, by host and port.
pub(crate) type Keycloaks = BTreeMap<String, Keycloak>;

/// Carries requests to what answers in a simulated world.
pub struct SimWeb {
    world: Arc<World>,
}

impl SimWeb {
    /// The web of this world.
    pub fn new(world: Arc<World>) -> SimWeb {
        SimWeb { world }
    }
}

#[async_trait]
impl Transport for SimWeb {
    async fn send(&self, request: &Request) -> Result<Answer, Unreached> {
        self.world.sleep(ANSWER).await;
        let Request {
            method,
            url,
            authorization,
            body,
            ..
        } = request;
        let place = format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        );
        let asked = Asked {
            method,
            path: url.path(),
            query: keycloak::pairs(url.query().unwrap_or_default()),
            authorization: authorization.as_deref(),
            body,
        };
        let (mut state, now) = self.world.at();
        let Answered { status, body, .. } = state.keycloaks.entry(place).or_default().answer(&asked, now);
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        Ok(Answer {
            status,
            retry_after_s: None,
            body,
        })
    }
}

#[async_trait]
impl SecretReader for SimWeb {
    async fn secret(&self, id: &str) -> Result<SecretValue, ApplyError> {
        self.world
            .call(None, |state, _| {
                state.allow("secretsmanager:GetSecretValue", id, &Default::default())
            })
            .await
            .map_err(|trouble| trouble.failing(&format!("reading the secret {id}")))?;
        Ok(SecretValue::new(format!("simulated {id}")))
    }

    /// Whatever key is asked for, there is one.
    async fn key(&self, id: &str, key: &str) -> Result<SecretValue, ApplyError> {
        let whole = self.secret(id).await?;
        Ok(SecretValue::new(format!("{} {key}", whole.reveal())))
    }
}

impl World {
    /// The realms that stand, as `place/realm`.
    pub fn realms(&self) -> Vec<String> {
        let (state, _) = self.at();
        let realms = |(place, keycloak): (&String, &Keycloak)| -> Vec<String> {
            keycloak
                .realms()
                .iter()
                .map(|realm| format!("{place}/{realm}"))
                .collect()
        };
        state.keycloaks.iter().flat_map(realms).collect()
    }
}
