//! Checks of what sign-in needs: a provider that is ready, a role that exists.

use serde_json::{Value, json};

use crate::tests::{Session, answer, spec, web_server};

/// A provider that answers so, once it is asked.
async fn provider(document: impl Fn(&str) -> Value, keys: Value) -> String {
    // The document names the address, which is known only once somebody listens: the first server tells where
    // the keys are, and names itself through a fixed path of the second.
    let (keys_at, _) = web_server(vec![answer("200 OK", "", &keys.to_string())]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    let document = document(&address).to_string().replace("KEYS", &keys_at);
    crate::tests::serve(
        tokio::net::TcpListener::from_std(listener).unwrap(),
        vec![
            answer("503 Service Unavailable", "", ""),
            answer("200 OK", "", &document),
        ],
    );
    address
}

fn document(address: &str) -> Value {
    json!({
        "issuer": format!("http://{address}/pool"),
        "authorization_endpoint": "https://sign-in.acme.example/oauth2/authorize",
        "token_endpoint": "https://sign-in.acme.example/oauth2/token",
        "userinfo_endpoint": "https://sign-in.acme.example/oauth2/userInfo",
        "jwks_uri": "http://KEYS/jwks.json",
    })
}

fn check(address: &str) -> landfall_model::definition::CheckSpec {
    spec(json!({ "oidc": { "issuer": format!("http://{address}/pool") }, "within": "20s" }))
}

#[tokio::test]
async fn a_provider_is_waited_for_until_it_can_sign_people_in() {
    let address = provider(document, json!({ "keys": [{ "kty": "RSA", "kid": "one" }] })).await;
    let session = Session::new();
    let applied = session.apply(check(&address)).await.unwrap();
    assert_eq!(
        Value::Object(applied.outputs),
        json!({
            "issuer": format!("http://{address}/pool"),
            "authorizationEndpoint": "https://sign-in.acme.example/oauth2/authorize",
            "tokenEndpoint": "https://sign-in.acme.example/oauth2/token",
            "jwksUri": applied_keys(&address, &session).await,
            "userinfoEndpoint": "https://sign-in.acme.example/oauth2/userInfo",
        })
    );
    assert_eq!(
        session.said(),
        [format!(
            "http://{address}/pool/.well-known/openid-configuration answers 503, not 200, 0s of 20s"
        )]
    );
}

/// Where the keys are, as the provider says now.
async fn applied_keys(address: &str, session: &Session) -> Value {
    session.apply(check(address)).await.unwrap().outputs["jwksUri"].clone()
}

#[tokio::test]
async fn a_provider_that_is_not_what_it_should_be_is_not_ready() {
    let keys = json!({ "keys": [{ "kty": "RSA" }] });
    let other = |_: &str| json!({ "issuer": "https://elsewhere.example", "jwks_uri": "http://KEYS/" });
    let without = |address: &str| {
        let mut document = document(address);
        document.as_object_mut().unwrap().remove("token_endpoint");
        document
    };
    for (address, wanted) in [
        (
            provider(other, keys.clone()).await,
            "names the issuer `https://elsewhere.example`, not",
        ),
        (provider(without, keys).await, "has no `token_endpoint`"),
        (provider(document, json!({ "keys": [] })).await, "has no keys yet"),
        (
            provider(|_| json!("no document"), json!({})).await,
            "names the issuer ``",
        ),
    ] {
        let failure = Session::new().fails(check(&address)).await;
        let reason = failure.cause.unwrap().reason;
        assert!(reason.contains(wanted), "{reason}");
        assert!(failure.way_out.is_some());
    }
}

#[tokio::test]
async fn one_role_of_a_form_is_found_and_several_are_not_guessed_among() {
    let session = Session::with_roles(&[
        "AWSReservedSSO_Administrator_0a1b",
        "AWSReservedSSO_Developer_0c2d",
    ]);
    let role = |name: &str| {
        spec(json!({
            "iamRole": { "pathPrefix": "/aws-reserved/sso.amazonaws.com/", "name": name }, "within": "10s",
        }))
    };
    let applied = session
        .apply(role("^AWSReservedSSO_Administrator_"))
        .await
        .unwrap();
    assert_eq!(
        Value::Object(applied.outputs),
        json!({
            "arn": "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Administrator_0a1b",
            "name": "AWSReservedSSO_Administrator_0a1b",
        })
    );
    let failure = session.fails(role("^AWSReservedSSO_")).await;
    assert!(failure.summary.contains("2 roles"), "{failure:?}");
    let failure = session.fails(role("^Auditor")).await;
    assert!(
        failure
            .cause
            .unwrap()
            .reason
            .starts_with("none of the 2 roles below /aws-reserved/"),
    );
    let failure = session.fails(role("(")).await;
    assert!(failure.summary.contains("no regular expression"), "{failure:?}");
}
