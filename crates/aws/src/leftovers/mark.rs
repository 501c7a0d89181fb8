//! By what a thing is taken to be the platform's, in words that can be read back: a sweep checks again,
//! right before it deletes, what the search saw.

use std::fmt;

use landfall_model::leftover::{LandmarkKind, Marks};
use landfall_model::work::TAG_PLATFORM;

use super::thing::Thing;

/// One reason why a thing is the platform's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It has the platform's tag.
    Platform(String),
    /// It has a tag with which a controller names its cluster.
    Cluster(String),
    /// It is in the platform's network.
    Network(String),
    /// Its name begins so: nobody but the platform's cluster or functions writes there.
    Name(String),
}

/// Tags whose value is the name of the cluster that a thing was made for. Who puts them:
/// - `elbv2.k8s.aws/cluster`: the AWS Load Balancer Controller, on load balancers, target groups and
///   security groups, the shared backend group included (its documents, "Manage backend security group");
/// - `eks:eks-cluster-name`: EKS Auto Mode, Karpenter from 1.0 on (instances, volumes, interfaces, launch
///   templates), and the VPC CNI on its interfaces;
/// - `karpenter.k8s.aws/cluster`: Karpenter on its launch templates (upgrade guide, 0.28);
/// - `eks:cluster-name`: EKS on what it makes for managed node groups;
/// - `aws:eks:cluster-name`: EKS on the cluster's own security group;
/// - `KubernetesCluster`: the in-tree cloud provider, and the EBS CSI driver with `--k8s-tag-cluster-id`;
/// - `ebs.csi.aws.com/cluster-name`: the EBS CSI driver, for the policy scoped to one cluster;
/// - `cluster.k8s.amazonaws.com/name`: the VPC CNI.
///
/// `ebs.csi.aws.com/cluster` is not among them: its value is `true` in every cluster.
pub(super) const CLUSTER_KEYS: [&str; 8] = [
    "elbv2.k8s.aws/cluster",
    "eks:eks-cluster-name",
    "karpenter.k8s.aws/cluster",
    "eks:cluster-name",
    "aws:eks:cluster-name",
    "KubernetesCluster",
    "ebs.csi.aws.com/cluster-name",
    "cluster.k8s.amazonaws.com/name",
];

/// The tag of Kubernetes itself, which holds the cluster's name in its key. Its value tells `owned` from
/// `shared`: what is shared was there before the cluster and is not the cluster's to remove.
pub(super) fn cluster_key(cluster: &str) -> String {
    format!("kubernetes.io/cluster/{cluster}")
}

impl Mark {
    /// Whether a thing carries this mark.
    pub(super) fn is_on(&self, thing: &Thing) -> bool {
        let tag = |key: &str| thing.tags.get(key).map(String::as_str);
        match self {
            Mark::Platform(name) => tag(TAG_PLATFORM) == Some(name),
            Mark::Cluster(name) => {
                tag(&cluster_key(name)) == Some("owned")
                    || CLUSTER_KEYS.iter().any(|key| tag(key) == Some(name))
            }
            Mark::Network(id) => thing.network.as_ref() == Some(id),
            Mark::Name(prefix) => thing.id.starts_with(prefix),
        }
    }

    /// Reads what [`because`] wrote; nothing that it cannot read is a mark.
    pub(super) fn read(because: &str) -> Option<Vec<Mark>> {
        because.split(", ").map(Mark::read_one).collect()
    }

    fn read_one(text: &str) -> Option<Mark> {
        let tag = format!("tag {TAG_PLATFORM}=");
        let rest = |prefix: &str| {
            let rest = text.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            Some(rest.to_owned())
        };
        rest(&tag)
            .map(Mark::Platform)
            .or_else(|| rest("cluster ").map(Mark::Cluster))
            .or_else(|| rest("network ").map(Mark::Network))
            .or_else(|| rest("name ").map(Mark::Name))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Platform(name) => write!(f, "tag {TAG_PLATFORM}={name}"),
            Mark::Cluster(name) => write!(f, "cluster {name}"),
            Mark::Network(id) => write!(f, "network {id}"),
            Mark::Name(prefix) => write!(f, "name {prefix}"),
        }
    }
}

/// The marks as one text. Names of platforms, clusters, networks and log groups hold no comma.
pub(super) fn because(marks: &[&Mark]) -> String {
    marks
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What marks things in one region.
pub(super) fn of_region(marks: &Marks, region: &str) -> Vec<Mark> {
    let mut found = vec![Mark::Platform(marks.platform.clone())];
    for landmark in marks
        .landmarks
        .iter()
        .filter(|landmark| landmark.region == region)
    {
        found.push(match landmark.kind {
            LandmarkKind::Nodes => continue,
            LandmarkKind::Cluster => Mark::Cluster(landmark.id.clone()),
            LandmarkKind::Network => Mark::Network(landmark.id.clone()),
        });
    }
    found
}

/// What names of log groups begin with when they are the platform's, longest names of platforms told apart:
/// `/aws/lambda/acme-dev-job` is `acme-dev`'s when there is such a platform, and not `acme`'s.
pub(super) fn log_names(marks: &Marks, region: &str) -> Vec<Mark> {
    let clusters = marks
        .landmarks
        .iter()
        .filter(|landmark| landmark.kind == LandmarkKind::Cluster && landmark.region == region);
    let mut names: Vec<Mark> = clusters
        .flat_map(|cluster| {
            ["eks", "containerinsights"].map(|part| Mark::Name(format!("/aws/{part}/{}/", cluster.id)))
        })
        .collect();
    names.extend(["lambda", "codebuild"].map(|part| Mark::Name(format!("/aws/{part}/{}-", marks.platform))));
    names
}

/// Whether a name that begins with `platform-` belongs rather to another platform whose name is longer.
pub(super) fn is_anothers(name: &str, platform: &str, others: &[String]) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    others
        .iter()
        .any(|other| other.len() > platform.len() && last.starts_with(&format!("{other}-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(key: &str, value: &str) -> Thing {
        let mut thing = Thing::new("AWS::EC2::Volume", "vol-1", "arn");
        thing.tags.insert(key.to_owned(), value.to_owned());
        thing
    }

    #[test]
    fn marks_can_be_read_back() {
        let marks = [
            Mark::Platform("acme".into()),
            Mark::Cluster("acme-eks".into()),
            Mark::Network("vpc-1".into()),
            Mark::Name("/aws/eks/acme-eks/".into()),
        ];
        let text = because(&marks.iter().collect::<Vec<_>>());
        insta::assert_snapshot!(text, @"tag landfall:platform=acme, cluster acme-eks, network vpc-1, name /aws/eks/acme-eks/");
        assert_eq!(Mark::read(&text).unwrap(), marks);
        assert_eq!(Mark::read("because I say so"), None);
        assert_eq!(Mark::read("network "), None);
        assert_eq!(Mark::read(""), None);
    }

    #[test]
    fn what_a_cluster_shares_is_not_the_clusters() {
        let mark = Mark::Cluster("acme".into());
        assert!(mark.is_on(&tagged("kubernetes.io/cluster/acme", "owned")));
        assert!(!mark.is_on(&tagged("kubernetes.io/cluster/acme", "shared")));
        assert!(!mark.is_on(&tagged("kubernetes.io/cluster/acme-2", "owned")));
        assert!(mark.is_on(&tagged("elbv2.k8s.aws/cluster", "acme")));
        assert!(!mark.is_on(&tagged("ebs.csi.aws.com/cluster", "true")));
    }

    #[test]
    fn a_longer_name_is_another_platforms() {
        let others = ["acme-dev".to_owned(), "acme".to_owned()];
        assert!(is_anothers("/aws/lambda/acme-dev-job", "acme", &others));
        assert!(!is_anothers("/aws/lambda/acme-job", "acme", &others));
        assert!(!is_anothers("/aws/lambda/acme-dev-job", "acme-dev", &others));
    }
}
