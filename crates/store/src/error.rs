//! What can go wrong with records, with which of them, and the way out.

use std::io;
use std::path::Path;

use landfall_model::plan::FORMAT;
use landfall_runner::PlaceError;

/// What went wrong, with which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place could not be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A file of the user's own could not be read or written.
    #[error("could not {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} does not hold what it should{}", at(*.line))]
    Content {
        /// Which file.
        path: String,
        /// Which line, counted from 1; 0 for the whole file.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A record is not there, although later ones are.
    #[error("{path} is missing, although later records are there")]
    Missing {
        /// Which file.
        path: String,
    },
    /// A plan of another version of Landfall.
    #[error("{path} has plan format {found}; this version reads format {FORMAT}. Make the plan again")]
    Format {
        /// Which file.
        path: String,
        /// Its format.
        found: u64,
    },
    /// Someone else is at work.
    #[error("another landfall process is changing this platform: {by}")]
    Locked {
        /// Who, and since when, as far as that is known.
        by: String,
    },
    /// Someone else went to work while this process was at it.
    #[error("another landfall process has taken this platform over: {by}")]
    Superseded {
        /// Who, and since when.
        by: String,
    },
    /// The records there were gone on with, so that those that should replace them would lose something.
    #[error("the records in {place} have gone on by themselves: {there}")]
    WentOn {
        /// Where.
        place: String,
        /// Who wrote there last.
        there: String,
    },
    /// A copy into this place stopped half-way.
    #[error("the records in {place} are half of a copy from {from}")]
    HalfCopied {
        /// Where.
        place: String,
        /// Where the other half is.
        from: String,
    },
    /// The records went on elsewhere.
    #[error("the records in {place} were moved to {to}, by {by}")]
    Moved {
        /// Where they were.
        place: String,
        /// Where they are.
        to: String,
        /// Who moved them.
        by: String,
    },
}

impl Error {
    /// The way out, when there is one to name.
    pub fn way_out(&self) -> Option<&'static str> {
        match self {
            Error::Place(_) | Error::File { .. } | Error::Format { .. } => None,
            Error::Content { path, .. } if path.ends_with("inventory.json") => {
                Some("restore it from a copy, or move it away: it is made anew from what runs recorded")
            }
            Error::Content { path, .. } if path.ends_with("lease.json") => Some(
                "make sure that nobody is changing this platform, then remove it: the records say who came last",
            ),
            Error::Content { path, .. } | Error::Missing { path }
                if path.contains("/journal/") || path.contains("/runs/") =>
            {
                Some("something other than Landfall changed it; restore it from a copy")
            }
            // A file of the user's own.
            Error::Content { .. } | Error::Missing { .. } => None,
            Error::Locked { .. } => Some("wait until it is done; a process that died holds nothing for long"),
            Error::Superseded { .. } => {
                Some("nothing more was done here; `landfall status` shows what it does")
            }
            Error::WentOn { .. } => Some("decide which records are right, and move the others away"),
            Error::HalfCopied { .. } => {
                Some("repeat there, by the same command, what was broken off: it copies them again")
            }
            Error::Moved { .. } => Some("work from where the records are; or finish there what was begun"),
        }
    }
}

fn at(line: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" in line {line}")
    }
}

pub(crate) fn file_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File {
        doing,
        path: path.display().to_string(),
        source,
    }
}
