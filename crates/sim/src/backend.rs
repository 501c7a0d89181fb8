//! A cluster of the simulated world, for clients that come over a network: real `kubectl`, for one.

use std::net::SocketAddr;
use std::sync::Arc;

use landfall_apiserver::serve::Backend;
use landfall_apiserver::{Answer, Key, Request, Response, Watch};

use crate::cluster::Status;
use crate::world::World;

/// Who comes with the token.
const WHO: &str = "kubernetes-admin";
/// One cluster. It answers as long as it is there.
struct Served {
    world: Arc<World>,
    cluster: u64,
    token: String,
}

impl World {
    /// A cluster that answers, to be served to whoever has this token.
    pub fn served(self: &Arc<World>, region: &str, name: &str, token: &str) -> Option<Arc<dyn Backend>> {
        let (mut state, _) = self.at();
        let mut clusters = state.clusters.iter_mut();
        let cluster =
            clusters.find(|one| one.name == name && one.region == region && one.status == Status::Active)?;
        cluster.api.set_groups(WHO, &["system:masters"]);
        Some(Arc::new(Served {
            world: self.clone(),
            cluster: cluster.uid,
            token: token.to_owned(),
        }))
    }
}

impl Backend for Served {
    fn user(&self, token: Option<&str>) -> Option<String> {
        (token == Some(self.token.as_str())).then(|| WHO.to_owned())
    }

    fn handle(&self, request: &Request) -> Response {
        let (mut state, now) = self.world.at();
        state.respond(self.cluster, request, now).unwrap_or_else(gone)
    }

    fn events(&self, watch: &mut Watch) -> Vec<u8> {
        let (mut state, now) = self.world.at();
        let seen = state.with_cluster(
            |one| one.uid == self.cluster,
            |_, cluster| {
                let at = cluster.stamp(now);
                cluster.api.events(watch, at)
            },
        );
        seen.unwrap_or_default()
    }

    fn forward(&self, _: &Key, _: u16) -> Option<SocketAddr> {
        // Nothing listens in simulated pods.
        None
    }
}

fn gone() -> Response {
    Response {
        status: 503,
        content_type: "text/plain".to_owned(),
        warnings: Vec::new(),
        body: Answer::Whole(b"the cluster is gone".to_vec()),
    }
}
