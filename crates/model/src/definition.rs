//! `component.yaml`: what a component does, step by step.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::platform::ApiVersion;

pub use crate::assertion::{
    Assertion, CheckSpec, ConnectionCheck, ConnectionFrom, DnsCheck, Expected, HttpCheck, IamRoleCheck,
    IdentityCheck, LogsCheck, OidcCheck, PrometheusCheck, RecordType, SignInCheck, TlsCheck,
};
pub use crate::request::{RequestAuth, RequestCall, RequestLists, RequestResource, RequestSpec};

/// The kind of a definition file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ComponentKind {
    /// A component's definition.
    Component,
}

/// One `component.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionFile {
    /// Always `landfall.dev/v1`.
    pub api_version: ApiVersion,
    /// Always `Component`.
    pub kind: ComponentKind,
    /// What the definition is called.
    pub metadata: DefinitionMetadata,
    /// What it takes, does and gives.
    pub spec: DefinitionSpec,
}

/// What a definition is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionMetadata {
    /// The same as the definition's folder.
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,62}$"))]
    pub name: String,
    /// A name for people.
    #[serde(default)]
    pub title: String,
    /// One sentence: what it brings about.
    #[serde(default)]
    pub description: String,
}

/// What a definition takes, does and gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionSpec {
    /// Inputs by name; each is a JSON Schema (2020-12). One without `default` must be given.
    #[serde(default)]
    pub inputs: IndexMap<String, serde_json::Map<String, Value>>,
    /// What must hold between inputs, as far as their schemas cannot say it. Judged before anything runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSpec>,
    /// The steps. Their order comes from their references and `after`, not from the file.
    #[schemars(length(min = 1))]
    pub steps: Vec<StepDefinition>,
    /// What other components may refer to.
    #[serde(default)]
    pub outputs: IndexMap<String, OutputDefinition>,
    /// What `landfall open` shows of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenSpec>,
}

/// What `landfall open` shows of a component: an address, or a service in a cluster that is reached through its
/// API, and what to sign in with. Exactly one of `service` and `url` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenSpec {
    /// A service in a cluster, reached through the cluster's API without being exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<OpenService>,
    /// An address that answers by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What people sign in with at first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<OpenCredential>,
}

/// A service in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenService {
    /// The name of the EKS cluster.
    pub cluster: String,
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// The service's port.
    pub port: u16,
    /// How it is spoken to.
    #[serde(default)]
    pub scheme: OpenScheme,
    /// Where to begin, such as `/login`.
    #[serde(default = "default_open_path")]
    pub path: String,
}

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OpenScheme {
    /// In plain text, inside the encrypted connection to the cluster's API.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl OpenScheme {
    /// As an address has it.
    pub fn word(self) -> &'static str {
        match self {
            OpenScheme::Http => "http",
            OpenScheme::Https => "https",
        }
    }
}

/// Something to sign in with: a value everyone may know, or a key of a Secret in the service's cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenCredential {
    /// What it is called, such as `password`.
    pub label: String,
    /// The value, when it is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where it lies, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<OpenSecret>,
}

/// A key of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenSecret {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The key in it.
    pub key: String,
}

fn default_open_path() -> String {
    "/".to_owned()
}

/// Something that must hold between the inputs of a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// An expression over `inputs` and `platform` that must be true.
    pub that: bool,
    /// What to say when it is not; may contain expressions.
    pub otherwise: String,
    /// The way out; may contain expressions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub way_out: String,
    /// What follows when it does not hold.
    #[serde(default)]
    pub severity: RuleSeverity,
}

/// What follows when a rule does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RuleSeverity {
    /// There is no plan.
    #[default]
    Refuse,
    /// The plan says so.
    Warn,
}

/// One output of a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputDefinition {
    /// Its type, as JSON Schema names types.
    #[serde(rename = "type")]
    pub kind: OutputType,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Where it comes from, usually `${steps.NAME.outputs.OUTPUT}`.
    pub value: Value,
}

/// The type of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    Array,
    /// A mapping.
    Object,
}

/// One step. Exactly one of `stack`, `stackSet`, `objects`, `secret`, `request`, `files`, `entity`, `check` says what
/// it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepDefinition {
    /// Its name, unique in the definition.
    #[schemars(regex(pattern = "^[a-zA-Z][a-zA-Z0-9-]{0,40}$"))]
    pub name: String,
    /// What it does, for people.
    #[serde(default)]
    pub title: String,
    /// Steps to wait for although no value comes from them.
    #[serde(default)]
    pub after: Vec<String>,
    /// Left out when this is false. Must be known when planning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<bool>,
    /// Kept, and named as kept, by `destroy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    /// Something of which an account holds only one: used as it stands when someone else made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// One CloudFormation stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackSpec>,
    /// One template in many accounts and regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_set: Option<StackSetSpec>,
    /// Kubernetes objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsSpec>,
    /// A value generated once and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSpec>,
    /// Things kept by a web API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSpec>,
    /// A folder rendered from a skeleton.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSpec>,
    /// Entries for the software catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntitySpec>,
    /// An assertion, retried until a deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
}

/// The kind of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// One CloudFormation stack.
    Stack,
    /// One template in many accounts and regions.
    StackSet,
    /// Kubernetes objects.
    Objects,
    /// A value generated once and kept.
    Secret,
    /// Things kept by a web API.
    Request,
    /// A folder rendered from a skeleton.
    Files,
    /// Entries for the software catalog.
    Entity,
    /// An assertion.
    Check,
    /// What controllers left behind: no definition asks for it, only the plan of a teardown has it.
    Leftovers,
}

impl StepKind {
    /// Every kind a definition may ask for, with the key that names it in `component.yaml`.
    pub const ALL: [(StepKind, &'static str); 8] = [
        (StepKind::Stack, "stack"),
        (StepKind::StackSet, "stackSet"),
        (StepKind::Objects, "objects"),
        (StepKind::Secret, "secret"),
        (StepKind::Request, "request"),
        (StepKind::Files, "files"),
        (StepKind::Entity, "entity"),
        (StepKind::Check, "check"),
    ];

    /// The key that names it.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("leftovers", |(_, word)| word)
    }
}

/// Something an account holds only one of, looked up before the step's stack is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Existing {
    /// An IAM OpenID Connect provider.
    pub oidc_provider: ExistingOidcProvider,
    /// What the step gives when the thing is used as it stands; the same names as the stack's outputs.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
}

/// An IAM OpenID Connect provider, of which an account holds one per URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExistingOidcProvider {
    /// The issuer's URL, with `https://`.
    pub url: String,
    /// The audience that must be among its client ids.
    pub audience: String,
}

/// One CloudFormation stack, named `<platform>-<component>-<step>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StackSpec {
    /// The template's file in the definition's folder.
    pub template: String,
    /// Values for the template's parameters. Numbers and booleans become text; join lists.
    #[serde(default)]
    pub parameters: IndexMap<String, Value>,
    /// Another region than the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether CloudFormation refuses to delete the stack. `destroy` lifts it after confirmation.
    #[serde(default)]
    pub termination_protection: bool,
    /// Logical ids of buckets that are emptied, every version, before the stack is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty: Vec<String>,
}

/// One template in many accounts and regions, through a CloudFormation stack set named
/// `<platform>-<component>-<step>` in the platform's account and region. Exactly one of `accounts` and
/// `organizationalUnits` has something in it; both, and `regions`, must be known when planning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StackSetSpec {
    /// The template's file in the definition's folder.
    pub template: String,
    /// Values for the template's parameters, the same in every account and region.
    #[serde(default)]
    pub parameters: IndexMap<String, Value>,
    /// The accounts. Each must hold a role that the administration role may assume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[0-9]{12}$")))]
    pub accounts: Vec<String>,
    /// Organizational units, or the root, whose accounts get the template. AWS Organizations gives the
    /// permissions; its trusted access for StackSets must be on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^(ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}|r-[a-z0-9]{4,32})$")))]
    pub organizational_units: Vec<String>,
    /// The regions, in the order in which they are gone through; the platform's when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]$")))]
    pub regions: Vec<String>,
    /// With `accounts`: the role that CloudFormation assumes in the platform's account. Empty for
    /// `AWSCloudFormationStackSetAdministrationRole`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administration_role_arn: Option<String>,
    /// With `accounts`: the name of the role that the administration role assumes in each of them.
    #[serde(default = "default_execution_role")]
    #[schemars(regex(pattern = "^[a-zA-Z0-9_+=,.@-]{1,64}$"))]
    pub execution_role_name: String,
    /// With `organizationalUnits`: what happens when accounts join or leave them.
    #[serde(default)]
    pub auto_deployment: AutoDeployment,
    /// With `organizationalUnits`: whether the platform's account is the organization's management account
    /// (`self`) or registered as a delegated administrator.
    #[serde(default)]
    pub call_as: CallAs,
    /// In how many of a region's accounts it is worked at once.
    #[serde(default = "default_concurrent")]
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent_percentage: u8,
    /// In how many of a region's accounts it may fail before the rest is left alone.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub failure_tolerance_percentage: u8,
    /// Whether regions are gone through one after the other or all at once.
    #[serde(default)]
    pub region_concurrency: RegionConcurrency,
}

fn default_execution_role() -> String {
    "AWSCloudFormationStackSetExecutionRole".to_owned()
}

fn default_concurrent() -> u8 {
    100
}

/// What happens when accounts join or leave an organizational unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoDeployment {
    /// Whether accounts that join get the template, and those that leave lose it, without a run.
    #[serde(default)]
    pub enabled: bool,
    /// Whether what an account was given stays in it when it leaves.
    #[serde(default)]
    pub retain_stacks_on_account_removal: bool,
}

/// As whom an account works with stack sets of an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CallAs {
    /// As itself: the organization's management account.
    #[default]
    #[serde(rename = "self")]
    Own,
    /// As a delegated administrator.
    DelegatedAdmin,
}

/// Whether regions are gone through one after the other or all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RegionConcurrency {
    /// One after the other: what fails in the first is not tried in the next.
    #[default]
    Sequential,
    /// All at once.
    Parallel,
}

/// Kubernetes objects in one cluster, applied together and waited for until they are ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectsSpec {
    /// The name of the EKS cluster they live in.
    pub cluster: String,
    /// The manifests' files in the definition's folder, each with one or more objects. `${ }` stands for
    /// values in them; `kind` and the names must be known when planning.
    #[schemars(length(min = 1))]
    pub manifests: Vec<String>,
    /// The namespace of objects that name none. Objects that have no namespace by nature ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Kinds of objects that a controller among these looks after, such as `Ingress`. `destroy` removes
    /// every object of these kinds first, while the controller still lives to clean up behind them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// Takes fields over from whatever else manages them. Without it such a conflict fails the step; what people
    /// changed by hand is taken back in any case.
    #[serde(default)]
    pub force: bool,
    /// What the step gives, read from the objects once they are ready.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub outputs: IndexMap<String, ObjectOutput>,
    /// How long to wait until everything is ready, such as `10m`.
    #[serde(default = "default_ready_within")]
    #[schemars(regex(pattern = "^[0-9]+(s|m|h)$"))]
    pub within: String,
}

/// A text in one object, such as the address a load balancer was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectOutput {
    /// The object, as `Kind/name`; the first of that kind and name in the manifests.
    pub of: String,
    /// Where in it, such as `status.loadBalancer.ingress.0.hostname`.
    pub path: String,
}

fn default_ready_within() -> String {
    "10m".to_owned()
}

/// A value generated once, kept in AWS Secrets Manager, and never seen by Landfall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// How many characters are generated.
    #[serde(default = "default_secret_length")]
    #[schemars(range(min = 8, max = 4096))]
    pub length: u32,
    /// Leave punctuation out.
    #[serde(default)]
    pub exclude_punctuation: bool,
    /// Characters to leave out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exclude_characters: String,
    /// Days in which a deleted secret can be brought back; 0 deletes at once.
    #[serde(default = "default_recovery_days")]
    #[schemars(range(min = 0, max = 30))]
    pub recovery_days: u32,
}

fn default_secret_length() -> u32 {
    40
}

fn default_recovery_days() -> u32 {
    7
}

/// A folder rendered from a skeleton. Files named `*.tmpl` are rendered and lose the suffix;
/// all others are copied byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSpec {
    /// The skeleton's folder in the definition's folder.
    pub from: String,
    /// The folder to write, relative to the platform file. Must be known when planning.
    pub to: String,
    /// What `${values.NAME}` stands for in the skeleton.
    #[serde(default)]
    pub values: serde_json::Map<String, Value>,
    /// Commit what was written to the git repository the folder is (made when there is none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Entries for the software catalog, written as one multi-document `catalog-info.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntitySpec {
    /// The file to write, relative to the platform file. Must be known when planning.
    pub file: String,
    /// The entities, in Backstage's descriptor format.
    #[schemars(length(min = 1))]
    pub entities: Vec<serde_json::Map<String, Value>>,
}

/// Reads a duration as these files write it, `30s`, `5m` or `1h`; nothing else is one.
pub fn duration(text: &str) -> Option<std::time::Duration> {
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3600)]
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs)
}
