//! What the world has to be asked about the steps to come.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_model::question::{Permission, Question, Upcoming};
use serde_json::Value;

use crate::names::Named;
use crate::networks;
use crate::quotas::{self, Need};
use crate::thing::{Arn, Thing, grouped, items, things};

/// One question, and what depends on its answer.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// What to ask.
    pub question: Question,
    pub(crate) matter: Matter,
}

/// What depends on an answer.
#[derive(Clone, Debug)]
pub(crate) enum Matter {
    /// Whether anything can be done at all.
    Permissions,
    /// Whether there is room.
    Room(Need),
    /// Whether these ranges are free.
    Ranges(Vec<(Thing, Ipv4Net)>),
    /// Whether a thing can be called so.
    Name(Thing),
    /// Whether these names can be reached in a zone.
    Zone(Vec<(Thing, ZoneUse)>),
    /// Whether these can use a certificate.
    Certificate(Vec<Thing>),
}

/// What a zone is used for.
#[derive(Clone, Debug)]
pub(crate) struct ZoneUse {
    /// The name that is to be in it.
    pub(crate) name: String,
    /// Whether a certificate waits until it can be found there.
    pub(crate) proves: bool,
}

/// Kinds of things whose names are asked for.
const ASKED: [&str; 16] = [
    "AWS::S3::Bucket",
    "AWS::IAM::Role",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::InstanceProfile",
    "AWS::IAM::OIDCProvider",
    "AWS::Logs::LogGroup",
    "AWS::ECR::Repository",
    "AWS::SecretsManager::Secret",
    "AWS::EKS::Cluster",
    "AWS::SQS::Queue",
    "AWS::DynamoDB::Table",
    "AWS::Lambda::Function",
    "AWS::KMS::Alias",
    "AWS::Cognito::UserPoolDomain",
    "AWS::Route53::HostedZone",
    "AWS::GuardDuty::Detector",
];

/// Everything that has to be asked before these steps are carried out, each question once. `permissions` is
/// what carrying them out takes.
pub fn inquiries(upcoming: &[Upcoming], permissions: BTreeSet<Permission>) -> Vec<Inquiry> {
    let all = things(upcoming);
    let new: Vec<&Thing> = all.iter().filter(|thing| !thing.stands).collect();
    let mut inquiries = Vec::new();
    if !permissions.is_empty() {
        inquiries.push(Inquiry {
            question: Question::Permissions { actions: permissions },
            matter: Matter::Permissions,
        });
    }
    inquiries.extend(quotas::needs(upcoming, &all).into_iter().map(|need| Inquiry {
        question: Question::Quota {
            quota: need.quota.clone(),
            region: need.region.clone(),
        },
        matter: Matter::Room(need),
    }));
    let ranges = networks::networks(&all).into_iter().flat_map(|network| {
        let Thing { region, .. } = network.thing;
        let thing = network.thing;
        let ranges = network.ranges.into_iter().filter(|_| !thing.stands);
        ranges.map(|range| (region.clone(), (thing.clone(), range)))
    });
    inquiries.extend(
        grouped(ranges.collect::<Vec<_>>())
            .into_iter()
            .map(|(region, ranges)| Inquiry {
                question: Question::Networks { region },
                matter: Matter::Ranges(ranges),
            }),
    );
    inquiries.extend(
        grouped(new.iter().filter_map(|thing| name(thing)))
            .into_iter()
            .map(|(question, mut things)| Inquiry {
                question,
                matter: Matter::Name(things.swap_remove(0)),
            }),
    );
    let zones = new.iter().flat_map(|thing| zones(thing));
    inquiries.extend(
        grouped(zones.collect::<Vec<_>>())
            .into_iter()
            .map(|(id, uses)| Inquiry {
                question: Question::Zone { id },
                matter: Matter::Zone(uses),
            }),
    );
    // A policy may speak of certificates that are elsewhere, or not there yet.
    let users = new.iter().filter(|thing| !thing.kind.starts_with("AWS::IAM::"));
    let certificates = users.flat_map(|thing| {
        let mut arns = BTreeSet::new();
        certificates(&thing.properties, &mut arns);
        arns.into_iter().map(|arn| (arn, Thing::clone(thing)))
    });
    inquiries.extend(
        grouped(certificates.collect::<Vec<_>>())
            .into_iter()
            .map(|(arn, things)| Inquiry {
                question: Question::Certificate { arn },
                matter: Matter::Certificate(things),
            }),
    );
    inquiries
}

fn name(thing: &Thing) -> Option<(Question, Thing)> {
    if !ASKED.contains(&thing.kind.as_str()) || thing.adopts {
        return None;
    }
    let name = Named::of(&thing.kind)?.name(thing)?.to_owned();
    let question = Question::Name {
        kind: thing.kind.clone(),
        name,
        region: thing.region.clone(),
    };
    Some((question, thing.clone()))
}

/// The zones that a thing names by id, with what it wants there.
fn zones(thing: &Thing) -> Vec<(String, (Thing, ZoneUse))> {
    let properties = &thing.properties;
    let one = |id: &Value, name: &Value, proves: bool| {
        let id = id.as_str()?.trim_start_matches("/hostedzone/").to_owned();
        let name = name.as_str()?.trim_end_matches('.').to_owned();
        Some((id, (thing.clone(), ZoneUse { name, proves })))
    };
    match thing.kind.as_str() {
        "AWS::Route53::RecordSet" => one(&properties["HostedZoneId"], &properties["Name"], false)
            .into_iter()
            .collect(),
        "AWS::Route53::RecordSetGroup" => items(&properties["RecordSets"])
            .into_iter()
            .filter_map(|record| {
                let own = &record["HostedZoneId"];
                let id = if own.is_null() {
                    &properties["HostedZoneId"]
                } else {
                    own
                };
                one(id, &record["Name"], false)
            })
            .collect(),
        "AWS::CertificateManager::Certificate" => items(&properties["DomainValidationOptions"])
            .into_iter()
            .filter_map(|option| one(&option["HostedZoneId"], &option["DomainName"], true))
            .collect(),
        _ => Vec::new(),
    }
}

/// The ARNs of certificates among values.
fn certificates(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let is_one = Arn::read(text)
                .is_some_and(|arn| arn.service == "acm" && arn.rest.starts_with("certificate/"));
            if is_one && !text.contains('*') {
                found.insert(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| certificates(item, found)),
        Value::Object(map) => map.values().for_each(|item| certificates(item, found)),
        _ => {}
    }
}
