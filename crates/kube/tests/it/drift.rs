//! What others change, and whose it is afterwards.

use serde_json::json;

use crate::on_both;
use crate::world::{World, namespace, step, work};

fn lamp(name: &str) -> String {
    namespace(name)
        + &format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{ name: lamp, namespace: {name} }}
data: {{ color: red, size: small }}
"
        )
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/{name}/configmaps/lamp")
}

async fn by_hand(world: &World, name: &str) -> String {
    let step = step(name, &lamp(name));
    let mut said = world.apply(&step).await;
    world
        .edit(
            "kubectl-edit",
            &path(name),
            json!({ "data": { "color": "blue", "shape": "round" } }),
        )
        .await;
    said += &world.plan(&step).await;
    said += &world.apply(&step).await;
    let lamp = world.read(&path(name)).await;
    said += &format!("{}\n", lamp["data"]);
    said += &world.plan(&step).await;
    let owned = world.owned(&step).await;
    said + &world.remove(&owned).await
}
on_both!(changes_by_hand_are_shown_and_taken_back, super::by_hand);

async fn by_a_controller(world: &World, name: &str) -> String {
    let mut step = step(name, &lamp(name));
    let mut said = world.apply(&step).await;
    world
        .edit(
            "lamp-controller",
            &path(name),
            json!({ "data": { "color": "blue" } }),
        )
        .await;
    said += &world.plan(&step).await;
    said += &world.apply(&step).await;
    work(&mut step).force = true;
    said += &world.apply(&step).await;
    let lamp = world.read(&path(name)).await;
    said += &format!("{}\n", lamp["data"]);
    let owned = world.owned(&step).await;
    said + &world.remove(&owned).await
}
on_both!(
    a_controllers_field_is_left_to_it_unless_forced,
    super::by_a_controller
);

async fn deleted(world: &World, name: &str) -> String {
    let step = step(name, &lamp(name));
    let mut said = world.apply(&step).await;
    let before = world.objects_fingerprint(&step).await;
    world
        .edit(
            "kubectl-edit",
            &path(name),
            json!({ "data": { "color": "blue" } }),
        )
        .await;
    said += &format!(
        "fingerprint changed: {}\n",
        before != world.objects_fingerprint(&step).await
    );
    world.delete(&path(name)).await;
    said += &world.plan(&step).await;
    said += &world.apply(&step).await;
    let owned = world.owned(&step).await;
    said + &world.remove(&owned).await
}
on_both!(what_was_deleted_by_hand_comes_back, super::deleted);

async fn foreign(world: &World, name: &str) -> String {
    let mine = step(name, &lamp(name));
    let mut said = world.apply(&mine).await;
    let mut theirs = step(name, &lamp(name));
    theirs.facts.name = "quay".to_owned();
    said += &world.observe(&theirs).await;
    said += &world.apply(&theirs).await;
    let other_step = step("other", &lamp(name));
    said += &world.observe(&other_step).await;
    said += &world.apply(&other_step).await;
    let owned = world.owned(&mine).await;
    said += &world.remove(&owned).await;
    said
}
on_both!(what_belongs_to_others_is_not_touched, super::foreign);

async fn other_tools(world: &World, name: &str) -> String {
    let theirs = format!("their-{}", &name[name.len() - 20..]);
    let made = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": theirs } });
    world.make("/api/v1/namespaces", made).await;
    let mut said = world.observe(&step(name, &namespace(&theirs))).await;
    world.delete(&format!("/api/v1/namespaces/{theirs}")).await;
    let empty = step(name, &namespace(name));
    said += &world.apply(&empty).await;
    let maps = format!("/api/v1/namespaces/{name}/configmaps");
    let lamp_of = |metadata: serde_json::Value| {
        let mut lamp = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "color": "red" } });
        lamp["metadata"]["name"] = "lamp".into();
        lamp
    };
    let all = step(name, &lamp(name));
    let argo = json!({ "annotations": { "argocd.argoproj.io/tracking-id": format!("lights:/ConfigMap:{name}/lamp") } });
    world.make(&maps, lamp_of(argo)).await;
    said += &world.apply(&all).await;
    world.delete(&path(name)).await;
    let set = json!({ "labels": { "applyset.kubernetes.io/part-of": "applyset-of-somebody-v1" } });
    world.make(&maps, lamp_of(set)).await;
    said += &world.observe(&all).await;
    world.delete(&path(name)).await;
    // What nobody looks after is taken in, fields that are as they are to be without asking.
    world.make(&maps, lamp_of(json!({}))).await;
    said += &world.apply(&all).await;
    let owned = world.owned(&all).await;
    said + &world.remove(&owned).await
}
on_both!(
    objects_of_other_tools_are_refused_and_of_nobody_taken_in,
    super::other_tools
);

#[tokio::test(start_paused = true)]
async fn who_changed_which_container_is_told() {
    let world = World::new();
    let manifests = namespace("shop")
        + "apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - { name: sidecar, image: 'envoy:1' }
        - { name: main, image: 'nginx:1.29', env: [{ name: COLOR, value: red }] }
";
    let step = step("web", &manifests);
    let mut said = world.apply(&step).await;
    let path = "/apis/apps/v1/namespaces/shop/deployments/web";
    let containers = json!([
        { "name": "sidecar", "image": "envoy:1" },
        { "name": "main", "image": "nginx:1.28", "env": [{ "name": "COLOR", "value": "red" }, { "name": "SIZE", "value": "9" }] },
    ]);
    let change = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    world.edit("kubectl-edit", path, change).await;
    world
        .edit(
            "kube-controller-manager",
            &format!("{path}/scale"),
            json!({ "spec": { "replicas": 5 } }),
        )
        .await;
    said += &world.plan(&step).await;
    said += &world.apply(&step).await;
    insta::assert_snapshot!(said);
}
