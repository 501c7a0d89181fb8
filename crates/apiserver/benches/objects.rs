//! How many objects are applied per second through the front, eight at a time, and how much memory the
//! server takes for them.
//!
//! `cargo bench -p landfall-apiserver` prints a table. Each case runs in a process of its own, so that
//! its peak memory is its own (the client's share included: both sides live in it).
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench reports on the terminal"
)]

use std::process::Command;
use std::time::Instant;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams, Patch, PatchParams};
use landfall_apiserver::ApiServer;
use landfall_apiserver::serve::{Alone, ServerTls, kubeconfig, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const AT_ONCE: usize = 8;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some("case"), Some(count)) = (arguments.next().as_deref(), arguments.next()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(case(count.parse().unwrap()));
    }
    println!("objects | applied/s | applied again/s | in the core/s | list ms | peak MB");
    for count in [1_000, 10_000] {
        let myself = std::env::current_exe().unwrap();
        let status = Command::new(myself)
            .args(["case", &count.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "{count} objects: {status}");
    }
}

async fn case(count: usize) {
    let server = ApiServer::new(1, "1.35", Timestamp::now());
    let alone = Alone::new(server, "token").shared();
    let tls = ServerTls::generate(&["127.0.0.1"]).unwrap();
    let ca_pem = tls.ca_pem.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(serve(listener, tls, alone));
    let config = kube::config::Kubeconfig::from_yaml(&kubeconfig(&url, &ca_pem, "token")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
        .await
        .unwrap();
    let deployments: Api<Deployment> = Api::default_namespaced(kube::Client::try_from(config).unwrap());

    let first = applied(&deployments, count).await;
    let again = applied(&deployments, count).await;
    let began = Instant::now();
    let list = deployments.list(&ListParams::default()).await.unwrap();
    let listing = began.elapsed().as_millis();
    assert_eq!(list.items.len(), count);
    let megabytes = peak_megabytes();
    serving.abort();

    let mut core = ApiServer::new(1, "1.35", Timestamp::now());
    let began = Instant::now();
    for number in 0..count {
        core.apply("bench", false, object(number), Timestamp::now())
            .unwrap();
    }
    let alone = per_second(count, began);
    println!("{count:7} | {first:9.0} | {again:15.0} | {alone:13.0} | {listing:7} | {megabytes:7}");
}

async fn applied(deployments: &Api<Deployment>, count: usize) -> f64 {
    let began = Instant::now();
    let all = futures::stream::iter(0..count).map(|number| async move {
        let parameters = PatchParams::apply("bench");
        let name = format!("web-{number}");
        deployments
            .patch(&name, &parameters, &Patch::Apply(object(number)))
            .await
            .unwrap()
    });
    let done = all.buffer_unordered(AT_ONCE).count().await;
    assert_eq!(done, count);
    per_second(count, began)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

fn object(number: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": format!("web-{number}"), "labels": { "app": "web" } },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{
                    "name": "web", "image": "example.com/web:1.2.3",
                    "env": [{ "name": "NUMBER", "value": number.to_string() }],
                    "ports": [{ "containerPort": 8080 }],
                }] },
            },
        },
    })
}

/// The most memory this process ever held.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
