//! How the clusters of an AWS account are reached: by what EKS says, or by a kubeconfig.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_aws::{Account, EksCluster};
use landfall_kube::client::{self, Token, TokenError, TokenSource};
use landfall_kube::{Clusters, Reach, Unreachable};
use landfall_runner::ObserveError;

/// What EKS calls a cluster that answers. It does while it is changed, too.
const ANSWERING: [&str; 2] = ["ACTIVE", "UPDATING"];

/// The clusters of one account, in one region.
pub(crate) struct EksClusters {
    account: Arc<Account>,
    region: String,
    kubeconfig: Option<PathBuf>,
    /// Whether the platform has anything in clusters. Where it has not, nobody is asked which there are.
    in_use: bool,
    /// Clients by region, name and address: a cluster made anew has another address.
    clients: Mutex<HashMap<(String, String, String), landfall_kube::Client>>,
}

impl EksClusters {
    /// Clusters of an account; those that a context of `kubeconfig` is called like are reached through it.
    pub(crate) fn new(
        account: Arc<Account>,
        region: &str,
        kubeconfig: Option<PathBuf>,
        in_use: bool,
    ) -> EksClusters {
        EksClusters {
            account,
            region: region.to_owned(),
            kubeconfig,
            in_use,
            clients: Mutex::default(),
        }
    }

    /// The clusters that carry a platform's mark.
    pub(crate) async fn marked(&self, platform: &str) -> Result<Vec<EksCluster>, ObserveError> {
        let mut found = Vec::new();
        for name in self.account.eks_clusters(&self.region).await? {
            let cluster = self.account.eks_cluster(&self.region, &name).await?;
            found.extend(cluster.filter(|cluster| cluster.platform.as_deref() == Some(platform)));
        }
        Ok(found)
    }

    /// A client that is kept, so that connections are.
    fn kept(
        &self,
        key: (String, String, String),
        make: impl FnOnce() -> Result<landfall_kube::Client, client::ClientError>,
    ) -> Result<Reach, Unreachable> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = make().map_err(|error| unusable(&error))?;
                clients.insert(key, client.clone());
                client
            }
        };
        Ok(Reach::Ready(client))
    }
}

/// Whatever made an error, once, with everything behind it.
fn unusable(error: &dyn std::error::Error) -> Unreachable {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Unreachable {
        message,
        expired: false,
        passes: false,
    }
}

fn unreachable(error: &ObserveError) -> Unreachable {
    Unreachable {
        expired: error.expired,
        ..unusable(error)
    }
}

#[async_trait]
impl Clusters for EksClusters {
    async fn reach(&self, region: &str, name: &str) -> Result<Reach, Unreachable> {
        if let Some(file) = &self.kubeconfig {
            let key = (region.to_owned(), name.to_owned(), file.display().to_string());
            let known = self
                .clients
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&key)
                .cloned();
            let client = match known {
                Some(client) => client,
                None => client::from_file(file, Some(name))
                    .await
                    .map_err(|error| unusable(&error))?,
            };
            return self.kept(key, || Ok(client));
        }
        let cluster = self.account.eks_cluster(region, name).await;
        let Some(cluster) = cluster.map_err(|error| unreachable(&error))? else {
            return Ok(Reach::Absent);
        };
        if cluster.status == "DELETING" {
            return Ok(Reach::Absent);
        }
        if !ANSWERING.contains(&cluster.status.as_str()) || cluster.endpoint.is_empty() {
            return Ok(Reach::Starting {
                state: cluster.status,
            });
        }
        let certificate = certificate(&cluster)?;
        let tokens = Arc::new(Tokens {
            account: self.account.clone(),
            region: region.to_owned(),
            cluster: name.to_owned(),
        });
        let key = (region.to_owned(), name.to_owned(), cluster.endpoint.clone());
        self.kept(key, || client::client(&cluster.endpoint, &certificate, tokens))
    }

    async fn of_platform(&self, platform: &str) -> Result<Vec<(String, String)>, Unreachable> {
        if !self.in_use {
            return Ok(Vec::new());
        }
        let marked = self.marked(platform).await.map_err(|error| unreachable(&error))?;
        Ok(marked
            .into_iter()
            .map(|cluster| (self.region.clone(), cluster.name))
            .collect())
    }

    async fn renew(&self) -> Result<(), String> {
        self.account.renew().await
    }
}

/// The certificate authority of a cluster, as PEM.
pub(crate) fn certificate(cluster: &EksCluster) -> Result<String, Unreachable> {
    let bytes = STANDARD.decode(&cluster.certificate_authority);
    bytes
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Unreachable {
            message: format!(
                "EKS gives no certificate for the cluster `{}` that can be read",
                cluster.name
            ),
            expired: false,
            passes: false,
        })
}

/// Tokens for one cluster.
struct Tokens {
    account: Arc<Account>,
    region: String,
    cluster: String,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Token, TokenError> {
        match self.account.eks_token(&self.region, &self.cluster).await {
            Ok(token) => Ok(Token {
                text: token.token,
                until: jiff::Timestamp::try_from(token.ends).ok(),
            }),
            Err(error) => Err(TokenError {
                expired: error.expired,
                message: unreachable(&error).message,
            }),
        }
    }
}
