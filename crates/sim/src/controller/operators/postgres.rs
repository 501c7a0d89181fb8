//! CloudNativePG: instances of a database one after the other, with their volumes, services and secrets; connection
//! pools; backups that are asked for at once. All of it goes with what asked for it.

use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, PLACEHOLDER, conditions, deployment, keep, ready_replicas, service};
use crate::cluster::{Cluster, object};
use crate::world::State;

const MANAGER: &str = "cloudnative-pg";
const GROUP: &str = "postgresql.cnpg.io";
const VERSION: &str = "postgresql.cnpg.io/v1";
const HEALTHY: &str = "Cluster in healthy state";
const PORT: u64 = 5432;

pub(super) fn tend(state: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    for (key, database) in cluster.all(GROUP, "Cluster") {
        if !object::is_going(&database) {
            run(cluster, (&key, &database), now, again);
        }
    }
    for (key, pooler) in cluster.all(GROUP, "Pooler") {
        if !object::is_going(&pooler) {
            pool(cluster, (&key, &pooler), now);
        }
    }
    for (key, schedule) in cluster.all(GROUP, "ScheduledBackup") {
        if schedule["spec"]["immediate"] == true && !object::is_going(&schedule) {
            back_up_at_once(cluster, (&key, &schedule), now);
        }
    }
    for (key, backup) in cluster.all(GROUP, "Backup") {
        back_up(state, cluster, (&key, &backup), now, again);
    }
    for kind in ["Database", "Publication", "Subscription"] {
        for (key, one) in cluster.all(GROUP, kind) {
            if healthy(cluster, &key.namespace, &one["spec"]["cluster"]) {
                let status = json!({ "applied": true, "observedGeneration": object::generation(&one) });
                cluster.merge_status(MANAGER, &key, status, now);
            }
        }
    }
}

/// Whether the database that is named serves.
fn healthy(cluster: &Cluster, namespace: &str, named: &Value) -> bool {
    let name = named["name"].as_str().unwrap_or_default();
    let key = object::key(VERSION, "Cluster", namespace, name);
    cluster
        .api
        .get(&key)
        .is_some_and(|one| one["status"]["phase"] == HEALTHY)
}

/// What keeps a database from being made, as its phase and the reason for it.
fn held_up(cluster: &Cluster, key: &Key, spec: &Value) -> Option<(&'static str, String)> {
    for plugin in spec["plugins"].as_array().into_iter().flatten() {
        let name = plugin["name"].as_str().unwrap_or_default();
        let mut services = cluster.api.of_kind("", "Service");
        let offers = |one: &Value| object::label(one, "cnpg.io/pluginName") == Some(name);
        if plugin["enabled"] != false && !services.any(|(_, one)| offers(one)) {
            return Some((
                "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
                format!("Unknown plugin: '{name}'"),
            ));
        }
    }
    let credentials = spec["bootstrap"]["initdb"]["secret"]["name"].as_str()?;
    let secret = object::key("v1", "Secret", &key.namespace, credentials);
    cluster.api.get(&secret).is_none().then(|| {
        (
            "Setting up primary",
            format!("secret \"{credentials}\" not found"),
        )
    })
}

fn labels(database: &str, number: u64) -> Value {
    let role = if number == 1 { "primary" } else { "replica" };
    json!({
        "cnpg.io/cluster": database, "cnpg.io/instanceName": format!("{database}-{number}"), "cnpg.io/podRole": "instance",
        "cnpg.io/instanceRole": role, "role": role,
    })
}

/// An instance with its volumes.
fn instance(cluster: &mut Cluster, (key, database): (&Key, &Value), number: u64, now: u64) {
    let spec = &database["spec"];
    let name = format!("{}-{number}", key.name);
    let labels = labels(&key.name, number);
    let mut volumes = Vec::new();
    for (storage, suffix, role) in [("storage", "", "PG_DATA"), ("walStorage", "-wal", "PG_WAL")] {
        let storage = &spec[storage];
        let Some(size) = storage["size"].as_str() else {
            continue;
        };
        let claim = format!("{name}{suffix}");
        let mut body = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim, "namespace": key.namespace, "ownerReferences": object::owned_by(database),
                "labels": { "cnpg.io/cluster": key.name, "cnpg.io/instanceName": name, "cnpg.io/pvcRole": role },
            },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } },
        });
        if let Some(class) = storage["storageClass"].as_str() {
            body["spec"]["storageClassName"] = class.into();
        }
        keep(cluster, MANAGER, body, now);
        volumes.push(json!({ "name": role.to_lowercase().replace('_', "-"), "persistentVolumeClaim": { "claimName": claim } }));
    }
    let image = spec["imageName"]
        .as_str()
        .unwrap_or("ghcr.io/cloudnative-pg/postgresql:18");
    let body = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": key.namespace, "labels": labels, "ownerReferences": object::owned_by(database) },
        "spec": {
            "containers": [{
                "name": "postgres", "image": image,
                "ports": [{ "name": "postgresql", "containerPort": PORT }, { "name": "metrics", "containerPort": 9187 }],
            }],
            "volumes": volumes,
        },
    });
    let pod = object::key("v1", "Pod", &key.namespace, &name);
    match cluster.get(&pod) {
        None => {
            let _ = cluster.create(MANAGER, body, now);
        }
        Some(stands) => {
            let over = matches!(stands["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            let is_old = stands["spec"]["containers"][0]["image"] != image;
            if (over || is_old) && !object::is_going(&stands) {
                cluster.delete(&pod, now);
            }
        }
    }
}

/// Services, secrets and what else a database has once.
fn surroundings(cluster: &mut Cluster, (key, database): (&Key, &Value), now: u64) {
    let name = key.name.as_str();
    let place = |suffix: &str| format!("{name}{suffix}");
    let selectors = [
        (
            "-rw",
            json!({ "cnpg.io/cluster": name, "cnpg.io/instanceRole": "primary" }),
        ),
        (
            "-ro",
            json!({ "cnpg.io/cluster": name, "cnpg.io/instanceRole": "replica" }),
        ),
        (
            "-r",
            json!({ "cnpg.io/cluster": name, "cnpg.io/podRole": "instance" }),
        ),
    ];
    for (suffix, selector) in selectors {
        let mut body = service(database, (&key.namespace, &place(suffix)), &selector, PORT);
        body["spec"]["ports"][0]["name"] = "postgres".into();
        keep(cluster, MANAGER, body, now);
    }
    let spec = &database["spec"];
    let mut secrets = vec![
        ("-ca", vec!["ca.crt", "ca.key"]),
        ("-server", vec!["tls.crt", "tls.key"]),
        ("-replication", vec!["tls.crt", "tls.key"]),
    ];
    let fields = vec!["username", "password", "host", "port", "dbname", "uri"];
    if spec["bootstrap"]["initdb"]["secret"]["name"].is_null() {
        secrets.push(("-app", fields.clone()));
    }
    if spec["enableSuperuserAccess"] == true {
        secrets.push(("-superuser", fields));
    }
    for (suffix, fields) in secrets {
        let secret = object::key("v1", "Secret", &key.namespace, &place(suffix));
        if cluster.api.get(&secret).is_some() {
            continue;
        }
        let data: serde_json::Map<String, Value> = fields
            .iter()
            .map(|field| ((*field).to_owned(), PLACEHOLDER.into()))
            .collect();
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": data,
            "metadata": {
                "name": place(suffix), "namespace": key.namespace, "labels": { "cnpg.io/cluster": name },
                "ownerReferences": object::owned_by(database),
            },
        });
        let _ = cluster.create(MANAGER, body, now);
    }
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": key.namespace, "ownerReferences": object::owned_by(database) },
    });
    keep(cluster, MANAGER, account, now);
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": place("-primary"), "namespace": key.namespace, "ownerReferences": object::owned_by(database) },
        "spec": {
            "minAvailable": 1,
            "selector": { "matchLabels": { "cnpg.io/cluster": name, "cnpg.io/instanceRole": "primary" } },
        },
    });
    keep(cluster, MANAGER, budget, now);
}

fn run(cluster: &mut Cluster, (key, database): (&Key, &Value), now: u64, again: &mut Again) {
    let spec = &database["spec"];
    let wanted = spec["instances"].as_u64().unwrap_or(1);
    let text = cluster.text(now);
    let pods = |cluster: &Cluster| -> Vec<(Key, Arc<Value>)> {
        let all = cluster.all("", "Pod");
        let own = |pod: &Value| object::owner(pod).is_some_and(|(_, _, uid)| uid == object::uid(database));
        all.into_iter().filter(|(_, pod)| own(pod)).collect()
    };
    let mut phase = HEALTHY;
    let mut reason = String::new();
    if let Some((held, why)) = held_up(cluster, key, spec) {
        (phase, reason) = (held, why);
        again.soon();
    } else {
        surroundings(cluster, (key, database), now);
        for number in 1..=wanted {
            instance(cluster, (key, database), number, now);
            let pod = object::key("v1", "Pod", &key.namespace, &format!("{}-{number}", key.name));
            if cluster
                .api
                .get(&pod)
                .is_some_and(|pod| object::is_true(pod, "Ready"))
            {
                continue;
            }
            phase = if number == 1 {
                "Setting up primary"
            } else {
                "Creating a new replica"
            };
            reason = format!("Creating instance {}-{number}", key.name);
            again.soon();
            break;
        }
    }
    for (pod, _) in pods(cluster) {
        let number = pod
            .name
            .rsplit('-')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        if number.is_none_or(|number| number > wanted) {
            cluster.delete(&pod, now);
            for suffix in ["", "-wal"] {
                let claim = format!("{}{suffix}", pod.name);
                cluster.delete(
                    &object::key("v1", "PersistentVolumeClaim", &key.namespace, &claim),
                    now,
                );
            }
        }
    }
    let all = pods(cluster);
    let ready = all
        .iter()
        .filter(|(_, pod)| object::is_true(pod, "Ready"))
        .count();
    let is_ready = phase == HEALTHY;
    let said = if is_ready {
        ("Ready", true, "ClusterIsReady", "Cluster is Ready")
    } else {
        ("Ready", false, "ClusterIsNotReady", "Cluster Is Not Ready")
    };
    let mut said = vec![said];
    let archives = |plugin: &Value| plugin["isWALArchiver"] == true;
    if is_ready && spec["plugins"].as_array().into_iter().flatten().any(archives) {
        said.push((
            "ContinuousArchiving",
            true,
            "ContinuousArchivingSuccess",
            "Continuous archiving is working",
        ));
    }
    let primary = format!("{}-1", key.name);
    let mut status = json!({
        "phase": phase, "instances": all.len(), "readyInstances": ready, "image": spec["imageName"],
        "writeService": format!("{}-rw", key.name), "readService": format!("{}-r", key.name),
        "conditions": conditions(database, object::generation(database), &said, &text),
        "phaseReason": reason,
    });
    if ready > 0 {
        status["currentPrimary"] = primary.as_str().into();
        status["targetPrimary"] = primary.into();
    }
    cluster.merge_status(MANAGER, key, status, now);
}

fn pool(cluster: &mut Cluster, (key, pooler): (&Key, &Value), now: u64) {
    let spec = &pooler["spec"];
    let name = spec["cluster"]["name"].as_str().unwrap_or_default();
    let database = object::key(VERSION, "Cluster", &key.namespace, name);
    if cluster.api.get(&database).is_none() {
        return;
    }
    let labels =
        json!({ "cnpg.io/poolerName": key.name, "cnpg.io/podRole": "pooler", "cnpg.io/cluster": name });
    let place = (key.namespace.as_str(), key.name.as_str());
    let wanted = spec["instances"].as_u64().unwrap_or(1);
    let mut body = deployment(
        pooler,
        place,
        &labels,
        wanted,
        "ghcr.io/cloudnative-pg/pgbouncer:1.25",
    );
    body["spec"]["template"]["spec"]["containers"][0]["name"] = "pgbouncer".into();
    for (label, value) in spec["template"]["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
    {
        body["spec"]["template"]["metadata"]["labels"][label] = value.clone();
    }
    let runs = keep(cluster, MANAGER, body, now);
    keep(cluster, MANAGER, service(pooler, place, &labels, PORT), now);
    let instances = runs.map_or(0, |runs| ready_replicas(&runs));
    cluster.merge_status(MANAGER, key, json!({ "instances": instances }), now);
}

fn back_up_at_once(cluster: &mut Cluster, (key, schedule): (&Key, &Value), now: u64) {
    let spec = &schedule["spec"];
    if !schedule["status"]["lastScheduleTime"].is_null()
        || !healthy(cluster, &key.namespace, &spec["cluster"])
    {
        return;
    }
    let text = cluster.text(now);
    let stamp: String = text.chars().filter(char::is_ascii_digit).collect();
    let mut body = json!({
        "apiVersion": VERSION, "kind": "Backup",
        "metadata": { "name": format!("{}-{stamp}", key.name), "namespace": key.namespace },
        "spec": { "cluster": spec["cluster"], "method": spec["method"].as_str().unwrap_or("barmanObjectStore") },
    });
    if spec["pluginConfiguration"].is_object() {
        body["spec"]["pluginConfiguration"] = spec["pluginConfiguration"].clone();
    }
    match spec["backupOwnerReference"].as_str() {
        Some("self") => body["metadata"]["ownerReferences"] = object::owned_by(schedule),
        Some("cluster") => {
            let name = spec["cluster"]["name"].as_str().unwrap_or_default();
            if let Some(owner) = cluster.get(&object::key(VERSION, "Cluster", &key.namespace, name)) {
                body["metadata"]["ownerReferences"] = object::owned_by(&owner);
            }
        }
        _ => {}
    }
    if cluster.create(MANAGER, body, now).is_ok() {
        let status = json!({ "lastCheckTime": text, "lastScheduleTime": text });
        cluster.merge_status(MANAGER, key, status, now);
    }
}

fn back_up(state: &State, cluster: &mut Cluster, (key, backup): (&Key, &Value), now: u64, again: &mut Again) {
    let phase = backup["status"]["phase"].as_str();
    if object::is_going(backup) || matches!(phase, Some("completed" | "failed")) {
        return;
    }
    let text = cluster.text(now);
    let is_done = state.has_taken(cluster, backup, ("backup of a database", 60), now, again);
    let phase = if is_done && healthy(cluster, &key.namespace, &backup["spec"]["cluster"]) {
        "completed"
    } else {
        "running"
    };
    let mut status = json!({ "phase": phase, "method": backup["spec"]["method"] });
    if backup["status"]["startedAt"].is_null() {
        status["startedAt"] = text.as_str().into();
    }
    if phase == "completed" {
        status["stoppedAt"] = text.into();
    } else if is_done {
        again.soon();
    }
    cluster.merge_status(MANAGER, key, status, now);
}
