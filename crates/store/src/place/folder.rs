//! A folder of this machine as a place.
//!
//! Each write goes to a file of its own first, reaches the disk, and then takes its name at once: readers see
//! the old content, the new, or none. Writes that must not pass each other take turns by a file lock, for as
//! long as a rename takes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use landfall_model::id::Digest;
use landfall_runner::{Kept, Place, PlaceError, When, Written};

/// Held by the process that works here, for as long as it lives: the operating system lets go of it.
const LOCK: &str = "lock";
/// Held while a file takes its name.
const TURN: &str = ".turn";
/// Where files are written before they take their names.
const NEW: &str = ".new";

/// A folder of this machine as a place.
#[derive(Clone, Debug)]
pub struct FolderPlace {
    root: Arc<PathBuf>,
}

/// Proves, while it is held, that the holder lives.
#[derive(Debug)]
pub(crate) struct Proof {
    _file: File,
}

impl FolderPlace {
    /// The folder at `root`. It is made when something is written.
    pub fn new(root: impl Into<PathBuf>) -> FolderPlace {
        FolderPlace {
            root: Arc::new(root.into()),
        }
    }

    /// Begins to prove that this process lives; none when another living process of this machine does.
    pub(crate) async fn prove(&self) -> Result<Option<Proof>, PlaceError> {
        self.aside("lock", &self.path(LOCK), |root, path| {
            make_root(root)?;
            sweep(&root.join(NEW));
            let file = open_lock(path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(Proof { _file: file })),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        name.split('/')
            .fold(self.root.as_path().to_owned(), |path, part| path.join(part))
    }

    /// Does what waits for the disk where it keeps nobody else waiting.
    async fn aside<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &Path,
        act: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PlaceError> {
        let root = self.root.clone();
        let at = path.to_owned();
        let result = tokio::task::spawn_blocking(move || act(&root, &at))
            .await
            .map_err(io::Error::other)
            .and_then(|result| result);
        result.map_err(|source| PlaceError {
            doing,
            what: path.display().to_string(),
            source: source.into(),
        })
    }
}

#[async_trait]
impl Place for FolderPlace {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    async fn read(&self, name: &str) -> Result<Option<Kept>, PlaceError> {
        self.aside("read", &self.path(name), |_, path| {
            Ok(bytes(path)?.map(|bytes| Kept {
                version: version(&bytes),
                bytes,
            }))
        })
        .await
    }

    async fn write(&self, name: &str, bytes: &[u8], when: When) -> Result<Written, PlaceError> {
        let content = bytes.to_vec();
        self.aside("write", &self.path(name), move |root, path| {
            write(root, path, &content, &when)
        })
        .await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, PlaceError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        let folder = prefix
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned();
        self.aside("list", &self.path(&folder), move |_, path| {
            let mut names = Vec::new();
            let start = if folder.is_empty() {
                String::new()
            } else {
                format!("{folder}/")
            };
            collect(path, &start, &mut names)?;
            names.retain(|name| name.starts_with(&prefix) && *name > after);
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn remove(&self, name: &str) -> Result<(), PlaceError> {
        self.aside("remove", &self.path(name), |root, path| {
            if !path.exists() {
                return Ok(());
            }
            let _turn = turn(root)?;
            match fs::remove_file(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                done => done,
            }
        })
        .await
    }
}

fn write(root: &Path, path: &Path, content: &[u8], when: &When) -> io::Result<Written> {
    make_root(root)?;
    let folder = path.parent().unwrap_or(root);
    make(folder)?;
    let done = || Ok(Written::Done(version(content)));
    match when {
        When::Absent => {
            // Most often known beforehand, and then not worth a trip to the disk.
            if path.exists() {
                return Ok(Written::Conflict);
            }
            let new = New::write(root, content)?;
            match fs::hard_link(&new.path, path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Written::Conflict),
                // Some file systems have no second names: then by turns, which other writers take too.
                Err(_) => {
                    let _turn = turn(root)?;
                    if path.exists() {
                        return Ok(Written::Conflict);
                    }
                    fs::rename(&new.path, path)?;
                }
            }
        }
        When::Always => {
            let new = New::write(root, content)?;
            let _turn = turn(root)?;
            fs::rename(&new.path, path)?;
        }
        When::Is(expected) => {
            let new = New::write(root, content)?;
            let _turn = turn(root)?;
            if bytes(path)?.is_none_or(|bytes| version(&bytes) != *expected) {
                return Ok(Written::Conflict);
            }
            fs::rename(&new.path, path)?;
        }
    }
    settle(folder)?;
    done()
}

/// A file that has no name of its own yet. What is left of it goes with it.
struct New {
    path: PathBuf,
}

impl New {
    fn write(root: &Path, content: &[u8]) -> io::Result<New> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = root.join(NEW);
        make(&folder)?;
        // Containers that share a folder may share process numbers too, but hardly the nanosecond.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let new = New {
            path: folder.join(format!("{}-{count}-{}", std::process::id(), now.as_nanos())),
        };
        let mut file = File::create(&new.path)?;
        file.write_all(content)?;
        file.sync_data()?;
        Ok(new)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // Gone already when it was renamed; swept later when it cannot go now.
        let _ = fs::remove_file(&self.path);
    }
}

/// Clears away what processes that died had not finished writing.
fn sweep(folder: &Path) {
    let old = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| {
            modified
                .elapsed()
                .is_ok_and(|elapsed| elapsed > Duration::from_secs(3600))
        })
    };
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        if old(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Waits for its turn among the processes that write here: each takes as long as a rename.
fn turn(root: &Path) -> io::Result<File> {
    let file = open_lock(&root.join(TURN))?;
    file.lock()?;
    Ok(file)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

fn make_root(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(root)?;
    // Journals hold what stacks output: nobody else's business.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a folder, and makes sure that it is still there after the power failed.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    folder.parent().map_or(Ok(()), settle)
}

/// Brings the names in a folder to the disk.
fn settle(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The content's digest. Whoever compares and swaps makes every content different.
fn version(bytes: &[u8]) -> String {
    Digest::of(bytes).0
}

fn collect(folder: &Path, start: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        // What is not text is not ours, nor is what our own bookkeeping hides.
        let Some(name) = file_name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if start.is_empty() && name == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{start}{name}/"), names)?;
        } else {
            names.push(format!("{start}{name}"));
        }
    }
    Ok(())
}
