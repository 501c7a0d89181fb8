//! The numbered journal: one file a record, each number written once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::id::RunId;
use landfall_model::journal::Record;
use landfall_model::planted;
use landfall_runner::{Journal, JournalError, Place, PlaceError, When, Written};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::fence::Seat;
use crate::files::parse;
use crate::holder::Holder;
use crate::read::path;

/// Where the numbered records are.
pub(crate) const FOLDER: &str = "journal/";

/// How often a write is tried whose answers are lost, and how long it waits in between.
const TRIES: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(500);

/// The name of a record.
pub(crate) fn name(number: u64) -> String {
    format!("{FOLDER}{number:010}.json")
}

/// The number of a record, when the name is one's.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER)?.strip_suffix(".json")?.parse().ok()
}

/// What one numbered file says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// In which epoch it was written.
    pub(crate) epoch: u64,
    /// By whose take.
    pub(crate) nonce: String,
    pub(crate) said: Said,
}

/// A record, or that somebody begins to write records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Opened(Opened),
    Record(RunId, Box<Record>),
}

/// Opens an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Opened {
    pub(crate) at: String,
    pub(crate) holder: Holder,
    /// Whether the one before had let go. When not, it may still believe that it holds the platform, and
    /// this record stays for good to tell it better.
    pub(crate) released: bool,
}

const OPENED: &str = "epochOpened";

#[derive(Deserialize)]
struct Head {
    epoch: u64,
    nonce: String,
    entry: String,
    run: Option<RunId>,
}

impl Line {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut map = Map::new();
        map.insert("epoch".to_owned(), self.epoch.into());
        map.insert("nonce".to_owned(), self.nonce.clone().into());
        let said = match &self.said {
            Said::Opened(opened) => {
                map.insert("entry".to_owned(), OPENED.into());
                serde_json::to_value(opened)
            }
            Said::Record(run, record) => {
                map.insert("run".to_owned(), run.0.clone().into());
                serde_json::to_value(record.as_ref())
            }
        };
        let Value::Object(said) = said.expect("our own types have text keys") else {
            unreachable!("both are written as objects");
        };
        // The record that begins a run names the run once more: the same.
        map.extend(said);
        let mut bytes = serde_json::to_vec(&map).expect("text keys");
        bytes.push(b'\n');
        bytes
    }

    pub(crate) fn read(path: &str, bytes: &[u8]) -> Result<Line, Error> {
        let Head {
            epoch,
            nonce,
            entry,
            run,
        } = parse(path, bytes)?;
        let said = if entry == OPENED {
            Said::Opened(parse(path, bytes)?)
        } else {
            let missing = || Error::Content {
                path: path.to_owned(),
                line: 0,
                source: serde::de::Error::missing_field("run"),
            };
            Said::Record(run.ok_or_else(missing)?, parse(path, bytes)?)
        };
        Ok(Line { epoch, nonce, said })
    }
}

/// Reads one numbered record; none when there is none.
pub(crate) async fn read(place: &dyn Place, number: u64) -> Result<Option<Line>, Error> {
    let name = name(number);
    let Some(kept) = place.read(&name).await? else {
        return Ok(None);
    };
    Line::read(&path(place, &name), &kept.bytes).map(Some)
}

/// The number of the newest record; 0 when there is none.
pub(crate) async fn newest(place: &dyn Place) -> Result<u64, Error> {
    let names = place.list(FOLDER, FOLDER).await?;
    Ok(names
        .iter()
        .rev()
        .find_map(|name| number(name))
        .unwrap_or_default())
}

/// What came of writing one number.
#[derive(Debug)]
pub(crate) enum Put {
    /// It is written, by this call or by an earlier one whose answer was lost.
    Done,
    /// Something else has that number.
    Other(Box<Line>),
    /// Something else had that number and was put away since: others have gone on.
    Gone,
}

/// Writes one number, once, whatever becomes of answers: looks before it writes again.
pub(crate) async fn put(seat: &Seat, number: u64, bytes: &[u8]) -> Result<Put, Error> {
    let (place, name) = (seat.place.as_ref(), name(number));
    let mut tries = 0;
    loop {
        let lost: PlaceError = match place.write(&name, bytes, When::Absent).await {
            Ok(Written::Done(_)) => return Ok(Put::Done),
            Ok(Written::Conflict) => match place.read(&name).await {
                Ok(Some(kept)) => return judge(place, &name, &kept.bytes, bytes),
                Ok(None) => return Ok(Put::Gone),
                Err(error) => error,
            },
            Err(error) => match place.read(&name).await {
                Ok(Some(kept)) => return judge(place, &name, &kept.bytes, bytes),
                // It did not arrive, or has not yet. Should it still, it takes the same number.
                Ok(None) | Err(_) => error,
            },
        };
        tries += 1;
        if tries == TRIES {
            return Err(lost.into());
        }
        seat.clock.sleep(BETWEEN * tries).await;
    }
}

fn judge(place: &dyn Place, name: &str, there: &[u8], ours: &[u8]) -> Result<Put, Error> {
    if there == ours && !planted!(AnswerLostWrittenTwice) {
        return Ok(Put::Done);
    }
    let line = Line::read(&path(place, name), there)?;
    Ok(Put::Other(Box::new(line)))
}

/// Adds a record under the next number. When this returns well, the record is kept, and at the moment it was
/// written nobody else had begun to write. Whoever fell asleep meanwhile looks again before it acts on that.
pub(crate) async fn append(seat: &Seat, run: &RunId, record: &Record) -> Result<(), JournalError> {
    let mut next = seat.next.lock().await;
    if !planted!(FenceIgnored) {
        seat.make_sure().await?;
    }
    let line = Line {
        epoch: seat.epoch,
        nonce: seat.nonce.clone(),
        said: Said::Record(run.clone(), Box::new(record.clone())),
    };
    let bytes = line.bytes();
    loop {
        match put(seat, *next, &bytes).await {
            Ok(Put::Done) => {
                *next += 1;
                if planted!(FenceIgnored) {
                    return Ok(());
                }
                return seat.make_sure().await;
            }
            // An earlier record of ours, given up while it was under way: it stands.
            Ok(Put::Other(other)) if other.nonce == seat.nonce => *next += 1,
            Ok(Put::Other(_)) if planted!(FenceIgnored) => *next += 1,
            Ok(Put::Other(other)) => return Err(seat.lost_to(*next, Some(&other)).await),
            Ok(Put::Gone) => return Err(seat.lost_to(*next, None).await),
            Err(error) => return Err(seat.not_written(error)),
        }
    }
}

/// The journal of one run. What it adds is kept, or the run is told that somebody took over.
pub struct RunJournal {
    pub(crate) seat: Arc<Seat>,
    pub(crate) run: RunId,
}

#[async_trait]
impl Journal for RunJournal {
    async fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        append(&self.seat, &self.run, record).await
    }
}
