//! The lease: a document that says who holds the platform, and a promise to renew it.
//!
//! It keeps people from waiting for the dead and from disturbing the living. What keeps records from being
//! spoilt is not the lease but the numbered journal; see [`crate::fence`].

use std::time::Duration;

use landfall_runner::Place;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files::{parse, pretty};
use crate::holder::Holder;

/// How long a lease lasts after it was renewed.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
pub const RENEW: Duration = Duration::from_secs(10);
/// How much longer than the lease a newcomer watches: a renewal may be under way.
pub const MARGIN: Duration = Duration::from_secs(5);
/// How often a newcomer looks meanwhile.
pub const LOOK: Duration = Duration::from_secs(1);

pub(crate) const NAME: &str = "lease.json";

/// What `lease.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lease {
    /// Grows by one each time the platform is taken.
    pub(crate) epoch: u64,
    /// Whose take this is.
    pub(crate) nonce: String,
    /// Which line of records this is: the nonce of its first take, wherever the records moved since. None when
    /// nobody knows: an older Landfall kept none, and it goes when somebody removes the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,
    #[serde(flatten)]
    pub(crate) standing: Standing,
}

/// One take among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Take {
    pub(crate) epoch: u64,
    pub(crate) nonce: String,
}

/// How a lease stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub(crate) enum Standing {
    /// Somebody holds the platform.
    Held {
        holder: Holder,
        /// Since when, by the holder's clock. For people: clocks are never compared.
        since: String,
        lease_ms: u64,
        /// Counts renewals, so that every one changes the document.
        renewals: u64,
    },
    /// The holder let go: it writes nothing any more.
    Released { by: Holder, at: String },
    /// Records are being copied here, by the take of the place they come from that this lease bears. They
    /// count once that very take has left the other place as moved.
    HalfCopied { from: String },
    /// The records went on elsewhere. Who held them wrote this last, and writes nothing here any more.
    Moved { to: String, by: Holder, at: String },
}

impl Lease {
    pub(crate) fn whose(&self) -> Take {
        Take {
            epoch: self.epoch,
            nonce: self.nonce.clone(),
        }
    }

    /// Whether both may be of one line of records, as far as that is known.
    pub(crate) fn may_be_of_one_line(&self, other: &Lease) -> bool {
        match (&self.line, &other.line) {
            (Some(here), Some(there)) => here == there,
            _ => true,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        pretty(self)
    }

    /// Who holds it, for people.
    pub(crate) fn told(&self) -> String {
        match &self.standing {
            Standing::Held { holder, since, .. } => format!("{holder}, since {since}"),
            Standing::Released { by, at } => format!("{by}, until {at}"),
            Standing::HalfCopied { from } => format!("a copy from {from}"),
            Standing::Moved { to, by, at } => format!("{by}, who moved them to {to} at {at}"),
        }
    }
}

/// A lease as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) lease: Lease,
    pub(crate) version: String,
}

pub(crate) async fn read(place: &dyn Place) -> Result<Option<Seen>, Error> {
    let Some(kept) = place.read(NAME).await? else {
        return Ok(None);
    };
    let path = crate::read::path(place, NAME);
    Ok(Some(Seen {
        lease: parse(&path, &kept.bytes)?,
        version: kept.version,
    }))
}
