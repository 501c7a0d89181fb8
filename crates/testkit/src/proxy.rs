//! A proxy in front of an emulator, which counts calls and misbehaves on demand: emulators themselves
//! inject neither latency nor faults.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;

/// One call as it passed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service's action, such as `CreateChangeSet`; for S3 the method and path.
    pub action: String,
    /// The stack it is about, by name or id as it was sent; empty for other calls.
    pub stack: String,
    /// Its number, counted from 0.
    pub number: usize,
}

impl Call {
    /// Whether it changes something: the calls a crash must be survived before and after.
    pub fn changes(&self) -> bool {
        !["Describe", "Get", "List", "GET", "HEAD"]
            .iter()
            .any(|prefix| self.action.starts_with(prefix))
    }
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it on.
    Pass,
    /// Answer with this status and body instead.
    Answer(u16, String),
    /// Hand it on, but answer with this status instead: the change happens, the answer is lost.
    PassAndAnswer(u16),
    /// Do not hand it on, and do not answer until the proxy is let go.
    Hold,
    /// Hand it on, but do not answer until the proxy is let go: the change happens, nobody hears of it.
    PassAndHold,
}

type Rule = Arc<dyn Fn(&Call) -> Verdict + Send + Sync>;

/// A running proxy.
pub struct Proxy {
    /// Where it answers.
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    target: String,
    rule: Mutex<Rule>,
    calls: Mutex<Vec<Call>>,
    held: watch::Sender<usize>,
    let_go: watch::Sender<bool>,
    client: reqwest::Client,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts a proxy in front of `target`; every call is judged by `rule`.
    pub async fn start(target: &str, rule: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> Proxy {
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            rule: Mutex::new(Arc::new(rule)),
            calls: Mutex::default(),
            held: watch::channel(0).0,
            let_go: watch::channel(false).0,
            client: reqwest::Client::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Proxy { url, shared, task }
    }

    /// Judges calls by another rule from now on.
    pub fn rule(&self, rule: impl Fn(&Call) -> Verdict + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Waits until a call is being held.
    pub async fn holding(&self) {
        let mut held = self.shared.held.subscribe();
        held.wait_for(|held| *held > 0).await.unwrap();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let call = {
        let mut calls = shared.calls.lock().unwrap();
        let call = Call {
            action: action(parts.method.as_str(), parts.uri.path(), &parts.headers, &body),
            stack: field(&body, "StackName").unwrap_or_default(),
            number: calls.len(),
        };
        calls.push(call.clone());
        call
    };
    let rule = shared.rule.lock().unwrap().clone();
    match rule(&call) {
        Verdict::Pass => forward(&shared, parts, body).await,
        Verdict::Answer(status, text) => {
            let kind = if text.starts_with('{') {
                "application/x-amz-json-1.1"
            } else {
                "text/xml"
            };
            (
                StatusCode::from_u16(status).unwrap(),
                [("content-type", kind)],
                text,
            )
                .into_response()
        }
        Verdict::PassAndAnswer(status) => {
            forward(&shared, parts, body).await;
            StatusCode::from_u16(status).unwrap().into_response()
        }
        Verdict::Hold => {
            wait(&shared).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Verdict::PassAndHold => {
            let answer = forward(&shared, parts, body).await;
            wait(&shared).await;
            answer
        }
    }
}

async fn wait(shared: &Shared) {
    shared.held.send_modify(|held| *held += 1);
    let _ = shared.let_go.subscribe().wait_for(|let_go| *let_go).await;
}

/// The action: a form field of CloudFormation, IAM and STS, a header of Secrets Manager, else the path.
fn action(method: &str, path: &str, headers: &HeaderMap, body: &Bytes) -> String {
    if let Some(target) = headers.get("x-amz-target").and_then(|value| value.to_str().ok()) {
        return target.rsplit('.').next().unwrap_or(target).to_owned();
    }
    field(body, "Action").unwrap_or_else(|| format!("{method} {path}"))
}

fn field(body: &Bytes, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(body).into_owned();
    let value = text
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?
        .to_owned();
    Some(value)
}

async fn forward(shared: &Shared, parts: axum::http::request::Parts, body: Bytes) -> Response {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("content-length");
    let answer = shared
        .client
        .request(parts.method, format!("{}{path}", shared.target))
        .headers(headers)
        .body(body)
        .send()
        .await;
    match answer {
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                if name != "transfer-encoding" && name != "content-length" {
                    response = response.header(name, value);
                }
            }
            response
                .body(Body::from(answer.bytes().await.unwrap_or_default()))
                .unwrap()
        }
    }
}
