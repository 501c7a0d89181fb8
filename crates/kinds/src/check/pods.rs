//! What the API refuses in pods and in the templates of pods.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{self, known};
use super::{Found, Path, is_unknown};

/// A workload's template: its labels, what selects them, its pods.
pub(super) fn workload(object: &Value, policies: &[&str], found: &mut Found) {
    let root = Path::Root;
    let spec = Path::Key(&root, "spec");
    let template = Path::Key(&spec, "template");
    selected(object, found);
    template_at(
        &object["spec"]["template"],
        &template,
        policies,
        claims(object),
        found,
    );
}

/// The names of the claims a stateful set makes: they are volumes of its pods.
fn claims(object: &Value) -> Vec<&Value> {
    let templates = object["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten();
    templates.map(|claim| &claim["metadata"]["name"]).collect()
}

/// Checks a template of pods.
pub(super) fn template_at(
    template: &Value,
    path: &Path<'_>,
    policies: &[&str],
    more: Vec<&Value>,
    found: &mut Found,
) {
    let metadata = Path::Key(path, "metadata");
    text::labels(
        &template["metadata"]["labels"],
        &Path::Key(&metadata, "labels"),
        found,
    );
    let spec = Path::Key(path, "spec");
    let policy = &template["spec"]["restartPolicy"];
    match policy.as_str() {
        Some(policy) if !is_unknown(policy) && !policies.contains(&policy) => found.add(
            &Path::Key(&spec, "restartPolicy"),
            format!("`restartPolicy` cannot be `{policy}` here"),
            Some(format!("write {}", policies.join(" or "))),
        ),
        None if !policies.contains(&"Always") && template["spec"].is_object() => found.add(
            &spec,
            "the pods of a Job need a `restartPolicy`",
            Some("write `restartPolicy: Never`, or `OnFailure`".to_owned()),
        ),
        _ => {}
    }
    pod(&template["spec"], &spec, &more, found);
}

/// The selector must fit the labels of the template.
fn selected(object: &Value, found: &mut Found) {
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    let selector = &object["spec"]["selector"];
    let (root, parts) = (Path::Root, ["spec", "selector", "matchLabels"]);
    let spec = Path::Key(&root, parts[0]);
    let here = Path::Key(&spec, parts[1]);
    let wanted = selector["matchLabels"].as_object();
    let is_empty = wanted.is_none_or(serde_json::Map::is_empty) && selector["matchExpressions"].is_null();
    if selector.is_object() && is_empty {
        found.add(
            &here,
            "the selector is empty",
            Some("name labels of the template in `matchLabels`".to_owned()),
        );
        return;
    }
    if labels.as_str().is_some_and(is_unknown) {
        return;
    }
    let wanted = wanted.into_iter().flatten();
    for (name, value) in wanted.filter(|(name, _)| !is_unknown(name)) {
        let has = &labels[name.as_str()];
        let either_unknown = [value, has]
            .iter()
            .any(|one| one.as_str().is_some_and(is_unknown));
        if has == value || either_unknown && !has.is_null() {
            continue;
        }
        let by_expression = labels
            .as_object()
            .is_some_and(|labels| labels.keys().any(|key| is_unknown(key)));
        if by_expression {
            continue;
        }
        let matches = Path::Key(&here, parts[2]);
        let is = match has.as_str() {
            Some(has) => format!("there it is `{has}`"),
            None => "it is not there".to_owned(),
        };
        found.add(
            &Path::Key(&matches, name),
            format!("the selector wants the label `{name}` of the template, and {is}"),
            Some("give `spec.template.metadata.labels` what the selector names".to_owned()),
        );
    }
}

/// Checks a pod.
pub(super) fn pod(spec: &Value, path: &Path<'_>, more: &[&Value], found: &mut Found) {
    if !spec.is_object() {
        return;
    }
    let listed = spec["volumes"].as_array().into_iter().flatten();
    let volumes: Vec<&Value> = listed
        .map(|one| &one["name"])
        .chain(more.iter().copied())
        .collect();
    let open =
        volumes.iter().any(|name| name.as_str().is_some_and(is_unknown)) || spec["volumes"].is_string();
    let mut names = BTreeSet::new();
    for list in ["initContainers", "containers"] {
        let here = Path::Key(path, list);
        let containers = spec[list].as_array();
        if list == "containers" && containers.is_some_and(Vec::is_empty) {
            found.add(&here, "a pod needs a container", None);
        }
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let here = Path::Index(&here, index);
            if let Some(name) = known(&container["name"]) {
                if !text::is_dns_label(name) {
                    let help = "use at most 63 small letters, digits and `-`".to_owned();
                    found.add(
                        &Path::Key(&here, "name"),
                        format!("`{name}` cannot be a container's name"),
                        Some(help),
                    );
                }
                if !names.insert(name) && list == "containers" {
                    found.add(&here, format!("two containers are called `{name}`"), None);
                }
            }
            self::container(container, &here, found);
            let mounts = Path::Key(&here, "volumeMounts");
            for (index, mount) in container["volumeMounts"]
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
            {
                let Some(name) = known(&mount["name"]) else {
                    continue;
                };
                if !open && !volumes.iter().any(|volume| *volume == name) {
                    found.add(
                        &Path::Index(&mounts, index),
                        format!("the pod has no volume `{name}`"),
                        text::nearest(name, volumes.iter().filter_map(|one| one.as_str()))
                            .map(|near| format!("did you mean `{near}`?"))
                            .or(Some("add it to `volumes`".to_owned())),
                    );
                }
            }
        }
    }
}

fn container(container: &Value, path: &Path<'_>, found: &mut Found) {
    if !container.is_object() {
        return;
    }
    if container["image"]
        .as_str()
        .is_none_or(|image| image.trim().is_empty())
        && !container["image"].is_number()
    {
        found.add(path, "a container needs an `image`", None);
    }
    let env = Path::Key(path, "env");
    for (index, one) in container["env"].as_array().into_iter().flatten().enumerate() {
        let has_value = one["value"].as_str().is_some_and(|value| !value.is_empty());
        if has_value && one["valueFrom"].is_object() {
            let here = Path::Index(&env, index);
            found.add(&here, "a variable has either `value` or `valueFrom`", None);
        }
    }
    let resources = Path::Key(path, "resources");
    let requests = Path::Key(&resources, "requests");
    for (name, request) in container["resources"]["requests"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let number = |value: &Value| match value {
            Value::String(text) => text::quantity(text),
            value => value.as_f64(),
        };
        let limit = &container["resources"]["limits"][name.as_str()];
        if let (Some(asked), Some(limit)) = (number(request), number(limit))
            && asked > limit
        {
            found.add(
                &Path::Key(&requests, name),
                format!("the request of `{name}` is higher than its limit"),
                Some("raise `limits`, or lower `requests`".to_owned()),
            );
        }
    }
}
