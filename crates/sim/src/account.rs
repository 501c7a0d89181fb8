//! Whose credentials are in use in a simulated world.

use std::sync::Arc;

use async_trait::async_trait;
use landfall_runner::{ApplyError, Identity, WhoAmI};

use crate::world::World;

/// Credentials of the simulated account.
#[derive(Clone)]
pub struct SimAccount {
    world: Arc<World>,
}

impl SimAccount {
    /// Credentials of this world's account.
    pub fn new(world: Arc<World>) -> SimAccount {
        SimAccount { world }
    }
}

#[async_trait]
impl WhoAmI for SimAccount {
    async fn who_am_i(&self) -> Result<Identity, ApplyError> {
        let account = self
            .world
            .call(None, |state, _| {
                state.allow_any("sts:GetCallerIdentity")?;
                Ok(state.account.clone())
            })
            .await
            .map_err(|trouble| trouble.failing("asking whose credentials these are"))?;
        Ok(Identity {
            arn: format!("arn:aws:sts::{account}:assumed-role/simulated/you"),
            account,
            temporary: true,
            lasts: Some(self.world.credentials_last()),
        })
    }
}
