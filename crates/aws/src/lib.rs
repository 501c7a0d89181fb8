//! CloudFormation stacks and AWS secrets, whose credentials these are, and the few calls to S3 and
//! IAM that stacks need.
//!
//! CloudFormation and STS are spoken to through their SDK crates. S3, IAM and Secrets Manager get a
//! handful of signed requests instead: their SDK crates cost minutes of building each.
//!
//! Decides no order and plans nothing; knows no Kubernetes.

mod account;
mod bucket;
mod existing;
mod secret;
mod signed;
mod stack;
mod template;
mod trouble;

pub use account::{Account, ConnectError};
pub use secret::Secrets;
pub use stack::Stacks;
pub use template::{INLINE_LIMIT, read_template};
