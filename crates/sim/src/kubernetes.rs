//! The way into the clusters of a simulated world, as the real provider takes it: a client whose requests are
//! answered in process.
//!
//! A request waits as long as one over a network does, counts as a call, is throttled and refused as calls to
//! AWS are, and may lose its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::StatusCode;
use kube::client::Body;
use landfall_apiserver::{Answer, Key, Request, Response};
use landfall_cloudformation::resolve::partition;
use landfall_kube::{Clusters, Objects, Reach, Unreachable};
use landfall_model::work::TAG_PLATFORM;
use serde_json::json;

use crate::authorization::Context;
use crate::cluster::{Cluster, Status, WORKLOADS, object};
use crate::fault::Fault;
use crate::trouble::Trouble;
use crate::world::{LATENCY, State, TIMEOUT, World};

/// Carries out `objects` steps in the clusters of a world.
pub(crate) fn objects(world: &Arc<World>) -> Objects {
    Objects::new(Arc::new(SimClusters::new(world.clone())), world.clock().clone())
}

/// The clusters of a simulated world.
pub struct SimClusters {
    world: Arc<World>,
    /// Clients by the cluster's uid: each has a task of its own.
    clients: Mutex<HashMap<u64, kube::Client>>,
}

impl SimClusters {
    /// Clusters of this world.
    pub fn new(world: Arc<World>) -> SimClusters {
        SimClusters {
            world,
            clients: Mutex::default(),
        }
    }

    fn client(&self, cluster: u64) -> kube::Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients
            .entry(cluster)
            .or_insert_with(|| client(&self.world, cluster));
        client.clone()
    }
}

impl From<Trouble> for Unreachable {
    fn from(trouble: Trouble) -> Unreachable {
        Unreachable {
            message: trouble.to_string(),
            expired: trouble == Trouble::Expired,
            passes: trouble.passes_by_itself(),
        }
    }
}

#[async_trait]
impl Clusters for SimClusters {
    async fn reach(&self, region: &str, name: &str) -> Result<Reach, Unreachable> {
        let found = self
            .world
            .call(None, |state, _| {
                let (partition, account) = (partition(region), &state.account);
                let arn = format!("arn:{partition}:eks:{region}:{account}:cluster/{name}");
                state.allow("eks:DescribeCluster", &arn, &Context::default())?;
                Ok(state
                    .cluster(region, name)
                    .map(|cluster| (cluster.uid, cluster.status)))
            })
            .await?;
        Ok(match found {
            None => Reach::Absent,
            Some((_, Status::Creating)) => Reach::Starting {
                state: "CREATING".to_owned(),
            },
            Some((_, Status::Deleting)) => Reach::Starting {
                state: "DELETING".to_owned(),
            },
            Some((uid, Status::Active)) => Reach::Ready(self.client(uid)),
        })
    }

    async fn of_platform(&self, platform: &str) -> Result<Vec<(String, String)>, Unreachable> {
        // Asked only where clusters hold something of ours: nobody else needs to be allowed to.
        if !self.world.has_objects() {
            return Ok(Vec::new());
        }
        let found = self
            .world
            .call(None, |state, _| {
                state.allow_any("eks:ListClusters")?;
                let all = state.clusters.iter();
                let ours = all.filter(|one| one.tags.get(TAG_PLATFORM).is_some_and(|tag| tag == platform));
                Ok(ours.map(|one| (one.region.clone(), one.name.clone())).collect())
            })
            .await?;
        Ok(found)
    }

    async fn renew(&self) -> Result<(), String> {
        self.world.renewed()
    }
}

/// A client of one cluster.
fn client(world: &Arc<World>, cluster: u64) -> kube::Client {
    let world = world.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let world = world.clone();
        async move { answer(&world, cluster, request).await }
    });
    kube::Client::new(service, "default")
}

/// What comes back, or that nothing does.
enum Exchange {
    Answered(http::Response<Body>),
    /// The connection is refused.
    Refused,
    /// Nothing is ever heard, whatever was done.
    Lost,
}

async fn answer(
    world: &World,
    cluster: u64,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, tower::BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?.to_vec();
    let header = |name: http::HeaderName| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let asked = Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type: header(http::header::CONTENT_TYPE),
        accept: header(http::header::ACCEPT),
        body,
        user: None,
    };
    world.sleep(LATENCY).await;
    let exchange = world.exchange(cluster, &asked);
    match exchange {
        Exchange::Answered(response) => {
            world.sleep(LATENCY).await;
            Ok(response)
        }
        Exchange::Refused => {
            world.sleep(LATENCY).await;
            let refused = std::io::ErrorKind::ConnectionRefused;
            Err(std::io::Error::new(refused, "tcp connect error: Connection refused").into())
        }
        Exchange::Lost => {
            world.sleep(TIMEOUT).await;
            let reset = std::io::ErrorKind::ConnectionReset;
            Err(std::io::Error::new(reset, "connection reset by peer").into())
        }
    }
}

/// An answer of the world around an API server.
fn status(code: StatusCode, reason: &str, message: &str) -> http::Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message,
        "code": code.as_u16(),
    });
    response(code, "application/json", body.to_string().into_bytes())
}

fn response(code: StatusCode, content_type: &str, body: Vec<u8>) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(body));
    *response.status_mut() = code;
    if let Ok(value) = http::HeaderValue::from_str(content_type) {
        response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    response
}

impl World {
    /// Whether there are, or were, objects of anybody's `objects` step in a cluster that stands.
    fn has_objects(&self) -> bool {
        let (state, _) = self.at();
        let mut clusters = state.clusters.iter();
        clusters.any(|cluster| {
            let mut sets = cluster.api.of_kind("", "ConfigMap");
            sets.any(|(_, set)| object::label(set, "applyset.kubernetes.io/id").is_some())
        })
    }

    fn exchange(&self, cluster: u64, asked: &Request) -> Exchange {
        let (mut state, now) = self.at();
        match state.refusal(now) {
            Some(Trouble::Expired) => {
                return Exchange::Answered(status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized"));
            }
            Some(_) => {
                let said = "the server has received too many requests and has asked us to try again later";
                let mut refused = status(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", said);
                let value = http::HeaderValue::from_static("1");
                refused.headers_mut().insert(http::header::RETRY_AFTER, value);
                return Exchange::Answered(refused);
            }
            None => {}
        }
        let stands = |one: &Cluster| one.uid == cluster && one.status == Status::Active;
        if !state.clusters.iter().any(stands) {
            return Exchange::Refused;
        }
        match state.unavailable(now) {
            Some(true) => return Exchange::Refused,
            Some(false) => {
                let said = "apiserver is shutting down";
                return Exchange::Answered(status(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceUnavailable",
                    said,
                ));
            }
            None => {}
        }
        let answered = state.ask(cluster, asked, now);
        let Some((code, content_type, body)) = answered else {
            return Exchange::Refused;
        };
        if asked.changes() && state.loses_answer() {
            return Exchange::Lost;
        }
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Exchange::Answered(response(code, &content_type, body))
    }
}

/// What is read off a request.
trait Asked {
    /// Whether it changes anything.
    fn changes(&self) -> bool;
}

impl Asked for Request {
    fn changes(&self) -> bool {
        self.method != "GET" && !self.query.contains("dryRun")
    }
}

impl State {
    /// Whether the API servers are not there: then whether connections to them are refused.
    fn unavailable(&mut self, now: u64) -> Option<bool> {
        self.faults.retain(|fault| {
            !matches!(fault, Fault::ApiServerUnavailable { millis, for_millis } if millis.saturating_add(*for_millis) <= now)
        });
        let mut faults = self.faults.iter();
        let away =
            faults.any(|fault| matches!(fault, Fault::ApiServerUnavailable { millis, .. } if *millis <= now));
        away.then(|| self.calls.is_multiple_of(2))
    }

    fn loses_answer(&mut self) -> bool {
        let lost = self.faults.iter_mut().find_map(|fault| match fault {
            Fault::AnswersLost { calls } if *calls > 0 => {
                *calls -= 1;
                Some(())
            }
            _ => None,
        });
        self.faults
            .retain(|fault| !matches!(fault, Fault::AnswersLost { calls: 0 }));
        lost.is_some()
    }

    /// Lets the API server of a cluster answer.
    pub(crate) fn ask(&mut self, cluster: u64, asked: &Request, now: u64) -> Option<(u16, String, Vec<u8>)> {
        self.faults.retain(|fault| {
            !matches!(fault, Fault::WebhookRefuses { millis, for_millis, .. } if millis.saturating_add(*for_millis) <= now)
        });
        let response = self.respond(cluster, asked, now)?;
        Some(match response.body {
            Answer::Whole(body) => (response.status, response.content_type, body),
            Answer::Watch(_) => {
                let said = status_text("a watch is not answered in process: list again instead");
                (501, "application/json".to_owned(), said)
            }
        })
    }

    /// The same, whatever the answer is; nothing when there is no such cluster.
    pub(crate) fn respond(&mut self, cluster: u64, asked: &Request, now: u64) -> Option<Response> {
        let (response, changed) = self.with_cluster(
            |one| one.uid == cluster,
            |state, cluster| state.handle(cluster, asked, now),
        )?;
        if changed {
            self.stir(cluster, now);
        }
        Some(response)
    }

    fn handle(&mut self, cluster: &mut Cluster, asked: &Request, now: u64) -> (Response, bool) {
        self.meddle(cluster, now);
        let changes = asked.changes();
        let named = changes.then(|| named(cluster, &asked.path)).flatten();
        if let Some(key) = named.as_ref().filter(|_| asked.method == "DELETE") {
            self.before_deletion(cluster, key, now);
        }
        let before = cluster.api.revision();
        let at = cluster.stamp(now);
        let response = cluster.api.handle(asked, at);
        if changes && response.status < 300 {
            if let Some(key) = named.filter(|_| asked.method != "DELETE") {
                self.mended(cluster, &key, now);
            }
            cluster.settle(now);
        }
        self.used_up(cluster);
        let changed = cluster.api.revision() != before;
        (response, changed)
    }

    /// Tells an API server what goes wrong in it.
    fn meddle(&self, cluster: &Cluster, now: u64) {
        let mut late = Vec::new();
        let mut refusing = Vec::new();
        for fault in &self.faults {
            match fault {
                Fault::CrdLate { kind, millis } => late.push((kind.clone(), *millis)),
                Fault::WebhookRefuses {
                    webhook,
                    reason,
                    millis,
                    ..
                } if *millis <= now => refusing.push((webhook.clone(), reason.clone())),
                _ => {}
            }
        }
        let mut meddling = cluster
            .meddling
            .lock()
            .expect("nothing panics while it holds this");
        meddling.late = late;
        meddling.refusing = refusing;
    }

    /// Faults that came true in an API server are used up.
    fn used_up(&mut self, cluster: &Cluster) {
        let came = {
            let mut meddling = cluster
                .meddling
                .lock()
                .expect("nothing panics while it holds this");
            std::mem::take(&mut meddling.came_late)
        };
        for kind in came {
            self.take_fault(|fault| {
                matches!(fault, Fault::CrdLate { kind: one, .. } if *one == kind).then_some(())
            });
        }
    }
}

fn status_text(message: &str) -> Vec<u8> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotImplemented", "message": message,
        "code": 501,
    });
    body.to_string().into_bytes()
}

/// The object a path names, when it names one.
fn named(cluster: &Cluster, path: &str) -> Option<Key> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural, name] => (*namespace, *plural, *name),
        [plural, name] => ("", *plural, *name),
        _ => return None,
    };
    let workload = WORKLOADS
        .into_iter()
        .chain(["Job", "Pod", "Namespace"])
        .find(|kind| format!("{}s", kind.to_lowercase()) == plural);
    let kind = match workload {
        Some(kind) => kind.to_owned(),
        None => {
            let mut core = landfall_kinds::core().iter();
            let known = core.find(|one| one.group == group && one.plural == plural);
            match known {
                Some(known) => known.kind.clone(),
                None => {
                    let definition = format!("{plural}.{group}");
                    let key = object::key(
                        "apiextensions.k8s.io/v1",
                        "CustomResourceDefinition",
                        "",
                        &definition,
                    );
                    let definition = cluster.api.get(&key)?;
                    definition["spec"]["names"]["kind"].as_str()?.to_owned()
                }
            }
        }
    };
    Some(Key {
        group: group.to_owned(),
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}
