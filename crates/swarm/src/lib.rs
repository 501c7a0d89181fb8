//! Thousands of platforms, each with its own troubles, from nothing to standing and back to nothing.
//!
//! A session is drawn from a seed: a platform, faults of the world, deaths and naps of processes, lost answers,
//! and other people who come by. It takes the way every command takes ([`landfall_session`]), in a simulated
//! cloud and in virtual time. In the end the platform stands as its file says, then nothing of it is left, and on
//! the way nothing was done twice, nothing went unrecorded, and no record claimed what the world denied.
//!
//! The proof is proven too: see [`landfall_model::planted::Bug`].

mod judge;
mod makespan;
mod platform;
mod process;
mod readied;
mod report;
mod trouble;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use landfall_model::definition::StepKind;
use landfall_model::planted::{self, Bug};
use landfall_model::wanted::Wanted;
use landfall_runner::{Clock as _, Provider};
use landfall_sim::{Fault, Target, VirtualClock, World, WorldConfig, demo};
use landfall_store::MemoryPlace;

pub use makespan::{Makespan, Span, makespan};
pub use platform::Platform;
pub use report::{Outcome, Scene, failures};
pub use trouble::{Fate, Troubles, Visitor};

use process::{Exit, Stage, Work};

/// How many processes may work on one goal before that counts as never getting there.
const ROUNDS: usize = 24;

/// How long a session may take in virtual time before that counts as never ending.
const LONGEST: Duration = Duration::from_secs(14 * 86_400);

/// What came of a session that went as it must.
#[derive(Clone, Debug, Default)]
pub struct Went {
    /// How long it took, in virtual milliseconds.
    pub virtual_ms: u64,
    /// How many processes worked on it.
    pub processes: u64,
    /// How many calls the world answered.
    pub calls: u64,
    /// How many leftovers were swept.
    pub swept: usize,
    /// Whether nothing was made to go wrong.
    pub quiet: bool,
    /// How long each takeover took after its holder had died, in milliseconds.
    pub takeovers_ms: Vec<u64>,
}

/// A session that did not.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed that brings it back.
    pub seed: u64,
    /// What is wrong.
    pub wrong: Vec<String>,
    /// What happened, a line each.
    pub story: Vec<String>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {} (again: `cargo xtask sim --seed {}`):\n  {}\n\n{}",
            self.seed,
            self.seed,
            self.wrong.join("\n  "),
            self.story.join("\n")
        )
    }
}

/// Plays the session of a seed, with a mistake planted or none. The same every time.
///
/// # Errors
/// What must not be.
pub fn play(seed: u64, bug: Option<Bug>) -> Result<Went, Box<Failed>> {
    planted::plant(bug);
    let result = in_virtual_time(async {
        let mut rng = Rng::with_seed(seed);
        let platform = Platform::draw(&mut rng);
        let wanted = platform.read();
        let troubles = Troubles::draw(&mut rng, &wanted);
        let changed = rng.bool().then(|| platform.changed(&mut rng).read());
        let drawn = Drawn {
            seed,
            wanted,
            changed,
            troubles,
            files: None,
        };
        session(drawn, rng).await
    });
    planted::plant(None);
    result
}

/// Plays a platform there and back with the troubles of a seed. `files` carries out its steps that write files,
/// when it has any.
///
/// # Errors
/// What must not be.
pub fn play_platform(
    platform: &Platform,
    seed: u64,
    files: Option<Arc<dyn Provider>>,
) -> Result<Went, Box<Failed>> {
    in_virtual_time(async {
        let mut rng = Rng::with_seed(seed);
        let wanted = platform.read();
        let troubles = Troubles::draw(&mut rng, &wanted);
        let drawn = Drawn {
            seed,
            wanted,
            changed: None,
            troubles,
            files,
        };
        session(drawn, rng).await
    })
}

fn in_virtual_time<T>(session: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system")
        .block_on(session)
}

/// What chance has decided about a session.
struct Drawn {
    seed: u64,
    wanted: Wanted,
    /// What the platform file becomes on the way.
    changed: Option<Wanted>,
    troubles: Troubles,
    files: Option<Arc<dyn Provider>>,
}

async fn session(drawn: Drawn, mut rng: Rng) -> Result<Went, Box<Failed>> {
    let Drawn {
        seed,
        wanted,
        changed,
        troubles,
        files,
    } = drawn;
    let clock = Arc::new(VirtualClock::new());
    let world = World::new(
        WorldConfig {
            seed,
            faults: troubles.while_applying.clone(),
            repositories: [(demo::REPOSITORY.to_owned(), demo::repository())].into(),
            ..WorldConfig::new(&wanted.facts.account, &wanted.facts.region)
        },
        clock.clone(),
    );
    let by_hand = |fault: &Fault| matches!(fault, Fault::HumanDeletes { .. } | Fault::HumanChanges { .. });
    // A cluster deleted by hand leaves its volumes, too.
    let left_volume = |fault: &Fault| matches!(fault, Fault::VolumeLeftover | Fault::HumanDeletes { .. });
    let mut providers = landfall_sim::providers(&world);
    if let Some(files) = files {
        providers = providers
            .with(StepKind::Files, files.clone())
            .with(StepKind::Entity, files);
    }
    let stage = Stage {
        providers,
        world,
        clock,
        memory: MemoryPlace::default(),
        lost_answers: troubles.lost_answers,
        rng: Mutex::new(rng.fork()),
        count: AtomicU64::new(0),
        denied: Arc::default(),
        story: Arc::default(),
        quiet: troubles.none(),
        volumes_left: troubles
            .while_applying
            .iter()
            .chain(&troubles.while_destroying)
            .any(left_volume),
        interfered: troubles
            .while_applying
            .iter()
            .chain(&troubles.while_destroying)
            .any(by_hand),
        takeovers: Mutex::default(),
        died_at: Mutex::default(),
    };
    stage.tell(format!("{troubles:?}"));
    for component in wanted.components.iter() {
        stage.tell(format!("component {} uses {}", component.0, component.1.uses));
    }
    let session = Session {
        stage: &stage,
        troubles: &troubles,
    };
    let played = tokio::time::timeout(LONGEST, session.all(&wanted, changed.as_ref())).await;
    match played.unwrap_or_else(|_| Err(vec!["it never ends".to_owned()])) {
        Ok(swept) => Ok(Went {
            virtual_ms: stage.clock.millis(),
            processes: stage.count.into_inner(),
            calls: stage.world.calls(),
            swept,
            quiet: troubles.none(),
            takeovers_ms: stage.takeovers.into_inner().unwrap_or_default(),
        }),
        Err(wrong) => Err(Box::new(Failed {
            seed,
            wrong,
            story: stage.story.lock().expect("nobody panics while telling").clone(),
        })),
    }
}

/// One session, from nothing to nothing.
struct Session<'a> {
    stage: &'a Stage,
    troubles: &'a Troubles,
}

type Verdict<T> = Result<T, Vec<String>>;

impl Session<'_> {
    async fn all(&self, wanted: &Wanted, changed: Option<&Wanted>) -> Verdict<usize> {
        let mut fates = self.troubles.fates.iter().copied();
        self.with_a_visitor(wanted, &mut fates).await?;
        self.stands(wanted, &mut fates).await?;
        let last = match changed {
            None => wanted,
            Some(changed) => {
                self.stage.tell("the platform file changes");
                self.stands(changed, &mut fates).await?;
                changed
            }
        };
        let now = self.stage.clock.millis();
        for fault in &self.troubles.while_destroying {
            self.stage.world.add_fault(later(fault.clone(), now));
        }
        self.gone(last, &mut fates).await
    }

    /// Somebody comes by while the first process is at work.
    async fn with_a_visitor(&self, wanted: &Wanted, fates: &mut impl Iterator<Item = Fate>) -> Verdict<()> {
        let Some(visitor) = self.troubles.visitor else {
            return Ok(());
        };
        let first = fates.next().unwrap_or(Fate::Lives);
        let comes_by = async {
            self.stage
                .clock
                .sleep(Duration::from_millis(visitor.after_ms))
                .await;
            let work = if visitor.destroys {
                Work::Destroy
            } else {
                Work::Apply
            };
            self.stage.process(wanted, work, visitor.fate).await
        };
        let (one, other) = tokio::join!(self.stage.process(wanted, Work::Apply, first), comes_by);
        self.accept(&one)?;
        self.accept(&other)?;
        self.judged().await
    }

    /// Applies until the platform stands as its file says and nobody is going to interfere any more.
    async fn stands(&self, wanted: &Wanted, fates: &mut impl Iterator<Item = Fate>) -> Verdict<()> {
        let mut last = Exit::Died;
        for _ in 0..ROUNDS {
            let fate = fates.next().unwrap_or(Fate::Lives);
            last = self.stage.process(wanted, Work::Apply, fate).await;
            self.accept(&last)?;
            self.see_to(&last).await;
            // A teardown that somebody began and did not finish has to be finished first.
            if let Exit::Failed(failures) = &last
                && failures.iter().any(|why| why.contains("DELETE_FAILED"))
            {
                let exit = self.stage.process(wanted, Work::Destroy, Fate::Lives).await;
                self.accept(&exit)?;
                self.see_to(&exit).await;
                continue;
            }
            if last != Exit::Succeeded || self.wait_for_what_comes().await {
                continue;
            }
            match self.stage.observer(wanted).plan().await {
                Ok(plan) if !plan.has_changes() => {
                    // A control plane writes logs; in the demo nobody's template names where.
                    let cluster = wanted.components.get("cluster");
                    if cluster.is_some_and(|cluster| cluster.uses == "demo-cluster") {
                        self.stage
                            .world
                            .write_log(platform::REGION, "/aws/eks/acme/cluster");
                    }
                    return self.judged().await;
                }
                Ok(plan) if self.troubles.none() => {
                    let changes = plan.steps.iter().filter(|step| step.action.changes_the_world());
                    let list: Vec<String> = changes
                        .map(|step| format!("{}: {}", step.id, step.reason))
                        .collect();
                    return Err(vec![format!("a second plan has changes: {}", list.join("; "))]);
                }
                Ok(_) => {}
                Err(error) => self.see_to(&Exit::Stopped(error.to_string())).await,
            }
        }
        Err(vec![format!("it never stands: {last:?}")])
    }

    /// Destroys until nothing is left.
    async fn gone(&self, wanted: &Wanted, fates: &mut impl Iterator<Item = Fate>) -> Verdict<usize> {
        let mut last = Exit::Died;
        for _ in 0..ROUNDS {
            let fate = fates.next().unwrap_or(Fate::Lives);
            let nothing_hard = self.nothing_hard_to_come() && matches!(fate, Fate::Lives);
            last = self.stage.process(wanted, Work::Destroy, fate).await;
            self.accept(&last)?;
            if nothing_hard && last != Exit::Succeeded {
                return Err(vec![format!(
                    "what it met should not have stopped a teardown: {last:?}"
                )]);
            }
            self.see_to(&last).await;
            if last != Exit::Succeeded || self.wait_for_what_comes().await {
                continue;
            }
            self.judged().await?;
            let mut left = self.stage.world.everything_standing();
            // What a template keeps stays, as it says.
            left.retain(|one| !one.contains("(kept by stack"));
            if !left.is_empty() {
                return Err(vec![format!(
                    "the certificate is clean, and this still stands: {}",
                    left.join(", ")
                )]);
            }
            let session = self.stage.observer(wanted);
            let owned = session
                .store
                .inventory()
                .await
                .map_err(|error| vec![error.to_string()])?
                .owned;
            if !owned.is_empty() {
                let steps: Vec<String> = owned.iter().map(|owned| owned.step.to_string()).collect();
                return Err(vec![format!(
                    "nothing stands, and the inventory has {}",
                    steps.join(", ")
                )]);
            }
            let story = self.stage.story.lock().expect("nobody panics while telling");
            return Ok(story.iter().filter(|line| line.contains(" swept ")).count());
        }
        let left = self.stage.world.everything_standing();
        Err(vec![
            format!("it never goes: {last:?}"),
            format!("still there: {}", left.join(", ")),
        ])
    }

    /// Whether everything that can still go wrong is what a teardown deals with by itself.
    fn nothing_hard_to_come(&self) -> bool {
        let easy = |fault: &Fault| {
            matches!(
                fault,
                Fault::Throttling { .. }
                    | Fault::CreateTimesOutButSucceeds { .. }
                    | Fault::IamVisibleLate { .. }
                    | Fault::OutputsAppearLate { .. }
                    | Fault::InterfacesLinger { .. }
                    | Fault::LoadBalancerLeftover
                    | Fault::VolumeLeftover
                    | Fault::NodeLeftover
                    | Fault::LogGroupRecreated { .. }
                    | Fault::GuardDutyEndpoint { .. }
            )
        };
        // A namespace that hangs stays so until somebody reads why.
        let hangs = |fault: &Fault| matches!(fault, Fault::NamespaceStuck { .. });
        let mut drawn = self
            .troubles
            .while_applying
            .iter()
            .chain(&self.troubles.while_destroying);
        self.troubles.lost_answers == 0
            && !self.stage.interfered
            && !drawn.any(hangs)
            && self.stage.world.faults().iter().all(easy)
    }

    /// Whether a process may have ended so.
    fn accept(&self, exit: &Exit) -> Verdict<()> {
        match exit {
            Exit::Wrong(why) => Err(vec![why.clone()]),
            Exit::Failed(_) | Exit::Stopped(_) | Exit::Superseded(_) if self.troubles.none() => {
                Err(vec![format!("nothing was made to go wrong, and yet: {exit:?}")])
            }
            _ => Ok(()),
        }
    }

    async fn judged(&self) -> Verdict<()> {
        let wrong = judge::judge(self.stage).await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// What a person does who reads why it failed: signs in again, or takes off the finalizer that was named.
    async fn see_to(&self, exit: &Exit) {
        let text = format!("{exit:?}");
        if text.contains("expired") {
            self.stage.world.renew_credentials();
        }
        // What a check of credentials says that will not last.
        if text.contains("are needed (") {
            self.stage.world.sign_in();
        }
        for fault in self
            .troubles
            .while_applying
            .iter()
            .chain(&self.troubles.while_destroying)
        {
            let world = &self.stage.world;
            match fault {
                Fault::NamespaceStuck { namespace, finalizer }
                    if text.contains(finalizer.as_str()) && text.contains(namespace.as_str()) =>
                {
                    world.remove_finalizer("acme", "Namespace", "", namespace, finalizer);
                }
                Fault::FinalizerStuck {
                    target:
                        Target::Object {
                            cluster,
                            kind,
                            namespace,
                            name,
                        },
                    finalizer,
                } if text.contains(finalizer.as_str()) => {
                    world.remove_finalizer(cluster, kind, namespace, name, finalizer);
                }
                // Whoever took the field is told to leave it alone, and the object is made anew.
                Fault::FieldConflict { target, manager, .. } if text.contains(manager.as_str()) => {
                    world.add_fault(Fault::HumanDeletes {
                        target: target.clone(),
                        millis: self.stage.clock.millis(),
                    });
                }
                _ => {}
            }
        }
        self.stage.clock.sleep(Duration::from_secs(30)).await;
    }

    /// Waits until everything that comes at a time of its own has come. Tells whether there was anything.
    async fn wait_for_what_comes(&self) -> bool {
        let comes_at = |fault: &Fault| match fault {
            Fault::HumanDeletes { millis, .. }
            | Fault::HumanChanges { millis, .. }
            | Fault::FieldConflict { millis, .. }
            | Fault::CredentialsExpireAt { millis } => Some(*millis),
            Fault::ThrottlingBurst { millis, for_millis }
            | Fault::ApiServerUnavailable { millis, for_millis }
            | Fault::WebhookRefuses {
                millis, for_millis, ..
            } => Some(millis + for_millis),
            _ => None,
        };
        let now = self.stage.clock.millis();
        let last = self
            .stage
            .world
            .faults()
            .iter()
            .filter_map(comes_at)
            .filter(|at| *at >= now)
            .max();
        let Some(last) = last else { return false };
        self.stage
            .clock
            .sleep(Duration::from_millis(last - now + 1_000))
            .await;
        self.stage.world.renew_credentials();
        true
    }
}

/// The same fault, as long after `now` as it would have come after the beginning.
fn later(fault: Fault, now: u64) -> Fault {
    match fault {
        Fault::HumanDeletes { target, millis } => Fault::HumanDeletes {
            target,
            millis: now + millis,
        },
        Fault::HumanChanges {
            target,
            path,
            value,
            millis,
        } => Fault::HumanChanges {
            target,
            path,
            value,
            millis: now + millis,
        },
        Fault::CredentialsExpireAt { millis } => Fault::CredentialsExpireAt { millis: now + millis },
        Fault::ThrottlingBurst { millis, for_millis } => Fault::ThrottlingBurst {
            millis: now + millis,
            for_millis,
        },
        Fault::FieldConflict {
            target,
            manager,
            path,
            value,
            millis,
        } => Fault::FieldConflict {
            target,
            manager,
            path,
            value,
            millis: now + millis,
        },
        Fault::ApiServerUnavailable { millis, for_millis } => Fault::ApiServerUnavailable {
            millis: now + millis,
            for_millis,
        },
        Fault::WebhookRefuses {
            webhook,
            reason,
            millis,
            for_millis,
        } => Fault::WebhookRefuses {
            webhook,
            reason,
            millis: now + millis,
            for_millis,
        },
        other => other,
    }
}
