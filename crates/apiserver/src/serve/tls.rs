//! Certificates for a server on loopback, and the kubeconfig that trusts them.

use std::sync::Arc;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates could not be made.
    #[error("could not make certificates for the API server")]
    Certificates(#[from] rcgen::Error),
    /// The certificates are not accepted for TLS.
    #[error("could not use the API server's certificate")]
    Config(#[from] rustls::Error),
}

/// An authority of its own, and a certificate by it.
#[derive(Clone)]
pub struct ServerTls {
    /// The certificate of the authority, in PEM.
    pub ca_pem: String,
    pub(crate) config: Arc<rustls::ServerConfig>,
}

impl ServerTls {
    /// New certificates for these names, which may be addresses.
    pub fn generate(names: &[&str]) -> Result<ServerTls, TlsError> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        authority
            .distinguished_name
            .push(DnType::CommonName, "landfall-cluster-ca");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names)?;
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(ServerTls {
            ca_pem: authority_certificate.pem(),
            config: Arc::new(config),
        })
    }
}

/// A kubeconfig with one cluster and the bearer of one token. JSON, which every reader of YAML takes.
pub fn kubeconfig(url: &str, ca_pem: &str, token: &str) -> String {
    let name = "landfall";
    let trusted = base64::engine::general_purpose::STANDARD.encode(ca_pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": { "server": url, "certificate-authority-data": trusted } }],
        "users": [{ "name": name, "user": { "token": token } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    })
    .to_string()
}
