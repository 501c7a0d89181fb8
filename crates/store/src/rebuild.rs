//! Replacing what is remembered to be owned by what the world was seen to hold.

use landfall_model::provider::Owned;
use landfall_runner::{When, Written};

use crate::error::Error;
use crate::fence::Lock;
use crate::inventory::{self, Inventory};
use crate::read::{LOOKS, path};

impl Lock {
    /// Replaces what the inventory says is owned; what checks gave and how long steps took stays.
    ///
    /// # Errors
    /// Records cannot be read or written.
    pub async fn replace_owned(&self, owned: Vec<Owned>) -> Result<Inventory, Error> {
        let place = self.store.place.as_ref();
        // What is written here does not follow from records, so only who still holds the platform may.
        self.seat.renew().await?;
        for _ in 0..LOOKS {
            let mut inventory = self.settle().await?;
            inventory.owned.clone_from(&owned);
            inventory.owned.sort_by(|a, b| a.step.cmp(&b.step));
            let when = match inventory::kept(place).await? {
                Some((_, version)) => When::Is(version),
                None => When::Absent,
            };
            if let Written::Done(_) = place.write(inventory::NAME, &inventory.bytes(), when).await? {
                return Ok(inventory);
            }
        }
        Err(Error::Missing {
            path: path(place, inventory::NAME),
        })
    }
}
