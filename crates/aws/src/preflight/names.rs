//! Whether a name is free.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use landfall_cloudformation::resolve::partition;
use landfall_model::question::Name;
use landfall_runner::ObserveError;
use serde_json::{Value, json};

use crate::ask::{
    IMAGES, Json, KEYS, LOGS, POOLS, QUEUES, Query, Refused, Region, SECRETS, TABLES, is_gone, parameter,
};
use crate::preflight::dns;
use crate::preflight::xml::{all, child, text};
use crate::signed::{Call, encoded};
use crate::trouble::Trouble;

/// How long Secrets Manager waits, for those whose deletion was asked for without saying.
const UNTIL_GONE_DAYS: f64 = 30.0;

/// Whether something of this type can be called so.
pub(super) async fn called(region: Region<'_>, kind: &str, name: &str) -> Result<Name, ObserveError> {
    let answer = match kind {
        "AWS::S3::Bucket" => bucket(region, name).await,
        "AWS::IAM::Role" => of_iam(region, "GetRole", "RoleName", name).await,
        "AWS::IAM::InstanceProfile" => {
            of_iam(region, "GetInstanceProfile", "InstanceProfileName", name).await
        }
        "AWS::IAM::ManagedPolicy" => policy(region, name).await,
        "AWS::IAM::OIDCProvider" => {
            let arn = region
                .of_the_account()
                .arn_of_the_account("iam", &format!("oidc-provider/{name}"));
            let answer = of_iam(
                region,
                "GetOpenIDConnectProvider",
                "OpenIDConnectProviderArn",
                &arn,
            )
            .await;
            // The answer does not repeat the ARN.
            answer.map(|found| match found {
                Name::Taken { .. } => taken(arn),
                other => other,
            })
        }
        "AWS::Logs::LogGroup" => log_group(region, name).await,
        "AWS::ECR::Repository" => {
            let body = json!({ "repositoryNames": [name] });
            let found = described(region, IMAGES, "DescribeRepositories", &body).await;
            found.map(|found| by(found, |answer| &answer["repositories"][0]["repositoryArn"], name))
        }
        "AWS::SecretsManager::Secret" => secret(region, name).await,
        "AWS::EKS::Cluster" => {
            let path = format!("/clusters/{}", encoded(name));
            let found = region.cluster_thing(&path, "DescribeCluster").await;
            found.map(|found| by(found, |answer| &answer["cluster"]["arn"], name))
        }
        "AWS::SQS::Queue" => {
            let found = described(region, QUEUES, "GetQueueUrl", &json!({ "QueueName": name })).await;
            found.map(|found| by(found, |answer| &answer["QueueUrl"], name))
        }
        "AWS::DynamoDB::Table" => {
            let found = described(region, TABLES, "DescribeTable", &json!({ "TableName": name })).await;
            found.map(|found| by(found, |answer| &answer["Table"]["TableArn"], name))
        }
        "AWS::Lambda::Function" => {
            let path = format!("/2015-03-31/functions/{}", encoded(name));
            let found = region.get("lambda", &path, "GetFunction").await;
            found.map(|found| {
                let found = found.map(|answer| serde_json::from_str(&answer).unwrap_or_default());
                by(found, |answer| &answer["Configuration"]["FunctionArn"], name)
            })
        }
        "AWS::KMS::Alias" => {
            let found = described(region, KEYS, "DescribeKey", &json!({ "KeyId": name })).await;
            found.map(|found| by(found, |answer| &answer["KeyMetadata"]["Arn"], name))
        }
        "AWS::Cognito::UserPoolDomain" => return domain(region, name).await,
        "AWS::Route53::HostedZone" => zone(region, name).await,
        "AWS::GuardDuty::Detector" => detector(region).await,
        _ => {
            return Err(ObserveError::new(
                "it could not be looked up",
                format!("nobody knows how to look up {kind}"),
            ));
        }
    };
    answer.map_err(|refused| refused.observing("it could not be looked up"))
}

fn taken(by: impl Into<String>) -> Name {
    Name::Taken { by: by.into() }
}

/// Taken by what the answer names, free without an answer.
fn by(found: Option<Value>, what: impl Fn(&Value) -> &Value, name: &str) -> Name {
    match found {
        None => Name::Free,
        Some(answer) => taken(what(&answer).as_str().unwrap_or(name)),
    }
}

/// Describes one thing, or none when it is not there. Queues have a word of their own for that.
async fn described(
    region: Region<'_>,
    api: Json,
    action: &str,
    body: &Value,
) -> Result<Option<Value>, Refused> {
    match region.json(api, action, body).await {
        Ok(answer) => Ok(Some(answer)),
        Err(Refused { trouble, .. }) if is_missing(&trouble) || region.is_lacking(&trouble) => Ok(None),
        Err(refused) => Err(refused),
    }
}

fn is_missing(trouble: &Trouble) -> bool {
    let by_queues = |code: &str| code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist");
    is_gone(trouble) || matches!(trouble, Trouble::Other { code, .. } if by_queues(code))
}

async fn of_iam(region: Region<'_>, action: &str, key: &str, name: &str) -> Result<Name, Refused> {
    let answer = region
        .of_the_account()
        .query(Query::Iam, action, &vec![parameter(key, name)])
        .await;
    match answer {
        Ok(page) => Ok(taken(
            crate::signed::element(&page, "Arn").unwrap_or_else(|| name.to_owned()),
        )),
        Err(refused) if is_gone(&refused.trouble) => Ok(Name::Free),
        Err(refused) => Err(refused),
    }
}

/// Policies are looked up by ARN, which has a path in it that nobody knows: their names are listed.
async fn policy(region: Region<'_>, name: &str) -> Result<Name, Refused> {
    let parameters = vec![parameter("Scope", "Local"), parameter("MaxItems", "1000")];
    let pages = region
        .of_the_account()
        .pages(Query::Iam, "ListPolicies", parameters)
        .await?;
    let mut found = pages.iter().flat_map(|page| {
        all(page, "Policies", |policy| {
            Some((text(policy, "PolicyName")?, text(policy, "Arn")?))
        })
    });
    Ok(match found.find(|(other, _)| other == name) {
        Some((_, arn)) => taken(arn),
        None => Name::Free,
    })
}

async fn log_group(region: Region<'_>, name: &str) -> Result<Name, Refused> {
    let body = json!({ "logGroupNamePrefix": name, "limit": 50 });
    // In the order of names: the one that is just this comes first.
    let answer = described(region, LOGS, "DescribeLogGroups", &body).await?;
    let groups = answer.as_ref().and_then(|answer| answer["logGroups"].as_array());
    let found = groups
        .into_iter()
        .flatten()
        .any(|group| group["logGroupName"].as_str() == Some(name));
    Ok(if found { taken(name) } else { Name::Free })
}

async fn secret(region: Region<'_>, name: &str) -> Result<Name, Refused> {
    let Some(answer) = described(region, SECRETS, "DescribeSecret", &json!({ "SecretId": name })).await?
    else {
        return Ok(Name::Free);
    };
    Ok(match answer["DeletedDate"].as_f64() {
        None => by(Some(answer), |answer| &answer["ARN"], name),
        Some(deleted) => Name::Going { until: gone(deleted) },
    })
}

/// The day on which a secret is gone at the latest.
fn gone(deleted: f64) -> Option<String> {
    let gone = DateTime::from_secs_f64(deleted + UNTIL_GONE_DAYS * 86_400.0);
    let text = gone.fmt(Format::DateTime).ok()?;
    Some(text.get(..10)?.to_owned())
}

/// A bucket of one's own is listed. Of others' it is only said that they are not for us.
async fn bucket(region: Region<'_>, name: &str) -> Result<Name, Refused> {
    let own = buckets(region).await;
    let by_us = || taken(format!("arn:{}:s3:::{name}", partition(region.name)));
    if own.as_ref().is_ok_and(|own| own.iter().any(|one| one == name)) {
        return Ok(by_us());
    }
    let call = Call {
        service: "s3",
        region: region.name,
        method: "HEAD",
        url: format!("{}/{name}", region.address("s3")),
        headers: Vec::new(),
        body: Vec::new(),
    };
    match region.account.send(&call).await {
        // Open to us: one of our own, where those could not be listed.
        Ok(_) if own.is_err() => Ok(by_us()),
        Ok(_) => Ok(Name::TakenElsewhere),
        Err(trouble) if is_gone(&trouble) => Ok(Name::Free),
        // Not for us, or in another region than the one that was asked.
        Err(trouble)
            if ["HTTP 403", "HTTP 301", "HTTP 307"]
                .iter()
                .any(|code| trouble.is_code(code)) =>
        {
            Ok(Name::TakenElsewhere)
        }
        Err(trouble) => Err(Refused {
            action: "s3:ListBucket".to_owned(),
            trouble,
        }),
    }
}

/// The names of the account's buckets.
pub(super) async fn buckets(region: Region<'_>) -> Result<Vec<String>, Refused> {
    let page = region.get("s3", "/", "ListAllMyBuckets").await?;
    Ok(all(&page.unwrap_or_default(), "Buckets", |bucket| {
        text(bucket, "Name")
    }))
}

/// A prefix of Cognito's own domain: ours are described, others' show in DNS only.
async fn domain(region: Region<'_>, name: &str) -> Result<Name, ObserveError> {
    let answer = described(
        region,
        POOLS,
        "DescribeUserPoolDomain",
        &json!({ "Domain": name }),
    )
    .await
    .map_err(|refused| refused.observing("it could not be looked up"))?;
    let pool = answer
        .as_ref()
        .and_then(|answer| answer["DomainDescription"]["UserPoolId"].as_str());
    if let Some(pool) = pool {
        return Ok(taken(format!("user pool {pool}")));
    }
    // A domain of one's own is Cognito's no more than ours; an emulator's are found by no resolver.
    if name.contains('.') || region.account.endpoint().is_some() {
        return Ok(Name::Free);
    }
    let domain = format!("auth.{}.amazoncognito.com", region.name);
    match dns::is_taken(name, &domain).await {
        Ok(true) => Ok(Name::TakenElsewhere),
        Ok(false) => Ok(Name::Free),
        Err(why) => Err(ObserveError::new(
            format!("{name}.{domain} could not be resolved"),
            why,
        )),
    }
}

async fn zone(region: Region<'_>, name: &str) -> Result<Name, Refused> {
    let path = format!(
        "/2013-04-01/hostedzonesbyname?dnsname={}&maxitems=10",
        encoded(name)
    );
    let page = region
        .of_the_account()
        .get("route53", &path, "ListHostedZonesByName")
        .await?;
    let zones = all(&page.unwrap_or_default(), "HostedZones", |zone| {
        let private = child(zone, "Config").and_then(|config| text(config, "PrivateZone"));
        let own = text(zone, "Name")?;
        (own.trim_end_matches('.') == name && private.as_deref() != Some("true"))
            .then(|| text(zone, "Id"))
            .flatten()
    });
    Ok(match zones.first() {
        Some(id) => taken(id.trim_start_matches("/hostedzone/")),
        None => Name::Free,
    })
}

async fn detector(region: Region<'_>) -> Result<Name, Refused> {
    let answer = region.get("guardduty", "/detector", "ListDetectors").await?;
    let answer: Value = answer
        .map(|answer| serde_json::from_str(&answer).unwrap_or_default())
        .unwrap_or_default();
    Ok(match answer["detectorIds"][0].as_str() {
        Some(id) => taken(id),
        None => Name::Free,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_gone_a_month_after_its_deletion_at_the_latest() {
        assert_eq!(gone(1_764_547_200.5).as_deref(), Some("2025-12-31"));
    }

    #[test]
    fn every_services_word_for_missing_is_understood() {
        for code in [
            "RepositoryNotFoundException",
            "ResourceNotFoundException",
            "NotFoundException",
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
        ] {
            assert!(is_missing(&Trouble::of(code, "")), "{code}");
        }
        assert!(!is_missing(&Trouble::of("AccessDeniedException", "")));
    }
}
