//! What whoever runs this may do, as IAM's own policy simulator says. It knows the policies, the boundary and the
//! organization's; of resource policies and sessions it knows nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt as _};
use landfall_model::question::{Answer, Denial, Permission};
use landfall_runner::ObserveError;

use crate::ask::{Parameters, Query, Refused, Region, is_gone, parameter};
use crate::preflight::xml::{all, child, text};
use crate::signed::element;

/// How many actions are simulated in one call. The answer has one result for each action and resource.
const AT_ONCE: usize = 50;

/// How many calls go on at once: IAM has no room for many.
const CALLS_AT_ONCE: usize = 6;

/// Which of these are denied.
pub(super) async fn simulated(
    region: Region<'_>,
    actions: &BTreeSet<Permission>,
) -> Result<Answer, ObserveError> {
    let (_, arn) = region
        .account
        .caller()
        .await
        .map_err(|trouble| trouble.observing("it could not be asked whose credentials these are"))?;
    let principal = principal(region, &arn).await?;
    let mut by_resource: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Permission { action, resource } in actions {
        by_resource.entry(resource).or_default().push(action);
    }
    let mut calls: Vec<(String, Vec<String>)> = Vec::new();
    for (resource, actions) in by_resource {
        for actions in actions.chunks(AT_ONCE) {
            let actions = actions.iter().map(|action| (*action).to_owned());
            calls.push((resource.to_owned(), actions.collect()));
        }
    }
    let principal_arn = principal.as_str();
    let found: Vec<_> = stream::iter(calls)
        .map(|(resource, actions)| async move { simulate(region, principal_arn, &resource, &actions).await })
        .buffered(CALLS_AT_ONCE)
        .collect()
        .await;
    let mut denied = Vec::new();
    for found in found {
        denied.extend(found.map_err(|refused| refused.observing("they could not be simulated"))?);
    }
    Ok(Answer::Permissions { principal, denied })
}

async fn simulate(
    region: Region<'_>,
    principal: &str,
    resource: &str,
    actions: &[String],
) -> Result<Vec<(Permission, Denial)>, Refused> {
    let mut parameters: Parameters = vec![
        parameter("PolicySourceArn", principal),
        parameter("ResourceArns.member.1", resource),
        parameter("MaxItems", "1000"),
    ];
    let named = actions.iter().enumerate();
    parameters.extend(named.map(|(at, action)| parameter(format!("ActionNames.member.{}", at + 1), action)));
    let pages = region
        .of_the_account()
        .pages(Query::Iam, "SimulatePrincipalPolicy", parameters)
        .await?;
    Ok(pages.iter().flat_map(|page| denied(page, resource)).collect())
}

/// What a page of results denies. Where a policy asks for what was not told (a tag of something that is not
/// there yet), nothing can be said, and so nothing is.
fn denied(page: &str, resource: &str) -> Vec<(Permission, Denial)> {
    all(page, "EvaluationResults", |result| {
        let decision = text(result, "EvalDecision")?;
        let told = |detail: &str, key: &str| {
            child(result, detail)
                .and_then(|detail| text(detail, key))
                .as_deref()
                == Some("false")
        };
        let open = child(result, "MissingContextValues")
            .is_some_and(|missing| missing.children().any(|member| member.is_element()));
        let denial = match decision.as_str() {
            "allowed" => return None,
            _ if told("OrganizationsDecisionDetail", "AllowedByOrganizations") => Denial::Organization,
            "explicitDeny" if !open => Denial::Explicit,
            _ if open => return None,
            _ if told(
                "PermissionsBoundaryDecisionDetail",
                "AllowedByPermissionsBoundary",
            ) =>
            {
                Denial::Boundary
            }
            _ => Denial::NotAllowed,
        };
        Some((
            Permission {
                action: text(result, "EvalActionName")?,
                resource: resource.to_owned(),
            },
            denial,
        ))
    })
}

/// Whose policies count, given who is calling.
#[derive(Debug, PartialEq, Eq)]
enum Caller<'a> {
    /// The caller itself.
    Itself(&'a str),
    /// The role that was assumed, by its name: its path is not in the session's ARN.
    Role(&'a str),
    /// Nobody's that could be simulated, and why.
    Nobody(&'static str),
}

fn caller(arn: &str) -> Caller<'_> {
    let rest = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match rest.split_once('/') {
        None if rest == "root" => Caller::Nobody("these are the root user's, and no policy limits them"),
        Some(("user", _)) => Caller::Itself(arn),
        Some(("assumed-role", rest)) => Caller::Role(rest.split('/').next().unwrap_or(rest)),
        Some(("federated-user", _)) => {
            Caller::Nobody("these are a federated user's, and what limits a session cannot be simulated")
        }
        _ => Caller::Nobody("it cannot be told whose policies count"),
    }
}

async fn principal(region: Region<'_>, arn: &str) -> Result<String, ObserveError> {
    let doing = "they could not be simulated";
    match caller(arn) {
        Caller::Itself(arn) => Ok(arn.to_owned()),
        Caller::Nobody(why) => Err(ObserveError {
            way_out: Some("use a role made for this: then it can be told before anything fails".to_owned()),
            ..ObserveError::new(doing, why)
        }),
        Caller::Role(name) => {
            let asked = region
                .of_the_account()
                .query(Query::Iam, "GetRole", &vec![parameter("RoleName", name)])
                .await;
            match asked {
                Ok(page) => element(&page, "Arn")
                    .ok_or_else(|| ObserveError::new(doing, format!("IAM told no ARN of the role {name}"))),
                Err(refused) if is_gone(&refused.trouble) => Err(ObserveError::new(
                    doing,
                    format!("there is no role {name} any more"),
                )),
                Err(refused) => Err(refused.observing(doing)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_policies_count() {
        let of = |arn| caller(arn);
        assert_eq!(
            of("arn:aws:iam::111122223333:user/ops/ana"),
            Caller::Itself("arn:aws:iam::111122223333:user/ops/ana")
        );
        assert_eq!(
            of("arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Administrator_0a1b/ana@acme.example"),
            Caller::Role("AWSReservedSSO_Administrator_0a1b")
        );
        assert!(matches!(of("arn:aws:iam::111122223333:root"), Caller::Nobody(_)));
        assert!(matches!(
            of("arn:aws:sts::111122223333:federated-user/ana"),
            Caller::Nobody(_)
        ));
    }

    // As the IAM API reference has it, shortened to what is read.
    const RESULTS: &str = r#"<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><SimulatePrincipalPolicyResult>
      <IsTruncated>false</IsTruncated><EvaluationResults>
      <member><EvalActionName>iam:CreateRole</EvalActionName><EvalDecision>allowed</EvalDecision></member>
      <member><EvalActionName>iam:DeleteRole</EvalActionName><EvalDecision>implicitDeny</EvalDecision></member>
      <member><EvalActionName>s3:DeleteBucket</EvalActionName><EvalDecision>explicitDeny</EvalDecision></member>
      <member><EvalActionName>eks:CreateCluster</EvalActionName><EvalDecision>implicitDeny</EvalDecision>
        <OrganizationsDecisionDetail><AllowedByOrganizations>false</AllowedByOrganizations></OrganizationsDecisionDetail></member>
      <member><EvalActionName>ec2:CreateVpc</EvalActionName><EvalDecision>implicitDeny</EvalDecision>
        <PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>false</AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail></member>
      <member><EvalActionName>ec2:DeleteVpc</EvalActionName><EvalDecision>implicitDeny</EvalDecision>
        <MissingContextValues><member>aws:ResourceTag/landfall:platform</member></MissingContextValues></member>
      </EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"#;

    #[test]
    fn what_is_denied_is_told_with_the_reason() {
        let told: Vec<String> = denied(RESULTS, "*")
            .iter()
            .map(|(permission, denial)| format!("{} {denial:?}", permission.action))
            .collect();
        assert_eq!(
            told,
            [
                "iam:DeleteRole NotAllowed",
                "s3:DeleteBucket Explicit",
                "eks:CreateCluster Organization",
                "ec2:CreateVpc Boundary"
            ]
        );
    }
}
