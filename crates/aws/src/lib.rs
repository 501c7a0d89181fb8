//! CloudFormation stacks and AWS secrets, whose credentials these are, the few calls to S3 and IAM that
//! stacks need, what is left over in an account, what is
//! asked before the first change, and records kept in a bucket.
//!
//! CloudFormation and STS are spoken to through their SDK crates. Every other service gets a handful of
//! signed requests instead: their SDK crates cost minutes of building each.
//!
//! Decides no order and plans nothing; knows no Kubernetes.

mod account;
mod ask;
mod bucket;
mod eks;
mod existing;
mod leftovers;
mod preflight;
mod readers;
mod records;
mod roles;
mod secret;
mod signed;
mod stack;
mod stack_set;
mod trouble;

pub use account::{Account, ConnectError};
pub use eks::{EksCluster, EksToken};
pub use leftovers::Leftovers;
pub use preflight::AwsPreflight;
pub use records::S3Place;
pub use secret::Secrets;
pub use stack::Stacks;
pub use stack_set::StackSets;
