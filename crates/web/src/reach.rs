//! Where a request is sent: to the address itself; or, for what AWS answers in an account's name, to where
//! `AWS_ENDPOINT_URL` says that AWS is.
//!
//! These are issuers of Cognito and APIs of API Gateway. They only exist where the account does: asked at their own
//! address, an emulator's would not be found.

use std::time::Duration;

use reqwest::header::HOST;
use reqwest::{RequestBuilder, Url};

use crate::Miss;
use crate::http::client;

/// How addresses of AWS end, in all partitions that have them.
const DOMAINS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// Which way requests take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// Where AWS is, when not at its own addresses.
    pub(crate) endpoint: Option<Url>,
}

impl Reach {
    /// A request that can be sent. It names the host that was asked for, wherever it goes.
    pub(crate) fn get(&self, address: &Url, time: Duration) -> Result<RequestBuilder, Miss> {
        let Some(endpoint) = self.endpoint.as_ref().filter(|_| is_of_an_account(address)) else {
            return Ok(client(address, time)?.get(address.clone()));
        };
        let mut there = endpoint.clone();
        there.set_path(address.path());
        there.set_query(address.query());
        let host = address.host_str().unwrap_or_default();
        Ok(client(&there, time)?.get(there).header(HOST, host))
    }
}

fn is_of_an_account(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default();
    let Some(name) = DOMAINS.iter().find_map(|domain| host.strip_suffix(domain)) else {
        return false;
    };
    let labels: Vec<&str> = name.split('.').collect();
    matches!(labels[..], ["cognito-idp", _] | [_, "execute-api", _])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(endpoint: Option<&str>, address: &str) -> (String, Option<String>) {
        let reach = Reach {
            endpoint: endpoint.map(|url| url.parse().unwrap()),
        };
        let address = address.parse().unwrap();
        let request = reach
            .get(&address, Duration::from_secs(1))
            .unwrap()
            .build()
            .unwrap();
        let host = request
            .headers()
            .get(HOST)
            .map(|host| host.to_str().unwrap().to_owned());
        (request.url().to_string(), host)
    }

    #[test]
    fn what_aws_answers_for_an_account_is_asked_where_the_account_is() {
        let emulator = Some("http://127.0.0.1:4566");
        let issuer =
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1/.well-known/openid-configuration";
        assert_eq!(
            sent(emulator, issuer),
            (
                "http://127.0.0.1:4566/eu-west-1_Ab1/.well-known/openid-configuration".to_owned(),
                Some("cognito-idp.eu-west-1.amazonaws.com".to_owned())
            )
        );
        assert_eq!(sent(None, issuer), (issuer.to_owned(), None));
        let api = "https://abc123.execute-api.eu-west-1.amazonaws.com/things?of=mine";
        assert_eq!(
            sent(emulator, api),
            (
                "http://127.0.0.1:4566/things?of=mine".to_owned(),
                Some("abc123.execute-api.eu-west-1.amazonaws.com".to_owned())
            )
        );
        for elsewhere in [
            "https://portal.acme.example/",
            "https://cognito-idp.eu-west-1.amazonaws.com.acme.example/",
            "https://portal-1.eu-west-1.elb.amazonaws.com/",
        ] {
            assert_eq!(sent(emulator, elsewhere), (elsewhere.to_owned(), None));
        }
    }
}
