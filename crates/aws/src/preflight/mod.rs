//! What an account answers before the first change. Reads only, and decides nothing: what an answer means is
//! judged elsewhere, in the same words for every world.

mod dns;
mod names;
mod permissions;
mod quotas;
pub(crate) mod xml;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::question::{Answer, Certificate, Network, Question, Seen, Zone};
use landfall_model::work::TAG_PLATFORM;
use landfall_runner::{ObserveError, Preflight};
use serde_json::{Value, json};

use crate::account::Account;
use crate::ask::{CERTIFICATES, Query, Refused, Region, is_gone};
use crate::trouble::{Pace, Trouble};
use xml::{all, child, text};

/// Answers for one AWS account.
pub struct AwsPreflight {
    account: Arc<Account>,
}

impl AwsPreflight {
    /// Answers for this account.
    pub fn new(account: Arc<Account>) -> AwsPreflight {
        AwsPreflight { account }
    }

    fn region<'a>(&'a self, name: &'a str) -> Region<'a> {
        Region {
            account: &self.account,
            name,
            patient: false,
        }
    }
}

/// How often a question is asked when there were too many, or no answer came. A plan is not held up by more.
const TRIES: usize = 3;

#[async_trait]
impl Preflight for AwsPreflight {
    async fn ask(&self, question: &Question) -> Result<Answer, ObserveError> {
        let mut pace = Pace::new(Duration::from_millis(300), Duration::from_secs(2));
        for _ in 1..TRIES {
            match self.ask_once(question).await {
                Err(error) if is_passing(&error) => pace.wait().await,
                answer => return answer,
            }
        }
        self.ask_once(question).await
    }
}

fn is_passing(error: &ObserveError) -> bool {
    let trouble = error.source.downcast_ref::<Trouble>();
    trouble.is_some_and(Trouble::passes_by_itself)
}

impl AwsPreflight {
    async fn ask_once(&self, question: &Question) -> Result<Answer, ObserveError> {
        match question {
            Question::Permissions { actions } => {
                permissions::simulated(self.region(self.account.region()), actions).await
            }
            Question::Quota { quota, region } => {
                let answer = quotas::room(self.region(region), quota).await;
                answer.map_err(|refused| refused.observing("it could not be counted"))
            }
            Question::Networks { region } => {
                let networks = networks(self.region(region)).await;
                let networks = networks.map_err(|refused| refused.observing("they could not be listed"))?;
                Ok(Answer::Networks(networks))
            }
            Question::Name { kind, name, region } => {
                let answer = names::called(self.region(region), kind, name).await?;
                Ok(Answer::Name(answer))
            }
            Question::Zone { id } => self.zone(id).await,
            Question::Certificate { arn } => {
                let certificate = self.certificate(arn).await;
                let certificate =
                    certificate.map_err(|refused| refused.observing("it could not be described"))?;
                Ok(Answer::Certificate(certificate))
            }
        }
    }
}

async fn networks(region: Region<'_>) -> Result<Vec<Network>, Refused> {
    let pages = region.pages(Query::Ec2, "DescribeVpcs", Vec::new()).await?;
    Ok(pages.iter().flat_map(|page| networks_of(page)).collect())
}

/// The networks of a page of `DescribeVpcs`.
fn networks_of(page: &str) -> Vec<Network> {
    all(page, "vpcSet", |vpc| {
        let tag = |key: &str| {
            let tags = child(vpc, "tagSet")?;
            let tag = tags
                .children()
                .find(|tag| text(*tag, "key").as_deref() == Some(key))?;
            text(tag, "value")
        };
        let blocks = child(vpc, "cidrBlockAssociationSet").into_iter();
        let mut cidrs: Vec<String> = blocks
            .flat_map(|set| set.children())
            .filter(|block| {
                let state = child(*block, "cidrBlockState").and_then(|state| text(state, "state"));
                state.is_none_or(|state| state == "associated" || state == "associating")
            })
            .filter_map(|block| text(block, "cidrBlock"))
            .collect();
        if cidrs.is_empty() {
            cidrs.extend(text(vpc, "cidrBlock"));
        }
        Some(Network {
            id: text(vpc, "vpcId")?,
            name: tag("Name"),
            cidrs,
            platform: tag(TAG_PLATFORM),
        })
    })
}

impl AwsPreflight {
    async fn zone(&self, id: &str) -> Result<Answer, ObserveError> {
        let region = self.region(self.account.region()).of_the_account();
        let answer = region
            .get(
                "route53",
                &format!("/2013-04-01/hostedzone/{id}"),
                "GetHostedZone",
            )
            .await;
        let answer = match answer {
            Err(refused) if refused.trouble.is_code("NoSuchHostedZone") => None,
            answer => answer.map_err(|refused| refused.observing("it could not be read"))?,
        };
        let Some(answer) = answer else {
            return Ok(Answer::Zone(None));
        };
        // What cannot be read is no proof that there is none.
        let mut zone = zone_of(&answer)
            .ok_or_else(|| ObserveError::new("it could not be read", "there is no zone in the answer"))?;
        if !zone.private && self.account.endpoint().is_none() {
            zone.seen = dns::name_servers(&zone.name).await;
        }
        Ok(Answer::Zone(Some(zone)))
    }

    async fn certificate(&self, arn: &str) -> Result<Option<Certificate>, Refused> {
        // The region is the fourth part of an ARN.
        let region = arn.split(':').nth(3).unwrap_or_else(|| self.account.region());
        let body = json!({ "CertificateArn": arn });
        match self
            .region(region)
            .json(CERTIFICATES, "DescribeCertificate", &body)
            .await
        {
            // What cannot be read is no proof that there is none.
            Ok(answer) => match certificate_of(&answer["Certificate"]) {
                Some(certificate) => Ok(Some(certificate)),
                None => Err(Refused {
                    action: "acm:DescribeCertificate".to_owned(),
                    trouble: Trouble::of("InvalidAnswer", "there is no certificate in the answer"),
                }),
            },
            Err(refused) if is_gone(&refused.trouble) => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

/// The zone of an answer of `GetHostedZone`; nobody was asked yet who answers for it.
fn zone_of(answer: &str) -> Option<Zone> {
    let document = roxmltree::Document::parse(answer).ok()?;
    let named = |name: &str| document.descendants().find(|node| node.tag_name().name() == name);
    let zone = named("HostedZone")?;
    let servers = named("NameServers").into_iter();
    Some(Zone {
        name: text(zone, "Name")?.trim_end_matches('.').to_lowercase(),
        private: child(zone, "Config")
            .and_then(|config| text(config, "PrivateZone"))
            .as_deref()
            == Some("true"),
        servers: servers
            .flat_map(|servers| servers.children())
            .filter_map(|server| server.text())
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(str::to_owned)
            .collect(),
        seen: Seen::Unknown("an emulator's zones are found by no resolver".to_owned()),
    })
}

fn certificate_of(answer: &Value) -> Option<Certificate> {
    let names = answer["SubjectAlternativeNames"].as_array();
    let mut names: Vec<String> = names
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        names.extend(answer["DomainName"].as_str().map(str::to_owned));
    }
    Some(Certificate {
        status: answer["Status"].as_str()?.to_owned(),
        names,
    })
}

#[cfg(test)]
mod tests;
