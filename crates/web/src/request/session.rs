//! One conversation with an API: signs in, sends, tries again while that may help, and tells failures without secrets.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use landfall_model::definition::RequestAuth;
use landfall_model::provider::{Cause, Failure};
use landfall_runner::{ApplyError, Clock, Progress, SecretReader, SecretValue};
use reqwest::Url;
use serde_json::Value;

use super::reference;
use super::transport::{Answer, Request, Transport, Unreached};
use crate::http::{is_loopback, show};
use crate::wait;

/// No pause that a server asks for is longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How much of what a server says is shown.
const LONGEST: usize = 300;
/// Less than this is no secret that could be recognised in a text.
const SECRET_LENGTH: usize = 4;

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nothing answered.
    Unreached { place: String, unreached: Unreached },
    /// It answered that it will not, or cannot.
    Refused(Refusal),
    /// A secret cannot be had, or the like.
    Other(ApplyError),
}

impl From<ApplyError> for Trouble {
    fn from(error: ApplyError) -> Trouble {
        Trouble::Other(error)
    }
}

/// An answer that is none of those a request hopes for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) method: String,
    pub(crate) address: String,
    pub(crate) status: u16,
    pub(crate) said: String,
    pub(crate) retry_after_s: Option<u64>,
}

impl Trouble {
    /// Whether trying again may help.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Trouble::Unreached { .. } => true,
            Trouble::Refused(refusal) => {
                refusal.status == 429 || (refusal.status >= 500 && refusal.status != 501)
            }
            Trouble::Other(_) => false,
        }
    }

    /// Whether nothing that could be asked is there (yet): nothing answers, or what stands in front of it says so.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Trouble::Unreached { .. } => true,
            Trouble::Refused(refusal) => matches!(refusal.status, 502..=504),
            Trouble::Other(_) => false,
        }
    }

    /// In a few words.
    pub(crate) fn short(&self) -> String {
        match self {
            Trouble::Unreached { place, unreached } => format!("{place} does not answer ({})", unreached.why),
            Trouble::Refused(refusal) => refusal.sentence(),
            Trouble::Other(ApplyError::Failed(failure)) => failure.summary.clone(),
            Trouble::Other(_) => "the credentials have expired".to_owned(),
        }
    }

    /// As the failure of a step that was `doing` something.
    pub(crate) fn failing(self, doing: &str, now: String) -> ApplyError {
        let (reason, state, way_out, resource) = match self {
            Trouble::Other(error) => return error,
            Trouble::Unreached { place, unreached } => (
                format!("{place} does not answer ({})", unreached.why),
                "no answer".to_owned(),
                "check that the server runs and can be reached from here; then run the command again"
                    .to_owned(),
                place,
            ),
            Trouble::Refused(refusal) => (
                refusal.sentence(),
                refusal.status.to_string(),
                refusal.way_out(),
                format!("{} {}", refusal.method, refusal.address),
            ),
        };
        Failure {
            summary: format!("{doing} failed: {reason}"),
            cause: Some(Cause {
                resource,
                kind: "request".to_owned(),
                state,
                reason,
                at: now,
            }),
            way_out: Some(way_out),
        }
        .into()
    }
}

impl Refusal {
    fn sentence(&self) -> String {
        let Refusal {
            method,
            address,
            status,
            said,
            ..
        } = self;
        let said = if said.is_empty() { "without a word" } else { said };
        format!("{method} {address} was answered {status}: {said}")
    }

    fn way_out(&self) -> String {
        match self.status {
            401 => "check the user and the secret under `auth`: the server does not let them in",
            403 => "give the user under `auth` the right to do this",
            400 | 422 => "mend the fields that the server names in the definition or its inputs",
            404 => "check `url` and the paths: is this the server, and is what the path lies in there?",
            409 => "something like it stands already under another name or id; remove it, or give this one another name",
            429 | 500.. => "look at the server's log; then run the command again, it goes on where it stopped",
            _ => "check `url` and the paths: this is not the answer such an API gives",
        }
        .to_owned()
    }
}

/// One conversation.
pub(crate) struct Session<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) secrets: Option<&'a dyn SecretReader>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) progress: Option<&'a Progress>,
    pub(crate) base: Url,
    auth: Option<RequestAuth>,
    /// Until when trying again is worth it, by the clock.
    pub(crate) deadline_ms: u64,
    authorization: Mutex<Option<String>>,
    read: Mutex<HashMap<String, SecretValue>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        transport: &'a dyn Transport,
        secrets: Option<&'a dyn SecretReader>,
        clock: &'a dyn Clock,
        url: &str,
        auth: Option<RequestAuth>,
        within: Duration,
    ) -> Result<Session<'a>, ApplyError> {
        let base = secure(url)?;
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        Ok(Session {
            transport,
            secrets,
            clock,
            progress: None,
            base,
            auth,
            deadline_ms: clock.millis().saturating_add(within_ms),
            authorization: Mutex::default(),
            read: Mutex::default(),
        })
    }

    /// Sends a request until it is answered with anything but trouble that passes.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Trouble> {
        for attempt in 0.. {
            match self.once(method, path, body).await {
                Err(trouble) if trouble.passes() && self.waited(attempt, path, &trouble).await => {}
                done => return done,
            }
        }
        unreachable!("attempts are counted without an end")
    }

    /// As [`ask`](Self::ask); nothing when there is no such thing.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, Trouble> {
        match self.ask("GET", path, None).await {
            Ok(value) => Ok(Some(value)),
            Err(Trouble::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Waits before another try, when there is time for one.
    pub(crate) async fn waited(&self, attempt: u32, name: &str, trouble: &Trouble) -> bool {
        let left = self.deadline_ms.saturating_sub(self.clock.millis());
        if left == 0 {
            return false;
        }
        let asked = match trouble {
            Trouble::Refused(refusal) => refusal.retry_after_s.map(Duration::from_secs),
            _ => None,
        };
        let pause = asked
            .unwrap_or_default()
            .min(LONGEST_PAUSE)
            .max(wait::pause(attempt, name))
            .min(Duration::from_millis(left));
        if let Some(progress) = self.progress {
            progress.say(trouble.short());
        }
        self.clock.sleep(pause).await;
        true
    }

    /// Sends a request once; a token that is not taken any more is replaced once.
    pub(crate) async fn once(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Trouble> {
        let url = self.address(path)?;
        let body = match body {
            None => None,
            Some(body) => Some(self.revealed(body).await?.to_string().into_bytes()),
        };
        let mut fresh = false;
        loop {
            let authorization = self.authorization(fresh).await?;
            let request = Request {
                method: method.to_owned(),
                url: url.clone(),
                content_type: body.is_some().then_some("application/json"),
                authorization,
                body: body.clone().unwrap_or_default(),
            };
            let answer = self.send(&request).await?;
            let by_token = self.auth.as_ref().is_some_and(|auth| auth.token_url.is_some());
            if answer.status == 401 && by_token && !fresh {
                fresh = true;
                continue;
            }
            if (200..300).contains(&answer.status) {
                return Ok(serde_json::from_slice(&answer.body).unwrap_or_default());
            }
            return Err(Trouble::Refused(self.refusal(&request, &answer)));
        }
    }

    async fn send(&self, request: &Request) -> Result<Answer, Trouble> {
        self.transport
            .send(request)
            .await
            .map_err(|unreached| Trouble::Unreached {
                place: show(&self.base),
                unreached,
            })
    }

    fn address(&self, path: &str) -> Result<Url, Trouble> {
        let whole = format!(
            "{}/{}",
            self.base.as_str().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        let url = Url::parse(&whole).map_err(|error| {
            Trouble::Other(ApplyError::failed(format!(
                "the path {path} cannot be read: {error}"
            )))
        })?;
        // A path must not lead to another server, whatever stands in it.
        if url.host_str() != self.base.host_str() || url.port() != self.base.port() {
            return Err(Trouble::Other(ApplyError::failed(format!(
                "the path {path} leads to another server"
            ))));
        }
        Ok(url)
    }

    /// The `Authorization` header; a token is fetched at first, and when it has to be `fresh`.
    async fn authorization(&self, fresh: bool) -> Result<Option<String>, Trouble> {
        let Some(auth) = &self.auth else { return Ok(None) };
        if !fresh && let Some(known) = self.kept() {
            return Ok(Some(known));
        }
        let header = match (&auth.bearer, &auth.token_url) {
            (Some(bearer), _) => format!("Bearer {}", self.secret(bearer).await?),
            (None, Some(token_url)) => format!("Bearer {}", self.token(auth, token_url).await?),
            (None, None) => {
                let username = self.secret(auth.username.as_deref().unwrap_or_default()).await?;
                let password = self.secret(auth.password.as_deref().unwrap_or_default()).await?;
                format!("Basic {}", BASE64.encode(format!("{username}:{password}")))
            }
        };
        *self
            .authorization
            .lock()
            .expect("nobody panics while holding a header") = Some(header.clone());
        Ok(Some(header))
    }

    fn kept(&self) -> Option<String> {
        self.authorization
            .lock()
            .expect("nobody panics while holding a header")
            .clone()
    }

    /// Fetches a token (source: RFC 6749, sections 4.3 and 4.4).
    async fn token(&self, auth: &RequestAuth, token_url: &str) -> Result<String, Trouble> {
        let url = if token_url.starts_with('/') {
            self.address(token_url)?
        } else {
            secure(token_url)?
        };
        let mut pairs = vec![("client_id".to_owned(), auth.client_id.clone().unwrap_or_default())];
        let grant = if auth.username.is_some() {
            "password"
        } else {
            "client_credentials"
        };
        pairs.push(("grant_type".to_owned(), grant.to_owned()));
        for (name, value) in [
            ("username", &auth.username),
            ("password", &auth.password),
            ("client_secret", &auth.client_secret),
            ("scope", &auth.scope),
        ] {
            if let Some(value) = value {
                pairs.push((name.to_owned(), self.secret(value).await?));
            }
        }
        let mut form = self.base.clone();
        form.query_pairs_mut().clear().extend_pairs(pairs);
        let request = Request {
            method: "POST".to_owned(),
            url,
            content_type: Some("application/x-www-form-urlencoded"),
            authorization: None,
            body: form.query().unwrap_or_default().as_bytes().to_vec(),
        };
        let answer = self.send(&request).await?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match said["access_token"].as_str() {
            Some(token) if answer.status == 200 => {
                self.keep(token, token);
                Ok(token.to_owned())
            }
            _ => Err(Trouble::Refused(self.refusal(&request, &answer))),
        }
    }

    /// The value of a reference, read once; other text as it is.
    async fn secret(&self, text: &str) -> Result<String, Trouble> {
        if !reference::has_reference(text) {
            return Ok(text.to_owned());
        }
        let known = self
            .read
            .lock()
            .expect("nobody panics while holding secrets")
            .get(text)
            .cloned();
        if let Some(known) = known {
            return Ok(known.reveal().to_owned());
        }
        let value = reference::resolved(text, self.secrets).await?;
        self.keep(text, &value);
        Ok(value)
    }

    fn keep(&self, name: &str, value: &str) {
        let mut read = self.read.lock().expect("nobody panics while holding secrets");
        read.insert(name.to_owned(), SecretValue::new(value));
    }

    /// A body with its secrets put in, for the one moment in which it is sent.
    async fn revealed(&self, body: &Value) -> Result<Value, Trouble> {
        let mut texts = Vec::new();
        references(body, &mut texts);
        for text in texts {
            self.secret(&text).await?;
        }
        let read = self.read.lock().expect("nobody panics while holding secrets");
        Ok(with_secrets(body, &read))
    }

    fn refusal(&self, request: &Request, answer: &Answer) -> Refusal {
        Refusal {
            method: request.method.clone(),
            address: show(&request.url),
            status: answer.status,
            // Cut last: the beginning of a secret would not be recognised any more.
            said: self
                .without_secrets(&words(&answer.body))
                .chars()
                .take(LONGEST)
                .collect(),
            retry_after_s: answer.retry_after_s,
        }
    }

    /// A server may repeat what it was sent.
    fn without_secrets(&self, text: &str) -> String {
        let read = self.read.lock().expect("nobody panics while holding secrets");
        hiding(text, read.values().map(SecretValue::reveal))
    }
}

/// A text without these secrets, whether they stand in it as they are or as JSON writes them.
fn hiding<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut hidden: Vec<String> = Vec::new();
    for secret in secrets.filter(|secret| secret.len() >= SECRET_LENGTH) {
        let quoted = Value::from(secret).to_string();
        hidden.extend([quoted[1..quoted.len() - 1].to_owned(), secret.to_owned()]);
    }
    // The longest first: what one secret leaves of another would be shown otherwise.
    hidden.sort_by_key(|one| std::cmp::Reverse(one.len()));
    hidden
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
}

/// An address that secrets may be sent to.
fn secure(url: &str) -> Result<Url, ApplyError> {
    let way_out = "give a whole address, such as https://id.acme.example";
    let parsed = Url::parse(url)
        .map_err(|error| Failure::new(format!("the address cannot be read: {error}")).way_out(way_out))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Failure::new(format!(
            "the address {} holds a user, and plans and journals hold the address",
            show(&parsed)
        ))
        .way_out("put the password into AWS Secrets Manager, and give both under `auth`")
        .into());
    }
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_loopback(&parsed) => Ok(parsed),
        other => Err(Failure::new(format!(
            "{} would be spoken to by {other}, and what is sent holds secrets",
            show(&parsed)
        ))
        .way_out(way_out)
        .into()),
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if reference::has_reference(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(map) => map.values().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn with_secrets(value: &Value, read: &HashMap<String, SecretValue>) -> Value {
    match value {
        Value::String(text) if reference::has_reference(text) => match read.get(text) {
            Some(secret) => Value::String(secret.reveal().to_owned()),
            None => value.clone(),
        },
        Value::Array(items) => items.iter().map(|item| with_secrets(item, read)).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, item)| (key.clone(), with_secrets(item, read)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// What an answer says, in its own words.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let said = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        [
            "errorMessage",
            "error_description",
            "message",
            "error",
            "detail",
            "title",
        ]
        .iter()
        .find_map(|key| value.get(key)?.as_str().map(str::to_owned))
    });
    said.unwrap_or_else(|| {
        // A page for people says more in its title than in its markup.
        if text.trim_start().starts_with('<') {
            crate::html::Page::read(&text).title
        } else {
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_no_password() {
        let Err(ApplyError::Failed(failure)) = secure("https://ann:sesame@id.acme.example/auth") else {
            panic!("it is refused")
        };
        assert_eq!(
            failure.summary,
            "the address https://id.acme.example/auth holds a user, and plans and journals hold the address"
        );
        assert!(secure("https://id.acme.example/auth").is_ok());
    }

    #[test]
    fn nothing_is_left_of_a_secret_that_a_server_repeats() {
        let secrets = ["sesame", "sesame-open", "a\"b\\c"];
        let said = r#"no user sesame-open; "sesame" is wrong; so is "a\"b\\c", or a"b\c"#;
        assert_eq!(
            hiding(said, secrets.into_iter()),
            r#"no user (secret); "(secret)" is wrong; so is "(secret)", or (secret)"#
        );
        assert_eq!(
            words(&[b'x'; 1000]).len(),
            1000,
            "it is cut after secrets are taken out"
        );
    }
}
