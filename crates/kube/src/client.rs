//! Clients of clusters: from an address and a source of tokens, or from a kubeconfig file.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use http::{HeaderValue, Request, Response, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tower::{BoxError, Layer, Service};

/// How long before its end a token is not used any more.
const EARLY: SignedDuration = SignedDuration::from_secs(60);

/// What lets somebody in for a while.
#[derive(Clone)]
pub struct Token {
    /// The token itself. Never shown.
    pub text: String,
    /// Until when it is good, when that is known.
    pub until: Option<Timestamp>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Token")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    /// What went wrong.
    pub message: String,
    /// Whether the credentials it is made from have expired.
    pub expired: bool,
}

/// Gives tokens.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is good now. Asked again shortly before one ends, and after one was refused.
    async fn token(&self) -> Result<Token, TokenError>;
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address or the certificate makes no sense.
    #[error("could not make a client for {endpoint}")]
    Address {
        /// Where to.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kubeconfig file cannot be used.
    #[error("could not read the kubeconfig file {path}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A client of the cluster at `endpoint`, whose certificate `ca_pem` has signed. Must be called within a tokio runtime.
pub fn client(
    endpoint: &str,
    ca_pem: &str,
    token: Arc<dyn TokenSource>,
) -> Result<kube::Client, ClientError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Address {
        endpoint: endpoint.to_owned(),
        source,
    };
    let described = json!({
        "current-context": "it",
        "clusters": [{ "name": "it", "cluster": {
            "server": endpoint,
            "certificate-authority-data": ByteString(ca_pem.as_bytes().to_vec()),
        } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it" } }],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(described).map_err(|error| failed(error.into()))?;
    let mut config = kube::Config::try_from(kubeconfig).map_err(|error| failed(error.into()))?;
    // Who asks knows better whether to ask again.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|error| failed(error.into()))?;
    Ok(builder.with_layer(&Tokens::new(token)).build())
}

/// A client of the cluster that a context of a kubeconfig file names; the current one when none is named.
pub async fn from_file(path: &Path, context: Option<&str>) -> Result<kube::Client, ClientError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::File {
        path: path.display().to_string(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|error| failed(error.into()))?;
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|error| match error {
        kube::Error::Auth(auth) => failed(no_token(&auth).into()),
        other => failed(other.into()),
    })
}

/// Why a plug-in of a kubeconfig gave no token. What it printed may be a token all the same, and is not repeated; only
/// the last of what it complained about is.
pub(crate) fn no_token(error: &kube::client::AuthError) -> String {
    use kube::client::AuthError::{AuthExecParse, AuthExecRun};
    match error {
        AuthExecRun { cmd, out } => {
            let complaints = String::from_utf8_lossy(&out.stderr);
            let last = complaints.lines().map(str::trim).rfind(|line| !line.is_empty());
            let said = last.map(|line| format!(": {line}")).unwrap_or_default();
            format!("`{cmd}` ended with {}{said}", out.status)
        }
        AuthExecParse(_) => "what the plug-in printed is not an ExecCredential".to_owned(),
        other => other.to_string(),
    }
}

/// Puts a token on every request.
#[derive(Clone)]
struct Tokens {
    source: Arc<dyn TokenSource>,
    last: Arc<Mutex<Option<Token>>>,
}

impl Tokens {
    fn new(source: Arc<dyn TokenSource>) -> Tokens {
        Tokens {
            source,
            last: Arc::default(),
        }
    }

    async fn header(&self) -> Result<HeaderValue, TokenError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let good = last.filter(|token| token.until.is_none_or(|until| Timestamp::now() < until - EARLY));
        let token = match good {
            Some(token) => token,
            None => {
                let token = self.source.token().await?;
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
                token
            }
        };
        let header = HeaderValue::from_str(&format!("Bearer {}", token.text));
        let mut header = header.map_err(|_| TokenError {
            message: "the token for the cluster has characters that no token has".to_owned(),
            expired: false,
        })?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<S> Layer<S> for Tokens {
    type Service = WithToken<S>;

    fn layer(&self, inner: S) -> WithToken<S> {
        WithToken {
            // It is used by several requests at once: each waits for its own token.
            inner: Arc::new(tokio::sync::Mutex::new(inner)),
            tokens: self.clone(),
        }
    }
}

struct WithToken<S> {
    inner: Arc<tokio::sync::Mutex<S>>,
    tokens: Tokens,
}

impl<S, B> Service<Request<Body>> for WithToken<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (inner, tokens) = (self.inner.clone(), self.tokens.clone());
        Box::pin(async move {
            let header = tokens.header().await?;
            request.headers_mut().insert(header::AUTHORIZATION, header);
            let answer = {
                let mut inner = inner.lock().await;
                std::future::poll_fn(|context| inner.poll_ready(context))
                    .await
                    .map_err(Into::into)?;
                inner.call(request)
            };
            let answer = answer.await.map_err(Into::into)?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                tokens.forget();
            }
            Ok(answer)
        })
    }
}
