//! Where a platform's records are kept: a folder, or a bucket that several people share.
//!
//! Everything rests on one promise: of two writers that want to write the same thing, one is told that it
//! came second. Nothing here knows what is written.

use async_trait::async_trait;

/// Something that is kept, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The content.
    pub bytes: Vec<u8>,
    /// Changes whenever the content is written.
    pub version: String,
}

/// When something may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Whatever is there.
    Always,
    /// Nothing of this name is there.
    Absent,
    /// What is there still has this version.
    Is(String),
}

/// What came of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is kept, with this version.
    Done(String),
    /// Someone else wrote first. Nothing was changed.
    Conflict,
}

/// Why a place could not be used.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} {what}")]
pub struct PlaceError {
    /// What was being done.
    pub doing: &'static str,
    /// With what, as the place calls it: a path, an `s3://` address.
    pub what: String,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A place where records are kept. Names are paths with `/`, of letters, digits, `.`, `-` and `_`.
///
/// Reads see every write that ended before they began (a local disk does; so does S3, since 2020). A write
/// whose answer was lost may have been done: callers look before they write again.
#[async_trait]
pub trait Place: Send + Sync {
    /// What errors and people call it: a folder, an `s3://` address.
    fn name(&self) -> String;

    /// What is kept under a name.
    async fn read(&self, name: &str) -> Result<Option<Kept>, PlaceError>;

    /// Keeps something under a name, whole or not at all, and safely before it returns.
    async fn write(&self, name: &str, bytes: &[u8], when: When) -> Result<Written, PlaceError>;

    /// The names that begin with `prefix` and sort after `after`, sorted.
    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, PlaceError>;

    /// Removes what is kept under a name. Succeeds when there is nothing.
    async fn remove(&self, name: &str) -> Result<(), PlaceError>;
}
