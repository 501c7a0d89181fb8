//! Applying, applying again, taking away, and finding again.

use landfall_apiserver::Key;
use landfall_model::StepId;
use landfall_model::work::Known;
use landfall_runner::Provider;
use serde_json::json;

use crate::on_both;
use crate::world::{World, all_runs, giving, namespace, step, work};

fn town(name: &str, more: &str) -> String {
    format!(
        "{}apiVersion: v1
kind: ConfigMap
metadata: {{ name: settings, namespace: {name} }}
data: {{ color: red }}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{ name: web, namespace: {name} }}
---
{more}",
        namespace(name)
    )
}

fn secret(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: login, namespace: {name} }}
stringData: {{ password: {value} }}
"
    )
}

async fn from_nothing_to_nothing(world: &World, name: &str) -> String {
    let first = step(name, &town(name, &secret(name, "sesame")));
    let mut said = world.observe(&first).await;
    said += &world.plan(&first).await;
    said += &world.apply(&first).await;
    said += &world.apply(&first).await;
    said += &world.observe(&first).await;
    let second = step(name, &town(name, &secret(name, "open")).replace("red", "green"));
    said += &world.plan(&second).await;
    said += &world.apply(&second).await;
    let third = step(name, &town(name, "").replace("red", "green"));
    said += &world.plan(&third).await;
    said += &world.apply(&third).await;
    let owned = world.objects.owned("harbour").await.unwrap();
    let owned = owned.iter().find(|owned| owned.step == third.id).unwrap().clone();
    for object in owned.address["objects"].as_array().unwrap() {
        said += &format!("owned: {object}\n");
    }
    said += &format!("stands: {}\n", world.objects.stands(&owned).await.unwrap());
    said += &world.remove(&owned).await;
    said += &world.remove(&owned).await;
    said += &format!("stands: {}\n", world.objects.stands(&owned).await.unwrap());
    said + &world.observe(&third).await
}
on_both!(from_nothing_to_nothing_and_back, super::from_nothing_to_nothing);

async fn a_kind_and_its_first_object(world: &World, name: &str) -> String {
    let kind = name.replace('-', "");
    let manifests = format!(
        "apiVersion: {kind}.example.com/v1
kind: Ship
metadata: {{ name: argo, namespace: default }}
spec: {{ masts: 1 }}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{ name: ships.{kind}.example.com }}
spec:
  group: {kind}.example.com
  scope: Namespaced
  names: {{ kind: Ship, plural: ships, singular: ship, listKind: ShipList }}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {{ masts: {{ type: integer }} }}
"
    );
    let step = step(name, &manifests);
    let mut said = world.apply(&step).await;
    let owned = world.owned(&step).await;
    said += &format!("holds: {}\n", owned.holds.join(", "));
    said + &world.remove(&owned).await
}
on_both!(
    a_definition_and_its_objects_in_one_step,
    super::a_kind_and_its_first_object
);

async fn outputs(world: &World, name: &str) -> String {
    let step = step(name, &town(name, ""));
    let good = giving(step.clone(), "color", "ConfigMap/settings", "data.color");
    let bad = giving(step, "size", "ConfigMap/settings", "data.size");
    let mut said = world.apply(&good).await;
    said += &world.apply(&bad).await;
    let owned = world.owned(&good).await;
    said + &world.remove(&owned).await
}
on_both!(outputs_come_from_objects, super::outputs);

async fn job(world: &World, name: &str) -> String {
    let manifest = |image: &str| {
        namespace(name)
            + &format!(
                "apiVersion: batch/v1
kind: Job
metadata:
  name: goodbye
  namespace: {name}
  annotations: {{ landfall.dev/run: on-removal }}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{{ name: main, image: '{image}', command: ['true'] }}]
"
            )
    };
    let first = step(name, &manifest("busybox:1.36"));
    let second = step(name, &manifest("busybox:1.37"));
    let mut said = world.apply(&first).await;
    said += &world.plan(&second).await;
    said += &world.apply(&second).await;
    said += &world.apply(&second).await;
    let job = world
        .read(&format!("/apis/batch/v1/namespaces/{name}/jobs/goodbye"))
        .await;
    said += &format!("suspended: {}\n", job["spec"]["suspend"]);
    let owned = world.owned(&second).await;
    said += &world.remove(&owned).await;
    said
}
on_both!(a_job_whose_template_changes_is_made_anew, super::job);

async fn nameless(world: &World, name: &str) -> String {
    let known = step(name, &town(name, ""));
    let mut unknown = known.clone();
    work(&mut unknown).cluster = Known::After([StepId::new("town", "cluster")].into());
    let mut said = world.observe(&unknown).await;
    said += &world.apply(&unknown).await;
    said += &world.apply(&known).await;
    said += &world.observe(&unknown).await;
    let owned = world.owned(&unknown).await;
    said + &world.remove(&owned).await
}
on_both!(
    what_stands_is_found_before_the_clusters_name_is_known,
    super::nameless
);

#[tokio::test(start_paused = true)]
async fn what_only_has_copied_labels_is_not_of_the_set() {
    let world = World::new();
    let step = step("copies", &town("copies", ""));
    world.apply(&step).await;
    let before = world.observe(&step).await;
    let folder = "/api/v1/namespaces/copies/configmaps";
    let mut copy = world.read(&format!("{folder}/settings")).await;
    // As external-secrets, or the controller of Endpoints, makes something: all labels of what it is made for.
    copy["metadata"] = json!({ "name": "copy", "labels": copy["metadata"]["labels"] });
    world.make(folder, copy).await;
    assert_eq!(world.observe(&step).await, before);
    world.apply(&step).await;
    assert_eq!(
        world.read(&format!("{folder}/copy")).await["metadata"]["name"],
        "copy"
    );
    let owned = world.owned(&step).await;
    assert!(!owned.address.to_string().contains("copy\""), "{}", owned.address);
    let all = world.objects_owned().await;
    assert!(
        all.iter()
            .all(|owned| !owned.address.to_string().contains("\"copy\"")),
        "{all:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_a_finalizer_is_taken_away_before_its_controller() {
    let world = World::new();
    let controller = "apiVersion: apps/v1
kind: Deployment
metadata: { name: lamplighter, namespace: lit }
spec:
  selector: { matchLabels: { app: lamplighter } }
  template:
    metadata: { labels: { app: lamplighter } }
    spec: { containers: [{ name: it, image: lamplighter }] }
---
apiVersion: v1
kind: Service
metadata: { name: lamps, namespace: lit, finalizers: [example.com/lamps] }
spec: { selector: { app: lamplighter }, ports: [{ port: 80 }] }
";
    world.kubelet(|api, now| {
        all_runs(api, now);
        let service = Key::new("", "Service", "lit", "lamps");
        let going = api
            .get(&service)
            .is_some_and(|service| !service["metadata"]["deletionTimestamp"].is_null());
        let lives = api
            .get(&Key::new("apps", "Deployment", "lit", "lamplighter"))
            .is_some_and(|one| one["metadata"]["deletionTimestamp"].is_null());
        if going && lives {
            api.remove_finalizer(&service, "example.com/lamps", now);
        }
    });
    world.apply(&step("lit", &town("lit", controller))).await;
    let said = world.apply(&step("lit", &town("lit", ""))).await;
    assert!(said.contains("Updated"), "{said}");
}
