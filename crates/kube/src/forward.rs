//! Reaching into a cluster from here: a port behind a Service, a value in a Secret.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, Secret, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::ListParams;
use tokio::net::{TcpListener, TcpStream};

/// Why something in a cluster was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// There is no such object.
    #[error("there is no {what} yet")]
    Absent {
        /// `Service shop/web`.
        what: String,
    },
    /// The object was not read.
    #[error("could not read the {what}")]
    Read {
        /// `Service shop/web`.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The Service has no such port.
    #[error("the Service {service} has no port {port}: it has {has}")]
    NoPort {
        /// `shop/web`.
        service: String,
        /// What was asked for.
        port: String,
        /// What there is.
        has: String,
    },
    /// No pod behind the Service is ready.
    #[error("no pod behind the Service {service} is ready")]
    NoPod {
        /// `shop/web`.
        service: String,
    },
    /// The Secret has no such key.
    #[error("the Secret {secret} has no key `{key}`: it has {has}")]
    NoKey {
        /// `shop/login`.
        secret: String,
        /// What was asked for.
        key: String,
        /// What there is.
        has: String,
    },
    /// The value is no text.
    #[error("the key `{key}` of the Secret {secret} is not text")]
    NoText {
        /// `shop/login`.
        secret: String,
        /// Which key.
        key: String,
    },
    /// Nothing can be accepted here any more.
    #[error("could not accept connections")]
    Accept(#[source] std::io::Error),
}

/// Why an object was not read. What an API server says of one that is not there is of no use to anybody.
fn unread(what: String, source: kube::Error) -> ReachError {
    match source {
        kube::Error::Api(status) if status.code == 404 => ReachError::Absent { what },
        source => ReachError::Read {
            what,
            source: Box::new(source),
        },
    }
}

/// How many connections there may be at once.
const AT_ONCE: usize = 64;

/// Whether there is a pod to forward to now.
///
/// # Errors
/// There is none, for what is said.
pub async fn can_forward(
    client: &kube::Client,
    namespace: &str,
    service: &str,
    port: &str,
) -> Result<(), ReachError> {
    let target = Target {
        client,
        namespace,
        service,
        port,
    };
    target.find().await.map(drop)
}

/// Lets everybody who connects to `local` talk to a port of a Service, through a pod of it that is ready. `port` is its
/// number or its name. Tells `watch` of connections that fail. Goes on until it is dropped; fails when the first look finds
/// nothing to forward to.
pub async fn forward(
    client: &kube::Client,
    namespace: &str,
    service: &str,
    port: &str,
    local: TcpListener,
    watch: impl Fn(String),
) -> Result<(), ReachError> {
    let target = Target {
        client,
        namespace,
        service,
        port,
    };
    target.find().await?;
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = local.accept(), if open.len() < AT_ONCE => {
                let (stream, _) = accepted.map_err(ReachError::Accept)?;
                open.push(target.pump(stream));
            }
            Some(ended) = open.next() => {
                if let Err(why) = ended {
                    watch(why);
                }
            }
        }
    }
}

/// The port of a Service.
struct Target<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
    service: &'a str,
    port: &'a str,
}

impl Target<'_> {
    fn said(&self) -> String {
        format!("{}/{}", self.namespace, self.service)
    }

    /// A pod that is ready, and its port. Looked for anew for each connection: pods come and go.
    async fn find(&self) -> Result<(String, u16), ReachError> {
        let failed = |what: String| move |source| unread(what, source);
        let services: Api<Service> = Api::namespaced(self.client.clone(), self.namespace);
        let service = services
            .get(self.service)
            .await
            .map_err(failed(format!("Service {}", self.said())))?;
        let spec = service.spec.unwrap_or_default();
        let ports = spec.ports.unwrap_or_default();
        let is_it =
            |one: &&ServicePort| one.name.as_deref() == Some(self.port) || self.port.parse() == Ok(one.port);
        let Some(port) = ports.iter().find(is_it) else {
            let has: Vec<String> = ports.iter().map(|one| one.port.to_string()).collect();
            return Err(ReachError::NoPort {
                service: self.said(),
                port: self.port.to_owned(),
                has: if has.is_empty() {
                    "none".to_owned()
                } else {
                    has.join(", ")
                },
            });
        };
        let selector: Vec<String> = spec
            .selector
            .unwrap_or_default()
            .iter()
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        let none = || ReachError::NoPod { service: self.said() };
        if selector.is_empty() {
            return Err(none());
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        let query = ListParams::default().labels(&selector.join(","));
        let pods = pods
            .list(&query)
            .await
            .map_err(failed(format!("pods of the Service {}", self.said())))?;
        let found = pods
            .items
            .iter()
            .filter(|pod| is_ready(pod))
            .find_map(|pod| Some((pod.metadata.name.clone()?, target_port(port, pod)?)));
        found.ok_or_else(none)
    }

    async fn pump(&self, mut here: TcpStream) -> Result<(), String> {
        let (pod, port) = self.find().await.map_err(|error| error.to_string())?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        let lost = |why: String| format!("the connection to port {port} of the pod {pod} was lost: {why}");
        let mut forwarder = pods
            .portforward(&pod, &[port])
            .await
            .map_err(|error| lost(error.to_string()))?;
        let refused = forwarder.take_error(port);
        let Some(mut there) = forwarder.take_stream(port) else {
            return Err(lost("nothing came of it".to_owned()));
        };
        let pumped = tokio::io::copy_bidirectional(&mut here, &mut there).await;
        drop(there);
        // Both sides have had everything by now: how the tunnel itself ends tells nobody anything.
        forwarder.join().await.ok();
        if let Some(refused) = refused
            && let Some(why) = refused.await
        {
            return Err(lost(why));
        }
        pumped.map(drop).map_err(|error| lost(error.to_string()))
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}

/// The port of a pod that a port of a Service stands for.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let more = spec.init_containers.iter().flatten();
            let mut ports = spec
                .containers
                .iter()
                .chain(more)
                .flat_map(|one| one.ports.iter().flatten());
            ports
                .find(|one| one.name.as_deref() == Some(name))?
                .container_port
        }
    };
    u16::try_from(number).ok()
}

/// A value in a Secret.
pub async fn secret_value(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<String, ReachError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let said = format!("{namespace}/{name}");
    let secret = secrets.get(name).await;
    let secret = secret.map_err(|source| unread(format!("Secret {said}"), source))?;
    let mut data = secret.data.unwrap_or_default();
    let Some(value) = data.remove(key) else {
        let has: Vec<String> = data.into_keys().collect();
        return Err(ReachError::NoKey {
            secret: said,
            key: key.to_owned(),
            has: if has.is_empty() {
                "none".to_owned()
            } else {
                has.join(", ")
            },
        });
    };
    String::from_utf8(value.0).map_err(|_| ReachError::NoText {
        secret: said,
        key: key.to_owned(),
    })
}
