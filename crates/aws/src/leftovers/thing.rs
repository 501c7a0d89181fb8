//! One resource as AWS describes it, before anything is said about whose it is.

use std::collections::BTreeMap;

use landfall_model::leftover::Found;
use landfall_model::work::TAG_PLATFORM;
use roxmltree::Node;

use super::mark::{Mark, because, clusters};

/// What says which stack made a thing. CloudFormation puts them itself; nobody else can (`aws:` is reserved).
const STACK_TAGS: [&str; 2] = ["aws:cloudformation:stack-id", "aws:cloudformation:stack-name"];

/// One resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Thing {
    /// Its type in CloudFormation's words.
    pub(super) kind: String,
    /// What its service calls it: `vol-1`, a log group's name, a load balancer's ARN.
    pub(super) id: String,
    /// Its ARN.
    pub(super) arn: String,
    pub(super) tags: BTreeMap<String, String>,
    /// The VPC it is in.
    pub(super) network: Option<String>,
    /// The data it holds.
    pub(super) data: Option<String>,
    /// What has it and takes it away when it goes itself.
    pub(super) holder: Option<Holder>,
    /// The interfaces that AWS made for it.
    pub(super) interfaces: Vec<String>,
    /// The security groups it wears.
    pub(super) groups: Vec<String>,
    /// The stack that lists it, or has what it was made for.
    pub(super) held_by_stack: Option<String>,
}

/// Whose things are searched and swept: this platform's, in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Its name.
    pub(super) platform: Option<String>,
    /// The names of its clusters.
    pub(super) clusters: Vec<String>,
}

impl Own {
    /// The other platform or the other cluster that a thing's tags name. Such a thing may stand in this
    /// platform's network, and is in use: nobody here removes it.
    pub(super) fn other(&self, thing: &Thing) -> Option<Holder> {
        if let Some(platform) = thing.platform()
            && Some(platform) != self.platform.as_deref()
        {
            return Some(Holder::new("the platform", platform));
        }
        let mut named = clusters(thing);
        let other = named.find(|name| !self.clusters.iter().any(|own| own == name))?;
        Some(Holder::new("the cluster", other))
    }
}

/// What has a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// What it is: `NAT gateway`.
    pub(super) what: &'static str,
    /// Its id, or as much of its ARN as the thing tells; empty when the thing does not tell.
    pub(super) id: String,
}

impl Holder {
    pub(super) fn new(what: &'static str, id: impl Into<String>) -> Holder {
        Holder { what, id: id.into() }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        format!("{} {}", self.what, self.id).trim().to_owned()
    }

    /// Whether this is the thing that it means.
    pub(super) fn is(&self, thing: &Thing) -> bool {
        !self.id.is_empty()
            && (thing.id == self.id || thing.arn.ends_with(&format!(":loadbalancer/{}", self.id)))
    }
}

impl Thing {
    pub(super) fn new(kind: &str, id: &str, arn: &str) -> Thing {
        Thing {
            kind: kind.to_owned(),
            id: id.to_owned(),
            arn: arn.to_owned(),
            ..Thing::default()
        }
    }

    /// The stack that its own tags name, or that was found to have it.
    pub(super) fn stack(&self) -> Option<String> {
        let tag = STACK_TAGS.iter().find_map(|key| self.tags.get(*key));
        tag.or(self.held_by_stack.as_ref()).cloned()
    }

    /// The platform that its tags name.
    pub(super) fn platform(&self) -> Option<&str> {
        self.tags.get(TAG_PLATFORM).map(String::as_str)
    }

    /// As a find, when one of these marks is on it.
    pub(super) fn found(&self, marks: &[Mark], region: &str) -> Option<Found> {
        let on: Vec<&Mark> = marks.iter().filter(|mark| mark.is_on(self)).collect();
        (!on.is_empty()).then(|| Found {
            kind: self.kind.clone(),
            id: self.arn.clone(),
            region: region.to_owned(),
            because: because(&on),
            stack: self.stack(),
            data: self.data.clone(),
            used_by: self.holder.as_ref().map(Holder::words),
        })
    }
}

/// The child with this name, whatever its namespace.
pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of the child with this name; empty when there is none.
pub(super) fn text(node: Node<'_, '_>, name: &str) -> String {
    child(node, name)
        .and_then(|child| child.text())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The members of a list that is a child: EC2 calls them `item`, load balancing `member`.
pub(super) fn members<'a, 'input>(node: Node<'a, 'input>, list: &str) -> Vec<Node<'a, 'input>> {
    let list = child(node, list).into_iter();
    list.flat_map(|list| list.children().filter(Node::is_element))
        .collect()
}

/// Tags, whichever way a service writes them.
pub(super) fn tags(node: Node<'_, '_>, list: &str, key: &str, value: &str) -> BTreeMap<String, String> {
    members(node, list)
        .into_iter()
        .map(|tag| (text(tag, key), text(tag, value)))
        .collect()
}
