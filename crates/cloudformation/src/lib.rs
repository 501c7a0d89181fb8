//! What CloudFormation's texts mean: what a template promises. Knows no network; used by whoever talks to the
//! real CloudFormation, and by whoever plays it.

mod template;

pub use template::{INLINE_LIMIT, read_template};
