//! Deployments, sets and jobs: they make pods, replace them when their template changes, and say how far
//! they are.

use std::collections::HashMap;
use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::Again;
use super::turn::MANAGER;
use crate::cluster::{Cluster, object};
use crate::random::Random;
use crate::world::State;

/// How long a workload may go without getting on until it says so.
const DEADLINE_S: u64 = 600;
/// What a hash of a pod's template is called among its labels.
const HASH: &str = "pod-template-hash";
const REVISION: &str = "controller-revision-hash";

/// The pods that something controls, by its uid.
type Owned = HashMap<String, Vec<(Key, Arc<Value>)>>;

/// Letters and digits as generated names have them: without those that make words.
pub(super) fn digits(of: &str, count: usize) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = Random::of(0, &["name", of]);
    (0..count)
        .map(|_| char::from(letters[(random.next() % letters.len() as u64) as usize]))
        .collect()
}

fn owned(cluster: &Cluster, group: &str, kind: &str) -> Owned {
    let mut owned = Owned::new();
    for (key, object) in cluster.api.of_kind(group, kind) {
        if let Some((_, _, uid)) = object::owner(object) {
            let entry = owned.entry(uid.to_owned()).or_default();
            entry.push((key.clone(), object.clone()));
        }
    }
    owned
}

fn of<'a>(owned: &'a Owned, owner: &Value) -> &'a [(Key, Arc<Value>)] {
    owned.get(object::uid(owner)).map_or(&[], Vec::as_slice)
}

fn is_ready(pod: &Value) -> bool {
    object::is_true(pod, "Ready") && !object::is_going(pod)
}

/// A pod as a template has it.
fn pod(owner: &Value, template: &Value, name: &str, labels: &[(&str, &str)]) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
        "ownerReferences": object::owned_by(owner),
    });
    if template["metadata"]["annotations"].is_object() {
        metadata["annotations"] = template["metadata"]["annotations"].clone();
    }
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    for (label, value) in labels {
        metadata["labels"][*label] = (*value).into();
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] })
}

/// How many of it there are to be.
fn replicas(owner: &Value) -> u64 {
    owner["spec"]["replicas"].as_u64().unwrap_or(1)
}

impl State {
    pub(super) fn run_workloads(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        deployments(cluster, now, again);
        replica_sets(cluster, now);
        stateful_sets(cluster, now);
        daemon_sets(cluster, now);
        self.jobs(cluster, now, again);
    }
}

fn deployments(cluster: &mut Cluster, now: u64, again: &mut Again) {
    let all = cluster.all("apps", "Deployment");
    if all.is_empty() {
        return;
    }
    let sets = owned(cluster, "apps", "ReplicaSet");
    for (key, deployment) in all {
        if object::is_going(&deployment) {
            continue;
        }
        let template = &deployment["spec"]["template"];
        let hash = digits(&template.to_string(), 10);
        let wanted = replicas(&deployment);
        let mine = of(&sets, &deployment);
        let is_new = |set: &Value| set["metadata"]["labels"][HASH] == hash.as_str();
        let new = mine.iter().find(|(_, set)| is_new(set));
        let old: Vec<&(Key, Arc<Value>)> = mine.iter().filter(|(_, set)| !is_new(set)).collect();
        let old_count: u64 = old.iter().map(|(_, set)| count(set, "replicas")).sum();
        let recreates = deployment["spec"]["strategy"]["type"] == "Recreate";
        match new {
            None if recreates && old_count > 0 => {
                for (old, _) in &old {
                    cluster.edit(MANAGER, old, now, |set| set["spec"]["replicas"] = json!(0));
                }
            }
            None => {
                let mut labels = template["metadata"]["labels"].clone();
                if !labels.is_object() {
                    labels = json!({});
                }
                labels[HASH] = hash.as_str().into();
                let mut template = template.clone();
                template["metadata"]["labels"] = labels.clone();
                let revision = mine.len() + 1;
                let body = json!({
                    "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "metadata": {
                        "name": format!("{}-{hash}", key.name), "namespace": key.namespace, "labels": labels,
                        "annotations": { "deployment.kubernetes.io/revision": revision.to_string() },
                        "ownerReferences": object::owned_by(&deployment),
                    },
                    "spec": { "replicas": wanted, "selector": { "matchLabels": labels }, "template": template },
                });
                let _ = cluster.create(MANAGER, body, now);
            }
            Some((new, set)) => {
                if replicas(set) != wanted {
                    cluster.edit(MANAGER, new, now, |set| set["spec"]["replicas"] = json!(wanted));
                } else if count(set, "readyReplicas") >= wanted {
                    // The new ones serve: the old ones are not needed any more.
                    for (old, _) in &old {
                        cluster.delete(old, now);
                    }
                }
            }
        }
        deployment_status(cluster, &key, &deployment, &hash, now, again);
    }
}

/// A number in a status.
fn count(object: &Value, name: &str) -> u64 {
    object["status"][name].as_u64().unwrap_or(0)
}

fn deployment_status(
    cluster: &mut Cluster,
    key: &Key,
    deployment: &Value,
    hash: &str,
    now: u64,
    again: &mut Again,
) {
    let sets = owned(cluster, "apps", "ReplicaSet");
    let mine = of(&sets, deployment);
    let all: u64 = mine.iter().map(|(_, set)| count(set, "replicas")).sum();
    let ready: u64 = mine.iter().map(|(_, set)| count(set, "readyReplicas")).sum();
    let new = mine
        .iter()
        .find(|(_, set)| set["metadata"]["labels"][HASH] == hash);
    let updated = new.map_or(0, |(_, set)| count(set, "replicas"));
    let new_ready = new.map_or(0, |(_, set)| count(set, "readyReplicas"));
    let wanted = replicas(deployment);
    let text = cluster.text(now);
    let is_available = ready >= wanted;
    let is_done = new_ready >= wanted && all == updated && updated >= wanted;
    let set_name = format!("{}-{hash}", key.name);
    let available = if is_available {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    let mut conditions = vec![object::put_condition(
        deployment,
        "Available",
        is_available,
        available.0,
        available.1,
        &text,
    )];
    // It gets on whenever more of it is ready.
    let moved = count(deployment, "readyReplicas") != ready
        || count(deployment, "updatedReplicas") != updated
        || deployment["status"]["observedGeneration"] != deployment["metadata"]["generation"];
    let before = object::condition(deployment, "Progressing");
    let since = before
        .filter(|_| !moved)
        .and_then(|before| before["lastUpdateTime"].as_str())
        .unwrap_or(&text)
        .to_owned();
    let deadline = deployment["spec"]["progressDeadlineSeconds"]
        .as_u64()
        .unwrap_or(DEADLINE_S);
    let waited = seconds_since(cluster, &since, now);
    let mut progressing = if is_done {
        object::put_condition(
            deployment,
            "Progressing",
            true,
            "NewReplicaSetAvailable",
            &format!("ReplicaSet \"{set_name}\" has successfully progressed."),
            &text,
        )
    } else if waited >= deadline {
        object::put_condition(
            deployment,
            "Progressing",
            false,
            "ProgressDeadlineExceeded",
            &format!("ReplicaSet \"{set_name}\" has timed out progressing."),
            &text,
        )
    } else {
        again.at(now + (deadline - waited) * 1000);
        object::put_condition(
            deployment,
            "Progressing",
            true,
            "ReplicaSetUpdated",
            &format!("ReplicaSet \"{set_name}\" is progressing."),
            &text,
        )
    };
    progressing["lastUpdateTime"] = since.into();
    conditions.push(progressing);
    let refused = new.and_then(|(_, set)| object::condition(set, "ReplicaFailure"));
    conditions.extend(refused.cloned());
    let mut status = json!({
        "observedGeneration": object::generation(deployment),
        "replicas": all, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready,
        "conditions": conditions,
    });
    let missing = (wanted.max(all)).saturating_sub(ready);
    if missing > 0 {
        status["unavailableReplicas"] = json!(missing);
    }
    cluster.set_status(MANAGER, key, status, now);
}

/// How long ago something was, as an object shows it.
fn seconds_since(cluster: &Cluster, since: &str, now: u64) -> u64 {
    let Ok(since) = since.parse::<jiff::Timestamp>() else {
        return 0;
    };
    u64::try_from(cluster.stamp(now).duration_since(since).as_secs()).unwrap_or(0)
}

fn replica_sets(cluster: &mut Cluster, now: u64) {
    let sets = cluster.all("apps", "ReplicaSet");
    if sets.is_empty() {
        return;
    }
    let pods = owned(cluster, "", "Pod");
    for (key, set) in sets {
        if object::is_going(&set) {
            continue;
        }
        let mine: Vec<&(Key, Arc<Value>)> = of(&pods, &set)
            .iter()
            .filter(|(_, pod)| !object::is_going(pod))
            .collect();
        let wanted = replicas(&set);
        let mut failure = None;
        let mut stand = mine.len() as u64;
        let mut number = 0;
        while stand < wanted && failure.is_none() {
            let named = loop {
                let name = format!(
                    "{}-{}",
                    key.name,
                    digits(&format!("{}{number}", object::uid(&set)), 5)
                );
                number += 1;
                if cluster
                    .api
                    .get(&object::key("v1", "Pod", &key.namespace, &name))
                    .is_none()
                {
                    break name;
                }
            };
            match cluster.create(MANAGER, pod(&set, &set["spec"]["template"], &named, &[]), now) {
                Ok(_) => stand += 1,
                Err(status) => failure = Some(status.message),
            }
        }
        let surplus = mine
            .len()
            .saturating_sub(usize::try_from(wanted).unwrap_or(usize::MAX));
        let mut going: Vec<_> = mine.iter().map(|(key, pod)| (is_ready(pod), key)).collect();
        going.sort();
        for (_, pod) in going.into_iter().take(surplus) {
            cluster.delete(pod, now);
        }
        let ready = mine.iter().filter(|(_, pod)| is_ready(pod)).count();
        let mut status = json!({
            "observedGeneration": object::generation(&set),
            "replicas": stand.min(wanted), "fullyLabeledReplicas": stand.min(wanted),
            "readyReplicas": ready, "availableReplicas": ready,
        });
        if let Some(why) = failure {
            let text = cluster.text(now);
            status["conditions"] = json!([object::put_condition(
                &set,
                "ReplicaFailure",
                true,
                "FailedCreate",
                &why,
                &text
            )]);
        }
        cluster.set_status(MANAGER, &key, status, now);
    }
}

fn stateful_sets(cluster: &mut Cluster, now: u64) {
    let sets = cluster.all("apps", "StatefulSet");
    if sets.is_empty() {
        return;
    }
    let pods = owned(cluster, "", "Pod");
    for (key, set) in sets {
        if object::is_going(&set) {
            continue;
        }
        let template = &set["spec"]["template"];
        let revision = format!("{}-{}", key.name, digits(&template.to_string(), 10));
        let mine = of(&pods, &set);
        let wanted = replicas(&set);
        let parallel = set["spec"]["podManagementPolicy"] == "Parallel";
        let named = |number: u64| format!("{}-{number}", key.name);
        for number in 0..wanted {
            let name = named(number);
            let stands = mine.iter().find(|(key, _)| key.name == name);
            if stands.is_none() {
                make_claims(cluster, &key, &set, number, now);
                let mut body = pod(
                    &set,
                    template,
                    &name,
                    &[
                        (REVISION, &revision),
                        ("statefulset.kubernetes.io/pod-name", &name),
                        ("apps.kubernetes.io/pod-index", &number.to_string()),
                    ],
                );
                mount_claims(&mut body, &set, &key.name, number);
                let _ = cluster.create(MANAGER, body, now);
            }
            if !parallel && !stands.is_some_and(|(_, pod)| is_ready(pod)) {
                break;
            }
        }
        for (key, _) in mine {
            let number = key
                .name
                .rsplit('-')
                .next()
                .and_then(|number| number.parse::<u64>().ok());
            if number.is_none_or(|number| number >= wanted) {
                cluster.delete(key, now);
            }
        }
        let is_new = |pod: &Value| pod["metadata"]["labels"][REVISION] == revision.as_str();
        let ready = mine.iter().filter(|(_, pod)| is_ready(pod)).count();
        let updated = mine.iter().filter(|(_, pod)| is_new(pod)).count();
        // One after the other, from the last on.
        let everyone = ready as u64 == wanted;
        let old = mine
            .iter()
            .filter(|(_, pod)| !is_new(pod) && !object::is_going(pod));
        let next = old.max_by_key(|(key, _)| key.name.clone());
        if let Some((old, body)) = next
            && (everyone || !is_ready(body))
        {
            cluster.delete(old, now);
        }
        let before = set["status"]["currentRevision"].as_str();
        let current = if updated as u64 >= wanted {
            &revision
        } else {
            before.unwrap_or(&revision)
        };
        let status = json!({
            "observedGeneration": object::generation(&set),
            "replicas": mine.len(), "readyReplicas": ready, "availableReplicas": ready,
            "currentReplicas": mine.len(), "updatedReplicas": updated,
            "currentRevision": current, "updateRevision": revision, "collisionCount": 0,
        });
        cluster.set_status(MANAGER, &key, status, now);
    }
}

/// The claims a stateful set makes for one of its pods: the names of their templates, and their own.
fn claims_of(set: &Value, set_name: &str, number: u64) -> Vec<(String, String, Value)> {
    let templates = set["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten();
    templates
        .map(|template| {
            let name = template["metadata"]["name"].as_str().unwrap_or_default();
            (
                name.to_owned(),
                format!("{name}-{set_name}-{number}"),
                template.clone(),
            )
        })
        .collect()
}

/// Stateful sets make claims for their pods, which stay when the set goes.
fn make_claims(cluster: &mut Cluster, key: &Key, set: &Value, number: u64, now: u64) {
    for (_, name, template) in claims_of(set, &key.name, number) {
        let claim = object::key("v1", "PersistentVolumeClaim", &key.namespace, &name);
        if cluster.api.get(&claim).is_some() {
            continue;
        }
        let mut metadata = json!({ "name": name, "namespace": key.namespace });
        let labels = &set["spec"]["selector"]["matchLabels"];
        if labels.is_object() {
            metadata["labels"] = labels.clone();
        }
        let body = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"],
        });
        let _ = cluster.create(MANAGER, body, now);
    }
}

fn mount_claims(pod: &mut Value, set: &Value, set_name: &str, number: u64) {
    let claims = claims_of(set, set_name, number);
    if claims.is_empty() {
        return;
    }
    let volumes = &mut pod["spec"]["volumes"];
    if !volumes.is_array() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        for (template, name, _) in claims {
            volumes.push(json!({ "name": template, "persistentVolumeClaim": { "claimName": name } }));
        }
    }
}

fn daemon_sets(cluster: &mut Cluster, now: u64) {
    let sets = cluster.all("apps", "DaemonSet");
    if sets.is_empty() {
        return;
    }
    let pods = owned(cluster, "", "Pod");
    let nodes = cluster.all("", "Node");
    for (key, set) in sets {
        if object::is_going(&set) {
            continue;
        }
        let template = &set["spec"]["template"];
        let revision = digits(&template.to_string(), 10);
        let mine = of(&pods, &set);
        let selector = &template["spec"]["nodeSelector"];
        let fitting: Vec<&str> = nodes
            .iter()
            .filter(|(_, node)| selector.is_null() || object::selects(selector, &node["metadata"]["labels"]))
            .map(|(node, _)| node.name.as_str())
            .collect();
        for node in &fitting {
            if mine.iter().any(|(_, pod)| pod["spec"]["nodeName"] == *node) {
                continue;
            }
            let name = format!(
                "{}-{}",
                key.name,
                digits(&format!("{}{node}{revision}", object::uid(&set)), 5)
            );
            let mut body = pod(&set, template, &name, &[(REVISION, &revision)]);
            body["spec"]["nodeName"] = (*node).into();
            let _ = cluster.create(MANAGER, body, now);
        }
        let is_new = |pod: &Value| pod["metadata"]["labels"][REVISION] == revision.as_str();
        let ready = mine.iter().filter(|(_, pod)| is_ready(pod)).count();
        let updated = mine.iter().filter(|(_, pod)| is_new(pod)).count();
        let old = mine
            .iter()
            .find(|(_, pod)| !is_new(pod) && !object::is_going(pod));
        if let Some((old, body)) = old
            && (ready == fitting.len() || !is_ready(body))
        {
            cluster.delete(old, now);
        }
        let mut status = json!({
            "observedGeneration": object::generation(&set),
            "desiredNumberScheduled": fitting.len(), "currentNumberScheduled": mine.len(),
            "updatedNumberScheduled": updated, "numberReady": ready, "numberAvailable": ready, "numberMisscheduled": 0,
        });
        if fitting.len() > ready {
            status["numberUnavailable"] = json!(fitting.len() - ready);
        }
        cluster.set_status(MANAGER, &key, status, now);
    }
}

/// Why a job is not tried again.
fn gave_up(
    cluster: &Cluster,
    job: &Value,
    too_often: bool,
    now: u64,
    again: &mut Again,
) -> Option<(&'static str, &'static str)> {
    if too_often {
        return Some((
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ));
    }
    let (deadline, since) = (
        job["spec"]["activeDeadlineSeconds"].as_u64()?,
        job["status"]["startTime"].as_str()?,
    );
    let waited = seconds_since(cluster, since, now);
    if waited >= deadline {
        return Some((
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        ));
    }
    again.at(now + (deadline - waited) * 1000);
    None
}

impl State {
    fn jobs(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        let jobs = cluster.all("batch", "Job");
        if jobs.is_empty() {
            return;
        }
        let pods = owned(cluster, "", "Pod");
        for (key, job) in jobs {
            let is_over = object::is_true(&job, "Complete") || object::is_true(&job, "Failed");
            if object::is_going(&job) || is_over {
                continue;
            }
            let mine = of(&pods, &job);
            let text = cluster.text(now);
            if job["spec"]["suspend"] == true {
                for (pod, _) in mine {
                    cluster.delete(pod, now);
                }
                let suspended =
                    object::put_condition(&job, "Suspended", true, "JobSuspended", "Job suspended", &text);
                cluster.set_status(MANAGER, &key, json!({ "conditions": [suspended] }), now);
                continue;
            }
            let phase = |phase: &str| {
                mine.iter()
                    .filter(|(_, pod)| pod["status"]["phase"] == phase)
                    .count()
            };
            let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
            let active = mine.len() - succeeded - failed;
            let wanted = job["spec"]["completions"].as_u64().unwrap_or(1) as usize;
            let retries = job["spec"]["backoffLimit"].as_u64().unwrap_or(6) as usize;
            let mut status = json!({
                "startTime": job["status"]["startTime"].as_str().unwrap_or(&text),
                "active": active, "ready": active, "succeeded": succeeded, "failed": failed,
                "terminating": 0, "uncountedTerminatedPods": {},
            });
            if succeeded >= wanted {
                status["completionTime"] = text.as_str().into();
                let done = "Reached expected number of succeeded pods";
                status["conditions"] = json!([
                    object::put_condition(
                        &job,
                        "SuccessCriteriaMet",
                        true,
                        "CompletionsReached",
                        done,
                        &text
                    ),
                    object::put_condition(&job, "Complete", true, "CompletionsReached", done, &text),
                ]);
            } else if let Some((reason, why)) = gave_up(cluster, &job, failed > retries, now, again) {
                for (pod, _) in mine.iter().filter(|(_, pod)| pod["status"]["phase"] != "Failed") {
                    cluster.delete(pod, now);
                }
                status["conditions"] = json!([
                    object::put_condition(&job, "FailureTarget", true, reason, why, &text),
                    object::put_condition(&job, "Failed", true, reason, why, &text),
                ]);
            } else {
                // Tried again later and later: after ten seconds, twenty, forty.
                let wait = if failed == 0 {
                    0
                } else {
                    10_000_u64 << (failed - 1).min(5)
                };
                let last = mine
                    .iter()
                    .filter_map(|(_, pod)| {
                        pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"].as_str()
                    })
                    .max();
                let waited = last.map_or(u64::MAX, |last| {
                    seconds_since(cluster, last, now).saturating_mul(1000)
                });
                if active == 0 && waited < wait {
                    again.at(now + (wait - waited));
                } else if active + succeeded < wanted && active == 0 {
                    let name = format!(
                        "{}-{}",
                        key.name,
                        digits(&format!("{}{}", object::uid(&job), mine.len()), 5)
                    );
                    let labels = [
                        ("batch.kubernetes.io/job-name", key.name.as_str()),
                        ("job-name", key.name.as_str()),
                    ];
                    let body = pod(&job, &job["spec"]["template"], &name, &labels);
                    let _ = cluster.create(MANAGER, body, now);
                }
            }
            cluster.set_status(MANAGER, &key, status, now);
        }
    }
}
