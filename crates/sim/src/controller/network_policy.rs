//! Whether network policies let one pod reach another (source: Kubernetes, "Network Policies"; networking.k8s.io/v1).
//!
//! Pure: objects go in, a verdict comes out. Both sides are asked. A side that no policy selects lets everything pass;
//! one that is selected lets pass what any of its policies allows. Answers to what was allowed are never looked at.

use std::net::IpAddr;

use serde_json::Value;

/// What comes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Allowed,
    /// The policies that select this side let nothing like it pass.
    Denied {
        side: Side,
        /// The policies, as `namespace/name`.
        by: Vec<String>,
    },
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Egress,
    Ingress,
}

/// Who is at one end: a pod, or an address that is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    Pod(&'a Value),
    Address(IpAddr),
}

/// A port that is connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port<'a> {
    pub(crate) number: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: &'a str,
}

/// Judges a connection from `from` to a port of `to`, by all policies and namespaces of the cluster.
pub(crate) fn allowed(
    policies: &[&Value],
    namespaces: &[&Value],
    from: End<'_>,
    to: End<'_>,
    port: Port<'_>,
) -> Verdict {
    for (side, here, there) in [(Side::Egress, from, to), (Side::Ingress, to, from)] {
        let End::Pod(pod) = here else { continue };
        // The node a pod runs on always reaches it, and pods of the host's network are the node.
        if pod["spec"]["hostNetwork"] == true {
            continue;
        }
        let selecting: Vec<&Value> = policies
            .iter()
            .copied()
            .filter(|policy| selects(policy, pod, side))
            .collect();
        let passes = selecting
            .iter()
            .any(|policy| lets_pass(policy, namespaces, side, there, to, port));
        if !selecting.is_empty() && !passes {
            let name =
                |policy: &&Value| format!("{}/{}", namespace(policy), text(&policy["metadata"]["name"]));
            return Verdict::Denied {
                side,
                by: selecting.iter().map(name).collect(),
            };
        }
    }
    Verdict::Allowed
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or("default")
}

/// Whether a policy speaks of this side of this pod. Without `policyTypes` it speaks of ingress, and of egress when it
/// has rules for that.
fn selects(policy: &Value, pod: &Value, side: Side) -> bool {
    let spec = &policy["spec"];
    let speaks = match (spec["policyTypes"].as_array(), side) {
        (Some(types), Side::Ingress) => types.iter().any(|kind| kind == "Ingress"),
        (Some(types), Side::Egress) => types.iter().any(|kind| kind == "Egress"),
        (None, Side::Ingress) => true,
        (None, Side::Egress) => spec["egress"].as_array().is_some_and(|rules| !rules.is_empty()),
    };
    speaks && namespace(policy) == namespace(pod) && fits(&spec["podSelector"], &pod["metadata"]["labels"])
}

fn lets_pass(
    policy: &Value,
    namespaces: &[&Value],
    side: Side,
    there: End<'_>,
    target: End<'_>,
    port: Port<'_>,
) -> bool {
    let (rules, peers) = match side {
        Side::Egress => ("egress", "to"),
        Side::Ingress => ("ingress", "from"),
    };
    let rules = policy["spec"][rules]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    rules.iter().any(|rule| {
        let peers = rule[peers].as_array().map(Vec::as_slice).unwrap_or_default();
        let ports = rule["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        // An empty list is no limit.
        (peers.is_empty() || peers.iter().any(|peer| is_peer(peer, policy, namespaces, there)))
            && (ports.is_empty() || ports.iter().any(|one| is_port(one, target, port)))
    })
}

fn is_peer(peer: &Value, policy: &Value, namespaces: &[&Value], there: End<'_>) -> bool {
    if let Some(block) = peer.get("ipBlock") {
        let address = match there {
            End::Address(address) => Some(address),
            End::Pod(pod) => text(&pod["status"]["podIP"]).parse().ok(),
        };
        return address.is_some_and(|address| in_block(block, address));
    }
    let End::Pod(pod) = there else { return false };
    let in_namespace = match peer.get("namespaceSelector") {
        // Without one, only pods of the policy's own namespace are meant.
        None => namespace(pod) == namespace(policy),
        Some(selector) => {
            let labels = namespaces
                .iter()
                .find(|one| one["metadata"]["name"] == namespace(pod))
                .map(|one| with_name(&one["metadata"]["labels"], namespace(pod)));
            labels.is_some_and(|labels| fits(selector, &labels))
        }
    };
    in_namespace
        && peer
            .get("podSelector")
            .is_none_or(|selector| fits(selector, &pod["metadata"]["labels"]))
}

/// Every namespace carries its name as a label.
fn with_name(labels: &Value, name: &str) -> Value {
    let mut labels = labels.as_object().cloned().unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    Value::Object(labels)
}

fn is_port(wanted: &Value, target: End<'_>, port: Port<'_>) -> bool {
    if wanted["protocol"].as_str().unwrap_or("TCP") != port.protocol {
        return false;
    }
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    match &wanted["port"] {
        Value::Null => true,
        // A name is that of a port of the pod that is connected to.
        Value::String(name) => match target {
            End::Pod(pod) => pod["spec"]["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|container| container["ports"].as_array().into_iter().flatten())
                .any(|one| {
                    one["name"] == *name
                        && number(&one["containerPort"]) == Some(port.number)
                        && one["protocol"].as_str().unwrap_or("TCP") == port.protocol
                }),
            End::Address(_) => false,
        },
        first => match (number(first), number(&wanted["endPort"])) {
            (Some(first), Some(last)) => (first..=last).contains(&port.number),
            (Some(first), None) => first == port.number,
            (None, _) => false,
        },
    }
}

fn in_block(block: &Value, address: IpAddr) -> bool {
    let inside = |cidr: &Value| contains(text(cidr), address);
    inside(&block["cidr"]) && !block["except"].as_array().into_iter().flatten().any(inside)
}

fn contains(cidr: &str, address: IpAddr) -> bool {
    let Some((network, prefix)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    let same = |a: u128, b: u128, bits: u32| {
        let behind = bits.saturating_sub(prefix);
        behind >= bits || a >> behind == b >> behind
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(u32::from(network).into(), u32::from(address).into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => same(network.into(), address.into(), 128),
        _ => false,
    }
}

/// Whether labels fit a selector. One that is empty fits everything.
pub(super) fn fits(selector: &Value, labels: &Value) -> bool {
    let exact = selector["matchLabels"].as_object();
    let expressions = selector["matchExpressions"].as_array();
    exact
        .into_iter()
        .flatten()
        .all(|(key, value)| labels[key] == *value)
        && expressions.into_iter().flatten().all(|expression| {
            let label = labels
                .get(text(&expression["key"]))
                .filter(|label| !label.is_null());
            let among = || {
                let values = expression["values"].as_array().into_iter().flatten();
                label.is_some_and(|label| values.into_iter().any(|value| value == label))
            };
            match text(&expression["operator"]) {
                "In" => among(),
                "NotIn" => !among(),
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, app: &str, ip: &str) -> Value {
        json!({
            "metadata": { "name": app, "namespace": namespace, "labels": { "app": app } },
            "spec": { "containers": [{ "ports": [{ "name": "web", "containerPort": 8080 }] }] },
            "status": { "podIP": ip },
        })
    }

    fn policy(namespace: &str, name: &str, spec: Value) -> Value {
        json!({ "metadata": { "name": name, "namespace": namespace }, "spec": spec })
    }

    fn judge(policies: &[Value], from: &Value, to: &Value, port: u16) -> String {
        let namespaces = [
            json!({ "metadata": { "name": "shop", "labels": { "team": "shop" } } }),
            json!({ "metadata": { "name": "tools" } }),
        ];
        let verdict = allowed(
            &policies.iter().collect::<Vec<_>>(),
            &namespaces.iter().collect::<Vec<_>>(),
            End::Pod(from),
            End::Pod(to),
            Port {
                number: port,
                protocol: "TCP",
            },
        );
        match verdict {
            Verdict::Allowed => "allowed".to_owned(),
            Verdict::Denied { side, by } => format!("{side:?} denied by {}", by.join(", ")),
        }
    }

    #[test]
    fn without_policies_everything_passes_and_one_that_says_nothing_stops_all() {
        let (web, db) = (pod("shop", "web", "10.0.0.1"), pod("shop", "db", "10.0.0.2"));
        assert_eq!(judge(&[], &web, &db, 5432), "allowed");
        let ingress = policy(
            "shop",
            "deny",
            json!({ "podSelector": {}, "policyTypes": ["Ingress"] }),
        );
        assert_eq!(
            judge(std::slice::from_ref(&ingress), &web, &db, 5432),
            "Ingress denied by shop/deny"
        );
        // Other namespaces are not meant.
        assert_eq!(
            judge(&[ingress], &web, &pod("tools", "db", "10.0.0.3"), 5432),
            "allowed"
        );
        let egress = policy(
            "shop",
            "deny",
            json!({ "podSelector": {}, "policyTypes": ["Egress"] }),
        );
        assert_eq!(judge(&[egress], &web, &db, 5432), "Egress denied by shop/deny");
    }

    #[test]
    fn both_sides_must_agree() {
        let (web, db) = (pod("shop", "web", "10.0.0.1"), pod("shop", "db", "10.0.0.2"));
        let deny = policy(
            "shop",
            "deny",
            json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }),
        );
        let to_db = policy(
            "shop",
            "web-to-db",
            json!({
                "podSelector": { "matchLabels": { "app": "web" } }, "policyTypes": ["Egress"],
                "egress": [{ "to": [{ "podSelector": { "matchLabels": { "app": "db" } } }], "ports": [{ "port": 5432 }] }],
            }),
        );
        let from_web = policy(
            "shop",
            "db-from-web",
            json!({
                "podSelector": { "matchLabels": { "app": "db" } },
                "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": "web" } } }] }],
            }),
        );
        let half = [deny.clone(), to_db.clone()];
        assert_eq!(judge(&half, &web, &db, 5432), "Ingress denied by shop/deny");
        let whole = [deny, to_db, from_web];
        assert_eq!(judge(&whole, &web, &db, 5432), "allowed");
        assert_eq!(
            judge(&whole, &web, &db, 22),
            "Egress denied by shop/deny, shop/web-to-db"
        );
        assert_eq!(judge(&whole, &db, &web, 8080), "Egress denied by shop/deny");
    }

    #[test]
    fn other_namespaces_are_let_in_by_their_labels() {
        let db = pod("tools", "db", "10.0.0.2");
        let from = |peer: Value| {
            policy(
                "tools",
                "in",
                json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": [peer] }] }),
            )
        };
        let web = pod("shop", "web", "10.0.0.1");
        let team = json!({ "namespaceSelector": { "matchLabels": { "team": "shop" } } });
        assert_eq!(judge(&[from(team.clone())], &web, &db, 1), "allowed");
        let mut narrower = team;
        narrower["podSelector"] = json!({ "matchLabels": { "app": "other" } });
        assert_eq!(
            judge(&[from(narrower)], &web, &db, 1),
            "Ingress denied by tools/in"
        );
        let named = json!({ "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "other"] },
        ] } });
        assert_eq!(judge(&[from(named)], &web, &db, 1), "allowed");
        // Only pods of its own namespace, when a peer names none.
        let own = json!({ "podSelector": {} });
        assert_eq!(judge(&[from(own)], &web, &db, 1), "Ingress denied by tools/in");
    }

    #[test]
    fn addresses_and_named_ports_count() {
        let (web, api) = (pod("shop", "web", "10.0.0.1"), pod("shop", "api", "10.0.9.2"));
        let named = policy(
            "shop",
            "in",
            json!({ "podSelector": { "matchLabels": { "app": "api" } }, "ingress": [{ "ports": [{ "port": "web" }] }] }),
        );
        assert_eq!(judge(std::slice::from_ref(&named), &web, &api, 8080), "allowed");
        assert_eq!(judge(&[named], &web, &api, 8081), "Ingress denied by shop/in");
        let block = policy(
            "shop",
            "out",
            json!({
                "podSelector": {}, "policyTypes": ["Egress"],
                "egress": [{
                    "to": [{ "ipBlock": { "cidr": "10.0.0.0/16", "except": ["10.0.9.0/24"] } }],
                    "ports": [{ "port": 8000, "endPort": 8999 }],
                }],
            }),
        );
        assert_eq!(judge(std::slice::from_ref(&block), &api, &web, 8500), "allowed");
        assert_eq!(
            judge(std::slice::from_ref(&block), &api, &web, 9000),
            "Egress denied by shop/out"
        );
        assert_eq!(
            judge(std::slice::from_ref(&block), &web, &api, 8080),
            "Egress denied by shop/out"
        );
        let verdict = allowed(
            &[&block],
            &[],
            End::Pod(&web),
            End::Address("192.0.2.1".parse().unwrap()),
            Port {
                number: 8080,
                protocol: "TCP",
            },
        );
        assert_eq!(
            verdict,
            Verdict::Denied {
                side: Side::Egress,
                by: vec!["shop/out".to_owned()]
            }
        );
    }
}
