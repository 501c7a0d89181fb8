//! Tries to reach something from inside a cluster, by a pod that is made for it and gone afterwards.
//!
//! The pod waits a moment before it tries: network policies are put in force a few seconds after a pod has started, and
//! until then some plugins let everything pass. A name that does not resolve proves nothing, and is no refusal.
//!
//! It has the labels of the pods it stands in for, and so would be behind their Services, too: it is never ready, so that
//! nobody's request ever goes to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, LogParams, PostParams};
use landfall_model::definition::ConnectionFrom;
use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, Clock, Probe, Probed};
use serde_json::{Value, json};

use crate::clusters::{Clusters, Reach};

/// What the pod runs: a shell and `nc`.
const IMAGE: &str = "public.ecr.aws/docker/library/busybox:1.37";
/// What its container is called. Others may be put into the pod, such as a mesh's.
const CONTAINER: &str = "probe";
/// What `nc` ends with when it did not get through. Any other number is not its own: it was killed, or is not there.
const NOT_THROUGH: i64 = 1;
/// How often it is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// A condition that nobody ever sets.
const NEVER_READY: &str = "landfall.dev/serves";
/// Where the pod says what it tries to reach, as `host:port`.
pub const PROBE_TO: &str = "landfall.dev/probe-to";

/// Tries connections by pods.
pub struct PodProbe {
    clusters: Arc<dyn Clusters>,
    region: String,
    clock: Arc<dyn Clock>,
}

impl PodProbe {
    /// Pods in the clusters of this region that `clusters` finds.
    pub fn new(clusters: Arc<dyn Clusters>, region: impl Into<String>, clock: Arc<dyn Clock>) -> PodProbe {
        PodProbe {
            clusters,
            region: region.into(),
            clock,
        }
    }

    async fn client(&self, cluster: &str) -> Result<Result<kube::Client, String>, ApplyError> {
        match self.clusters.reach(&self.region, cluster).await {
            Ok(Reach::Ready(client)) => Ok(Ok(client)),
            Ok(Reach::Absent) => Ok(Err(format!("there is no cluster {cluster}"))),
            Ok(Reach::Starting { state }) => Ok(Err(format!("the cluster {cluster} is {state}"))),
            Err(error) if error.expired => Err(ApplyError::CredentialsExpired(error.message)),
            Err(error) if error.passes => Ok(Err(error.message)),
            Err(error) => {
                Err(Failure::new(format!("reaching the cluster {cluster}: {}", error.message)).into())
            }
        }
    }

    /// Makes the pod anew; one that an earlier try left is removed first.
    async fn start(&self, pods: &Api<Pod>, pod: &Pod, name: &str, until: u64) -> Result<(), String> {
        loop {
            match pods.create(&PostParams::default(), pod).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 && self.clock.millis() < until => {
                    clear(pods, name).await;
                    self.clock.sleep(PAUSE).await;
                }
                Err(error) => return Err(format!("the pod {name} was not taken ({error})")),
            }
        }
    }
}

#[async_trait]
impl Probe for PodProbe {
    async fn connect(
        &self,
        cluster: &str,
        name: &str,
        from: &ConnectionFrom,
        to: (&str, u16),
        within: Duration,
    ) -> Result<Probed, ApplyError> {
        let until = self.clock.millis() + u64::try_from(within.as_millis()).unwrap_or(u64::MAX / 2);
        let client = match self.client(cluster).await? {
            Ok(client) => client,
            Err(why) => return Ok(Probed::NotYet(why)),
        };
        let pods: Api<Pod> = Api::namespaced(client, &from.namespace);
        let pod = pod(name, from, to)?;
        if let Err(why) = self.start(&pods, &pod, name, until).await {
            return Ok(Probed::NotYet(why));
        }
        let probed = loop {
            let said = match pods.get(name).await {
                Ok(pod) => match ended(&serde_json::to_value(&pod).unwrap_or_default()) {
                    Ended::Connected => break Probed::Connected,
                    Ended::Failed(why) => {
                        let said = LogParams {
                            container: Some(CONTAINER.to_owned()),
                            ..LogParams::default()
                        };
                        // Without its words nobody knows whether the name resolved.
                        break match pods.logs(name, &said).await {
                            Ok(log) => judged(log.trim(), why),
                            Err(error) => {
                                Probed::NotYet(format!("{why}, and what it wrote cannot be read ({error})"))
                            }
                        };
                    }
                    Ended::NotYet(why) => why,
                },
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    break Probed::NotYet("somebody removed the pod".to_owned());
                }
                Err(error) => error.to_string(),
            };
            if self.clock.millis() >= until {
                break Probed::NotYet(said);
            }
            self.clock.sleep(PAUSE).await;
        };
        clear(&pods, name).await;
        Ok(probed)
    }
}

/// Removes the pod. When that fails now, the next try finds it by its name.
async fn clear(pods: &Api<Pod>, name: &str) {
    let _ = pods.delete(name, &DeleteParams::default().grace_period(0)).await;
}

/// How the pod stands.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Connected,
    Failed(String),
    NotYet(String),
}

fn ended(pod: &Value) -> Ended {
    let status = &pod["status"];
    let mut containers = status["containerStatuses"].as_array().into_iter().flatten();
    let ours = containers.find(|one| one["name"] == CONTAINER);
    let container = ours.map_or(&Value::Null, |one| &one["state"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let code = container["terminated"]["exitCode"].as_i64();
    match (status["phase"].as_str(), code) {
        // The pod itself goes on while another container of it does.
        (Some("Succeeded"), _) | (_, Some(0)) => Ended::Connected,
        (_, Some(NOT_THROUGH)) => Ended::Failed(format!("nc ended with {NOT_THROUGH}")),
        (Some("Failed"), code) => match code {
            Some(code) => Ended::NotYet(format!("its pod ended with {code} before it could tell")),
            None => Ended::NotYet(match text(&status["reason"]).as_str() {
                "" => "its pod failed before it could try".to_owned(),
                reason => format!("its pod failed before it could try: {reason}"),
            }),
        },
        _ => {
            let waiting = text(&container["waiting"]["reason"]);
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let unscheduled = conditions
                .filter(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
                .map(|condition| text(&condition["message"]))
                .next();
            Ended::NotYet(match (unscheduled, waiting.as_str()) {
                (Some(why), _) => format!("no node for its pod: {why}"),
                (None, "") => "its pod is starting".to_owned(),
                (None, waiting) => format!("its pod waits: {waiting}"),
            })
        }
    }
}

/// Whether a try that failed was a refusal, by what `nc` wrote.
fn judged(log: &str, why: String) -> Probed {
    if log.contains("bad address") || log.contains("bad port") {
        return Probed::NotYet(log.to_owned());
    }
    let last = log.lines().last().unwrap_or_default();
    Probed::Refused(if last.is_empty() { why } else { last.to_owned() })
}

fn pod(name: &str, from: &ConnectionFrom, (host, port): (&str, u16)) -> Result<Pod, ApplyError> {
    let mut labels = from.labels.clone();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "landfall".to_owned());
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": from.namespace, "labels": labels,
            "annotations": { PROBE_TO: format!("{host}:{port}") },
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 120,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "readinessGates": [{ "conditionType": NEVER_READY }],
            "serviceAccountName": from.service_account.as_deref().unwrap_or("default"),
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": CONTAINER,
                "image": IMAGE,
                "command": ["sh", "-c", "sleep 5; exec nc -z -w 5 \"$0\" \"$1\"", host, port.to_string()],
                "resources": {
                    "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "32Mi" },
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    });
    serde_json::from_value(pod)
        .map_err(|error| ApplyError::failed(format!("the pod {name} cannot be made: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_that_tried_tells_anything() {
        let state = |phase: &str, state: Value| {
            ended(&json!({ "status": { "phase": phase, "containerStatuses": [
                { "name": "a-mesh", "state": { "running": {} } }, { "name": "probe", "state": state },
            ] } }))
        };
        assert_eq!(
            state("Succeeded", json!({ "terminated": { "exitCode": 0 } })),
            Ended::Connected
        );
        assert_eq!(
            state("Failed", json!({ "terminated": { "exitCode": 1 } })),
            Ended::Failed("nc ended with 1".to_owned())
        );
        // A mesh's container keeps the pod running.
        assert_eq!(
            state("Running", json!({ "terminated": { "exitCode": 0 } })),
            Ended::Connected
        );
        // It was stopped at its deadline: that is no refusal.
        assert_eq!(
            state("Failed", json!({ "terminated": { "exitCode": 137 } })),
            Ended::NotYet("its pod ended with 137 before it could tell".to_owned())
        );
        assert_eq!(
            state("Pending", json!({ "waiting": { "reason": "ImagePullBackOff" } })),
            Ended::NotYet("its pod waits: ImagePullBackOff".to_owned())
        );
        assert_eq!(
            ended(&json!({ "status": { "phase": "Failed", "reason": "Evicted" } })),
            Ended::NotYet("its pod failed before it could try: Evicted".to_owned())
        );
        assert_eq!(
            ended(&json!({ "status": { "phase": "Pending", "conditions": [
                { "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" },
            ] } })),
            Ended::NotYet("no node for its pod: 0/3 nodes are available".to_owned())
        );
    }

    #[test]
    fn a_name_that_does_not_resolve_is_no_refusal() {
        let why = || "nc ended with 1".to_owned();
        assert_eq!(judged("", why()), Probed::Refused(why()));
        assert_eq!(
            judged("nc: api.shop.svc (10.0.0.1:80): Connection timed out", why()),
            Probed::Refused("nc: api.shop.svc (10.0.0.1:80): Connection timed out".to_owned())
        );
        assert_eq!(
            judged("nc: bad address 'api.shop.svc'", why()),
            Probed::NotYet("nc: bad address 'api.shop.svc'".to_owned())
        );
    }

    #[test]
    fn the_pod_is_what_restricted_namespaces_take() {
        let from = ConnectionFrom {
            namespace: "shop".to_owned(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            service_account: None,
        };
        let pod = serde_json::to_value(pod("landfall-a-b", &from, ("db.shop.svc", 5432)).unwrap()).unwrap();
        assert_eq!(pod["metadata"]["annotations"][PROBE_TO], "db.shop.svc:5432");
        assert_eq!(pod["metadata"]["labels"]["app"], "web");
        assert_eq!(
            pod["spec"]["readinessGates"],
            json!([{ "conditionType": "landfall.dev/serves" }])
        );
        assert_eq!(
            pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"],
            json!(["ALL"])
        );
    }
}
