//! Server-side apply: what must hold for any configurations of any managers.

use std::collections::BTreeMap;

use landfall_apiserver::{ApiServer, Key, Outcome, Status};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::start;

fn server() -> ApiServer {
    ApiServer::new(1, "1.35", start())
}

fn apply(server: &mut ApiServer, manager: &str, force: bool, object: &Value) -> Result<Outcome, Status> {
    server
        .apply(manager, force, object.clone(), start())
        .map(|(_, outcome)| outcome)
}

fn web(server: &ApiServer) -> Value {
    let key = Key::new("apps", "Deployment", "default", "web");
    (**server.get(&key).unwrap()).clone()
}

fn deployment(spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "a:1" }] },
            },
        },
    });
    for (name, value) in spec.as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    object
}

#[test]
fn a_conflict_names_manager_and_field() {
    let mut server = server();
    apply(
        &mut server,
        "landfall",
        false,
        &deployment(json!({ "replicas": 2 })),
    )
    .unwrap();
    let key = Key::new("apps", "Deployment", "default", "web");
    server
        .update("kubectl-edit", &key, start(), |object| {
            object["spec"]["replicas"] = 5.into()
        })
        .unwrap();
    let refusal = apply(
        &mut server,
        "landfall",
        false,
        &deployment(json!({ "replicas": 2 })),
    )
    .unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&refusal.to_value()).unwrap(), @r#"
    {
      "kind": "Status",
      "apiVersion": "v1",
      "metadata": {},
      "status": "Failure",
      "message": "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas",
      "reason": "Conflict",
      "details": {
        "name": "web",
        "group": "apps",
        "kind": "deployments",
        "causes": [
          {
            "reason": "FieldManagerConflict",
            "message": "conflict with \"kubectl-edit\" using apps/v1",
            "field": ".spec.replicas"
          }
        ]
      },
      "code": 409
    }
    "#);
    // The same value is no conflict: then both have it.
    apply(
        &mut server,
        "landfall",
        false,
        &deployment(json!({ "replicas": 5 })),
    )
    .unwrap();
    apply(
        &mut server,
        "landfall",
        true,
        &deployment(json!({ "replicas": 2 })),
    )
    .unwrap();
    assert_eq!(web(&server)["spec"]["replicas"], 2);
}

#[test]
fn what_is_no_longer_applied_goes_unless_it_is_shared() {
    let mut server = server();
    let container = |env: Value| json!([{ "name": "web", "image": "a:1", "env": env }]);
    let with = |env: Value| {
        let mut object = deployment(json!({ "replicas": 3 }));
        object["spec"]["template"]["spec"]["containers"] = container(env);
        object
    };
    apply(
        &mut server,
        "one",
        false,
        &with(json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }])),
    )
    .unwrap();
    let sidecar = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "template": { "spec": { "containers": [
            { "name": "web", "env": [{ "name": "B", "value": "2" }] },
            { "name": "side", "image": "s:1" },
        ] } } },
    });
    apply(&mut server, "two", false, &sidecar).unwrap();
    let mut bare = deployment(json!({}));
    bare["metadata"]["labels"] = json!({ "kept": "yes" });
    apply(&mut server, "one", false, &bare).unwrap();
    let object = web(&server);
    // A was only the first one's, B both had, replicas fall back to their default.
    assert_eq!(object["spec"]["replicas"], 1);
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers[0]["env"], json!([{ "name": "B", "value": "2" }]));
    assert_eq!(containers[1]["name"], "side");
    let mut nothing = sidecar.clone();
    nothing["spec"] = json!({});
    apply(&mut server, "two", false, &nothing).unwrap();
    let object = web(&server);
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 1);
    assert!(containers[0].get("env").is_none());
}

#[test]
fn an_update_takes_fields_over() {
    let mut server = server();
    apply(
        &mut server,
        "landfall",
        false,
        &deployment(json!({ "replicas": 2, "paused": false })),
    )
    .unwrap();
    let key = Key::new("apps", "Deployment", "default", "web");
    server
        .update("autoscaler", &key, start(), |object| {
            object["spec"]["replicas"] = 7.into()
        })
        .unwrap();
    // The applier lets go of the field: it stays, as it is the autoscaler's now.
    apply(
        &mut server,
        "landfall",
        false,
        &deployment(json!({ "paused": false })),
    )
    .unwrap();
    assert_eq!(web(&server)["spec"]["replicas"], 7);
    let owners = web(&server)["metadata"]["managedFields"].clone();
    let who: Vec<&str> = owners
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(who, ["landfall", "autoscaler"]);
}

#[test]
fn twins_in_a_list_are_refused() {
    let mut server = server();
    let mut twins = deployment(json!({}));
    twins["spec"]["template"]["spec"]["containers"] =
        json!([{ "name": "web", "image": "a:1" }, { "name": "web", "image": "a:2" }]);
    let refusal = apply(&mut server, "landfall", false, &twins).unwrap_err();
    insta::assert_snapshot!(refusal.message, @r#"failed to create typed patch object (web; apps/v1): .spec.template.spec.containers: duplicate entries for key [name="web"]"#);
}

/// A configuration: labels, variables of one container, and ports, any of which may be left out.
#[derive(Clone, Debug)]
struct Config {
    labels: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    ports: BTreeMap<u16, String>,
    finalizers: Vec<String>,
}

impl Config {
    fn object(&self, with_base: bool, backwards: bool) -> Value {
        let ordered = |mut items: Vec<Value>| {
            if backwards {
                items.reverse();
            }
            items
        };
        let env = self
            .variables
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }));
        let ports = self
            .ports
            .iter()
            .map(|(port, name)| json!({ "containerPort": port, "name": name }));
        let mut container = json!({ "name": "web" });
        if with_base {
            container["image"] = "a:1".into();
        }
        if !self.variables.is_empty() {
            container["env"] = ordered(env.collect()).into();
        }
        if !self.ports.is_empty() {
            container["ports"] = ordered(ports.collect()).into();
        }
        let mut object = if with_base {
            deployment(json!({}))
        } else {
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "template": { "spec": {} } } })
        };
        object["spec"]["template"]["spec"]["containers"] = json!([container]);
        if !self.labels.is_empty() {
            object["metadata"]["labels"] = json!(self.labels);
        }
        if !self.finalizers.is_empty() {
            object["metadata"]["finalizers"] = json!(self.finalizers);
        }
        object
    }
}

/// Configurations whose names all begin with a letter, so that two of them never meet.
fn config(letter: char) -> impl Strategy<Value = Config> {
    let base = if letter == 'a' { 1000_u16 } else { 2000 };
    let names = move || (0..5_u8).prop_map(move |number| format!("{letter}{number}"));
    let values = || (0..3_u8).prop_map(|number| number.to_string());
    (
        prop::collection::btree_map(names(), values(), 0..4),
        prop::collection::btree_map(names(), values(), 0..4),
        prop::collection::btree_map(base..base + 5, names(), 0..3),
        prop::collection::btree_set(names().prop_map(|name| format!("example.com/{name}")), 0..3),
    )
        .prop_map(|(labels, variables, ports, finalizers)| Config {
            labels,
            variables,
            ports,
            finalizers: finalizers.into_iter().collect(),
        })
}

/// An object with its lists of objects in order of their keys, and nothing the server wrote.
fn essence(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["managedFields", "resourceVersion", "generation", "uid"] {
        metadata.remove(field);
    }
    sort(&mut object);
    object
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_key(Value::to_string);
        }
        Value::Object(map) => {
            map.values_mut().for_each(sort);
            map.sort_keys();
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(one in config('a'), other in config('a')) {
        let mut server = server();
        apply(&mut server, "one", false, &one.object(true, false)).unwrap();
        apply(&mut server, "one", false, &other.object(true, false)).unwrap();
        let before = web(&server);
        prop_assert_eq!(apply(&mut server, "one", false, &other.object(true, false)).unwrap(), Outcome::Same);
        prop_assert_eq!(before, web(&server));
    }

    #[test]
    fn what_was_applied_before_leaves_no_trace(one in config('a'), other in config('a')) {
        let mut through = server();
        apply(&mut through, "one", false, &one.object(true, false)).unwrap();
        apply(&mut through, "one", false, &other.object(true, false)).unwrap();
        let mut straight = server();
        apply(&mut straight, "one", false, &other.object(true, false)).unwrap();
        prop_assert_eq!(essence(web(&through)), essence(web(&straight)));
    }

    #[test]
    fn managers_with_other_fields_never_conflict(
        one in config('a'), two in config('b'), one_later in config('a'), two_later in config('b'),
    ) {
        let mut server = server();
        apply(&mut server, "one", false, &one.object(true, false)).unwrap();
        apply(&mut server, "two", false, &two.object(false, false)).unwrap();
        apply(&mut server, "one", false, &one_later.object(true, false)).unwrap();
        apply(&mut server, "two", false, &two_later.object(false, false)).unwrap();
        let object = web(&server);
        for config in [&one_later, &two_later] {
            for (name, value) in &config.labels {
                prop_assert_eq!(&object["metadata"]["labels"][name], value);
            }
        }
        let env = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().map_or(0, Vec::len);
        prop_assert_eq!(env, one_later.variables.len() + two_later.variables.len());
        let finalizers = object["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        prop_assert_eq!(finalizers, one_later.finalizers.len() + two_later.finalizers.len());
    }

    #[test]
    fn what_a_manager_stops_applying_goes_unless_shared(one in config('a'), two in config('a')) {
        // Where both name the same field, the second takes the first one's value.
        let mut two = two;
        for (name, value) in &one.labels {
            if two.labels.contains_key(name) {
                two.labels.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in &one.variables {
            if two.variables.contains_key(name) {
                two.variables.insert(name.clone(), value.clone());
            }
        }
        for (port, name) in &one.ports {
            if two.ports.contains_key(port) {
                two.ports.insert(*port, name.clone());
            }
        }
        let mut server = server();
        apply(&mut server, "one", false, &one.object(true, false)).unwrap();
        apply(&mut server, "two", false, &two.object(false, false)).unwrap();
        let nothing = Config { labels: BTreeMap::new(), variables: BTreeMap::new(), ports: BTreeMap::new(), finalizers: Vec::new() };
        apply(&mut server, "one", false, &nothing.object(true, false)).unwrap();
        let object = web(&server);
        let count = |pointer: &str| object.pointer(pointer).map_or(0, |found| match found {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        });
        prop_assert_eq!(count("/metadata/labels"), two.labels.len());
        prop_assert_eq!(count("/metadata/finalizers"), two.finalizers.len());
        prop_assert_eq!(count("/spec/template/spec/containers/0/env"), two.variables.len());
        prop_assert_eq!(count("/spec/template/spec/containers/0/ports"), two.ports.len());
    }

    #[test]
    fn the_order_of_items_does_not_matter(one in config('a'), two in config('b')) {
        let mut forwards = server();
        let mut backwards = server();
        apply(&mut forwards, "one", false, &one.object(true, false)).unwrap();
        apply(&mut forwards, "two", false, &two.object(false, false)).unwrap();
        apply(&mut backwards, "one", false, &one.object(true, true)).unwrap();
        apply(&mut backwards, "two", false, &two.object(false, true)).unwrap();
        prop_assert_eq!(essence(web(&forwards)), essence(web(&backwards)));
    }

    #[test]
    fn a_dry_run_changes_nothing(one in config('a'), other in config('a')) {
        let world_request = |server: &mut ApiServer, config: &Config, query: &str| {
            server.handle(&landfall_apiserver::Request {
                method: "PATCH".to_owned(),
                path: "/apis/apps/v1/namespaces/default/deployments/web".to_owned(),
                query: format!("fieldManager=one{query}"),
                content_type: "application/apply-patch+yaml".to_owned(),
                body: config.object(true, false).to_string().into_bytes(),
                ..landfall_apiserver::Request::default()
            }, start())
        };
        let mut server = server();
        prop_assert_eq!(world_request(&mut server, &one, "").status, 201);
        let (before, revision) = (web(&server), server.revision());
        let dry = world_request(&mut server, &other, "&dryRun=All");
        prop_assert_eq!((web(&server), server.revision()), (before, revision));
        let landfall_apiserver::Answer::Whole(dry) = dry.body else { panic!("no watch was asked for") };
        let dry: Value = serde_json::from_slice(&dry).unwrap();
        world_request(&mut server, &other, "");
        prop_assert_eq!(essence(dry), essence(web(&server)));
    }
}
