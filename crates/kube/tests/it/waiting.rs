//! What is waited for, what is said meanwhile, and what is said when it does not come.

use std::sync::atomic::Ordering;

use landfall_apiserver::Key;
use serde_json::json;

use crate::world::{World, failure, namespace, step, work};

fn web(replicas: u32) -> String {
    namespace("shop")
        + &format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: web, namespace: shop }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ app: web }} }}
  template:
    metadata: {{ labels: {{ app: web }} }}
    spec:
      containers: [{{ name: main, image: 'nginx:1.29' }}]
"
        )
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_still_being_made_is_waited_for() {
    let world = World::new();
    world.cluster_is("CREATING");
    let step = step("web", &namespace("shop"));
    let mut said = world.observe(&step).await;
    let began = world.now();
    let (outcome, ()) = tokio::join!(world.apply(&step), async {
        tokio::time::sleep(std::time::Duration::from_secs(100)).await;
        world.cluster_is("ACTIVE");
    });
    said += &outcome;
    said += &world.heard();
    assert!(world.now().duration_since(began).as_secs() >= 100);
    world.cluster_is("ABSENT");
    said += &world.apply(&step).await;
    let mut late = step.clone();
    work(&mut late).within_s = 90;
    world.cluster_is("CREATING");
    said += &world.apply(&late).await;
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_run_are_named_with_the_reason() {
    let world = World::new();
    world.kubelet(|api, now| {
        let web = Key::new("apps", "Deployment", "shop", "web");
        let pod = Key::new("", "Pod", "shop", "web-1");
        if api.get(&web).is_none() || api.get(&pod).is_some() {
            return;
        }
        let body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web-1", "namespace": "shop", "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "main", "image": "nginx:1.29" }] },
        });
        api.create("kube-controller-manager", body, now).unwrap();
        let waiting = json!({ "waiting": {
            "reason": "ImagePullBackOff", "message": "Back-off pulling image \"nginx:1.29\"",
        } });
        let status = json!({
            "phase": "Pending",
            "conditions": [{ "type": "Ready", "status": "False" }],
            "containerStatuses": [{
                "name": "main", "image": "nginx:1.29", "imageID": "", "ready": false, "restartCount": 0, "state": waiting,
            }],
        });
        api.set_status("kubelet", &pod, status, now);
        let status = json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1 });
        api.set_status("kube-controller-manager", &web, status, now);
    });
    let said = world.apply(&step("web", &web(1))).await;
    insta::assert_snapshot!(said + &world.heard());
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_told_and_renewed() {
    use landfall_runner::Provider;
    let world = World::new();
    let step = step("web", &web(2));
    world.way().expired.store(true, Ordering::Relaxed);
    let mut said = failure(&world.try_apply(&step).await.unwrap_err());
    let unseen = world.objects.observe(&step).await.unwrap_err();
    said += &format!("looking: expired: {}\n", unseen.expired);
    world.objects.renew().await.unwrap();
    said += &world.apply(&step).await;
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_known_is_told_so_after_renewing_in_vain() {
    use landfall_runner::Provider;
    let world = World::new();
    let step = step("web", &namespace("shop"));
    for _ in 0..2 {
        world.way().expired.store(true, Ordering::Relaxed);
        world.try_apply(&step).await.unwrap_err();
        world.objects.renew().await.unwrap();
    }
    world.way().expired.store(true, Ordering::Relaxed);
    insta::assert_snapshot!(world.apply(&step).await);
}

#[tokio::test(start_paused = true)]
async fn busy_servers_and_lost_answers_are_waited_out() {
    let world = World::new();
    let step = step("web", &web(2));
    *world.way().refuses.lock().unwrap() = vec![429, 503, 429, 504, 429, 502];
    world.way().loses.store(3, Ordering::Relaxed);
    let said = world.apply(&step).await;
    insta::assert_snapshot!(said + &world.heard());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let world = World::new();
    let step = step("web", &web(2));
    world.way().loses.store(u32::MAX, Ordering::Relaxed);
    let began = world.now();
    let mut said = world.observe(&step).await;
    said += &format!("after {} min\n", world.now().duration_since(began).as_mins());
    let began = world.now();
    said += &world.apply(&step).await;
    said += &format!("after {} min\n", world.now().duration_since(began).as_mins());
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn the_claim_behind_the_pod_behind_the_deployment_is_named() {
    let world = World::new();
    world.kubelet(|api, now| {
        let web = Key::new("apps", "Deployment", "shop", "web");
        let pod = Key::new("", "Pod", "shop", "web-1");
        if api.get(&web).is_none() || api.get(&pod).is_some() {
            return;
        }
        let body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web-1", "namespace": "shop", "labels": { "app": "web" } },
            "spec": {
                "containers": [{ "name": "main", "image": "nginx:1.29" }],
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
            },
        });
        api.create("kube-controller-manager", body, now).unwrap();
        let message = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
        let status = json!({
            "phase": "Pending",
            "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }],
        });
        api.set_status("kube-scheduler", &pod, status, now);
        let event = |kind: &str, name: &str, reason: &str, message: &str| {
            json!({
                "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason, "message": message,
                "metadata": { "name": format!("{name}.1"), "namespace": "shop" },
                "involvedObject": { "apiVersion": "v1", "kind": kind, "namespace": "shop", "name": name },
                "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            })
        };
        let lacks = "failed to provision volume: UnauthorizedOperation: not authorized to perform ec2:CreateVolume";
        for one in [
            event("Pod", "web-1", "FailedScheduling", message),
            event("PersistentVolumeClaim", "data", "ProvisioningFailed", lacks),
        ] {
            api.create("kube-controller-manager", one, now).unwrap();
        }
        api.set_status("pv-controller", &Key::new("", "PersistentVolumeClaim", "shop", "data"), json!({ "phase": "Pending" }), now);
    });
    let manifests = web(1)
        + "---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, namespace: shop }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
";
    insta::assert_snapshot!(world.apply(&step("web", &manifests)).await);
}
