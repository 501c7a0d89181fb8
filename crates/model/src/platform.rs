//! `platform.yaml`: what one platform is made of.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "landfall.dev/v1")]
    V1,
}

/// The kind of a platform file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlatformKind {
    /// A platform.
    Platform,
}

/// One `platform.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformFile {
    /// Always `landfall.dev/v1`.
    pub api_version: ApiVersion,
    /// Always `Platform`.
    pub kind: PlatformKind,
    /// What the platform is called.
    pub metadata: PlatformMetadata,
    /// What it is made of.
    pub spec: PlatformSpec,
}

/// What a platform is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformMetadata {
    /// The platform's name: the first part of every stack's name, so it is short and never changes.
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,29}$"))]
    pub name: String,
}

/// What a platform is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformSpec {
    /// The AWS region, such as `us-east-1`.
    #[schemars(regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]$"))]
    pub region: String,
    /// The AWS account, twelve digits in quotes. Credentials of any other account are refused.
    #[schemars(regex(pattern = "^[0-9]{12}$"))]
    pub account: String,
    /// Tags put on everything that can carry them.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The bucket that templates over 51,200 bytes go through; may refer to a component's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_bucket: Option<String>,
    /// The bucket in this region that journal, inventory and lock are kept in, so that several people can work
    /// on the platform; a plain name. Until it exists they are kept beside this file, and moved once it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"))]
    pub records_bucket: Option<String>,
    /// The components, by the name they have in this platform.
    #[schemars(extend("minProperties" = 1))]
    pub components: IndexMap<String, ComponentUse>,
}

/// One component of a platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentUse {
    /// The definition: a folder under `components/` beside this file, or one that comes with Landfall.
    pub uses: String,
    /// Values for the definition's inputs. `${components.NAME.OUTPUT}` refers to another component.
    #[serde(default)]
    pub with: serde_json::Map<String, Value>,
    /// Components to wait for although no value comes from them.
    #[serde(default)]
    pub after: Vec<String>,
}
