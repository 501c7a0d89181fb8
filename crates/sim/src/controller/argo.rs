//! Argo CD: makes the objects of an Application's repository or chart, makes them anew when they are gone and
//! it is told to, and deletes them with the Application when that has a finalizer.

use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::Again;
use super::install::{Installed, Installer, contents, make_namespace, marked, placed};
use crate::cluster::{Cluster, object};
use crate::world::State;

pub(crate) const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
const MANAGER: &str = "argocd-controller";
/// The annotation by which Argo CD knows its objects.
pub(crate) const TRACKING: &str = "argocd.argoproj.io/tracking-id";

/// What an object is tracked as.
fn tracking(application: &str, key: &Key) -> String {
    format!(
        "{application}:{}/{}:{}/{}",
        key.group, key.kind, key.namespace, key.name
    )
}

/// The objects of an Application.
pub(crate) fn children(cluster: &Cluster, application: &str) -> Vec<Key> {
    let mine = format!("{application}:");
    marked(cluster, TRACKING, |tracked| tracked.starts_with(&mine))
}

/// What an Application's sources hold, all together.
fn sources(state: &State, spec: &Value) -> Result<Vec<Value>, String> {
    let many = spec["sources"].as_array().cloned().unwrap_or_default();
    let all = if many.is_empty() {
        vec![spec["source"].clone()]
    } else {
        many
    };
    let mut objects = Vec::new();
    for source in &all {
        let part = source["chart"].as_str().or(source["path"].as_str());
        let Some(part) = part else {
            // Only values come from there.
            if source["ref"].is_string() {
                continue;
            }
            return Err("the source has neither a chart nor a path".to_owned());
        };
        let url = source["repoURL"].as_str().unwrap_or_default();
        objects.extend(contents(state, url, part, &source["helm"].to_string())?);
    }
    Ok(objects)
}

/// What came of looking at an Application once.
struct Looked {
    is_synced: bool,
    health: &'static str,
    message: Option<String>,
    conditions: Vec<(&'static str, String)>,
    resources: Vec<Value>,
    phase: &'static str,
    said: String,
}

impl State {
    pub(super) fn argo(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        for (key, application) in cluster.all("argoproj.io", "Application") {
            if !object::is_going(&application) {
                self.sync(cluster, &key, &application, now, again);
            } else if object::finalizers(&application).any(|one| one.starts_with(FINALIZER)) {
                self.cascade(cluster, &key, &application, now, again);
            }
        }
    }

    /// Deletes what an Application made, and lets it go once that is gone.
    fn cascade(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        application: &Value,
        now: u64,
        again: &mut Again,
    ) {
        let mut left = false;
        for child in children(cluster, &key.name) {
            if cluster
                .api
                .get(&child)
                .is_some_and(|child| !object::is_going(child))
            {
                self.delete_object(cluster, &child, now);
            }
            left |= cluster.api.get(&child).is_some();
        }
        again.soon();
        if !left {
            let all: Vec<&str> = object::finalizers(application)
                .filter(|one| one.starts_with(FINALIZER))
                .collect();
            for one in all {
                cluster.remove_finalizer(key, one, now);
            }
        }
    }

    fn sync(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        application: &Arc<Value>,
        now: u64,
        again: &mut Again,
    ) {
        let spec = &application["spec"];
        let looked = match sources(self, spec) {
            Ok(wanted) => self.sync_all(cluster, key, application, &wanted, now),
            Err(why) => Looked {
                is_synced: false,
                health: "Missing",
                message: Some(why.clone()),
                conditions: vec![("ComparisonError", why.clone())],
                resources: Vec::new(),
                phase: "Error",
                said: why,
            },
        };
        if looked.health != "Healthy" && is_automated(spec) {
            again.soon();
        }
        let status = status(application, &looked, &cluster.text(now));
        cluster.set_status(MANAGER, key, status, now);
    }

    fn sync_all(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        application: &Value,
        wanted: &[Value],
        now: u64,
    ) -> Looked {
        let spec = &application["spec"];
        let policy = &spec["syncPolicy"];
        let heals = policy["automated"]["selfHeal"] == true;
        let generation = object::generation(application);
        let uid = object::uid(application).to_owned();
        let before = cluster.synced.get(&uid).copied();
        let namespace = spec["destination"]["namespace"].as_str().unwrap_or("default");
        let mut refused: Vec<Installed> = Vec::new();
        let automated = is_automated(spec);
        if automated && (heals || before != Some(generation)) {
            let mut options = policy["syncOptions"].as_array().into_iter().flatten();
            if options.any(|option| option == "CreateNamespace=true") {
                make_namespace(cluster, MANAGER, namespace, now);
            }
            let marks = |child: &Key| vec![(TRACKING.to_owned(), tracking(&key.name, child))];
            let installer = Installer {
                manager: MANAGER,
                namespace,
                marks: &marks,
            };
            let done = installer.install(cluster, wanted, now);
            refused = done.into_iter().filter(|one| one.result.is_err()).collect();
            if policy["automated"]["prune"] == true {
                let keep: Vec<Key> = wanted
                    .iter()
                    .map(|body| placed(cluster, body, namespace))
                    .collect();
                for child in children(cluster, &key.name) {
                    if !keep.contains(&child) {
                        self.delete_object(cluster, &child, now);
                    }
                }
            }
            if refused.is_empty() {
                cluster.synced.insert(uid, generation);
            }
        }
        let was_synced = before.is_some();
        let mut resources = Vec::new();
        let mut waits = None;
        for body in wanted {
            let child = placed(cluster, body, namespace);
            let why = cluster.unready(&child, now);
            let stands = cluster.api.get(&child).is_some();
            let health = match (&why, stands) {
                (None, _) => "Healthy",
                (Some(_), true) => "Progressing",
                (Some(_), false) => "Missing",
            };
            let version = body["apiVersion"].as_str().unwrap_or_default();
            resources.push(json!({
                "group": child.group, "version": version.rsplit('/').next(), "kind": child.kind, "namespace": child.namespace,
                "name": child.name, "status": if stands { "Synced" } else { "OutOfSync" }, "health": { "status": health },
            }));
            if let (None, Some(why)) = (&waits, why) {
                waits = Some(format!("{}: {why}", child.said()));
            }
        }
        let first = refused.first().map(|one| {
            let why = one.result.as_ref().err().cloned().unwrap_or_default();
            (format!("{}: {why}", one.key.said()), why)
        });
        let is_synced = first.is_none() && automated;
        let off = "it is OutOfSync, and automated sync is off".to_owned();
        let (health, message) = match (&first, &waits, is_synced || was_synced) {
            (Some((said, _)), _, _) => ("Missing", Some(said.clone())),
            (None, _, false) => ("Missing", Some(off)),
            (None, Some(waits), true) => ("Progressing", Some(waits.clone())),
            (None, None, true) => ("Healthy", None),
        };
        let (phase, said) = match &first {
            Some((said, _)) => (
                "Failed",
                format!("one or more objects failed to apply, reason: {said}"),
            ),
            None => ("Succeeded", "successfully synced (all tasks run)".to_owned()),
        };
        Looked {
            is_synced,
            health,
            message,
            conditions: first.map(|(said, _)| ("SyncError", said)).into_iter().collect(),
            resources,
            phase,
            said,
        }
    }
}

fn is_automated(spec: &Value) -> bool {
    let automated = &spec["syncPolicy"]["automated"];
    automated.is_object() && automated["enabled"] != false
}

/// The status of an Application. Moments stay as they are while nothing else changes.
fn status(application: &Value, looked: &Looked, now: &str) -> Value {
    let before = &application["status"];
    let mut health = json!({ "status": looked.health });
    if let Some(message) = &looked.message {
        health["message"] = message.as_str().into();
    }
    let conditions: Vec<Value> = looked
        .conditions
        .iter()
        .map(|(kind, message)| {
            let mut all = before["conditions"].as_array().into_iter().flatten();
            let old = all.find(|one| one["type"] == *kind && one["message"] == message.as_str());
            let since = old.map_or_else(|| json!(now), |old| old["lastTransitionTime"].clone());
            json!({ "type": kind, "message": message, "lastTransitionTime": since })
        })
        .collect();
    let mut status = json!({
        "sync": { "status": if looked.is_synced { "Synced" } else { "OutOfSync" } },
        "health": health,
        "resources": looked.resources,
    });
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    let old = &before["operationState"];
    let same = old["phase"] == looked.phase && old["message"] == looked.said.as_str();
    status["operationState"] = if same {
        old.clone()
    } else {
        json!({
            "phase": looked.phase, "message": looked.said, "startedAt": now, "finishedAt": now,
            "operation": { "sync": {} },
        })
    };
    let mut without = before.clone();
    if let Some(map) = without.as_object_mut() {
        map.remove("reconciledAt");
    }
    let unchanged = without == status && before["reconciledAt"].is_string();
    status["reconciledAt"] = if unchanged {
        before["reconciledAt"].clone()
    } else {
        json!(now)
    };
    status
}
