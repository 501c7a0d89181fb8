//! Plans in files of the user's choice, and JSON in and out of bytes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use landfall_model::plan::{FORMAT, Plan};
use landfall_runner::{Place, When};
use serde::{Deserialize, Serialize};

use crate::error::{Error, file_error};

/// Reads a saved plan, refusing one of another format.
///
/// # Errors
/// The file cannot be read, or is not a plan of this format.
pub fn read_plan(path: &Path) -> Result<Plan, Error> {
    let bytes = fs::read(path).map_err(file_error("read", path))?;
    plan(&path.display().to_string(), &bytes)
}

/// Writes a plan to a file of the user's choice, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn save_plan(path: &Path, plan: &Plan) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(&pretty(plan))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(file_error("write", path))
}

/// A plan from its bytes.
pub(crate) fn plan(path: &str, bytes: &[u8]) -> Result<Plan, Error> {
    let value: serde_json::Value = parse(path, bytes)?;
    let found = value
        .get("format")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0);
    if found != u64::from(FORMAT) {
        return Err(Error::Format {
            path: path.to_owned(),
            found,
        });
    }
    parse(path, bytes)
}

pub(crate) fn parse<T: for<'de> Deserialize<'de>>(path: &str, bytes: &[u8]) -> Result<T, Error> {
    parse_line(path, 0, bytes)
}

pub(crate) fn parse_line<T: for<'de> Deserialize<'de>>(
    path: &str,
    line: usize,
    bytes: &[u8],
) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Content {
        path: path.to_owned(),
        line,
        source,
    })
}

pub(crate) fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("our own types have text keys");
    bytes.push(b'\n');
    bytes
}

/// How often something is written again that may be written twice without harm.
const TRIES: usize = 4;

/// Keeps something under a name, whatever is there. An answer that was lost is no reason to give up: what was
/// written is what would be written again.
pub(crate) async fn keep(place: &dyn Place, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut last = None;
    for _ in 0..TRIES {
        match place.write(name, bytes, When::Always).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("it was tried").into())
}
