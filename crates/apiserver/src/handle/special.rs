//! Subresources that are not a half of their object: scale, logs, eviction, binding, finalize.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::handle::{Place, Query, body, done, how, shown};
use crate::message::{Request, Response};
use crate::selector::label_selector_fits;
use crate::server::ApiServer;
use crate::status::Status;
use crate::write::How;
use crate::{patch, strategic};

/// Reads a body that may be written in YAML, of which JSON is a part.
pub(crate) fn yaml_or_json(body: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Status::bad_request(format!("the body is not text: {error}")))?;
    serde_saphyr::from_str(text).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}

impl ApiServer {
    pub(crate) fn special(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let plural = place.served.plural.as_str();
        let in_core = place.served.group.is_empty();
        match (plural, place.subresource.as_str(), request.method.as_str()) {
            ("pods", "log", "GET") if in_core => self.log(query, place),
            ("pods", "eviction", "POST") if in_core => self.evict(request, query, place, now),
            ("pods", "binding", "POST") if in_core => self.bind(request, place, now),
            ("namespaces", "finalize", "PUT") if in_core => self.finalize(request, query, place, now),
            ("pods", feature @ ("exec" | "attach" | "portforward" | "proxy" | "ephemeralcontainers"), _)
            | ("services" | "nodes", feature @ "proxy", _)
            | ("serviceaccounts", feature @ "token", _)
                if in_core =>
            {
                Err(Status::lacking(&format!("{plural}/{feature}")))
            }
            _ => Err(Status::no_such_page()),
        }
    }

    fn log(&self, query: &Query, place: &Place) -> Result<Response, Status> {
        let key = place.key();
        let pod = self.standing(place)?;
        let containers: Vec<&str> = ["/spec/containers", "/spec/initContainers"]
            .iter()
            .filter_map(|list| pod.pointer(list)?.as_array())
            .flatten()
            .filter_map(|container| container.get("name")?.as_str())
            .collect();
        let wanted = query.get("container");
        if !wanted.is_empty() && !containers.contains(&wanted) {
            return Err(Status::bad_request(format!(
                "container {wanted} is not valid for pod {}",
                place.name
            )));
        }
        let Some(log) = self.logs.get(&key) else {
            let container = if wanted.is_empty() {
                containers.first().copied().unwrap_or_default()
            } else {
                wanted
            };
            return Err(Status::bad_request(format!(
                "container \"{container}\" in pod \"{}\" is waiting to start: no log yet",
                place.name
            )));
        };
        let lines: Vec<&str> = log.lines().collect();
        let kept = query
            .get("tailLines")
            .parse::<usize>()
            .map_or(lines.len(), |tail| tail.min(lines.len()));
        let mut text = lines[lines.len() - kept..].join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        Ok(Response::text(&text))
    }

    /// Deletes a pod unless a disruption budget has nothing left to give.
    fn evict(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let key = place.key();
        let pod = self.standing(place)?;
        let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_default();
        let budget = self
            .store
            .of_kind("policy", "PodDisruptionBudget")
            .find(|(budget, object)| {
                let selector = object.pointer("/spec/selector");
                let left = object
                    .pointer("/status/disruptionsAllowed")
                    .and_then(Value::as_i64);
                budget.namespace == key.namespace
                    && selector.is_some_and(|selector| label_selector_fits(selector, &labels))
                    && left.unwrap_or(0) <= 0
            });
        if let Some((budget, _)) = budget {
            let mut refusal = Status::new(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
            );
            *refusal.details = json!({ "causes": [{
                "reason": "DisruptionBudget",
                "message": format!("The disruption budget {} needs more healthy pods", budget.name),
            }] });
            return Err(refusal);
        }
        let dry_run = query.get("dryRun") == "All"
            || body(request)?
                .pointer("/deleteOptions/dryRun")
                .and_then(Value::as_array)
                .is_some_and(|it| !it.is_empty());
        if !dry_run {
            self.begin_deletion(&key, None, now);
        }
        let said = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
        Ok(Response::json(201, &said))
    }

    fn bind(&mut self, request: &Request, place: &Place, now: Timestamp) -> Result<Response, Status> {
        let node = body(request)?
            .pointer("/target/name")
            .cloned()
            .unwrap_or_default();
        let key = place.key();
        self.update("kube-scheduler", &key, now, |pod| pod["spec"]["nodeName"] = node)?;
        let said = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
        Ok(Response::json(201, &said))
    }

    /// What is left of a namespace's own finalizers is what the client says.
    fn finalize(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let key = place.key();
        let left = body(request)?.pointer("/spec/finalizers").cloned();
        let before = self.standing(place)?;
        let mut object = (*before).clone();
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            match left {
                Some(left) if left.as_array().is_some_and(|it| !it.is_empty()) => {
                    spec.insert("finalizers".to_owned(), left);
                }
                _ => {
                    spec.remove("finalizers");
                }
            }
        }
        let object = self.store.put(key.clone(), object);
        self.finish_deletion(&key, now);
        Ok(shown(request, query, &place.served, 200, &object, now))
    }

    /// The number of replicas, in the one form all kinds that scale have.
    pub(crate) fn scale(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let key = place.key();
        let object = self.standing(place)?;
        let custom = place.served.custom.as_ref();
        let wanted_at = custom.map_or("/spec/replicas", |custom| &custom.spec_replicas);
        let found_at = custom.map_or("/status/replicas", |custom| &custom.status_replicas);
        let mut scale = scale_of(&object, wanted_at, found_at);
        match request.method.as_str() {
            "GET" => return Ok(Response::json(200, &scale)),
            "PUT" => scale = body(request)?,
            "PATCH" => {
                let change = body(request)?;
                let sort = request.content_type.split(';').next().unwrap_or_default().trim();
                match sort {
                    "application/json-patch+json" => patch::json(&mut scale, &change)?,
                    "application/strategic-merge-patch+json" => {
                        strategic::merge(&mut scale, &change, place.served.schema())?;
                    }
                    "application/merge-patch+json" => patch::merge(&mut scale, &change),
                    _ => return Err(Status::lacking("server-side apply of a scale")),
                }
            }
            _ => return Err(Status::not_allowed()),
        }
        let replicas = scale
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let revision = scale.pointer("/metadata/resourceVersion").cloned();
        let mut changed = (*object).clone();
        // The parents of both paths stand in every object that scales.
        if let Some((above, last)) = wanted_at.rsplit_once('/')
            && let Some(parent) = changed.pointer_mut(above)
        {
            parent[last] = replicas.into();
        }
        if let Some(revision) = revision {
            changed["metadata"]["resourceVersion"] = revision;
        }
        let given = how(query, place)?;
        let how = How {
            subresource: "",
            ..given
        };
        let written = self.accept_change(&place.served, &key, changed, &how, now)?;
        if how.dry_run {
            return Ok(done(request, query, place, written, now));
        }
        Ok(Response::json(
            200,
            &scale_of(&written.object, wanted_at, found_at),
        ))
    }
}

fn scale_of(object: &Value, wanted_at: &str, found_at: &str) -> Value {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata[field] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": { "replicas": number(wanted_at) },
        "status": { "replicas": number(found_at) },
    });
    let labels = object
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    if let Some(labels) = labels {
        let pairs: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        scale["status"]["selector"] = pairs.join(",").into();
    }
    scale
}
