//! How a write becomes an object: shaped by its schema, judged, noted in managed fields, kept.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::admission::{self, Attempt};
use crate::defaults;
use crate::immutable;
use crate::managed::{self, Writer};
use crate::message::Key;
use crate::served::Served;
use crate::server::{ApiServer, Outcome, key_of};
use crate::status::{Cause, Status};
use crate::structural;
use crate::validate;

/// What becomes of fields the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They go without a word.
    #[default]
    Ignore,
    /// They go, and the client is told.
    Warn,
    /// The write is refused.
    Refuse,
}

/// How something is written.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) dry_run: bool,
    pub(crate) unknown: Unknown,
    /// Whether webhooks are asked.
    pub(crate) admission: bool,
}

impl<'a> How<'a> {
    /// As controllers write: past the webhooks, and for real.
    pub(crate) fn by(manager: &'a str) -> How<'a> {
        How {
            manager,
            subresource: "",
            dry_run: false,
            unknown: Unknown::Ignore,
            admission: false,
        }
    }

    fn writer(&self, now: Timestamp) -> Writer<'a> {
        Writer {
            manager: self.manager,
            subresource: self.subresource,
            now,
        }
    }
}

/// What came of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Value>,
    pub(crate) outcome: Outcome,
    pub(crate) warnings: Vec<String>,
}

impl ApiServer {
    /// Makes an object.
    pub(crate) fn accept_new(
        &mut self,
        served: &Arc<Served>,
        namespace: &str,
        mut object: Value,
        how: &How<'_>,
        now: Timestamp,
    ) -> Result<Written, Status> {
        self.name_it(served, namespace, &mut object)?;
        let key = key_of(served, &object);
        self.namespace_takes(served, &key)?;
        if self.store.get(&key).is_some() {
            return Err(Status::already_exists(served, &key.name));
        }
        if object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .is_some_and(|it| !it.is_empty())
        {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.make(served, key, object, how, now, false)
    }

    /// Makes an object that nothing is in the way of. `applied` ones bring their managed fields along.
    fn make(
        &mut self,
        served: &Arc<Served>,
        key: Key,
        mut object: Value,
        how: &How<'_>,
        now: Timestamp,
        applied: bool,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        if served.status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        shape(served, &mut object, how.unknown, &mut warnings)?;
        if served.custom.is_none()
            && let Some(status) = defaults::first_status(&served.group, &served.kind)
        {
            object["status"] = status;
        }
        self.server_made(served, &key, &mut object, now);
        if served.is("", "Service") {
            defaults::allocate(&mut object, None, &self.store);
        }
        judge(served, None, &object)?;
        if !applied {
            managed::updated(None, &mut object, served, how.writer(now));
        }
        self.ask_webhooks("CREATE", served, &key, &object, None, how)?;
        if how.dry_run {
            return Ok(Written {
                object: Arc::new(object),
                outcome: Outcome::Created,
                warnings,
            });
        }
        let object = self.store.put(key.clone(), object);
        self.after_write(&key, now);
        Ok(Written {
            object: self.store.get(&key).cloned().unwrap_or(object),
            outcome: Outcome::Created,
            warnings,
        })
    }

    /// Replaces an object, or the half of it that a subresource leads to.
    pub(crate) fn accept_change(
        &mut self,
        served: &Arc<Served>,
        key: &Key,
        mut object: Value,
        how: &How<'_>,
        now: Timestamp,
    ) -> Result<Written, Status> {
        let before = self
            .store
            .get(key)
            .cloned()
            .ok_or_else(|| Status::not_found(served, &key.name))?;
        fresh_enough(served, key, &before, &object)?;
        let mut warnings = Vec::new();
        shape(served, &mut object, how.unknown, &mut warnings)?;
        keep_the_servers(served, &before, &mut object, how.subresource)?;
        if served.is("", "Service") && how.subresource.is_empty() {
            defaults::allocate(&mut object, Some(&before), &self.store);
        }
        judge(served, Some(&before), &object)?;
        managed::updated(Some(&before), &mut object, served, how.writer(now));
        self.keep_change(served, key, &before, object, how, now, warnings)
    }

    /// Applies a configuration server-side: makes the object, or merges into it.
    pub(crate) fn accept_apply(
        &mut self,
        served: &Arc<Served>,
        key: &Key,
        mut config: Value,
        force: bool,
        how: &How<'_>,
        now: Timestamp,
    ) -> Result<Written, Status> {
        if config
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .is_some_and(|entries| !entries.is_empty())
        {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        address(served, key, &mut config)?;
        let mut warnings = Vec::new();
        shape_config(served, &mut config, how.unknown, &mut warnings)?;
        let before = self.store.get(key).cloned();
        let Some(before) = before else {
            if !how.subresource.is_empty() {
                return Err(Status::not_found(served, &key.name));
            }
            self.namespace_takes(served, key)?;
            if config.pointer("/metadata/uid").is_some() {
                return Err(Status::conflict(
                    served,
                    &key.name,
                    "uid mismatch: the provided object specified a uid and no existing object was found",
                ));
            }
            if served.status
                && let Some(fields) = config.as_object_mut()
            {
                fields.remove("status");
            }
            let object = managed::applied(None, &config, served, how.writer(now), force)?;
            let mut written = self.make(served, key.clone(), object, how, now, true)?;
            warnings.append(&mut written.warnings);
            return Ok(Written { warnings, ..written });
        };
        fresh_enough(served, key, &before, &config)?;
        let mut object = managed::applied(Some(&before), &config, served, how.writer(now), force)?;
        shape(served, &mut object, Unknown::Ignore, &mut Vec::new())?;
        let managers = object.pointer("/metadata/managedFields").cloned();
        keep_the_servers(served, &before, &mut object, how.subresource)?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            match managers {
                Some(managers) => metadata.insert("managedFields".to_owned(), managers),
                None => metadata.remove("managedFields"),
            };
        }
        if served.is("", "Service") && how.subresource.is_empty() {
            defaults::allocate(&mut object, Some(&before), &self.store);
        }
        judge(served, Some(&before), &object)?;
        self.keep_change(served, key, &before, object, how, now, warnings)
    }

    /// The end of every change: webhooks, generation, and keeping it unless nothing changed.
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where all of a change comes together"
    )]
    fn keep_change(
        &mut self,
        served: &Arc<Served>,
        key: &Key,
        before: &Arc<Value>,
        mut object: Value,
        how: &How<'_>,
        now: Timestamp,
        warnings: Vec<String>,
    ) -> Result<Written, Status> {
        if counts_generations(served) && spec_differs(served, before, &object) {
            let generation = before
                .pointer("/metadata/generation")
                .and_then(Value::as_u64)
                .unwrap_or(1);
            object["metadata"]["generation"] = (generation + 1).into();
        }
        self.ask_webhooks("UPDATE", served, key, &object, Some(before), how)?;
        if managed::same_but_times(before, &object) {
            return Ok(Written {
                object: before.clone(),
                outcome: Outcome::Same,
                warnings,
            });
        }
        if how.dry_run {
            return Ok(Written {
                object: Arc::new(object),
                outcome: Outcome::Changed,
                warnings,
            });
        }
        let object = self.store.put(key.clone(), object);
        self.finish_deletion(key, now);
        self.after_write(key, now);
        Ok(Written {
            object: self.store.get(key).cloned().unwrap_or(object),
            outcome: Outcome::Changed,
            warnings,
        })
    }

    /// Gives an object its name and namespace, or says why it cannot have them.
    fn name_it(&mut self, served: &Served, namespace: &str, object: &mut Value) -> Result<(), Status> {
        let metadata = metadata_of(object)?;
        let text = |metadata: &Map<String, Value>, field: &str| {
            metadata
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let said = text(metadata, "namespace");
        if served.namespaced {
            if !said.is_empty() && said != namespace {
                return Err(other_namespace());
            }
            metadata.insert("namespace".to_owned(), namespace.into());
        } else {
            metadata.remove("namespace");
        }
        let mut name = text(metadata, "name");
        if name.is_empty() {
            let beginning = text(metadata, "generateName");
            if beginning.is_empty() {
                let cause = Cause {
                    message: "Required value: name or generateName is required".to_owned(),
                    ..Cause::required("metadata.name")
                };
                return Err(Status::invalid(served, "", &[cause]));
            }
            name = format!("{beginning}{}", self.next_suffix());
            metadata_of(object)?.insert("name".to_owned(), name.into());
        }
        Ok(())
    }

    /// Whether the namespace of an object is there and stays.
    fn namespace_takes(&self, served: &Served, key: &Key) -> Result<(), Status> {
        if !served.namespaced {
            return Ok(());
        }
        let namespace = self.store.get(&Key::new("", "Namespace", "", &key.namespace));
        let Some(namespace) = namespace else {
            let kind = self.stored_kind(&Key::new("", "Namespace", "", ""))?;
            return Err(Status::not_found(&kind, &key.namespace));
        };
        if namespace.pointer("/metadata/deletionTimestamp").is_none() {
            return Ok(());
        }
        let mut refusal = Status::forbidden(
            served,
            &key.name,
            &format!(
                "unable to create new content in namespace {} because it is being terminated",
                key.namespace
            ),
        );
        refusal.details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {} is being terminated", key.namespace),
            "field": "metadata.namespace",
        }]);
        Err(refusal)
    }

    /// What the server itself writes into a new object.
    fn server_made(&mut self, served: &Served, key: &Key, object: &mut Value, now: Timestamp) {
        let uid = self.next_uid();
        if served.is("batch", "Job") {
            claim_pods(object, &uid, &key.name);
        }
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        for theirs in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
        ] {
            metadata.remove(theirs);
        }
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), managed::seconds(now).into());
        if counts_generations(served) {
            metadata.insert("generation".to_owned(), 1.into());
        } else {
            metadata.remove("generation");
        }
        let guard = match (key.group.as_str(), key.kind.as_str()) {
            ("", "PersistentVolumeClaim") => "kubernetes.io/pvc-protection",
            ("", "PersistentVolume") => "kubernetes.io/pv-protection",
            ("apiextensions.k8s.io", "CustomResourceDefinition") => crate::crd::CLEANUP,
            _ => return,
        };
        let finalizers = metadata
            .entry("finalizers")
            .or_insert_with(|| json!([]))
            .as_array_mut();
        if let Some(finalizers) = finalizers
            && !finalizers.contains(&guard.into())
        {
            finalizers.push(guard.into());
        }
    }

    pub(crate) fn ask_webhooks(
        &mut self,
        operation: &'static str,
        served: &Served,
        key: &Key,
        object: &Value,
        before: Option<&Value>,
        how: &How<'_>,
    ) -> Result<(), Status> {
        if !how.admission {
            return Ok(());
        }
        let attempt = Attempt {
            operation,
            served,
            subresource: how.subresource,
            namespace: &key.namespace,
            object,
            before,
            dry_run: how.dry_run,
        };
        admission::review(&self.store, self.hooks.as_mut(), &attempt)
    }
}

/// A Job that chooses its own pods gets a selector nobody else has.
fn claim_pods(job: &mut Value, uid: &str, name: &str) {
    if job.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) || job.get("spec").is_none() {
        return;
    }
    if job.pointer("/spec/selector").is_none() {
        job["spec"]["selector"] = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
    }
    let Some(template) = job.pointer_mut("/spec/template").and_then(Value::as_object_mut) else {
        return;
    };
    let labels = template
        .entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .map(|metadata| metadata.entry("labels").or_insert_with(|| json!({})));
    if let Some(Value::Object(labels)) = labels {
        for (label, value) in [
            ("batch.kubernetes.io/controller-uid", uid),
            ("batch.kubernetes.io/job-name", name),
            ("controller-uid", uid),
            ("job-name", name),
        ] {
            labels.insert(label.to_owned(), value.into());
        }
    }
}

pub(crate) fn metadata_of(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let Some(fields) = object.as_object_mut() else {
        return Err(Status::bad_request("the body must be an object"));
    };
    fields
        .entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| Status::bad_request("metadata must be an object"))
}

fn other_namespace() -> Status {
    Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    )
}

/// Makes an object agree with the address it was sent to.
pub(crate) fn address(served: &Served, key: &Key, object: &mut Value) -> Result<(), Status> {
    let metadata = metadata_of(object)?;
    let said = |metadata: &Map<String, Value>, field: &str| {
        metadata
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if said(metadata, "name").is_some_and(|name| name != key.name) {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            said(metadata, "name").unwrap_or_default(),
            key.name
        )));
    }
    metadata.insert("name".to_owned(), key.name.clone().into());
    if served.namespaced {
        if said(metadata, "namespace").is_some_and(|namespace| namespace != key.namespace) {
            return Err(other_namespace());
        }
        metadata.insert("namespace".to_owned(), key.namespace.clone().into());
    } else {
        metadata.remove("namespace");
    }
    Ok(())
}

/// Refuses a change made to an older state of an object, or to another object of the same name.
fn fresh_enough(served: &Served, key: &Key, before: &Value, object: &Value) -> Result<(), Status> {
    let text = |value: &Value, field: &str| {
        value
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let uid = text(object, "uid");
    if !uid.is_empty() && uid != text(before, "uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            text(before, "uid")
        );
        return Err(Status::conflict(served, &key.name, &why));
    }
    let revision = text(object, "resourceVersion");
    if !revision.is_empty() && revision != text(before, "resourceVersion") {
        return Err(Status::stale(served, &key.name));
    }
    Ok(())
}

/// Brings an object into the form of its kind: known fields only, defaults filled in.
fn shape(
    served: &Served,
    object: &mut Value,
    unknown: Unknown,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    shape_config(served, object, unknown, warnings)?;
    if served.custom.is_some() {
        structural::fill(object, served.schema());
    } else {
        defaults::fill(&served.group, &served.kind, object);
    }
    Ok(())
}

/// Takes out what the kind does not know, without filling anything in.
fn shape_config(
    served: &Served,
    object: &mut Value,
    unknown: Unknown,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    metadata_of(object)?;
    let api_version = crate::served::api_version(&served.group, served.storage());
    object["apiVersion"] = api_version.into();
    object["kind"] = served.kind.clone().into();
    let custom = served.custom.is_some();
    let found = structural::prune(object, served.schema(), custom);
    match unknown {
        Unknown::Ignore => {}
        Unknown::Warn => warnings.extend(found.iter().map(|field| format!("unknown field {field:?}"))),
        Unknown::Refuse if found.is_empty() => {}
        Unknown::Refuse => {
            let found: Vec<String> = found
                .iter()
                .map(|field| format!("unknown field {field:?}"))
                .collect();
            let found = found.join(", ");
            let (kind, version) = (&served.kind, &served.version);
            return Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {found}"
            )));
        }
    }
    // A map of labels may come as null, and a null timestamp is none.
    if custom && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    Ok(())
}

/// What the schema, the kind and the definition's own rules refuse.
fn judge(served: &Served, before: Option<&Value>, object: &Value) -> Result<(), Status> {
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let schema = served.schema();
    let mut causes = structural::misfits(object, schema);
    if served.custom.is_none()
        && let Some(wrong) = causes
            .iter()
            .find(|cause| cause.reason == "FieldValueTypeInvalid")
    {
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {field}: {message}",
            kind = served.kind,
            version = served.version,
            field = wrong.field,
            message = wrong.message,
        )));
    }
    for cause in validate::problems(served, object) {
        if !causes.iter().any(|known| known.field == cause.field) {
            causes.push(cause);
        }
    }
    if let Some(before) = before {
        causes.extend(immutable::changed(served, before, object));
        causes.extend(new_finalizers(before, object));
    }
    if let Some(custom) = &served.custom
        && causes.is_empty()
    {
        causes = custom.rules.broken(object, before, schema);
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(served, name, &causes))
    }
}

/// An object on its way out takes no new finalizers.
fn new_finalizers(before: &Value, object: &Value) -> Option<Cause> {
    before.pointer("/metadata/deletionTimestamp")?;
    let list = |object: &Value| {
        object
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let known = list(before);
    let new: Vec<Value> = list(object)
        .into_iter()
        .filter(|finalizer| !known.contains(finalizer))
        .collect();
    (!new.is_empty()).then(|| {
        let new: Vec<String> = new.iter().map(Value::to_string).collect();
        Cause::forbidden(
            "metadata.finalizers",
            &format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers \
                 []string{{{}}}",
                new.join(", ")
            ),
        )
    })
}

/// Puts back what clients cannot change: what the server wrote, and the half they did not address.
fn keep_the_servers(
    served: &Served,
    before: &Value,
    object: &mut Value,
    subresource: &str,
) -> Result<(), Status> {
    if subresource == "status" {
        let status = object.get("status").cloned();
        let managers = object.pointer("/metadata/managedFields").cloned();
        *object = before.clone();
        put_or_take(object, "status", status);
        if let (Some(managers), Ok(metadata)) = (managers, metadata_of(object)) {
            metadata.insert("managedFields".to_owned(), managers);
        }
        return Ok(());
    }
    if served.status {
        put_or_take(object, "status", before.get("status").cloned());
    }
    let theirs = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
        "generateName",
        "name",
        "namespace",
    ];
    let was = before.get("metadata").and_then(Value::as_object);
    let metadata = metadata_of(object)?;
    for field in theirs {
        match was.and_then(|was| was.get(field)) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    if served.is("", "Namespace")
        && let Some(spec) = before.get("spec")
    {
        object["spec"] = spec.clone();
    }
    if served.is("batch", "Job")
        && let (Some(selector), Some(spec)) = (
            before.pointer("/spec/selector"),
            object.get_mut("spec").and_then(Value::as_object_mut),
        )
    {
        spec.entry("selector").or_insert_with(|| selector.clone());
        keep_job_labels(before, object);
    }
    Ok(())
}

/// The labels a Job gave its pods stay, whatever a client sends that knows nothing of them.
fn keep_job_labels(before: &Value, object: &mut Value) {
    let Some(kept) = before
        .pointer("/spec/template/metadata/labels")
        .and_then(Value::as_object)
    else {
        return;
    };
    let Some(template) = object
        .pointer_mut("/spec/template")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let metadata = template.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    let Some(labels) = labels.as_object_mut() else {
        return;
    };
    for name in [
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    ] {
        if let Some(value) = kept.get(name) {
            labels.entry(name).or_insert_with(|| value.clone());
        }
    }
}

fn put_or_take(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(fields) = object.as_object_mut() {
        match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
    }
}

/// Kinds whose generation says how often what is wanted has changed.
fn counts_generations(served: &Served) -> bool {
    served.custom.is_some()
        || matches!(
            served.group.as_str(),
            "apps"
                | "batch"
                | "networking.k8s.io"
                | "policy"
                | "apiextensions.k8s.io"
                | "admissionregistration.k8s.io"
                | "scheduling.k8s.io"
        )
        || served.is("", "Pod")
}

fn spec_differs(served: &Served, before: &Value, object: &Value) -> bool {
    let (Some(before), Some(object)) = (before.as_object(), object.as_object()) else {
        return false;
    };
    let counts = |field: &str| field != "metadata" && !(field == "status" && served.status);
    object
        .iter()
        .any(|(field, value)| counts(field) && before.get(field) != Some(value))
        || before
            .keys()
            .any(|field| counts(field) && !object.contains_key(field))
}
