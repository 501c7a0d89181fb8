//! A signed request to any AWS service, for the handful of calls that need no SDK crate.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use crate::account::Account;
use crate::trouble::Trouble;

/// One request to one service.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) method: &'a str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer with a good status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The version that S3 gives to what was read or written.
    pub(crate) etag: Option<String>,
}

impl Answer {
    /// The body of an answer that is text.
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl Account {
    /// Where a service answers: the configured endpoint, or the service's own.
    pub(crate) fn address(&self, host: &str) -> String {
        self.endpoint().unwrap_or_else(|| format!("https://{host}"))
    }

    /// Signs and sends a request.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer, Trouble> {
        let credentials = self.credentials().await?;
        let request = signed(call, &credentials)?;
        let request = reqwest::Request::try_from(request).map_err(|error| Trouble::Other {
            code: "InvalidRequest".to_owned(),
            message: error.to_string(),
        })?;
        // An address in an error could hold a signature; say only which service it was.
        let unreachable = |error: reqwest::Error| {
            Trouble::Unreachable(format!(
                "no answer from {}: {}",
                call.service,
                error.without_url()
            ))
        };
        let response = self.http.execute(request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let etag = response.headers().get("etag");
        let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(unreachable)?.to_vec();
        if status < 300 {
            return Ok(Answer { body, etag });
        }
        Err(refusal(status, &String::from_utf8_lossy(&body)))
    }
}

fn signed(call: &Call<'_>, credentials: &Credentials) -> Result<http::Request<Vec<u8>>, Trouble> {
    let broken = |what: String| Trouble::Other {
        code: "InvalidRequest".to_owned(),
        message: what,
    };
    let mut settings = SigningSettings::default();
    if call.service == "s3" {
        // S3 signs paths as they are sent and wants the digest of the body in a header.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(call.region)
        .name(call.service)
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .map_err(|error| broken(error.to_string()))?
        .into();
    let mut request = http::Request::builder().method(call.method).uri(&call.url);
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    let mut request = request
        .body(call.body.clone())
        .map_err(|error| broken(error.to_string()))?;
    let signable = SignableRequest::new(
        call.method,
        &call.url,
        call.headers.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(&call.body),
    )
    .map_err(|error| broken(error.to_string()))?;
    let (instructions, _) = sign(signable, &parameters)
        .map_err(|error| broken(error.to_string()))?
        .into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// The error in a body: XML from S3 and IAM, JSON from Secrets Manager.
fn refusal(status: u16, body: &str) -> Trouble {
    let (code, message) = if body.trim_start().starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let text = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| value.get(key)?.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let code = text(&["__type", "code"]);
        (
            code.rsplit('#').next().unwrap_or_default().to_owned(),
            text(&["message", "Message"]),
        )
    } else {
        (
            element(body, "Code").unwrap_or_default(),
            element(body, "Message").unwrap_or_default(),
        )
    };
    match (code.as_str(), status) {
        // It will not have it later either.
        (code, 501) => Trouble::Other {
            code: "NotImplemented".to_owned(),
            message: format!("{code} {message} HTTP 501").trim().to_owned(),
        },
        // Whatever it calls it: the service has trouble of its own.
        (code, 500..) => Trouble::Throttled(format!("{code} HTTP {status}").trim().to_owned()),
        ("", 412) => Trouble::of("PreconditionFailed", ""),
        ("", 404) => Trouble::NotFound("HTTP 404".to_owned()),
        ("", 429) => Trouble::Throttled(format!("HTTP {status}")),
        ("", _) => Trouble::Other {
            code: format!("HTTP {status}"),
            message: "no explanation".to_owned(),
        },
        (code, _) => Trouble::of(code, &message),
    }
}

/// The text of the first element with this name, whatever its namespace.
pub(crate) fn element(body: &str, name: &str) -> Option<String> {
    let document = roxmltree::Document::parse(body).ok()?;
    let node = document
        .descendants()
        .find(|node| node.tag_name().name() == name)?;
    node.text().map(str::to_owned)
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}
