//! `request` steps against our Keycloak, over HTTP; and that Keycloak judged by the official admin client.
#![allow(clippy::unwrap_used, reason = "a panic is how tests speak")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use landfall_engine::{DefinitionFolder, Evaluator, Expressions, Library};
use landfall_model::definition::{RequestAuth, RequestResource};
use landfall_model::provider::{Change, Observed, Outcome, Standing};
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::Facts;
use landfall_model::work::{Known, RequestWork, ResourceWork, Step, Work};
use landfall_model::{Diagnostics, SourceFile, StepId};
use landfall_runner::{ApplyError, Clock, Intent, Progress, Provider, SecretReader, SecretValue};
use landfall_sim::{Asked, Keycloak};
use landfall_web::{Http, Requests};
use serde_json::{Value, json};

/// What the server does wrong, each as often as it says.
#[derive(Default)]
struct Faults {
    /// Answers 503 before doing anything.
    busy: u32,
    /// Does what it is asked and answers 502.
    lost: u32,
    /// Takes no token, once for each.
    signed_out: u32,
}

struct Server {
    url: String,
    keycloak: Arc<Mutex<Keycloak>>,
    faults: Arc<Mutex<Faults>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Server {
        let keycloak = Arc::new(Mutex::new(Keycloak::with_administrator("admin", "adm1n-pass")));
        let faults = Arc::new(Mutex::new(Faults::default()));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let shared = (keycloak.clone(), faults.clone(), asked.clone());
        let app = axum::Router::new().fallback(move |request: Request| {
            let shared = shared.clone();
            async move { answer(&shared.0, &shared.1, &shared.2, request).await }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Server {
            url,
            keycloak,
            faults,
            asked,
        }
    }

    /// What was asked to change since the last time, in order.
    fn written(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    async fn client(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("node");
        command
            .current_dir(tools().unwrap())
            .args(["admin.mjs", &self.url])
            .args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

async fn answer(
    keycloak: &Mutex<Keycloak>,
    faults: &Mutex<Faults>,
    asked: &Mutex<Vec<String>>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let query = reqwest::Url::parse(&format!("http://x/?{}", parts.uri.query().unwrap_or_default())).unwrap();
    let plain = |status: u16| {
        Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .body(Body::empty())
            .unwrap()
    };
    let writes = parts.method != "GET" && parts.uri.path().starts_with("/admin");
    let mut lost = false;
    {
        let mut faults = faults.lock().unwrap();
        if faults.busy > 0 {
            faults.busy -= 1;
            return plain(503);
        }
        if faults.signed_out > 0 && parts.uri.path().starts_with("/admin") {
            faults.signed_out -= 1;
            return plain(401);
        }
        if writes && faults.lost > 0 {
            faults.lost -= 1;
            lost = true;
        }
    }
    if writes {
        let line = format!("{} {}", parts.method, parts.uri.path());
        asked.lock().unwrap().push(line);
    }
    let header = parts.headers.get("authorization");
    let answered = keycloak.lock().unwrap().answer(
        &Asked {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: query
                .query_pairs()
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
            authorization: header.map(|header| header.to_str().unwrap()),
            body: &body,
        },
        0,
    );
    if lost {
        return plain(502);
    }
    let mut response = Response::builder().status(answered.status);
    if let Some(location) = &answered.location {
        response = response.header(
            "location",
            format!("http://{}{location}", parts.headers["host"].to_str().unwrap()),
        );
    }
    if answered.body.is_null() {
        return response.body(Body::empty()).unwrap();
    }
    response
        .header("content-type", "application/json")
        .body(Body::from(answered.body.to_string()))
        .unwrap()
}

/// The npm packages that judge, when they are installed.
fn tools() -> Option<PathBuf> {
    let folder = landfall_testkit::tools()?.join("keycloak");
    folder.join("installed.json").exists().then_some(folder)
}

/// Secrets that tests know.
struct Secrets;

#[async_trait]
impl SecretReader for Secrets {
    async fn secret(&self, id: &str) -> Result<SecretValue, ApplyError> {
        Ok(SecretValue::new(match id {
            "admin" => r#"{"username":"admin","password":"adm1n-pass"}"#,
            "wrong" => r#"{"username":"admin","password":"wr0ng-pass"}"#,
            _ => r#"{"password":"alice-pass"}"#,
        }))
    }
}

/// Time that passes only when it is waited for.
#[derive(Default)]
struct Quick(AtomicU64);

impl Clock for Quick {
    fn now(&self) -> String {
        "2026-11-21T10:00:00.000Z".to_owned()
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

fn requests() -> Requests {
    Requests::new(Arc::new(Http), Arc::new(Secrets), Arc::new(Quick::default()))
}

fn auth(secret: &str) -> RequestAuth {
    serde_json::from_value(json!({
        "tokenUrl": "/realms/master/protocol/openid-connect/token",
        "clientId": "admin-cli",
        "username": format!("{{{{resolve:secretsmanager:{secret}:SecretString:username}}}}"),
        "password": format!("{{{{resolve:secretsmanager:{secret}:SecretString:password}}}}"),
    }))
    .unwrap()
}

/// A realm with a role, a user who has it, and a client with authorization settings.
fn realm(display: &str, roles: &[&str]) -> Vec<Value> {
    let mut resources = vec![json!({
        "name": "realm", "path": "/admin/realms/shop", "mark": "attributes.landfall",
        "create": { "method": "POST", "path": "/admin/realms" },
        "body": { "realm": "shop", "enabled": true, "displayName": display },
        "outputs": { "realmId": "id" },
    })];
    resources.extend(roles.iter().map(|role| {
        json!({
            "name": format!("role-{role}"), "path": format!("/admin/realms/shop/roles/{role}"),
            "create": { "method": "POST", "path": "/admin/realms/shop/roles" }, "body": { "name": role },
        })
    }));
    resources.extend([
        json!({
            "name": "user-alice", "path": "/admin/realms/shop/users/{id}",
            "list": "/admin/realms/shop/users?username=alice&exact=true", "match": { "username": "alice" },
            "create": {
                "method": "POST", "path": "/admin/realms/shop/users",
                "body": { "credentials": [
                    { "type": "password", "value": "{{resolve:secretsmanager:alice:SecretString:password}}", "temporary": true },
                ] },
            },
            "body": { "username": "alice", "firstName": "Alice", "enabled": true },
        }),
        json!({
            "name": "alice-is-premium", "path": "",
            "list": "/admin/realms/shop/users/{user-alice.id}/role-mappings/realm", "match": { "name": "premium" },
            "create": {
                "method": "POST", "path": "/admin/realms/shop/users/{user-alice.id}/role-mappings/realm",
                "body": [{ "id": "{role-premium.id}", "name": "premium" }],
            },
            "keep": true,
        }),
        json!({
            "name": "client-web", "path": "/admin/realms/shop/clients/{id}",
            "list": "/admin/realms/shop/clients?clientId=web", "match": { "clientId": "web" },
            "create": { "method": "POST", "path": "/admin/realms/shop/clients" },
            "body": {
                "clientId": "web", "publicClient": false, "secret": "{{resolve:secretsmanager:web:SecretString:password}}",
                "redirectUris": ["https://b.acme.example/*", "https://a.acme.example/*"],
                "authorizationServicesEnabled": true, "serviceAccountsEnabled": true,
            },
            "outputs": { "clientUuid": "id" },
        }),
        json!({
            "name": "authorization", "path": "/admin/realms/shop/clients/{client-web.id}/authz/resource-server/settings",
            "update": { "method": "POST", "path": "/admin/realms/shop/clients/{client-web.id}/authz/resource-server/import" },
            "lists": "contain", "keep": true,
            "body": {
                "resources": [{ "name": "Premium Resource", "uris": ["/protected/premium"] }],
                "policies": [{
                    "name": "Only premium", "type": "role",
                    "config": { "roles": "[{\"id\":\"premium\",\"required\":false}]" },
                }],
            },
        }),
    ]);
    resources
}

fn step(url: &str, secret: &str, resources: Vec<Value>) -> Step {
    let resources = resources.into_iter().map(|resource| {
        let spec: RequestResource = serde_json::from_value(resource).unwrap();
        ResourceWork {
            name: spec.name.clone(),
            spec: Known::Value(Box::new(spec)),
        }
    });
    Step {
        id: StepId::new("identity", "realm"),
        facts: Facts {
            name: "acme".to_owned(),
            region: "eu-west-1".to_owned(),
            account: "111122223333".to_owned(),
            tags: Default::default(),
        },
        work: Work::Request(Box::new(RequestWork {
            url: Known::Value(url.to_owned()),
            auth: Known::Value(Some(auth(secret))),
            resources: resources.collect(),
            within_s: 20,
        })),
    }
}

fn intent() -> Intent {
    Intent {
        token: "intent-1".to_owned(),
    }
}

fn progress() -> Progress {
    Progress::new(
        StepId::new("identity", "realm"),
        Arc::new(|_: &landfall_runner::Event| {}),
    )
}

fn told(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let fields: Vec<String> = change
                .properties
                .iter()
                .map(|property| {
                    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                    format!(
                        " {}: {} -> {}",
                        property.path,
                        text(&property.before),
                        text(&property.after)
                    )
                })
                .collect();
            format!("{:?} {}{}", change.effect, change.subject, fields.concat())
        })
        .collect()
}

async fn changes(requests: &Requests, step: &Step) -> (Observed, Vec<String>) {
    let seen = requests.observe(step).await.unwrap();
    let changes = requests.preview(step, &seen).await.unwrap();
    (seen, told(&changes))
}

fn failure(error: ApplyError) -> String {
    match error {
        ApplyError::Failed(failure) => {
            format!("{}\n-> {}", failure.summary, failure.way_out.unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_official_client_finds_a_keycloak() {
    let Some(_) = tools() else {
        landfall_testkit::skip(
            "the_official_client_finds_a_keycloak",
            "run `cargo xtask test`, which installs npm packages",
        );
        return;
    };
    let server = Server::start().await;
    insta::assert_snapshot!(server.client(&["judge"]).await);
}

#[tokio::test]
async fn a_realm_is_made_kept_as_it_should_be_and_removed() {
    let server = Server::start().await;
    let requests = requests();
    let premium = ["premium", "basic"];
    let wanted = step(&server.url, "admin", realm("Shop", &premium));
    assert_eq!(
        requests.observe(&wanted).await.unwrap().standing,
        Standing::Absent
    );
    let made = requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    assert_eq!(made.outcome, Outcome::Created);
    insta::assert_debug_snapshot!(
        server
            .written()
            .iter()
            .map(|line| line.split('-').next().unwrap())
            .collect::<Vec<_>>()
    );

    // Nothing to do the second time, and nothing done.
    let (seen, none) = changes(&requests, &wanted).await;
    assert_eq!(none, Vec::<String>::new());
    assert_eq!(
        seen.standing,
        Standing::Present {
            state: "STANDS".to_owned()
        }
    );
    assert_eq!(seen.outputs, made.outputs);
    assert_eq!(seen.owned, made.owned);
    let again = requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(server.written(), Vec::<String>::new());

    // One field is changed by us; a role goes.
    let other = step(&server.url, "admin", realm("The shop", &["premium"]));
    let (_, planned) = changes(&requests, &other).await;
    assert_eq!(
        planned,
        ["Modify realm displayName: Shop -> The shop", "Remove role-basic"]
    );
    requests.apply(&other, &intent(), &progress()).await.unwrap();
    assert_eq!(
        server.written(),
        ["PUT /admin/realms/shop", "DELETE /admin/realms/shop/roles/basic"]
    );
    let (seen, none) = changes(&requests, &other).await;
    assert_eq!(none, Vec::<String>::new());

    // No secret is recorded.
    let owned = seen.owned.unwrap();
    let recorded = format!("{}{:?}", owned.address, again.notes);
    assert!(
        !recorded.contains("pass\"") && !recorded.contains("alice-pass"),
        "{recorded}"
    );

    // A process that remembers what was recorded removes everything, the last first.
    let later = self::requests();
    assert!(later.stands(&owned).await.unwrap());
    later.remove(&owned, &intent(), &progress()).await.unwrap();
    assert_eq!(server.keycloak.lock().unwrap().realms(), Vec::<&str>::new());
    assert!(!later.stands(&owned).await.unwrap());
    later.remove(&owned, &intent(), &progress()).await.unwrap();
}

#[tokio::test]
async fn what_people_change_at_the_console_is_seen_and_mended() {
    let Some(_) = tools() else {
        landfall_testkit::skip(
            "what_people_change_at_the_console_is_seen_and_mended",
            "run `cargo xtask test`, which installs npm packages",
        );
        return;
    };
    let server = Server::start().await;
    let requests = requests();
    let wanted = step(&server.url, "admin", realm("Shop", &["premium"]));
    requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    insta::assert_snapshot!(server.client(&["realms", "shop"]).await);
    let theirs = r#"{"displayName":"Mine","ssoSessionIdleTimeout":60}"#;
    server.client(&["set", "shop", theirs]).await;
    let (_, planned) = changes(&requests, &wanted).await;
    assert_eq!(planned, ["Modify realm displayName: Mine -> Shop"]);
    requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    assert_eq!(changes(&requests, &wanted).await.1, Vec::<String>::new());
    let realm: Value = serde_json::from_str(&server.client(&["realms", "shop"]).await).unwrap();
    assert_eq!(realm["shop"]["displayName"], "Shop");
    assert_eq!(realm["shop"]["attributes"]["landfall"], "acme/identity.realm");
}

#[tokio::test]
async fn a_realm_of_others_is_neither_changed_nor_removed() {
    let server = Server::start().await;
    let ours = step(&server.url, "admin", realm("Shop", &["premium"]));
    let requests = requests();
    requests.apply(&ours, &intent(), &progress()).await.unwrap();
    let owned = requests.observe(&ours).await.unwrap().owned.unwrap();
    server.written();

    let mut theirs = ours.clone();
    theirs.id = StepId::new("other", "realm");
    let seen = requests.observe(&theirs).await.unwrap();
    let Standing::Foreign { why } = &seen.standing else {
        panic!("{seen:?}")
    };
    assert!(
        why.contains("does not carry this step's mark in `attributes.landfall`"),
        "{why}"
    );
    assert!(seen.owned.is_none());
    let refused = requests.apply(&theirs, &intent(), &progress()).await.unwrap_err();
    assert!(failure(refused).contains("give this one another name"));

    // Somebody made it theirs: what was recorded does not entitle us to remove it.
    let mut recorded = owned.clone();
    recorded.address["mark"] = "acme/somebody.else".into();
    let removed = requests.remove(&recorded, &intent(), &progress()).await.unwrap();
    assert_eq!(
        removed.kept,
        ["`realm` does not carry this step's mark, and is left in place"]
    );
    assert_eq!(server.written(), Vec::<String>::new());
    assert_eq!(server.keycloak.lock().unwrap().realms(), ["shop"]);
}

#[tokio::test]
async fn answers_that_are_lost_late_or_refused_are_gone_on_from() {
    let server = Server::start().await;
    let requests = requests();
    let wanted = step(&server.url, "admin", realm("Shop", &["premium"]));
    *server.faults.lock().unwrap() = Faults {
        busy: 2,
        lost: 1,
        signed_out: 1,
    };
    requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    let posts = server
        .written()
        .into_iter()
        .filter(|line| line == "POST /admin/realms")
        .count();
    assert_eq!(posts, 1, "it looks before it makes a second one");
    assert_eq!(changes(&requests, &wanted).await.1, Vec::<String>::new());
}

#[tokio::test]
async fn failures_name_the_request_and_never_the_secret() {
    let server = Server::start().await;
    let requests = requests();
    let wrong = step(&server.url, "wrong", realm("Shop", &["premium"]));
    let said = failure(requests.apply(&wrong, &intent(), &progress()).await.unwrap_err());
    insta::assert_snapshot!(said.replace(&server.url, "http://id"));
    assert!(!said.contains("wr0ng-pass"));

    // Nothing listens where it should.
    let mut nowhere = step("http://127.0.0.1:9", "admin", realm("Shop", &["premium"]));
    assert_eq!(
        requests.observe(&nowhere).await.unwrap().standing,
        Standing::Absent
    );
    if let Work::Request(work) = &mut nowhere.work {
        work.within_s = 1;
    }
    let said = failure(
        requests
            .apply(&nowhere, &intent(), &progress())
            .await
            .unwrap_err(),
    );
    assert!(said.contains("http://127.0.0.1:9/ does not answer"), "{said}");

    // Secrets are not sent in the open.
    let open = step("http://id.acme.example", "admin", realm("Shop", &["premium"]));
    let said = failure(requests.apply(&open, &intent(), &progress()).await.unwrap_err());
    assert!(
        said.contains("would be spoken to by http, and what is sent holds secrets"),
        "{said}"
    );
}

#[tokio::test]
async fn a_step_whose_server_moved_is_left_where_it_is() {
    let server = Server::start().await;
    let requests = requests();
    let wanted = step(&server.url, "admin", realm("Shop", &["premium"]));
    let made = requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    let elsewhere = step("https://id.acme.example", "admin", realm("Shop", &["premium"]));
    let later = self::requests();
    later.remember(&[made.owned.unwrap()]);
    let seen = later.observe(&elsewhere).await.unwrap();
    assert!(matches!(seen.standing, Standing::Foreign { .. }), "{seen:?}");
}

/// Only the component that is shipped.
struct Shipped;

impl Library for Shipped {
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String> {
        let text = include_str!("../../../components/keycloak-realm/component.yaml");
        Ok((name == "keycloak-realm").then(|| DefinitionFolder {
            origin: "components/keycloak-realm".to_owned(),
            files: [("component.yaml".to_owned(), text.to_owned())].into(),
        }))
    }

    fn names(&self) -> Vec<String> {
        vec!["keycloak-realm".to_owned()]
    }

    fn read_template(&self, _: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        panic!("it has no templates")
    }

    fn is_large(&self, _: &str) -> bool {
        false
    }
}

/// The realm of the source document, as the component has it.
fn shipped(url: &str, roles: &str) -> Step {
    let reference =
        |id: &str, key: &str| format!("\"{{{{resolve:secretsmanager:{id}:SecretString:{key}}}}}\"");
    let (admin, password) = (reference("admin", "password"), reference("people", "password"));
    let text = format!(
        r#"apiVersion: landfall.dev/v1
kind: Platform
metadata: {{ name: acme }}
spec:
  region: eu-west-1
  account: "111122223333"
  components:
    realm:
      uses: keycloak-realm
      with:
        url: {url}
        adminPassword: {admin}
        realm: rcognito
        displayName: Acme
        roles: [{roles}]
        users:
          - {{ username: alice, email: alice@acme.example, firstName: Alice, roles: [user, offline_access], password: {password} }}
          - {{ username: jdoe, roles: [user], temporary: false, password: {password} }}
        clients:
          - {{ clientId: spa, kind: public, redirectUris: ["https://spa.acme.example/*"], webOrigins: ["+"], audiences: [authz-servlet] }}
          - {{ clientId: authz-servlet, kind: api, authorization: true, secret: {password} }}
          - {{ clientId: cognito, kind: confidential, redirectUris: ["https://acme.example/oauth2/idpresponse"], secret: {password} }}
        clientScopes: [{{ name: api, audience: authz-servlet, clients: [spa] }}]
        authorization:
          - clientId: authz-servlet
            scopes: ["urn:resource:access", "urn:premium:access"]
            resources:
              - {{ name: Protected Resource, uris: ["/*"], type: "urn:resource", scopes: ["urn:resource:access"] }}
              - {{ name: Premium Resource, uris: ["/protected/premium/*"], scopes: ["urn:premium:access"] }}
            rolePolicies: [{{ name: Any User Policy, roles: [user] }}, {{ name: Only Premium User Policy, roles: [user_premium] }}]
            anyPolicies: [{{ name: All Users Policy, policies: [Any User Policy, Only Premium User Policy] }}]
            permissions:
              - {{ name: Premium Resource Permission, resources: [Premium Resource], policies: [Only Premium User Policy] }}
              - {{ name: Protected Resource Permission, resources: [Protected Resource], policies: [All Users Policy] }}
"#
    );
    let wanted = landfall_engine::read(&SourceFile::new("platform.yaml", text), &Shipped)
        .unwrap_or_else(|found| panic!("{}", landfall_engine::render::diagnostics(&found, false)));
    let known: HashMap<StepId, Option<landfall_model::provider::Outputs>> = HashMap::new();
    let expressions = Expressions::default();
    let step = wanted.step(&StepId::new("realm", "realm")).unwrap();
    Evaluator::with(&wanted, &expressions, &known).step(step).unwrap()
}

#[tokio::test]
async fn the_component_makes_the_realm_of_the_document() {
    let server = Server::start().await;
    let requests = requests();
    let wanted = shipped(
        &server.url,
        "{ name: user, description: User privileges }, { name: user_premium }, { name: admin }",
    );
    let made = requests.apply(&wanted, &intent(), &progress()).await.unwrap();
    assert_eq!(made.outcome, Outcome::Created);
    let (seen, none) = changes(&requests, &wanted).await;
    assert_eq!(none, Vec::<String>::new());
    assert_eq!(
        seen.standing,
        Standing::Present {
            state: "STANDS".to_owned()
        }
    );
    if tools().is_some() {
        insta::assert_snapshot!(server.client(&["realms", "rcognito"]).await);
    }
    server.written();

    // A role goes, and what stands stays as it is.
    let fewer = shipped(
        &server.url,
        "{ name: user, description: People }, { name: user_premium }",
    );
    let (_, planned) = changes(&requests, &fewer).await;
    assert_eq!(
        planned,
        [
            "Modify role user description: User privileges -> People",
            "Remove role admin"
        ]
    );
    requests.apply(&fewer, &intent(), &progress()).await.unwrap();
    assert_eq!(
        server.written(),
        [
            "PUT /admin/realms/rcognito/roles/user",
            "DELETE /admin/realms/rcognito/roles/admin"
        ]
    );
    let owned = requests.observe(&fewer).await.unwrap().owned.unwrap();
    let removed = requests.remove(&owned, &intent(), &progress()).await.unwrap();
    assert_eq!(removed.kept, Vec::<String>::new());
    assert_eq!(server.keycloak.lock().unwrap().realms(), Vec::<&str>::new());
}
