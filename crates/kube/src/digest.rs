//! Short digests, and base64 as Kubernetes wants it.

use k8s_openapi::ByteString;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A number that stands for a text.
pub(crate) fn number(text: &str) -> u64 {
    let bytes = Sha256::digest(text.as_bytes());
    bytes
        .iter()
        .take(8)
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The SHA-256 of a text in base64 for URLs, without padding.
pub(crate) fn sha256_url(text: &str) -> String {
    let bytes = ByteString(Sha256::digest(text.as_bytes()).to_vec());
    let encoded = match serde_json::to_value(&bytes) {
        Ok(Value::String(text)) => text,
        other => unreachable!("bytes are written as base64, not as {other:?}"),
    };
    encoded.trim_end_matches('=').replace('+', "-").replace('/', "_")
}
