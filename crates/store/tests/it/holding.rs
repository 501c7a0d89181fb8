//! Who may write, and who learns that it may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use landfall_model::plan::Purpose;
use landfall_runner::{Journal as _, Place as _};
use landfall_store::{Answer, Call, MemoryPlace, Store, Turn};
use tokio::time::Instant;

use crate::world::{
    TestClock, begin, chain, finished, lock, locked, names, note, numbered, run_id, started, taker, words,
};

fn over(place: &MemoryPlace) -> Store {
    Store::over(Arc::new(place.clone()))
}

/// A process that can be put to sleep: its calls arrive when it wakes.
fn sleepy(place: &MemoryPlace, began: Instant, wakes_at_ms: &Arc<AtomicU64>) -> MemoryPlace {
    let wakes_at_ms = wakes_at_ms.clone();
    place.through(move |_| {
        let wakes_at = Duration::from_millis(wakes_at_ms.load(Ordering::SeqCst));
        Turn::after(wakes_at.saturating_sub(began.elapsed()))
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_let_go_is_taken_at_once() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let began = Instant::now();
    for nonce in ["a", "b", "c"] {
        locked(&store, &taker("ada@laptop", nonce, &clock))
            .await
            .release()
            .await
            .unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    insta::assert_snapshot!(numbered(&place.texts()), @r"
    1 epoch 1 epochOpened
    2 epoch 2 epochOpened
    3 epoch 3 epochOpened
    ");
    insta::assert_snapshot!(place.texts()["lease.json"], @r#"
    {
      "epoch": 3,
      "nonce": "c",
      "line": "a",
      "is": "released",
      "by": {
        "who": "ada@laptop",
        "machine": "laptop",
        "pid": 7
      },
      "at": "2026-01-01T00:00:00Z"
    }
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_on_another_machine_is_replaced_within_60_seconds() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    // It has just renewed its lease when the power goes.
    tokio::time::sleep(Duration::from_millis(20_001)).await;
    drop(ada);
    let died = Instant::now();
    // Its wall clock is years off: nobody compares clocks.
    let wrong = TestClock::wrong_by(9_999_999_999);
    let (bob, said) = lock(&store, &taker("bob@ci", "b", &wrong)).await;
    let bob = bob.unwrap();
    insta::assert_snapshot!(
        format!("{}\ntaken over {:?} after the death, as epoch {}", said.join("\n"), died.elapsed(), bob.epoch()),
        @r"
    ada@laptop (process 7) holds this platform since 2026-01-01T00:00:00Z; waiting up to 35 s to see whether it still lives
    taken over 35s after the death, as epoch 2
    "
    );
    assert!(died.elapsed() < Duration::from_secs(60));
    assert!(journal.append(&note("from the grave")).await.is_err());
    // The run that it had begun is gone on with.
    let past = store.unfinished().await.unwrap().unwrap();
    let mut journal = bob.go_on(&past.run);
    journal.append(&note("bob goes on")).await.unwrap();
    let records = store.run(&run_id("r1")).await.unwrap().records;
    assert_eq!(words(&records), ["runStarted", "bob goes on"]);
}

#[tokio::test(start_paused = true)]
async fn a_living_holder_on_another_machine_is_left_alone_after_one_renewal() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    for _ in 0..3 {
        let began = Instant::now();
        let (refused, said) = lock(&store, &taker("bob@ci", "b", &clock)).await;
        assert!(
            began.elapsed() <= Duration::from_secs(11),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(said.len(), 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused.err().unwrap(), @"another landfall process is changing this platform: ada@laptop (process 7), since 2026-01-01T00:00:00Z");
        }
        tokio::time::sleep(Duration::from_secs(33)).await;
    }
    ada.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lets_go_while_somebody_waits_is_followed_at_once() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let letting_go = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        ada.release().await.unwrap();
    });
    let began = Instant::now();
    let bob = locked(&store, &taker("bob@ci", "b", &clock)).await;
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
    letting_go.await.unwrap();
    bob.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_slept_cannot_write_any_more() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let began = Instant::now();
    let wakes_at_ms = Arc::new(AtomicU64::new(0));
    let ada = locked(
        &over(&sleepy(&place, began, &wakes_at_ms)),
        &taker("ada@laptop", "a", &clock),
    )
    .await;
    let mut hers = begin(&ada, "r1", Purpose::Apply, &[started("r1"), note("ada 1")]).await;
    // The lid closes in the middle of a write, and everybody else goes on for an hour.
    wakes_at_ms.store(3_600_000, Ordering::SeqCst);
    let asleep = tokio::spawn(async move { hers.append(&note("ada 2")).await.map(|()| hers) });
    let store = over(&place);
    let bob = locked(&store, &taker("bob@ci", "b", &clock)).await;
    let mut his = bob.go_on(&run_id("r1"));
    his.append(&note("bob 1")).await.unwrap();
    his.append(&finished()).await.unwrap();
    // He puts the records away: numbers become free.
    bob.settle().await.unwrap();
    begin(&bob, "r2", Purpose::Apply, &[started("r2"), finished()]).await;
    bob.settle().await.unwrap();
    let before = numbered(&place.texts());
    let error = asleep.await.unwrap().err().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(3600));
    insta::assert_snapshot!(chain(&error), @"another process has taken this platform over: bob@ci (process 7), since 2026-01-01T00:00:35Z (epoch 2)");
    assert_eq!(numbered(&place.texts()), before);
    insta::assert_snapshot!(before, @r"
    3 epoch 1 ada 1
    4 epoch 2 epochOpened
    8 epoch 2 runFinished
    ");
    // Nor does it disturb him by letting go.
    ada.release().await.unwrap();
    his = bob.go_on(&run_id("r3"));
    his.append(&note("bob 2")).await.unwrap();
}

/// The worst of it: the write was done, its answer lost, the writer asleep, its record put away by others.
/// Were it to write again, it would believe that nobody had come.
#[tokio::test(start_paused = true)]
async fn a_holder_that_slept_over_a_lost_answer_is_not_fooled() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let began = Instant::now();
    let wakes_at_ms = Arc::new(AtomicU64::new(0));
    let loses = Arc::new(AtomicBool::new(false));
    let hook = (wakes_at_ms.clone(), loses.clone());
    let hers = place.through(move |call| {
        let (wakes_at_ms, loses) = &hook;
        if matches!(call, Call::Write(..)) && loses.swap(false, Ordering::SeqCst) {
            wakes_at_ms.store(3_600_000, Ordering::SeqCst);
            return Turn::with(Answer::Lost);
        }
        let wakes_at = Duration::from_millis(wakes_at_ms.load(Ordering::SeqCst));
        Turn::after(wakes_at.saturating_sub(began.elapsed()))
    });
    let ada = locked(&over(&hers), &taker("ada@laptop", "a", &clock)).await;
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    loses.store(true, Ordering::SeqCst);
    let asleep = tokio::spawn(async move {
        let first = journal.append(&note("ada 1")).await.is_ok();
        let second = journal.append(&note("ada 2")).await;
        (first, chain(&second.unwrap_err()))
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let store = over(&place);
    let bob = locked(&store, &taker("bob@ci", "b", &clock)).await;
    let mut his = bob.go_on(&run_id("r1"));
    his.append(&finished()).await.unwrap();
    bob.settle().await.unwrap();
    begin(&bob, "r2", Purpose::Apply, &[started("r2"), finished()]).await;
    bob.settle().await.unwrap();
    // The record was written before Bob came, and he has seen it; but she must not act on it any more.
    let (first, second) = asleep.await.unwrap();
    let records = store.run(&run_id("r1")).await.unwrap().records;
    insta::assert_snapshot!(
        format!("first: {first}\nsecond: {second}\n{}", words(&records).join(", ")),
        @r"
    first: false
    second: another process has taken this platform over: bob@ci (process 7), since 2026-01-01T00:00:36Z (epoch 2)
    runStarted, ada 1, runFinished
    "
    );
}

/// Nor by a record that it gave up, that was written all the same, and put away by others: its place is free.
#[tokio::test(start_paused = true)]
async fn a_record_that_was_given_up_keeps_its_place() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new().stopped());
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = cut.clone();
    let hers = place.through(move |call| match call {
        _ if !is_cut.load(Ordering::SeqCst) => Turn::well(),
        Call::Write(..) => Turn::with(Answer::Lost),
        _ => Turn::with(Answer::Refused),
    });
    let ada = locked(&over(&hers), &taker("ada@laptop", "a", &clock)).await;
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    cut.store(true, Ordering::SeqCst);
    journal.append(&note("ada 1")).await.unwrap_err();
    let store = over(&place);
    let bob = locked(&store, &taker("bob@ci", "b", &TestClock::new())).await;
    bob.go_on(&run_id("r1")).append(&finished()).await.unwrap();
    bob.settle().await.unwrap();
    begin(&bob, "r2", Purpose::Apply, &[started("r2")]).await;
    cut.store(false, Ordering::SeqCst);
    insta::assert_snapshot!(chain(&journal.append(&note("ada 2")).await.unwrap_err()), @"another process has taken this platform over: bob@ci (process 7), since 2026-01-01T00:00:35Z (epoch 2)");
    let records = store.run(&run_id("r1")).await.unwrap().records;
    assert_eq!(words(&records), ["runStarted", "ada 1", "runFinished"]);
}

/// Between two newcomers, the one that got the lease first falls asleep before it opens its epoch.
#[tokio::test(start_paused = true)]
async fn a_taker_that_slept_before_it_began_is_too_late() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let began = Instant::now();
    let hers = place.through(move |call| match call {
        Call::Write(name, _) if name.starts_with("journal/") => {
            Turn::after(Duration::from_secs(500).saturating_sub(began.elapsed()))
        }
        _ => Turn::well(),
    });
    let ada = taker("ada@laptop", "a", &clock);
    let asleep = tokio::spawn(async move { lock(&over(&hers), &ada).await.0.err().unwrap() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let store = over(&place);
    let bob = locked(&store, &taker("bob@ci", "b", &clock)).await;
    let mut journal = begin(&bob, "r1", Purpose::Apply, &[started("r1")]).await;
    insta::assert_snapshot!(asleep.await.unwrap(), @"another landfall process is changing this platform: bob@ci (process 7), since 2026-01-01T00:00:36Z");
    journal.append(&note("bob")).await.unwrap();
    insta::assert_snapshot!(numbered(&place.texts()), @r"
    1 epoch 2 epochOpened
    2 epoch 2 runStarted
    3 epoch 2 bob
    ");
}

/// A holder whose clock stands still believes in its lease for ever. It finishes its run and puts it away just
/// while a newcomer opens its epoch, at a number that has become free.
#[tokio::test(start_paused = true)]
async fn an_epoch_is_not_opened_where_records_were_put_away() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock.clone().stopped())).await;
    let mut hers = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    let began = Instant::now();
    let his = place.through(move |call| match call {
        Call::Write(name, _) if name.starts_with("journal/") => {
            Turn::after(Duration::from_secs(60).saturating_sub(began.elapsed()))
        }
        _ => Turn::well(),
    });
    let bob = taker("bob@ci", "b", &clock);
    let opening = tokio::spawn(async move { locked(&over(&his), &bob).await });
    tokio::time::sleep(Duration::from_secs(50)).await;
    for n in 1..5 {
        hers.append(&note(&format!("ada {n}"))).await.unwrap();
    }
    hers.append(&finished()).await.unwrap();
    ada.settle().await.unwrap();
    let bob = opening.await.unwrap();
    begin(&bob, "r2", Purpose::Apply, &[started("r2")]).await;
    insta::assert_snapshot!(chain(&hers.append(&note("ada 5")).await.unwrap_err()), @"another process has taken this platform over: bob@ci (process 7), since 2026-01-01T00:00:35Z (epoch 2)");
    assert_eq!(store.last_run().await.unwrap().unwrap().run.0, "r2");
    insta::assert_snapshot!(numbered(&place.texts()), @r"
    7 epoch 1 runFinished
    8 epoch 2 epochOpened
    9 epoch 2 runStarted
    ");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_stops_until_it_has_looked_again() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = cut.clone();
    let hers = place.through(move |_| {
        if is_cut.load(Ordering::SeqCst) {
            Turn::with(Answer::Refused)
        } else {
            Turn::well()
        }
    });
    let ada = locked(&over(&hers), &taker("ada@laptop", "a", &clock)).await;
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    cut.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(31)).await;
    let error = journal.append(&note("lost")).await.unwrap_err();
    insta::assert_snapshot!(chain(&error), @"could not write the journal memory/journal: could not read memory/lease.json: the place could not be reached");
    // Nobody came meanwhile: it goes on.
    cut.store(false, Ordering::SeqCst);
    journal.append(&note("ada 1")).await.unwrap();
    insta::assert_snapshot!(numbered(&place.texts()), @r"
    1 epoch 1 epochOpened
    2 epoch 1 runStarted
    3 epoch 1 ada 1
    ");
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_not_written_twice() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let count = AtomicU64::new(0);
    // Every second write is done but not answered; every fifth arrives later.
    let hers = place.through(move |call| match call {
        Call::Write(..) => match count.fetch_add(1, Ordering::SeqCst) {
            n if n % 5 == 4 => Turn::with(Answer::LostAndLate(Duration::from_secs(3))),
            n if n % 2 == 1 => Turn::with(Answer::Lost),
            _ => Turn::well(),
        },
        _ => Turn::well(),
    });
    let store = over(&hers);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[]).await;
    for n in 0..20 {
        journal.append(&note(&format!("{n}"))).await.unwrap();
    }
    let records = store.run(&run_id("r1")).await.unwrap().records;
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(words(&records), expected);
    ada.settle().await.unwrap();
    ada.release().await.unwrap();
    locked(&store, &taker("bob@ci", "b", &clock)).await;
}

#[tokio::test(start_paused = true)]
async fn readers_never_wait() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[started("r1"), note("1")]).await;
    // Each time a reader lists, the holder has just finished a run and put everything away.
    let began = Instant::now();
    let reading = store.clone();
    let reader = tokio::spawn(async move {
        let mut told = Vec::new();
        for _ in 0..50 {
            reading.inventory().await.unwrap();
            let last = reading.last_run().await.unwrap().unwrap();
            told.push((last.run.0.clone(), last.records.len()));
            tokio::task::yield_now().await;
        }
        told
    });
    for n in 2..40 {
        journal.append(&finished()).await.unwrap();
        ada.settle().await.unwrap();
        let run = format!("r{n}");
        journal = begin(&ada, &run, Purpose::Apply, &[started(&run), note("1")]).await;
        tokio::task::yield_now().await;
    }
    let told = reader.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(
        told.iter().all(|(_, records)| (1..=3).contains(records)),
        "{told:?}"
    );
    assert!(told.first() != told.last(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_removed_does_not_bring_epochs_back() {
    let (place, clock) = (MemoryPlace::default(), TestClock::new());
    let store = over(&place);
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let mut hers = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    place.remove("lease.json").await.unwrap();
    let bob = locked(&store, &taker("bob@ci", "b", &clock)).await;
    assert_eq!(bob.epoch(), 2);
    insta::assert_snapshot!(chain(&hers.append(&note("ada")).await.unwrap_err()), @"another process has taken this platform over: bob@ci (process 7), since 2026-01-01T00:00:00Z (epoch 2)");
    assert!(names(&place.texts()).contains("lease.json"));
}
