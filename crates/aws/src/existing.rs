//! Things of which an account holds one, looked up before a stack would make a second.

use landfall_model::definition::ExistingOidcProvider;

use crate::account::Account;
use crate::signed::{Call, encoded};
use crate::trouble::{Trouble, patiently};

/// What was found of an OpenID Connect provider.
pub(crate) enum Found {
    /// There is none.
    Nothing,
    /// There is one that lists the audience.
    Usable {
        /// Its ARN.
        arn: String,
    },
    /// There is one, but it does not list the audience.
    OtherAudience {
        /// Its ARN.
        arn: String,
    },
}

/// Looks an identity provider up. IAM answers in one region for the whole account.
pub(crate) async fn oidc_provider(
    account: &Account,
    wanted: &ExistingOidcProvider,
) -> Result<Found, Trouble> {
    let host = wanted.url.trim_start_matches("https://").trim_end_matches('/');
    let arn = format!("arn:aws:iam::{}:oidc-provider/{host}", account.id());
    let body = format!(
        "Action=GetOpenIDConnectProvider&OpenIDConnectProviderArn={}&Version=2010-05-08",
        encoded(&arn)
    );
    let answer = patiently(None, || async {
        account
            .send(&Call {
                service: "iam",
                region: "us-east-1",
                method: "POST",
                url: format!("{}/", account.address("iam.amazonaws.com")),
                headers: vec![(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
                )],
                body: body.clone().into_bytes(),
            })
            .await
    })
    .await;
    let answer = match answer {
        Err(Trouble::NotFound(_)) => return Ok(Found::Nothing),
        answer => answer?,
    };
    let body = answer.text();
    let document = roxmltree::Document::parse(&body).map_err(|error| Trouble::Other {
        code: "InvalidAnswer".to_owned(),
        message: error.to_string(),
    })?;
    let listed = document
        .descendants()
        .filter(|node| node.tag_name().name() == "ClientIDList")
        .flat_map(|list| {
            list.children()
                .filter_map(|member| member.text())
                .collect::<Vec<_>>()
        })
        .any(|audience| audience == wanted.audience);
    Ok(if listed {
        Found::Usable { arn }
    } else {
        Found::OtherAudience { arn }
    })
}
