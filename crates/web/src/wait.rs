//! How long to wait: reading times, showing them, and the pauses between looks.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// No pause is longer than this: a person who has just fixed something should not wait for us.
const LONGEST: Duration = Duration::from_secs(5);

/// Shows a time in at most two units: `12s`, `1m 5s`, `2h`.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, seconds) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// The pause after an attempt, counted from 0: doubling, and between half and all of that.
///
/// The spread keeps checks that began together from asking together. It comes from the step's name
/// rather than from chance, so that a run can be told again as it was.
pub(crate) fn pause(attempt: u32, name: &str) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.min(10)).min(LONGEST);
    let half = whole / 2;
    half + half.mul_f64(spread(attempt, name))
}

/// A moment as clocks write it, in seconds since 1970.
pub(crate) fn seconds(now: &str) -> u64 {
    let moment: Option<jiff::Timestamp> = now.parse().ok();
    moment
        .and_then(|moment| u64::try_from(moment.as_second()).ok())
        .unwrap_or_default()
}

/// A number from 0 to 1, by FNV-1a: the standard library's hash may change between versions.
fn spread(attempt: u32, name: &str) -> f64 {
    let hash = name
        .bytes()
        .chain(attempt.to_le_bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    f64::from(hash) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use landfall_model::definition::duration;

    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        let read = |text| duration(text).map(short);
        assert_eq!(read("30s").as_deref(), Some("30s"));
        assert_eq!(read("90s").as_deref(), Some("1m 30s"));
        assert_eq!(read("5m").as_deref(), Some("5m"));
        assert_eq!(read("90m").as_deref(), Some("1h 30m"));
        assert_eq!(read("2h").as_deref(), Some("2h"));
        for wrong in [
            "",
            "s",
            "5",
            "5d",
            "-1s",
            "+1s",
            "1.5h",
            "5 m",
            "99999999999999999999h",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        for attempt in 0..60 {
            let whole = (250 * (1 << attempt.min(10))).min(5000);
            let pause = pause(attempt, "portal.resolves").as_millis();
            assert!((whole / 2..=whole).contains(&pause), "{attempt}: {pause} ms");
        }
    }

    #[test]
    fn two_checks_do_not_keep_step() {
        let pauses = |name| (0..5).map(|attempt| pause(attempt, name)).collect::<Vec<_>>();
        assert_eq!(pauses("portal.resolves"), pauses("portal.resolves"));
        assert_ne!(pauses("portal.resolves"), pauses("portal.serves"));
    }
}
