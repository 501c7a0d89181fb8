//! Tests of the whole program, in one binary: linking it takes longer than most of them.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod bad_inputs;
mod blueprints;
mod clusters;
mod common;
mod crashes;
mod emulators;
mod emulators_blueprints;
mod emulators_leftovers;
mod judges;
mod kinds;
mod preflight;
mod sessions;
mod stack_sets;
