//! Mistakes that can be planted on purpose, to prove that the simulation would notice them.
//!
//! They sleep unless the feature `planted-bugs` is on, which nothing that ships does: without it,
//! [`is_planted`] is always false and costs nothing. With it, a mistake is planted for one thread.

/// A mistake somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A teardown sweeps at once, while everything that makes things anew still lives.
    SweptFirst,
    /// A teardown removes controllers before what they look after.
    ControllersFirst,
    /// A teardown knows no order.
    OrderForgotten,
    /// A step starts although one it waits for has failed.
    FailureIgnored,
    /// The intent to act is not written down before acting.
    IntentForgotten,
    /// A step that failed is recorded as done.
    FailureRecordedAsDone,
    /// An intent has another name after a crash.
    TokenChanges,
    /// Leftovers are swept once, and not looked for again.
    SweptOnce,
    /// A teardown that goes on has forgotten which networks and clusters were the platform's.
    MarksForgotten,
    /// What a fresh search finds in networks is passed over.
    NetworksNotSearched,
    /// A writer that lost the lease goes on writing.
    FenceIgnored,
    /// The lease of a living holder is taken.
    LeaseStolen,
    /// A record whose answer was lost is written again under the next number.
    AnswerLostWrittenTwice,
}

impl Bug {
    /// Every one of them.
    pub const ALL: [Bug; 13] = [
        Bug::SweptFirst,
        Bug::ControllersFirst,
        Bug::OrderForgotten,
        Bug::FailureIgnored,
        Bug::IntentForgotten,
        Bug::FailureRecordedAsDone,
        Bug::TokenChanges,
        Bug::SweptOnce,
        Bug::MarksForgotten,
        Bug::NetworksNotSearched,
        Bug::FenceIgnored,
        Bug::LeaseStolen,
        Bug::AnswerLostWrittenTwice,
    ];
}

/// Whether this mistake is planted in this thread.
#[cfg(feature = "planted-bugs")]
pub fn is_planted(bug: Bug) -> bool {
    soil::PLANTED.get() == Some(bug)
}

/// Whether this mistake is planted: never, here.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is_planted(_: Bug) -> bool {
    false
}

/// Plants a mistake for this thread, or none.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    soil::PLANTED.set(bug);
}

#[cfg(feature = "planted-bugs")]
mod soil {
    use std::cell::Cell;

    thread_local! {
        pub(super) static PLANTED: Cell<Option<super::Bug>> = const { Cell::new(None) };
    }
}

/// Whether a mistake is planted, by its name alone: `planted!(SweptOnce)`.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is_planted($crate::planted::Bug::$bug)
    };
}
