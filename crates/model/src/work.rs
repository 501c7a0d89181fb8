//! A step with its values filled in, as far as they are known: what a provider is given.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::{
    AutoDeployment, CallAs, CheckSpec, Existing, ObjectOutput, RegionConcurrency, RequestAuth,
    RequestResource, SecretSpec, StepKind,
};
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
    /// One template in many accounts and regions.
    StackSet(Box<StackSetWork>),
    /// Kubernetes objects.
    Objects(Box<ObjectsWork>),
    /// A generated secret.
    Secret(SecretWork),
    /// Things kept by a web API.
    Request(Box<RequestWork>),
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

/// One template in many accounts and regions.
#[derive(Clone, Debug, PartialEq)]
pub struct StackSetWork {
    /// The stack set's name.
    pub name: String,
    /// The region it is looked after in: the platform's.
    pub region: String,
    /// The template's text.
    pub template: String,
    /// What the template promises.
    pub interface: TemplateInterface,
    /// Values for its parameters.
    pub parameters: BTreeMap<String, Known<String>>,
    /// Where it goes, and who allows that.
    pub targets: Targets,
    /// The regions, in the order in which they are gone through.
    pub regions: Vec<String>,
    /// In how many of a region's accounts it is worked at once, in percent.
    pub max_concurrent_percentage: u8,
    /// In how many of a region's accounts it may fail before the rest is left alone, in percent.
    pub failure_tolerance_percentage: u8,
    /// Whether regions are gone through one after the other.
    pub region_concurrency: RegionConcurrency,
    /// The bucket for a template over the inline limit.
    pub artifact_bucket: Option<Known<String>>,
}

/// Where a stack set goes, and who allows that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Named accounts, by roles that were made in them (self-managed permissions).
    Accounts {
        /// The accounts.
        ids: Vec<String>,
        /// The role in the platform's account; none for the one with the usual name.
        administration_role: Option<Known<String>>,
        /// The name of the role in each of the accounts.
        execution_role: String,
    },
    /// All accounts of organizational units, as the organization allows (service-managed permissions).
    Units {
        /// The organizational units, or the root.
        ids: Vec<String>,
        /// What happens when accounts join or leave them.
        auto_deployment: AutoDeployment,
        /// As whom the platform's account works with them.
        call_as: CallAs,
    },
}

impl Targets {
    /// The accounts or the organizational units.
    pub fn ids(&self) -> &[String] {
        match self {
            Targets::Accounts { ids, .. } | Targets::Units { ids, .. } => ids,
        }
    }

    /// As whom the platform's account works with the stack set.
    pub fn call_as(&self) -> CallAs {
        match self {
            Targets::Accounts { .. } => CallAs::Own,
            Targets::Units { call_as, .. } => *call_as,
        }
    }
}

impl StackSetWork {
    /// Everywhere it goes, as `account/region` or `unit/region`, region by region.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let ids = self.targets.ids();
        self.regions
            .iter()
            .flat_map(move |region| ids.iter().map(move |id| (id.as_str(), region.as_str())))
    }
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
    /// Whether fields are taken over from whatever else manages them.
    pub force: bool,
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

/// Things kept by a web API.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestWork {
    /// The address that all paths are below.
    pub url: Known<String>,
    /// How to sign in.
    pub auth: Known<Option<RequestAuth>>,
    /// The things, one for each item of a list.
    pub resources: Vec<ResourceWork>,
    /// How long to keep trying, in seconds.
    pub within_s: u64,
}

/// One thing kept by a web API.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceWork {
    /// Its name; as it is written, while that is not known.
    pub name: String,
    /// All of it.
    pub spec: Known<Box<RequestResource>>,
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
            Work::StackSet(_) => StepKind::StackSet,
            Work::Objects(_) => StepKind::Objects,
            Work::Secret(_) => StepKind::Secret,
            Work::Request(_) => StepKind::Request,
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
            Work::StackSet(set) => {
                let role = match &set.targets {
                    Targets::Accounts {
                        administration_role, ..
                    } => administration_role.as_ref(),
                    Targets::Units { .. } => None,
                };
                set.parameters
                    .values()
                    .chain(set.artifact_bucket.iter())
                    .chain(role)
                    .flat_map(Known::waits_for)
                    .cloned()
                    .collect()
            }
            Work::Objects(work) => {
                let bodies = work.objects.iter().flat_map(|object| object.body.waits_for());
                work.cluster.waits_for().chain(bodies).cloned().collect()
            }
            Work::Secret(_) => BTreeSet::new(),
            Work::Request(work) => {
                let resources = work
                    .resources
                    .iter()
                    .flat_map(|resource| resource.spec.waits_for());
                let url = work.url.waits_for().chain(work.auth.waits_for());
                url.chain(resources).cloned().collect()
            }
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
