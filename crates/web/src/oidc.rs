//! An OpenID Connect provider is ready for sign-in.
//!
//! Asked as a client asks: the discovery document must name the very issuer it was fetched from, and there must
//! be keys to verify tokens with (source: OpenID Connect Discovery 1.0, sections 3 and 4.3).

use std::time::Duration;

use landfall_model::definition::OidcCheck;
use landfall_model::provider::Outputs;
use reqwest::Url;
use serde_json::Value;

use crate::http::{beginning, parse, show, unanswered};
use crate::reach::Reach;
use crate::{Held, Miss, Seen};

/// How long one request may take.
const ONE_TRY: Duration = Duration::from_secs(10);
/// The last try, near the deadline, still gets this long.
const AT_LEAST: Duration = Duration::from_secs(1);
/// What a provider must name, and what the check calls it.
const NEEDED: [(&str, &str); 3] = [
    ("authorization_endpoint", "authorizationEndpoint"),
    ("token_endpoint", "tokenEndpoint"),
    ("jwks_uri", "jwksUri"),
];

/// Asks once: for the document, then for the keys.
pub(crate) async fn look(check: &OidcCheck, reach: &Reach, left: Duration) -> Result<Held, Miss> {
    let time = left.clamp(AT_LEAST, ONE_TRY);
    let issuer = check.issuer.trim_end_matches('/');
    let address = parse(&format!("{issuer}/.well-known/openid-configuration"))?;
    let document = json(reach, &address, time).await?;
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    let said = text("issuer").unwrap_or_default();
    if said.trim_end_matches('/') != issuer {
        return Err(Seen {
            what: format!("{} names the issuer `{said}`, not `{issuer}`", show(&address)),
            resource: show(&address),
            kind: "issuer".to_owned(),
            state: "another issuer".to_owned(),
            way_out: "give the issuer letter by letter as the provider names it: tokens carry it, and clients compare it"
                .to_owned(),
        }
        .into());
    }
    let mut outputs = Outputs::from_iter([("issuer".to_owned(), said.into())]);
    for (key, name) in NEEDED {
        let Some(value) = text(key) else {
            return Err(Seen {
                what: format!("{} has no `{key}`", show(&address)),
                resource: show(&address),
                kind: key.to_owned(),
                state: "missing".to_owned(),
                way_out: "check that this is an OpenID Connect provider, not only an OAuth server".to_owned(),
            }
            .into());
        };
        outputs.insert(name.to_owned(), value.into());
    }
    // Recommended, not required: some providers put everything into the token.
    let userinfo = text("userinfo_endpoint").unwrap_or_default();
    outputs.insert("userinfoEndpoint".to_owned(), userinfo.into());
    let keys_at = parse(text("jwks_uri").unwrap_or_default())?;
    let keys = json(reach, &keys_at, time).await?;
    let count = keys.get("keys").and_then(Value::as_array).map_or(0, Vec::len);
    if count == 0 {
        return Err(Seen {
            what: format!("{} has no keys yet", show(&keys_at)),
            resource: show(&keys_at),
            kind: "keys".to_owned(),
            state: "empty".to_owned(),
            way_out: "without keys no token can be verified: check that the provider has a signing key"
                .to_owned(),
        }
        .into());
    }
    Ok(Held {
        outputs,
        notes: vec![format!("{issuer} is ready for sign-in: {count} keys")],
    })
}

async fn json(reach: &Reach, address: &Url, time: Duration) -> Result<Value, Miss> {
    let response = reach
        .get(address, time)?
        .send()
        .await
        .map_err(|error| unanswered(address, time, error))?;
    let status = response.status().as_u16();
    let shown = show(address);
    let wrong = |what: String| Seen {
        what,
        resource: shown.clone(),
        kind: "GET".to_owned(),
        state: status.to_string(),
        way_out: format!("look at what it answers: curl -i {shown}"),
    };
    if status != 200 {
        return Err(wrong(format!("{shown} answers {status}, not 200")).into());
    }
    let body = beginning(response)
        .await
        .map_err(|error| unanswered(address, time, error))?;
    serde_json::from_slice(&body).map_err(|_| wrong(format!("{shown} answers no JSON")).into())
}
