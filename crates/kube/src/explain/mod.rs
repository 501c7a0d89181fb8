//! Says why an object is not ready, from what stands around it: its pods, their claims, what it made, and the events
//! about all of them. Pure: the caller looks around, this tells what explains.
//!
//! The deepest cause wins: a volume that cannot be made explains a claim, which explains a pod, which explains a
//! Deployment.

mod ways;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::key::Key;
use crate::readiness::{condition, is_true, said};

/// What stands around an object.
#[derive(Clone, Debug, Default)]
pub struct Related {
    /// Its pods that are not ready, or itself.
    pub pods: Vec<Value>,
    /// Events about it, its pods, their claims and what it made.
    pub events: Vec<Value>,
    /// The claims its pods use.
    pub claims: Vec<Value>,
    /// What it made, or what an Application manages.
    pub owned: Vec<Value>,
    /// The last line of a pod's log, by `namespace/name`.
    pub logs: BTreeMap<String, String>,
}

/// Why an object is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// In the words of Kubernetes.
    pub why: String,
    /// What to do about it.
    pub way_out: String,
    /// What it lies at, when that is not the object itself: a kind and `namespace/name`.
    pub subject: Option<(String, String)>,
}

/// Finds what explains that an object is not ready.
pub fn explain(object: &Value, related: &Related) -> Option<Explanation> {
    let looking = Looking { object, related };
    looking
        .pods()
        .or_else(|| looking.refused_pods())
        .or_else(|| looking.claim(object))
        .or_else(|| looking.parts())
        .or_else(|| looking.certificate())
        .or_else(|| looking.machines())
        .or_else(|| looking.warning())
}

struct Looking<'a> {
    object: &'a Value,
    related: &'a Related,
}

/// A container that does not run, and where that is said.
struct Stuck {
    reason: String,
    message: String,
}

impl Looking<'_> {
    fn found(&self, at: &Value, why: impl Into<String>, way_out: String) -> Explanation {
        let (subject, own) = (Key::of(at), Key::of(self.object));
        Explanation {
            why: why.into(),
            way_out,
            subject: (subject != own).then(|| (subject.kind.clone(), subject.place())),
        }
    }

    /// The newest event about an object with one of these reasons; any warning when none are given.
    fn event(&self, about: &Value, reasons: &[&str]) -> Option<(&str, &str)> {
        let metadata = &about["metadata"];
        let fits = |event: &&Value| {
            let of = &event["involvedObject"];
            let same = if of["uid"].is_null() || metadata["uid"].is_null() {
                of["kind"] == about["kind"] && of["name"] == metadata["name"]
            } else {
                of["uid"] == metadata["uid"]
            };
            let reason = event["reason"].as_str().unwrap_or_default();
            same && if reasons.is_empty() {
                event["type"] == "Warning"
            } else {
                reasons.contains(&reason)
            }
        };
        let newest = self
            .related
            .events
            .iter()
            .filter(fits)
            .max_by_key(|event| when(event))?;
        Some((
            newest["reason"].as_str()?,
            newest["message"].as_str().unwrap_or_default().trim(),
        ))
    }

    fn pods(&self) -> Option<Explanation> {
        let pods = &self.related.pods;
        let by_container = pods.iter().find_map(|pod| self.container(pod));
        by_container
            .or_else(|| pods.iter().find_map(|pod| self.unscheduled(pod)))
            .or_else(|| pods.iter().find_map(|pod| self.starting(pod)))
            .or_else(|| pods.iter().find_map(|pod| self.failed_pod(pod)))
    }

    fn container(&self, pod: &Value) -> Option<Explanation> {
        let lists = ["initContainerStatuses", "containerStatuses"];
        let mut all = lists
            .iter()
            .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
        let (name, stuck) = all.find_map(|container| {
            let name = container["name"].as_str().unwrap_or_default();
            Some((name, stuck(container)?))
        })?;
        let Stuck { reason, mut message } = stuck;
        if reason == "ErrImagePull" || reason == "ImagePullBackOff" {
            // The container only says that it backs off; the event says what the registry answered.
            let pull = self.event(pod, &["Failed"]).map(|(_, said)| said);
            if let Some(said) = pull.filter(|said| said.contains("pull")) {
                message = said.to_owned();
            }
        }
        if let Some(line) = self.related.logs.get(&Key::of(pod).place()) {
            message = format!("{message}; its last words: {}", line.trim());
        }
        let why = format!(
            "container {name} of pod {}: {reason}: {message}",
            Key::of(pod).place()
        );
        let way_out = ways::container(&Key::of(pod), &reason, &message);
        Some(self.found(pod, why, way_out))
    }

    fn unscheduled(&self, pod: &Value) -> Option<Explanation> {
        let scheduled = condition(&pod["status"], "PodScheduled").filter(|one| one["status"] == "False")?;
        let by_event = self
            .event(pod, &["FailedScheduling"])
            .map(|(_, message)| message.to_owned());
        let message = scheduled["message"]
            .as_str()
            .map(str::to_owned)
            .or(by_event)
            .unwrap_or_default();
        if message.contains("unbound") || message.contains("persistentvolumeclaim") {
            let mut claims = self.related.claims.iter();
            if let Some(found) = claims.find_map(|claim| self.claim(claim)) {
                return Some(found);
            }
        }
        let why = format!("pod {} has no machine: {message}", Key::of(pod).place());
        let way_out = ways::unscheduled(&Key::of(pod), &message);
        Some(self.found(pod, why, way_out))
    }

    /// A pod that has a machine and does not get on.
    fn starting(&self, pod: &Value) -> Option<Explanation> {
        const HELD: &[&str] = &[
            "FailedMount",
            "FailedAttachVolume",
            "FailedCreatePodSandBox",
            "FailedMapVolume",
        ];
        let key = Key::of(pod);
        if let Some((reason, message)) = self.event(pod, HELD) {
            let why = format!("pod {}: {reason}: {message}", key.place());
            return Some(self.found(pod, why, ways::starting(&key, reason, message)));
        }
        let (reason, message) = self.event(pod, &["Unhealthy"])?;
        let why = format!(
            "pod {} runs, and is {}: {message}",
            key.place(),
            reason.to_lowercase()
        );
        Some(self.found(pod, why, ways::probe(&key)))
    }

    fn failed_pod(&self, pod: &Value) -> Option<Explanation> {
        let status = &pod["status"];
        if status["phase"] != "Failed" {
            return None;
        }
        let key = Key::of(pod);
        let message = status["message"]
            .as_str()
            .or(status["reason"].as_str())
            .unwrap_or("it has failed");
        let why = format!("pod {}: {message}", key.place());
        Some(self.found(pod, why, ways::look(&key)))
    }

    /// Pods that may not even be made: a quota, a webhook, Pod Security.
    fn refused_pods(&self) -> Option<Explanation> {
        let makers = self.related.owned.iter().chain([self.object]);
        for maker in makers {
            let by_event = self
                .event(maker, &["FailedCreate"])
                .map(|(_, message)| message.to_owned());
            let by_condition = || {
                let failure = condition(&maker["status"], "ReplicaFailure").filter(|one| is_true(one))?;
                Some(failure["message"].as_str()?.to_owned())
            };
            if let Some(message) = by_event.or_else(by_condition) {
                let why = format!("{} may not make pods: {message}", Key::of(maker).said());
                return Some(self.found(maker, why, ways::refused(&Key::of(maker), &message)));
            }
        }
        None
    }

    fn claim(&self, claim: &Value) -> Option<Explanation> {
        const SAID: &[&str] = &[
            "ProvisioningFailed",
            "FailedBinding",
            "ExternalExpanding",
            "VolumeResizeFailed",
        ];
        if claim["kind"] != "PersistentVolumeClaim" || claim["status"]["phase"] == "Bound" {
            return None;
        }
        let (reason, message) = self.event(claim, SAID)?;
        let key = Key::of(claim);
        let why = format!("claim {}: {reason}: {message}", key.place());
        Some(self.found(claim, why, ways::claim(&key, message)))
    }

    /// What an Application manages and does not get.
    fn parts(&self) -> Option<Explanation> {
        if self.object["kind"] != "Application" {
            return None;
        }
        let status = &self.object["status"];
        let synced = status["operationState"]["syncResult"]["resources"].as_array();
        for part in synced.into_iter().flatten() {
            let is_bad = part["status"] == "SyncFailed"
                || part["hookPhase"] == "Failed"
                || part["hookPhase"] == "Error";
            if is_bad {
                let message = part["message"].as_str().unwrap_or_default();
                let way_out = ways::part(&Key::of(self.object), message);
                return Some(self.part(part, message, way_out));
            }
        }
        // The parts themselves tell more than their line in the Application.
        for part in &self.related.owned {
            let others = Related {
                owned: Vec::new(),
                ..self.related.clone()
            };
            if let Some(found) = explain(part, &others) {
                let key = Key::of(part);
                let subject = found.subject.clone().or(Some((key.kind.clone(), key.place())));
                return Some(Explanation { subject, ..found });
            }
        }
        let listed = status["resources"].as_array().into_iter().flatten();
        let mut unwell: Vec<&Value> = listed.filter(|part| weight(part) > 0).collect();
        unwell.sort_by_key(|part| std::cmp::Reverse(weight(part)));
        let part = unwell.first()?;
        let health = part["health"]["status"].as_str().unwrap_or("not there");
        let message = part["health"]["message"].as_str().unwrap_or_default();
        let message = format!("{health}{}{message}", if message.is_empty() { "" } else { ": " });
        let way_out = ways::part(&Key::of(self.object), &message);
        Some(self.part(part, &message, way_out))
    }

    fn part(&self, part: &Value, message: &str, way_out: String) -> Explanation {
        let text = |field: &str| part[field].as_str().unwrap_or_default();
        let place = match text("namespace") {
            "" => text("name").to_owned(),
            namespace => format!("{namespace}/{}", text("name")),
        };
        Explanation {
            why: format!("its {} {place}: {message}", text("kind")),
            way_out,
            subject: Some((text("kind").to_owned(), place)),
        }
    }

    /// A certificate is held up by its request, which is held up by an order, which is held up by a challenge.
    fn certificate(&self) -> Option<Explanation> {
        for kind in ["Challenge", "Order", "CertificateRequest"] {
            for one in self.related.owned.iter().filter(|one| one["kind"] == kind) {
                let status = &one["status"];
                let reason = status["reason"].as_str().filter(|reason| !reason.is_empty());
                let by_condition = || {
                    let ready = condition(status, "Ready").filter(|one| !is_true(one))?;
                    Some(said(ready))
                };
                if let Some(reason) = reason.map(str::to_owned).or_else(by_condition) {
                    let domain = one["spec"]["dnsName"]
                        .as_str()
                        .map_or(String::new(), |name| format!(" for {name}"));
                    let why = format!("the {} of its certificate{domain}: {reason}", kind.to_lowercase());
                    return Some(self.found(one, why, ways::certificate(&Key::of(one), &reason)));
                }
            }
        }
        None
    }

    /// Machines that a node pool asked for and does not get.
    fn machines(&self) -> Option<Explanation> {
        let claims = self.related.owned.iter().filter(|one| one["kind"] == "NodeClaim");
        for claim in claims {
            for kind in ["Launched", "Registered", "Initialized"] {
                if let Some(one) = condition(&claim["status"], kind).filter(|one| one["status"] == "False") {
                    let why = format!("its machine {}: {}", Key::of(claim).place(), said(one));
                    return Some(self.found(claim, why, ways::machine(&Key::of(claim))));
                }
            }
        }
        None
    }

    /// The last thing that went wrong with the object, or with what it made.
    fn warning(&self) -> Option<Explanation> {
        let all = [self.object]
            .into_iter()
            .chain(&self.related.owned)
            .chain(&self.related.pods);
        for one in all {
            if let Some((reason, message)) = self.event(one, &[]) {
                let why = format!("{reason}: {message}");
                let key = Key::of(one);
                return Some(self.found(one, why, ways::warning(&key, message)));
            }
        }
        None
    }
}

/// When an event was seen last. Newer events carry their time in other fields.
fn when(event: &Value) -> &str {
    ["lastTimestamp", "eventTime", "firstTimestamp"]
        .iter()
        .find_map(|field| event[*field].as_str())
        .or(event["metadata"]["creationTimestamp"].as_str())
        .unwrap_or_default()
}

/// How unwell a part of an Application is.
fn weight(part: &Value) -> u8 {
    match part["health"]["status"].as_str() {
        Some("Degraded") => 4,
        Some("Missing") => 3,
        Some("Progressing") => 2,
        _ if part["status"] == "OutOfSync" => 1,
        _ => 0,
    }
}

/// Why a container does not run, when it does not.
fn stuck(container: &Value) -> Option<Stuck> {
    let waiting = &container["state"]["waiting"];
    let last = match &container["lastState"]["terminated"] {
        Value::Null => &container["state"]["terminated"],
        last => last,
    };
    let ended = || {
        let code = last["exitCode"].as_i64()?;
        let reason = last["reason"].as_str().unwrap_or("Error");
        let message = last["message"].as_str().unwrap_or_default().trim();
        let sep = if message.is_empty() { "" } else { ": " };
        Some(format!("it ended with code {code} ({reason}){sep}{message}"))
    };
    match waiting["reason"].as_str() {
        Some("ContainerCreating" | "PodInitializing") => None,
        Some("CrashLoopBackOff") => Some(Stuck {
            reason: if last["reason"] == "OOMKilled" {
                "OOMKilled"
            } else {
                "CrashLoopBackOff"
            }
            .to_owned(),
            message: ended().unwrap_or_else(|| waiting["message"].as_str().unwrap_or_default().to_owned()),
        }),
        Some(reason) => Some(Stuck {
            reason: reason.to_owned(),
            message: waiting["message"].as_str().unwrap_or_default().to_owned(),
        }),
        None => {
            let terminated = &container["state"]["terminated"];
            let code = terminated["exitCode"].as_i64().filter(|code| *code != 0)?;
            let reason = terminated["reason"].as_str().unwrap_or("Error");
            Some(Stuck {
                reason: reason.to_owned(),
                message: ended().unwrap_or_else(|| format!("it ended with code {code}")),
            })
        }
    }
}

#[cfg(test)]
mod tests;
