//! How long a platform takes to stand and to go, beside what is the least it can take.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::journal::Entry;
use landfall_model::plan::{Action, Plan};
use landfall_runner::{Event, Provider, Watcher};
use landfall_session::{Done, Session, Steering};
use landfall_sim::{VirtualClock, World, WorldConfig, demo};
use landfall_store::{Holder, MemoryPlace, Store, Taker};
use tokio::sync::watch;

use crate::Platform;
use crate::readied::Readied;

/// What a platform took, in virtual time.
#[derive(Clone, Debug)]
pub struct Makespan {
    /// To stand.
    pub apply: Span,
    /// To go.
    pub destroy: Span,
    /// What was predicted for it to stand, before anything was timed, in milliseconds.
    pub forecast_ms: u64,
    /// Leftovers that were swept.
    pub swept: usize,
    /// Whether nothing was left.
    pub clean: bool,
    /// Resources that the stacks of a new account get.
    pub resources: usize,
    /// For each step with objects, how long it took from its last object being ready until it was done, in milliseconds,
    /// the quickest first.
    pub noticed_ms: Vec<u64>,
    /// How long planning took, on this machine.
    pub planned_in: Duration,
}

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Steps that had something to do.
    pub steps: usize,
    /// What it took, in milliseconds.
    pub took_ms: u64,
    /// The steps that waited for each other the longest: the least it can take.
    pub at_least_ms: u64,
    /// All steps one after the other, as numbered folders are applied by hand.
    pub one_by_one_ms: u64,
}

/// Plays a platform there and back, nothing going wrong, with room for as many steps as are ready. `files`
/// makes the provider for steps that write files, from a folder that is there.
pub fn makespan(
    platform: &Platform,
    seed: u64,
    files: impl Fn(&Path) -> Arc<dyn Provider>,
    folder: &Path,
) -> Makespan {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system")
        .block_on(there_and_back(platform, seed, files(folder)))
}

async fn there_and_back(platform: &Platform, seed: u64, files: Arc<dyn Provider>) -> Makespan {
    let wanted = platform.read();
    let clock = Arc::new(VirtualClock::new());
    let world = World::new(
        WorldConfig {
            seed,
            repositories: [(demo::REPOSITORY.to_owned(), demo::repository())].into(),
            ..WorldConfig::new(&wanted.facts.account, &wanted.facts.region)
        },
        clock.clone(),
    );
    let session = Session {
        wanted,
        providers: landfall_sim::providers(&world)
            .with(StepKind::Files, files.clone())
            .with(StepKind::Entity, files),
        clock: clock.clone(),
        store: Store::over(Arc::new(MemoryPlace::default())),
        unique: Arc::new(|| "one".to_owned()),
        usually: Arc::new(landfall_sim::usually_ms),
    };
    let taker = Taker {
        holder: Holder {
            who: "bench".to_owned(),
            machine: "bench".to_owned(),
            pid: 1,
        },
        nonce: "bench".to_owned(),
        clock,
    };
    let (_go_on, stop) = watch::channel(false);
    let steering = Steering {
        watcher: Arc::new(|_: &Plan| Arc::new(|_: &Event| {}) as Arc<dyn Watcher>),
        stop,
        at_once: 1_000,
    };
    let lock = session
        .store
        .lock(&taker, &|_| {})
        .await
        .expect("nobody else is there");
    let began = Instant::now();
    let plan = session.plan().await.expect("a new account can be planned for");
    let planned_in = began.elapsed();
    let stacks = plan.steps.iter().filter(|step| step.kind == StepKind::Stack);
    let resources = stacks.map(|step| step.changes.len()).sum();
    let limits = session.providers.limits(steering.at_once);
    let forecast_ms = landfall_engine::schedule::forecast(&plan, &limits).takes_ms;
    let readied = Readied::of(&plan);
    let hearing = Steering {
        watcher: {
            let (readied, clock) = (readied.clone(), session.clock.clone());
            Arc::new(move |_: &Plan| {
                let (readied, clock) = (readied.clone(), clock.clone());
                Arc::new(move |event: &Event| readied.hear(event, clock.as_ref())) as Arc<dyn Watcher>
            })
        },
        stop: steering.stop.clone(),
        at_once: steering.at_once,
    };
    let applied = tokio::select! {
        applied = session.run(&lock, &plan, &hearing) => applied.expect("nothing goes wrong"),
        () = readied.look(&world, session.clock.as_ref()) => unreachable!("it looks for ever"),
    };
    let (plan, _) = session
        .rehearse(true)
        .await
        .expect("what stands can be looked at");
    let teardown = session
        .destroy(&lock, &plan, true, &steering)
        .await
        .expect("nothing goes wrong");
    let certificate = teardown.certificate.expect("nobody asked it to stop");
    Makespan {
        apply: span(&applied),
        destroy: teardown
            .runs
            .iter()
            .map(span)
            .fold(Span::default(), |all, one| Span {
                steps: all.steps + one.steps,
                took_ms: all.took_ms + one.took_ms,
                at_least_ms: all.at_least_ms + one.at_least_ms,
                one_by_one_ms: all.one_by_one_ms + one.one_by_one_ms,
            }),
        forecast_ms,
        swept: certificate.swept.len(),
        clean: certificate.clean && world.everything_standing().iter().all(|one| is_kept(one)),
        resources,
        noticed_ms: readied.took_ms(),
        planned_in,
    }
}

/// Whether something stands because a template says so: nobody meant it to go.
fn is_kept(standing: &str) -> bool {
    standing.contains("(kept by stack")
}

fn span(done: &Done) -> Span {
    let took: HashMap<&StepId, u64> = done
        .records
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::StepDone { step, took_ms, .. } | Entry::StepFailed { step, took_ms, .. } => {
                Some((step, *took_ms))
            }
            _ => None,
        })
        .collect();
    let mut ends: HashMap<&StepId, u64> = HashMap::new();
    for step in &done.plan.steps {
        let start = step
            .after
            .iter()
            .filter_map(|before| ends.get(before))
            .max()
            .copied()
            .unwrap_or(0);
        ends.insert(&step.id, start + took.get(&step.id).copied().unwrap_or(0));
    }
    Span {
        steps: done
            .plan
            .steps
            .iter()
            .filter(|step| step.action != Action::None)
            .count(),
        took_ms: done.took_ms,
        at_least_ms: ends.values().max().copied().unwrap_or(0),
        one_by_one_ms: took.values().sum(),
    }
}
