//! What is only read along the way: secrets that are sent to a web API or typed into a form, and logs.

use landfall_model::definition::{Assertion, CheckSpec, LogsCheck, SignInCheck};
use landfall_model::work::{Known, RequestWork, Step};
use serde_json::Value;

use crate::grant::Grant;
use crate::own::{arn, arn_in};

/// Why secrets are read.
const PURPOSE: &str = "SendSecrets";

/// The secrets that a request step sends, and signs in with.
pub(crate) fn of_request(step: &Step, work: &RequestWork) -> Vec<Grant> {
    let mut found = Vec::new();
    match &work.auth {
        Known::Value(auth) => {
            let auth = serde_json::to_value(auth).unwrap_or_default();
            references(&auth, &mut found);
        }
        Known::After(_) => found.push(String::new()),
    }
    for resource in &work.resources {
        match &resource.spec {
            Known::Value(spec) => {
                let spec = serde_json::to_value(spec).unwrap_or_default();
                references(&spec, &mut found);
            }
            Known::After(_) => found.push(String::new()),
        }
    }
    reading(step, found)
}

/// What a check reads.
pub(crate) fn of_check(step: &Step, check: &CheckSpec) -> Vec<Grant> {
    match check.assertion() {
        Some(Assertion::SignIn(SignInCheck {
            username, password, ..
        })) => {
            let mut found = Vec::new();
            for text in [username, password].into_iter().flatten() {
                references(&Value::String(text.clone()), &mut found);
            }
            reading(step, found)
        }
        Some(Assertion::Logs(LogsCheck {
            log_group, region, ..
        })) => {
            let region = region.as_deref().unwrap_or(&step.facts.region);
            let arn = arn_in(step, region, "logs", &format!("log-group:{log_group}:*"));
            vec![Grant::new("logs:FilterLogEvents", &arn).purpose("ReadLogs")]
        }
        Some(Assertion::IamRole(_)) => vec![Grant::new("iam:ListRoles", "*").purpose("FindRoles")],
        _ => Vec::new(),
    }
}

/// The ids in all dynamic references of a tree.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix("{{resolve:secretsmanager:") {
                let id = rest.split(":SecretString").next().unwrap_or_default();
                found.push(id.trim_end_matches("}}").to_owned());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(map) => map.values().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Reading these secrets; one that is not known yet is the platform's own.
fn reading(step: &Step, mut ids: Vec<String>) -> Vec<Grant> {
    ids.sort();
    ids.dedup();
    ids.iter()
        .map(|id| {
            let on = match id.as_str() {
                "" => arn(step, "secretsmanager", &format!("secret:{}-*", step.facts.name)),
                arn if arn.starts_with("arn:") => arn.to_owned(),
                // Secrets Manager adds six letters to a name.
                name => arn(step, "secretsmanager", &format!("secret:{name}-*")),
            };
            Grant::new("secretsmanager:GetSecretValue", &on).purpose(PURPOSE)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let mut found = Vec::new();
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme-Ab12Cd";
        references(
            &json!({ "a": [{ "b": format!("{{{{resolve:secretsmanager:{arn}:SecretString:key}}}}") }],
                     "c": "{{resolve:secretsmanager:plain}}", "d": "plain" }),
            &mut found,
        );
        assert_eq!(found, [arn, "plain"]);
    }
}
