//! Custom resource definitions: when their kinds are served, and what their schemas do.

use jiff::{SignedDuration, Timestamp};
use landfall_apiserver::{ApiServer, Hooks, Key, View, Webhook};
use serde_json::{Value, json};

use crate::world::{World, has_kubectl, start};

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, kind: Widget, shortNames: [wd] }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {}, scale: { specReplicasPath: .spec.size, statusReplicasPath: .status.size } }
      additionalPrinterColumns:
        - { name: Size, type: integer, jsonPath: .spec.size }
        - { name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status' }
        - { name: Age, type: date, jsonPath: .metadata.creationTimestamp }
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [colour]
              x-kubernetes-validations:
                - { rule: "self.size <= 10 || self.colour == 'grey'", message: only grey ones are that large }
                - { rule: "self.colour == oldSelf.colour", message: colours stay }
                - { rule: "isURL(self.colour)", message: never asked }
              properties:
                colour: { type: string, enum: [red, grey] }
                size: { type: integer, default: 3, minimum: 1 }
                label: { type: string, pattern: "^[a-z]+$" }
                free: { type: object, x-kubernetes-preserve-unknown-fields: true }
                parts:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [name]
                  items:
                    type: object
                    required: [name]
                    properties: { name: { type: string }, count: { type: integer, default: 1 } }
            status:
              type: object
              x-kubernetes-preserve-unknown-fields: true
    - name: v1beta1
      served: true
      storage: false
      deprecated: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
"#;

#[test]
fn a_definition_brings_its_kind() {
    if !has_kubectl("a_definition_brings_its_kind") {
        return;
    }
    let mut world = World::new();
    world.file("crd.yaml", WIDGETS);
    let widget = "---\n{ apiVersion: example.com/v1, kind: Widget, metadata: { name: one }, spec: SPEC }";
    let file = |world: &World, name: &str, spec: &str| world.file(name, &widget.replace("SPEC", spec));
    file(
        &world,
        "one.yaml",
        "{ colour: red, parts: [{ name: a }], free: { any: { thing: 1 } } }",
    );
    file(&world, "blue.yaml", "{ colour: blue, size: 0, label: A1 }");
    file(&world, "typo.yaml", "{ colour: red, sise: 4 }");
    file(&world, "large.yaml", "{ colour: red, size: 11 }");
    file(&world, "grey.yaml", "{ colour: grey }");
    world.kubectl("apply -f one.yaml");
    world.kubectl("apply -f crd.yaml");
    world.kubectl("wait crd/widgets.example.com --for=condition=Established --timeout=10s");
    world.kubectl("apply -f one.yaml");
    world.kubectl("apply -f one.yaml");
    world.kubectl("get wd one -o jsonpath={.spec}{\"\\n\"}");
    world.kubectl("apply -f blue.yaml");
    world.kubectl("apply -f typo.yaml");
    world.kubectl("apply -f large.yaml");
    world.kubectl("apply -f grey.yaml");
    world.kubectl("scale widget one --replicas=5");
    let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let key = Key::new("example.com", "Widget", "default", "one");
    world
        .alone
        .act(|server, now| server.set_status("widget-controller", &key, ready, now));
    world.later(200);
    world.kubectl("get widgets");
    world.kubectl("get widgets.v1beta1.example.com one -o jsonpath={.apiVersion}{\"\\n\"}");
    world.kubectl("explain widget.spec.size");
    world.kubectl("get crd widgets.example.com -o jsonpath={.status.conditions[?(@.type==\"RulesEvaluated\")].message}{\"\\n\"}");
    world.kubectl("delete crd widgets.example.com");
    world.kubectl("get widgets");
    insta::assert_snapshot!(world.session());
}

/// Definitions that take a while.
struct Slow;

impl Hooks for Slow {
    fn call_webhook(&mut self, _api: &View<'_>, _webhook: &Value, _object: &Value) -> Webhook {
        Webhook::Allowed
    }

    fn establishes(&mut self, _crd: &Value, now: Timestamp) -> Timestamp {
        now + SignedDuration::from_secs(5)
    }
}

#[test]
fn a_kind_is_unknown_until_its_definition_is_established() {
    let mut server = ApiServer::new(1, "1.35", start());
    server.hooks(Box::new(Slow));
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "things.example.com" },
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": { "plural": "things", "kind": "Thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    });
    let crd = server.create("test", definition, start()).unwrap();
    let thing = json!({ "apiVersion": "example.com/v1", "kind": "Thing", "metadata": { "name": "a", "finalizers": ["example.com/hold"] } });
    let refused = server.create("test", thing.clone(), start()).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (404, "NotFound"));
    server.settle(start() + SignedDuration::from_secs(4));
    assert!(!server.knows("example.com/v1", "Thing"));
    let later = start() + SignedDuration::from_secs(5);
    server.settle(later);
    assert!(server.knows("example.com/v1", "Thing"));
    let thing = server.create("test", thing, later).unwrap();
    server.delete(&crd, later);
    server.settle(later);
    assert!(server.get(&crd).is_some() && server.get(&thing).is_some());
    server.remove_finalizer(&thing, "example.com/hold", later);
    server.settle(later);
    assert!(server.get(&crd).is_none() && !server.knows("example.com/v1", "Thing"));
}
