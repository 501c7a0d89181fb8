//! The AWS Load Balancer Controller: a load balancer, a target group and two security groups that mention
//! each other for every Ingress, Gateway, and Service of type LoadBalancer.

use super::{Again, tags};
use crate::cluster::{Cluster, Controller, Key, Object};
use crate::durations;
use crate::fault::Fault;
use crate::thing::{INTERFACE, LOAD_BALANCER, SECURITY_GROUP, TARGET_GROUP, Thing, ThingId};
use crate::world::State;

/// Whether an object asks for a load balancer.
pub(crate) fn wants_one(key: &Key, object: &Object) -> bool {
    match key.kind.as_str() {
        "Service" => object.spec()["type"] == "LoadBalancer",
        "Ingress" => is_ours(object),
        "Gateway" => key.group == "gateway.networking.k8s.io",
        _ => false,
    }
}

/// Whether an Ingress is for this controller and not for another one.
pub(crate) fn is_ours(ingress: &Object) -> bool {
    let class = ingress.spec()["ingressClassName"]
        .as_str()
        .or_else(|| ingress.annotation("kubernetes.io/ingress.class"));
    class.is_none_or(|class| class.starts_with("alb"))
}

fn finalizer(kind: &str) -> &'static str {
    match kind {
        "Service" => "service.k8s.aws/resources",
        "Ingress" => "ingress.k8s.aws/resources",
        _ => "gateway.k8s.aws/alb",
    }
}

/// What was made for one object.
#[derive(Default)]
struct Made {
    load_balancer: Option<ThingId>,
    target_group: Option<ThingId>,
    groups: Vec<ThingId>,
}

impl State {
    pub(super) fn load_balancers(
        &mut self,
        cluster: &mut Cluster,
        platform: Option<&str>,
        now: u64,
        again: &mut Again,
    ) {
        let keys: Vec<Key> = cluster
            .objects
            .iter()
            .filter(|(key, object)| {
                wants_one(key, object) || object.finalizers.contains(finalizer(&key.kind))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            let deleting = cluster
                .objects
                .get(&key)
                .is_none_or(|one| one.deleting.is_some() || !wants_one(&key, one));
            if deleting {
                self.unmake_load_balancer(cluster, &key, now, again);
            } else {
                self.make_load_balancer(cluster, &key, platform, now, again);
            }
        }
    }

    /// What stands that was made for an object, by this cluster or an earlier one of its name.
    fn made_for(&self, cluster: &Cluster, key: &Key) -> Made {
        let purpose = format!("{} in {}", key.said(), cluster.name);
        let mut made = Made::default();
        for (id, thing) in &self.things {
            if thing.region != cluster.region || !thing.purpose.ends_with(&purpose) || thing.is_going() {
                continue;
            }
            match thing.kind {
                LOAD_BALANCER => made.load_balancer = Some(*id),
                TARGET_GROUP => made.target_group = Some(*id),
                SECURITY_GROUP => made.groups.push(*id),
                _ => {}
            }
        }
        made
    }

    fn make_load_balancer(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        platform: Option<&str>,
        now: u64,
        again: &mut Again,
    ) {
        let made = self.made_for(cluster, key);
        let purpose = format!("{} in {}", key.said(), cluster.name);
        let stack = format!("{}/{}", key.namespace, key.name);
        let (what, prefix) = match key.kind.as_str() {
            "Service" => ("service.k8s.aws/stack", "net"),
            "Ingress" => ("ingress.k8s.aws/stack", "app"),
            _ => ("gateway.k8s.aws/stack", "app"),
        };
        let tags = tags(
            cluster,
            platform,
            &[("elbv2.k8s.aws/cluster", cluster.name.as_str()), (what, &stack)],
        );
        let thing = |kind: &'static str, what: &str| Thing {
            kind,
            region: cluster.region.clone(),
            network: cluster.network.clone(),
            tags: tags.clone(),
            maker: Controller::LoadBalancer.name(),
            purpose: format!("{what} of {purpose}"),
            cluster: Some((cluster.name.clone(), cluster.uid)),
            ready_at: now,
            ..Thing::default()
        };
        let mut groups = made.groups;
        if groups.len() < 2 {
            let missing: Vec<&str> = ["security group", "backend security group"]
                .into_iter()
                .filter(|what| {
                    let named = format!("{what} of {purpose}");
                    !groups.iter().any(|id| self.things[id].purpose == named)
                })
                .collect();
            for what in missing {
                let made = self.make(thing(SECURITY_GROUP, what));
                groups.push(made);
            }
            for (id, other) in [(groups[0], groups[1]), (groups[1], groups[0])] {
                if let Some(group) = self.things.get_mut(&id) {
                    group.groups = vec![other];
                }
            }
        }
        let is_new = made.load_balancer.is_none();
        let load_balancer = made.load_balancer.unwrap_or_else(|| {
            let takes = durations::typical_ms(LOAD_BALANCER, false).unwrap_or(150_000);
            let name = format!("k8s-{}-{}", short(&key.namespace), short(&key.name));
            let id = self.make(Thing {
                id: format!("{prefix}/{name}"),
                ready_at: 0,
                ..thing(LOAD_BALANCER, "load balancer")
            });
            let takes = self.chance(&["active", &self.things[&id].id]).about(takes, 20);
            if let Some(made) = self.things.get_mut(&id) {
                made.ready_at = now + takes;
            }
            for _ in 0..2 {
                self.make_interface(id, groups.clone(), true);
            }
            id
        });
        match made.target_group {
            Some(id) => {
                if let Some(target_group) = self.things.get_mut(&id) {
                    target_group.of = Some(load_balancer);
                }
            }
            None => {
                self.make(Thing {
                    id: format!("k8s-{}-{}", short(&key.namespace), short(&key.name)),
                    of: Some(load_balancer),
                    ..thing(TARGET_GROUP, "target group")
                });
            }
        }
        let (ready_at, arn) = {
            let made = &self.things[&load_balancer];
            (made.ready_at, made.id.clone())
        };
        let Some(object) = cluster.objects.get_mut(key) else {
            return;
        };
        object.finalizers.insert(finalizer(&key.kind).to_owned());
        if is_new {
            object.status = serde_json::Value::Null;
        }
        if ready_at > now {
            again.at(ready_at);
        } else if !object.has_hostname() {
            let name = arn.rsplit('/').nth(1).unwrap_or_default();
            let digits = arn.rsplit('/').next().unwrap_or_default();
            let number = u64::from_str_radix(digits.get(..8).unwrap_or("0"), 16).unwrap_or(0);
            let hostname = if prefix == "net" {
                format!("{name}-{digits}.elb.{}.amazonaws.com", cluster.region)
            } else {
                format!("{name}-{number}.{}.elb.amazonaws.com", cluster.region)
            };
            object.set_hostname(&key.kind, &hostname);
        }
    }

    fn unmake_load_balancer(&mut self, cluster: &mut Cluster, key: &Key, now: u64, again: &mut Again) {
        let made = self.made_for(cluster, key);
        if made.load_balancer.is_some()
            && self
                .take_fault(|fault| matches!(fault, Fault::LoadBalancerLeftover).then_some(()))
                .is_some()
        {
            // Forgotten: as if the controller had died and somebody had taken the finalizer off.
            if let Some(thing) = made.load_balancer.and_then(|id| self.things.get_mut(&id)) {
                thing.purpose.push_str(", forgotten");
            }
            for id in made.groups.iter().chain(&made.target_group) {
                if let Some(thing) = self.things.get_mut(id) {
                    thing.purpose.push_str(", forgotten");
                }
            }
        } else {
            if let Some(id) = made.load_balancer {
                self.take_away(id, now);
            }
            if let Some(id) = made.target_group {
                self.take_away(id, now);
            }
            for id in &made.groups {
                if let Some(group) = self.things.get_mut(id) {
                    group.groups.clear();
                }
            }
            for id in made.groups {
                if self.is_group_used(id) {
                    again.soon();
                } else {
                    self.take_away(id, now);
                }
            }
            if again.soon && !self.made_for(cluster, key).groups.is_empty() {
                return;
            }
        }
        if let Some(object) = cluster.objects.get_mut(key) {
            object.finalizers.remove(finalizer(&key.kind));
        }
    }

    fn is_group_used(&self, group: ThingId) -> bool {
        let mut things = self.things.values();
        things.any(|thing| thing.kind == INTERFACE && thing.groups.contains(&group))
    }
}

/// As the controller shortens names.
fn short(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}
