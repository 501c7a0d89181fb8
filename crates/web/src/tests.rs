//! Checks against little servers of their own, in time that passes only when waited for.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use landfall_model::StepId;
use landfall_model::definition::RecordType;
use landfall_model::wanted::Facts;
use landfall_runner::{Event, Identity, Role};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

const ACCOUNT: &str = "111122223333";

#[derive(Default)]
struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn now(&self) -> String {
        format!("{}ms", self.millis())
    }

    fn millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

/// Answers in turn; the last answer is given again.
struct FakeWhoAmI(Vec<Result<Identity, ApplyError>>, AtomicUsize);

#[async_trait]
impl WhoAmI for FakeWhoAmI {
    async fn who_am_i(&self) -> Result<Identity, ApplyError> {
        let asked = self.1.fetch_add(1, Ordering::SeqCst);
        self.0[asked.min(self.0.len() - 1)].clone()
    }
}

struct FakeRoles(Vec<String>);

#[async_trait]
impl Roles for FakeRoles {
    async fn roles(&self, path_prefix: &str) -> Result<Vec<Role>, ApplyError> {
        let role = |name: &String| Role {
            name: name.clone(),
            arn: format!("arn:aws:iam::{ACCOUNT}:role{path_prefix}{name}"),
        };
        Ok(self.0.iter().map(role).collect())
    }
}

pub(crate) struct Session {
    checks: Checks,
    who: Arc<FakeWhoAmI>,
    clock: Arc<FakeClock>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Session {
    pub(crate) fn new() -> Session {
        Session::with_identities(vec![Ok(identity())])
    }

    fn with_identities(answers: Vec<Result<Identity, ApplyError>>) -> Session {
        let who = Arc::new(FakeWhoAmI(answers, AtomicUsize::new(0)));
        let clock = Arc::new(FakeClock::default());
        Session {
            checks: Checks::new(who.clone(), clock.clone()),
            who,
            clock,
            said: Arc::default(),
        }
    }

    /// A session in an account with these roles of IAM Identity Center.
    pub(crate) fn with_roles(names: &[&str]) -> Session {
        let mut session = Session::new();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        session.checks = session.checks.with_roles(Arc::new(FakeRoles(names)));
        session
    }

    /// A session whose checks are made as `with` says.
    pub(crate) fn where_checks(with: impl FnOnce(Checks) -> Checks) -> Session {
        let mut session = Session::new();
        session.checks = with(session.checks);
        session
    }

    pub(crate) async fn apply(&self, check: CheckSpec) -> Result<Applied, ApplyError> {
        let step = step(check);
        let said = self.said.clone();
        let watcher = move |event: &Event| {
            if let Event::Progress { message, .. } = event {
                said.lock().unwrap().push(message.clone());
            }
        };
        let progress = Progress::new(step.id.clone(), Arc::new(watcher));
        let intent = Intent {
            token: "landfall-test".to_owned(),
        };
        self.checks.apply(&step, &intent, &progress).await
    }

    pub(crate) async fn fails(&self, check: CheckSpec) -> Failure {
        match self.apply(check).await {
            Err(ApplyError::Failed(failure)) => *failure,
            other => panic!("the check should have failed, but gave {other:?}"),
        }
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

fn step(check: CheckSpec) -> Step {
    Step {
        id: StepId::new("portal", "serves"),
        facts: Facts {
            name: "acme-dev".to_owned(),
            region: "us-east-1".to_owned(),
            account: ACCOUNT.to_owned(),
            tags: BTreeMap::new(),
        },
        work: Work::Check(Known::Value(Box::new(check))),
    }
}

pub(crate) fn spec(check: serde_json::Value) -> CheckSpec {
    serde_json::from_value(check).unwrap()
}

fn identity() -> Identity {
    Identity {
        account: ACCOUNT.to_owned(),
        arn: "arn:aws:sts::111122223333:assumed-role/admin/ann".to_owned(),
        temporary: true,
        lasts: Some(Duration::from_secs(58 * 60 + 12)),
    }
}

fn identity_check() -> CheckSpec {
    spec(json!({
        "identity": { "account": ACCOUNT, "minimumLifetime": "15m", "temporary": true },
        "within": "30s",
    }))
}

#[tokio::test]
async fn credentials_that_fit_pass() {
    let session = Session::new();
    let applied = session.apply(identity_check()).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Passed);
    assert_eq!(
        serde_json::Value::Object(applied.outputs),
        json!({ "account": ACCOUNT, "arn": identity().arn })
    );
    assert_eq!(
        applied.notes,
        ["arn:aws:sts::111122223333:assumed-role/admin/ann in account 111122223333, credentials last 58 min"]
    );
    assert_eq!(applied.owned, None);
}

#[tokio::test]
async fn another_account_is_refused_at_once() {
    let other = Identity {
        account: "444455556666".to_owned(),
        ..identity()
    };
    let session = Session::with_identities(vec![Ok(other)]);
    let failure = session.fails(identity_check()).await;
    assert!(
        failure
            .summary
            .contains("account 444455556666, not to 111122223333"),
        "{failure:?}"
    );
    let way_out = failure.way_out.unwrap();
    assert!(
        way_out.contains("AWS_PROFILE") && way_out.contains("aws sso login"),
        "{way_out}"
    );
    assert_eq!(session.clock.millis(), 0, "waiting does not change the account");
}

#[tokio::test]
async fn long_lived_keys_are_refused_where_temporary_ones_are_asked_for() {
    let keys = Identity {
        temporary: false,
        lasts: None,
        ..identity()
    };
    let session = Session::with_identities(vec![Ok(keys)]);
    let failure = session.fails(identity_check()).await;
    assert!(failure.summary.contains("long-lived access keys"), "{failure:?}");
    assert!(failure.way_out.unwrap().contains("assume a role"));
    assert_eq!(session.clock.millis(), 0);

    let anything = spec(json!({ "identity": { "account": ACCOUNT } }));
    let applied = session.apply(anything).await.unwrap();
    assert_eq!(applied.notes[1], "the credentials are long-lived access keys");
}

#[tokio::test]
async fn credentials_about_to_expire_are_refused_and_unknown_ones_noted() {
    let lasting = |lasts| Identity { lasts, ..identity() };
    let session = Session::with_identities(vec![
        Ok(lasting(Some(Duration::from_secs(14 * 60)))),
        Ok(lasting(None)),
    ]);
    let failure = session.fails(identity_check()).await;
    assert!(
        failure
            .summary
            .contains("last 14 min, but at least 15 min is needed"),
        "{failure:?}"
    );
    let applied = session.apply(identity_check()).await.unwrap();
    assert_eq!(applied.notes[1], "how long the credentials last is not known");
}

#[tokio::test]
async fn a_stumble_while_asking_is_waited_out() {
    let session = Session::with_identities(vec![
        Err(ApplyError::failed("could not ask STS who we are")),
        Ok(identity()),
    ]);
    session.apply(identity_check()).await.unwrap();
    assert_eq!(session.said(), ["could not ask STS who we are, 0s of 30s"]);
}

#[tokio::test]
async fn when_nobody_answers_the_deadline_ends_it() {
    let session = Session::with_identities(vec![Err(Failure::new("could not ask STS who we are")
        .way_out("check the network")
        .into())]);
    let failure = session.fails(identity_check()).await;
    assert_eq!(
        failure,
        Failure {
            summary: "the identity check for account 111122223333 did not hold within 30s".to_owned(),
            cause: Some(Cause {
                resource: "credentials".to_owned(),
                kind: String::new(),
                state: "unknown".to_owned(),
                reason: "could not ask STS who we are".to_owned(),
                at: "30000ms".to_owned(),
            }),
            way_out: Some("check the network".to_owned()),
        }
    );
    assert_eq!(session.clock.millis(), 30_000, "neither sooner nor later");
    let asked = session.who.1.load(Ordering::SeqCst);
    assert!((9..=20).contains(&asked), "asked {asked} times");
}

#[tokio::test]
async fn expired_credentials_are_handed_on_to_be_renewed() {
    let expired = ApplyError::CredentialsExpired("the token has expired".to_owned());
    let session = Session::with_identities(vec![Err(expired.clone())]);
    assert_eq!(session.apply(identity_check()).await, Err(expired));
    assert_eq!(session.clock.millis(), 0);
}

type Answer = (ResponseCode, Vec<RData>);

/// A name server that answers in turn and then goes on with the last answer.
async fn name_server(answers: Vec<Answer>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut packet = [0; 4096];
        for asked in 0.. {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            let question = Message::from_vec(&packet[..length]).unwrap();
            let (code, data) = answers[asked.min(answers.len() - 1)].clone();
            let name = question.queries[0].name().clone();
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.response_code = code;
            answer.metadata.recursion_desired = true;
            answer.metadata.recursion_available = true;
            answer.add_queries(question.queries);
            let mut owner = name;
            for data in data {
                let next = match &data {
                    RData::CNAME(CNAME(target)) => target.clone(),
                    _ => owner.clone(),
                };
                answer.add_answer(Record::from_rdata(owner, 60, data));
                owner = next;
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

fn dns_check(server: &str, kind: RecordType, contains: Option<&str>) -> CheckSpec {
    let mut check =
        spec(json!({ "dns": { "name": "portal.acme.example", "server": server }, "within": "2m" }));
    if let Some(dns) = &mut check.dns {
        dns.kind = kind;
        dns.contains = contains.map(str::to_owned);
    }
    check
}

#[tokio::test]
async fn a_name_is_waited_for_until_it_resolves() {
    let server = name_server(vec![
        (ResponseCode::NXDomain, vec![]),
        (ResponseCode::NXDomain, vec![]),
        (ResponseCode::NoError, vec![]),
        (ResponseCode::NoError, vec![a(9), a(7)]),
    ])
    .await;
    let session = Session::new();
    let applied = session
        .apply(dns_check(&server, RecordType::A, None))
        .await
        .unwrap();
    assert_eq!(applied.outcome, Outcome::Passed);
    assert_eq!(
        serde_json::Value::Object(applied.outputs),
        json!({ "answers": ["192.0.2.7", "192.0.2.9"] })
    );
    assert_eq!(
        session.said(),
        [
            "portal.acme.example does not resolve yet (NXDOMAIN), 0s of 2m",
            "portal.acme.example does not resolve yet (NXDOMAIN), 0s of 2m",
            "portal.acme.example has no A record yet (NODATA), 0s of 2m",
        ]
    );
}

#[tokio::test]
async fn a_name_that_never_resolves_names_its_zone() {
    let server = name_server(vec![(ResponseCode::NXDomain, vec![])]).await;
    let session = Session::new();
    let failure = session.fails(dns_check(&server, RecordType::A, None)).await;
    assert_eq!(
        failure,
        Failure {
            summary: "the DNS check of portal.acme.example did not hold within 2m".to_owned(),
            cause: Some(Cause {
                resource: "portal.acme.example".to_owned(),
                kind: "A".to_owned(),
                state: "NXDOMAIN".to_owned(),
                reason: "portal.acme.example does not resolve yet (NXDOMAIN)".to_owned(),
                at: "120000ms".to_owned(),
            }),
            way_out: Some(
                "check that the record was made, and that the zone is delegated: dig NS acme.example"
                    .to_owned()
            ),
        }
    );
    assert!(session.said().last().unwrap().ends_with("s of 2m"));
}

#[tokio::test]
async fn an_answer_of_old_is_waited_out() {
    let server = name_server(vec![
        (ResponseCode::NoError, vec![a(1)]),
        (ResponseCode::NoError, vec![a(2)]),
    ])
    .await;
    let session = Session::new();
    let check = dns_check(&server, RecordType::A, Some("192.0.2.2"));
    session.apply(check).await.unwrap();
    assert_eq!(
        session.said(),
        ["portal.acme.example resolves to 192.0.2.1, not yet to 192.0.2.2, 0s of 2m"]
    );
}

#[tokio::test]
async fn a_chain_of_names_is_followed_but_not_among_the_answers() {
    let balancer = Name::from_ascii("lb.aws.example.").unwrap();
    let chain = (ResponseCode::NoError, vec![RData::CNAME(CNAME(balancer)), a(5)]);
    let server = name_server(vec![chain]).await;
    let session = Session::new();
    let answers = |applied: Applied| applied.outputs["answers"].clone();
    let addresses = session
        .apply(dns_check(&server, RecordType::A, None))
        .await
        .unwrap();
    assert_eq!(answers(addresses), json!(["192.0.2.5"]));
    let name = dns_check(&server, RecordType::Cname, Some("LB.aws.example."));
    assert_eq!(
        answers(session.apply(name).await.unwrap()),
        json!(["lb.aws.example"])
    );
}

#[tokio::test]
async fn long_texts_are_put_together() {
    let text = RData::TXT(TXT::new(vec!["v=spf1 ".to_owned(), "-all".to_owned()]));
    let server = name_server(vec![(ResponseCode::NoError, vec![text])]).await;
    let session = Session::new();
    let check = dns_check(&server, RecordType::Txt, Some("v=spf1 -all"));
    session.apply(check).await.unwrap();
}

#[tokio::test]
async fn a_server_in_trouble_is_told_from_a_missing_name() {
    let server = name_server(vec![
        (ResponseCode::ServFail, vec![]),
        (ResponseCode::ServFail, vec![]),
        (ResponseCode::ServFail, vec![]),
        (ResponseCode::NoError, vec![a(1)]),
    ])
    .await;
    let session = Session::new();
    session
        .apply(dns_check(&server, RecordType::A, None))
        .await
        .unwrap();
    assert_eq!(
        session.said()[0],
        "the DNS server could not answer for portal.acme.example (SERVFAIL), 0s of 2m"
    );
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_at_once() {
    let session = Session::new();
    let check = spec(json!({ "dns": { "name": "no name" } }));
    let failure = session.fails(check).await;
    assert!(
        failure.summary.starts_with("`no name` cannot be asked for"),
        "{failure:?}"
    );
    let server = spec(json!({ "dns": { "name": "acme.example", "server": "ns1.acme.example" } }));
    let failure = session.fails(server).await;
    assert!(
        failure.summary.contains("`ns1.acme.example` is not an address"),
        "{failure:?}"
    );
    assert_eq!(session.clock.millis(), 0);
}

/// A web server that answers in turn and then goes on with the last answer; gives its address and
/// what it was asked.
pub(crate) async fn web_server(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, serve(listener, answers))
}

/// Answers in turn whoever connects; gives what was asked.
pub(crate) fn serve(listener: TcpListener, answers: Vec<String>) -> Arc<Mutex<Vec<String>>> {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = asked.clone();
    tokio::spawn(async move {
        for count in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            record.lock().unwrap().push(String::from_utf8(request).unwrap());
            let answer = &answers[count.min(answers.len() - 1)];
            // Those who have read enough hang up early.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    asked
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_service_is_waited_for_until_it_serves() {
    let busy = answer("503 Service Unavailable", "", "starting");
    let (address, asked) = web_server(vec![busy.clone(), busy, answer("200 OK", "", "ready")]).await;
    let session = Session::new();
    let check = spec(json!({
        "http": { "url": format!("http://ann:secret@{address}/ready?token=secret"), "contains": "ready" },
    }));
    let applied = session.apply(check).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Passed);
    assert_eq!(
        serde_json::Value::Object(applied.outputs),
        json!({ "status": 200 })
    );
    let waits = format!("http://{address}/ready answers 503, not 200, 0s of 2m");
    assert_eq!(session.said(), [waits.clone(), waits]);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].starts_with("GET /ready?token=secret HTTP/1.1\r\n"));
    assert!(asked[0].contains(&format!("user-agent: landfall/{}\r\n", env!("CARGO_PKG_VERSION"))));
    assert!(!format!("{:?}{:?}", session.said(), applied.notes).contains("secret"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_of_its_own() {
    let moved = answer("302 Found", "Location: /sign-in?state=secret\r\n", "");
    let (address, asked) = web_server(vec![moved]).await;
    let session = Session::new();
    let url = format!("http://{address}/");
    let failure = session.fails(spec(json!({ "http": { "url": url } }))).await;
    assert_eq!(
        failure.cause.unwrap().reason,
        format!("http://{address}/ answers 302, not 200")
    );
    assert_eq!(
        failure.way_out.unwrap(),
        format!(
            "it redirects to http://{address}/sign-in, which is not followed: check that address, or expect \
             status 302"
        )
    );
    assert!(
        asked
            .lock()
            .unwrap()
            .iter()
            .all(|request| request.starts_with("GET / "))
    );
    session
        .apply(spec(json!({ "http": { "url": url, "status": 302 } })))
        .await
        .unwrap();
}

#[tokio::test]
async fn only_the_beginning_of_a_body_is_read() {
    let long = format!("{}end", "x".repeat(2 << 20));
    let (address, _) = web_server(vec![answer("200 OK", "", &long)]).await;
    let session = Session::new();
    let with = |text: &str| {
        spec(json!({
            "http": { "url": format!("http://{address}/"), "contains": text },
            "within": "1s",
        }))
    };
    session.apply(with("xxx")).await.unwrap();
    let failure = session.fails(with("end")).await;
    assert_eq!(
        failure.cause.unwrap().reason,
        format!("http://{address}/ answers 200, but without \"end\"")
    );
}

#[tokio::test]
async fn nobody_listening_says_where() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let session = Session::new();
    let url = format!("http://127.0.0.1:{port}/?token=secret");
    let failure = session
        .fails(spec(json!({ "http": { "url": url }, "within": "5s" })))
        .await;
    assert_eq!(
        failure.summary,
        format!("the HTTP check of http://127.0.0.1:{port}/ did not hold within 5s")
    );
    assert!(
        failure.cause.as_ref().unwrap().reason.contains("refused"),
        "{failure:?}"
    );
    assert!(
        failure
            .way_out
            .as_ref()
            .unwrap()
            .contains(&format!("listens on port {port} of 127.0.0.1")),
        "{failure:?}"
    );
    assert!(!format!("{failure:?}").contains("secret"));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_from_a_silent_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            // Hanging up with the greeting unread would reset the connection before the answer is read.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let session = Session::new();
    let check = spec(json!({ "http": { "url": format!("https://{address}/") }, "within": "1s" }));
    let reason = session.fails(check).await.cause.unwrap().reason;
    assert!(reason.contains("InvalidContentType"), "{reason}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once_and_not_shown() {
    let session = Session::new();
    for url in ["portal?token=secret", "ftp://ann:secret@portal.acme.example"] {
        let failure = session.fails(spec(json!({ "http": { "url": url } }))).await;
        assert!(!format!("{failure:?}").contains("secret"), "{failure:?}");
    }
    assert_eq!(session.clock.millis(), 0);
}

#[tokio::test]
async fn a_check_says_one_thing_and_for_how_long() {
    let session = Session::new();
    let nothing = session.fails(spec(json!({ "within": "30s" }))).await;
    assert!(nothing.way_out.unwrap().contains("exactly one of"));
    let soon = session
        .fails(spec(
            json!({ "identity": { "account": ACCOUNT }, "within": "soon" }),
        ))
        .await;
    assert_eq!(soon.summary, "`within` of the check is `soon`, which is no time");
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let checks = Session::new().checks;
    let step = step(identity_check());
    let seen = checks.observe(&step).await.unwrap();
    assert_eq!(seen, Observed::absent());
    assert_eq!(checks.preview(&step, &seen).await.unwrap(), []);
    assert_eq!(checks.owned("acme-dev").await.unwrap(), []);
}
