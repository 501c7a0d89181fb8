//! The front: a server behind HTTP/1.1 and HTTP/2 over TLS, for real clients.
//!
//! It knows connections, credentials and streams. What a request means is the core's business.

mod alone;
mod forward;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, USER_AGENT, WARNING};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use alone::Alone;
pub use tls::{ServerTls, TlsError, kubeconfig};

use crate::message::{Answer, Key, Request, Response};
use crate::status::Status;
use crate::watch::Watch;

/// How often a watch is asked for what is new.
const POLL: Duration = Duration::from_millis(200);

/// The largest request body taken, as in a real server.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// What stands behind the front.
pub trait Backend: Send + Sync + 'static {
    /// Who a bearer token belongs to; `None` when nobody knows it, and the request is refused.
    fn user(&self, token: Option<&str>) -> Option<String>;

    /// Answers a request.
    fn handle(&self, request: &Request) -> Response;

    /// What a watch has not yet seen, one JSON document a line.
    fn events(&self, watch: &mut Watch) -> Vec<u8>;

    /// Where a port of a pod can be reached, if anything listens there.
    fn forward(&self, pod: &Key, port: u16) -> Option<SocketAddr>;
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Serves a backend until the future is dropped, which ends all connections.
pub async fn serve(listener: TcpListener, tls: ServerTls, backend: Arc<dyn Backend>) {
    let acceptor = TlsAcceptor::from(tls.config);
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to end first.
            tokio::time::sleep(POLL).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(acceptor.clone(), stream, backend.clone()));
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, backend: Arc<dyn Backend>) {
    // Answers are small and clients wait for each of them.
    let _ = stream.set_nodelay(true);
    // A client that does not trust us, or speaks no TLS, learns it from its own side.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| {
        let backend = backend.clone();
        async move { Ok::<_, Infallible>(answer(request, backend).await) }
    });
    // A connection that breaks off is the client's choice.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: hyper::Request<Incoming>, backend: Arc<dyn Backend>) -> hyper::Response<Body> {
    let token = header(request.headers(), &AUTHORIZATION)
        .strip_prefix("Bearer ")
        .map(str::to_owned);
    let Some(user) = backend.user(token.as_deref()) else {
        let refusal = Status::new(401, "Unauthorized", "Unauthorized");
        return written(refusal.into(), backend);
    };
    if forward::is_asked(&request) {
        return forward::answer(request, &user, backend);
    }
    match read(request, user).await {
        Ok(request) => {
            let response = backend.handle(&request);
            written(response, backend)
        }
        Err(refusal) => written(refusal.into(), backend),
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &hyper::header::HeaderName) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

async fn read(request: hyper::Request<Incoming>, user: String) -> Result<Request, Status> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY)
        .collect()
        .await
        .map_err(|error| {
            Status::new(
                413,
                "RequestEntityTooLarge",
                format!("the body of the request could not be read: {error}"),
            )
        })?;
    let mut query = parts.uri.query().unwrap_or_default().to_owned();
    // A writer that gives no name is known by its program.
    let program = header(&parts.headers, &USER_AGENT)
        .split('/')
        .next()
        .unwrap_or_default();
    if !program.is_empty() && parts.method != "GET" && !query.contains("fieldManager=") {
        let is_apply = header(&parts.headers, &CONTENT_TYPE).starts_with("application/apply-patch");
        if !is_apply {
            query.push_str(&format!("&fieldManager={}", encoded(program)));
        }
    }
    Ok(Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query,
        content_type: header(&parts.headers, &CONTENT_TYPE).to_owned(),
        accept: header(&parts.headers, &ACCEPT).to_owned(),
        body: body.to_bytes().into(),
        user: Some(user),
    })
}

/// Text as it may stand in a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn written(response: Response, backend: Arc<dyn Backend>) -> hyper::Response<Body> {
    let mut built = hyper::Response::builder()
        .status(response.status)
        .header(CONTENT_TYPE, response.content_type);
    for warning in &response.warnings {
        let text: String = warning.chars().filter(|letter| !letter.is_control()).collect();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        built = built.header(WARNING, format!("299 - \"{text}\""));
    }
    let body = match response.body {
        Answer::Whole(bytes) => Full::new(Bytes::from(bytes)).boxed_unsync(),
        Answer::Watch(watch) => followed(*watch, backend),
    };
    // Only text of a warning that no header can hold makes this fail; the answer matters more.
    built.body(body).unwrap_or_else(|_| {
        let mut bare = hyper::Response::new(Full::new(Bytes::new()).boxed_unsync());
        *bare.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        bare
    })
}

/// A watch as a body: what is new goes out at every poll.
fn followed(watch: Watch, backend: Arc<dyn Backend>) -> Body {
    let frames = stream::unfold((watch, backend, true), |(mut watch, backend, first)| async move {
        if !first {
            tokio::time::sleep(POLL).await;
        }
        loop {
            let lines = backend.events(&mut watch);
            if !lines.is_empty() {
                let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(lines)));
                return Some((frame, (watch, backend, false)));
            }
            if watch.is_over() {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
