//! Sessions with real `kubectl`.

use landfall_apiserver::Key;
use serde_json::json;

use crate::world::{World, has_kubectl};

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: { app: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: web
          image: nginx:1.29
          ports: [{ containerPort: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: LoadBalancer
  selector: { app: web }
  ports: [{ port: 80 }]
";

const SHOP: &str = "---\n{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }";

fn map(name: &str) -> String {
    format!("---\n{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: {name} }}, data: {{ a: b }} }}")
}

#[test]
fn objects_are_applied_looked_at_and_changed() {
    if !has_kubectl("objects_are_applied_looked_at_and_changed") {
        return;
    }
    let mut world = World::new();
    world.file("web.yaml", WEB);
    world.file("shop.yaml", SHOP);
    world.kubectl("create -f shop.yaml");
    world.kubectl("apply -n shop -f web.yaml");
    world.later(90);
    world.kubectl("apply -n shop -f web.yaml");
    world.kubectl("get -n shop deployment,service");
    world.kubectl("get namespaces");
    world.kubectl("label -n shop deployment web tier=front");
    world.kubectl("annotate -n shop deployment web note=here");
    world.kubectl("scale -n shop deployment web --replicas=3");
    world.kubectl("get -n shop deployment web -o jsonpath={.spec.replicas}{.metadata.labels}{\"\\n\"}");
    world.kubectl("set image -n shop deployment/web web=nginx:1.30");
    world.kubectl("get -n shop deployments -l tier=front -o wide");
    world.kubectl("get -n shop pods");
    world.kubectl("get -n shop deployment gone");
    insta::assert_snapshot!(world.session());
}

#[test]
fn a_server_side_apply_says_whose_field_it_is() {
    if !has_kubectl("a_server_side_apply_says_whose_field_it_is") {
        return;
    }
    let mut world = World::new();
    world.file("web.yaml", WEB);
    world.file("more.yaml", &WEB.replace("replicas: 2", "replicas: 5"));
    world.kubectl("apply --server-side --field-manager=landfall -f web.yaml");
    world.kubectl("apply --server-side --field-manager=landfall -f web.yaml");
    world.kubectl("diff --server-side --field-manager=landfall -f more.yaml");
    world.kubectl("scale deployment web --replicas=9");
    world.kubectl("apply --server-side --field-manager=landfall -f more.yaml");
    world.kubectl("apply --server-side --field-manager=landfall --force-conflicts -f more.yaml");
    world.kubectl("get deployment web -o jsonpath={.spec.replicas}{\"\\n\"}");
    world.kubectl("get deployment web -o yaml --show-managed-fields");
    insta::assert_snapshot!(world.session());
}

#[test]
fn a_rollout_is_waited_for_and_logs_are_read() {
    if !has_kubectl("a_rollout_is_waited_for_and_logs_are_read") {
        return;
    }
    let mut world = World::new();
    world.file("web.yaml", WEB);
    world.kubectl("apply -f web.yaml");
    let ready = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "conditions": [{ "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable" }],
    });
    let key = Key::new("apps", "Deployment", "default", "web");
    world
        .alone
        .act(|server, now| server.set_status("deployment-controller", &key, ready, now));
    world.kubectl("rollout status deployment/web --timeout=10s");
    world.kubectl("wait deployment/web --for=condition=Available --timeout=10s");
    world.kubectl("wait deployment/web --for=jsonpath={.status.readyReplicas}=2 --timeout=10s");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web-1", "namespace": "default" },
        "spec": { "containers": [{ "name": "web", "image": "nginx:1.29" }] },
    });
    world.alone.act(|server, now| {
        let key = server.create("replicaset-controller", pod, now).unwrap();
        server.set_log(&key, "starting\nlistening on 80\n".to_owned());
    });
    world.kubectl("logs web-1");
    world.kubectl("logs web-1 --tail=1");
    world.kubectl("get pods -o wide");
    world.kubectl("describe pod web-1");
    insta::assert_snapshot!(world.session());
}

#[test]
fn a_deletion_waits_for_finalizers() {
    if !has_kubectl("a_deletion_waits_for_finalizers") {
        return;
    }
    let mut world = World::new();
    world.file("shop.yaml", SHOP);
    world.file("kept.yaml", &map("kept"));
    world.file("more.yaml", &map("more"));
    world.kubectl("create -f shop.yaml");
    world.kubectl("create -n shop -f kept.yaml");
    world.file(
        "patch.json",
        r#"{"metadata":{"finalizers":["example.com/kept"]}}"#,
    );
    world.kubectl("patch configmap kept -n shop --type=merge --patch-file=patch.json");
    world.kubectl("delete namespace shop --wait=false");
    world.kubectl("get namespace shop");
    world.kubectl(
        "get namespace shop -o jsonpath={.status.conditions[?(@.status==\"True\")].message}{\"\\n\"}",
    );
    world.kubectl("create -n shop -f more.yaml");
    world.file("patch.json", r#"{"metadata":{"finalizers":null}}"#);
    world.kubectl("patch configmap kept -n shop --type=merge --patch-file=patch.json");
    world.kubectl("wait namespace/shop --for=delete --timeout=10s");
    world.kubectl("get namespace shop");
    insta::assert_snapshot!(world.session());
}

#[test]
fn the_server_says_what_it_serves() {
    if !has_kubectl("the_server_says_what_it_serves") {
        return;
    }
    let mut world = World::new();
    world.kubectl("version");
    world.kubectl("api-resources --api-group=apps --no-headers");
    world.kubectl("api-versions");
    world.kubectl("explain deployment.spec.replicas");
    world.kubectl("explain ingress.spec.rules --recursive");
    // Its typed commands speak protobuf, which is refused by name.
    world.kubectl("create namespace shop");
    world.kubectl("get pods --token=wrong");
    insta::assert_snapshot!(world.session());
}

#[test]
fn what_is_wrong_is_refused() {
    if !has_kubectl("what_is_wrong_is_refused") {
        return;
    }
    let mut world = World::new();
    world.file("typo.yaml", &WEB.replace("replicas: 2", "replica: 2"));
    world.file("type.yaml", &WEB.replace("replicas: 2", "replicas: two"));
    world.file(
        "selector.yaml",
        &WEB.replace("matchLabels: { app: web }", "matchLabels: { app: other }"),
    );
    world.file("name.yaml", &WEB.replace("  name: web\n", "  name: Web_1\n"));
    world.file("web.yaml", WEB);
    world.file("moved.yaml", &WEB.replace("{ app: web } }", "{ app: moved } }"));
    world.kubectl("apply -f typo.yaml");
    world.kubectl("apply -f typo.yaml --validate=warn");
    world.kubectl("delete deployment,service web");
    world.kubectl("apply -f type.yaml");
    world.kubectl("apply -f selector.yaml");
    world.kubectl("apply -f name.yaml");
    world.kubectl("apply -f web.yaml");
    world.kubectl("apply -f moved.yaml");
    world.kubectl("apply -n nowhere -f web.yaml");
    insta::assert_snapshot!(world.session());
}

#[test]
fn a_watch_tells_what_happens() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    if !has_kubectl("a_watch_tells_what_happens") {
        return;
    }
    let mut world = World::new();
    world.file("first.yaml", &map("first"));
    world.file("second.yaml", &map("second"));
    world.kubectl("create -f first.yaml");
    // The time-out ends the test when an event stays away.
    let mut child = world
        .command("get configmaps -w -o name --output-watch-events --request-timeout=20s")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let mut next = || {
        seen.push(
            lines
                .next()
                .map_or_else(|| "nothing more".to_owned(), Result::unwrap),
        )
    };
    next();
    world.kubectl("create -f second.yaml");
    next();
    world.kubectl("label configmap first is=labelled");
    next();
    world.kubectl("delete configmap first");
    next();
    child.kill().unwrap();
    child.wait().unwrap();
    insta::assert_snapshot!(seen.join("\n"));
}
