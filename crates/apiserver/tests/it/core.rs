//! The core by itself: what controllers and settling do.

use jiff::{SignedDuration, Timestamp};
use landfall_apiserver::{ApiServer, Hooks, Key, Outcome, View, Webhook};
use serde_json::{Value, json};

use crate::world::{World, start};

fn server() -> ApiServer {
    ApiServer::new(1, "1.35", start())
}

fn map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } })
}

fn owned(name: &str, owner: &Value) -> Value {
    let mut object = map(name);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "blockOwnerDeletion": true,
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
    }]);
    object
}

fn names(server: &ApiServer) -> Vec<String> {
    server
        .of_kind("", "ConfigMap")
        .map(|(key, object)| {
            let going = object.pointer("/metadata/deletionTimestamp").is_some();
            format!("{}{}", key.name, if going { " (going)" } else { "" })
        })
        .collect()
}

#[test]
fn what_is_owned_goes_with_its_owner() {
    let mut server = server();
    let key = server.create("test", map("owner"), start()).unwrap();
    let owner = server.get(&key).unwrap().clone();
    server.create("test", owned("child", &owner), start()).unwrap();
    server.settle(start());
    assert_eq!(names(&server), ["child", "owner"]);
    server.delete(&key, start());
    assert_eq!(names(&server), ["child"]);
    server.settle(start());
    assert!(names(&server).is_empty());
}

#[test]
fn an_owner_of_the_same_name_is_another_one() {
    let mut server = server();
    let key = server.create("test", map("owner"), start()).unwrap();
    let owner = server.get(&key).unwrap().clone();
    server.create("test", owned("child", &owner), start()).unwrap();
    server.delete(&key, start());
    server.create("test", map("owner"), start()).unwrap();
    server.settle(start());
    assert_eq!(names(&server), ["owner"]);
}

#[test]
fn propagation_decides_who_goes_first() {
    let mut said = String::new();
    for policy in ["Background", "Foreground", "Orphan"] {
        let world = World::new();
        world.alone.act(|server, now| {
            let key = server.create("test", map("owner"), now).unwrap();
            let owner = server.get(&key).unwrap().clone();
            let mut child = owned("child", &owner);
            child["metadata"]["finalizers"] = json!(["example.com/wait"]);
            server.create("test", child, now).unwrap();
        });
        let address = format!("/api/v1/namespaces/default/configmaps/owner?propagationPolicy={policy}");
        let (status, _) = world.ask("DELETE", &address);
        let left = world.alone.act(|server, _| names(server));
        let settled = world.alone.act(|server, _| names(server));
        let child = Key::new("", "ConfigMap", "default", "child");
        world
            .alone
            .act(|server, now| server.remove_finalizer(&child, "example.com/wait", now));
        let end = world.alone.act(|server, _| names(server));
        said.push_str(&format!(
            "{policy}: {status} {left:?} then {settled:?} at last {end:?}\n"
        ));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_claim_waits_for_its_pod() {
    let mut server = server();
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "user" },
        "spec": {
            "containers": [{ "name": "main", "image": "a:1" }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        },
    });
    let claim = server.create("test", claim, start()).unwrap();
    let pod = server.create("test", pod, start()).unwrap();
    server.delete(&claim, start());
    server.settle(start());
    assert!(server.get(&claim).is_some());
    server.delete(&pod, start());
    server.settle(start());
    assert!(server.get(&claim).is_none());
}

#[test]
fn a_controller_changes_either_half() {
    let mut server = server();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "a:1" }] },
            },
        },
    });
    let (key, first) = server
        .apply("landfall", false, deployment.clone(), start())
        .unwrap();
    let (_, second) = server
        .apply(
            "landfall",
            false,
            deployment,
            start() + SignedDuration::from_secs(9),
        )
        .unwrap();
    assert_eq!((first, second), (Outcome::Created, Outcome::Same));
    let revision = server.revision();
    let status = json!({ "readyReplicas": 1, "observedGeneration": 1 });
    assert_eq!(
        server.set_status("controller", &key, status.clone(), start()),
        Outcome::Changed
    );
    assert_eq!(
        server.set_status("controller", &key, status, start()),
        Outcome::Same
    );
    assert_eq!(server.revision(), revision + 1);
    let changed = server
        .update("autoscaler", &key, start(), |object| {
            object["spec"]["replicas"] = 4.into();
            object["status"] = json!({});
        })
        .unwrap();
    assert_eq!(changed, Outcome::Changed);
    let object = server.get(&key).unwrap();
    assert_eq!(object["metadata"]["generation"], 2);
    assert_eq!(object["status"]["readyReplicas"], 1);
}

/// Webhooks that answer what the test says.
struct Says(Webhook);

impl Hooks for Says {
    fn call_webhook(&mut self, api: &View<'_>, webhook: &Value, object: &Value) -> Webhook {
        assert!(api.of_kind("", "Namespace").count() >= 4);
        assert_eq!(webhook["name"], "check.example.com");
        assert_eq!(object["kind"], "ConfigMap");
        self.0.clone()
    }

    fn establishes(&mut self, _crd: &Value, now: Timestamp) -> Timestamp {
        now
    }
}

fn guarded(answer: Webhook, failure_policy: &str) -> World {
    let world = World::new();
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "check" },
        "webhooks": [{
            "name": "check.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": failure_policy,
            "clientConfig": { "service": { "namespace": "check", "name": "check" } },
            "rules": [{ "operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"] }],
            "namespaceSelector": { "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"] }] },
        }],
    });
    world.alone.act(|server, now| {
        server.create("test", configuration, now).unwrap();
        server.hooks(Box::new(Says(answer)));
    });
    world
}

#[test]
fn webhooks_have_their_say() {
    let mut said = String::new();
    for (answer, policy) in [
        (Webhook::Allowed, "Fail"),
        (Webhook::Denied("no such thing here".to_owned()), "Fail"),
        (Webhook::Unreachable("connection refused".to_owned()), "Fail"),
        (Webhook::Unreachable("connection refused".to_owned()), "Ignore"),
    ] {
        let world = guarded(answer.clone(), policy);
        let (status, body) = world.send("/api/v1/namespaces/default/configmaps", &map("x"));
        let (elsewhere, _) = world.send("/api/v1/namespaces/kube-system/configmaps", &map("x"));
        let message = body["message"].as_str().unwrap_or("made");
        said.push_str(&format!(
            "{answer:?}, {policy}: {status} {message}; kube-system: {elsewhere}\n"
        ));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn lists_come_in_pages_and_selections() {
    let world = World::new();
    for name in ["a", "b", "c", "d", "e"] {
        let mut object = map(name);
        object["metadata"]["labels"] = json!({ "half": if name < "c" { "first" } else { "second" } });
        world.send("/api/v1/namespaces/default/configmaps", &object);
    }
    let names = |body: &str| -> Vec<String> {
        let list: Value = serde_json::from_str(body).unwrap();
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, page) = world.ask("GET", "/api/v1/configmaps?limit=2");
    let list: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(names(&page), ["a", "b"]);
    assert_eq!(list["metadata"]["remainingItemCount"], 3);
    let next = list["metadata"]["continue"].as_str().unwrap();
    let (_, page) = world.ask("GET", &format!("/api/v1/configmaps?limit=2&continue={next}"));
    assert_eq!(names(&page), ["c", "d"]);
    let select = |query: &str| names(&world.ask("GET", &format!("/api/v1/configmaps?{query}")).1);
    assert_eq!(select("labelSelector=half%3Dfirst"), ["a", "b"]);
    assert_eq!(select("labelSelector=half+notin+(first)"), ["c", "d", "e"]);
    assert_eq!(select("labelSelector=!half"), Vec::<String>::new());
    assert_eq!(select("fieldSelector=metadata.name%3Dd"), ["d"]);
    assert_eq!(
        select("fieldSelector=metadata.name!%3Dd&labelSelector=half=second"),
        ["c", "e"]
    );
    let (status, _) = world.ask("GET", "/api/v1/configmaps?fieldSelector=data.a%3Db");
    assert_eq!(status, 400);
}

#[test]
fn a_watch_goes_on_from_where_it_was() {
    let world = World::new();
    world.send("/api/v1/namespaces/default/configmaps", &map("a"));
    let from = world.alone.act(|server, _| server.revision());
    world.send("/api/v1/namespaces/default/configmaps", &map("b"));
    world.alone.act(|server, now| {
        let key = Key::new("", "ConfigMap", "default", "a");
        server
            .update("test", &key, now, |object| {
                object["metadata"]["labels"] = json!({ "in": "yes" })
            })
            .unwrap();
        server
            .update("test", &key, now, |object| {
                object["metadata"]["labels"] = json!({ "in": "no" })
            })
            .unwrap();
        server.delete(&key, now);
    });
    let seen = |query: &str| -> Vec<String> {
        let (_, lines) = world.ask("GET", &format!("/api/v1/configmaps?watch=1&{query}"));
        lines
            .lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                format!(
                    "{} {}",
                    event["type"].as_str().unwrap(),
                    event["object"]["metadata"]["name"].as_str().unwrap_or("-")
                )
            })
            .collect()
    };
    assert_eq!(
        seen(&format!("resourceVersion={from}")),
        ["ADDED b", "MODIFIED a", "MODIFIED a", "DELETED a"]
    );
    assert_eq!(
        seen(&format!("resourceVersion={from}&labelSelector=in%3Dyes")),
        ["ADDED a", "DELETED a"]
    );
    assert_eq!(
        seen("sendInitialEvents=true&allowWatchBookmarks=true"),
        ["ADDED b", "BOOKMARK -"]
    );
    for count in 0..5000 {
        world.alone.act(|server, now| {
            let key = Key::new("", "ConfigMap", "default", "b");
            server
                .update("test", &key, now, |object| {
                    object["data"]["count"] = count.to_string().into()
                })
                .unwrap();
        });
    }
    let (_, gone) = world.ask(
        "GET",
        &format!("/api/v1/configmaps?watch=1&resourceVersion={from}"),
    );
    assert!(
        gone.starts_with(r#"{"type":"ERROR""#) && gone.contains("\"code\":410"),
        "{gone}"
    );
}

#[test]
fn only_who_is_bound_to_a_role_may() {
    let world = World::new();
    let refused = world.ask_as("nobody", "GET", "/api/v1/namespaces/default/pods");
    insta::assert_snapshot!(refused.1["message"].as_str().unwrap(), @r#"pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "default""#);
    world.alone.act(|server, now| {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader" },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] }],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "reader" },
            "roleRef": { "kind": "Role", "name": "reader" }, "subjects": [{ "kind": "User", "name": "nobody" }],
        });
        server.create("test", role, now).unwrap();
        server.create("test", binding, now).unwrap();
    });
    let status = |method: &str, address: &str| world.ask_as("nobody", method, address).0;
    assert_eq!(status("GET", "/api/v1/namespaces/default/pods"), 200);
    assert_eq!(status("GET", "/api/v1/namespaces/kube-system/pods"), 403);
    assert_eq!(status("DELETE", "/api/v1/namespaces/default/pods/x"), 403);
}
