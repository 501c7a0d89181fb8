//! The smallest IAM policy that carrying out a platform needs.
//!
//! [`needs`] looks at the platform's steps, filled in as far as their values are known, and says what whoever
//! runs them must be allowed: to Landfall itself, and to CloudFormation, which makes every resource with the
//! permissions of whoever asks for it. Where a template gives a name, the policy names it. Where CloudFormation
//! will make the name up, it allows the form of such names, and only through CloudFormation.
//!
//! Pure: asks no account, and knows no more than the templates and a table of what each type of resource needs.

mod document;
mod facts;
mod grant;
mod names;
mod own;
mod read_only;
mod resources;

use std::collections::BTreeSet;

use landfall_model::StepId;
use landfall_model::question::Permission;
use landfall_model::wanted::Facts;
use landfall_model::work::Step;

use grant::Grant;
use names::Names;

pub use document::{Document, LIMIT};
pub use facts::{TypeFacts, Verb, type_facts, types};
pub use grant::{Condition, Operator, Statement};

/// What a policy is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    /// The platform.
    pub platform: &'a Facts,
    /// Its steps.
    pub steps: &'a [Step],
    /// The bucket its records are kept in, when they are kept in one.
    pub records: Option<&'a str>,
    /// Whether searching for leftovers and sweeping them is allowed, too: what `destroy` does beyond removing
    /// what `apply` has made.
    pub destroy: bool,
}

/// What must be allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What must be allowed, without one statement too many.
    pub statements: Vec<Statement>,
    /// Resources of types that the table does not know. The policy is incomplete when there are any.
    pub unknown: Vec<UnknownType>,
    permissions: BTreeSet<Permission>,
}

/// A resource whose needs are not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnknownType {
    /// The step that makes it.
    pub step: StepId,
    /// Its logical id.
    pub resource: String,
    /// Its type, such as `AWS::S3::Bucket`.
    pub kind: String,
}

/// What carrying out a platform needs.
pub fn needs(wants: &Wants<'_>) -> Policy {
    let mut unknown = Vec::new();
    let names = Names::of(wants.steps);
    let mut grants = own::grants(wants, &names);
    grants.extend(resources::grants(wants, &names, &mut unknown));
    unknown.sort();
    Policy {
        permissions: grants.iter().map(Grant::permission).collect(),
        statements: grant::statements(grants),
        unknown,
    }
}

impl Policy {
    /// The same as documents that each keep to the limit of a managed policy.
    pub fn documents(&self) -> Vec<Document> {
        document::documents(&self.statements)
    }

    /// Every action with what it is for, to be asked about one by one. A statement may allow more: in it, every
    /// action goes with every resource.
    pub fn permissions(&self) -> BTreeSet<Permission> {
        self.permissions.clone()
    }
}

#[cfg(test)]
mod tests;
