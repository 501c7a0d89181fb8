//! Checks of certificates, measurements, logs, connections and sign-in pages.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::definition::{ConnectionFrom, TlsCheck};
use landfall_runner::{ApplyError, LogEvent, LogReader, Logged, Probe, Probed, SecretReader, SecretValue};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::tests::{Session, answer, spec, web_server};
use crate::tls::{self, Trust};
use crate::{Held, Miss};

/// When the certificate in `fixtures` ends, and a day in seconds.
const END_S: u64 = 1826814535;
const DAY_S: u64 = 86_400;

/// A server with the certificate in `fixtures`, which is for `localhost`.
async fn tls_server() -> u16 {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("fixtures/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = acceptor.accept(tcp).await;
        }
    });
    port
}

fn ours() -> Trust {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(include_bytes!("fixtures/ca.pem")).unwrap())
        .unwrap();
    Trust::Only(Arc::new(roots))
}

async fn handshake(host: &str, port: u16, trust: &Trust, now_s: u64) -> Result<Held, String> {
    let check: TlsCheck = serde_json::from_value(json!({ "host": host, "port": port })).unwrap();
    match tls::look(&check, trust, now_s, Duration::from_secs(5)).await {
        Ok(held) => Ok(held),
        Err(Miss::NotYet(seen)) => Err(seen.what.replace(&port.to_string(), "PORT")),
        Err(Miss::Never(error)) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_certificate_is_judged_by_name_authority_and_time() {
    let port = tls_server().await;
    let held = handshake("localhost", port, &ours(), END_S - 30 * DAY_S)
        .await
        .unwrap();
    assert_eq!(held.outputs["issuer"], "Acme authorities");
    assert_eq!(held.outputs["expires"], crate::certificate::day(END_S));
    let told = |result: Result<Held, String>| result.unwrap_err();
    assert_eq!(
        told(handshake("localhost", port, &ours(), END_S - 5 * DAY_S).await),
        format!(
            "localhost:PORT has a certificate that is valid for 5 more days, until {}; 14 are asked for",
            crate::certificate::day(END_S)
        )
    );
    assert_eq!(
        told(handshake("localhost", port, &ours(), END_S + 1).await),
        "localhost:PORT has a certificate that has expired"
    );
    assert_eq!(
        told(handshake("127.0.0.1", port, &ours(), END_S - 30 * DAY_S).await),
        "127.0.0.1:PORT has a certificate for another name"
    );
    assert_eq!(
        told(handshake("localhost", port, &Trust::Machine, END_S - 30 * DAY_S).await),
        "localhost:PORT has a certificate of an authority that is not trusted here"
    );
}

#[tokio::test]
async fn prometheus_is_asked_until_there_is_enough() {
    let values =
        |values: Value| json!({ "status": "success", "data": { "resultType": "vector", "result": values } });
    let up = |value: &str| json!([{ "metric": { "job": "argocd" }, "value": [1_790_000_000, value] }]);
    let (address, _) = web_server(vec![
        answer("503 Service Unavailable", "", ""),
        answer("200 OK", "", &values(json!([])).to_string()),
        answer("200 OK", "", &values(up("1")).to_string()),
        answer("200 OK", "", &values(up("3")).to_string()),
    ])
    .await;
    let session = Session::new();
    let check = json!({ "url": format!("http://{address}"), "query": "sum(up)", "atLeast": 3 });
    let applied = session.apply(spec(json!({ "prometheus": check }))).await.unwrap();
    assert_eq!(applied.outputs["value"], 3.0);
    let said: Vec<String> = session
        .said()
        .iter()
        .map(|said| {
            said.replace(&address, "metrics")
                .split(", ")
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        said,
        [
            "http://metrics/api/v1/query answers 503 to `sum(up)` (no explanation)",
            "`sum(up)` has no values yet",
            "`sum(up)` gives 1",
        ]
    );
}

/// Answers in turn.
struct Log(Mutex<Vec<Logged>>);

#[async_trait]
impl LogReader for Log {
    async fn find(
        &self,
        region: Option<&str>,
        group: &str,
        pattern: &str,
        since: Duration,
    ) -> Result<Logged, ApplyError> {
        assert_eq!((region, group, pattern), (None, "/aws/eks/acme/cluster", "ready"));
        assert_eq!(since, Duration::from_secs(300));
        Ok(self.0.lock().unwrap().remove(0))
    }
}

#[tokio::test]
async fn a_log_is_read_until_it_has_it() {
    let event = LogEvent {
        stream: "audit-1".to_owned(),
        message: "ready".to_owned(),
    };
    let log = Log(Mutex::new(vec![
        Logged::NoGroup,
        Logged::Nothing,
        Logged::Event(event),
    ]));
    let session = Session::where_checks(|checks| checks.with_logs(Arc::new(log)));
    let check = json!({ "logGroup": "/aws/eks/acme/cluster", "pattern": "ready", "since": "5m" });
    let applied = session.apply(spec(json!({ "logs": check }))).await.unwrap();
    assert_eq!(applied.outputs["stream"], "audit-1");
    assert!(session.said()[1].starts_with("nothing like `ready` arrived in /aws/eks/acme/cluster within 5m"));
}

struct Pods(Probed);

#[async_trait]
impl Probe for Pods {
    async fn connect(
        &self,
        cluster: &str,
        name: &str,
        from: &ConnectionFrom,
        to: (&str, u16),
        _: Duration,
    ) -> Result<Probed, ApplyError> {
        assert_eq!((cluster, name), ("acme", "landfall-portal-serves"));
        assert_eq!((from.namespace.as_str(), to), ("shop", ("db.shop.svc", 5432)));
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_connection_is_made_or_is_not_and_a_pod_that_never_ran_proves_nothing() {
    let told = async |probed: Probed, expect: &str| {
        let session = Session::where_checks(|checks| checks.with_probe(Arc::new(Pods(probed))));
        let check = json!({
            "cluster": "acme", "from": { "namespace": "shop" }, "to": "db.shop.svc:5432", "expect": expect,
        });
        match session
            .apply(spec(json!({ "connection": check, "within": "5s" })))
            .await
        {
            Ok(applied) => applied.notes.join(" "),
            Err(ApplyError::Failed(failure)) => format!("FAILED {}", failure.cause.unwrap().reason),
            Err(other) => panic!("{other:?}"),
        }
    };
    let refused = || Probed::Refused("Connection timed out".to_owned());
    let not_yet = || Probed::NotYet("no node for its pod".to_owned());
    assert_eq!(
        told(Probed::Connected, "allowed").await,
        "a pod in shop reaches db.shop.svc:5432"
    );
    assert_eq!(
        told(refused(), "refused").await,
        "a pod in shop does not reach db.shop.svc:5432 (Connection timed out)"
    );
    assert_eq!(
        told(refused(), "allowed").await,
        "FAILED a pod in shop does not reach db.shop.svc:5432 (Connection timed out)"
    );
    assert_eq!(
        told(Probed::Connected, "refused").await,
        "FAILED a pod in shop reaches db.shop.svc:5432, and must not"
    );
    for expect in ["allowed", "refused"] {
        assert_eq!(
            told(not_yet(), expect).await,
            "FAILED a pod in shop could not try yet (no node for its pod)"
        );
    }
}

struct Password;

#[async_trait]
impl SecretReader for Password {
    async fn secret(&self, id: &str) -> Result<SecretValue, ApplyError> {
        assert_eq!(id, "ann");
        Ok(SecretValue::new(r#"{"password":"s3cret-w0rd"}"#))
    }
}

const CALLBACK: &str = "https://portal.acme.example/callback";

/// A certified OpenID Connect provider with its own pages, as a process; it ends with the handle.
async fn provider(test: &str) -> Option<(String, tokio::process::Child)> {
    let tools = landfall_testkit::tools()
        .map(|tools| tools.join("keycloak"))
        .filter(|tools| tools.join("installed.json").exists());
    let Some(tools) = tools else {
        landfall_testkit::skip(test, "run `cargo xtask test`, which installs npm packages");
        return None;
    };
    let mut child = tokio::process::Command::new("node")
        .current_dir(tools)
        .arg("provider.mjs")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Ok(port) = line.trim().parse::<u16>() {
            break port;
        }
    };
    let start = format!(
        "http://127.0.0.1:{port}/auth?client_id=portal&response_type=code&scope=openid&state=x&redirect_uri={CALLBACK}\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
    );
    Some((start, child))
}

fn sign_in(start: &str, username: Option<&str>) -> landfall_model::definition::CheckSpec {
    let mut check = json!({ "start": start, "callback": CALLBACK });
    if let Some(username) = username {
        check["username"] = username.into();
        check["password"] = "{{resolve:secretsmanager:ann:SecretString:password}}".into();
    }
    spec(json!({ "signIn": check, "within": "5s" }))
}

#[tokio::test]
async fn signing_in_goes_over_every_page_of_a_certified_provider() {
    let Some((start, _child)) = provider("signing_in_goes_over_every_page_of_a_certified_provider").await
    else {
        return;
    };
    let session = Session::where_checks(|checks| checks.with_secrets(Arc::new(Password)));
    let applied = session.apply(sign_in(&start, Some("ann"))).await.unwrap();
    assert!(
        applied.notes[0].ends_with(&format!("ends at {CALLBACK}")),
        "{applied:?}"
    );
    // Without a user it is seen as far as the form.
    let applied = session.apply(sign_in(&start, None)).await.unwrap();
    assert!(
        applied.notes[0].contains("leads to the form of http://127.0.0.1:"),
        "{applied:?}"
    );
}

#[tokio::test]
async fn a_user_who_is_not_let_in_is_told_what_the_form_said() {
    let Some((start, _child)) = provider("a_user_who_is_not_let_in_is_told_what_the_form_said").await else {
        return;
    };
    let session = Session::where_checks(|checks| checks.with_secrets(Arc::new(Password)));
    let failure = session.fails(sign_in(&start, Some("nobody"))).await;
    assert!(
        failure
            .summary
            .ends_with("does not let the user in; it says: Unknown user & password"),
        "{failure:?}"
    );
    assert_eq!(session.said(), Vec::<String>::new(), "not tried twice");
    assert!(!format!("{failure:?}").contains("s3cret-w0rd"));

    // A client that the provider does not know is never sent back: its page says why.
    let other = start.replace("client_id=portal", "client_id=nobody");
    let failure = session.fails(sign_in(&other, Some("ann"))).await;
    let reason = failure.cause.unwrap().reason;
    assert!(
        reason.contains("answers 400 and has no form to sign in with"),
        "{reason}"
    );

    // One that it knows is sent back with an error.
    let wrong = start
        .replace("&code_challenge_method=S256", "")
        .replace("&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "");
    let failure = session.fails(sign_in(&wrong, Some("ann"))).await;
    let cause = failure.cause.unwrap();
    assert_eq!(cause.state, "invalid_request");
    assert!(
        cause.reason.contains("sends people back with an error"),
        "{}",
        cause.reason
    );
}

#[tokio::test]
async fn a_password_is_a_reference_and_comes_with_a_name() {
    let session = Session::where_checks(|checks| checks.with_secrets(Arc::new(Password)));
    let mut check = sign_in("http://127.0.0.1:9/", Some("ann"));
    if let Some(check) = &mut check.sign_in {
        check.password = Some("s3cret-w0rd".to_owned());
    }
    let failure = session.fails(check).await;
    assert!(failure.summary.contains("takes a secret"), "{failure:?}");
    assert!(!format!("{failure:?}").contains("s3cret-w0rd"));
}
