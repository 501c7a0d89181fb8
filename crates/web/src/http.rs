//! An address answers.
//!
//! Redirects are an answer like any other and are not followed. What is shown of an address never
//! has its query string, its user or its password: those hold tokens.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use landfall_model::definition::HttpCheck;
use landfall_model::provider::{Failure, Outputs};
use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode, Url, redirect};

use crate::reach::Reach;
use crate::{Held, Miss, Seen};

/// How long one try may take, from connecting to the last byte read.
const ONE_TRY: Duration = Duration::from_secs(10);
/// The last try, near the deadline, still gets this long.
const AT_LEAST: Duration = Duration::from_secs(1);
/// How much of a body is read.
const BODY_BYTES: usize = 1 << 20;

/// Asks once.
pub(crate) async fn look(check: &HttpCheck, reach: &Reach, left: Duration) -> Result<Held, Miss> {
    let url = parse(&check.url)?;
    let time = left.clamp(AT_LEAST, ONE_TRY);
    let response = reach
        .get(&url, time)?
        .send()
        .await
        .map_err(|error| unanswered(&url, time, error))?;
    let status = response.status();
    if status.as_u16() != check.status {
        return Err(other_status(check, &url, &response).into());
    }
    if let Some(wanted) = &check.contains {
        let body = beginning(response)
            .await
            .map_err(|error| unanswered(&url, time, error))?;
        if !String::from_utf8_lossy(&body).contains(wanted) {
            return Err(other_body(&url, status, wanted).into());
        }
    }
    let mut outputs = Outputs::new();
    outputs.insert("status".to_owned(), check.status.into());
    Ok(Held {
        outputs,
        notes: vec![format!("{} answered {}", show(&url), check.status)],
    })
}

/// An address as it may be shown: without user, password, query string and fragment.
pub(crate) fn shown(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "an address that cannot be read".to_owned(), |url| show(&url))
}

pub(crate) fn show(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

pub(crate) fn parse(url: &str) -> Result<Url, Miss> {
    let way_out = "give a whole address, such as https://portal.acme.example/healthz";
    let parsed = Url::parse(url).map_err(|error| {
        Failure::new(format!("the address to check cannot be read: {error}")).way_out(way_out)
    })?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(Failure::new(format!(
            "the address to check begins with `{}:`, not with `http:` or `https:`",
            parsed.scheme()
        ))
        .way_out(way_out)
        .into());
    }
    Ok(parsed)
}

/// A new client each time: a connection kept open would go on reaching the old place after a name
/// has moved to a new one.
pub(crate) fn client(url: &Url, time: Duration) -> Result<Client, Miss> {
    let mut builder = Client::builder()
        .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(time);
    // A proxy would look for this machine's own addresses on itself.
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        Failure::new(format!(
            "HTTP requests cannot be made from here: {}",
            root(&error)
        ))
        .way_out("check that the machine has certificates of authorities (package ca-certificates)")
        .into()
    })
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The first MiB of the body.
pub(crate) async fn beginning(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES - body.len())]);
        if body.len() == BODY_BYTES {
            break;
        }
    }
    Ok(body)
}

pub(crate) fn unanswered(url: &Url, time: Duration, error: reqwest::Error) -> Miss {
    // Its text names the whole address otherwise.
    let error = error.without_url();
    let shown = show(url);
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let why = root(&error);
    let (state, why, way_out) = if error.is_timeout() {
        (
            "no answer",
            format!("no answer within {} s", time.as_secs()),
            format!(
                "check security groups and routes between here and port {port} of {host}, and that its \
                 targets are healthy"
            ),
        )
    } else if why.contains("certificate") {
        (
            "certificate",
            why,
            format!("look at the certificate: openssl s_client -connect {host}:{port} -servername {host}"),
        )
    } else if error.is_dns() {
        (
            "name",
            why,
            format!("check that the name resolves from here: dig {host}"),
        )
    } else if error.is_connect() {
        (
            "no connection",
            why,
            format!(
                "check that something listens on port {port} of {host}, and that it can be reached from here"
            ),
        )
    } else {
        (
            "broken off",
            why,
            format!("look at what it answers: curl -iv {shown}"),
        )
    };
    Seen {
        what: format!("{shown} does not answer yet ({why})"),
        resource: shown,
        kind: "GET".to_owned(),
        state: state.to_owned(),
        way_out,
    }
    .into()
}

fn other_status(check: &HttpCheck, url: &Url, response: &Response) -> Seen {
    let shown = show(url);
    let status = response.status();
    let to = response
        .headers()
        .get(LOCATION)
        .filter(|_| status.is_redirection())
        .and_then(|to| url.join(to.to_str().ok()?).ok())
        .map(|to| show(&to));
    let way_out = match to {
        Some(to) => format!(
            "it redirects to {to}, which is not followed: check that address, or expect status {}",
            status.as_u16()
        ),
        None if matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ) =>
        {
            format!(
                "what stands in front answers, what is behind it does not: check that its targets are \
                 healthy, then curl -i {shown}"
            )
        }
        None => format!("look at what it answers: curl -i {shown}"),
    };
    Seen {
        what: format!("{shown} answers {}, not {}", status.as_u16(), check.status),
        resource: shown,
        kind: "GET".to_owned(),
        state: status.as_u16().to_string(),
        way_out,
    }
}

fn other_body(url: &Url, status: StatusCode, wanted: &str) -> Seen {
    let shown = show(url);
    let status = status.as_u16();
    Seen {
        what: format!("{shown} answers {status}, but without {:?}", shortened(wanted)),
        way_out: format!("look at what it answers: curl -i {shown}"),
        resource: shown,
        kind: "GET".to_owned(),
        state: status.to_string(),
    }
}

fn shortened(text: &str) -> String {
    const LENGTH: usize = 60;
    let mut short: String = text.chars().take(LENGTH).collect();
    if text.chars().count() > LENGTH {
        short.push('…');
    }
    short
}

/// What went wrong in a few words, without the address; and whether it is that there is no such name.
pub(crate) fn why(error: reqwest::Error) -> (String, bool) {
    let error = error.without_url();
    let why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        root(&error)
    };
    // A resolver that cannot be asked right now says nothing about the name.
    let no_such_name = error.is_dns() && !why.contains("Temporary failure");
    (why, no_such_name)
}

/// What it comes down to; the errors above only say that a request failed.
fn root(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = source.to_string();
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_addresses_are_not_shown() {
        assert_eq!(
            shown("https://ann:secret@portal.acme.example:8443/ready?token=secret#secret"),
            "https://portal.acme.example:8443/ready"
        );
        assert_eq!(shown("secret"), "an address that cannot be read");
        assert_eq!(shown("mailto:ann?token=secret"), "mailto:ann");
    }
}
