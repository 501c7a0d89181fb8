//! What charts bring, as far as others wait for it or call it: a list of files, one for each chart.

use std::sync::LazyLock;

use landfall_model::work::TAG_PLATFORM;
use rust_embed::RustEmbed;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(RustEmbed)]
#[folder = "charts"]
struct Files;

/// One chart, or one folder of a repository.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Chart {
    /// Where it comes from; for an OCI registry without `oci://`.
    #[serde(rename = "repoURL")]
    repo_url: String,
    chart: Option<String>,
    /// In a git repository, instead of a chart.
    path: Option<String>,
    kinds: Vec<Kind>,
    workloads: Vec<Workload>,
    objects: Vec<Value>,
}

/// A kind it defines.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kind {
    group: String,
    version: String,
    kind: String,
    plural: String,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Scope {
    #[default]
    Namespaced,
    Cluster,
}

/// Something it runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workload {
    kind: String,
    name: String,
    /// The label `app.kubernetes.io/name` of it and its pods.
    app: Option<String>,
    #[serde(default = "one")]
    replicas: u64,
}

fn one() -> u64 {
    1
}

static CHARTS: LazyLock<Vec<Chart>> = LazyLock::new(|| {
    Files::iter()
        .filter(|name| name.ends_with(".yaml"))
        .map(|name| {
            let file = Files::get(&name).expect("it was just listed");
            let text = String::from_utf8_lossy(&file.data).into_owned();
            serde_saphyr::from_str(&text)
                .unwrap_or_else(|why| panic!("charts/{name} must say what a chart brings: {why}"))
        })
        .collect()
});

/// An address without what does not matter.
fn plain(url: &str) -> &str {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.trim_end_matches('/').trim_end_matches(".git")
}

/// A chart by where it comes from; `part` is its name, or the folder in a repository.
pub(crate) fn find(url: &str, part: &str) -> Option<&'static Chart> {
    let whole = format!("{}/{part}", plain(url));
    CHARTS.iter().find(|chart| {
        let own = chart
            .chart
            .as_deref()
            .or(chart.path.as_deref())
            .unwrap_or_default();
        format!("{}/{own}", plain(&chart.repo_url)) == whole
    })
}

/// A chart by its name alone: for add-ons, which are charts that AWS installs.
pub(crate) fn named(name: &str) -> Option<&'static Chart> {
    CHARTS.iter().find(|chart| chart.chart.as_deref() == Some(name))
}

/// A definition of a kind of which nothing is known but its name.
fn definition(kinds: &[&Kind]) -> Value {
    let first = kinds[0];
    let versions: Vec<Value> = kinds
        .iter()
        .enumerate()
        .map(|(at, kind)| {
            json!({
                "name": kind.version, "served": true, "storage": at == 0, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", first.plural, first.group) },
        "spec": {
            "group": first.group,
            "scope": if first.scope == Scope::Cluster { "Cluster" } else { "Namespaced" },
            "names": {
                "kind": first.kind, "listKind": format!("{}List", first.kind), "plural": first.plural,
                "singular": first.kind.to_lowercase(),
            },
            "versions": versions,
        },
    })
}

impl Workload {
    fn object(&self, image: &str, marks: Option<&str>) -> Value {
        let app = self.app.as_deref().unwrap_or(&self.name);
        let labels = json!({ "app.kubernetes.io/name": app, "app.kubernetes.io/component": self.name });
        let mut container = json!({ "name": "main", "image": image });
        if let Some(platform) = marks {
            container["args"] = json!([format!("--default-tags={TAG_PLATFORM}={platform}")]);
        }
        let pod = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
        let (version, mut spec) = match self.kind.as_str() {
            "Job" => ("batch/v1", json!({ "template": pod })),
            _ => (
                "apps/v1",
                json!({ "selector": { "matchLabels": labels }, "template": pod }),
            ),
        };
        match self.kind.as_str() {
            "Job" => spec["template"]["spec"]["restartPolicy"] = "Never".into(),
            "DaemonSet" => {}
            _ => spec["replicas"] = json!(self.replicas),
        }
        if self.kind == "StatefulSet" {
            spec["serviceName"] = self.name.as_str().into();
        }
        json!({
            "apiVersion": version, "kind": self.kind, "metadata": { "name": self.name, "labels": labels }, "spec": spec,
        })
    }
}

impl Chart {
    /// The definitions of the kinds it brings.
    pub(crate) fn definitions(&self) -> Vec<Value> {
        let mut done: Vec<(&str, &str)> = Vec::new();
        let mut all = Vec::new();
        for kind in &self.kinds {
            let name = (kind.group.as_str(), kind.plural.as_str());
            if !done.contains(&name) {
                done.push(name);
                let same = self
                    .kinds
                    .iter()
                    .filter(|one| (one.group.as_str(), one.plural.as_str()) == name);
                all.push(definition(&same.collect::<Vec<_>>()));
            }
        }
        all
    }

    /// Everything it brings, definitions first. What it runs marks what it makes as its values say.
    pub(crate) fn all(&self, values: &str) -> Vec<Value> {
        let name = self.chart.as_deref().or(self.path.as_deref()).unwrap_or_default();
        let image = format!("registry.example/{}:1", name.trim_matches('/').to_lowercase());
        let marks = marks(values);
        let mut all = self.definitions();
        all.extend(
            self.workloads
                .iter()
                .map(|one| one.object(&image, marks.as_deref())),
        );
        all.extend(self.objects.iter().cloned());
        all
    }
}

/// The platform whose tag is among some values.
fn marks(values: &str) -> Option<String> {
    let (_, rest) = values.split_once(TAG_PLATFORM)?;
    let name = rest.trim_start_matches(['"', '\'', '=', ':', ' ', '\\']);
    let end = name
        .find([',', '"', '\'', '}', ' ', '\n', '\\'])
        .unwrap_or(name.len());
    Some(name[..end].to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_says_where_it_comes_from_and_what_it_runs() {
        for chart in CHARTS.iter() {
            assert!(
                !chart.repo_url.is_empty() && chart.chart.is_some() != chart.path.is_some(),
                "{chart:?}"
            );
            for body in chart.all("") {
                let complete = ["apiVersion", "kind"].iter().all(|field| body[field].is_string());
                assert!(complete && body["metadata"]["name"].is_string(), "{body}");
                if body["kind"] == "CustomResourceDefinition" {
                    let names = &body["spec"]["names"];
                    assert!(
                        ["kind", "plural"].iter().all(|field| names[field] != ""),
                        "{body}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_chart_runs_marks_what_it_makes() {
        assert_eq!(
            marks(r#"{"defaultTags":{"landfall:platform":"town"}}"#).as_deref(),
            Some("town")
        );
        assert_eq!(
            marks("--set-string tags.landfall:platform=town --wait").as_deref(),
            Some("town")
        );
        assert_eq!(marks("{}"), None);
    }
}
