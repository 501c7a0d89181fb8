//! Keeps journals, plans and the inventory of one platform, in a folder or wherever a [`Place`] keeps them.
//!
//! ```text
//! lease.json                  who holds the platform, or held it last; or where the records went
//! journal/0000000001.json …   one record each, numbered without gaps across all runs
//! runs/<run>/plan.json        what a run carries out, written before its first record
//! runs/<run>/journal.jsonl    what a run did, one record a line, once it is over
//! inventory.json              what the platform owns, what checks gave, how long steps took;
//!                             `through`: the number of the last record folded in
//! ```
//!
//! Of the numbered records of runs that are over, the newest stays, and two for each process that died.
//!
//! One writer at a time, whatever clocks and networks do: [`fence`] says why. Readers need no lock and never
//! wait. Decides nothing: whether a run may go on is the engine's to say.

mod certificate;
mod error;
pub mod fence;
mod files;
mod holder;
mod inventory;
mod journal;
mod lease;
mod moving;
mod place;
mod read;
mod rebuild;
mod runs;
mod take;
mod tidy;

use std::path::PathBuf;
use std::sync::Arc;

use landfall_runner::Place;

pub use certificate::CERTIFICATE;
pub use error::Error;
pub use fence::Lock;
pub use files::{read_plan, save_plan};
pub use holder::{Holder, Taker, Waiting};
pub use inventory::{Durations, Inventory, Learned};
pub use journal::RunJournal;
pub use lease::{LEASE, LOOK, MARGIN, RENEW};
pub use moving::Whereabouts;
pub use place::{Answer, Call, FolderPlace, MemoryPlace, Turn, Wrote};
pub use runs::PastRun;

/// One platform's records.
#[derive(Clone)]
pub struct Store {
    place: Arc<dyn Place>,
    /// Set when the place is a folder of this machine: its lock tells at once whether a holder lives.
    folder: Option<FolderPlace>,
    /// Where the records may have come from.
    from: Option<Arc<dyn Place>>,
}

impl Store {
    /// The records kept in a folder of this machine. Nothing is made yet.
    pub fn folder(root: impl Into<PathBuf>) -> Store {
        let folder = FolderPlace::new(root);
        Store {
            place: Arc::new(folder.clone()),
            folder: Some(folder),
            from: None,
        }
    }

    /// The records kept in any place.
    pub fn over(place: Arc<dyn Place>) -> Store {
        Store {
            place,
            folder: None,
            from: None,
        }
    }

    /// The same, knowing where its records may have come from: a move that broke off right after the other
    /// place was left is finished by whoever takes the platform here.
    #[must_use]
    pub fn coming_from(&self, other: &Store) -> Store {
        Store {
            from: Some(other.place.clone()),
            ..self.clone()
        }
    }

    /// What people call the place: a folder, an `s3://` address.
    pub fn name(&self) -> String {
        self.place.name()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.name()).finish()
    }
}
