//! What names an object in a cluster, and what people call it.

use serde_json::Value;

/// What names an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Empty for what has no namespace.
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

/// The group of an API version; empty for `v1`.
pub(crate) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

impl Key {
    /// Of an object as a server gives it.
    pub(crate) fn of(object: &Value) -> Key {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Key {
            namespace: text(&object["metadata"]["namespace"]),
            kind: text(&object["kind"]),
            group: group(object["apiVersion"].as_str().unwrap_or_default()).to_owned(),
            name: text(&object["metadata"]["name"]),
        }
    }

    /// `Ingress shop/web`.
    pub(crate) fn said(&self) -> String {
        format!("{} {}", self.kind, self.place())
    }

    /// `shop/web`.
    pub(crate) fn place(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// What `kubectl` calls it: `deployment/web -n shop`.
    pub(crate) fn for_kubectl(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.namespace.is_empty() {
            format!("{kind}/{}", self.name)
        } else {
            format!("{kind}/{} -n {}", self.name, self.namespace)
        }
    }

    /// Its kind as an ApplySet lists it: `Deployment.apps`, `ConfigMap`.
    pub(crate) fn group_kind(&self) -> GroupKind {
        GroupKind {
            group: self.group.clone(),
            kind: self.kind.clone(),
        }
    }

    /// Whether its kind was added to the cluster by a definition.
    pub(crate) fn is_custom(&self) -> bool {
        self.group.contains('.') && !self.group.ends_with(".k8s.io")
            || self.group == "gateway.networking.k8s.io"
    }
}

/// A kind, whatever its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKind {
    pub(crate) kind: String,
    pub(crate) group: String,
}

impl GroupKind {
    pub(crate) fn text(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    pub(crate) fn parse(text: &str) -> GroupKind {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        GroupKind {
            kind: kind.to_owned(),
            group: group.to_owned(),
        }
    }
}
