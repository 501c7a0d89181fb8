//! Two things done with buckets: putting a large template into one, and emptying one.

use std::fmt::Write as _;

use landfall_cloudformation::INLINE_LIMIT;
use landfall_model::id::Digest;
use landfall_model::work::Known;
use landfall_runner::Progress;

use crate::account::Account;
use crate::signed::Call;
use crate::trouble::{Trouble, patiently};

/// A template handed over inline, or by its address in a bucket.
pub(crate) enum Body {
    Inline(String),
    Address(String),
}

/// Small templates go inline; larger ones through the platform's artifact bucket.
pub(crate) async fn body(
    account: &Account,
    template: &str,
    artifact_bucket: Option<&Known<String>>,
    progress: Option<&Progress>,
) -> Result<Body, Trouble> {
    if template.len() <= INLINE_LIMIT {
        return Ok(Body::Inline(template.to_owned()));
    }
    let Some(Known::Value(bucket)) = artifact_bucket else {
        return Err(Trouble::Other {
            code: "TemplateTooLarge".to_owned(),
            message: format!(
                "the template has {} bytes, more than the {INLINE_LIMIT} that fit inline; give the platform an `artifactBucket` \
                 (the component `artifact-bucket` makes one)",
                template.len()
            ),
        });
    };
    let silent = Progress::new(
        landfall_model::StepId::new("artifact", "template"),
        std::sync::Arc::new(|_: &_| {}),
    );
    let progress = progress.unwrap_or(&silent);
    let url = put_template(account, account.region(), bucket, template, progress).await?;
    Ok(Body::Address(url))
}

/// Puts a template under its digest and returns the address CloudFormation reads it from.
async fn put_template(
    account: &Account,
    region: &str,
    bucket: &str,
    template: &str,
    progress: &Progress,
) -> Result<String, Trouble> {
    let key = format!("landfall/templates/{}.yaml", Digest::of(template));
    let url = format!("{}/{key}", address(account, region, bucket));
    patiently(Some(progress), || async {
        account
            .send(&Call {
                service: "s3",
                region,
                method: "PUT",
                url: url.clone(),
                headers: vec![("content-type", "application/yaml".to_owned())],
                body: template.as_bytes().to_vec(),
            })
            .await
            .map(|_| ())
    })
    .await?;
    Ok(url)
}

/// Where a bucket answers. Emulators behind one address take its name in the path.
pub(crate) fn address(account: &Account, region: &str, bucket: &str) -> String {
    match account.endpoint() {
        Some(endpoint) => format!("{endpoint}/{bucket}"),
        None if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    }
}

/// One version of an object, or the mark of its deletion.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    key: String,
    id: String,
}

/// Deletes every version of every object. Returns how many there were; a bucket that is gone has none.
pub(crate) async fn empty(
    account: &Account,
    region: &str,
    bucket: &str,
    progress: &Progress,
) -> Result<usize, Trouble> {
    let mut deleted = 0;
    loop {
        let page = patiently(Some(progress), || list(account, region, bucket)).await;
        let versions = match page {
            Err(Trouble::NotFound(_)) => return Ok(deleted),
            Err(trouble) => return Err(trouble),
            Ok(versions) => versions,
        };
        if versions.is_empty() {
            return Ok(deleted);
        }
        patiently(Some(progress), || delete(account, region, bucket, &versions)).await?;
        deleted += versions.len();
        progress.say(format!(
            "emptying the bucket {bucket}: {deleted} versions deleted"
        ));
    }
}

/// The first page of versions: what it lists is deleted before it is asked for again.
async fn list(account: &Account, region: &str, bucket: &str) -> Result<Vec<Version>, Trouble> {
    let url = format!("{}/?max-keys=1000&versions=", address(account, region, bucket));
    let call = Call {
        service: "s3",
        region,
        method: "GET",
        url,
        headers: Vec::new(),
        body: Vec::new(),
    };
    let answer = account.send(&call).await?;
    versions(&answer.text())
}

fn versions(body: &str) -> Result<Vec<Version>, Trouble> {
    let document = roxmltree::Document::parse(body).map_err(|error| Trouble::Other {
        code: "InvalidAnswer".to_owned(),
        message: error.to_string(),
    })?;
    let text = |node: &roxmltree::Node<'_, '_>, name: &str| {
        let child = node.children().find(|child| child.tag_name().name() == name);
        child
            .and_then(|child| child.text())
            .unwrap_or_default()
            .to_owned()
    };
    Ok(document
        .descendants()
        .filter(|node| matches!(node.tag_name().name(), "Version" | "DeleteMarker"))
        .map(|node| Version {
            key: text(&node, "Key"),
            id: text(&node, "VersionId"),
        })
        .collect())
}

async fn delete(account: &Account, region: &str, bucket: &str, versions: &[Version]) -> Result<(), Trouble> {
    let mut body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>".to_owned();
    for Version { key, id } in versions {
        let _ = write!(body, "<Object><Key>{}</Key>", escaped(key));
        if !id.is_empty() {
            let _ = write!(body, "<VersionId>{}</VersionId>", escaped(id));
        }
        body.push_str("</Object>");
    }
    body.push_str("</Delete>");
    // S3 insists on a digest of this body beside the signature's own.
    let digest = Digest::of(&body);
    let bytes: Vec<u8> = (0..digest.0.len())
        .step_by(2)
        .filter_map(|at| u8::from_str_radix(&digest.0[at..at + 2], 16).ok())
        .collect();
    let answer = account
        .send(&Call {
            service: "s3",
            region,
            method: "POST",
            url: format!("{}/?delete=", address(account, region, bucket)),
            headers: vec![
                ("content-type", "application/xml".to_owned()),
                ("x-amz-checksum-sha256", aws_smithy_types::base64::encode(bytes)),
            ],
            body: body.into_bytes(),
        })
        .await?;
    let body = answer.text();
    match crate::signed::element(&body, "Error") {
        None => Ok(()),
        Some(_) => {
            let code = crate::signed::element(&body, "Code").unwrap_or_default();
            let message = crate::signed::element(&body, "Message").unwrap_or_default();
            Err(Trouble::of(&code, &message))
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_delete_markers_are_both_found() {
        let body = r#"<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Version><Key>a/b.tfstate</Key><VersionId>v1</VersionId></Version>
            <DeleteMarker><Key>c</Key><VersionId>v2</VersionId></DeleteMarker></ListVersionsResult>"#;
        let found = versions(body).unwrap();
        assert_eq!(
            found,
            [
                Version {
                    key: "a/b.tfstate".into(),
                    id: "v1".into()
                },
                Version {
                    key: "c".into(),
                    id: "v2".into()
                }
            ]
        );
    }
}
