//! Reading numbered records while somebody may be writing them and putting them away.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use landfall_runner::Place;

use crate::error::Error;
use crate::journal::{self, Line};

/// How many records are read or removed at once.
pub(crate) const AT_ONCE: usize = 16;

/// How often a reader looks again when records were put away under its eyes. Each time somebody else has
/// finished a whole run in between.
pub(crate) const LOOKS: usize = 8;

/// What people call a file of a place.
pub(crate) fn path(place: &dyn Place, name: &str) -> String {
    format!("{}/{name}", place.name())
}

/// The records after a number, in order; none when one was put away between listing and reading it.
pub(crate) async fn numbered(place: &dyn Place, after: u64) -> Result<Option<Vec<(u64, Line)>>, Error> {
    let from = if after == 0 {
        journal::FOLDER.to_owned()
    } else {
        journal::name(after)
    };
    let names = place.list(journal::FOLDER, &from).await?;
    // Other files there are not ours.
    let numbers: Vec<u64> = names.iter().filter_map(|name| journal::number(name)).collect();
    let lines: Vec<Option<(u64, Line)>> = stream::iter(numbers)
        .map(|number| async move {
            let line = journal::read(place, number).await?;
            Ok::<_, Error>(line.map(|line| (number, line)))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(lines.into_iter().collect())
}

/// The first number after `after` that is missing among `lines`.
pub(crate) fn hole(after: u64, lines: &[(u64, Line)]) -> Option<u64> {
    (after + 1..)
        .zip(lines)
        .find_map(|(expected, (number, _))| (*number != expected).then_some(expected))
}
