//! Holding a platform, and why nobody writes who does not.
//!
//! # The argument
//!
//! *Once an epoch is opened in the journal, no record of an earlier epoch is acknowledged any more*, however
//! long its writer slept, however late its writes arrive, and whatever any clock says.
//!
//! 1. A number is written only while nothing has it ([`When::Absent`]), and a writer goes to the next number
//!    only after it has seen the one before occupied. So numbers have no gaps, and a writer of epoch *e* can
//!    write at one number only: the one after the last that it knows.
//! 2. Whoever takes the platform first gets a higher epoch into `lease.json` by compare-and-swap, so no two
//!    takes share one. Then it writes, after the newest record, the record that opens its epoch, at *m*; it
//!    makes sure that the newest was of a lower epoch, and then that nothing lies after *m*. So everything up
//!    to *m* was occupied when *m* was, and whoever finds itself behind a higher epoch gives up.
//! 3. Let *e* be an earlier epoch whose writer still runs. Where it may write, *k*, is at most *m*. If *k* is
//!    occupied by its own record (an answer that was lost), that record lies before *m* and counts. If it is
//!    occupied by anything else, that is of a higher epoch, because *e*'s writer knows all before *k*: it
//!    reads that, and is fenced for good.
//! 4. What is left is that *k* was occupied and became free again, because finished runs' records are put
//!    away. *k* is *m'*, the number that opened the first epoch after *e*, or *m' - 1*, *e*'s own last record.
//!    Both are never removed unless the record at *m'* says that *e* had let go, and who let go has stopped
//!    appending before it said so (see `tidy`).
//!
//! A write of *e* that nobody waits for any more may still land at a number that was put away. It was not
//! acknowledged, it lies at or before `through`, and nobody reads there.
//!
//! Moving to another place ([`Lock::move_to`]) rests on one write: the lease of the place that is left goes
//! from held to moved by compare-and-swap, after everything was copied. Before it, the copy is refused by all;
//! after it, the place that was left is. What is copied is numbered as it was, and the epoch goes on growing.
//!
//! The lease adds comfort, not safety: with its times all wrong, takers disturb each other, and whoever is
//! disturbed stops.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use landfall_model::id::RunId;
use landfall_model::plan::Plan;
use landfall_runner::{Clock, JournalError, Place, PlaceError, When, Written};
use tokio::task::JoinHandle;

use crate::Store;
use crate::error::Error;
use crate::files::{self, pretty};
use crate::holder::{Holder, Taker};
use crate::journal::{Line, RunJournal, Said};
use crate::lease::{self, LEASE, Lease, RENEW, Seen, Standing};
use crate::place::Proof;

/// How soon a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(2);
/// How often a renewal that meets its own earlier tries is repeated at once.
const TRIES: usize = 4;

/// Holds a platform: only who has this may write. Release it when done; dropped, it looks as if the process
/// had died, and others wait longer.
pub struct Lock {
    pub(crate) seat: Arc<Seat>,
    pub(crate) store: Store,
    renewing: JoinHandle<()>,
}

/// What holding takes, shared by the lock, its renewal and the journals written under it.
pub(crate) struct Seat {
    pub(crate) place: Arc<dyn Place>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) holder: Holder,
    pub(crate) nonce: String,
    pub(crate) epoch: u64,
    /// The number of the next record. Held while one is appended.
    pub(crate) next: tokio::sync::Mutex<u64>,
    lease: tokio::sync::Mutex<Seen>,
    /// When a renewal that succeeded was begun.
    renewed_ms: AtomicU64,
    let_go: AtomicBool,
    superseded: OnceLock<(String, u64)>,
    proof: Mutex<Option<Proof>>,
}

impl Seat {
    /// A seat under a lease that was just written, its epoch not opened yet.
    pub(crate) fn new(
        store: &Store,
        taker: &Taker,
        seen: Seen,
        written_ms: u64,
        proof: Option<Proof>,
    ) -> Seat {
        Seat {
            place: store.place.clone(),
            clock: taker.clock.clone(),
            holder: taker.holder.clone(),
            nonce: taker.nonce.clone(),
            epoch: seen.lease.epoch,
            next: tokio::sync::Mutex::new(0),
            lease: tokio::sync::Mutex::new(seen),
            renewed_ms: AtomicU64::new(written_ms),
            let_go: AtomicBool::new(false),
            superseded: OnceLock::new(),
            proof: Mutex::new(proof),
        }
    }

    /// Makes sure that the lease may be relied on; after it ran out, only by renewing it.
    pub(crate) async fn make_sure(&self) -> Result<(), JournalError> {
        if self.let_go.load(Ordering::SeqCst) {
            return Err(self.not_written("the platform was let go of"));
        }
        if let Some(fenced) = self.fenced() {
            return Err(fenced);
        }
        let age = self
            .clock
            .millis()
            .saturating_sub(self.renewed_ms.load(Ordering::SeqCst));
        if Duration::from_millis(age) < LEASE {
            return Ok(());
        }
        self.renew().await.map_err(|error| match error {
            Error::Superseded { .. } => self.fenced().unwrap_or_else(|| self.not_written(error)),
            error => self.not_written(error),
        })
    }

    fn fenced(&self) -> Option<JournalError> {
        let (by, epoch) = self.superseded.get()?;
        Some(JournalError::Fenced {
            by: by.clone(),
            epoch: *epoch,
        })
    }

    /// The platform is lost to whoever wrote `line`, or went on after it.
    pub(crate) async fn lost_to(&self, number: u64, line: Option<&Line>) -> JournalError {
        // The lease names who came last, the record only somebody after us.
        let told = match (lease::read(self.place.as_ref()).await, line) {
            (Ok(Some(seen)), _) if seen.lease.nonce != self.nonce => (seen.lease.told(), seen.lease.epoch),
            (_, Some(line)) => {
                let by = match &line.said {
                    Said::Opened(opened) => format!("{}, since {}", opened.holder, opened.at),
                    Said::Record(run, _) => format!("the run {run}"),
                };
                (by, line.epoch)
            }
            (_, None) => (format!("whoever put record {number} away"), self.epoch + 1),
        };
        let _ = self.superseded.set(told);
        self.fenced().expect("it was just set")
    }

    pub(crate) fn not_written(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> JournalError {
        JournalError::Write {
            name: crate::read::path(self.place.as_ref(), "journal"),
            source: source.into(),
        }
    }

    /// The lease as it was last written.
    pub(crate) async fn lease(&self) -> Lease {
        self.lease.lock().await.lease.clone()
    }

    /// Makes sure that the lease may be relied on, for what is not written to the journal.
    pub(crate) async fn still(&self) -> Result<(), Error> {
        if let Some((by, _)) = self.superseded.get() {
            return Err(Error::Superseded { by: by.clone() });
        }
        let renewed_ms = self.renewed_ms.load(Ordering::SeqCst);
        let age = self.clock.millis().saturating_sub(renewed_ms);
        if Duration::from_millis(age) < LEASE {
            return Ok(());
        }
        self.renew().await
    }

    /// Renews the lease, or finds out that it is lost.
    pub(crate) async fn renew(&self) -> Result<(), Error> {
        let mut seen = self.lease.lock().await;
        let mut last = None;
        for _ in 0..TRIES {
            let began = self.clock.millis();
            let mut lease = seen.lease.clone();
            let Standing::Held { renewals, .. } = &mut lease.standing else {
                // Let go of meanwhile, by this very process.
                let by = seen.lease.told();
                return Err(Error::Superseded { by });
            };
            *renewals += 1;
            match self.write_lease(&lease, When::Is(seen.version.clone())).await {
                Ok(Written::Done(version)) => {
                    *seen = Seen { lease, version };
                    self.renewed_ms.store(began, Ordering::SeqCst);
                    return Ok(());
                }
                Ok(Written::Conflict) => {}
                Err(error) => last = Some(error),
            }
            // An earlier try may have been done although its answer was lost: then the next follows on it.
            self.still_ours(&mut seen).await?;
        }
        Err(last.map_or_else(
            || Error::Superseded {
                by: seen.lease.told(),
            },
            Error::from,
        ))
    }

    /// Reads the lease as it stands, when it is still ours.
    async fn still_ours(&self, known: &mut Seen) -> Result<(), Error> {
        let ours = known.lease.whose();
        match lease::read(self.place.as_ref()).await? {
            Some(seen) if seen.lease.whose() == ours => {
                *known = seen;
                Ok(())
            }
            other => {
                let told = other.map_or_else(
                    || ("somebody who removed the lease".to_owned(), self.epoch + 1),
                    |seen| (seen.lease.told(), seen.lease.epoch),
                );
                let (by, _) = self.superseded.get_or_init(|| told);
                Err(Error::Superseded { by: by.clone() })
            }
        }
    }

    /// Writes the lease, and does not wait for an answer for ever.
    async fn write_lease(&self, lease: &Lease, when: When) -> Result<Written, PlaceError> {
        let bytes = lease.bytes();
        tokio::select! {
            written = self.place.write(lease::NAME, &bytes, when) => written,
            () = self.clock.sleep(RENEW) => Err(PlaceError {
                doing: "write",
                what: crate::read::path(self.place.as_ref(), lease::NAME),
                source: "no answer came".into(),
            }),
        }
    }

    /// Renews the lease for as long as it is ours.
    async fn keep(self: Arc<Seat>) {
        let mut pause = RENEW;
        loop {
            self.clock.sleep(pause).await;
            pause = match self.renew().await {
                Ok(()) => RENEW,
                Err(Error::Superseded { .. }) => return,
                Err(_) => RENEW_AGAIN,
            };
        }
    }
}

impl Lock {
    /// A lock on an opened epoch, whose lease is renewed from now on.
    pub(crate) fn new(store: &Store, seat: Seat) -> Lock {
        let seat = Arc::new(seat);
        Lock {
            renewing: tokio::spawn(seat.clone().keep()),
            store: store.clone(),
            seat,
        }
    }

    /// In which epoch records are written now.
    pub fn epoch(&self) -> u64 {
        self.seat.epoch
    }

    /// Begins a run: keeps its plan, and gives the journal for it.
    ///
    /// # Errors
    /// The plan cannot be kept.
    pub async fn begin(&self, run: &RunId, plan: &Plan) -> Result<RunJournal, Error> {
        let name = crate::runs::plan_name(run);
        let place = &self.store.place;
        files::keep(place.as_ref(), &name, &pretty(plan)).await?;
        Ok(self.go_on(run))
    }

    /// The journal of a run that goes on.
    pub fn go_on(&self, run: &RunId) -> RunJournal {
        RunJournal {
            seat: self.seat.clone(),
            run: run.clone(),
        }
    }

    /// Lets go: nothing is appended any more, and the next taker need not wait.
    ///
    /// # Errors
    /// The lease cannot be written. It runs out by itself then.
    pub async fn release(self) -> Result<(), Error> {
        let standing = Standing::Released {
            by: self.seat.holder.clone(),
            at: self.seat.clock.now(),
        };
        match self.leave(standing).await {
            // Nothing of ours to let go of any more.
            Err(Error::Superseded { .. }) => Ok(()),
            left => left,
        }
    }

    /// Appends nothing any more, and leaves the lease as given, for good. What it was left as before stays.
    pub(crate) async fn leave(&self, standing: Standing) -> Result<(), Error> {
        let seat = &self.seat;
        // What is under way ends first; what comes later is refused.
        let appending = seat.next.lock().await;
        seat.let_go.store(true, Ordering::SeqCst);
        drop(appending);
        self.renewing.abort();
        let mut seen = seat.lease.lock().await;
        let mut last = None;
        for _ in 0..TRIES {
            let mut lease = seen.lease.clone();
            lease.standing = standing.clone();
            match seat.write_lease(&lease, When::Is(seen.version.clone())).await {
                Ok(Written::Done(version)) => {
                    *seen = Seen { lease, version };
                    return Ok(());
                }
                Ok(Written::Conflict) => {}
                Err(error) => last = Some(error),
            }
            seat.still_ours(&mut seen).await?;
            if !matches!(seen.lease.standing, Standing::Held { .. }) {
                return Ok(());
            }
        }
        Err(last.map_or_else(
            || Error::Superseded {
                by: seen.lease.told(),
            },
            Error::from,
        ))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.seat.let_go.store(true, Ordering::SeqCst);
        self.renewing.abort();
        self.seat
            .proof
            .lock()
            .expect("nobody panics while holding a proof")
            .take();
    }
}
