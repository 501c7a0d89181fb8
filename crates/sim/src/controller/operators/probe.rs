//! Pods that try a connection, as checks make them: what comes of it, by services, network policies and the security
//! groups that pods carry.

use std::net::IpAddr;
use std::sync::Arc;

use landfall_apiserver::Key;
use landfall_kube::PROBE_TO;
use serde_json::Value;

use crate::cluster::{Cluster, object};
use crate::controller::network_policy::{End, Port, Verdict, allowed, fits};
use crate::world::State;

/// What a pod that ends by itself comes to, when it is one that tries a connection: otherwise none. The error is what
/// it says before it fails.
pub(in crate::controller) fn judge(
    state: &State,
    cluster: &Cluster,
    pod: &Value,
) -> Option<Result<(), String>> {
    let to = object::annotation(pod, PROBE_TO)?;
    let (host, port) = to.rsplit_once(':')?;
    Some(connect(state, cluster, pod, (host, port.parse().ok()?)))
}

/// The pod behind a service's port, and its own port.
fn behind(cluster: &Cluster, service: &Value, port: u16) -> Option<(Arc<Value>, u16)> {
    let ports = service["spec"]["ports"].as_array()?;
    let port = ports.iter().find(|one| one["port"] == port)?;
    let namespace = service["metadata"]["namespace"].as_str()?;
    let selector = &service["spec"]["selector"];
    let mut pods = cluster.api.of_kind("", "Pod");
    let (_, pod) = pods.find(|(key, pod)| {
        key.namespace == namespace
            && !object::is_going(pod)
            && object::is_true(pod, "Ready")
            && object::selects(selector, &pod["metadata"]["labels"])
    })?;
    let own = match &port["targetPort"] {
        Value::String(name) => {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let mut ports = containers.flat_map(|one| one["ports"].as_array().into_iter().flatten());
            ports.find(|one| one["name"] == name.as_str())?["containerPort"].as_u64()?
        }
        Value::Number(number) => number.as_u64()?,
        _ => port["port"].as_u64()?,
    };
    Some((pod.clone(), u16::try_from(own).ok()?))
}

fn connect(state: &State, cluster: &Cluster, from: &Value, (host, port): (&str, u16)) -> Result<(), String> {
    let all = |group: &str, kind: &str| -> Vec<Arc<Value>> {
        cluster
            .api
            .of_kind(group, kind)
            .map(|(_, one)| one.clone())
            .collect()
    };
    let (policies, namespaces) = (all("networking.k8s.io", "NetworkPolicy"), all("", "Namespace"));
    let passes = |to: End<'_>, number: u16| {
        let policies: Vec<&Value> = policies.iter().map(AsRef::as_ref).collect();
        let namespaces: Vec<&Value> = namespaces.iter().map(AsRef::as_ref).collect();
        let port = Port {
            number,
            protocol: "TCP",
        };
        allowed(&policies, &namespaces, End::Pod(from), to, port) == Verdict::Allowed
    };
    let timed_out = || Err("nc: timed out\n".to_owned());
    let own = groups(cluster, from);
    let mut parts = host.split('.');
    let (name, namespace, inside) = (parts.next(), parts.next(), parts.next() == Some("svc"));
    let Some((name, namespace)) = name.zip(namespace).filter(|_| inside) else {
        // Something outside: its address is not known here, only who may reach such a port.
        let address: IpAddr = host.parse().unwrap_or(IpAddr::from([192, 0, 2, 1]));
        let is_let_out = passes(End::Address(address), port);
        let is_let_in = own.is_empty() || own.iter().any(|group| state.mentions(cluster, group, port));
        let reaches = is_let_out && (is_let_in || state.nobody_mentions(cluster, port));
        return if reaches { Ok(()) } else { timed_out() };
    };
    let service = object::key("v1", "Service", namespace, name);
    let Some(service) = cluster.get(&service) else {
        return Err(format!("nc: bad address '{host}'\n"));
    };
    let address = service["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let Some((pod, number)) = behind(cluster, &service, port) else {
        return Err(format!("nc: {host} ({address}:{port}): Connection refused\n"));
    };
    let there = groups(cluster, &pod);
    if passes(End::Pod(&pod), number) && state.groups_let_pass(cluster, &own, &there, number) {
        Ok(())
    } else {
        timed_out()
    }
}

/// The security groups that a pod carries, when any were chosen for it.
fn groups(cluster: &Cluster, pod: &Value) -> Vec<String> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let policies = cluster.api.of_kind("vpcresources.k8s.aws", "SecurityGroupPolicy");
    let chosen = policies.filter(|(key, policy): &(&Key, &Arc<Value>)| {
        let selector = &policy["spec"]["podSelector"];
        key.namespace == namespace && selector.is_object() && fits(selector, &pod["metadata"]["labels"])
    });
    let ids = chosen.flat_map(|(_, policy)| {
        let ids = policy["spec"]["securityGroups"]["groupIds"]
            .as_array()
            .into_iter()
            .flatten();
        ids.filter_map(|id| id.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    });
    ids.collect()
}

/// One rule of a security group.
struct Rule {
    inwards: bool,
    group: String,
    ports: Option<(u16, u16)>,
    /// The group at the other end; none for addresses.
    other: Option<String>,
}

impl State {
    /// What stacks say about security groups, in the region of a cluster.
    fn rules(&self, cluster: &Cluster) -> Vec<Rule> {
        let mut rules = Vec::new();
        for stack in self
            .stacks
            .iter()
            .filter(|one| !one.is_gone() && one.region == cluster.region)
        {
            let Some(spec) = stack.newest_spec() else {
                continue;
            };
            let id = |value: &Value| -> Option<String> {
                if let Some(named) = spec.refers(value) {
                    return stack.resources.get(named).map(|one| one.physical.clone());
                }
                value.as_str().map(str::to_owned)
            };
            for (logical, resource) in &stack.resources {
                let mut add = |inwards: bool, group: String, rule: &Value| {
                    let number = |value: &Value| {
                        let text = value
                            .as_str()
                            .map(str::to_owned)
                            .unwrap_or_else(|| value.to_string());
                        text.parse::<u16>().ok()
                    };
                    let other = if inwards {
                        "SourceSecurityGroupId"
                    } else {
                        "DestinationSecurityGroupId"
                    };
                    rules.push(Rule {
                        inwards,
                        group,
                        ports: number(&rule["FromPort"]).zip(number(&rule["ToPort"])),
                        other: rule.get(other).filter(|value| !value.is_null()).and_then(id),
                    });
                };
                let whole = || spec.value(logical, "").cloned().unwrap_or_default();
                match resource.kind.as_str() {
                    "AWS::EC2::SecurityGroupIngress" | "AWS::EC2::SecurityGroupEgress" => {
                        let rule = whole();
                        if let Some(group) = id(&rule["GroupId"]) {
                            add(resource.kind.ends_with("Ingress"), group, &rule);
                        }
                    }
                    "AWS::EC2::SecurityGroup" => {
                        let body = whole();
                        for (inwards, name) in
                            [(true, "SecurityGroupIngress"), (false, "SecurityGroupEgress")]
                        {
                            for rule in body[name].as_array().into_iter().flatten() {
                                add(inwards, resource.physical.clone(), rule);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        rules
    }

    /// Whether the groups at both ends let a connection pass. Without any of its own, a pod carries those of its
    /// machine: it may go anywhere, and is let in by everybody who carries them, too.
    fn groups_let_pass(&self, cluster: &Cluster, from: &[String], to: &[String], port: u16) -> bool {
        if from.is_empty() && to.is_empty() {
            return true;
        }
        let rules = self.rules(cluster);
        let lets = |inwards: bool, here: &[String], there: &[String]| {
            let mut own = rules
                .iter()
                .filter(|rule| rule.inwards == inwards && here.contains(&rule.group))
                .peekable();
            if here.is_empty() || !inwards && own.peek().is_none() {
                return true;
            }
            own.any(|rule| {
                rule.ports
                    .is_none_or(|(first, last)| (first..=last).contains(&port))
                    && rule.other.as_ref().is_some_and(|other| there.contains(other))
            })
        };
        lets(false, from, to) && lets(true, to, from)
    }

    /// Whether some group lets this group in at a port.
    fn mentions(&self, cluster: &Cluster, group: &str, port: u16) -> bool {
        let rules = self.rules(cluster);
        rules.iter().any(|rule| {
            rule.inwards
                && rule
                    .ports
                    .is_some_and(|(first, last)| (first..=last).contains(&port))
                && rule.other.as_deref() == Some(group)
        })
    }

    /// Whether no group says who may reach a port: then nothing is known of what is there.
    fn nobody_mentions(&self, cluster: &Cluster, port: u16) -> bool {
        let rules = self.rules(cluster);
        let about = |rule: &&Rule| rule.inwards && rule.other.is_some();
        !rules.iter().filter(about).any(|rule| {
            rule.ports
                .is_some_and(|(first, last)| (first..=last).contains(&port))
        })
    }
}
