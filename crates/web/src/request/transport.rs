//! How requests get to an API: over HTTP, or into one that a test or a simulated world keeps in memory.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Url};

use crate::Miss;
use crate::http::client;

/// How long one request may take.
const ONE_TRY: Duration = Duration::from_secs(30);
/// How much of an answer is read.
const BODY_BYTES: usize = 8 << 20;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The whole address.
    pub url: Url,
    /// What the body is, when there is one.
    pub content_type: Option<&'static str>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What it asks to wait before the next try, in seconds.
    pub retry_after_s: Option<u64>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Nothing answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// What went wrong.
    pub why: String,
    /// Whether there is no such name at all.
    pub no_such_name: bool,
}

/// Carries requests.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends one request, and follows no redirect.
    async fn send(&self, request: &Request) -> Result<Answer, Unreached>;
}

/// Over HTTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

#[async_trait]
impl Transport for Http {
    async fn send(&self, request: &Request) -> Result<Answer, Unreached> {
        let Request {
            method,
            url,
            content_type,
            authorization,
            body,
        } = request;
        let broken = |why: String| Unreached {
            why,
            no_such_name: false,
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| broken(error.to_string()))?;
        let client = client(url, ONE_TRY).map_err(|miss| {
            broken(match miss {
                Miss::Never(landfall_runner::ApplyError::Failed(failure)) => failure.summary,
                _ => "HTTP requests cannot be made from here".to_owned(),
            })
        })?;
        let mut sent = client
            .request(method, url.clone())
            .header("accept", "application/json");
        if let Some(content_type) = content_type {
            sent = sent.header("content-type", *content_type).body(body.clone());
        }
        if let Some(authorization) = authorization {
            sent = sent.header("authorization", authorization);
        }
        let failed = |error: reqwest::Error| {
            let (why, no_such_name) = crate::http::why(error);
            Unreached { why, no_such_name }
        };
        let mut response = sent.send().await.map_err(failed)?;
        let retry_after_s = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES {
                return Err(broken(format!("the answer has more than {BODY_BYTES} bytes")));
            }
        }
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after_s,
            body,
        })
    }
}
