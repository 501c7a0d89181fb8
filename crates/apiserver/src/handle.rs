//! Requests: what an address means, and what is done there.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::access::Asked;
use crate::garbage::Propagation;
use crate::listing::{Form, Listed};
use crate::message::{Answer, Key, Request, Response};
use crate::patch;
use crate::selector::Selection;
use crate::served::Served;
use crate::server::{ApiServer, Outcome};
use crate::status::Status;
use crate::strategic;
use crate::watch::Watch;
use crate::write::{self, How, Unknown, Written};

mod special;

/// The query of a request, decoded.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn read(query: &str) -> Query {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        });
        Query(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }
}

/// Text without percent signs.
pub(crate) fn decoded(text: &str, plus_is_blank: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' if plus_is_blank => bytes.push(b' '),
            b'%' => {
                let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(byte) => {
                        bytes.push(byte);
                        rest = &after[2..];
                    }
                    None => bytes.push(b'%'),
                }
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An address below `/api/v1` or `/apis/<group>/<version>`.
pub(crate) struct Place {
    pub(crate) served: Arc<Served>,
    /// Empty for cluster-wide addresses.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// As in `status`; empty for the object itself.
    pub(crate) subresource: String,
}

impl Place {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.served.group, &self.served.kind, &self.namespace, &self.name)
    }
}

impl ApiServer {
    /// Answers a request, as a client sees it: permission, admission, and all that follows.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Response {
        if !self.pending.is_empty() {
            self.establish_due(now);
        }
        self.answer(request, now).unwrap_or_else(Response::from)
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Result<Response, Status> {
        let query = Query::read(&request.query);
        let path: Vec<String> = request
            .path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decoded(part, false))
            .collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(answer) = self.about_itself(request, &path) {
            return answer;
        }
        let (group, version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Status::no_such_page()),
        };
        if let Some(answer) = self.review(request, group, rest) {
            return answer;
        }
        let place = self.place(group, version, rest)?;
        self.may(request.user.as_deref(), &asked(request, &query, &place))?;
        if let Some(custom) = &place.served.custom
            && !custom.convertible
        {
            return Err(Status::lacking(&format!(
                "conversion by webhook: {} is kept as {}",
                place.served.api_version(),
                custom.storage
            )));
        }
        let mut response = self.at(request, &query, &place, now)?;
        if let Some(custom) = &place.served.custom {
            response.warnings.extend(custom.deprecated.clone());
        }
        Ok(response)
    }

    /// What an address below a group and version means.
    fn place(&self, group: &str, version: &str, rest: &[&str]) -> Result<Place, Status> {
        let (namespace, rest) = match rest {
            // `namespaces/x/status` is about the namespace, `namespaces/x/pods` about what is in it.
            ["namespaces", namespace, inner, more @ ..]
                if !(group.is_empty() && matches!(*inner, "status" | "finalize") && more.is_empty()) =>
            {
                (*namespace, &rest[2..])
            }
            _ => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return Err(Status::no_such_page()),
        };
        if plural == "watch" {
            return Err(Status::lacking("the old watch addresses: use ?watch=true"));
        }
        let served = self
            .registry
            .by_plural(group, version, plural)
            .cloned()
            .ok_or_else(Status::no_such_page)?;
        if served.namespaced && namespace.is_empty() && !name.is_empty()
            || !served.namespaced && !namespace.is_empty()
        {
            return Err(Status::no_such_page());
        }
        Ok(Place {
            served,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    fn at(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        match place.subresource.as_str() {
            "" => {}
            "status" if place.served.status => {}
            "scale" if place.served.scale => return self.scale(request, query, place, now),
            _ => return self.special(request, query, place, now),
        }
        match (request.method.as_str(), place.name.is_empty()) {
            ("GET", true) => self.get_many(request, query, place, now),
            ("GET", false) if query.is_true("watch") => self.get_many(request, query, place, now),
            ("GET", false) => self.get_one(request, query, place, now),
            ("POST", true) => self.post(request, query, place, now),
            ("PUT", false) => self.put(request, query, place, now),
            ("PATCH", false) => self.patch(request, query, place, now),
            ("DELETE", false) if place.subresource.is_empty() => self.delete_one(request, query, place, now),
            ("DELETE", true) => self.delete_many(request, query, place, now),
            _ => Err(Status::not_allowed()),
        }
    }

    fn get_one(
        &self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let object = self.standing(place)?;
        Ok(shown(request, query, &place.served, 200, &object, now))
    }

    fn get_many(
        &self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let listed = listed(request, query, place)?;
        if query.is_true("watch") {
            return Ok(Response {
                status: 200,
                content_type: content_type(listed.form).to_owned(),
                body: Answer::Watch(Box::new(Watch::begin(self, listed, now))),
                warnings: Vec::new(),
            });
        }
        let list = self.list(&listed, now)?;
        let mut response = Response::json(200, &list);
        content_type(listed.form).clone_into(&mut response.content_type);
        Ok(response)
    }

    fn post(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let object = body(request)?;
        let object = of_this_kind(&place.served, object)?;
        if place.served.namespaced && place.namespace.is_empty() {
            return Err(Status::not_allowed());
        }
        let how = how(query, place)?;
        let written = self.accept_new(&place.served, &place.namespace, object, &how, now)?;
        Ok(done(request, query, place, written, now))
    }

    /// The object that a request is about.
    fn standing(&self, place: &Place) -> Result<Arc<Value>, Status> {
        let object = self.store.get(&place.key()).cloned();
        object.ok_or_else(|| Status::not_found(&place.served, &place.name))
    }

    fn put(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let mut object = of_this_kind(&place.served, body(request)?)?;
        let key = place.key();
        write::address(&place.served, &key, &mut object)?;
        let how = how(query, place)?;
        let written = self.accept_change(&place.served, &key, object, &how, now)?;
        Ok(done(request, query, place, written, now))
    }

    fn patch(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let how = how(query, place)?;
        let key = place.key();
        let sort = request.content_type.split(';').next().unwrap_or_default().trim();
        if matches!(sort, "application/apply-patch+yaml" | "application/apply-patch") {
            if query.get("fieldManager").is_empty() {
                return Err(Status::bad_request(
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required \
                     for apply patch",
                ));
            }
            let config = of_this_kind(&place.served, special::yaml_or_json(&request.body)?)?;
            let force = query.is_true("force");
            let written = self.accept_apply(&place.served, &key, config, force, &how, now)?;
            return Ok(done(request, query, place, written, now));
        }
        let before = self.standing(place)?;
        let change = body(request)?;
        let mut object = (*before).clone();
        match sort {
            "application/merge-patch+json" => patch::merge(&mut object, &change),
            "application/json-patch+json" => patch::json(&mut object, &change)?,
            "application/strategic-merge-patch+json" if place.served.custom.is_none() => {
                strategic::merge(&mut object, &change, place.served.schema())?;
            }
            other => {
                return Err(Status::new(
                    415,
                    "UnsupportedMediaType",
                    format!(
                        "the body of the request was in an unknown format - accepted media types include: \
                         application/json-patch+json, application/merge-patch+json, \
                         application/apply-patch+yaml (got {other:?})"
                    ),
                ));
            }
        }
        let object = of_this_kind(&place.served, object)?;
        let written = self.accept_change(&place.served, &key, object, &how, now)?;
        Ok(done(request, query, place, written, now))
    }

    fn delete_one(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let key = place.key();
        let object = self.standing(place)?;
        let options = body_or_nothing(request)?;
        for (field, message) in [
            ("uid", "UID in precondition"),
            ("resourceVersion", "ResourceVersion in precondition"),
        ] {
            let wanted = options.pointer(&format!("/preconditions/{field}"));
            let found = object.pointer(&format!("/metadata/{field}"));
            if let Some(wanted) = wanted.filter(|wanted| Some(*wanted) != found) {
                let why = format!("Precondition failed: {message}: {wanted}, in object meta: {found:?}");
                return Err(Status::conflict(&place.served, &place.name, &why));
            }
        }
        if place.served.is("", "Namespace")
            && matches!(place.name.as_str(), "default" | "kube-system" | "kube-public")
        {
            return Err(Status::forbidden(
                &place.served,
                &place.name,
                "this namespace may not be deleted",
            ));
        }
        let how = how_deleting(query, &options);
        let propagation = propagation(query, &options, &place.served)?;
        self.ask_webhooks("DELETE", &place.served, &key, &object, Some(&object), &how)?;
        if how.dry_run {
            return Ok(shown(request, query, &place.served, 200, &object, now));
        }
        self.begin_deletion(&key, Some(propagation), now);
        match self.store.get(&key) {
            Some(object) => Ok(shown(request, query, &place.served, 200, object, now)),
            None => Ok(Response::json(
                200,
                &json!({
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Success",
                    "details": {
                        "name": place.name,
                        "group": place.served.group,
                        "kind": place.served.plural,
                        "uid": object.pointer("/metadata/uid"),
                    },
                }),
            )),
        }
    }

    fn delete_many(
        &mut self,
        request: &Request,
        query: &Query,
        place: &Place,
        now: Timestamp,
    ) -> Result<Response, Status> {
        let listed = listed(request, query, place)?;
        let options = body_or_nothing(request)?;
        let how = how_deleting(query, &options);
        let propagation = propagation(query, &options, &place.served)?;
        let found: Vec<(Key, Arc<Value>)> = self
            .selected(&place.served, &place.namespace, &listed.selection)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        for (key, object) in &found {
            self.ask_webhooks("DELETE", &place.served, key, object, Some(object), &how)?;
            if !how.dry_run {
                self.begin_deletion(key, Some(propagation), now);
            }
        }
        let items: Vec<&Value> = found.iter().map(|(_, object)| &**object).collect();
        Ok(Response::json(
            200,
            &json!({
                "kind": format!("{}List", place.served.kind),
                "apiVersion": place.served.api_version(),
                "metadata": { "resourceVersion": self.revision().to_string() },
                "items": items,
            }),
        ))
    }
}

/// What a request asks permission for.
fn asked<'a>(request: &Request, query: &Query, place: &'a Place) -> Asked<'a> {
    let one = !place.name.is_empty();
    let verb = match request.method.as_str() {
        "GET" if query.is_true("watch") => "watch",
        "GET" if one => "get",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if one => "delete",
        _ => "deletecollection",
    };
    Asked {
        verb,
        group: &place.served.group,
        resource: &place.served.plural,
        subresource: &place.subresource,
        namespace: &place.namespace,
        name: &place.name,
    }
}

fn listed(request: &Request, query: &Query, place: &Place) -> Result<Listed, Status> {
    let named = format!("metadata.name={}", place.name);
    let fields = if place.name.is_empty() || !query.is_true("watch") {
        query.get("fieldSelector")
    } else {
        &named
    };
    let seconds: Option<i64> = query.get("timeoutSeconds").parse().ok();
    let initial = query.get("sendInitialEvents");
    Ok(Listed {
        served: place.served.clone(),
        namespace: place.namespace.clone(),
        selection: Selection::read(query.get("labelSelector"), fields, &place.served)?,
        form: Form::asked(&request.accept, query.get("includeObject")),
        limit: query.get("limit").parse().unwrap_or(0),
        from: query.get("continue").to_owned(),
        revision: query.get("resourceVersion").to_owned(),
        timeout: seconds.map(SignedDuration::from_secs),
        bookmarks: query.is_true("allowWatchBookmarks"),
        send_initial: query.is_true("sendInitialEvents"),
        send_initial_or_default: initial != "false",
        has_selectors: !query.get("labelSelector").is_empty() || !fields.is_empty(),
    })
}

fn content_type(form: Form) -> &'static str {
    match form {
        Form::Whole => "application/json",
        Form::Partial => "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        Form::Table(_) => "application/json;as=Table;v=v1;g=meta.k8s.io",
    }
}

/// An object in the form a client asked for.
pub(crate) fn shown(
    request: &Request,
    query: &Query,
    served: &Served,
    status: u16,
    object: &Value,
    now: Timestamp,
) -> Response {
    let form = Form::asked(&request.accept, query.get("includeObject"));
    let mut response = Response::json(status, &form.one(served, object, true, now));
    content_type(form).clone_into(&mut response.content_type);
    response
}

fn done(request: &Request, query: &Query, place: &Place, written: Written, now: Timestamp) -> Response {
    let status = if written.outcome == Outcome::Created {
        201
    } else {
        200
    };
    let mut response = shown(request, query, &place.served, status, &written.object, now);
    response.warnings = written.warnings;
    response
}

/// The body of a request, which must be JSON or YAML.
pub(crate) fn body(request: &Request) -> Result<Value, Status> {
    if request.content_type.contains("protobuf") || request.content_type.contains("cbor") {
        return Err(Status::new(
            415,
            "UnsupportedMediaType",
            format!(
                "this server does not support bodies in {}; write the object to a file and send that",
                request.content_type
            ),
        ));
    }
    if request.content_type.contains("yaml") {
        return special::yaml_or_json(&request.body);
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Status::bad_request(format!("couldn't get version/kind; json parse error: {error}")))
}

fn body_or_nothing(request: &Request) -> Result<Value, Status> {
    if request.body.is_empty() {
        Ok(Value::Null)
    } else {
        body(request)
    }
}

/// Refuses an object of another kind than the address is for.
fn of_this_kind(served: &Served, mut object: Value) -> Result<Value, Status> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let wanted = served.api_version();
    let stored = crate::served::api_version(&served.group, served.storage());
    let fits = (version.is_empty() || version == wanted || version == stored)
        && (kind.is_empty() || kind == served.kind);
    if !fits {
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: the API version in the data ({version}) \
             or the kind ({kind}) does not match what the address is for ({wanted} {})",
            served.kind, served.kind
        )));
    }
    if object.is_object() {
        object["apiVersion"] = wanted.into();
        object["kind"] = served.kind.clone().into();
    }
    Ok(object)
}

fn how<'a>(query: &'a Query, place: &'a Place) -> Result<How<'a>, Status> {
    let unknown = match query.get("fieldValidation") {
        "Strict" => Unknown::Refuse,
        "Ignore" => Unknown::Ignore,
        "" | "Warn" => Unknown::Warn,
        other => {
            return Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            )));
        }
    };
    let manager = match query.get("fieldManager") {
        "" => "unknown",
        manager => manager,
    };
    Ok(How {
        manager,
        subresource: &place.subresource,
        dry_run: query.get("dryRun") == "All",
        unknown,
        admission: true,
    })
}

fn how_deleting<'a>(query: &Query, options: &Value) -> How<'a> {
    let in_body = options
        .get("dryRun")
        .and_then(Value::as_array)
        .is_some_and(|it| !it.is_empty());
    How {
        dry_run: query.get("dryRun") == "All" || in_body,
        admission: true,
        ..How::by("unknown")
    }
}

fn propagation(query: &Query, options: &Value, served: &Served) -> Result<Propagation, Status> {
    let said = match options.get("propagationPolicy").and_then(Value::as_str) {
        Some(said) => said.to_owned(),
        None => query.get("propagationPolicy").to_owned(),
    };
    let orphan = options.get("orphanDependents").and_then(Value::as_bool);
    match (said.as_str(), orphan) {
        ("Background", _) => Ok(Propagation::Background),
        ("Foreground", _) => Ok(Propagation::Foreground),
        ("Orphan", _) | ("", Some(true)) => Ok(Propagation::Orphan),
        // Jobs of old times left their pods behind, and the default was never changed.
        ("", None) if served.is("batch", "Job") => Ok(Propagation::Orphan),
        ("", _) => Ok(Propagation::Background),
        (other, _) => Err(Status::bad_request(format!(
            "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
        ))),
    }
}
