//! The provider of `objects` steps against an API server: our own small one, in process and in virtual time, and a real
//! cluster when `LANDFALL_TEST_KUBECONFIG` names one.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod applying;
mod crashes;
mod drift;
mod files;
mod front;
mod probing;
mod refusals;
mod removing;
mod waiting;
mod world;
