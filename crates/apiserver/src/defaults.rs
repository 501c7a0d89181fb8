//! Defaults of built-in kinds, and values a server hands out (cluster addresses, node ports).
//!
//! The ones that people see, and that a second look at an object would find.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::store::Store;

type Object = Map<String, Value>;

/// Puts a default where nothing stands.
fn or(object: &mut Object, field: &str, default: impl Into<Value>) {
    if object.get(field).is_none_or(Value::is_null) {
        object.insert(field.to_owned(), default.into());
    }
}

/// The object under a field, made when it is not there.
fn under<'o>(object: &'o mut Object, field: &str) -> Option<&'o mut Object> {
    or(object, field, json!({}));
    object.get_mut(field)?.as_object_mut()
}

/// The object under a field, if it is there.
fn inside<'o>(object: &'o mut Object, field: &str) -> Option<&'o mut Object> {
    object.get_mut(field)?.as_object_mut()
}

fn each<'o>(object: &'o mut Object, field: &str) -> impl Iterator<Item = &'o mut Object> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn text<'o>(object: &'o Object, field: &str) -> &'o str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Fills in the defaults of a built-in kind.
pub(crate) fn fill(group: &str, kind: &str, object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    match (group, kind) {
        ("", "Pod") => {
            if let Some(spec) = inside(object, "spec") {
                pod_spec(spec);
            }
        }
        ("", "Secret") => secret(object),
        ("", "Namespace") => namespace(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => {
            if let Some(spec) = inside(object, "spec") {
                or(spec, "volumeMode", "Filesystem");
            }
        }
        ("", "PersistentVolume") => {
            if let Some(spec) = inside(object, "spec") {
                or(spec, "volumeMode", "Filesystem");
                or(spec, "persistentVolumeReclaimPolicy", "Retain");
            }
        }
        ("apps", _) => workload(kind, object),
        ("batch", "Job") => {
            if let Some(spec) = inside(object, "spec") {
                job_spec(spec);
            }
        }
        ("batch", "CronJob") => cron_job(object),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            if let Some(spec) = inside(object, "spec") {
                or(spec, "minReplicas", 1);
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object),
        ("storage.k8s.io", "StorageClass") => {
            or(object, "reclaimPolicy", "Delete");
            or(object, "volumeBindingMode", "Immediate");
        }
        ("scheduling.k8s.io", "PriorityClass") => or(object, "preemptionPolicy", "PreemptLowerPriority"),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => {
            webhooks(kind, object);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ => {}
    }
}

/// The status a new object of a built-in kind begins with.
pub(crate) fn first_status(group: &str, kind: &str) -> Option<Value> {
    match (group, kind) {
        ("", "Namespace") => Some(json!({ "phase": "Active" })),
        ("", "Pod") => Some(json!({ "phase": "Pending" })),
        ("", "PersistentVolumeClaim" | "PersistentVolume") => Some(json!({ "phase": "Pending" })),
        ("", "Service") | ("networking.k8s.io", "Ingress") => Some(json!({ "loadBalancer": {} })),
        ("apps", "StatefulSet" | "ReplicaSet") => Some(json!({ "replicas": 0 })),
        ("apps", "DaemonSet") => Some(json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        })),
        ("policy", "PodDisruptionBudget") => Some(json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        })),
        ("apps", "Deployment") | ("batch", "Job" | "CronJob") => Some(json!({})),
        _ => None,
    }
}

fn namespace(object: &mut Object) {
    let name = object
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .cloned()
        .unwrap_or_default();
    if let Some(labels) = inside(object, "metadata").and_then(|metadata| under(metadata, "labels")) {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
    if let Some(spec) = under(object, "spec") {
        or(spec, "finalizers", json!(["kubernetes"]));
    }
}

fn secret(object: &mut Object) {
    use base64::Engine as _;
    if let Some(Value::Object(plain)) = object.remove("stringData")
        && let Some(data) = under(object, "data")
    {
        for (key, value) in plain {
            let value = value.as_str().unwrap_or_default();
            let encoded = base64::engine::general_purpose::STANDARD.encode(value);
            data.insert(key, encoded.into());
        }
    }
    or(object, "type", "Opaque");
}

fn service(object: &mut Object) {
    let Some(spec) = inside(object, "spec") else {
        return;
    };
    or(spec, "type", "ClusterIP");
    or(spec, "sessionAffinity", "None");
    for port in each(spec, "ports") {
        or(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        or(port, "targetPort", number);
    }
    let sort = text(spec, "type").to_owned();
    if sort == "ExternalName" {
        return;
    }
    or(spec, "internalTrafficPolicy", "Cluster");
    or(spec, "ipFamilyPolicy", "SingleStack");
    or(spec, "ipFamilies", json!(["IPv4"]));
    if matches!(sort.as_str(), "NodePort" | "LoadBalancer") {
        or(spec, "externalTrafficPolicy", "Cluster");
    }
    if sort == "LoadBalancer" {
        or(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn workload(kind: &str, object: &mut Object) {
    let Some(spec) = inside(object, "spec") else {
        return;
    };
    match kind {
        "Deployment" => {
            or(spec, "replicas", 1);
            or(spec, "revisionHistoryLimit", 10);
            or(spec, "progressDeadlineSeconds", 600);
            if let Some(strategy) = under(spec, "strategy") {
                or(strategy, "type", "RollingUpdate");
                if text(strategy, "type") == "RollingUpdate"
                    && let Some(rolling) = under(strategy, "rollingUpdate")
                {
                    or(rolling, "maxSurge", "25%");
                    or(rolling, "maxUnavailable", "25%");
                }
            }
        }
        "StatefulSet" => stateful_set(spec),
        "DaemonSet" => {
            or(spec, "revisionHistoryLimit", 10);
            if let Some(strategy) = under(spec, "updateStrategy") {
                or(strategy, "type", "RollingUpdate");
                if text(strategy, "type") == "RollingUpdate"
                    && let Some(rolling) = under(strategy, "rollingUpdate")
                {
                    or(rolling, "maxSurge", 0);
                    or(rolling, "maxUnavailable", 1);
                }
            }
        }
        "ReplicaSet" => or(spec, "replicas", 1),
        _ => return,
    }
    template(spec);
}

fn stateful_set(spec: &mut Object) {
    or(spec, "replicas", 1);
    or(spec, "podManagementPolicy", "OrderedReady");
    or(spec, "revisionHistoryLimit", 10);
    if let Some(policy) = under(spec, "persistentVolumeClaimRetentionPolicy") {
        or(policy, "whenDeleted", "Retain");
        or(policy, "whenScaled", "Retain");
    }
    if let Some(strategy) = under(spec, "updateStrategy") {
        or(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = under(strategy, "rollingUpdate")
        {
            or(rolling, "partition", 0);
        }
    }
    for claim in each(spec, "volumeClaimTemplates") {
        or(claim, "apiVersion", "v1");
        or(claim, "kind", "PersistentVolumeClaim");
        or(claim, "status", json!({ "phase": "Pending" }));
        if let Some(spec) = inside(claim, "spec") {
            or(spec, "volumeMode", "Filesystem");
        }
    }
}

fn job_spec(spec: &mut Object) {
    let endless = spec.get("completions").is_none() && spec.get("parallelism").is_some();
    if !endless {
        or(spec, "completions", 1);
    }
    or(spec, "parallelism", 1);
    or(spec, "backoffLimit", 6);
    or(spec, "completionMode", "NonIndexed");
    or(spec, "suspend", false);
    or(spec, "manualSelector", false);
    or(spec, "podReplacementPolicy", "TerminatingOrFailed");
    template(spec);
}

fn cron_job(object: &mut Object) {
    let Some(spec) = inside(object, "spec") else {
        return;
    };
    or(spec, "concurrencyPolicy", "Allow");
    or(spec, "suspend", false);
    or(spec, "successfulJobsHistoryLimit", 3);
    or(spec, "failedJobsHistoryLimit", 1);
    // Only the pods' part: the rest is filled in when a Job is made of it.
    if let Some(job) = inside(spec, "jobTemplate").and_then(|template| inside(template, "spec")) {
        template(job);
    }
}

fn template(spec: &mut Object) {
    if let Some(pod) = inside(spec, "template").and_then(|template| inside(template, "spec")) {
        pod_spec(pod);
    }
}

fn pod_spec(spec: &mut Object) {
    or(spec, "restartPolicy", "Always");
    or(spec, "dnsPolicy", "ClusterFirst");
    or(spec, "schedulerName", "default-scheduler");
    or(spec, "terminationGracePeriodSeconds", 30);
    or(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        or(spec, "serviceAccount", account);
    }
    for list in ["initContainers", "containers"] {
        for container in each(spec, list) {
            fill_container(container);
        }
    }
    for volume in each(spec, "volumes") {
        for (sort, field) in [
            ("configMap", "defaultMode"),
            ("secret", "defaultMode"),
            ("projected", "defaultMode"),
            ("downwardAPI", "defaultMode"),
        ] {
            if let Some(source) = inside(volume, sort) {
                or(source, field, 420);
            }
        }
        if let Some(path) = inside(volume, "hostPath") {
            or(path, "type", "");
        }
        if let Some(projected) = inside(volume, "projected") {
            for source in each(projected, "sources") {
                if let Some(token) = inside(source, "serviceAccountToken") {
                    or(token, "expirationSeconds", 3600);
                }
            }
        }
    }
}

fn fill_container(container: &mut Object) {
    or(container, "terminationMessagePath", "/dev/termination-log");
    or(container, "terminationMessagePolicy", "File");
    or(container, "resources", json!({}));
    let policy = if is_latest(text(container, "image")) {
        "Always"
    } else {
        "IfNotPresent"
    };
    or(container, "imagePullPolicy", policy);
    for port in each(container, "ports") {
        or(port, "protocol", "TCP");
    }
    for variable in each(container, "env") {
        if let Some(field) = inside(variable, "valueFrom").and_then(|from| inside(from, "fieldRef")) {
            or(field, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = inside(container, probe) else {
            continue;
        };
        or(probe, "timeoutSeconds", 1);
        or(probe, "periodSeconds", 10);
        or(probe, "successThreshold", 1);
        or(probe, "failureThreshold", 3);
        if let Some(get) = inside(probe, "httpGet") {
            or(get, "path", "/");
            or(get, "scheme", "HTTP");
        }
        if let Some(call) = inside(probe, "grpc") {
            or(call, "service", "");
        }
    }
    // Half of a request is written as a limit alone.
    if let Some(resources) = inside(container, "resources")
        && let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned()
        && let Some(requests) = under(resources, "requests")
    {
        for (name, limit) in limits {
            or(requests, &name, limit);
        }
    }
}

fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

fn network_policy(object: &mut Object) {
    let Some(spec) = inside(object, "spec") else {
        return;
    };
    let mut types = vec!["Ingress"];
    if spec.contains_key("egress") {
        types.push("Egress");
    }
    or(spec, "policyTypes", json!(types));
    for list in ["ingress", "egress"] {
        for rule in each(spec, list) {
            for port in each(rule, "ports") {
                or(port, "protocol", "TCP");
            }
        }
    }
}

fn binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = inside(object, "roleRef") {
        or(role, "apiGroup", GROUP);
    }
    for subject in each(object, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            or(subject, "apiGroup", GROUP);
        }
    }
}

fn webhooks(kind: &str, object: &mut Object) {
    for webhook in each(object, "webhooks") {
        or(webhook, "failurePolicy", "Fail");
        or(webhook, "matchPolicy", "Equivalent");
        or(webhook, "namespaceSelector", json!({}));
        or(webhook, "objectSelector", json!({}));
        or(webhook, "timeoutSeconds", 10);
        if kind == "MutatingWebhookConfiguration" {
            or(webhook, "reinvocationPolicy", "Never");
        }
        if let Some(service) = inside(webhook, "clientConfig").and_then(|client| inside(client, "service")) {
            or(service, "port", 443);
        }
        for rule in each(webhook, "rules") {
            or(rule, "scope", "*");
        }
    }
}

fn definition(object: &mut Object) {
    let Some(spec) = inside(object, "spec") else {
        return;
    };
    or(spec, "conversion", json!({ "strategy": "None" }));
    if let Some(names) = inside(spec, "names") {
        let kind = text(names, "kind").to_owned();
        or(names, "singular", kind.to_lowercase());
        or(names, "listKind", format!("{kind}List"));
    }
}

/// Hands out what a Service needs from its cluster: an address, and ports on nodes.
pub(crate) fn allocate(service: &mut Value, before: Option<&Value>, store: &Store) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let sort = text(spec, "type").to_owned();
    if sort == "ExternalName" {
        return;
    }
    let kept = before
        .and_then(|before| before.pointer("/spec/clusterIP"))
        .cloned();
    if text(spec, "clusterIP").is_empty() {
        let address = kept
            .filter(|kept| kept.as_str().is_some_and(|kept| !kept.is_empty()))
            .unwrap_or_else(|| free_address(store).into());
        spec.insert("clusterIP".to_owned(), address);
    }
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    spec.insert("clusterIPs".to_owned(), json!([address]));
    let on_nodes = match sort.as_str() {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    };
    if on_nodes {
        node_ports(spec, before, store);
    }
}

fn node_ports(spec: &mut Object, before: Option<&Value>, store: &Store) {
    let mut taken: Option<BTreeSet<u64>> = None;
    for port in each(spec, "ports") {
        if port
            .get("nodePort")
            .and_then(Value::as_u64)
            .is_some_and(|it| it > 0)
        {
            continue;
        }
        let earlier = before
            .and_then(|before| before.pointer("/spec/ports"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|old| old.get("port") == port.get("port") && old.get("protocol") == port.get("protocol"))
            .and_then(|old| old.get("nodePort"))
            .and_then(Value::as_u64);
        let number = earlier.or_else(|| {
            let taken = taken.get_or_insert_with(|| ports_taken(store));
            (30_000..32_768).find(|number| taken.insert(*number))
        });
        if let Some(number) = number {
            port.insert("nodePort".to_owned(), number.into());
        }
    }
}

fn ports_taken(store: &Store) -> BTreeSet<u64> {
    store
        .of_kind("", "Service")
        .filter_map(|(_, service)| service.pointer("/spec/ports")?.as_array())
        .flatten()
        .filter_map(|port| port.get("nodePort")?.as_u64())
        .collect()
}

/// The first address of the cluster's range that no Service has.
fn free_address(store: &Store) -> String {
    let taken: BTreeSet<&str> = store
        .of_kind("", "Service")
        .filter_map(|(_, service)| service.pointer("/spec/clusterIP")?.as_str())
        .collect();
    // The first address belongs to the API itself.
    (2..u32::from(u16::MAX))
        .map(|number| format!("172.20.{}.{}", number / 256, number % 256))
        .find(|address| !taken.contains(address.as_str()))
        .unwrap_or_else(|| "None".to_owned())
}
