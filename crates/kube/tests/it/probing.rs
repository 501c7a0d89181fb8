//! Pods that try connections: what comes of them, and that none is left.

use std::time::Duration;

use landfall_apiserver::Key;
use landfall_kube::{PROBE_TO, PodProbe};
use landfall_model::definition::ConnectionFrom;
use landfall_runner::{Probe as _, Probed};
use serde_json::{Value, json};

use crate::world::{CLUSTER, REGION, World};

const NAME: &str = "landfall-portal-reaches";

fn pod() -> Key {
    Key::new("", "Pod", "kube-public", NAME)
}

async fn probed(world: &World, cluster: &str) -> Probed {
    let from = ConnectionFrom {
        namespace: "kube-public".to_owned(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        service_account: None,
    };
    let probe = PodProbe::new(world.clusters(), REGION, world.clock());
    probe
        .connect(
            cluster,
            NAME,
            &from,
            ("db.shop.svc", 5432),
            Duration::from_secs(60),
        )
        .await
        .unwrap()
}

/// A cluster in which the pod ends so, having written this.
fn ends(status: Value, log: &'static str) -> World {
    let world = World::new();
    world.kubelet(move |api, now| {
        let Some(found) = api.get(&pod()) else { return };
        assert_eq!(found["metadata"]["annotations"][PROBE_TO], "db.shop.svc:5432");
        assert_eq!(found["metadata"]["labels"]["app"], "web");
        if found["status"]["phase"] != status["phase"] {
            api.set_log(&pod(), log.to_owned());
            api.set_status("kubelet", &pod(), status.clone(), now);
        }
    });
    world
}

fn failed() -> Value {
    json!({ "phase": "Failed", "containerStatuses": [{
        "name": "probe", "image": "busybox", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 1 } },
    }] })
}

#[tokio::test(start_paused = true)]
async fn a_pod_tells_whether_it_got_through_and_is_gone() {
    let world = ends(json!({ "phase": "Succeeded" }), "");
    assert_eq!(probed(&world, CLUSTER).await, Probed::Connected);
    assert!(world.api().get(&pod()).is_none());
    let world = ends(failed(), "nc: db.shop.svc (10.0.0.9:5432): Connection timed out");
    assert_eq!(
        probed(&world, CLUSTER).await,
        Probed::Refused("nc: db.shop.svc (10.0.0.9:5432): Connection timed out".to_owned())
    );
    assert!(world.api().get(&pod()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_could_not_try_proves_nothing() {
    let world = ends(failed(), "nc: bad address 'db.shop.svc'");
    assert_eq!(
        probed(&world, CLUSTER).await,
        Probed::NotYet("nc: bad address 'db.shop.svc'".to_owned())
    );
    // Nobody runs it.
    let world = World::new();
    world.kubelet(|_, _| {});
    assert_eq!(
        probed(&world, CLUSTER).await,
        Probed::NotYet("its pod is starting".to_owned())
    );
    assert!(world.api().get(&pod()).is_none(), "it does not stay");
    assert_eq!(
        probed(&world, "other").await,
        Probed::NotYet("there is no cluster other".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_a_crash_left_is_made_anew() {
    let world = ends(json!({ "phase": "Succeeded" }), "");
    let now = world.now();
    let left = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME, "namespace": "kube-public",
            "labels": { "app": "web" }, "annotations": { PROBE_TO: "db.shop.svc:5432" } },
        "spec": { "containers": [{ "name": "probe", "image": "busybox" }] },
    });
    world.api().create("landfall", left, now).unwrap();
    assert_eq!(probed(&world, CLUSTER).await, Probed::Connected);
    assert!(world.api().get(&pod()).is_none());
}
