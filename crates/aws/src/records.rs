//! Records kept in a bucket. S3 decides who came first: every write that must not overwrite another's is
//! conditional, and S3 refuses the second.
//!
//! Encryption, versioning and retention are the bucket's own settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use landfall_runner::{Kept, Place, PlaceError, When, Written};

use crate::account::Account;
use crate::bucket::address;
use crate::signed::{Answer, Call, encoded};
use crate::trouble::{Pace, Trouble, patiently};

/// A part of a bucket.
pub struct S3Place {
    account: Arc<Account>,
    bucket: String,
    /// Before every name; empty or with a `/` at its end.
    prefix: String,
    region: String,
}

impl S3Place {
    /// The records below `prefix` in a bucket of `region`.
    pub fn new(account: Arc<Account>, bucket: &str, prefix: &str, region: &str) -> S3Place {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        S3Place {
            account,
            bucket: bucket.to_owned(),
            prefix,
            region: region.to_owned(),
        }
    }

    /// Whether the bucket is there.
    ///
    /// # Errors
    /// It cannot be asked, or belongs to somebody else.
    pub async fn exists(&self) -> Result<bool, PlaceError> {
        let query = "?list-type=2&max-keys=1";
        match patiently(None, || self.send("GET", query, Vec::new(), b"")).await {
            Ok(_) => Ok(true),
            Err(Trouble::NotFound(_)) => Ok(false),
            Err(trouble) => Err(self.failed("look into", "")(trouble)),
        }
    }

    fn what(&self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }

    fn failed(&self, doing: &'static str, name: &str) -> impl FnOnce(Trouble) -> PlaceError {
        let what = self.what(name);
        move |trouble| PlaceError {
            doing,
            what,
            source: trouble.into(),
        }
    }

    async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        headers: Vec<(&str, String)>,
        body: &[u8],
    ) -> Result<Answer, Trouble> {
        let address = address(&self.account, &self.region, &self.bucket);
        self.account
            .send(&Call {
                service: "s3",
                region: &self.region,
                method,
                url: format!("{address}/{path_and_query}"),
                headers,
                body: body.to_vec(),
            })
            .await
    }

    /// Reads an object; none when it is not there. A bucket that is not there is trouble: nobody should take
    /// it for one without records.
    async fn get(&self, name: &str) -> Result<Option<Kept>, Trouble> {
        let path = path(&self.prefix, name);
        match patiently(None, || self.send("GET", &path, Vec::new(), b"")).await {
            Ok(Answer { body, etag }) => Ok(Some(Kept {
                bytes: body,
                version: version(etag)?,
            })),
            Err(trouble) if is_absent(&trouble) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    async fn put(&self, name: &str, bytes: &[u8], when: &When) -> Result<Written, Trouble> {
        let path = path(&self.prefix, name);
        let headers = headers(when);
        // An answer that got lost may have been a good one: then S3 refuses the next try for what the last
        // one did.
        let lost = AtomicBool::new(false);
        let pace = Pace::new(Duration::from_millis(500), Duration::from_secs(20));
        let answer = settled(pace, || {
            patiently(None, || async {
                let answer = self.send("PUT", &path, headers.clone(), bytes).await;
                if matches!(answer, Err(Trouble::Unreachable(_) | Trouble::Throttled(_))) {
                    lost.store(true, Ordering::Relaxed);
                }
                answer
            })
        })
        .await;
        match answer {
            Ok(answer) => Ok(Written::Done(version(answer.etag)?)),
            Err(trouble) if is_conflict(&trouble, when) => {
                if lost.load(Ordering::Relaxed)
                    && let Some(kept) = self.get(name).await?
                    && kept.bytes == bytes
                {
                    return Ok(Written::Done(kept.version));
                }
                Ok(Written::Conflict)
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn names(&self, prefix: &str, after: &str) -> Result<Vec<String>, Trouble> {
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let query = query(&self.prefix, prefix, after, token.as_deref());
            let answer = patiently(None, || self.send("GET", &query, Vec::new(), b"")).await?;
            let page = page(&answer.text())?;
            let own = page.keys.iter().filter_map(|key| key.strip_prefix(&self.prefix));
            names.extend(own.map(str::to_owned));
            token = page.next;
            if token.is_none() {
                return Ok(names);
            }
        }
    }
}

/// The condition of a write, as S3 takes it.
fn headers(when: &When) -> Vec<(&'static str, String)> {
    let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
    match when {
        When::Always => {}
        When::Absent => headers.push(("if-none-match", "*".to_owned())),
        When::Is(version) => headers.push(("if-match", version.clone())),
    }
    headers
}

/// How often a write is tried again that S3 could not decide on.
const TRIES: usize = 4;

/// Makes a conditional write again while S3 could not decide on it: a 409 says that something else was done
/// to the object meanwhile (a write, a deletion), not who came first. The next try gets that answer.
async fn settled<T, F>(mut pace: Pace, mut write: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    for _ in 0..TRIES {
        match write().await {
            Err(trouble) if is_undecided(&trouble) => pace.wait().await,
            result => return result,
        }
    }
    write().await
}

/// Whether S3 asks to try a conditional write again. Source: S3 API reference, `PutObject`, `If-Match`: "On a
/// 409 failure you should retry the upload."
fn is_undecided(trouble: &Trouble) -> bool {
    trouble.is_code("ConditionalRequestConflict")
}

/// Whether S3 says that someone else wrote first. Source: S3 User Guide, "Add preconditions to S3 operations
/// with conditional requests": 412 when the condition does not hold, 404 when what should have a version is
/// not there any more. A 409 that stays one through every try: others write without end, so they came first.
fn is_conflict(trouble: &Trouble, when: &When) -> bool {
    trouble.is_code("PreconditionFailed")
        || is_undecided(trouble)
        || (matches!(when, When::Is(_)) && is_absent(trouble))
}

/// Whether the object is not there, though the bucket is.
fn is_absent(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::NotFound(_))
        && !trouble.says("bucket does not exist")
        && !trouble.says("NoSuchBucket")
}

fn version(etag: Option<String>) -> Result<String, Trouble> {
    etag.ok_or_else(|| Trouble::Other {
        code: "InvalidAnswer".to_owned(),
        message: "S3 gave no ETag, so nobody can tell whether this changes".to_owned(),
    })
}

/// An object's path: the names between the slashes are encoded, the slashes are not.
fn path(prefix: &str, name: &str) -> String {
    let key = format!("{prefix}{name}");
    key.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

fn query(base: &str, prefix: &str, after: &str, token: Option<&str>) -> String {
    let mut parts = Vec::new();
    if let Some(token) = token {
        parts.push(format!("continuation-token={}", encoded(token)));
    }
    parts.push("list-type=2".to_owned());
    parts.push(format!("prefix={}", encoded(&format!("{base}{prefix}"))));
    if !after.is_empty() {
        parts.push(format!("start-after={}", encoded(&format!("{base}{after}"))));
    }
    format!("?{}", parts.join("&"))
}

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    keys: Vec<String>,
    next: Option<String>,
}

fn page(body: &str) -> Result<Page, Trouble> {
    let document = roxmltree::Document::parse(body).map_err(|error| Trouble::Other {
        code: "InvalidAnswer".to_owned(),
        message: error.to_string(),
    })?;
    let root = document.root_element();
    let text = |node: roxmltree::Node<'_, '_>, name: &str| {
        let child = node.children().find(|child| child.tag_name().name() == name)?;
        child.text().map(str::to_owned)
    };
    let contents = root
        .children()
        .filter(|node| node.tag_name().name() == "Contents");
    Ok(Page {
        keys: contents.filter_map(|node| text(node, "Key")).collect(),
        next: text(root, "NextContinuationToken")
            .filter(|_| text(root, "IsTruncated").as_deref() == Some("true")),
    })
}

#[async_trait]
impl Place for S3Place {
    fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
            .trim_end_matches('/')
            .to_owned()
    }

    async fn read(&self, name: &str) -> Result<Option<Kept>, PlaceError> {
        self.get(name).await.map_err(self.failed("read", name))
    }

    async fn write(&self, name: &str, bytes: &[u8], when: When) -> Result<Written, PlaceError> {
        self.put(name, bytes, &when)
            .await
            .map_err(self.failed("write", name))
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, PlaceError> {
        self.names(prefix, after)
            .await
            .map_err(self.failed("list", prefix))
    }

    async fn remove(&self, name: &str) -> Result<(), PlaceError> {
        let path = path(&self.prefix, name);
        match patiently(None, || self.send("DELETE", &path, Vec::new(), b"")).await {
            Err(trouble) if !is_absent(&trouble) => Err(self.failed("remove", name)(trouble)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_and_questions() {
        assert_eq!(path("a b/", "runs/1+2.json"), "a%20b/runs/1%2B2.json");
        assert_eq!(
            query("acme/", "runs/", "runs/1", None),
            "?list-type=2&prefix=acme%2Fruns%2F&start-after=acme%2Fruns%2F1"
        );
        assert_eq!(
            query("acme/", "", "", Some("t=")),
            "?continuation-token=t%3D&list-type=2&prefix=acme%2F"
        );
    }

    #[test]
    fn pages_go_on_while_they_are_truncated() {
        // As the API reference of ListObjectsV2 has it.
        let body = r#"<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>acme/</Prefix>
            <NextContinuationToken>1ueGcxLPRx1Tr</NextContinuationToken><IsTruncated>true</IsTruncated>
            <Contents><Key>acme/a&amp;b</Key></Contents><Contents><Key>acme/c</Key></Contents></ListBucketResult>"#;
        let page = page(body).unwrap();
        assert_eq!(page.keys, ["acme/a&b", "acme/c"]);
        assert_eq!(page.next.as_deref(), Some("1ueGcxLPRx1Tr"));
    }

    /// What comes of a write that S3 answers so, one after the other, and how often it was tried.
    async fn written(answers: &[Option<&str>]) -> (Result<(), Trouble>, usize) {
        let tried = std::cell::Cell::new(0);
        let result = settled(Pace::new(Duration::ZERO, Duration::ZERO), || {
            let answer = answers[tried.get().min(answers.len() - 1)];
            tried.set(tried.get() + 1);
            async move { answer.map_or(Ok(()), |code| Err(Trouble::of(code, ""))) }
        })
        .await;
        (result, tried.get())
    }

    #[tokio::test]
    async fn what_s3_could_not_decide_is_tried_again() {
        let undecided = Some("ConditionalRequestConflict");
        assert_eq!(written(&[undecided, undecided, None]).await, (Ok(()), 3));
        let second = Trouble::of("PreconditionFailed", "");
        assert_eq!(
            written(&[undecided, Some("PreconditionFailed")]).await,
            (Err(second.clone()), 2)
        );
        assert_eq!(written(&[Some("PreconditionFailed")]).await, (Err(second), 1));
        let (result, tried) = written(&[undecided]).await;
        assert!(is_conflict(&result.unwrap_err(), &When::Absent));
        assert_eq!(tried, TRIES + 1);
    }

    #[test]
    fn every_way_to_come_second_is_a_conflict() {
        let is = When::Is("\"1\"".into());
        for code in ["PreconditionFailed", "ConditionalRequestConflict"] {
            assert!(is_conflict(&Trouble::of(code, ""), &When::Absent), "{code}");
        }
        let gone = Trouble::of("NoSuchKey", "The specified key does not exist.");
        assert!(is_conflict(&gone, &is));
        assert!(!is_conflict(&gone, &When::Absent));
        let bucket = Trouble::of("NoSuchBucket", "The specified bucket does not exist");
        assert!(!is_conflict(&bucket, &is) && !is_absent(&bucket));
    }
}
