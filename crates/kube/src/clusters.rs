//! How a cluster is reached. Whoever knows AWS, a kubeconfig file or a simulated world answers; this room only asks.

use async_trait::async_trait;

/// Whether a cluster can be talked to.
pub enum Reach {
    /// There is no cluster of this name.
    Absent,
    /// It is there and cannot be talked to yet.
    Starting {
        /// The world's word for its state, such as `CREATING`.
        state: String,
    },
    /// It answers to this client.
    Ready(kube::Client),
}

/// Why it could not be found out whether a cluster is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreachable {
    /// What went wrong.
    pub message: String,
    /// Whether the credentials have expired.
    pub expired: bool,
    /// Whether it may pass by itself.
    pub passes: bool,
}

/// Finds clusters.
#[async_trait]
pub trait Clusters: Send + Sync {
    /// A cluster by its name. Asked again and again while a cluster is waited for: must be cheap when nothing changed.
    async fn reach(&self, region: &str, name: &str) -> Result<Reach, Unreachable>;

    /// The clusters that carry the platform's mark, as region and name.
    async fn of_platform(&self, platform: &str) -> Result<Vec<(String, String)>, Unreachable>;

    /// Reads credentials anew after they expired.
    async fn renew(&self) -> Result<(), String> {
        Ok(())
    }
}
