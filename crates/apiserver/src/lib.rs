//! A small Kubernetes API server: what clients see of one.
//!
//! The core, [`ApiServer`], is plain data and functions: a request and the time go in, an answer comes
//! out. It opens no socket, starts no task and reads no clock, so a simulation can hold thousands of
//! them. The front, [`serve`], puts one behind HTTP and TLS for real clients.
//!
//! It runs no controllers: no pod starts here by itself. Whoever embeds it plays those parts through
//! the methods that take a field manager, and answers for webhooks through [`Hooks`].
//!
//! What it lacks it refuses with status 501 and the name of the feature. It never pretends.

mod access;
mod admission;
mod crd;
mod defaults;
mod discovery;
mod fields;
mod garbage;
mod handle;
mod immutable;
mod listing;
mod managed;
mod merge;
mod message;
mod names;
mod openapi;
mod patch;
mod rules;
mod schema;
mod selector;
pub mod serve;
mod served;
mod server;
mod status;
mod store;
mod strategic;
mod structural;
mod table;
mod validate;
mod watch;
mod write;

pub use admission::{Hooks, View, Webhook};
pub use message::{Answer, Key, Request, Response};
pub use server::{ApiServer, Outcome};
pub use status::Status;
pub use watch::Watch;
