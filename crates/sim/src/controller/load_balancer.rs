//! The AWS Load Balancer Controller: a load balancer, a target group and two security groups that mention
//! each other for every Ingress, Gateway, and Service of type LoadBalancer.

use std::sync::Arc;

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, tags};
use crate::cluster::{Cluster, Controller, object};
use crate::durations;
use crate::fault::Fault;
use crate::thing::{INTERFACE, LOAD_BALANCER, SECURITY_GROUP, TARGET_GROUP, Thing, ThingId};
use crate::world::State;

/// The name under which it writes.
const MANAGER: &str = "aws-load-balancer-controller";
const GATEWAYS: &str = "gateway.networking.k8s.io";

/// What may ask for a load balancer.
const KINDS: [(&str, &str); 3] = [
    ("", "Service"),
    ("networking.k8s.io", "Ingress"),
    (GATEWAYS, "Gateway"),
];

/// What tells one such controller from another.
pub(super) struct By {
    /// What Ingress classes call it.
    ingress: &'static str,
    /// What services call it, and whether it takes those that call nobody.
    service: (&'static str, bool),
    /// Whether it looks after Gateways.
    gateways: bool,
    /// How its finalizers end.
    finalizer: &'static str,
}

/// The controller that one installs.
pub(super) const OWN: By = By {
    ingress: "ingress.k8s.aws/alb",
    service: ("service.k8s.aws/nlb", true),
    gateways: true,
    finalizer: "k8s.aws/resources",
};

/// The one that EKS runs in Auto Mode.
pub(super) const OF_EKS: By = By {
    ingress: "eks.amazonaws.com/alb",
    service: ("eks.amazonaws.com/nlb", false),
    gateways: false,
    finalizer: "eks.amazonaws.com/resources",
};

/// Whether an object asks for a load balancer by this controller.
fn wants_one(cluster: &Cluster, by: &By, key: &Key, object: &Value) -> bool {
    match key.kind.as_str() {
        "Service" => {
            let class = object["spec"]["loadBalancerClass"].as_str();
            object["spec"]["type"] == "LoadBalancer"
                && class.map_or(by.service.1, |class| class == by.service.0)
        }
        "Ingress" => asked(cluster, object) == by.ingress,
        _ => by.gateways && gateway_is_ours(cluster, object),
    }
}

/// Which controller an Ingress asks for.
fn asked(cluster: &Cluster, ingress: &Value) -> String {
    let class = ingress["spec"]["ingressClassName"]
        .as_str()
        .or_else(|| object::annotation(ingress, "kubernetes.io/ingress.class"));
    let is_default =
        |one: &Value| object::annotation(one, "ingressclass.kubernetes.io/is-default-class") == Some("true");
    let mut classes = cluster.api.of_kind("networking.k8s.io", "IngressClass");
    let found = classes.find(|(key, one)| class.map_or_else(|| is_default(one), |class| key.name == class));
    match (found, class) {
        (Some((_, found)), _) => found["spec"]["controller"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        // Its chart makes a class of this name.
        (None, Some(class)) if class.starts_with("alb") => OWN.ingress.to_owned(),
        (None, Some(_)) => String::new(),
        (None, None) => OWN.ingress.to_owned(),
    }
}

/// Whether a Gateway is: its class names the controller.
fn gateway_is_ours(cluster: &Cluster, gateway: &Value) -> bool {
    let name = gateway["spec"]["gatewayClassName"].as_str().unwrap_or_default();
    let class = object::key("gateway.networking.k8s.io/v1", "GatewayClass", "", name);
    let class = cluster.api.get(&class);
    class.is_some_and(|class| {
        let by = class["spec"]["controllerName"].as_str().unwrap_or_default();
        by.starts_with("gateway.k8s.aws/")
    })
}

fn finalizer(by: &By, kind: &str) -> String {
    match kind {
        "Gateway" => "gateway.k8s.aws/alb".to_owned(),
        kind => format!("{}.{}", kind.to_lowercase(), by.finalizer),
    }
}

/// The address of an object, as its status has it.
fn address(kind: &str, object: &Value, generation: u64, hostname: &str, now: &str) -> Value {
    if kind != "Gateway" {
        return json!({ "loadBalancer": { "ingress": [{ "hostname": hostname }] } });
    }
    let accepted = object::put_condition(object, "Accepted", true, "Accepted", "", now);
    let programmed = object::put_condition(object, "Programmed", true, "Programmed", "", now);
    let mut conditions = json!([accepted, programmed]);
    for condition in conditions.as_array_mut().into_iter().flatten() {
        condition["observedGeneration"] = json!(generation);
    }
    json!({ "addresses": [{ "type": "Hostname", "value": hostname }], "conditions": conditions })
}

/// Gateway classes of this controller are accepted, and routes that go through its gateways.
fn accept_gateways(cluster: &mut Cluster, now: u64) {
    let text = cluster.text(now);
    for (key, class) in cluster.all(GATEWAYS, "GatewayClass") {
        let by = class["spec"]["controllerName"].as_str().unwrap_or_default();
        if by.starts_with("gateway.k8s.aws/") && !object::is_going(&class) {
            let mut accepted = object::put_condition(&class, "Accepted", true, "Accepted", "", &text);
            accepted["observedGeneration"] = json!(object::generation(&class));
            cluster.set_status(MANAGER, &key, json!({ "conditions": [accepted] }), now);
        }
    }
    for (key, route) in cluster.all(GATEWAYS, "HTTPRoute") {
        let parents = route["spec"]["parentRefs"].as_array().into_iter().flatten();
        let ours = parents.filter(|parent| {
            let namespace = parent["namespace"].as_str().unwrap_or(&key.namespace);
            let name = parent["name"].as_str().unwrap_or_default();
            let gateway = object::key("gateway.networking.k8s.io/v1", "Gateway", namespace, name);
            let gateway = cluster.api.get(&gateway);
            gateway.is_some_and(|gateway| gateway_is_ours(cluster, gateway))
        });
        let parents: Vec<Value> = ours
            .map(|parent| {
                let before = route["status"]["parents"].as_array().into_iter().flatten();
                let before = before.into_iter().find(|one| one["parentRef"] == *parent);
                let before = json!({ "status": before.cloned().unwrap_or_default() });
                let condition = |kind: &str, reason: &str| {
                    let mut one = object::put_condition(&before, kind, true, reason, "", &text);
                    one["observedGeneration"] = json!(object::generation(&route));
                    one
                };
                json!({
                    "parentRef": parent, "controllerName": "gateway.k8s.aws/alb",
                    "conditions": [condition("Accepted", "Accepted"), condition("ResolvedRefs", "ResolvedRefs")],
                })
            })
            .collect();
        if !parents.is_empty() {
            cluster.set_status(MANAGER, &key, json!({ "parents": parents }), now);
        }
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
        by: &By,
        now: u64,
        again: &mut Again,
    ) {
        if by.gateways {
            accept_gateways(cluster, now);
        }
        let mut all: Vec<(Key, Arc<Value>)> = Vec::new();
        for (group, kind) in KINDS {
            let some = cluster.api.of_kind(group, kind).filter(|(key, one)| {
                object::has_finalizer(one, &finalizer(by, kind)) || wants_one(cluster, by, key, one)
            });
            all.extend(some.map(|(key, one)| (key.clone(), one.clone())));
        }
        for (key, one) in all {
            if object::is_going(&one) || !wants_one(cluster, by, &key, &one) {
                self.unmake_load_balancer(cluster, &key, &finalizer(by, &key.kind), now, again);
            } else {
                let finalizer = finalizer(by, &key.kind);
                self.make_load_balancer(cluster, (&key, &one, &finalizer), platform, now, again);
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
        (key, asking, finalizer): (&Key, &Value, &str),
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
        cluster.add_finalizer(MANAGER, key, finalizer, now);
        if is_new && object::has_address(asking) {
            // Somebody deleted the one it had.
            cluster.set_status(MANAGER, key, json!({}), now);
        }
        if ready_at > now {
            again.at(ready_at);
            return;
        }
        let name = arn.rsplit('/').nth(1).unwrap_or_default();
        let digits = arn.rsplit('/').next().unwrap_or_default();
        let number = u64::from_str_radix(digits.get(..8).unwrap_or("0"), 16).unwrap_or(0);
        let hostname = if prefix == "net" {
            format!("{name}-{digits}.elb.{}.amazonaws.com", cluster.region)
        } else {
            format!("{name}-{number}.{}.elb.amazonaws.com", cluster.region)
        };
        if !asking["status"].to_string().contains(&hostname) {
            let text = cluster.text(now);
            let status = address(&key.kind, asking, object::generation(asking), &hostname, &text);
            cluster.set_status(MANAGER, key, status, now);
        }
    }

    fn unmake_load_balancer(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        finalizer: &str,
        now: u64,
        again: &mut Again,
    ) {
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
        cluster.remove_finalizer(key, finalizer, now);
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
