//! The platform file's folder: looking at files in it, writing and removing them, never leaving it.
//!
//! Paths here are relative to it, with `/` between their parts.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use landfall_model::id::Digest;

use crate::trouble::Trouble;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Nothing.
    Missing,
    /// A plain file with this content.
    File(Digest),
    /// Something else: a link, a folder, a socket.
    Other(&'static str),
    /// The way there leads through something other than folders.
    Blocked(String),
}

impl Disk {
    /// The content, when it is a plain file.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        match self {
            Disk::File(digest) => Some(digest),
            _ => None,
        }
    }

    /// Whether it is a plain file.
    pub(crate) fn is_file(&self) -> bool {
        self.digest().is_some()
    }
}

/// `path` below `root`, refusing one that would leave it or meddle with a repository.
pub(crate) fn join(root: &str, path: &str) -> Result<String, Trouble> {
    let mut whole = if root == "." { Vec::new() } else { parts(root)? };
    whole.extend(parts(path)?);
    Ok(whole.join("/"))
}

fn parts(path: &str) -> Result<Vec<&str>, Trouble> {
    let refused = |why: &str| Trouble::Refused {
        what: format!("`{path}` {why}"),
        way_out: "give a relative path of plain names, below the platform file's folder".to_owned(),
    };
    let parts: Vec<&str> = path.split('/').collect();
    for part in &parts {
        match *part {
            "" | "." | ".." => return Err(refused("does not stay below the platform file's folder")),
            // Files in there are programs that git runs.
            part if part.eq_ignore_ascii_case(".git") => {
                return Err(refused("lies inside a git repository's own folder"));
            }
            part if part.contains(['\\', ':', '\0']) => {
                return Err(refused("means different things on different systems"));
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// `path` as seen from `root`; nothing when it is not below it.
pub(crate) fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    if root == "." {
        return Some(path);
    }
    path.strip_prefix(root)?.strip_prefix('/')
}

/// The platform file's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    base: PathBuf,
}

impl Folder {
    /// The folder `base`.
    pub(crate) fn new(base: PathBuf) -> Folder {
        Folder { base }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.base
    }

    /// What is at `path`. Links are never followed.
    pub(crate) fn look(&self, path: &str) -> Result<Disk, Trouble> {
        // Also for paths that come from a manifest, which someone may have edited.
        join(".", path)?;
        if let Some(why) = self.obstacle(path)? {
            return Ok(Disk::Blocked(why));
        }
        match self.metadata(path)? {
            None => Ok(Disk::Missing),
            Some(metadata) if metadata.is_file() => fs::read(self.base.join(path))
                .map(|content| Disk::File(Digest::of(content)))
                .map_err(Trouble::file("read", path)),
            Some(metadata) => Ok(Disk::Other(kind_of(&metadata))),
        }
    }

    /// Refuses a folder that cannot be written into without following a link.
    pub(crate) fn refuse_obstacle(&self, root: &str) -> Result<(), Trouble> {
        let inside = join(root, "file")?;
        match self.obstacle(&inside)? {
            None => Ok(()),
            Some(why) => Err(Trouble::Refused {
                what: format!("files cannot be written to {root}: {why}"),
                way_out: "put a folder in its place, or choose another one".to_owned(),
            }),
        }
    }

    /// Writes a file, whole or not at all, making the folders it needs.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), Trouble> {
        let target = self.base.join(path);
        let parent = target.parent().unwrap_or(&self.base);
        fs::create_dir_all(parent).map_err(Trouble::file("make the folder of", path))?;
        let beside = self.base.join(beside(path));
        let write = || {
            remove_if_there(&beside)?;
            let mut file = create(&beside, is_program(text, &target))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &target)
        };
        write().map_err(|source| {
            // The reason it failed counts more than whether half a file could be cleared away.
            let _ = fs::remove_file(&beside);
            Trouble::file("write", path)(source)
        })
    }

    /// Removes a file, unless it is gone, and the folders that this leaves empty.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Trouble> {
        remove_if_there(&self.base.join(path)).map_err(Trouble::file("remove", path))?;
        let mut folder = path;
        while let Some((above, _)) = folder.rsplit_once('/') {
            folder = above;
            match fs::remove_dir(self.base.join(folder)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Someone else's content is in it.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Removes what was being written for `path` when a process died.
    pub(crate) fn sweep(&self, path: &str) -> Result<(), Trouble> {
        let beside = beside(path);
        if self.look(&beside)?.is_file() {
            remove_if_there(&self.base.join(&beside)).map_err(Trouble::file("remove", &beside))?;
        }
        Ok(())
    }

    /// What is between the folder and `path` that is not a folder itself.
    fn obstacle(&self, path: &str) -> Result<Option<String>, Trouble> {
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            match self.metadata(above)? {
                None => return Ok(None),
                Some(metadata) if metadata.is_dir() => {}
                Some(metadata) => return Ok(Some(format!("{above} is {}", kind_of(&metadata)))),
            }
        }
        Ok(None)
    }

    fn metadata(&self, path: &str) -> Result<Option<Metadata>, Trouble> {
        match fs::symlink_metadata(self.base.join(path)) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Trouble::file("look at", path)(error)),
        }
    }
}

fn kind_of(metadata: &Metadata) -> &'static str {
    if metadata.is_symlink() {
        "a symbolic link"
    } else if metadata.is_dir() {
        "a folder"
    } else if metadata.is_file() {
        "a file"
    } else {
        "neither file nor folder"
    }
}

/// Where `path` is written before it is moved into place. The same name every time, so that what a
/// process that died left there can be found.
fn beside(path: &str) -> String {
    let name = format!(".landfall-{}", Digest::of(path).short());
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Scripts can be run, and what people have made runnable stays so.
fn is_program(text: &str, target: &Path) -> bool {
    text.starts_with("#!") || is_executable(target)
}

#[cfg(unix)]
fn is_executable(target: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::symlink_metadata(target).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn create(path: &Path, program: bool) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // The user's umask takes away what others should not have.
    let mode = if program { 0o777 } else { 0o666 };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _: bool) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(join(".", "catalog-info.yaml").unwrap(), "catalog-info.yaml");
        assert_eq!(join("a/b", "c/d.txt").unwrap(), "a/b/c/d.txt");
        for wrong in [
            "",
            "../x",
            "a/../x",
            "/x",
            "a//x",
            "./x",
            "a/",
            "C:\\x",
            ".git/hooks/x",
            "a/.GIT/x",
        ] {
            assert!(join("root", wrong).is_err(), "{wrong}");
            assert!(join(wrong, "x").is_err(), "{wrong}");
        }
    }

    #[test]
    fn below_is_whole_names_only() {
        assert_eq!(below("repository", "repository/README.md"), Some("README.md"));
        assert_eq!(below("repo", "repository/README.md"), None);
        assert_eq!(below(".", "README.md"), Some("README.md"));
    }
}
