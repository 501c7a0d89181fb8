//! A step with its values filled in, as far as they are known: what a provider is given.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::{CheckSpec, Existing, ObjectOutput, SecretSpec, StepKind};
use crate::id::StepId;
use crate::template::TemplateInterface;
use crate::wanted::Facts;

/// A value that may have to wait for other steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Known<T> {
    /// Known now.
    Value(T),
    /// Known once these steps are done.
    After(BTreeSet<StepId>),
}

impl<T> Known<T> {
    /// The value, when it is known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Known::Value(value) => Some(value),
            Known::After(_) => None,
        }
    }

    /// The steps it waits for; none when it is known.
    pub fn waits_for(&self) -> impl Iterator<Item = &StepId> {
        match self {
            Known::Value(_) => None,
            Known::After(steps) => Some(steps),
        }
        .into_iter()
        .flatten()
    }
}

/// A step with its values filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which step.
    pub id: StepId,
    /// The platform it belongs to.
    pub facts: Facts,
    /// What to do.
    pub work: Work,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// One CloudFormation stack.
    Stack(Box<StackWork>),
    /// Kubernetes objects.
    Objects(Box<ObjectsWork>),
    /// A generated secret.
    Secret(SecretWork),
    /// Files in a folder.
    Files(FilesWork),
    /// A catalog file.
    Entity(FilesWork),
    /// An assertion.
    Check(Known<Box<CheckSpec>>),
}

/// One CloudFormation stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackWork {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The template's text.
    pub template: String,
    /// What the template promises.
    pub interface: TemplateInterface,
    /// Values for its parameters.
    pub parameters: BTreeMap<String, Known<String>>,
    /// Whether CloudFormation refuses to delete it.
    pub termination_protection: bool,
    /// Buckets to empty before it goes, by logical id.
    pub empty: Vec<String>,
    /// What may stand already, made by someone else.
    pub existing: Option<Existing>,
    /// The bucket for a template over the inline limit.
    pub artifact_bucket: Option<Known<String>>,
}

/// Kubernetes objects in one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectsWork {
    /// The cluster's name.
    pub cluster: Known<String>,
    /// The objects, in the order of the manifests.
    pub objects: Vec<ObjectWork>,
    /// Kinds of objects that a controller among these looks after.
    pub controls: Vec<String>,
    /// What the step gives.
    pub outputs: IndexMap<String, ObjectOutput>,
    /// How long to wait until everything is ready, in seconds.
    pub within_s: u64,
}

/// One Kubernetes object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectWork {
    /// Its API, such as `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, when the manifest or the step names one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// All of it.
    pub body: Known<Value>,
}

/// A generated secret.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretWork {
    /// Its name in Secrets Manager.
    pub name: String,
    /// How it is generated.
    pub spec: SecretSpec,
}

/// Files in a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesWork {
    /// The folder, relative to the platform file.
    pub root: String,
    /// Their text by path below the folder.
    pub files: Known<BTreeMap<String, String>>,
    /// The message of the commit to make, when one is wanted.
    pub commit: Option<String>,
}

impl Step {
    /// Its kind.
    pub fn kind(&self) -> StepKind {
        match self.work {
            Work::Stack(_) => StepKind::Stack,
            Work::Objects(_) => StepKind::Objects,
            Work::Secret(_) => StepKind::Secret,
            Work::Files(_) => StepKind::Files,
            Work::Entity(_) => StepKind::Entity,
            Work::Check(_) => StepKind::Check,
        }
    }

    /// The steps its values still wait for; empty when everything is known.
    pub fn waits_for(&self) -> BTreeSet<StepId> {
        match &self.work {
            Work::Stack(stack) => {
                let bucket = stack.artifact_bucket.iter().flat_map(Known::waits_for);
                stack
                    .parameters
                    .values()
                    .flat_map(Known::waits_for)
                    .chain(bucket)
                    .cloned()
                    .collect()
            }
            Work::Objects(work) => {
                let bodies = work.objects.iter().flat_map(|object| object.body.waits_for());
                work.cluster.waits_for().chain(bodies).cloned().collect()
            }
            Work::Secret(_) => BTreeSet::new(),
            Work::Files(files) | Work::Entity(files) => files.files.waits_for().cloned().collect(),
            Work::Check(check) => check.waits_for().cloned().collect(),
        }
    }

    /// The tags everything made by this step carries: the platform's, and the three that say whose it is.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.facts.tags.clone();
        for (key, value) in [
            (TAG_PLATFORM, self.facts.name.as_str()),
            (TAG_COMPONENT, self.id.component()),
            (TAG_STEP, self.id.step()),
        ] {
            tags.insert(key.to_owned(), value.to_owned());
        }
        tags
    }
}

/// The tag that names the platform something belongs to.
pub const TAG_PLATFORM: &str = "landfall:platform";
/// The tag that names the component.
pub const TAG_COMPONENT: &str = "landfall:component";
/// The tag that names the step.
pub const TAG_STEP: &str = "landfall:step";
