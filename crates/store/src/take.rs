//! Taking a platform: the lease first, then the journal.

use std::time::Duration;

use landfall_model::planted;
use landfall_runner::{When, Written};

use crate::Store;
use crate::error::Error;
use crate::fence::{Lock, Seat};
use crate::holder::{Taker, Waiting};
use crate::inventory;
use crate::journal::{self, Line, Opened, Put, Said};
use crate::lease::{self, LEASE, LOOK, Lease, MARGIN, Seen, Standing};
use crate::place::Proof;

/// How often taking is tried when answers are lost, and how long it waits in between.
const TRIES: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(500);

impl Store {
    /// Takes the platform, or says who holds it. A holder that is dead is replaced: at once when this very
    /// machine can tell, otherwise after its lease was seen to run out; `tell` hears of that wait.
    ///
    /// # Errors
    /// Somebody living holds it; the place cannot be used.
    pub async fn lock(&self, taker: &Taker, tell: &(dyn Fn(&Waiting) + Send + Sync)) -> Result<Lock, Error> {
        take(self, taker, tell).await
    }
}

/// A lease that was got.
struct Got {
    seen: Seen,
    /// When the write that got it was begun.
    began_ms: u64,
    /// Whether the holder before had let go.
    released: bool,
}

async fn take(store: &Store, taker: &Taker, tell: &(dyn Fn(&Waiting) + Send + Sync)) -> Result<Lock, Error> {
    let proof = prove(store).await?;
    with(store, taker, proof, tell).await
}

/// The proof that this process lives, where there is one; an error when another one lives here.
pub(crate) async fn prove(store: &Store) -> Result<Option<Proof>, Error> {
    let Some(folder) = &store.folder else {
        return Ok(None);
    };
    match folder.prove().await? {
        Some(proof) => Ok(Some(proof)),
        None => Err(locked(store).await),
    }
}

/// Takes the platform with such a proof.
pub(crate) async fn with(
    store: &Store,
    taker: &Taker,
    proof: Option<Proof>,
    tell: &(dyn Fn(&Waiting) + Send + Sync),
) -> Result<Lock, Error> {
    let got = get(store, taker, proof.as_ref(), tell).await?;
    let seat = Seat::new(store, taker, got.seen, got.began_ms, proof);
    let opened = Opened {
        at: taker.clock.now(),
        holder: taker.holder.clone(),
        released: got.released,
    };
    open(&seat, opened).await?;
    Ok(Lock::new(store, seat))
}

/// Who lives and works here.
async fn locked(store: &Store) -> Error {
    let by = match lease::read(store.place.as_ref()).await {
        Ok(Some(seen)) if matches!(seen.lease.standing, Standing::Held { .. }) => seen.lease.told(),
        _ => format!("a process of this machine, which works in {}", store.name()),
    };
    Error::Locked { by }
}

/// Gets the lease, waiting for a holder that may be dead.
async fn get(
    store: &Store,
    taker: &Taker,
    proof: Option<&Proof>,
    tell: &(dyn Fn(&Waiting) + Send + Sync),
) -> Result<Got, Error> {
    let place = store.place.as_ref();
    let mut known_dead = None;
    let mut tries = 0;
    let mut current = lease::read(place).await?;
    loop {
        let mut is_new = false;
        let (epoch, when, released) = match &current {
            // Nobody ever was here, or somebody removed the lease: then the journal knows.
            None => {
                let newest = journal::newest(place).await?;
                let line = journal::read(place, newest).await?;
                let epoch = line.map_or(0, |line| line.epoch);
                is_new = newest == 0;
                (epoch + 1, When::Absent, newest == 0)
            }
            Some(seen) => {
                let is = When::Is(seen.version.clone());
                match &seen.lease.standing {
                    // They are whole, and left where they were.
                    Standing::HalfCopied { .. } if was_left(store, &seen.lease).await? => {
                        (seen.lease.epoch + 1, is, true)
                    }
                    Standing::Moved { .. } => return Err(moved(store, &seen.lease)),
                    Standing::HalfCopied { from } => {
                        return Err(Error::HalfCopied {
                            place: store.name(),
                            from: from.clone(),
                        });
                    }
                    Standing::Released { .. } => (seen.lease.epoch + 1, is, true),
                    // We hold the proof that every holder of this machine has while it lives.
                    Standing::Held { holder, .. }
                        if proof.is_some() && holder.machine == taker.holder.machine =>
                    {
                        (seen.lease.epoch + 1, is, false)
                    }
                    Standing::Held { .. } if planted!(LeaseStolen) => (seen.lease.epoch + 1, is, false),
                    Standing::Held { .. } if known_dead.as_ref() == Some(&seen.version) => {
                        (seen.lease.epoch + 1, is, false)
                    }
                    Standing::Held { .. } => {
                        current = watch(store, taker, seen, tell).await?;
                        known_dead = current.as_ref().map(|seen| seen.version.clone());
                        continue;
                    }
                }
            }
        };
        let lease = Lease {
            epoch,
            nonce: taker.nonce.clone(),
            line: match &current {
                Some(seen) => seen.lease.line.clone(),
                None => is_new.then(|| taker.nonce.clone()),
            },
            standing: Standing::Held {
                holder: taker.holder.clone(),
                since: taker.clock.now(),
                lease_ms: u64::try_from(LEASE.as_millis()).expect("a lease is short"),
                renewals: 0,
            },
        };
        let began_ms = taker.clock.millis();
        let got = |seen| Got {
            seen,
            began_ms,
            released,
        };
        let lost = match place.write(lease::NAME, &lease.bytes(), when).await {
            Ok(Written::Done(version)) => return Ok(got(Seen { lease, version })),
            Ok(Written::Conflict) => None,
            Err(error) => Some(error),
        };
        match lease::read(place).await {
            // The answer was lost, not the write.
            Ok(Some(seen))
                if seen.lease.nonce == taker.nonce
                    && matches!(seen.lease.standing, Standing::Held { .. }) =>
            {
                return Ok(got(seen));
            }
            Ok(other) => current = other,
            Err(error) if lost.is_none() => return Err(error),
            Err(_) => {}
        }
        if let Some(error) = lost {
            tries += 1;
            if tries == TRIES {
                return Err(error.into());
            }
            taker.clock.sleep(BETWEEN * tries).await;
        }
    }
}

/// Whether the place that these half copied records come from was left for here by the very take that copied
/// them: then they are whole.
async fn was_left(store: &Store, lease: &Lease) -> Result<bool, Error> {
    let Some(from) = &store.from else {
        return Ok(false);
    };
    let there = lease::read(from.as_ref()).await?;
    Ok(there.is_some_and(|there| {
        matches!(there.lease.standing, Standing::Moved { .. }) && there.lease.whose() == lease.whose()
    }))
}

/// Why a place whose records went on elsewhere is refused.
pub(crate) fn moved(store: &Store, lease: &Lease) -> Error {
    let Standing::Moved { to, by, at } = &lease.standing else {
        unreachable!("only asked of a lease that says so");
    };
    Error::Moved {
        place: store.name(),
        to: to.clone(),
        by: format!("{by}, at {at}"),
    }
}

/// Watches a holder of another machine for as long as its lease lasts. Comes back with the lease when it is
/// free, or was not renewed all that time.
///
/// The time is added up from what was slept: no clock is compared with another, nor set back on the way.
pub(crate) async fn watch(
    store: &Store,
    taker: &Taker,
    seen: &Seen,
    tell: &(dyn Fn(&Waiting) + Send + Sync),
) -> Result<Option<Seen>, Error> {
    let Standing::Held {
        holder,
        since,
        lease_ms,
        ..
    } = &seen.lease.standing
    else {
        unreachable!("only a lease that is held is watched");
    };
    let mut left = Duration::from_millis(*lease_ms) + MARGIN;
    tell(&Waiting {
        holder: holder.clone(),
        since: since.clone(),
        at_most: left,
    });
    while !left.is_zero() {
        let pause = LOOK.min(left);
        taker.clock.sleep(pause).await;
        left -= pause;
        // What cannot be read now is read next time; in the end, writing tells.
        let Ok(now) = lease::read(store.place.as_ref()).await else {
            continue;
        };
        match &now {
            Some(now) if now.version == seen.version => {}
            Some(now) if matches!(now.lease.standing, Standing::Held { .. }) => {
                return Err(Error::Locked { by: now.lease.told() });
            }
            _ => return Ok(now),
        }
    }
    Ok(Some(seen.clone()))
}

/// Opens the epoch in the journal: from then on, nobody of an earlier one can write.
async fn open(seat: &Seat, opened: Opened) -> Result<(), Error> {
    let place = seat.place.as_ref();
    let line = Line {
        epoch: seat.epoch,
        nonce: seat.nonce.clone(),
        said: Said::Opened(opened),
    };
    let bytes = line.bytes();
    let mut next = seat.next.lock().await;
    // What was folded in is never written again, even if somebody removed the records themselves.
    let folded = inventory::kept(place).await?;
    let through = folded.and_then(|(inventory, _)| inventory.through).unwrap_or(0);
    loop {
        let newest = journal::newest(place).await?;
        // None when it was put away since: then there is a newer one.
        let before = match newest {
            0 => None,
            newest => match journal::read(place, newest).await? {
                Some(line) => Some(line),
                None => continue,
            },
        };
        if let Some(before) = before.filter(|before| before.epoch >= seat.epoch) {
            if before.nonce == seat.nonce {
                *next = newest + 1;
                return Ok(());
            }
            let by = match lease::read(place).await? {
                Some(seen) => seen.lease.told(),
                None => format!("epoch {}", before.epoch),
            };
            return Err(Error::Locked { by });
        }
        let number = newest.max(through) + 1;
        let Put::Done = journal::put(seat, number, &bytes).await? else {
            continue;
        };
        let after = place.list(journal::FOLDER, &journal::name(number)).await?;
        if after.is_empty() {
            *next = number + 1;
            return Ok(());
        }
        // Others had written there and put it away in the meantime: it says nothing where it is.
        place.remove(&journal::name(number)).await?;
    }
}
