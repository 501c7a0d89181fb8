//! What a world is asked before the first change, and what it answers. Asking changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::work::Step;

/// A step that will be created or changed, and which of its resources stand already.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcoming {
    /// The step, filled in as far as its values are known.
    pub step: Step,
    /// Logical ids of what stands already and stays: it has its name, and counts towards no limit.
    pub standing: BTreeSet<String>,
    /// Whether the remains of an earlier attempt are cleared away first: what is called so now may be one of them.
    pub after_remains: bool,
}

/// One question to the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Which of these may whoever runs this not do?
    Permissions {
        /// IAM actions, each with the resource it is for.
        actions: BTreeSet<Permission>,
    },
    /// How much of a limit is used?
    Quota {
        /// Which limit.
        quota: Quota,
        /// Its region.
        region: String,
    },
    /// Which networks stand?
    Networks {
        /// Their region.
        region: String,
    },
    /// Is a name free?
    Name {
        /// What is called so, in CloudFormation's words.
        kind: String,
        /// The name.
        name: String,
        /// The region in which it must be free.
        region: String,
    },
    /// What is a hosted zone, and is it delegated?
    Zone {
        /// Its id.
        id: String,
    },
    /// Is a certificate there, and issued?
    Certificate {
        /// Its ARN.
        arn: String,
    },
}

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The IAM action, such as `iam:CreateRole`.
    pub action: String,
    /// The ARN it is for, `*` for any.
    pub resource: String,
}

/// A limit of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quota {
    /// Its service, in the words of Service Quotas.
    pub service: String,
    /// Its code there.
    pub code: String,
    /// What is counted, in CloudFormation's words.
    pub kind: String,
    /// What it limits, in words.
    pub name: String,
    /// What AWS gives every account, used when the account's own limit cannot be asked.
    pub usual: u64,
}

/// What the world answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Permissions`].
    Permissions {
        /// Who was judged.
        principal: String,
        /// What is not allowed, and by what.
        denied: Vec<(Permission, Denial)>,
    },
    /// To [`Question::Quota`].
    Quota {
        /// The limit, of each place.
        limit: u64,
        /// Whether it is only what AWS gives every account: this account's own could not be asked.
        assumed: bool,
        /// What is used of it by place: one for a region, several where each zone has a limit of its own.
        used: BTreeMap<String, u64>,
    },
    /// To [`Question::Networks`].
    Networks(Vec<Network>),
    /// To [`Question::Name`].
    Name(Name),
    /// To [`Question::Zone`]; none when there is no such zone.
    Zone(Option<Zone>),
    /// To [`Question::Certificate`]; none when there is no such certificate.
    Certificate(Option<Certificate>),
}

/// Why something is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No policy allows it.
    NotAllowed,
    /// A policy denies it.
    Explicit,
    /// The permissions boundary does not allow it.
    Boundary,
    /// The organization does not allow it.
    Organization,
}

/// A network that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name, when it has one.
    pub name: Option<String>,
    /// Its IPv4 ranges.
    pub cidrs: Vec<String>,
    /// The platform it belongs to, when one of ours made it.
    pub platform: Option<String>,
}

/// Whether a name can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Nothing is called so.
    Free,
    /// Something in this account is called so.
    Taken {
        /// What it is: an ARN or an id.
        by: String,
    },
    /// Somebody else's thing is called so.
    TakenElsewhere,
    /// Something was called so, and keeps the name until it is gone for good.
    Going {
        /// Until when, when that is known.
        until: Option<String>,
    },
}

/// A hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without the last dot.
    pub name: String,
    /// Whether it answers in some networks only; then nobody delegates to it.
    pub private: bool,
    /// Its own name servers.
    pub servers: Vec<String>,
    /// The name servers that resolvers see for its name.
    pub seen: Seen,
}

/// What resolvers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// These name servers; none when the name is delegated to nobody.
    Servers(Vec<String>),
    /// Resolvers could not be asked, and why.
    Unknown(String),
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its status, in AWS's words.
    pub status: String,
    /// The names it is for.
    pub names: Vec<String>,
}
