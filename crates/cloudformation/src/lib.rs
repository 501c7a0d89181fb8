//! What CloudFormation's texts mean: what a template promises, why an operation failed, and what to do about it.
//! Knows no network; used by whoever talks to the real CloudFormation, and by whoever plays it.

mod advice;
mod failure;
mod functions;
mod in_the_way;
pub mod resolve;
pub mod stack_set;
mod template;

pub use advice::way_out;
pub use failure::{after_rollback, failure};
pub use in_the_way::{FINISH_THE_TEARDOWN, InTheWay};
pub use resolve::{Place, Resolved, Resource, Template, is_unknown, resolve};
pub use template::{INLINE_LIMIT, read_template};
