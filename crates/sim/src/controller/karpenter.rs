//! Karpenter: a machine for every NodePool, as long as its limits allow one.

use serde_json::json;

use super::{Again, tags};
use crate::cluster::{Cluster, Controller, Key, Object};
use crate::durations;
use crate::fault::Fault;
use crate::thing::{INSTANCE, Thing, ThingId};
use crate::world::State;

const FINALIZER: &str = "karpenter.sh/termination";

/// Whether a pool may have machines at all.
fn may_grow(pool: &Object) -> bool {
    let limit = &pool.spec()["limits"]["cpu"];
    !(limit == "0" || limit == 0)
}

impl State {
    pub(super) fn karpenter(
        &mut self,
        cluster: &mut Cluster,
        platform: Option<&str>,
        now: u64,
        again: &mut Again,
    ) {
        let pools: Vec<Key> = cluster
            .objects
            .keys()
            .filter(|key| key.kind == "NodePool" && key.group == "karpenter.sh")
            .cloned()
            .collect();
        let of_class = cluster.objects.iter().find_map(|(key, class)| {
            let tags = &class.spec()["tags"][landfall_model::work::TAG_PLATFORM];
            (key.kind == "EC2NodeClass")
                .then(|| tags.as_str().map(str::to_owned))
                .flatten()
        });
        let platform = of_class.as_deref().or(platform);
        for key in pools {
            let purpose = format!("machine of {} in {}", key.said(), cluster.name);
            let machines: Vec<ThingId> = self
                .things
                .iter()
                .filter(|(_, thing)| thing.kind == INSTANCE && thing.region == cluster.region)
                .filter(|(_, thing)| thing.purpose == purpose && thing.belongs_to(cluster.uid))
                .map(|(id, _)| *id)
                .collect();
            let Some(pool) = cluster.objects.get_mut(&key) else {
                continue;
            };
            if pool.deleting.is_some() {
                if machines.is_empty() {
                    pool.finalizers.remove(FINALIZER);
                } else {
                    self.terminate(&machines, now);
                    again.soon();
                }
                continue;
            }
            pool.finalizers.insert(FINALIZER.to_owned());
            if pool.status["ready"] != true {
                pool.status = json!({ "ready": true });
            }
            let running = machines.iter().any(|id| !self.things[id].is_going());
            if !running && may_grow(pool) {
                let joins = durations::typical_ms("machine joins", false).unwrap_or(40_000);
                let ready_at = now
                    + self
                        .chance(&["joins", &purpose, &now.to_string()])
                        .about(joins, 20);
                let tags = tags(
                    cluster,
                    platform,
                    &[
                        ("karpenter.sh/nodepool", key.name.as_str()),
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
