//! Runs that were recorded: the last ones in the numbered journal, those that are over in files of their own.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use landfall_model::id::RunId;
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::Plan;
use landfall_runner::Place;

use crate::Store;
use crate::error::Error;
use crate::files;
use crate::journal::Said;
use crate::read::{self, LOOKS, path};

pub(crate) const FOLDER: &str = "runs/";

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
        is_finished(&self.records)
    }
}

fn is_finished(records: &[Record]) -> bool {
    records
        .iter()
        .any(|record| matches!(record.entry, Entry::RunFinished { .. }))
}

pub(crate) fn plan_name(run: &RunId) -> String {
    format!("{FOLDER}{run}/plan.json")
}

pub(crate) fn journal_name(run: &RunId) -> String {
    format!("{FOLDER}{run}/journal.jsonl")
}

/// The records of a run that were put away, or that an older Landfall wrote there while it went on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Moved {
    pub(crate) records: Vec<Record>,
    pub(crate) version: Option<String>,
}

impl Moved {
    /// Whether the run came to its end there.
    pub(crate) fn is_finished(&self) -> bool {
        is_finished(&self.records)
    }

    /// All of the run's records, given those of the numbered journal. They are here already when the run was
    /// given up and put away; they follow when an older Landfall began it.
    pub(crate) fn with(self, numbered: Vec<Record>) -> Vec<Record> {
        let mut records = self.records;
        let is_whole = numbered.last().is_none_or(|last| records.contains(last));
        if !is_whole {
            records.extend(numbered);
        }
        records
    }
}

/// Reads the records of a run that are in a file of their own. A last line without its line break was being
/// written by an older Landfall when it died: the record never took effect and is passed over.
pub(crate) async fn moved_records(place: &dyn Place, run: &RunId) -> Result<Moved, Error> {
    let name = journal_name(run);
    let Some(kept) = place.read(&name).await? else {
        return Ok(Moved::default());
    };
    let bytes = &kept.bytes;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let path = path(place, &name);
    let lines = bytes[..whole].split(|byte| *byte == b'\n').enumerate();
    let records: Result<Vec<Record>, Error> = lines
        .filter(|(_, line)| whole > 0 || !line.is_empty())
        .map(|(index, line)| files::parse_line(&path, index + 1, line))
        .collect();
    Ok(Moved {
        records: records?,
        version: Some(kept.version),
    })
}

/// The runs that have files of their own, the oldest first: run ids begin with their time.
pub(crate) async fn put_away(place: &dyn Place) -> Result<Vec<RunId>, Error> {
    named(place, "/journal.jsonl").await
}

async fn named(place: &dyn Place, end: &str) -> Result<Vec<RunId>, Error> {
    let names = place.list(FOLDER, FOLDER).await?;
    let run = |name: &String| {
        let run = name.strip_prefix(FOLDER)?.strip_suffix(end)?;
        (!run.contains('/')).then(|| RunId(run.to_owned()))
    };
    let mut runs: Vec<RunId> = names.iter().filter_map(run).collect();
    runs.sort();
    Ok(runs)
}

/// What a run carries out; none when the plan is of another version, which must not keep the inventory from
/// being read.
pub(crate) async fn plan_if_readable(place: &dyn Place, run: &RunId) -> Result<Option<Plan>, Error> {
    match plan(place, run).await {
        Ok(plan) => Ok(Some(plan)),
        Err(Error::Format { .. } | Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn plan(place: &dyn Place, run: &RunId) -> Result<Plan, Error> {
    let name = plan_name(run);
    let path = path(place, &name);
    match place.read(&name).await? {
        Some(kept) => files::plan(&path, &kept.bytes),
        None => Err(Error::Missing { path }),
    }
}

impl Store {
    /// The names of all runs, the oldest first: run ids begin with their time.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn runs(&self) -> Result<Vec<RunId>, Error> {
        named(self.place.as_ref(), "/plan.json").await
    }

    /// A run with its plan and its records.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub async fn run(&self, run: &RunId) -> Result<PastRun, Error> {
        let place = self.place.as_ref();
        let plan = plan(place, run).await?;
        Ok(PastRun {
            run: run.clone(),
            plan,
            records: self.records(run).await?,
        })
    }

    pub(crate) async fn records(&self, run: &RunId) -> Result<Vec<Record>, Error> {
        let place = self.place.as_ref();
        for _ in 0..LOOKS {
            let moved = moved_records(place, run).await?;
            if moved.is_finished() {
                return Ok(moved.records);
            }
            let Some(lines) = read::numbered(place, 0).await? else {
                continue;
            };
            // Records are put away only after they are here: when nothing came here, none was.
            if moved_records(place, run).await?.version != moved.version {
                continue;
            }
            let numbered = lines.into_iter().filter_map(|(_, line)| match line.said {
                Said::Record(of, record) if of == *run => Some(*record),
                _ => None,
            });
            return Ok(moved.with(numbered.collect()));
        }
        Err(Error::Missing {
            path: path(place, &journal_name(run)),
        })
    }

    /// The last run, when there was one. By the journal: clocks of several machines may disagree.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub async fn last_run(&self) -> Result<Option<PastRun>, Error> {
        match self.inventory().await?.last_run {
            Some(run) => self.run(&run).await.map(Some),
            None => Ok(None),
        }
    }

    /// The last run, when it has not come to its end: `apply` goes on with it.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub async fn unfinished(&self) -> Result<Option<PastRun>, Error> {
        Ok(self.last_run().await?.filter(|run| !run.is_finished()))
    }

    /// Every run with its plan and records, the oldest first.
    ///
    /// # Errors
    /// Their files cannot be read.
    pub async fn all_runs(&self) -> Result<Vec<PastRun>, Error> {
        let runs = self.runs().await?;
        stream::iter(runs)
            .then(|run| async move { self.run(&run).await })
            .try_collect()
            .await
    }
}
