//! `landfall token`: what kubectl asks for when it talks to a cluster (source: Kubernetes "client-go credential plugins",
//! `client.authentication.k8s.io/v1`).

use std::time::SystemTime;

use landfall_aws::Account;
use serde_json::json;

/// Prints a token, and until when it is good.
pub(crate) async fn token(arguments: &crate::cli::Token) -> anyhow::Result<u8> {
    let account = Account::connect(&arguments.account, &arguments.region).await?;
    let token = account.eks_token(&arguments.region, &arguments.cluster).await?;
    super::print_json(&json!({
        "kind": "ExecCredential",
        "apiVersion": "client.authentication.k8s.io/v1",
        "spec": { "interactive": false },
        "status": { "token": token.token, "expirationTimestamp": rfc3339(token.ends)? },
    }))?;
    Ok(0)
}

/// A moment, in whole seconds.
fn rfc3339(moment: SystemTime) -> anyhow::Result<String> {
    let moment = jiff::Timestamp::try_from(moment)?;
    Ok(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
