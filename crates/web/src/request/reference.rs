//! Dynamic references to AWS Secrets Manager, in the form CloudFormation has them:
//! `{{resolve:secretsmanager:ID:SecretString:KEY}}`.

use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, SecretReader};

/// Which secret, and which key of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub(crate) id: &'a str,
    pub(crate) key: Option<&'a str>,
}

/// Whether a text has a reference anywhere in it.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains("{{resolve:")
}

/// Reads a reference; nothing when the text is something else.
pub(crate) fn parse(text: &str) -> Result<Option<Reference<'_>>, ApplyError> {
    if !has_reference(text) {
        return Ok(None);
    }
    let wrong = |why: &str| {
        ApplyError::from(
            Failure::new(format!("the dynamic reference `{text}` cannot be read: {why}"))
                .way_out("write `{{resolve:secretsmanager:ARN:SecretString:key}}`, and nothing around it"),
        )
    };
    let inner = text
        .strip_prefix("{{resolve:secretsmanager:")
        .and_then(|rest| rest.strip_suffix("}}"))
        .ok_or_else(|| wrong("only whole values, and only of Secrets Manager, can be references here"))?;
    let (id, rest) = match inner.split_once(":SecretString") {
        Some((id, rest)) => (id, rest.strip_prefix(':').unwrap_or(rest)),
        None => (inner, ""),
    };
    let mut parts = rest.split(':');
    let key = parts.next().filter(|key| !key.is_empty());
    if parts.any(|part| !part.is_empty()) {
        return Err(wrong(
            "versions are not supported, the current one is always read",
        ));
    }
    if id.is_empty() {
        return Err(wrong("it names no secret"));
    }
    Ok(Some(Reference { id, key }))
}

/// The value a text stands for; itself when it is no reference.
pub(crate) async fn resolved(text: &str, secrets: Option<&dyn SecretReader>) -> Result<String, ApplyError> {
    let Some(reference) = parse(text)? else {
        return Ok(text.to_owned());
    };
    let Some(secrets) = secrets else {
        return Err(Failure::new("nobody was given to read secrets")
            .way_out("run the command with credentials of the platform's account")
            .into());
    };
    let value = match reference.key {
        None => secrets.secret(reference.id).await?,
        Some(key) => secrets.key(reference.id, key).await?,
    };
    Ok(value.reveal().to_owned())
}

#[cfg(test)]
mod tests {
    use landfall_runner::SecretValue;

    use super::*;

    #[test]
    fn references_are_read_as_cloudformation_reads_them() {
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme-Ab12Cd";
        let whole = format!("{{{{resolve:secretsmanager:{arn}:SecretString}}}}");
        let keyed = format!("{{{{resolve:secretsmanager:{arn}:SecretString:password::}}}}");
        assert_eq!(parse(&whole), Ok(Some(Reference { id: arn, key: None })));
        assert_eq!(
            parse(&keyed),
            Ok(Some(Reference {
                id: arn,
                key: Some("password")
            }))
        );
        assert_eq!(parse("plain"), Ok(None));
        for wrong in [
            "Basic {{resolve:secretsmanager:acme}}",
            "{{resolve:ssm:/acme}}",
            "{{resolve:secretsmanager:acme:SecretString:a:AWSPREVIOUS}}",
            "{{resolve:secretsmanager::SecretString}}",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    struct Kept;

    #[async_trait::async_trait]
    impl SecretReader for Kept {
        async fn secret(&self, _: &str) -> Result<SecretValue, ApplyError> {
            Ok(SecretValue::new(r#"{"password":"s3cret"}"#))
        }
    }

    #[tokio::test]
    async fn a_key_that_is_not_there_is_named_and_the_secret_is_not() {
        let read = async |key: &str| {
            let text = format!("{{{{resolve:secretsmanager:acme:SecretString:{key}}}}}");
            resolved(&text, Some(&Kept)).await
        };
        assert_eq!(read("password").await.unwrap(), "s3cret");
        let ApplyError::Failed(failure) = read("pass").await.unwrap_err() else {
            panic!("it fails")
        };
        assert_eq!(failure.summary, "the secret acme has no key `pass`");
        assert_eq!(resolved("plain", None).await.unwrap(), "plain");
    }
}
