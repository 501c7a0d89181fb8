//! Carries a plan out, through ports: providers for the world, a journal, a clock.
//!
//! The order comes from the engine, the work from providers, the record from the journal. This room
//! knows which of each it has no more than it knows what a stack is.

mod execute;
mod look;
mod notes;
mod place;
mod ports;
mod preflight;
mod readers;
mod sweep;

pub use execute::{Ended, Execution, Stop, resume};
pub use look::{Look, LookError, Remembered, look};
pub use place::{Kept, Place, PlaceError, When, Written};
pub use ports::{
    ApplyError, Clock, Event, Identity, Intent, Journal, JournalError, ObserveError, Preflight, Progress,
    Provider, Providers, Role, Roles, Sweeper, SystemClock, Watcher, WhoAmI,
};
pub use preflight::{Unanswered, ask};
pub use readers::{LogEvent, LogReader, Logged, Probe, Probed, SecretReader, SecretValue};
pub use sweep::search;
