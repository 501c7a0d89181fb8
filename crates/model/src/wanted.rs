//! What a platform file and its definitions ask for, checked and wired, with
//! expressions still in place: the part of a plan that later values flow through.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::definition::{Existing, StepKind};
use crate::finding::Finding;
use crate::id::{Digest, StepId};
use crate::template::TemplateInterface;

/// The few facts about a platform that every step may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The platform's name.
    pub name: String,
    /// Its AWS region.
    pub region: String,
    /// Its AWS account.
    pub account: String,
    /// Tags the platform file asks for.
    pub tags: BTreeMap<String, String>,
}

/// Everything a platform asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The platform.
    pub facts: Facts,
    /// The bucket for large templates, an expression or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_bucket: Option<String>,
    /// The bucket that records are kept in, when they are not kept beside the platform file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_bucket: Option<String>,
    /// Its components by name.
    pub components: IndexMap<String, WantedComponent>,
    /// Its steps, those left out by `when` not among them, each after all it waits for.
    pub steps: Vec<WantedStep>,
    /// Templates and skeleton files, by digest.
    pub contents: BTreeMap<Digest, String>,
    /// What the definitions' rules warn of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Finding>,
}

impl Wanted {
    /// The step with this id.
    pub fn step(&self, id: &StepId) -> Option<&WantedStep> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

/// How values reach and leave one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WantedComponent {
    /// Its definition's name.
    pub uses: String,
    /// Its inputs, defaults filled in; expressions over `components` and `platform`.
    pub inputs: Map<String, Value>,
    /// Its outputs; expressions over `inputs`, `steps` and `platform`.
    pub outputs: Map<String, Value>,
    /// What is opened of it; expressions as in outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Value>,
}

/// One step as the definition states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedStep {
    /// Which step.
    pub id: StepId,
    /// What it does, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Its kind.
    pub kind: StepKind,
    /// The kind's fields, expressions in place.
    pub spec: Value,
    /// Every step it waits for, for data or by `after`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// Whether `destroy` keeps it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain: bool,
    /// What may stand already, made by someone else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// A stack's template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<WantedTemplate>,
    /// A skeleton's files by their path in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skeleton: BTreeMap<String, Digest>,
}

/// A stack's template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WantedTemplate {
    /// Its file, as the definition names it.
    pub file: String,
    /// Its text, among the contents.
    pub digest: Digest,
    /// What it promises.
    pub interface: TemplateInterface,
    /// Whether it is too large to be handed over inline, and goes through the artifact bucket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub large: bool,
}
