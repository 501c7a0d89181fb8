//! What answers mean for the steps to come.

use ipnet::Ipv4Net;
use landfall_model::finding::{Finding, Weight};
use landfall_model::question::{
    Answer, Certificate, Denial, Name, Network, Permission, Question, Seen, Zone,
};

use crate::inquiry::{Inquiry, Matter, ZoneUse};
use crate::names::{Named, with_article};
use crate::networks::{overlap, range};
use crate::quotas::{Need, POLICIES_ON_A_ROLE};
use crate::thing::Thing;

impl Inquiry {
    /// What an answer means. An answer to another question means nothing.
    pub fn judge(&self, answer: &Answer) -> Vec<Finding> {
        match (&self.matter, answer) {
            (Matter::Permissions, Answer::Permissions { principal, denied }) => allowed(principal, denied),
            (Matter::Room(need), Answer::Quota { limit, assumed, used }) => {
                let used: Vec<(&str, u64)> =
                    used.iter().map(|(place, used)| (place.as_str(), *used)).collect();
                room(need, *limit, *assumed, &used)
            }
            (Matter::Ranges(ranges), Answer::Networks(networks)) => free(ranges, networks),
            (Matter::Name(thing), Answer::Name(name)) => called(thing, name).into_iter().collect(),
            (Matter::Zone(uses), Answer::Zone(zone)) => reached(self.zone(), uses, zone.as_ref()),
            (Matter::Certificate(things), Answer::Certificate(certificate)) => things
                .iter()
                .filter_map(|thing| usable(thing, self.certificate(), certificate.as_ref()))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What it means that there was no answer: nobody knows.
    pub fn unanswered(&self, why: &str, way_out: Option<&str>) -> Finding {
        let what = format!("{} could not be asked: {why}", self.said());
        let way_out = way_out.unwrap_or("nothing is known to be wrong; the step itself will show");
        match &self.matter {
            Matter::Permissions | Matter::Ranges(_) => Finding::new(Weight::Unchecked, what, way_out),
            Matter::Room(need) => of_need(need, Weight::Unchecked, what, way_out),
            Matter::Name(thing) => thing.finding(Weight::Unchecked, what, way_out),
            Matter::Zone(uses) => uses[0].0.finding(Weight::Unchecked, what, way_out),
            Matter::Certificate(things) => things[0].finding(Weight::Unchecked, what, way_out),
        }
    }

    /// What is asked, in words.
    fn said(&self) -> String {
        match &self.question {
            Question::Permissions { .. } => "what the credentials in use may do".to_owned(),
            Question::Quota { quota, .. } => format!("the limit of {}", quota.name),
            Question::Networks { region } => format!("which networks stand in {region}"),
            Question::Name { kind, name, .. } => {
                let said = Named::of(kind).map_or_else(|| name.clone(), |named| named.said(name));
                format!("whether there is {} already", with_article(&said))
            }
            Question::Zone { id } => format!("the hosted zone {id}"),
            Question::Certificate { arn } => format!("the certificate {arn}"),
        }
    }

    fn zone(&self) -> &str {
        match &self.question {
            Question::Zone { id } => id,
            _ => "",
        }
    }

    fn certificate(&self) -> &str {
        match &self.question {
            Question::Certificate { arn } => arn,
            _ => "",
        }
    }
}

/// How many missing permissions are named in one finding: people need the kind, programs have the policy.
const NAMED_AT_MOST: usize = 8;

fn allowed(principal: &str, denied: &[(Permission, Denial)]) -> Vec<Finding> {
    // A name that is not known yet is asked for as a pattern, and a pattern is judged letter by letter: whoever is
    // allowed less, but enough, seems to be allowed nothing.
    let is_pattern =
        |permission: &Permission| permission.resource != "*" && permission.resource.contains('*');
    [
        (Denial::NotAllowed, false),
        (Denial::NotAllowed, true),
        (Denial::Explicit, false),
        (Denial::Explicit, true),
        (Denial::Boundary, false),
        (Denial::Boundary, true),
        (Denial::Organization, false),
        (Denial::Organization, true),
    ]
    .into_iter()
    .filter_map(|(denial, pattern)| {
        let mut actions: Vec<&str> = denied
            .iter()
            .filter(|(permission, by)| *by == denial && is_pattern(permission) == pattern)
            .map(|(permission, _)| permission.action.as_str())
            .collect();
        actions.sort_unstable();
        actions.dedup();
        let mut named = actions
            .iter()
            .take(NAMED_AT_MOST)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        if actions.is_empty() {
            return None;
        }
        if actions.len() > NAMED_AT_MOST {
            named = format!("{named} and {} more", actions.len() - NAMED_AT_MOST);
        }
        let (why, way_out) = match denial {
            Denial::NotAllowed => (
                "no policy allows it",
                "attach what `landfall policy` prints, or use other credentials",
            ),
            Denial::Explicit => (
                "a policy denies it",
                "take the denial away, or use other credentials",
            ),
            Denial::Boundary => (
                "its permissions boundary does not allow it",
                "widen the boundary by what `landfall policy` prints, or use other credentials",
            ),
            Denial::Organization => (
                "the organization does not seem to allow it in this account",
                "ask whoever keeps the organization's service control policies; those with conditions (a region, a \
                 tag) cannot be simulated well, and may allow it all the same",
            ),
        };
        let (weight, may_not) = match (denial, pattern) {
            (_, true) => (Weight::Warns, "may perhaps not"),
            (Denial::Organization, false) => (Weight::Warns, "may not"),
            (_, false) => (Weight::Refuses, "may not"),
        };
        Some(Finding::new(
            weight,
            format!("{principal} {may_not} {named}: {why}"),
            way_out,
        ))
    })
    .collect()
}

fn of_need(need: &Need, weight: Weight, what: impl Into<String>, way_out: impl Into<String>) -> Finding {
    let finding = Finding::new(weight, what, way_out).of_step(&need.step);
    match &need.resource {
        Some(resource) => finding.of_resource(resource),
        None => finding,
    }
}

fn room(need: &Need, limit: u64, assumed: bool, used: &[(&str, u64)]) -> Vec<Finding> {
    let Need {
        quota, region, count, ..
    } = need;
    let free: u64 = used.iter().map(|(_, used)| limit.saturating_sub(*used)).sum();
    let rests_on = if assumed {
        " (AWS's usual limit; the account's own could not be asked)"
    } else {
        ""
    };
    // In a zone the fullest counts, and they are told apart by nobody.
    let wanted = used.iter().map(|(_, used)| *used).max().unwrap_or(0) + count;
    let way_out = format!(
        "ask for more: aws service-quotas request-service-quota-increase --service-code {} --quota-code {} --region \
         {region} --desired-value {wanted}; or remove what nobody needs",
        quota.service, quota.code
    );
    // Without any place, nothing was counted.
    if *count > free && !used.is_empty() {
        let what = match used {
            _ if quota.kind == POLICIES_ON_A_ROLE => {
                format!(
                    "{}: {limit} at most, and this role gets {count}{rests_on}",
                    quota.name
                )
            }
            [(_, used)] => format!(
                "{}: {used} of {limit} are used, and {count} more {} needed{rests_on}",
                quota.name,
                if *count == 1 { "is" } else { "are" }
            ),
            _ => format!(
                "{}: room for {free} in all of {}, and {count} {} needed{rests_on}",
                quota.name,
                used.iter()
                    .map(|(place, _)| *place)
                    .collect::<Vec<_>>()
                    .join(", "),
                if *count == 1 { "is" } else { "are" }
            ),
        };
        // Where the limit is AWS's usual one, the account's own may well be higher.
        let weight = if assumed { Weight::Warns } else { Weight::Refuses };
        return vec![of_need(need, weight, what, way_out)];
    }
    // Templates take zones in order, so one full zone may be the one.
    let full: Vec<&str> = used
        .iter()
        .filter(|(_, used)| *used >= limit && used > &0)
        .map(|(place, _)| *place)
        .collect();
    if used.len() < 2 || full.is_empty() {
        return Vec::new();
    }
    let what = format!(
        "{}: {limit} of {limit} are used in {}, and {count} {} needed in some zone{rests_on}",
        quota.name,
        full.join(", "),
        if *count == 1 { "is" } else { "are" }
    );
    vec![of_need(need, Weight::Warns, what, way_out)]
}

fn free(ranges: &[(Thing, Ipv4Net)], networks: &[Network]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (thing, wanted) in ranges {
        for network in networks {
            let taken = network
                .cidrs
                .iter()
                .filter_map(|cidr| range(cidr))
                .find(|taken| overlap(*taken, *wanted));
            let Some(taken) = taken else { continue };
            let name = match (&network.name, &network.platform) {
                (Some(name), _) => format!("{} ({name})", network.id),
                (None, Some(platform)) => format!("{} of the platform {platform}", network.id),
                (None, None) => network.id.clone(),
            };
            found.push(thing.finding(
                Weight::Warns,
                format!("{wanted} overlaps {taken} of the network {name}, so the two can never be connected"),
                "choose another range, unless they will always stay apart",
            ));
        }
    }
    found
}

fn called(thing: &Thing, answer: &Name) -> Option<Finding> {
    let named = Named::of(&thing.kind)?;
    let said = named.said(named.name(thing)?);
    let remains = thing.after_remains;
    let (weight, what, way_out) = match answer {
        Name::Free => return None,
        Name::Taken { by } => match thing.kind.as_str() {
            "AWS::Route53::HostedZone" => (
                Weight::Warns,
                format!(
                    "there is a {said} already ({by}); another one is made beside it, with other name servers"
                ),
                "give the id of the one that stands, if that is meant".to_owned(),
            ),
            "AWS::GuardDuty::Detector" => (
                Weight::Refuses,
                format!(
                    "GuardDuty is on in {} already ({by}), and a region has one detector",
                    thing.region
                ),
                "leave the component out, or switch that detector off first".to_owned(),
            ),
            _ => (
                Weight::Refuses,
                format!("there is {} already ({by})", with_article(&said)),
                "take another name; or remove it if nobody needs it; or import it into the stack".to_owned(),
            ),
        },
        Name::TakenElsewhere => (
            Weight::Refuses,
            format!("the {said} belongs to another account; such names are shared by all accounts"),
            "take another name, for example with the account's id in it".to_owned(),
        ),
        Name::Going { until } => (
            Weight::Refuses,
            match until {
                Some(until) => format!("the {said} was deleted, and its name is kept until {until}"),
                None => format!("the {said} was deleted, and its name is still kept"),
            },
            match thing.kind.as_str() {
                "AWS::SecretsManager::Secret" => format!(
                    "take another name, wait, or give it up for good: aws secretsmanager delete-secret --secret-id {} \
                     --force-delete-without-recovery --region {}",
                    named.name(thing)?,
                    thing.region
                ),
                _ => "take another name, or wait".to_owned(),
            },
        ),
    };
    if weight == Weight::Refuses && remains && !matches!(answer, Name::TakenElsewhere) {
        let what =
            format!("{what}; it may be a remainder of the attempt before, which is cleared away first");
        return Some(thing.finding(Weight::Warns, what, way_out));
    }
    Some(thing.finding(weight, what, way_out))
}

fn reached(id: &str, uses: &[(Thing, ZoneUse)], zone: Option<&Zone>) -> Vec<Finding> {
    let Some(zone) = zone else {
        let missing = |(thing, _): &(Thing, ZoneUse)| {
            thing.finding(
                Weight::Refuses,
                format!("there is no hosted zone {id} in this account"),
                "give the id of one that stands: aws route53 list-hosted-zones",
            )
        };
        return uses.iter().map(missing).collect();
    };
    let mut found = Vec::new();
    for (thing, wanted) in uses {
        let name = wanted.name.to_lowercase();
        let inside = name == zone.name || name.ends_with(&format!(".{}", zone.name));
        if !inside {
            found.push(thing.finding(
                Weight::Refuses,
                format!("{name} is not in the hosted zone {id}, which is {}", zone.name),
                "give the zone of this name, or a name in this zone",
            ));
            continue;
        }
        found.extend(delegated(thing, wanted, id, zone));
    }
    found
}

fn delegated(thing: &Thing, wanted: &ZoneUse, id: &str, zone: &Zone) -> Option<Finding> {
    let Zone {
        name,
        private,
        servers,
        seen,
    } = zone;
    if *private {
        return wanted.proves.then(|| {
            thing.finding(
                Weight::Refuses,
                format!(
                    "the hosted zone {id} ({name}) is private, so nobody can prove a certificate's name in it"
                ),
                "give a public zone of that name",
            )
        });
    }
    let plain = |servers: &[String]| {
        let mut plain: Vec<String> = servers
            .iter()
            .map(|server| server.trim_end_matches('.').to_lowercase())
            .collect();
        plain.sort();
        plain
    };
    let own = plain(servers);
    let what = match seen {
        Seen::Unknown(why) => {
            return Some(thing.finding(
                Weight::Unchecked,
                format!("who answers for {name} could not be asked: {why}"),
                format!("see whether these do: {}", own.join(", ")),
            ));
        }
        // One of them is enough: what else is written there is the owner's own business.
        Seen::Servers(seen) if plain(seen).iter().any(|server| own.contains(server)) => return None,
        Seen::Servers(seen) if seen.is_empty() => format!("{name} is delegated to nobody"),
        Seen::Servers(seen) => format!(
            "{name} is delegated to {}, not to its zone {id}",
            plain(seen).join(", ")
        ),
    };
    let then = if wanted.proves {
        "the certificate would wait until it gives up, after hours"
    } else {
        "nobody will see the record"
    };
    // Other servers may be an answer that resolvers still remember (for two days), a company's own view of the
    // name, or servers under names of the owner's.
    let weight = match seen {
        Seen::Servers(seen) if seen.is_empty() && wanted.proves => Weight::Refuses,
        _ => Weight::Warns,
    };
    Some(thing.finding(
        weight,
        format!("{what}: {then}"),
        format!(
            "put these name servers where {name} is registered, or as NS records into its parent: {}",
            own.join(", ")
        ),
    ))
}

fn usable(thing: &Thing, arn: &str, certificate: Option<&Certificate>) -> Option<Finding> {
    match certificate {
        None => Some(thing.finding(
            Weight::Refuses,
            format!("there is no certificate {arn} in this account"),
            "give the ARN of one that is there: aws acm list-certificates",
        )),
        Some(Certificate { status, .. }) if status == "ISSUED" => None,
        Some(Certificate { status, names }) => Some(thing.finding(
            Weight::Refuses,
            format!(
                "the certificate {arn} for {} is not issued but {status}",
                names.join(", ")
            ),
            if status == "PENDING_VALIDATION" {
                "make the record that proves its name, and wait until it is issued"
            } else {
                "request another one"
            },
        )),
    }
}
