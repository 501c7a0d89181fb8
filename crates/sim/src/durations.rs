//! How long things take, from a table that names where each number comes from.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::random::Random;

/// How far a duration may lie from the table's, in percent.
const JITTER_PERCENT: u64 = 15;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    default: Entry,
    stack: Entry,
    types: BTreeMap<String, Entry>,
    /// What is not a resource of CloudFormation: kinds of objects, pods, what happens to machines.
    others: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    seconds: u64,
    /// How long removing takes, where that is not half of making.
    removing: Option<u64>,
    /// For readers of the table, who should be able to doubt a number.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the table"))]
    source: String,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("durations.json")).expect("durations.json is read by a test")
});

/// How long a resource of a type, an object of a kind, or something else the table names usually takes to
/// be made, or to be removed; none when the table does not know.
pub fn typical_ms(kind: &str, removing: bool) -> Option<u64> {
    let entry = TABLE.types.get(kind).or_else(|| TABLE.others.get(kind))?;
    Some(match removing {
        false => entry.seconds * 1000,
        true => entry
            .removing
            .map_or(entry.seconds * 500, |seconds| seconds * 1000),
    })
}

/// How long making, changing or removing a resource takes.
///
/// Changing takes as long as making. Removing is taken to be half of that: it waits for the same
/// consistency, but for nothing to start.
pub(crate) fn resource_ms(kind: &str, removing: bool, random: &mut Random) -> u64 {
    let entry = TABLE.types.get(kind).unwrap_or(&TABLE.default);
    let whole = random.about(entry.seconds * 1000, JITTER_PERCENT);
    match (removing, entry.removing) {
        (false, _) => whole,
        (true, None) => whole / 2,
        (true, Some(seconds)) => random.about(seconds * 1000, JITTER_PERCENT),
    }
}

/// How long CloudFormation takes around the resources of a stack, each way.
pub(crate) fn stack_ms(random: &mut Random) -> u64 {
    random.about(TABLE.stack.seconds * 1000, JITTER_PERCENT) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_table_says_where_it_comes_from() {
        let all = TABLE.types.values().chain(TABLE.others.values());
        let all = all.chain([&TABLE.default, &TABLE.stack]);
        assert!(
            all.into_iter()
                .all(|entry| !entry.source.is_empty() && entry.seconds > 0)
        );
    }

    #[test]
    fn a_role_takes_about_eighteen_seconds_and_what_is_not_listed_about_ten() {
        let mut random = Random::of(1, &[]);
        assert!((15_300..=20_700).contains(&resource_ms("AWS::IAM::Role", false, &mut random)));
        assert!((8_500..=11_500).contains(&resource_ms("Custom::Thing", false, &mut random)));
        assert!((4_250..=5_750).contains(&resource_ms("Custom::Thing", true, &mut random)));
    }
}
