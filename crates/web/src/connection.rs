//! A pod can, or cannot, reach an address.
//!
//! A connection that must be refused holds only when a pod could try it: a pod that never ran proves nothing.

use std::time::Duration;

use landfall_model::definition::{ConnectionCheck, Expected};
use landfall_model::provider::{Failure, Outputs};
use landfall_runner::{Probe, Probed};

use crate::{Held, Miss, Seen};

/// How long a pod may take to be scheduled, to start and to try.
const ONE_TRY: Duration = Duration::from_secs(120);
const AT_LEAST: Duration = Duration::from_secs(20);

/// Tries once, with a pod called by `name`.
pub(crate) async fn look(
    check: &ConnectionCheck,
    probe: Option<&dyn Probe>,
    name: &str,
    left: Duration,
) -> Result<Held, Miss> {
    let ConnectionCheck {
        cluster,
        from,
        to,
        expect,
    } = check;
    let Some(probe) = probe else {
        return Err(
            Failure::new("nobody was given to try connections from inside a cluster")
                .way_out("run the command with credentials that may reach the cluster")
                .into(),
        );
    };
    let port = to
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok().filter(|port| *port > 0)?)));
    let Some((host, port)) = port else {
        return Err(
            Failure::new(format!("`{to}` is not something that can be connected to"))
                .way_out("write it as host:port, such as api.shop.svc.cluster.local:8080")
                .into(),
        );
    };
    let time = left.clamp(AT_LEAST, ONE_TRY);
    let probed = probe
        .connect(cluster, name, from, (host, port), time)
        .await
        .map_err(Miss::Never)?;
    let who = format!("a pod in {}", from.namespace);
    let seen = |what: String, state: &str, way_out: String| Seen {
        what,
        resource: to.clone(),
        kind: "connection".to_owned(),
        state: state.to_owned(),
        way_out,
    };
    let held = |result: &str, note: String| Held {
        outputs: Outputs::from_iter([("result".to_owned(), result.into())]),
        notes: vec![note],
    };
    match (expect, probed) {
        (Expected::Allowed, Probed::Connected) => Ok(held("connected", format!("{who} reaches {to}"))),
        (Expected::Refused, Probed::Refused(said)) => {
            Ok(held("refused", format!("{who} does not reach {to} ({said})")))
        }
        (Expected::Allowed, Probed::Refused(said)) => Err(seen(
            format!("{who} does not reach {to} ({said})"),
            "refused",
            format!(
                "check that something listens there, and what stops it: kubectl -n {} get networkpolicies, and the security \
                 groups of pods (SecurityGroupPolicy)",
                from.namespace
            ),
        )
        .into()),
        (Expected::Refused, Probed::Connected) => Err(seen(
            format!("{who} reaches {to}, and must not"),
            "connected",
            "check that the cluster's network plugin enforces network policies (Amazon VPC CNI: enableNetworkPolicy), and \
             that a policy selects one side of the connection"
                .to_owned(),
        )
        .into()),
        (_, Probed::NotYet(why)) => Err(seen(
            format!("{who} could not try yet ({why})"),
            "not tried",
            format!("look at it: kubectl -n {} describe pod {name}", from.namespace),
        )
        .into()),
    }
}
