//! What is wrong with an object of a built-in kind, beyond its schema.

use serde_json::Value;

use crate::names;
use crate::selector;
use crate::served::Served;
use crate::status::Cause;

/// What the server refuses an object for.
pub(crate) fn problems(served: &Served, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    causes.extend(names::misnamed(served, name.unwrap_or_default()));
    causes.extend(names::mislabelled(object));
    match (served.group.as_str(), served.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => {
            causes.extend(selects_its_pods(object));
            causes.extend(template(object, &["Always"]));
        }
        ("batch", "Job") => causes.extend(template(object, &["OnFailure", "Never"])),
        ("", "Pod") => causes.extend(containers(object, "spec")),
        ("", "Service") => causes.extend(ports(object)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => causes.extend(definition(object)),
        _ => {}
    }
    causes
}

fn selects_its_pods(object: &Value) -> Option<Cause> {
    let selector = object.pointer("/spec/selector")?;
    let labels = object
        .pointer("/spec/template/metadata/labels")
        .cloned()
        .unwrap_or_default();
    let empty = selector.as_object().is_none_or(serde_json::Map::is_empty);
    if empty {
        return Some(Cause::invalid(
            "spec.selector",
            selector,
            "empty selector is invalid for deployment",
        ));
    }
    (!selector::label_selector_fits(selector, &labels)).then(|| {
        Cause::invalid(
            "spec.template.metadata.labels",
            &labels,
            "`selector` does not match template `labels`",
        )
    })
}

fn template(object: &Value, policies: &[&str]) -> Vec<Cause> {
    let mut causes = containers(object, "spec.template.spec");
    if let Some(policy) = object.pointer("/spec/template/spec/restartPolicy")
        && !policy.as_str().is_some_and(|policy| policies.contains(&policy))
    {
        let allowed: Vec<Value> = policies.iter().map(|policy| Value::from(*policy)).collect();
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            policy,
            &allowed,
        ));
    }
    causes
}

/// Containers: at least one, each with a name of its own and an image, and mounts of volumes that are.
fn containers(object: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(spec) = object.pointer(&format!("/{}", path.replace('.', "/"))) else {
        return causes;
    };
    let items = |list: &str| {
        spec.get(list)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    if items("containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers")));
    }
    let volumes: Vec<Value> = items("volumes")
        .iter()
        .filter_map(|volume| volume.get("name").cloned())
        .collect();
    let mut seen: Vec<Value> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (place, container) in items(list).iter().enumerate() {
            let here = format!("{path}.{list}[{place}]");
            let name = container.get("name").cloned().unwrap_or_default();
            if seen.contains(&name) {
                causes.push(Cause {
                    reason: "FieldValueDuplicate",
                    message: format!("Duplicate value: {name}"),
                    field: format!("{here}.name"),
                });
            }
            seen.push(name);
            if container
                .get("image")
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                causes.push(Cause::required(format!("{here}.image")));
            }
            let mounts = container.get("volumeMounts").and_then(Value::as_array);
            for (mount_place, mount) in mounts.into_iter().flatten().enumerate() {
                let wanted = mount.get("name").cloned().unwrap_or_default();
                if !volumes.contains(&wanted) {
                    causes.push(Cause {
                        reason: "FieldValueNotFound",
                        message: format!("Not found: {wanted}"),
                        field: format!("{here}.volumeMounts[{mount_place}].name"),
                    });
                }
            }
        }
    }
    causes
}

fn ports(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    let headless = text("/spec/clusterIP") == "None" || text("/spec/type") == "ExternalName";
    if ports.is_none_or(Vec::is_empty) && !headless {
        causes.push(Cause::required("spec.ports"));
    }
    let several = ports.is_some_and(|ports| ports.len() > 1);
    for (place, port) in ports.into_iter().flatten().enumerate() {
        let number = port.get("port").cloned().unwrap_or_default();
        if !number
            .as_i64()
            .is_some_and(|number| (1..=65_535).contains(&number))
        {
            causes.push(Cause::invalid(
                format!("spec.ports[{place}].port"),
                &number,
                "must be between 1 and 65535, inclusive",
            ));
        }
        if several && port.get("name").is_none() {
            causes.push(Cause::required(format!("spec.ports[{place}].name")));
        }
    }
    causes
}

fn definition(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let wanted = format!("{}.{}", text("/spec/names/plural"), text("/spec/group"));
    if text("/metadata/name") != wanted {
        causes.push(Cause::invalid(
            "metadata.name",
            &text("/metadata/name").into(),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let versions = object.pointer("/spec/versions").and_then(Value::as_array);
    let stored = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
        .count();
    if stored != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &object.pointer("/spec/versions").cloned().unwrap_or_default(),
            "must have exactly one version marked as storage version",
        ));
    }
    for (place, version) in versions.into_iter().flatten().enumerate() {
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            causes.push(Cause::required(format!(
                "spec.versions[{place}].schema.openAPIV3Schema"
            )));
        }
    }
    causes
}
