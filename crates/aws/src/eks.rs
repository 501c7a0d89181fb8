//! EKS clusters: where they answer, and tokens for their API (source: EKS API reference, `DescribeCluster`; the
//! token is a presigned `GetCallerIdentity`, as aws-iam-authenticator defines it).

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use landfall_runner::ObserveError;
use serde_json::Value;

use crate::account::Account;
use crate::ask::service_host;
use crate::signed::{Call, encoded};
use crate::trouble::{Trouble, patiently};

/// A cluster, as far as whoever talks to its API needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EksCluster {
    /// Its name.
    pub name: String,
    /// Its state in EKS's words, such as `ACTIVE`.
    pub status: String,
    /// The address of its API; empty until there is one.
    pub endpoint: String,
    /// The certificate authority of that address, PEM in base64; empty until there is one.
    pub certificate_authority: String,
    /// The platform it carries the mark of, when it does.
    pub platform: Option<String>,
}

/// A bearer token for a cluster's API.
#[derive(Clone)]
pub struct EksToken {
    /// The token. Whoever has it is whoever made it, until it ends.
    pub token: String,
    /// From when on it is not accepted any more.
    pub ends: SystemTime,
}

/// How long the presigned request in a token may be used. EKS accepts tokens for 15 minutes whatever this says; the AWS
/// CLI asks for a minute, too.
const PRESIGNED_FOR: Duration = Duration::from_secs(60);
/// How long EKS takes a token, less a minute for clocks that differ.
const TOKEN_LASTS: Duration = Duration::from_secs(14 * 60);
/// What the presigned request must name besides: for which cluster it is.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";

impl Account {
    /// The cluster of this name; nothing when there is none.
    ///
    /// # Errors
    /// EKS does not answer, or refuses.
    pub async fn eks_cluster(&self, region: &str, name: &str) -> Result<Option<EksCluster>, ObserveError> {
        let doing = || format!("could not look at the EKS cluster `{name}` in {region}");
        match self.eks(region, &format!("/clusters/{name}")).await {
            Ok(answer) => Ok(Some(cluster(&answer["cluster"]))),
            Err(Trouble::NotFound(_)) => Ok(None),
            Err(trouble) if trouble.is_code("ResourceNotFoundException") => Ok(None),
            Err(trouble) => Err(trouble.observing(&doing())),
        }
    }

    /// The names of all clusters of a region.
    ///
    /// # Errors
    /// EKS does not answer, or refuses.
    pub async fn eks_clusters(&self, region: &str) -> Result<Vec<String>, ObserveError> {
        let mut names = Vec::new();
        let mut path = "/clusters".to_owned();
        loop {
            let answer = self.eks(region, &path).await.map_err(|trouble| {
                trouble.observing(&format!("could not list the EKS clusters in {region}"))
            })?;
            let page = answer["clusters"].as_array().into_iter().flatten();
            names.extend(page.filter_map(Value::as_str).map(str::to_owned));
            match answer["nextToken"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => path = format!("/clusters?nextToken={}", encoded(token)),
                None => return Ok(names),
            }
        }
    }

    /// A token for the API of a cluster, made from the credentials in use. Asks nobody.
    ///
    /// # Errors
    /// The credentials cannot be had.
    pub async fn eks_token(&self, region: &str, cluster: &str) -> Result<EksToken, ObserveError> {
        let doing = format!("could not make a token for the EKS cluster `{cluster}`");
        let credentials = self
            .credentials()
            .await
            .map_err(|trouble| trouble.observing(&doing))?;
        let now = SystemTime::now();
        let host = service_host("sts", region);
        let token =
            token(&credentials, region, &host, cluster, now).map_err(|trouble| trouble.observing(&doing))?;
        let ends = now + TOKEN_LASTS;
        Ok(EksToken {
            token,
            ends: credentials.expiry().map_or(ends, |expiry| expiry.min(ends)),
        })
    }

    async fn eks(&self, region: &str, path: &str) -> Result<Value, Trouble> {
        let call = Call {
            service: "eks",
            region,
            method: "GET",
            url: format!("{}{path}", self.address(&service_host("eks", region))),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let answer = patiently(None, || self.send(&call)).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Trouble::Other {
            code: "InvalidAnswer".to_owned(),
            message: format!("EKS's answer cannot be read: {error}"),
        })
    }
}

fn cluster(answer: &Value) -> EksCluster {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    EksCluster {
        name: text(&answer["name"]),
        status: text(&answer["status"]),
        endpoint: text(&answer["endpoint"]),
        certificate_authority: text(&answer["certificateAuthority"]["data"]),
        platform: answer["tags"][landfall_model::work::TAG_PLATFORM]
            .as_str()
            .map(str::to_owned),
    }
}

/// A presigned request that tells who one is, for one cluster.
fn token(
    credentials: &Credentials,
    region: &str,
    host: &str,
    cluster: &str,
    now: SystemTime,
) -> Result<String, Trouble> {
    let broken = |what: String| Trouble::Other {
        code: "InvalidRequest".to_owned(),
        message: what,
    };
    let url = format!("https://{host}/?Action=GetCallerIdentity&Version=2011-06-15");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(PRESIGNED_FOR);
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| broken(error.to_string()))?
        .into();
    let headers = [("host", host), (CLUSTER_HEADER, cluster)];
    let signable = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::Bytes(&[]))
        .map_err(|error| broken(error.to_string()))?;
    let (instructions, _) = sign(signable, &parameters)
        .map_err(|error| broken(error.to_string()))?
        .into_parts();
    let mut request = http::Request::builder()
        .uri(&url)
        .body(())
        .map_err(|error| broken(error.to_string()))?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(format!(
        "k8s-aws-v1.{}",
        URL_SAFE_NO_PAD.encode(request.uri().to_string())
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parameters(url: &str) -> (String, BTreeMap<String, String>) {
        let (host, query) = url.split_once('?').unwrap();
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (host.to_owned(), pairs.collect())
    }

    #[test]
    fn a_token_is_the_request_that_botocore_presigns() {
        // As botocore 1.x signs it for these credentials at this moment, with expires=60.
        let theirs = "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15\
            &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260101%2Fus-east-1%2Fsts%2Faws4_request\
            &X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id\
            &X-Amz-Security-Token=AQoDYXdzEPT%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEXAMPLE\
            &X-Amz-Signature=d8822a08ddf3fa063dce512fcb6729be0ea989a6aa31514a932edc81f7320660";
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("AQoDYXdzEPT//////////wEXAMPLE".to_owned()),
            None,
            "test",
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let host = service_host("sts", "us-east-1");
        let token = token(&credentials, "us-east-1", &host, "acme-dev", now).unwrap();
        let ours = URL_SAFE_NO_PAD
            .decode(token.strip_prefix("k8s-aws-v1.").unwrap())
            .unwrap();
        let ours = String::from_utf8(ours).unwrap();
        assert_eq!(parameters(&ours), parameters(theirs));
    }

    #[test]
    fn a_cluster_that_is_being_made_has_no_address_yet() {
        let answer = serde_json::json!({
            "name": "acme-dev", "status": "CREATING", "certificateAuthority": {},
            "tags": { "landfall:platform": "acme" },
        });
        let read = cluster(&answer);
        assert_eq!((read.status.as_str(), read.endpoint.as_str()), ("CREATING", ""));
        assert_eq!(read.platform.as_deref(), Some("acme"));
    }
}
