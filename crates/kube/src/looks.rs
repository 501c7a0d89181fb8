//! How often what is waited for is looked at.

use std::time::Duration;

use crate::digest;

/// Waits that grow: from one second to three, and to ten once it takes minutes.
pub(crate) struct Looks {
    next_ms: u64,
    waited_ms: u64,
}

const FIRST_MS: u64 = 1_000;
const USUAL_MS: u64 = 3_000;
const LONG_MS: u64 = 10_000;
/// From when on it takes long.
const LONG_AFTER_MS: u64 = 60_000;

impl Looks {
    pub(crate) fn new() -> Looks {
        Looks {
            next_ms: FIRST_MS,
            waited_ms: 0,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next_ms;
        self.waited_ms += wait;
        let longest = if self.waited_ms < LONG_AFTER_MS {
            USUAL_MS
        } else {
            LONG_MS
        };
        self.next_ms = (wait * 3 / 2).min(longest);
        Duration::from_millis(wait)
    }
}

/// Waits after an answer that did not come: doubling, and not the same for all who wait.
pub(crate) struct Backoff {
    salt: u64,
    tries: u32,
}

const BACKOFF_MS: (u64, u64) = (500, 20_000);

impl Backoff {
    /// `what` is being asked: those who ask for different things come back at different moments.
    pub(crate) fn of(what: &str) -> Backoff {
        Backoff {
            salt: digest::number(what),
            tries: 0,
        }
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// The next wait, at least as long as the server asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let (first, longest) = BACKOFF_MS;
        let base = first.saturating_mul(1 << self.tries.min(10)).min(longest);
        self.tries += 1;
        let share = digest::number(&format!("{}/{}", self.salt, self.tries)) % 500;
        let wait = Duration::from_millis(base * (750 + share) / 1000);
        wait.max(asked.unwrap_or_default())
    }
}
