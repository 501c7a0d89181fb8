//! Argo CD: makes the objects of an Application's repository, makes them anew when they are gone and it is
//! told to, and deletes them with the Application when that has a finalizer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Again;
use crate::cluster::{Cluster, Key, Status};
use crate::world::State;

pub(crate) const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

impl State {
    pub(super) fn argo(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        debug_assert_eq!(cluster.status, Status::Active);
        let applications: Vec<Key> = cluster
            .objects
            .keys()
            .filter(|key| key.kind == "Application" && key.group == "argoproj.io")
            .cloned()
            .collect();
        for key in applications {
            let Some(application) = cluster.objects.get(&key) else {
                continue;
            };
            if application.deleting.is_some() {
                if application
                    .finalizers
                    .iter()
                    .any(|one| one.starts_with(FINALIZER))
                {
                    self.cascade(cluster, &key, now, again);
                }
                continue;
            }
            self.sync(cluster, &key, now, again);
        }
    }

    /// Deletes what an Application made, and lets it go once that is gone.
    fn cascade(&mut self, cluster: &mut Cluster, key: &Key, now: u64, again: &mut Again) {
        let children: Vec<Key> = cluster
            .objects
            .iter()
            .filter(|(_, object)| object.owner.as_ref() == Some(key))
            .map(|(key, _)| key.clone())
            .collect();
        for child in &children {
            if cluster
                .objects
                .get(child)
                .is_some_and(|child| child.deleting.is_none())
            {
                self.delete_object(cluster, child, now);
            }
        }
        again.soon();
        if children.iter().all(|child| !cluster.objects.contains_key(child))
            && let Some(application) = cluster.objects.get_mut(key)
        {
            application.finalizers.retain(|one| !one.starts_with(FINALIZER));
        }
    }

    fn sync(&mut self, cluster: &mut Cluster, key: &Key, now: u64, again: &mut Again) {
        let application = &cluster.objects[key];
        let spec = application.spec();
        let automated = &spec["syncPolicy"]["automated"];
        let generation = application.generation;
        let synced = application.status["synced"].as_u64();
        let is_automated = automated.is_object() && automated["enabled"] != false;
        let heals = is_automated && automated["selfHeal"] == true;
        let wanted = self.repository(spec);
        let namespace = spec["destination"]["namespace"]
            .as_str()
            .unwrap_or("default")
            .to_owned();
        let options = spec["syncPolicy"]["syncOptions"].as_array().into_iter().flatten();
        let makes_namespace = options.into_iter().any(|option| option == "CreateNamespace=true");
        let mut refused = None;
        if is_automated && (heals || synced != Some(generation)) {
            if makes_namespace {
                let body =
                    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
                let own = Key::of(&body);
                if !cluster.objects.contains_key(&own) {
                    cluster.put(&own, &Arc::new(body), false, None, self.seed, now);
                }
            }
            for body in &wanted {
                let child = placed(body, &namespace);
                let api_version = body["apiVersion"].as_str().unwrap_or_default();
                match cluster.refuses(&child, api_version, now) {
                    Some(refusal) => refused = Some(refusal.reason),
                    None => {
                        cluster.put(&child, body, false, Some(key.clone()), self.seed, now);
                    }
                }
            }
        }
        let waits = wanted
            .iter()
            .map(|body| placed(body, &namespace))
            .find_map(|child| {
                cluster
                    .unready(&child, now)
                    .map(|(why, _)| format!("{}: {why}", child.said()))
            });
        let is_synced = refused.is_none() && is_automated;
        let (health, message) = match (&refused, &waits, is_synced || synced.is_some()) {
            (Some(reason), _, _) => ("Missing", Some(reason.clone())),
            (None, _, false) => (
                "Missing",
                Some("it is OutOfSync, and automated sync is off".to_owned()),
            ),
            (None, Some(waits), true) => ("Progressing", Some(waits.clone())),
            (None, None, true) => ("Healthy", None),
        };
        if health != "Healthy" && is_automated {
            again.soon();
        }
        let Some(application) = cluster.objects.get_mut(key) else {
            return;
        };
        let synced = if is_synced { Some(generation) } else { synced };
        application.status = json!({
            "sync": { "status": if is_synced { "Synced" } else { "OutOfSync" } },
            "health": { "status": health },
            "synced": synced,
            "message": message,
        });
    }

    /// What an Application's source holds; nothing when the world was not told.
    fn repository(&self, spec: &Value) -> Vec<Arc<Value>> {
        let source = if spec["source"].is_object() {
            &spec["source"]
        } else {
            &spec["sources"][0]
        };
        let url = source["repoURL"].as_str().unwrap_or_default();
        let part = source["path"]
            .as_str()
            .or(source["chart"].as_str())
            .unwrap_or_default();
        let whole = format!("{}/{part}", url.trim_end_matches('/'));
        let found = self
            .repositories
            .get(&whole)
            .or_else(|| self.repositories.get(url));
        found.cloned().unwrap_or_default()
    }
}

/// Where an object of a repository goes.
fn placed(body: &Value, namespace: &str) -> Key {
    let mut key = Key::of(body);
    if body["metadata"]["namespace"].is_null() && !key.namespace.is_empty() {
        namespace.clone_into(&mut key.namespace);
    }
    key
}
