//! Records that move between the place beside the file and a bucket, whatever breaks on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use landfall_model::plan::Purpose;
use landfall_model::provider::Outcome;
use landfall_runner::{Place as _, When};
use landfall_store::{
    Answer, CERTIFICATE, Call, Error, Lock, MemoryPlace, Store, Taker, Turn, Waiting, Whereabouts,
};

use crate::world::{TestClock, begin, done, finished, lock, locked, run_id, started, taker};

/// The place beside the file and the bucket, each knowing the other.
struct Two {
    beside: MemoryPlace,
    bucket: MemoryPlace,
    clock: TestClock,
}

fn nobody(_: &Waiting) {}

impl Two {
    fn new() -> Two {
        Two {
            beside: MemoryPlace::default(),
            bucket: MemoryPlace::default(),
            clock: TestClock::new(),
        }
    }

    fn beside(&self) -> Store {
        over(&self.beside).coming_from(&over(&self.bucket))
    }

    fn bucket(&self) -> Store {
        over(&self.bucket).coming_from(&over(&self.beside))
    }

    fn taker(&self, nonce: &str) -> Taker {
        taker("ada@laptop", nonce, &self.clock)
    }

    /// Takes the place and does a run there.
    async fn work(&self, store: &Store, run: &str) -> Lock {
        let lock = locked(store, &self.taker(run)).await;
        let records = [started(run), done("net.vpc", Outcome::Created, 10), finished()];
        begin(&lock, run, Purpose::Apply, &records).await;
        lock.settle().await.unwrap();
        lock
    }
}

fn over(place: &MemoryPlace) -> Store {
    Store::over(Arc::new(place.clone()))
}

async fn runs(store: &Store) -> Vec<String> {
    let runs = store.all_runs().await.unwrap();
    runs.iter().map(|run| run.run.0.clone()).collect()
}

fn is_moved(refused: Result<Lock, Error>) -> bool {
    matches!(refused.err(), Some(Error::Moved { .. }))
}

#[tokio::test(start_paused = true)]
async fn in_and_out_and_in_again() {
    let two = Two::new();
    let (beside, bucket) = (two.beside(), two.bucket());
    assert_eq!(beside.whereabouts().await.unwrap(), Whereabouts::Nothing);
    let here = |epoch| Whereabouts::Here {
        epoch,
        line: Some("r1".to_owned()),
    };
    let held = two.work(&beside, "r1").await;
    two.beside
        .write(CERTIFICATE, b"clean", When::Always)
        .await
        .unwrap();
    let held = held.move_to(&bucket, &two.taker("m1"), &nobody).await.unwrap();
    assert_eq!(held.epoch(), 2);
    assert_eq!(two.bucket.texts()[CERTIFICATE], "clean");
    held.release().await.unwrap();
    assert_eq!(bucket.whereabouts().await.unwrap(), here(2));
    insta::assert_snapshot!(two.beside.texts()["lease.json"], @r#"
    {
      "epoch": 1,
      "nonce": "r1",
      "line": "r1",
      "is": "moved",
      "to": "memory",
      "by": {
        "who": "ada@laptop",
        "machine": "laptop",
        "pid": 7
      },
      "at": "2026-01-01T00:00:00Z"
    }
    "#);
    let refused = lock(&beside, &taker("bob@ci", "b", &two.clock))
        .await
        .0
        .err()
        .unwrap();
    insta::assert_snapshot!(format!("{refused}\n{}", refused.way_out().unwrap()), @r"
    the records in memory were moved to memory, by ada@laptop (process 7), at 2026-01-01T00:00:00Z
    work from where the records are; or finish there what was begun
    ");

    // Readers still may.
    assert_eq!(runs(&beside).await, ["r1"]);
    // Out, over what was left there.
    let held = two.work(&bucket, "r2").await;
    two.bucket
        .write(CERTIFICATE, b"cleaner", When::Always)
        .await
        .unwrap();
    let held = held.move_to(&beside, &two.taker("m2"), &nobody).await.unwrap();
    begin(&held, "r3", Purpose::Apply, &[started("r3"), finished()]).await;
    held.release().await.unwrap();
    assert_eq!(two.beside.texts()[CERTIFICATE], "cleaner");
    assert_eq!(beside.whereabouts().await.unwrap(), here(4));
    assert!(is_moved(lock(&bucket, &two.taker("b")).await.0));
    assert_eq!(runs(&beside).await, ["r1", "r2", "r3"]);
    // And in again.
    let held = locked(&beside, &two.taker("a")).await;
    let held = held.move_to(&bucket, &two.taker("m3"), &nobody).await.unwrap();
    assert_eq!(held.epoch(), 6);
    held.settle().await.unwrap();
    held.release().await.unwrap();
    assert_eq!(runs(&bucket).await, ["r1", "r2", "r3"]);
    assert!(is_moved(lock(&beside, &two.taker("b")).await.0));
}

/// What happens to a mover at its n-th write.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// It dies before the write is done.
    Before,
    /// It dies right after.
    After,
    /// It lives, and the answer is lost.
    Lost,
    /// It lives, and the place is not there any more.
    Refused,
}

/// Lets all writes to both places through, up to the n-th.
fn breaking(place: &MemoryPlace, count: &Arc<AtomicUsize>, at: usize, how: Break) -> MemoryPlace {
    let count = count.clone();
    place.through(move |call| {
        let number = match call {
            Call::Write(..) | Call::Remove(_) => count.fetch_add(1, Ordering::SeqCst),
            Call::Read(_) | Call::List(_) => count.load(Ordering::SeqCst).saturating_sub(1),
        };
        let is_write = matches!(call, Call::Write(..) | Call::Remove(_));
        let never = Turn::after(Duration::from_secs(1_000_000));
        match how {
            Break::Before if number >= at && is_write => never,
            // Whatever it does next, reading too.
            Break::After if number > at || (number == at && !is_write) => never,
            Break::Lost if number == at && is_write => Turn::with(Answer::Lost),
            Break::Refused if number >= at && is_write => Turn::with(Answer::Refused),
            _ => Turn::well(),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_move_may_break_at_every_write_and_is_repeated() {
    for how in [Break::Before, Break::After, Break::Lost, Break::Refused] {
        let mut at = 0;
        loop {
            let two = Two::new();
            // There and back, so that there is something to be replaced.
            let held = two.work(&two.beside(), "r1").await;
            let held = held
                .move_to(&two.bucket(), &two.taker("m1"), &nobody)
                .await
                .unwrap();
            let held = held
                .move_to(&two.beside(), &two.taker("m2"), &nobody)
                .await
                .unwrap();
            held.release().await.unwrap();
            two.work(&two.beside(), "r2").await.release().await.unwrap();
            two.beside
                .write(CERTIFICATE, b"clean", When::Always)
                .await
                .unwrap();

            let count = Arc::new(AtomicUsize::new(usize::MAX / 2));
            let (source, target) = (
                breaking(&two.beside, &count, at, how),
                breaking(&two.bucket, &count, at, how),
            );
            let (source, target) = (over(&source), over(&target));
            // Only the move's own writes count.
            let held = locked(&over(&two.beside), &two.taker("x")).await;
            drop(held);
            count.store(usize::MAX / 4, Ordering::SeqCst);
            let moved = broken(&two, &source, &target, &count).await;
            let writes = count.load(Ordering::SeqCst);

            // Never can both be taken, and never none that could not be finished.
            let (beside, bucket) = (two.beside(), two.bucket());
            let strangers = over(&two.bucket);
            let stranger = lock(&strangers, &taker("bob@ci", "s", &two.clock)).await.0;
            let ours = lock(&beside, &two.taker("again")).await.0;
            assert!(
                !(stranger.is_ok() && ours.is_ok()),
                "{how:?} at {at}: both places were taken"
            );
            let held = match (ours, stranger) {
                (Ok(held), _) => held
                    .move_to(&bucket, &two.taker("m4"), &nobody)
                    .await
                    .unwrap_or_else(|error| panic!("{how:?} at {at}: {error}")),
                (Err(Error::Moved { .. }), Ok(held)) => held,
                (Err(Error::Moved { .. }), Err(Error::HalfCopied { .. } | Error::Locked { .. })) => {
                    locked(&bucket, &two.taker("m5")).await
                }
                (ours, stranger) => panic!("{how:?} at {at}: {:?} {:?}", ours.err(), stranger.err()),
            };
            begin(&held, "r3", Purpose::Apply, &[started("r3"), finished()]).await;
            held.settle().await.unwrap();
            held.release().await.unwrap();
            assert_eq!(runs(&bucket).await, ["r1", "r2", "r3"], "{how:?} at {at}");
            assert_eq!(two.bucket.texts()[CERTIFICATE], "clean", "{how:?} at {at}");
            assert!(
                is_moved(lock(&beside, &two.taker("b")).await.0),
                "{how:?} at {at}"
            );
            if moved && writes <= at {
                assert!(at > 8, "the move has {at} writes");
                break;
            }
            at += 1;
        }
    }
}

/// Moves, and drops the mover when it does not come to an end. Whether it did.
async fn broken(two: &Two, source: &Store, target: &Store, count: &Arc<AtomicUsize>) -> bool {
    count.store(0, Ordering::SeqCst);
    let whole = async {
        let held = source.lock(&two.taker("y"), &nobody).await?;
        held.move_to(target, &two.taker("m3"), &nobody).await
    };
    match tokio::time::timeout(Duration::from_secs(200), whole).await {
        Ok(Ok(held)) => {
            drop(held);
            true
        }
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_movers_at_once_one_is_refused() {
    // From two machines that each worked by themselves, into one bucket.
    for turn_ms in 0..20 {
        let (ada, bob) = (Two::new(), Two::new());
        let bucket = ada.bucket.clone();
        let slow = bucket.through(move |_| Turn::after(Duration::from_millis(turn_ms)));
        let quick = bucket.through(move |_| Turn::after(Duration::from_millis(7)));
        let held = ada.work(&ada.beside(), "a1").await;
        let helds = bob.work(&bob.beside(), "b1").await;
        let (slow, quick) = (over(&slow), over(&quick));
        let (ada_taker, bob_taker) = (ada.taker("ma"), taker("bob@ci", "mb", &bob.clock));
        let (one, other) = tokio::join!(
            held.move_to(&slow, &ada_taker, &nobody),
            helds.move_to(&quick, &bob_taker, &nobody)
        );
        assert!(one.is_ok() != other.is_ok(), "at {turn_ms}");
        let (winner, loser, refused) = if one.is_ok() {
            ("a1", bob.beside(), other.as_ref().err())
        } else {
            ("b1", ada.beside(), one.as_ref().err())
        };
        assert!(
            matches!(
                refused,
                Some(Error::HalfCopied { .. } | Error::WentOn { .. } | Error::Locked { .. })
            ),
            "{refused:?}"
        );
        assert_eq!(runs(&over(&bucket)).await, [winner]);
        // The other one's records are where they were, and not held.
        locked(&loser, &loser_taker(&ada)).await;
    }
}

fn loser_taker(two: &Two) -> Taker {
    taker("eve@desk", "after", &two.clock)
}

#[tokio::test(start_paused = true)]
async fn a_mover_that_slept_is_refused_by_who_moved_instead() {
    // The first sleeps at its n-th write to the bucket, for longer than its lease.
    for at in 0.. {
        let two = Two::new();
        two.work(&two.beside(), "r1").await.release().await.unwrap();
        // It cannot renew either: its machine sleeps.
        let stopped = TestClock::new().stopped();
        let held = locked(&two.beside(), &taker("ada@laptop", "a", &stopped)).await;
        let count = AtomicUsize::new(0);
        let sleepy = over(&two.bucket.through(move |call| match call {
            Call::Write(..) if count.fetch_add(1, Ordering::SeqCst) == at => {
                Turn::after(Duration::from_secs(90))
            }
            _ => Turn::well(),
        }));
        let first = tokio::spawn({
            let taker = taker("ada@laptop", "m1", &stopped);
            async move { held.move_to(&sleepy, &taker, &nobody).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = match lock(&two.beside(), &taker("bob@ci", "b", &two.clock)).await.0 {
            Ok(second) => second,
            // It had copied everything and left: only taking the bucket came late.
            Err(error) => {
                assert!(matches!(error, Error::Moved { .. }) && at > 4, "{error} at {at}");
                first.await.unwrap().unwrap();
                break;
            }
        };
        let bob = taker("bob@ci", "m2", &two.clock);
        let second = second.move_to(&two.bucket(), &bob, &nobody).await.unwrap();
        begin(&second, "r2", Purpose::Apply, &[started("r2"), finished()]).await;
        second.settle().await.unwrap();
        let first = first.await.unwrap();
        assert!(first.is_err(), "at {at}");
        second.settle().await.unwrap();
        second.release().await.unwrap();
        assert_eq!(runs(&two.bucket()).await, ["r1", "r2"], "at {at}");
        assert!(is_moved(lock(&two.beside(), &two.taker("c")).await.0));
        locked(&over(&two.bucket), &two.taker("d")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_other_or_newer_is_not_replaced() {
    let two = Two::new();
    let eve = Two::new();
    // Somebody else's, whether it lives or not.
    let bucket = two.work(&two.bucket(), "r1").await;
    let held = two.work(&two.beside(), "r2").await;
    let refused = held.move_to(&two.bucket(), &two.taker("m"), &nobody).await;
    insta::assert_snapshot!(refused.err().unwrap(), @"the records in memory have gone on by themselves: ada@laptop (process 7), since 2026-01-01T00:00:00Z");
    bucket.release().await.unwrap();
    // Let go of, and however old.
    for run in ["r3", "r4"] {
        two.work(&two.beside(), run).await.release().await.unwrap();
    }
    let held = locked(&two.beside(), &two.taker("x")).await;
    let refused = held.move_to(&two.bucket(), &two.taker("m"), &nobody).await;
    insta::assert_snapshot!(refused.err().unwrap(), @"the records in memory have gone on by themselves: ada@laptop (process 7), until 2026-01-01T00:00:00Z");
    assert_eq!(runs(&two.bucket()).await, [run_id("r1").0]);

    // Moved on by others: not to be replaced by a line that knows nothing of it.
    let elsewhere = over(&eve.beside);
    let held = locked(&two.bucket(), &two.taker("x")).await;
    let held = held.move_to(&elsewhere, &two.taker("m"), &nobody).await.unwrap();
    held.release().await.unwrap();
    let held = locked(&two.beside(), &two.taker("x2")).await;
    let refused = held.move_to(&two.bucket(), &two.taker("m3"), &nobody).await;
    assert!(is_moved(refused));
}
