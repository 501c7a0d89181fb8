//! A platform with a network, a cluster, machines, controllers and an app, as the sessions about clusters
//! use it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use landfall_model::StepId;
use landfall_model::leftover::{Marks, Swept};
use landfall_model::provider::Owned;
use landfall_model::wanted::Wanted;
use landfall_runner::{ApplyError, Clock as _, Event, Intent, Progress, Sweeper as _};
use landfall_sim::SimSweeper;

use crate::stage::{Stage, read};

pub(crate) const TOWN: &str = r#"
apiVersion: landfall.dev/v1
kind: Platform
metadata: { name: town }
spec:
  region: us-east-1
  account: "111122223333"
  components:
    network: { uses: network }
    cluster: { uses: cluster, with: { vpc: "${components.network.vpc}" } }
    drivers: { uses: drivers, with: { cluster: "${components.cluster.name}" } }
    shop: { uses: shop, with: { cluster: "${components.cluster.name}", after: "${components.drivers.ready}" } }
"#;

const NETWORK: &[(&str, &str)] = &[
    (
        "component.yaml",
        r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: network }
spec:
  steps:
    - name: vpc
      stack: { template: vpc.cfn.yaml }
  outputs:
    vpc: { type: string, value: "${steps.vpc.outputs.VpcId}" }
"#,
    ),
    (
        "vpc.cfn.yaml",
        "Resources:\n\
         \x20 Vpc: { Type: AWS::EC2::VPC }\n\
         \x20 SubnetA: { Type: AWS::EC2::Subnet, DependsOn: [Vpc] }\n\
         \x20 SubnetB: { Type: AWS::EC2::Subnet, DependsOn: [Vpc] }\n\
         Outputs:\n  VpcId: { Value: !Ref Vpc }\n",
    ),
];

const CLUSTER: &[(&str, &str)] = &[
    (
        "component.yaml",
        r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: cluster }
spec:
  inputs:
    vpc: { type: string }
  steps:
    - name: plane
      stack: { template: plane.cfn.yaml, parameters: { ClusterName: "${platform.name}", Vpc: "${inputs.vpc}" } }
    - name: nodes
      stack: { template: nodes.cfn.yaml, parameters: { ClusterName: "${steps.plane.outputs.ClusterName}" } }
  outputs:
    name: { type: string, value: "${steps.nodes.outputs.ClusterName}" }
"#,
    ),
    (
        "plane.cfn.yaml",
        "Parameters:\n  ClusterName: { Type: String }\n  Vpc: { Type: String }\n\
         Resources:\n\
         \x20 Cluster: { Type: AWS::EKS::Cluster, Properties: { Name: !Ref ClusterName, Vpc: !Ref Vpc } }\n\
         Outputs:\n  ClusterName: { Value: !Ref Cluster }\n",
    ),
    (
        "nodes.cfn.yaml",
        "Parameters:\n  ClusterName: { Type: String }\n\
         Resources:\n\
         \x20 Nodes: { Type: AWS::EKS::Nodegroup, Properties: { ClusterName: !Ref ClusterName } }\n\
         Outputs:\n  ClusterName: { Value: !Ref ClusterName }\n",
    ),
];

pub(crate) const DRIVERS: &[(&str, &str)] = &[
    (
        "component.yaml",
        r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: drivers }
spec:
  inputs:
    cluster: { type: string }
  steps:
    - name: balancer
      objects:
        cluster: "${inputs.cluster}"
        namespace: kube-system
        manifests: [balancer.yaml]
        controls: [Ingress, Service, Gateway]
        outputs: { image: { of: Deployment/balancer, path: spec.template.spec.containers.0.image } }
    - name: storage
      objects:
        cluster: "${inputs.cluster}"
        namespace: kube-system
        manifests: [storage.yaml]
        controls: [PersistentVolumeClaim]
  outputs:
    ready: { type: string, value: "${steps.balancer.outputs.image}" }
"#,
    ),
    (
        "balancer.yaml",
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: balancer, labels: { app.kubernetes.io/name: aws-load-balancer-controller } }
spec:
  replicas: 2
  selector: { matchLabels: { app: balancer } }
  template:
    metadata: { labels: { app: balancer } }
    spec:
      containers: [{ name: it, image: "balancer:v2", args: ["--default-tags=landfall:platform=${platform.name}"] }]
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: balancer }
"#,
    ),
    (
        "storage.yaml",
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: ebs-csi, labels: { app.kubernetes.io/name: aws-ebs-csi-driver } }
spec:
  replicas: 2
  selector: { matchLabels: { app: ebs-csi } }
  template:
    metadata: { labels: { app: ebs-csi } }
    spec: { containers: [{ name: it, image: "ebs-csi:1" }] }
"#,
    ),
];

pub(crate) const SHOP: &[(&str, &str)] = &[(
    "component.yaml",
    r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: shop }
spec:
  inputs:
    cluster: { type: string }
    after: { type: string }
  steps:
    - name: web
      objects:
        cluster: "${inputs.cluster}"
        namespace: shop
        manifests: [web.yaml]
        outputs: { host: { of: Ingress/web, path: status.loadBalancer.ingress.0.hostname } }
        within: 15m
"#,
)];

pub(crate) const WEB: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, annotations: { image: "${inputs.after}" } }
spec:
  ingressClassName: alb
  rules: [{ http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers: [{ name: web, image: "web:1" }]
      volumes: [{ name: data, persistentVolumeClaim: { claimName: data } }]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 20Gi } } }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
"#;

/// The town, with what its shop applies.
pub(crate) fn town(manifest: &str) -> Wanted {
    town_of(TOWN, manifest)
}

pub(crate) fn town_of(platform: &str, manifest: &str) -> Wanted {
    let outputs =
        "        outputs: { host: { of: Ingress/web, path: status.loadBalancer.ingress.0.hostname } }\n";
    let mut component = SHOP[0].1.to_owned();
    if !manifest.contains("kind: Ingress") {
        component = component.replace(outputs, "");
    }
    let shop = [("component.yaml", component.as_str()), ("web.yaml", manifest)];
    read(
        platform,
        &[
            ("network", NETWORK),
            ("cluster", CLUSTER),
            ("drivers", DRIVERS),
            ("shop", &shop),
        ],
    )
}

/// Everything that stands, a line each, without the digits AWS makes up.
pub(crate) fn standing(stage: &Stage) -> String {
    let mut all: Vec<String> = stage
        .world
        .everything_standing()
        .into_iter()
        .filter(|line| !line.starts_with("AWS::CloudFormation::Stack"))
        .collect();
    all.sort();
    all.join("\n")
}

/// What Kubernetes makes of other objects, by names that nobody chose.
const DERIVED: [&str; 5] = ["EndpointSlice ", "Event ", "Node ", "Pod ", "ReplicaSet "];

/// The objects of every cluster, and what they wait for.
pub(crate) fn objects(stage: &Stage) -> String {
    let mut text = String::new();
    for cluster in stage.world.clusters() {
        let _ = writeln!(text, "{} with {} machines", cluster.name, cluster.nodes);
        for (object, waits) in cluster.objects {
            if DERIVED.iter().any(|kind| object.starts_with(kind)) {
                continue;
            }
            let _ = match waits {
                Some(why) => writeln!(text, "  {object}: {why}"),
                None => writeln!(text, "  {object}"),
            };
        }
    }
    text
}

/// Removes one step by itself, out of all order. Tells how it ended.
pub(crate) async fn remove(stage: &Stage, step: &str) -> String {
    let owned = &stage.remembered[&id(step)];
    let intent = Intent {
        token: format!("by-hand-{}-{}", step.replace('.', "-"), stage.clock.millis()),
    };
    let (progress, _) = progress(step);
    let removed = stage
        .providers
        .of(owned.kind)
        .remove(owned, &intent, &progress)
        .await;
    match removed {
        Ok(removed) if removed.kept.is_empty() => format!("{step} is removed"),
        Ok(removed) => format!("{step} is removed; {}", removed.kept.join("; ")),
        Err(ApplyError::Failed(failure)) => {
            let mut text = format!("{step} failed: {}", failure.summary);
            if let Some(cause) = failure.cause {
                let _ = write!(
                    text,
                    "\n    first: {} {} {}: {}",
                    cause.kind, cause.resource, cause.state, cause.reason
                );
            }
            if let Some(way_out) = failure.way_out {
                let _ = write!(text, "\n    way out: {way_out}");
            }
            text
        }
        Err(ApplyError::Stopped) => format!("{step} was stopped"),
        Err(ApplyError::CredentialsExpired(why)) => format!("{step}: {why}"),
    }
}

pub(crate) fn id(step: &str) -> StepId {
    let (component, step) = step.split_once('.').unwrap_or((step, ""));
    StepId::new(component, step)
}

/// Somebody who listens.
pub(crate) fn progress(step: &str) -> (Progress, Arc<Mutex<Vec<String>>>) {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = said.clone();
    let watcher = move |event: &Event| {
        if let Event::Progress { message, .. } = event {
            heard.lock().unwrap().push(message.clone());
        }
    };
    (Progress::new(id(step), Arc::new(watcher)), said)
}

/// Sweeps once what a search finds, and tells what came of it; then what a second search finds.
pub(crate) async fn sweep(stage: &Stage, marks: &Marks) -> String {
    let sweeper = SimSweeper::new(stage.world.clone());
    let (progress, _) = progress("town.sweep");
    let mut text = String::new();
    let found = sweeper.search(marks).await.unwrap();
    for one in found.iter().filter(|one| one.is_leftover()) {
        let swept = match sweeper.sweep(one, &progress).await {
            Ok(Swept::Gone) => "gone".to_owned(),
            Ok(Swept::NotYet(why)) => format!("not yet: {why}"),
            Ok(Swept::Never(why)) => format!("never: {why}"),
            Err(error) => format!("{error:?}"),
        };
        let data = one
            .data
            .as_ref()
            .map(|data| format!(", {data}"))
            .unwrap_or_default();
        let _ = writeln!(text, "{} {} ({}{data}) {swept}", one.kind, one.id, one.because);
    }
    text
}

/// How many leftovers a search finds, by type.
pub(crate) async fn leftovers(stage: &Stage, marks: &Marks) -> String {
    let sweeper = SimSweeper::new(stage.world.clone());
    let mut counts = BTreeMap::new();
    for one in sweeper.search(marks).await.unwrap() {
        if one.is_leftover() {
            *counts.entry(one.kind).or_insert(0) += 1;
        }
    }
    let lines: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    lines.join("\n")
}

pub(crate) async fn marks(stage: &Stage) -> Marks {
    let owned: Vec<Owned> = stage.remembered.values().cloned().collect();
    SimSweeper::new(stage.world.clone())
        .marks("town", &owned)
        .await
        .unwrap()
}
