//! Which kinds a cluster knows, and where their objects are.

use std::collections::HashMap;

use futures::StreamExt;
use futures::stream;
use serde_json::Value;

use crate::key::{self, GroupKind, Key};
use crate::link::Link;
use crate::trouble::Trouble;

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Where its objects are, in a namespace or in all, or one of them.
    pub(crate) fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// Where one object is.
    pub(crate) fn path_of(&self, key: &Key) -> String {
        self.path(&key.namespace, Some(&key.name))
    }

    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }
}

/// Every kind a cluster knows.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// In the order of the server: preferred versions first.
    of_kind: HashMap<GroupKind, Vec<Resource>>,
}

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Discovery {
    pub(crate) async fn read(link: &Link) -> Result<Discovery, Trouble> {
        let mut found = Discovery::default();
        for root in ["/api", "/apis"] {
            let answer = link.json(root, AGGREGATED).await?;
            if answer["kind"] == "APIGroupDiscoveryList" {
                found.add_aggregated(&answer);
            } else {
                found.add_listed(link, root, &answer).await?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, resource: Resource) {
        let kind = GroupKind {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
        };
        self.of_kind.entry(kind).or_default().push(resource);
    }

    fn add_aggregated(&mut self, answer: &Value) {
        for group in list(&answer["items"]) {
            for version in list(&group["versions"]) {
                for one in list(&version["resources"]) {
                    self.add(Resource {
                        group: text(&group["metadata"]["name"]),
                        version: text(&version["version"]),
                        kind: text(&one["responseKind"]["kind"]),
                        plural: text(&one["resource"]),
                        namespaced: one["scope"] == "Namespaced",
                        verbs: list(&one["verbs"]).map(text).collect(),
                    });
                }
            }
        }
    }

    /// Servers that do not tell everything at once are asked for each version.
    async fn add_listed(&mut self, link: &Link, root: &str, answer: &Value) -> Result<(), Trouble> {
        let mut versions: Vec<(String, String)> = list(&answer["versions"])
            .map(|version| (String::new(), text(version)))
            .collect();
        for group in list(&answer["groups"]) {
            let preferred = &group["preferredVersion"]["version"];
            let mut all: Vec<&Value> = list(&group["versions"]).map(|one| &one["version"]).collect();
            all.sort_by_key(|version| *version != preferred);
            versions.extend(
                all.into_iter()
                    .map(|version| (text(&group["name"]), text(version))),
            );
        }
        let asked = versions.into_iter().map(|(group, version)| async move {
            let path = match group.as_str() {
                "" => format!("{root}/{version}"),
                group => format!("{root}/{group}/{version}"),
            };
            let answer = link.get(&path).await?.unwrap_or_default();
            Ok::<_, Trouble>((group, version, answer))
        });
        let mut answers = stream::iter(asked).buffered(8);
        while let Some(answer) = answers.next().await {
            let (group, version, answer) = answer?;
            for one in list(&answer["resources"]) {
                let plural = text(&one["name"]);
                if plural.contains('/') {
                    continue;
                }
                self.add(Resource {
                    group: group.clone(),
                    version: version.clone(),
                    kind: text(&one["kind"]),
                    plural,
                    namespaced: one["namespaced"] == true,
                    verbs: list(&one["verbs"]).map(text).collect(),
                });
            }
        }
        Ok(())
    }

    /// A kind in a certain version.
    pub(crate) fn version(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let group = key::group(api_version);
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let kind = GroupKind {
            group: group.to_owned(),
            kind: kind.to_owned(),
        };
        self.of_kind.get(&kind)?.iter().find(|one| one.version == version)
    }

    /// A kind in the version that the server prefers.
    pub(crate) fn preferred(&self, kind: &GroupKind) -> Option<&Resource> {
        self.of_kind.get(kind)?.first()
    }

    /// A kind of every cluster.
    pub(crate) fn core(&self, group: &str, kind: &str) -> Option<&Resource> {
        self.preferred(&GroupKind {
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }

    /// Every kind whose objects can be listed, in one version each.
    pub(crate) fn listable(&self) -> Vec<&Resource> {
        let mut all: Vec<&Resource> = self
            .of_kind
            .values()
            .filter_map(|versions| versions.iter().find(|one| one.can("list")))
            .collect();
        all.sort_by(|a, b| (&a.group, &a.kind).cmp(&(&b.group, &b.kind)));
        all
    }

    /// What names an object of a manifest. Of a kind that the cluster does not know yet, its definition may tell
    /// whether it has a namespace.
    pub(crate) fn key(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Key {
        let group_kind = GroupKind {
            group: key::group(api_version).to_owned(),
            kind: kind.to_owned(),
        };
        let namespaced = match self
            .version(api_version, kind)
            .or_else(|| self.preferred(&group_kind))
        {
            Some(resource) => resource.namespaced,
            None => landfall_kinds::find(api_version, kind).map_or_else(
                || namespace.is_some() && !kind.starts_with("Cluster"),
                |kind| kind.namespaced,
            ),
        };
        Key {
            namespace: if namespaced {
                namespace.unwrap_or("default").to_owned()
            } else {
                String::new()
            },
            kind: group_kind.kind,
            group: group_kind.group,
            name: name.to_owned(),
        }
    }
}
