//! Clusters through the whole program: kubectl is let in, pages are opened, and objects are kept as they should be.

mod town;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use landfall_testkit::emulator::Emulator;
use landfall_testkit::proxy::{Proxy, Verdict};
use landfall_testkit::{program, skip, tools_or_skip};
use serde_json::{Value, json};

use crate::common::{ACCOUNT, Session, platform, steady};
use crate::emulators_blueprints::backend;
use town::{NAME, Town};

/// A shop in the cluster, and what of it people are shown.
const SHOP: &str = r#"apiVersion: landfall.dev/v1
kind: Component
metadata: { name: shop }
spec:
  inputs:
    replicas: { type: integer, default: 2, description: How many run. }
  open:
    service: { cluster: town, namespace: shop, name: web, port: 80, scheme: http, path: /orders }
    credentials:
      - { label: username, value: admin }
      - { label: password, secret: { namespace: shop, name: web-admin, key: password } }
  steps:
    - name: web
      objects: { cluster: town, namespace: shop, manifests: [web.yaml], within: 1m }
"#;

const WEB: &str = r#"apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: "${inputs.replicas}"
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers: [{ name: web, image: "registry.example/web:1.0" }]
"#;

/// A component that opens nothing.
const PLAIN: &str = r#"apiVersion: landfall.dev/v1
kind: Component
metadata: { name: plain }
spec:
  steps:
    - name: settings
      objects: { cluster: town, namespace: default, manifests: [settings.yaml] }
"#;

const SETTINGS: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { mode: bright }
"#;

/// A platform in a cluster that a kubeconfig reaches.
fn session(aws: &Emulator, town: &Town) -> Session {
    let session = Session::new(
        &aws.url,
        &platform("    shop: { uses: shop }\n    plain: { uses: plain }\n"),
    );
    session.write("components/shop/component.yaml", SHOP);
    session.write("components/shop/web.yaml", WEB);
    session.write("components/plain/component.yaml", PLAIN);
    session.write("components/plain/settings.yaml", SETTINGS);
    town.kubeconfig(&session.path("kubeconfig"));
    session
}

/// What kubectl answers, in the environment the session's commands have.
fn kubectl(session: &Session, arguments: &[&str]) -> String {
    let mut command = Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(session.path("kubeconfig"))
        .args(arguments)
        .env_remove("AWS_PROFILE")
        // It keeps what it learnt of an API, by the server's address: another server may get the same one.
        .env("HOME", session.folder.path())
        .envs(Emulator::environment(&session.url, session.account));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}:\n{text}{wrong}");
    text
}

/// A test of which kubectl is a part.
fn without_kubectl(test: &str) -> bool {
    let missing = program("kubectl").is_none();
    if missing {
        skip(test, "there is no kubectl on this machine");
    }
    missing
}

#[test]
fn objects_are_kept_as_the_platform_says() {
    const TEST: &str = "objects_are_kept_as_the_platform_says";
    let tools = tools_or_skip!(TEST);
    if without_kubectl(TEST) {
        return;
    }
    let (aws, town) = (Emulator::ministack(&tools), Town::new());
    let session = session(&aws, &town);
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--kubeconfig", "kubeconfig"]);
        session.run(&all)
    };
    let well = |arguments: &[&str]| {
        let answer = run(arguments);
        assert_eq!(answer.code, Some(0), "landfall {arguments:?}:\n{}", answer.text);
        steady(&answer.text)
    };

    insta::assert_snapshot!("first_plan", well(&["plan"]));
    well(&["apply", "--yes"]);
    insta::assert_snapshot!("stands", town.marked().join("\n"));
    well(&["plan", "--detailed-exitcode"]);

    // Somebody helps out by hand.
    kubectl(
        &session,
        &[
            "scale",
            "deployment/web",
            "--namespace",
            "shop",
            "--replicas",
            "5",
        ],
    );
    kubectl(
        &session,
        &[
            "patch",
            "configmap",
            "settings",
            "--type",
            "merge",
            "--patch",
            r#"{"data":{"mode":"dark"}}"#,
        ],
    );
    let drifted = run(&["plan", "--detailed-exitcode"]);
    assert_eq!(drifted.code, Some(3), "{}", drifted.text);
    insta::assert_snapshot!("drift", steady(&drifted.text));
    well(&["apply", "--yes"]);
    let seen = [
        kubectl(
            &session,
            &[
                "get",
                "deployment/web",
                "-n",
                "shop",
                "-o",
                "jsonpath={.spec.replicas}",
            ],
        ),
        kubectl(
            &session,
            &["get", "configmap/settings", "-o", "jsonpath={.data.mode}"],
        ),
    ];
    assert_eq!(seen, ["2", "bright"]);
    well(&["plan", "--detailed-exitcode"]);

    // What the file says no more goes, and only that.
    session.edit("    plain: { uses: plain }\n", "");
    insta::assert_snapshot!("less", well(&["plan"]));
    well(&["apply", "--yes"]);
    assert!(
        !town.marked().iter().any(|name| name.contains("settings")),
        "{:?}",
        town.marked()
    );

    well(&["destroy", "--yes"]);
    assert!(town.marked().is_empty(), "{:?}", town.marked());
}

/// What an address answers, asked with nothing but a socket.
fn page(url: &str) -> String {
    use std::io::{Read as _, Write as _};
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A text that names no port of this machine, as it is another one each time.
fn without_port(text: &str) -> String {
    let Some((before, after)) = text.split_once("http://127.0.0.1:") else {
        return text.to_owned();
    };
    let after = after.trim_start_matches(|char: char| char.is_ascii_digit());
    format!("{before}http://HERE{after}")
}

/// Opens something, uses it, and ends it as Ctrl-C does. Returns all it said.
fn opened(session: &Session, arguments: &[&str], with: impl FnOnce(&str)) -> String {
    let mut command = session.command(&["open", "shop", "--kubeconfig", "kubeconfig", "--no-browser"]);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut said: Vec<String> = Vec::new();
    for line in lines.by_ref() {
        let is_last = line.starts_with("Open until");
        said.push(line);
        if is_last {
            break;
        }
    }
    assert!(said.len() > 1, "it says where: {said:?}");
    with(&said[0]);
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    said.extend(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    without_port(&said.join("\n"))
}

#[test]
fn what_a_component_shows_is_opened() {
    const PASSWORD: &str = "correct-horse-battery";
    let tools = tools_or_skip!("what_a_component_shows_is_opened");
    let (aws, town) = (Emulator::ministack(&tools), Town::new());
    let session = session(&aws, &town);
    let refused = |arguments: &[&str]| {
        let mut all = vec!["open"];
        all.extend(arguments);
        all.extend(["--kubeconfig", "kubeconfig"]);
        let answer = session.run(&all);
        format!(
            "$ landfall open {}\n{:?}: {}\n",
            arguments.join(" "),
            answer.code,
            without_port(answer.text.trim())
        )
    };
    let mut said = String::new();
    for arguments in [&[][..], &["shpo"], &["plain"], &["shop"]] {
        said += &refused(arguments);
    }
    session.well(&["apply", "--yes", "--kubeconfig", "kubeconfig"]);
    // A Service without a pod, and credentials that nobody has made yet.
    said += &refused(&["shop", "--no-credentials", "--no-browser"]);
    said += &refused(&["shop", "--no-browser"]);
    insta::assert_snapshot!("refusals", said);

    town.runs("web-1", "web", 8080, backend());
    town.act(|api, now| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web-admin", "namespace": "shop" },
            "stringData": { "password": PASSWORD },
        });
        api.create("shop", secret, now).unwrap();
    });
    let shown = opened(&session, &[], |url| {
        // More than one connection goes through.
        assert_eq!(page(url), "the backend saw GET /orders");
        assert_eq!(page(&format!("{url}/2")), "the backend saw GET /orders/2");
    });
    assert_eq!(shown.matches(PASSWORD).count(), 1, "{shown}");
    insta::assert_snapshot!("opened", shown);
    let shown = opened(&session, &["--no-credentials"], |url| {
        assert_eq!(page(url), "the backend saw GET /orders");
    });
    insta::assert_snapshot!("opened_without_credentials", shown);
    assert!(!session.records().contains(PASSWORD));
    session.well(&["destroy", "--yes", "--kubeconfig", "kubeconfig"]);
}

/// An address of EKS, in front of moto's, that says of the cluster where it is: moto's clusters are nowhere.
fn eks(aws: &Emulator, account: &str, town: &Town) -> Proxy {
    let described = aws.ask(
        account,
        "eks = client('eks')\n\
         for name, tags in (('town', {'landfall:platform': 'acme'}), ('village', {})):\n\
         \x20   eks.create_cluster(name=name, roleArn=f'arn:aws:iam::{account}:role/eks', resourcesVpcConfig={'subnetIds': []}, tags=tags)\n\
         print(json.dumps({'cluster': eks.describe_cluster(name='town')['cluster']}, default=str))",
    );
    let mut answer: Value = serde_json::from_str(&described).unwrap();
    answer["cluster"]["status"] = json!("ACTIVE");
    town.described(&mut answer);
    let rule = move |call: &landfall_testkit::proxy::Call| match call.action.as_str() {
        "GET /clusters/town" => Verdict::Answer(200, answer.to_string()),
        _ => Verdict::Pass,
    };
    town.runtime.block_on(Proxy::start(&aws.url, rule))
}

#[test]
fn kubectl_is_let_in_by_tokens_of_ours() {
    const TEST: &str = "kubectl_is_let_in_by_tokens_of_ours";
    let tools = tools_or_skip!(TEST);
    if without_kubectl(TEST) {
        return;
    }
    let (aws, town) = (Emulator::moto(&tools), Town::new());
    let account = aws.ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])");
    let account: &'static str = account.leak();
    let eks = eks(&aws, account, &town);
    let mut session = Session::new(
        &eks.url,
        &platform("    plain: { uses: plain }\n").replace(ACCOUNT, account),
    );
    session.account = account;
    session.write("components/plain/component.yaml", PLAIN);
    session.write("components/plain/settings.yaml", SETTINGS);
    let before = "apiVersion: v1\nkind: Config\ncurrent-context: home\n\
                  clusters: [{ name: home, cluster: { server: 'https://home.example' } }]\n\
                  users: [{ name: me, user: { token: mine } }]\n\
                  contexts: [{ name: home, context: { cluster: home, user: me } }]\n";
    session.write("kubeconfig", before);

    let short = |text: &str| {
        let program = env!("CARGO_BIN_EXE_landfall");
        let program = std::fs::canonicalize(program).unwrap();
        text.replace(&program.display().to_string(), "LANDFALL")
            .replace(&town.url, "https://TOWN")
            .replace(&session.url, "http://AWS")
            .replace(account, "ACCOUNT")
    };
    let mut said = String::new();
    for arguments in [
        &["kubeconfig", "village", "--to", "kubeconfig"][..],
        &["kubeconfig", "--to", "kubeconfig"],
        &["kubeconfig", "town", "--to", "kubeconfig", "--json"],
        &[
            "token",
            "--cluster",
            "town",
            "--region",
            "us-east-1",
            "--account",
            "999999999999",
        ],
    ] {
        let answer = session.run(arguments);
        said += &format!(
            "$ landfall {}\n{:?}: {}\n",
            arguments.join(" "),
            answer.code,
            answer.text.trim()
        );
    }
    insta::assert_snapshot!("kubeconfig_says", short(&said));
    let merged = kubectl(&session, &["config", "view"]);
    insta::assert_snapshot!("kubeconfig_merged", short(&merged));
    // Twice the same changes nothing, and the current context is changed only when asked.
    session.well(&["kubeconfig", "--to", "kubeconfig"]);
    assert_eq!(merged, kubectl(&session, &["config", "view"]));
    session.well(&["kubeconfig", "--to", "kubeconfig", "--set-current"]);
    assert_eq!(kubectl(&session, &["config", "current-context"]).trim(), NAME);

    // kubectl calls `landfall token`, and the server lets its bearer in.
    let namespaces = kubectl(&session, &["get", "namespaces", "--output", "name"]);
    assert!(namespaces.contains("namespace/kube-system"), "{namespaces}");
    let printed = session.well(&[
        "token",
        "--cluster",
        "town",
        "--region",
        "us-east-1",
        "--account",
        account,
    ]);
    let mut credential: Value = serde_json::from_str(&printed).unwrap();
    let token = credential["status"]["token"].as_str().unwrap().to_owned();
    let url = town::signed(&token).unwrap();
    let ends: jiff::Timestamp = credential["status"]["expirationTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let minutes = (ends.as_second() - jiff::Timestamp::now().as_second()) / 60;
    // EKS takes a token for a quarter of an hour; a little less is promised, for clocks that differ.
    assert!((5..=15).contains(&minutes), "{minutes}");
    credential["status"] = json!({ "token": asked(&url), "expirationTimestamp": "SOON" });
    insta::assert_snapshot!("token", serde_json::to_string_pretty(&credential).unwrap());
    assert!(
        !Path::new(&session.path(".landfall")).exists(),
        "{}",
        session.records()
    );
}

/// A signed request without what differs each time.
fn asked(url: &str) -> Value {
    let (address, query) = url.split_once('?').unwrap();
    let mut fields: Vec<String> = Vec::new();
    for field in query.split('&') {
        let (name, value) = field.split_once('=').unwrap();
        let told = [
            "Action",
            "Version",
            "X-Amz-Algorithm",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
        ];
        fields.push(if told.contains(&name) {
            format!("{name}={value}")
        } else {
            name.to_owned()
        });
    }
    fields.sort();
    json!({ "to": address, "with": fields })
}
