//! Commits what was written, with the user's own `git`. Never pushes, and leaves alone whatever else
//! is changed or staged.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::trouble::Trouble;

/// Longer than any hook should take; a program that waits for someone to type must not wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is to be committed.
pub(crate) struct Commit<'a> {
    /// The platform file's folder.
    pub(crate) base: &'a Path,
    /// The folder that is, or becomes, the repository; relative to `base`.
    pub(crate) root: &'a str,
    /// The message.
    pub(crate) message: &'a str,
    /// Files that are as they should be, relative to `root`.
    pub(crate) present: Vec<String>,
    /// Files that were removed, relative to `root`.
    pub(crate) gone: Vec<String>,
}

impl Commit<'_> {
    /// Makes the commit when there is something to commit, and the repository when there is none.
    /// Returns what people should know.
    pub(crate) async fn make(&self) -> Result<Vec<String>, Trouble> {
        if !self.folder().is_dir() {
            return Ok(Vec::new());
        }
        let mut notes = Vec::new();
        if !self.is_repository().await? {
            self.must("make a repository", &["init", "--quiet", "-b", "main"], &[])
                .await?;
            notes.push(format!("made a git repository of {}", self.root));
        }
        // Tracked files are never ignored, whatever the rules say.
        let ignored = self
            .listed(&["--others", "--ignored", "--exclude-standard"], &self.present)
            .await?;
        let (ignored, present): (Vec<&String>, Vec<&String>) =
            self.present.iter().partition(|path| ignored.contains(path));
        notes.extend(
            ignored
                .iter()
                .map(|path| format!("did not commit {}/{path}: git ignores it", self.root)),
        );
        // Git refuses to be told of a removed file that it never knew.
        let gone = self.listed(&["--cached"], &self.gone).await?;
        let paths: Vec<&str> = present.into_iter().chain(&gone).map(String::as_str).collect();
        if paths.is_empty() {
            return Ok(notes);
        }
        self.must("stage the files", &["add", "--all", "--"], &paths)
            .await?;
        if self
            .succeeds(&["diff", "--cached", "--quiet", "--"], &paths)
            .await?
        {
            return Ok(notes);
        }
        let mut arguments = self.identity().await?.to_vec();
        // Only these paths: what people have staged of their own is not ours to commit.
        arguments.extend(["commit", "--quiet", "--message", self.message, "--only", "--"]);
        self.must("commit the files", &arguments, &paths).await?;
        notes.push(format!("committed to the repository {}", self.root));
        Ok(notes)
    }

    fn folder(&self) -> PathBuf {
        self.base.join(self.root)
    }

    /// Whether the folder is a repository or lies in one below the platform file's folder. The
    /// repository that holds the platform file itself is another one: it is not ours to commit to.
    async fn is_repository(&self) -> Result<bool, Trouble> {
        let answer = self.git(&["rev-parse", "--show-toplevel"], &[]).await?;
        if !answer.status.success() {
            return Ok(false);
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let top = real(Path::new(text.trim_end_matches(['\r', '\n'])));
        let base = real(self.base);
        Ok(top == real(&self.folder()) || (top != base && top.starts_with(&base)))
    }

    /// Arguments that name Landfall as the author, where the user has said nothing.
    async fn identity(&self) -> Result<&'static [&'static str], Trouble> {
        for ident in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            // Without this, git makes a name up from the machine's.
            let arguments = ["-c", "user.useConfigOnly=true", "var", ident];
            if !self.succeeds(&arguments, &[]).await? {
                return Ok(&["-c", "user.name=Landfall", "-c", "user.email=landfall@localhost"]);
            }
        }
        Ok(&[])
    }

    /// Those of `paths` that git lists.
    async fn listed(&self, which: &[&str], paths: &[String]) -> Result<Vec<String>, Trouble> {
        // Asked for no path in particular, it would list them all.
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [&["ls-files", "-z"], which, &["--"]].concat();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let answer = self.must("list the files", &arguments, &paths).await?;
        Ok(String::from_utf8_lossy(&answer.stdout)
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect())
    }

    async fn succeeds(&self, arguments: &[&str], paths: &[&str]) -> Result<bool, Trouble> {
        Ok(self.git(arguments, paths).await?.status.success())
    }

    async fn must(&self, doing: &'static str, arguments: &[&str], paths: &[&str]) -> Result<Output, Trouble> {
        let answer = self.git(arguments, paths).await?;
        if answer.status.success() {
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        Err(Trouble::Git {
            doing,
            root: self.root.to_owned(),
            said: if said.is_empty() {
                format!("it said nothing, and ended with {}", answer.status)
            } else {
                said
            },
        })
    }

    async fn git(&self, arguments: &[&str], paths: &[&str]) -> Result<Output, Trouble> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .args(paths)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .env("GIT_TERMINAL_PROMPT", "0")
            // A file may be called `*.md`.
            .env("GIT_LITERAL_PATHSPECS", "1")
            .kill_on_drop(true);
        // Set when we run inside a hook: they would lead to that repository instead.
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_PREFIX",
            "GIT_COMMON_DIR",
            "GIT_OBJECT_DIRECTORY",
        ] {
            command.env_remove(name);
        }
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        ended
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))
            .map_err(|source| Trouble::RunGit {
                root: self.root.to_owned(),
                source,
            })
    }
}
