//! Kubernetes' own controllers: what makes pods of workloads, puts them on machines, runs them, and tells how
//! far they are. They see a change at once; what they wait for is pods, machines and claims.

use landfall_apiserver::Key;

use super::Again;
use super::endpoints::{sync_api_services, sync_endpoints};
use crate::cluster::{Cluster, Status};
use crate::world::State;

/// The name under which they write.
pub(super) const MANAGER: &str = "kube-controller-manager";
/// How often one controller's work may give another one something to do within a turn.
const ROUNDS: usize = 8;

impl State {
    /// Gives Kubernetes' own controllers a turn, when it is theirs.
    pub(crate) fn turn(&mut self, uid: u64, now: u64) {
        let is_due = |one: &Cluster| one.uid == uid && one.next_turn == Some(now);
        let done = self.with_cluster(is_due, |state, cluster| {
            cluster.next_turn = None;
            let mut again = Again::default();
            let changed = state.take_turn(cluster, now, &mut again);
            (changed, again)
        });
        let Some((changed, again)) = done else {
            return;
        };
        if changed {
            // The other controllers want to know.
            self.look_soon(uid, now);
        }
        if let Some(at) = again.at {
            self.turn_at(uid, at.max(now + 1));
        }
    }

    /// Lets them work until they have nothing more to do now. Tells whether they did anything.
    pub(super) fn take_turn(&mut self, cluster: &mut Cluster, now: u64, again: &mut Again) -> bool {
        if cluster.status != Status::Active {
            return false;
        }
        let first = cluster.api.revision();
        let mut before = first;
        for _ in 0..ROUNDS {
            self.sync_nodes(cluster, now, again);
            self.run_workloads(cluster, now, again);
            self.run_pods(cluster, now, again);
            sync_endpoints(cluster, now);
            sync_api_services(cluster, now);
            cluster.settle(now);
            if cluster.api.revision() == before {
                return before != first;
            }
            before = cluster.api.revision();
        }
        again.at(now + 1_000);
        true
    }

    /// A workload was applied again: as if somebody had mended what was wrong.
    pub(crate) fn mended(&mut self, cluster: &mut Cluster, workload: &Key, now: u64) {
        if cluster.failing.remove(workload).is_none() {
            return;
        }
        let of_it: Vec<(Key, String)> = cluster
            .all("", "Pod")
            .into_iter()
            .filter(|(_, pod)| super::pods::workload(cluster, pod).as_ref() == Some(workload))
            .map(|(key, pod)| (key, crate::cluster::object::uid(&pod).to_owned()))
            .collect();
        for (key, uid) in of_it {
            // Whoever owns it makes another one.
            cluster.fates.remove(&uid);
            cluster.delete(&key, now);
        }
    }
}
