//! What a CloudFormation template promises: its parameters, resources and outputs.
//!
//! Read by the room that knows CloudFormation; used by rooms that only need the names.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The interface of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateInterface {
    /// What the template says it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Parameters, in the order of the file.
    pub parameters: IndexMap<String, TemplateParameter>,
    /// Resources by logical id, in the order of the file.
    pub resources: IndexMap<String, TemplateResource>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Whether a macro makes the template that is really used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_transform: bool,
}

/// One parameter of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateParameter {
    /// Whether the template has a default for it.
    pub has_default: bool,
    /// The default, as the text CloudFormation makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether CloudFormation hides its value (`NoEcho`).
    #[serde(default)]
    pub no_echo: bool,
    /// Whether its value is the name of an SSM parameter, whose value CloudFormation fetches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// The values it may take, when the template lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

/// One resource of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateResource {
    /// Its type, such as `AWS::S3::Bucket`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The condition under which it exists, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Logical ids of the resources it needs first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Whether CloudFormation keeps it, or a snapshot of it, when the stack goes (`DeletionPolicy`).
    #[serde(default)]
    pub kept: bool,
    /// Whether it is a snapshot that is kept, and the resource itself goes (`DeletionPolicy: Snapshot`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}
