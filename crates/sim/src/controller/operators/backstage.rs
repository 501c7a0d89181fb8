//! The operator of Red Hat Developer Hub: the portal, and its own PostgreSQL when it is to have one.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, PLACEHOLDER, conditions, deployment, keep, ready_replicas, service};
use crate::cluster::{Cluster, object};
use crate::world::State;

const MANAGER: &str = "rhdh-operator";
const GROUP: &str = "rhdh.redhat.com";
const IMAGE: &str = "quay.io/rhdh/rhdh-hub-rhel9:1";

pub(super) fn tend(_: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    for (key, portal) in cluster.all(GROUP, "Backstage") {
        if !object::is_going(&portal) {
            run(cluster, (&key, &portal), now, again);
        }
    }
}

/// A Secret or ConfigMap that the portal names and that is not there.
fn missing(cluster: &Cluster, key: &Key, spec: &Value) -> Option<String> {
    let application = &spec["application"];
    let maps = application["appConfig"]["configMaps"]
        .as_array()
        .into_iter()
        .flatten();
    let maps = maps.map(|one| ("ConfigMap", &one["name"]));
    let plugins = [("ConfigMap", &application["dynamicPluginsConfigMapName"])];
    let secrets = application["extraEnvs"]["secrets"]
        .as_array()
        .into_iter()
        .flatten();
    let secrets = secrets.map(|one| ("Secret", &one["name"]));
    let named = maps.chain(plugins).chain(secrets);
    named
        .filter_map(|(kind, name)| Some((kind, name.as_str()?)))
        .find(|(kind, name)| {
            cluster
                .api
                .get(&object::key("v1", kind, &key.namespace, name))
                .is_none()
        })
        .map(|(kind, name)| format!("failed to preprocess backstage spec: {kind} \"{name}\" not found"))
}

fn database(cluster: &mut Cluster, (key, portal): (&Key, &Value), now: u64) {
    let name = format!("backstage-psql-{}", key.name);
    let labels = json!({ "rhdh.redhat.com/app": name });
    let named = portal["spec"]["database"]["authSecretName"].as_str();
    let secret = named.map_or_else(|| format!("backstage-psql-secret-{}", key.name), str::to_owned);
    let at = object::key("v1", "Secret", &key.namespace, &secret);
    if named.is_none() && cluster.api.get(&at).is_none() {
        let body = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": secret, "namespace": key.namespace, "ownerReferences": object::owned_by(portal) },
            "stringData": { "POSTGRESQL_ADMIN_PASSWORD": PLACEHOLDER },
        });
        let _ = cluster.create(MANAGER, body, now);
    }
    let mut set = deployment(
        portal,
        (&key.namespace, &name),
        &labels,
        1,
        "quay.io/fedora/postgresql-15:latest",
    );
    set["kind"] = "StatefulSet".into();
    set["spec"]["serviceName"] = name.as_str().into();
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }]);
    // What a set claims can never be changed: it is made once.
    let at = object::key("apps/v1", "StatefulSet", &key.namespace, &name);
    if cluster.api.get(&at).is_none() {
        let _ = cluster.create(MANAGER, set, now);
    }
    keep(
        cluster,
        MANAGER,
        service(portal, (&key.namespace, &name), &labels, 5432),
        now,
    );
}

fn run(cluster: &mut Cluster, (key, portal): (&Key, &Value), now: u64, again: &mut Again) {
    let spec = &portal["spec"];
    let text = cluster.text(now);
    let mut said = ("Deployed", false, "DeployInProgress", String::new());
    if let Some(why) = missing(cluster, key, spec) {
        said = ("Deployed", false, "DeployFailed", why);
        again.soon();
    } else {
        if spec["database"]["enableLocalDb"] != false {
            database(cluster, (key, portal), now);
        }
        let name = format!("backstage-{}", key.name);
        let labels = json!({ "rhdh.redhat.com/app": name });
        let patch = &spec["deployment"]["patch"]["spec"];
        let wanted = patch["replicas"].as_u64().unwrap_or(1);
        let mut body = deployment(portal, (&key.namespace, &name), &labels, wanted, IMAGE);
        let template = &patch["template"]["metadata"];
        for what in ["labels", "annotations"] {
            for (name, value) in template[what].as_object().into_iter().flatten() {
                body["spec"]["template"]["metadata"][what][name] = value.clone();
            }
        }
        body["spec"]["template"]["spec"]["containers"][0]["name"] = "backstage-backend".into();
        if let Some(image) = patch["template"]["spec"]["containers"][0]["image"].as_str() {
            body["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        }
        let runs = keep(cluster, MANAGER, body, now);
        let mut front = service(portal, (&key.namespace, &name), &labels, 80);
        front["spec"]["ports"][0]["targetPort"] = json!(7007);
        keep(cluster, MANAGER, front, now);
        if runs.is_some_and(|runs| ready_replicas(&runs) >= wanted) {
            said = ("Deployed", true, "Deployed", String::new());
        } else {
            again.soon();
        }
    }
    let (kind, holds, reason, message) = said;
    let all = conditions(
        portal,
        object::generation(portal),
        &[(kind, holds, reason, &message)],
        &text,
    );
    cluster.merge_status(MANAGER, key, json!({ "conditions": all }), now);
}
