//! Sessions of several processes that want one platform.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod folder;
mod holding;
mod moving;
mod records;
mod swarm;
mod world;
