//! Several processes at one platform, with pauses, lost answers, late writes, deaths and takeovers in any
//! order. Whatever happens, the records come out whole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_model::journal::Entry;
use landfall_model::plan::Purpose;
use landfall_model::provider::Outcome;
use landfall_runner::Journal as _;
use landfall_store::{Answer, Call, Lock, MemoryPlace, PastRun, RunJournal, Store, Turn};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tokio::time::Instant;

use crate::world::{TestClock, done, finished, lock, locked, note, plan, run_id, started, taker, words};

/// What a process does next.
#[derive(Clone, Debug)]
enum Act {
    /// Adds a record.
    Append,
    /// Finishes its run and begins another.
    Finish,
    /// Does nothing for so many seconds.
    Wait(u64),
    /// Is frozen for so many seconds, in the middle of something: so many calls from now.
    Freeze(u64, u64),
    /// Its next call is answered like this.
    Fault(Answer),
    /// Dies so many milliseconds after it began to add a record.
    Die(u64),
    /// Lets go.
    Release,
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Lost),
        2 => Just(Answer::Refused),
        2 => (1_u64..90_000).prop_map(|late| Answer::LostAndLate(Duration::from_millis(late))),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => Just(Act::Append),
        2 => Just(Act::Finish),
        2 => (1_u64..40).prop_map(Act::Wait),
        2 => (0_u64..25, 1_u64..200).prop_map(|(calls, seconds)| Act::Freeze(calls, seconds)),
        4 => answers().prop_map(Act::Fault),
        1 => (0_u64..2_000).prop_map(Act::Die),
        1 => Just(Act::Release),
    ];
    proptest::collection::vec(act, 0..30)
}

/// Everything that is the same for all processes.
#[derive(Clone)]
struct Scene {
    place: MemoryPlace,
    began: Instant,
    acknowledged: Arc<Mutex<Vec<String>>>,
    names: Arc<AtomicU64>,
}

/// What happens to a process's calls.
struct Weather {
    wakes_at: Duration,
    /// When it freezes, in calls, and for how long.
    freezes: Option<(u64, Duration)>,
    faults: VecDeque<Answer>,
    /// Where its latencies come from.
    seed: u64,
}

impl Weather {
    fn turn(&mut self, now: Duration, call: Call<'_>) -> Turn {
        match &mut self.freezes {
            Some((0, time)) => {
                self.wakes_at = now + *time;
                self.freezes = None;
            }
            Some((calls, _)) => *calls -= 1,
            None => {}
        }
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Most calls are quick, one in eight takes up to a second.
        let dice = self.seed >> 33;
        let latency = Duration::from_millis(if dice.is_multiple_of(8) {
            dice / 8 % 1000
        } else {
            dice / 8 % 20
        });
        let answer = match call {
            Call::Write(..) | Call::Remove(_) => self.faults.pop_front(),
            Call::Read(_) | Call::List(_) => None,
        };
        Turn {
            arrives_after: self.wakes_at.saturating_sub(now) + latency,
            answer: answer.unwrap_or_default(),
        }
    }
}

/// One process, born anew each time it dies.
struct Process {
    scene: Scene,
    who: &'static str,
    store: Store,
    weather: Arc<Mutex<Weather>>,
    held: Option<(Lock, RunJournal)>,
}

impl Process {
    fn new(scene: &Scene, who: &'static str) -> Process {
        let weather = Arc::new(Mutex::new(Weather {
            wakes_at: Duration::ZERO,
            freezes: None,
            faults: VecDeque::new(),
            seed: scene.names.load(Ordering::SeqCst) * 31 + who.len() as u64,
        }));
        let (began, outside) = (scene.began, weather.clone());
        let place = scene
            .place
            .through(move |call| outside.lock().unwrap().turn(began.elapsed(), call));
        Process {
            scene: scene.clone(),
            who,
            store: Store::over(Arc::new(place)),
            weather,
            held: None,
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.who, self.scene.names.fetch_add(1, Ordering::SeqCst))
    }

    /// Takes the platform and goes on with what it finds, or begins something.
    async fn take(&mut self) -> Option<()> {
        let clock = TestClock::wrong_by(self.who.len() as u64 * 1_000_003);
        // One of them has a clock that stands still: it never notices how long it slept.
        let clock = if self.who.ends_with("three") {
            clock.stopped()
        } else {
            clock
        };
        let taker = taker(self.who, &self.name(), &clock);
        let lock = lock(&self.store, &taker).await.0.ok()?;
        let journal = match self.go_on(&lock).await {
            Some(journal) => journal,
            None => {
                let _ = lock.release().await;
                return None;
            }
        };
        self.held = Some((lock, journal));
        Some(())
    }

    async fn go_on(&self, lock: &Lock) -> Option<RunJournal> {
        lock.settle().await.ok()?;
        match self.store.unfinished().await.ok()? {
            Some(past) => Some(lock.go_on(&past.run)),
            None => self.begin(lock).await,
        }
    }

    async fn begin(&self, lock: &Lock) -> Option<RunJournal> {
        let run = self.name();
        let mut journal = lock.begin(&run_id(&run), &plan(Purpose::Apply)).await.ok()?;
        journal.append(&started(&run)).await.ok()?;
        Some(journal)
    }

    async fn append(&mut self) -> Option<()> {
        let text = self.name();
        let (_, journal) = self.held.as_mut()?;
        // Every third is one that the inventory counts.
        let n = self.scene.names.load(Ordering::SeqCst);
        if n.is_multiple_of(3) {
            journal.append(&done("net.vpc", Outcome::Created, n)).await.ok()?;
        }
        journal.append(&note(&text)).await.ok()?;
        self.scene.acknowledged.lock().unwrap().push(text);
        Some(())
    }

    async fn finish(&mut self) -> Option<()> {
        let (lock, mut journal) = self.held.take()?;
        journal.append(&finished()).await.ok()?;
        lock.settle().await.ok()?;
        let journal = self.begin(&lock).await?;
        self.held = Some((lock, journal));
        Some(())
    }

    async fn live(mut self, acts: Vec<Act>) {
        for act in acts {
            let needs = matches!(act, Act::Append | Act::Finish | Act::Die(_));
            if needs && self.held.is_none() && self.take().await.is_none() {
                tokio::time::sleep(Duration::from_secs(3)).await;
                continue;
            }
            let went_well = match act {
                Act::Append => self.append().await.is_some(),
                Act::Finish => self.finish().await.is_some(),
                Act::Wait(seconds) => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    true
                }
                Act::Freeze(calls, seconds) => {
                    self.weather.lock().unwrap().freezes = Some((calls, Duration::from_secs(seconds)));
                    true
                }
                Act::Fault(answer) => {
                    self.weather.lock().unwrap().faults.push_back(answer);
                    true
                }
                Act::Die(after) => {
                    let _ = tokio::time::timeout(Duration::from_millis(after), self.append()).await;
                    self.held = None;
                    self = Process::new(&self.scene, self.who);
                    true
                }
                Act::Release => {
                    if let Some((lock, _)) = self.held.take() {
                        let _ = lock.release().await;
                    }
                    true
                }
            };
            if !went_well && let Some((lock, _)) = self.held.take() {
                let _ = lock.release().await;
            }
        }
        if let Some((lock, _)) = self.held.take() {
            let _ = lock.release().await;
        }
    }
}

/// Reads slowly while others write and put away: what was acknowledged before is there, once.
async fn read_on(scene: Scene) {
    let count = AtomicU64::new(0);
    let slow = scene.place.through(move |_| {
        let calls = count.fetch_add(1, Ordering::SeqCst);
        Turn::after(Duration::from_millis(calls * 37 % 400))
    });
    let store = Store::over(Arc::new(slow));
    loop {
        tokio::time::sleep(Duration::from_secs(11)).await;
        let acknowledged = scene.acknowledged.lock().unwrap().clone();
        let inventory = store.inventory().await.expect("readers can always read");
        assert!(acknowledged.is_empty() || inventory.last_run.is_some());
        let runs = store.all_runs().await.expect("readers can always read");
        check_records(&acknowledged, &runs);
    }
}

/// What was acknowledged is there, once.
fn check_records(acknowledged: &[String], runs: &[PastRun]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for word in runs.iter().flat_map(|run| words(&run.records)) {
        *counts.entry(word).or_default() += 1;
    }
    for text in acknowledged {
        assert_eq!(
            counts.get(text),
            Some(&1),
            "{text} was acknowledged, and is there once"
        );
    }
}

/// Numbers follow each other, and no epoch comes after a higher one, in the order in which they were written.
fn check_history(place: &MemoryPlace) {
    let mut newest = (0, 0);
    let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for wrote in place.history() {
        let number = wrote
            .name
            .strip_prefix("journal/")
            .map(|name| name[..10].parse().unwrap());
        let (Some(number), Some(bytes)) = (number, wrote.bytes) else {
            continue;
        };
        // A late write may land where a record was put away; nobody reads there.
        if kept.insert(number, bytes.clone()).is_some() {
            continue;
        }
        let line: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let epoch = line["epoch"].as_u64().unwrap();
        assert_eq!(number, newest.0 + 1, "numbers have no gaps");
        assert!(
            epoch >= newest.1,
            "epoch {epoch} writes {number} after epoch {}",
            newest.1
        );
        newest = (number, epoch);
    }
}

async fn play(scripts: Vec<Vec<Act>>) {
    let scene = Scene {
        place: MemoryPlace::default(),
        began: Instant::now(),
        acknowledged: Arc::default(),
        names: Arc::default(),
    };
    let reading = tokio::spawn(read_on(scene.clone()));
    let processes = ["ada@one", "bob@three", "eve@eleven"];
    let lives = processes
        .into_iter()
        .zip(scripts)
        .map(|(who, acts)| tokio::spawn(Process::new(&scene, who).live(acts)));
    for life in lives.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(100_000), life)
            .await
            .expect("nobody waits for ever")
            .expect("nobody panics");
    }
    // What is late comes in.
    tokio::time::sleep(Duration::from_secs(100)).await;
    if reading.is_finished() {
        reading.await.expect("readers can always read");
    } else {
        reading.abort();
    }

    let store = Store::over(Arc::new(scene.place.clone()));
    let last = locked(&store, &taker("zoe@last", "last", &TestClock::new())).await;
    let inventory = last.settle().await.unwrap();
    check_history(&scene.place);
    let runs = store.all_runs().await.unwrap();
    check_records(&scene.acknowledged.lock().unwrap(), &runs);
    let records = runs.iter().flat_map(|run| &run.records);
    let timed = records
        .filter(|record| matches!(record.entry, Entry::StepDone { .. }))
        .count();
    let learned = inventory.durations.of("network/vpc:create").unwrap_or_default();
    assert_eq!(learned.count, timed as u64, "every record is folded in once");
}

/// How many stories are tried; more when asked, as with every other property test.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/it/seeds.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_one_writes_at_a_time(scripts in proptest::collection::vec(acts(), 2..=3)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(scripts));
    }
}
