//! Asking services that have no SDK crate here, in one region: whatever has a query API, a JSON API, or answers
//! a plain GET.

use landfall_cloudformation::resolve::partition;
use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, ObserveError};
use serde_json::{Value, json};

use crate::account::Account;
use crate::signed::{Call, element, encoded};
use crate::trouble::{Trouble, patiently};

/// A service with a query API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Ec2,
    Balancers,
    ClassicBalancers,
    Iam,
    CloudFormation,
}

impl Query {
    fn version(self) -> &'static str {
        match self {
            Query::Ec2 => "2016-11-15",
            Query::Balancers => "2015-12-01",
            Query::ClassicBalancers => "2012-06-01",
            Query::Iam => "2010-05-08",
            Query::CloudFormation => "2010-05-15",
        }
    }

    /// Its name in host names, signatures and IAM actions alike.
    fn name(self) -> &'static str {
        match self {
            Query::Ec2 => "ec2",
            Query::Balancers | Query::ClassicBalancers => "elasticloadbalancing",
            Query::Iam => "iam",
            Query::CloudFormation => "cloudformation",
        }
    }

    /// What the token of the next page is called in the answer and in the next request.
    fn tokens(self) -> (&'static str, &'static str) {
        match self {
            Query::Ec2 => ("nextToken", "NextToken"),
            Query::Balancers | Query::ClassicBalancers => ("NextMarker", "Marker"),
            Query::Iam => ("Marker", "Marker"),
            Query::CloudFormation => ("NextToken", "NextToken"),
        }
    }
}

/// A service with a JSON API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json {
    /// In host names.
    host: &'static str,
    /// In signatures.
    signed: &'static str,
    /// In IAM actions.
    iam: &'static str,
    /// Before the action, in the header that names it.
    target: &'static str,
    /// The version of the protocol that it insists on.
    version: &'static str,
}

impl Json {
    /// A service that is called the same everywhere.
    const fn new(name: &'static str, target: &'static str) -> Json {
        Json {
            host: name,
            signed: name,
            iam: name,
            target,
            version: "1.1",
        }
    }

    /// The same, in the protocol's older version.
    const fn older(self) -> Json {
        Json {
            version: "1.0",
            ..self
        }
    }
}

pub(crate) const TAGGING: Json = Json {
    iam: "tag",
    ..Json::new("tagging", "ResourceGroupsTaggingAPI_20170126")
};
pub(crate) const LOGS: Json = Json::new("logs", "Logs_20140328");
pub(crate) const SECRETS: Json = Json::new("secretsmanager", "secretsmanager");
pub(crate) const KEYS: Json = Json::new("kms", "TrentService");
pub(crate) const QUOTAS: Json = Json::new("servicequotas", "ServiceQuotasV20190624");
pub(crate) const IMAGES: Json = Json {
    host: "api.ecr",
    ..Json::new("ecr", "AmazonEC2ContainerRegistry_V20150921")
};
pub(crate) const QUEUES: Json = Json::new("sqs", "AmazonSQS").older();
pub(crate) const TABLES: Json = Json::new("dynamodb", "DynamoDB_20120810").older();
pub(crate) const CERTIFICATES: Json = Json::new("acm", "CertificateManager");
pub(crate) const POOLS: Json = Json::new("cognito-idp", "AWSCognitoIdentityProviderService");

/// A call that had no good answer, and the permission it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The IAM action.
    pub(crate) action: String,
    pub(crate) trouble: Trouble,
}

impl Refused {
    /// As the reason why the world could not be looked at.
    pub(crate) fn observing(self, doing: &str) -> ObserveError {
        let denied = matches!(self.trouble, Trouble::Denied(_));
        let mut error = self.trouble.observing(doing);
        if denied {
            error.way_out = Some(format!(
                "allow `{}` to the role in use, then run the command again",
                self.action
            ));
        }
        error
    }

    /// As the reason why something could not be removed.
    pub(crate) fn failing(self, doing: &str) -> ApplyError {
        match self.trouble {
            Trouble::Denied(message) => {
                Failure::new(format!("{doing}: the credentials are not allowed to: {message}"))
                    .way_out(format!(
                        "allow `{}` to the role in use, then run `landfall destroy` again",
                        self.action
                    ))
                    .into()
            }
            trouble => trouble.failing(doing),
        }
    }
}

/// Whether AWS says that a thing is not there. EC2 has a code of its own for every type
/// (`InvalidVolume.NotFound`), load balancing too (`TargetGroupNotFound`).
pub(crate) fn is_gone(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::NotFound(_) => true,
        Trouble::Other { code, .. } => code.contains("NotFound"),
        _ => false,
    }
}

/// Parameters of a query, by name.
pub(crate) type Parameters = Vec<(String, String)>;

pub(crate) fn parameter(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

/// One region, and whether to wait for answers there.
#[derive(Clone, Copy)]
pub(crate) struct Region<'a> {
    pub(crate) account: &'a Account,
    pub(crate) name: &'a str,
    /// A search waits throttling out; a sweep is asked again anyway.
    pub(crate) patient: bool,
}

/// The host at which a service of a region answers.
pub(crate) fn service_host(service: &str, region: &str) -> String {
    let is_global = matches!(service, "iam" | "route53");
    match region {
        _ if region.starts_with("cn-") && service == "iam" => "iam.cn-north-1.amazonaws.com.cn".to_owned(),
        _ if region.starts_with("cn-") && is_global => format!("{service}.amazonaws.com.cn"),
        _ if region.starts_with("us-gov-") && is_global => format!("{service}.us-gov.amazonaws.com"),
        _ if is_global => format!("{service}.amazonaws.com"),
        _ if region.starts_with("cn-") => format!("{service}.{region}.amazonaws.com.cn"),
        _ => format!("{service}.{region}.amazonaws.com"),
    }
}

impl Region<'_> {
    /// The ARN of a thing of EC2, whose answers have none.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        format!(
            "arn:{}:{service}:{}:{}:{resource}",
            partition(self.name),
            self.name,
            self.account.id()
        )
    }

    /// The ARN of a thing of a service that has no regions.
    pub(crate) fn arn_of_the_account(&self, service: &str, resource: &str) -> String {
        self.arn(service, resource)
            .replacen(&format!(":{}:", self.name), "::", 1)
    }

    /// Where a service of this region answers.
    pub(crate) fn address(&self, service: &str) -> String {
        self.account.address(&service_host(service, self.name))
    }

    /// The region that services of the whole account answer for, in the partition of this one.
    pub(crate) fn of_the_account(self) -> Self {
        let name = match self.name {
            region if region.starts_with("cn-") => "cn-north-1",
            region if region.starts_with("us-gov-") => "us-gov-west-1",
            _ => "us-east-1",
        };
        Region { name, ..self }
    }

    async fn send(&self, call: &Call<'_>) -> Result<String, Trouble> {
        let answer = if self.patient {
            patiently(None, || self.account.send(call)).await?
        } else {
            self.account.send(call).await?
        };
        Ok(answer.text())
    }

    /// Calls an action of a query API.
    pub(crate) async fn query(
        &self,
        api: Query,
        action: &str,
        parameters: &Parameters,
    ) -> Result<String, Refused> {
        let mut body = format!("Action={action}&Version={}", api.version());
        for (name, value) in parameters {
            body.push_str(&format!("&{}={}", encoded(name), encoded(value)));
        }
        let call = Call {
            service: api.name(),
            region: self.name,
            method: "POST",
            url: format!("{}/", self.address(api.name())),
            headers: vec![(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            )],
            body: body.into_bytes(),
        };
        self.send(&call).await.map_err(|trouble| Refused {
            action: format!("{}:{action}", api.name()),
            trouble,
        })
    }

    /// Every page of a list. Empty when an emulator does not know it, see [`Region::is_lacking`].
    pub(crate) async fn pages(
        &self,
        api: Query,
        action: &str,
        parameters: Parameters,
    ) -> Result<Vec<String>, Refused> {
        let (answered, asked) = api.tokens();
        let mut pages = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut parameters = parameters.clone();
            parameters.extend(token.take().map(|token| parameter(asked, token)));
            match self.query(api, action, &parameters).await {
                Err(refused) if self.is_lacking(&refused.trouble) => return Ok(pages),
                page => pages.push(page?),
            }
            token = pages
                .last()
                .and_then(|page| element(page, answered))
                .filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(pages);
            }
        }
    }

    /// Calls an action of a JSON API.
    pub(crate) async fn json(&self, api: Json, action: &str, body: &Value) -> Result<Value, Refused> {
        let call = Call {
            service: api.signed,
            region: self.name,
            method: "POST",
            url: format!("{}/", self.address(api.host)),
            headers: vec![
                ("content-type", format!("application/x-amz-json-{}", api.version)),
                ("x-amz-target", format!("{}.{action}", api.target)),
            ],
            body: body.to_string().into_bytes(),
        };
        let answer = self.send(&call).await.map_err(|trouble| Refused {
            action: format!("{}:{action}", api.iam),
            trouble,
        })?;
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Every page of a list; `token` is what the next page's token is called, the same in both directions.
    /// Empty when an emulator does not know it, see [`Region::is_lacking`].
    pub(crate) async fn json_pages(
        &self,
        api: Json,
        action: &str,
        body: Value,
        token: &str,
    ) -> Result<Vec<Value>, Refused> {
        let mut pages: Vec<Value> = Vec::new();
        let mut body = body;
        loop {
            match self.json(api, action, &body).await {
                Err(refused) if self.is_lacking(&refused.trouble) => return Ok(pages),
                page => pages.push(page?),
            }
            let next = pages.last().and_then(|page| page[token].as_str());
            match next.filter(|next| !next.is_empty()) {
                None => return Ok(pages),
                Some(next) => body[token] = json!(next),
            }
        }
    }

    /// Reads something of EKS, or none when it is not there.
    pub(crate) async fn cluster_thing(&self, path: &str, action: &str) -> Result<Option<Value>, Refused> {
        let answer = self.get("eks", path, action).await?;
        Ok(answer.map(|answer| serde_json::from_str(&answer).unwrap_or_default()))
    }

    /// Reads something from a service that answers a plain GET, or none when it is not there.
    pub(crate) async fn get(
        &self,
        service: &str,
        path: &str,
        action: &str,
    ) -> Result<Option<String>, Refused> {
        let call = Call {
            service,
            region: self.name,
            method: "GET",
            url: format!("{}{path}", self.address(service)),
            headers: Vec::new(),
            body: Vec::new(),
        };
        match self.send(&call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(trouble) if is_gone(&trouble) || self.is_lacking(&trouble) => Ok(None),
            Err(trouble) => Err(Refused {
                action: format!("{service}:{action}"),
                trouble,
            }),
        }
    }

    /// Whether the answer is an emulator's way to say that it has no such service: then nothing of that
    /// kind can stand in it. AWS itself answers so only to a call that is wrong, which is a bug of ours,
    /// and a bug must not pass for "nothing left".
    pub(crate) fn is_lacking(&self, trouble: &Trouble) -> bool {
        let lacks = match trouble {
            Trouble::Other { code, .. } => {
                matches!(
                    code.as_str(),
                    "InvalidAction" | "UnknownOperationException" | "UnknownOperation" | "NotImplemented"
                )
            }
            _ => false,
        };
        lacks && self.account.endpoint().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named() {
        let refused = Refused {
            action: "ec2:DescribeVolumes".to_owned(),
            trouble: Trouble::of("UnauthorizedOperation", "You are not authorized"),
        };
        let error = refused
            .clone()
            .observing("could not list the volumes of eu-west-1");
        assert_eq!(
            error.way_out.as_deref(),
            Some("allow `ec2:DescribeVolumes` to the role in use, then run the command again")
        );
        let ApplyError::Failed(failure) = refused.failing("deleting it") else {
            panic!("a missing permission is a failure");
        };
        assert!(failure.way_out.unwrap().contains("ec2:DescribeVolumes"));
    }

    #[test]
    fn every_services_word_for_gone_is_understood() {
        for code in [
            "InvalidVolume.NotFound",
            "TargetGroupNotFound",
            "ResourceNotFoundException",
            "InvalidGroup.NotFound",
        ] {
            assert!(is_gone(&Trouble::of(code, "")), "{code}");
        }
        assert!(!is_gone(&Trouble::of("DependencyViolation", "")));
    }
}
