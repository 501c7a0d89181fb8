//! Who holds a platform, or wants to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use landfall_model::id::Digest;
use landfall_runner::Clock;
use serde::{Deserialize, Serialize};

/// A process that holds a platform, or wants to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The person and the machine: `user@host`.
    pub who: String,
    /// The machine, as far as one can be told from another.
    pub machine: String,
    /// The process's number there: for people. Numbers are given out again, so nothing rests on it.
    pub pid: u32,
}

impl Holder {
    /// This process.
    pub fn this_process() -> Holder {
        let user = std::env::var("USER")
            .or_else(|_| std::env::var("USERNAME"))
            .unwrap_or_else(|_| "someone".to_owned());
        let host = host();
        // Clones of one image may share the first, machines on different networks the second.
        let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Holder {
            who: format!("{user}@{host}"),
            machine: Digest::of(format!("{}/{host}", id.trim())).short().to_owned(),
            pid: std::process::id(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.who, self.pid)
    }
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "localhost".to_owned())
}

/// Someone who wants to hold a platform.
#[derive(Clone)]
pub struct Taker {
    /// Who.
    pub holder: Holder,
    /// Letters and digits that nobody else has: how it knows its own writes again when an answer was lost.
    pub nonce: String,
    /// The machine's own time. Never a simulated one: leases are kept among real processes.
    pub clock: Arc<dyn Clock>,
}

/// Told while a taker waits to see whether the holder still lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who holds the platform.
    pub holder: Holder,
    /// Since when, by its own clock.
    pub since: String,
    /// How long the wait takes at most.
    pub at_most: Duration,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waiting {
            holder,
            since,
            at_most,
        } = self;
        write!(
            f,
            "{holder} holds this platform since {since}; waiting up to {} s to see whether it still lives",
            at_most.as_secs()
        )
    }
}
