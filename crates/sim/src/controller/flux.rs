//! Flux: sources that can be read, charts installed by HelmReleases, folders applied by Kustomizations.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::Again;
use super::install::{Installer, contents, make_namespace, marked};
use crate::cluster::{Cluster, object};
use crate::world::State;

const FINALIZER: &str = "finalizers.fluxcd.io";
const SOURCES: &str = "source.toolkit.fluxcd.io";
/// By which a Kustomization knows its objects.
const OWNER: &str = "kustomize.toolkit.fluxcd.io/owner";

/// The conditions of something Flux looks after.
fn said(object: &Value, result: &Result<String, String>, now: &str) -> Value {
    let (holds, reason, message) = match result {
        Ok(message) => (true, "ReconciliationSucceeded", message),
        Err(message) => (false, "ReconciliationFailed", message),
    };
    let mut ready = object::put_condition(object, "Ready", holds, reason, message, now);
    ready["observedGeneration"] = json!(object::generation(object));
    json!({ "observedGeneration": object::generation(object), "conditions": [ready] })
}

/// Where a source comes from.
fn url_of(cluster: &Cluster, reference: &Value, namespace: &str) -> Result<String, String> {
    let kind = reference["kind"].as_str().unwrap_or_default();
    let name = reference["name"].as_str().unwrap_or_default();
    let namespace = reference["namespace"].as_str().unwrap_or(namespace);
    let key = object::key("source.toolkit.fluxcd.io/v1", kind, namespace, name);
    let source = cluster
        .api
        .get(&key)
        .ok_or_else(|| format!("{kind}.source.toolkit.fluxcd.io \"{name}\" not found"))?;
    if !object::is_true(source, "Ready") {
        return Err(format!("{kind}/{name} is not ready"));
    }
    Ok(source["spec"]["url"].as_str().unwrap_or_default().to_owned())
}

impl State {
    pub(super) fn flux(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        let text = cluster.text(now);
        if cluster.runs("source-controller").is_some() {
            for kind in ["GitRepository", "HelmRepository", "OCIRepository"] {
                for (key, source) in cluster.all(SOURCES, kind) {
                    let message = "stored artifact".to_owned();
                    let status = said(&source, &Ok(message), &text);
                    cluster.set_status("source-controller", &key, status, now);
                }
            }
        }
        if cluster.runs("helm-controller").is_some() {
            for (key, release) in cluster.all("helm.toolkit.fluxcd.io", "HelmRelease") {
                self.helm_release(cluster, &key, &release, now, again);
            }
        }
        if cluster.runs("kustomize-controller").is_some() {
            for (key, folder) in cluster.all("kustomize.toolkit.fluxcd.io", "Kustomization") {
                self.kustomization(cluster, &key, &folder, now, again);
            }
        }
    }

    fn helm_release(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        release: &Value,
        now: u64,
        again: &mut Again,
    ) {
        let spec = &release["spec"];
        let target = spec["targetNamespace"]
            .as_str()
            .unwrap_or(&key.namespace)
            .to_owned();
        let default = match spec["targetNamespace"].as_str() {
            Some(target) => format!("{target}-{}", key.name),
            None => key.name.clone(),
        };
        let name = spec["releaseName"].as_str().unwrap_or(&default).to_owned();
        if object::is_going(release) {
            if self.uninstall(cluster, &name, &target, now) {
                cluster.remove_finalizer(key, FINALIZER, now);
            }
            again.soon();
            return;
        }
        cluster.add_finalizer("helm-controller", key, FINALIZER, now);
        let result = self.install_release(cluster, key, spec, (&name, &target), now);
        if result.is_err() {
            again.soon();
        }
        let status = said(release, &result, &cluster.text(now));
        cluster.set_status("helm-controller", key, status, now);
    }

    fn install_release(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        spec: &Value,
        (name, target): (&str, &str),
        now: u64,
    ) -> Result<String, String> {
        let chart = &spec["chart"]["spec"];
        let (url, part) = if spec["chartRef"].is_object() {
            let whole = url_of(cluster, &spec["chartRef"], &key.namespace)?;
            let (url, part) = whole.rsplit_once('/').unwrap_or(("", &whole));
            (url.to_owned(), part.to_owned())
        } else {
            let url = url_of(cluster, &chart["sourceRef"], &key.namespace)?;
            (url, chart["chart"].as_str().unwrap_or_default().to_owned())
        };
        let bodies = contents(self, &url, &part, &spec["values"].to_string())?;
        if spec["install"]["createNamespace"] == true {
            make_namespace(cluster, "helm-controller", target, now);
        }
        let keys = super::helm::release(cluster, name, target, &bodies, now)?;
        let waits = keys.iter().find_map(|key| {
            cluster
                .unready(key, now)
                .map(|why| format!("{}: {why}", key.said()))
        });
        match waits {
            Some(why) => Err(format!("Helm install is in progress: {why}")),
            None => Ok(format!("Helm install succeeded for release {target}/{name}")),
        }
    }

    fn kustomization(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        folder: &Value,
        now: u64,
        again: &mut Again,
    ) {
        let owner = format!("{}/{}", key.namespace, key.name);
        let prunes = folder["spec"]["prune"] == true;
        if object::is_going(folder) {
            let mine = if prunes {
                marked(cluster, OWNER, |one| one == owner)
            } else {
                Vec::new()
            };
            for one in &mine {
                self.delete_object(cluster, one, now);
            }
            if mine.iter().all(|one| cluster.api.get(one).is_none()) {
                cluster.remove_finalizer(key, FINALIZER, now);
            }
            again.soon();
            return;
        }
        cluster.add_finalizer("kustomize-controller", key, FINALIZER, now);
        let result = self.apply_folder(cluster, key, &folder["spec"], &owner, now);
        if result.is_err() {
            again.soon();
        }
        let status = said(folder, &result, &cluster.text(now));
        cluster.set_status("kustomize-controller", key, status, now);
    }

    fn apply_folder(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        spec: &Value,
        owner: &str,
        now: u64,
    ) -> Result<String, String> {
        let url = url_of(cluster, &spec["sourceRef"], &key.namespace)?;
        let path = spec["path"].as_str().unwrap_or_default();
        let bodies = contents(self, &url, path, "")?;
        let marks = |_: &Key| vec![(OWNER.to_owned(), owner.to_owned())];
        let installer = Installer {
            manager: "kustomize-controller",
            namespace: spec["targetNamespace"].as_str().unwrap_or(&key.namespace),
            marks: &marks,
        };
        let done = installer.install(cluster, &bodies, now);
        for one in &done {
            if let Err(why) = &one.result {
                return Err(format!("{}: {why}", one.key.said()));
            }
        }
        if spec["prune"] == true {
            for one in marked(cluster, OWNER, |one| one == owner) {
                if !done.iter().any(|kept| kept.key == one) {
                    self.delete_object(cluster, &one, now);
                }
            }
        }
        let waits = done.iter().find_map(|one| {
            cluster
                .unready(&one.key, now)
                .map(|why| format!("{}: {why}", one.key.said()))
        });
        match waits {
            Some(why) if spec["wait"] == true => Err(format!("health check in progress: {why}")),
            _ => Ok("Applied revision: main".to_owned()),
        }
    }
}
