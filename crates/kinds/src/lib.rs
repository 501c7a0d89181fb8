//! What Kubernetes kinds look like: their names, their schemas, which of their lists are maps, and what is wrong with an
//! object before a cluster sees it.
//!
//! Two sources: the kinds built in to every cluster ([`core()`]), generated from the API's own types, and the custom kinds
//! that definitions use ([`custom`]), with schemas of our own that hold the fields in use. Pure: nothing here asks a
//! cluster. What it cannot know (a kind it never heard of, a value that is still an expression) it lets pass.

mod builtin;
mod check;
mod compact;
mod schema;
mod tables;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

pub use check::{Problem, check};
pub use schema::{ListType, PathPart, Schema};

/// A kind: how it is called, where it lives, what it looks like.
#[derive(Clone, Debug)]
pub struct Kind {
    /// `apps`; empty for the first ones.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`, as in paths.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// What `kubectl` also takes: `deploy`.
    pub short_names: Vec<String>,
    /// Under which common names it is listed: `all`.
    pub categories: Vec<String>,
    /// Whether it lives in a namespace.
    pub namespaced: bool,
    /// Whether it has the subresource `status`.
    pub status: bool,
    /// Whether it has the subresource `scale`.
    pub scale: bool,
    /// A structural schema with the `x-kubernetes-` extensions, without references.
    pub schema: Arc<Value>,
}

impl Kind {
    /// `apps/v1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Where a walk through its schema begins.
    pub fn root(&self) -> Schema<'_> {
        Schema::of(&self.schema)
    }
}

/// The kinds built in to every cluster (Kubernetes 1.35), stable versions only.
pub fn core() -> &'static [Kind] {
    static CORE: LazyLock<Vec<Kind>> = LazyLock::new(builtin::kinds);
    &CORE
}

/// The custom kinds that definitions use.
pub fn custom() -> &'static [Kind] {
    static CUSTOM: LazyLock<Vec<Kind>> = LazyLock::new(compact::kinds);
    &CUSTOM
}

/// The kind of this version and name, built in or custom.
pub fn find(api_version: &str, kind: &str) -> Option<&'static Kind> {
    static ALL: LazyLock<HashMap<(String, &str), &Kind>> = LazyLock::new(|| {
        core()
            .iter()
            .chain(custom())
            .map(|kind| ((kind.api_version(), kind.kind.as_str()), kind))
            .collect()
    });
    ALL.get(&(api_version.to_owned(), kind)).copied()
}

/// Every kind there is with this name, in any group and version.
pub(crate) fn named(kind: &str) -> impl Iterator<Item = &'static Kind> {
    core()
        .iter()
        .chain(custom())
        .filter(move |known| known.kind == kind)
}

/// How the list at `path` of objects of this kind is merged; atomic when nothing else is said, as in the API server.
pub fn list_type<'a>(kind: &'a Kind, path: &[PathPart<'_>]) -> ListType<'a> {
    path.iter()
        .try_fold(kind.root(), |schema, part| match part {
            PathPart::Field(name) => schema.field(name),
            PathPart::Item => schema.items(),
        })
        .map_or(ListType::Atomic, |schema| schema.list_type())
}
