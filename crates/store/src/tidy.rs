//! Putting away what is over: records into the inventory, finished runs into files of their own.
//!
//! Everything here follows from the records alone, so it may be done twice, or broken off anywhere: the next
//! time it is finished.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use landfall_model::id::RunId;
use landfall_model::journal::Record;
use landfall_runner::{When, Written};

use crate::Store;
use crate::error::Error;
use crate::fence::Lock;
use crate::inventory::{self, Inventory};
use crate::journal::{self, Line, Said};
use crate::read::{self, AT_ONCE, LOOKS, path};
use crate::runs;

impl Lock {
    /// Brings the inventory up to date with everything that was recorded, and puts away the records of runs
    /// that are over. Done after the platform was taken, and after each run.
    ///
    /// # Errors
    /// Records cannot be read or written.
    pub async fn settle(&self) -> Result<Inventory, Error> {
        settle(&self.store).await
    }
}

async fn settle(store: &Store) -> Result<Inventory, Error> {
    let place = store.place.as_ref();
    let mut missing = 0;
    let mut lost = None;
    for _ in 0..LOOKS {
        let before = inventory::kept(place).await?;
        let Some(lines) = read::numbered(place, 0).await? else {
            continue;
        };
        let (before, when) = match before {
            Some((inventory, version)) => (Some(inventory), When::Is(version)),
            None => (None, When::Absent),
        };
        if let Some(before) = &before {
            let through = before.through.unwrap_or_default();
            let later = lines.partition_point(|(number, _)| *number <= through);
            if let Some(number) = read::hole(through, &lines[later..]) {
                missing = number;
                continue;
            }
        }
        let folded = inventory::fold(store, before.clone(), &lines).await?;
        if before.as_ref() != Some(&folded) {
            match place.write(inventory::NAME, &folded.bytes(), when).await {
                Ok(Written::Done(_)) => {}
                // Somebody folded the same records in, or this very write was done.
                Ok(Written::Conflict) => continue,
                // The answer may be lost and not the write: the next look tells.
                Err(error) => {
                    lost = Some(error);
                    continue;
                }
            }
        }
        put_away(store, &folded, &lines).await?;
        return Ok(folded);
    }
    if let Some(error) = lost {
        return Err(error.into());
    }
    Err(Error::Missing {
        path: path(place, &journal::name(missing)),
    })
}

/// Moves the records of runs that are over into files of their own, then removes the numbered ones.
async fn put_away(store: &Store, inventory: &Inventory, lines: &[(u64, Line)]) -> Result<(), Error> {
    let place = store.place.as_ref();
    let mut numbered: BTreeMap<&RunId, Vec<Record>> = BTreeMap::new();
    for (_, line) in lines {
        if let Said::Record(run, record) = &line.said {
            numbered.entry(run).or_default().push(record.as_ref().clone());
        }
    }
    let mut going_on: BTreeSet<&RunId> = BTreeSet::new();
    for (run, records) in numbered {
        let moved = runs::moved_records(place, run).await?;
        if moved.is_finished() {
            continue;
        }
        let (there, when) = (
            moved.records.clone(),
            moved.version.clone().map_or(When::Absent, When::Is),
        );
        let records = moved.with(records);
        let finished = records
            .iter()
            .any(|record| matches!(record.entry, landfall_model::journal::Entry::RunFinished { .. }));
        // A run that another came after is never gone on with.
        if !finished && inventory.last_run.as_ref() == Some(run) {
            going_on.insert(run);
            continue;
        }
        if records == there {
            continue;
        }
        let mut bytes = Vec::new();
        for record in &records {
            serde_json::to_writer(&mut bytes, record).expect("our own types have text keys");
            bytes.push(b'\n');
        }
        // On a conflict somebody has moved the same records.
        let name = runs::journal_name(run);
        if let Err(error) = place.write(&name, &bytes, when).await {
            // Whoever wrote it, with whatever answer: the same records make the same file.
            match place.read(&name).await? {
                Some(kept) if kept.bytes == bytes => {}
                _ => return Err(error.into()),
            }
        }
    }
    stream::iter(removable(lines, &going_on))
        .map(|number| async move { Ok(place.remove(&journal::name(number)).await?) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The numbers that nobody needs any more: not the newest, which says where to go on; not those of a run that
/// goes on; and not where a writer may still be asleep that did not let go: the record that opened the epoch
/// after its own, and the one before, its last. What is left of those is two small files for each crash.
fn removable(lines: &[(u64, Line)], going_on: &BTreeSet<&RunId>) -> Vec<u64> {
    let mut needed: BTreeSet<u64> = lines.last().map(|(number, _)| *number).into_iter().collect();
    for (number, line) in lines {
        match &line.said {
            Said::Opened(opened) if !opened.released => {
                needed.extend([*number, number - 1]);
            }
            Said::Opened(_) => {}
            Said::Record(run, _) if going_on.contains(run) => {
                needed.insert(*number);
            }
            Said::Record(..) => {}
        }
    }
    let numbers = lines.iter().map(|(number, _)| *number);
    numbers.filter(|number| !needed.contains(number)).collect()
}
