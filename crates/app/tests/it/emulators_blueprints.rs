//! Every blueprint on ministack, as it is in `blueprints/` but for what is inside of clusters, and what the outside
//! world would have to answer: made, planned again without changes, looked at through boto3, and taken back until
//! everything that stands is what stood before.
//!
//! Types that ministack refuses have stand-ins (`tools/emulator`); which of them a blueprint needs is in the snapshot
//! `coverage`. Taking back a cluster waits out real minutes, so all blueprints are proven at the same time, each in
//! an emulator of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use landfall_testkit::emulator::Emulator;
use landfall_testkit::{note, tools_or_skip};
use serde_json::Value;

use crate::common::{ACCOUNT, Session};

/// What was there before a platform was.
const BEFORE: &str = include_str!("emulators_blueprints/before.py");
/// Everything that stands, as the services tell it.
const EVERYTHING: &str = include_str!("emulators_blueprints/everything.py");
/// The types of all things in all stacks.
const STACKS: &str = include_str!("emulators_blueprints/stacks.py");

/// How things stand: functions, of which each case calls some.
const LOOK: &str = include_str!("emulators_blueprints/look.py");

/// A platform, and how it is looked at.
struct Case {
    name: &'static str,
    /// The platform file, below the repository.
    file: &'static str,
    /// What is put in place of what, because nobody outside answers. `ZONE` is the id of a zone that stands.
    edits: &'static [(&'static str, &'static str)],
    /// What a person does after the first apply stopped and said so.
    by_hand: Option<(&'static str, &'static str)>,
    /// What is looked at while it stands; the answer is a snapshot.
    look: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        name: "account-bootstrap",
        file: "blueprints/account-bootstrap/platform.yaml",
        edits: &[],
        by_hand: None,
        look: "roles('acme-dev-pipeline', 'acme-dev-portal')",
    },
    Case {
        name: "portal-on-eks",
        file: "blueprints/portal-on-eks/platform.yaml",
        edits: &[("Z0123456789ABCDEFGHIJ", "ZONE")],
        by_hand: None,
        look: "r = 'us-east-1'; network(r); cluster('acme-portal', r); sign_in('acme-portal', r); logs(r); keys(r); \
               secrets(r); certificates(r)",
    },
    Case {
        name: "service-mesh",
        file: "blueprints/service-mesh/platform.yaml",
        edits: &[
            // Keycloak is inside of the cluster.
            (
                "${components.realm.issuerUrl}",
                "https://keycloak.mesh.acme.example/realms/mesh",
            ),
            // The delegation and the API's own name would be asked for in the world's DNS.
            (", parentZoneId: Z0123456789ABCDEFGHIJ", ""),
            (
                "        domainName: api.mesh.acme.example\n",
                "        domainName: api.mesh.acme.example\n        tryStranger: false\n",
            ),
        ],
        by_hand: None,
        look: "r = 'us-west-2'; network(r); cluster('acme-mesh', r); sign_in('acme-mesh', r); api('acme-mesh-api-api', r); \
               logs(r); keys(r); certificates(r, 'us-east-1'); zones(); functions(r, 'us-east-1'); distribution(); \
               balancers(r); volumes(r); interruptions(r)",
    },
    Case {
        name: "data-platform",
        file: "blueprints/data-platform/platform.yaml",
        // The delegation would be asked for in the world's DNS.
        edits: &[(", parentZoneId: Z0123456789ABCDEFGHIJ", "")],
        by_hand: Some((
            "must hold the token for Spot as plain text",
            "client('secretsmanager').put_secret_value(SecretId='acme-sandbox/spot-token', SecretString='a-token-for-spot')",
        )),
        look: "r = 'us-east-1'; network(r); cluster('acme-sandbox', r); logs(r); keys(r); secrets(r); zones(); functions(r); \
               senders(r)",
    },
    Case {
        name: "rest",
        file: "crates/app/tests/it/emulators_blueprints/rest.yaml",
        edits: &[],
        by_hand: None,
        look: "r = 'us-east-1'; network(r); cluster('acme-managed', r); cluster('acme-auto', r); sign_in('acme-rest', r); \
               api('acme-rest-api-api', r); logs(r); keys(r); secrets(r); certificates(r); zones(); functions(r); \
               distribution(); senders(r); registries(r)",
    },
];

/// How often each type was made, in three ways.
#[derive(Default)]
struct Coverage {
    by_the_emulator: BTreeMap<String, usize>,
    through_its_own_api: BTreeMap<String, usize>,
    by_name_only: BTreeMap<String, usize>,
}

impl Coverage {
    fn of(kinds: &[String]) -> Coverage {
        let rows = stand_ins();
        let mut coverage = Coverage::default();
        for kind in kinds {
            let counts = match rows.get(kind) {
                None => &mut coverage.by_the_emulator,
                Some(true) => &mut coverage.through_its_own_api,
                Some(false) => &mut coverage.by_name_only,
            };
            *counts.entry(kind.clone()).or_default() += 1;
        }
        coverage
    }

    fn show(&self, name: &str) -> String {
        let mut text = format!("{name}\n");
        for (how, counts) in [
            ("made by the emulator's CloudFormation", &self.by_the_emulator),
            (
                "stand-ins made through the service's own API",
                &self.through_its_own_api,
            ),
            ("stand-ins in name only", &self.by_name_only),
        ] {
            let _ = writeln!(text, "  {how}: {}", counts.values().sum::<usize>());
            for (kind, count) in counts {
                let _ = writeln!(text, "    {count:3} {kind}");
            }
        }
        text
    }
}

/// The types with stand-ins, and whether something real is made for them.
fn stand_ins() -> BTreeMap<String, bool> {
    let text = std::fs::read_to_string(repository().join("tools/emulator/stand_ins.json")).unwrap();
    let rows: Value = serde_json::from_str(&text).unwrap();
    rows["types"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(kind, row)| (kind.clone(), row["create"].is_string() || row["byHand"] == true))
        .collect()
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Makes the platform, looks at it, and takes it back. Returns what was made of what.
fn prove(case: &Case, tools: &Path) -> Coverage {
    let name = case.name;
    let aws = Emulator::ministack_with_stand_ins(tools, ACCOUNT);
    let before = aws.ask(ACCOUNT, BEFORE);
    let stood = aws.ask(ACCOUNT, EVERYTHING);
    let mut platform = std::fs::read_to_string(repository().join(case.file)).unwrap();
    for (from, to) in case.edits {
        assert!(platform.contains(from), "{name}: {from} is in the platform file");
        platform = platform.replace(from, &to.replace("ZONE", &before));
    }
    let left_out = only_outside_of_clusters(&mut platform);
    if !left_out.is_empty() {
        note(&format!(
            "on ministack {name} is tried without what is inside of its cluster: {}",
            left_out.join(", ")
        ));
    }
    let session = Session::new(&aws.url, &platform);

    if let Some((why, remedy)) = case.by_hand {
        let first = session.run(&["apply", "--yes"]);
        assert_eq!(first.code, Some(1), "{name}:\n{}", first.text);
        assert!(first.text.contains(why), "{name}: it says why:\n{}", first.text);
        aws.ask(ACCOUNT, remedy);
    }
    session.well(&["apply", "--yes"]);
    let again = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(
        again.code,
        Some(0),
        "{name}: a second plan has no changes:\n{}",
        again.text
    );
    let kinds: Vec<String> = serde_json::from_str(&aws.ask(ACCOUNT, STACKS)).unwrap();
    let stands = aws.ask(ACCOUNT, &format!("{LOOK}\n{}\nshow()", case.look));
    insta::assert_snapshot!(format!("{name}_stands"), stands);
    if let Some(spot) = aws.file("spot.json") {
        insta::assert_snapshot!(format!("{name}_at_spot"), at_spot(&spot));
    }

    session.well(&["destroy", "--yes", "--include-retained"]);
    let left = aws.ask(ACCOUNT, EVERYTHING);
    let stood: BTreeSet<&str> = stood.lines().collect();
    let left: Vec<&str> = left.lines().filter(|line| !stood.contains(line)).collect();
    assert!(left.is_empty(), "{name}: what is left:\n{}", left.join("\n"));
    if let Some(spot) = aws.file("spot.json") {
        assert_eq!(spot, "[]", "{name}: nothing is left at Spot");
    }
    Coverage::of(&kinds)
}

/// Takes out of a platform file what lives inside of clusters, as emulators of AWS have none, and what needs values of
/// that. Returns the names. The simulated cloud plays blueprints whole.
fn only_outside_of_clusters(platform: &mut String) -> Vec<String> {
    let (head, components) = platform.split_once("  components:\n").unwrap();
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in components.lines() {
        let name = line
            .strip_prefix("    ")
            .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()));
        if let Some((name, _)) = name.and_then(|line| line.split_once(':')) {
            parts.push((name.to_owned(), String::new()));
        }
        if let Some((_, part)) = parts.last_mut() {
            let _ = writeln!(part, "{line}");
        }
    }
    let mut left_out: Vec<String> = Vec::new();
    loop {
        let before = left_out.len();
        for (name, part) in &parts {
            let needs = left_out
                .iter()
                .any(|other| part.contains(&format!("components.{other}.")));
            if !left_out.contains(name) && (needs || is_inside(part)) {
                left_out.push(name.clone());
            }
        }
        if left_out.len() == before {
            break;
        }
    }
    parts.retain(|(name, _)| !left_out.contains(name));
    let kept: String = parts.iter().map(|(_, part)| without(part, &left_out)).collect();
    *platform = format!("{head}  components:\n{kept}");
    left_out
}

/// Whether a component works inside of a cluster, or at something that does.
fn is_inside(part: &str) -> bool {
    let uses = part.split_once("uses: ").unwrap().1;
    let uses = uses.split([' ', ',', '}', '\n']).next().unwrap();
    let file = repository().join("components").join(uses).join("component.yaml");
    let definition = std::fs::read_to_string(&file).unwrap();
    ["      objects:\n", "      request:\n", "        connection:"]
        .iter()
        .any(|kind| definition.contains(kind))
}

/// A component that comes after none of these any more.
fn without(part: &str, left_out: &[String]) -> String {
    let Some((before, rest)) = part.split_once("after: [") else {
        return part.to_owned();
    };
    let (names, rest) = rest.split_once(']').unwrap();
    let kept: Vec<&str> = names
        .split(", ")
        .filter(|name| !left_out.iter().any(|other| other == name))
        .collect();
    format!("{before}after: [{}]{rest}", kept.join(", "))
}

/// The Ocean clusters that Spot was told of, without ids.
fn at_spot(kept: &str) -> String {
    let clusters: Vec<Value> = serde_json::from_str(kept).unwrap();
    let mut text = String::new();
    for cluster in clusters {
        let launch = &cluster["compute"]["launchSpecification"];
        let mut tags: Vec<&str> = launch["tags"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|tag| tag["tagKey"].as_str())
            .collect();
        tags.sort_unstable();
        for (what, value) in [
            ("name", &cluster["name"]),
            ("capacity", &cluster["capacity"]),
            ("strategy", &cluster["strategy"]),
            ("scaling", &cluster["autoScaler"]),
            ("machines", &cluster["compute"]["instanceTypes"]),
            ("image", &launch["imageId"]),
            ("metadata", &launch["instanceMetadataOptions"]),
        ] {
            let _ = writeln!(text, "{what}: {value}");
        }
        let _ = writeln!(text, "tags: {}", tags.join(", "));
    }
    text
}

#[test]
fn every_blueprint_stands_and_goes() {
    let tools = tools_or_skip!("every_blueprint_stands_and_goes");
    // One platform is named to look at it alone.
    let only = std::env::var("LANDFALL_BLUEPRINT").ok();
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| only.as_deref().is_none_or(|only| only == case.name))
        .collect();
    let made: Vec<(&str, std::thread::Result<Coverage>)> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|case| (case.name, scope.spawn(|| prove(case, &tools))))
            .collect();
        running
            .into_iter()
            .map(|(name, running)| (name, running.join()))
            .collect()
    });
    let failed: Vec<&str> = made
        .iter()
        .filter(|(_, result)| result.is_err())
        .map(|(name, _)| *name)
        .collect();
    assert!(failed.is_empty(), "see above: {}", failed.join(", "));
    let table: Vec<String> = made
        .iter()
        .map(|(name, coverage)| coverage.as_ref().unwrap().show(name))
        .collect();
    if only.is_none() {
        insta::assert_snapshot!("coverage", table.join("\n"));
    }
    let stood_in = |kinds: fn(&Coverage) -> &BTreeMap<String, usize>| {
        let all: BTreeSet<&str> = made
            .iter()
            .flat_map(|(_, coverage)| kinds(coverage.as_ref().unwrap()).keys())
            .map(String::as_str)
            .collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    };
    note(&format!(
        "on ministack these have stand-ins made through the service's own API: {}",
        stood_in(|coverage| &coverage.through_its_own_api)
    ));
    note(&format!(
        "on ministack these stand in name only: {}",
        stood_in(|coverage| &coverage.by_name_only)
    ));
}

/// What stands behind an API: says which request arrived.
pub(crate) fn backend() -> u16 {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let seen = head
                .first()
                .map(|line| line.trim_end_matches(" HTTP/1.1").to_owned());
            let body = format!("the backend saw {}", seen.unwrap_or_default());
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

#[test]
fn only_tokens_that_count_pass_an_api() {
    let tools = tools_or_skip!("only_tokens_that_count_pass_an_api");
    let aws = Emulator::ministack_with_stand_ins(&tools, ACCOUNT);
    let platform = include_str!("emulators_blueprints/apis.yaml").replace("PORT", &backend().to_string());
    let session = Session::new(&aws.url, &platform);
    // Its checks have asked the sign-in for its keys, and the APIs as strangers.
    session.well(&["apply", "--yes"]);
    let answers = aws.ask(ACCOUNT, include_str!("emulators_blueprints/calls.py"));
    for line in answers.lines().filter(|line| line.contains("the backend saw")) {
        assert!(
            line.contains("good token") || line.contains("without \"Bearer\""),
            "passed: {line}"
        );
    }
    insta::assert_snapshot!("apis_answer", answers);
    note(
        "ministack answers 500 where a function throws `Unauthorized`; API Gateway documents 401 for REST APIs, and \
         what an HTTP API answers was not seen. Nothing passes either way, and the function's log says why",
    );
}

/// A blueprint that nobody tries is noticed. `many-accounts` makes a stack set, which ministack has none of.
#[test]
fn every_blueprint_is_tried() {
    let folders = std::fs::read_dir(repository().join("blueprints")).unwrap();
    let mut names: Vec<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !CASES.iter().any(|case| case.name == name))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["many-accounts"]);
}

/// Every type that a component uses and ministack refuses has a stand-in; what it makes itself has none without
/// need.
#[test]
fn only_what_the_emulator_refuses_has_a_stand_in() {
    let tools = tools_or_skip!("only_what_the_emulator_refuses_has_a_stand_in");
    let aws = Emulator::ministack(&tools);
    let used = types_in(&repository().join("components"));
    let script = format!(
        "refused = []\nfor kind in {}:\n    try:\n        client('cloudformation').validate_template(TemplateBody=json.dumps({{'Resources': {{'One': {{'Type': kind}}}}}}))\n    \
         except Exception as error:\n        if 'Unrecognized resource types' in str(error):\n            refused.append(kind)\nprint(json.dumps(refused))",
        serde_json::to_string(&used).unwrap()
    );
    let refused: BTreeSet<String> = serde_json::from_str(&aws.ask(ACCOUNT, &script)).unwrap();
    let rows: BTreeSet<String> = stand_ins().into_keys().collect();
    let missing: Vec<&String> = refused.difference(&rows).collect();
    // Only components that act in a cluster use these, and such components are left out here.
    assert_eq!(missing, ["AWS::EC2::SecurityGroupEgress", "AWS::EKS::Capability"]);
    let unneeded: Vec<&String> = rows.difference(&refused).collect();
    // These it takes, but not as they are given: `stand_ins.py` says what is missing.
    assert_eq!(unneeded, ["AWS::EKS::Cluster", "AWS::SES::EmailIdentity"]);
}

/// The types of resources in all templates below a folder.
fn types_in(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(types_in(&path));
        } else if path.to_string_lossy().ends_with(".cfn.yaml") {
            let text = std::fs::read_to_string(path).unwrap();
            // Parameters have types of the same look.
            let resources = text.split_once("\nResources:").unwrap().1;
            found.extend(
                resources
                    .lines()
                    .filter_map(|line| line.strip_prefix("    Type: AWS::"))
                    .map(|kind| format!("AWS::{}", kind.trim())),
            );
        }
    }
    found
}

const ON_MOTO: &str = include_str!("emulators_blueprints/moto.py");

#[test]
fn components_stand_and_go_on_moto() {
    let tools = tools_or_skip!("components_stand_and_go_on_moto");
    let aws = Emulator::moto(&tools);
    // moto knows one account by default, whatever the credentials.
    let account = aws.ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])");
    let account: &'static str = account.leak();
    let platform = include_str!("emulators_blueprints/moto.yaml").replace(ACCOUNT, account);
    let mut session = Session::new(&aws.url, &platform);
    session.account = account;
    let before = aws.ask(account, ON_MOTO);
    session.well(&["apply", "--yes"]);
    let again = session.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(again.code, Some(0), "{}", again.text);
    insta::assert_snapshot!("moto_stands", aws.ask(account, ON_MOTO));
    session.well(&["destroy", "--yes", "--include-retained"]);
    let left = aws.ask(account, ON_MOTO);
    assert_eq!(left, before, "what is left");
    for (component, why) in [
        (
            "vpc",
            "it gives a subnet's routes no table: InvalidRouteTableID.NotFound",
        ),
        ("eks, ebs-volume", "it has no termination protection of stacks"),
        (
            "cognito, dns-zone, http-api, cdn and whatever takes outputs",
            "it gives no outputs after a change set",
        ),
    ] {
        note(&format!("moto cannot make {component}: {why}"));
    }
}
