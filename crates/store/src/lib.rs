//! Keeps journals, plans and the inventory in files beside the platform file.
//!
//! ```text
//! .landfall/<platform>.<account>.<region>/
//!   lock                      held while something is being changed
//!   inventory.json            what the platform owns
//!   runs/<run>/plan.json      what the run carries out
//!   runs/<run>/journal.jsonl  what it did, one record a line
//! ```
//!
//! Decides nothing: whether a run may go on is the engine's to say.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use landfall_model::StepId;
use landfall_model::id::RunId;
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{FORMAT, Plan};
use landfall_model::provider::{Outcome, Outputs, Owned};
use landfall_runner::{Journal, JournalError};
use serde::{Deserialize, Serialize};

/// What went wrong, with which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
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
    /// A plan of another version of Landfall.
    #[error("{path} has plan format {found}; this version reads format {FORMAT}. Make the plan again")]
    Format {
        /// Which file.
        path: String,
        /// Its format.
        found: u64,
    },
    /// Someone else is at work.
    #[error("another landfall process is changing this platform (it holds {path})")]
    Locked {
        /// The lock's file.
        path: String,
    },
}

fn at(line: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" in line {line}")
    }
}

fn file_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File {
        doing,
        path: path.display().to_string(),
        source,
    }
}

/// The folder of one platform's records.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What the platform owned when something was last changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Everything owned, by step.
    pub owned: Vec<Owned>,
    /// What checks gave when they last held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checked: BTreeMap<StepId, Outputs>,
}

/// A run that was recorded.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// Which run.
    pub run: RunId,
    /// What it carries out.
    pub plan: Plan,
    /// What it did.
    pub records: Vec<Record>,
}

impl PastRun {
    /// Whether the run came to its end.
    pub fn is_finished(&self) -> bool {
        self.records
            .iter()
            .any(|record| matches!(record.entry, Entry::RunFinished { .. }))
    }
}

impl Store {
    /// The records kept in `root`, a folder of one platform. Nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the lock, or says who holds it. The operating system lets go of it when the process dies.
    ///
    /// # Errors
    /// Another process holds it; the file cannot be made.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.make_folder(&self.root)?;
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(file_error("open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Locked {
                path: path.display().to_string(),
            }),
            Err(fs::TryLockError::Error(source)) => Err(file_error("take the lock", &path)(source)),
        }
    }

    fn make_folder(&self, path: &Path) -> Result<(), Error> {
        fs::create_dir_all(path).map_err(file_error("make the folder", path))?;
        // Journals hold what stacks output: nobody else's business.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))
                .map_err(file_error("protect the folder", &self.root))?;
        }
        Ok(())
    }

    /// What the platform owns, as far as was recorded: the inventory, and what runs did since.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub fn inventory(&self) -> Result<Inventory, Error> {
        let path = self.root.join("inventory.json");
        match read_if_there(&path)? {
            None => Ok(Inventory::default()),
            Some(text) => parse(&path, &text),
        }
    }

    /// Replaces the inventory, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_inventory(&self, inventory: &Inventory) -> Result<(), Error> {
        self.make_folder(&self.root)?;
        write_whole(&self.root.join("inventory.json"), &pretty(inventory))
    }

    /// Brings the inventory up to date with what a run recorded.
    ///
    /// # Errors
    /// The inventory cannot be read or written.
    pub fn take_into_inventory(&self, records: &[Record]) -> Result<(), Error> {
        let mut inventory = self.inventory()?;
        for record in records {
            let Entry::StepDone {
                step,
                outcome,
                outputs,
                owned,
                ..
            } = &record.entry
            else {
                continue;
            };
            match (outcome, owned) {
                (Outcome::Removed, _) => inventory.owned.retain(|one| one.step != *step),
                (Outcome::Passed, _) => {
                    inventory.checked.insert(step.clone(), outputs.clone());
                }
                (_, Some(owned)) => {
                    inventory.owned.retain(|one| one.step != *step);
                    inventory.owned.push(owned.clone());
                }
                (_, None) => {}
            }
        }
        inventory.owned.sort_by(|a, b| a.step.cmp(&b.step));
        self.save_inventory(&inventory)
    }

    /// Begins a run: keeps its plan and opens its journal.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn begin(&self, run: &RunId, plan: &Plan) -> Result<FileJournal, Error> {
        let folder = self.root.join("runs").join(&run.0);
        self.make_folder(&folder)?;
        write_whole(&folder.join("plan.json"), &pretty(plan))?;
        FileJournal::open(&folder.join("journal.jsonl"))
    }

    /// Opens the journal of a run that goes on.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn go_on(&self, run: &RunId) -> Result<FileJournal, Error> {
        FileJournal::open(&self.root.join("runs").join(&run.0).join("journal.jsonl"))
    }

    /// The names of all runs, the oldest first: run ids begin with their time.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn runs(&self) -> Result<Vec<RunId>, Error> {
        let folder = self.root.join("runs");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file_error("list", &folder)(error)),
        };
        let mut names: Vec<RunId> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("plan.json").exists())
            .map(|entry| RunId(entry.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// A run with its plan and its records.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn run(&self, run: &RunId) -> Result<PastRun, Error> {
        let folder = self.root.join("runs").join(&run.0);
        let plan = read_plan(&folder.join("plan.json"))?;
        let records = read_journal(&folder.join("journal.jsonl"))?;
        Ok(PastRun {
            run: run.clone(),
            plan,
            records,
        })
    }

    /// The last run, when there was one.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn last_run(&self) -> Result<Option<PastRun>, Error> {
        self.runs()?.last().map(|run| self.run(run)).transpose()
    }

    /// The last run, when it has not come to its end: `apply` goes on with it.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn unfinished(&self) -> Result<Option<PastRun>, Error> {
        Ok(self.last_run()?.filter(|run| !run.is_finished()))
    }
}

/// Held while something is being changed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Reads a saved plan, refusing one of another format.
///
/// # Errors
/// The file cannot be read, or is not a plan of this format.
pub fn read_plan(path: &Path) -> Result<Plan, Error> {
    let text = fs::read_to_string(path).map_err(file_error("read", path))?;
    let value: serde_json::Value = parse(path, &text)?;
    let found = value
        .get("format")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0);
    if found != u64::from(FORMAT) {
        return Err(Error::Format {
            path: path.display().to_string(),
            found,
        });
    }
    parse(path, &text)
}

/// Writes a plan to a file of the user's choice.
///
/// # Errors
/// The file cannot be written.
pub fn save_plan(path: &Path, plan: &Plan) -> Result<(), Error> {
    write_whole(path, &pretty(plan))
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Content {
        path: path.display().to_string(),
        line: 0,
        source,
    })
}

fn pretty<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("our own types have text keys");
    text.push('\n');
    text
}

fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("read", path)(error)),
    }
}

/// Writes beside the file, then renames: readers see the old text or the new, never half.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(file_error("write", path))
}

/// Reads a journal. A last line without its line break was being written when the process died: the
/// record never took effect and is passed over.
fn read_journal(path: &Path) -> Result<Vec<Record>, Error> {
    let Some(text) = read_if_there(path)? else {
        return Ok(Vec::new());
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| Error::Content {
                path: path.display().to_string(),
                line: index + 1,
                source,
            })
        })
        .collect()
}

/// A journal in a file, one JSON record a line, each on the disk before the next step is taken.
#[derive(Debug)]
pub struct FileJournal {
    file: File,
    name: String,
}

impl FileJournal {
    fn open(path: &Path) -> Result<FileJournal, Error> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(file_error("open the journal", path))?;
        // Half a record at the end is cut off, or the next record would be appended to it.
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(file_error("read the journal", path))?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)
                .map_err(file_error("mend the journal", path))?;
        }
        Ok(FileJournal {
            file,
            name: path.display().to_string(),
        })
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record).expect("our own types have text keys");
        line.push(b'\n');
        // A few kilobytes to a local file: quicker than handing it to another thread.
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| JournalError {
                name: self.name.clone(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_short_by_a_crash_is_passed_over_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let resumed = Record {
            at: "2026-01-01T00:00:00Z".into(),
            entry: Entry::RunResumed,
        };
        let line = serde_json::to_string(&resumed).unwrap();
        fs::write(&path, format!("{line}\n{}", &line[..10])).unwrap();
        assert_eq!(read_journal(&path).unwrap(), vec![resumed]);
        drop(FileJournal::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{line}\n"));
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join(".landfall"));
        let held = store.lock().unwrap();
        let error = store.lock().unwrap_err().to_string();
        assert!(
            error.starts_with("another landfall process is changing this platform"),
            "{error}"
        );
        drop(held);
        store.lock().unwrap();
    }
}
