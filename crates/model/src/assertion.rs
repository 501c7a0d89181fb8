//! Assertions: what a `check` step looks at.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An assertion, retried until it holds or the time is up. Exactly one of its kinds is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckSpec {
    /// Who the credentials belong to, and how long they last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityCheck>,
    /// A name resolves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsCheck>,
    /// An address answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// An OpenID Connect provider is ready for sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcCheck>,
    /// One IAM role has a name of this form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam_role: Option<IamRoleCheck>,
    /// A server's certificate is valid for its name, and stays so for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsCheck>,
    /// Prometheus measures something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// A text arrives in CloudWatch Logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogsCheck>,
    /// A pod can, or cannot, reach an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionCheck>,
    /// A person can sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInCheck>,
    /// How long to keep trying, such as `30s`, `5m` or `1h`.
    #[serde(default = "default_within")]
    #[schemars(regex(pattern = "^[0-9]+(s|m|h)$"))]
    pub within: String,
}

/// One assertion of a check, told apart by its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Assertion<'a> {
    /// Who the credentials belong to.
    Identity(&'a IdentityCheck),
    /// A name resolves.
    Dns(&'a DnsCheck),
    /// An address answers.
    Http(&'a HttpCheck),
    /// An OpenID Connect provider is ready.
    Oidc(&'a OidcCheck),
    /// There is such an IAM role.
    IamRole(&'a IamRoleCheck),
    /// A certificate is valid.
    Tls(&'a TlsCheck),
    /// Prometheus measures something.
    Prometheus(&'a PrometheusCheck),
    /// A text arrives in CloudWatch Logs.
    Logs(&'a LogsCheck),
    /// A pod can, or cannot, reach an address.
    Connection(&'a ConnectionCheck),
    /// A person can sign in.
    SignIn(&'a SignInCheck),
}

impl CheckSpec {
    /// The key that names each kind of assertion in `component.yaml`.
    pub const KINDS: [&'static str; 10] = [
        "identity",
        "dns",
        "http",
        "oidc",
        "iamRole",
        "tls",
        "prometheus",
        "logs",
        "connection",
        "signIn",
    ];

    /// The kinds as a sentence lists them: "`identity`, `dns`, … and `signIn`".
    pub fn kinds() -> String {
        let [first @ .., last] = Self::KINDS.map(|kind| format!("`{kind}`"));
        format!("{} and {last}", first.join(", "))
    }

    /// What is asserted; nothing when it is not exactly one thing.
    pub fn assertion(&self) -> Option<Assertion<'_>> {
        let CheckSpec {
            identity,
            dns,
            http,
            oidc,
            iam_role,
            tls,
            prometheus,
            logs,
            connection,
            sign_in,
            within: _,
        } = self;
        let mut asserted = [
            identity.as_ref().map(Assertion::Identity),
            dns.as_ref().map(Assertion::Dns),
            http.as_ref().map(Assertion::Http),
            oidc.as_ref().map(Assertion::Oidc),
            iam_role.as_ref().map(Assertion::IamRole),
            tls.as_ref().map(Assertion::Tls),
            prometheus.as_ref().map(Assertion::Prometheus),
            logs.as_ref().map(Assertion::Logs),
            connection.as_ref().map(Assertion::Connection),
            sign_in.as_ref().map(Assertion::SignIn),
        ]
        .into_iter()
        .flatten();
        let first = asserted.next();
        first.filter(|_| asserted.next().is_none())
    }
}

fn default_within() -> String {
    "2m".to_owned()
}

/// Who the credentials belong to, and how long they last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityCheck {
    /// The account they must belong to.
    #[schemars(regex(pattern = "^[0-9]{12}$"))]
    pub account: String,
    /// How long they must still last, when they expire at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+(s|m|h)$"))]
    pub minimum_lifetime: Option<String>,
    /// Whether long-lived access keys are refused.
    #[serde(default)]
    pub temporary: bool,
}

/// A name resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsCheck {
    /// The name.
    pub name: String,
    /// The record type.
    #[serde(default, rename = "type")]
    pub kind: RecordType,
    /// A value that must be among the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The server to ask, as `address:port`, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// A DNS record type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordType {
    /// An IPv4 address.
    #[default]
    A,
    /// An IPv6 address.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// Another name.
    #[serde(rename = "CNAME")]
    Cname,
    /// Text.
    #[serde(rename = "TXT")]
    Txt,
    /// A name server.
    #[serde(rename = "NS")]
    Ns,
}

/// An address answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// The address, `http://` or `https://`.
    pub url: String,
    /// The status that must come back.
    #[serde(default = "default_status")]
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// A text that must be in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

fn default_status() -> u16 {
    200
}

/// An OpenID Connect provider is ready for sign-in: its discovery document names it, and its keys are there
/// (source: OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcCheck {
    /// The issuer's URL, to which `/.well-known/openid-configuration` is added.
    pub issuer: String,
}

/// Exactly one IAM role has a name of this form. Gives its ARN, which others cannot know beforehand: the
/// roles of IAM Identity Center end in letters that AWS chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IamRoleCheck {
    /// The path below which to look, such as `/aws-reserved/sso.amazonaws.com/`.
    #[serde(default = "default_path_prefix")]
    #[schemars(regex(pattern = "^/([!-~]*/)?$"))]
    pub path_prefix: String,
    /// A regular expression that the role's name matches.
    pub name: String,
}

fn default_path_prefix() -> String {
    "/".to_owned()
}

/// A server's certificate is valid for its name, by the authorities that browsers trust, and stays so for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsCheck {
    /// The name the server is reached by, and that its certificate must be for.
    pub host: String,
    /// The port.
    #[serde(default = "default_tls_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// For how many days the certificate must still be valid.
    #[serde(default = "default_minimum_days")]
    #[schemars(range(max = 800))]
    pub minimum_days: u32,
}

fn default_tls_port() -> u16 {
    443
}

fn default_minimum_days() -> u32 {
    14
}

/// A query of Prometheus gives a number that is large enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusCheck {
    /// Where Prometheus' API is: the part before `/api/v1/query`.
    pub url: String,
    /// An instant query, in PromQL.
    pub query: String,
    /// What the largest of its values must be at least.
    #[serde(default = "default_at_least")]
    pub at_least: f64,
}

fn default_at_least() -> f64 {
    1.0
}

/// A text arrived in a log group of CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogsCheck {
    /// The log group's name.
    pub log_group: String,
    /// What to look for, in the filter pattern syntax of CloudWatch Logs. Empty for any event at all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pattern: String,
    /// Another region than the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How far to look back, such as `15m`.
    #[serde(default = "default_since")]
    #[schemars(regex(pattern = "^[0-9]+(s|m|h)$"))]
    pub since: String,
}

fn default_since() -> String {
    "15m".to_owned()
}

/// A pod with these labels can, or cannot, open a TCP connection. The pod is made for this and removed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionCheck {
    /// The name of the EKS cluster.
    pub cluster: String,
    /// Where the pod stands, and what it is taken for.
    pub from: ConnectionFrom,
    /// What it tries to reach, as `host:port`.
    #[schemars(regex(pattern = "^[^:/ ]+:[0-9]{1,5}$"))]
    pub to: String,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expected,
}

/// Where a pod stands, and what network policies and security groups take it for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionFrom {
    /// The namespace.
    pub namespace: String,
    /// The pod's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The pod's service account, when not `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// What must come of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Expected {
    /// It is made.
    #[default]
    Allowed,
    /// It is not made, whether refused or never answered.
    Refused,
}

/// A person can sign in: from the address that begins it over every redirect to a form that asks for a password; with
/// a user given, on to the callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignInCheck {
    /// The address that begins it: a page that demands a sign-in, or the provider's authorization endpoint with its
    /// query.
    pub start: String,
    /// Where it ends: an address that begins so.
    pub callback: String,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password, as a dynamic reference to a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}
