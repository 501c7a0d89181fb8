//! Through a network: certificates, tokens, and ports behind Services.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use landfall_apiserver::Key;
use landfall_kube::client::{Token, TokenError, TokenSource, client};
use landfall_kube::{forward, secret_value};
use landfall_runner::SystemClock;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Front, RealClusters, TOKEN, World, namespace, step};

/// Gives these tokens one after the other, the last one again and again.
struct Tokens {
    given: AtomicU32,
    tokens: Vec<&'static str>,
}

impl Tokens {
    fn of(tokens: &[&'static str]) -> Arc<Tokens> {
        Arc::new(Tokens {
            given: AtomicU32::new(0),
            tokens: tokens.to_vec(),
        })
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Token, TokenError> {
        let at = self.given.fetch_add(1, Ordering::Relaxed) as usize;
        match self.tokens.get(at).or(self.tokens.last()) {
            Some(text) => Ok(Token {
                text: (*text).to_owned(),
                until: None,
            }),
            None => Err(TokenError {
                message: "the SSO session has ended".to_owned(),
                expired: true,
            }),
        }
    }
}

fn world(front: &Front, tokens: Arc<Tokens>) -> World {
    let client = client(&front.url, &front.ca_pem, tokens).unwrap();
    World::with(None, Arc::new(RealClusters(client)), Arc::new(SystemClock))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_asked_for_once_and_anew_after_one_was_refused() {
    let front = Front::start().await;
    let step = step("web", &namespace("shop"));
    let tokens = Tokens::of(&["old", TOKEN]);
    let mut said = world(&front, tokens.clone()).apply(&step).await;
    said += &format!("tokens: {}\n", tokens.given.load(Ordering::Relaxed));
    said += &world(&front, Tokens::of(&["wrong"])).apply(&step).await;
    said += &world(&front, Tokens::of(&[])).apply(&step).await;
    insta::assert_snapshot!(said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_anothers_certificate_is_not_talked_to() {
    let (front, mut other) = (Front::start().await, Front::start().await);
    other.url = front.url;
    let said = world(&other, Tokens::of(&[TOKEN]))
        .apply(&step("web", &namespace("shop")))
        .await;
    assert!(said.contains("invalid peer certificate"), "{said}");
}

fn pod(name: &str, ready: &str) -> (Key, serde_json::Value, serde_json::Value) {
    let body = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": "web" } },
        "spec": { "containers": [{
            "name": "main", "image": "web", "ports": [{ "name": "http", "containerPort": 8080 }],
        }] },
    });
    let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] });
    (Key::new("", "Pod", "default", name), body, status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_behind_a_service_is_reached_from_here() {
    let front = Front::start().await;
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (key, body, status) = pod("web-2", "True");
    front.backend.listen(&key, 8080, echo.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = echo.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
        }
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "default" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "name": "web", "port": 80, "targetPort": "http" }] },
    });
    front.backend.act(|api, now| {
        api.create("test", service, now).unwrap();
        let (other, body, status) = pod("web-1", "False");
        api.create("test", body, now).unwrap();
        api.set_status("test", &other, status, now);
    });
    let client = client(&front.url, &front.ca_pem, Tokens::of(&[TOKEN])).unwrap();
    let listen = || TcpListener::bind("127.0.0.1:0");
    let forwarded =
        |port: &'static str, local| forward(&client, "default", "web", port, local, |why| panic!("{why}"));
    let mut said = String::new();
    said += &format!(
        "{}\n",
        forwarded("81", listen().await.unwrap()).await.unwrap_err()
    );
    said += &format!(
        "{}\n",
        forwarded("80", listen().await.unwrap()).await.unwrap_err()
    );
    front.backend.act(|api, now| {
        api.create("test", body, now).unwrap();
        api.set_status("test", &key, status, now);
    });
    for port in ["80", "web"] {
        let local = listen().await.unwrap();
        let address = local.local_addr().unwrap();
        let talk = async {
            for word in ["hello", "again"] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(word.as_bytes()).await.unwrap();
                let mut answer = vec![0; word.len()];
                stream.read_exact(&mut answer).await.unwrap();
                said += &format!("{port}: {}\n", String::from_utf8(answer).unwrap());
            }
        };
        tokio::select! {
            ended = forwarded(port, local) => panic!("{ended:?}"),
            () = talk => {}
        }
    }
    insta::assert_snapshot!(said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_a_secret_is_read() {
    let front = Front::start().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login", "namespace": "default" },
        "stringData": { "password": "open sesame" },
    });
    front
        .backend
        .act(|api, now| api.create("test", secret, now).unwrap());
    let client = client(&front.url, &front.ca_pem, Tokens::of(&[TOKEN])).unwrap();
    let read = |name: &'static str, key: &'static str| secret_value(&client, "default", name, key);
    assert_eq!(read("login", "password").await.unwrap(), "open sesame");
    let said = [
        read("login", "user").await.unwrap_err(),
        read("logout", "password").await.unwrap_err(),
    ];
    insta::assert_snapshot!(format!("{}\n{}", said[0], said[1]));
}
