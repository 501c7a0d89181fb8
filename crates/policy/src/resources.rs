//! What CloudFormation needs for the resources of the platform's stacks.

use std::collections::BTreeSet;

use landfall_cloudformation::resolve::{Place, Resource, pattern};
use landfall_model::work::{Known, StackWork, TAG_PLATFORM, Work};
use serde_json::Value;

use crate::facts::{TypeFacts, TypeGrant, Verb, type_facts};
use crate::grant::{Condition, Grant};
use crate::names::{Made, Names};
use crate::own::stacks;
use crate::{UnknownType, Wants};

const ROLE: &str = "arn:${Partition}:iam::${Account}:role/${}";

/// Everything that CloudFormation does in stacks.
pub(crate) fn grants(wants: &Wants<'_>, names: &Names<'_>, unknown: &mut Vec<UnknownType>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (step, work, made) in stacks(wants, names) {
        for (id, resource) in &made.resolved.resources {
            if resource.exists == Some(false) {
                continue;
            }
            let Some(facts) = type_facts(&resource.kind) else {
                unknown.push(UnknownType {
                    step: step.id.clone(),
                    resource: id.clone(),
                    kind: resource.kind.clone(),
                });
                continue;
            };
            let one = One {
                wants,
                names,
                made,
                id,
                resource,
                facts,
            };
            one.grants(&mut grants);
        }
        grants.extend(fetched(work, &made.place));
        grants.extend(secrets(wants, work, made));
    }
    grants
}

/// One resource.
struct One<'a> {
    wants: &'a Wants<'a>,
    names: &'a Names<'a>,
    made: &'a Made<'a>,
    id: &'a str,
    resource: &'a Resource,
    facts: &'a TypeFacts,
}

impl One<'_> {
    fn grants(&self, grants: &mut Vec<Grant>) {
        let properties = &self.resource.properties;
        for grant in self.facts.grants.iter().filter(|grant| grant.applies(properties)) {
            for verb in Verb::ALL {
                for action in grant.actions(verb) {
                    grants.extend(self.on(grant, action));
                }
            }
        }
        for (role, service) in self.facts.passed(properties) {
            for arn in self.arns_of_value(role) {
                grants.push(Grant::new("iam:PassRole", arn).when(Condition::passed_to(service)));
            }
        }
        for service in self.facts.linked(properties) {
            let Place {
                partition, account, ..
            } = self.made.place;
            let arn = format!("arn:{partition}:iam::{account}:role/aws-service-role/{service}/*");
            let condition = Condition::linked_to(service);
            grants.push(Grant::new("iam:CreateServiceLinkedRole", arn).when(condition));
        }
    }

    /// One action on everything it is done on.
    fn on(&self, grant: &TypeGrant, action: &str) -> Vec<Grant> {
        let forms = if grant.on.is_empty() {
            &self.facts.arn
        } else {
            &grant.on
        };
        let arns: BTreeSet<String> = forms
            .iter()
            .flat_map(|form| self.made.arns(form, self.id, self.resource, self.names))
            .collect();
        let one = |arn: String| {
            // Looking around does no harm, and Landfall does it, too.
            let looks = arn == "*" && is_looking(action);
            let mut allowed = Grant::new(action, arn);
            if grant.mine {
                allowed = allowed.when(Condition::tagged(TAG_PLATFORM, &self.wants.platform.name));
            }
            // Other services ask in turn, and pass on who asked first only where AWS says so.
            if is_own(action, &self.resource.kind) && !looks {
                allowed = allowed.when(Condition::through_cloudformation());
            }
            allowed
        };
        arns.into_iter().map(one).collect()
    }

    fn arns_of_value(&self, role: &Value) -> Vec<String> {
        let holder = Resource {
            properties: serde_json::json!({ "Role": role }),
            ..self.resource.clone()
        };
        self.made
            .arns(&format!("@Role {ROLE}"), self.id, &holder, self.names)
    }
}

/// Whether an action belongs to the service whose resource is made.
fn is_own(action: &str, kind: &str) -> bool {
    let service = action.split(':').next().unwrap_or_default();
    let of = kind.split("::").nth(1).unwrap_or_default().to_lowercase();
    match service {
        "cognito-idp" => of == "cognito",
        "acm" => of == "certificatemanager",
        // The record that proves a domain is CloudFormation's own work (source: CloudFormation User Guide,
        // `DomainValidationOption`).
        "route53" => of == "route53" || of == "certificatemanager",
        "elasticloadbalancing" => of == "elasticloadbalancingv2",
        "elasticfilesystem" => of == "efs",
        "apigateway" => of == "apigatewayv2",
        "access-analyzer" => of == "accessanalyzer",
        service => of == service,
    }
}

/// Whether an action only looks.
pub(crate) fn is_looking(action: &str) -> bool {
    let verb = action.split(':').nth(1).unwrap_or_default();
    ["Describe", "List", "Get"]
        .iter()
        .any(|word| verb.starts_with(word))
        && verb != "GetSecretValue"
        && verb != "GetObject"
}

/// Parameters whose values CloudFormation fetches from SSM.
fn fetched<'a>(work: &'a StackWork, place: &'a Place<'a>) -> impl Iterator<Item = Grant> + 'a {
    let declared = work
        .interface
        .parameters
        .iter()
        .filter(|(_, declared)| declared.fetched);
    declared.map(move |(name, declared)| {
        let given = match work.parameters.get(name) {
            Some(Known::Value(path)) => Some(path),
            Some(Known::After(_)) => None,
            None => declared.default.as_ref(),
        };
        let path = given.map_or("/*", String::as_str);
        // The public ones belong to no account.
        let account = if path.starts_with("/aws/") {
            ""
        } else {
            place.account
        };
        let Place {
            partition, region, ..
        } = place;
        let path = path.trim_start_matches('/');
        let arn = format!("arn:{partition}:ssm:{region}:{account}:parameter/{path}");
        Grant::new("ssm:GetParameters", arn)
    })
}

/// Secrets whose values CloudFormation fills in: dynamic references in the template, and those that come as
/// parameters from steps which keep secrets.
fn secrets(wants: &Wants<'_>, work: &StackWork, made: &Made<'_>) -> Vec<Grant> {
    let mut named: BTreeSet<String> = BTreeSet::new();
    let given = work.parameters.values().filter_map(Known::value);
    given.for_each(|text| references(text, &mut named));
    for resource in made.resolved.resources.values() {
        texts(&resource.properties, &mut |text| references(text, &mut named));
    }
    let waits: BTreeSet<_> = work.parameters.values().flat_map(Known::waits_for).collect();
    for step in wants.steps.iter().filter(|step| waits.contains(&step.id)) {
        if let Work::Secret(secret) = &step.work {
            named.insert(secret.name.clone());
        }
    }
    let Place {
        partition,
        region,
        account,
        ..
    } = made.place;
    let arn = |name: String| {
        if name.starts_with("arn:") {
            name
        } else {
            format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-*")
        }
    };
    let read = |name| Grant::new("secretsmanager:GetSecretValue", arn(name));
    named.into_iter().map(read).collect()
}

/// The secrets that a text refers to, by name or ARN.
fn references(text: &str, found: &mut BTreeSet<String>) {
    for rest in text.split("{{resolve:secretsmanager:").skip(1) {
        let inside = rest.split("}}").next().unwrap_or_default();
        let parts: Vec<&str> = inside.split(':').collect();
        // An ARN has seven parts, the last of them the secret's name.
        let name = if parts[0] == "arn" && parts.len() >= 7 {
            parts[..7].join(":")
        } else {
            parts[0].to_owned()
        };
        found.insert(name);
    }
}

/// Every text in a value, those that are known in part included.
fn texts(value: &Value, see: &mut impl FnMut(&str)) {
    if let Some(text) = pattern(value) {
        see(text);
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, see)),
        Value::Object(map) => map.values().for_each(|value| texts(value, see)),
        _ => {}
    }
}
