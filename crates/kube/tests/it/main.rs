//! The provider of `objects` steps against an API server: our own small one, in process and in virtual time, and a real
//! cluster when `LANDFALL_TEST_KUBECONFIG` names one.

mod applying;
mod crashes;
mod drift;
mod files;
mod front;
mod refusals;
mod removing;
mod waiting;
mod world;
