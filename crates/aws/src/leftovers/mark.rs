//! By what a thing is taken to be the platform's, in words that can be read back: a sweep checks again,
//! right before it deletes, what the search saw.

use std::fmt;

use landfall_model::leftover::{LandmarkKind, Marks};
use landfall_model::work::TAG_PLATFORM;

use super::tagged::LOG_GROUP;
use super::thing::{Own, Thing};

/// One reason why a thing is the platform's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It has the platform's tag.
    Platform(String),
    /// It has a tag with which a controller names its cluster.
    Cluster(String),
    /// It is in the platform's network.
    Network(String),
    /// It is the log group with this name; or one whose name begins so, when this ends with a slash: nobody
    /// but the platform's cluster writes there.
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

/// The clusters that a thing's tags say it was made for.
pub(super) fn clusters(thing: &Thing) -> impl Iterator<Item = &str> {
    let prefix = cluster_key("");
    thing.tags.iter().filter_map(move |(key, value)| {
        let name = match key.strip_prefix(&prefix) {
            Some(name) => (value == "owned").then_some(name)?,
            None => CLUSTER_KEYS.contains(&key.as_str()).then_some(value.as_str())?,
        };
        (!name.is_empty()).then_some(name)
    })
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
            Mark::Name(name) => thing.kind == LOG_GROUP && is_named(&thing.id, name),
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
            Mark::Name(name) => write!(f, "name {name}"),
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
            LandmarkKind::Nodes | LandmarkKind::Logs => continue,
            LandmarkKind::Cluster => Mark::Cluster(landmark.id.clone()),
            LandmarkKind::Network => Mark::Network(landmark.id.clone()),
        });
    }
    found
}

/// Whose things are meant in one region.
pub(super) fn own(marks: &Marks, region: &str) -> Own {
    let clusters = of_region(marks, region).into_iter();
    let clusters = clusters.filter_map(|mark| match mark {
        Mark::Cluster(name) => Some(name),
        _ => None,
    });
    Own {
        platform: Some(marks.platform.clone()),
        clusters: clusters.collect(),
    }
}

/// The names of log groups that are the platform's: what its clusters write below, and what its functions
/// and builds write to. Only what a stack of the platform lists: a name that merely begins like the
/// platform's may be anybody's.
pub(super) fn log_names(marks: &Marks, region: &str) -> Vec<Mark> {
    let mut names = Vec::new();
    for landmark in marks
        .landmarks
        .iter()
        .filter(|landmark| landmark.region == region)
    {
        match landmark.kind {
            LandmarkKind::Cluster => names.extend(
                ["eks", "containerinsights"].map(|part| Mark::Name(format!("/aws/{part}/{}/", landmark.id))),
            ),
            LandmarkKind::Logs => names.push(Mark::Name(landmark.id.clone())),
            LandmarkKind::Nodes | LandmarkKind::Network => {}
        }
    }
    names
}

/// Whether a log group's name is the one that a mark means.
pub(super) fn is_named(group: &str, name: &str) -> bool {
    if name.ends_with('/') {
        group.starts_with(name)
    } else {
        group == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_model::StepId;
    use landfall_model::leftover::Landmark;

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
    fn every_way_to_name_a_cluster_is_read() {
        let named = |key: &str, value: &str| {
            let thing = tagged(key, value);
            clusters(&thing).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named("kubernetes.io/cluster/beta", "owned"), ["beta"]);
        assert_eq!(named("kubernetes.io/cluster/beta", "shared"), [""; 0]);
        for key in CLUSTER_KEYS {
            assert_eq!(named(key, "beta"), ["beta"], "{key}");
        }
        assert_eq!(named("ebs.csi.aws.com/cluster", "true"), [""; 0]);
    }

    #[test]
    fn a_log_group_is_the_platforms_by_its_whole_name_or_its_clusters() {
        let landmark = |kind, id: &str, region: &str| Landmark {
            step: StepId::new("net", "net"),
            kind,
            id: id.to_owned(),
            region: region.to_owned(),
        };
        let marks = Marks {
            platform: "acme".to_owned(),
            regions: Vec::new(),
            landmarks: vec![
                landmark(LandmarkKind::Cluster, "acme-eks", "r"),
                landmark(LandmarkKind::Logs, "/aws/lambda/acme-job", "r"),
                landmark(LandmarkKind::Logs, "/aws/lambda/acme-elsewhere", "s"),
                landmark(LandmarkKind::Network, "vpc-1", "r"),
            ],
        };
        let names = log_names(&marks, "r");
        insta::assert_snapshot!(because(&names.iter().collect::<Vec<_>>()), @"name /aws/eks/acme-eks/, name /aws/containerinsights/acme-eks/, name /aws/lambda/acme-job");
        assert_eq!(of_region(&marks, "r").len(), 3);
        let is_ours = |kind: &str, name: &str| {
            let thing = Thing::new(kind, name, "arn");
            names.iter().any(|mark| mark.is_on(&thing))
        };
        assert!(is_ours(LOG_GROUP, "/aws/lambda/acme-job"));
        assert!(is_ours(LOG_GROUP, "/aws/eks/acme-eks/cluster"));
        for name in [
            "/aws/lambda/acme-job-2",
            "/aws/lambda/acme-other",
            "/aws/lambda/acme-elsewhere",
            "/aws/codebuild/acme-web",
            "/aws/eks/acme-eks-2/cluster",
        ] {
            assert!(!is_ours(LOG_GROUP, name), "{name}");
        }
        assert!(!is_ours("AWS::SSM::Parameter", "/aws/lambda/acme-job"));
    }
}
