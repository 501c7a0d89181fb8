//! Moving a platform's records from one place to another, and telling where they are.
//!
//! The steps, of which each may be the last: the other place is claimed as half copied; everything is copied;
//! the place they come from is left as moved, which settles it; the other place is taken. Broken off before
//! that settling write, the records are where they were, and the move is repeated. Broken off after it, they
//! are in the other place, and whoever takes the platform there finishes it ([`Store::coming_from`]).

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use landfall_runner::{PlaceError, When, Written};

use crate::Store;
use crate::certificate::CERTIFICATE;
use crate::error::Error;
use crate::fence::Lock;
use crate::holder::{Taker, Waiting};
use crate::inventory;
use crate::journal;
use crate::lease::{self, Lease, Seen, Standing};
use crate::place::Proof;
use crate::read::AT_ONCE;
use crate::runs;
use crate::take::{self, moved};

/// How often a write is tried that somebody else's, or a lost answer, came in between of.
const TRIES: usize = 4;

/// Whether a platform's records are in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// None are, nor ever were.
    Nothing,
    /// They are here, as far as this place knows.
    Here {
        /// When they were last taken. Of two places with the same records, the higher one has the newer.
        epoch: u64,
        /// Which line of records it is, when that is known.
        line: Option<String>,
    },
    /// A copy into here is under way, or broke off.
    HalfCopied {
        /// Where the records come from.
        from: String,
    },
    /// They were here, and went on elsewhere.
    Moved {
        /// Where.
        to: String,
    },
}

impl Store {
    /// Whether the platform's records are here. Reads one document, or two.
    ///
    /// # Errors
    /// The place cannot be used.
    pub async fn whereabouts(&self) -> Result<Whereabouts, Error> {
        let place = self.place.as_ref();
        let Some(seen) = lease::read(place).await? else {
            let newest = journal::newest(place).await?;
            if let Some(line) = journal::read(place, newest).await? {
                let epoch = line.epoch;
                return Ok(Whereabouts::Here { epoch, line: None });
            }
            // As an older Landfall left it.
            for prefix in [runs::FOLDER, inventory::NAME] {
                if !place.list(prefix, "").await?.is_empty() {
                    return Ok(Whereabouts::Here { epoch: 0, line: None });
                }
            }
            return Ok(Whereabouts::Nothing);
        };
        let Lease {
            epoch,
            line,
            standing,
            ..
        } = seen.lease;
        Ok(match standing {
            Standing::Held { .. } | Standing::Released { .. } => Whereabouts::Here { epoch, line },
            Standing::HalfCopied { from } => Whereabouts::HalfCopied { from },
            Standing::Moved { to, .. } => Whereabouts::Moved { to },
        })
    }

    /// The place's name for people anywhere: a folder's from the root.
    fn full_name(&self) -> String {
        let name = self.name();
        match &self.folder {
            Some(_) => std::path::absolute(&name).map_or(name, |path| path.display().to_string()),
            None => name,
        }
    }
}

impl Lock {
    /// Moves all records into another place, which is held from then on instead of this one. What is there
    /// must be nothing, or of the same line and older. This place says from then on where they went.
    ///
    /// When it does not succeed this place is let go of, and the move may be repeated.
    ///
    /// # Errors
    /// Somebody holds the platform there; the records there are others, or newer; somebody took the platform
    /// over meanwhile; a place cannot be used.
    pub async fn move_to(
        self,
        other: &Store,
        taker: &Taker,
        tell: &(dyn Fn(&Waiting) + Send + Sync),
    ) -> Result<Lock, Error> {
        let proof = match self.copy_to(other, taker, tell).await {
            Ok(proof) => proof,
            Err(error) => {
                // Why it did not succeed is what counts; a lease that cannot be written runs out.
                let _ = self.release().await;
                return Err(error);
            }
        };
        self.leave(Standing::Moved {
            to: other.full_name(),
            by: self.seat.holder.clone(),
            at: self.seat.clock.now(),
        })
        .await?;
        take::with(&other.coming_from(&self.store), taker, proof, tell).await
    }

    /// Copies everything, into a place that nobody can take meanwhile.
    async fn copy_to(
        &self,
        other: &Store,
        taker: &Taker,
        tell: &(dyn Fn(&Waiting) + Send + Sync),
    ) -> Result<Option<Proof>, Error> {
        self.settle().await?;
        let proof = take::prove(other).await?;
        self.claim(other, taker, proof.as_ref(), tell).await?;
        let from = self.store.place.as_ref();
        for prefix in [runs::FOLDER, journal::FOLDER] {
            stream::iter(from.list(prefix, "").await?)
                .map(|name| async move { self.copy_one(other, &name).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        // What changes comes last, and only while both places are surely ours.
        for name in [inventory::NAME, CERTIFICATE] {
            self.seat.renew().await?;
            self.still_claimed(other).await?;
            self.copy_one(other, name).await?;
        }
        self.still_claimed(other).await?;
        Ok(proof)
    }

    /// Claims the other place: says there that it is half copied.
    async fn claim(
        &self,
        other: &Store,
        taker: &Taker,
        proof: Option<&Proof>,
        tell: &(dyn Fn(&Waiting) + Send + Sync),
    ) -> Result<(), Error> {
        let place = other.place.as_ref();
        let here = self.seat.lease().await;
        let lease = Lease {
            epoch: here.epoch,
            nonce: here.nonce.clone(),
            line: Some(here.line.clone().unwrap_or_else(|| here.nonce.clone())),
            standing: Standing::HalfCopied {
                from: self.store.full_name(),
            },
        };
        let mut known_dead: Option<String> = None;
        let mut last = None;
        for _ in 0..TRIES {
            let mut there = lease::read(place).await?;
            loop {
                match &there {
                    Some(seen) if is_claim(seen, &here) => return Ok(()),
                    Some(seen) => may_replace(&here, other, &seen.lease)?,
                    None => may_begin(&here, other).await?,
                }
                let Some(seen) = &there else { break };
                let Standing::Held { holder, .. } = &seen.lease.standing else {
                    break;
                };
                let is_dead = known_dead.as_ref() == Some(&seen.version)
                    || (proof.is_some() && holder.machine == taker.holder.machine);
                if is_dead {
                    break;
                }
                there = take::watch(other, taker, seen, tell).await?;
                known_dead = there.as_ref().map(|seen| seen.version.clone());
            }
            self.seat.still().await?;
            let when = there.map_or(When::Absent, |seen| When::Is(seen.version));
            match place.write(lease::NAME, &lease.bytes(), when).await {
                Ok(Written::Done(_)) => return Ok(()),
                // Whoever came first is judged by what is there now.
                Ok(Written::Conflict) => {}
                Err(error) => last = Some(error),
            }
        }
        Err(given_up(other, last).await)
    }

    async fn still_claimed(&self, other: &Store) -> Result<(), Error> {
        let here = self.seat.lease().await;
        match lease::read(other.place.as_ref()).await? {
            Some(seen) if is_claim(&seen, &here) => Ok(()),
            _ => Err(given_up(other, None).await),
        }
    }

    /// Copies one file. Never over what somebody else writes at the same time.
    async fn copy_one(&self, other: &Store, name: &str) -> Result<(), Error> {
        let place = other.place.as_ref();
        // What is not there was put away by nobody but us.
        let Some(kept) = self.store.place.read(name).await? else {
            return Ok(());
        };
        let mut when = When::Absent;
        let mut last = None;
        for _ in 0..TRIES {
            self.seat.still().await?;
            // What is replaced was read before: who takes this place from us replaces it in between.
            if when != When::Absent {
                self.still_claimed(other).await?;
            }
            match place.write(name, &kept.bytes, when.clone()).await {
                Ok(Written::Done(_)) => return Ok(()),
                Ok(Written::Conflict) => {}
                Err(error) => last = Some(error),
            }
            // It was there before, or the answer was lost and not the write.
            match place.read(name).await {
                Ok(Some(there)) if there.bytes == kept.bytes => return Ok(()),
                Ok(Some(there)) => when = When::Is(there.version),
                Ok(None) => when = When::Absent,
                Err(error) => last = Some(error),
            }
        }
        Err(given_up(other, last).await)
    }
}

/// Whether this is the claim of the take that holds `here`.
fn is_claim(seen: &Seen, here: &Lease) -> bool {
    matches!(seen.lease.standing, Standing::HalfCopied { .. }) && seen.lease.whose() == here.whose()
}

/// Why a write did not come to anything: the place, or somebody else.
async fn given_up(other: &Store, last: Option<PlaceError>) -> Error {
    if let Some(error) = last {
        return error.into();
    }
    let by = match lease::read(other.place.as_ref()).await {
        Ok(Some(seen)) => seen.lease.told(),
        Ok(None) => format!("somebody who removed the lease in {}", other.name()),
        Err(error) => return error,
    };
    Error::Locked { by }
}

/// Whether what is there may be replaced, once nobody living holds it: it is of the same line, and older.
fn may_replace(here: &Lease, other: &Store, there: &Lease) -> Result<(), Error> {
    if here.may_be_of_one_line(there) && there.epoch < here.epoch {
        return Ok(());
    }
    Err(match &there.standing {
        Standing::HalfCopied { from } => Error::HalfCopied {
            place: other.name(),
            from: from.clone(),
        },
        Standing::Moved { .. } => moved(other, there),
        Standing::Held { .. } | Standing::Released { .. } => Error::WentOn {
            place: other.name(),
            there: there.told(),
        },
    })
}

/// Whether a place without a lease may be used: nothing is there, or only the older records of a lease that
/// somebody removed.
async fn may_begin(here: &Lease, other: &Store) -> Result<(), Error> {
    match other.whereabouts().await? {
        Whereabouts::Here { epoch, .. } if epoch == 0 || epoch >= here.epoch => Err(Error::WentOn {
            place: other.name(),
            there: "nobody knows who wrote them".to_owned(),
        }),
        // Whatever came to be there in between, the write finds out.
        _ => Ok(()),
    }
}
