//! What has ended, or ends soon: Kubernetes versions, images of machines, runtimes of functions.

use std::sync::LazyLock;

use jiff::ToSpan as _;
use jiff::civil::Date;
use landfall_model::finding::{Finding, Weight};
use serde::Deserialize;

use crate::thing::Thing;

/// How many days before an end people are told.
const TELL_BEFORE: i64 = 90;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    kubernetes: Kubernetes,
    node_images: NodeImages,
    lambda: Lambda,
}

#[derive(Deserialize)]
struct Kubernetes {
    source: String,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: String,
    standard_end: Date,
    extended_end: Date,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeImages {
    amazon_linux2: Images,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Images {
    end: Date,
    last_kubernetes: String,
}

#[derive(Deserialize)]
struct Lambda {
    source: String,
    runtimes: Vec<Runtime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Runtime {
    runtime: String,
    deprecated: Date,
    create_blocked: Date,
    update_blocked: Date,
    successor: Option<String>,
}

static LIFECYCLE: LazyLock<Lifecycle> = LazyLock::new(|| {
    serde_json::from_str(include_str!("lifecycle.json")).expect("lifecycle.json is tested with the rest")
});

/// Judges everything whose end is known.
pub(crate) fn judge(things: &[Thing], today: &str, found: &mut Vec<Finding>) {
    let Ok(today) = today.parse::<Date>() else {
        found.push(Finding::new(
            Weight::Unchecked,
            format!("what has ended could not be told: `{today}` is no date"),
            "check this machine's clock",
        ));
        return;
    };
    for thing in things {
        match thing.kind.as_str() {
            "AWS::EKS::Cluster" => found.extend(cluster(thing, today)),
            "AWS::EKS::Nodegroup" => found.extend(machines(thing, things, today)),
            "AWS::Lambda::Function" => found.extend(function(thing, today)),
            _ => {}
        }
    }
}

fn days(from: Date, to: Date) -> i64 {
    from.until((jiff::Unit::Day, to))
        .map_or(i64::MAX, |span| i64::from(span.get_days()))
}

fn soon(today: Date, end: Date) -> bool {
    today
        .checked_add(TELL_BEFORE.days())
        .is_ok_and(|told| end <= told)
}

/// `1.34` as numbers that compare.
fn minor(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn cluster(thing: &Thing, today: Date) -> Option<Finding> {
    let version = thing.text("Version")?;
    let Kubernetes { source, versions } = &LIFECYCLE.kubernetes;
    let newest = versions.last().expect("lifecycle.json has versions");
    let oldest = versions.first().expect("lifecycle.json has versions");
    let Some(known) = versions.iter().find(|known| known.version == version) else {
        return Some(match minor(version) {
            Some(asked) if minor(&oldest.version).is_some_and(|oldest| asked < oldest) => thing.finding(
                Weight::Refuses,
                format!("Kubernetes {version} has ended long ago on EKS, and no cluster can be made with it"),
                format!("ask for {}, the newest that is known here", newest.version),
            ),
            _ => thing.finding(
                Weight::Unchecked,
                format!(
                    "nothing is known here of Kubernetes {version} on EKS; the newest that is known is {}",
                    newest.version
                ),
                format!("see {source}"),
            ),
        });
    };
    let Version {
        standard_end,
        extended_end,
        ..
    } = known;
    let is_forced = thing.properties["UpgradePolicy"]["SupportType"].as_str() == Some("STANDARD");
    let way_out = format!(
        "ask for {}, whose standard support lasts until {}",
        newest.version, newest.standard_end
    );
    if today > *extended_end {
        let what = format!("extended support of Kubernetes {version} ended on {extended_end}");
        return Some(if thing.stands {
            thing.finding(
                Weight::Warns,
                format!("{what}: EKS upgrades the cluster by force"),
                way_out,
            )
        } else {
            thing.finding(
                Weight::Refuses,
                format!("{what}: no cluster can be made with it any more"),
                way_out,
            )
        });
    }
    if today > *standard_end {
        let price = "the cluster costs $0.60 an hour instead of $0.10";
        let what = if is_forced {
            format!(
                "standard support of Kubernetes {version} ended on {standard_end}, and `UpgradePolicy` says STANDARD: EKS \
                 upgrades the cluster by force"
            )
        } else if soon(today, *extended_end) {
            format!(
                "Kubernetes {version} is in extended support: {price}, and it is upgraded by force after {extended_end}, in \
                 {} days",
                days(today, *extended_end)
            )
        } else {
            format!("Kubernetes {version} is in extended support since {standard_end}: {price}")
        };
        return Some(thing.finding(Weight::Warns, what, way_out));
    }
    if soon(today, *standard_end) {
        let then = if is_forced {
            "then EKS upgrades the cluster by force"
        } else {
            "then the cluster costs $0.60 an hour instead of $0.10"
        };
        let what = format!(
            "standard support of Kubernetes {version} ends on {standard_end}, in {} days; {then}",
            days(today, *standard_end)
        );
        return Some(thing.finding(Weight::Warns, what, way_out));
    }
    None
}

fn machines(thing: &Thing, all: &[Thing], today: Date) -> Option<Finding> {
    let image = thing.text("AmiType")?;
    if !image.starts_with("AL2_") {
        return None;
    }
    let Images { end, last_kubernetes } = &LIFECYCLE.node_images.amazon_linux2;
    let successor = match image {
        "AL2_ARM_64" => "AL2023_ARM_64_STANDARD",
        "AL2_x86_64_GPU" => "AL2023_x86_64_NVIDIA",
        _ => "AL2023_x86_64_STANDARD",
    };
    let way_out = format!("ask for {successor}");
    let version = thing
        .text("Version")
        .or_else(|| cluster_of(thing, all)?.text("Version"));
    let too_new = version.filter(|version| {
        minor(version)
            .zip(minor(last_kubernetes))
            .is_some_and(|(asked, last)| asked > last)
    });
    let what = match too_new {
        Some(version) => format!(
            "there are no Amazon Linux 2 images ({image}) for Kubernetes {version}; the last they were made for is \
             {last_kubernetes}"
        ),
        None if today >= *end => {
            format!("Amazon Linux 2 images ({image}) have had no support on EKS since {end}")
        }
        None => return None,
    };
    // The last images can still be used (source: EKS user guide, on the end of its Amazon Linux 2 images); there
    // are just none for newer versions.
    let weight = match too_new {
        Some(_) if !thing.stands => Weight::Refuses,
        _ => Weight::Warns,
    };
    Some(thing.finding(weight, what, way_out))
}

/// The cluster a group of machines joins, in the same template or by its name.
fn cluster_of<'a>(thing: &Thing, all: &'a [Thing]) -> Option<&'a Thing> {
    let name = &thing.properties["ClusterName"];
    let by_name = || {
        let name = name.as_str()?;
        all.iter()
            .find(|one| one.kind == "AWS::EKS::Cluster" && one.text("Name") == Some(name))
    };
    thing.target(name, all).or_else(by_name)
}

fn function(thing: &Thing, today: Date) -> Option<Finding> {
    let asked = thing.text("Runtime")?;
    let Lambda { source, runtimes } = &LIFECYCLE.lambda;
    let Some(known) = runtimes.iter().find(|known| known.runtime == asked) else {
        return Some(thing.finding(
            Weight::Unchecked,
            format!("nothing is known here of the Lambda runtime {asked}"),
            format!("see {source}"),
        ));
    };
    let Runtime {
        deprecated,
        create_blocked,
        update_blocked,
        successor,
        ..
    } = known;
    let way_out = match successor {
        Some(successor) => format!("ask for {successor}"),
        None => format!("see {source}"),
    };
    if !thing.stands && today >= *create_blocked {
        return Some(thing.finding(
            Weight::Refuses,
            format!("Lambda makes no functions with {asked} since {create_blocked}"),
            way_out,
        ));
    }
    if thing.stands && today >= *update_blocked {
        return Some(thing.finding(
            Weight::Warns,
            format!(
                "Lambda changes no functions with {asked} since {update_blocked}; they only go on running"
            ),
            way_out,
        ));
    }
    if today >= *deprecated {
        return Some(thing.finding(
            Weight::Warns,
            format!(
                "Lambda has not mended {asked} since {deprecated}; from {create_blocked} on no function can be made with it"
            ),
            way_out,
        ));
    }
    soon(today, *deprecated).then(|| {
        thing.finding(
            Weight::Warns,
            format!(
                "Lambda mends {asked} until {deprecated} only, in {} days",
                days(today, *deprecated)
            ),
            way_out,
        )
    })
}
