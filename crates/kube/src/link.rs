//! One cluster, as it is talked to: every request, what came of it, and patience with answers that do not come.
//!
//! Every request may be made again: what is asked for is a state to reach, never a step to take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use http::Request;
use jiff::Timestamp;
use kube::client::Body;
use landfall_runner::{Clock, Progress};
use serde_json::Value;

use crate::client::{self, TokenError};
use crate::clusters::{Clusters, Reach};
use crate::discovery::{Discovery, Resource};
use crate::looks::Backoff;
use crate::trouble::{Refusal, Trouble};

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(60);
/// How long requests are tried again while something is being done.
pub(crate) const ACTING_MS: u64 = 15 * 60 * 1000;
/// How long they are tried again when somebody only wants to look. A cluster that cannot be reached from here
/// must not hold a plan up for long.
pub(crate) const LOOKING_MS: u64 = 2 * 60 * 1000;
/// From which try on people are told.
const TOLD_FROM: u32 = 3;
/// How many objects a list brings at once.
const AT_ONCE: usize = 500;
/// How often credentials are renewed for a cluster that never took any of them.
const RENEWALS: u32 = 2;

/// For how long the kinds of a cluster count as just asked for, and for how long as recent.
const JUST_MS: u64 = 900;
const RECENT_MS: u64 = 10_000;

/// Types of bodies.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// One request.
#[derive(Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: http::Method,
    /// With its query.
    pub(crate) path: String,
    pub(crate) accept: Option<&'a str>,
    /// The body and its type.
    pub(crate) body: Option<(&'a str, &'a Value)>,
    /// Whether nothing of it may be repeated in an error.
    pub(crate) secret: bool,
    /// For how long it is tried again, when that is not as for everything.
    pub(crate) patience_ms: Option<u64>,
}

impl Ask<'_> {
    pub(crate) fn get(path: impl Into<String>) -> Ask<'static> {
        Ask {
            path: path.into(),
            ..Ask::default()
        }
    }
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    text: String,
}

impl Answer {
    fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_str(&self.text)
            .map_err(|_| Trouble::NoAnswer("the answer is not what an API server says".to_owned()))
    }
}

/// What is remembered about a cluster from one step to the next.
#[derive(Default)]
pub(crate) struct Memory {
    /// The kinds it knew, and when that was asked.
    discovery: Mutex<Option<(Arc<Discovery>, u64)>>,
    /// How often credentials were renewed since the cluster last took any.
    renewals: AtomicU32,
}

impl Memory {
    pub(crate) fn renewed(&self) {
        self.renewals.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is remembered about all clusters, by region and name.
pub(crate) type Memories = Mutex<HashMap<(String, String), Arc<Memory>>>;

/// One cluster, as it is talked to.
pub(crate) struct Link {
    clusters: Arc<dyn Clusters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) region: String,
    pub(crate) name: String,
    client: Mutex<kube::Client>,
    memory: Arc<Memory>,
    progress: Option<Progress>,
    patience_ms: u64,
}

/// Where a cluster is and who wants to talk to it.
pub(crate) struct Dial<'a> {
    pub(crate) clusters: &'a Arc<dyn Clusters>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) memories: &'a Memories,
    pub(crate) region: &'a str,
    pub(crate) name: &'a str,
    /// Who is told about waits. Without anybody, patience is short.
    pub(crate) progress: Option<&'a Progress>,
}

/// What came of dialling.
pub(crate) enum Dialled {
    Absent,
    Starting(String),
    Connected(Box<Link>),
}

impl Dial<'_> {
    fn patience_ms(&self) -> u64 {
        if self.progress.is_some() {
            ACTING_MS
        } else {
            LOOKING_MS
        }
    }

    /// Asks where the cluster is.
    pub(crate) async fn dial(&self) -> Result<Dialled, Trouble> {
        let began = self.clock.millis();
        let mut backoff = Backoff::of(self.name);
        let reach = loop {
            let trouble = match self.clusters.reach(self.region, self.name).await {
                Ok(reach) => break reach,
                Err(why) => Trouble::from(why),
            };
            if !trouble.passes_by_itself() || self.clock.millis().saturating_sub(began) > self.patience_ms() {
                return Err(trouble);
            }
            self.clock.sleep(backoff.next(None)).await;
        };
        Ok(match reach {
            Reach::Absent => Dialled::Absent,
            Reach::Starting { state } => Dialled::Starting(state),
            Reach::Ready(client) => Dialled::Connected(Box::new(Link {
                clusters: self.clusters.clone(),
                clock: self.clock.clone(),
                region: self.region.to_owned(),
                name: self.name.to_owned(),
                client: Mutex::new(client),
                memory: self
                    .memories
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry((self.region.to_owned(), self.name.to_owned()))
                    .or_default()
                    .clone(),
                progress: self.progress.cloned(),
                patience_ms: self.patience_ms(),
            })),
        })
    }
}

impl Link {
    /// Now, as far as objects are concerned.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Makes a request, again and again while only waiting is needed.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Answer, Trouble> {
        let began = self.clock.millis();
        let patience_ms = ask.patience_ms.unwrap_or(self.patience_ms);
        let mut backoff = Backoff::of(&ask.path);
        let mut turned_away = false;
        loop {
            let (trouble, after) = match self.once(ask).await {
                Ok(answer) => {
                    self.memory.renewals.store(0, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err((Trouble::Expired(_), _)) if !turned_away => {
                    // The client may only be old: a new one has a new token.
                    turned_away = true;
                    self.connect_again().await?;
                    continue;
                }
                Err((Trouble::Expired(why), _)) => return Err(self.not_let_in(why)),
                Err(trouble) => trouble,
            };
            if !trouble.passes_by_itself() || self.clock.millis().saturating_sub(began) > patience_ms {
                return Err(trouble);
            }
            if let Some(progress) = &self.progress
                && backoff.tries() + 1 >= TOLD_FROM
            {
                progress.say(format!("the cluster {}: {trouble}; trying again", self.name));
            }
            self.clock.sleep(backoff.next(after)).await;
            if let Trouble::NoAnswer(_) = trouble {
                self.connect_again().await?;
            }
        }
    }

    /// Renewing helps only so often: an identity that the cluster does not know is turned away with the same words.
    fn not_let_in(&self, why: String) -> Trouble {
        if self.memory.renewals.load(Ordering::Relaxed) < RENEWALS {
            return Trouble::Expired(why);
        }
        Trouble::from(Refusal {
            code: 403,
            reason: "Unauthorized".to_owned(),
            message: format!(
                "the cluster {} does not know who asks, and renewed credentials made no difference ({why})",
                self.name
            ),
            ..Refusal::default()
        })
    }

    /// The cluster may have gone, or stand at another address.
    async fn connect_again(&self) -> Result<(), Trouble> {
        match self.clusters.reach(&self.region, &self.name).await {
            Ok(Reach::Ready(client)) => {
                *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
                Ok(())
            }
            Ok(Reach::Absent) => Err(Trouble::Gone(self.name.clone())),
            Ok(Reach::Starting { .. }) => Ok(()),
            Err(why) if why.expired => Err(why.into()),
            // Whoever cannot reach the cluster now can often not ask AWS about it either: the network is gone. That is
            // waited for as long as for any answer.
            Err(_) => Ok(()),
        }
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, (Trouble, Option<Duration>)> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(http::header::ACCEPT, ask.accept.unwrap_or(JSON));
        let bytes = match ask.body {
            None => Vec::new(),
            Some((content_type, body)) => {
                request = request.header(http::header::CONTENT_TYPE, content_type);
                body.to_string().into_bytes()
            }
        };
        let request = request.body(Body::from(bytes)).map_err(|error| {
            let message = format!("`{}` cannot be asked for: {error}", ask.path);
            (Refusal::known("BadRequest", message).into(), None)
        })?;
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = Box::pin(async move {
            let response = client.send(request).await?;
            let (parts, body) = response.into_parts();
            Ok((parts, body.collect_bytes().await?))
        });
        let (parts, bytes) = match select(answer, self.clock.sleep(ANSWER)).await {
            Either::Left((Ok(answer), _)) => answer,
            Either::Left((Err(error), _)) => return Err((unanswered(&error), None)),
            Either::Right(_) => {
                let why = format!("none within {} s", ANSWER.as_secs());
                return Err((Trouble::NoAnswer(why), None));
            }
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if parts.status.is_success() {
            return Ok(Answer {
                code: parts.status.as_u16(),
                text,
            });
        }
        let after = parts.headers.get(http::header::RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
        let after = after.map(|seconds: u64| Duration::from_secs(seconds.min(30)));
        let refusal = Refusal::read(parts.status.as_u16(), &text, ask.secret);
        Err((judged(refusal), after))
    }

    /// One object, when it stands.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, Trouble> {
        match self.send(&Ask::get(path)).await {
            Ok(answer) => answer.json().map(Some),
            Err(Trouble::Refused(refusal)) if refusal.code == 404 => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// What a path says as text, such as a log.
    pub(crate) async fn text(&self, path: &str) -> Result<Option<String>, Trouble> {
        let ask = Ask {
            accept: Some("*/*"),
            ..Ask::get(path)
        };
        match self.send(&ask).await {
            Ok(answer) => Ok(Some(answer.text)),
            Err(Trouble::Refused(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Every object of a kind that the query selects, each with its kind and API version. None where the kind is not known.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<Value>, Trouble> {
        self.list_within(resource, namespace, query, None).await
    }

    /// The same, tried again for so long only.
    pub(crate) async fn list_within(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &[(&str, &str)],
        patience_ms: Option<u64>,
    ) -> Result<Vec<Value>, Trouble> {
        let path = resource.path(namespace, None);
        let selected: String = query
            .iter()
            .map(|(key, value)| format!("&{key}={}", encoded(value)))
            .collect();
        let mut found: Vec<Value> = Vec::new();
        let mut from = String::new();
        loop {
            let ask = Ask {
                patience_ms,
                ..Ask::get(format!("{path}?limit={AT_ONCE}{selected}{from}"))
            };
            let mut page = match self.send(&ask).await {
                Ok(answer) => answer.json()?,
                Err(Trouble::Refused(refusal)) if refusal.code == 404 => return Ok(Vec::new()),
                Err(Trouble::Refused(refusal)) if refusal.code == 410 && !from.is_empty() => {
                    // The list has grown too old while it was read.
                    found.clear();
                    from.clear();
                    continue;
                }
                Err(trouble) => return Err(trouble),
            };
            if let Some(items) = page["items"].as_array_mut() {
                found.append(items);
            }
            match page["metadata"]["continue"].as_str().unwrap_or_default() {
                "" => break,
                next => from = format!("&continue={}", encoded(next)),
            }
        }
        // The items of a list do not say what they are.
        for item in &mut found {
            item["apiVersion"] = resource.api_version().into();
            item["kind"] = resource.kind.as_str().into();
        }
        Ok(found)
    }

    /// Sends a body, and gives what stands then with the code of the answer.
    pub(crate) async fn put(
        &self,
        method: http::Method,
        path: String,
        content_type: &str,
        body: &Value,
    ) -> Result<(u16, Value), Trouble> {
        let ask = Ask {
            method,
            path,
            body: Some((content_type, body)),
            secret: body["kind"] == "Secret",
            ..Ask::default()
        };
        let answer = self.send(&ask).await?;
        let code = answer.code;
        answer.json().map(|value| (code, value))
    }

    /// Merges a change into an object. None when it does not stand.
    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Result<Option<Value>, Trouble> {
        let path = format!("{path}?fieldManager={}", crate::MANAGER);
        match self.put(http::Method::PATCH, path, MERGE, body).await {
            Ok((_, object)) => Ok(Some(object)),
            Err(Trouble::Refused(refusal)) if refusal.code == 404 => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks for an object to be deleted: this very one, not one of its name that somebody made since.
    pub(crate) async fn delete(&self, path: &str, object: &Value, propagation: &str) -> Result<(), Trouble> {
        let mut options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
        });
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            options["preconditions"] = serde_json::json!({ "uid": uid });
        }
        match self
            .put(http::Method::DELETE, path.to_owned(), JSON, &options)
            .await
        {
            Ok(_) => Ok(()),
            // Gone already, or another one of its name: that is looked at again.
            Err(Trouble::Refused(refusal)) if matches!(refusal.code, 404 | 409) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// The kinds this cluster knows, as remembered.
    pub(crate) async fn discovery(&self) -> Result<Arc<Discovery>, Trouble> {
        self.discovery_since(u64::MAX).await
    }

    /// The kinds this cluster knows, asked anew unless that was just done.
    pub(crate) async fn discover_again(&self) -> Result<Arc<Discovery>, Trouble> {
        self.discovery_since(JUST_MS).await
    }

    /// The kinds this cluster knows, as they were a moment ago: many steps that are looked at together ask once.
    pub(crate) async fn recent_discovery(&self) -> Result<Arc<Discovery>, Trouble> {
        self.discovery_since(RECENT_MS).await
    }

    async fn discovery_since(&self, age_ms: u64) -> Result<Arc<Discovery>, Trouble> {
        let known = self
            .memory
            .discovery
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match known {
            Some((known, at)) if self.clock.millis().saturating_sub(at) < age_ms => Ok(known),
            _ => self.discover().await,
        }
    }

    /// The kinds this cluster knows, asked anew.
    pub(crate) async fn discover(&self) -> Result<Arc<Discovery>, Trouble> {
        let found = Arc::new(Discovery::read(self).await?);
        *self
            .memory
            .discovery
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((found.clone(), self.clock.millis()));
        Ok(found)
    }

    /// What a path says as JSON, asked for in a special form.
    pub(crate) async fn json(&self, path: &str, accept: &str) -> Result<Value, Trouble> {
        let ask = Ask {
            accept: Some(accept),
            ..Ask::get(path)
        };
        self.send(&ask).await?.json()
    }
}

/// Whether a refusal is one, or only says "later".
fn judged(refusal: Refusal) -> Trouble {
    match refusal.code {
        401 => Trouble::Expired(match refusal.message.as_str() {
            "" => "the cluster says Unauthorized".to_owned(),
            message => format!("the cluster says {message}"),
        }),
        429 => Trouble::Throttled,
        502..=504 => Trouble::NoAnswer(refusal.message),
        500 if refusal.message.contains("etcdserver") => Trouble::NoAnswer(refusal.message),
        _ => refusal.into(),
    }
}

/// A request that never had an answer.
fn unanswered(error: &kube::Error) -> Trouble {
    let mut deepest: &dyn std::error::Error = error;
    loop {
        // Within a request, kube does not call it one of its own `Auth` errors.
        if let Some(auth) = deepest.downcast_ref::<kube::client::AuthError>() {
            return Trouble::Unreachable(format!("no token for the cluster: {}", client::no_token(auth)));
        }
        if let Some(token) = deepest.downcast_ref::<TokenError>() {
            return match token.expired {
                true => Trouble::Expired(token.message.clone()),
                false => Trouble::NoAnswer(token.message.clone()),
            };
        }
        match deepest.source() {
            Some(source) => deepest = source,
            None => break,
        }
    }
    let message = deepest.to_string();
    // Waiting changes neither a certificate nor a plug-in that fails.
    match message.contains("invalid peer certificate") {
        true => Trouble::Unreachable(message),
        false => Trouble::NoAnswer(message),
    }
}

/// A value as it stands in a query.
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{ExitStatus, Output};

    use super::*;

    #[test]
    fn a_plug_in_that_fails_is_not_waited_for_and_what_it_printed_not_repeated() {
        let out = Output {
            status: ExitStatus::from_raw(255 << 8),
            stdout: b"k8s-aws-v1.sesame".to_vec(),
            stderr: b"\nError: the SSO session has expired\n".to_vec(),
        };
        let error = kube::client::AuthError::AuthExecRun {
            cmd: "aws".to_owned(),
            out: Box::new(out),
        };
        let trouble = unanswered(&kube::Error::Service(Box::new(error)));
        assert!(!trouble.passes_by_itself());
        assert_eq!(
            trouble.to_string(),
            "no token for the cluster: `aws` ended with exit status: 255: Error: the SSO session has expired"
        );
    }
}
