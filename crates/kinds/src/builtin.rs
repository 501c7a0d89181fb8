//! The kinds built in to every cluster: a table of names, and schemas generated from the API's own types.
//!
//! The generated schemas lack what only the Go sources say: which lists are maps, what may stand in a text. Module
//! `tables` adds that.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
    rbac::v1 as rbac, resource::v1 as resource, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use k8s_openapi::{NamespaceResourceScope, Resource};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::Kind;
use crate::tables;

/// The subresources of a kind.
#[derive(Clone, Copy, PartialEq)]
enum Sub {
    None,
    Status,
    StatusAndScale,
}

use Sub::{None as Plain, Status, StatusAndScale};

struct Everything {
    kinds: Vec<Kind>,
    definitions: HashMap<String, Value>,
}

static EVERYTHING: LazyLock<Everything> = LazyLock::new(everything);

pub(crate) fn kinds() -> Vec<Kind> {
    EVERYTHING.kinds.clone()
}

pub(crate) fn definitions() -> &'static HashMap<String, Value> {
    &EVERYTHING.definitions
}

struct Table {
    generator: SchemaGenerator,
    kinds: Vec<Kind>,
}

impl Table {
    /// Adds a kind: its subresources, short names and categories, as `kubectl api-resources -o wide` shows them.
    fn add<T>(&mut self, sub: Sub, short_names: &[&str], categories: &[&str]) -> &mut Table
    where
        T: Resource + JsonSchema,
        T::Scope: 'static,
    {
        let schema = self.generator.subschema_for::<T>();
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.kinds.push(Kind {
            group: T::GROUP.to_owned(),
            version: T::VERSION.to_owned(),
            kind: T::KIND.to_owned(),
            plural: T::URL_PATH_SEGMENT.to_owned(),
            singular: T::KIND.to_lowercase(),
            short_names: owned(short_names),
            categories: owned(categories),
            namespaced: TypeId::of::<T::Scope>() == TypeId::of::<NamespaceResourceScope>(),
            status: sub != Plain,
            scale: sub == StatusAndScale,
            schema: Arc::new(schema.to_value()),
        });
        self
    }
}

fn everything() -> Everything {
    let mut settings = SchemaSettings::draft07();
    settings.transforms.clear();
    let mut table = Table {
        generator: settings.into_generator(),
        kinds: Vec::new(),
    };
    fill(&mut table);
    let mut definitions = table.generator.take_definitions(false);
    for (name, schema) in &mut definitions {
        tidy(schema);
        mend(name, schema);
    }
    tables::add(&mut definitions);
    let mut whole = HashMap::new();
    let names: Vec<String> = definitions.keys().cloned().collect();
    for name in &names {
        follow(name, &definitions, &mut whole);
    }
    for kind in &mut table.kinds {
        let schema = name_in(&kind.schema).and_then(|name| whole.get(name));
        kind.schema = Arc::new(
            schema
                .cloned()
                .expect("every kind was registered with the generator"),
        );
    }
    Everything {
        kinds: table.kinds,
        definitions: whole,
    }
}

fn fill(table: &mut Table) {
    let all: &[&str] = &["all"];
    let admin: &[&str] = &["api-extensions"];
    table
        .add::<core::Binding>(Plain, &[], &[])
        .add::<core::ConfigMap>(Plain, &["cm"], &[])
        .add::<core::Endpoints>(Plain, &["ep"], &[])
        .add::<core::Event>(Plain, &["ev"], &[])
        .add::<core::LimitRange>(Plain, &["limits"], &[])
        .add::<core::Namespace>(Status, &["ns"], &[])
        .add::<core::Node>(Status, &["no"], &[])
        .add::<core::PersistentVolume>(Status, &["pv"], &[])
        .add::<core::PersistentVolumeClaim>(Status, &["pvc"], &[])
        .add::<core::Pod>(Status, &["po"], all)
        .add::<core::PodTemplate>(Plain, &[], &[])
        .add::<core::ReplicationController>(StatusAndScale, &["rc"], all)
        .add::<core::ResourceQuota>(Status, &["quota"], &[])
        .add::<core::Secret>(Plain, &[], &[])
        .add::<core::Service>(Status, &["svc"], all)
        .add::<core::ServiceAccount>(Plain, &["sa"], &[])
        .add::<apps::ControllerRevision>(Plain, &[], &[])
        .add::<apps::DaemonSet>(Status, &["ds"], all)
        .add::<apps::Deployment>(StatusAndScale, &["deploy"], all)
        .add::<apps::ReplicaSet>(StatusAndScale, &["rs"], all)
        .add::<apps::StatefulSet>(StatusAndScale, &["sts"], all)
        .add::<batch::CronJob>(Status, &["cj"], all)
        .add::<batch::Job>(Status, &[], all)
        .add::<autoscaling::v2::HorizontalPodAutoscaler>(Status, &["hpa"], all)
        .add::<autoscaling::v1::HorizontalPodAutoscaler>(Status, &["hpa"], all)
        .add::<policy::PodDisruptionBudget>(Status, &["pdb"], &[])
        .add::<rbac::ClusterRole>(Plain, &[], &[])
        .add::<rbac::ClusterRoleBinding>(Plain, &[], &[])
        .add::<rbac::Role>(Plain, &[], &[])
        .add::<rbac::RoleBinding>(Plain, &[], &[])
        .add::<networking::Ingress>(Status, &["ing"], &[])
        .add::<networking::IngressClass>(Plain, &[], &[])
        .add::<networking::IPAddress>(Plain, &["ip"], &[])
        .add::<networking::NetworkPolicy>(Plain, &["netpol"], &[])
        .add::<networking::ServiceCIDR>(Status, &[], &[])
        .add::<storage::CSIDriver>(Plain, &[], &[])
        .add::<storage::CSINode>(Plain, &[], &[])
        .add::<storage::CSIStorageCapacity>(Plain, &[], &[])
        .add::<storage::StorageClass>(Plain, &["sc"], &[])
        .add::<storage::VolumeAttachment>(Status, &[], &[])
        .add::<storage::VolumeAttributesClass>(Plain, &["vac"], &[])
        .add::<coordination::Lease>(Plain, &[], &[])
        .add::<scheduling::PriorityClass>(Plain, &["pc"], &[])
        .add::<node::RuntimeClass>(Plain, &[], &[])
        .add::<discovery::EndpointSlice>(Plain, &[], &[])
        .add::<events::Event>(Plain, &["ev"], &[])
        .add::<resource::DeviceClass>(Plain, &[], &[])
        .add::<resource::ResourceClaim>(Status, &[], &[])
        .add::<resource::ResourceClaimTemplate>(Plain, &[], &[])
        .add::<resource::ResourceSlice>(Plain, &[], &[])
        .add::<certificates::CertificateSigningRequest>(Status, &["csr"], &[])
        .add::<flowcontrol::FlowSchema>(Status, &[], &[])
        .add::<flowcontrol::PriorityLevelConfiguration>(Status, &[], &[])
        .add::<apiextensions::CustomResourceDefinition>(Status, &["crd", "crds"], admin)
        .add::<apiregistration::APIService>(Status, &[], admin)
        .add::<admission::MutatingWebhookConfiguration>(Plain, &[], admin)
        .add::<admission::ValidatingWebhookConfiguration>(Plain, &[], admin)
        .add::<admission::ValidatingAdmissionPolicy>(Status, &[], admin)
        .add::<admission::ValidatingAdmissionPolicyBinding>(Plain, &[], admin)
        .add::<authentication::SelfSubjectReview>(Plain, &[], &[])
        .add::<authentication::TokenReview>(Plain, &[], &[])
        .add::<authorization::LocalSubjectAccessReview>(Plain, &[], &[])
        .add::<authorization::SelfSubjectAccessReview>(Plain, &[], &[])
        .add::<authorization::SelfSubjectRulesReview>(Plain, &[], &[])
        .add::<authorization::SubjectAccessReview>(Plain, &[], &[]);
}

/// The definition a reference means.
fn name_in(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// Puts what is referred to in the place of every reference, so that a schema can be read by itself. The only type that
/// holds itself is the schema of a custom kind, which `mend` leaves open.
fn follow(name: &str, definitions: &Map<String, Value>, whole: &mut HashMap<String, Value>) {
    fn fill_in(schema: &mut Value, definitions: &Map<String, Value>, whole: &mut HashMap<String, Value>) {
        if let Some(name) = name_in(schema).map(str::to_owned) {
            follow(&name, definitions, whole);
            if let Some(target) = whole.get(&name) {
                *schema = target.clone();
            }
            return;
        }
        match schema {
            Value::Object(map) => map
                .values_mut()
                .for_each(|value| fill_in(value, definitions, whole)),
            Value::Array(items) => items
                .iter_mut()
                .for_each(|value| fill_in(value, definitions, whole)),
            _ => {}
        }
    }
    if whole.contains_key(name) {
        return;
    }
    let Some(schema) = definitions.get(name) else {
        return;
    };
    let mut schema = schema.clone();
    fill_in(&mut schema, definitions, whole);
    whole.insert(name.to_owned(), schema);
}

/// Takes out what only people read, and what makes nothing but work.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("description").is_some_and(Value::is_string) {
                map.shift_remove("description");
            }
            for value in map.values_mut() {
                tidy(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// What the generator says too narrowly or too widely.
fn mend(name: &str, schema: &mut Value) {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        // Any JSON at all, whatever the published type says.
        "JSON"
        | "JSONSchemaProps"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray" => {
            *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
        }
        "RawExtension" | "FieldsV1" => {
            *schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        }
        "Quantity" => schema["format"] = json!("quantity"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn schemas_hold_no_references() {
        assert!(crate::core().len() > 60);
        for kind in crate::core() {
            assert!(!kind.schema.to_string().contains("$ref"), "{}", kind.kind);
            let name = &kind.schema["properties"]["metadata"]["properties"]["name"];
            assert!(name.is_object(), "{}", kind.kind);
        }
    }
}
