//! What a search of the world finds of a platform, and what nobody but a controller knows of.

use serde::{Deserialize, Serialize};

use crate::id::StepId;

/// By what a platform's things are recognised in the world, beside the tags every platform has. Read before
/// anything is removed: when the stacks are gone, nothing tells any more which network was the platform's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// The platform's name, as in the tag `landfall:platform`.
    pub platform: String,
    /// The regions to search, each once.
    pub regions: Vec<String>,
    /// Things whose name or membership marks other things.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub landmarks: Vec<Landmark>,
}

/// A thing of the platform that marks others: what is in its network, what its cluster's controllers made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Landmark {
    /// The step it belongs to.
    pub step: StepId,
    /// What it is.
    pub kind: LandmarkKind,
    /// Its id in the world: a VPC's id, a cluster's name, a node group's name.
    pub id: String,
    /// Its region.
    pub region: String,
}

/// What a landmark is; also the order of a teardown, from the first to go to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LandmarkKind {
    /// Machines of a cluster: what runs on them, controllers included, ends with them.
    Nodes,
    /// A Kubernetes cluster: its controllers tag what they make with its name.
    Cluster,
    /// A network: nothing in it may stand when it goes.
    Network,
    /// Something that writes logs: the id is its log group's exact name.
    Logs,
}

/// One resource a search found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Its type in CloudFormation's words, such as `AWS::ElasticLoadBalancingV2::LoadBalancer`.
    pub kind: String,
    /// Its ARN, or its id where it has no ARN of its own.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Why it is taken to be the platform's, every mark it carries: `tag landfall:platform=acme, cluster
    /// acme-eks, network vpc-1`, or `name /aws/eks/acme-eks/`. Whoever removes it looks again whether they hold.
    pub because: String,
    /// The CloudFormation stack it belongs to, by id: it goes with the stack, or its template keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The data it holds, such as `20 GiB`, when it holds any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What still uses it, when the world says: it cannot go before that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

impl Found {
    /// Whether any of its marks is among these: what stands in a network that is not is nobody's concern.
    pub fn is_marked_by(&self, marks: &Marks) -> bool {
        let is_known = |id: &str| {
            let mut landmarks = marks.landmarks.iter();
            landmarks.any(|landmark| landmark.kind == LandmarkKind::Network && landmark.id == id)
        };
        self.because
            .split(", ")
            .any(|mark| mark.strip_prefix("network ").is_none_or(is_known))
    }

    /// Whether it stands in a network of the platform: the network cannot go before it does.
    pub fn is_in_a_network(&self) -> bool {
        self.because.split(", ").any(|mark| mark.starts_with("network "))
    }

    /// Whether it is a leftover: nothing the platform's stacks will take away.
    pub fn is_leftover(&self) -> bool {
        self.stack.is_none()
    }
}

/// What came of sweeping a leftover once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It is gone, or on its way and needs no more asking.
    Gone,
    /// It cannot go yet; why, in the world's words. Asked again later.
    NotYet(String),
    /// It will not go by waiting: somebody has to do something, and this says what.
    Never(String),
}
