//! A cluster that answers on this machine: an API server behind HTTP and TLS, on which workloads become ready by
//! themselves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use landfall_apiserver::serve::{Alone, Backend, ServerTls, serve};
use landfall_apiserver::{ApiServer, Key, Request, Response, Watch};
use landfall_kube::kubeconfig;
use serde_json::{Value, json};

/// What the cluster is called.
pub(crate) const NAME: &str = "town";

/// What lets people in who come with a kubeconfig.
const TOKEN: &str = "let-me-in";

/// A server that lets two kinds of people in: those with the one token, and those with a token that EKS takes.
struct Gate(Alone);

impl Backend for Gate {
    fn user(&self, token: Option<&str>) -> Option<String> {
        let signed_for_eks = || token.and_then(signed).is_some_and(|url| is_for_eks(&url));
        if signed_for_eks() {
            return self.0.user(Some(TOKEN));
        }
        self.0.user(token)
    }

    fn handle(&self, request: &Request) -> Response {
        let answer = self.0.handle(request);
        self.0.act(roll_out);
        answer
    }

    fn events(&self, watch: &mut Watch) -> Vec<u8> {
        self.0.events(watch)
    }

    fn forward(&self, pod: &Key, port: u16) -> Option<SocketAddr> {
        self.0.forward(pod, port)
    }
}

/// The request that a token of EKS carries (source: aws-iam-authenticator, "API Authorization from Outside a Cluster").
pub(crate) fn signed(token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("k8s-aws-v1.")?);
    String::from_utf8(bytes.ok()?).ok()
}

/// EKS refuses requests that ask for anything else, or are not signed for one cluster.
fn is_for_eks(url: &str) -> bool {
    url.starts_with("https://sts.")
        && url.contains("Action=GetCallerIdentity")
        && url.contains("x-k8s-aws-id")
        && url.contains("X-Amz-Signature=")
}

fn roll_out(api: &mut ApiServer, now: Timestamp) {
    let deployments: Vec<(Key, Arc<Value>)> = api
        .of_kind("apps", "Deployment")
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, object) in deployments {
        let count = &object["spec"]["replicas"];
        let status = json!({
            "observedGeneration": object["metadata"]["generation"],
            "replicas": count, "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
            "conditions": [{ "type": "Available", "status": "True" }],
        });
        if object["status"] != status {
            api.set_status("kube-controller-manager", &key, status, now);
        }
    }
}

/// The cluster while it runs.
pub(crate) struct Town {
    pub(crate) url: String,
    pub(crate) runtime: tokio::runtime::Runtime,
    ca_pem: String,
    gate: Arc<Gate>,
}

impl Town {
    pub(crate) fn new() -> Town {
        let server = ApiServer::new(7, "1.35", Timestamp::now());
        let gate = Arc::new(Gate(Alone::new(server, TOKEN)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let tls = ServerTls::generate(&["127.0.0.1"]).unwrap();
        let ca_pem = tls.ca_pem.clone();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        // Ends with the runtime.
        runtime.spawn(serve(listener, tls, gate.clone()));
        Town {
            url,
            runtime,
            ca_pem,
            gate,
        }
    }

    /// Writes a kubeconfig in which a context is called like the cluster.
    pub(crate) fn kubeconfig(&self, file: &Path) {
        let entry = kubeconfig::Entry {
            context: NAME.to_owned(),
            endpoint: self.url.clone(),
            ca_pem: self.ca_pem.clone(),
            user: kubeconfig::User::Token(TOKEN.to_owned()),
        };
        kubeconfig::write(file, &entry, true).unwrap();
    }

    /// Puts where it is into an answer of EKS about a cluster.
    pub(crate) fn described(&self, answer: &mut Value) {
        answer["cluster"]["endpoint"] = json!(self.url);
        answer["cluster"]["certificateAuthority"] = json!({ "data": STANDARD.encode(&self.ca_pem) });
    }

    /// Does what others than Landfall do in a cluster.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut ApiServer, Timestamp) -> T) -> T {
        self.gate.0.act(act)
    }

    /// A ready pod with labels, whose port is a port of this machine.
    pub(crate) fn runs(&self, name: &str, app: &str, port: u16, here: u16) {
        let key = Key::new("", "Pod", "shop", name);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "shop", "labels": { "app": app } },
            "spec": { "containers": [{ "name": "web", "image": "web", "ports": [{ "containerPort": port }] }] },
        });
        let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        self.act(|api, now| {
            api.create("kubelet", pod, now).unwrap();
            api.set_status("kubelet", &key, status, now);
        });
        self.gate
            .0
            .listen(&key, port, SocketAddr::from(([127, 0, 0, 1], here)));
    }

    /// The names of all objects that carry the platform's mark.
    pub(crate) fn marked(&self) -> Vec<String> {
        self.act(|api, _| {
            let marked = api
                .iter()
                .filter(|(_, object)| object["metadata"]["labels"]["landfall.dev/platform"].is_string());
            marked.map(|(key, _)| key.said()).collect()
        })
    }
}
