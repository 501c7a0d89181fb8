//! Moving a platform's records from one place to another.

use landfall_runner::{Place, When, Written};

use crate::Store;
use crate::error::Error;
use crate::fence::Lock;
use crate::holder::{Taker, Waiting};
use crate::inventory;
use crate::journal;
use crate::lease::{self, Lease, Seen, Standing};

impl Store {
    /// Copies all records into another place, while nobody writes here or there. What is there must be older:
    /// of the same line, and not gone on with. A copy that broke off is refused by everything but another copy.
    ///
    /// # Errors
    /// Somebody holds the platform, here or there; the records there are newer; a place cannot be used.
    pub async fn copy_to(
        &self,
        other: &Store,
        taker: &Taker,
        tell: &(dyn Fn(&Waiting) + Send + Sync),
    ) -> Result<(), Error> {
        let lock = self.lock(taker, tell).await?;
        let copied = copy(&lock, other).await;
        lock.release().await?;
        copied
    }
}

async fn copy(lock: &Lock, other: &Store) -> Result<(), Error> {
    let (from, to) = (lock.store.place.as_ref(), other.place.as_ref());
    lock.settle().await?;
    let there = lease::read(to).await?;
    let here = lock.seat.lease().await;
    may(&here, other, there.as_ref())?;
    let mut lease = Lease {
        epoch: here.epoch,
        nonce: here.nonce.clone(),
        copied: Some(here.whose()),
        standing: Standing::HalfCopied { from: from.name() },
    };
    let when = there.map_or(When::Absent, |seen| When::Is(seen.version));
    let Written::Done(version) = to.write(lease::NAME, &lease.bytes(), when).await? else {
        let now = lease::read(to).await?;
        return Err(Error::Locked {
            by: now.map_or_else(String::new, |now| now.lease.told()),
        });
    };
    for prefix in ["runs/", journal::FOLDER, inventory::NAME] {
        for name in from.list(prefix, "").await? {
            copy_one(from, to, &name).await?;
        }
    }
    lease.standing = Standing::Released {
        by: lock.seat.holder.clone(),
        at: lock.seat.clock.now(),
    };
    match to.write(lease::NAME, &lease.bytes(), When::Is(version)).await? {
        Written::Done(_) => {
            lock.seat.was_copied().await;
            Ok(())
        }
        Written::Conflict => Err(Error::HalfCopied {
            place: to.name(),
            from: from.name(),
        }),
    }
}

async fn copy_one(from: &dyn Place, to: &dyn Place, name: &str) -> Result<(), Error> {
    // What goes away meanwhile was put away by nobody but us.
    if let Some(kept) = from.read(name).await? {
        to.write(name, &kept.bytes, When::Always).await?;
    }
    Ok(())
}

/// Whether what is there may be replaced: nobody is at work, and it stands as it was when last copied.
fn may(here: &Lease, other: &Store, there: Option<&Seen>) -> Result<(), Error> {
    let Some(Seen { lease, .. }) = there else {
        return Ok(());
    };
    match &lease.standing {
        Standing::Held { .. } => Err(Error::Locked { by: lease.told() }),
        // It holds nothing of its own.
        Standing::HalfCopied { .. } => Ok(()),
        Standing::Released { .. } if here.copied == Some(lease.whose()) => Ok(()),
        Standing::Released { .. } => Err(Error::WentOn {
            place: other.name(),
            there: lease.told(),
        }),
    }
}
