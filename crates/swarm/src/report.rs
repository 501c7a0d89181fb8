//! What an operator reads when a run failed: one platform in one simulated world, taken through the commands an
//! operator types, nothing dying on the way.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_model::StepId;
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{Plan, Purpose};
use landfall_model::provider::Failure;
use landfall_runner::{Clock, Ended, Event, Watcher};
use landfall_session::{Done, Session, Steering};
use landfall_sim::{Fault, VirtualClock, World, WorldConfig, demo};
use landfall_store::{Holder, MemoryPlace, Store, Taker};
use tokio::sync::{Notify, watch};

use crate::Platform;

/// A world, and the records of one platform in it.
pub struct Scene {
    /// The world.
    pub world: Arc<World>,
    clock: Arc<VirtualClock>,
    memory: MemoryPlace,
    count: Arc<AtomicU64>,
}

/// What a command came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whether everything it was for is done.
    pub succeeded: bool,
    /// What failed in its last run.
    pub failures: Vec<(StepId, Failure)>,
    /// What is printed about that.
    pub report: String,
    /// What was said while it waited, each once, in the order it was first said.
    pub said: Vec<String>,
    /// Why there was no run at all.
    pub refused: Option<String>,
}

impl Scene {
    /// An empty account.
    pub fn new(seed: u64) -> Scene {
        let clock = Arc::new(VirtualClock::new());
        let config = WorldConfig {
            seed,
            repositories: [(demo::REPOSITORY.to_owned(), demo::repository())].into(),
            ..WorldConfig::new(crate::platform::ACCOUNT, crate::platform::REGION)
        };
        Scene {
            world: World::new(config, clock.clone()),
            clock,
            memory: MemoryPlace::default(),
            count: Arc::default(),
        }
    }

    /// Lets these things go wrong. What comes at a moment of its own comes that long after now.
    pub fn befall(&self, faults: impl IntoIterator<Item = Fault>) {
        let now = self.clock.millis();
        for fault in faults {
            self.world.add_fault(crate::later(fault, now));
        }
    }

    /// Lets time pass.
    pub async fn wait(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// `landfall apply`.
    pub async fn apply(&self, platform: &Platform) -> Outcome {
        self.command(platform, Purpose::Apply).await
    }

    /// `landfall destroy`, things that hold data too.
    pub async fn destroy(&self, platform: &Platform) -> Outcome {
        self.command(platform, Purpose::Destroy).await
    }

    async fn command(&self, platform: &Platform, purpose: Purpose) -> Outcome {
        let count = self.count.clone();
        let session = Session {
            wanted: platform.read(),
            providers: landfall_sim::providers(&self.world),
            clock: self.clock.clone(),
            store: Store::over(Arc::new(self.memory.clone())),
            unique: Arc::new(move || format!("n{}", count.fetch_add(1, Ordering::SeqCst))),
            usually: Arc::new(landfall_sim::usually_ms),
        };
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let expired = Arc::new(Notify::new());
        let renewed = async {
            loop {
                expired.notified().await;
                self.clock.sleep(Duration::from_secs(60)).await;
                self.world.renew_credentials();
            }
        };
        let (_go_on, stop) = watch::channel(false);
        let listener = listener(&said, &expired);
        let steering = Steering {
            watcher: Arc::new(move |_: &Plan| listener.clone()),
            stop,
            at_once: 10,
        };
        let mut outcome = tokio::select! {
            outcome = self.carry_out(&session, purpose, &steering) => outcome.unwrap_or_else(|error| Outcome {
                refused: Some(chain(&error)),
                ..Outcome::default()
            }),
            () = renewed => unreachable!("credentials are renewed for as long as the command lives"),
        };
        outcome.said = std::mem::take(&mut *said.lock().expect("nobody panics while listening"));
        outcome
    }

    async fn carry_out(
        &self,
        session: &Session,
        purpose: Purpose,
        steering: &Steering,
    ) -> Result<Outcome, landfall_session::Error> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let taker = Taker {
            holder: Holder {
                who: "you@example".to_owned(),
                machine: "here".to_owned(),
                pid: 1,
            },
            nonce: format!("taker{number}"),
            clock: self.clock.clone(),
        };
        let lock = session.store.lock(&taker, &|_| {}).await?;
        lock.settle().await?;
        let mut clean = true;
        let runs: Vec<Done> = if purpose == Purpose::Apply {
            let plan = session.plan().await?;
            vec![session.run(&lock, &plan, steering).await?]
        } else {
            let (plan, _) = session.rehearse(true).await?;
            let teardown = session.destroy(&lock, &plan, true, steering).await?;
            clean = teardown.is_clean();
            let mut runs = teardown.runs;
            if clean {
                // What failed on the way was made good by a later round.
                runs.retain(|run| run.ended == Ended::Succeeded);
            }
            runs
        };
        lock.release().await?;
        let last = runs.last();
        let records = last.map(|run| run.records.as_slice()).unwrap_or_default();
        Ok(Outcome {
            succeeded: clean && last.is_none_or(|run| run.ended == Ended::Succeeded),
            failures: records
                .iter()
                .filter_map(|record| match &record.entry {
                    Entry::StepFailed { step, failure, .. } => Some((step.clone(), failure.clone())),
                    _ => None,
                })
                .collect(),
            report: failures(records),
            ..Outcome::default()
        })
    }
}

/// Notes what is said, and asks for new credentials when a run pauses for them.
fn listener(said: &Arc<Mutex<Vec<String>>>, expired: &Arc<Notify>) -> Arc<dyn Watcher> {
    let (said, expired) = (said.clone(), expired.clone());
    Arc::new(move |event: &Event| {
        let line = match event {
            Event::Progress { step, message, .. } => format!("{step}: {message}"),
            Event::Recorded(entry) => match &**entry {
                Entry::Paused { reason } => {
                    expired.notify_one();
                    format!("paused: {reason}")
                }
                _ => return,
            },
            Event::Paused { reason } => {
                expired.notify_one();
                format!("paused: {reason}")
            }
            Event::Stopping { .. } => return,
        };
        let mut said = said.lock().expect("nobody panics while listening");
        if !said.contains(&line) {
            said.push(line);
        }
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Every failure with its first cause and the next thing to do, laid out as `landfall` prints it, without colours.
pub fn failures(records: &[Record]) -> String {
    let mut text = String::new();
    let mut skipped = Vec::new();
    for record in records {
        match &record.entry {
            Entry::StepFailed { step, failure, .. } => {
                let _ = writeln!(text, "✗ {step}: {}", failure.summary);
                if let Some(cause) = &failure.cause {
                    let kind = if cause.kind.is_empty() {
                        String::new()
                    } else {
                        format!(" ({})", cause.kind)
                    };
                    let _ = writeln!(text, "    began with  {}{kind} {}", cause.resource, cause.state);
                    let _ = writeln!(text, "    because     {}", cause.reason);
                }
                if let Some(way_out) = &failure.way_out {
                    let _ = writeln!(text, "    what to do  {way_out}");
                }
            }
            Entry::StepSkipped { step, .. } => skipped.push(step.to_string()),
            _ => {}
        }
    }
    if !skipped.is_empty() {
        let _ = writeln!(text, "    not started {}", skipped.join(", "));
    }
    text
}
