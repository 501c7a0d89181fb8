//! A folder on a real disk, with real processes' locks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_model::plan::Purpose;
use landfall_runner::{Journal as _, Place as _, SystemClock, When, Written};
use landfall_store::{FolderPlace, Holder, Store, Taker};

use crate::world::{begin, finished, lock, note, started};

fn taker(who: &str, nonce: &str) -> Taker {
    Taker {
        holder: Holder {
            who: who.to_owned(),
            machine: who.split('@').next_back().unwrap().to_owned(),
            pid: 7,
        },
        nonce: nonce.to_owned(),
        clock: Arc::new(SystemClock),
    }
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::folder(folder.path().join("records"));
    let held = lock(&store, &taker("ada@laptop", "a")).await.0.unwrap();
    let began = Instant::now();
    let (refused, said) = lock(&store, &taker("bob@laptop", "b")).await;
    let text = refused.err().unwrap().to_string();
    let (told, since) = text.split_once(", since ").unwrap();
    insta::assert_snapshot!(told, @"another landfall process is changing this platform: ada@laptop (process 7)");
    assert!(since.starts_with("20"), "{since}");
    assert_eq!(said, Vec::<String>::new());
    // Dropped like a process that died: the next one need not wait, since this machine can tell.
    drop(held);
    let (next, said) = lock(&store, &taker("bob@laptop", "b")).await;
    assert_eq!((next.unwrap().epoch(), said.len()), (2, 0));
    assert!(began.elapsed() < Duration::from_secs(2));
    let names = FolderPlace::new(store.name()).list("", "").await.unwrap();
    assert_eq!(
        names,
        ["journal/0000000001.json", "journal/0000000002.json", "lease.json"]
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(store.name()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[tokio::test]
async fn reading_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::folder(folder.path().join("records"));
    assert_eq!(store.inventory().await.unwrap().owned, []);
    assert!(store.last_run().await.unwrap().is_none());
    assert!(!folder.path().join("records").exists());
}

/// Many writers at one name: of those that want the same thing, one gets it.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let place = FolderPlace::new(folder.path());
    let Written::Done(first) = place.write("n", b"0", When::Absent).await.unwrap() else {
        panic!("nothing was there");
    };
    let race = async |name: &'static str, when: When| {
        let writers = (0..8).map(|writer: u8| {
            let (place, when) = (place.clone(), when.clone());
            tokio::spawn(async move { place.write(name, &[b'a' + writer], when).await.unwrap() })
        });
        let mut won = 0;
        for writer in writers.collect::<Vec<_>>() {
            won += usize::from(matches!(writer.await.unwrap(), Written::Done(_)));
        }
        won
    };
    for _ in 0..20 {
        assert_eq!(race("fresh", When::Absent).await, 1);
        place.remove("fresh").await.unwrap();
    }
    assert_eq!(race("n", When::Is(first)).await, 1);
    assert_eq!(race("n", When::Absent).await, 0);
    let left = std::fs::read_dir(folder.path().join(".new")).unwrap().count();
    assert_eq!(left, 0, "nothing half written is left");
}

/// Prints what an append costs on this disk: `cargo test -p landfall-store -- --nocapture appends`.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_appends() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::folder(folder.path());
    let held = lock(&store, &taker("ada@laptop", "a")).await.0.unwrap();
    let mut journal = begin(&held, "r1", Purpose::Apply, &[started("r1")]).await;
    let mut times = Vec::new();
    for n in 0..100 {
        let began = Instant::now();
        journal.append(&note(&format!("{n}"))).await.unwrap();
        times.push(began.elapsed());
    }
    journal.append(&finished()).await.unwrap();
    times.sort();
    let began = Instant::now();
    held.settle().await.unwrap();
    println!(
        "append: median {:?}, 95 % {:?}, most {:?}; putting 103 records away: {:?}",
        times[50],
        times[95],
        times[99],
        began.elapsed()
    );
    assert_eq!(store.last_run().await.unwrap().unwrap().records.len(), 102);
}
