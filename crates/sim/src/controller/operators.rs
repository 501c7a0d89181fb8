//! Operators of which little more is known than this: while their pods run, what they look after comes to
//! hold what its conditions say, some time later.
//!
//! A new one is an entry in [`OPERATORS`]; one that also makes things gives a function of its own.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::Again;
use crate::cluster::{Cluster, object};
use crate::durations;
use crate::world::State;

/// What more an operator does: it sees the whole cluster.
pub(super) type Tend = fn(&mut State, &mut Cluster, u64, &mut Again);

/// Something that looks after kinds of objects.
pub(super) struct Operator {
    /// The label `app.kubernetes.io/name` of what has to run.
    pub(super) app: &'static str,
    pub(super) kinds: &'static [Tended],
    pub(super) also: Option<Tend>,
}

/// A kind it looks after.
pub(super) struct Tended {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    /// The conditions that come to hold.
    pub(super) conditions: &'static [&'static str],
    /// How long that takes when `durations.json` does not say.
    pub(super) seconds: u64,
}

const fn ready(group: &'static str, kind: &'static str, seconds: u64) -> Tended {
    Tended {
        group,
        kind,
        conditions: &["Ready"],
        seconds,
    }
}

/// Everyone there is.
pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        app: "cert-manager",
        kinds: &[
            ready("cert-manager.io", "Issuer", 5),
            ready("cert-manager.io", "ClusterIssuer", 5),
            ready("cert-manager.io", "Certificate", 60),
        ],
        also: None,
    },
    Operator {
        app: "external-secrets",
        kinds: &[
            ready("external-secrets.io", "SecretStore", 3),
            ready("external-secrets.io", "ClusterSecretStore", 3),
            ready("external-secrets.io", "ExternalSecret", 5),
        ],
        also: None,
    },
    Operator {
        app: "cloudnative-pg",
        kinds: &[ready("postgresql.cnpg.io", "Cluster", 90)],
        also: None,
    },
];

impl State {
    pub(super) fn operators(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) {
        for operator in OPERATORS {
            let has_any = operator
                .kinds
                .iter()
                .any(|kind| cluster.api.of_kind(kind.group, kind.kind).next().is_some());
            if !(has_any || operator.also.is_some()) || cluster.runs(operator.app).is_none() {
                continue;
            }
            for kind in operator.kinds {
                for (key, one) in cluster.all(kind.group, kind.kind) {
                    self.tend(cluster, operator.app, kind, (&key, &one), now, again);
                }
            }
            if let Some(also) = operator.also {
                also(self, cluster, now, again);
            }
        }
    }

    fn tend(
        &mut self,
        cluster: &mut Cluster,
        manager: &str,
        kind: &Tended,
        (key, one): (&Key, &Value),
        now: u64,
        again: &mut Again,
    ) {
        let holds = |name: &&str| object::is_true(one, name);
        let is_seen = one["status"]["observedGeneration"] == object::generation(one);
        if object::is_going(one) || is_seen && kind.conditions.iter().all(holds) {
            return;
        }
        let typical = durations::typical_ms(kind.kind, false).unwrap_or(kind.seconds * 1000);
        let takes = self.chance(&["tended", object::uid(one)]).about(typical, 30);
        let due = cluster
            .since_creation(one, now)
            .map_or(now, |age| now + takes.saturating_sub(age));
        if due > now {
            again.at(due);
            return;
        }
        let text = cluster.text(now);
        let conditions: Vec<Value> = kind
            .conditions
            .iter()
            .map(|name| {
                let mut one_of = object::put_condition(one, name, true, name, "", &text);
                one_of["observedGeneration"] = json!(object::generation(one));
                one_of
            })
            .collect();
        let status = json!({ "observedGeneration": object::generation(one), "conditions": conditions });
        cluster.merge_status(manager, key, status, now);
    }
}
