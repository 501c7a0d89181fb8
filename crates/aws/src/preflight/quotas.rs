//! How much of a limit is used.

use std::collections::BTreeMap;

use landfall_model::question::{Answer, Quota};
use serde_json::{Value, json};

use crate::ask::{Parameters, QUOTAS, Query, Refused, Region, parameter};
use crate::preflight::names;
use crate::preflight::xml::{all, child, text};

/// The limit and what is used of it.
pub(super) async fn room(region: Region<'_>, quota: &Quota) -> Result<Answer, Refused> {
    let (limit, used) = tokio::join!(limit(region, quota), used(region, &quota.kind));
    Ok(Answer::Quota {
        limit: limit.unwrap_or(quota.usual),
        assumed: limit.is_none(),
        used: used?,
    })
}

/// The account's own limit; none when it cannot be told. A limit that has to be waited for is not worth the wait:
/// most accounts have the usual one.
async fn limit(region: Region<'_>, quota: &Quota) -> Option<u64> {
    const TRIES: usize = 2;
    let body = json!({ "ServiceCode": quota.service, "QuotaCode": quota.code });
    for _ in 0..TRIES {
        match region.json(QUOTAS, "GetServiceQuota", &body).await {
            Ok(answer) => return told(&answer),
            // Nobody has ever asked for another one, so that the usual one holds. After any other refusal the
            // account's own may be higher.
            Err(refused) if refused.trouble.is_code("NoSuchResource") => {
                let usual = region.json(QUOTAS, "GetAWSDefaultServiceQuota", &body).await;
                return told(&usual.ok()?);
            }
            Err(_) => {}
        }
    }
    None
}

fn told(answer: &Value) -> Option<u64> {
    let value = answer["Quota"]["Value"].as_f64().filter(|value| *value >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a limit is a whole number that was just seen to be positive"
    )]
    Some(value as u64)
}

/// What is used, by place.
async fn used(region: Region<'_>, kind: &str) -> Result<BTreeMap<String, u64>, Refused> {
    let here = |count: usize| BTreeMap::from([(region.name.to_owned(), count as u64)]);
    Ok(match kind {
        "AWS::EC2::VPC" => here(counted(region, "DescribeVpcs", "vpcSet").await?),
        "AWS::EC2::InternetGateway" => {
            here(counted(region, "DescribeInternetGateways", "internetGatewaySet").await?)
        }
        "AWS::EC2::EIP" => here(counted(region, "DescribeAddresses", "addressesSet").await?),
        "AWS::EC2::NatGateway" => gateways(region).await?,
        "AWS::EKS::Cluster" => here(clusters(region).await?),
        "AWS::S3::Bucket" => here(names::buckets(region).await?.len()),
        "AWS::CloudFormation::Stack" => here(stacks(region).await?),
        "AWS::IAM::Role" => of_account(region, "Roles").await?,
        "AWS::IAM::ManagedPolicy" => of_account(region, "Policies").await?,
        "AWS::IAM::InstanceProfile" => of_account(region, "InstanceProfiles").await?,
        // Policies on one role: a new role has none.
        _ => here(0),
    })
}

async fn counted(region: Region<'_>, action: &str, list: &str) -> Result<usize, Refused> {
    let pages = region.pages(Query::Ec2, action, Parameters::new()).await?;
    Ok(pages.iter().map(|page| all(page, list, |_| Some(())).len()).sum())
}

/// Gateways by zone: those of every zone of the region, full or empty.
async fn gateways(region: Region<'_>) -> Result<BTreeMap<String, u64>, Refused> {
    let (zones, subnets, gateways) = tokio::join!(
        region.pages(Query::Ec2, "DescribeAvailabilityZones", Parameters::new()),
        region.pages(Query::Ec2, "DescribeSubnets", Parameters::new()),
        region.pages(Query::Ec2, "DescribeNatGateways", Parameters::new()),
    );
    Ok(by_zone(&zones?, &subnets?, &gateways?))
}

fn by_zone(zones: &[String], subnets: &[String], gateways: &[String]) -> BTreeMap<String, u64> {
    let zone_names = zones.iter().flat_map(|page| {
        all(page, "availabilityZoneInfo", |zone| {
            // Gateways are made in ordinary zones only, not in cities and at masts.
            let ordinary = text(zone, "zoneType").is_none_or(|kind| kind == "availability-zone");
            ordinary.then(|| text(zone, "zoneName")).flatten()
        })
    });
    let mut used: BTreeMap<String, u64> = zone_names.map(|zone| (zone, 0)).collect();
    let zone_of: BTreeMap<String, String> = subnets
        .iter()
        .flat_map(|page| {
            all(page, "subnetSet", |subnet| {
                Some((text(subnet, "subnetId")?, text(subnet, "availabilityZone")?))
            })
        })
        .collect();
    for page in gateways {
        // One that failed or is gone is shown for an hour, and counts no more.
        let standing = all(page, "natGatewaySet", |gateway| {
            let state = text(gateway, "state")?;
            matches!(state.as_str(), "pending" | "available" | "deleting")
                .then(|| text(gateway, "subnetId"))
                .flatten()
        });
        for subnet in standing {
            if let Some(zone) = zone_of.get(&subnet) {
                *used.entry(zone.clone()).or_default() += 1;
            }
        }
    }
    used
}

async fn clusters(region: Region<'_>) -> Result<usize, Refused> {
    let mut count = 0;
    let mut next = String::new();
    loop {
        let path = format!("/clusters?maxResults=100{next}");
        let Some(page) = region.cluster_thing(&path, "ListClusters").await? else {
            return Ok(count);
        };
        count += page["clusters"].as_array().map_or(0, Vec::len);
        match page["nextToken"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => next = format!("&nextToken={}", crate::signed::encoded(token)),
            None => return Ok(count),
        }
    }
}

/// Stacks count until they are deleted.
async fn stacks(region: Region<'_>) -> Result<usize, Refused> {
    const COUNT: [&str; 14] = [
        "CREATE_IN_PROGRESS",
        "CREATE_FAILED",
        "CREATE_COMPLETE",
        "ROLLBACK_IN_PROGRESS",
        "ROLLBACK_FAILED",
        "ROLLBACK_COMPLETE",
        "DELETE_IN_PROGRESS",
        "DELETE_FAILED",
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE",
        "UPDATE_FAILED",
        "UPDATE_ROLLBACK_FAILED",
        "UPDATE_ROLLBACK_COMPLETE",
        "REVIEW_IN_PROGRESS",
    ];
    let filter = COUNT
        .iter()
        .enumerate()
        .map(|(at, status)| parameter(format!("StackStatusFilter.member.{}", at + 1), *status));
    let pages = region
        .pages(Query::CloudFormation, "ListStacks", filter.collect())
        .await?;
    Ok(pages
        .iter()
        .map(|page| all(page, "StackSummaries", |_| Some(())).len())
        .sum())
}

/// What IAM counts itself.
async fn of_account(region: Region<'_>, key: &str) -> Result<BTreeMap<String, u64>, Refused> {
    let page = region
        .of_the_account()
        .query(Query::Iam, "GetAccountSummary", &Parameters::new())
        .await?;
    Ok(BTreeMap::from([("the account".to_owned(), summed(&page, key))]))
}

fn summed(page: &str, key: &str) -> u64 {
    let entries = all(page, "SummaryMap", |entry| {
        (text(entry, "key")? == key).then(|| child(entry, "value")?.text()?.trim().parse().ok())
    });
    entries.into_iter().flatten().next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the EC2 API reference has them, shortened to what is read.
    const ZONES: &str = r#"<DescribeAvailabilityZonesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><availabilityZoneInfo>
      <item><zoneName>eu-west-1a</zoneName><zoneType>availability-zone</zoneType></item>
      <item><zoneName>eu-west-1b</zoneName><zoneType>availability-zone</zoneType></item>
      <item><zoneName>eu-west-1-dub-1a</zoneName><zoneType>local-zone</zoneType></item>
      </availabilityZoneInfo></DescribeAvailabilityZonesResponse>"#;
    const SUBNETS: &str = "<R><subnetSet><item><subnetId>subnet-1</subnetId><availabilityZone>eu-west-1a</availabilityZone></item></subnetSet></R>";
    const GATEWAYS: &str = "<R><natGatewaySet><item><subnetId>subnet-1</subnetId><state>available</state></item>\
      <item><subnetId>subnet-1</subnetId><state>deleted</state></item></natGatewaySet></R>";

    #[test]
    fn gateways_are_counted_by_zone_and_empty_zones_too() {
        let page = |page: &str| vec![page.to_owned()];
        let used = by_zone(&page(ZONES), &page(SUBNETS), &page(GATEWAYS));
        let expected = [("eu-west-1a".to_owned(), 1), ("eu-west-1b".to_owned(), 0)];
        assert_eq!(used, expected.into());
    }

    #[test]
    fn iam_counts_itself() {
        let page = "<GetAccountSummaryResponse xmlns='https://iam.amazonaws.com/doc/2010-05-08/'><GetAccountSummaryResult><SummaryMap>\
          <entry><key>RolesQuota</key><value>1000</value></entry><entry><key>Roles</key><value>42</value></entry>\
          </SummaryMap></GetAccountSummaryResult></GetAccountSummaryResponse>";
        assert_eq!(summed(page, "Roles"), 42);
        assert_eq!(summed(page, "Groups"), 0);
    }
}
