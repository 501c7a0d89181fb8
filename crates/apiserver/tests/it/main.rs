//! The server as its clients meet it: `kubectl` and kube-rs over TLS, and the core by itself.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says what went wrong")]

mod apply;
mod client;
mod core;
mod custom;
mod kubectl;
mod world;
