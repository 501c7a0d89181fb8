//! The set of a step's objects in a cluster, as KEP-3659 describes it: one ConfigMap in `kube-system` says which
//! kinds the set has, and a label on every object that it belongs to the set. So a step's objects are found again
//! without its definition, by us and by others.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream;
use landfall_model::StepId;
use landfall_model::work::{Step, TAG_COMPONENT, TAG_PLATFORM, TAG_STEP};
use serde_json::{Value, json};

use crate::digest;
use crate::discovery::Discovery;
use crate::key::{GroupKind, Key};
use crate::link::{APPLY, Link};
use crate::trouble::{FOREIGN, Refusal, Trouble};

/// Names the set an object belongs to.
pub(crate) const PART_OF: &str = "applyset.kubernetes.io/part-of";
const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// The annotation that says which kinds a step's objects look after.
const CONTROLS: &str = "landfall.dev/controls";
/// Where the parents are.
const HOME: &str = "kube-system";

/// The labels that say whose an object is, with the tags they stand for.
pub(crate) const LABELS: [(&str, &str); 3] = [
    ("landfall.dev/platform", TAG_PLATFORM),
    ("landfall.dev/component", TAG_COMPONENT),
    ("landfall.dev/step", TAG_STEP),
];

/// How many lists are asked for at once.
const AT_ONCE: usize = 8;

/// Whose an object is, as its labels say: the platform and the step.
pub(crate) fn owner(object: &Value) -> Option<(&str, StepId)> {
    let [platform, component, step] = LABELS.map(|(label, _)| object["metadata"]["labels"][label].as_str());
    Some((platform?, StepId::new(component?, step?)))
}

/// Whether an object only looks as if it were of a set. Controllers copy the labels of an object to what they make for
/// it (of an ExternalSecret to its Secret, of a Service to its Endpoints), and who takes such a copy for a member
/// deletes it as soon as no manifest names it. What was applied by us says so in its managed fields; an object without
/// any tells nothing, and is believed.
pub(crate) fn is_copy(object: &Value) -> bool {
    let managers = object["metadata"]["managedFields"].as_array();
    let managers = managers.map(Vec::as_slice).unwrap_or_default();
    let applied = |one: &Value| one["manager"] == crate::MANAGER && one["operation"] == "Apply";
    !managers.is_empty() && !managers.iter().any(applied)
}

/// One step's set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) platform: String,
    pub(crate) step: StepId,
}

/// What stands of a set.
#[derive(Default)]
pub(crate) struct Members {
    /// The ConfigMap that stands for the set.
    pub(crate) parent: Option<Value>,
    pub(crate) objects: BTreeMap<Key, Value>,
}

impl Set {
    pub(crate) fn of(step: &Step) -> Set {
        Set {
            platform: step.facts.name.clone(),
            step: step.id.clone(),
        }
    }

    /// The set that a parent stands for.
    pub(crate) fn of_parent(parent: &Value) -> Option<Set> {
        let (platform, step) = owner(parent)?;
        Some(Set {
            platform: platform.to_owned(),
            step,
        })
    }

    /// Names of objects have no capitals; two steps that differ by nothing else are told apart by the parent's labels,
    /// and the second is refused.
    fn name(&self) -> String {
        let name = format!(
            "landfall.{}.{}.{}",
            self.platform,
            self.step.component(),
            self.step.step()
        );
        name.to_lowercase()
    }

    pub(crate) fn parent_path(&self) -> String {
        format!("/api/v1/namespaces/{HOME}/configmaps/{}", self.name())
    }

    /// What names the ConfigMap that stands for it.
    pub(crate) fn parent_key(&self) -> Key {
        Key {
            namespace: HOME.to_owned(),
            kind: "ConfigMap".to_owned(),
            group: String::new(),
            name: self.name(),
        }
    }

    /// The id of the set, from the name of its parent as the KEP has it: name, namespace, kind, group.
    pub(crate) fn id(&self) -> String {
        let hash = digest::sha256_url(&format!("{}.{HOME}.ConfigMap.", self.name()));
        format!("applyset-{hash}-v1")
    }

    /// The labels of everything in it.
    pub(crate) fn labels(&self) -> [(&'static str, &str); 4] {
        [
            ("app.kubernetes.io/managed-by", "landfall"),
            (LABELS[0].0, &self.platform),
            (LABELS[1].0, self.step.component()),
            (LABELS[2].0, self.step.step()),
        ]
    }

    /// What stands of it: objects of the kinds that the parent names, and of `kinds`.
    pub(crate) async fn members(
        &self,
        link: &Link,
        discovery: &Discovery,
        kinds: impl IntoIterator<Item = GroupKind>,
    ) -> Result<Members, Trouble> {
        let parent = link.get(&self.parent_path()).await?;
        // Another platform's step of the same name has the same parent, and so the same label.
        let parent = parent.filter(|parent| self.may_have(parent));
        let mut all: BTreeSet<GroupKind> = kinds.into_iter().collect();
        all.extend(parent.iter().flat_map(kinds_of));
        let selector = format!("{PART_OF}={}", self.id());
        let listed = list_all(link, discovery, all, &selector).await?;
        let ours = listed
            .into_iter()
            .filter(|object| self.may_have(object) && !is_copy(object));
        let objects = ours.map(|object| (Key::of(&object), object)).collect();
        Ok(Members { parent, objects })
    }

    /// Whether nothing says that an object is somebody else's.
    pub(crate) fn may_have(&self, object: &Value) -> bool {
        owner(object).is_none_or(|(platform, step)| platform == self.platform && step == self.step)
    }

    /// Writes the parent: the kinds and namespaces of these objects, `more` kinds, and what is looked after.
    pub(crate) async fn write_parent(
        &self,
        link: &Link,
        keys: &BTreeSet<Key>,
        more: &[GroupKind],
        controls: &[String],
    ) -> Result<(), Trouble> {
        let kinds = keys.iter().map(|key| key.group_kind().text());
        let kinds: BTreeSet<String> = kinds.chain(more.iter().map(GroupKind::text)).collect();
        let namespaces: BTreeSet<&str> = keys
            .iter()
            .map(|key| key.namespace.as_str())
            .filter(|namespace| !namespace.is_empty() && *namespace != HOME)
            .collect();
        let mut annotations = json!({
            TOOLING: "landfall/v1",
            KINDS: kinds.into_iter().collect::<Vec<_>>().join(","),
            NAMESPACES: namespaces.into_iter().collect::<Vec<_>>().join(","),
        });
        if !controls.is_empty() {
            annotations[CONTROLS] = controls.join(",").into();
        }
        let mut labels: Value = self
            .labels()
            .into_iter()
            .map(|(label, value)| (label, value.to_owned()))
            .collect();
        labels[ID] = self.id().into();
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": self.name(), "namespace": HOME, "labels": labels, "annotations": annotations },
        });
        let path = format!(
            "{}?fieldManager={}&force=true",
            self.parent_path(),
            crate::MANAGER
        );
        link.put(http::Method::PATCH, path, APPLY, &body).await.map(drop)
    }

    /// Refuses to work on a set whose parent another platform has made.
    pub(crate) async fn refuse_others(&self, link: &Link) -> Result<(), Trouble> {
        let Some(parent) = link.get(&self.parent_path()).await? else {
            return Ok(());
        };
        match foreign(&Key::of(&parent), &parent, self) {
            Some(why) => Err(Refusal::known(FOREIGN, why).into()),
            None => Ok(()),
        }
    }
}

/// Every object of these kinds that a selector selects. Kinds that the cluster does not know have none.
pub(crate) async fn list_all(
    link: &Link,
    discovery: &Discovery,
    kinds: impl IntoIterator<Item = GroupKind>,
    selector: &str,
) -> Result<Vec<Value>, Trouble> {
    let known: Vec<_> = kinds
        .into_iter()
        .filter_map(|kind| discovery.preferred(&kind))
        .collect();
    let query = [("labelSelector", selector)];
    let lists = known.into_iter().map(|resource| link.list(resource, "", &query));
    // Collected first: a closure over borrows does not outlive its stream otherwise.
    let lists: Vec<_> = lists.collect();
    let mut answers = stream::iter(lists).buffered(AT_ONCE);
    let mut found = Vec::new();
    while let Some(answer) = answers.next().await {
        found.extend(answer?);
    }
    Ok(found)
}

/// The parents of all sets of a platform.
pub(crate) async fn parents(
    link: &Link,
    discovery: &Discovery,
    platform: &str,
) -> Result<Vec<Value>, Trouble> {
    let Some(maps) = discovery.core("", "ConfigMap") else {
        return Ok(Vec::new());
    };
    let selector = format!("{ID},{}={platform}", LABELS[0].0);
    link.list(maps, HOME, &[("labelSelector", &selector)]).await
}

/// The kinds that a parent names.
pub(crate) fn kinds_of(parent: &Value) -> Vec<GroupKind> {
    let listed = parent["metadata"]["annotations"][KINDS]
        .as_str()
        .unwrap_or_default();
    listed
        .split(',')
        .filter(|text| !text.is_empty())
        .map(GroupKind::parse)
        .collect()
}

/// The kinds of objects that a set's objects look after.
pub(crate) fn controls_of(parent: &Value) -> Vec<String> {
    let listed = parent["metadata"]["annotations"][CONTROLS]
        .as_str()
        .unwrap_or_default();
    listed
        .split(',')
        .filter(|kind| !kind.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Why a step must not touch an object that stands: it belongs to somebody else.
pub(crate) fn foreign(key: &Key, object: &Value, set: &Set) -> Option<String> {
    let said = key.said();
    if let Some((other, of)) = owner(object) {
        if other != set.platform {
            return Some(format!(
                "the {said} belongs to the platform `{other}`; rename this platform's, or remove the other"
            ));
        }
        return (of != set.step)
            .then(|| format!("the {said} belongs to the step `{of}`; name it in one step only"));
    }
    let metadata = &object["metadata"];
    if let Some(other) = metadata["labels"][PART_OF]
        .as_str()
        .filter(|other| *other != set.id())
    {
        return Some(format!(
            "the {said} belongs to the ApplySet `{other}` of another tool; take it out there (remove its label {PART_OF}), or \
             name another here"
        ));
    }
    // Taking one over would mean to delete, one day, what others have put into it.
    if key.kind == "Namespace" && key.group.is_empty() {
        return Some(format!(
            "the {said} stands already and was not made here: a teardown would take along whatever others have in it. Take it out \
             of these manifests and leave it to whoever made it, or name another one"
        ));
    }
    let tracking = metadata["annotations"]["argocd.argoproj.io/tracking-id"].as_str()?;
    let application = tracking.split(':').next().unwrap_or(tracking);
    Some(format!(
        "the {said} belongs to the Argo CD Application `{application}`; leave it to one of the two: take it out of that \
         Application's source, or out of these manifests"
    ))
}
