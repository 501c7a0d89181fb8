//! What the server refuses: for a while, or for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use landfall_apiserver::{Hooks, View, Webhook};
use serde_json::{Value, json};

use crate::world::{World, definition, namespace, step, work};

/// What is around the server.
struct Around {
    /// How often the webhook does not answer before it does.
    deaf: Arc<AtomicU32>,
    established_after: SignedDuration,
}

impl Hooks for Around {
    fn call_webhook(&mut self, _: &View<'_>, _: &Value, object: &Value) -> Webhook {
        if self.deaf.load(Ordering::Relaxed) > 0 {
            self.deaf.fetch_sub(1, Ordering::Relaxed);
            let why = "Post \"https://judge.court.svc:443/judge?timeout=10s\": dial tcp 10.0.0.1:443: connect: connection refused";
            return Webhook::Unreachable(why.to_owned());
        }
        if object["data"]["color"] == "pink" {
            return Webhook::Denied("pink is not allowed".to_owned());
        }
        Webhook::Allowed
    }

    fn establishes(&mut self, _: &Value, now: Timestamp) -> Timestamp {
        now + self.established_after
    }
}

fn judge() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "judge" },
        "webhooks": [{
            "name": "judge.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": { "service": { "name": "judge", "namespace": "court", "path": "/judge" } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"] }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "shop" } },
        }],
    })
}

fn lamp(color: &str) -> String {
    namespace("shop")
        + &format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{ name: lamp, namespace: shop }}
data: {{ color: {color} }}
"
        )
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_does_not_answer_yet_is_waited_for() {
    let world = World::new();
    let deaf = Arc::new(AtomicU32::new(5));
    let around = Around {
        deaf: deaf.clone(),
        established_after: SignedDuration::ZERO,
    };
    world.api().hooks(Box::new(around));
    let now = world.now();
    world.api().create("elsewhere", judge(), now).unwrap();
    let mut said = world.apply(&step("web", &lamp("red"))).await;
    said += &world.heard();
    deaf.store(u32::MAX, Ordering::Relaxed);
    said += &world.plan(&step("web", &lamp("green"))).await;
    said += &world.apply(&step("web", &lamp("green"))).await;
    deaf.store(0, Ordering::Relaxed);
    said += &world.apply(&step("web", &lamp("pink"))).await;
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_comes_late_is_waited_for() {
    let world = World::new();
    world.api().hooks(Box::new(Around {
        deaf: Arc::default(),
        established_after: SignedDuration::from_secs(40),
    }));
    let ship = "apiVersion: example.com/v1
kind: Ship
metadata: { name: argo, namespace: default }
";
    world.later(30, |api, now| {
        let definition = definition("example.com", "v1", "Ship", "ships");
        api.create("elsewhere", definition, now).unwrap();
    });
    let began = world.now();
    let mut said = world.apply(&step("web", ship)).await;
    assert!(world.now().duration_since(began).as_secs() >= 70);
    said += &world.heard();
    let mut never = step("other", &ship.replace("Ship", "Boat"));
    work(&mut never).within_s = 30;
    said += &world.apply(&never).await;
    let old = "apiVersion: extensions/v1beta1
kind: Deployment
metadata: { name: web, namespace: default }
";
    said += &world
        .apply(&step("old", &old.replace("extensions/v1beta1", "apps/v1beta1")))
        .await;
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_still_going_is_waited_for() {
    let world = World::new();
    let step = step("web", &lamp("red"));
    let mut said = world.apply(&step).await;
    world
        .edit(
            "elsewhere",
            "/api/v1/namespaces/shop/configmaps/lamp",
            json!({ "metadata": { "finalizers": ["example.com/slow"] } }),
        )
        .await;
    world.delete("/api/v1/namespaces/shop").await;
    said += &world.observe(&step).await;
    world.later(60, |api, now| {
        let lamp = landfall_apiserver::Key::new("", "ConfigMap", "shop", "lamp");
        api.remove_finalizer(&lamp, "example.com/slow", now);
    });
    world.heard();
    said += &world.apply(&step).await;
    insta::assert_snapshot!(said + &world.heard());
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_is_refused_with_a_way_out() {
    let world = World::new();
    let homeless = "apiVersion: v1
kind: ConfigMap
metadata: { name: lamp, namespace: nowhere }
";
    let mut said = world.apply(&step("homeless", homeless)).await;
    let service = |ip: &str| {
        format!(
            "apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: default }}
spec: {{ clusterIP: {ip}, ports: [{{ port: 80 }}], selector: {{ app: web }} }}
"
        )
    };
    said += &world.apply(&step("web", &service("10.100.0.10"))).await;
    said += &world.apply(&step("web", &service("10.100.0.11"))).await;
    insta::assert_snapshot!(said);
}
