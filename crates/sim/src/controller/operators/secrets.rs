//! External Secrets: stores, and the secrets it copies from AWS Secrets Manager. The values are made up, as there are
//! none in this world; whether there would be one is looked up.

use std::collections::BTreeMap;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, PLACEHOLDER, conditions, event};
use crate::cluster::{Cluster, object};
use crate::world::State;

const MANAGER: &str = "external-secrets";
const GROUP: &str = "external-secrets.io";
const VERSION: &str = "external-secrets.io/v1";
/// What it says of whatever it cannot read; the event says more.
const UNREAD: &str = "could not get secret data from provider";

/// What AWS Secrets Manager keeps under a name.
enum Kept {
    Nothing,
    /// The fields of its value, when it is known which.
    Value(Vec<String>),
}

pub(super) fn tend(state: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    for kind in ["SecretStore", "ClusterSecretStore"] {
        for (key, store) in cluster.all(GROUP, kind) {
            if object::is_going(&store)
                || !state.has_taken(cluster, &store, ("store of secrets", 3), now, again)
            {
                continue;
            }
            let text = cluster.text(now);
            let said = [("Ready", true, "Valid", "store validated")];
            let mut all = conditions(&store, 0, &said, &text);
            plain(&mut all);
            let status = json!({ "capabilities": "ReadWrite", "conditions": all });
            cluster.merge_status(MANAGER, &key, status, now);
        }
    }
    for (key, wanted) in cluster.all(GROUP, "ExternalSecret") {
        if !object::is_going(&wanted) {
            sync(state, cluster, (&key, &wanted), now, again);
        }
    }
}

/// Its conditions say nothing of generations.
fn plain(conditions: &mut Value) {
    for one in conditions.as_array_mut().into_iter().flatten() {
        if let Some(one) = one.as_object_mut() {
            one.remove("observedGeneration");
        }
    }
}

fn sync(state: &State, cluster: &mut Cluster, (key, wanted): (&Key, &Value), now: u64, again: &mut Again) {
    let spec = &wanted["spec"];
    let name = spec["target"]["name"].as_str().unwrap_or(&key.name);
    let target = object::key("v1", "Secret", &key.namespace, name);
    let version = format!("{}-{}", object::generation(wanted), object::uid(wanted));
    let is_synced =
        object::is_true(wanted, "Ready") && wanted["status"]["syncedResourceVersion"] == version.as_str();
    if is_synced && cluster.api.get(&target).is_some() {
        return;
    }
    if !state.has_taken(cluster, wanted, ("copy of a secret", 4), now, again) {
        return;
    }
    let text = cluster.text(now);
    let made = read(state, cluster, &key.namespace, spec, now).and_then(|values| {
        let filled = fill(spec, values);
        write(cluster, wanted, &target, filled, now)
    });
    let (said, version) = match &made {
        Ok(()) => (("Ready", true, "SecretSynced", "secret synced"), Some(version)),
        Err((said, why)) => {
            event(cluster, MANAGER, wanted, ("UpdateFailed", why), now);
            again.soon();
            (("Ready", false, "SecretSyncedError", *said), None)
        }
    };
    let mut all = conditions(wanted, 0, &[said], &text);
    plain(&mut all);
    let mut status = json!({ "conditions": all });
    if let Some(version) = version {
        status["syncedResourceVersion"] = version.into();
        status["refreshTime"] = text.into();
        status["binding"] = json!({ "name": name });
    }
    cluster.merge_status(MANAGER, key, status, now);
}

type Unread = (&'static str, String);

/// The values it asks for, by key.
fn read(
    state: &State,
    cluster: &Cluster,
    namespace: &str,
    spec: &Value,
    now: u64,
) -> Result<BTreeMap<String, String>, Unread> {
    let store = &spec["secretStoreRef"];
    let name = store["name"].as_str().unwrap_or_default();
    let kind = store["kind"].as_str().unwrap_or("SecretStore");
    let within = if kind == "ClusterSecretStore" {
        ""
    } else {
        namespace
    };
    match cluster.api.get(&object::key(VERSION, kind, within, name)) {
        None => {
            let why =
                format!("could not get {kind} \"{name}\", {kind}.external-secrets.io \"{name}\" not found");
            return Err((UNREAD, why));
        }
        Some(store) if !object::is_true(store, "Ready") => {
            return Err((UNREAD, format!("{kind} \"{name}\" is not ready")));
        }
        Some(_) => {}
    }
    let mut values = BTreeMap::new();
    let asked = |at: String, remote: &Value| {
        let key = remote["key"].as_str().unwrap_or_default();
        match state.kept(&cluster.region, key, now) {
            Kept::Value(fields) => Ok(fields),
            Kept::Nothing => Err((
                UNREAD,
                format!("error processing {at} (key: {key}), err: Secret does not exist"),
            )),
        }
    };
    for (at, one) in spec["data"].as_array().into_iter().flatten().enumerate() {
        let remote = &one["remoteRef"];
        let fields = asked(format!("spec.data[{at}]"), remote)?;
        if let Some(property) = remote["property"].as_str()
            && !fields.is_empty()
            && !fields.iter().any(|field| field == property)
        {
            let key = remote["key"].as_str().unwrap_or_default();
            let why = format!(
                "error processing spec.data[{at}] (key: {key}), err: key {property} does not exist in secret {key}"
            );
            return Err((UNREAD, why));
        }
        let key = one["secretKey"].as_str().unwrap_or_default();
        values.insert(key.to_owned(), PLACEHOLDER.to_owned());
    }
    for (at, one) in spec["dataFrom"].as_array().into_iter().flatten().enumerate() {
        let mut fields = asked(format!("spec.dataFrom[{at}].extract"), &one["extract"])?;
        if fields.is_empty() {
            fields = vec!["username".to_owned(), "password".to_owned()];
        }
        values.extend(fields.into_iter().map(|field| (field, PLACEHOLDER.to_owned())));
    }
    Ok(values)
}

/// A template's text with its values in it. What is computed from values is a value, too.
fn filled(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("{{");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((inside, after)) = part.split_once("}}") else {
            continue;
        };
        let words =
            inside.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-'));
        let value = words.filter_map(|word| values.get(word)).next();
        whole.push_str(value.map_or(PLACEHOLDER, String::as_str));
        whole.push_str(after);
    }
    whole
}

/// What the secret is to hold: values, or what the template makes of them.
fn fill(spec: &Value, values: BTreeMap<String, String>) -> Value {
    let template = &spec["target"]["template"];
    let mut data = match template["data"].as_object() {
        None => values.clone(),
        Some(texts) => {
            let texts = texts
                .iter()
                .map(|(name, text)| (name.clone(), filled(text.as_str().unwrap_or_default(), &values)));
            texts.collect()
        }
    };
    if template["mergePolicy"] == "Merge" {
        data.extend(values);
    }
    let mut body = json!({
        "apiVersion": "v1", "kind": "Secret", "type": template["type"].as_str().unwrap_or("Opaque"), "stringData": data,
        "metadata": { "labels": { "reconcile.external-secrets.io/managed": "true" }, "annotations": {} },
    });
    for what in ["labels", "annotations"] {
        for (name, value) in template["metadata"][what].as_object().into_iter().flatten() {
            body["metadata"][what][name] = value.clone();
        }
    }
    body
}

fn write(cluster: &mut Cluster, wanted: &Value, target: &Key, body: Value, now: u64) -> Result<(), Unread> {
    let policy = wanted["spec"]["target"]["creationPolicy"]
        .as_str()
        .unwrap_or("Owner");
    let mut body = body;
    body["metadata"]["name"] = target.name.as_str().into();
    body["metadata"]["namespace"] = target.namespace.as_str().into();
    match (policy, cluster.api.get(target).is_some()) {
        ("None", _) => return Ok(()),
        ("Merge", false) => {
            let why = format!("the desired secret {} was not found", target.name);
            return Err(("could not update secret", why));
        }
        ("Owner", _) => body["metadata"]["ownerReferences"] = object::owned_by(wanted),
        _ => {}
    }
    let at = cluster.stamp(now);
    match cluster.api.apply(MANAGER, true, body, at) {
        Ok(_) => Ok(()),
        Err(status) => Err(("could not update secret", status.message)),
    }
}

impl State {
    /// What AWS Secrets Manager keeps under an ARN or a name. People put a value into an empty secret as soon as it
    /// stands, unless the world was told that they do not.
    fn kept(&self, region: &str, key: &str, now: u64) -> Kept {
        let mut generated = self.secrets.iter().rev();
        if let Some(one) = generated.find(|one| one.arn == key || one.name == key) {
            return if one.is_deleted() || one.is_gone(now) {
                Kept::Nothing
            } else {
                Kept::Value(Vec::new())
            };
        }
        if self
            .others
            .names
            .contains_key(&("AWS::SecretsManager::Secret".to_owned(), key.to_owned()))
        {
            return Kept::Value(Vec::new());
        }
        for stack in self
            .stacks
            .iter()
            .filter(|one| !one.is_gone() && one.region == region)
        {
            let Some(spec) = stack.newest_spec() else {
                continue;
            };
            for (logical, resource) in &stack.resources {
                if resource.kind != "AWS::SecretsManager::Secret" {
                    continue;
                }
                let name = spec.property(logical, "Name");
                let named = name.as_deref().unwrap_or(&resource.physical);
                // An ARN has six more letters behind the name.
                let in_arn = key.rsplit_once(":secret:").map(|(_, rest)| rest);
                let is_meant = key == named
                    || in_arn.is_some_and(|rest| {
                        rest.strip_prefix(named)
                            .is_some_and(|end| end.is_empty() || end.starts_with('-'))
                    });
                if !is_meant {
                    continue;
                }
                let generated = spec.value(logical, "GenerateSecretString");
                let is_empty = generated.is_none() && spec.value(logical, "SecretString").is_none();
                let nobody = name.is_some_and(|name| self.empty_secrets.contains(&name));
                if is_empty && nobody {
                    return Kept::Nothing;
                }
                return Kept::Value(generated.map(fields).unwrap_or_default());
            }
        }
        Kept::Nothing
    }
}

/// The fields of a generated value that is an object.
fn fields(generated: &Value) -> Vec<String> {
    let template = generated["SecretStringTemplate"].as_str().unwrap_or_default();
    let template: Value = serde_json::from_str(template).unwrap_or_default();
    let mut fields: Vec<String> = template
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    fields.extend(generated["GenerateStringKey"].as_str().map(str::to_owned));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_values_and_what_is_computed_from_them() {
        let values = BTreeMap::from([("password".to_owned(), "pass".to_owned())]);
        assert_eq!(
            filled(
                "postgresql://me:{{ .password }}@db/{{ .password | b64enc }}",
                &values
            ),
            "postgresql://me:pass@db/pass"
        );
        assert_eq!(
            filled("{{ now }} and {{ broken", &values),
            format!("{PLACEHOLDER} and ")
        );
    }

    #[test]
    fn fields_of_a_generated_value_are_those_of_its_template() {
        let generated =
            json!({ "SecretStringTemplate": "{\"username\":\"me\"}", "GenerateStringKey": "password" });
        assert_eq!(fields(&generated), ["username", "password"]);
        assert_eq!(fields(&json!({ "PasswordLength": 32 })), [""; 0]);
    }
}
