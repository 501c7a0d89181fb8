//! Plans carried out in a simulated cloud, told as sessions: the executor, the engine and the world
//! together, in virtual time.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod chance;
mod clusters;
mod controllers;
mod crashes;
mod mishaps;
mod policies;
mod preflight;
mod refusals;
mod runs;
mod stack_sets;
mod stacks;
mod stage;
mod sweeping;
mod town;
mod workloads;
