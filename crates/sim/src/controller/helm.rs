//! Helm, run in a pod: the way a chart comes into a cluster where nothing installs charts yet.
//!
//! A pod whose image is one of helm's is read for what it would run, `helm upgrade --install` and `helm
//! uninstall`, and that is done. Everything else in its script is taken to succeed.

use landfall_apiserver::Key;
use serde_json::Value;

use super::install::{Installer, contents, make_namespace, marked};
use crate::cluster::{Cluster, Fate, object};
use crate::world::State;

pub(super) const MANAGER: &str = "helm";
/// The annotations by which Helm knows its objects.
pub(super) const RELEASE: &str = "meta.helm.sh/release-name";
pub(super) const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
/// How often a command that waits looks.
const LOOK_MS: u64 = 5_000;

/// What one pod came to.
pub(super) enum Ran {
    Done,
    /// It waits for what it installed, and looks again.
    Waits,
    Failed(String),
}

/// One command.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Install {
        name: String,
        chart: String,
        repo: Option<String>,
        namespace: Option<String>,
        makes_namespace: bool,
        waits: bool,
    },
    Uninstall {
        name: String,
        namespace: Option<String>,
    },
}

/// The words of a script, without what only matters to a shell.
fn words(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut words = Vec::new();
    for line in text.split(['\n', ';']) {
        words.extend(
            line.split_whitespace()
                .map(|word| word.trim_matches(['"', '\'']).to_owned()),
        );
        words.push(";".to_owned());
    }
    words
}

fn parse(text: &str) -> Vec<Command> {
    let words = words(text);
    let ends = |word: &String| matches!(word.as_str(), ";" | "&&" | "||" | "|");
    words.split(ends).filter_map(one).collect()
}

fn one(words: &[String]) -> Option<Command> {
    let begin = words
        .iter()
        .position(|word| matches!(word.as_str(), "upgrade" | "install" | "uninstall"))?;
    let by_helm = words[..begin]
        .iter()
        .all(|word| !word.contains("kubectl") && word != "echo");
    if !by_helm {
        return None;
    }
    let mut plain = Vec::new();
    let (mut repo, mut namespace, mut makes_namespace, mut waits) = (None, None, false, false);
    let mut rest = words[begin + 1..].iter();
    while let Some(word) = rest.next() {
        let (flag, given) = word
            .split_once('=')
            .map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
        let mut value = || given.map(str::to_owned).or_else(|| rest.next().cloned());
        match flag {
            "--repo" => repo = value(),
            "-n" | "--namespace" => namespace = value(),
            "--create-namespace" => makes_namespace = true,
            "--wait" | "--atomic" | "--rollback-on-failure" => waits = true,
            "--version" | "-f" | "--values" | "--timeout" | "--set" | "--set-string" | "--set-json"
            | "--set-file" | "--kubeconfig" | "--description" | "--history-max" | "--server-side" => {
                value();
            }
            flag if flag.starts_with('-') => {}
            _ => plain.push(word.clone()),
        }
    }
    let mut plain = plain.into_iter();
    let name = plain.next()?;
    if words[begin] == "uninstall" {
        return Some(Command::Uninstall { name, namespace });
    }
    Some(Command::Install {
        name,
        chart: plain.next()?,
        repo,
        namespace,
        makes_namespace,
        waits,
    })
}

/// Everything the containers of a pod run.
fn script(pod: &Value) -> String {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut text = String::new();
    for container in containers {
        let image = container["image"].as_str().unwrap_or_default();
        if !image.contains("helm") {
            continue;
        }
        for part in ["command", "args"] {
            for word in container[part]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                text.push_str(word);
                text.push(' ');
            }
        }
        text.push('\n');
    }
    text
}

/// The repository of a chart and its name in there.
fn place<'a>(chart: &'a str, repo: Option<&'a str>) -> (&'a str, &'a str) {
    match repo {
        Some(repo) => (repo, chart),
        None => chart.rsplit_once('/').unwrap_or(("", chart)),
    }
}

impl State {
    /// Does what a pod's script asks of Helm; nothing when it has none.
    pub(super) fn run_helm(&mut self, cluster: &mut Cluster, key: &Key, pod: &Value, now: u64) -> Ran {
        let text = script(pod);
        for command in parse(&text) {
            match command {
                Command::Install {
                    name,
                    chart,
                    repo,
                    namespace,
                    makes_namespace,
                    waits,
                } => {
                    let namespace = namespace.unwrap_or_else(|| key.namespace.clone());
                    let (url, part) = place(&chart, repo.as_deref());
                    let Ok(bodies) = contents(self, url, part, &text) else {
                        return Ran::Failed(format!(
                            "Error: chart \"{part}\" not found in {url} repository (the simulated world has no such file in its charts)\n"
                        ));
                    };
                    if makes_namespace {
                        make_namespace(cluster, MANAGER, &namespace, now);
                    }
                    let keys = match release(cluster, &name, &namespace, &bodies, now) {
                        Ok(keys) => keys,
                        Err(why) => return Ran::Failed(format!("Error: {why}\n")),
                    };
                    if waits && keys.iter().any(|key| cluster.unready(key, now).is_some()) {
                        let ready_at = now + LOOK_MS;
                        let fate = Fate {
                            ready_at,
                            fails: None,
                        };
                        cluster.fates.insert(object::uid(pod).to_owned(), fate);
                        return Ran::Waits;
                    }
                }
                Command::Uninstall { name, namespace } => {
                    let namespace = namespace.unwrap_or_else(|| key.namespace.clone());
                    self.uninstall(cluster, &name, &namespace, now);
                }
            }
        }
        Ran::Done
    }

    /// Deletes what a release made, but for what is to be kept.
    pub(super) fn uninstall(&mut self, cluster: &mut Cluster, name: &str, namespace: &str, now: u64) -> bool {
        let all = released(cluster, name, namespace);
        for key in &all {
            self.delete_object(cluster, key, now);
        }
        all.iter().all(|key| cluster.api.get(key).is_none())
    }
}

/// What a release made.
fn released(cluster: &Cluster, name: &str, namespace: &str) -> Vec<Key> {
    let mut all = marked(cluster, RELEASE, |release| release == name);
    all.retain(|key| {
        let said = |name| cluster.api.get(key).and_then(|one| object::annotation(one, name));
        said(RELEASE_NAMESPACE) == Some(namespace) && said("helm.sh/resource-policy") != Some("keep")
    });
    all
}

/// Installs a release. The error is the first refusal.
pub(super) fn release(
    cluster: &mut Cluster,
    name: &str,
    namespace: &str,
    bodies: &[Value],
    now: u64,
) -> Result<Vec<Key>, String> {
    let marks = |_: &Key| {
        vec![
            (RELEASE.to_owned(), name.to_owned()),
            (RELEASE_NAMESPACE.to_owned(), namespace.to_owned()),
        ]
    };
    let installer = Installer {
        manager: MANAGER,
        namespace,
        marks: &marks,
    };
    let mut keys = Vec::new();
    for one in installer.install(cluster, bodies, now) {
        one.result.map_err(|why| format!("{}: {why}", one.key.said()))?;
        keys.push(one.key);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_for_what_helm_would_do() {
        let text = "sh -c set -e; helm upgrade --install argocd argo-cd --repo https://argoproj.github.io/argo-helm \\\n  --version 9.1.0 \
                    --namespace argocd --create-namespace --wait -f /values/values.yaml && echo done";
        assert_eq!(
            parse(text),
            [Command::Install {
                name: "argocd".to_owned(),
                chart: "argo-cd".to_owned(),
                repo: Some("https://argoproj.github.io/argo-helm".to_owned()),
                namespace: Some("argocd".to_owned()),
                makes_namespace: true,
                waits: true,
            }]
        );
        // The image's entrypoint is helm itself.
        assert_eq!(
            parse("uninstall argocd --namespace=argocd --ignore-not-found"),
            [Command::Uninstall {
                name: "argocd".to_owned(),
                namespace: Some("argocd".to_owned()),
            }]
        );
        assert_eq!(parse("kubectl delete crd install"), []);
    }

    #[test]
    fn a_chart_in_a_registry_says_both_where_it_is_and_what_it_is_called() {
        assert_eq!(
            place("oci://registry.example/charts/it", None),
            ("oci://registry.example/charts", "it")
        );
        assert_eq!(
            place("it", Some("https://charts.example")),
            ("https://charts.example", "it")
        );
    }
}
