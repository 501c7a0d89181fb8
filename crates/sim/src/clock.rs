//! Clocks that run at another pace than the machine's.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use landfall_runner::Clock;

/// Time that runs faster, or slower, than the machine's.
///
/// At speed 20, waiting a minute takes three seconds, and both readings advance by the minute.
#[derive(Clone, Copy, Debug)]
pub struct ScaledClock {
    speed: f64,
    start: Timestamp,
    began: std::time::Instant,
}

impl ScaledClock {
    /// A clock that starts now and runs `speed` times as fast.
    ///
    /// # Panics
    /// A speed that is not a number above zero: time would stand still, and every wait would last for ever.
    pub fn new(speed: f64) -> ScaledClock {
        ScaledClock::starting_at(Timestamp::now(), speed)
    }

    /// A clock that shows `start` now and runs `speed` times as fast.
    ///
    /// # Panics
    /// As [`ScaledClock::new`].
    pub fn starting_at(start: Timestamp, speed: f64) -> ScaledClock {
        assert!(
            speed.is_finite() && speed > 0.0,
            "time must go forward, but its speed is {speed}"
        );
        ScaledClock {
            speed,
            start,
            began: std::time::Instant::now(),
        }
    }

    /// Time gone by on this clock. A speed beyond all measure ends at the end of time, not in a panic.
    fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(self.began.elapsed().as_secs_f64() * self.speed).unwrap_or(Duration::MAX)
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> String {
        text(after(self.start, self.elapsed()))
    }

    fn millis(&self) -> u64 {
        whole_millis(self.elapsed())
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let real = Duration::try_from_secs_f64(time.as_secs_f64() / self.speed).unwrap_or(Duration::MAX);
        Box::pin(tokio::time::sleep(real))
    }
}

/// Time that passes only while everyone waits.
///
/// It is tokio's own paused time: when every task of the runtime is idle, time jumps to the earliest
/// wake-up, so ten minutes of waiting take no time, and several sleepers wake in their right order.
///
/// **Needs a paused runtime**: a current-thread runtime built with `start_paused(true)` (tokio's feature
/// `test-util`), or `#[tokio::test(start_paused = true)]`. On any other runtime it runs at the machine's
/// own pace. Real waiting (a network, a file read on another thread) may let virtual time run ahead
/// meanwhile, so it is for worlds that wait by this clock alone.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    start: Timestamp,
    began: tokio::time::Instant,
}

/// What a virtual clock shows first, unless told otherwise.
const FIRST_MORNING: &str = "2026-01-01T00:00:00Z";

impl VirtualClock {
    /// A clock that shows midnight of 1 January 2026 (UTC) now.
    #[expect(
        clippy::new_without_default,
        reason = "making one reads the runtime's time, which `default` should not"
    )]
    pub fn new() -> VirtualClock {
        VirtualClock::starting_at(FIRST_MORNING.parse().unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// A clock that shows `start` now.
    pub fn starting_at(start: Timestamp) -> VirtualClock {
        VirtualClock {
            start,
            began: tokio::time::Instant::now(),
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> String {
        text(after(self.start, self.began.elapsed()))
    }

    fn millis(&self) -> u64 {
        whole_millis(self.began.elapsed())
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

fn after(start: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time)
        .ok()
        .and_then(|time| start.checked_add(time).ok())
        .unwrap_or(Timestamp::MAX)
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 with milliseconds, as every clock here shows it.
pub(crate) fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_passes_only_while_everyone_waits() {
        let clock = VirtualClock::new();
        let real = std::time::Instant::now();
        assert_eq!(clock.now(), "2026-01-01T00:00:00.000Z");
        let order = std::sync::Mutex::new(Vec::new());
        let nap = async |minutes: u64| {
            clock.sleep(Duration::from_secs(60 * minutes)).await;
            order.lock().unwrap().push((minutes, clock.now()));
        };
        tokio::join!(nap(20), nap(5), nap(10));
        let order = order.into_inner().unwrap();
        let seen: Vec<(u64, &str)> = order.iter().map(|(nap, at)| (*nap, at.as_str())).collect();
        assert_eq!(
            seen,
            [
                (5, "2026-01-01T00:05:00.000Z"),
                (10, "2026-01-01T00:10:00.000Z"),
                (20, "2026-01-01T00:20:00.000Z")
            ]
        );
        assert!(real.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn scaled_time_runs_ahead_of_the_machine() {
        let clock = ScaledClock::new(1000.0);
        let real = std::time::Instant::now();
        clock.sleep(Duration::from_secs(10)).await;
        assert!(clock.millis() >= 10_000, "{}", clock.millis());
        assert!(real.elapsed() < Duration::from_secs(5));
    }

    #[test]
    #[should_panic(expected = "time must go forward")]
    fn time_does_not_stand_still() {
        ScaledClock::new(0.0);
    }
}
