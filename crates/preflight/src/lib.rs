//! What would go wrong, found before the first change: everything at once, each with the way out.
//!
//! Pure. [`findings`] tells what the templates alone show: versions that have ended, ranges that overlap,
//! names that break rules, things in the wrong region. [`inquiries`] says what the world has to be asked, and
//! each [`Inquiry`] judges the answer. Who answers (AWS, the simulated cloud) is none of this room's business,
//! so both are told in the same words.
//!
//! Values that are not known yet are passed over: what cannot be judged now is met by the stack itself.

mod edge;
mod inquiry;
mod judge;
mod lifecycle;
mod names;
mod networks;
mod objects;
mod quotas;
mod thing;

use landfall_model::finding::{Finding, in_order};
use landfall_model::question::Upcoming;

pub use inquiry::{Inquiry, inquiries};

use thing::things;

/// What the templates of the steps to come show by themselves. `today` is a date, `YYYY-MM-DD`.
pub fn findings(upcoming: &[Upcoming], today: &str) -> Vec<Finding> {
    let things = things(upcoming);
    let mut found = Vec::new();
    lifecycle::judge(&things, today, &mut found);
    networks::judge(&things, &mut found);
    edge::judge(&things, &mut found);
    names::judge(&things, &mut found);
    objects::judge(upcoming, &mut found);
    in_order(found)
}

#[cfg(test)]
mod tests;
