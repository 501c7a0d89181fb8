//! The truth about the world, for those who watch it: what stands, whoever made it. Nothing here is used
//! by what sweeps.

use std::collections::BTreeMap;

use crate::cluster::Status;
use crate::thing::INTERFACE;
use crate::world::World;

/// A cluster as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The network it is in, by id.
    pub network: Option<String>,
    /// Whether it answers.
    pub active: bool,
    /// How many machines can run something in it.
    pub nodes: usize,
    /// Its objects, as `Kind namespace/name`, with what they wait for, if anything.
    pub objects: BTreeMap<String, Option<String>>,
}

/// Something that no stack's template names: what controllers, services and machines made for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingView {
    /// Its type, in CloudFormation's words.
    pub kind: String,
    /// Its ARN, or its id where it has none.
    pub id: String,
    /// Its region.
    pub region: String,
    /// The network it is in, by id.
    pub network: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Who made it.
    pub maker: String,
    /// What it was made for.
    pub purpose: String,
    /// Whether it goes by itself, only not at once.
    pub going: bool,
}

impl World {
    /// The clusters that stand, by name.
    pub fn clusters(&self) -> Vec<ClusterView> {
        let (state, now) = self.at();
        let mut views: Vec<ClusterView> = state
            .clusters
            .iter()
            .map(|cluster| ClusterView {
                name: cluster.name.clone(),
                region: cluster.region.clone(),
                network: cluster.network.clone(),
                active: cluster.status == Status::Active,
                nodes: state.nodes(cluster.uid, now),
                objects: cluster
                    .api
                    .iter()
                    .map(|(key, _)| (key.said(), cluster.unready(key, now)))
                    .collect(),
            })
            .collect();
        views.sort_by(|a, b| (&a.name, &a.region).cmp(&(&b.name, &b.region)));
        views
    }

    /// When something happens next without anybody asking for it, by the world's clock. Where nothing does, the world is
    /// at rest.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.at().0.next_due()
    }

    /// Whether a step has objects in clusters, and all of them are ready.
    pub fn objects_ready(&self, component: &str, step: &str) -> bool {
        let (state, now) = self.at();
        let mut any = false;
        for cluster in &state.clusters {
            let of_step = cluster.api.iter().filter(|(_, object)| {
                let labels = &object["metadata"]["labels"];
                labels["landfall.dev/component"] == component && labels["landfall.dev/step"] == step
            });
            for (key, _) in of_step {
                if cluster.unready(key, now).is_some() {
                    return false;
                }
                any = true;
            }
        }
        any
    }

    /// One object of a cluster, as `kubectl get -o json` would show it.
    pub fn object(
        &self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<serde_json::Value> {
        let (state, _) = self.at();
        let cluster = state.clusters.iter().find(|one| one.name == cluster)?;
        let key = cluster.find(kind, namespace, name)?;
        cluster.get(&key).map(|object| object.as_ref().clone())
    }

    /// The networks that stand, as their ids and regions.
    pub fn networks(&self) -> Vec<(String, String)> {
        let (state, _) = self.at();
        let all = state.networks.iter();
        all.map(|one| (one.id.clone(), one.region.clone())).collect()
    }

    /// Everything that no stack's template names, in the order it was made.
    pub fn things(&self) -> Vec<ThingView> {
        let (state, _) = self.at();
        let all = state.things.values();
        all.map(|thing| ThingView {
            kind: thing.kind.to_owned(),
            id: thing.id.clone(),
            region: thing.region.clone(),
            network: thing.network.clone(),
            tags: thing.tags.clone(),
            maker: thing.maker.to_owned(),
            purpose: thing.purpose.clone(),
            going: thing.is_going(),
        })
        .collect()
    }

    /// Every resource in the account, whoever made it, as `type id (whose)`: the resources of stacks, what
    /// their templates kept, secrets that are not deleted, and what nobody's template names.
    pub fn everything_standing(&self) -> Vec<String> {
        let (state, _) = self.at();
        let mut all = Vec::new();
        for stack in state.stacks.iter().filter(|stack| !stack.is_gone()) {
            all.push(format!(
                "AWS::CloudFormation::Stack {} ({})",
                stack.name, stack.status
            ));
        }
        for stack in &state.stacks {
            for resource in stack.resources.values() {
                all.push(format!(
                    "{} {} (stack {})",
                    resource.kind, resource.physical, stack.name
                ));
            }
            for kept in &stack.left {
                all.push(format!(
                    "{} {} (kept by stack {})",
                    kept.kind, kept.physical, stack.name
                ));
            }
        }
        for set in state.stack_sets.iter().filter(|set| set.stands()) {
            all.push(format!("AWS::CloudFormation::StackSet {} (ACTIVE)", set.name));
        }
        for set in &state.stack_sets {
            for (place, kind, id) in &set.left {
                all.push(format!("{kind} {id} in {place} (kept by stack set {})", set.name));
            }
            for instance in &set.instances {
                for (id, kind) in &instance.resources {
                    all.push(format!(
                        "{kind} {id} in {}/{} (stack set {})",
                        instance.account, instance.region, set.name
                    ));
                }
            }
        }
        for secret in state.secrets.iter().filter(|secret| !secret.is_deleted()) {
            all.push(format!("AWS::SecretsManager::Secret {} (a secret)", secret.name));
        }
        for thing in state.things.values() {
            all.push(format!(
                "{} {} ({}: {})",
                thing.kind, thing.id, thing.maker, thing.purpose
            ));
        }
        all
    }

    /// The names of all intents under which anything was begun, whatever came of it.
    pub fn intents(&self) -> Vec<String> {
        let (state, _) = self.at();
        let stacks = state.stacks.iter().flat_map(|stack| stack.intents());
        let sets = state.stack_sets.iter().flat_map(|set| set.intents());
        stacks
            .chain(sets)
            .filter(|token| !token.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// What exists in two copies although one was wanted, a sentence each: stacks of one step, and things
    /// made for one purpose. Interfaces come in several and are not looked at, nor is what is going.
    pub fn created_twice(&self) -> Vec<String> {
        let (state, now) = self.at();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for stack in state.stacks.iter().filter(|stack| !stack.is_gone()) {
            let tags = stack.tags(now);
            let tag = |key: &str| tags.get(key).map_or("", String::as_str);
            let platform = tag(landfall_model::work::TAG_PLATFORM);
            if !platform.is_empty() {
                let step = format!(
                    "the stack of {}.{} of {platform}",
                    tag(landfall_model::work::TAG_COMPONENT),
                    tag(landfall_model::work::TAG_STEP)
                );
                *counts.entry(step).or_default() += 1;
            }
        }
        for set in state.stack_sets.iter().filter(|set| set.stands()) {
            *counts.entry(format!("the stack set {}", set.name)).or_default() += 1;
        }
        for thing in state.things.values().filter(|thing| !thing.is_going()) {
            if thing.kind != INTERFACE {
                let what = format!("{} {} in {}", thing.kind, thing.purpose, thing.region);
                *counts.entry(what).or_default() += 1;
            }
        }
        for cluster in &state.clusters {
            *counts
                .entry(format!("the cluster {} in {}", cluster.name, cluster.region))
                .or_default() += 1;
        }
        counts
            .into_iter()
            .filter(|(_, count)| *count > 1)
            .map(|(what, count)| format!("{what} stands {count} times"))
            .collect()
    }
}
