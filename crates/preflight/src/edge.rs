//! What works in one region only: certificates and functions of CloudFront, domains of Cognito, certificates of
//! load balancers; and what functions at the edge may not have.

use std::collections::BTreeSet;

use landfall_cloudformation::is_unknown;
use landfall_cloudformation::resolve::partition;
use landfall_model::StepId;
use landfall_model::finding::{Finding, Weight};
use serde_json::Value;

use crate::thing::{Arn, Thing, items};

/// Where CloudFront takes certificates and functions from.
const EDGE: &str = "us-east-1";

/// Judges everything that depends on a region.
pub(crate) fn judge(things: &[Thing], found: &mut Vec<Finding>) {
    // In China and for governments these services have rules, and regions, of their own.
    let usual: Vec<Thing> = things
        .iter()
        .filter(|thing| partition(&thing.region) == "aws")
        .cloned()
        .collect();
    let things = usual.as_slice();
    for thing in things {
        match thing.kind.as_str() {
            "AWS::CloudFront::Distribution" => {
                let config = &thing.properties["DistributionConfig"];
                let arn = &config["ViewerCertificate"]["AcmCertificateArn"];
                found.extend(certificate(thing, "CloudFront", arn, EDGE, things));
            }
            "AWS::Cognito::UserPoolDomain" => {
                let arn = &thing.properties["CustomDomainConfig"]["CertificateArn"];
                found.extend(certificate(
                    thing,
                    "a domain of one's own in Cognito",
                    arn,
                    EDGE,
                    things,
                ));
            }
            "AWS::ApiGateway::DomainName" => {
                let arn = &thing.properties["CertificateArn"];
                found.extend(certificate(thing, "a domain at the edge", arn, EDGE, things));
                let arn = &thing.properties["RegionalCertificateArn"];
                found.extend(certificate(
                    thing,
                    "a regional domain",
                    arn,
                    &thing.region,
                    things,
                ));
            }
            "AWS::ApiGatewayV2::DomainName" => {
                for config in items(&thing.properties["DomainNameConfigurations"]) {
                    let arn = &config["CertificateArn"];
                    found.extend(certificate(
                        thing,
                        "a regional domain",
                        arn,
                        &thing.region,
                        things,
                    ));
                }
            }
            "AWS::ElasticLoadBalancingV2::Listener" | "AWS::ElasticLoadBalancingV2::ListenerCertificate" => {
                for one in items(&thing.properties["Certificates"]) {
                    let arn = &one["CertificateArn"];
                    found.extend(certificate(thing, "a load balancer", arn, &thing.region, things));
                }
            }
            "AWS::CertificateManager::Certificate" => found.extend(unproven(thing)),
            "AWS::WAFv2::WebACL" if thing.text("Scope") == Some("CLOUDFRONT") && thing.region != EDGE => {
                found.push(thing.finding(
                    Weight::Refuses,
                    format!(
                        "rules for CloudFront are made in {EDGE} only, and this stack is in {}",
                        thing.region
                    ),
                    format!("give the step `region: {EDGE}`"),
                ));
            }
            _ => {}
        }
    }
    functions(things, found);
}

/// A certificate must be in the region in which it is used.
fn certificate(thing: &Thing, user: &str, arn: &Value, region: &str, things: &[Thing]) -> Option<Finding> {
    let from = match arn.as_str() {
        Some(text) => Arn::read(text).filter(|arn| arn.service == "acm")?.region,
        None => {
            let target = thing.target(arn, things)?;
            if target.kind != "AWS::CertificateManager::Certificate" {
                return None;
            }
            target.region.as_str()
        }
    };
    (from != region).then(|| {
        thing.finding(
            Weight::Refuses,
            format!("{user} takes certificates of {region} only, and this one is in {from}"),
            format!(
                "request the certificate in {region}: a step of its own with `region: {region}` does that"
            ),
        )
    })
}

/// A certificate whose proof nobody makes: its stack waits for a person, and gives up after hours.
fn unproven(thing: &Thing) -> Option<Finding> {
    let (what, way_out) = match thing.text("ValidationMethod") {
        Some("DNS") => {
            let options = &thing.properties["DomainValidationOptions"];
            let proves = |option: &&Value| !option["HostedZoneId"].is_null();
            if is_unknown(options) || items(options).iter().any(proves) {
                return None;
            }
            (
                "nobody makes the DNS record that proves its name",
                "give `DomainValidationOptions` the hosted zone; or add the record by hand while the stack waits",
            )
        }
        None if thing.properties["ValidationMethod"].is_null() => (
            "its name is proven by an e-mail that somebody has to answer",
            "give it `ValidationMethod: DNS` and `DomainValidationOptions` with the hosted zone",
        ),
        _ => return None,
    };
    (!thing.stands).then(|| thing.finding(Weight::Warns, format!("the certificate waits: {what}"), way_out))
}

/// What a function is used for at the edge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Next to the visitor: the smallest limits.
    Viewer,
    /// Before the origin is asked, or after it answered.
    Origin,
    /// Somewhere: its role lets the edge run it.
    Somewhere,
}

/// Limits of functions at the edge (source: CloudFront developer guide, "Restrictions on Lambda@Edge" and
/// "Quotas on Lambda@Edge").
const VIEWER_MEMORY_MB: u64 = 128;
const VIEWER_SECONDS: u64 = 5;
const ORIGIN_SECONDS: u64 = 30;

fn functions(things: &[Thing], found: &mut Vec<Finding>) {
    let mut at_edge: BTreeSet<(StepId, String, Use)> = BTreeSet::new();
    for distribution in things
        .iter()
        .filter(|thing| thing.kind == "AWS::CloudFront::Distribution")
    {
        let config = &distribution.properties["DistributionConfig"];
        let behaviours = std::iter::once(&config["DefaultCacheBehavior"])
            .chain(items(&config["CacheBehaviors"]))
            .flat_map(|behaviour| items(&behaviour["LambdaFunctionAssociations"]));
        for association in behaviours {
            let arn = &association["LambdaFunctionARN"];
            let place = match association["EventType"].as_str() {
                Some(event) if event.starts_with("viewer") => Use::Viewer,
                _ => Use::Origin,
            };
            if let Some(text) = arn.as_str() {
                found.extend(named(distribution, text));
            } else if let Some(function) = function_of(distribution, arn, things) {
                at_edge.insert((function.step.clone(), function.id.clone(), place));
            }
        }
    }
    for thing in things
        .iter()
        .filter(|thing| thing.kind == "AWS::Lambda::Function")
    {
        let role = thing.target(&thing.properties["Role"], things);
        let known = at_edge
            .iter()
            .any(|(step, id, _)| (step, id) == (&thing.step, &thing.id));
        if !known && role.is_some_and(lets_the_edge_run) {
            at_edge.insert((thing.step.clone(), thing.id.clone(), Use::Somewhere));
        }
    }
    for (step, id, place) in at_edge {
        let thing = things
            .iter()
            .find(|thing| thing.step == step && thing.id == id)
            .expect("it was found among these");
        found.extend(not_at_the_edge(thing, place));
    }
}

/// The function that an association names by a version in the same template.
fn function_of<'a>(distribution: &Thing, arn: &Value, things: &'a [Thing]) -> Option<&'a Thing> {
    let target = distribution.target(arn, things)?;
    match target.kind.as_str() {
        "AWS::Lambda::Function" => Some(target),
        "AWS::Lambda::Version" => target.target(&target.properties["FunctionName"], things),
        _ => None,
    }
}

fn named(distribution: &Thing, text: &str) -> Option<Finding> {
    let arn = Arn::read(text).filter(|arn| arn.service == "lambda")?;
    if arn.region != EDGE {
        return Some(distribution.finding(
            Weight::Refuses,
            format!(
                "functions at the edge come from {EDGE} only, and {text} is in {}",
                arn.region
            ),
            format!("make the function in {EDGE}: a step of its own with `region: {EDGE}` does that"),
        ));
    }
    let version = arn.rest.split(':').nth(2);
    let numbered =
        version.is_some_and(|version| !version.is_empty() && version.chars().all(|c| c.is_ascii_digit()));
    (!numbered).then(|| {
        distribution.finding(
            Weight::Refuses,
            format!("CloudFront takes a numbered version of a function, and {text} names none"),
            "publish a version (AWS::Lambda::Version) and give its ARN",
        )
    })
}

/// Whether a role trusts the service that runs functions at the edge.
fn lets_the_edge_run(role: &Thing) -> bool {
    let statements = items(&role.properties["AssumeRolePolicyDocument"]["Statement"]);
    statements.into_iter().any(|statement| {
        items(&statement["Principal"]["Service"])
            .into_iter()
            .any(|service| service.as_str() == Some("edgelambda.amazonaws.com"))
    })
}

fn not_at_the_edge(thing: &Thing, place: Use) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut refuse = |what: String, way_out: &str| {
        found.push(thing.finding(Weight::Refuses, what, way_out));
    };
    if thing.region != EDGE {
        refuse(
            format!(
                "functions at the edge are made in {EDGE} only, and this stack is in {}",
                thing.region
            ),
            "give the step `region: us-east-1`",
        );
    }
    let variables = &thing.properties["Environment"]["Variables"];
    if !is_unknown(variables) && variables.as_object().is_some_and(|map| !map.is_empty()) {
        refuse(
            "functions at the edge have no environment variables".to_owned(),
            "write the values into the code, or read them from a header of the origin",
        );
    }
    for (property, what) in [
        ("VpcConfig", "run in a network"),
        ("Layers", "have layers"),
        ("DeadLetterConfig", "have a dead letter queue"),
        ("KmsKeyArn", "have a key of their own"),
    ] {
        if thing.has(property) {
            refuse(
                format!("functions at the edge cannot {what}"),
                "take the property away",
            );
        }
    }
    if items(&thing.properties["Architectures"])
        .into_iter()
        .any(|one| one.as_str() == Some("arm64"))
    {
        refuse(
            "functions at the edge run on x86_64 only".to_owned(),
            "take `Architectures` away",
        );
    }
    if let Some(runtime) = thing.text("Runtime")
        && !runtime.starts_with("nodejs")
        && !runtime.starts_with("python")
    {
        refuse(
            format!("functions at the edge are written for Node.js or Python, not {runtime}"),
            "write it for one of these",
        );
    }
    let memory = thing.number("MemorySize").unwrap_or(0);
    if place == Use::Viewer && memory > VIEWER_MEMORY_MB {
        refuse(
            format!(
                "a function next to the visitor has at most {VIEWER_MEMORY_MB} MB, and this one asks for {memory}"
            ),
            "ask for 128, or attach it to origin events",
        );
    }
    let (seconds, name) = match place {
        Use::Viewer => (VIEWER_SECONDS, "next to the visitor"),
        Use::Origin | Use::Somewhere => (ORIGIN_SECONDS, "at the edge"),
    };
    let timeout = thing.number("Timeout").unwrap_or(0);
    if timeout > seconds {
        refuse(
            format!("a function {name} runs at most {seconds} s, and this one asks for {timeout}"),
            "shorten `Timeout`",
        );
    }
    found
}
