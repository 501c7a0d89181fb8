//! What a server says about itself: its version, groups and kinds, its health.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::message::{Request, Response};
use crate::openapi;
use crate::served::{Served, api_version};
use crate::server::ApiServer;
use crate::status::Status;

/// A group's versions, best first, each with its kinds.
type Groups<'a> = BTreeMap<&'a str, Vec<(&'a str, Vec<&'a Served>)>>;

impl ApiServer {
    /// Answers addresses that are about the server. `None` for all others.
    pub(crate) fn about_itself(&self, request: &Request, path: &[&str]) -> Option<Result<Response, Status>> {
        if request.method != "GET" {
            return None;
        }
        let answer = match path {
            ["version"] => Response::json(200, &self.version_info()),
            ["healthz" | "livez" | "readyz", ..] => Response::text("ok"),
            ["api"] if is_aggregated(request) => self.aggregated(request, true),
            ["apis"] if is_aggregated(request) => self.aggregated(request, false),
            ["api"] => Response::json(
                200,
                &json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
            ),
            ["apis"] => Response::json(200, &self.group_list()),
            ["apis", group] => match self.groups_served().get(group) {
                Some(versions) => {
                    let mut group = group_said(group, versions);
                    group["kind"] = "APIGroup".into();
                    group["apiVersion"] = "v1".into();
                    Response::json(200, &group)
                }
                None => return Some(Err(Status::no_such_page())),
            },
            ["api", version] => return Some(self.resources("", version)),
            ["apis", group, version] => return Some(self.resources(group, version)),
            ["openapi", "v3"] => Response::json(200, &openapi::index(&self.groups_served())),
            ["openapi", "v3", "api", version] => return Some(self.openapi("", version)),
            ["openapi", "v3", "apis", group, version] => return Some(self.openapi(group, version)),
            // Version 2 is only asked for what version 3 does not know. An empty document, which in
            // protobuf is no bytes at all, says that it does not know it either.
            ["openapi", "v2"] if request.accept.contains("protobuf") => Response {
                content_type: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf".to_owned(),
                ..Response::text("")
            },
            ["openapi", "v2"] => return Some(Err(Status::lacking("OpenAPI version 2"))),
            [] => Response::json(
                200,
                &json!({ "paths": ["/api", "/apis", "/openapi/v3", "/version"] }),
            ),
            _ => return None,
        };
        Some(Ok(answer))
    }

    fn version_info(&self) -> Value {
        let (major, minor) = self.version.split_once('.').unwrap_or((&self.version, "0"));
        json!({
            "major": major,
            "minor": minor,
            "gitVersion": format!("v{}.0", self.version),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "",
            "platform": "linux/amd64",
        })
    }

    fn groups_served(&self) -> Groups<'_> {
        let mut groups: Groups<'_> = BTreeMap::new();
        for served in self.registry.all() {
            let versions = groups.entry(&served.group).or_default();
            match versions
                .iter_mut()
                .find(|(version, _)| *version == served.version)
            {
                Some((_, kinds)) => kinds.push(served),
                None => versions.push((&served.version, vec![served])),
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|(version, _)| std::cmp::Reverse(rank(version)));
            for (_, kinds) in versions {
                kinds.sort_by(|one, other| one.plural.cmp(&other.plural));
            }
        }
        groups
    }

    fn group_list(&self) -> Value {
        let groups: Vec<Value> = self
            .groups_served()
            .iter()
            .filter(|(group, _)| !group.is_empty())
            .map(|(group, versions)| group_said(group, versions))
            .collect();
        json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
    }

    fn resources(&self, group: &str, version: &str) -> Result<Response, Status> {
        let groups = self.groups_served();
        let kinds = groups
            .get(group)
            .and_then(|versions| versions.iter().find(|(it, _)| *it == version))
            .ok_or_else(Status::no_such_page)?;
        let resources: Vec<Value> = kinds.1.iter().flat_map(|served| resource_said(served)).collect();
        Ok(Response::json(
            200,
            &json!({
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": api_version(group, version),
                "resources": resources,
            }),
        ))
    }

    fn openapi(&self, group: &str, version: &str) -> Result<Response, Status> {
        let groups = self.groups_served();
        let kinds = groups
            .get(group)
            .and_then(|versions| versions.iter().find(|(it, _)| *it == version))
            .ok_or_else(Status::no_such_page)?;
        Ok(Response::json(200, &openapi::document(&kinds.1)))
    }

    fn aggregated(&self, request: &Request, core: bool) -> Response {
        let items: Vec<Value> = self
            .groups_served()
            .iter()
            .filter(|(group, _)| group.is_empty() == core)
            .map(|(group, versions)| {
                let versions: Vec<Value> = versions
                    .iter()
                    .map(|(version, kinds)| {
                        let resources: Vec<Value> =
                            kinds.iter().map(|served| aggregated_resource(served)).collect();
                        json!({ "version": version, "resources": resources, "freshness": "Current" })
                    })
                    .collect();
                json!({ "metadata": { "name": group }, "versions": versions })
            })
            .collect();
        let version = if request.accept.contains("v=v2;") {
            "v2"
        } else {
            "v2beta1"
        };
        let mut response = Response::json(
            200,
            &json!({
                "kind": "APIGroupDiscoveryList",
                "apiVersion": format!("apidiscovery.k8s.io/{version}"),
                "metadata": {},
                "items": items,
            }),
        );
        response.content_type =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        response
    }
}

fn is_aggregated(request: &Request) -> bool {
    request.accept.contains("as=APIGroupDiscoveryList")
}

/// `v1` before `v1beta1` before `v1alpha1`, and higher numbers first.
fn rank(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse().unwrap_or(0);
    let rest = version.trim_start_matches('v');
    match (rest.split_once("beta"), rest.split_once("alpha")) {
        (Some((major, minor)), _) => (1, number(major), number(minor)),
        (_, Some((major, minor))) => (0, number(major), number(minor)),
        _ => (2, number(rest), 0),
    }
}

fn group_said(group: &str, versions: &[(&str, Vec<&Served>)]) -> Value {
    let said: Vec<Value> = versions
        .iter()
        .map(|(version, _)| json!({ "groupVersion": api_version(group, version), "version": version }))
        .collect();
    json!({ "name": group, "versions": said, "preferredVersion": said.first() })
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// A name, the group, version and kind of what is given out there, and verbs.
type Subresource = (&'static str, (String, String, String), Vec<&'static str>);

/// The subresources of a kind, with the kind and verbs of each.
fn subresources(served: &Served) -> Vec<Subresource> {
    let own = || (served.group.clone(), served.version.clone(), served.kind.clone());
    let mut all = Vec::new();
    if served.status {
        all.push(("status", own(), vec!["get", "patch", "update"]));
    }
    if served.scale {
        let scale = ("autoscaling".to_owned(), "v1".to_owned(), "Scale".to_owned());
        all.push(("scale", scale, vec!["get", "patch", "update"]));
    }
    if served.is("", "Pod") {
        let eviction = ("policy".to_owned(), "v1".to_owned(), "Eviction".to_owned());
        all.push(("binding", own(), vec!["create"]));
        all.push(("eviction", eviction, vec!["create"]));
        all.push(("log", own(), vec!["get"]));
        all.push(("portforward", own(), vec!["create", "get"]));
    }
    if served.is("", "Namespace") {
        all.push(("finalize", own(), vec!["update"]));
    }
    all
}

fn resource_said(served: &Served) -> Vec<Value> {
    let mut own = json!({
        "name": served.plural,
        "singularName": served.singular,
        "namespaced": served.namespaced,
        "kind": served.kind,
        "verbs": VERBS,
    });
    if !served.short_names.is_empty() {
        own["shortNames"] = json!(served.short_names);
    }
    if !served.categories.is_empty() {
        own["categories"] = json!(served.categories);
    }
    let mut all = vec![own];
    all.extend(
        subresources(served)
            .into_iter()
            .map(|(name, (group, version, kind), verbs)| {
                json!({
                    "name": format!("{}/{name}", served.plural),
                    "singularName": "",
                    "namespaced": served.namespaced,
                    "group": group,
                    "version": version,
                    "kind": kind,
                    "verbs": verbs,
                })
            }),
    );
    all
}

fn aggregated_resource(served: &Served) -> Value {
    let parts: Vec<Value> = subresources(served)
        .into_iter()
        .map(|(name, (group, version, kind), verbs)| {
            json!({
                "subresource": name,
                "responseKind": { "group": group, "version": version, "kind": kind },
                "verbs": verbs,
            })
        })
        .collect();
    let mut resource = json!({
        "resource": served.plural,
        "responseKind": { "group": served.group, "version": served.version, "kind": served.kind },
        "scope": if served.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": served.singular,
        "verbs": VERBS,
    });
    if !served.short_names.is_empty() {
        resource["shortNames"] = json!(served.short_names);
    }
    if !served.categories.is_empty() {
        resource["categories"] = json!(served.categories);
    }
    if !parts.is_empty() {
        resource["subresources"] = parts.into();
    }
    resource
}
