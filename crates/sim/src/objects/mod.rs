//! Kubernetes objects in a simulated world: one set for each `objects` step.

mod apply;
mod desired;
mod remove;

use std::sync::Arc;

use async_trait::async_trait;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::provider::{
    Applied, Change, Effect, Observed, Outputs, Owned, PropertyChange, Removed, Standing,
};
use landfall_model::work::{ObjectsWork, Step, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Key, LABELS, Object};
use crate::random::Random;
use crate::trouble::Trouble;
use crate::world::World;
use desired::{Desired, differences};

/// Carries out `objects` steps in a simulated world.
pub struct SimObjects {
    world: Arc<World>,
}

/// The annotation that says what a step's objects look after.
const CONTROLS: &str = "landfall.dev/controls";

/// Kinds a controller elsewhere may have to clean up after.
const LOOKED_AFTER: &[&str] = &["Ingress", "PersistentVolumeClaim"];

fn work(step: &Step) -> &ObjectsWork {
    match &step.work {
        Work::Objects(work) => work,
        other => unreachable!("objects are only given objects steps, not {other:?}"),
    }
}

/// Whose an object is, as its labels say: the platform and the step.
fn owner(object: &Object) -> Option<(&str, StepId)> {
    let [platform, component, step] = LABELS.map(|(label, _)| object.label(label));
    Some((platform?, StepId::new(component?, step?)))
}

/// The objects of a step that stand.
fn of_step<'a>(
    cluster: &'a Cluster,
    platform: &'a str,
    step: &'a StepId,
) -> impl Iterator<Item = (&'a Key, &'a Object)> {
    cluster
        .objects
        .iter()
        .filter(move |(_, object)| owner(object).is_some_and(|(of, id)| of == platform && id == *step))
}

/// Changes whenever the objects do.
fn fingerprint<'a>(objects: impl Iterator<Item = (&'a Key, &'a Object)>) -> String {
    let mut count = 0;
    let mut sum = 0_u64;
    for (key, object) in objects {
        let number = format!(
            "{}/{}/{}",
            object.uid,
            object.generation,
            object.deleting.is_some()
        );
        let mut random = Random::of(0, &[&key.group, &key.kind, &key.namespace, &key.name, &number]);
        sum = sum.wrapping_add(random.next());
        count += 1;
    }
    format!("APPLIED@{count} objects@{sum:016x}")
}

/// The kinds of an object that a controller may have to clean up after.
fn held(key: &Key, object: &Object) -> Option<String> {
    let custom = key.group.contains('.') && !key.group.ends_with(".k8s.io")
        || key.group == "gateway.networking.k8s.io";
    let matters = LOOKED_AFTER.contains(&key.kind.as_str())
        || custom
        || key.kind == "Service" && object.spec()["type"] == "LoadBalancer";
    if matters {
        return Some(key.kind.clone());
    }
    (!object.own_claims().is_empty()).then(|| "PersistentVolumeClaim".to_owned())
}

/// How to find a step's objects again.
fn owned<'a>(
    step: &StepId,
    platform: &str,
    cluster: &Cluster,
    objects: impl Iterator<Item = (&'a Key, &'a Object)>,
) -> Owned {
    let mut list = Vec::new();
    let mut holds = Vec::new();
    let mut controls: Vec<String> = Vec::new();
    for (key, object) in objects {
        list.push(json!({
            "apiVersion": object.api_version(),
            "kind": key.kind,
            "namespace": (!key.namespace.is_empty()).then_some(&key.namespace),
            "name": key.name,
        }));
        holds.extend(held(key, object));
        if key.kind == "Application" {
            holds.push(Owned::ANYTHING.to_owned());
        }
        let said = object.annotation(CONTROLS).unwrap_or_default();
        controls.extend(said.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned));
    }
    for list in [&mut holds, &mut controls] {
        list.sort();
        list.dedup();
    }
    let address = json!({
        "platform": platform, "cluster": cluster.name, "region": cluster.region, "objects": list,
    });
    Owned {
        holds,
        controls,
        ..Owned::new(step.clone(), StepKind::Objects, address)
    }
}

/// What a step gives, as far as the objects have it yet.
fn outputs(cluster: &Cluster, work: &ObjectsWork) -> Outputs {
    let found = work.outputs.iter().filter_map(|(name, output)| {
        let (kind, object) = output.of.split_once('/')?;
        let object = work
            .objects
            .iter()
            .find(|one| one.kind == kind && one.name == object)?;
        let key = Key::new(
            &object.api_version,
            kind,
            object.namespace.as_deref(),
            &object.name,
        );
        let object = cluster.objects.get(&key)?;
        let mut path = output.path.split('.').peekable();
        let mut value = match path.next_if_eq(&"status") {
            Some(_) => &object.status,
            None => object.body.as_ref(),
        };
        for part in path {
            value = match part.parse::<usize>() {
                Ok(number) if value.is_array() => value.get(number)?,
                _ => value.get(part)?,
            };
        }
        (!value.is_null()).then(|| (name.clone(), value.clone()))
    });
    found.collect()
}

/// Why a step must not touch an object that stands: it belongs to another one.
fn foreign(key: &Key, object: &Object, platform: &str, step: &StepId) -> Option<String> {
    let (other, of) = owner(object)?;
    let said = key.said();
    if other != platform {
        return Some(format!(
            "the {said} belongs to the platform `{other}`; rename this platform's, or remove the other"
        ));
    }
    (of != *step).then(|| format!("the {said} belongs to the step `{of}`; name it in one step only"))
}

impl SimObjects {
    /// Objects in this world's clusters.
    pub fn new(world: Arc<World>) -> SimObjects {
        SimObjects { world }
    }
}

#[async_trait]
impl Provider for SimObjects {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let work = work(step);
        let named = work.cluster.value();
        let (platform, region) = (step.facts.name.as_str(), step.facts.region.as_str());
        let keys = desired::keys(work);
        self.world
            .call(None, |state, _| {
                // A name that waits for other steps is not needed to find what was made before.
                let cluster = match named {
                    Some(name) => state.cluster(region, name),
                    None => state.clusters.iter().find(|cluster| {
                        cluster.region == region && of_step(cluster, platform, &step.id).next().is_some()
                    }),
                };
                let Some(cluster) = cluster else {
                    return Ok(Observed::absent());
                };
                let others = keys.iter().find_map(|key| {
                    let object = cluster.objects.get(key)?;
                    foreign(key, object, platform, &step.id)
                });
                if let Some(why) = others {
                    return Ok(Observed {
                        standing: Standing::Foreign { why },
                        fingerprint: "FOREIGN".to_owned(),
                        ..Observed::absent()
                    });
                }
                let stand = || of_step(cluster, platform, &step.id);
                if stand().next().is_none() {
                    return Ok(Observed::absent());
                }
                let ending =
                    stand().find(|(key, object)| key.kind == "Namespace" && object.deleting.is_some());
                Ok(Observed {
                    standing: match ending {
                        Some((key, _)) => Standing::Busy {
                            state: format!("the namespace {} is Terminating", key.name),
                        },
                        None => Standing::Present {
                            state: "APPLIED".to_owned(),
                        },
                    },
                    outputs: outputs(cluster, work),
                    fingerprint: fingerprint(stand()),
                    owned: Some(owned(&step.id, platform, cluster, stand())),
                })
            })
            .await
            .map_err(|trouble| trouble.observing(&format!("could not look at the objects of {}", step.id)))
    }

    async fn preview(&self, step: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        let work = work(step);
        let doing = "could not ask what would change of the objects";
        let name = work.cluster.value().map(String::as_str).unwrap_or_default();
        let wanted = desired::all(step, work).map_err(|why| Trouble::Refused(why).observing(doing))?;
        let (platform, region) = (step.facts.name.as_str(), step.facts.region.as_str());
        self.world
            .call(None, |state, _| {
                let Some(cluster) = state.cluster(region, name) else {
                    return Ok(Vec::new());
                };
                let mut changes: Vec<Change> = wanted.iter().filter_map(|one| change(cluster, one)).collect();
                let unwanted = of_step(cluster, platform, &step.id)
                    .filter(|(key, _)| !wanted.iter().any(|one| one.key == **key));
                changes.extend(unwanted.map(|(key, _)| Change {
                    effect: Effect::Remove,
                    subject: key.name.clone(),
                    kind: key.kind.clone(),
                    properties: Vec::new(),
                }));
                Ok(changes)
            })
            .await
            .map_err(|trouble| trouble.observing(doing))
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        self.world
            .call(None, |state, _| {
                let mut found = Vec::new();
                for cluster in &state.clusters {
                    let mut steps: Vec<StepId> = cluster
                        .objects
                        .values()
                        .filter_map(owner)
                        .filter(|(of, _)| *of == platform)
                        .map(|(_, step)| step)
                        .collect();
                    steps.sort();
                    steps.dedup();
                    for step in steps {
                        found.push(owned(&step, platform, cluster, of_step(cluster, platform, &step)));
                    }
                }
                Ok(found)
            })
            .await
            .map_err(|trouble| trouble.observing("could not list the objects in the account's clusters"))
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let address = remove::Address::of(owned);
        self.world
            .call(None, |state, _| {
                let cluster = state.cluster(address.region, address.cluster);
                Ok(cluster
                    .is_some_and(|cluster| of_step(cluster, address.platform, &owned.step).next().is_some()))
            })
            .await
            .map_err(|trouble| {
                let doing = format!(
                    "could not look at the objects in the cluster `{}`",
                    address.cluster
                );
                trouble.observing(&doing)
            })
    }

    async fn apply(&self, step: &Step, _: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        self.apply_all(step, work(step), progress).await
    }

    async fn remove(&self, owned: &Owned, _: &Intent, progress: &Progress) -> Result<Removed, ApplyError> {
        self.remove_all(owned, progress).await
    }

    async fn quiesce(
        &self,
        owned: &Owned,
        _: &Intent,
        progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        self.quiesce_all(owned, progress).await
    }

    async fn renew(&self) -> Result<(), String> {
        self.world.renewed()
    }
}

/// What applying one object would change.
fn change(cluster: &Cluster, wanted: &Desired) -> Option<Change> {
    let Desired { key, body, .. } = wanted;
    let mut change = Change {
        effect: Effect::Add,
        subject: key.name.clone(),
        kind: key.kind.clone(),
        properties: Vec::new(),
    };
    if let Some(object) = cluster.objects.get(key) {
        let nothing = Value::Null;
        let before = object.applied.as_deref().unwrap_or(&nothing);
        change.effect = Effect::Modify;
        differences("", body, &object.body, before, &mut change.properties);
        if change.properties.is_empty() {
            return None;
        }
    }
    Some(change)
}

/// A value as text; plain ones as they are.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn property(path: &str, before: &Value, after: &Value) -> PropertyChange {
    PropertyChange {
        path: path.to_owned(),
        before: shown(before),
        after: shown(after),
        replaces: false,
    }
}
