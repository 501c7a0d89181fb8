//! A certificate is valid for the name a server is reached by, and stays so for a while.
//!
//! The chain is judged as browsers judge it, by the authorities this machine trusts. Only the handshake is made:
//! whatever the server speaks behind it, nothing is asked.

use std::sync::Arc;
use std::time::Duration;

use landfall_model::definition::TlsCheck;
use landfall_model::provider::{Failure, Outputs};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::certificate::{Certificate, day};
use crate::{Held, Miss, Seen};

/// How long one try may take.
const ONE_TRY: Duration = Duration::from_secs(10);
/// The last try, near the deadline, still gets this long.
const AT_LEAST: Duration = Duration::from_secs(1);
const DAY_S: u64 = 24 * 60 * 60;

/// Whose authorities are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// Those of this machine.
    #[default]
    Machine,
    /// These alone.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests bring an authority of their own")
    )]
    Only(Arc<RootCertStore>),
}

/// The moment by which certificates are judged.
#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// Makes the handshake once. `now_s` is the present, in seconds since 1970.
pub(crate) async fn look(check: &TlsCheck, trust: &Trust, now_s: u64, left: Duration) -> Result<Held, Miss> {
    let TlsCheck {
        host,
        port,
        minimum_days,
    } = check;
    let name = ServerName::try_from(host.clone()).map_err(|_| {
        Failure::new(format!("`{host}` is not the name of a server"))
            .way_out("give a name without scheme and port, such as portal.acme.example")
    })?;
    let place = format!("{host}:{port}");
    let time = left.clamp(AT_LEAST, ONE_TRY);
    let handshake = async {
        let tcp = TcpStream::connect((host.as_str(), *port)).await?;
        let stream = TlsConnector::from(Arc::new(config(trust, now_s)?))
            .connect(name, tcp)
            .await?;
        let (_, connection) = stream.get_ref();
        let first = connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(|certificate| certificate.to_vec());
        first.ok_or_else(|| std::io::Error::other("it showed no certificate"))
    };
    let seen = |state: &str, why: String, way_out: String| Seen {
        what: format!("{place} {why}"),
        resource: place.clone(),
        kind: "TLS".to_owned(),
        state: state.to_owned(),
        way_out,
    };
    let shown = format!("openssl s_client -connect {place} -servername {host}");
    let shown_first = match tokio::time::timeout(time, handshake).await {
        Err(_) => {
            return Err(seen(
                "no answer",
                format!("does not answer within {} s", time.as_secs()),
                format!("check security groups and routes between here and port {port} of {host}"),
            )
            .into());
        }
        Ok(Err(error)) => {
            let (state, why) = said(&error);
            return Err(seen(state, why, format!("look at the certificate: {shown}")).into());
        }
        Ok(Ok(certificate)) => certificate,
    };
    let Some(certificate) = Certificate::read(&shown_first) else {
        return Err(seen(
            "certificate",
            "shows a certificate that cannot be read".to_owned(),
            format!("look at it: {shown}"),
        )
        .into());
    };
    let days = certificate.not_after_s.saturating_sub(now_s) / DAY_S;
    let until = day(certificate.not_after_s);
    if days < u64::from(*minimum_days) {
        return Err(seen(
            "expires",
            format!("has a certificate that is valid for {days} more days, until {until}; {minimum_days} are asked for"),
            "renew it: ACM renews by itself as long as its validation records stand in DNS; cert-manager says why it does \
             not in `kubectl describe certificate`"
                .to_owned(),
        )
        .into());
    }
    Ok(Held {
        outputs: Outputs::from_iter([
            ("expires".to_owned(), until.as_str().into()),
            ("issuer".to_owned(), certificate.issuer.as_str().into()),
        ]),
        notes: vec![format!(
            "{place} has a certificate of {}, valid until {until}",
            certificate.issuer
        )],
    })
}

fn config(trust: &Trust, now_s: u64) -> std::io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider.clone(), Arc::new(At(now_s)))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let builder = match trust {
        Trust::Machine => builder.with_platform_verifier().map_err(std::io::Error::other)?,
        Trust::Only(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider)
                .build()
                .map_err(std::io::Error::other)?;
            builder.with_webpki_verifier(verifier)
        }
    };
    Ok(builder.with_no_client_auth())
}

/// What went wrong, in a word and in a sentence's end.
fn said(error: &std::io::Error) -> (&'static str, String) {
    use rustls::CertificateError as Bad;
    use rustls::Error::InvalidCertificate;
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            ("expired", "has a certificate that has expired".to_owned())
        }
        Some(InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. })) => (
            "not valid yet",
            "has a certificate that is not valid yet".to_owned(),
        ),
        Some(InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
            ("another name", "has a certificate for another name".to_owned())
        }
        Some(InvalidCertificate(Bad::UnknownIssuer)) => (
            "unknown issuer",
            "has a certificate of an authority that is not trusted here".to_owned(),
        ),
        Some(other) => (
            "handshake",
            format!("does not complete a TLS handshake ({other})"),
        ),
        None => ("no connection", format!("does not answer yet ({error})")),
    }
}
