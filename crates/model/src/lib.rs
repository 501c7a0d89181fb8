//! What Landfall talks about: platforms, components, steps, plans, runs and the
//! diagnostics about the files that describe them.
//!
//! Plain data. Nothing here waits, reads a clock or a file, or knows a cloud.

pub mod assertion;
pub mod certificate;
pub mod definition;
pub mod diagnostic;
pub mod finding;
pub mod id;
pub mod journal;
pub mod leftover;
pub mod plan;
pub mod planted;
pub mod platform;
pub mod provider;
pub mod question;
pub mod request;
pub mod schema;
pub mod template;
pub mod wanted;
pub mod work;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, SourceFile, Span};
pub use id::{PlanId, RunId, StepId};
