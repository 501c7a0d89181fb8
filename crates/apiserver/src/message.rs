//! What goes in and what comes out: keys of objects, requests and responses.

use std::fmt;

use serde_json::Value;

use crate::status::Status;
use crate::watch::Watch;

/// What an object is called. The version is left out: one object is served in all versions of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The API group, empty for the core group.
    pub group: String,
    /// The kind, as in `Deployment`.
    pub kind: String,
    /// The namespace, empty for kinds that have none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Key {
        Key {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key an object has by what it says of itself.
    pub fn of(object: &Value) -> Key {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let api_version = text("/apiVersion");
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Key::new(
            group,
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        )
    }

    /// As people say it: `Ingress shop/web`, `Namespace shop`.
    pub fn said(&self) -> String {
        if self.namespace.is_empty() {
            format!("{} {}", self.kind, self.name)
        } else {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.said())
    }
}

/// One request of a client.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path, percent-encoded as sent, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// The content type of the body.
    pub content_type: String,
    /// What the client accepts.
    pub accept: String,
    /// The body.
    pub body: Vec<u8>,
    /// Who asks, already authenticated. `None` is the embedder itself, who may do everything.
    pub user: Option<String>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The content type of the body.
    pub content_type: String,
    /// What the body is.
    pub body: Answer,
    /// Warnings for the person at the client, sent as `Warning` headers.
    pub warnings: Vec<String>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Answer {
    /// The whole body.
    Whole(Vec<u8>),
    /// A stream of events: ask [`crate::ApiServer::events`] for what is new.
    Watch(Box<Watch>),
}

impl Response {
    /// An answer in JSON.
    pub fn json(status: u16, body: &Value) -> Response {
        Response {
            status,
            content_type: "application/json".to_owned(),
            // A `Value` has text keys only, so it always has a JSON form.
            body: Answer::Whole(serde_json::to_vec(body).unwrap_or_default()),
            warnings: Vec::new(),
        }
    }

    /// An answer in plain text.
    pub fn text(text: &str) -> Response {
        Response {
            status: 200,
            content_type: "text/plain".to_owned(),
            body: Answer::Whole(text.as_bytes().to_vec()),
            warnings: Vec::new(),
        }
    }
}

impl From<Status> for Response {
    fn from(status: Status) -> Response {
        Response::json(status.code, &status.to_value())
    }
}
