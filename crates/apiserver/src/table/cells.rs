//! What stands in the columns of built-in kinds.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The columns of a kind after its name: what it is called, its type, its priority (1 for wide only).
pub(crate) fn columns(group: &str, kind: &str) -> &'static [(&'static str, &'static str, u8)] {
    match (group, kind) {
        ("", "Pod") => &[
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "string", 0),
            ("Age", "string", 0),
            ("IP", "string", 1),
            ("Node", "string", 1),
            ("Nominated Node", "string", 1),
            ("Readiness Gates", "string", 1),
        ],
        ("apps", "Deployment") => &[
            ("Ready", "string", 0),
            ("Up-to-date", "integer", 0),
            ("Available", "integer", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        ("apps", "ReplicaSet") => &[
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Age", "string", 0),
        ],
        ("apps", "StatefulSet") => &[("Ready", "string", 0), ("Age", "string", 0)],
        ("apps", "DaemonSet") => &[
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Up-to-date", "integer", 0),
            ("Available", "integer", 0),
            ("Node Selector", "string", 0),
            ("Age", "string", 0),
        ],
        ("batch", "Job") => &[
            ("Status", "string", 0),
            ("Completions", "string", 0),
            ("Duration", "string", 0),
            ("Age", "string", 0),
        ],
        ("batch", "CronJob") => &[
            ("Schedule", "string", 0),
            ("Timezone", "string", 0),
            ("Suspend", "boolean", 0),
            ("Active", "integer", 0),
            ("Last Schedule", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "Service") => &[
            ("Type", "string", 0),
            ("Cluster-IP", "string", 0),
            ("External-IP", "string", 0),
            ("Port(s)", "string", 0),
            ("Age", "string", 0),
            ("Selector", "string", 1),
        ],
        ("networking.k8s.io", "Ingress") => &[
            ("Class", "string", 0),
            ("Hosts", "string", 0),
            ("Address", "string", 0),
            ("Ports", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "Node") => &[
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
            ("Internal-IP", "string", 1),
        ],
        ("", "PersistentVolumeClaim") => &[
            ("Status", "string", 0),
            ("Volume", "string", 0),
            ("Capacity", "string", 0),
            ("Access Modes", "string", 0),
            ("StorageClass", "string", 0),
            ("VolumeAttributesClass", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "PersistentVolume") => &[
            ("Capacity", "string", 0),
            ("Access Modes", "string", 0),
            ("Reclaim Policy", "string", 0),
            ("Status", "string", 0),
            ("Claim", "string", 0),
            ("StorageClass", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "Namespace") => &[("Status", "string", 0), ("Age", "string", 0)],
        ("", "Event") => &[
            ("Last Seen", "string", 0),
            ("Type", "string", 0),
            ("Reason", "string", 0),
            ("Object", "string", 0),
            ("Message", "string", 0),
        ],
        ("", "ConfigMap") => &[("Data", "integer", 0), ("Age", "string", 0)],
        ("", "Secret") => &[
            ("Type", "string", 0),
            ("Data", "integer", 0),
            ("Age", "string", 0),
        ],
        ("storage.k8s.io", "StorageClass") => &[
            ("Provisioner", "string", 0),
            ("ReclaimPolicy", "string", 0),
            ("VolumeBindingMode", "string", 0),
            ("AllowVolumeExpansion", "boolean", 0),
            ("Age", "string", 0),
        ],
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &[("Created At", "date", 0)],
        _ => &[("Age", "string", 0)],
    }
}

/// The cells of an object after its name.
pub(crate) fn cells(group: &str, kind: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let age = || Value::from(age(object, now));
    let at = |pointer: &str| text(object, pointer);
    let count = |pointer: &str| Value::from(number(object, pointer));
    match (group, kind) {
        ("", "Pod") => pod(object, age()),
        ("apps", "Deployment") => vec![
            format!(
                "{}/{}",
                number(object, "/status/readyReplicas"),
                number(object, "/spec/replicas")
            )
            .into(),
            count("/status/updatedReplicas"),
            count("/status/availableReplicas"),
            age(),
            containers(object, "name").into(),
            containers(object, "image").into(),
            pairs(object.pointer("/spec/selector/matchLabels")).into(),
        ],
        ("apps", "ReplicaSet") => vec![
            count("/spec/replicas"),
            count("/status/replicas"),
            count("/status/readyReplicas"),
            age(),
        ],
        ("apps", "StatefulSet") => vec![
            format!(
                "{}/{}",
                number(object, "/status/readyReplicas"),
                number(object, "/spec/replicas")
            )
            .into(),
            age(),
        ],
        ("apps", "DaemonSet") => vec![
            count("/status/desiredNumberScheduled"),
            count("/status/currentNumberScheduled"),
            count("/status/numberReady"),
            count("/status/updatedNumberScheduled"),
            count("/status/numberAvailable"),
            pairs(object.pointer("/spec/template/spec/nodeSelector")).into(),
            age(),
        ],
        ("batch", "Job") => job(object, now, age()),
        ("batch", "CronJob") => vec![
            at("/spec/schedule").into(),
            or(&at("/spec/timeZone"), "<none>"),
            object.pointer("/spec/suspend").cloned().unwrap_or(false.into()),
            list(object, "/status/active").len().into(),
            match at("/status/lastScheduleTime") {
                time if time.is_empty() => "<none>".into(),
                time => age_of(&time, now).into(),
            },
            age(),
        ],
        ("", "Service") => service(object, age()),
        ("networking.k8s.io", "Ingress") => ingress(object, age()),
        ("", "Node") => node(object, age()),
        ("", "PersistentVolumeClaim") => vec![
            claim_status(object).into(),
            at("/spec/volumeName").into(),
            at("/status/capacity/storage").into(),
            modes(object, "/status/accessModes").into(),
            at("/spec/storageClassName").into(),
            or(&at("/spec/volumeAttributesClassName"), "<unset>"),
            age(),
        ],
        ("", "PersistentVolume") => {
            let claim = match at("/spec/claimRef/name") {
                name if name.is_empty() => String::new(),
                name => format!("{}/{name}", at("/spec/claimRef/namespace")),
            };
            vec![
                at("/spec/capacity/storage").into(),
                modes(object, "/spec/accessModes").into(),
                at("/spec/persistentVolumeReclaimPolicy").into(),
                at("/status/phase").into(),
                claim.into(),
                at("/spec/storageClassName").into(),
                age(),
            ]
        }
        ("", "Namespace") => vec![at("/status/phase").into(), age()],
        ("", "Event") => event(object, now),
        ("", "ConfigMap") => vec![
            (entries(object, "data") + entries(object, "binaryData")).into(),
            age(),
        ],
        ("", "Secret") => vec![at("/type").into(), entries(object, "data").into(), age()],
        ("storage.k8s.io", "StorageClass") => vec![
            at("/provisioner").into(),
            at("/reclaimPolicy").into(),
            at("/volumeBindingMode").into(),
            object
                .pointer("/allowVolumeExpansion")
                .cloned()
                .unwrap_or(false.into()),
            age(),
        ],
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            vec![at("/metadata/creationTimestamp").into()]
        }
        _ => vec![age()],
    }
}

fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn or(text: &str, otherwise: &str) -> Value {
    if text.is_empty() {
        otherwise.into()
    } else {
        text.into()
    }
}

fn entries(object: &Value, field: &str) -> usize {
    object.get(field).and_then(Value::as_object).map_or(0, Map::len)
}

fn pairs(map: Option<&Value>) -> String {
    let mut pairs: Vec<String> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

fn containers(object: &Value, field: &str) -> String {
    let all: Vec<&str> = list(object, "/spec/template/spec/containers")
        .iter()
        .filter_map(|container| container.get(field)?.as_str())
        .collect();
    all.join(",")
}

fn pod(object: &Value, age: Value) -> Vec<Value> {
    let statuses = list(object, "/status/containerStatuses");
    let ready = statuses
        .iter()
        .filter(|status| status.get("ready") == Some(&Value::Bool(true)))
        .count();
    let restarts: i64 = statuses
        .iter()
        .filter_map(|status| status.get("restartCount")?.as_i64())
        .sum();
    let total = list(object, "/spec/containers").len();
    let mut said = match text(object, "/status/reason") {
        reason if reason.is_empty() => text(object, "/status/phase"),
        reason => reason,
    };
    for status in statuses {
        for state in ["waiting", "terminated"] {
            let reason = text(status, &format!("/state/{state}/reason"));
            if !reason.is_empty() {
                said = reason;
            }
        }
    }
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating".clone_into(&mut said);
    }
    vec![
        format!("{ready}/{total}").into(),
        said.into(),
        restarts.to_string().into(),
        age,
        or(&text(object, "/status/podIP"), "<none>"),
        or(&text(object, "/spec/nodeName"), "<none>"),
        or(&text(object, "/status/nominatedNodeName"), "<none>"),
        "<none>".into(),
    ]
}

fn condition<'v>(object: &'v Value, sort: &str) -> Option<&'v str> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(sort))?
        .get("status")?
        .as_str()
}

fn job(object: &Value, now: Timestamp, age: Value) -> Vec<Value> {
    let status = if condition(object, "Complete") == Some("True") {
        "Complete"
    } else if condition(object, "Failed") == Some("True") {
        "Failed"
    } else if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        "Suspended"
    } else {
        "Running"
    };
    let wanted = object
        .pointer("/spec/completions")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let (from, to) = (
        text(object, "/status/startTime"),
        text(object, "/status/completionTime"),
    );
    let took = match (from.parse::<Timestamp>(), to.parse::<Timestamp>()) {
        (Ok(from), Ok(to)) => human(to.as_second() - from.as_second()),
        (Ok(from), Err(_)) => human(now.as_second() - from.as_second()),
        _ => String::new(),
    };
    vec![
        status.into(),
        format!("{}/{wanted}", number(object, "/status/succeeded")).into(),
        took.into(),
        age,
    ]
}

/// Where load balancers answer.
fn addresses(object: &Value) -> String {
    let all: Vec<String> = list(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|ingress| match text(ingress, "/hostname") {
            host if host.is_empty() => text(ingress, "/ip"),
            host => host,
        })
        .collect();
    all.join(",")
}

fn service(object: &Value, age: Value) -> Vec<Value> {
    let sort = text(object, "/spec/type");
    let outside = match sort.as_str() {
        "LoadBalancer" => or(&addresses(object), "<pending>"),
        "ExternalName" => text(object, "/spec/externalName").into(),
        _ => "<none>".into(),
    };
    let ports: Vec<String> = list(object, "/spec/ports")
        .iter()
        .map(|port| {
            let on_node = match text(port, "/nodePort") {
                number if number.is_empty() => String::new(),
                number => format!(":{number}"),
            };
            format!("{}{on_node}/{}", text(port, "/port"), text(port, "/protocol"))
        })
        .collect();
    vec![
        sort.into(),
        or(&text(object, "/spec/clusterIP"), "<none>"),
        outside,
        or(&ports.join(","), "<none>"),
        age,
        pairs(object.pointer("/spec/selector")).into(),
    ]
}

fn ingress(object: &Value, age: Value) -> Vec<Value> {
    let hosts: Vec<String> = list(object, "/spec/rules")
        .iter()
        .map(|rule| text(rule, "/host"))
        .filter(|host| !host.is_empty())
        .collect();
    let ports = if list(object, "/spec/tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        or(&text(object, "/spec/ingressClassName"), "<none>"),
        or(&hosts.join(","), "*"),
        addresses(object).into(),
        ports.into(),
        age,
    ]
}

fn node(object: &Value, age: Value) -> Vec<Value> {
    let mut status = match condition(object, "Ready") {
        Some("True") => "Ready",
        Some("False") => "NotReady",
        _ => "Unknown",
    }
    .to_owned();
    if object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let roles: Vec<&str> = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = list(object, "/status/addresses")
        .iter()
        .find(|address| text(address, "/type") == "InternalIP")
        .map(|address| text(address, "/address"))
        .unwrap_or_default();
    vec![
        status.into(),
        or(&roles.join(","), "<none>"),
        age,
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        or(&address, "<none>"),
    ]
}

fn claim_status(object: &Value) -> String {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating".to_owned()
    } else {
        text(object, "/status/phase")
    }
}

fn modes(object: &Value, pointer: &str) -> String {
    let modes: Vec<&str> = list(object, pointer)
        .iter()
        .filter_map(Value::as_str)
        .map(|mode| match mode {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        })
        .collect();
    modes.join(",")
}

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let seen = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|pointer| text(object, pointer))
        .find(|time| !time.is_empty())
        .unwrap_or_default();
    vec![
        age_of(&seen, now).into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        format!(
            "{}/{}",
            text(object, "/involvedObject/kind").to_lowercase(),
            text(object, "/involvedObject/name")
        )
        .into(),
        text(object, "/message").trim().to_owned().into(),
    ]
}

/// How old an object is.
pub(crate) fn age(object: &Value, now: Timestamp) -> String {
    age_of(&text(object, "/metadata/creationTimestamp"), now)
}

/// How long ago a time was.
pub(crate) fn age_of(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A length of time as people say it: two units while they matter.
fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: char, rest: i64, small: char| {
        if rest == 0 {
            format!("{whole}{unit}")
        } else {
            format!("{whole}{unit}{rest}{small}")
        }
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}
