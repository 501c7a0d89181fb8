//! Objects that are wrong, and what is said of them.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fmt::Write as _;

use serde_json::Value;

/// What is said of the objects in a text.
fn said(text: &str) -> String {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let mut said = String::new();
    for object in &objects {
        for problem in landfall_kinds::check(object) {
            let path = problem.path.join(".");
            let sure = if problem.is_sure { "" } else { " (perhaps)" };
            let _ = writeln!(said, "{path}: {}{sure}", problem.message);
            if let Some(help) = problem.help {
                let _ = writeln!(said, "    {help}");
            }
        }
    }
    said
}

#[test]
fn workloads() {
    insta::assert_snapshot!(said(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: Web, namespace: shop, labels: { app: "not a value" } }
spec:
  replica: 2
  minReadySeconds: -1
  strategy: { type: rollingUpdate }
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: wep } }
    spec:
      restartPolicy: Never
      volumes: [{ name: data, emptyDir: { sizeLimit: 1Gigabyte } }]
      containers:
        - name: web
          imagePullPolicy: always
          ports: [{ containerPort: 80 }, { containerPort: 80, protocol: TCP }, { containerPort: 99999 }]
          env: [{ name: A, value: 1 }, { name: B, value: x, valueFrom: { fieldRef: { fieldPath: metadata.name } } }]
          volumeMounts: [{ name: dat, mountPath: /data }]
          resources: { requests: { cpu: 2, memory: 1Gi }, limits: { cpu: 500m, memory: 1Gi } }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: store, namespace: shop }
spec:
  serviceName: store
  selector: { matchLabels: { app: store } }
  template:
    metadata: { labels: { app: store } }
    spec: { containers: [{ name: store, image: "store:1", volumeMounts: [{ name: data, mountPath: /data }] }] }
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: batch/v1
kind: Job
metadata: { name: once, namespace: shop }
spec: { template: { spec: { containers: [{ name: once, image: "job:1" }] } } }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: nightly, namespace: shop }
spec:
  schedule: daily
  jobTemplate: { spec: { template: { spec: { restartPolicy: Always, containers: [] } } } }
"#
    ));
}

#[test]
fn services_and_the_rest() {
    insta::assert_snapshot!(said(
        r#"
apiVersion: v1
kind: Service
metadata: { name: web.shop, namespace: shop }
spec: { type: loadBalancer, ports: [{ port: 80 }, { port: 443, name: https }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: shop }
spec:
  rules:
    - http: { paths: [{ path: web, backend: { service: { name: web, port: { number: http } } } }] }
---
apiVersion: v1
kind: Secret
metadata: { name: token, namespace: shop }
data: { token: not-base-64 }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: "system:web", namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io/v1, kind: Role, name: web }
subjects: [{ kind: ServiceAccount, name: web }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop, finalizers: [a.example/b, a.example/b] }
data: { retries: 3, debug: true }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, namespace: shop }
spec: { storageClassName: gp3 }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: web, namespace: shop }
spec: { minAvailable: 1, maxUnavailable: 1 }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web, namespace: shop }
spec: { minReplicas: 5, maxReplicas: 3, scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web } }
"#
    ));
}

#[test]
fn custom_kinds() {
    insta::assert_snapshot!(said(
        r#"
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: shop, namespace: argocd }
spec:
  project: default
  destination: { server: "https://kubernetes.default.svc", name: in-cluster }
  source: { repoURL: "https://charts.example.com", chart: shop, helm: { valueObject: {} } }
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: { name: default, namespace: kube-system }
spec: { role: a, instanceProfile: b, amiSelectorTerms: [{ alias: al2023@latest }], subnetSelectorTerms: [{ tag: { a: b } }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: edge }
spec: { gatewayClassName: envoy, listeners: [{ name: a, port: 443, protocol: HTTPS }, { name: a, port: 80, protocol: HTTP }] }
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: { name: token, namespace: shop }
spec: { refreshInterval: 1h, secretStoreRef: { kind: ClusterStore, name: aws }, data: [{ secretKey: token, remoteRef: { property: token } }] }
"#
    ));
}

#[test]
fn versions_and_names_that_do_not_exist() {
    insta::assert_snapshot!(said(
        r#"
apiVersion: extensions/v1beta1
kind: Deployment
metadata: { name: web }
---
apiVersion: v1
kind: Deployment
metadata: { name: web }
---
apiVersion: apps/v1
kind: Deploymnt
metadata: { name: web }
---
apiVersion: argoproj.oi/v1alpha1
kind: Application
metadata: { name: web }
"#
    ));
}

/// Values that are not known yet fit everywhere, and what nobody has heard of is let pass.
#[test]
fn what_is_not_known_is_let_pass() {
    assert_eq!(
        said(
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: "${inputs.name}", namespace: shop, labels: "${inputs.labels}" }
spec:
  replicas: "${inputs.replicas}"
  selector: { matchLabels: { app: "${inputs.name}" } }
  template:
    metadata: { labels: { app: "${inputs.name}-pods" } }
    spec:
      nodeSelector: "${inputs.nodes}"
      containers:
        - name: web
          image: "${inputs.image}"
          imagePullPolicy: "${inputs.pull}"
          resources: "${inputs.resources}"
          env: "${inputs.env}"
---
apiVersion: "${inputs.auto ? 'eks.amazonaws.com/v1' : 'elbv2.k8s.aws/v1beta1'}"
kind: TargetGroupBinding
metadata: { name: web, namespace: shop }
spec: { anything: goes }
---
apiVersion: example.com/v1
kind: Widget
metadata: { name: web }
spec: { anything: goes }
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: Gateway
metadata: { name: web }
spec: { anything: goes }
"#
        ),
        ""
    );
}

#[test]
fn a_field_of_a_newer_controller_is_only_doubted() {
    // Both are in the published definitions of today.
    insta::assert_snapshot!(said(
        r#"
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: shop, namespace: argocd }
spec:
  project: default
  destination: { name: in-cluster, namespace: shop }
  source: { repoURL: "https://git.example.com/shop", path: shop, targetRevison: main }
  sourceHydrator: {}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: { name: shop, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop }]
  csrf: {}
"#
    ));
}
