//! Port-forwarding over WebSocket (`v4.channel.k8s.io`): each port has a channel for bytes and one for
//! errors, each begins with the number of its port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::stream::SplitSink;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Backend, Body, header, written};
use crate::handle::{Query, decoded};
use crate::message::{Key, Request};
use crate::status::Status;

const PROTOCOL: &str = "v4.channel.k8s.io";

/// Chunks of a pod's answer that wait for a slow client.
const WAITING_CHUNKS: usize = 16;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request is for forwarding a port.
pub(crate) fn is_asked(request: &hyper::Request<Incoming>) -> bool {
    pod_of(request.uri().path()).is_some()
}

fn pod_of(path: &str) -> Option<Key> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [
            "",
            "api",
            "v1",
            "namespaces",
            namespace,
            "pods",
            name,
            "portforward",
        ] => Some(Key::new(
            "",
            "Pod",
            &decoded(namespace, false),
            &decoded(name, false),
        )),
        _ => None,
    }
}

/// Refuses, or changes the connection to a socket and forwards in the background.
pub(crate) fn answer(
    request: hyper::Request<Incoming>,
    user: &str,
    backend: Arc<dyn Backend>,
) -> hyper::Response<Body> {
    match agreed(&request, user, &*backend) {
        Ok((targets, accept)) => {
            tokio::spawn(async move {
                // A client that goes away before the change has nothing to wait for.
                if let Ok(upgraded) = hyper::upgrade::on(request).await {
                    let socket =
                        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                    forward(socket, targets).await;
                }
            });
            let mut response = hyper::Response::new(Full::new(Bytes::new()).boxed_unsync());
            *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(UPGRADE, hyper::header::HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("Upgrade"));
            headers.insert(
                SEC_WEBSOCKET_PROTOCOL,
                hyper::header::HeaderValue::from_static(PROTOCOL),
            );
            if let Ok(accept) = accept.parse() {
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            }
            response
        }
        Err(refusal) => written(refusal.into(), backend),
    }
}

/// Where each port leads, and the answer to the client's key.
type Agreed = (Vec<(u16, Option<SocketAddr>)>, String);

fn agreed(request: &hyper::Request<Incoming>, user: &str, backend: &dyn Backend) -> Result<Agreed, Status> {
    let headers = request.headers();
    let protocols = header(headers, &SEC_WEBSOCKET_PROTOCOL);
    if !protocols.split(',').any(|it| it.trim() == PROTOCOL) {
        return Err(Status::lacking(
            "port-forwarding by other protocols than v4.channel.k8s.io over WebSocket",
        ));
    }
    let path = request.uri().path();
    let pod = pod_of(path).ok_or_else(Status::no_such_page)?;
    // Whoever may not see the pod may not talk to it either; a pod that is gone is not found.
    let seen = backend.handle(&Request {
        method: "GET".to_owned(),
        path: path.trim_end_matches("/portforward").to_owned(),
        user: Some(user.to_owned()),
        ..Request::default()
    });
    if seen.status != 200 {
        let code = seen.status;
        let reason = if code == 404 { "NotFound" } else { "Forbidden" };
        return Err(Status::new(
            code,
            reason,
            format!("{} cannot be reached", pod.said()),
        ));
    }
    let query = Query::read(request.uri().query().unwrap_or_default());
    let ports: Vec<u16> = query
        .get("ports")
        .split(',')
        .filter_map(|port| port.parse().ok())
        .collect();
    if ports.is_empty() {
        return Err(Status::bad_request("query parameter \"ports\" is required"));
    }
    let targets = ports
        .into_iter()
        .map(|port| (port, backend.forward(&pod, port)))
        .collect();
    let key = header(headers, &SEC_WEBSOCKET_KEY);
    Ok((targets, derive_accept_key(key.as_bytes())))
}

/// Carries bytes between a socket and what listens, until either side ends.
async fn forward(socket: Socket, targets: Vec<(u16, Option<SocketAddr>)>) {
    let (mut sink, mut source) = socket.split();
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(WAITING_CHUNKS);
    let mut readers = JoinSet::new();
    let mut writers: HashMap<u8, OwnedWriteHalf> = HashMap::new();
    for (place, (port, target)) in targets.into_iter().enumerate() {
        let Ok(channel) = u8::try_from(place * 2) else {
            break;
        };
        for channel in [channel, channel + 1] {
            let [low, high] = port.to_le_bytes();
            if !send(&mut sink, vec![channel, low, high]).await {
                return;
            }
        }
        match connect(target).await {
            Ok(stream) => {
                let (mut reader, writer) = stream.into_split();
                writers.insert(channel, writer);
                let sender = sender.clone();
                readers.spawn(async move {
                    let mut chunk = vec![0; 16 * 1024];
                    while let Ok(count @ 1..) = reader.read(&mut chunk).await {
                        let mut message = vec![channel];
                        message.extend_from_slice(&chunk[..count]);
                        if sender.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(why) => {
                let mut message = vec![channel + 1];
                message.extend_from_slice(format!("an error occurred forwarding {port}: {why}").as_bytes());
                if !send(&mut sink, message).await {
                    return;
                }
            }
        }
    }
    drop(sender);
    loop {
        tokio::select! {
            chunk = receiver.recv() => match chunk {
                Some(chunk) => if !send(&mut sink, chunk).await { break },
                // All that listened has ended: so does the forwarding.
                None => break,
            },
            message = source.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    let Some((channel, bytes)) = bytes.split_first() else { continue };
                    if let Some(writer) = writers.get_mut(channel)
                        && writer.write_all(bytes).await.is_err()
                    {
                        writers.remove(channel);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    // A socket that is closed already needs no goodbye.
    let _ = sink.close().await;
}

async fn connect(target: Option<SocketAddr>) -> Result<TcpStream, String> {
    let address = target.ok_or_else(|| "connection refused: nothing listens there".to_owned())?;
    TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())
}

async fn send(sink: &mut SplitSink<Socket, Message>, bytes: Vec<u8>) -> bool {
    sink.send(Message::binary(bytes)).await.is_ok()
}
