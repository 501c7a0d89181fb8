//! What runs in clusters, as `kubectl` would show it: pods and what makes them, charts and who installs them.

use std::time::Duration;

use landfall_runner::Ended;
use landfall_sim::Fault;
use serde_json::Value;

use crate::stage::Stage;
use crate::town::{remove, town};

/// A web server, at some version.
const SERVER: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: server, namespace: default, annotations: { after: "${inputs.after}" } }
spec:
  replicas: 2
  selector: { matchLabels: { app: server } }
  template:
    metadata: { labels: { app: server } }
    spec: { containers: [{ name: it, image: "server:VERSION" }] }
---
apiVersion: v1
kind: Service
metadata: { name: server, namespace: default }
spec: { selector: { app: server }, ports: [{ port: 80, targetPort: 8080 }] }
"#;

/// A job with a script.
const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: { name: install, namespace: kube-system, annotations: { after: "${inputs.after}" } }
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: helm, image: "registry.example/helm:4", args: [ARGS] }]
"#;

/// Argo CD by a plain manifest, and an Application of a chart.
const APPLICATION: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: argo, namespace: kube-system, labels: { app.kubernetes.io/name: argocd-application-controller } }
spec:
  serviceName: argo
  selector: { matchLabels: { app: argo } }
  template: { metadata: { labels: { app: argo } }, spec: { containers: [{ name: it, image: "argo:3" }] } }
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
metadata:
  name: chart
  namespace: kube-system
  finalizers: [resources-finalizer.argocd.argoproj.io]
  annotations: { after: "${inputs.after}" }
spec:
  project: default
  source: { repoURL: WHERE, chart: CHART, targetRevision: 1.0.0 }
  destination: { server: https://kubernetes.default.svc, namespace: charted }
  syncPolicy: { automated: { prune: true, selfHeal: true }, syncOptions: [CreateNamespace=true] }
"#;

fn all<'a>(stage: &'a Stage, kind: &'a str) -> Vec<String> {
    let clusters = stage.world.clusters();
    let begins = format!("{kind} ");
    let names = clusters.iter().flat_map(|cluster| cluster.objects.keys());
    names.filter(|name| name.starts_with(&begins)).cloned().collect()
}

fn objects(stage: &Stage, kind: &str, namespace: &str) -> Vec<Value> {
    let begins = format!("{kind} {namespace}/");
    let names = all(stage, kind);
    names
        .iter()
        .filter_map(|name| name.strip_prefix(&begins))
        .filter_map(|name| stage.world.object("town", kind, namespace, name))
        .collect()
}

fn object(stage: &Stage, kind: &str, namespace: &str, name: &str) -> Value {
    stage
        .world
        .object("town", kind, namespace, name)
        .unwrap_or_else(|| panic!("there is a {kind} {namespace}/{name}"))
}

async fn applied(manifest: &str) -> Stage {
    let mut stage = Stage::new(town(manifest), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    stage
}

#[tokio::test(start_paused = true)]
async fn a_rollout_keeps_what_serves_until_the_new_pods_do() {
    let mut stage = applied(&SERVER.replace("VERSION", "1")).await;
    let before = objects(&stage, "Pod", "default");
    assert_eq!(before.len(), 2);
    let slices = objects(&stage, "EndpointSlice", "default");
    assert_eq!(
        slices[0]["endpoints"].as_array().map(Vec::len),
        Some(2),
        "{slices:#?}"
    );
    assert_eq!(slices[0]["ports"][0]["port"], 8080);

    stage.wanted = town(&SERVER.replace("VERSION", "2"));
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Succeeded, "{}", told.text());
    stage.wait(Duration::from_secs(30)).await;
    let pods = objects(&stage, "Pod", "default");
    let images: Vec<&Value> = pods
        .iter()
        .map(|pod| &pod["spec"]["containers"][0]["image"])
        .collect();
    assert_eq!(images, ["server:2", "server:2"]);
    let status = &object(&stage, "Deployment", "default", "server")["status"];
    assert_eq!(
        [
            &status["replicas"],
            &status["updatedReplicas"],
            &status["readyReplicas"],
            &status["observedGeneration"]
        ],
        [2, 2, 2, 2],
        "{status:#}"
    );
    assert_eq!(objects(&stage, "ReplicaSet", "default").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_gets_nowhere_leaves_what_served() {
    let mut stage = applied(&SERVER.replace("VERSION", "1")).await;
    stage.world.add_fault(Fault::ImagePullFails {
        object: "Deployment/server".to_owned(),
        image: "server:2".to_owned(),
    });
    stage.wanted = town(&SERVER.replace("VERSION", "2"));
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed, "{}", told.text());
    let status = &object(&stage, "Deployment", "default", "server")["status"];
    assert_eq!(status["readyReplicas"], 2, "{status:#}");
    let pods = objects(&stage, "Pod", "default");
    let waiting: Vec<&Value> = pods
        .iter()
        .map(|pod| &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"])
        .filter(|reason| reason.is_string())
        .collect();
    assert_eq!(waiting, ["ImagePullBackOff", "ImagePullBackOff"]);
}

#[tokio::test(start_paused = true)]
async fn helm_in_a_job_installs_a_chart_and_waits_for_it() {
    let args = r#""upgrade --install argo argo-cd --repo=https://argoproj.github.io/argo-helm -n argocd --create-namespace --wait""#;
    let stage = applied(&JOB.replace("ARGS", args)).await;
    let status = &object(&stage, "Job", "kube-system", "install")["status"];
    assert_eq!(status["succeeded"], 1, "{status:#}");
    let controller = object(&stage, "StatefulSet", "argocd", "argocd-application-controller");
    assert_eq!(controller["status"]["readyReplicas"], 1);
    assert_eq!(
        controller["metadata"]["annotations"]["meta.helm.sh/release-name"],
        "argo"
    );
    assert!(
        all(&stage, "CustomResourceDefinition")
            .contains(&"CustomResourceDefinition applications.argoproj.io".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_tried_again_and_given_up() {
    let args = r#""upgrade --install it nobody-knows-it --repo=https://charts.example""#;
    let mut stage = Stage::new(town(&JOB.replace("ARGS", args)), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed, "{}", told.text());
    let status = &object(&stage, "Job", "kube-system", "install")["status"];
    assert_eq!(status["failed"], 2, "{status:#}");
    let reasons: Vec<&Value> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(reasons, ["BackoffLimitExceeded", "BackoffLimitExceeded"]);
}

#[tokio::test(start_paused = true)]
async fn argo_cd_installs_a_chart_and_takes_it_along() {
    let manifest = APPLICATION
        .replace("WHERE", "https://kubernetes-sigs.github.io/external-dns")
        .replace("CHART", "external-dns");
    let stage = applied(&manifest).await;
    let status = &object(&stage, "Application", "kube-system", "chart")["status"];
    assert_eq!(status["sync"]["status"], "Synced", "{status:#}");
    assert_eq!(status["health"]["status"], "Healthy", "{status:#}");
    let controller = object(&stage, "Deployment", "charted", "external-dns");
    assert_eq!(
        controller["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"],
        "chart:apps/Deployment:charted/external-dns"
    );
    assert_eq!(remove(&stage, "shop.web").await, "shop.web is removed");
    stage.wait(Duration::from_secs(30)).await;
    assert!(
        stage
            .world
            .object("town", "Deployment", "charted", "external-dns")
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_chart_that_nobody_knows_is_no_success() {
    let manifest = APPLICATION
        .replace("WHERE", "https://charts.example")
        .replace("CHART", "nobody-knows-it");
    let mut stage = Stage::new(town(&manifest), Vec::new());
    let (ended, told) = stage.apply().await;
    assert_eq!(ended, Ended::Failed, "{}", told.text());
    let status = &object(&stage, "Application", "kube-system", "chart")["status"];
    assert_eq!(status["health"]["status"], "Missing");
    assert_eq!(status["conditions"][0]["type"], "ComparisonError");
    let said = status["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(
        said.contains("the simulated world does not know `nobody-knows-it`"),
        "{said}"
    );
}
