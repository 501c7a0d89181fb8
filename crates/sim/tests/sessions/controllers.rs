//! Controllers at work: what they make, make anew, hold on to, and forget.

use std::time::Duration;

use landfall_model::journal::Entry;
use landfall_runner::{Clock as _, Ended};
use landfall_sim::{Fault, Target};
use serde_json::json;

use crate::stage::{Stage, Told, plan_text};
use crate::town::{WEB, id, marks, objects, progress, remove, standing, sweep, town};

/// GitOps: Argo CD, and an application it keeps.
const GITOPS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: argocd }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: controller, namespace: argocd, labels: { app.kubernetes.io/name: argocd-application-controller } }
spec:
  replicas: 1
  serviceName: controller
  selector: { matchLabels: { app: controller } }
  template: { metadata: { labels: { app: controller } }, spec: { containers: [{ name: it, image: "argocd:3" }] } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: applications.argoproj.io }
spec:
  group: argoproj.io
  scope: Namespaced
  names: { kind: Application, listKind: ApplicationList, plural: applications, singular: application }
  versions:
    - name: v1alpha1
      served: true
      storage: true
      subresources: { status: {} }
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: orders, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io], annotations: { image: "${inputs.after}" } }
spec:
  project: default
  source: { repoURL: https://git.acme.example/orders, path: deploy }
  destination: { server: https://kubernetes.default.svc, namespace: default }
  syncPolicy: { automated: { selfHeal: true } }
"#;

/// Karpenter, and a pool of machines it makes.
const MACHINES: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: karpenter, namespace: kube-system, labels: { app.kubernetes.io/name: karpenter }, annotations: { image: "${inputs.after}" } }
spec:
  replicas: 1
  selector: { matchLabels: { app: karpenter } }
  template: { metadata: { labels: { app: karpenter } }, spec: { containers: [{ name: it, image: "karpenter:1" }] } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: nodepools.karpenter.sh }
spec:
  group: karpenter.sh
  scope: Cluster
  names: { kind: NodePool, listKind: NodePoolList, plural: nodepools, singular: nodepool }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {} }
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: nodeclaims.karpenter.sh }
spec:
  group: karpenter.sh
  scope: Cluster
  names: { kind: NodeClaim, listKind: NodeClaimList, plural: nodeclaims, singular: nodeclaim }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {} }
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: { name: general }
spec:
  limits: { cpu: "100" }
  template:
    spec:
      nodeClassRef: { group: eks.amazonaws.com, kind: NodeClass, name: default }
      requirements: [{ key: kubernetes.io/arch, operator: In, values: [amd64] }]
"#;

async fn gitops() -> Stage {
    let repository = vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "orders" },
            "spec": {
                "replicas": 1, "selector": { "matchLabels": { "app": "orders" } },
                "template": {
                    "metadata": { "labels": { "app": "orders" } },
                    "spec": { "containers": [{ "name": "orders", "image": "orders:1" }] },
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "orders" },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 443 }] },
        }),
    ];
    let mut stage = Stage::with(town(GITOPS), |config| {
        let url = "https://git.acme.example/orders/deploy".to_owned();
        config.repositories.insert(url, repository);
    });
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    stage
}

fn failures(told: &Told) -> String {
    let failed = told
        .records()
        .into_iter()
        .filter_map(|record| match record.entry {
            Entry::StepFailed { step, failure, .. } => Some(format!("{step}: {failure:#?}")),
            _ => None,
        });
    failed.collect::<Vec<_>>().join("\n")
}

fn by_hand(kind: &str, namespace: &str, name: &str) -> Target {
    Target::Object {
        cluster: "town".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn argo_cd_makes_things_anew_until_it_is_quiesced() {
    let stage = gitops().await;
    insta::assert_snapshot!("argo_cd_has_synced", objects(&stage));
    let deleted = |stage: &Stage| {
        stage.world.add_fault(Fault::HumanDeletes {
            target: by_hand("Deployment", "default", "orders"),
            millis: stage.clock.millis(),
        });
        stage
            .world
            .object("town", "Deployment", "default", "orders")
            .is_none()
    };
    assert!(deleted(&stage));
    stage.wait(Duration::from_secs(30)).await;
    assert!(
        stage
            .world
            .object("town", "Deployment", "default", "orders")
            .is_some()
    );

    let owned = stage.world_owned("shop.web").await;
    let intent = landfall_runner::Intent {
        token: "quiesce".to_owned(),
    };
    let (progress, _) = progress("shop.web");
    let provider = stage.providers.of(owned.kind);
    let said = provider.quiesce(&owned, &intent, &progress).await.unwrap();
    assert_eq!(said, ["automated sync of the Application argocd/orders is off"]);
    assert_eq!(
        provider.quiesce(&owned, &intent, &progress).await.unwrap(),
        Vec::<String>::new()
    );
    assert!(deleted(&stage));
    stage.wait(Duration::from_secs(120)).await;
    assert!(
        stage
            .world
            .object("town", "Deployment", "default", "orders")
            .is_none()
    );

    // The finalizer takes along what is left, and the load balancer with it.
    assert!(
        stage
            .world
            .object("town", "Service", "default", "orders")
            .is_some()
    );
    provider.remove(&owned, &intent, &progress).await.unwrap();
    assert!(
        stage
            .world
            .object("town", "Service", "default", "orders")
            .is_none()
    );
    let things = stage.world.things();
    assert!(
        things.iter().all(|thing| !thing.purpose.contains("orders")),
        "{things:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_hangs_until_its_finalizer_is_taken_off() {
    let fault = Fault::NamespaceStuck {
        namespace: "shop".to_owned(),
        finalizer: "acme.example/hold".to_owned(),
    };
    let mut stage = Stage::new(town(WEB), vec![fault]);
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    let mut story = vec![remove(&stage, "shop.web").await];
    let plan = stage.plan().await;
    story.push(plan_text(&plan));
    assert!(
        stage
            .world
            .remove_finalizer("town", "Namespace", "", "shop", "acme.example/hold")
    );
    story.push(remove(&stage, "shop.web").await);
    insta::assert_snapshot!(story.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_ingress_hangs_when_its_controller_is_gone() {
    let mut stage = Stage::new(town(WEB), Vec::new());
    stage.apply().await;
    assert_eq!(
        remove(&stage, "drivers.balancer").await,
        "drivers.balancer is removed"
    );
    insta::assert_snapshot!(remove(&stage, "shop.web").await);
}

#[tokio::test(start_paused = true)]
async fn karpenter_makes_machines_until_it_is_quiesced() {
    let mut stage = Stage::new(town(MACHINES), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    let machines = |stage: &Stage| {
        let things = stage.world.things().into_iter();
        things
            .filter(|thing| thing.maker == "karpenter" && thing.kind == "AWS::EC2::Instance" && !thing.going)
            .count()
    };
    stage.wait(Duration::from_secs(60)).await;
    assert_eq!(machines(&stage), 1);
    let marks = marks(&stage).await;
    sweep(&stage, &marks).await;
    assert_eq!(machines(&stage), 0);
    stage.wait(Duration::from_secs(60)).await;
    assert_eq!(machines(&stage), 1);
    let owned = stage.world_owned("shop.web").await;
    let intent = landfall_runner::Intent {
        token: "quiesce".to_owned(),
    };
    let (progress, _) = progress("shop.web");
    let provider = stage.providers.of(owned.kind);
    let said = provider.quiesce(&owned, &intent, &progress).await.unwrap();
    assert_eq!(said, ["the NodePool general makes no more machines"]);
    sweep(&stage, &marks).await;
    stage.wait(Duration::from_secs(120)).await;
    assert_eq!(machines(&stage), 0);
    provider.remove(&owned, &intent, &progress).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pods_that_never_run_are_named_with_a_reason() {
    let faults = vec![
        Fault::ImagePullFails {
            object: "Deployment/web".to_owned(),
            image: "web:1".to_owned(),
        },
        Fault::IamVisibleLate { millis: 1 },
    ];
    let mut stage = Stage::new(town(WEB), faults);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed);
    insta::assert_snapshot!(failures(&told));
    // Tried again, it runs.
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_refuses_until_its_pods_run_and_kinds_come_late() {
    let manifest = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.acme.example }
spec:
  group: acme.example
  scope: Namespaced
  names: { kind: Widget, listKind: WidgetList, plural: widgets, singular: widget }
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: judge, namespace: kube-system }
spec:
  replicas: 1
  selector: { matchLabels: { app: judge } }
  template: { metadata: { labels: { app: judge } }, spec: { containers: [{ name: judge, image: "judge:1" }] } }
---
apiVersion: v1
kind: Service
metadata: { name: judge, namespace: kube-system }
spec: { selector: { app: judge }, ports: [{ port: 443 }] }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: judge }
webhooks:
  - name: judge.acme.example
    admissionReviewVersions: [v1]
    sideEffects: None
    clientConfig: { service: { name: judge, namespace: kube-system, path: /judge } }
    rules: [{ apiGroups: [acme.example], apiVersions: [v1], resources: [widgets], operations: [CREATE] }]
---
apiVersion: acme.example/v1
kind: Widget
metadata: { name: one, namespace: default, annotations: { image: "${inputs.after}" } }
"#;
    let late = Fault::CrdLate {
        kind: "Widget".to_owned(),
        millis: 20_000,
    };
    let mut stage = Stage::new(town(manifest), vec![late]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    insta::assert_snapshot!(told.said("is not taken yet").join("\n"));
    assert!(stage.world.object("town", "Widget", "default", "one").is_some());
    assert!(!standing(&stage).is_empty());
}

#[tokio::test(start_paused = true)]
async fn people_change_and_delete_things_and_a_plan_shows_it() {
    let mut stage = Stage::new(town(WEB), Vec::new());
    stage.apply().await;
    let now = stage.clock.millis();
    stage.world.add_fault(Fault::HumanChanges {
        target: by_hand("Deployment", "shop", "web"),
        path: "spec.replicas".to_owned(),
        value: Some("5".to_owned()),
        millis: now,
    });
    stage.world.add_fault(Fault::HumanDeletes {
        target: by_hand("ServiceAccount", "kube-system", "balancer"),
        millis: now,
    });
    insta::assert_snapshot!(plan_text(&stage.plan().await));
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    assert!(!stage.plan().await.has_changes());
    assert_eq!(id("shop.web").as_str(), "shop.web");
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_leaves_its_claims_and_their_volumes() {
    let manifest = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: ledger, namespace: default, annotations: { image: "${inputs.after}" } }
spec:
  replicas: 2
  serviceName: ledger
  selector: { matchLabels: { app: ledger } }
  template: { metadata: { labels: { app: ledger } }, spec: { containers: [{ name: it, image: "ledger:1" }] } }
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 8Gi } } }
"#;
    let mut stage = Stage::new(town(manifest), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    let owned = stage.world_owned("shop.web").await;
    assert_eq!(owned.holds, ["PersistentVolumeClaim"]);
    assert_eq!(
        stage.world_owned("drivers.storage").await.controls,
        ["PersistentVolumeClaim"]
    );
    assert_eq!(remove(&stage, "shop.web").await, "shop.web is removed");
    insta::assert_snapshot!(objects(&stage));
    let marks = marks(&stage).await;
    assert!(
        crate::town::leftovers(&stage, &marks)
            .await
            .contains("2 AWS::EC2::Volume")
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_forgotten_outlives_its_cluster() {
    let mut stage = Stage::new(town(MACHINES), vec![Fault::NodeLeftover]);
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    stage.wait(Duration::from_secs(60)).await;
    let marks = marks(&stage).await;
    for step in [
        "shop.web",
        "drivers.storage",
        "drivers.balancer",
        "cluster.nodes",
        "cluster.plane",
    ] {
        assert_eq!(remove(&stage, step).await, format!("{step} is removed"));
    }
    let refused = remove(&stage, "network.vpc").await;
    assert!(
        refused.contains("has dependencies and cannot be deleted"),
        "{refused}"
    );
    for _ in 0..10 {
        sweep(&stage, &marks).await;
        stage.wait(Duration::from_secs(30)).await;
    }
    assert_eq!(remove(&stage, "network.vpc").await, "network.vpc is removed");
    assert_eq!(standing(&stage), "");
}
