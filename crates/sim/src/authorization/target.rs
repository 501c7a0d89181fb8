//! What a call is about: the ARNs that IAM judges it for.
//!
//! `reference.json` says which kinds of resources each action is judged for, and how their ARNs look (source:
//! AWS service authorization reference). The names in them are those of what really stands in this world, so
//! that a policy written for other names does not fit.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// A resource of a stack, as it stands or is about to.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) kind: &'a str,
    /// Its name or id.
    pub(crate) physical: &'a str,
    /// Its properties, with the names and ids of what they refer to.
    pub(crate) properties: &'a Value,
    pub(crate) partition: &'a str,
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
}

/// An ARN, and whether it is the resource's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) arn: String,
    pub(crate) own: bool,
}

#[derive(Deserialize)]
struct Reference {
    /// The kind of resource that a type is to IAM: service and name.
    types: BTreeMap<String, String>,
    /// How the ARNs of each kind look.
    arns: BTreeMap<String, String>,
    actions: Vec<Actions>,
}

#[derive(Deserialize)]
struct Actions {
    service: String,
    /// The kinds of resources they are judged for: `r` for those that are always there, `t` for those whose
    /// tags may matter.
    on: BTreeMap<String, String>,
    actions: Vec<String>,
}

static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    serde_json::from_str(include_str!("reference.json")).expect("the reference is part of this crate")
});

static JUDGED_FOR: LazyLock<BTreeMap<String, &'static BTreeMap<String, String>>> = LazyLock::new(|| {
    let all = REFERENCE.actions.iter().flat_map(|group| {
        group
            .actions
            .iter()
            .map(|action| (format!("{}:{action}", group.service), &group.on))
    });
    all.collect()
});

/// Some part of an ARN that nobody knows before.
const MADE_UP: &str = "0a1b2c3d4e5f6a7b8";

/// What properties are called that refer to a kind of resource otherwise than by its own name.
const CALLED: [(&str, &[&str]); 14] = [
    ("elastic-ip", &["allocationid"]),
    ("security-group", &["groupid", "securitygroups"]),
    ("vpc", &["resourceid"]),
    (
        "key",
        &[
            "targetkeyid",
            "kmskeyid",
            "kmskeyarn",
            "kmsmasterkeyid",
            "keyarn",
            "kmskey",
        ],
    ),
    ("function", &["targetfunctionarn", "servicetoken"]),
    ("bucket", &["s3bucket", "logdestination"]),
    ("object", &["s3bucket"]),
    ("loadbalancer/app/", &["loadbalancerarn"]),
    ("listener/app", &["listenerarn"]),
    ("delivery-source", &["deliverysourcename"]),
    ("distribution", &["resourcearn"]),
    ("Secret", &["secretid", "credentialarn"]),
    ("function alias", &["functionname"]),
    ("function version", &["functionname"]),
];

/// Types whose things get an id when they are made, whatever their template calls them.
const WITH_IDS: [&str; 17] = [
    "AWS::APS::Workspace",
    "AWS::APS::Scraper",
    "AWS::AccessAnalyzer::Analyzer",
    "AWS::ApiGatewayV2::Api",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudFront::CachePolicy",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::OriginRequestPolicy",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::Cognito::UserPool",
    "AWS::DLM::LifecyclePolicy",
    "AWS::EC2::LaunchTemplate",
    "AWS::EFS::FileSystem",
    "AWS::GuardDuty::Detector",
    "AWS::KMS::Key",
    "AWS::Route53::HostedZone",
];

impl Target<'_> {
    /// Everything that an action on this resource is judged for. `*` where IAM knows no resource.
    pub(crate) fn about(&self, action: &str) -> Vec<About> {
        let service = action.split(':').next().unwrap_or_default();
        if service == "apigateway" {
            return vec![self.own_about(self.gateway(action))];
        }
        // EKS makes the template that its machines start from, and tags it as it was told.
        if self.kind == "AWS::EKS::Nodegroup" && action == "ec2:CreateTags" {
            return vec![other(self.arn_of("ec2 launch-template", MADE_UP))];
        }
        if self.kind == "AWS::XRay::TransactionSearchConfig"
            && let Some(fixed) = self.of_transaction_search(service)
        {
            return fixed;
        }
        let Some(kinds) = JUDGED_FOR.get(action).filter(|kinds| !kinds.is_empty()) else {
            return vec![other("*".to_owned())];
        };
        let own_kind = REFERENCE.types.get(self.kind).map(String::as_str);
        let own = own_kind.filter(|own| {
            own.strip_prefix(service)
                .and_then(|own| own.strip_prefix(' '))
                .is_some_and(|own| kinds.contains_key(own))
        });
        let mut found: Vec<About> = own
            .and_then(|_| self.own_arn())
            .map(|arn| self.own_about(arn))
            .into_iter()
            .collect();
        // Tags are put on the resource itself, whatever else could carry them.
        if !found.is_empty() && action.contains("Tag") {
            return found;
        }
        for (kind, flags) in *kinds {
            let full = format!("{service} {kind}");
            if own == Some(full.as_str()) {
                continue;
            }
            let named = self.referred(kind);
            let required = flags.contains('r');
            if named.is_empty() && required {
                found.push(other(self.arn_of(&full, MADE_UP)));
            }
            found.extend(named.iter().map(|name| other(self.arn_of(&full, name))));
        }
        if found.is_empty()
            && let Some(kind) = kinds.keys().next()
        {
            found.push(other(self.arn_of(&format!("{service} {kind}"), MADE_UP)));
        }
        found
    }

    /// X-Ray keeps spans in log groups and hears of changes by a channel, whose names it gives itself. Source: "Enable
    /// Transaction Search" in the guide of CloudWatch.
    fn of_transaction_search(&self, service: &str) -> Option<Vec<About>> {
        let names: &[&str] = match service {
            "logs" => &["log-group:aws/spans", "log-group:/aws/application-signals/data"],
            "cloudtrail" => &["channel/aws-service-channel/application-signals"],
            _ => return None,
        };
        let ending = if service == "logs" {
            ":log-stream:default"
        } else {
            "/default"
        };
        let (partition, region, account) = (self.partition, self.region, self.account);
        let arn = |name: &&str| format!("arn:{partition}:{service}:{region}:{account}:{name}{ending}");
        Some(names.iter().map(|name| other(arn(name))).collect())
    }

    fn own_about(&self, arn: String) -> About {
        About { arn, own: true }
    }

    /// The ARN of the resource itself, when there are such.
    pub(crate) fn own_arn(&self) -> Option<String> {
        if self.kind == "AWS::ApiGatewayV2::Api" {
            return Some(self.gateway("apigateway:GET"));
        }
        let form = REFERENCE.arns.get(REFERENCE.types.get(self.kind)?)?;
        let id = if WITH_IDS.contains(&self.kind) {
            format!("{MADE_UP}-{}", self.physical.len())
        } else {
            self.physical.to_owned()
        };
        let name = match self.kind {
            "AWS::SecretsManager::Secret" => format!("{id}-AbCdEf"),
            "AWS::KMS::Alias" => id.trim_start_matches("alias/").to_owned(),
            "AWS::SSM::Parameter" => id.trim_start_matches('/').to_owned(),
            "AWS::SES::EmailIdentity" => self.text("EmailIdentity").unwrap_or(id),
            "AWS::IAM::OIDCProvider" => {
                let url = self.text("Url").unwrap_or(id);
                url.trim_start_matches("https://")
                    .trim_end_matches('/')
                    .to_owned()
            }
            _ => id,
        };
        let path = self.text("Path").unwrap_or_else(|| "/".to_owned());
        let with_path = format!("{}{name}", path.trim_start_matches('/'));
        Some(self.filled(
            form,
            |hole| {
                if hole.ends_with("WithPath") {
                    return Some(with_path.clone());
                }
                self.text(hole).filter(|_| hole != "Name" && hole != "Id")
            },
            &name,
        ))
    }

    /// The ARN of another resource, by its name or ARN.
    fn arn_of(&self, kind: &str, name: &str) -> String {
        if name.starts_with("arn:") {
            return name.to_owned();
        }
        let form = REFERENCE.arns.get(kind).map_or("*", String::as_str);
        let name = name.trim_start_matches("alias/").trim_start_matches('/');
        // Some have the name of what they belong to in front, such as a cluster's.
        self.filled(
            form,
            |hole| {
                self.text(hole)
                    .filter(|_| hole == "ClusterName" && name == MADE_UP)
            },
            name,
        )
    }

    /// A form with its holes filled: what is given first, then `main` once, in the hole that is for a name,
    /// then something made up.
    fn filled(&self, form: &str, given: impl Fn(&str) -> Option<String>, main: &str) -> String {
        let form = form
            .replace("${Partition}", self.partition)
            .replace("${Region}", self.region)
            .replace("${Account}", self.account);
        let holes: Vec<&str> = form
            .split("${")
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .collect();
        let open: Vec<&str> = holes
            .iter()
            .copied()
            .filter(|hole| given(hole).is_none())
            .collect();
        let named = open
            .iter()
            .find(|hole| hole.ends_with("Name"))
            .or(open.first())
            .copied();
        let mut text = form.clone();
        for hole in holes {
            let value = match given(hole) {
                Some(value) => value,
                None if Some(hole) == named => main.to_owned(),
                None => MADE_UP.to_owned(),
            };
            text = text.replacen(&format!("${{{hole}}}"), &value, 1);
        }
        text
    }

    /// API Gateway judges paths of its own API.
    fn gateway(&self, action: &str) -> String {
        let api = self.text("ApiId").unwrap_or_else(|| MADE_UP.to_owned());
        let domain = self
            .text("DomainName")
            .unwrap_or_else(|| self.physical.to_owned());
        let verb = action.split(':').nth(1).unwrap_or_default();
        let (all, one) = match self.kind.rsplit("::").next().unwrap_or_default() {
            "Api" => ("/apis".to_owned(), MADE_UP),
            "DomainName" => ("/domainnames".to_owned(), domain.as_str()),
            "ApiMapping" => (format!("/domainnames/{domain}/apimappings"), MADE_UP),
            "VpcLink" => ("/vpclinks".to_owned(), MADE_UP),
            noun => (format!("/apis/{api}/{}s", noun.to_lowercase()), MADE_UP),
        };
        let path = match verb {
            "POST" => all,
            // Tags are put there.
            "PUT" | "TagResource" | "UntagResource" => format!("/tags/arn%3Aaws%3Aapigateway{MADE_UP}"),
            _ => format!("{all}/{one}"),
        };
        format!("arn:{}:apigateway:{}::{path}", self.partition, self.region)
    }

    fn text(&self, property: &str) -> Option<String> {
        let wanted = plain(property);
        let own = self.properties.as_object()?;
        let (_, value) = own.iter().find(|(name, _)| plain(name) == wanted)?;
        value.as_str().map(str::to_owned)
    }

    /// The names or ARNs of a kind of resource that the properties refer to.
    pub(crate) fn referred(&self, kind: &str) -> Vec<String> {
        if kind == "instance-profile" && self.kind == "AWS::EKS::Cluster" {
            return vec![format!("eks-{}-{}-{MADE_UP}", self.region, self.physical)];
        }
        let noun = plain(kind);
        let endings = ["id", "ids", "name", "names", "arn", "arns", "s", ""];
        let mut called: Vec<String> = endings.iter().map(|ending| format!("{noun}{ending}")).collect();
        let others = CALLED.iter().filter(|(of, _)| *of == kind);
        called.extend(others.flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned())));
        let mut found = Vec::new();
        search(self.properties, &called, &mut found);
        found.sort();
        found.dedup();
        found
    }
}

fn other(arn: String) -> About {
    About { arn, own: false }
}

/// A name without capitals and what joins its words.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Every text below a property of one of these names. Documents of policies are not looked into.
fn search(value: &Value, called: &[String], found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter().filter(|(name, _)| !name.ends_with("Document")) {
                if called.contains(&plain(name)) {
                    texts(value, found);
                }
                search(value, called, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| search(item, called, found)),
        _ => {}
    }
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        _ => {}
    }
}
