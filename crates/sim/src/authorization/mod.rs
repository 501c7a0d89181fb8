//! Whether a call is allowed, when a world is given policies.
//!
//! What CloudFormation calls for each type of resource is a fact about CloudFormation, which the table of the
//! crate `policy` has. What those calls are about, and what IAM is told along with them, is worked out here from
//! what stands: otherwise a policy would only be compared with itself.

mod allowed;
mod target;

use std::collections::BTreeMap;

use landfall_cloudformation::resolve::pattern;
use landfall_policy::{Verb, type_facts};
use serde_json::Value;

pub(crate) use allowed::Context;
pub(crate) use allowed::Verdict;
pub use allowed::{Allowed, Unsupported};
pub(crate) use target::Target;

use crate::trouble::Trouble;
use crate::world::State;

/// One call to be judged.
struct Call {
    action: String,
    arn: String,
    context: Context,
}

impl State {
    /// Refuses a call that the policies in use do not allow.
    pub(crate) fn allow(&self, action: &str, arn: &str, context: &Context) -> Result<(), Trouble> {
        match self.denial(action, arn, context) {
            Some(reason) => Err(Trouble::Refused(format!("{reason} (AccessDenied)"))),
            None => Ok(()),
        }
    }

    /// The same for a call that IAM knows no resource for, or that is about all.
    pub(crate) fn allow_any(&self, action: &str) -> Result<(), Trouble> {
        self.allow(action, "*", &Context::default())
    }

    fn denial(&self, action: &str, arn: &str, context: &Context) -> Option<String> {
        let allowed = self.allowed.as_ref()?;
        let because = match allowed.judge(action, arn, context) {
            Verdict::Allowed => return None,
            Verdict::NotAllowed => format!("because no identity-based policy allows the {action} action"),
            Verdict::Denied => "with an explicit deny in an identity-based policy".to_owned(),
        };
        let user = format!("arn:aws:sts::{}:assumed-role/simulated/you", self.account);
        Some(format!(
            "User: {user} is not authorized to perform: {action} on resource: {arn} {because}"
        ))
    }

    /// Why CloudFormation cannot do something to a resource, in the words it says so.
    pub(crate) fn handler_denial(
        &self,
        target: &Target<'_>,
        verbs: &[Verb],
        tags: &BTreeMap<String, String>,
    ) -> Option<String> {
        self.allowed.as_ref()?;
        let service = target.kind.split("::").nth(1).unwrap_or_default();
        self.calls(target, verbs, tags).iter().find_map(|call| {
            let reason = self.denial(&call.action, &call.arn, &call.context)?;
            Some(format!(
                "Resource handler returned message: \"{reason} (Service: {service}, Status Code: 403)\" (HandlerErrorCode: AccessDenied)"
            ))
        })
    }

    /// Everything that CloudFormation calls to do something to a resource.
    fn calls(&self, target: &Target<'_>, verbs: &[Verb], tags: &BTreeMap<String, String>) -> Vec<Call> {
        let Some(facts) = type_facts(target.kind) else {
            return Vec::new();
        };
        let makes = verbs.contains(&Verb::Create);
        let mut calls = Vec::new();
        let roles: Vec<(String, &str)> = facts
            .passed(target.properties)
            .filter_map(|(role, service)| Some((role_arn(target, role.as_str()?), service)))
            .collect();
        let linked: Vec<&str> = facts.linked(target.properties).collect();
        let linked_arn = |service: &str| {
            format!(
                "arn:{}:iam::{}:role/aws-service-role/{service}/AWSServiceRole",
                target.partition, target.account
            )
        };
        for verb in verbs {
            for action in facts.actions(*verb, target.properties) {
                let looks_at_role = matches!(action, "iam:GetRole" | "iam:ListAttachedRolePolicies")
                    && !target.kind.starts_with("AWS::IAM::");
                let about: Vec<(String, bool)> = if looks_at_role && !roles.is_empty() {
                    roles.iter().map(|(arn, _)| (arn.clone(), false)).collect()
                } else if looks_at_role && action == "iam:ListAttachedRolePolicies" {
                    Vec::new()
                } else if looks_at_role {
                    linked
                        .iter()
                        .map(|service| (linked_arn(service), false))
                        .collect()
                } else {
                    let about = target.about(action).into_iter();
                    about.map(|about| (about.arn, about.own)).collect()
                };
                for (arn, own) in about {
                    let context = Context::through_cloudformation();
                    // What is being made carries no tags yet.
                    let context = if own && !makes {
                        context.tagged(tags)
                    } else {
                        context
                    };
                    calls.push(Call {
                        action: action.to_owned(),
                        arn,
                        context,
                    });
                }
            }
        }
        if verbs
            .iter()
            .any(|verb| matches!(verb, Verb::Create | Verb::Update))
        {
            let through = Context::through_cloudformation;
            calls.extend(roles.iter().map(|(arn, service)| Call {
                action: "iam:PassRole".to_owned(),
                arn: arn.clone(),
                context: through().with("iam:PassedToService", service),
            }));
            calls.extend(linked.iter().map(|service| Call {
                action: "iam:CreateServiceLinkedRole".to_owned(),
                arn: linked_arn(service),
                context: through().with("iam:AWSServiceName", service),
            }));
            calls.extend(self.secrets(target).into_iter().map(|arn| Call {
                action: "secretsmanager:GetSecretValue".to_owned(),
                arn,
                context: through(),
            }));
        }
        calls
    }

    /// The secrets whose values CloudFormation fills in.
    fn secrets(&self, target: &Target<'_>) -> Vec<String> {
        let mut found = Vec::new();
        references(target.properties, &mut found);
        let arn = |reference: String| {
            let parts: Vec<&str> = reference.split(':').collect();
            if parts.first() == Some(&"arn") {
                return parts.get(..7).unwrap_or(&parts).join(":");
            }
            let name = parts.first().copied().unwrap_or_default();
            let stands = self.secrets.iter().find(|secret| secret.name == name);
            stands.map_or_else(
                || {
                    let (region, account) = (target.region, target.account);
                    format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf")
                },
                |secret| secret.arn.clone(),
            )
        };
        found.into_iter().map(arn).collect()
    }
}

fn role_arn(target: &Target<'_>, role: &str) -> String {
    if role.starts_with("arn:") {
        return role.to_owned();
    }
    format!("arn:{}:iam::{}:role/{role}", target.partition, target.account)
}

/// What dynamic references to secrets name.
fn references(value: &Value, found: &mut Vec<String>) {
    if let Some(text) = pattern(value) {
        let parts = text.split("{{resolve:secretsmanager:").skip(1);
        found.extend(parts.filter_map(|part| part.split("}}").next().map(str::to_owned)));
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(map) => map.values().for_each(|value| references(value, found)),
        _ => {}
    }
}
