//! Who may do what: roles and bindings, and the reviews that ask about them.

use serde_json::{Value, json};

use crate::message::{Key, Request, Response};
use crate::server::ApiServer;
use crate::status::Status;

const GROUP: &str = "rbac.authorization.k8s.io";
const MASTERS: &str = "system:masters";

/// What somebody wants to do.
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Asked<'_> {
    fn resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

impl ApiServer {
    /// Refuses what a user may not do.
    pub(crate) fn may(&self, user: Option<&str>, asked: &Asked<'_>) -> Result<(), Status> {
        let Some(user) = user else { return Ok(()) };
        if self.allowed(user, &[], asked) {
            return Ok(());
        }
        let place = if asked.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", asked.namespace)
        };
        let resource = asked.resource();
        let subject = if asked.group.is_empty() {
            resource.clone()
        } else {
            format!("{resource}.{}", asked.group)
        };
        let subject = if asked.name.is_empty() {
            subject
        } else {
            format!("{subject} {:?}", asked.name)
        };
        Err(Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: format!(
                "{subject} is forbidden: User {user:?} cannot {} resource {resource:?} in API group {:?} {place}",
                asked.verb, asked.group
            ),
            details: json!({ "name": asked.name, "group": asked.group, "kind": asked.resource }).into(),
        })
    }

    /// Whether a user may do something, by the groups known here and those named.
    fn allowed(&self, user: &str, more_groups: &[String], asked: &Asked<'_>) -> bool {
        let known = self.groups.get(user).map_or(&[][..], Vec::as_slice);
        let groups: Vec<&str> = known
            .iter()
            .chain(more_groups)
            .map(String::as_str)
            .chain(["system:authenticated"])
            .collect();
        if groups.contains(&MASTERS) {
            return true;
        }
        let everywhere = self
            .store
            .of_kind(GROUP, "ClusterRoleBinding")
            .any(|(_, binding)| self.grants(binding, "", user, &groups, asked));
        everywhere
            || (!asked.namespace.is_empty()
                && self
                    .store
                    .of_kind(GROUP, "RoleBinding")
                    .filter(|(key, _)| key.namespace == asked.namespace)
                    .any(|(key, binding)| self.grants(binding, &key.namespace, user, &groups, asked)))
    }

    fn grants(
        &self,
        binding: &Value,
        namespace: &str,
        user: &str,
        groups: &[&str],
        asked: &Asked<'_>,
    ) -> bool {
        let text = |value: &Value, pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let subjects = binding.get("subjects").and_then(Value::as_array);
        let meant = subjects.into_iter().flatten().any(|subject| {
            let name = text(subject, "/name");
            match text(subject, "/kind").as_str() {
                "User" => name == user,
                "Group" => groups.contains(&name.as_str()),
                "ServiceAccount" => {
                    let namespace = match text(subject, "/namespace") {
                        said if said.is_empty() => namespace.to_owned(),
                        said => said,
                    };
                    user == format!("system:serviceaccount:{namespace}:{name}")
                }
                _ => false,
            }
        });
        if !meant {
            return false;
        }
        let kind = text(binding, "/roleRef/kind");
        let place = if kind == "Role" { namespace } else { "" };
        let role = self
            .store
            .get(&Key::new(GROUP, &kind, place, &text(binding, "/roleRef/name")));
        // The one role every cluster is born with stands for itself here.
        if kind == "ClusterRole" && role.is_none() && text(binding, "/roleRef/name") == "cluster-admin" {
            return true;
        }
        let rules = role.and_then(|role| role.get("rules")).and_then(Value::as_array);
        rules.into_iter().flatten().any(|rule| rule_allows(rule, asked))
    }

    /// Answers the reviews that ask what somebody may do. `None` for all other addresses.
    pub(crate) fn review(
        &self,
        request: &Request,
        group: &str,
        rest: &[&str],
    ) -> Option<Result<Response, Status>> {
        let resource = match rest {
            [resource] => *resource,
            ["namespaces", _, resource] => *resource,
            _ => return None,
        };
        let known = matches!(
            (group, resource),
            (
                "authorization.k8s.io",
                "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews"
            ) | ("authentication.k8s.io", "selfsubjectreviews")
        );
        if !known {
            let lacking = matches!(
                (group, resource),
                ("authorization.k8s.io", "selfsubjectrulesreviews")
                    | ("authentication.k8s.io", "tokenreviews")
            );
            return lacking.then(|| Err(Status::lacking(resource)));
        }
        if request.method != "POST" {
            return Some(Err(Status::not_allowed()));
        }
        Some(self.reviewed(request, resource))
    }

    fn reviewed(&self, request: &Request, resource: &str) -> Result<Response, Status> {
        let mut review = crate::handle::body(request)?;
        let user = request.user.as_deref();
        if resource == "selfsubjectreviews" {
            let name = user.unwrap_or("landfall:embedder");
            let groups = self.groups.get(name).cloned().unwrap_or_default();
            review["status"] = json!({ "userInfo": { "username": name, "groups": groups } });
            return Ok(Response::json(201, &review));
        }
        let text = |pointer: &str| {
            review
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if review.pointer("/spec/resourceAttributes").is_none() {
            return Err(Status::lacking("reviews of addresses that are no resources"));
        }
        let attribute = |name: &str| text(&format!("/spec/resourceAttributes/{name}"));
        let (verb, group, name) = (attribute("verb"), attribute("group"), attribute("name"));
        let (kind, part, namespace) = (
            attribute("resource"),
            attribute("subresource"),
            attribute("namespace"),
        );
        let asked = Asked {
            verb: &verb,
            group: &group,
            resource: &kind,
            subresource: &part,
            namespace: &namespace,
            name: &name,
        };
        let allowed = if resource == "selfsubjectaccessreviews" {
            user.is_none_or(|user| self.allowed(user, &[], &asked))
        } else {
            let groups: Vec<String> = review
                .pointer("/spec/groups")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|group| group.as_str().map(str::to_owned))
                .collect();
            self.allowed(&text("/spec/user"), &groups, &asked)
        };
        review["status"] = json!({ "allowed": allowed });
        Ok(Response::json(201, &review))
    }
}

fn rule_allows(rule: &Value, asked: &Asked<'_>) -> bool {
    let lists = |field: &str, wanted: &str| {
        rule.get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|it| it == "*" || it == wanted)
    };
    let resource = asked.resource();
    let any_part = format!("*/{}", asked.subresource);
    let names = rule.get("resourceNames").and_then(Value::as_array);
    let named = names
        .is_none_or(|names| names.is_empty() || names.iter().any(|name| name.as_str() == Some(asked.name)));
    lists("verbs", asked.verb)
        && lists("apiGroups", asked.group)
        && (lists("resources", &resource) || (!asked.subresource.is_empty() && lists("resources", &any_part)))
        && named
}
