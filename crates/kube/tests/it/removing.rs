//! Removing: the right order, clean-up first, and what hangs.

use landfall_apiserver::Key;
use serde_json::json;

use crate::world::{World, definition, namespace, step, work};

fn lamp() -> String {
    namespace("shop")
        + "apiVersion: v1
kind: ConfigMap
metadata: { name: lamp, namespace: shop, finalizers: [example.com/hold] }
"
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_named_with_its_finalizer() {
    let world = World::new();
    let with_lamp = step("web", &lamp());
    let mut said = world.apply(&with_lamp).await;
    let mut without = step("web", &namespace("shop"));
    work(&mut without).within_s = 60;
    said += &world.apply(&without).await;
    let owned = world.owned(&with_lamp).await;
    world.heard();
    said += &world.remove(&owned).await;
    said += &world.heard();
    world.later(30, |api, now| {
        api.remove_finalizer(
            &Key::new("", "ConfigMap", "shop", "lamp"),
            "example.com/hold",
            now,
        );
    });
    said += &world.remove(&owned).await;
    insta::assert_snapshot!(said);
}

fn ingress() -> String {
    namespace("shop")
        + "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: shop, finalizers: [ingress.k8s.aws/resources] }
spec:
  ingressClassName: alb
  rules: [{ http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }]
"
}

#[tokio::test(start_paused = true)]
async fn what_nobody_cleans_up_behind_goes_with_its_cluster() {
    let world = World::new();
    world.kubelet(|api, now| {
        let web = Key::new("networking.k8s.io", "Ingress", "shop", "web");
        if api.get(&web).is_some() {
            let status = json!({ "loadBalancer": { "ingress": [{ "hostname": "web.example.com" }] } });
            api.set_status("controller", &web, status, now);
        }
    });
    let step = step("web", &ingress());
    let mut said = world.apply(&step).await;
    let mut owned = world.owned(&step).await;
    said += &format!("holds: {}\n", owned.holds.join(", "));
    let began = world.now();
    said += &world.remove(&owned).await;
    said += &format!("after {} min\n", world.now().duration_since(began).as_mins());
    owned.goes_along = true;
    let began = world.now();
    said += &world.remove(&owned).await;
    said += &format!("after {} min\n", world.now().duration_since(began).as_mins());
    world.cluster_is("ABSENT");
    said += &world.remove(&owned).await;
    insta::assert_snapshot!(said);
}

fn goodbye() -> String {
    namespace("shop")
        + "apiVersion: batch/v1
kind: Job
metadata: { name: goodbye, namespace: shop, annotations: { landfall.dev/run: on-removal } }
spec:
  template:
    spec: { restartPolicy: Never, containers: [{ name: main, image: busybox }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: list, namespace: shop }
"
}

#[tokio::test(start_paused = true)]
async fn a_job_cleans_up_before_anything_goes() {
    let world = World::new();
    let step = step("web", &goodbye());
    let mut said = world.apply(&step).await;
    let job = Key::new("batch", "Job", "shop", "goodbye");
    let list = Key::new("", "ConfigMap", "shop", "list");
    world.kubelet(move |api, now| {
        let Some(object) = api.get(&job).cloned() else {
            return;
        };
        if object["spec"]["suspend"] == true || !object["status"]["succeeded"].is_null() {
            return;
        }
        assert!(api.get(&list).is_some(), "what it needs still stands");
        let started = object["status"]["startTime"]
            .as_str()
            .and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let status = match started {
            None => json!({ "startTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "active": 1 }),
            Some(at) if now.duration_since(at).as_secs() > 45 => json!({
                "startTime": object["status"]["startTime"], "succeeded": 1,
                "conditions": [{ "type": "Complete", "status": "True" }],
            }),
            Some(_) => return,
        };
        api.set_status("kube-controller-manager", &job, status, now);
    });
    let owned = world.owned(&step).await;
    world.heard();
    let began = world.now();
    said += &world.remove(&owned).await;
    assert!(world.now().duration_since(began).as_secs() >= 45);
    insta::assert_snapshot!(said + &world.heard());
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_fails_keeps_everything() {
    let world = World::new();
    let step = step("web", &goodbye());
    let mut said = world.apply(&step).await;
    world.kubelet(|api, now| {
        let job = Key::new("batch", "Job", "shop", "goodbye");
        let pod = Key::new("", "Pod", "shop", "goodbye-1");
        let suspended = api
            .get(&job)
            .is_none_or(|object| object["spec"]["suspend"] == true);
        if suspended || api.get(&pod).is_some() {
            return;
        }
        let labels = api.get(&job).unwrap()["spec"]["selector"]["matchLabels"].clone();
        let body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "goodbye-1", "namespace": "shop", "labels": labels },
            "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
        });
        api.create("kube-controller-manager", body, now).unwrap();
        api.set_log(
            &pod,
            "bucket list\nerror: access denied to bucket things\n".to_owned(),
        );
        let status = json!({
            "failed": 1,
            "conditions": [{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit" }],
        });
        api.set_status("kube-controller-manager", &job, status, now);
    });
    let owned = world.owned(&step).await;
    said += &world.remove(&owned).await;
    said += &world.observe(&step).await;
    // Applied again, it is ready to clean up once more.
    said += &world.apply(&step).await;
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn volumes_are_waited_for_until_their_driver_has_deleted_them() {
    let world = World::new();
    world.kubelet(|api, now| {
        let claim = Key::new("", "PersistentVolumeClaim", "shop", "data");
        let volume = Key::new("", "PersistentVolume", "", "pvc-1");
        if api
            .get(&claim)
            .is_none_or(|claim| !claim["status"]["phase"].is_null() && claim["status"]["phase"] == "Bound")
        {
            return;
        }
        if api.get(&volume).is_none() {
            let body = json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "pvc-1" },
                "spec": {
                    "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Delete",
                    "csi": { "driver": "ebs.csi.aws.com", "volumeHandle": "vol-0123" },
                    "claimRef": { "namespace": "shop", "name": "data" },
                },
            });
            api.create("ebs", body, now).unwrap();
        }
        api.set_status("ebs", &claim, json!({ "phase": "Bound" }), now);
    });
    let manifests = namespace("shop")
        + "apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, namespace: shop }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
";
    let step = step("web", &manifests);
    let mut said = world.apply(&step).await;
    let owned = world.owned(&step).await;
    world.heard();
    world.later(40, |api, now| {
        api.delete(&Key::new("", "PersistentVolume", "", "pvc-1"), now)
    });
    said += &world.remove(&owned).await;
    said += &world.heard();
    said += &world.apply(&step).await;
    said += &world.remove(&owned).await;
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn what_makes_things_anew_is_stopped() {
    let world = World::new();
    let manifests = namespace("shop")
        + "apiVersion: batch/v1
kind: CronJob
metadata: { name: nightly, namespace: shop }
spec:
  schedule: 0 3 * * *
  jobTemplate: { spec: { template: { spec: { restartPolicy: Never, containers: [{ name: main, image: busybox }] } } } }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web, namespace: shop }
spec: { minReplicas: 2, maxReplicas: 9, scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web } }
";
    let step = step("web", &manifests);
    let mut said = world.apply(&step).await;
    let owned = world.owned(&step).await;
    said += &world.quiesce(&owned).await;
    said += &world.quiesce(&owned).await;
    // A teardown that was given up: everything is as it was.
    said += &world.plan(&step).await;
    said += &world.apply(&step).await;
    said += &world.plan(&step).await;
    let nightly = Key::new("batch", "CronJob", "shop", "nightly");
    said += &format!(
        "suspended: {}\n",
        world.api().get(&nightly).unwrap()["spec"]["suspend"]
    );
    let scaler = Key::new("autoscaling", "HorizontalPodAutoscaler", "shop", "web");
    said += &format!(
        "at most {}\n",
        world.api().get(&scaler).unwrap()["spec"]["maxReplicas"]
    );
    insta::assert_snapshot!(said);
}

fn application(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": { "name": name, "namespace": "argocd" },
        "spec": { "syncPolicy": { "automated": { "prune": true } } },
    })
}

#[tokio::test(start_paused = true)]
async fn applications_of_applications_stop_syncing() {
    let world = World::new();
    let now = world.now();
    let of_argo = |name: &str| Key::new("argoproj.io", "Application", "argocd", name);
    {
        let mut api = world.api();
        api.create(
            "argo",
            definition("argoproj.io", "v1alpha1", "Application", "applications"),
            now,
        )
        .unwrap();
        let argocd = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } });
        api.create("argo", argocd, now).unwrap();
    }
    world.kubelet(move |api, now| {
        let status = |resources| json!({
            "sync": { "status": "Synced" }, "health": { "status": "Healthy" }, "resources": resources,
        });
        let listed = json!([{ "group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": "listed" }]);
        let root = of_argo("root");
        if api.get(&root).is_some() {
            api.set_status("argo", &root, status(listed), now);
        }
        for name in ["listed", "tracked", "stranger"] {
            if api.get(&of_argo(name)).is_none() {
                let mut body = application(name);
                if name == "tracked" {
                    let tracking = "listed:argoproj.io/Application:argocd/tracked";
                    body["metadata"]["annotations"] = json!({ "argocd.argoproj.io/tracking-id": tracking });
                }
                api.create("argo", body, now).unwrap();
            }
        }
    });
    let manifest = serde_saphyr::to_string(&application("root")).unwrap();
    let step = step("apps", &manifest);
    let mut said = world.apply(&step).await;
    let owned = world.owned(&step).await;
    said += &format!("holds: {}\n", owned.holds.join(", "));
    said += &world.quiesce(&owned).await;
    for name in ["root", "listed", "tracked", "stranger"] {
        let api = world.api();
        said += &format!("{name}: {}\n", api.get(&of_argo(name)).unwrap()["spec"]);
    }
    insta::assert_snapshot!(said);
}

#[tokio::test(start_paused = true)]
async fn a_controller_goes_after_everything_else_of_its_step() {
    let world = World::new();
    let manifests = namespace("shop")
        + "apiVersion: apps/v1
kind: Deployment
metadata: { name: controller, namespace: shop }
spec:
  replicas: 1
  selector: { matchLabels: { app: controller } }
  template:
    metadata: { labels: { app: controller } }
    spec: { serviceAccountName: controller, containers: [{ name: main, image: controller }] }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: controller, namespace: shop }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: ours }
spec: { controller: example.com/ours }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop, finalizers: [example.com/slow] }
spec: { ports: [{ port: 80 }], selector: { app: web } }
";
    let mut step = step("controller", &manifests);
    work(&mut step).controls = vec!["Service".to_owned()];
    let mut said = world.apply(&step).await;
    let owned = world.objects_owned().await.remove(0);
    said += &format!("controls: {}\n", owned.controls.join(", "));
    world.later(30, |api, now| {
        let left: Vec<String> = api.iter().map(|(key, _)| key.said()).collect();
        assert!(
            left.iter().any(|one| one == "Deployment shop/controller"),
            "{left:?}"
        );
        api.remove_finalizer(&Key::new("", "Service", "shop", "web"), "example.com/slow", now);
    });
    world.heard();
    said += &world.remove(&owned).await;
    insta::assert_snapshot!(said + &world.heard());
}

#[tokio::test(start_paused = true)]
async fn with_its_cluster_everything_is_gone() {
    let world = World::new();
    let step = step("web", &lamp());
    world.try_apply(&step).await.unwrap();
    let mut owned = world.owned(&step).await;
    // The cluster vanishes while its objects are being removed.
    let (said, ()) = tokio::join!(world.remove(&owned), async {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        world.cluster_is("ABSENT");
        world
            .way()
            .loses
            .store(u32::MAX, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(said, "remove shop.web: gone\n");
    // It stands and does not answer any more: what goes along with it is not waited for for ever.
    world.cluster_is("ACTIVE");
    owned.goes_along = true;
    insta::assert_snapshot!(world.remove(&owned).await);
}
