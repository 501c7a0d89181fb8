//! One process of one person: takes the platform, goes on with what was left or begins anew, and lets go. It
//! may die, sleep, or lose answers on the way.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use landfall_model::id::RunId;
use landfall_model::journal::Entry;
use landfall_model::leftover::Found;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_model::provider::Outcome;
use landfall_model::wanted::Wanted;
use landfall_runner::{Clock, Ended, Event, JournalError, Providers, Watcher};
use landfall_session::{Session, Steering};
use landfall_sim::{VirtualClock, World};
use landfall_store::{Answer, Call, Holder, MemoryPlace, Store, Taker, Turn};
use tokio::sync::{Notify, watch};

use crate::trouble::Fate;

/// What all processes of one session share.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) providers: Providers,
    pub(crate) memory: MemoryPlace,
    pub(crate) lost_answers: u8,
    pub(crate) rng: Mutex<Rng>,
    /// How many processes there were: also what makes names differ.
    pub(crate) count: AtomicU64,
    /// What the journal claimed and the world denied at that moment.
    pub(crate) denied: Arc<Mutex<Vec<String>>>,
    /// What happened, for the story of a seed.
    pub(crate) story: Arc<Mutex<Vec<String>>>,
    /// Whether nothing is made to go wrong.
    pub(crate) quiet: bool,
    /// Whether volumes are made to outlive their claims.
    pub(crate) volumes_left: bool,
    /// Whether people interfere by hand, so that the world may deny what was true a moment ago.
    pub(crate) interfered: bool,
    /// How long taking the platform took after its holder had died, in milliseconds.
    pub(crate) takeovers: Mutex<Vec<u64>>,
    /// When the last process died while it held the platform.
    pub(crate) died_at: Mutex<Option<u64>>,
}

/// What a process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Apply,
    Destroy,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Exit {
    /// Its work is done.
    Succeeded,
    /// Steps failed; it said why.
    Failed(Vec<String>),
    /// Somebody else is at work.
    Locked,
    /// It could not go on, and said why.
    Stopped(String),
    /// Another process took over while it was away.
    Superseded(String),
    Died,
    /// It did what must not be.
    Wrong(String),
}

/// One process.
struct Life {
    fate: Fate,
    calls: AtomicUsize,
    asleep_until: AtomicU64,
    napped: AtomicBool,
    /// Whether it got the platform.
    holds: AtomicBool,
    died: Notify,
}

impl Stage {
    pub(crate) fn tell(&self, text: impl Into<String>) {
        let at = self.clock.millis() / 1000;
        let line = format!("{:>3}:{:02} {}", at / 60, at % 60, text.into());
        self.story.lock().expect("nobody panics while telling").push(line);
    }

    fn session(&self, wanted: &Wanted, place: MemoryPlace, name: u64) -> Session {
        let count = AtomicU64::new(0);
        Session {
            wanted: wanted.clone(),
            providers: self.providers.clone(),
            clock: self.clock.clone(),
            store: Store::over(Arc::new(place)),
            unique: Arc::new(move || format!("p{name}n{}", count.fetch_add(1, Ordering::SeqCst))),
            usually: Arc::new(landfall_sim::usually_ms),
        }
    }

    /// A session that only looks.
    pub(crate) fn observer(&self, wanted: &Wanted) -> Session {
        self.session(wanted, self.memory.clone(), 0)
    }

    /// Runs one process from its start to its end.
    pub(crate) async fn process(&self, wanted: &Wanted, work: Work, fate: Fate) -> Exit {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let name = format!("p{number}");
        self.tell(format!("{name} starts: {work:?}, {fate:?}"));
        let life = Arc::new(Life {
            fate,
            calls: AtomicUsize::new(0),
            asleep_until: AtomicU64::new(0),
            napped: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            died: Notify::new(),
        });
        let session = self.session(wanted, self.place_of(&life), number);
        let asked = Arc::new(Notify::new());
        let began = self.clock.millis();
        let death = async {
            match fate {
                Fate::DiesAfter { millis } => self.clock.sleep(Duration::from_millis(millis)).await,
                _ => life.died.notified().await,
            }
        };
        let exit = tokio::select! {
            biased;
            () = death => Exit::Died,
            exit = self.work(&session, work, &name, &asked, &life) => exit,
            () = self.renew_when(&asked) => unreachable!("credentials are renewed for as long as the process lives"),
        };
        if exit == Exit::Died && life.holds.load(Ordering::SeqCst) {
            *self.died_at.lock().expect("nobody panics while dying") = Some(self.clock.millis());
        }
        let took = (self.clock.millis() - began) / 1000;
        self.tell(format!("{name} ends after {took} s: {exit:?}"));
        match exit {
            Exit::Superseded(why) if !life.napped.load(Ordering::SeqCst) && self.lost_answers == 0 => {
                Exit::Wrong(format!("{name} was awake and held the platform, and yet: {why}"))
            }
            exit => exit,
        }
    }

    /// The place of records as this process sees it.
    fn place_of(&self, life: &Arc<Life>) -> MemoryPlace {
        let (life, clock) = (life.clone(), self.clock.clone());
        let lost = self.lost_answers;
        let rng = Mutex::new(self.rng.lock().expect("nobody panics while drawing").fork());
        self.memory.through(move |call| {
            let number = life.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let now = clock.millis();
            match life.fate {
                Fate::DiesAtCall(at) if number >= at => {
                    life.died.notify_one();
                    return Turn::after(Duration::from_secs(86_400 * 365));
                }
                Fate::Naps { at_call, for_ms } if number == at_call => {
                    life.asleep_until.store(now + for_ms, Ordering::SeqCst);
                    life.napped.store(true, Ordering::SeqCst);
                }
                _ => {}
            }
            let asleep = life.asleep_until.load(Ordering::SeqCst).saturating_sub(now);
            let mut rng = rng.lock().expect("nobody panics while drawing");
            let is_lost = lost > 0 && matches!(call, Call::Write(..)) && rng.u8(..100) < lost;
            Turn {
                arrives_after: Duration::from_millis(asleep + 20),
                answer: if is_lost { Answer::Lost } else { Answer::Comes },
            }
        })
    }

    async fn renew_when(&self, asked: &Notify) {
        loop {
            asked.notified().await;
            // Whoever was asked looks again for a while: what was renewed may expire at once.
            for _ in 0..10 {
                self.clock.sleep(Duration::from_secs(60)).await;
                self.world.renew_credentials();
            }
        }
    }

    async fn work(
        &self,
        session: &Session,
        work: Work,
        name: &str,
        asked: &Arc<Notify>,
        life: &Life,
    ) -> Exit {
        let taker = Taker {
            holder: Holder {
                who: format!("{name}@example"),
                machine: name.to_owned(),
                pid: 1,
            },
            nonce: name.to_owned(),
            clock: self.clock.clone(),
        };
        let began = self.clock.millis();
        let lock = match session.store.lock(&taker, &|_| {}).await {
            Ok(lock) => lock,
            Err(landfall_store::Error::Locked { .. }) => return Exit::Locked,
            Err(error) => return stopped(&error.into()),
        };
        life.holds.store(true, Ordering::SeqCst);
        let awake = !life.napped.load(Ordering::SeqCst) && self.lost_answers == 0;
        if let Some(died) = self
            .died_at
            .lock()
            .expect("nobody panics while dying")
            .take()
            .filter(|_| awake)
        {
            // Nobody can take over before somebody comes.
            let after = self.clock.millis() - died.max(began);
            self.takeovers
                .lock()
                .expect("nobody panics while taking over")
                .push(after);
        }
        if let Err(error) = lock.settle().await {
            return stopped(&error.into());
        }
        let (_go_on, stop) = watch::channel(false);
        let steering = self.steering(name, asked.clone(), stop);
        let exit = match work {
            Work::Apply => self.apply(session, &lock, &steering).await,
            Work::Destroy => self.destroy(session, &lock, &steering).await,
        };
        match lock.release().await {
            Ok(()) => exit,
            Err(error) => stopped(&error.into()),
        }
    }

    async fn apply(&self, session: &Session, lock: &landfall_store::Lock, steering: &Steering) -> Exit {
        let done = async {
            match session.store.unfinished().await? {
                Some(past) if past.plan.purpose == Purpose::Apply => {
                    session.go_on(lock, past, steering).await
                }
                _ => {
                    let plan = session.plan().await?;
                    session.run(lock, &plan, steering).await
                }
            }
        };
        match done.await {
            Ok(done) => self.ended(&done),
            Err(error) => stopped(&error),
        }
    }

    async fn destroy(&self, session: &Session, lock: &landfall_store::Lock, steering: &Steering) -> Exit {
        let done = async {
            match session.store.unfinished().await? {
                Some(past) if past.plan.purpose == Purpose::Destroy => {
                    session.go_on_destroying(lock, past, true, steering).await
                }
                _ => {
                    let (plan, _) = session.rehearse(true).await?;
                    session.destroy(lock, &plan, true, steering).await
                }
            }
        };
        let teardown = match done.await {
            Ok(teardown) => teardown,
            Err(error) => return stopped(&error),
        };
        match &teardown.certificate {
            // When nothing goes wrong, nobody has to be given up.
            Some(certificate) if self.quiet && !certificate.remarks.is_empty() => Exit::Wrong(format!(
                "nothing was made to go wrong, and yet: {}",
                certificate.remarks.join("; ")
            )),
            Some(certificate) if self.quiet && certificate.swept.iter().any(has_a_keeper) => {
                Exit::Wrong(format!(
                    "nothing was made to go wrong, and yet something was swept whose controller lived: {:?}",
                    certificate.swept
                ))
            }
            Some(_) if teardown.is_clean() => Exit::Succeeded,
            Some(certificate) => {
                let mut failures: Vec<String> = teardown
                    .runs
                    .iter()
                    .flat_map(|done| match self.ended(done) {
                        Exit::Failed(failures) => failures,
                        Exit::Wrong(why) => vec![format!("WRONG {why}")],
                        _ => Vec::new(),
                    })
                    .collect();
                failures.push(format!(
                    "still there: {:?} {:?}",
                    certificate.standing, certificate.found
                ));
                Exit::Failed(failures)
            }
            None => Exit::Stopped("it was asked to stop".to_owned()),
        }
    }

    /// How a run ended; a failure without a cause or a way out is wrong.
    fn ended(&self, done: &landfall_session::Done) -> Exit {
        if done.ended == Ended::Succeeded {
            return Exit::Succeeded;
        }
        let mut failures = Vec::new();
        for record in &done.records {
            if let Entry::StepFailed { step, failure, .. } = &record.entry {
                if failure.summary.is_empty() || failure.way_out.as_deref().is_none_or(str::is_empty) {
                    return Exit::Wrong(format!("{step} failed without a way out: {failure:?}"));
                }
                let cause = failure
                    .cause
                    .as_ref()
                    .map(|cause| format!("{}: {}", cause.resource, cause.reason));
                failures.push(format!(
                    "{step}: {} ({})",
                    failure.summary,
                    cause.unwrap_or_default()
                ));
            }
        }
        if done.ended == Ended::Failed && failures.is_empty() {
            return Exit::Wrong("a run failed and no step did".to_owned());
        }
        Exit::Failed(failures)
    }

    /// Watches a run: asks for new credentials when it pauses, and holds what it claims against the world.
    fn steering(&self, name: &str, asked: Arc<Notify>, stop: watch::Receiver<bool>) -> Steering {
        let (world, denied, interfered) = (self.world.clone(), self.denied.clone(), self.interfered);
        let (story, clock, name) = (self.story.clone(), self.clock.clone(), name.to_owned());
        Steering {
            watcher: Arc::new(move |plan: &Plan| {
                let plan = plan.clone();
                let (world, denied, asked) = (world.clone(), denied.clone(), asked.clone());
                let (story, clock, name) = (story.clone(), clock.clone(), name.clone());
                let watcher = move |event: &Event| {
                    if matches!(event, Event::Paused { .. }) {
                        asked.notify_one();
                    }
                    let Event::Recorded(entry) = event else { return };
                    let at = clock.millis() / 1000;
                    let line = format!("{:>3}:{:02} {name} {}", at / 60, at % 60, told(entry));
                    story.lock().expect("nobody panics while telling").push(line);
                    if matches!(**entry, Entry::Paused { .. }) {
                        asked.notify_one();
                    }
                    if !interfered && let Some(lie) = lie(&plan, entry, &world) {
                        denied.lock().expect("nobody panics while judging").push(lie);
                    }
                };
                Arc::new(watcher) as Arc<dyn Watcher>
            }),
            stop,
            at_once: 10,
        }
    }
}

/// Whether a controller takes such a thing away itself, when it is asked by removing what it is for.
fn has_a_keeper(found: &Found) -> bool {
    ["LoadBalancer", "TargetGroup", "Instance", "Volume"]
        .iter()
        .any(|kind| found.kind.ends_with(kind))
}

fn told(entry: &Entry) -> String {
    match entry {
        Entry::RunStarted {
            run: RunId(run),
            purpose,
            ..
        } => format!("run {run} for {purpose:?}"),
        Entry::StepStarted { step, .. } => format!("starts {step}"),
        Entry::StepDone { step, outcome, .. } => format!("{step} {outcome:?}"),
        Entry::StepFailed { step, failure, .. } => {
            format!("{step} FAILED {} {:?}", failure.summary, failure.cause)
        }
        Entry::Sweeping { leftover, .. } => {
            format!("sweeps {} {} ({})", leftover.kind, leftover.id, leftover.because)
        }
        Entry::SweptAway { leftover, .. } => format!("swept {}", leftover.id),
        other => format!("{other:?}"),
    }
}

/// What the journal claims of a stack that the world denies.
fn lie(plan: &Plan, entry: &Entry, world: &World) -> Option<String> {
    let Entry::StepDone { step, outcome, .. } = entry else {
        return None;
    };
    let planned = plan.step(step)?;
    if planned.kind != landfall_model::definition::StepKind::Stack || planned.action == Action::Sweep {
        return None;
    }
    let name = format!("{}-{}-{}", plan.wanted.facts.name, step.component(), step.step());
    let stacks = world.stacks();
    let stack = stacks.iter().find(|stack| stack.name == name);
    let status = stack.map_or("gone", |stack| stack.status.as_str());
    let holds = match outcome {
        Outcome::Created | Outcome::Updated | Outcome::Unchanged => {
            matches!(
                status,
                "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE"
            )
        }
        Outcome::Removed => status == "gone",
        _ => true,
    };
    (!holds)
        .then(|| format!("the journal says that {step} was {outcome:?}, but the stack {name} is {status}"))
}

/// Why a session could not go on.
fn stopped(error: &landfall_session::Error) -> Exit {
    use landfall_session::Error;
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    match error {
        Error::Store(landfall_store::Error::Superseded { .. }) => Exit::Superseded(text),
        Error::Stop(landfall_runner::Stop::Journal(JournalError::Fenced { .. })) => Exit::Superseded(text),
        Error::OutOfOrder { .. } => Exit::Wrong(text),
        Error::Stop(landfall_runner::Stop::OutOfOrder(_)) => Exit::Wrong(text),
        _ => Exit::Stopped(text),
    }
}
