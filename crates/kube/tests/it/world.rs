//! A cluster to try things on, and people who do things to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use landfall_apiserver::serve::{Alone, ServerTls, kubeconfig, serve};
use landfall_apiserver::{Answer, ApiServer, Key};
use landfall_kube::{Clusters, Objects, Reach, Unreachable};
use landfall_model::StepId;
use landfall_model::definition::ObjectOutput;
use landfall_model::provider::{Applied, Change, Failure, Owned, Removed, Standing};
use landfall_model::wanted::Facts;
use landfall_model::work::{Known, ObjectWork, ObjectsWork, Step, Work};
use landfall_runner::{ApplyError, Clock, Event, Intent, Progress, Provider, SystemClock};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The name of the cluster, and its region.
pub(crate) const CLUSTER: &str = "town";
pub(crate) const REGION: &str = "eu-west-1";

/// What shows up when a real cluster is to be used.
const KUBECONFIG: &str = "LANDFALL_TEST_KUBECONFIG";

/// Runs a session in process, through a network, and once more on a real cluster when there is one.
#[macro_export]
macro_rules! on_both {
    ($name:ident, $session:path) => {
        mod $name {
            #[tokio::test(start_paused = true)]
            async fn in_process() {
                let world = $crate::world::World::new();
                let said = $session(&world, &stringify!($name).replace('_', "-")).await;
                insta::assert_snapshot!(stringify!($name), said);
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_the_network() {
                let world = $crate::world::World::over_the_network().await;
                let said = $session(&world, &stringify!($name).replace('_', "-")).await;
                insta::assert_snapshot!(stringify!($name), said);
            }

            #[tokio::test]
            async fn on_a_real_cluster() {
                let Some(world) = $crate::world::World::real(stringify!($name)).await else {
                    return;
                };
                let said = $session(&world, &stringify!($name).replace('_', "-")).await;
                insta::assert_snapshot!(stringify!($name), said);
            }
        }
    };
}

/// Virtual time.
struct TestClock {
    began: Instant,
}

const MORNING: &str = "2026-03-01T08:00:00Z";

fn morning() -> Timestamp {
    MORNING.parse().unwrap()
}

impl TestClock {
    fn at(&self) -> Timestamp {
        morning() + SignedDuration::try_from(self.began.elapsed()).unwrap()
    }
}

impl Clock for TestClock {
    fn now(&self) -> String {
        self.at().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// What is wrong with the way to the server.
#[derive(Default)]
pub(crate) struct Way {
    /// So many requests are turned away: with this code each.
    pub(crate) refuses: Mutex<Vec<u16>>,
    /// So many answers are lost, after the work was done.
    pub(crate) loses: AtomicU32,
    /// How many requests were made.
    pub(crate) requests: AtomicU32,
    /// Whether tokens are good.
    pub(crate) expired: AtomicBool,
}

type Kubelet = Box<dyn Fn(&mut ApiServer, Timestamp) + Send>;

/// A server of our own with the way to it.
pub(crate) struct Own {
    api: Mutex<ApiServer>,
    clock: TestClock,
    way: Way,
    kubelet: Mutex<Kubelet>,
    state: Mutex<&'static str>,
}

impl Own {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, tower::BoxError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.way.requests.fetch_add(1, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?.to_vec();
        if self.way.expired.load(Ordering::Relaxed) {
            return Ok(status(401, "Unauthorized", "Unauthorized"));
        }
        if let Some(code) = self.way.refuses.lock().unwrap().pop() {
            return Ok(status(code, "TooManyRequests", "the server is busy"));
        }
        let header = |name: &str| {
            let value = parts.headers.get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let request = landfall_apiserver::Request {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            content_type: header("content-type"),
            accept: header("accept"),
            body,
            user: None,
        };
        let now = self.clock.at();
        let answer = {
            let mut api = self.api.lock().unwrap();
            self.kubelet.lock().unwrap()(&mut api, now);
            let answer = api.handle(&request, now);
            api.settle(now);
            answer
        };
        if self.way.loses.load(Ordering::Relaxed) > 0 {
            self.way.loses.fetch_sub(1, Ordering::Relaxed);
            return Err("connection reset by peer".into());
        }
        let Answer::Whole(bytes) = answer.body else {
            return Err("nobody watches here".into());
        };
        let response = Response::builder()
            .status(answer.status)
            .header("content-type", answer.content_type);
        Ok(response.body(Body::from(bytes))?)
    }
}

fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message });
    Response::builder()
        .status(code)
        .body(Body::from(body.to_string().into_bytes()))
        .unwrap()
}

struct OwnClusters(Arc<Own>);

#[async_trait]
impl Clusters for OwnClusters {
    async fn reach(&self, region: &str, name: &str) -> Result<Reach, Unreachable> {
        if (region, name) != (REGION, CLUSTER) {
            return Ok(Reach::Absent);
        }
        match *self.0.state.lock().unwrap() {
            "ABSENT" => return Ok(Reach::Absent),
            "ACTIVE" => {}
            state => {
                return Ok(Reach::Starting {
                    state: state.to_owned(),
                });
            }
        }
        let own = self.0.clone();
        let service = tower::service_fn(move |request| {
            let own = own.clone();
            async move { own.answer(request).await }
        });
        Ok(Reach::Ready(kube::Client::new(service, "default")))
    }

    async fn of_platform(&self, _: &str) -> Result<Vec<(String, String)>, Unreachable> {
        Ok(vec![(REGION.to_owned(), CLUSTER.to_owned())])
    }

    async fn renew(&self) -> Result<(), String> {
        self.0.way.expired.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// The token that the front takes.
pub(crate) const TOKEN: &str = "sesame";

/// A server behind HTTP and TLS, on which workloads become ready by themselves.
pub(crate) struct Front {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) backend: Arc<Alone>,
}

impl Front {
    pub(crate) async fn start() -> Front {
        let backend = Alone::new(ApiServer::new(7, "1.35", Timestamp::now()), TOKEN).shared();
        let tls = ServerTls::generate(&["127.0.0.1"]).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, ca_pem) = (
            format!("https://{}", listener.local_addr().unwrap()),
            tls.ca_pem.clone(),
        );
        // Both end with the test's runtime.
        tokio::spawn(serve(listener, tls, backend.clone()));
        let kubelet = backend.clone();
        tokio::spawn(async move {
            loop {
                kubelet.act(all_runs);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Front { url, ca_pem, backend }
    }
}

/// A cluster that stands somewhere.
pub(crate) struct RealClusters(pub kube::Client);

#[async_trait]
impl Clusters for RealClusters {
    async fn reach(&self, _: &str, _: &str) -> Result<Reach, Unreachable> {
        Ok(Reach::Ready(self.0.clone()))
    }

    async fn of_platform(&self, _: &str) -> Result<Vec<(String, String)>, Unreachable> {
        Ok(vec![(REGION.to_owned(), CLUSTER.to_owned())])
    }
}

/// A cluster, and the provider that works on it.
pub(crate) struct World {
    own: Option<Arc<Own>>,
    clusters: Arc<dyn Clusters>,
    clock: Arc<dyn Clock>,
    pub(crate) objects: Objects,
    said: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// A new server, on which workloads become ready by themselves.
    pub(crate) fn new() -> World {
        let clock = TestClock {
            began: Instant::now(),
        };
        let own = Arc::new(Own {
            api: Mutex::new(ApiServer::new(7, "1.35", morning())),
            clock: TestClock { began: clock.began },
            way: Way::default(),
            kubelet: Mutex::new(Box::new(all_runs)),
            state: Mutex::new("ACTIVE"),
        });
        World::with(Some(own.clone()), Arc::new(OwnClusters(own)), Arc::new(clock))
    }

    /// A new server behind HTTP and TLS, as a kubeconfig file names it.
    pub(crate) async fn over_the_network() -> World {
        let front = Front::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, kubeconfig(&front.url, &front.ca_pem, TOKEN)).unwrap();
        let client = landfall_kube::client::from_file(&path, None).await.unwrap();
        World::with(None, Arc::new(RealClusters(client)), Arc::new(SystemClock))
    }

    /// A real cluster, when one is named.
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    pub(crate) async fn real(test: &str) -> Option<World> {
        let Ok(path) = std::env::var(KUBECONFIG) else {
            eprintln!("SKIPPED {test} on a real cluster: {KUBECONFIG} names none");
            return None;
        };
        let client = landfall_kube::client::from_file(path.as_ref(), None)
            .await
            .unwrap();
        Some(World::with(
            None,
            Arc::new(RealClusters(client)),
            Arc::new(SystemClock),
        ))
    }

    pub(crate) fn with(own: Option<Arc<Own>>, clusters: Arc<dyn Clusters>, clock: Arc<dyn Clock>) -> World {
        World {
            own,
            objects: Objects::new(clusters.clone(), clock.clone()),
            clusters,
            clock,
            said: Arc::default(),
        }
    }

    /// The provider anew, as after a crash: it remembers nothing.
    pub(crate) fn restart(&mut self) {
        self.objects = Objects::new(self.clusters.clone(), self.clock.clone());
    }

    fn own(&self) -> &Own {
        self.own
            .as_ref()
            .expect("only our own server can be told what to do")
    }

    /// How its clusters are found.
    pub(crate) fn clusters(&self) -> Arc<dyn Clusters> {
        self.clusters.clone()
    }

    /// The time it lives by.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(crate) fn api(&self) -> MutexGuard<'_, ApiServer> {
        self.own().api.lock().unwrap()
    }

    pub(crate) fn way(&self) -> &Way {
        &self.own().way
    }

    pub(crate) fn cluster_is(&self, state: &'static str) {
        *self.own().state.lock().unwrap() = state;
    }

    /// Lets something else happen before each request than that all workloads run.
    pub(crate) fn kubelet(&self, act: impl Fn(&mut ApiServer, Timestamp) + Send + 'static) {
        *self.own().kubelet.lock().unwrap() = Box::new(act);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().parse().unwrap()
    }

    /// Does something a while later.
    pub(crate) fn later(&self, seconds: u64, act: impl FnOnce(&mut ApiServer, Timestamp) + Send + 'static) {
        let own = self.own.clone().unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let now = own.clock.at();
            let mut api = own.api.lock().unwrap();
            act(&mut api, now);
            api.settle(now);
        });
    }

    fn progress(&self) -> Progress {
        let said = self.said.clone();
        let watcher = move |event: &Event| {
            if let Event::Progress { parts, message, .. } = event {
                let parts = parts
                    .map(|(done, all)| format!("{done}/{all} "))
                    .unwrap_or_default();
                said.lock().unwrap().push(format!("  ... {parts}{message}\n"));
            }
        };
        Progress::new(StepId::new("shop", "web"), Arc::new(watcher))
    }

    /// What was said while something went on, since somebody last asked.
    pub(crate) fn heard(&self) -> String {
        std::mem::take(&mut *self.said.lock().unwrap()).concat()
    }

    pub(crate) async fn try_apply(&self, step: &Step) -> Result<Applied, ApplyError> {
        self.objects.apply(step, &intent(), &self.progress()).await
    }

    /// Applies a step and tells how it went.
    pub(crate) async fn apply(&self, step: &Step) -> String {
        match self.try_apply(step).await {
            Ok(Applied {
                outcome,
                outputs,
                notes,
                ..
            }) => {
                let mut text = format!("apply {}: {outcome:?}\n", step.id);
                for (name, value) in outputs {
                    writeln!(text, "  output {name} = {value}").unwrap();
                }
                notes
                    .iter()
                    .for_each(|note| writeln!(text, "  note: {note}").unwrap());
                text
            }
            Err(error) => format!("apply {}: {}", step.id, failure(&error)),
        }
    }

    pub(crate) async fn owned(&self, step: &Step) -> Owned {
        let observed = self.objects.observe(step).await.unwrap();
        observed.owned.expect("it stands")
    }

    /// Everything of the platform.
    pub(crate) async fn objects_owned(&self) -> Vec<Owned> {
        self.objects.owned("harbour").await.unwrap()
    }

    pub(crate) async fn objects_fingerprint(&self, step: &Step) -> String {
        self.objects.observe(step).await.unwrap().fingerprint
    }

    pub(crate) async fn remove(&self, owned: &Owned) -> String {
        match self.objects.remove(owned, &intent(), &self.progress()).await {
            Ok(Removed { kept }) if kept.is_empty() => format!("remove {}: gone\n", owned.step),
            Ok(Removed { kept }) => format!("remove {}: kept\n  {}\n", owned.step, kept.join("\n  ")),
            Err(error) => format!("remove {}: {}", owned.step, failure(&error)),
        }
    }

    pub(crate) async fn quiesce(&self, owned: &Owned) -> String {
        let said = self
            .objects
            .quiesce(owned, &intent(), &self.progress())
            .await
            .unwrap();
        said.iter().map(|line| format!("quiesce: {line}\n")).collect()
    }

    pub(crate) async fn observe(&self, step: &Step) -> String {
        let standing = match self.objects.observe(step).await {
            Ok(observed) => observed.standing,
            Err(error) => return format!("observe {}: {error}: {}\n", step.id, error.source),
        };
        match standing {
            Standing::Foreign { why } => format!("observe {}: foreign: {why}\n", step.id),
            Standing::Busy { state } => format!("observe {}: busy: {state}\n", step.id),
            Standing::Absent => format!("observe {}: absent\n", step.id),
            other => format!("observe {}: {other:?}\n", step.id),
        }
    }

    /// What would change.
    pub(crate) async fn plan(&self, step: &Step) -> String {
        let observed = self.objects.observe(step).await.unwrap();
        let changes = self.objects.preview(step, &observed).await.unwrap();
        let mut text = format!("plan {}: {} changes\n", step.id, changes.len());
        for Change {
            effect,
            subject,
            kind,
            properties,
        } in changes
        {
            writeln!(text, "  {effect:?} {kind} {subject}").unwrap();
            for one in properties {
                let (before, after) = (
                    one.before.as_deref().unwrap_or("-"),
                    one.after.as_deref().unwrap_or("-"),
                );
                let replaces = if one.replaces { " (replaces)" } else { "" };
                writeln!(text, "    {}: {before} -> {after}{replaces}", one.path).unwrap();
            }
        }
        text
    }

    async fn client(&self) -> kube::Client {
        match self.clusters.reach(REGION, CLUSTER).await.unwrap() {
            Reach::Ready(client) => client,
            _ => panic!("the cluster is there"),
        }
    }

    /// Somebody merges a change into an object.
    pub(crate) async fn edit(&self, manager: &str, path: &str, change: Value) {
        let request = Request::patch(format!("{path}?fieldManager={manager}"))
            .header("content-type", "application/merge-patch+json")
            .body(change.to_string().into_bytes())
            .unwrap();
        self.client().await.request_text(request).await.unwrap();
    }

    /// Somebody makes an object.
    pub(crate) async fn make(&self, path: &str, object: Value) {
        let request = Request::post(format!("{path}?fieldManager=elsewhere"))
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .unwrap();
        self.client().await.request_text(request).await.unwrap();
    }

    /// Somebody deletes an object.
    pub(crate) async fn delete(&self, path: &str) {
        let request = Request::delete(path).body(Vec::new()).unwrap();
        self.client().await.request_text(request).await.unwrap();
    }

    /// Reads an object; null when there is none.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let request = Request::get(path).body(Vec::new()).unwrap();
        match self.client().await.request_text(request).await {
            Ok(text) => serde_json::from_str(&text).unwrap(),
            Err(kube::Error::Api(status)) if status.code == 404 => Value::Null,
            Err(error) => panic!("{error}"),
        }
    }
}

fn intent() -> Intent {
    Intent {
        token: "token".to_owned(),
    }
}

pub(crate) fn failure(error: &ApplyError) -> String {
    match error {
        ApplyError::Failed(failure) => {
            let Failure {
                summary,
                cause,
                way_out,
            } = failure.as_ref();
            let mut text = format!("FAILED {summary}\n");
            if let Some(cause) = cause {
                writeln!(
                    text,
                    "  {} {} is {}: {}",
                    cause.kind, cause.resource, cause.state, cause.reason
                )
                .unwrap();
            }
            if let Some(way_out) = way_out {
                writeln!(text, "  way out: {way_out}").unwrap();
            }
            text
        }
        other => format!("{other:?}\n"),
    }
}

/// A step with these manifests, of the platform `harbour`.
pub(crate) fn step(name: &str, manifests: &str) -> Step {
    let documents = manifests
        .split("\n---\n")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let objects = documents
        .map(|text| object(serde_saphyr::from_str(text).unwrap()))
        .collect();
    Step {
        id: StepId::new("shop", name),
        facts: Facts {
            name: "harbour".to_owned(),
            region: REGION.to_owned(),
            account: "111122223333".to_owned(),
            tags: BTreeMap::new(),
        },
        work: Work::Objects(Box::new(ObjectsWork {
            cluster: Known::Value(CLUSTER.to_owned()),
            objects,
            controls: Vec::new(),
            force: false,
            outputs: IndexMap::new(),
            within_s: 300,
        })),
    }
}

fn object(body: Value) -> ObjectWork {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    ObjectWork {
        api_version: text(&body["apiVersion"]),
        kind: text(&body["kind"]),
        namespace: body["metadata"]["namespace"].as_str().map(str::to_owned),
        name: text(&body["metadata"]["name"]),
        body: Known::Value(body),
    }
}

/// The work of a step, to change.
pub(crate) fn work(step: &mut Step) -> &mut ObjectsWork {
    match &mut step.work {
        Work::Objects(work) => work,
        _ => unreachable!("all steps here are of objects"),
    }
}

/// Lets a step give something.
pub(crate) fn giving(mut step: Step, name: &str, of: &str, path: &str) -> Step {
    let output = ObjectOutput {
        of: of.to_owned(),
        path: path.to_owned(),
    };
    work(&mut step).outputs.insert(name.to_owned(), output);
    step
}

/// A definition of a kind whose fields nobody checks.
pub(crate) fn definition(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
            "versions": [{
                "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                "subresources": { "status": {} },
            }],
        },
    })
}

/// A Namespace, as manifests have it.
pub(crate) fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n---\n")
}

/// What a cluster does where all is well: workloads run at once, Jobs are done.
pub(crate) fn all_runs(api: &mut ApiServer, now: Timestamp) {
    let all: Vec<(Key, Arc<Value>)> = api
        .iter()
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, object) in all {
        let generation = &object["metadata"]["generation"];
        let status = match key.kind.as_str() {
            "Deployment" => {
                let count = &object["spec"]["replicas"];
                json!({
                    "observedGeneration": generation, "replicas": count, "updatedReplicas": count,
                    "readyReplicas": count, "availableReplicas": count,
                    "conditions": [{ "type": "Available", "status": "True" }],
                })
            }
            "Job" if object["spec"]["suspend"] != true => json!({
                "succeeded": 1,
                "conditions": [{ "type": "Complete", "status": "True" }],
            }),
            _ => continue,
        };
        if object["status"] != status {
            api.set_status("kube-controller-manager", &key, status, now);
        }
    }
}
