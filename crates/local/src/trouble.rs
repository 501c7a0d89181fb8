//! What can go wrong with files, and the way out of it.

use std::error::Error as _;
use std::io;

use landfall_model::StepId;
use landfall_model::provider::Failure;
use landfall_runner::{ApplyError, ObserveError};

/// What went wrong, with which file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A file could not be read, written or removed.
    #[error("could not {doing} {path}")]
    File {
        doing: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    /// Something is in the way, or asked for where nothing may be written.
    #[error("{what}")]
    Refused { what: String, way_out: String },
    /// A manifest cannot be understood.
    #[error("the manifest {path} does not hold what it should")]
    Manifest {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    /// A manifest has been moved or copied.
    #[error("the manifest {path} is that of step {step} of the platform {platform}")]
    OtherManifest {
        path: String,
        platform: String,
        step: StepId,
    },
    /// What was remembered cannot be understood.
    #[error("where the files of {step} are was not remembered in a way that can be read")]
    Address {
        step: StepId,
        #[source]
        source: serde_json::Error,
    },
    /// A step of another kind.
    #[error("{step} is not a step that writes files")]
    NotFiles { step: StepId },
    /// The program `git` could not be run.
    #[error("could not run git in {root}")]
    RunGit {
        root: String,
        #[source]
        source: io::Error,
    },
    /// Git said no.
    #[error("git could not {doing} in {root}: {said}")]
    Git {
        doing: &'static str,
        root: String,
        said: String,
    },
}

impl Trouble {
    /// Makes an error of the operating system into one that says what was done to what.
    pub(crate) fn file(doing: &'static str, path: &str) -> impl FnOnce(io::Error) -> Trouble {
        let path = path.to_owned();
        move |source| Trouble::File { doing, path, source }
    }

    /// What went wrong and the way out, in one sentence.
    pub(crate) fn in_full(&self) -> String {
        match self.way_out() {
            Some(way_out) => format!("{self}; {way_out}"),
            None => self.to_string(),
        }
    }

    pub(crate) fn while_looking_at(self, step: &StepId) -> ObserveError {
        self.into_observe_error(format!("could not look at the files of {step}"))
    }

    pub(crate) fn while_listing(self) -> ObserveError {
        self.into_observe_error("could not list the files that were written".to_owned())
    }

    fn into_observe_error(self, doing: String) -> ObserveError {
        let way_out = self.way_out();
        let mut error = ObserveError::new(doing, self);
        error.way_out = way_out;
        error
    }

    fn way_out(&self) -> Option<String> {
        let way_out = match self {
            Trouble::File { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "check who owns it and its folder, and their permissions",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
                io::ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written to",
                _ => return None,
            },
            Trouble::Refused { way_out, .. } => way_out,
            Trouble::Manifest { .. } | Trouble::OtherManifest { .. } => {
                "move it away; the files it lists then count as not written by Landfall"
            }
            Trouble::RunGit { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "install git, or leave `commit` out of the step"
            }
            Trouble::RunGit { .. } | Trouble::Git { .. } => {
                "the files are written; put the repository right and apply again, which only commits them"
            }
            Trouble::Address { .. } | Trouble::NotFiles { .. } => return None,
        };
        Some(way_out.to_owned())
    }
}

impl From<Trouble> for ApplyError {
    fn from(trouble: Trouble) -> ApplyError {
        let summary = match trouble.source() {
            Some(source) => format!("{trouble}: {source}"),
            None => trouble.to_string(),
        };
        let mut failure = Failure::new(summary);
        failure.way_out = trouble.way_out();
        failure.into()
    }
}
