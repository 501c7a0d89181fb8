//! Killed at any moment, called again: it comes to the same.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_apiserver::Key;
use landfall_runner::Provider;

use crate::world::{World, namespace, step};

fn town() -> String {
    namespace("shop")
        + "apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
---
apiVersion: batch/v1
kind: Job
metadata: { name: goodbye, namespace: shop, annotations: { landfall.dev/run: on-removal } }
spec:
  template:
    spec: { restartPolicy: Never, containers: [{ name: main, image: busybox }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: main, image: nginx }] }
"
}

/// What is in the cluster, beside what every cluster has.
fn standing(world: &World) -> Vec<String> {
    let api = world.api();
    let of_ours = |key: &&Key| {
        let everyones = ["default", "kube-system", "kube-public", "kube-node-lease"];
        !(key.kind == "Namespace" && everyones.contains(&key.name.as_str()))
    };
    api.iter()
        .map(|(key, _)| key)
        .filter(of_ours)
        .map(Key::said)
        .collect()
}

/// Does something until so many requests were made, and is killed then. Tells whether it came to its end before.
async fn killed_after<T>(world: &World, requests: u32, act: impl Future<Output = T>) -> bool {
    let until = world.way().requests.load(Ordering::Relaxed) + requests;
    let killed = async {
        while world.way().requests.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        biased;
        _ = act => true,
        () = killed => false,
    }
}

#[tokio::test(start_paused = true)]
async fn applying_and_removing_may_be_killed_at_any_request() {
    let step = step("web", &town());
    let whole = World::new();
    whole.try_apply(&step).await.unwrap();
    let applied = standing(&whole);
    let mut moments = 0;
    for requests in 0.. {
        let mut world = World::new();
        let over = killed_after(&world, requests, world.try_apply(&step)).await;
        world.restart();
        // Whatever was made is found again without its definition.
        let found = world.objects.owned("harbour").await.unwrap();
        let left = standing(&world)
            .into_iter()
            .filter(|one| !one.starts_with("Namespace shop"))
            .count();
        assert!(
            left == 0 || !found.is_empty(),
            "after {requests} requests, {left} objects are forgotten"
        );
        world.try_apply(&step).await.unwrap();
        assert_eq!(standing(&world), applied, "killed after {requests} requests");
        let owned = world.owned(&step).await;
        killed_after(&world, requests, world.remove(&owned)).await;
        world.restart();
        for owned in world.objects.owned("harbour").await.unwrap() {
            assert_eq!(world.remove(&owned).await, "remove shop.web: gone\n");
        }
        assert_eq!(
            standing(&world),
            Vec::<String>::new(),
            "killed after {requests} requests of removing"
        );
        moments += 1;
        if over {
            break;
        }
    }
    assert!(moments > 10, "it was killed at {moments} moments only");
}
