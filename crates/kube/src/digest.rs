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

#[cfg(test)]
mod tests {
    #[test]
    fn sets_have_the_ids_that_kubectl_gives_them() {
        // The example of kubectl's own tests: a Secret `my-set` in the namespace `test`.
        assert_eq!(
            super::sha256_url("my-set.test.Secret."),
            "0eFHV8ySqp7XoShsGvyWFQD3s96yqwHmzc4e0HR1dsY"
        );
    }
}
