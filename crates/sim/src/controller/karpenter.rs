//! Karpenter: a machine for every NodePool, as long as its limits allow one.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::operators::{AUTO_MODE, AUTO_MODE_GROUP, waits_for_machine};
use super::{Again, tags};
use crate::cluster::{Cluster, Controller, object};
use crate::durations;
use crate::fault::Fault;
use crate::thing::{INSTANCE, Thing, ThingId};
use crate::world::State;

const MANAGER: &str = "karpenter";
const GROUP: &str = "karpenter.sh";
const AWS: &str = "karpenter.k8s.aws";
const FINALIZER: &str = "karpenter.sh/termination";
/// Classes of machines, and what holds each back while there are machines of it.
const CLASSES: [(&str, &str, &str); 2] = [
    (AWS, "EC2NodeClass", "karpenter.k8s.aws/termination"),
    (AUTO_MODE_GROUP, "NodeClass", "eks.amazonaws.com/termination"),
];

/// Whether a pool may have machines at all.
fn may_grow(pool: &Value) -> bool {
    let limit = &pool["spec"]["limits"]["cpu"];
    !(limit == "0" || limit == 0)
}

/// Conditions that all hold, with the one that sums them up.
fn all_hold(object: &Value, kinds: &[&str], now: &str) -> Value {
    let kinds = kinds.iter().chain(&["Ready"]);
    let mut all: Vec<Value> = Vec::new();
    for kind in kinds {
        let mut one = object::put_condition(object, kind, true, kind, "", now);
        one["observedGeneration"] = json!(object::generation(object));
        all.push(one);
    }
    json!({ "conditions": all })
}

/// The class a pool names, when it should be there and is not.
fn missing_class(cluster: &Cluster, pool: &Value) -> Option<String> {
    let class = &pool["spec"]["template"]["spec"]["nodeClassRef"];
    let name = class["name"].as_str()?;
    let (group, kind, _) = CLASSES.into_iter().find(|(group, ..)| class["group"] == *group)?;
    let version = format!("{group}/v1");
    if !cluster.api.knows(&version, kind) {
        // Nobody here looks after such classes.
        return None;
    }
    let key = object::key(&version, kind, "", name);
    cluster.api.get(&key).is_none().then(|| name.to_owned())
}

impl State {
    pub(super) fn karpenter(
        &mut self,
        cluster: &mut Cluster,
        platform: Option<&str>,
        now: u64,
        again: &mut Again,
    ) {
        let classes = CLASSES.into_iter().flat_map(|(group, kind, finalizer)| {
            let all = cluster.all(group, kind).into_iter();
            all.map(move |(key, class)| (key, class, finalizer))
        });
        let classes: Vec<_> = classes.collect();
        let of_class = classes.iter().find_map(|(_, class, _)| {
            let tag = &class["spec"]["tags"][landfall_model::work::TAG_PLATFORM];
            tag.as_str().map(str::to_owned)
        });
        let platform = of_class.as_deref().or(platform);
        let text = cluster.text(now);
        for (key, class, finalizer) in &classes {
            if object::is_going(class) {
                let names = |claim: &Value| claim["spec"]["nodeClassRef"]["name"] == key.name.as_str();
                let used = cluster
                    .api
                    .of_kind(GROUP, "NodeClaim")
                    .any(|(_, claim)| names(claim));
                if used {
                    again.soon();
                } else {
                    cluster.remove_finalizer(key, finalizer, now);
                }
                continue;
            }
            cluster.add_finalizer(MANAGER, key, finalizer, now);
            let conditions = [
                "AMIsReady",
                "InstanceProfileReady",
                "SecurityGroupsReady",
                "SubnetsReady",
                "ValidationSucceeded",
            ];
            cluster.set_status(MANAGER, key, all_hold(class, &conditions, &text), now);
        }
        for (key, pool) in cluster.all(GROUP, "NodePool") {
            let purpose = format!("machine of NodePool {} in {}", key.name, cluster.name);
            let machines: Vec<ThingId> = self
                .things
                .iter()
                .filter(|(_, thing)| thing.kind == INSTANCE && thing.region == cluster.region)
                .filter(|(_, thing)| thing.purpose == purpose && thing.belongs_to(cluster.uid))
                .map(|(id, _)| *id)
                .collect();
            if object::is_going(&pool) {
                if machines.is_empty() {
                    cluster.remove_finalizer(&key, FINALIZER, now);
                } else {
                    self.terminate(&machines, now);
                    again.soon();
                }
                continue;
            }
            cluster.add_finalizer(MANAGER, &key, FINALIZER, now);
            if let Some(class) = missing_class(cluster, &pool) {
                let why = format!("NodeClass not found on cluster: {class}");
                let not = [
                    object::put_condition(&pool, "NodeClassReady", false, "NodeClassNotFound", &why, &text),
                    object::put_condition(
                        &pool,
                        "Ready",
                        false,
                        "UnhealthyDependents",
                        "NodeClassReady=False",
                        &text,
                    ),
                ];
                cluster.set_status(MANAGER, &key, json!({ "conditions": not }), now);
                again.soon();
                continue;
            }
            cluster.set_status(
                MANAGER,
                &key,
                all_hold(&pool, &["NodeClassReady", "ValidationSucceeded"], &text),
                now,
            );
            let running = machines.iter().any(|id| !self.things[id].is_going());
            if !running && may_grow(&pool) && self.is_asked(cluster, &pool, now) {
                self.launch(cluster, &key, purpose, platform, now, again);
            }
        }
        self.node_claims(cluster, now, again);
    }

    /// Whether a pool is to have a machine now. EKS starts one when a pod waits for it, and only one at a time.
    fn is_asked(&self, cluster: &Cluster, pool: &Value, now: u64) -> bool {
        let template = &pool["spec"]["template"]["spec"];
        let by_eks =
            template["nodeClassRef"]["group"] == AUTO_MODE_GROUP && cluster.addons.contains(AUTO_MODE);
        if !by_eks {
            return true;
        }
        let mut machines = self.things.values().filter(|thing| thing.kind == INSTANCE);
        let comes =
            machines.any(|thing| thing.belongs_to(cluster.uid) && thing.ready_at > now && !thing.is_going());
        let taints = template["taints"].as_array().into_iter().flatten();
        let is_free = taints
            .into_iter()
            .all(|taint| taint["effect"] == "PreferNoSchedule");
        is_free && !comes && waits_for_machine(cluster)
    }

    fn launch(
        &mut self,
        cluster: &mut Cluster,
        pool: &Key,
        purpose: String,
        platform: Option<&str>,
        now: u64,
        again: &mut Again,
    ) {
        let joins = durations::typical_ms("machine joins", false).unwrap_or(40_000);
        let ready_at = now
            + self
                .chance(&["joins", &purpose, &now.to_string()])
                .about(joins, 20);
        let tags = tags(
            cluster,
            platform,
            &[
                ("karpenter.sh/nodepool", pool.name.as_str()),
                ("eks:eks-cluster-name", cluster.name.as_str()),
            ],
        );
        let machine = self.make(Thing {
            kind: INSTANCE,
            region: cluster.region.clone(),
            network: cluster.network.clone(),
            tags,
            maker: Controller::Karpenter.name(),
            purpose,
            cluster: Some((cluster.name.clone(), cluster.uid)),
            ready_at,
            ..Thing::default()
        });
        self.make_interface(machine, Vec::new(), false);
        again.at(ready_at);
    }

    /// Every machine it made has a NodeClaim, as long as it runs.
    fn node_claims(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        let mut names = Vec::new();
        let of_karpenter = |thing: &&Thing| {
            thing.kind == INSTANCE
                && thing.belongs_to(cluster.uid)
                && thing.maker == Controller::Karpenter.name()
                && !thing.is_going()
                && !thing.purpose.starts_with("forgotten")
        };
        let machines: Vec<Thing> = self.things.values().filter(of_karpenter).cloned().collect();
        for machine in machines {
            let Some(pool) = machine.tags.get("karpenter.sh/nodepool") else {
                continue;
            };
            let pool_key = object::key("karpenter.sh/v1", "NodePool", "", pool);
            let Some(owner) = cluster.get(&pool_key) else {
                continue;
            };
            let name = format!("{pool}-{}", super::workloads::digits(&machine.id, 5));
            let key = object::key("karpenter.sh/v1", "NodeClaim", "", &name);
            if cluster.api.get(&key).is_none() {
                let mut spec = json!({ "nodeClassRef": owner["spec"]["template"]["spec"]["nodeClassRef"], "requirements": [] });
                if spec["nodeClassRef"].is_null() {
                    spec["nodeClassRef"] = json!({ "group": AWS, "kind": "EC2NodeClass", "name": "default" });
                }
                let body = json!({
                    "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
                    "metadata": {
                        "name": name, "labels": { "karpenter.sh/nodepool": pool }, "finalizers": [FINALIZER],
                        "ownerReferences": object::owned_by(&owner),
                    },
                    "spec": spec,
                });
                // Without its definition Karpenter would not have started; the machine is there all the same.
                let _ = cluster.create(MANAGER, body, now);
            }
            let text = cluster.text(now);
            if let Some(claim) = cluster.get(&key)
                && machine.ready_at <= now
                && !object::is_true(&claim, "Ready")
            {
                let mut status = all_hold(&claim, &["Launched", "Registered", "Initialized"], &text);
                status["nodeName"] = super::nodes::node_name(&machine).into();
                status["providerID"] = format!("aws:///{}a/{}", machine.region, machine.id).into();
                cluster.set_status(MANAGER, &key, status, now);
            } else if machine.ready_at > now {
                again.at(machine.ready_at);
            }
            names.push(name);
        }
        for (key, _) in cluster.all(GROUP, "NodeClaim") {
            if !names.contains(&key.name) {
                cluster.delete(&key, now);
                cluster.remove_finalizer(&key, FINALIZER, now);
            }
        }
    }

    fn terminate(&mut self, machines: &[ThingId], now: u64) {
        for id in machines {
            if self.things[id].is_going() {
                continue;
            }
            let forgotten = self.take_fault(|fault| matches!(fault, Fault::NodeLeftover).then_some(()));
            if let (Some(()), Some(thing)) = (forgotten, self.things.get_mut(id)) {
                thing.purpose = format!("forgotten {}", thing.purpose);
                continue;
            }
            let takes = durations::typical_ms(INSTANCE, true).unwrap_or(45_000);
            let until = now + self.chance(&["terminates", &self.things[id].id]).about(takes, 20);
            self.linger(*id, until);
        }
    }
}
