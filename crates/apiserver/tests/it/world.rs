//! A server on loopback with a clock that tests move, and `kubectl` that talks to it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use landfall_apiserver::serve::{Alone, Backend, ServerTls, kubeconfig, serve};
use landfall_apiserver::{Answer, ApiServer, Request};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub(crate) const TOKEN: &str = "a-token-of-the-tests";

/// When the tests begin.
pub(crate) fn start() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(crate) struct World {
    pub(crate) alone: Arc<Alone>,
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    seconds: Arc<AtomicI64>,
    folder: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    said: String,
}

impl World {
    pub(crate) fn new() -> World {
        let seconds = Arc::new(AtomicI64::new(start().as_second()));
        let clock = seconds.clone();
        let now = move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap();
        let server = ApiServer::new(7, "1.35", start());
        let alone = Alone::at(server, TOKEN, now)
            .with_user("a-token-of-nobody", "nobody")
            .shared();
        let tls = ServerTls::generate(&["127.0.0.1", "localhost"]).unwrap();
        let ca_pem = tls.ca_pem.clone();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        runtime.spawn(serve(listener, tls, alone.clone()));
        let folder = tempfile::tempdir().unwrap();
        let config = kubeconfig(&url, &ca_pem, TOKEN);
        std::fs::write(folder.path().join("config"), config).unwrap();
        World {
            alone,
            url,
            ca_pem,
            seconds,
            folder,
            runtime,
            said: String::new(),
        }
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `kubectl` with the world's configuration, its files as the current folder.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("config"))
            .env("HOME", self.folder.path())
            .env("KUBECTL_EXTERNAL_DIFF", "diff -U0 --label live --label merged")
            .stdin(Stdio::null());
        command
    }

    /// Runs `kubectl` and keeps what was said, for the snapshot of the session.
    pub(crate) fn kubectl(&mut self, line: &str) {
        let output = self.command(line).output().unwrap();
        writeln!(self.said, "$ kubectl {line}").unwrap();
        for text in [output.stdout, output.stderr] {
            self.said.push_str(&String::from_utf8(text).unwrap());
        }
        if !output.status.success() {
            writeln!(self.said, "(exit {})", output.status.code().unwrap()).unwrap();
        }
    }

    /// All that was said since the last time.
    pub(crate) fn session(&mut self) -> String {
        let folder = self.folder.path().display().to_string();
        std::mem::take(&mut self.said)
            .replace(&folder, "")
            .replace(&self.url, "https://server")
    }

    pub(crate) fn client(&self) -> kube::Client {
        let config = kubeconfig(&self.url, &self.ca_pem, TOKEN);
        self.runtime.block_on(async {
            let config = kube::config::Kubeconfig::from_yaml(&config).unwrap();
            let options = kube::config::KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(config, &options)
                .await
                .unwrap();
            kube::Client::try_from(config).unwrap()
        })
    }

    /// Makes an object, past the wires.
    pub(crate) fn send(&self, path: &str, object: &Value) -> (u16, Value) {
        self.whole(&Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: "fieldManager=test".to_owned(),
            content_type: "application/json".to_owned(),
            body: object.to_string().into_bytes(),
            ..Request::default()
        })
    }

    /// A request of a user, past the wires.
    pub(crate) fn ask_as(&self, user: &str, method: &str, path: &str) -> (u16, Value) {
        self.whole(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            user: Some(user.to_owned()),
            ..Request::default()
        })
    }

    fn whole(&self, request: &Request) -> (u16, Value) {
        let response = self.alone.handle(request);
        let Answer::Whole(bytes) = response.body else {
            panic!("a watch was not asked for")
        };
        (response.status, serde_json::from_slice(&bytes).unwrap())
    }

    /// A request past the wires.
    pub(crate) fn ask(&self, method: &str, address: &str) -> (u16, String) {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let response = self.alone.handle(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            accept: "application/json".to_owned(),
            ..Request::default()
        });
        match response.body {
            Answer::Whole(bytes) => (response.status, String::from_utf8(bytes).unwrap()),
            Answer::Watch(mut watch) => {
                let lines = self.alone.events(&mut watch);
                (response.status, String::from_utf8(lines).unwrap())
            }
        }
    }
}

/// Whether `kubectl` is here; says loudly when it is not.
pub(crate) fn has_kubectl(test: &str) -> bool {
    let found = landfall_testkit::program("kubectl").is_some();
    if !found {
        landfall_testkit::skip(
            test,
            "kubectl is not installed (Debian: apt-get install kubernetes-client)",
        );
    }
    found
}
