//! The server as kube-rs meets it.

use std::pin::pin;
use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use landfall_apiserver::Key;
use landfall_apiserver::serve::Backend as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::World;

const SOON: Duration = Duration::from_secs(20);

fn map(name: &str) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } })
}

#[test]
fn objects_are_made_patched_listed_and_deleted() {
    let world = World::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client());
    world.runtime.block_on(async {
        let made = maps
            .create(
                &PostParams::default(),
                &serde_json::from_value(map("one")).unwrap(),
            )
            .await
            .unwrap();
        assert!(made.metadata.uid.is_some());
        let applied = maps
            .patch("two", &PatchParams::apply("landfall"), &Patch::Apply(map("two")))
            .await
            .unwrap();
        assert_eq!(
            applied.metadata.managed_fields.unwrap()[0].manager.as_deref(),
            Some("landfall")
        );
        let patch = json!({ "data": { "a": null, "c": "d" } });
        maps.patch("one", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
        let mut stale = made.clone();
        stale.data = None;
        let refused = maps
            .replace("one", &PostParams::default(), &stale)
            .await
            .unwrap_err();
        assert!(
            matches!(&refused, kube::Error::Api(status) if status.code == 409),
            "{refused}"
        );
        let page = maps.list(&ListParams::default().limit(1)).await.unwrap();
        assert_eq!(
            (page.items.len(), page.metadata.remaining_item_count),
            (1, Some(1))
        );
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        assert!(maps.get_opt("one").await.unwrap().is_none());
    });
}

#[test]
fn a_watch_is_followed() {
    let world = World::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client());
    let seen: Vec<String> = world.runtime.block_on(async {
        let following = maps.watch(&WatchParams::default(), "0").await.unwrap();
        let mut following = pin!(following);
        for name in ["one", "two"] {
            maps.patch(name, &PatchParams::apply("landfall"), &Patch::Apply(map(name)))
                .await
                .unwrap();
        }
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let event = tokio::time::timeout(SOON, following.try_next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            seen.push(match event {
                WatchEvent::Added(object) => format!("added {}", object.metadata.name.unwrap()),
                WatchEvent::Deleted(object) => format!("deleted {}", object.metadata.name.unwrap()),
                other => format!("{other:?}"),
            });
        }
        seen
    });
    assert_eq!(seen, ["added one", "added two", "deleted one"]);
}

#[test]
fn logs_are_read_and_ports_forwarded() {
    let world = World::new();
    let pods: Api<Pod> = Api::default_namespaced(world.client());
    let key = Key::new("", "Pod", "default", "web");
    world.alone.act(|server, now| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web" },
            "spec": { "containers": [{ "name": "web", "image": "nginx:1" }] },
        });
        server.create("test", pod, now).unwrap();
        server.set_log(&key, "one\ntwo\n".to_owned());
    });
    world.runtime.block_on(async {
        assert_eq!(
            pods.logs("web", &LogParams::default()).await.unwrap(),
            "one\ntwo\n"
        );
        let lines: Vec<String> = pods
            .log_stream("web", &LogParams::default())
            .await
            .unwrap()
            .lines()
            .map(Result::unwrap)
            .collect()
            .await;
        assert_eq!(lines, ["one", "two"]);

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.alone.listen(&key, 8080, listener.local_addr().unwrap());
        assert!(world.alone.forward(&key, 8081).is_none());
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 5];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(b"hello back").await.unwrap();
            asked
        });
        let mut forwarder = pods.portforward("web", &[8080]).await.unwrap();
        let mut stream = forwarder.take_stream(8080).unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut said = [0; 10];
        tokio::time::timeout(SOON, stream.read_exact(&mut said))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&said, &answering.await.unwrap()), (b"hello back", b"hello"));

        let mut forwarder = pods.portforward("web", &[8081]).await.unwrap();
        let error = forwarder.take_error(8081).unwrap();
        let error = tokio::time::timeout(SOON, error).await.unwrap().unwrap();
        assert_eq!(
            error,
            "an error occurred forwarding 8081: connection refused: nothing listens there"
        );
    });
}
