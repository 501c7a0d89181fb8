//! Searching and sweeping leftovers, and keeping records in a bucket, against emulators we did not write.
//! What stands and what went is asked of the services themselves, through boto3.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_aws::{Account, Leftovers, S3Place};
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::leftover::{Found, Landmark, LandmarkKind, Marks, Swept};
use landfall_model::provider::Owned;
use landfall_runner::{ApplyError, Event, Place, Progress, Sweeper, When, Written};
use landfall_testkit::emulator::Emulator;
use landfall_testkit::proxy::{Proxy, Verdict};
use landfall_testkit::{note, tools_or_skip};
use serde_json::{Value, json};

use crate::common::ACCOUNT;

/// What is planted: ours, what is as good as gone, and what is somebody else's.
const PLANT: &str = include_str!("emulators_leftovers/plant.py");

/// Everything that stands, by service, as the services tell it.
const STANDS: &str = include_str!("emulators_leftovers/stands.py");

/// An emulator with everything planted.
struct World {
    aws: Emulator,
    account: &'static str,
    ids: BTreeMap<String, String>,
    leftovers: Leftovers,
}

impl World {
    async fn plant(aws: Emulator) -> World {
        // moto knows one account by default, whatever the credentials.
        let account = aws.ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])");
        let account: &'static str = account.leak();
        let planted: Value = serde_json::from_str(&aws.ask(account, PLANT)).unwrap();
        for (name, why) in planted["lacks"].as_object().unwrap() {
            note(&format!("{} cannot make `{name}`: {why}", aws.name));
        }
        let ids = serde_json::from_value(planted["ids"].clone()).unwrap();
        let leftovers = Leftovers::new(connect(account, &aws.url).await);
        World {
            aws,
            account,
            ids,
            leftovers,
        }
    }

    fn owned(&self) -> Owned {
        let address =
            json!({ "platform": "acme", "name": "acme-net", "region": "us-east-1", "id": self.ids["STACK"] });
        Owned::new(StepId::new("net", "net"), StepKind::Stack, address)
    }

    /// What the stack marks; the cluster by hand where an emulator's CloudFormation makes none.
    async fn marks(&self) -> Marks {
        let mut marks = self.leftovers.marks("acme", &[self.owned()]).await.unwrap();
        if self.aws.name == "ministack" {
            note(
                "ministack's tagging API lists nothing of EC2, load balancing or logs: describing finds them",
            );
        }
        if self.aws.name == "moto" {
            note(
                "moto passes over AWS::EKS types in templates without a word: the cluster's landmark is added by the test",
            );
            note("moto answers a tag-key filter with several values only with things that have no other tag");
            note(
                "moto keeps the interfaces of terminated instances in use for good: they are not waited for",
            );
            marks.landmarks.extend(cluster());
        }
        marks
    }

    /// Ids by names, and the account, so that runs compare.
    fn steady(&self, text: &str) -> String {
        let mut names: Vec<(&String, &String)> = self.ids.iter().collect();
        names.sort_by_key(|(_, id)| std::cmp::Reverse(id.len()));
        let mut text = text.to_owned();
        for (name, id) in names {
            text = text.replace(id.as_str(), name);
            // A load balancer is also told by the end of its ARN.
            if let Some((_, end)) = id.split_once(":loadbalancer/") {
                text = text.replace(end, name);
            }
        }
        text.replace(self.account, "ACCOUNT")
    }

    fn told(&self, found: &[Found]) -> String {
        let mut lines: Vec<String> = found
            .iter()
            .map(|found| {
                let mut line = format!("{} {}", found.kind, self.steady(&found.id));
                line.push_str(&self.steady(&format!("\n    because {}", found.because)));
                for (word, value) in [
                    ("stack", &found.stack),
                    ("data", &found.data),
                    ("used by", &found.used_by),
                ] {
                    if let Some(value) = value {
                        line.push_str(&self.steady(&format!("\n    {word} {value}")));
                    }
                }
                line
            })
            .collect();
        lines.sort();
        lines.join("\n")
    }

    fn stands(&self) -> String {
        let ids = serde_json::to_string(&self.ids).unwrap();
        self.aws.ask(self.account, &format!("ids = {ids}\n{STANDS}"))
    }

    /// What must be gone in the end.
    fn is_ours(&self, found: &Found) -> bool {
        let used_by = |what: &str| found.used_by.as_deref().is_some_and(|by| by.starts_with(what));
        let stuck = self.aws.name == "moto" && used_by("instance ");
        found.is_leftover() && !is_guests(found) && !stuck && !used_by("node group ")
    }

    /// Searches and sweeps until nothing of ours is left.
    async fn sweep(&self, marks: &Marks) {
        for _ in 0..10 {
            let found = self.leftovers.search(marks).await.unwrap();
            if !found.iter().any(|found| self.is_ours(found)) {
                return;
            }
            for leftover in found.iter().filter(|found| self.is_ours(found)) {
                // Neither emulator refuses what is in use, so nearly nothing has to wait here.
                self.leftovers.sweep(leftover, &progress()).await.unwrap();
            }
        }
        let found = self.leftovers.search(marks).await.unwrap();
        panic!("it is never done:\n{}", self.told(&found));
    }
}

/// What another platform or cluster has in our network: told, and never removed.
fn is_guests(found: &Found) -> bool {
    matches!(
        found.used_by.as_deref(),
        Some("the platform acme-dev" | "the cluster team-b")
    )
}

fn cluster() -> [Landmark; 1] {
    [Landmark {
        step: StepId::new("net", "net"),
        kind: LandmarkKind::Cluster,
        id: "acme-eks".to_owned(),
        region: "us-east-1".to_owned(),
    }]
}

async fn connect(account: &str, url: &str) -> Arc<Account> {
    Account::connect_emulator(account, "us-east-1", url)
        .await
        .unwrap()
}

fn progress() -> Progress {
    Progress::new(StepId::new("net", "net"), Arc::new(|_: &Event| {}))
}

async fn leftovers_go_and_others_stay(aws: Emulator) {
    let name = aws.name;
    note(&format!(
        "{name} deletes security groups that are worn or mentioned, which AWS refuses: waiting for them is \
         only tested with a refusal put in between"
    ));
    let world = World::plant(aws).await;
    let marks = world.marks().await;
    let text = serde_json::to_string_pretty(&marks).unwrap();
    insta::assert_snapshot!(format!("{name}_marks"), world.steady(&text));
    let found = world.leftovers.search(&marks).await.unwrap();
    insta::assert_snapshot!(format!("{name}_found"), world.told(&found));

    // What a stack has is refused, whatever else is asked.
    let held = found.iter().find(|found| !found.is_leftover()).unwrap();
    let refused = world.leftovers.sweep(held, &progress()).await.unwrap_err();
    assert!(
        matches!(refused, ApplyError::Failed(failure) if failure.summary.contains("belongs to the stack"))
    );
    // So is what is not what it was found to be.
    let mut stale = found
        .iter()
        .find(|found| found.id.contains(&world.ids["vol-claim"]))
        .unwrap()
        .clone();
    stale.id = stale.id.replace(&world.ids["vol-claim"], &world.ids["vol-dev"]);
    let Ok(Swept::NotYet(why)) = world.leftovers.sweep(&stale, &progress()).await else {
        panic!("it belongs to somebody else");
    };
    assert!(why.contains("no longer carries the mark"), "{why}");
    for guest in found.iter().filter(|found| is_guests(found)) {
        let Ok(Swept::Never(why)) = world.leftovers.sweep(guest, &progress()).await else {
            panic!("it belongs to others: {guest:?}");
        };
        assert!(why.contains(guest.used_by.as_deref().unwrap()), "{why}");
    }

    world.sweep(&marks).await;
    insta::assert_snapshot!(format!("{name}_left"), world.stands());
    // Groups that mention each other hold each other on AWS, though not here: the rules went first.
    let rules = format!(
        "print([r['UserIdGroupPairs'] for r in client('ec2').describe_security_groups(GroupIds=['{}'])['SecurityGroups'][0]['IpPermissions'] if r['UserIdGroupPairs']])",
        world.ids["sg-nodes"]
    );
    assert_eq!(world.aws.ask(world.account, &rules), "[]");
    // What a node group still starts machines from stays as long as the node group does.
    match found
        .iter()
        .find(|found| found.id.ends_with(&world.ids["template-nodes"]))
    {
        Some(template) => {
            let swept = world.leftovers.sweep(template, &progress()).await;
            assert_eq!(
                swept,
                Ok(Swept::NotYet("in use by node group workers".to_owned()))
            );
            let ended = "client('eks').delete_nodegroup(clusterName='acme-eks', nodegroupName='workers')";
            world.aws.ask(world.account, ended);
            let swept = world.leftovers.sweep(template, &progress()).await;
            assert_eq!(swept, Ok(Swept::Gone));
            assert!(!world.stands().contains("template-nodes"));
        }
        None => assert_eq!(name, "moto", "only there the filter overlooks it"),
    }
    // Sweeping again what is gone succeeds.
    for leftover in found.iter().filter(|found| world.is_ours(found)) {
        assert_eq!(
            world.leftovers.sweep(leftover, &progress()).await,
            Ok(Swept::Gone),
            "{leftover:?}"
        );
    }
}

#[tokio::test]
async fn ministack_leftovers_go_and_others_stay() {
    let tools = tools_or_skip!("ministack_leftovers_go_and_others_stay");
    leftovers_go_and_others_stay(Emulator::ministack(&tools)).await;
}

#[tokio::test]
async fn moto_leftovers_go_and_others_stay() {
    let tools = tools_or_skip!("moto_leftovers_go_and_others_stay");
    leftovers_go_and_others_stay(Emulator::moto(&tools)).await;
}

/// What people and other services answer in between: refused, in use, long gone.
#[tokio::test]
async fn a_search_trusts_no_list_and_a_sweep_no_search() {
    let tools = tools_or_skip!("a_search_trusts_no_list_and_a_sweep_no_search");
    let world = World::plant(Emulator::ministack(&tools)).await;
    let marks = world.marks().await;
    let proxy = Proxy::start(&world.aws.url, |_| Verdict::Pass).await;
    let leftovers = Leftovers::new(connect(world.account, &proxy.url).await);
    let found = leftovers.search(&marks).await.unwrap();

    // The tagging API goes on listing what was deleted.
    let arn =
        |service: &str, resource: &str| format!("arn:aws:{service}:us-east-1:{}:{resource}", world.account);
    let gone = [
        arn("ec2", "volume/vol-0123456789abcdef0"),
        arn("ec2", "vpc-endpoint/vpce-0123456789abcdef0"),
        arn("ec2", "launch-template/lt-0123456789abcdef0"),
        arn("ec2", "subnet/subnet-0123456789abcdef0"),
        arn("elasticloadbalancing", "loadbalancer/app/gone/0123456789abcdef"),
        arn("logs", "log-group:/gone"),
        arn("secretsmanager", "secret:acme-never-AbCdEf"),
        arn("secretsmanager", "secret:acme-gone"),
        arn("cloudformation", "stack/acme-gone/0123"),
        arn("eks", "cluster/acme-gone"),
    ];
    let list: Vec<Value> = gone
        .iter()
        .map(|arn| json!({ "ResourceARN": arn, "Tags": [{ "Key": "landfall:platform", "Value": "acme" }] }))
        .collect();
    let answer = json!({ "ResourceTagMappingList": list, "PaginationToken": "" }).to_string();
    proxy.rule(move |call| match call.action.as_str() {
        "GetResources" => Verdict::Answer(200, answer.clone()),
        _ => Verdict::Pass,
    });
    let again = leftovers.search(&marks).await.unwrap();
    // Functions are known by that list only, so the one it leaves out now is not found.
    let mut known = found.clone();
    known.retain(|found| found.kind != "AWS::Lambda::Function");
    assert_eq!(world.told(&again), world.told(&known));

    // A missing permission is named.
    let denied = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized \
                  to perform this operation.</Message></Error></Errors></Response>";
    proxy.rule(|call| match call.action.as_str() {
        "DescribeVolumes" => Verdict::Answer(403, denied.to_owned()),
        _ => Verdict::Pass,
    });
    let error = leftovers.search(&marks).await.unwrap_err();
    assert_eq!(error.doing, "could not list AWS::EC2::Volume in us-east-1");
    assert!(error.way_out.unwrap().contains("`ec2:DescribeVolumes`"));

    // Neither emulator refuses to delete what is in use: AWS does.
    let violated = "<Response><Errors><Error><Code>DependencyViolation</Code><Message>resource has a dependent \
                    object</Message></Error></Errors></Response>";
    proxy.rule(|call| match call.action.as_str() {
        "DeleteSecurityGroup" => Verdict::Answer(400, violated.to_owned()),
        "DeleteVolume" => Verdict::Answer(503, String::new()),
        _ => Verdict::Pass,
    });
    let of = |name: &str| {
        found
            .iter()
            .find(|found| found.id.ends_with(&world.ids[name]))
            .unwrap()
    };
    let worn = leftovers.sweep(of("sg-traffic"), &progress()).await;
    assert_eq!(
        worn,
        Ok(Swept::NotYet(format!(
            "in use by interface {}",
            world.ids["eni-free"]
        )))
    );
    assert!(
        !proxy.calls().iter().any(|call| call.action.starts_with("Revoke")),
        "a group that is worn keeps its rules"
    );
    let held = leftovers.sweep(of("sg-managed"), &progress()).await;
    assert_eq!(
        held,
        Ok(Swept::NotYet(
            "resource has a dependent object (DependencyViolation)".to_owned()
        ))
    );
    let busy = leftovers.sweep(of("vol-claim"), &progress()).await;
    assert!(matches!(busy, Ok(Swept::NotYet(_))), "{busy:?}");
}

/// What one place promises, on any emulator.
async fn a_place_keeps_its_promise(aws: &Emulator) {
    let account: &'static str = aws
        .ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])")
        .leak();
    aws.ask(account, "client('s3').create_bucket(Bucket='records')");
    let proxy = Proxy::start(&aws.url, |_| Verdict::Pass).await;
    let here = connect(account, &proxy.url).await;
    let place = S3Place::new(here.clone(), "records", "landfall/acme", "us-east-1");
    assert_eq!(place.name(), "s3://records/landfall/acme");

    assert_eq!(place.read("lock").await.unwrap(), None);
    place.remove("lock").await.unwrap();
    // What is not there has no version.
    let never = When::Is("\"0123456789abcdef0123456789abcdef\"".to_owned());
    assert_eq!(
        place.write("lock", b"no", never).await.unwrap(),
        Written::Conflict
    );
    let Written::Done(first) = place.write("lock", b"one", When::Absent).await.unwrap() else {
        panic!("nothing was there");
    };
    assert_eq!(
        place.write("lock", b"two", When::Absent).await.unwrap(),
        Written::Conflict
    );
    let kept = place.read("lock").await.unwrap().unwrap();
    assert_eq!((kept.bytes.as_slice(), &kept.version), (&b"one"[..], &first));
    let Written::Done(second) = place
        .write("lock", b"\x00\xff", When::Is(first.clone()))
        .await
        .unwrap()
    else {
        panic!("it had this version");
    };
    assert_eq!(
        place.write("lock", b"old", When::Is(first)).await.unwrap(),
        Written::Conflict
    );
    let kept = place.read("lock").await.unwrap().unwrap();
    assert_eq!(
        (kept.bytes.as_slice(), &kept.version),
        (&b"\x00\xff"[..], &second)
    );
    place.remove("lock").await.unwrap();
    assert_eq!(place.read("lock").await.unwrap(), None);

    // As boto3 sees it: below the prefix, and nothing beside it.
    for number in 1..=7 {
        let name = format!("runs/{number:04}.json");
        place.write(&name, b"{}", When::Always).await.unwrap();
    }
    place.write("other", b"{}", When::Always).await.unwrap();
    let beside = S3Place::new(here.clone(), "records", "landfall/acme-dev", "us-east-1");
    beside.write("runs/0009.json", b"{}", When::Always).await.unwrap();
    let keys = aws.ask(
        account,
        "print(len([o for o in client('s3').list_objects_v2(Bucket='records', Prefix='landfall/acme/')['Contents']]))",
    );
    assert_eq!(keys, "8");
    assert_eq!(place.list("", "").await.unwrap().len(), 8);
    assert_eq!(
        place.list("runs/", "runs/0005.json").await.unwrap(),
        ["runs/0006.json", "runs/0007.json"]
    );
    assert_eq!(place.list("none/", "").await.unwrap(), [""; 0]);

    // An answer that is lost: what was written is found, not taken for somebody else's.
    let lost = std::sync::atomic::AtomicUsize::new(0);
    proxy.rule(move |call| {
        let first = lost.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        if first && call.action.starts_with("PUT") {
            return Verdict::PassAndAnswer(503);
        }
        Verdict::Pass
    });
    let written = place.write("record", b"mine", When::Absent).await.unwrap();
    let kept = place.read("record").await.unwrap().unwrap();
    assert_eq!(written, Written::Done(kept.version));
    // The same, but somebody else's was there before.
    let lost = std::sync::atomic::AtomicUsize::new(0);
    proxy.rule(
        move |_| match lost.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Verdict::PassAndAnswer(503),
            _ => Verdict::Pass,
        },
    );
    let written = place.write("record", b"yours", When::Absent).await.unwrap();
    assert_eq!(written, Written::Conflict);
    proxy.rule(|_| Verdict::Pass);

    // S3 could not decide: asked again, it says who came first.
    let undecided = "<Error><Code>ConditionalRequestConflict</Code><Message>A conflicting conditional operation \
                     is currently in progress against this resource.</Message></Error>";
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    proxy.rule(
        move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Verdict::Answer(409, undecided.to_owned()),
            _ => Verdict::Pass,
        },
    );
    let written = place.write("undecided", b"mine", When::Absent).await.unwrap();
    assert!(matches!(written, Written::Done(_)), "{written:?}");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 2);
    proxy.rule(|_| Verdict::Pass);

    // A bucket that is not there is no place without records.
    let nowhere = S3Place::new(here, "nowhere-at-all", "", "us-east-1");
    let error = nowhere.read("lock").await.unwrap_err();
    assert_eq!(error.to_string(), "could not read s3://nowhere-at-all/lock");
}

/// Two writers count in turns, each adding one to what it read. Returns the sum, and how many were refused.
async fn two_writers_race(aws: &Emulator) -> (usize, usize) {
    let account: &'static str = aws
        .ask(ACCOUNT, "print(client('sts').get_caller_identity()['Account'])")
        .leak();
    aws.ask(account, "client('s3').create_bucket(Bucket='race')");
    let place = Arc::new(S3Place::new(
        connect(account, &aws.url).await,
        "race",
        "counter",
        "us-east-1",
    ));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..2 {
        let place = place.clone();
        writers.spawn(async move {
            let mut refused = 0;
            let mut done = 0;
            while done < ROUNDS {
                let (when, count) = match place.read("count").await.unwrap() {
                    None => (When::Absent, 0),
                    Some(kept) => {
                        let text = String::from_utf8(kept.bytes).unwrap();
                        let count = text.split(' ').next().unwrap().parse().unwrap();
                        (When::Is(kept.version), count)
                    }
                };
                let next: usize = count + 1;
                let text = format!("{next} by {writer}");
                match place.write("count", text.as_bytes(), when).await.unwrap() {
                    Written::Done(_) => done += 1,
                    Written::Conflict => refused += 1,
                }
            }
            refused
        });
    }
    let refused = writers.join_all().await.into_iter().sum();
    let kept = place.read("count").await.unwrap().unwrap();
    let text = String::from_utf8(kept.bytes).unwrap();
    (text.split(' ').next().unwrap().parse().unwrap(), refused)
}

const ROUNDS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn ministack_keeps_records() {
    let tools = tools_or_skip!("ministack_keeps_records");
    let aws = Emulator::ministack(&tools);
    a_place_keeps_its_promise(&aws).await;
    let (sum, refused) = two_writers_race(&aws).await;
    assert_eq!(sum, 2 * ROUNDS, "no write was lost");
    note(&format!(
        "ministack refused {refused} of {} conditional writes in a race, and lost none",
        sum + refused
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_records() {
    let tools = tools_or_skip!("moto_keeps_records");
    let aws = Emulator::moto(&tools);
    a_place_keeps_its_promise(&aws).await;
    let (sum, refused) = two_writers_race(&aws).await;
    note(&format!(
        "moto refused {refused} conditional writes in a race and kept {sum} of {}",
        2 * ROUNDS
    ));
}
